//! The header of an installed package as rpm's database keeps it (rpm's `docs/manual/format_header`): an index of tags,
//! then their data.
//!
//! Invariant: hostile bytes; every offset and count is held against what is there.

/// Tags, from rpm's `rpmtag.h`.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const FILE_MODES: u32 = 1030;
const FILE_DIGESTS: u32 = 1035;
const FILE_FLAGS: u32 = 1037;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;
const FILE_DIGEST_ALGORITHM: u32 = 5011;

/// `RPMFILE_GHOST`: named by the package, made by somebody else.
const GHOST: u32 = 1 << 6;

pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

/// A file that a package lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<'a> {
    pub directory: &'a [u8],
    pub name: &'a [u8],
    pub mode: Option<u16>,
    /// In lower-case hex, by the package's algorithm; empty for what is no regular file.
    pub digest: Option<&'a [u8]>,
    pub is_ghost: bool,
}

impl<'a> Header<'a> {
    pub fn parse(blob: &'a [u8]) -> Option<Header<'a>> {
        let entries = usize::try_from(be32(blob, 0)?).ok()?;
        let size = usize::try_from(be32(blob, 4)?).ok()?;
        let index_end = entries.checked_mul(16)?.checked_add(8)?;
        let index = blob.get(8..index_end)?;
        let data = blob.get(index_end..index_end.checked_add(size)?)?;
        Some(Header { index, data })
    }

    pub fn name(&self) -> Option<&'a [u8]> {
        self.text(NAME)
    }

    /// `version-release`.
    pub fn version(&self) -> Option<String> {
        let text = |tag| self.text(tag).map(String::from_utf8_lossy);
        Some(format!("{}-{}", text(VERSION)?, text(RELEASE)?))
    }

    /// The algorithm of its files' digests, as in OpenPGP: 1 MD5, 8 SHA-256, …
    pub fn algorithm(&self) -> u32 {
        self.find(FILE_DIGEST_ALGORITHM).and_then(|(at, _)| be32(self.data, at)).unwrap_or(1)
    }

    /// Every file of the package.
    pub fn files(&self) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        let dirs: Vec<&[u8]> = self.texts(DIR_NAMES).collect();
        let data = self.data;
        let (dir_indexes, modes, flags) = (self.find(DIR_INDEXES), self.find(FILE_MODES), self.find(FILE_FLAGS));
        let mut digests = self.texts(FILE_DIGESTS);
        let number = move |of: Option<(usize, usize)>, index: usize| {
            let (at, _) = of.filter(|(_, count)| index < *count)?;
            be32(data, at.checked_add(index.checked_mul(4)?)?)
        };
        self.texts(BASE_NAMES).enumerate().filter_map(move |(index, name)| {
            let digest = digests.next();
            let directory = dirs.get(usize::try_from(number(dir_indexes, index)?).ok()?).copied()?;
            let mode = modes.filter(|(_, count)| index < *count).and_then(|(at, _)| {
                let two = data.get(at.checked_add(index.checked_mul(2)?)?..)?.first_chunk::<2>()?;
                Some(u16::from_be_bytes(*two))
            });
            let is_ghost = number(flags, index).is_some_and(|f| f & GHOST != 0);
            Some(Listed { directory, name, mode, digest, is_ghost })
        })
    }

    /// Where a tag's data begins, and how many it holds.
    fn find(&self, tag: u32) -> Option<(usize, usize)> {
        let entry = self.index.chunks_exact(16).find(|e| be32(e, 0) == Some(tag))?;
        Some((usize::try_from(be32(entry, 8)?).ok()?, usize::try_from(be32(entry, 12)?).ok()?))
    }

    fn text(&self, tag: u32) -> Option<&'a [u8]> {
        self.texts(tag).next()
    }

    fn texts(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (at, count) = self.find(tag).unwrap_or((self.data.len(), 0));
        let data = self.data.get(at..).unwrap_or_default();
        let whole = data.iter().rposition(|b| *b == 0).and_then(|end| data.get(..end)).unwrap_or_default();
        let count = if data.is_empty() { 0 } else { count };
        whole.split(|b| *b == 0).take(count)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_be_bytes(*b))
}
