//! One scan: what all techniques share, and how a file becomes a row.
//!
//! Invariants: a file is read within a bound and only as a regular file; what could not be read is said once, in a
//! warning; a row's verdict is by the file that the path leads to.

use super::super::facts::Facts;
use super::super::hash::{self, Digests};
use super::super::package::index::{Index, Verdict};
use super::super::secret::Known;
use super::super::view::{How, Opened, View};
use super::accounts::{Account, Home, homes};
use super::sweep::Sweep;
use super::text::{Style, command, is_text};
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity, Job, Persistence, Sha256, Timestamp};
use crate::shape::Untrusted;
use rustix::fs::{FileType, RawDir};
use std::collections::HashSet;
use std::io::Read;
use std::mem::MaybeUninit;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes of a file that are looked at as text.
const TEXT: u64 = 1 << 20;
/// Bytes of a file that are hashed: what starts programs is smaller.
pub const HASHED: u64 = 256 << 20;
/// Entries of one directory.
const ENTRIES: usize = 50_000;
/// Files below one directory of a tree.
const TREE: usize = 100_000;
/// Unreadable files that the warning names.
const NAMED: usize = 5;
/// A file of no package whose change came so much later than its modification time says.
const STOMPED_SECS: i64 = 86_400;

/// What the techniques of one scan look at.
pub struct Scan<'a> {
    pub view: &'a View,
    pub job: &'a Job,
    pub accounts: Vec<Account>,
    pub homes: Vec<Home>,
    pub packages: Index,
    /// What is shown to nobody unasked.
    secrets: Known,
    sweep: OnceLock<Option<Sweep>>,
    unread: Mutex<Unread>,
}

#[derive(Default)]
struct Unread {
    seen: HashSet<DevicePath>,
}

