//! Which files of installed packages are no longer what the packages brought: `dpkg`'s own sums (`man 5 deb`) against
//! the bytes on disk.
//!
//! Invariant: the sums are an intruder's to change as the files are; nothing here says that a file is clean.

use crate::device::local::linux::hash;
use crate::device::local::linux::own::OwnSet;
use crate::device::local::linux::view::{How, View};
use crate::device::package::Spool;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use crate::shape::Untrusted;
use rustix::fs::RawDir;
use serde::Serialize;
use std::collections::HashSet;
use std::io::Read;
use std::mem::MaybeUninit;

const INFO: &str = "/var/lib/dpkg/info";
const LIST_MAX: u64 = 64 << 20;
/// A file that runs is not larger.
const FILE_MAX: u64 = 512 << 20;
/// Without the first `/`, as the sums have it.
const TRIAGE: &[&[u8]] = &[
    b"bin/",
    b"sbin/",
    b"usr/bin/",
    b"usr/sbin/",
    b"lib/security/",
    b"usr/lib/security/",
    b"usr/lib/x86_64-linux-gnu/security/",
    b"usr/lib/aarch64-linux-gnu/security/",
    b"lib/systemd/",
    b"usr/lib/systemd/",
    b"usr/lib/openssh/",
];

#[derive(Serialize)]
struct Row {
    package: Untrusted,
    path: DevicePath,
    /// `modified`, `missing`, `unreadable`.
    state: &'static str,
    expected_md5: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
}

#[derive(Serialize, Default)]
struct Sum {
    checked: u64,
    intact: u64,
}

pub fn write(view: &View, whole: bool, to: &mut Spool, job: &Job) -> Result<()> {
    let info = match view.open(&DevicePath::new(INFO), How::Directory) {
        Ok(info) => info,
        Err(e) if e.code == ErrorCode::NotFound => {
            return Err(Error::new(ErrorCode::Unsupported, "this device has no dpkg"));
        }
        Err(e) => return Err(e),
    };
    let set = view.own().snapshot();
    let diverted = diverted(view);
    let mut sum = Sum::default();
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&info.file, &mut buffer);
    while let Some(entry) = entries.next() {
        job.check()?;
        let entry = entry.map_err(|e| Error::io(INFO, e.into()))?;
        let Some(stem) = entry.file_name().to_bytes().strip_suffix(b".md5sums") else { continue };
        let Some(sums) = read_among(view, &set, &[INFO.as_bytes(), b"/", entry.file_name().to_bytes()].concat()) else {
            continue;
        };
        for (md5, path) in sums.split(|b| *b == b'\n').filter_map(parse) {
            if !(whole || TRIAGE.iter().any(|place| path.starts_with(place))) || diverted.contains(path) {
                continue;
            }
            sum.checked += 1;
            match check(view, &set, stem, md5, path, job)? {
                None => sum.intact += 1,
                Some(row) => to.row(&row)?,
            }
        }
    }
    to.row(&sum)
}

/// A line of `md5sums`: 32 hex digits, two spaces, the path without its first `/`.
fn parse(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sum, rest) = line.split_at_checked(32)?;
    let path = rest.strip_prefix(b"  ")?;
    let climbs = path.split(|b| *b == b'/').any(|p| p == b"..");
    (sum.iter().all(u8::is_ascii_hexdigit) && !path.is_empty() && !climbs).then_some((sum, path))
}

/// `None` where the file is what the package brought.
fn check(view: &View, own: &OwnSet, stem: &[u8], sum: &[u8], path: &[u8], job: &Job) -> Result<Option<Row>> {
    job.check()?;
    let path = DevicePath::new([b"/", path].concat());
    let expected_md5 = String::from_utf8_lossy(sum).to_ascii_lowercase();
    // Of no use here: hashing warns of files that change, and moves the job's progress.
    let hashed = view
        .open_among(own, &path, How::File)
        .and_then(|opened| hash::digest_within(&opened.file, false, FILE_MAX, &Job::default()));
    let (state, md5) = match hashed {
        Ok(digests) if digests.md5 == expected_md5 => return Ok(None),
        Ok(digests) => ("modified", Some(digests.md5)),
        Err(e) if e.code == ErrorCode::NotFound => ("missing", None),
        Err(_) => ("unreadable", None),
    };
    Ok(Some(Row { package: Untrusted::from_bytes(stem), path, state, expected_md5, md5 }))
}

/// Paths that are another package's, or lie elsewhere: three lines each, the original first.
fn diverted(view: &View) -> HashSet<Vec<u8>> {
    let text = read(view, b"/var/lib/dpkg/diversions").unwrap_or_default();
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let originals = lines.chunks_exact(3).filter_map(|triple| triple.first()?.strip_prefix(b"/"));
    originals.map(<[u8]>::to_vec).collect()
}

fn read(view: &View, path: &[u8]) -> Option<Vec<u8>> {
    read_among(view, &view.own().snapshot(), path)
}

fn read_among(view: &View, own: &OwnSet, path: &[u8]) -> Option<Vec<u8>> {
    let opened = view.open_among(own, &DevicePath::new(path), How::File).ok().filter(|o| o.facts.size <= LIST_MAX)?;
    let mut text = Vec::new();
    opened.file.take(LIST_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::local::linux::view::tests::{TempTree, image};

    #[test]
    fn what_is_changed_and_what_is_gone() {
        let tree = TempTree::new();
        for (file, text) in [("img/usr/bin/same", "same"), ("img/usr/bin/changed", "after"), ("img/usr/share/doc", "x")]
        {
            std::fs::create_dir_all(tree.path(file).parent().unwrap()).unwrap();
            std::fs::write(tree.path(file), text).unwrap();
        }
        std::fs::create_dir_all(tree.path("img/var/lib/dpkg/info")).unwrap();
        let same = "51037a4a37730f52c8732586d3aaa316";
        let sums = format!(
            "{same}  usr/bin/same\n{same}  usr/bin/changed\n{same}  usr/bin/gone\n{same}  usr/share/doc\n{same}  usr/bin/../../etc/passwd\nnonsense\n"
        );
        std::fs::write(tree.path("img/var/lib/dpkg/info/a:amd64.md5sums"), sums).unwrap();
        let view = image(&tree, "img");
        let mut spool = Spool::new(&tree.path("home")).unwrap();
        write(&view, false, &mut spool, &Job::default()).unwrap();
        let mut text = String::new();
        spool.read().unwrap().1.read_to_string(&mut text).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of = |i: usize, field: &str| lines[i][field].as_str().unwrap().to_owned();
        assert_eq!((of(0, "path"), of(0, "state")), ("/usr/bin/changed".into(), "modified".into()));
        assert_eq!(
            (of(1, "path"), of(1, "state"), of(1, "package")),
            ("/usr/bin/gone".into(), "missing".into(), "a:amd64".into())
        );
        assert_eq!(lines[2], serde_json::json!({ "checked": 3, "intact": 1 }));
    }
}
