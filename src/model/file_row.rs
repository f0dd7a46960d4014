//! A directory entry packed: what a listing of hundreds of thousands of them holds in memory.
//!
//! Invariant: it reads, filters, sorts and prints as the [`FileEntry`] that it was made of.

use super::{AsCell, Attributes, Cell, DevicePath, FileEntry, Row, Timestamp};
use crate::shape::Untrusted;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

const KINDS: [&str; 8] = ["unknown", "file", "directory", "symlink", "fifo", "socket", "block_device", "char_device"];
/// A mode is ten characters on Unix.
const MODE: usize = 12;

const SIZE: u16 = 1;
const CREATED: u16 = 1 << 1;
const MODIFIED: u16 = 1 << 2;
const ACCESSED: u16 = 1 << 3;
const ATTRIBUTES: u16 = 1 << 4;
const HIDDEN: u16 = 1 << 5;
const IMMUTABLE: u16 = 1 << 6;
const APPEND_ONLY: u16 = 1 << 7;
const TARGET: u16 = 1 << 8;
/// The name is the end of the path, and not written again.
const NAME_IN_PATH: u16 = 1 << 9;

/// A [`FileEntry`] in an eighth of its memory.
#[derive(Clone, PartialEq)]
pub struct FileRow {
    /// The path, the target, and the name where it is not the end of the path.
    text: Box<[u8]>,
    owner: Option<Untrusted>,
    group: Option<Untrusted>,
    size: u64,
    /// Created, modified, accessed: seconds since 1970.
    seconds: [i64; 3],
    nanos: [u32; 3],
    path_len: u32,
    name_len: u32,
    flags: u16,
    mode: [u8; MODE],
    mode_len: u8,
    kind: u8,
}

impl From<FileEntry> for FileRow {
    fn from(entry: FileEntry) -> FileRow {
        let FileEntry { name, path, kind, size_bytes, created, modified, accessed, target, attributes } = entry;
        let mut flags = 0;
        let mut set = |flag: u16, is_set: bool| flags |= if is_set { flag } else { 0 };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (path_len, name_len) = (length(path.as_bytes()), length(name.as_bytes()));
        let in_path = path.as_bytes().ends_with(name.as_bytes());
        let mut text = path.into_bytes();
        if let Some(target) = &target {
            text.extend_from_slice(target.as_bytes());
        }
        if !in_path {
            text.extend_from_slice(name.as_bytes());
        }
        set(NAME_IN_PATH, in_path);
        set(TARGET, target.is_some());
        set(SIZE, size_bytes.is_some());
        let times = [(CREATED, created), (MODIFIED, modified), (ACCESSED, accessed)];
        times.iter().for_each(|(flag, time)| set(*flag, time.is_some()));
        let split = times.map(|(_, time)| time.map_or((0, 0), Timestamp::to_unix));
        let mut mode = [0; MODE];
        let mut mode_len = 0;
        if let Some(a) = &attributes {
            set(ATTRIBUTES, true);
            set(HIDDEN, a.hidden);
            set(IMMUTABLE, a.immutable);
            set(APPEND_ONLY, a.append_only);
            for (to, from) in mode.iter_mut().zip(a.mode.bytes().filter(u8::is_ascii)) {
                *to = from;
                mode_len += 1;
            }
        }
        let (owner, group) = attributes.map(|a| (a.owner, a.group)).unwrap_or_default();
        FileRow {
            text: text.into_boxed_slice(),
            owner,
            group,
            size: size_bytes.unwrap_or(0),
            seconds: split.map(|(seconds, _)| seconds),
            nanos: split.map(|(_, nanos)| nanos),
            path_len,
            name_len,
            flags,
            mode,
            mode_len,
            kind: KINDS.iter().position(|k| *k == kind).and_then(|k| u8::try_from(k).ok()).unwrap_or(0),
        }
    }
}

