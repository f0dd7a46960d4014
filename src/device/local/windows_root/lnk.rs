//! What a Windows shortcut starts ([MS-SHLLINK]): its target, arguments and working directory.
//!
//! Invariant: hostile bytes; each length is held against what is there, and text is at most [`TEXT`] characters.

/// A shortcut has at most this many bytes that are looked at.
pub const LIMIT: u64 = 1 << 20;
const HEADER: usize = 0x4c;
/// Characters of a path or an argument list; Windows takes 32,767.
const TEXT: usize = 32_767;
const ITEMS: usize = 256;

const HAS_ID_LIST: u32 = 1;
const HAS_LINK_INFO: u32 = 1 << 1;
const HAS_NAME: u32 = 1 << 2;
const HAS_RELATIVE_PATH: u32 = 1 << 3;
const HAS_WORKING_DIR: u32 = 1 << 4;
const HAS_ARGUMENTS: u32 = 1 << 5;
const IS_UNICODE: u32 = 1 << 7;
const FORCE_NO_LINK_INFO: u32 = 1 << 8;
/// `EnvironmentVariableDataBlock`.
const ENVIRONMENT: u32 = 0xa000_0001;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shortcut {
    /// As Windows would resolve it: with variables where the link has them, else the local or network path.
    pub target: Option<String>,
    pub arguments: Option<String>,
    pub working_directory: Option<String>,
}

impl Shortcut {
    /// `None` for what is no shortcut. What is cut gives what stands before the cut.
    pub fn parse(bytes: &[u8]) -> Option<Shortcut> {
        if le32(bytes, 0)? as usize != HEADER || bytes.get(4..8) != Some(&[0x01, 0x14, 0x02, 0x00]) {
            return None;
        }
        let flags = le32(bytes, 20)?;
        let has = |flag| flags & flag != 0;
        let mut shortcut = Shortcut::default();
        let mut rest = bytes.get(HEADER..)?;
        let mut from_items = None;
        if has(HAS_ID_LIST) {
            let Some((items, after)) = le16(rest, 0).and_then(|size| rest.get(2..)?.split_at_checked(size)) else {
                return Some(shortcut);
            };
            from_items = item_path(items);
            rest = after;
        }
        if has(HAS_LINK_INFO) {
            let size = le32(rest, 0).and_then(|size| usize::try_from(size).ok());
            let Some((info, after)) = size.and_then(|size| rest.split_at_checked(size)) else {
                shortcut.target = from_items;
                return Some(shortcut);
            };
            if !has(FORCE_NO_LINK_INFO) {
                shortcut.target = info_path(info);
            }
            rest = after;
        }
        let mut relative = None;
        for flag in [HAS_NAME, HAS_RELATIVE_PATH, HAS_WORKING_DIR, HAS_ARGUMENTS, 1 << 6] {
            if !has(flag) {
                continue;
            }
            let Some((text, after)) = counted(rest, has(IS_UNICODE)) else { break };
            rest = after;
            match flag {
                HAS_RELATIVE_PATH => relative = Some(text),
                HAS_WORKING_DIR => shortcut.working_directory = Some(text),
                HAS_ARGUMENTS => shortcut.arguments = Some(text),
                _ => {}
            }
        }
        shortcut.target = environment(rest).or(shortcut.target).or(from_items).or(relative);
        Some(shortcut)
    }

    /// The command line that it stands for.
    pub fn command(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        Some(match &self.arguments {
            Some(arguments) => format!("{target} {arguments}"),
            None => target.clone(),
        })
    }
}

/// The path of `LinkInfo`: base and suffix, local or on a share.
fn info_path(info: &[u8]) -> Option<String> {
    let header = le32(info, 4)?;
    let flags = le32(info, 8)?;
    let offset = |at| le32(info, at).and_then(|o| usize::try_from(o).ok()).filter(|o| *o != 0);
    let suffix = match header >= 0x24 {
        true => offset(32).and_then(|o| wide(info.get(o..)?)),
        false => None,
    };
    let suffix = suffix.or_else(|| offset(24).and_then(|o| narrow(info.get(o..)?))).unwrap_or_default();
    if flags & 1 != 0 {
        let base = match header >= 0x24 {
            true => offset(28).and_then(|o| wide(info.get(o..)?)),
            false => None,
        };
        let base = base.or_else(|| offset(16).and_then(|o| narrow(info.get(o..)?)))?;
        return Some(base + &suffix);
    }
    let network = info.get(offset(20)?..)?;
    let share = narrow(network.get(usize::try_from(le32(network, 8)?).ok()?..)?)?;
    Some(match suffix.is_empty() {
        true => share,
        false => format!("{share}\\{suffix}"),
    })
}

/// The path that the shell's items spell: a volume, then files and folders.
fn item_path(mut items: &[u8]) -> Option<String> {
    let mut path = String::new();
    for _ in 0..ITEMS {
        let Some(size @ 3..) = le16(items, 0) else { break };
        let Some((item, after)) = items.split_at_checked(size) else { break };
        items = after;
        match item.get(2)? {
            0x2f => path = narrow(item.get(3..)?)?,
            // A server, a share: each names the whole path so far.
            kind if kind & 0x70 == 0x40 => path = narrow(item.get(5..)?)?,
            kind if kind & 0x70 == 0x30 => {
                let short = narrow(item.get(14..)?)?;
                let name = long_name(item).unwrap_or(short);
                if !path.is_empty() && !path.ends_with('\\') {
                    path.push('\\');
                }
                path += &name;
            }
            _ => {}
        }
    }
    (!path.is_empty()).then_some(path)
}

