//! Walks below a directory, one entry after the other, in constant memory: what a package is made from. (`linux::walk` is
//! faster, and holds its rows until it ends.)
//!
//! Invariant: no link is followed, no mount that may hang is entered, and no place is walked twice. What is not walked
//! is said in [`LeftOut`].

use crate::device::local::linux::dir::link_target;
use crate::device::local::linux::facts::Facts;
use crate::device::local::linux::mounts::{self, Mounts};
use crate::device::local::linux::own::OwnSet;
use crate::device::local::linux::view::{How, Opened, View};
use crate::device::local::linux::walk::open_below;
use crate::device::package::LeftOut;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity, Job};
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::collections::HashSet;
use std::mem::MaybeUninit;

/// Bytes of path that a walk goes down.
const DEPTH: usize = 32 * 1024;
pub const OWN: &str = "this program's own";
pub const DENIED: &str = "not readable by this account";
pub const GONE: &str = "gone meanwhile";
pub const FAILED: &str = "not readable";
/// Of files that the kernel makes up: a disk that is broken says the same.
pub const NOTHING: &str = "without content, or unreadable";
const MOUNT: &str = "a network, FUSE or automatic mount";
const DEEP: &str = "too deep";

/// What kept a file out.
pub fn reason(e: &Error) -> &'static str {
    match e.code {
        ErrorCode::SelfTarget => OWN,
        ErrorCode::Access => DENIED,
        ErrorCode::NotFound => GONE,
        _ => std::error::Error::source(e).and_then(|s| s.downcast_ref()).map_or(FAILED, io_reason),
    }
}

/// As [`reason`]: a process without memory, and settings without a value, answer with an error.
pub fn io_reason(e: &std::io::Error) -> &'static str {
    match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::SRCH | Errno::IO | Errno::INVAL | Errno::NODATA | Errno::NODEV) => NOTHING,
        Some(Errno::ACCESS | Errno::PERM) => DENIED,
        _ => FAILED,
    }
}

/// A file, link or other entry that was met.
#[derive(Debug)]
pub struct Found {
    pub path: DevicePath,
    pub facts: Facts,
    /// Where it is a link.
    pub target: Option<DevicePath>,
}

pub struct Walk<'a> {
    pub view: &'a View,
    pub set: &'a OwnSet,
    pub job: &'a Job,
    mounts: Mounts,
}

