//! The package that owns a file, from dpkg's own data (`man 5 deb`, `man 1 dpkg-divert`) or rpm's, on the host or in an
//! image.
//!
//! Invariant: nothing of a package is run or unpacked; its lists are read as hostile text, one at a time.

pub mod index;

use super::hash::Digests;
use super::rpm::Rpm;
use super::view::{How, View, open_at};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, PackageOwner};
use crate::shape::Untrusted;
use memchr::memmem::Finder;
use rustix::fs::{OFlags, RawDir, ResolveFlags};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

const INFO: &str = "/var/lib/dpkg/info";
/// A list longer than this is no list of dpkg's.
const LIST_LIMIT: u64 = 64 * 1024 * 1024;

/// A package's claim to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    pub name: String,
    pub version: Option<String>,
    /// What the package's file has, 32 lower-case hex digits; `None` where its data names none.
    pub md5: Option<String>,
}

/// The owner of the file at a real path, by dpkg or rpm, with the verdict on its bytes.
pub fn owner(view: &View, real_path: &DevicePath, digests: &Digests, job: &Job) -> Result<Option<PackageOwner>> {
    if let Some(owned) = find(view, real_path, job)? {
        return Ok(Some(PackageOwner {
            name: Untrusted::new(owned.name),
            version: owned.version.map(Untrusted::new),
            manager: "dpkg".into(),
            unmodified: owned.md5.map(|listed| listed == digests.md5),
        }));
    }
    let Some(rpm) = Rpm::open(view)? else { return Ok(None) };
    Ok(rpm.find(real_path)?.map(|claim| PackageOwner {
        unmodified: claim.is_of(digests),
        name: Untrusted::new(claim.package),
        version: claim.version.map(Untrusted::new),
        manager: "rpm".into(),
    }))
}

/// The owner of the file at a real path. `None` where no package has it, or where there is no dpkg.
pub fn find(view: &View, real_path: &DevicePath, job: &Job) -> Result<Option<Owned>> {
    let info = match view.open(&DevicePath::new(INFO), How::Directory) {
        Ok(info) => info.file,
        Err(e) if e.code == ErrorCode::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    for claim in claims(view, real_path) {
        let Some(stem) = listed_by(&info, &claim, &mut text, job)? else { continue };
        return Ok(Some(about(view, &info, &stem, &claim.path)));
    }
    Ok(None)
}

/// Under which name some package may list the file.
#[derive(Debug, PartialEq)]
struct Claim {
    path: Vec<u8>,
    /// Only this package's file is there: it diverted the others'.
    only: Option<Vec<u8>>,
    /// This package's file is elsewhere, under the diverted name's original.
    not: Option<Vec<u8>>,
}

fn claims(view: &View, path: &DevicePath) -> Vec<Claim> {
    let diversions = read(view, "/var/lib/dpkg/diversions").unwrap_or_default();
    let lines: Vec<&[u8]> = diversions.split(|b| *b == b'\n').collect();
    let names = aliases(path.as_bytes());
    let mut claims = Vec::new();
    for name in &names {
        let mut claim = Claim { path: name.clone(), only: None, not: None };
        for triple in lines.chunks_exact(3) {
            let [original, diverted, package] = triple else { continue };
            // ":" is a diversion of the administrator's, which leaves no package's file in place.
            if *diverted == name.as_slice() {
                claim.path = original.to_vec();
                claim.not = Some(package.to_vec());
            } else if *original == name.as_slice() {
                claim.only = Some(package.to_vec());
            }
        }
        claims.push(claim);
    }
    claims
}

/// The names that dpkg may know the file by: on a merged `/usr`, `/usr/lib/x` may be listed as `/lib/x`.
fn aliases(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![path.to_vec()];
    if let Some(short) = path.strip_prefix(b"/usr")
        && let Some(top) = short.split(|b| *b == b'/').nth(1)
        && matches!(top, b"bin" | b"sbin" | b"lib" | b"lib32" | b"lib64" | b"libx32" | b"libo32")
    {
        names.push(short.to_vec());
    }
    names
}

/// The stem (`libc6:amd64`) of the list that has the path as a line of its own.
fn listed_by(info: &File, claim: &Claim, text: &mut Vec<u8>, job: &Job) -> Result<Option<Vec<u8>>> {
    let finder = Finder::new(&claim.path);
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    let info = again(info)?;
    let mut entries = RawDir::new(&info, &mut buffer);
    while let Some(entry) = entries.next() {
        job.check()?;
        let entry = entry.map_err(|e| Error::io(INFO, e.into()))?;
        let Some(stem) = entry.file_name().to_bytes().strip_suffix(b".list") else { continue };
        let package = stem.split(|b| *b == b':').next().unwrap_or_default();
        let excluded =
            claim.not.as_deref() == Some(package) || claim.only.as_deref().is_some_and(|only| only != package);
        if excluded || !read_entry(&info, entry.file_name().to_bytes(), text) {
            continue;
        }
        if has_line(text, &finder, claim.path.len()) {
            return Ok(Some(stem.to_vec()));
        }
    }
    Ok(None)
}

/// A handle with a cursor of its own.
fn again(directory: &File) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open_at(directory.as_fd(), b".", flags, ResolveFlags::empty()).map_err(|e| Error::io(INFO, e.into()))?;
    Ok(fd.into())
}

