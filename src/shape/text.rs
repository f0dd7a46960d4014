//! The text beside the structured content, made for a model to read: one line a row, tabs between the cells, no
//! padding, no empty column.
//!
//! Invariant: at most 8,000 bytes and 50 rows; what was left out is said in the last line. It is made from what the
//! structured content holds, so it is cleaned and redacted already.

use super::json::upto;
use super::scrub;
use crate::error::Error;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write;

/// The most bytes of a text.
pub const BYTE_CAP: usize = 8_000;
/// The most rows of a text.
pub const ROW_CAP: usize = 50;
/// The most bytes of a cell in a row; the structured content has the whole of it.
const CELL_CAP: usize = 400;
/// Room for the last line.
const TAIL: usize = 160;
/// The most bytes of what stands beside rows.
const HEAD: usize = 1_500;

/// How a pending answer's text begins.
pub const NOT_DONE: &str = "NOT DONE, nothing has changed";

/// Where a page stands in its listing.
pub struct Page<'p> {
    /// The offset of the first row.
    pub start: usize,
    /// Rows in the whole listing.
    pub total: usize,
    /// What the answer tells beside its rows, by name.
    pub beside: &'p [(&'p str, &'p RawValue)],
    /// The cursor that goes on at an offset.
    pub cursor: &'p dyn Fn(usize) -> String,
}

/// Rows as lines. `columns` are the command's default columns, or the wanted fields; all fields where empty.
pub fn listing(rows: &[&RawValue], columns: &[&str], page: &Page<'_>) -> String {
    let empty = rows.is_empty();
    let rows: Vec<Cells<'_>> = rows.iter().take(ROW_CAP).map(|r| cells(r)).collect();
    let columns = filled(&rows, columns);
    let mut out = head(page.beside, &rows, &columns);
    if empty {
        let _ = match page.total {
            0 => write!(out, "no rows"),
            total => write!(out, "no rows; {total} in all"),
        };
        return out;
    }
    let room = BYTE_CAP - TAIL - CELL_CAP - out.len();
    out.push_str(&columns.join("\t"));
    let mut line = String::new();
    let mut shown = 0;
    for row in &rows {
        line.clear();
        for (n, column) in columns.iter().enumerate() {
            if n > 0 {
                line.push('\t');
            }
            line.push_str(find(row, column).unwrap_or_default());
        }
        let line = upto(line.trim_end_matches('\t'), room);
        if shown > 0 && out.len() + 1 + line.len() > BYTE_CAP - TAIL {
            break;
        }
        out.push('\n');
        out.push_str(line);
        shown += 1;
    }
    let next = page.start + shown;
    if next < page.total {
        let _ = write!(out, "\n… {} more of {}; next_cursor {}", page.total - next, page.total, (page.cursor)(next));
    }
    out
}

/// What stands beside the rows, a line each, and not what every row says itself.
fn head(beside: &[(&str, &RawValue)], rows: &[Cells<'_>], columns: &[String]) -> String {
    let mut out = String::new();
    for (name, value) in beside {
        let text = cell(value.get());
        let in_rows = !rows.is_empty() && rows.iter().all(|row| find(row, name) == Some(&text));
        if text.is_empty() || (in_rows && columns.iter().any(|column| column == name)) {
            continue;
        }
        let shown = upto(&text, CELL_CAP);
        let cut = if shown.len() < text.len() { "…" } else { "" };
        let line = format!("{}: {shown}{cut}\n", upto(name, CELL_CAP));
        if out.len() + line.len() > HEAD {
            break;
        }
        out.push_str(&line);
    }
    out
}

/// A listing with the lines that its rows tell of below it, as far as there is room.
pub fn with_content(mut listing: String, content: Option<&str>) -> String {
    if let Some(content) = content {
        let shown = upto(content, BYTE_CAP.saturating_sub(listing.len() + TAIL));
        let _ = write!(listing, "\n\n{shown}");
        if shown.len() < content.len() {
            listing.push_str("\n… cut; `evidence` with the sha256 reads all of it");
        }
    }
    listing
}

fn find<'r>(row: &'r [(Cow<'_, str>, Cow<'_, str>)], column: &str) -> Option<&'r str> {
    row.iter().find(|(name, _)| name == column).map(|(_, text)| &**text)
}

/// The columns in which a row has something.
fn filled(rows: &[Cells<'_>], columns: &[&str]) -> Vec<String> {
    let has = |column: &str| rows.iter().any(|row| find(row, column).is_some_and(|text| !text.is_empty()));
    let mut out: Vec<String> = Vec::new();
    let known = columns.iter().map(|c| (*c).to_owned());
    let met = rows.iter().flatten().map(|(name, _)| name.clone().into_owned()).filter(|_| columns.is_empty());
    for column in known.chain(met) {
        if !out.contains(&column) && has(&column) {
            out.push(column);
        }
    }
    out
}

/// A row's members in their order: names and texts, borrowed from the row's JSON where they stand there as they are.
type Cells<'r> = Vec<(Cow<'r, str>, Cow<'r, str>)>;

fn cells(row: &RawValue) -> Cells<'_> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Cells<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a row")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = Vec::with_capacity(map.size_hint().unwrap_or(8));
            while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                let text = cell(value.get());
                let text = match text.len() {
                    0..=CELL_CAP => text,
                    _ => format!("{}…", upto(&text, CELL_CAP)).into(),
                };
                out.push((name.0, text));
            }
            Ok(out)
        }
    }

    serde_json::Deserializer::from_str(row.get()).deserialize_map(Members).unwrap_or_default()
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A member's JSON on one line.
fn cell(json: &str) -> Cow<'_, str> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text>(json).map(|t| t.0).unwrap_or_default(),
        Some(b'[' | b'{') => serde_json::from_str(json).map(|v| inline(&v).into()).unwrap_or_default(),
        Some(b'n') => "".into(),
        _ => json.into(),
    }
}

