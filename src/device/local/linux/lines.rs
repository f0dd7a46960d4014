//! One line of a text file, as bytes: found, taken out, put back.
//!
//! Invariant: what is put back where it was taken out gives the same bytes; no byte of another line is changed.

use crate::model::DevicePath;

/// A larger file is no crontab and no start-up script: nobody could tell what else a change of it changes.
pub const FILE_LIMIT: u64 = 1024 * 1024;
/// A longer line is not put before a person. Cron itself takes 1,000 bytes.
pub const LINE_LIMIT: usize = 8 * 1024;

/// A file without one of its lines.
#[derive(Clone, PartialEq, Debug)]
pub struct Cut {
    /// The line, without its line feed.
    pub text: Vec<u8>,
    /// Whether a line feed ended it; the last line of a file may have none.
    pub is_ended: bool,
    pub rest: Vec<u8>,
}

/// Takes out the line with this number, from 1; `None` where there is none.
pub fn cut(bytes: &[u8], number: u64) -> Option<Cut> {
    let (start, end) = span(bytes, number)?;
    let line = bytes.get(start..end)?;
    let rest = [bytes.get(..start)?, bytes.get(end..)?].concat();
    let text = line.strip_suffix(b"\n");
    Some(Cut { text: text.unwrap_or(line).to_vec(), is_ended: text.is_some(), rest })
}

/// Puts a line before the one that has this number now, or at the end.
pub fn put(bytes: &[u8], number: u64, text: &[u8], is_ended: bool) -> Vec<u8> {
    let at = span(bytes, number).map_or(bytes.len(), |(start, _)| start);
    let (before, after) = bytes.split_at_checked(at).unwrap_or((bytes, b""));
    let mut whole = before.to_vec();
    if !matches!(before.last(), None | Some(b'\n')) {
        whole.push(b'\n');
    }
    whole.extend_from_slice(text);
    if is_ended || !after.is_empty() {
        whole.push(b'\n');
    }
    whole.extend_from_slice(after);
    whole
}

/// The number of the first line that reads so.
pub fn find(bytes: &[u8], text: &[u8]) -> Option<u64> {
    let at = bytes.split(|b| *b == b'\n').position(|line| line == text)?;
    u64::try_from(at).ok()?.checked_add(1)
}

/// A line as plans and records write it.
pub fn shown(text: &[u8]) -> String {
    DevicePath::new(text).to_text().into_owned()
}

/// Where the line begins, and where the next one does.
fn span(bytes: &[u8], number: u64) -> Option<(usize, usize)> {
    let before = usize::try_from(number.checked_sub(1)?).ok()?;
    let start = match before.checked_sub(1) {
        None => 0,
        Some(nth) => memchr::memchr_iter(b'\n', bytes).nth(nth)? + 1,
    };
    let from = bytes.get(start..).filter(|rest| !rest.is_empty())?;
    Some((start, memchr::memchr(b'\n', from).map_or(bytes.len(), |at| start + at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_cut_goes_back_exactly(bytes in "[ab\n]{0,40}", number in 0u64..12) {
            if let Some(cut) = cut(bytes.as_bytes(), number) {
                let back = put(&cut.rest, number, &cut.text, cut.is_ended);
                prop_assert_eq!(back, bytes.as_bytes());
            }
        }

        #[test]
        fn a_cut_leaves_every_other_line(bytes in "([ab]{0,3}\n){0,9}", number in 1u64..9) {
            let lines: Vec<&str> = bytes.lines().collect();
            let index = usize::try_from(number).unwrap() - 1;
            match cut(bytes.as_bytes(), number) {
                None => prop_assert!(index >= lines.len()),
                Some(cut) => {
                    prop_assert_eq!(cut.text, lines[index].as_bytes());
                    let rest = String::from_utf8(cut.rest).unwrap();
                    let left: Vec<&str> = rest.lines().collect();
                    prop_assert_eq!(left, [&lines[..index], &lines[index + 1..]].concat());
                }
            }
        }
    }

    #[test]
    fn a_line_goes_into_a_file_that_changed() {
        assert_eq!(put(b"a\nb", 9, b"x", true), b"a\nb\nx\n");
        assert_eq!(put(b"", 3, b"x", false), b"x");
        assert_eq!(put(b"a\nb\n", 2, b"x", false), b"a\nx\nb\n");
    }

    #[test]
    fn numbers_that_name_no_line() {
        for number in [0, 3, u64::MAX] {
            assert_eq!(cut(b"a\nb\n", number), None, "{number}");
        }
        assert_eq!(cut(b"", 1), None);
    }
}
