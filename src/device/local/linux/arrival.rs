//! What `connect` tells of this host: what it is, its clock, who is signed in, and what this account does not see.

use super::etc::Root;
use super::isolation::{self, State};
use super::proc::Clock;
use super::rights::{Rights, account, hidden_by_namespaces};
use super::sign_ins;
use super::users::Users;
use super::watch::Watch;
use crate::error::{ErrorCode, Result};
use crate::model::{Arrival, DevicePath, Job, Timestamp};
use crate::shape::Untrusted;

const FILE_LIMIT: u64 = 64 << 10;

/// Never fails for want of a file: what cannot be told is absent.
pub fn read(watch: &Watch, job: &Job) -> Result<Arrival> {
    job.check()?;
    let root = Root::host();
    let kernel = rustix::system::uname();
    let mut hidden = Rights::own().hidden();
    hidden.extend(hidden_by_namespaces());
    Ok(Arrival {
        os: os(&root).unwrap_or_else(|| Untrusted::new("Linux")),
        host_name: Some(Untrusted::from_bytes(kernel.nodename().to_bytes())),
        kernel: Some(Untrusted::from_bytes(kernel.release().to_bytes())),
        current_directory: DevicePath::new("/"),
        clock: Some(Timestamp::now()),
        skew_ms: Some(0),
        time_zone: time_zone(&root),
        boot_time: Some(Clock::now().boot_time()),
        isolation: Some(isolation(watch, job).into()),
        signed_in: sign_ins::read(job)?,
        account: account(&Users::host().accounts()),
        hidden,
    })
}

/// What the kernel says; what is amiss with it is a warning.
fn isolation(watch: &Watch, job: &Job) -> &'static str {
    let held = watch.held();
    if matches!(held, Ok(Some(_))) && !watch.is_watched() {
        job.warn(
            "the dead-man of the isolation has died: it does not end by itself until `live-response approvals list` starts it again; `release` ends it",
        );
    }
    match isolation::state() {
        Ok(State::Isolated { kind, whole, .. }) => {
            if !whole {
                job.warn("the isolation is not whole: a chain of it is missing or lets pass");
            }
            if matches!(held, Ok(None)) {
                job.warn("nothing is held of the isolation: it does not end by itself; `release` ends it");
            }
            kind.as_str()
        }
        Ok(State::None) if matches!(held, Ok(Some(_))) => {
            job.warn("an isolation was approved and is in force, but its rules are gone");
            "none"
        }
        Ok(State::None) => "none",
        Ok(State::Foreign) => {
            job.warn(format!("a firewall table inet {} is there that no isolation made", isolation::TABLE));
            "none"
        }
        // Without nf_tables nothing isolates it.
        Err(e) if e.code == ErrorCode::Unsupported => "none",
        Err(_) => "unknown",
    }
}

/// Name and version of the system whose root this is (`man 5 os-release`); `None` where it does not say.
pub fn os_of(root: impl Into<std::path::PathBuf>) -> Option<Untrusted> {
    os(&Root::at(root))
}

fn os(root: &Root) -> Option<Untrusted> {
    let files = ["etc/os-release", "usr/lib/os-release"].into_iter();
    let text = files.filter_map(|path| root.read(path, FILE_LIMIT).ok()).next()?;
    let value = |key: &[u8]| {
        let lines = text.split(|b| *b == b'\n').rev();
        let found = lines.filter_map(|line| line.trim_ascii().strip_prefix(key)?.strip_prefix(b"=")).next();
        found.map(unquote).filter(|v| !v.is_empty())
    };
    Some(Untrusted::from_bytes(&value(b"PRETTY_NAME").or_else(|| value(b"NAME"))?))
}

/// A value as a shell would read it: in quotes of either kind, with `\` before what is special.
fn unquote(value: &[u8]) -> Vec<u8> {
    let inner = [b'"', b'\''].into_iter().find_map(|q| value.strip_prefix(&[q])?.strip_suffix(&[q]));
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = inner.unwrap_or(value).iter();
    while let Some(byte) = bytes.next() {
        out.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    out
}

/// The host's: the link `/etc/localtime`, `/etc/timezone`, and only then what this process was told.
fn time_zone(root: &Root) -> Option<Untrusted> {
    let linked = root.link("etc/localtime").ok().and_then(|target| {
        let at = target.windows(10).position(|w| w == b"/zoneinfo/")?;
        target.get(at + 10..).map(<[u8]>::to_vec)
    });
    let written = || root.read("etc/timezone", FILE_LIMIT).ok().map(|text| first_line(&text).to_vec());
    let told = || std::env::var_os("TZ").map(|tz| tz.into_encoded_bytes());
    let zone = linked.or_else(written).filter(|z| !z.is_empty()).or_else(told)?;
    Some(Untrusted::from_bytes(&zone)).filter(|z| !z.raw().is_empty())
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|b| *b == b'\n').next().unwrap_or(text).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::super::etc::tests::Scratch;
    use super::*;

    fn watch() -> Watch {
        Watch::new(std::path::Path::new("/nowhere"))
    }

    #[test]
    fn this_host_is_told() {
        let arrival = read(&watch(), &Job::default()).unwrap();
        assert_eq!(arrival.current_directory, DevicePath::new("/"));
        assert!(arrival.boot_time < arrival.clock);
        let booted = std::fs::read_to_string("/proc/stat").unwrap();
        let booted: i64 = booted.lines().find_map(|l| l.strip_prefix("btime ")).unwrap().parse().unwrap();
        assert!((arrival.boot_time.unwrap().as_secs() - booted).abs() <= 1);
    }

    #[test]
    fn a_cancelled_arrival_ends() {
        let job = Job::default();
        job.cancel();
        assert_eq!(read(&watch(), &job).unwrap_err().code, ErrorCode::Cancelled);
    }

    #[test]
    fn the_system_s_name_is_read_as_a_shell_reads_it() {
        for (file, name) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\n", Some("Debian GNU/Linux 12")),
            ("NAME=x\nPRETTY_NAME='a b'", Some("a b")),
            ("PRETTY_NAME=\"a \\\"b\\\" \\$c\"", Some("a \"b\" $c")),
            ("PRETTY_NAME=\"a\nNAME=Alpine", Some("\"a")),
            ("PRETTY_NAME=\nNAME=Alpine", Some("Alpine")),
            ("PRETTY_NAME=old\nPRETTY_NAME=new", Some("new")),
            ("garbage", None),
            ("", None),
        ] {
            let tree = Scratch::new("arrival");
            tree.write("etc/os-release", file);
            assert_eq!(os_of(tree.path()).as_ref().map(Untrusted::raw), name, "{file}");
        }
    }

    #[test]
    fn the_time_zone_is_the_host_s() {
        let tree = Scratch::new("arrival");
        let root = Root::at(tree.path());
        tree.write("etc/timezone", "Europe/Vienna\nx\n");
        assert_eq!(time_zone(&root), Some(Untrusted::new("Europe/Vienna")));
        std::os::unix::fs::symlink("../usr/share/zoneinfo/Asia/Tokyo", tree.path().join("etc/localtime")).unwrap();
        assert_eq!(time_zone(&root), Some(Untrusted::new("Asia/Tokyo")));
    }
}