impl<'a> Scan<'a> {
    pub fn new(view: &'a View, job: &'a Job) -> Result<Scan<'a>> {
        let mut scan = Scan {
            view,
            job,
            accounts: Vec::new(),
            homes: Vec::new(),
            packages: Index::read(view, job)?,
            secrets: Known::of(view),
            sweep: OnceLock::new(),
            unread: Mutex::default(),
        };
        for file in ["/etc/passwd", "/var/lib/extrausers/passwd"] {
            scan.accounts.extend(scan.text(file).map(|text| Account::all(&text)).unwrap_or_default());
        }
        let found =
            scan.dir("/home").into_iter().filter(|(_, kind)| *kind == FileType::Directory).map(|(path, _)| path);
        scan.homes = homes(&scan.accounts, found.chain([DevicePath::new("/root")]));
        scan.homes.retain(|home| view.open(&home.path, How::Handle).is_ok_and(|o| o.facts.is_directory()));
        Ok(scan)
    }

    /// What one walk over the whole file system found; made when it is first asked for.
    pub fn sweep(&self) -> Result<&Sweep> {
        let mut failed = None;
        let sweep = self.sweep.get_or_init(|| Sweep::read(self).map_err(|e| failed = Some(e)).ok());
        match (sweep, failed) {
            (Some(sweep), _) => Ok(sweep),
            (None, Some(e)) => Err(e),
            // Another technique has the error, and the whole scan with it.
            (None, None) => Ok(Sweep::none()),
        }
    }

    /// Looks at a regular file; `None` where there is none, or none that may be read.
    pub fn look(&self, path: &DevicePath) -> Option<Item> {
        self.look_for(path, true)
    }

    /// [`Scan::look`]; a program is no copy of a package's configuration, whatever its name.
    pub fn look_at_program(&self, path: &DevicePath) -> Option<Item> {
        self.look_for(path, false)
    }

    fn look_for(&self, path: &DevicePath, copies: bool) -> Option<Item> {
        let opened = match self.view.open(path, How::File) {
            Ok(opened) => opened,
            Err(e) => {
                self.note_unread(path, e.code);
                return None;
            }
        };
        let mut text = Vec::new();
        if let Err(e) = (&opened.file).take(TEXT + 1).read_to_end(&mut text) {
            self.note_unread(path, crate::error::Error::io("", e).code);
            return None;
        }
        let digests = if text.len() as u64 <= TEXT {
            Some(hash::of_bytes(&text))
        } else {
            text.truncate(usize::try_from(TEXT).unwrap_or(usize::MAX));
            (opened.facts.size <= HASHED)
                .then(|| hash::digest_within(&opened.file, false, HASHED, self.job).ok())
                .flatten()
        };
        let secret = self.secrets.reason(path, &opened);
        if let Some(why) = secret {
            text.clear();
            self.job.warn(format!("what {path} holds was not looked at: {why}"));
        }
        let mut item = Item {
            path: path.clone(),
            real_path: opened.real_path,
            facts: opened.facts,
            text,
            packaged: None,
            package: None,
            digests,
            notes: Vec::new(),
        };
        self.judge(&mut item, copies);
        item.notes.extend(secret.map(|why| format!("its content is not shown: {why}")));
        Some(item)
    }

    fn judge(&self, item: &mut Item, copies: bool) {
        let digests = item.digests.as_ref();
        let verdict = self.packages.verdict(&item.real_path, digests);
        item.packaged = verdict.packaged();
        match verdict {
            Verdict::Modified(package) => {
                item.package = Some(package.to_owned());
                item.notes.push(format!("modified: {package} has other bytes"));
            }
            Verdict::Unmodified(package) | Verdict::Unknown(package) => item.package = Some(package.to_owned()),
            Verdict::Unowned => {
                let name = item.real_path.name();
                let original = digests.filter(|_| copies).and_then(|d| self.packages.original(name.as_bytes(), d));
                if let Some(original) = original {
                    item.packaged = Some(true);
                    item.notes.push(format!("the same as {}", DevicePath::new(original)));
                }
            }
        }
        if digests.is_none() {
            item.notes.push(format!("{} bytes, more than are hashed", item.facts.size));
        }
        item.notes.extend(traces(&item.facts, item.packaged == Some(true)));
    }

    /// The first megabyte of a file of the system, for what is parsed and not shown.
    pub fn text(&self, path: &str) -> Option<Vec<u8>> {
        self.unshown(&DevicePath::new(path))
    }

    /// As [`Scan::text`], of any file: only whether something is in it may be told.
    pub fn unshown(&self, path: &DevicePath) -> Option<Vec<u8>> {
        self.first(self.view.open(path, How::File).map_err(|e| self.note_unread(path, e.code)).ok()?)
    }

    /// The first megabyte of a file, where it may be read and is no secret.
    pub fn text_of(&self, path: &DevicePath) -> Option<Vec<u8>> {
        let opened = self.view.open(path, How::File).map_err(|e| self.note_unread(path, e.code)).ok()?;
        if self.secrets.reason(path, &opened).is_some() {
            return None;
        }
        self.first(opened)
    }

    fn first(&self, opened: Opened) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        (&opened.file).take(TEXT).read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// The entries of a directory in the order of their names; none where there is none. A link to a file counts as
    /// that file.
    pub fn dir(&self, path: impl AsRef<[u8]>) -> Vec<(DevicePath, FileType)> {
        let path = DevicePath::new(path.as_ref());
        let opened = match self.view.open(&path, How::Directory) {
            Ok(opened) => opened,
            Err(e) => {
                self.note_unread(&path, e.code);
                return Vec::new();
            }
        };
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(&opened.file, &mut buffer);
        let mut found = Vec::new();
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if found.len() == ENTRIES {
                self.job.warn(format!("{path} has more than {ENTRIES} entries: the others were not looked at"));
                break;
            }
            found.push((path.join(&DevicePath::new(name)), entry.file_type()));
        }
        for (path, kind) in &mut found {
            if !matches!(kind, FileType::Directory | FileType::RegularFile) {
                let linked = *kind == FileType::Symlink;
                let led = self.view.open(path, How::Handle);
                let led = led.map_or(FileType::Unknown, |o| FileType::from_raw_mode(o.facts.mode));
                // A tree is not left through a link.
                *kind = if linked && led == FileType::Directory { FileType::Symlink } else { led };
            }
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// The regular files of directories (links to such, too), each once, in order of the directories.
    pub fn files_in<P: AsRef<[u8]>>(&self, directories: impl IntoIterator<Item = P>) -> Vec<DevicePath> {
        let mut seen = HashSet::new();
        let fresh = directories.into_iter().filter(|d| self.is_new(d.as_ref(), &mut seen)).collect::<Vec<_>>();
        let files = fresh.iter().flat_map(|d| self.dir(d));
        files.filter(|(_, kind)| *kind == FileType::RegularFile).map(|(path, _)| path).collect()
    }

    /// The regular files below directories down to a depth, links to directories not followed.
    pub fn files_below<P: AsRef<[u8]>>(&self, directories: impl IntoIterator<Item = P>, depth: u32) -> Vec<DevicePath> {
        let mut seen = HashSet::new();
        let mut waiting: Vec<(DevicePath, u32)> =
            directories.into_iter().map(|d| (DevicePath::new(d.as_ref()), depth)).collect();
        waiting.reverse();
        let mut files = Vec::new();
        while let Some((directory, depth)) = waiting.pop() {
            if self.job.check().is_err() || files.len() >= TREE || !self.is_new(directory.as_bytes(), &mut seen) {
                continue;
            }
            for (path, kind) in self.dir(directory.as_bytes()) {
                match kind {
                    FileType::RegularFile => files.push(path),
                    FileType::Directory if depth > 1 => waiting.push((path, depth - 1)),
                    _ => {}
                }
            }
        }
        if files.len() >= TREE {
            self.job.warn(format!("more than {TREE} files lie below one place: the others were not looked at"));
        }
        files
    }

    /// A path below every home that has it, with whose home it is.
    pub fn in_homes<'s>(&'s self, names: &'s [&'s str]) -> impl Iterator<Item = (DevicePath, &'s Home)> + 's {
        self.homes.iter().flat_map(move |home| names.iter().map(move |n| (home.path.join(&DevicePath::new(*n)), home)))
    }

    fn is_new(&self, directory: &[u8], seen: &mut HashSet<FileIdentity>) -> bool {
        match self.view.open(&DevicePath::new(directory), How::Handle) {
            Ok(opened) => seen.insert(opened.facts.identity),
            Err(e) => {
                self.note_unread(&DevicePath::new(directory), e.code);
                false
            }
        }
    }

    /// Remembers what the account may not see; what is not there, or no file, is nothing to tell.
    pub fn note_unread(&self, path: &DevicePath, code: ErrorCode) {
        if matches!(code, ErrorCode::Access | ErrorCode::Backend) {
            self.unread.lock().unwrap_or_else(PoisonError::into_inner).seen.insert(path.clone());
        }
    }

    /// Says what could not be read.
    pub fn warn(&self) {
        let unread = std::mem::take(&mut *self.unread.lock().unwrap_or_else(PoisonError::into_inner));
        let count = unread.seen.len();
        if count > 0 {
            let mut named: Vec<_> = unread.seen.into_iter().collect();
            named.sort_unstable();
            let more = if count > NAMED { ", …" } else { "" };
            let names = named.iter().take(NAMED).map(DevicePath::to_string).collect::<Vec<_>>().join(", ");
            let noun = if count == 1 { "place" } else { "places" };
            self.job.warn(format!("{count} {noun} could not be read: {names}{more}; run as root to see them"));
        }
        if self.packages.is_empty() {
            self.job.warn("no package database was found: nothing here counts as packaged");
        }
    }

    /// What a package gave a file that was changed since, from where packages keep another copy of it.
    fn originals(&self, item: &Item) -> Vec<Vec<u8>> {
        let (path, name) = (item.real_path.as_bytes(), item.real_path.name());
        let name = name.as_bytes();
        let beside = |ending: &[u8]| [path, ending].concat();
        let cached: Vec<u8> = path.iter().map(|b| if *b == b'/' { b':' } else { *b }).collect();
        let mut places = vec![beside(b".dpkg-dist"), beside(b".ucf-dist"), beside(b".rpmnew"), beside(b".dpkg-new")];
        places.push([b"/var/lib/ucf/cache/", &cached[..]].concat());
        places.push([b"/etc/skel/", name].concat());
        places.push([b"/usr/share/base-files/", name].concat());
        places.push([b"/usr/share/base-files/dot", name].concat());
        if let Some(package) = &item.package {
            places.push([b"/usr/share/", package.as_bytes(), b"/", name].concat());
            places.push([b"/usr/share/doc/", package.as_bytes(), b"/examples/", name].concat());
        }
        let others = places.into_iter().filter(|place| place != path);
        let others = others.filter_map(|place| self.look_for(&DevicePath::new(place), false));
        // Anyone could put a file beside it: only what has the package's sum tells what the package gave.
        let listed = self.packages.owner(path).and_then(|(_, listed)| listed.sum);
        let given = |other: &Item| {
            other.packaged == Some(true) || listed.zip(other.digests.as_ref()).is_some_and(|(sum, d)| sum.fits(d))
        };
        others.filter(given).map(|other| other.text).collect()
    }

    /// The lines of a file that run, as its row tells them: of one that no package vouches for all of them, of a
    /// changed one those that changed where the original is known. `None` where nothing in it runs.
    pub fn lines(&self, item: &Item, style: &Style) -> Option<Vec<Vec<u8>>> {
        if !is_text(&item.text) {
            return (!item.text.is_empty() && style.keep.is_none()).then(Vec::new);
        }
        let mut lines = style.lines(&item.text);
        if lines.is_empty() {
            return None;
        }
        if style.keep.is_none() && item.packaged == Some(true) {
            return Some(Vec::new());
        }
        if item.packaged == Some(false) {
            let fewer = self.originals(item).into_iter().map(|original| {
                let known: HashSet<Vec<u8>> = style.lines(&original).into_iter().collect();
                lines.iter().filter(|line| !known.contains(*line)).cloned().collect::<Vec<_>>()
            });
            if let Some(fewer) = fewer.min_by_key(Vec::len) {
                lines = fewer;
            }
        }
        Some(lines)
    }
}

