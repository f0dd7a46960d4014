//! Small hives and logs, written for tests.

use super::base::{BINS, HEAD};
use super::marvin;

/// A key to be written.
#[derive(Clone, Default)]
pub struct Node {
    pub name: String,
    /// Name, type, data.
    pub values: Vec<(String, u32, Vec<u8>)>,
    pub below: Vec<Node>,
}

/// What every key says: 2026-01-02 03:04:05 UTC.
pub const WRITTEN: u64 = 134_117_966_450_000_000;

pub fn key(name: &str) -> Node {
    Node { name: name.into(), ..Node::default() }
}

impl Node {
    pub fn sz(self, name: &str, text: &str) -> Node {
        self.value(name, 1, text16(text))
    }

    pub fn multi(self, name: &str, texts: &[&str]) -> Node {
        self.value(name, 7, text16(&texts.iter().map(|t| format!("{t}\0")).collect::<String>()))
    }

    pub fn dword(self, name: &str, number: u32) -> Node {
        self.value(name, 4, number.to_le_bytes().to_vec())
    }

    pub fn value(mut self, name: &str, kind: u32, data: Vec<u8>) -> Node {
        self.values.push((name.into(), kind, data));
        self
    }

    pub fn with(mut self, below: Node) -> Node {
        self.below.push(below);
        self
    }

    /// A key below this one, made where it is not.
    pub fn at(&mut self, path: &str) -> &mut Node {
        path.split('\\').fold(self, |node, name| {
            let there = node.below.iter().position(|n| n.name.eq_ignore_ascii_case(name));
            let at = there.unwrap_or_else(|| {
                node.below.push(key(name));
                node.below.len() - 1
            });
            &mut node.below[at]
        })
    }

    /// A text of a key below.
    pub fn put(&mut self, path: &str, name: &str, text: &str) -> &mut Node {
        self.at(path).values.push((name.into(), 1, text16(text)));
        self
    }

    pub fn put_dword(&mut self, path: &str, name: &str, number: u32) -> &mut Node {
        self.at(path).values.push((name.into(), 4, number.to_le_bytes().to_vec()));
        self
    }
}

/// UTF-16LE with its closing NUL.
pub fn text16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A clean hive of version 1.5.
pub fn hive(root: &Node) -> Vec<u8> {
    let mut bins = Bins(vec![0; 32]);
    let at = bins.key(root, u32::MAX);
    let size = (bins.0.len() + 8).next_multiple_of(4096);
    let free = size - bins.0.len();
    bins.0.extend_from_slice(&u32::try_from(free).unwrap().to_le_bytes());
    bins.0.resize(size, 0);
    bins.0[..4].copy_from_slice(b"hbin");
    bins.0[8..12].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    let mut file = base(0, (1, 1), at, size);
    file.resize(usize::try_from(BINS).unwrap(), 0);
    file.extend(bins.0);
    file
}

/// The part of a base block with the checksum.
pub fn base(kind: u32, sequence: (u32, u32), root: u32, bins: usize) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    head[..4].copy_from_slice(b"regf");
    let words = [(4, sequence.0), (8, sequence.1), (20, 1), (24, 5), (28, kind), (32, 1), (36, root), (44, 1)];
    for (at, word) in words.into_iter().chain([(40, u32::try_from(bins).unwrap())]) {
        head[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    seal(&mut head);
    head
}

/// Puts the checksum right.
pub fn seal(head: &mut [u8]) {
    let sum = head[..508].as_chunks::<4>().0.iter().fold(0, |sum, w| sum ^ u32::from_le_bytes(*w));
    head[508..512].copy_from_slice(&sum.to_le_bytes());
}

/// Marks a hive as being written.
pub fn dirty(hive: &mut [u8], sequence: (u32, u32)) {
    hive[4..8].copy_from_slice(&sequence.0.to_le_bytes());
    hive[8..12].copy_from_slice(&sequence.1.to_le_bytes());
    seal(&mut hive[..HEAD]);
}

/// A log of entries, each with its sequence and the whole of a hive's bins.
pub fn new_log(entries: &[(u32, &[u8])]) -> Vec<u8> {
    let (first, hive) = entries[0];
    let root = u32::from_le_bytes(hive[36..40].try_into().unwrap());
    let mut log = base(6, (first, first), root, hive.len() - 4096);
    for (sequence, hive) in entries {
        log.extend(entry(*sequence, &[(0, &hive[4096..])], hive.len() - 4096));
    }
    log
}

/// An entry of pages: their offsets in the bins, and their bytes.
pub fn entry(sequence: u32, pages: &[(u32, &[u8])], bins: usize) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    for (offset, bytes) in pages {
        body.extend(offset.to_le_bytes());
        body.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    }
    pages.iter().for_each(|(_, bytes)| body.extend_from_slice(bytes));
    let size = (40 + body.len()).next_multiple_of(512);
    body.resize(size - 40, 0);
    let mut entry = b"HvLE".to_vec();
    for word in [size, 0, usize::try_from(sequence).unwrap(), bins, pages.len()] {
        entry.extend(u32::try_from(word).unwrap().to_le_bytes());
    }
    entry.extend(marvin::hash(&body).to_le_bytes());
    entry.extend(marvin::hash(&entry).to_le_bytes());
    entry.extend(body);
    entry
}

