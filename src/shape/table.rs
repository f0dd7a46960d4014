//! A listing for people at the console: aligned columns, or JSON with one row a line. Every row, streamed.
//!
//! Invariant: memory does not grow with the rows; what is printed is cleaned and redacted.

use super::json::{shown, upto, write_row, write_signed, write_text, write_time, write_unsigned};
use super::select::{Rows, STRIDE, Selection};
use crate::error::{Error, Result};
use crate::model::{Cell, Job};
use std::io::Write;

/// Rows that decide the widths.
const SAMPLE: usize = 1_000;
/// The widest that a column is padded to.
const MAX_PAD: usize = 48;
/// The narrowest that a terminal squeezes a column to.
const MIN_WIDTH: usize = 8;
const FLUSH: usize = 64 * 1024;
const GAP: &[u8] = b"  ";

/// The columns to print: those asked for, else the command's default ones, else all.
pub fn columns(rows: &dyn Rows, selection: &Selection, asked: bool, default: &[&str]) -> Vec<usize> {
    if asked || default.is_empty() {
        return selection.columns.clone();
    }
    default.iter().filter_map(|name| rows.fields().iter().position(|f| f == name)).collect()
}

/// Aligned columns under their names. On a terminal of `width` columns lines are cut and columns left out, so that none
/// wraps; without a width nothing is cut.
pub fn table(
    rows: &dyn Rows,
    selection: &Selection,
    columns: &[usize],
    width: Option<usize>,
    job: &Job,
    out: &mut dyn Write,
) -> Result<()> {
    let layout = Layout::measure(rows, selection, columns, width);
    let mut buffer = Vec::with_capacity(FLUSH + 4096);
    let mut cell = Vec::new();
    for (n, column) in layout.columns.iter().enumerate() {
        cell.clear();
        cell.extend(column.name.bytes().map(|b| b.to_ascii_uppercase()));
        layout.put(n, &cell, &mut buffer);
    }
    buffer.push(b'\n');
    for (n, row) in selection.order.iter().enumerate() {
        if n.is_multiple_of(STRIDE) {
            job.check()?;
        }
        for (i, column) in layout.columns.iter().enumerate() {
            cell.clear();
            print(&rows.cell(*row as usize, column.field), column.name, &mut cell);
            layout.put(i, &cell, &mut buffer);
        }
        buffer.push(b'\n');
        flush(&mut buffer, FLUSH, out)?;
    }
    flush(&mut buffer, 0, out)
}

/// An array of objects, one a line.
pub fn json(rows: &dyn Rows, selection: &Selection, job: &Job, out: &mut dyn Write) -> Result<()> {
    let mut buffer = Vec::with_capacity(FLUSH + 4096);
    buffer.push(b'[');
    for (n, row) in selection.order.iter().enumerate() {
        if n.is_multiple_of(STRIDE) {
            job.check()?;
        }
        buffer.extend_from_slice(if n == 0 { b"\n" } else { b",\n" });
        write_row(rows, *row as usize, &selection.columns, &mut buffer);
        flush(&mut buffer, FLUSH, out)?;
    }
    buffer.extend_from_slice(if selection.order.is_empty() { b"]\n" } else { b"\n]\n" });
    flush(&mut buffer, 0, out)
}

fn flush(buffer: &mut Vec<u8>, over: usize, out: &mut dyn Write) -> Result<()> {
    if buffer.len() > over {
        out.write_all(buffer).map_err(|e| Error::io("the listing cannot be written", e))?;
        buffer.clear();
    }
    Ok(())
}

struct Column {
    field: usize,
    name: &'static str,
    width: usize,
    right: bool,
}

struct Layout {
    columns: Vec<Column>,
    /// A terminal cuts cells that are too wide.
    cuts: bool,
}

