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
use std::sync::OnceLock;

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

/// Paths by their last part.
type ByName = HashMap<Vec<u8>, Vec<Box<[u8]>>>;

/// All packages' files.
#[derive(Debug, Default)]
pub struct Index {
    packages: Vec<String>,
    files: HashMap<Box<[u8]>, Listed>,
    /// Packages that have sums of their files.
    summed: HashSet<String>,
    /// Modes that the administrator gave to packages' files, `man 1 dpkg-statoverride`.
    overrides: HashMap<Vec<u8>, u32>,
    /// Where the names below `/etc/alternatives` may lead, `man 1 update-alternatives`.
    alternatives: HashMap<Vec<u8>, HashSet<Vec<u8>>>,
    /// Top directories that are links into `/usr`.
    merged: Vec<Vec<u8>>,
    /// Files that a package's script may copy, by their name.
    originals: OnceLock<ByName>,
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
        let originals = self.originals.get_or_init(|| {
            let mut originals = ByName::new();
            for path in self.files.keys().filter(|path| is_configuration(path)) {
                originals.entry(base(path).to_vec()).or_default().push(path.clone());
            }
            originals
        });
        let dotted = [b"dot", name].concat();
        let named = [name, &dotted].into_iter().filter_map(|name| originals.get(name)).flatten();
        let mut same = named
            .filter(|path| self.files.get(*path).is_some_and(|listed| listed.sum.is_some_and(|sum| sum.fits(digests))));
        same.next().map(|path| &**path)
    }

    pub fn statoverride(&self, real_path: &[u8]) -> Option<u32> {
        self.overrides.get(&*self.real(real_path)).copied()
    }

    /// Whether a name below `/etc/alternatives` leads where one of the installed choices has it lead; `None` where it
    /// is no alternative's.
    pub fn is_choice(&self, switch: &[u8], target: &[u8]) -> Option<bool> {
        let choices = self.alternatives.get(switch)?;
        Some(choices.contains(target) || choices.contains(&self.real(target)))
    }

    fn real(&self, path: &[u8]) -> Vec<u8> {
        real(&self.merged, path)
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
            Some(at) if matches!(entry.get(at + 1..), Some(b"obsolete" | b"remove-on-upgrade")) => {
                entry.get(..at).unwrap_or_default()
            }
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
            let mut switches = vec![name];
            lines.next();
            while let Some(slave) = lines.next().filter(|l| !l.is_empty()) {
                switches.push(slave.to_vec());
                lines.next();
            }
            while let Some(choice) = lines.next().filter(|l| !l.is_empty()) {
                let targets = std::iter::once(choice).chain(lines.by_ref().skip(1).take(switches.len() - 1));
                for (name, target) in switches.iter().zip(targets).filter(|(_, target)| !target.is_empty()) {
                    let choices =
                        self.alternatives.entry([b"/etc/alternatives/", name.as_slice()].concat()).or_default();
                    choices.insert(target.to_vec());
                    choices.insert(real(&self.merged, target));
                }
            }
        }
        Ok(())
    }
}

