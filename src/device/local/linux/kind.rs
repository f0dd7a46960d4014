//! What kind of content a file has, from its first bytes. Its name plays no part.

/// Bytes that [`kind_of`] looks at.
pub const HEAD: usize = 8 * 1024;

/// `ELF 64-bit executable, x86-64`, `script, /bin/sh`, `application/zip`, `text`, `empty`, `data`.
pub fn kind_of(head: &[u8]) -> String {
    if head.is_empty() {
        return "empty".into();
    }
    if let Some(known) =
        elf(head).or_else(|| pe(head)).or_else(|| mach_o(head)).or_else(|| script(head)).or_else(|| hive(head))
    {
        return known;
    }
    match infer::get(head) {
        Some(kind) => kind.mime_type().to_owned(),
        None => text(head).unwrap_or("data").to_owned(),
    }
}

/// `man 5 elf`.
fn elf(head: &[u8]) -> Option<String> {
    let rest = head.strip_prefix(b"\x7fELF")?;
    let big = rest.get(1) == Some(&2);
    let class = match rest.first() {
        Some(1) => "32-bit",
        Some(2) => "64-bit",
        _ => return Some("ELF of an unknown class".into()),
    };
    let half = |at: usize| {
        let bytes = head.get(at..at + 2)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let kind = match half(16) {
        Some(1) => "relocatable object",
        Some(2) => "executable",
        Some(3) if has_interpreter(head, big) => "position-independent executable",
        Some(3) => "shared object",
        Some(4) => "core dump",
        _ => "of an unknown type",
    };
    let machine = match half(18) {
        Some(3) => "x86",
        Some(8) => "MIPS",
        Some(20) => "PowerPC",
        Some(21) => "PowerPC64",
        Some(22) => "S/390",
        Some(40) => "ARM",
        Some(43) => "SPARC64",
        Some(62) => "x86-64",
        Some(183) => "AArch64",
        Some(243) => "RISC-V",
        Some(247) => "eBPF",
        Some(258) => "LoongArch",
        _ => "unknown machine",
    };
    Some(format!("ELF {class} {kind}, {machine}{}", if big { ", big-endian" } else { "" }))
}

/// Whether a program header is `PT_INTERP`: of two ELF files of type `ET_DYN`, the one that can be run.
fn has_interpreter(head: &[u8], big: bool) -> bool {
    let wide = head.get(4) == Some(&2);
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(length)?)?;
        let fold = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
        Some(if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    };
    let table = if wide { number(32, 8) } else { number(28, 4) };
    let (size, count) = if wide { (number(54, 2), number(56, 2)) } else { (number(42, 2), number(44, 2)) };
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return false };
    (0..count).map_while(|i| number(table.checked_add(i * size)?, 4)).any(|kind| kind == 3)
}

/// The PE/COFF specification: the header's place is at 0x3c, its characteristics say whether it is a library.
fn pe(head: &[u8]) -> Option<String> {
    head.strip_prefix(b"MZ")?;
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte)))
    };
    let Some(start) = number(0x3c, 4).filter(|at| head.get(*at..at + 4) == Some(b"PE\0\0")) else {
        return Some("DOS executable".into());
    };
    let machine = match number(start + 4, 2) {
        Some(0x14c) => "x86",
        Some(0x8664) => "x86-64",
        Some(0x1c4) => "ARM",
        Some(0xaa64) => "AArch64",
        _ => "unknown machine",
    };
    let library = number(start + 22, 2).is_some_and(|flags| flags & 0x2000 != 0);
    let native = number(start + 92, 2) == Some(1);
    let kind = if native {
        "driver"
    } else if library {
        "library"
    } else {
        "executable"
    };
    let width = if number(start + 24, 2) == Some(0x20b) { "PE 64-bit" } else { "PE 32-bit" };
    Some(format!("{width} {kind}, {machine}"))
}

fn mach_o(head: &[u8]) -> Option<String> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let kind = |big: bool| {
        let bytes: [u8; 4] = rest.get(8..12)?.try_into().ok()?;
        Some(match if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) } {
            1 => "object",
            2 => "executable",
            6 => "library",
            8 => "bundle",
            _ => "file",
        })
    };
    let (width, kind) = match magic {
        [0xce, 0xfa, 0xed, 0xfe] => ("32-bit", kind(false)?),
        [0xcf, 0xfa, 0xed, 0xfe] => ("64-bit", kind(false)?),
        [0xfe, 0xed, 0xfa, 0xce] => ("32-bit", kind(true)?),
        [0xfe, 0xed, 0xfa, 0xcf] => ("64-bit", kind(true)?),
        // A Java class begins so too, with a version from 45 up where this has the number of architectures.
        [0xca, 0xfe, 0xba, 0xbe] if matches!(rest.get(..4), Some([0, 0, 0, 1..=30])) => ("universal", "file"),
        _ => return None,
    };
    Some(format!("Mach-O {width} {kind}"))
}

fn script(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = line.get(..line.len().min(200))?.trim_ascii();
    if line.is_empty() || line.contains(&0) {
        return None;
    }
    Some(format!("script, {}", String::from_utf8_lossy(line)))
}

fn hive(head: &[u8]) -> Option<String> {
    head.starts_with(b"regf").then(|| "Windows registry hive".into())
}

fn text(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Some("UTF-16 text");
    }
    // The head may end within a character.
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b' | '\x08');
    valid.chars().all(plain).then_some("text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(magic in 0usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let magics: [&[u8]; 6] = [b"", b"\x7fELF\x02\x01", b"MZ", b"\xcf\xfa\xed\xfe", b"#!", b"\xca\xfe\xba\xbe"];
            prop_assert!(!kind_of(&[magics[magic], &bytes].concat()).is_empty());
        }
    }

    #[test]
    fn tells_by_content() {
        let utf8_cut = "ä".repeat(HEAD);
        for (head, kind) in [
            (&b""[..], "empty"),
            (b"#!/bin/sh -e\necho", "script, /bin/sh -e"),
            (b"plain\n", "text"),
            (b"\x00\x01\x02", "data"),
            (b"\xff\xfea\0b\0", "UTF-16 text"),
            (b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "application/zip"),
            (&utf8_cut.as_bytes()[..HEAD - 1], "text"),
            (b"MZ", "DOS executable"),
            (b"regf\0\0", "Windows registry hive"),
        ] {
            assert_eq!(kind_of(head), kind);
        }
    }

    #[test]
    fn tells_executables_apart() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(kind_of(&own[..HEAD]).starts_with("ELF 64-bit position-independent executable"));
        let mut dll = vec![0; 512];
        dll[..2].copy_from_slice(b"MZ");
        dll[0x3c] = 0x80;
        dll[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
        dll[0x80 + 23] = 0x20;
        dll[0x80 + 24..0x80 + 26].copy_from_slice(b"\x0b\x02");
        assert_eq!(kind_of(&dll), "PE 64-bit library, x86-64");
    }
}