impl From<&FileRow> for FileEntry {
    fn from(row: &FileRow) -> FileEntry {
        let path = |bytes: &[u8]| DevicePath::new(bytes);
        FileEntry {
            name: path(row.name()),
            path: path(row.path()),
            kind: row.kind(),
            size_bytes: row.size(),
            created: row.time(0, CREATED),
            modified: row.time(1, MODIFIED),
            accessed: row.time(2, ACCESSED),
            target: row.target().map(path),
            attributes: row.has(ATTRIBUTES).then(|| Attributes {
                mode: row.mode().to_owned(),
                owner: row.owner.clone(),
                group: row.group.clone(),
                hidden: row.has(HIDDEN),
                immutable: row.has(IMMUTABLE),
                append_only: row.has(APPEND_ONLY),
            }),
        }
    }
}

/// What the rows of one listing may take, in bytes: below the 64 MiB that an answer may, with room for the rest of it.
pub const ROWS_MEMORY: u64 = 52 << 20;
/// Of a row's text: what the allocator adds.
const ALLOCATION: usize = 16;

impl FileRow {
    /// What a row with so many bytes of text takes.
    pub const fn memory_of(text: usize) -> u64 {
        (size_of::<FileRow>() + ALLOCATION + text) as u64
    }

    pub fn memory(&self) -> u64 {
        FileRow::memory_of(self.text.len())
    }

    pub fn path(&self) -> &[u8] {
        self.text.get(..usize::try_from(self.path_len).unwrap_or(usize::MAX)).unwrap_or_default()
    }

    fn name(&self) -> &[u8] {
        let whole = if self.has(NAME_IN_PATH) { self.path() } else { &self.text };
        let start = whole.len().saturating_sub(usize::try_from(self.name_len).unwrap_or(usize::MAX));
        whole.get(start..).unwrap_or_default()
    }

    fn target(&self) -> Option<&[u8]> {
        let apart = if self.has(NAME_IN_PATH) { 0 } else { self.name().len() };
        let target = self.text.get(self.path().len()..self.text.len().saturating_sub(apart));
        target.filter(|_| self.has(TARGET))
    }

    fn kind(&self) -> &'static str {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or("unknown")
    }

    fn size(&self) -> Option<u64> {
        self.has(SIZE).then_some(self.size)
    }

    fn time(&self, index: usize, flag: u16) -> Option<Timestamp> {
        let (seconds, nanos) = (self.seconds.get(index)?, self.nanos.get(index)?);
        self.has(flag).then(|| Timestamp::from_unix(*seconds, *nanos))
    }

    fn mode(&self) -> &str {
        let mode = self.mode.get(..usize::from(self.mode_len)).unwrap_or_default();
        std::str::from_utf8(mode).unwrap_or_default()
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn attributes(&self) -> Cell<'_> {
        if !self.has(ATTRIBUTES) {
            return Cell::Empty;
        }
        let mut cells = vec![
            (Cow::Borrowed("mode"), Cell::Text(Cow::Borrowed(self.mode()))),
            (Cow::Borrowed("owner"), self.owner.as_cell()),
            (Cow::Borrowed("group"), self.group.as_cell()),
            (Cow::Borrowed("hidden"), Cell::Bool(self.has(HIDDEN))),
        ];
        for (name, flag) in [("immutable", IMMUTABLE), ("append_only", APPEND_ONLY)] {
            if self.has(flag) {
                cells.push((Cow::Borrowed(name), Cell::Bool(true)));
            }
        }
        Cell::Object(cells)
    }
}

impl Row for FileRow {
    const FIELDS: &'static [&'static str] = FileEntry::FIELDS;

    fn cell(&self, field: usize) -> Cell<'_> {
        let text = |bytes| Cell::Text(DevicePath::text_of(bytes));
        match Self::FIELDS.get(field).copied() {
            Some("name") => text(self.name()),
            Some("path") => text(self.path()),
            Some("kind") => Cell::Text(Cow::Borrowed(self.kind())),
            Some("size_bytes") => self.size().map_or(Cell::Empty, Cell::Unsigned),
            Some("created") => self.time(0, CREATED).map_or(Cell::Empty, Cell::Time),
            Some("modified") => self.time(1, MODIFIED).map_or(Cell::Empty, Cell::Time),
            Some("accessed") => self.time(2, ACCESSED).map_or(Cell::Empty, Cell::Time),
            Some("target") => self.target().map_or(Cell::Empty, text),
            Some("attributes") => self.attributes(),
            _ => Cell::Empty,
        }
    }
}

