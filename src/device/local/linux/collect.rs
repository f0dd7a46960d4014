//! `collect`: a forensics package of this host or of an image, by artifacts that are data.
//!
//! Invariants: nothing on the device is run or changed; memory is constant whatever the size; what was to be collected
//! and is not, is told in the manifest.

mod answers;
mod artifact;
mod executables;
mod expand;
mod handles;
mod kernel_log;
mod storage;
mod timeline;
mod verify;
mod walk;

use super::facts::Facts;
use super::own::OwnSet;
use super::secret::{self, Known};
use super::view::{How, View};
use crate::device::package::{self, About, Archive, Inode, LeftOut, Member, Spool};
use crate::error::Result;
use crate::model::{Answer, DevicePath, FileFacts, Job, PackageFacts, Profile, Query, Timestamp, Unit};
use artifact::{Artifact, What};
use expand::Case;
use std::io::{Read, Write};
use std::path::Path;
use walk::{Found, Walk};

/// Files that the kernel makes up say no size: so much of one is held while it is read, the rest goes to a spool.
const MADE_UP_HELD: u64 = 1 << 20;
/// Of such a file, as it says itself.
const MADE_UP_SIZE: u64 = 1 << 20;
/// Homes that are looked into.
const HOMES_MAX: usize = 1_000;
/// Files between two looks at what is own.
const STRIDE: u64 = 1_000;

/// What a package is made from.
pub struct Collector<'a> {
    pub view: &'a View,
    /// The device's own collectors.
    pub ask: &'a dyn Fn(Query, &Job) -> Result<Answer>,
    /// The state home: the user's artifacts, and room for what is gathered.
    pub home: &'a Path,
    /// The device's name for itself.
    pub host: String,
    /// The folders of users, of a Windows volume.
    pub windows_homes: Option<Vec<DevicePath>>,
}

impl Collector<'_> {
    /// What can be said of a package before it is made.
    pub fn facts(&self, profile: Profile) -> FileFacts {
        package::facts(&self.host, profile)
    }

    /// Writes the package. Ends early, with an error, where the job is cancelled or `to` takes no more.
    pub fn pack(&self, profile: Profile, to: impl Write, job: &Job) -> Result<PackageFacts> {
        job.expect(Unit::Bytes, 0);
        let began = Timestamp::now();
        let case = if self.windows_homes.is_some() { Case::Windows } else { Case::Exact };
        let artifacts = artifact::all(self.home, profile, case, job)?;
        let mut pack = Pack {
            from: self,
            profile,
            homes: self.windows_homes.clone().unwrap_or_else(|| homes(self.view)),
            set: self.view.own().snapshot(),
            known: Known::of(self.view),
            files: 0,
            archive: Archive::new(to, self.home, job)?,
            left_out: LeftOut::default(),
            job,
        };
        for artifact in &artifacts {
            job.check()?;
            pack.artifact(artifact)?;
        }
        let Pack { archive, left_out, .. } = pack;
        let warnings = job.take_warnings();
        let about = About {
            tool: "live-response",
            tool_version: env!("CARGO_PKG_VERSION"),
            profile: profile.as_str(),
            host: self.host.clone(),
            began,
            ended: Timestamp::now(),
            warnings: &warnings,
            made_of: &[],
        };
        let facts = archive.finish(&about, &left_out)?;
        warnings.into_iter().for_each(|w| job.warn(w));
        left_out.warn(job);
        Ok(facts)
    }
}

/// Where accounts live: as `passwd` says, and what lies in `/home`.
fn homes(view: &View) -> Vec<DevicePath> {
    let mut homes = secret::homes(view);
    homes.push(DevicePath::new("/root"));
    let below = secret::names_in(view, &DevicePath::new("/home"));
    homes.extend(
        below
            .into_iter()
            .filter(|n| !matches!(n.as_slice(), b"." | b".."))
            .map(|n| DevicePath::new("/home").join(&DevicePath::new(n))),
    );
    homes.sort_unstable();
    homes.dedup();
    homes.truncate(HOMES_MAX);
    homes
}

/// A package on its way.
struct Pack<'a, W: Write> {
    from: &'a Collector<'a>,
    profile: Profile,
    homes: Vec<DevicePath>,
    set: OwnSet,
    known: Known,
    files: u64,
    archive: Archive<'a, W>,
    left_out: LeftOut,
    job: &'a Job,
}