/// A log of the old format with the sectors of `after` that differ from those of `before`.
pub fn old_log(sequence: u32, before: &[u8], after: &[u8]) -> Vec<u8> {
    let root = u32::from_le_bytes(after[36..40].try_into().unwrap());
    let mut log = base(1, (sequence, sequence), root, after.len() - 4096);
    let mut bitmap = vec![0u8; ((after.len() - 4096) / 512).div_ceil(8)];
    let mut sectors = Vec::new();
    for (n, sector) in after[4096..].chunks(512).enumerate() {
        if before.get(4096 + n * 512..4096 + (n + 1) * 512) != Some(sector) {
            bitmap[n / 8] |= 1 << (n % 8);
            sectors.extend_from_slice(sector);
        }
    }
    log.extend(b"DIRT");
    log.extend(bitmap);
    log.resize(log.len().next_multiple_of(512), 0);
    log.extend(sectors);
    log
}

/// Hive bins as they grow; what is given out are offsets of cells.
struct Bins(Vec<u8>);

impl Bins {
    fn cell(&mut self, content: &[u8]) -> u32 {
        let at = self.0.len();
        let size = (content.len() + 4).next_multiple_of(8);
        self.0.extend((-i32::try_from(size).unwrap()).to_le_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(at + size, 0);
        u32::try_from(at).unwrap()
    }

    fn list(&mut self, head: &[u8], offsets: &[u32], width: usize) -> u32 {
        let mut content = head.to_vec();
        for offset in offsets {
            content.extend(offset.to_le_bytes());
            content.resize(content.len() + width - 4, 0);
        }
        self.cell(&content)
    }

    fn key(&mut self, node: &Node, parent: u32) -> u32 {
        let latin = node.name.is_ascii();
        let name = if latin {
            node.name.clone().into_bytes()
        } else {
            node.name.encode_utf16().flat_map(u16::to_le_bytes).collect()
        };
        let at = self.cell(&vec![0; 76 + name.len()]);
        let values: Vec<u32> = node.values.iter().map(|v| self.value(v)).collect();
        let value_list = if values.is_empty() { u32::MAX } else { self.list(b"", &values, 4) };
        let below: Vec<u32> = node.below.iter().map(|n| self.key(n, at)).collect();
        let lists: Vec<u32> = below.chunks(500).map(|some| self.list(&head(b"lf", some.len()), some, 8)).collect();
        let subkeys = match lists.as_slice() {
            [] => u32::MAX,
            [one] => *one,
            many => self.list(&head(b"ri", many.len()), many, 4),
        };
        let start = usize::try_from(at).unwrap() + 4;
        let mut put =
            |from: usize, bytes: &[u8]| self.0[start + from..start + from + bytes.len()].copy_from_slice(bytes);
        put(0, b"nk");
        put(2, &(u16::from(latin) * 0x20 + u16::from(parent == u32::MAX) * 0x0c).to_le_bytes());
        put(4, &WRITTEN.to_le_bytes());
        put(16, &parent.to_le_bytes());
        put(20, &u32::try_from(below.len()).unwrap().to_le_bytes());
        put(28, &subkeys.to_le_bytes());
        put(32, &u32::MAX.to_le_bytes());
        put(36, &u32::try_from(values.len()).unwrap().to_le_bytes());
        put(40, &value_list.to_le_bytes());
        put(44, &u32::MAX.to_le_bytes());
        put(48, &u32::MAX.to_le_bytes());
        put(72, &u16::try_from(name.len()).unwrap().to_le_bytes());
        put(76, &name);
        at
    }

    fn value(&mut self, (name, kind, data): &(String, u32, Vec<u8>)) -> u32 {
        let latin = name.is_ascii();
        let spelled =
            if latin { name.clone().into_bytes() } else { name.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let size = u32::try_from(data.len()).unwrap();
        let (size, at) = match data.len() {
            0..=4 => {
                let mut inline = data.clone();
                inline.resize(4, 0);
                (size | 0x8000_0000, u32::from_le_bytes(inline.try_into().unwrap()))
            }
            5..=16_344 => (size, self.cell(data)),
            _ => {
                let parts: Vec<u32> = data.chunks(16_344).map(|part| self.cell(part)).collect();
                let list = self.list(b"", &parts, 4);
                (size, self.cell(&[head(b"db", parts.len()).as_slice(), &list.to_le_bytes(), &[0; 4]].concat()))
            }
        };
        let mut content = head(b"vk", spelled.len());
        content.extend([size, at, *kind].iter().flat_map(|word| word.to_le_bytes()));
        content.extend([u8::from(latin), 0, 0, 0]);
        content.extend(spelled);
        self.cell(&content)
    }
}

fn head(mark: &[u8; 2], count: usize) -> Vec<u8> {
    [mark.as_slice(), &u16::try_from(count).unwrap().to_le_bytes()].concat()
}
