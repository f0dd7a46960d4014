//! Who is signed in: from utmp (`man 5 utmp`), or, where a system keeps none, from the sessions of systemd-logind.
//!
//! Invariant: only a sign-in whose process still lives counts; the files may hold anything, any length.

use super::etc::Root;
use crate::error::Result;
use crate::model::{Job, SignedIn, Timestamp};
use crate::shape::Untrusted;
use rustix::process::{Pid, test_kill_process};

const UTMP: [&str; 2] = ["run/utmp", "var/run/utmp"];
const SESSIONS: &str = "/run/systemd/sessions";
const UTMP_LIMIT: u64 = 4 << 20;
const SESSION_LIMIT: u64 = 16 << 10;
const USER_PROCESS: u16 = 7;

/// Size of a record, and where its time (seconds) begins: glibc keeps 32-bit times on x86-64, 64-bit ones on aarch64.
#[cfg(not(target_arch = "aarch64"))]
const RECORD: (usize, usize) = (384, 340);
#[cfg(target_arch = "aarch64")]
const RECORD: (usize, usize) = (400, 344);

pub fn read(job: &Job) -> Result<Vec<SignedIn>> {
    let root = Root::host();
    match UTMP.iter().find_map(|path| root.read(path, UTMP_LIMIT).ok()) {
        Some(utmp) => records(&utmp, lives, job),
        None => sessions(&root, job),
    }
}

fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // EPERM says that it lives and is another account's.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

fn records(utmp: &[u8], lives: impl Fn(u32) -> bool, job: &Job) -> Result<Vec<SignedIn>> {
    let mut found = Vec::new();
    for record in utmp.chunks_exact(RECORD.0) {
        job.check()?;
        found.extend(signed_in(record, &lives));
    }
    Ok(found)
}

/// `ut_type` at 0, `ut_pid` at 4, `ut_line` at 8, `ut_user` at 44, `ut_host` at 76.
fn signed_in(record: &[u8], lives: impl Fn(u32) -> bool) -> Option<SignedIn> {
    let kind = u16::from_ne_bytes(*record.first_chunk()?);
    let pid = u32::from_ne_bytes(*record.get(4..)?.first_chunk()?);
    let user = text(record.get(44..76)?);
    if kind != USER_PROCESS || user.is_empty() || !lives(pid) {
        return None;
    }
    let from = text(record.get(76..332)?);
    // The upper half of a 64-bit time is 0 until 2106.
    let seconds = u32::from_ne_bytes(*record.get(RECORD.1..)?.first_chunk()?);
    Some(SignedIn {
        user: Untrusted::from_bytes(user),
        terminal: Untrusted::from_bytes(text(record.get(8..40)?)),
        from: (!from.is_empty()).then(|| Untrusted::from_bytes(from)),
        since: (seconds != 0).then(|| Timestamp::from_unix(i64::from(seconds), 0)),
    })
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(field)
}

fn sessions(root: &Root, job: &Job) -> Result<Vec<SignedIn>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(SESSIONS).into_iter().flatten().flatten() {
        job.check()?;
        let name = entry.file_name();
        // The other files there, `ID.ref`, are FIFOs.
        let Some(name) = name.to_str().filter(|n| !n.contains('.')) else { continue };
        let text = root.read(&format!("run/systemd/sessions/{name}"), SESSION_LIMIT).unwrap_or_default();
        found.extend(session(&text, lives));
    }
    found.sort_by_key(|s| s.since);
    Ok(found)
}

/// Lines `KEY=value`.
fn session(text: &[u8], lives: impl Fn(u32) -> bool) -> Option<SignedIn> {
    let value = |key: &str| {
        let lines = text.split(|b| *b == b'\n');
        let found = lines.filter_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b"=")).next();
        found.filter(|v| !v.is_empty())
    };
    let leader = value("LEADER").and_then(super::proc::number).and_then(|n| u32::try_from(n).ok())?;
    if value("CLASS").is_some_and(|class| class != b"user") || !lives(leader) {
        return None;
    }
    let micros = value("REALTIME").and_then(super::proc::number).and_then(|n| i64::try_from(n).ok());
    Some(SignedIn {
        user: Untrusted::from_bytes(value("USER").or_else(|| value("UID"))?),
        terminal: Untrusted::from_bytes(value("TTY").or_else(|| value("SERVICE")).unwrap_or_default()),
        from: value("REMOTE_HOST").map(Untrusted::from_bytes),
        since: micros.map(|us| Timestamp::from_unix(us / 1_000_000, 0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u16, pid: u32, user: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; RECORD.0];
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&pid.to_ne_bytes());
        bytes[8..13].copy_from_slice(b"pts/0");
        bytes[44..44 + user.len()].copy_from_slice(user);
        bytes[76..85].copy_from_slice(b"192.0.2.7");
        bytes[RECORD.1..RECORD.1 + 4].copy_from_slice(&1_700_000_000u32.to_ne_bytes());
        bytes
    }

    fn users(utmp: &[u8]) -> Vec<String> {
        let all = records(utmp, |pid| pid == 7, &Job::default()).unwrap();
        all.into_iter().map(|s| s.user.raw().to_owned()).collect()
    }

    #[test]
    fn only_living_user_processes_count() {
        let utmp = [record(7, 7, b"ann"), record(8, 7, b"gone"), record(7, 8, b"dead"), record(7, 7, b"")].concat();
        assert_eq!(users(&utmp), ["ann"]);
    }

    #[test]
    fn a_record_is_read_whole() {
        let all = records(&record(7, 7, &[b'u'; 32]), |_| true, &Job::default()).unwrap();
        let since = Some(Timestamp::from_unix(1_700_000_000, 0));
        let from = Some(Untrusted::new("192.0.2.7"));
        let user = Untrusted::new("u".repeat(32));
        assert_eq!(all, [SignedIn { user, terminal: Untrusted::new("pts/0"), from, since }]);
    }

    #[test]
    fn a_torn_last_record_is_left_out() {
        let mut utmp = [record(7, 7, b"ann"), record(7, 7, b"bob")].concat();
        utmp.pop();
        assert_eq!(users(&utmp), ["ann"]);
    }

    #[test]
    fn a_session_of_logind_is_read() {
        let file = b"# private\nUID=1000\nUSER=ann\nACTIVE=1\nTTY=tty2\nREMOTE_HOST=\nREALTIME=1700000000123456\nLEADER=7\nCLASS=user\n";
        let found = session(file, |pid| pid == 7).unwrap();
        assert_eq!((found.user.raw(), found.terminal.raw(), found.from), ("ann", "tty2", None));
        assert_eq!(found.since, Some(Timestamp::from_unix(1_700_000_000, 0)));
        assert_eq!(session(&file.replace_once(b"CLASS=user", b"CLASS=greeter"), |_| true), None);
        assert_eq!(session(file, |_| false), None);
    }

    trait ReplaceOnce {
        fn replace_once(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
    }

    impl ReplaceOnce for [u8] {
        fn replace_once(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
            let at = self.windows(from.len()).position(|w| w == from).unwrap();
            [&self[..at], to, &self[at + from.len()..]].concat()
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left_out(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            let _ = records(&bytes, |_| true, &Job::default());
            let _ = session(&bytes, |_| true);
        }
    }
}