/// A file that was looked at.
pub struct Item {
    pub path: DevicePath,
    pub real_path: DevicePath,
    pub facts: Facts,
    /// Its first megabyte.
    pub text: Vec<u8>,
    pub packaged: Option<bool>,
    pub package: Option<String>,
    pub digests: Option<Digests>,
    pub notes: Vec<String>,
}

impl Item {
    pub fn is_executable(&self) -> bool {
        self.facts.mode & 0o111 != 0
    }
}

/// What a file's own metadata says of tampering: flags against removal, times that do not fit, open rights.
pub fn traces(facts: &Facts, packaged: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if facts.immutable {
        notes.push("immutable".to_owned());
    }
    if facts.append_only {
        notes.push("append only".to_owned());
    }
    if facts.mode & 0o002 != 0 && facts.is_file() {
        notes.push("writable by everyone".to_owned());
    }
    // What packages bring keeps the time it was built.
    let late = facts.changed.as_secs().saturating_sub(facts.modified.as_secs());
    if !packaged && facts.blocks > 0 && late > STOMPED_SECS {
        notes.push(format!("its inode changed {}, long after its modification time", facts.changed));
    }
    notes
}

/// A row in the making.
#[derive(Clone, Debug)]
pub struct Entry {
    location: DevicePath,
    name: Option<Untrusted>,
    command: Option<Untrusted>,
    user: Option<Untrusted>,
    modified: Option<Timestamp>,
    sha256: Option<Sha256>,
    packaged: Option<bool>,
    notes: Vec<String>,
}

