//! The archives that a device made, as one package like any other: each member hashed, looked through, and named safely.
//!
//! Invariants: nothing is unpacked into a file system; a member's name leads nowhere but below its archive's own; what an
//! archive says of itself is believed only as far as its bytes can bear it out; memory is constant.

use super::unzip::{GROWTH, Zip};
use crate::device::package::{About, Archive, LeftOut, MadeOf, Member, Spool};
use crate::error::Result;
use crate::model::{DevicePath, Job, PackageFacts, Profile, Sha256, Timestamp, Unit};
use crate::secret;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use tar::{Entry, EntryType};

/// What one archive may unpack to. The scripts of the pack stop well before.
const UNPACKED: u64 = 8 << 30;
/// As many as a device may say that it left out.
const MEMBERS: u64 = 1_000_000;
/// A name that has no room in a header.
const NAME: u64 = 64 << 10;
/// The folder that the Bash script puts everything below.
const TOP: &[u8] = b"live-response-package";
/// Where it puts copies of files, by their own paths.
const FILES: &[u8] = b"files/";

const LEADS_OUT: &str = "named to lead out of the package";
const NO_FILE: &str = "no plain file";
const FULL: &str = "more than the package takes";
const IMPOSSIBLE: &str = "says that it holds more than it can";
const ON_THE_DEVICE: &str = "left out on the device, whose own list in the package says why";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    Zip,
    TarGz,
}

impl Layout {
    pub(super) const fn magic(self) -> &'static [u8] {
        match self {
            Layout::Zip => b"PK",
            Layout::TarGz => b"\x1f\x8b",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Layout::Zip => "zip",
            Layout::TarGz => "tar.gz",
        }
    }
}

/// An archive as it came.
pub(super) struct Part {
    /// What its members lie below.
    pub(super) artifact: &'static str,
    pub(super) layout: Layout,
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
    /// What the device itself left out.
    pub(super) left_out: u64,
}

/// The package of these archives.
pub(super) fn repack(
    parts: Vec<Part>,
    host: String,
    profile: Profile,
    began: Timestamp,
    home: &Path,
    job: &Job,
) -> Result<(File, PackageFacts)> {
    job.expect(Unit::Bytes, 0);
    let mut to = Spool::new(home)?;
    let facts = pack(&mut to, parts, (host, profile, began), home, job)?;
    Ok((to.read()?.1, facts))
}

fn pack(
    to: &mut Spool,
    mut parts: Vec<Part>,
    (host, profile, began): (String, Profile, Timestamp),
    home: &Path,
    job: &Job,
) -> Result<PackageFacts> {
    let mut pack = Pack { archive: Archive::new(to, home, job)?, left_out: LeftOut::default(), most: UNPACKED, job };
    for part in &mut parts {
        pack.part(part)?;
    }
    let made_of = parts.into_iter().map(|p| MadeOf { artifact: p.artifact, size_bytes: p.size, sha256: p.sha256 });
    let made_of: Vec<MadeOf> = made_of.collect();
    let warnings = job.take_warnings();
    let about = About {
        tool: "live-response",
        tool_version: env!("CARGO_PKG_VERSION"),
        profile: profile.as_str(),
        host,
        began,
        ended: Timestamp::now(),
        warnings: &warnings,
        made_of: &made_of,
    };
    let facts = pack.archive.finish(&about, &pack.left_out)?;
    pack.left_out.warn(job);
    warnings.into_iter().for_each(|w| job.warn(w));
    Ok(facts)
}

/// A package on its way.
struct Pack<'a, 's> {
    archive: Archive<'a, &'s mut Spool>,
    left_out: LeftOut,
    most: u64,
    job: &'a Job,
}

