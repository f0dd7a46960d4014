//! The nft program: loads a transaction, lists the table.
//!
//! Invariants: called by its absolute path, with no environment, no shell and a time limit; what it says is bounded.

use crate::device::local::linux::isolation::{CHAINS, PRIORITY, TABLE};
use crate::device::local::linux::ruleset::Ruleset;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Sha256;
use serde::Deserialize;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PLACES: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// A load takes milliseconds.
const WITHIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);
/// A table of ours is far from it.
const OUTPUT_MAX: u64 = 4 << 20;
/// Of what nft complains of.
const WORDS: usize = 300;

/// Where nft lies; `E_UNSUPPORTED` where it is not.
pub fn program() -> Result<&'static Path> {
    let is_program = |path: &&Path| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && std::os::unix::fs::MetadataExt::mode(&m) & 0o111 != 0)
    };
    PLACES.iter().map(Path::new).find(is_program).ok_or_else(|| {
        Error::new(ErrorCode::Unsupported, "there is no nft to change the firewall with")
            .hint("install it: `apt-get install nftables`, `dnf install nftables`")
    })
}

/// Loads one transaction: all of it, or nothing.
pub fn load(script: &str) -> Result<()> {
    run(&["-f", "-"], script).map(drop)
}

/// The table as the kernel has it. `None` where there is none.
pub fn list() -> Result<Option<Listed>> {
    match run(&["-j", "list", "table", "inet", TABLE], "") {
        Ok(json) => Listed::parse(&json).map(Some),
        Err(e) if e.message.contains("No such file or directory") => Ok(None),
        Err(e) => Err(e),
    }
}

fn run(arguments: &[&str], stdin: &str) -> Result<Vec<u8>> {
    let failed = |e| Error::io("nft", e);
    let mut child = Command::new(program()?)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let Some(mut pipe) = child.stdin.take() {
        // One that ends before it has read all says why on stderr.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let status = wait(&mut child).map_err(failed)?;
    let (said, complained) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    match status {
        Some(status) if status.success() => Ok(said),
        Some(_) => {
            let why: String = String::from_utf8_lossy(&complained).chars().take(WORDS).collect();
            Err(Error::new(ErrorCode::Backend, format!("nft refused: {}", why.trim())).hint("nothing was changed"))
        }
        None => Err(Error::new(ErrorCode::Timeout, format!("nft did not end within {} s", WITHIN.as_secs()))),
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(OUTPUT_MAX).read_to_end(&mut bytes);
        }
        bytes
    })
}

/// `None` where it had to be killed.
fn wait(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

/// What the kernel says of the table.
#[derive(Debug)]
pub struct Listed {
    /// Of everything but handles, which change with each load.
    pub sha256: Sha256,
    /// Base chains: name, hook, priority, policy.
    chains: Vec<(String, String, i64, String)>,
    /// The chain of each rule.
    rules: Vec<String>,
    marks: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    nftables: Vec<serde_json::Map<String, serde_json::Value>>,
}

impl Listed {
    fn parse(json: &[u8]) -> Result<Listed> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|e| Error::new(ErrorCode::Backend, format!("nft's listing cannot be read: {e}")))?;
        let (mut chains, mut rules, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let mut hashed = String::new();
        for (kind, mut object) in document.nftables.into_iter().flatten().filter(|(kind, _)| kind != "metainfo") {
            if let Some(fields) = object.as_object_mut() {
                fields.shift_remove("handle");
            }
            hashed.push_str(&object.to_string());
            hashed.push('\n');
            let text = |name: &str| object.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            match kind.as_str() {
                "rule" => rules.push(text("chain")),
                "chain" if object.get("hook").is_some() => {
                    let priority = object.get("prio").and_then(serde_json::Value::as_i64).unwrap_or(i64::MAX);
                    chains.push((text("name"), text("hook"), priority, text("policy")));
                }
                "chain" => marks.push(text("name")),
                _ => {}
            }
        }
        Ok(Listed { sha256: Sha256::of(hashed.as_bytes()), chains, rules, marks })
    }

    /// Whether the kernel has these chains, this mark and as many rules.
    pub fn is(&self, wanted: &Ruleset, mark: &str) -> bool {
        let chain = |(name, _, hook): &(&str, u32, &str)| {
            let expected = ((*name).to_owned(), (*hook).to_owned(), i64::from(PRIORITY), "drop".to_owned());
            self.chains.contains(&expected) && wanted.len(name) == Some(self.rules.iter().filter(|r| r == name).count())
        };
        self.marks == [mark] && self.chains.len() == CHAINS.len() && CHAINS.iter().all(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = r#"{"chain":{"family":"inet","table":"t","name":"arriving","handle":2,"type":"filter","hook":"input","prio":-10,"policy":"drop"}}"#;

    #[test]
    fn handles_are_no_part_of_what_is_compared() {
        let listed = |handle: u32| {
            let json =
                format!(r#"{{"nftables":[{{"metainfo":{{}}}},{}]}}"#, CHAIN.replace(":2,", &format!(":{handle},")));
            Listed::parse(json.as_bytes()).unwrap().sha256
        };
        assert_eq!(listed(2), listed(77));
        let other = format!(r#"{{"nftables":[{}]}}"#, CHAIN.replace("drop", "accept"));
        assert_ne!(listed(2), Listed::parse(other.as_bytes()).unwrap().sha256);
    }

    #[test]
    fn a_listing_that_is_none_is_refused() {
        for json in [&b""[..], b"{}", b"[]", b"{\"nftables\":[1]}", b"{\"nftables\":{}}", b"\xff"] {
            assert_eq!(Listed::parse(json).unwrap_err().code, ErrorCode::Backend);
        }
        let empty = Listed::parse(b"{\"nftables\":[{\"rule\":1},{\"chain\":{\"hook\":7}}]}").unwrap();
        assert!(!empty.is(&Ruleset::of(&[], true), "m"));
    }
}
