//! The package as a stream: tar in zstd, each member hashed as it passes, the manifest last.
//!
//! Invariants: memory is constant; a member has the size that its header says, whatever its file does meanwhile; the
//! manifest tells of every member, and names its hash.

use super::{LeftOut, Spool};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, PackageFacts, Sha256, Timestamp};
use crate::secret::{MARK, SecretSniffer, by_place};
use serde::Serialize;
use sha2::Digest;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{EntryType, Header};
use zstd::zstd_safe::CParameter;

/// Of all members, unpacked. What comes after is left out, and said.
pub const PACKAGE_MAX: u64 = 20 << 30;
/// Members of a package.
pub const MEMBERS_MAX: u64 = 500_000;
pub const MANIFEST: &str = "manifest.json";
/// Of logs a hundredth larger than zstd's own level 3, for four fifths of the work.
const LEVEL: i32 = 2;
const THREADS: usize = 4;
/// Bytes that a thread compresses at a time: with [`THREADS`] of them memory stays small.
const JOB_SIZE: u32 = 2 << 20;
const CHUNK: usize = 256 * 1024;
/// Of tar.
const BLOCK: u64 = 512;

type Packed<W> = zstd::Encoder<'static, W>;

pub struct Archive<'a, W: Write> {
    tar: tar::Builder<Packed<W>>,
    manifest: Spool,
    facts: PackageFacts,
    reasons: BTreeSet<&'static str>,
    noted: u64,
    /// Names of members, hashed: a file that fits two artifacts is in it once.
    seen: HashSet<u64>,
    hash: RandomState,
    buffer: Vec<u8>,
    job: &'a Job,
}

/// What a member is, besides its bytes.
pub struct Member<'m> {
    pub artifact: &'m str,
    /// Where it lies on the device; `None` for what was made here.
    pub source: Option<&'m DevicePath>,
    pub modified: Option<Timestamp>,
    pub inode: Option<Inode>,
    /// Why it is on the secret list, by its place or identity.
    pub secret: Option<&'static str>,
}

/// A line of the manifest.
#[derive(Serialize)]
struct Line<'m> {
    name: DevicePath,
    artifact: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'m DevicePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'m DevicePath>,
    size_bytes: u64,
    sha256: Sha256,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<Timestamp>,
    #[serde(flatten)]
    inode: Option<Inode>,
    /// Not called a secret: what is shown of the manifest would be redacted behind that word.
    #[serde(skip_serializing_if = "Option::is_none", rename = "marked")]
    secret: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What the device's file system says of a file, where it is known.
#[derive(Clone, Copy, Serialize)]
pub struct Inode {
    pub accessed: Timestamp,
    pub changed: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits; written in octal.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    pub links: u64,
}

fn octal<S: serde::Serializer>(mode: &u32, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{mode:04o}"))
}

/// What the manifest says of the whole.
#[derive(Serialize)]
pub struct About<'m> {
    pub tool: &'static str,
    pub tool_version: &'static str,
    pub profile: &'static str,
    pub host: String,
    pub began: Timestamp,
    pub ended: Timestamp,
    pub warnings: &'m [String],
    /// The archives that the device made, where the package was made of such.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub made_of: &'m [MadeOf],
}

/// An archive that a package was made of, as it came.
#[derive(Serialize)]
pub struct MadeOf {
    pub artifact: &'static str,
    pub size_bytes: u64,
    pub sha256: Sha256,
}

#[derive(Serialize)]
struct LeftOutLine<'m> {
    path: &'m DevicePath,
    why: &'static str,
}

