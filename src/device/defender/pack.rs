//! The script pack: one script a command and system, embedded here, in the tenant's library under its hash.
//!
//! Invariants: a script is run only under a name that carries the hash of exactly the bytes that are here; an argument
//! is one word of base64url, so that nothing in it means anything on its way.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Sha256, random_hex};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Write;
use std::sync::OnceLock;

/// A script prints what it has after so many seconds: the service ends it after 600.
const LIMIT_S: u64 = 540;
/// What both systems' scripts take, in bytes of base64url.
const ARGUMENT: usize = 64 << 10;

/// What a device runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Shell {
    Bash,
    PowerShell,
}

impl Shell {
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Shell::Bash => "sh",
            Shell::PowerShell => "ps1",
        }
    }
}

/// A script as it is uploaded and run.
#[derive(Debug)]
pub(crate) struct Script {
    /// The command's own: `processes`.
    pub(crate) name: &'static str,
    pub(crate) shell: Shell,
    body: &'static str,
    whole: OnceLock<(Sha256, String)>,
}

macro_rules! script {
    // What more than one script has, or one has too much of for a file, comes before it.
    ($name:literal, Bash $(, with $part:literal)*) => {
        script!($name, Bash, concat!(
            $(include_str!(concat!("pack/bash/", $part, ".sh")),)*
            include_str!(concat!("pack/bash/", $name, ".sh"))
        ))
    };
    ($name:literal, PowerShell) => {
        script!($name, PowerShell, include_str!(concat!("pack/powershell/", $name, ".ps1")))
    };
    ($name:literal, $shell:ident, $body:expr) => {
        Script { name: $name, shell: Shell::$shell, body: $body, whole: OnceLock::new() }
    };
}

const BASH_PRELUDE: &str = include_str!("pack/bash/prelude.sh");
const POWERSHELL_PRELUDE: &str = include_str!("pack/powershell/prelude.ps1");

static PACK: [Script; 29] = [
    script!("collect", Bash),
    script!("connections", Bash),
    script!("dir", Bash),
    script!("drivers", Bash),
    script!("fileinfo", Bash),
    script!("findfile", Bash, with "walk"),
    script!(
        "persistence",
        Bash,
        with "walk",
        with "units",
        with "tasks",
        with "desktop",
        with "found",
        with "access",
        with "programs",
        with "hooks"
    ),
    script!("processes", Bash),
    script!("remediate", Bash),
    script!("remediated", Bash),
    script!("scheduledtasks", Bash, with "units", with "tasks"),
    script!("services", Bash, with "units"),
    script!("startupfolders", Bash, with "desktop"),
    script!("undo", Bash),
    script!("collect", PowerShell),
    script!("connections", PowerShell),
    script!("dir", PowerShell),
    script!("drivers", PowerShell),
    script!("fileinfo", PowerShell),
    script!("findfile", PowerShell),
    script!("persistence", PowerShell),
    script!("processes", PowerShell),
    script!("registry", PowerShell),
    script!("remediate", PowerShell),
    script!("remediated", PowerShell),
    script!("scheduledtasks", PowerShell),
    script!("services", PowerShell),
    script!("startupfolders", PowerShell),
    script!("undo", PowerShell),
];

/// All of them.
pub(crate) fn scripts() -> &'static [Script] {
    &PACK
}

/// `E_UNSUPPORTED` where the system has no such script.
pub(crate) fn script(name: &str, shell: Shell) -> Result<&'static Script> {
    PACK.iter().find(|s| s.name == name && s.shell == shell).ok_or_else(|| {
        let system = if shell == Shell::Bash { "Linux" } else { "Windows" };
        Error::new(ErrorCode::Unsupported, format!("there is no `{name}` for a {system} device of Defender"))
            .hint("`help` lists the commands; `getfile` and `findfile` work on every device")
    })
}

impl Script {
    fn whole(&self) -> &(Sha256, String) {
        self.whole.get_or_init(|| {
            let prelude = if self.shell == Shell::Bash { BASH_PRELUDE } else { POWERSHELL_PRELUDE };
            let text = format!("{prelude}{}", self.body).replace("\r\n", "\n");
            (Sha256::of(text.as_bytes()), text)
        })
    }

    /// What is uploaded: the prelude and the script.
    pub(crate) fn text(&self) -> &str {
        &self.whole().1
    }

    pub(crate) fn sha256(&self) -> &Sha256 {
        &self.whole().0
    }

    /// Its name in the library.
    pub(crate) fn file_name(&self) -> String {
        let digits = self.sha256().as_str().get(..16).unwrap_or_default();
        format!("lr-{}-{digits}.{}", self.name, self.shell.extension())
    }
}

/// Whether a library file's name is one that a pack of ours made, of this version or another.
pub(crate) fn is_ours(file_name: &str) -> bool {
    PACK.iter().any(|script| {
        file_name
            .strip_prefix("lr-")
            .and_then(|rest| rest.strip_prefix(script.name))
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(script.shell.extension()))
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    })
}

/// A word of a script's answer as the script itself has it: a device can say no other.
pub(crate) fn word(word: &str) -> Option<&'static str> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if word.len() < 2 || word.len() > 64 || !word.bytes().all(is_part) {
        return None;
    }
    let persistence = PACK.iter().filter(|s| s.name == "persistence");
    persistence.flat_map(|script| script.body.match_indices(word).map(|(at, found)| (script.body, at, found))).find_map(
        |(body, at, found)| {
            let before = at.checked_sub(1).and_then(|i| body.as_bytes().get(i));
            let after = body.as_bytes().get(at + found.len());
            (!before.copied().is_some_and(is_part) && !after.copied().is_some_and(is_part)).then_some(found)
        },
    )
}