impl std::fmt::Debug for FileRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        FileEntry::from(self).fmt(f)
    }
}

impl JsonSchema for FileRow {
    fn schema_name() -> Cow<'static, str> {
        FileEntry::schema_name()
    }

    fn inline_schema() -> bool {
        FileEntry::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        FileEntry::json_schema(generator)
    }
}

/// Gathers lists in one, giving each one's memory back while it is emptied.
pub fn gathered(lists: impl IntoIterator<Item = Vec<FileRow>>) -> Vec<FileRow> {
    const AT_ONCE: usize = 8 * 1024;
    let mut lists = lists.into_iter();
    let mut all = lists.next().unwrap_or_default();
    for mut list in lists {
        list.reverse();
        while !list.is_empty() {
            let from = list.len().saturating_sub(AT_ONCE);
            all.extend(list.drain(from..).rev());
            list.shrink_to_fit();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((-70_000_000_000i64..200_000_000_000, 0u32..1_000_000_000))
            .prop_map(|t| t.map(|(seconds, nanos)| Timestamp::from_unix(seconds, nanos)))
    }

    fn path() -> impl Strategy<Value = DevicePath> {
        proptest::collection::vec(1u8.., 1..20).prop_map(DevicePath::new)
    }

    fn attributes() -> impl Strategy<Value = Option<Attributes>> {
        let name = || proptest::option::of("\\PC{0,8}").prop_map(|n| n.map(Untrusted::new));
        let all = ("[-rwxsStT]{10}", name(), name(), any::<[bool; 3]>());
        proptest::option::of(all).prop_map(|a| {
            a.map(|(mode, owner, group, [hidden, immutable, append_only])| Attributes {
                mode,
                owner,
                group,
                hidden,
                immutable,
                append_only,
            })
        })
    }

    proptest! {
        #[test]
        fn a_packed_entry_is_the_entry(
            names in (path(), path(), any::<bool>(), proptest::option::of(path())),
            kind in proptest::sample::select(KINDS.to_vec()),
            size_bytes: Option<u64>,
            times in (time(), time(), time()),
            attributes in attributes(),
        ) {
            let (path, other, is_end, target) = names;
            let name = if is_end { path.name() } else { other };
            let (created, modified, accessed) = times;
            let entry = FileEntry { name, path, kind, size_bytes, created, modified, accessed, target, attributes };
            let row = FileRow::from(entry.clone());
            for field in 0..=FileEntry::FIELDS.len() {
                prop_assert_eq!(row.cell(field), entry.cell(field));
            }
            prop_assert_eq!(FileEntry::from(&row), entry);
        }
    }

    #[test]
    fn it_stays_small() {
        assert!(size_of::<FileRow>() <= 128, "{}", size_of::<FileRow>());
    }

    #[test]
    fn lists_are_gathered_in_their_order() {
        let row = |n: usize| {
            let path = DevicePath::new(n.to_string());
            let (created, modified, accessed, target, attributes) = (None, None, None, None, None);
            let name = path.clone();
            FileRow::from(FileEntry {
                name,
                path,
                kind: "file",
                size_bytes: None,
                created,
                modified,
                accessed,
                target,
                attributes,
            })
        };
        let lists = [0..10, 10..20_000, 20_000..20_001].map(|range| range.map(row).collect::<Vec<_>>());
        let all = gathered(lists);
        assert!(all.iter().enumerate().all(|(n, row)| row.path() == n.to_string().as_bytes()));
        assert_eq!(all.len(), 20_001);
    }
}
