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