/// The long name of a file item, in its extension block `0xbeef0004`, whose offset is the item's last word.
fn long_name(item: &[u8]) -> Option<String> {
    let at = le16(item, item.len().checked_sub(2)?)?;
    let block = item.get(at..)?;
    if le32(block, 4)? != 0xbeef_0004 {
        return None;
    }
    let name = match le16(block, 2)? {
        ..7 => 20,
        7 => 36,
        8 => 42,
        _ => 46,
    };
    wide(block.get(name..)?).filter(|n| !n.is_empty())
}

/// The target with variables, of a data block.
fn environment(mut blocks: &[u8]) -> Option<String> {
    for _ in 0..ITEMS {
        let size = usize::try_from(le32(blocks, 0)?).ok().filter(|s| *s >= 8)?;
        let (block, after) = blocks.split_at_checked(size)?;
        if le32(block, 4)? == ENVIRONMENT {
            let text = block.get(268..).and_then(wide).or_else(|| narrow(block.get(8..268)?));
            return text.filter(|t| !t.is_empty());
        }
        blocks = after;
    }
    None
}

fn counted(bytes: &[u8], unicode: bool) -> Option<(String, &[u8])> {
    let count = le16(bytes, 0)?;
    let size = if unicode { count * 2 } else { count };
    let (text, after) = bytes.get(2..)?.split_at_checked(size)?;
    let text = if unicode { utf16(text) } else { latin(text) };
    Some((text.chars().take(TEXT).collect(), after))
}

/// Text up to its NUL, in the system's code page: what is not ASCII is read as Latin-1.
fn narrow(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some(latin(bytes.get(..end.min(TEXT))?))
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// UTF-16 up to its NUL.
fn wide(bytes: &[u8]) -> Option<String> {
    let end = bytes.chunks_exact(2).position(|c| c == [0, 0])?;
    Some(utf16(bytes.get(..end.min(TEXT) * 2)?))
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|c| c.first_chunk().map(|c| u16::from_le_bytes(*c)));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn le16(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b).into())
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;
    use proptest::prelude::*;

    fn real(name: &str) -> Option<Shortcut> {
        let path = tools::corpus("lnk")?.join(name);
        Some(Shortcut::parse(&std::fs::read(path).unwrap()).unwrap())
    }

    #[test]
    fn a_share_is_the_target() {
        let Some(shortcut) = real("remote.file.xp.lnk") else { return };
        let target = shortcut.target.unwrap();
        assert!(target.starts_with(r"\\") && target.contains('.'), "{target}");
    }

    #[test]
    fn a_local_folder_is_the_target() {
        let Some(shortcut) = real("local.directory.seven.lnk") else { return };
        let target = shortcut.target.unwrap();
        assert!(target.starts_with(r"C:\"), "{target}");
    }

    #[test]
    fn items_spell_the_path_that_the_link_has() {
        let Some(path) = tools::corpus("lnk/local.directory.seven.lnk") else { return };
        let bytes = std::fs::read(path).unwrap();
        let items = item_path(&bytes[HEADER + 2..]).unwrap();
        assert_eq!(Some(items), Shortcut::parse(&bytes).unwrap().target);
    }

    #[test]
    fn a_share_in_a_variable_block_is_the_target() {
        let Some(shortcut) = real("vista.idlist.lnk") else { return };
        assert_eq!(shortcut.target.as_deref(), Some(r"\\kusjesvan\home$\srtiiiiii\Desktop\GG.xls.txt"));
    }

    fn shortcut(flags: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0] = 0x4c;
        bytes[4..8].copy_from_slice(&[1, 0x14, 2, 0]);
        bytes[20..24].copy_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn text(value: &str) -> Vec<u8> {
        let units: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [u16::try_from(units.len() / 2).unwrap().to_le_bytes().to_vec(), units].concat()
    }

    #[test]
    fn arguments_belong_to_the_command() {
        let body = [text(r"..\evil.exe"), text("-enc ZQ==")].concat();
        let parsed = Shortcut::parse(&shortcut(HAS_RELATIVE_PATH | HAS_ARGUMENTS | IS_UNICODE, &body)).unwrap();
        assert_eq!(parsed.command().as_deref(), Some(r"..\evil.exe -enc ZQ=="));
    }

    #[test]
    fn variables_win_over_the_path_that_was() {
        let mut block = vec![0u8; 0x314];
        block[..4].copy_from_slice(&0x314u32.to_le_bytes());
        block[4..8].copy_from_slice(&ENVIRONMENT.to_le_bytes());
        let units: Vec<u8> = r"%TEMP%\a.exe".encode_utf16().flat_map(u16::to_le_bytes).collect();
        block[268..268 + units.len()].copy_from_slice(&units);
        let body = [text(r".\b.exe"), block].concat();
        let parsed = Shortcut::parse(&shortcut(HAS_RELATIVE_PATH | IS_UNICODE, &body)).unwrap();
        assert_eq!(parsed.target.as_deref(), Some(r"%TEMP%\a.exe"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_shortcut_or_none(flags in any::<u32>(), body in prop::collection::vec(any::<u8>(), 0..900)) {
            let _ = Shortcut::parse(&body);
            let _ = Shortcut::parse(&shortcut(flags, &body)).map(|s| s.command());
        }
    }
}