impl<'a, W: Write> Archive<'a, W> {
    pub fn new(to: W, home: &Path, job: &'a Job) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let packed = (|| {
            let mut packed = zstd::Encoder::new(to, LEVEL)?;
            packed.include_checksum(true)?;
            packed.multithread(u32::try_from(threads).unwrap_or(1))?;
            packed.set_parameter(CParameter::JobSize(JOB_SIZE))?;
            // None: what one thread did is not gone through again by the next.
            packed.set_parameter(CParameter::OverlapSizeLog(1))?;
            std::io::Result::Ok(packed)
        })()
        .map_err(|e| Error::new(ErrorCode::Internal, "the package cannot be begun").source(e))?;
        let mut manifest = Spool::new(home)?;
        manifest.write_all(b"{\"members\":[").map_err(|e| manifest.error(e))?;
        Ok(Archive {
            tar: tar::Builder::new(packed),
            manifest,
            facts: PackageFacts::default(),
            reasons: BTreeSet::new(),
            noted: 0,
            seen: HashSet::new(),
            hash: RandomState::new(),
            buffer: vec![0; CHUNK],
            job,
        })
    }

    /// Whether a member of this name may still come: `false` where there is one, or no room for so many bytes.
    pub fn takes(&mut self, name: &[u8]) -> bool {
        self.facts.members < MEMBERS_MAX && self.seen.insert(self.hash.hash_one(name))
    }

    /// Members that are not what their source was said to hold.
    pub fn noted(&self) -> u64 {
        self.noted
    }

    pub fn has_room(&self, bytes: u64) -> bool {
        self.facts.bytes.saturating_add(bytes) <= PACKAGE_MAX
    }

    /// Adds a file whose size is known. It is read to that size: what is missing then is zeros, what is more is not
    /// taken, and the manifest says so.
    pub fn file(&mut self, name: &[u8], member: &Member<'_>, size: u64, from: impl Read) -> Result<()> {
        let mut header = self.header(member, EntryType::Regular);
        header.set_size(size);
        let mark = member.secret.or_else(|| by_place(name));
        if let Some(mark) = mark {
            self.mark(mark)?;
        }
        let passed = self.put(&mut header, name, size, from)?;
        self.line(name, member, None, size, passed.sha256, mark.or(passed.secret), passed.note)
    }

    /// Adds what was gathered here.
    pub fn gathered(&mut self, name: &str, artifact: &str, spool: Spool) -> Result<()> {
        if !self.takes(name.as_bytes()) {
            return Ok(());
        }
        let (size, file) = spool.read()?;
        let member = Member { artifact, source: None, modified: None, inode: None, secret: None };
        self.file(name.as_bytes(), &member, size, file)
    }

    /// Adds a symbolic link as one.
    pub fn link(&mut self, name: &[u8], member: &Member<'_>, target: &DevicePath) -> Result<()> {
        let mut header = self.header(member, EntryType::Symlink);
        header.set_size(0);
        self.tar.append_link(&mut header, path(name), path(target.as_bytes())).map_err(unwritten)?;
        self.line(name, member, Some(target), 0, Sha256::of(b""), None, None)
    }

    /// Ends the package with its manifest.
    pub fn finish(mut self, about: &About<'_>, left_out: &LeftOut) -> Result<PackageFacts> {
        self.facts.left_out = left_out.total();
        self.facts.members += 1;
        self.facts.secret = (!self.reasons.is_empty())
            .then(|| format!("a package with {}", self.reasons.iter().copied().collect::<Vec<_>>().join(", ")));
        let lines: Vec<_> = left_out.named.iter().map(|(path, why)| LeftOutLine { path, why }).collect();
        let mut end = Vec::new();
        let parts = [
            ("left_out", json(&lines)?),
            ("left_out_counts", json(&left_out.counts)?),
            ("counts", json(&self.facts)?),
            ("package", json(about)?),
        ];
        end.extend_from_slice(b"\n]");
        for (name, value) in parts {
            end.extend_from_slice(format!(",\n\"{name}\":{value}").as_bytes());
        }
        end.extend_from_slice(b"}\n");
        self.manifest.write_all(&end).map_err(|e| self.manifest.error(e))?;
        let (size, file) = std::mem::replace(&mut self.manifest, Spool::none()).read()?;
        let mut header = self.header(&MADE_HERE, EntryType::Regular);
        header.set_size(size);
        self.put(&mut header, MANIFEST.as_bytes(), size, file)?;
        let packed = self.tar.into_inner().map_err(unwritten)?;
        packed.finish().and_then(|mut to| to.flush()).map_err(unwritten)?;
        Ok(self.facts)
    }

    fn put(&mut self, header: &mut Header, name: &[u8], size: u64, from: impl Read) -> Result<Passed> {
        self.tar.append_data(header, path(name), std::io::empty()).map_err(unwritten)?;
        pass(from, size, self.tar.get_mut(), &mut self.buffer, self.job)
    }

    fn header(&self, member: &Member<'_>, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        let (mode, uid, gid) = member.inode.map_or((0o600, 0, 0), |i| (i.mode, i.uid, i.gid));
        let modified = member.modified.unwrap_or_else(Timestamp::now);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        // tar knows no time before 1970; the manifest does.
        header.set_mtime(u64::try_from(modified.as_secs()).unwrap_or(0));
        header
    }

    /// A PAX header before the member (`man 5 pax`): its length counts itself.
    fn mark(&mut self, why: &str) -> Result<()> {
        let rest = MARK.len() + why.len() + 3;
        let digits = if rest + 2 < 100 { 2 } else { 3 };
        let record = format!("{} {MARK}={why}\n", rest + digits);
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o600);
        header.set_size(u64::try_from(record.len()).unwrap_or(0));
        self.tar.append_data(&mut header, "PaxHeaders/mark", record.as_bytes()).map_err(unwritten)
    }

    #[allow(clippy::too_many_arguments)]
    fn line(
        &mut self,
        name: &[u8],
        member: &Member<'_>,
        target: Option<&DevicePath>,
        size_bytes: u64,
        sha256: Sha256,
        secret: Option<&'static str>,
        note: Option<String>,
    ) -> Result<()> {
        let (name, has_note) = (DevicePath::new(name), note.is_some());
        let line = Line {
            name,
            artifact: member.artifact,
            source: member.source,
            target,
            size_bytes,
            sha256,
            modified: member.modified,
            inode: member.inode,
            secret,
            note,
        };
        let text = format!("{}\n{}", if self.facts.members == 0 { "" } else { "," }, json(&line)?);
        self.manifest.write_all(text.as_bytes()).map_err(|e| self.manifest.error(e))?;
        self.facts.members += 1;
        self.facts.bytes += size_bytes;
        self.noted += u64::from(has_note);
        self.facts.secrets += u64::from(secret.is_some());
        self.reasons.extend(secret);
        Ok(())
    }
}

