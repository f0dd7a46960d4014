//! Rows and objects as JSON text, straight into bytes. Every text passes here: cleaned, redacted where it is free
//! text, cut with a visible mark.
//!
//! Invariant: what is written is one line of valid JSON without anything that a person could not see.

use super::clean::{Hidden, clean_counted};
use super::redact::{names_a_thing, redact, redact_escaped};
use super::select::Rows;
use crate::model::{Cell, Timestamp};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The most bytes of text in one cell.
pub const CELL_CAP: usize = 8 * 1024;

/// How much of a text is looked at: enough that a secret at the cap is seen whole.
const LOOK: usize = 8 * CELL_CAP;

/// Writes one row as a JSON object; empty cells are left out.
pub fn write_row(rows: &dyn Rows, row: usize, columns: &[usize], out: &mut Vec<u8>) {
    write_row_counted(rows, row, columns, out, &mut Hidden::default());
}

/// [`write_row`], adding to a count of the characters that were made visible.
pub fn write_row_counted(rows: &dyn Rows, row: usize, columns: &[usize], out: &mut Vec<u8>, hidden: &mut Hidden) {
    out.push(b'{');
    let mut first = true;
    for column in columns {
        let Some(name) = rows.fields().get(*column) else { continue };
        let cell = rows.cell(row, *column);
        if matches!(cell, Cell::Empty) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_key(name, out);
        Writer { out, hidden, room: CELL_CAP, name }.cell(&cell);
    }
    out.push(b'}');
}

fn write_key(name: &str, out: &mut Vec<u8>) {
    write_text(name, out);
    out.push(b':');
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    hidden: &'o mut Hidden,
    /// Bytes of text that the cell may still hold.
    room: usize,
    /// The field's name, or the member's.
    name: &'o str,
}

impl Writer<'_> {
    fn cell(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Empty => self.out.extend_from_slice(b"null"),
            Cell::Bool(b) => self.out.extend_from_slice(if *b { b"true" } else { b"false" }),
            Cell::Unsigned(n) => write_unsigned(*n, self.out),
            Cell::Signed(n) => write_signed(*n, self.out),
            Cell::Time(t) => {
                self.out.push(b'"');
                write_time(*t, self.out);
                self.out.push(b'"');
            }
            Cell::Text(_) | Cell::Raw(_) => self.text(cell),
            Cell::Object(members) => self.object(members),
            Cell::List(items) => self.list(items),
        }
    }

    fn text(&mut self, cell: &Cell<'_>) {
        let shown = shown_counted(cell, self.name, self.room, self.hidden);
        self.room = self.room.saturating_sub(shown.len());
        write_text(&shown, self.out);
    }

    fn object(&mut self, members: &[(&'static str, Cell<'_>)]) {
        self.out.push(b'{');
        let mut first = true;
        for (name, member) in members.iter().filter(|(_, m)| !matches!(m, Cell::Empty)) {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            write_key(name, self.out);
            let mut inner = Writer { out: &mut *self.out, hidden: &mut *self.hidden, room: self.room, name };
            inner.cell(member);
            self.room = inner.room;
        }
        self.out.push(b'}');
    }

    fn list(&mut self, items: &[Cell<'_>]) {
        self.out.push(b'[');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            if self.room == 0 {
                write_text(&format!("… [cut: {} items in all]", items.len()), self.out);
                break;
            }
            self.cell(item);
            self.room = self.room.saturating_sub(8);
        }
        self.out.push(b']');
    }
}

/// A text cell as it leaves; nothing for any other cell.
pub(super) fn shown<'a>(cell: &'a Cell<'_>, field: &str) -> Cow<'a, str> {
    shown_counted(cell, field, CELL_CAP, &mut Hidden::default())
}