/// The path as it is where `/bin`, `/lib`, … are links into `/usr`.
fn real(merged: &[Vec<u8>], path: &[u8]) -> Vec<u8> {
    let top = path.split(|b| *b == b'/').nth(1).unwrap_or_default();
    match merged.iter().any(|m| m == top) {
        true => [b"/usr", path].concat(),
        false => path.to_vec(),
    }
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

/// What scripts of packages make files of `/etc` and of homes from.
fn is_configuration(path: &[u8]) -> bool {
    let shared = path.strip_prefix(b"/usr/share/").and_then(|rest| rest.split(|b| *b == b'/').next());
    path.starts_with(b"/etc/")
        || shared.is_some_and(|top| !matches!(top, b"doc" | b"man" | b"locale" | b"icons" | b"fonts" | b"help"))
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

#[cfg(test)]
mod tests {
    use super::super::super::hash::of_bytes;
    use super::super::super::view::tests::{TempTree, image, text};
    use super::*;

    fn write(tree: &TempTree, path: &str, content: &str) {
        let path = tree.path("img").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Package `a` has `x`, `b` has `y`, both list `/bin/both`.
    fn root() -> TempTree {
        let tree = TempTree::new();
        let sum = |bytes: &str| of_bytes(bytes.as_bytes()).md5;
        write(&tree, "var/lib/dpkg/info/a.list", "/bin/x\n/bin/both\nrelative\n\n");
        write(&tree, "var/lib/dpkg/info/a.md5sums", &format!("{}  bin/x\n{}  bin/both\n", sum("x"), sum("a")));
        write(&tree, "var/lib/dpkg/info/b:amd64.list", "/usr/bin/y\n/bin/both\n/etc/y.conf\n");
        let sums = format!("{}  usr/bin/y\nshort  x\n{}  bin/x\n{}  bin/both\n", sum("y"), sum("taken"), sum("b"));
        write(&tree, "var/lib/dpkg/info/b:amd64.md5sums", &sums);
        let conffiles =
            format!("Conffiles:\n /etc/y.conf {} obsolete\n odd\nVersion: 1\n /bin/x {}\n", sum("c"), sum("z"));
        write(&tree, "var/lib/dpkg/status", &conffiles);
        tree
    }

    fn index(tree: &TempTree) -> Index {
        Index::read(&image(tree, "img"), &Job::default()).unwrap()
    }

    fn packaged(index: &Index, path: &str, bytes: &str) -> Option<bool> {
        index.verdict(&text(path), Some(&of_bytes(bytes.as_bytes()))).packaged()
    }

    #[test]
    fn a_sum_counts_only_of_the_package_that_lists_the_file() {
        let index = index(&root());
        assert_eq!(packaged(&index, "/bin/x", "x"), Some(true));
        assert_eq!(packaged(&index, "/bin/x", "taken"), Some(false));
        assert_eq!(packaged(&index, "/bin/x", "z"), Some(false));
        assert_eq!(packaged(&index, "/etc/y.conf", "c"), Some(true));
        assert_eq!(packaged(&index, "/relative", ""), Some(false));
        assert_eq!(index.verdict(&text("/bin/x"), None), Verdict::Unknown("a"));
    }

    #[test]
    fn a_diverted_file_has_the_sum_of_the_package_that_is_there() {
        let tree = root();
        write(&tree, "var/lib/dpkg/diversions", "/bin/both\n/bin/both.distrib\nb\n/cut\n");
        let index = index(&tree);
        assert_eq!((packaged(&index, "/bin/both", "b"), packaged(&index, "/bin/both", "a")), (Some(true), Some(false)));
        assert_eq!(packaged(&index, "/bin/both.distrib", "a"), Some(true));
    }

    #[test]
    fn on_a_merged_usr_both_names_are_one() {
        let tree = root();
        std::fs::create_dir_all(tree.path("img/usr/bin")).unwrap();
        assert_eq!(packaged(&index(&tree), "/usr/bin/x", "x"), Some(false));
        std::os::unix::fs::symlink("usr/bin", tree.path("img/bin")).unwrap();
        let index = index(&tree);
        assert_eq!((packaged(&index, "/usr/bin/x", "x"), packaged(&index, "/bin/y", "y")), (Some(true), Some(true)));
    }

    #[test]
    fn what_ucf_keeps_is_its_package_s() {
        let tree = root();
        write(&tree, "var/lib/ucf/registry", "c \t /etc/kept\nd /etc/unsummed\nx\n");
        write(&tree, "var/lib/ucf/hashfile", &format!("{}  /etc/kept\n", of_bytes(b"k").md5));
        let index = index(&tree);
        assert_eq!(index.verdict(&text("/etc/kept"), Some(&of_bytes(b"k"))), Verdict::Unmodified("c"));
        assert_eq!(index.verdict(&text("/etc/unsummed"), None), Verdict::Unowned);
    }
}