fn has_line(text: &[u8], finder: &Finder<'_>, length: usize) -> bool {
    finder.find_iter(text).any(|at| {
        let begins = at == 0 || text.get(at - 1) == Some(&b'\n');
        begins && text.get(at + length).is_none_or(|b| *b == b'\n')
    })
}

fn about(view: &View, info: &File, stem: &[u8], path: &[u8]) -> Owned {
    let mut parts = stem.split(|b| *b == b':');
    let name = parts.next().unwrap_or_default();
    let stanza = stanza(view, name, parts.next());
    let mut sums = Vec::new();
    let from_sums = read_entry(info, &[stem, b".md5sums"].concat(), &mut sums).then(|| sum_in(&sums, path)).flatten();
    Owned {
        name: String::from_utf8_lossy(name).into_owned(),
        version: stanza
            .as_deref()
            .and_then(|s| field(s, b"Version: "))
            .map(|v| String::from_utf8_lossy(v).into_owned()),
        md5: from_sums.or_else(|| stanza.as_deref().and_then(|s| conffile_sum(s, path))),
    }
}

/// A line of `md5sums` is the sum, two spaces, the path without its first `/`.
fn sum_in(sums: &[u8], path: &[u8]) -> Option<String> {
    let path = path.strip_prefix(b"/")?;
    sums.split(|b| *b == b'\n').find_map(|line| {
        let (sum, rest) = line.split_at_checked(32)?;
        (rest.strip_prefix(b"  ")? == path).then(|| sum_text(sum)).flatten()
    })
}

/// A line of `Conffiles:` is a space, the path, a space, the sum.
fn conffile_sum(stanza: &[u8], path: &[u8]) -> Option<String> {
    stanza.split(|b| *b == b'\n').find_map(|line| {
        let rest = line.strip_prefix(b" ")?.strip_prefix(path)?.strip_prefix(b" ")?;
        sum_text(rest.split(|b| *b == b' ').next()?)
    })
}

fn sum_text(sum: &[u8]) -> Option<String> {
    let is_sum = sum.len() == 32 && sum.iter().all(u8::is_ascii_hexdigit);
    is_sum.then(|| String::from_utf8_lossy(sum).to_ascii_lowercase())
}

/// The package's paragraph of `status`, or of its file in `status.d` where a container image has that.
fn stanza(view: &View, name: &[u8], architecture: Option<&[u8]>) -> Option<Vec<u8>> {
    let status = read(view, "/var/lib/dpkg/status").unwrap_or_default();
    let heading = [b"Package: ", name].concat();
    let finder = Finder::new(&heading);
    let found = finder.find_iter(&status).filter(|at| *at == 0 || status.get(at - 1) == Some(&b'\n')).find_map(|at| {
        let rest = status.get(at..)?;
        let end = Finder::new(b"\n\n").find(rest).unwrap_or(rest.len());
        let stanza = rest.get(..end)?;
        let same = field(stanza, b"Package: ")? == name
            && architecture.is_none_or(|a| field(stanza, b"Architecture: ") == Some(a));
        same.then(|| stanza.to_vec())
    });
    found.or_else(|| read_path(view, &DevicePath::new([b"/var/lib/dpkg/status.d/", name].concat())))
}

fn field<'a>(stanza: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    stanza.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

fn read(view: &View, path: &str) -> Option<Vec<u8>> {
    read_path(view, &DevicePath::new(path))
}