/// A value on one line: `mode=-rw-r--r-- owner=root`, `a, b`.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let parts: Vec<String> = members
                .iter()
                .filter(|(_, v)| **v != Value::Bool(false))
                .map(|(n, v)| format!("{n}={}", inline(v)))
                .collect();
            parts.join(" ")
        }
        scalar => scalar.to_string(),
    }
}

/// An object as `key: value` lines, what lies deeper indented by two.
pub fn object(json: &RawValue) -> String {
    let text = object_upto(json, 2 * BYTE_CAP);
    if text.len() <= BYTE_CAP {
        return text;
    }
    format!("{}\n… the rest is in the structured content", upto(&text, BYTE_CAP - TAIL))
}

/// [`object`] without a cap, for the console.
pub fn whole_object(json: &RawValue) -> String {
    object_upto(json, usize::MAX)
}

/// No member is begun once there are `enough` bytes.
fn object_upto(json: &RawValue, enough: usize) -> String {
    let mut out = String::new();
    match serde_json::from_str::<Value>(json.get()) {
        Ok(value) => lines(&value, 0, enough, &mut out),
        Err(_) => out.push_str(json.get()),
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn lines(value: &Value, depth: usize, enough: usize, out: &mut String) {
    if out.len() > enough {
        return;
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| member_line(name, member, depth, enough, out))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => items.iter().for_each(|item| {
            let mut block = String::new();
            lines(item, 0, enough, &mut block);
            for (n, line) in block.lines().enumerate() {
                let _ = writeln!(out, "{:depth$}{} {line}", "", if n == 0 { '-' } else { ' ' });
            }
        }),
        scalar => {
            let _ = writeln!(out, "{:depth$}{}", "", inline(scalar));
        }
    }
}

fn member_line(name: &str, member: &Value, depth: usize, enough: usize, out: &mut String) {
    let is_empty = match member {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let is_nested = match member {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    };
    if is_nested && !is_empty {
        let _ = writeln!(out, "{:depth$}{name}:", "");
        lines(member, depth + 2, enough, out);
    } else if !is_empty {
        let _ = writeln!(out, "{:depth$}{name}: {}", "", inline(member));
    }
}

/// An answer that waits for a person.
pub fn pending(request: &str, match_code: &str, expires: &str, how: &str) -> String {
    format!(
        "{NOT_DONE}: a person is asked.\nrequest: {}\nmatch: {}\nexpires: {}\nhow: {}",
        scrub(request),
        scrub(match_code),
        scrub(expires),
        scrub(how)
    )
}

/// A refusal or a failure: `CODE: message`, and the hint on a line of its own.
pub fn error(e: &Error) -> String {
    let message = scrub(&e.message);
    let mut out = format!("{}: {}", e.code, upto(&message, BYTE_CAP / 2));
    if let Some(hint) = &e.hint {
        let _ = write!(out, "\nhint: {}", upto(&scrub(hint), BYTE_CAP / 4));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn list(rows: &[Box<RawValue>], columns: &[&str], total: usize) -> String {
        let rows: Vec<&RawValue> = rows.iter().map(|r| &**r).collect();
        listing(&rows, columns, &Page { start: 0, total, beside: &[], cursor: &|at| format!("c.{at}") })
    }

    fn with_beside(rows: &[Box<RawValue>], beside: &[(&str, &str)]) -> String {
        let rows: Vec<&RawValue> = rows.iter().map(|r| &**r).collect();
        let values: Vec<(&str, Box<RawValue>)> = beside.iter().map(|(name, json)| (*name, raw(json))).collect();
        let beside: Vec<(&str, &RawValue)> = values.iter().map(|(name, value)| (*name, &**value)).collect();
        listing(&rows, &[], &Page { start: 0, total: rows.len(), beside: &beside, cursor: &|at| format!("c.{at}") })
    }

    #[test]
    fn what_stands_beside_the_rows_is_told_once() {
        let engines = r#"[{"engine":"yara","status":"ready"},{"engine":"clamd","status":"error"}]"#;
        let beside = [("engines", engines), ("files", "7"), ("none", "null"), ("empty", "[]")];
        let head = "engines: engine=yara status=ready, engine=clamd status=error\nfiles: 7\n";
        assert_eq!(with_beside(&[], &beside), format!("{head}no rows"));
        assert_eq!(with_beside(&[raw(r#"{"path":"/a"}"#)], &beside), format!("{head}path\n/a"));
        // Every row says it: a line more would say it twice.
        let rows = [raw(r#"{"key":"K","value":"a"}"#), raw(r#"{"key":"K","value":"b"}"#)];
        assert_eq!(with_beside(&rows, &[("key", r#""K""#)]), "key\tvalue\nK\ta\nK\tb");
        assert_eq!(with_beside(&rows, &[("key", r#""J""#)]), "key: J\nkey\tvalue\nK\ta\nK\tb");
    }

    #[test]
    fn what_stands_beside_the_rows_leaves_them_room() {
        let long = format!("\"{}\"", "é".repeat(10_000));
        let names: Vec<String> = (0..100).map(|n| format!("name{n}")).collect();
        let beside: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
        let rows: Vec<_> = (0..50).map(|_| raw(&format!(r#"{{"a":{long}}}"#))).collect();
        let text = with_beside(&rows, &beside);
        assert!(text.len() <= BYTE_CAP && text.contains("next_cursor c."), "{}", text.len());
        assert!(text.starts_with("name0: é") && text.contains("…\na\n"), "{text}");
    }

    #[test]
    fn a_console_gets_the_whole_of_an_object() {
        let members: Vec<String> = (0..5_000).map(|n| format!(r#""f{n}":"value""#)).collect();
        let text = whole_object(&raw(&format!("{{{}}}", members.join(","))));
        assert_eq!(text.lines().count(), 5_000);
    }

    #[test]
    fn rows_are_lines_without_empty_columns() {
        let rows = [raw(r#"{"pid":1,"name":"a","x":"y"}"#), raw(r#"{"pid":2,"user":"root","ok":true}"#)];
        assert_eq!(list(&rows, &["pid", "name", "cwd", "user"], 2), "pid\tname\tuser\n1\ta\n2\t\troot");
        assert_eq!(list(&rows, &[], 2), "pid\tname\tx\tuser\tok\n1\ta\ty\n2\t\t\troot\ttrue");
        assert_eq!(list(&[], &["pid"], 0), "no rows");
    }

    #[test]
    fn objects_and_lists_stand_in_their_cell() {
        let rows = [raw(r#"{"a":{"mode":"-r","owner":"root","hidden":false},"t":["x","y"]}"#)];
        assert_eq!(list(&rows, &[], 1), "a\tt\nmode=-r owner=root\tx, y");
    }

    #[test]
    fn what_is_left_out_is_said_with_the_cursor_that_goes_on() {
        let rows: Vec<_> = (0..60).map(|n| raw(&format!(r#"{{"n":{n}}}"#))).collect();
        assert!(list(&rows, &[], 1_000).ends_with("\n49\n… 950 more of 1000; next_cursor c.50"));
    }

    #[test]
    fn hostile_rows_do_not_pass_the_cap() {
        let big = "é".repeat(4_000);
        let wide: String = (0..40).map(|n| format!(r#""f{n}":"{big}","#)).collect();
        for row in [format!(r#"{{"a":"{big}"}}"#), format!("{{{wide}\"z\":1}}")] {
            let rows: Vec<_> = (0..50).map(|_| raw(&row)).collect();
            let text = list(&rows, &[], 50);
            assert!(text.len() <= BYTE_CAP && text.lines().count() > 1, "{}", text.len());
            assert!(text.contains("next_cursor c."));
        }
    }

    #[test]
    fn an_object_is_lines() {
        let json = raw(
            r#"{"path":"/a","none":null,"empty":[],"attributes":{"mode":"-r","owner":"root"},"signed_in":[{"user":"a","from":"b"},{"user":"c"}],"tags":["x"]}"#,
        );
        assert_eq!(
            object(&json),
            "path: /a\nattributes:\n  mode: -r\n  owner: root\nsigned_in:\n  - user: a\n    from: b\n  - user: c\ntags: x"
        );
        let long = object(&raw(&format!(r#"{{"content":"{}"}}"#, "x".repeat(30_000))));
        assert!(long.len() <= BYTE_CAP && long.ends_with("the rest is in the structured content"));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert!(object(&raw(&deep)).len() <= BYTE_CAP);
    }

    #[test]
    fn a_pending_answer_says_so_first() {
        let text = pending("r-1", "maple", "2026-11-24T03:00:00Z", "approvals approve\nNOT");
        assert!(text.starts_with("NOT DONE, nothing has changed"));
        assert!(text.ends_with(r"approve\nNOT"));
    }

    #[test]
    fn an_error_is_cleaned_and_redacted() {
        let e = Error::new(ErrorCode::NotFound, "no file \"a\x1b[2K\" token=abc").hint("look\nagain");
        let text = error(&e);
        assert!(text.starts_with("E_NOT_FOUND: no file \"a\\x1b[2K\" token=[redacted:"), "{text}");
        assert!(text.ends_with("\nhint: look\\nagain"), "{text}");
        assert!(error(&Error::new(ErrorCode::BadArgs, "x".repeat(100_000))).len() < BYTE_CAP);
    }
}
