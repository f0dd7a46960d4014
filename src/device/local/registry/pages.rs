//! A hive's bytes as they are after its logs: read by pages, the logs' pages laid over the file's.
//!
//! Invariant: memory is the cache and one map entry for each page that a log holds, whatever the hive's size.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What a hive or a log is read from.
pub trait Source: Send + Sync {
    fn size(&self) -> u64;

    /// Reads at most the buffer's length; fewer bytes at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let taken = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..taken), rest.get(..taken)) {
            to.copy_from_slice(from);
        }
        Ok(taken)
    }
}

impl Source for std::fs::File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |m| m.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self, buffer, at);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self, buffer, at);
    }
}

/// Fills the buffer from a source; `false` where the source ends before or cannot be read.
pub fn fill(source: &dyn Source, buffer: &mut [u8], at: u64) -> bool {
    upto(source, buffer, at) == buffer.len()
}

/// As many bytes as there are.
fn upto(source: &dyn Source, buffer: &mut [u8], at: u64) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

/// Which parts of the file a log replaces: non-overlapping, by their start in the hive file.
#[derive(Clone, Default)]
pub struct Overlay {
    parts: BTreeMap<u64, Part>,
    /// Bytes that the logs hold.
    pub bytes: u64,
}

#[derive(Clone, Copy)]
struct Part {
    end: u64,
    log: usize,
    /// Where the part begins in its log.
    at: u64,
}

impl Overlay {
    /// Most parts that are kept: 100 MB of them are more than any log of Windows' own.
    pub const PARTS: usize = 1_000_000;

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.parts.len() >= Self::PARTS
    }

    /// Lays a part over what was laid before.
    pub fn lay(&mut self, start: u64, length: u64, log: usize, at: u64) {
        let Some(end) = start.checked_add(length).filter(|end| *end > start) else { return };
        self.bytes = self.bytes.saturating_add(length);
        let under: Vec<(u64, Part)> =
            self.parts.range(..end).rev().take_while(|(_, p)| p.end > start).map(|(s, p)| (*s, *p)).collect();
        for (old, part) in under {
            self.parts.remove(&old);
            if old < start {
                self.parts.insert(old, Part { end: start, ..part });
            }
            if part.end > end {
                self.parts.insert(end, Part { at: part.at + (end - old), ..part });
            }
        }
        self.parts.insert(start, Part { end, log, at });
    }

    fn end(&self) -> u64 {
        self.parts.last_key_value().map_or(0, |(_, p)| p.end)
    }
}

const PAGE: usize = 4096;
/// 4 MiB of them.
const SLOTS: usize = 1024;

/// A page of the cache: its number, and as many bytes as there are.
type Slot = Option<(u64, Vec<u8>)>;

pub struct Pages {
    hive: Arc<dyn Source>,
    logs: Vec<Arc<dyn Source>>,
    overlay: Overlay,
    size: u64,
    cache: RefCell<Vec<Slot>>,
}

impl Pages {
    pub fn new(hive: Arc<dyn Source>, logs: Vec<Arc<dyn Source>>, overlay: Overlay) -> Pages {
        let size = hive.size().max(overlay.end());
        Pages { hive, logs, overlay, size, cache: RefCell::new(Vec::new()) }
    }

    /// Bytes of the file, with what the logs add at its end.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer; `false` where there are fewer bytes.
    pub fn read(&self, mut at: u64, mut buffer: &mut [u8]) -> bool {
        if at.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return false;
        }
        while !buffer.is_empty() {
            let page = at / PAGE as u64;
            let inside = usize::try_from(at % PAGE as u64).unwrap_or(0);
            let taken = self.with_page(page, |bytes| {
                let held = bytes.get(inside..).unwrap_or_default();
                let taken = held.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..taken), held.get(..taken)) {
                    to.copy_from_slice(from);
                }
                taken
            });
            if taken == 0 {
                return false;
            }
            at += taken as u64;
            buffer = buffer.get_mut(taken..).unwrap_or_default();
        }
        true
    }

    fn with_page<T>(&self, page: u64, look: impl FnOnce(&[u8]) -> T) -> T {
        let mut cache = self.cache.borrow_mut();
        if cache.is_empty() {
            cache.resize_with(SLOTS, || None);
        }
        let slot = usize::try_from(page % SLOTS as u64).unwrap_or(0);
        match cache.get_mut(slot) {
            Some(Some((held, bytes))) if *held == page => look(bytes),
            Some(slot) => look(&slot.insert((page, self.compose(page))).1),
            None => look(&[]),
        }
    }

    /// A page as it is after the logs.
    fn compose(&self, page: u64) -> Vec<u8> {
        let start = page * PAGE as u64;
        let mut bytes = vec![0; PAGE];
        upto(&*self.hive, &mut bytes, start);
        let end = start + PAGE as u64;
        for (from, part) in self.overlay.parts.range(..end).rev().take_while(|(_, p)| p.end > start) {
            let (first, last) = ((*from).max(start), part.end.min(end));
            let range = usize::try_from(first - start).unwrap_or(0)..usize::try_from(last - start).unwrap_or(0);
            let (Some(target), Some(log)) = (bytes.get_mut(range.clone()), self.logs.get(part.log)) else { continue };
            upto(&**log, target, part.at + (first - from));
        }
        // Between the file's end and a log's part there is nothing, which reads as zeros.
        bytes.truncate(usize::try_from(self.size.saturating_sub(start)).unwrap_or(PAGE).min(PAGE));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pages(hive: Vec<u8>, log: Vec<u8>, parts: &[(u64, u64, u64)]) -> Pages {
        let mut overlay = Overlay::default();
        for (start, length, at) in parts {
            overlay.lay(*start, *length, 0, *at);
        }
        Pages::new(Arc::new(hive), vec![Arc::new(log)], overlay)
    }

    proptest! {
        #[test]
        fn the_last_laid_wins(parts in proptest::collection::vec((0u64..9000, 1u64..5000, 0u64..1000), 0..12)) {
            let log: Vec<u8> = (0..8000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut wanted = vec![255; 6000];
            for (start, length, at) in &parts {
                for i in 0..*length {
                    let to = usize::try_from(start + i).unwrap();
                    if wanted.len() <= to {
                        wanted.resize(to + 1, 0);
                    }
                    wanted[to] = log[usize::try_from(at + i).unwrap()];
                }
            }
            let pages = pages(vec![255; 6000], log, &parts);
            let mut got = vec![0; wanted.len()];
            prop_assert!(pages.read(0, &mut got));
            prop_assert_eq!(got, wanted);
        }
    }

    #[test]
    fn past_the_end_is_said() {
        let pages = pages(vec![7; 5000], Vec::new(), &[]);
        assert!(pages.read(4990, &mut [0; 10]));
        assert!(!pages.read(4990, &mut [0; 11]));
        assert!(!pages.read(u64::MAX - 4, &mut [0; 1]));
    }
}