fn read_path(view: &View, path: &DevicePath) -> Option<Vec<u8>> {
    let opened = view.open(path, How::File).ok().filter(|o| o.facts.size <= LIST_LIMIT)?;
    let mut text = Vec::new();
    opened.file.take(LIST_LIMIT).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Reads a regular file of the directory; `false` where it is none.
fn read_entry(directory: &File, name: &[u8], text: &mut Vec<u8>) -> bool {
    text.clear();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(fd) = open_at(directory.as_fd(), name, flags, ResolveFlags::NO_SYMLINKS) else { return false };
    let file = File::from(fd);
    let is_file = super::facts::Facts::of(&file).is_ok_and(|f| f.is_file() && f.size <= LIST_LIMIT);
    is_file && file.take(LIST_LIMIT).read_to_end(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{TempTree, image, text};
    use super::*;

    const SUM: &str = "0123456789abcdef0123456789abcdef";

    fn dpkg_root(tree: &TempTree) -> View {
        let info = tree.path("img/var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        let write = |name: &str, text: String| std::fs::write(info.join(name), text).unwrap();
        write("dash.list", "/.\n/bin\n/bin/sh\n/etc/dash.conf\n/usr/bin/shred-more\n".into());
        write("dash.md5sums", format!("{SUM}  bin/sh\n"));
        write("libc6:amd64.list", "/lib/libc.so\n".into());
        write("bash.list", "/bin/sh\n/usr/bin/shred".into());
        std::fs::write(
            tree.path("img/var/lib/dpkg/status"),
            format!(
                "Package: dashboard\nVersion: 9\n\nPackage: dash\nArchitecture: amd64\nVersion: 0.5-1\nConffiles:\n \
                 /etc/dash.conf {SUM} obsolete\n\nPackage: libc6\nArchitecture: i386\nVersion: 1\n\nPackage: \
                 libc6\nArchitecture: amd64\nVersion: 2\n"
            ),
        )
        .unwrap();
        std::fs::write(tree.path("img/var/lib/dpkg/diversions"), "/bin/sh\n/bin/sh.distrib\ndash\n").unwrap();
        image(tree, "img")
    }

    fn found(view: &View, path: &str) -> Option<Owned> {
        find(view, &text(path), &Job::default()).unwrap()
    }

    #[test]
    fn a_fifo_among_the_lists_does_not_block() {
        let tree = TempTree::new();
        let view = dpkg_root(&tree);
        let fifo = tree.path("img/var/lib/dpkg/info/aaa.list");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert_eq!(found(&view, "/nothing"), None);
    }

    #[test]
    fn a_whole_line_owns_and_a_part_of_one_does_not() {
        let tree = TempTree::new();
        let view = dpkg_root(&tree);
        assert_eq!(found(&view, "/usr/bin/shred").unwrap().name, "bash");
        assert_eq!(found(&view, "/usr/bin/shred-more").unwrap().name, "dash");
        assert_eq!(found(&view, "/usr/bin/sh"), found(&view, "/bin/sh"));
        assert_eq!(found(&view, "/usr/bin/shre"), None);
    }

    #[test]
    fn a_diverted_file_belongs_to_the_other_package() {
        let tree = TempTree::new();
        let view = dpkg_root(&tree);
        assert_eq!(found(&view, "/bin/sh").unwrap().name, "dash");
        assert_eq!(found(&view, "/bin/sh.distrib").unwrap().name, "bash");
    }

    #[test]
    fn version_and_sum_are_of_the_right_architecture_and_name() {
        let tree = TempTree::new();
        let view = dpkg_root(&tree);
        assert_eq!(
            found(&view, "/usr/lib/libc.so"),
            Some(Owned { name: "libc6".into(), version: Some("2".into()), md5: None })
        );
        let dash = found(&view, "/etc/dash.conf").unwrap();
        assert_eq!((dash.version.as_deref(), dash.md5.as_deref()), (Some("0.5-1"), Some(SUM)));
    }

    #[test]
    fn unmodified_is_by_the_listed_sum() {
        let tree = TempTree::new();
        let view = dpkg_root(&tree);
        let verdict = |md5: &str| {
            let sha256 = crate::model::Sha256::of(b"");
            let digests = Digests { md5: md5.into(), sha1: String::new(), sha256, tlsh: None, bytes: 0 };
            owner(&view, &text("/bin/sh"), &digests, &Job::default()).unwrap().unwrap().unmodified
        };
        assert_eq!((verdict(SUM), verdict("f")), (Some(true), Some(false)));
    }

    #[test]
    fn no_dpkg_no_owner() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("img")).unwrap();
        assert_eq!(found(&image(&tree, "img"), "/bin/sh"), None);
    }
}