fn shown_counted<'a>(cell: &'a Cell<'_>, field: &str, room: usize, hidden: &mut Hidden) -> Cow<'a, str> {
    let (text, is_free) = match cell {
        Cell::Raw(text) => (&**text, !names_a_thing(field)),
        Cell::Text(text) => (&**text, false),
        _ => return Cow::Borrowed(""),
    };
    let head = upto(text, LOOK);
    let redacted = if is_free { redact(head) } else { Cow::Borrowed(head) };
    let shown = match redacted {
        Cow::Borrowed(redacted) => clean_counted(redacted, hidden),
        Cow::Owned(redacted) => Cow::Owned(clean_counted(&redacted, hidden).into_owned()),
    };
    if head.len() == text.len() && shown.len() <= room {
        return shown;
    }
    let mark = format!("… [cut: {} bytes in all]", text.len());
    Cow::Owned(format!("{}{mark}", upto(&shown, room.saturating_sub(mark.len()))))
}

/// At most so many bytes, whole characters.
pub(super) fn upto(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// A JSON string. Whatever is still not plain is left to JSON's own escapes.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        match from.first() {
            Some(b @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', *b]),
            Some(b) => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            None => {}
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

pub(super) fn write_unsigned(mut n: u64, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (n % 10) as u8);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

pub(super) fn write_signed(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    write_unsigned(n.unsigned_abs(), out);
}

/// The same text as `Display`, without the formatting machinery: a big directory has hundreds of thousands.
pub(super) fn write_time(t: Timestamp, out: &mut Vec<u8>) {
    let (days, second) = (t.as_secs().div_euclid(86_400), t.as_secs().rem_euclid(86_400));
    let Some((year, month, day)) = date(days) else {
        return out.extend_from_slice(t.to_string().as_bytes());
    };
    let two = |n: i64, out: &mut Vec<u8>| out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
    two(year / 100, out);
    two(year % 100, out);
    for (sign, n) in [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(sign);
        two(n, out);
    }
    let ms = t.as_nanos().rem_euclid(1_000_000_000) / 1_000_000;
    if ms != 0 {
        out.push(b'.');
        out.push(b'0' + (ms / 100) as u8);
        two(i64::try_from(ms % 100).unwrap_or_default(), out);
    }
    out.push(b'Z');
}

/// The civil date of a day since 1970, for years of four digits.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    if !(-719_162..2_932_897).contains(&days) {
        return None;
    }
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    Some((yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1))
}

/// A JSON text with every string in it cleaned, and redacted where it is free text; numbers and the order of members
/// stay as they are. What stands for a thing that can be asked for again (a path, a name, an id) is not redacted.
pub fn scrub_json(json: &RawValue) -> Box<RawValue> {
    scrub_json_counted(json, &mut Hidden::default())
}

/// [`scrub_json`], adding to a count of the characters that were made visible.
pub fn scrub_json_counted(json: &RawValue, hidden: &mut Hidden) -> Box<RawValue> {
    let text = json.get();
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut key = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, from) = rest.split_at(at);
        out.extend(before.bytes().filter(|b| !b.is_ascii_whitespace()));
        let literal = string_literal(from);
        rest = from.get(literal.len()..).unwrap_or_default();
        let value: Cow<'_, str> = read_string(literal);
        let is_key = rest.trim_start().starts_with(':');
        let shown = if is_key || names_a_thing(&key) { Cow::Borrowed(&*value) } else { redact_escaped(&value) };
        write_text(&clean_counted(&shown, hidden), &mut out);
        if is_key {
            key = value.into_owned();
        }
    }
    out.extend(rest.bytes().filter(|b| !b.is_ascii_whitespace()));
    let scrubbed = String::from_utf8(out).ok().and_then(|t| RawValue::from_string(t).ok());
    // A `RawValue` is valid JSON and only its strings were rewritten; should that ever fail, nothing leaves.
    scrubbed.unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// The string that the text starts with, quotes included.
fn string_literal(text: &str) -> &str {
    let mut escaped = false;
    for (at, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(..=at).unwrap_or(text),
            _ => {}
        }
    }
    text
}

fn read_string(literal: &str) -> Cow<'_, str> {
    match literal.get(1..literal.len().saturating_sub(1)) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        _ => Cow::Owned(serde_json::from_str(literal).unwrap_or_default()),
    }
}