impl Pack<'_, '_> {
    fn part(&mut self, part: &mut Part) -> Result<()> {
        let (noted, left_out) = (self.archive.noted(), self.left_out.total());
        let whole = match part.layout {
            Layout::Zip => self.zip(part),
            Layout::TarGz => self.tar(part),
        }?;
        self.job.check()?;
        if let Err(e) = &whole {
            self.job.warn(format!("the archive `{}` of the device cannot be read to its end: {e}", part.artifact));
        }
        // Nothing is lost where it is not understood.
        if whole.is_err() || self.archive.noted() > noted || self.left_out.total() > left_out {
            let name = format!("{}.{}", part.artifact, part.layout.extension());
            part.file.rewind().map_err(|e| crate::error::Error::io(&name, e))?;
            let placed = Placed { secret: Some(secret::ARCHIVE), ..Placed::at(name.as_bytes()) };
            self.member(part.artifact, &placed, part.size, &part.file)?;
            self.job.warn(format!("the archive itself is in the package too, as {name}"));
        }
        if part.left_out > 0 {
            *self.left_out.counts.entry(ON_THE_DEVICE).or_default() += part.left_out.min(MEMBERS);
        }
        Ok(())
    }

    /// The inner `Err` says why the archive cannot be read further.
    fn zip(&mut self, part: &Part) -> Result<std::io::Result<()>> {
        let mut zip = match Zip::open(&part.file) {
            Ok(zip) => zip,
            Err(e) => return Ok(Err(e)),
        };
        let mut left = self.most;
        loop {
            self.job.check()?;
            let member = match zip.next() {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(Ok(())),
                Err(e) => return Ok(Err(e)),
            };
            // Programs of Windows separate by either.
            let name: Vec<u8> = member.name.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
            if name.ends_with(b"/") {
                continue;
            }
            let is_of_a_drive = name.get(1) == Some(&b':');
            let Some(placed) = below(part.artifact, &name).filter(|_| !is_of_a_drive) else {
                self.left_out.add(&DevicePath::new(member.name), LEADS_OUT);
                continue;
            };
            let refusal = Zip::refusal(&member).or_else(|| (member.size > left).then_some(FULL));
            if let Some(why) = refusal {
                self.left_out.add(&DevicePath::new(placed), why);
                continue;
            }
            match zip.content(&member) {
                Ok(content) => {
                    left -= member.size;
                    self.member(part.artifact, &Placed::at(&placed), member.size, content)?;
                }
                Err(_) => self.left_out.add(&DevicePath::new(placed), "not where the archive says"),
            }
        }
    }

    fn tar(&mut self, part: &Part) -> Result<std::io::Result<()>> {
        let possible = part.size.saturating_mul(GROWTH);
        let unpacked = GzDecoder::new(BufReader::new(&part.file));
        let mut tar = tar::Archive::new(Lasting { from: unpacked.take(self.most), job: self.job });
        let entries = match tar.entries() {
            Ok(entries) => entries.raw(true),
            Err(e) => return Ok(Err(e)),
        };
        let mut long_name = None;
        let (mut left, mut is_first) = (self.most, true);
        for entry in entries {
            self.job.check()?;
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(e) => return Ok(Err(e)),
            };
            is_first = false;
            let kind = entry.header().entry_type();
            if kind == EntryType::GNULongName {
                match long(&mut entry) {
                    Ok(name) => long_name = Some(name),
                    Err(e) => return Ok(Err(e)),
                }
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            if kind == EntryType::Directory {
                continue;
            }
            let modified =
                entry.header().mtime().ok().and_then(|s| i64::try_from(s).ok()).map(|s| Timestamp::from_unix(s, 0));
            let (placed, source) = match of_the_script(part.artifact, &name) {
                Some(found) => found,
                None => {
                    self.left_out.add(&DevicePath::new(name), LEADS_OUT);
                    continue;
                }
            };
            let size = entry.size();
            let why = match kind {
                EntryType::Regular | EntryType::Continuous if size > possible => Some(IMPOSSIBLE),
                EntryType::Regular | EntryType::Continuous if size > left => Some(FULL),
                EntryType::Regular | EntryType::Continuous => None,
                _ => Some(NO_FILE),
            };
            if let Some(why) = why {
                self.left_out.add(&DevicePath::new(placed), why);
                continue;
            }
            left -= size;
            let placed = Placed { source: source.as_ref(), modified, ..Placed::at(&placed) };
            self.member(part.artifact, &placed, size, entry)?;
        }
        Ok(if is_first { Err(std::io::Error::other("it is empty")) } else { Ok(()) })
    }

