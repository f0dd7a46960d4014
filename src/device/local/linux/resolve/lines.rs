//! Lines of files, from the ids that name them to steps that cut them.
//!
//! Invariant: lines of one file go from the last to the first, so that each number is still right when its turn comes,
//! and each step names the content that the one before it leaves.

use super::{Resolver, path_of, protected::Protected, uninspectable};
use crate::device::local::linux::lines::{self, Cut, FILE_LIMIT, LINE_LIMIT};
use crate::device::local::linux::view::How;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, FileTarget, LineTarget, PartOf, Sha256, Step};
use std::io::Read;

/// A text file as it is now, or as steps before will have left it.
pub(super) struct Text {
    pub target: FileTarget,
    pub bytes: Vec<u8>,
}

/// What an id names: a file, or one line of it.
pub(super) struct Named {
    pub path: DevicePath,
    pub line: Option<u64>,
}

/// The lines of one file that are to go.
struct Doomed {
    text: Text,
    numbers: Vec<u64>,
}

impl Text {
    /// The file with other content: what the next step finds.
    pub fn changed_to(&mut self, bytes: Vec<u8>) {
        self.target.size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.target.sha256 = Sha256::of(&bytes);
        self.bytes = bytes;
    }
}

impl Resolver<'_> {
    /// `PATH` or `PATH:LINE`.
    pub(super) fn named(&self, id: &str) -> Result<Named> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let Some((path, line)) = id.rsplit_once(':').and_then(|(path, digits)| Some((path, number(digits)?))) else {
            return Ok(Named { path: path_of(id)?, line: None });
        };
        let (whole, path) = (path_of(id)?, path_of(path)?);
        match (self.view.open(&whole, How::Link), self.view.open(&path, How::Link)) {
            (Ok(_), Ok(_)) => Err(Error::new(ErrorCode::AmbiguousArgs, format!("{whole} is a file and names a line"))
                .hint("take the file itself as type file")),
            (Ok(_), Err(_)) => Ok(Named { path: whole, line: None }),
            _ => Ok(Named { path, line: Some(line) }),
        }
    }

    /// Steps for files and lines, in the order that they were named in.
    pub(super) fn cut_or_quarantine(
        &self,
        kind: EntityKind,
        named: Vec<Named>,
        check: &dyn Fn(&Named, &FileTarget) -> Result<()>,
    ) -> Result<Vec<Step>> {
        let protected = Protected::find();
        let mut wholes: Vec<FileTarget> = Vec::new();
        let mut cut: Vec<Doomed> = Vec::new();
        for one in &named {
            self.job.check()?;
            let target = self.file(&one.path, &protected)?;
            check(one, &target)?;
            let is_cut = cut.iter().position(|d| d.text.target.identity == target.identity);
            let is_whole = wholes.iter().any(|w| w.identity == target.identity);
            match (one.line, is_cut) {
                (Some(number), Some(index)) if !is_whole => match cut.get_mut(index) {
                    Some(doomed) if !doomed.numbers.contains(&number) => doomed.numbers.push(number),
                    _ => return Err(twice(&target.path, Some(number))),
                },
                (Some(number), None) if !is_whole => {
                    cut.push(Doomed { text: self.text(target)?, numbers: vec![number] });
                }
                (None, None) if !is_whole => wholes.push(target),
                (line, _) => return Err(twice(&target.path, line)),
            }
        }
        let part_of = |id: String| PartOf { kind, id };
        let whole = |file: FileTarget| {
            let part_of = Some(part_of(file.path.to_text().into_owned()));
            Step::Quarantine { file, part_of }
        };
        let mut steps: Vec<Step> = wholes.into_iter().map(whole).collect();
        for doomed in cut {
            steps.extend(cuts(kind, doomed)?);
        }
        Ok(steps)
    }

    /// The bytes of a file that was just looked at.
    pub(super) fn text(&self, target: FileTarget) -> Result<Text> {
        if target.size_bytes > FILE_LIMIT {
            let message =
                format!("{} has {} bytes, the limit for a line of it is {FILE_LIMIT}", target.path, target.size_bytes);
            return Err(Error::new(ErrorCode::TooLarge, message).hint("name the file itself"));
        }
        let opened = self.view.open(&target.path, How::File)?;
        let mut bytes = Vec::new();
        opened
            .file
            .take(FILE_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io(format!("{} cannot be read", target.path), e))?;
        if opened.facts.identity != target.identity || Sha256::of(&bytes) != target.sha256 {
            return Err(uninspectable(&target.path, "it changed while it was looked at"));
        }
        Ok(Text { target, bytes })
    }
}

fn cuts(kind: EntityKind, doomed: Doomed) -> Result<Vec<Step>> {
    let Doomed { mut text, mut numbers } = doomed;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut steps = Vec::new();
    for number in numbers {
        let path = &text.target.path;
        let Cut { text: line, rest, .. } = lines::cut(&text.bytes, number).ok_or_else(|| {
            let count = memchr::memchr_iter(b'\n', &text.bytes).count();
            Error::new(ErrorCode::NotFound, format!("{path} has no line {number}"))
                .hint(format!("it has {count} lines"))
        })?;
        cuttable(path, number, &line)?;
        if kind == EntityKind::Startup && (goes_on(&line) || goes_on(&line_before(&text.bytes, number))) {
            return Err(uninspectable(path, &format!("line {number} is part of a longer one"))
                .hint("without it the rest would mean something else; name the file itself"));
        }
        steps.push(Step::CutLine {
            file: text.target.clone(),
            line: LineTarget { number, text: lines::shown(&line) },
            part_of: PartOf { kind, id: format!("{path}:{number}") },
        });
        text.changed_to(rest);
    }
    Ok(steps)
}

/// Only a line that does something and that a person can read whole.
fn cuttable(path: &DevicePath, number: u64, line: &[u8]) -> Result<()> {
    let what = match line.trim_ascii_start() {
        [] => Some("is empty"),
        [b'#', ..] => Some("is a comment"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(Error::new(ErrorCode::NotFound, format!("line {number} of {path} {what}: it starts nothing"))
            .hint("the listing names the lines that do"));
    }
    if line.len() > LINE_LIMIT {
        let why = format!("line {number} has {} bytes, at most {LINE_LIMIT} are put before a person", line.len());
        return Err(uninspectable(path, &why).hint("name the file itself"));
    }
    match line.contains(&0) {
        true => Err(uninspectable(path, &format!("line {number} has a NUL")).hint("name the file itself")),
        false => Ok(()),
    }
}

fn line_before(bytes: &[u8], number: u64) -> Vec<u8> {
    number.checked_sub(1).and_then(|n| lines::cut(bytes, n)).map(|c| c.text).unwrap_or_default()
}

/// A shell joins it with the next line.
fn goes_on(line: &[u8]) -> bool {
    line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

fn twice(path: &DevicePath, line: Option<u64>) -> Error {
    let what = line.map_or_else(|| path.to_string(), |n| format!("line {n} of {path}"));
    Error::new(ErrorCode::AmbiguousArgs, format!("{what} is named twice, or its file is too"))
        .hint("name each once; a file and its lines in calls of their own")
}