impl<W: Write> Pack<'_, W> {
    fn artifact(&mut self, artifact: &Artifact) -> Result<()> {
        match &artifact.what {
            What::Answer(subject) => self.answer(artifact, *subject),
            What::Files { globs, except, max_size, max_depth } => {
                let view = self.from.view;
                // The walk holds a set of its own: this one is renewed while it goes on.
                let set = view.own().snapshot();
                let walk = Walk::new(view, &set, self.job);
                let homes = std::mem::take(&mut self.homes);
                let mut left_out = std::mem::take(&mut self.left_out);
                let mut expanded = Ok(());
                for glob in globs {
                    expanded =
                        glob.expand(&walk, &homes, *max_depth, &mut left_out, &mut |left_out, found| match except
                            .iter()
                            .any(|e| e.fits(found.path.as_bytes(), &homes))
                        {
                            true => Ok(()),
                            false => self.found(artifact, found, *max_size, left_out),
                        });
                    if expanded.is_err() {
                        break;
                    }
                }
                (self.homes, self.left_out) = (homes, left_out);
                expanded
            }
        }
    }

    fn found(&mut self, artifact: &Artifact, found: Found, max_size: u64, left_out: &mut LeftOut) -> Result<()> {
        let name = [b"host", found.path.as_bytes()].concat();
        if let Some(target) = &found.target {
            if self.archive.takes(&name) {
                let member = Member {
                    artifact: &artifact.name,
                    source: Some(&found.path),
                    modified: Some(found.facts.modified),
                    inode: Some(inode(&found.facts)),
                    secret: None,
                };
                self.archive.link(&name, &member, target)?;
            }
            return Ok(());
        }
        match found.facts.is_file() {
            true => self.file(artifact, &found, max_size, left_out),
            // Directories are in the timeline; a FIFO, socket or device has no bytes of its own.
            false => Ok(()),
        }
    }

    fn file(&mut self, artifact: &Artifact, found: &Found, max_size: u64, left_out: &mut LeftOut) -> Result<()> {
        self.files += 1;
        if self.files.is_multiple_of(STRIDE) {
            self.set = self.from.view.own().snapshot();
        }
        let opened = match self.from.view.open_among(&self.set, &found.path, How::File) {
            Ok(opened) => opened,
            Err(e) => {
                self.job.check()?;
                left_out.add(&found.path, walk::reason(&e));
                return Ok(());
            }
        };
        if is_made_up(&opened.facts) && opened.facts.mode & 0o444 == 0 {
            left_out.add(&found.path, walk::NOTHING);
            return Ok(());
        }
        // As it was opened: a link that was put on the way meanwhile does not lend its name.
        let name = [b"host", opened.real_path.as_bytes()].concat();
        let size = opened.facts.size;
        if size > max_size {
            left_out.add(&found.path, "larger than its artifact allows");
            return Ok(());
        }
        if !self.archive.has_room(size) {
            left_out.add(&found.path, "the package is full");
            return Ok(());
        }
        if !self.archive.takes(&name) {
            return Ok(());
        }
        let why = self.known.reason(&found.path, &opened);
        let member = Member {
            artifact: &artifact.name,
            source: Some(&opened.real_path),
            modified: Some(opened.facts.modified),
            inode: Some(inode(&opened.facts)),
            secret: why,
        };
        if !is_made_up(&opened.facts) {
            return self.archive.file(&name, &member, size, &opened.file);
        }
        let file = &opened.file;
        let mut bytes = Vec::new();
        match file.take(MADE_UP_HELD).read_to_end(&mut bytes) {
            Ok(n) if len(n) < MADE_UP_HELD => self.archive.file(&name, &member, len(n), bytes.as_slice()),
            Ok(_) => self.long(&name, &member, bytes.as_slice().chain(file).take(max_size)),
            Err(e) => {
                left_out.add(&found.path, walk::io_reason(&e));
                Ok(())
            }
        }
    }

    /// A file whose size nobody knows until it is read.
    fn long(&mut self, name: &[u8], member: &Member<'_>, from: impl Read) -> Result<()> {
        let mut spool = Spool::new(self.from.home)?;
        spool.fill(from, self.job)?;
        let (size, file) = spool.read()?;
        self.archive.file(name, member, size, file)
    }
}

fn inode(f: &Facts) -> Inode {
    Inode {
        accessed: f.accessed,
        changed: f.changed,
        created: f.created,
        uid: f.uid,
        gid: f.gid,
        mode: f.mode & 0o7777,
        links: f.links,
    }
}

fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Whether the size is none: procfs and sysfs make their files up when they are read.
fn is_made_up(facts: &Facts) -> bool {
    facts.blocks == 0 && facts.size <= MADE_UP_SIZE
}
