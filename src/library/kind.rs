//! What a library file is: by its first line where it has one for an interpreter, else by its name.

use crate::model::{Interpreter, ItemKind, ItemName};

/// The kernel reads no more of a first line (`BINPRM_BUF_SIZE`).
const LINE_MAX: usize = 256;
const OPTIONS_MAX: usize = 8;

/// Type and interpreter, from the name and the first bytes.
pub(super) fn of(name: &ItemName, head: &[u8]) -> (ItemKind, Option<Interpreter>) {
    if is_program(head) {
        return (ItemKind::Program, None);
    }
    if let Some(interpreter) = first_line(head) {
        return (by_program(&interpreter.program), Some(interpreter));
    }
    let extension = name.as_str().rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    let (kind, program) = match extension.as_str() {
        // As Live Response has it: on Linux scripts are Bash.
        "sh" | "bash" => (ItemKind::Shell, "bash"),
        "py" => (ItemKind::Python, "python3"),
        "pl" => (ItemKind::Perl, "perl"),
        "rb" => (ItemKind::Ruby, "ruby"),
        "ps1" | "psm1" => (ItemKind::PowerShell, "pwsh"),
        "exe" | "dll" | "com" | "msi" | "bat" | "cmd" | "vbs" | "jar" | "apk" => return (ItemKind::Program, None),
        _ => return (ItemKind::Data, None),
    };
    (kind, Some(Interpreter { program: program.into(), options: Vec::new() }))
}

/// ELF, PE, Mach-O of either order and width, and the fat one.
fn is_program(head: &[u8]) -> bool {
    let magics: [&[u8]; 7] = [
        b"\x7fELF",
        b"MZ",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
    ];
    magics.iter().any(|magic| head.starts_with(magic))
}

/// `#!/bin/bash -e`, `#!/usr/bin/env python3`, `#!/usr/bin/env -S python3 -u`: as the kernel and `env` read them.
fn first_line(head: &[u8]) -> Option<Interpreter> {
    let rest = head.strip_prefix(b"#!")?;
    let end = rest.iter().take(LINE_MAX).position(|b| *b == b'\n').or((rest.len() < LINE_MAX).then_some(rest.len()))?;
    let line = std::str::from_utf8(rest.get(..end)?).ok()?.trim_end_matches('\r');
    if !line.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
        return None;
    }
    let (program, rest) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    if program.is_empty() {
        return None;
    }
    if program.rsplit('/').next() != Some("env") {
        // The kernel hands the rest over as one word.
        let options = if rest.is_empty() { Vec::new() } else { vec![rest.to_owned()] };
        return absolute(program).then(|| Interpreter { program: program.to_owned(), options });
    }
    let words = rest.strip_prefix("-S").map(str::trim_start).unwrap_or(rest);
    let mut words = words.split_ascii_whitespace();
    let program = words.next().filter(|w| !w.starts_with('-') && !w.contains('='))?;
    let options: Vec<String> = words.map(str::to_owned).collect();
    let plain = options.len() <= OPTIONS_MAX && (absolute(program) || !program.contains('/'));
    plain.then(|| Interpreter { program: program.to_owned(), options })
}

fn absolute(program: &str) -> bool {
    program.starts_with('/') && !program.split('/').any(|part| part == "..")
}

fn by_program(program: &str) -> ItemKind {
    let name = program.rsplit('/').next().unwrap_or_default();
    match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => ItemKind::Shell,
        "python" => ItemKind::Python,
        "perl" => ItemKind::Perl,
        "ruby" => ItemKind::Ruby,
        "pwsh" | "powershell" => ItemKind::PowerShell,
        _ => ItemKind::Script,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, head: &[u8]) -> (ItemKind, Option<String>) {
        let (kind, interpreter) = super::of(&ItemName::parse(name).unwrap(), head);
        (kind, interpreter.map(|i| [vec![i.program], i.options].concat().join("|")))
    }

    #[test]
    fn the_first_line_comes_before_the_name() {
        let cases: [(&str, &[u8], ItemKind, Option<&str>); 10] = [
            ("a.sh", b"echo x", ItemKind::Shell, Some("bash")),
            ("a.sh", b"#!/bin/sh -eu\nx", ItemKind::Shell, Some("/bin/sh|-eu")),
            ("a.py", b"#!/usr/bin/env python3\r\n", ItemKind::Python, Some("python3")),
            ("a", b"#! /usr/bin/env -S python3 -u -I\n", ItemKind::Python, Some("python3|-u|-I")),
            ("a.sh", b"#!/usr/bin/awk -f\n", ItemKind::Script, Some("/usr/bin/awk|-f")),
            ("a.sh", b"\x7fELF\x02", ItemKind::Program, None),
            ("a.ps1", b"", ItemKind::PowerShell, Some("pwsh")),
            ("a.txt", b"x", ItemKind::Data, None),
            ("a.txt", b"#!/usr/bin/env LD_PRELOAD=/x sh\n", ItemKind::Data, None),
            ("a.txt", b"#!/bin/../tmp/x\n", ItemKind::Data, None),
        ];
        for (name, head, kind, interpreter) in cases {
            assert_eq!(of(name, head), (kind, interpreter.map(str::to_owned)), "{name} {head:?}");
        }
    }

    #[test]
    fn a_first_line_without_an_end_names_nothing() {
        let long = [b"#!/bin/sh ".to_vec(), vec![b'x'; 5000]].concat();
        assert_eq!(of("a.dat", &long), (ItemKind::Data, None));
        assert_eq!(of("a.dat", b"#!/bin/\x1b[2Ksh\n"), (ItemKind::Data, None));
    }

    proptest! {
        #[test]
        fn any_head_is_something(head in proptest::collection::vec(any::<u8>(), 0..300), shebang in any::<bool>()) {
            let head = if shebang { [b"#!".to_vec(), head].concat() } else { head };
            let (_, interpreter) = super::of(&ItemName::parse("a.sh").unwrap(), &head);
            prop_assert!(interpreter.is_none_or(|i| i.options.len() <= OPTIONS_MAX && !i.program.is_empty()));
        }
    }
}