const MADE_HERE: Member<'static> = Member { artifact: "", source: None, modified: None, inode: None, secret: None };

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(ErrorCode::Internal, format!("the manifest: {e}")))
}

/// Whoever takes the bytes has stopped, or the disk that they go to is full.
fn unwritten(e: std::io::Error) -> Error {
    let full = matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let error = Error::new(ErrorCode::Backend, format!("the package cannot be written: {e}"));
    if full { error.hint("free space where it goes and ask again").source(e) } else { error.source(e) }
}

/// What came of a member's bytes.
struct Passed {
    sha256: Sha256,
    secret: Option<&'static str>,
    note: Option<String>,
}

/// Passes exactly `size` bytes on, hashed and looked at; what the source does not have is zeros.
fn pass(mut from: impl Read, size: u64, to: &mut impl Write, buffer: &mut [u8], job: &Job) -> Result<Passed> {
    let (mut hasher, mut sniffer) = (sha2::Sha256::new(), SecretSniffer::new());
    let (mut passed, mut real, mut broken) = (0u64, 0u64, None);
    while passed < size {
        job.check()?;
        let room = usize::try_from(size - passed).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..room) else { break };
        let mut n = 0;
        if broken.is_none() && real == passed {
            n = read_some(&mut from, room).unwrap_or_else(|e| {
                broken = Some(e);
                0
            });
            real += u64::try_from(n).unwrap_or(0);
        }
        if n == 0 {
            room.fill(0);
            n = room.len();
        }
        let bytes = room.get(..n).unwrap_or_default();
        hasher.update(bytes);
        sniffer.feed(bytes);
        to.write_all(bytes).map_err(unwritten)?;
        passed += u64::try_from(n).unwrap_or(0);
        job.advance(u64::try_from(n).unwrap_or(0));
    }
    let padding = usize::try_from(size.wrapping_neg() % BLOCK).unwrap_or(0);
    to.write_all([0; 512].get(..padding).unwrap_or_default()).map_err(unwritten)?;
    let note = match broken {
        Some(e) => Some(format!("read to byte {real}, zeros from there: {e}")),
        None if real < size => {
            Some(format!("it had {size} bytes when it was opened and {real} when it was read; the rest is zeros"))
        }
        None => match read_some(&mut from, &mut [0]) {
            Ok(0) => None,
            Ok(_) => Some(format!("it grew while it was read; cut at {size} bytes")),
            Err(e) => Some(format!("read to its end, where: {e}")),
        },
    };
    Ok(Passed { sha256: Sha256::from_bytes(&hasher.finalize()), secret: sniffer.verdict(), note })
}

