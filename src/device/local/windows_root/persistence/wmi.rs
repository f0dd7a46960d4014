//! Permanent WMI subscriptions, found in the repository's file by the text of their bindings.
//!
//! Invariant: the file is streamed in pieces that overlap, whatever its size.

use crate::error::{Error, Result};
use crate::model::Job;
use memchr::memmem::Finder;
use std::fs::File;
use std::io::Read;

const PIECE: usize = 1 << 20;
/// A binding is shorter.
const OVERLAP: usize = 4 << 10;
const BINDINGS: usize = 1_000;
/// Between a consumer's and its filter's name.
const NEAR: usize = 600;

#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// `CommandLineEventConsumer`, …
    pub kind: String,
    pub consumer: String,
    pub filter: Option<String>,
}

/// Every binding of a consumer to a filter, once.
pub fn bindings(mut file: File, job: &Job) -> Result<Vec<Binding>> {
    let mut found = Vec::new();
    let mut window = Vec::new();
    loop {
        job.check()?;
        let kept = window.len();
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut window);
        read.map_err(|e| Error::io("OBJECTS.DATA", e))?;
        if window.len() == kept {
            return Ok(found);
        }
        look(&window, &mut found);
        if found.len() >= BINDINGS {
            job.warn(format!("more than {BINDINGS} WMI bindings; the rest is left out"));
            return Ok(found);
        }
        let overlap = window.len().saturating_sub(OVERLAP);
        window.drain(..overlap);
    }
}

fn look(window: &[u8], found: &mut Vec<Binding>) {
    let consumer = Finder::new(b"EventConsumer.Name=\"");
    for at in consumer.find_iter(window) {
        let head = window.get(..at).unwrap_or_default();
        let start = head.iter().rposition(|b| !b.is_ascii_alphanumeric() && *b != b'_').map_or(0, |p| p + 1);
        let Some(name) = quoted(window, at + consumer.needle().len()) else { continue };
        let kind = format!("{}EventConsumer", String::from_utf8_lossy(head.get(start..).unwrap_or_default()));
        let rest = window.get(at..).map(|r| r.get(..NEAR).unwrap_or(r)).unwrap_or_default();
        let marker = b"__EventFilter.Name=\"";
        let filter = Finder::new(marker).find(rest).and_then(|f| quoted(rest, f + marker.len()));
        let binding = Binding { kind, consumer: name, filter };
        if !found.contains(&binding) && found.len() < BINDINGS {
            found.push(binding);
        }
    }
}

fn quoted(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().take(256).position(|b| *b == b'"')?;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    #[test]
    fn a_binding_is_found_across_the_borders_of_pieces() {
        let scratch = Scratch::new();
        let text = b"\0CommandLineEventConsumer.Name=\"Updater\"\0\x01__EventFilter.Name=\"Boot\"\0";
        for start in [10, PIECE - 30, PIECE + 7] {
            let mut bytes = vec![b'.'; start];
            bytes.extend_from_slice(text);
            bytes.resize(start + PIECE, 0);
            let path = scratch.join("OBJECTS.DATA");
            std::fs::write(&path, bytes).unwrap();
            let found = bindings(File::open(&path).unwrap(), &Job::default()).unwrap();
            let wanted = Binding {
                kind: "CommandLineEventConsumer".into(),
                consumer: "Updater".into(),
                filter: Some("Boot".into()),
            };
            assert_eq!(found, [wanted], "{start}");
        }
    }
}
