//! The text of a unit file, as `man 7 systemd.syntax` defines it: sections, assignments, comments, continuation lines.
//!
//! Invariant: pure; any bytes give a [`Text`] no bigger than they are, what the system ignores is ignored here.

/// Assignments of a file beyond these are not read; no real unit has a hundredth of it.
const ASSIGNMENTS: usize = 20_000;

/// Assignments in the order in which they stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    assignments: Vec<Assignment>,
}

/// `key=value` in a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub section: Vec<u8>,
    pub key: Vec<u8>,
    /// Continuation lines joined by a space, without white space at its ends; empty resets a list.
    pub value: Vec<u8>,
}

impl Text {
    pub fn parse(bytes: &[u8]) -> Text {
        let mut text = Text::default();
        let mut section: Option<Vec<u8>> = None;
        for line in logical_lines(bytes) {
            let line = line.trim_ascii();
            if let Some(named) = line.strip_prefix(b"[") {
                // A header that does not end is an error to the system: what follows belongs nowhere.
                section = named.strip_suffix(b"]").map(<[u8]>::to_vec);
                continue;
            }
            let Some(section) = &section else { continue };
            let Some(at) = line.iter().position(|b| *b == b'=') else { continue };
            let (key, value) = line.split_at(at);
            let (key, value) = (key.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii());
            if key.is_empty() {
                continue;
            }
            if text.assignments.len() == ASSIGNMENTS {
                break;
            }
            text.assignments.push(Assignment { section: section.clone(), key: key.to_vec(), value: value.to_vec() });
        }
        text
    }

    /// Those of a drop-in after these.
    pub fn append(&mut self, drop_in: Text) {
        self.assignments.extend(drop_in.assignments);
        self.assignments.truncate(ASSIGNMENTS);
    }

    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// What is in force of a list: an empty assignment takes back all before it.
    pub fn list(&self, section: &str, key: &str) -> Vec<&[u8]> {
        let mut values = Vec::new();
        for a in self.assignments.iter().filter(|a| a.is(section, key)) {
            if a.value.is_empty() {
                values.clear();
            } else {
                values.push(&a.value[..]);
            }
        }
        values
    }

    /// What is in force of a single value: the last one, `None` where that is empty.
    pub fn value(&self, section: &str, key: &str) -> Option<&[u8]> {
        let last = self.assignments.iter().rev().find(|a| a.is(section, key))?;
        Some(&last.value[..]).filter(|v| !v.is_empty())
    }

    /// The words of a list of names.
    pub fn words(&self, section: &str, key: &str) -> Vec<&[u8]> {
        let values = self.list(section, key).into_iter();
        values.flat_map(|v| v.split(u8::is_ascii_whitespace)).filter(|w| !w.is_empty()).collect()
    }
}

impl Assignment {
    pub fn is(&self, section: &str, key: &str) -> bool {
        self.key == key.as_bytes() && self.section == section.as_bytes()
    }
}

/// Lines without comments, those that end in an odd number of backslashes joined with the next. A comment inside a
/// continuation is left out and the continuation goes on.
fn logical_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    let mut pending: Option<Vec<u8>> = None;
    // The system takes a NUL and a carriage return for the end of a line too.
    for raw in bytes.split(|b| matches!(b, b'\n' | b'\r' | 0)) {
        let line = raw.trim_ascii_start();
        if matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        let continued = line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
        if line.is_empty() && pending.is_none() {
            continue;
        }
        let mut whole = pending.take().unwrap_or_default();
        whole.extend_from_slice(line);
        if continued {
            whole.pop();
            whole.push(b' ');
            pending = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(pending);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str, key: &str) -> Vec<String> {
        let text = Text::parse(text.as_bytes());
        text.list("Service", key).iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect()
    }

    #[test]
    fn continuation_lines_are_joined_and_comments_inside_skipped() {
        let text = "[Service]\nExecStart=/bin/a \\\n# not this\n  ; nor this\n  -b \\\n\n ExecStop = /bin/c\\\\\n";
        assert_eq!(list(text, "ExecStart"), ["/bin/a  -b"]);
        assert_eq!(list(text, "ExecStop"), ["/bin/c\\\\"]);
    }

    #[test]
    fn an_empty_assignment_takes_back_what_was_before_it() {
        let text = "[Service]\nExecStart=/bin/a\nExecStart=/bin/b\nExecStart=\nExecStart=/bin/c\n";
        assert_eq!(list(text, "ExecStart"), ["/bin/c"]);
        assert_eq!(Text::parse(b"[Service]\nUser=x\nUser=\n").value("Service", "User"), None);
    }

    #[test]
    fn what_stands_outside_a_section_is_ignored() {
        let text =
            "ExecStart=/bin/a\n[Serv\nExecStart=/bin/b\n[Unit]\nExecStart=/bin/c\n[Service]\r\nExecStart=/bin/d\r\n";
        assert_eq!(list(text, "ExecStart"), ["/bin/d"]);
    }

    #[test]
    fn keys_and_sections_are_case_sensitive() {
        assert!(list("[service]\nExecStart=/a\n[Service]\nexecstart=/b\n", "ExecStart").is_empty());
    }

    #[test]
    fn no_more_assignments_than_the_limit() {
        let text = Text::parse(&[&b"[Service]\n"[..], &b"ExecStart=/x\n".repeat(ASSIGNMENTS + 5)].concat());
        assert_eq!(text.assignments().len(), ASSIGNMENTS);
    }

    #[test]
    fn a_file_that_ends_in_a_continuation_keeps_its_line() {
        assert_eq!(list("[Service]\nExecStart=/bin/a \\", "ExecStart"), ["/bin/a"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_no_more_than_they_hold(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = Text::parse(&bytes);
            let held: usize = text.assignments().iter().map(|a| a.key.len() + a.value.len()).sum();
            prop_assert!(held <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec("[a-z/][a-z /=-]{0,20}[a-z]", 1..8)) {
            let lines: String = values.iter().map(|v| format!("ExecStart={v}\n")).collect();
            prop_assert_eq!(list(&format!("[Service]\n{lines}"), "ExecStart"), values);
        }
    }
}
