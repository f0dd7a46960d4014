//! Reads a member of a collected package: tar in zstd, as a stream.
//!
//! Invariant: nothing is unpacked, and memory is bounded whatever the archive says of itself: names, windows and the
//! bytes that it grows to have limits.

use super::slice::{self, Content, Slice};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Disclosure, Job};
use crate::nearest::nearest;
use crate::secret::{self, MARK, SecretSniffer, by_place};
use crate::shape::Untrusted;
use std::fs::File;
use std::io::Read;
use tar::{Entry, EntryType, PaxExtensions};

/// More than a package of ours holds; a bomb is given up here.
const UNPACKED_MAX: u64 = 64 << 30;
/// The window of a package of ours has 2 MiB.
const WINDOW_LOG: u32 = 24;
/// A name, or the headers before a member.
const NAME_MAX: u64 = 64 * 1024;
/// Names that are kept for a hint.
const HINT_NAMES: usize = 20_000;

pub(super) fn read(object: File, asked: &Disclosure, job: &Job) -> Result<(Slice, Option<&'static str>)> {
    let entry = asked.entry.as_deref().unwrap_or_default();
    let wanted = DevicePath::from_text(entry)
        .map_err(|why| Error::new(ErrorCode::BadArgs, format!("evidence: entry {entry:?}: {why}")))?;
    let mut decoder = zstd::Decoder::new(object).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    let mut archive = tar::Archive::new(Bounded { from: decoder, left: UNPACKED_MAX, job });
    let mut names = Vec::new();
    let mut ahead = Ahead::default();
    for member in archive.entries().map_err(broken)?.raw(true) {
        let mut member = member.map_err(|e| no_package(e, names.is_empty() && ahead.is_empty()))?;
        job.check()?;
        if ahead.takes(&mut member)? {
            continue;
        }
        let Ahead { name, mark } = std::mem::take(&mut ahead);
        let name = DevicePath::new(name.unwrap_or_else(|| member.path_bytes().into_owned()));
        if name != wanted {
            if names.len() < HINT_NAMES {
                names.push(name.to_text().into_owned());
            }
            continue;
        }
        if !matches!(member.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            return Err(not_a_file(&name, &member));
        }
        return content(member, &name, mark, asked);
    }
    Err(missing(&wanted, names))
}

/// The slice, and what all of the member's bytes say.
fn content<R: Read>(
    member: Entry<'_, R>,
    name: &DevicePath,
    mark: Option<&'static str>,
    asked: &Disclosure,
) -> Result<(Slice, Option<&'static str>)> {
    let size = member.size();
    let mut sniffed = Sniffed { from: member, sniffer: SecretSniffer::new() };
    let mut slice = slice::read(&mut sniffed, size, Untrusted::new(name.to_text()), asked)?;
    slice.sha256 = asked.sha256.clone();
    std::io::copy(&mut sniffed, &mut std::io::sink()).map_err(broken)?;
    let why = mark.or_else(|| by_place(name.as_bytes())).or_else(|| sniffed.sniffer.verdict());
    Ok((slice, why))
}