/// One argument's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Is(bool),
}

/// A script's arguments, and the nonce that its answer will carry.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) nonce: String,
    values: Vec<(String, Value)>,
}

impl Arguments {
    pub(crate) fn new() -> Arguments {
        Arguments { nonce: random_hex::<16>(), values: Vec::new() }
    }

    /// With the nonce that a plan already names.
    pub(crate) fn signed(nonce: &str) -> Arguments {
        Arguments { nonce: nonce.to_owned(), values: Vec::new() }
    }

    pub(crate) fn text(self, name: &str, text: impl Into<String>) -> Self {
        self.with(name, Some(Value::Text(text.into())))
    }

    pub(crate) fn path(self, name: &str, path: &DevicePath) -> Self {
        self.text(name, written(path))
    }

    /// With a value, where there is one.
    pub(crate) fn with(mut self, name: &str, value: Option<Value>) -> Self {
        self.values.extend(value.map(|value| (name.to_owned(), value)));
        self
    }

    /// The one word that the script gets.
    pub(crate) fn word(&self) -> Result<String> {
        let mut json = format!("{{\"nonce\":\"{}\",\"limit_s\":{LIMIT_S},\"args\":{{", self.nonce);
        for (at, (name, value)) in self.values.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            quote(name, &mut json);
            json.push(':');
            match value {
                Value::Text(text) => quote(text, &mut json),
                Value::Number(number) => json.push_str(&number.to_string()),
                Value::Is(is) => json.push_str(if *is { "true" } else { "false" }),
            }
        }
        json.push_str("}}");
        let word = URL_SAFE_NO_PAD.encode(json);
        if word.len() > ARGUMENT {
            return Err(Error::new(ErrorCode::BadArgs, "the arguments are longer than a script takes")
                .hint("shorten the path or the pattern"));
        }
        Ok(word)
    }
}

/// A JSON string of ASCII with no escapes but `\"`, `\\` and `\uXXXX`.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }),
        }
    }
    out.push('"');
}

/// A path as scripts read it: text as it is; bytes that are none, `esc:` with `\xNN` and `\\`.
pub(crate) fn written(path: &DevicePath) -> String {
    let bytes = path.as_bytes();
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.starts_with("esc:")
    {
        return text.to_owned();
    }
    let mut out = String::from("esc:");
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|b| {
            let _ = write!(out, "\\x{b:02x}");
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(arguments: &Arguments) -> serde_json::Value {
        let word = arguments.word().unwrap();
        assert!(word.starts_with("eyJ") && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let json = URL_SAFE_NO_PAD.decode(word).unwrap();
        assert!(json.is_ascii() && !json.contains(&b' '), "{}", String::from_utf8_lossy(&json));
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn an_argument_is_one_word_whatever_it_holds() {
        let hostile = "\";$(reboot)`&|!\n\u{0}\u{1f980}\u{202e}é'".replace(' ', "");
        let arguments = Arguments::new()
            .text("name", hostile.clone())
            .path("path", &DevicePath::new(b"/tmp/a\\\xff".to_vec()))
            .with("pid", Some(Value::Number(7)))
            .with("tree", Some(Value::Is(true)))
            .with("user", None);
        let read = decoded(&arguments);
        assert_eq!(read["args"]["name"], hostile);
        assert_eq!(read["args"]["path"], r"esc:/tmp/a\\\xff");
        assert_eq!((&read["args"]["pid"], &read["args"]["tree"]), (&7.into(), &true.into()));
        assert!(read["args"].get("user").is_none());
        assert_eq!(read["nonce"], arguments.nonce);
    }

    #[test]
    fn two_runs_have_two_nonces() {
        assert_ne!(Arguments::new().nonce, Arguments::new().nonce);
    }

    #[test]
    fn an_argument_that_is_too_long_is_refused() {
        let e = Arguments::new().text("path", "x".repeat(70_000)).word().unwrap_err();
        assert_eq!(e.code, ErrorCode::BadArgs);
    }

    #[test]
    fn a_path_is_read_back_as_it_was() {
        for bytes in [&b"/a\xff\\b"[..], b"/plain", b"esc:x", "C:\\Temp\\\u{e9}".as_bytes()] {
            let path = DevicePath::new(bytes.to_vec());
            assert_eq!(DevicePath::from_text(&written(&path)).unwrap(), path);
        }
    }

    #[test]
    fn every_script_fits_the_library() {
        let mut names = std::collections::BTreeSet::new();
        for script in scripts() {
            let name = script.file_name();
            assert!(is_ours(&name), "{name}");
            assert!(names.insert(name));
            assert!(
                script.text().len() < 1 << 20
                    && !script.text().contains('\r')
                    && !script.text().starts_with('\u{feff}')
            );
            assert!(script.shell == Shell::Bash || script.text().is_ascii(), "{}", script.name);
        }
    }

    #[test]
    fn what_is_not_named_by_us_is_not_ours() {
        for name in [
            "lr-processes-0123456789abcdef.txt",
            "lr-processes-0123456789ABCDEF.sh",
            "lr-other-0123456789abcdef.sh",
            "lr-processes-0123456789abcde.sh",
            "lr-processes.sh",
            "processes-0123456789abcdef.sh",
            "lr-processes-0123456789abcdef.sh.bak",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn a_device_says_no_word_that_the_scripts_do_not_have() {
        assert_eq!(word("run-keys"), Some("run-keys"));
        assert_eq!(word("T1547.001"), Some("T1547.001"));
        for no in ["run-key", "un-keys", "T1547.00", "no such", "", "<script>", "zzzz"] {
            assert_eq!(word(no), None, "{no}");
        }
    }
}