impl<'a> Walk<'a> {
    pub fn new(view: &'a View, set: &'a OwnSet, job: &'a Job) -> Walk<'a> {
        Walk { view, set, job, mounts: Mounts::read() }
    }

    /// The entry of this name, and the file that it leads to where it is a link.
    pub fn named(&self, path: &DevicePath, left_out: &mut LeftOut) -> Vec<Found> {
        let mut found = Vec::new();
        for how in [How::Link, How::Handle] {
            let opened = match self.view.open_among(self.set, path, how) {
                Ok(opened) => opened,
                Err(e) if matches!(e.code, ErrorCode::NotFound) => break,
                Err(e) => {
                    left_out.add(path, reason(&e));
                    break;
                }
            };
            let target = match opened.facts.is_symlink() {
                true => {
                    rustix::fs::readlinkat(&opened.file, "", Vec::new()).ok().map(|t| DevicePath::new(t.into_bytes()))
                }
                false => None,
            };
            let is_link = target.is_some();
            found.push(Found { path: opened.real_path, facts: opened.facts, target });
            if !is_link {
                break;
            }
        }
        found
    }

    /// Everything below the directory, `max_depth` levels of it.
    pub fn below(
        &self,
        start: &Opened,
        max_depth: u32,
        left_out: &mut LeftOut,
        give: &mut dyn FnMut(&mut LeftOut, Found) -> Result<()>,
    ) -> Result<()> {
        let mut waiting = vec![(Vec::new(), 1u32, start.facts.mount)];
        let mut entered = HashSet::from([start.facts.identity]);
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        while let Some((path, depth, mount)) = waiting.pop() {
            self.job.check()?;
            let here = shown(&start.real_path, &path);
            let Some((directory, mount)) = self.enter(start, &path, &here, mount, &mut entered, left_out) else {
                continue;
            };
            let points = self.mounts.left_out_in(shown(&DevicePath::new(start.host_path.as_slice()), &path).as_bytes());
            let mut entries = RawDir::new(&directory, &mut buffer);
            while let Some(entry) = entries.next() {
                let Ok(entry) = entry else {
                    left_out.add(&here, FAILED);
                    break;
                };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                self.job.check()?;
                let path_of = shown(&here, name.to_bytes());
                let facts = match mounts::facts_of(points, &directory, name) {
                    Ok(facts) => facts,
                    Err(Errno::NOENT) => continue,
                    Err(_) => {
                        left_out.add(&path_of, FAILED);
                        continue;
                    }
                };
                if self.set.holds(facts.identity) {
                    left_out.add(&path_of, OWN);
                    continue;
                }
                if facts.is_directory() && depth < max_depth {
                    match (points.iter().any(|(point, _)| point == name.to_bytes()), path.len() > DEPTH) {
                        (true, _) => left_out.add(&path_of, MOUNT),
                        (_, true) => left_out.add(&path_of, DEEP),
                        _ => waiting.push((below(&path, name.to_bytes()), depth + 1, mount)),
                    }
                }
                let target = if facts.is_symlink() { link_target(&directory, name) } else { None };
                give(left_out, Found { path: path_of, facts, target })?;
            }
        }
        Ok(())
    }

    /// Opens a directory of the walk; `None` where it is to be left out.
    fn enter(
        &self,
        start: &Opened,
        path: &[u8],
        shown: &DevicePath,
        mount: Option<u64>,
        entered: &mut HashSet<FileIdentity>,
        left_out: &mut LeftOut,
    ) -> Option<(std::os::fd::OwnedFd, Option<u64>)> {
        let directory = match open_below(&start.file, path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return None,
            Err(e) => {
                left_out.add(shown, if matches!(e, Errno::ACCESS | Errno::PERM) { DENIED } else { FAILED });
                return None;
            }
        };
        let facts = Facts::of(&directory).ok()?;
        if self.view.own().refuse(self.set, std::os::fd::AsFd::as_fd(&directory), shown).is_err() {
            left_out.add(shown, OWN);
            return None;
        }
        if facts.mount != mount {
            let kind = facts.mount.and_then(|id| self.mounts.kind(id)).unwrap_or_default();
            if mounts::is_left_out(&kind) {
                left_out.add(shown, MOUNT);
                return None;
            }
            // The same place under another mount was walked.
            if !entered.insert(facts.identity) {
                return None;
            }
        }
        Some((directory, facts.mount))
    }
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// A path, and a relative one below it; nothing below is the path itself.
fn shown(path: &DevicePath, relative: &[u8]) -> DevicePath {
    if relative.is_empty() { path.clone() } else { path.join(&DevicePath::new(relative)) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::device::local::linux::view::tests::{TempTree, deep_tree, image, text};

    pub fn walker<'a>(view: &'a View, set: &'a OwnSet, job: &'a Job) -> Walk<'a> {
        Walk::new(view, set, job)
    }

    /// The paths that a walk gives, in order.
    pub fn found(
        walk: impl FnOnce(&mut LeftOut, &mut dyn FnMut(&mut LeftOut, Found) -> Result<()>) -> Result<()>,
    ) -> Vec<String> {
        let mut paths = Vec::new();
        walk(&mut LeftOut::default(), &mut |_, found| {
            paths.push(found.path.to_text().into_owned());
            Ok(())
        })
        .unwrap();
        paths.sort();
        paths
    }

    #[test]
    fn own_state_is_left_out_and_counted() {
        let tree = TempTree::new();
        for file in ["home/guard/secret", "plain"] {
            std::fs::create_dir_all(tree.path(file).parent().unwrap()).unwrap();
            std::fs::write(tree.path(file), "x").unwrap();
        }
        std::fs::hard_link(tree.path("home/guard/secret"), tree.path("hard")).unwrap();
        let view = image(&tree, ".");
        let (set, job) = (view.own().snapshot(), Job::default());
        let walk = walker(&view, &set, &job);
        let start = view.open(&text("/"), How::Directory).unwrap();
        let mut left_out = LeftOut::default();
        let mut seen = Vec::new();
        walk.below(&start, 9, &mut left_out, &mut |_, found| {
            seen.push(found.path.to_text().into_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!((seen, left_out.counts.get(OWN)), (vec!["/plain".to_owned()], Some(&2)));
    }

    #[test]
    fn a_very_deep_tree_ends() {
        let tree = TempTree::new();
        deep_tree(&tree, 3_000);
        let view = image(&tree, ".");
        let (set, job) = (view.own().snapshot(), Job::default());
        let walk = walker(&view, &set, &job);
        let start = view.open(&text("/"), How::Directory).unwrap();
        let paths = found(|left_out, give| walk.below(&start, u32::MAX, left_out, give));
        assert_eq!(paths.len(), 3_001);
        assert_eq!(found(|left_out, give| walk.below(&start, 2, left_out, give)).len(), 2);
    }
}