impl Layout {
    fn measure(rows: &dyn Rows, selection: &Selection, columns: &[usize], width: Option<usize>) -> Layout {
        let mut measured: Vec<Column> = columns
            .iter()
            .filter_map(|f| {
                rows.fields().get(*f).map(|name| Column { field: *f, name, width: name.len(), right: false })
            })
            .collect();
        let mut cell = Vec::new();
        for column in &mut measured {
            for row in selection.order.iter().take(SAMPLE) {
                let value = rows.cell(*row as usize, column.field);
                column.right |= matches!(value, Cell::Unsigned(_) | Cell::Signed(_));
                cell.clear();
                print(&value, column.name, &mut cell);
                column.width = column.width.max(width_of(&cell));
            }
        }
        if let Some(width) = width {
            squeeze(&mut measured, width);
        }
        Layout { columns: measured, cuts: width.is_some() }
    }

    fn put(&self, at: usize, cell: &[u8], line: &mut Vec<u8>) {
        let Some(column) = self.columns.get(at) else { return };
        if at > 0 {
            line.extend_from_slice(GAP);
        }
        let mut used = width_of(cell);
        let is_last = at + 1 == self.columns.len();
        let pad = column.width.min(if self.cuts { usize::MAX } else { MAX_PAD });
        if column.right {
            line.resize(line.len() + pad.saturating_sub(used), b' ');
        }
        if self.cuts && used > column.width && !column.right {
            used = cut(cell, column.width, line);
        } else {
            line.extend_from_slice(cell);
        }
        if !column.right && !is_last {
            line.resize(line.len() + pad.saturating_sub(used), b' ');
        }
    }
}

/// Takes from the widest column of texts until the line fits; where that is not enough the last columns are left out.
/// Numbers are never cut.
fn squeeze(columns: &mut Vec<Column>, width: usize) {
    while let over @ 1.. = total(columns).saturating_sub(width) {
        let shrinkable = columns.iter().filter(|c| !c.right && c.width > MIN_WIDTH).map(|c| c.width);
        let Some(widest) = shrinkable.clone().max() else {
            if columns.len() == 1 {
                return;
            }
            columns.pop();
            continue;
        };
        let second = shrinkable.filter(|w| *w < widest).max().unwrap_or(MIN_WIDTH);
        if let Some(column) = columns.iter_mut().find(|c| !c.right && c.width == widest) {
            column.width = widest.saturating_sub(over).max(second).min(widest - 1);
        }
    }
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|c| c.width).sum::<usize>() + columns.len().saturating_sub(1) * GAP.len()
}

/// Writes as much of a cell as fits, and `…`.
fn cut(cell: &[u8], width: usize, line: &mut Vec<u8>) -> usize {
    let text = std::str::from_utf8(cell).unwrap_or_default();
    let mut used = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let next = used + char_width(c);
        if next >= width {
            break;
        }
        (used, end) = (next, at + c.len_utf8());
    }
    line.extend_from_slice(upto(text, end).as_bytes());
    line.extend_from_slice("…".as_bytes());
    used + 1
}

fn width_of(cell: &[u8]) -> usize {
    if cell.is_ascii() {
        return cell.len();
    }
    std::str::from_utf8(cell).unwrap_or_default().chars().map(char_width).sum()
}