    fn member(&mut self, artifact: &str, placed: &Placed<'_>, size: u64, mut from: impl Read) -> Result<()> {
        let name = placed.name;
        if !self.archive.has_room(size) {
            self.left_out.add(&DevicePath::new(name), FULL);
            return Ok(());
        }
        if !self.archive.takes(name) {
            self.left_out.add(&DevicePath::new(name), "a second one of that name");
            return Ok(());
        }
        // An error shows again when the rest is read.
        let mut head = Vec::new();
        let _ = from.by_ref().take(8).read_to_end(&mut head);
        let member = Member {
            artifact,
            source: placed.source,
            modified: placed.modified,
            inode: None,
            secret: placed.secret.or_else(|| is_archive(&head).then_some(secret::ARCHIVE)),
        };
        self.archive.file(name, &member, size, head.as_slice().chain(from))
    }
}

/// Where a member goes, and what is known of it beside its bytes.
struct Placed<'p> {
    name: &'p [u8],
    source: Option<&'p DevicePath>,
    modified: Option<Timestamp>,
    secret: Option<&'static str>,
}

impl<'p> Placed<'p> {
    const fn at(name: &'p [u8]) -> Placed<'p> {
        Placed { name, source: None, modified: None, secret: None }
    }
}

/// An archive in an archive is not looked through.
fn is_archive(head: &[u8]) -> bool {
    [&b"PK\x03\x04"[..], b"MSCF", b"7z\xbc\xaf\x27\x1c", b"Rar!"].iter().any(|magic| head.starts_with(magic))
}

/// A name below the archive's own; `None` where it would lead elsewhere.
fn below(artifact: &str, name: &[u8]) -> Option<Vec<u8>> {
    let mut placed = artifact.as_bytes().to_vec();
    if name.starts_with(b"/") || name.contains(&0) {
        return None;
    }
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part => {
                placed.push(b'/');
                placed.extend_from_slice(part);
            }
        }
    }
    (placed.len() > artifact.len()).then_some(placed)
}

/// The same for what the Bash script made: its copies of files lie below `host`, as in every package.
fn of_the_script(artifact: &str, name: &[u8]) -> Option<(Vec<u8>, Option<DevicePath>)> {
    let name = name.strip_prefix(TOP).and_then(|n| n.strip_prefix(b"/")).unwrap_or(name);
    match name.strip_prefix(FILES) {
        Some(file) => {
            let placed = below("host", file)?;
            let path = DevicePath::new(placed.strip_prefix(b"host").unwrap_or_default().to_vec());
            Some((placed, Some(path)))
        }
        None => Some((below(artifact, name)?, None)),
    }
}

/// The name of the member that follows (GNU tar).
fn long<R: Read>(entry: &mut Entry<'_, R>) -> std::io::Result<Vec<u8>> {
    if entry.size() > NAME {
        return Err(std::io::Error::other(format!("it has a name of {} bytes", entry.size())));
    }
    let mut name = Vec::new();
    entry.take(NAME).read_to_end(&mut name)?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

/// Bytes while the job lasts: what is left out is skipped by reading.
struct Lasting<'j, R> {
    from: R,
    job: &'j Job,
}

impl<R: Read> Read for Lasting<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.job.check().map_err(|e| std::io::Error::other(e.message))?;
        self.from.read(into)
    }
}

#[cfg(test)]
mod tests;