/// What stands before a member: a name that its header has no room for, and the mark.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    mark: Option<&'static str>,
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.mark.is_none()
    }

    /// Whether the entry tells of the one that follows.
    fn takes<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<bool> {
        let kind = entry.header().entry_type();
        let tells = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        if !tells {
            return Ok(false);
        }
        if entry.size() > NAME_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("the package has a name of {} bytes", entry.size()))
                .hint("it is no package of `collect`: leave entry out to read its bytes"));
        }
        let mut bytes = Vec::new();
        entry.take(NAME_MAX).read_to_end(&mut bytes).map_err(broken)?;
        match kind {
            EntryType::GNULongName => {
                let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
                self.name = Some(bytes);
            }
            EntryType::XHeader => {
                for extension in PaxExtensions::new(&bytes).flatten() {
                    match extension.key_bytes() {
                        b"path" => self.name = Some(extension.value_bytes().to_vec()),
                        key if key == MARK.as_bytes() => self.mark = Some(secret::by_mark(extension.value_bytes())),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

fn broken(e: std::io::Error) -> Error {
    Error::new(ErrorCode::Backend, format!("the package cannot be read to that member: {e}"))
        .hint("leave entry out to read its bytes; `live-response evidence verify` says whether it was changed")
        .source(e)
}

fn no_package(e: std::io::Error, at_its_start: bool) -> Error {
    match at_its_start {
        true => Error::new(ErrorCode::BadArgs, format!("evidence: entry goes with a package of `collect`: {e}"))
            .hint("leave entry out")
            .source(e),
        false => broken(e),
    }
}

fn not_a_file<R: Read>(name: &DevicePath, member: &Entry<'_, R>) -> Error {
    let target = member.header().link_name_bytes().map(|t| DevicePath::new(t.into_owned()).to_string());
    let what = target.filter(|t| !t.is_empty()).map_or("no file".into(), |t| format!("a link to {t}"));
    Error::new(ErrorCode::NotAFile, format!("the member {name} is {what}"))
        .hint("manifest.json lists the members and where links point")
}

fn missing(wanted: &DevicePath, mut names: Vec<String>) -> Error {
    let mut near = Vec::new();
    while near.len() < 3 {
        let Some(name) = nearest(&wanted.to_text(), names.iter().map(String::as_str)).map(str::to_owned) else { break };
        names.retain(|n| *n != name);
        near.push(format!("{name:?}"));
    }
    // A path of the device, which lies below `host`.
    let below = format!("host{wanted}");
    near.extend(names.iter().find(|n| **n == below).map(|n| format!("{n:?}")));
    let hint = match near.is_empty() {
        true => "the member manifest.json lists all of them".to_owned(),
        false => format!("it holds {}; the member manifest.json lists all", near.join(", ")),
    };
    Error::new(ErrorCode::NotFound, format!("the package has no member {wanted}")).hint(hint)
}

/// Bytes that are looked at as they pass.
struct Sniffed<R> {
    from: R,
    sniffer: SecretSniffer,
}

impl<R: Read> Read for Sniffed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.sniffer.feed(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

impl<R: Read> Content for &mut Sniffed<R> {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        std::io::copy(&mut self.take(bytes), &mut std::io::sink()).map(drop)
    }
}

/// As many bytes as a package may have, while the job lasts.
struct Bounded<'j, R> {
    from: R,
    left: u64,
    job: &'j Job,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.job.check().map_err(|e| std::io::Error::other(e.message))?;
        let n = self.from.read(buffer)?;
        self.left = self
            .left
            .checked_sub(u64::try_from(n).unwrap_or(u64::MAX))
            .ok_or_else(|| std::io::Error::other(format!("it has more than {UNPACKED_MAX} bytes")))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sha256;
    use crate::private::scratch::Scratch;
    use std::io::{Seek, Write};

    fn asked(entry: &str) -> Disclosure {
        Disclosure {
            sha256: Sha256::of(b""),
            path: DevicePath::new("p"),
            secret: String::new(),
            entry: Some(entry.into()),
            offset: 0,
            length: 4096,
            r#as: "text".into(),
            r#match: None,
        }
    }

    fn object(bytes: &[u8]) -> File {
        let scratch = Scratch::new();
        let path = scratch.join("object");
        let mut file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn packed(tar: &[u8]) -> File {
        object(&zstd::encode_all(tar, 1).unwrap())
    }

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn code(object: File, entry: &str) -> (ErrorCode, String) {
        let e = read(object, &asked(entry), &Job::default()).unwrap_err();
        (e.code, e.hint.unwrap_or_default())
    }

    #[test]
    fn a_slice_is_of_the_member_alone() {
        let bytes = tar(&[("a", b"first"), (&"long/".repeat(60), b""), ("b", b"0123456789\nmatch me\n")]);
        let slice = |change: fn(&mut Disclosure)| {
            let mut asked = asked("b");
            change(&mut asked);
            read(packed(&bytes), &asked, &Job::default()).unwrap().0
        };
        let part = slice(|a| (a.offset, a.length) = (3, 4));
        assert_eq!((part.content.as_str(), part.size_bytes, part.offset, part.length), ("3456", 20, 3, 4));
        assert_eq!(slice(|a| a.r#as = "hex".into()).content.len(), 40);
        assert_eq!(slice(|a| a.r#match = Some("match".into())).content, "1-0123456789\n2:match me\n");
        assert_eq!(slice(|a| (a.offset, a.r#as) = (11, "strings".into())).content, "match me\n");
    }

    #[test]
    fn a_member_is_secret_by_any_of_its_bytes() {
        let late = [vec![b'x'; 100_000], b"\nroot:$6$saltsalt$hash:1:::::\n".to_vec()].concat();
        let bytes = tar(&[("host/etc/shadow", b"x"), ("late", &late), ("plain", b"x")]);
        let why = |entry: &str| read(packed(&bytes), &asked(entry), &Job::default()).unwrap().1;
        assert_eq!(
            (why("host/etc/shadow"), why("late"), why("plain")),
            (Some("password hashes"), Some("password hashes"), None)
        );
    }

    #[test]
    fn what_is_not_there_comes_with_what_is() {
        let bytes = tar(&[("host/etc/passwd", b"x"), ("answers/processes.jsonl", b"x")]);
        let (found, hint) = code(packed(&bytes), "answers/proceses.jsonl");
        assert!(found == ErrorCode::NotFound && hint.contains("\"answers/processes.jsonl\""), "{hint}");
        let (_, hint) = self::code(packed(&bytes), "/etc/passwd");
        assert!(hint.contains("\"host/etc/passwd\""), "{hint}");
    }

    #[test]
    fn what_is_no_package_is_said() {
        assert_eq!(code(object(b"plain text, no package"), "x").0, ErrorCode::BadArgs);
        assert_eq!(code(object(b""), "x").0, ErrorCode::BadArgs);
        assert_eq!(code(packed(&[b'x'; 4096]), "x").0, ErrorCode::BadArgs);
        let whole = zstd::encode_all(tar(&[("a", &vec![7; 1 << 20])]).as_slice(), 1).unwrap();
        assert_eq!(code(object(&whole[..whole.len() / 2]), "a").0, ErrorCode::Backend);
    }

    #[test]
    fn links_are_not_followed() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "link", "/etc/shadow").unwrap();
        assert_eq!(code(packed(&tar.into_inner().unwrap()), "link").0, ErrorCode::NotAFile);
    }

    /// A name of a gibibyte is a megabyte packed.
    #[test]
    fn a_name_without_end_is_refused_unread() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 30);
        header.set_path("././@LongLink").unwrap();
        header.set_cksum();
        assert_eq!(code(packed(header.as_bytes()), "x").0, ErrorCode::TooLarge);
    }

    /// A window of 128 MiB would be held in memory.
    #[test]
    fn a_window_that_is_too_large_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&vec![0; 1 << 25]).unwrap();
        let frame = encoder.finish().unwrap();
        assert_ne!(code(object(&frame), "x").0, ErrorCode::NotFound);
    }

    #[test]
    fn a_cancel_ends_a_bomb() {
        let bomb = zstd::encode_all(tar(&[("a", &vec![0; 1 << 20])]).as_slice(), 1).unwrap();
        let job = Job::default();
        job.cancel();
        assert!(read(object(&bomb), &asked("b"), &job).is_err());
    }
}