impl Entry {
    /// Of a file: its name, time, hash, verdict and notes.
    pub fn of(item: &Item) -> Entry {
        Entry {
            modified: Some(item.facts.modified),
            sha256: item.digests.as_ref().map(|d| d.sha256.clone()),
            packaged: item.packaged,
            notes: item.notes.clone(),
            ..Entry::at(item.path.clone())
        }
    }

    /// Of a place that is no file of its own.
    pub fn at(location: DevicePath) -> Entry {
        Entry {
            name: Some(Untrusted::from_bytes(location.name().as_bytes())),
            location,
            command: None,
            user: None,
            modified: None,
            sha256: None,
            packaged: Some(false),
            notes: Vec::new(),
        }
    }

    pub fn name(self, name: impl AsRef<[u8]>) -> Entry {
        Entry { name: Some(Untrusted::from_bytes(name.as_ref())), ..self }
    }

    pub fn user(self, user: Option<Untrusted>) -> Entry {
        Entry { user, ..self }
    }

    pub fn root(self) -> Entry {
        self.user(Some(Untrusted::new("root")))
    }

    pub fn command(self, bytes: impl AsRef<[u8]>) -> Entry {
        self.lines(&[bytes.as_ref().to_vec()])
    }

    pub fn lines(self, lines: &[Vec<u8>]) -> Entry {
        Entry { command: command(lines), ..self }
    }