fn read_some(from: &mut impl Read, room: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match from.read(room) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;
    use std::io::Cursor;

    fn packed(fill: impl FnOnce(&mut Archive<'_, &mut Vec<u8>>)) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (home, job, mut out) = (Scratch::new(), Job::default(), Vec::new());
        let mut archive = Archive::new(&mut out, &home, &job).unwrap();
        fill(&mut archive);
        let warnings = ["a warning".to_owned()];
        let about = About {
            tool: "t",
            tool_version: "0",
            profile: "triage",
            host: "h".into(),
            began: Timestamp::now(),
            ended: Timestamp::now(),
            warnings: &warnings,
            made_of: &[],
        };
        archive.finish(&about, &LeftOut::default()).unwrap();
        let unpacked = zstd::decode_all(Cursor::new(out)).unwrap();
        let mut members = Vec::new();
        for entry in tar::Archive::new(unpacked.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            members.push((entry.path_bytes().into_owned(), bytes));
        }
        members
    }

    fn manifest(members: &[(Vec<u8>, Vec<u8>)]) -> serde_json::Value {
        let (name, bytes) = members.last().unwrap();
        assert_eq!(name, MANIFEST.as_bytes());
        serde_json::from_slice(bytes).unwrap()
    }

    const PLAIN: Member<'static> = Member { artifact: "a", source: None, modified: None, inode: None, secret: None };

    #[test]
    fn a_file_that_shrinks_or_grows_does_not_shift_what_follows() {
        let members = packed(|archive| {
            archive.file(b"shrunk", &PLAIN, 1000, &b"abc"[..]).unwrap();
            archive.file(b"grown", &PLAIN, 3, &b"abcdef"[..]).unwrap();
            archive.file(b"as-it-was", &PLAIN, 3, &b"abc"[..]).unwrap();
        });
        let expected = [b"abc".to_vec(), vec![0; 997]].concat();
        assert_eq!(members[0], (b"shrunk".to_vec(), expected));
        assert_eq!((members[1].1.as_slice(), members[2].1.as_slice()), (&b"abc"[..], &b"abc"[..]));
        let manifest = manifest(&members);
        let note = |i: usize| manifest["members"][i]["note"].as_str().unwrap_or("").to_owned();
        assert!(
            note(0).contains("3 when it was read") && note(1).contains("cut at 3") && note(2).is_empty(),
            "{manifest}"
        );
        for (i, (_, bytes)) in members.iter().take(3).enumerate() {
            assert_eq!(manifest["members"][i]["sha256"], Sha256::of(bytes).as_str());
        }
    }

    #[test]
    fn names_are_kept_as_bytes_however_long() {
        let long = [b"host/".to_vec(), b"d/".repeat(1_500), b"\xff\n \\x".to_vec()].concat();
        let members = packed(|archive| {
            archive.file(&long, &PLAIN, 1, &b"x"[..]).unwrap();
            archive.link(b"host/link", &PLAIN, &DevicePath::new(long.as_slice())).unwrap();
        });
        assert!(members[0].0 == long);
        assert!(manifest(&members)["members"][0]["name"].as_str().unwrap().starts_with("esc:host/d/"));
    }

    #[test]
    fn secrets_are_marked_by_place_identity_and_content() {
        let key = b"-----BEGIN PRIVATE KEY-----\nMIIEvgIB";
        let members = packed(|archive| {
            archive.file(b"host/etc/shadow", &PLAIN, 1, &b"x"[..]).unwrap();
            archive.file(b"host/innocent", &Member { secret: Some("Kerberos keys"), ..PLAIN }, 1, &b"x"[..]).unwrap();
            archive.file(b"host/notes", &PLAIN, key.len() as u64, &key[..]).unwrap();
            archive.file(b"host/plain", &PLAIN, 1, &b"x"[..]).unwrap();
        });
        let manifest = manifest(&members);
        let secret = |i: usize| manifest["members"][i]["marked"].as_str().map(str::to_owned);
        assert_eq!(secret(0).as_deref(), Some("password hashes"));
        assert_eq!(
            (secret(1).as_deref(), secret(2).as_deref(), secret(3)),
            (Some("Kerberos keys"), Some("private key"), None)
        );
        assert_eq!(manifest["counts"]["marked"], "a package with Kerberos keys, password hashes, private key");
    }

    #[test]
    fn a_cancel_ends_it_in_the_middle_of_a_file() {
        struct Cancels<'a>(&'a Job);
        impl Read for Cancels<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0.cancel();
                Ok(buffer.len())
            }
        }
        let (home, job) = (Scratch::new(), Job::default());
        let mut archive = Archive::new(std::io::sink(), &home, &job).unwrap();
        let e = archive.file(b"x", &PLAIN, 1 << 40, Cancels(&job)).unwrap_err();
        assert_eq!(e.code, ErrorCode::Cancelled);
    }
}
