//! All that the device's packages own, in one look: for verdicts on thousands of files.
//!
//! Invariant: built from the package managers' own data (`dpkg` lists, sums, conffiles, diversions, overrides; `ucf`'s
//! sums), read as hostile text within bounds; a file's package is by its real path, never by a name alone.

use super::super::hash::Digests;
use super::super::rpm::Rpm;
use super::super::view::{How, View};
use super::super::workers::for_chunks;
use super::{INFO, read, read_entry};
use crate::error::{Error, Result};
use crate::model::{DevicePath, Job};
use rustix::fs::RawDir;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::mem::MaybeUninit;

/// Paths that are held at most: ten times a full desktop's.
const PATHS: usize = 4_000_000;
/// Lists that are read at most.
const LISTS: usize = 100_000;

/// The digest that a package's data has for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Sum {
    /// From hexadecimal digits; the kind is by their number.
    pub fn parse(digits: &[u8]) -> Option<Sum> {
        match digits.len() {
            32 => bytes_of(digits).map(Sum::Md5),
            40 => bytes_of(digits).map(Sum::Sha1),
            64 => bytes_of(digits).map(Sum::Sha256),
            _ => None,
        }
    }

    pub fn fits(&self, digests: &Digests) -> bool {
        match self {
            Sum::Md5(sum) => bytes_of(digests.md5.as_bytes()).as_ref() == Some(sum),
            Sum::Sha1(sum) => bytes_of(digests.sha1.as_bytes()).as_ref() == Some(sum),
            Sum::Sha256(sum) => bytes_of(digests.sha256.as_str().as_bytes()).as_ref() == Some(sum),
        }
    }
}

fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What is known of a path that a package has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Listed {
    package: u32,
    pub sum: Option<Sum>,
    /// Permission bits, where the package's data has them (not dpkg's).
    pub mode: Option<u32>,
}

