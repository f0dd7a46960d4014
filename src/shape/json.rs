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

    fn object(&mut self, members: &[(Cow<'static, str>, Cell<'_>)]) {
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

/// The one member whose lines stay lines: a slice of evidence.
const MANY_LINES: &str = "content";

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
        if key == MANY_LINES && !is_key {
            let lines: Vec<_> = shown.split('\n').map(|line| clean_counted(line, hidden)).collect();
            write_text(&lines.join("\n"), &mut out);
        } else {
            write_text(&clean_counted(&shown, hidden), &mut out);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DevicePath, FileEntry, Process};
    use crate::shape::Untrusted;
    use proptest::prelude::*;

    fn process(command_line: &str) -> Process {
        Process {
            pid: 7,
            ppid: 1,
            name: Untrusted::new("a\x1b[2K\"b\\"),
            path: Some(DevicePath::new(*b"/tmp/token=abc\xff")),
            command_line: Some(Untrusted::new(command_line)),
            user: None,
            started: Some(Timestamp::from_millis(5)),
            sha256: None,
            deleted_image: Some(true),
            cwd: None,
            container: None,
            cpu_ms: Some(0),
            rss_bytes: Some(u64::MAX),
            depth: None,
        }
    }

    fn row(rows: &dyn Rows) -> String {
        let mut out = Vec::new();
        write_row(rows, 0, &(0..rows.fields().len()).collect::<Vec<_>>(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_is_what_serde_writes_but_redacted() {
        let rows = vec![process("x --pid 3")];
        assert_eq!(row(&rows), serde_json::to_string(&rows[0]).unwrap());
        let rows = vec![process("x --password hunter2")];
        assert!(!row(&rows).contains("hunter2"));
    }

    #[test]
    fn a_file_that_is_called_like_a_secret_stays_reachable() {
        assert!(row(&vec![process("x")]).contains(r#""path":"esc:/tmp/token=abc\\xff""#));
    }

    #[test]
    fn objects_and_lists_are_what_serde_writes() {
        let entry = FileEntry {
            name: DevicePath::new("a"),
            path: DevicePath::new("/a"),
            kind: "file",
            size_bytes: Some(1),
            created: None,
            modified: Some(Timestamp::from_unix(1, 1)),
            accessed: None,
            target: None,
            attributes: Some(crate::model::Attributes {
                mode: "-rwxr-xr-x".into(),
                owner: Some(Untrusted::new("\u{202e}r")),
                group: None,
                hidden: false,
                immutable: true,
                append_only: false,
            }),
        };
        let rows = vec![entry];
        assert_eq!(row(&rows), serde_json::to_string(&rows[0]).unwrap());
    }

    #[test]
    fn a_huge_cell_is_cut_with_a_mark() {
        let rows = vec![process(&"é\x1b".repeat(5 << 20))];
        let json = row(&rows);
        assert!(json.len() < 3 * CELL_CAP, "{}", json.len());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let text = value["command_line"].as_str().unwrap();
        assert!(text.len() <= CELL_CAP && text.ends_with("… [cut: 15728640 bytes in all]"), "{}", text.len());
    }

    #[test]
    fn a_huge_list_is_cut_with_a_mark() {
        crate::model::row! { pub struct Tags { pub tags: Vec<Untrusted>, } }
        let rows = vec![Tags { tags: vec![Untrusted::new("x".repeat(100)); 100_000] }];
        let json = row(&rows);
        assert!(json.len() < 2 * CELL_CAP && json.ends_with("… [cut: 100000 items in all]\"]}"), "{}", json.len());
    }

    #[test]
    fn hidden_characters_are_counted() {
        let mut hidden = Hidden::default();
        let rows = vec![process("\u{202e}\u{200b}")];
        write_row_counted(&rows, 0, &[2, 4], &mut Vec::new(), &mut hidden);
        assert_eq!(hidden, Hidden { controls: 1, direction: 1, invisible: 1 });
    }

    #[test]
    fn raw_names_are_not_escaped_names() {
        assert!(crate::model::Remediated::FIELDS.contains(&"type"));
    }

    use crate::model::Row;

    proptest! {
        #[test]
        fn times_are_written_as_they_display(secs in -70_000_000_000i64..300_000_000_000, nanos in 0u32..1_000_000_000) {
            let t = Timestamp::from_unix(secs, nanos);
            let mut out = Vec::new();
            write_time(t, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), t.to_string());
        }

        #[test]
        fn any_text_makes_valid_json(text in any::<String>(), n: i64) {
            let mut out = Vec::new();
            write_text(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            write_signed(n, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }

        #[test]
        fn scrubbed_json_keeps_all_but_its_texts(text in any::<String>(), key in "[a-z\"\\\\]{0,5}", n: u64) {
            let value = serde_json::json!({ key.clone(): [text, { "n": n, "t": "a b" }, null, true, -1.5e3], "z": {} });
            let raw = RawValue::from_string(serde_json::to_string_pretty(&value).unwrap()).unwrap();
            let scrubbed = scrub_json(&raw);
            let again: serde_json::Value = serde_json::from_str(scrubbed.get()).unwrap();
            prop_assert_eq!(&again[&key][1], &value[&key][1]);
            prop_assert_eq!(&again[&key][4], &value[&key][4]);
            prop_assert!(super::super::is_plain(scrubbed.get()));
            let twice = scrub_json(&scrubbed);
            prop_assert_eq!(twice.get(), scrubbed.get());
        }
    }

    #[test]
    fn free_text_of_an_object_is_redacted_and_its_path_is_not() {
        let raw = RawValue::from_string(
            r#"{"path":"/tmp/token=abc","content":"a\\npassword=hunter2\\nx\u001b","tags":["token=zzz"]}"#.into(),
        )
        .unwrap();
        let scrubbed = scrub_json(&raw);
        let value: serde_json::Value = serde_json::from_str(scrubbed.get()).unwrap();
        assert_eq!(value["path"], "/tmp/token=abc");
        assert!(!scrubbed.get().contains("hunter2") && !scrubbed.get().contains("zzz"), "{scrubbed}");
        assert!(value["content"].as_str().unwrap().ends_with(r"]\nx\x1b"), "{scrubbed}");
    }
}