    pub fn packaged(self, packaged: Option<bool>) -> Entry {
        Entry { packaged, ..self }
    }

    pub fn modified(self, modified: Option<Timestamp>) -> Entry {
        Entry { modified, ..self }
    }

    pub fn note(mut self, note: impl Into<String>) -> Entry {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        self
    }

    pub fn note_if(self, when: bool, note: &str) -> Entry {
        if when { self.note(note) } else { self }
    }
}

/// The rows of one technique.
pub struct Found {
    technique: &'static str,
    attack_id: &'static str,
    rows: Vec<Persistence>,
    seen: HashSet<FileIdentity>,
}

impl Found {
    pub fn new(technique: &'static str, attack_id: &'static str) -> Found {
        Found { technique, attack_id, rows: Vec::new(), seen: HashSet::new() }
    }

    pub fn push(&mut self, entry: Entry) {
        let note = (!entry.notes.is_empty()).then(|| Untrusted::new(entry.notes.join("; ")));
        self.rows.push(Persistence {
            technique: self.technique,
            attack_id: self.attack_id,
            location: entry.location,
            name: entry.name,
            command: entry.command,
            user: entry.user,
            modified: entry.modified,
            sha256: entry.sha256,
            packaged: entry.packaged,
            note,
        });
    }

    /// A row for each file in which something runs. `user` is as whom.
    pub fn files(
        &mut self,
        scan: &Scan<'_>,
        paths: impl IntoIterator<Item = DevicePath>,
        user: Option<&Untrusted>,
        style: &Style,
    ) -> Result<()> {
        for path in paths {
            scan.job.check()?;
            let Some(item) = scan.look(&path) else { continue };
            if !self.seen.insert(item.facts.identity) {
                continue;
            }
            if let Some(lines) = scan.lines(&item, style) {
                self.push(Entry::of(&item).lines(&lines).user(user.cloned()));
            }
        }
        Ok(())
    }

    /// A row for each such file of the homes, as its owner.
    pub fn home_files(&mut self, scan: &Scan<'_>, names: &[&str], style: &Style) -> Result<()> {
        for (path, home) in scan.in_homes(names) {
            self.files(scan, [path], home.user.as_ref(), style)?;
        }
        Ok(())
    }

    pub fn into_rows(self) -> Vec<Persistence> {
        self.rows
    }
}

/// Paths of literals.
pub fn paths(texts: &[&str]) -> Vec<DevicePath> {
    texts.iter().map(|t| DevicePath::new(*t)).collect()
}

pub fn root() -> Untrusted {
    Untrusted::new("root")
}