/// What packages say of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The bytes are the package's.
    Unmodified(&'a str),
    Modified(&'a str),
    /// A package has it, but its data has no sum.
    Unknown(&'a str),
    Unowned,
}

impl Verdict<'_> {
    /// Owned by a package and unmodified; `None` where nobody knows.
    pub fn packaged(self) -> Option<bool> {
        match self {
            Verdict::Unmodified(_) => Some(true),
            Verdict::Modified(_) | Verdict::Unowned => Some(false),
            Verdict::Unknown(_) => None,
        }
    }
}

/// All packages' files.
#[derive(Debug, Default)]
pub struct Index {
    packages: Vec<String>,
    files: HashMap<Box<[u8]>, Listed>,
    /// Packages that have sums of their files.
    summed: HashSet<String>,
    /// Modes that the administrator gave to packages' files, `man 1 dpkg-statoverride`.
    overrides: HashMap<Vec<u8>, u32>,
    /// Link and target of all alternatives, `man 1 update-alternatives`.
    alternatives: HashSet<(Vec<u8>, Vec<u8>)>,
    /// Top directories that are links into `/usr`.
    merged: Vec<Vec<u8>>,
}

impl Index {
    /// Reads all package data of the device. Without any, it owns nothing.
    pub fn read(view: &View, job: &Job) -> Result<Index> {
        let mut index = Index { merged: merged(view), ..Index::default() };
        index.read_dpkg(view, job)?;
        index.read_rpm(view, job)?;
        Ok(index)
    }

    /// Whether the device has no package data at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn owner(&self, real_path: &[u8]) -> Option<(&str, &Listed)> {
        let listed = self.files.get(&*self.real(real_path))?;
        Some((self.packages.get(usize::try_from(listed.package).ok()?)?, listed))
    }

    /// Whether the data of a package of this name has any sums.
    pub fn has_sums(&self, name: &str) -> bool {
        self.summed.contains(name)
    }

    /// Names of all installed packages.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(String::as_str)
    }

    pub fn verdict(&self, real_path: &DevicePath, digests: Option<&Digests>) -> Verdict<'_> {
        let Some((package, listed)) = self.owner(real_path.as_bytes()) else { return Verdict::Unowned };
        match (listed.sum, digests) {
            (Some(sum), Some(digests)) if sum.fits(digests) => Verdict::Unmodified(package),
            (Some(_), Some(_)) => Verdict::Modified(package),
            _ => Verdict::Unknown(package),
        }
    }

    /// A package's file that has these bytes and the same name (or `dot.name`, as `base-files` keeps it): what a
    /// configuration that a package's script made is a copy of.
    pub fn original(&self, name: &[u8], digests: &Digests) -> Option<&[u8]> {
        let dotted = [b"dot", name].concat();
        self.files
            .iter()
            .find(|(path, listed)| {
                let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
                (base == name || base == dotted) && listed.sum.is_some_and(|sum| sum.fits(digests))
            })
            .map(|(path, _)| &**path)
    }

    pub fn statoverride(&self, real_path: &[u8]) -> Option<u32> {
        self.overrides.get(&*self.real(real_path)).copied()
    }

    /// Whether the link is an alternative's, and leads where one of its packages has it lead.
    pub fn is_alternative(&self, link: &[u8], target: &[u8]) -> bool {
        self.alternatives.contains(&(self.real(link), self.real(target)))
            || self.alternatives.contains(&(self.real(link), target.to_vec()))
    }

    /// The path as it is where `/bin`, `/lib`, … are links into `/usr`.
    fn real(&self, path: &[u8]) -> Vec<u8> {
        let top = path.split(|b| *b == b'/').nth(1).unwrap_or_default();
        match self.merged.iter().any(|m| m == top) {
            true => [b"/usr", path].concat(),
            false => path.to_vec(),
        }
    }

    fn package(&mut self, name: &[u8]) -> u32 {
        self.packages.push(String::from_utf8_lossy(name).into_owned());
        u32::try_from(self.packages.len() - 1).unwrap_or(u32::MAX)
    }

    fn read_dpkg(&mut self, view: &View, job: &Job) -> Result<()> {
        let Ok(info) = view.open(&DevicePath::new(INFO), How::Directory) else { return Ok(()) };
        let stems = stems(&info.file, job)?;
        let parts = for_chunks(&stems, |stems, made| {
            job.check()?;
            made.extend(stems.iter().filter_map(|stem| List::read(&info.file, stem)));
            Ok(())
        })?;
        let diversions = read(view, "/var/lib/dpkg/diversions").unwrap_or_default();
        let diversions = Diversions::parse(&diversions);
        for list in parts {
            self.add(&list, &diversions);
        }
        self.read_status(view, job)?;
        self.read_ucf(view);
        self.read_overrides(view);
        self.read_alternatives(view, job)
    }

    fn add(&mut self, list: &List, diversions: &Diversions<'_>) {
        let name = list.stem.split(|b| *b == b':').next().unwrap_or_default();
        let package = self.package(name);
        for path in list.files.split(|b| *b == b'\n').filter(|p| p.first() == Some(&b'/')) {
            if self.files.len() == PATHS {
                return;
            }
            let sum = None;
            let path = self.real(diversions.place(path, name));
            self.files.entry(path.into()).or_insert(Listed { package, sum, ..Listed::default() });
        }
        if !list.sums.is_empty() {
            self.summed.insert(String::from_utf8_lossy(name).into_owned());
        }
        for line in list.sums.split(|b| *b == b'\n') {
            let Some((sum, path)) = line.split_at_checked(32).and_then(|(s, p)| Some((s, p.strip_prefix(b"  ")?)))
            else {
                continue;
            };
            let path = [b"/", path].concat();
            let path = self.real(diversions.place(&path, name));
            // A file that another package has taken over stays in the sums, but no longer in the list.
            if let Some(listed) = self.files.get_mut(&*path).filter(|l| l.package == package) {
                listed.sum = Sum::parse(sum);
            }
        }
    }

    /// The conffiles' sums, which are in no `md5sums`.
    fn read_status(&mut self, view: &View, job: &Job) -> Result<()> {
        let status = read(view, "/var/lib/dpkg/status").unwrap_or_default();
        let mut conffiles = false;
        for line in status.split(|b| *b == b'\n') {
            job.check()?;
            match line.strip_prefix(b" ") {
                None => conffiles = line == b"Conffiles:",
                Some(entry) if conffiles => self.add_conffile(entry),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn add_conffile(&mut self, entry: &[u8]) {
        let entry = match entry.iter().rposition(|b| *b == b' ') {
            Some(at) if matches!(entry.get(at + 1..), Some(b"obsolete" | b"remove-on-upgrade")) => &entry[..at],
            _ => entry,
        };
        let Some(at) = entry.iter().rposition(|b| *b == b' ') else { return };
        let (path, sum) = entry.split_at(at);
        let path = self.real(path);
        if let (Some(listed), Some(sum)) = (self.files.get_mut(&*path), Sum::parse(sum.trim_ascii_start())) {
            listed.sum = Some(sum);
        }
    }

    /// Configuration that packages keep by `ucf`: the packages are in its registry, the sums in its hash file.
    fn read_ucf(&mut self, view: &View) {
        let registry = read(view, "/var/lib/ucf/registry").unwrap_or_default();
        let sums = read(view, "/var/lib/ucf/hashfile").unwrap_or_default();
        let sums: HashMap<&[u8], &[u8]> = sums.split(|b| *b == b'\n').filter_map(pair).map(|(s, p)| (p, s)).collect();
        for (name, path) in registry.split(|b| *b == b'\n').filter_map(pair) {
            let (Some(sum), real) = (sums.get(path).and_then(|s| Sum::parse(s)), self.real(path)) else { continue };
            if !self.files.contains_key(&*real) {
                let package = self.package(name);
                self.files.insert(real.into(), Listed { package, sum: Some(sum), ..Listed::default() });
            }
        }
    }

    fn read_rpm(&mut self, view: &View, job: &Job) -> Result<()> {
        let Some(rpm) = Rpm::open(view)? else { return Ok(()) };
        let mut last: Option<(String, u32)> = None;
        rpm.each(job, &mut |path, claim| {
            let package = match &last {
                Some((name, package)) if *name == claim.package => *package,
                _ => {
                    let package = self.package(claim.package.as_bytes());
                    self.summed.insert(claim.package.clone());
                    last = Some((claim.package, package));
                    package
                }
            };
            let sum = claim.digest.and_then(|d| Sum::parse(d.as_bytes()));
            let mode = claim.mode.map(|m| u32::from(m) & 0o7777);
            let real = self.real(&path);
            if self.files.len() < PATHS {
                self.files.entry(real.into()).or_insert(Listed { package, sum, mode });
            }
        })
    }

    fn read_overrides(&mut self, view: &View) {
        let text = read(view, "/var/lib/dpkg/statoverride").unwrap_or_default();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.splitn(4, |b| *b == b' ').skip(2);
            let (Some(mode), Some(path)) = (fields.next(), fields.next()) else { continue };
            if let Some(mode) = std::str::from_utf8(mode).ok().and_then(|m| u32::from_str_radix(m, 8).ok()) {
                self.overrides.insert(self.real(path), mode);
            }
        }
    }

    /// A file of `alternatives` has: status, link; name and link of each slave, an empty line; each choice's path,
    /// priority and slaves' paths.
    fn read_alternatives(&mut self, view: &View, job: &Job) -> Result<()> {
        let Ok(folder) = view.open(&DevicePath::new("/var/lib/dpkg/alternatives"), How::Directory) else {
            return Ok(());
        };
        let mut text = Vec::new();
        for name in names(&folder.file, job)? {
            job.check()?;
            if !read_entry(&folder.file, &name, &mut text) {
                continue;
            }
            let mut lines = text.split(|b| *b == b'\n').skip(1);
            let mut links = vec![(name, lines.next().unwrap_or_default().to_vec())];
            while let (Some(slave), Some(link)) = (lines.next().filter(|l| !l.is_empty()), lines.next()) {
                links.push((slave.to_vec(), link.to_vec()));
            }
            while let Some(choice) = lines.next().filter(|l| !l.is_empty()) {
                let targets = std::iter::once(choice).chain(lines.by_ref().skip(1).take(links.len() - 1));
                for ((name, link), target) in links.iter().zip(targets.filter(|t| !t.is_empty())) {
                    let switch = [b"/etc/alternatives/", name.as_slice()].concat();
                    self.alternatives.insert((self.real(link), switch.clone()));
                    self.alternatives.insert((switch, target.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// One package's list and sums, as they are on disk.
struct List {
    stem: Vec<u8>,
    files: Vec<u8>,
    sums: Vec<u8>,
}

impl List {
    fn read(info: &File, stem: &[u8]) -> Option<List> {
        let (mut files, mut sums) = (Vec::new(), Vec::new());
        if !read_entry(info, &[stem, b".list"].concat(), &mut files) {
            return None;
        }
        if !read_entry(info, &[stem, b".md5sums"].concat(), &mut sums) {
            sums.clear();
        }
        Some(List { stem: stem.to_vec(), files, sums })
    }
}

/// Where packages' files are that another package's took the place of: original → (diverted, who diverted).
struct Diversions<'a>(HashMap<&'a [u8], (&'a [u8], &'a [u8])>);

impl<'a> Diversions<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        let triples = lines.chunks_exact(3).filter_map(|triple| match triple {
            [original, diverted, package] => Some((*original, (*diverted, *package))),
            _ => None,
        });
        Diversions(triples.collect())
    }

    fn place<'p>(&self, path: &'p [u8], package: &[u8]) -> &'p [u8]
    where
        'a: 'p,
    {
        match self.0.get(path) {
            Some((diverted, by)) if *by != package => diverted,
            _ => path,
        }
    }
}

fn stems(info: &File, job: &Job) -> Result<Vec<Vec<u8>>> {
    let mut stems = names(info, job)?;
    stems.retain_mut(|name| match name.strip_suffix(b".list").map(<[u8]>::len) {
        Some(length) => {
            name.truncate(length);
            true
        }
        None => false,
    });
    // Which package has a path that two list must not depend on the directory's order.
    stems.sort_unstable();
    Ok(stems)
}

fn names(directory: &File, job: &Job) -> Result<Vec<Vec<u8>>> {
    let directory = super::again(directory)?;
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        job.check()?;
        let entry = entry.map_err(|e| Error::io(INFO, e.into()))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && names.len() < LISTS * 8 {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// The two fields of a line with blanks between them.
fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(u8::is_ascii_whitespace)?;
    let (first, rest) = line.split_at(at);
    Some((first, rest.trim_ascii()))
}

fn merged(view: &View) -> Vec<Vec<u8>> {
    let tops: [&[u8]; 7] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32", b"libo32"];
    let is_merged = |top: &&[u8]| {
        let path = DevicePath::new([b"/", *top].concat());
        let opened = view.open(&path, How::Handle);
        opened.is_ok_and(|o| o.real_path.as_bytes() == [b"/usr/", *top].concat())
    };
    tops.into_iter().filter(is_merged).map(<[u8]>::to_vec).collect()
}
