//! The times of files, as a body file that `mactime` reads (The Sleuth Kit, format 3).
//!
//! Invariant: one line an entry, eleven fields, whatever its name holds: what would break a line is escaped.

use super::walk::{Found, Walk};
use crate::device::local::linux::view::{How, View};
use crate::device::package::LeftOut;
use crate::device::package::Spool;
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, Job, Timestamp};
use rustix::fs::FileType;
use std::io::Write;

/// Where intruders leave things, and what the system starts.
const TRIAGE: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/root",
    "/sbin",
    "/srv",
    "/tmp",
    "/usr/bin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/local",
    "/usr/sbin",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
    "/var/www",
];
const WHOLE: &[&str] = &["/"];
const TRIAGE_DEPTH: u32 = 12;

pub fn write(view: &View, whole: bool, to: &mut Spool, left_out: &mut LeftOut, job: &Job) -> Result<()> {
    let set = view.own().snapshot();
    let walk = Walk::new(view, &set, job);
    let (roots, depth) = if whole { (WHOLE, u32::MAX) } else { (TRIAGE, TRIAGE_DEPTH) };
    let mut line = Vec::new();
    let mut walked = Vec::new();
    for root in roots {
        let start = match view.open_among(&set, &DevicePath::new(*root), How::Directory) {
            Ok(start) => start,
            Err(e) if matches!(e.code, ErrorCode::NotFound | ErrorCode::NotAFile) => continue,
            Err(e) => {
                left_out.add(&DevicePath::new(*root), super::walk::reason(&e));
                continue;
            }
        };
        // On a merged `/usr`, `/bin` is `/usr/bin`.
        if walked.contains(&start.facts.identity) {
            continue;
        }
        walked.push(start.facts.identity);
        walk.below(&start, depth, left_out, &mut |_, found| {
            line.clear();
            put(&found, &mut line);
            to.write_all(&line).map_err(|e| to.error(e))
        })?;
    }
    Ok(())
}

/// `md5|name|inode|mode|uid|gid|size|atime|mtime|ctime|crtime`; times are seconds, 0 where nobody knows.
fn put(found: &Found, line: &mut Vec<u8>) {
    let f = &found.facts;
    let mut name = found.path.to_text().into_owned();
    if let Some(target) = &found.target {
        name.push_str(" -> ");
        name.push_str(&target.to_text());
    }
    let name = name.replace('|', "\\x7c");
    let seconds = |t: Timestamp| t.as_secs().max(0);
    let created = f.created.map_or(0, seconds);
    // Writing to a vector does not fail.
    let _ = writeln!(
        line,
        "0|{name}|{}|{}|{}|{}|{}|{}|{}|{}|{created}",
        f.identity.inode,
        mode(f.mode),
        f.uid,
        f.gid,
        f.size,
        seconds(f.accessed),
        seconds(f.modified),
        seconds(f.changed),
    );
}

/// The kind twice, as by name and by inode, then the permissions: `r/rrwxr-xr-x`.
fn mode(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => 'r',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 'h',
        FileType::BlockDevice => 'b',
        FileType::CharacterDevice => 'c',
        FileType::Unknown => '-',
    };
    let text = crate::device::local::linux::facts::mode_text(mode);
    format!("{kind}/{kind}{}", text.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::local::linux::view::tests::{TempTree, image};
    use std::io::Read;

    #[test]
    fn a_line_an_entry_whatever_its_name() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("img/tmp")).unwrap();
        for name in ["plain", "a|b", "two\nlines"] {
            std::fs::write(tree.path("img/tmp").join(name), "12345").unwrap();
        }
        std::os::unix::fs::symlink("/else|where", tree.path("img/tmp/link")).unwrap();
        let view = image(&tree, "img");
        let mut spool = Spool::new(&tree.path("home")).unwrap();
        write(&view, false, &mut spool, &mut LeftOut::default(), &Job::default()).unwrap();
        let mut text = String::new();
        spool.read().unwrap().1.read_to_string(&mut text).unwrap();
        let mut lines: Vec<Vec<&str>> = text.lines().map(|l| l.split('|').collect()).collect();
        lines.sort_by_key(|fields| fields[1]);
        assert!(lines.iter().all(|fields| fields.len() == 11), "{text}");
        let names: Vec<&str> = lines.iter().map(|fields| fields[1]).collect();
        assert_eq!(names, [r"/tmp/a\x7cb", r"/tmp/link -> /else\x7cwhere", "/tmp/plain", r"esc:/tmp/two\u000alines"]);
        assert_eq!((lines[2][3].get(..3), lines[2][6]), (Some("r/r"), "5"));
    }
}