/// Columns of a terminal: two for East Asian wide characters and emoji, none for combining marks. Roughly, by block.
fn char_width(c: char) -> usize {
    match c {
        '\0'..='\u{2ff}' => 1,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5bd}'
        | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// A cell for the eye.
fn print(cell: &Cell<'_>, field: &str, out: &mut Vec<u8>) {
    match cell {
        Cell::Empty => out.push(b'-'),
        Cell::Bool(b) => out.extend_from_slice(if *b { b"yes" } else { b"no" }),
        Cell::Unsigned(n) => write_unsigned(*n, out),
        Cell::Signed(n) => write_signed(*n, out),
        Cell::Time(t) => write_time(*t, out),
        Cell::Text(_) | Cell::Raw(_) => match shown(cell, field) {
            text if text.is_empty() => write_text("", out),
            text => out.extend_from_slice(text.as_bytes()),
        },
        Cell::List(items) => {
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                print(item, field, out);
            }
        }
        Cell::Object(members) => {
            let start = out.len();
            for (name, member) in members.iter().filter(|(_, m)| !matches!(m, Cell::Empty | Cell::Bool(false))) {
                if out.len() > start {
                    out.push(b' ');
                }
                match member {
                    Cell::Bool(true) => out.extend_from_slice(name.as_bytes()),
                    member => print(member, name, out),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::shape::{Untrusted, Wanted, select};

    crate::model::row! {
        pub struct Item {
            pub name: Untrusted,
            pub size_bytes: Option<u64>,
            pub attributes: Option<crate::model::Attributes>,
            pub command_line: Option<Untrusted>,
        }
    }

    fn item(name: &str, size_bytes: Option<u64>, command_line: &str) -> Item {
        let attributes = crate::model::Attributes {
            mode: "-r--".into(),
            owner: Some(Untrusted::new("root")),
            group: None,
            hidden: true,
            immutable: false,
            append_only: false,
        };
        Item {
            name: Untrusted::new(name),
            size_bytes,
            attributes: Some(attributes),
            command_line: Some(Untrusted::new(command_line)),
        }
    }

    fn all(rows: &dyn Rows) -> Selection {
        select(rows, &Wanted::default(), &Job::default()).unwrap()
    }

    fn printed(rows: &dyn Rows, columns: &[usize], width: Option<usize>) -> String {
        let mut out = Vec::new();
        table(rows, &all(rows), columns, width, &Job::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = vec![item("文", Some(5), "a"), item("ab\x1b", None, "--token=abc")];
        let text = printed(&rows, &[0, 1, 2], None);
        assert_eq!(
            text,
            "NAME    SIZE_BYTES  ATTRIBUTES\n文               5  -r-- root hidden\nab\\x1b           -  -r-- root hidden\n"
        );
        assert!(!printed(&rows, &[3], None).contains("abc"));
    }

    #[test]
    fn a_terminal_s_lines_are_cut_and_a_pipe_s_are_not() {
        let rows = vec![item(&"n".repeat(100), Some(1), &"文".repeat(100))];
        for width in [8, 20, 24, 40, 80] {
            for line in printed(&rows, &[0, 1, 3], Some(width)).lines() {
                let seen: usize = line.chars().map(char_width).sum();
                assert!(seen <= width, "{width}: {line}");
            }
        }
        assert!(printed(&rows, &[0, 3], None).contains(&"文".repeat(100)));
    }

    #[test]
    fn default_columns_unless_fields_were_asked_for() {
        let rows: Vec<Item> = Vec::new();
        assert_eq!(columns(&rows, &all(&rows), false, &["size_bytes", "nothing", "name"]), [1, 0]);
        assert_eq!(columns(&rows, &all(&rows), true, &["name"]), [0, 1, 2, 3]);
        assert_eq!(columns(&rows, &all(&rows), false, &[]), [0, 1, 2, 3]);
    }

    #[test]
    fn json_is_an_array_with_a_row_a_line() {
        let mut rows = vec![item("a", None, "x"), item("b", Some(1), "y")];
        for count in [2, 1, 0] {
            rows.truncate(count);
            let mut out = Vec::new();
            json(&rows, &all(&rows), &Job::default(), &mut out).unwrap();
            let value: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
            assert_eq!(value.len(), count);
            assert_eq!(out.iter().filter(|b| **b == b'\n').count(), if count == 0 { 1 } else { count + 2 });
        }
    }

    #[test]
    fn a_cancel_and_a_broken_pipe_end_it() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let rows = vec![item("a", None, "x")];
        assert!(table(&rows, &all(&rows), &[0], None, &Job::default(), &mut Broken).is_err());
        let job = Job::default();
        job.cancel();
        let selection = all(&rows);
        let e = json(&rows, &selection, &job, &mut Vec::new()).unwrap_err();
        assert_eq!(e.code, ErrorCode::Cancelled);
    }
}
