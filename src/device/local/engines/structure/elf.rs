//! ELF (`man 5 elf`).

use super::{ITEMS, Seen, dense};
use memchr::memmem;
use object::read::elf::{ElfFile, FileHeader, ProgramHeader};
use object::{Object, ObjectSection, ObjectSymbol, elf};

/// Calls that reach into other processes, hide, or run what never was a file.
const NOTABLE: &[&str] = &[
    "ptrace",
    "process_vm_writev",
    "process_vm_readv",
    "memfd_create",
    "fexecve",
    "init_module",
    "finit_module",
    "bpf",
    "dlsym",
    "mprotect",
    "prctl",
    "setns",
    "unshare",
    "pivot_root",
    "keyctl",
    "execve",
    "system",
    "popen",
];

/// By the packer's own marks; they are there also where the rest is broken.
pub(super) fn packer(head: &[u8], seen: &mut Seen) {
    let start = head.get(..1_024.min(head.len())).unwrap_or_default();
    // What unpacks lies at the end; elsewhere the words are those of a program that looks for them.
    let end = head.get(head.len().saturating_sub(16 << 10)..).unwrap_or_default();
    let info = memmem::find(end, b"$Info: This file is packed with the UPX").is_some();
    if info || memmem::find(start, b"UPX!").is_some() {
        seen.odd("packed with UPX");
    }
}

pub(super) fn look<'d, E: FileHeader>(file: &ElfFile<'d, E>, seen: &mut Seen) {
    let endian = file.endian();
    let kind = file.elf_header().e_type(endian);
    if kind == elf::ET_REL || kind == elf::ET_CORE {
        seen.note(if kind == elf::ET_REL { "a relocatable object" } else { "a core dump" });
        return;
    }
    let entry: u64 = file.entry();
    let mut entry_runs = false;
    for header in file.elf_program_headers().iter().take(ITEMS) {
        let flags = header.p_flags(endian).0;
        let (runs, written) = (flags & elf::PF_X.0 != 0, flags & elf::PF_W.0 != 0);
        if header.p_type(endian) == elf::PT_LOAD && runs {
            let start: u64 = header.p_vaddr(endian).into();
            let size: u64 = header.p_memsz(endian).into();
            entry_runs |= entry >= start && entry - start < size;
            if written {
                seen.odd("a segment that is both written and run");
            }
            if let Ok(bytes) = header.data(endian, file.data())
                && let Some(bits) = dense(bytes)
            {
                seen.odd(format!("code of {bits:.1} bits a byte: packed or encrypted"));
            }
        }
        if let Ok(Some(interpreter)) = header.interpreter(endian, file.data()) {
            look_at_interpreter(interpreter, seen);
        }
    }
    if entry != 0 && !entry_runs {
        seen.odd("it starts outside of its code");
    }
    if file.elf_section_table().is_empty() {
        seen.odd("no section table: it was cut off");
    }
    for section in file.sections().take(ITEMS) {
        if section.name_bytes().is_ok_and(|name| matches!(name, b".upx" | b"UPX0" | b".packed")) {
            seen.odd("a section as a packer names it");
        }
    }
    let undefined = file.dynamic_symbols().take(ITEMS).filter(|s| s.is_undefined());
    let names: Vec<&[u8]> = undefined.filter_map(|s| s.name_bytes().ok()).collect();
    let called: Vec<&'static str> = NOTABLE.iter().copied().filter(|n| names.contains(&n.as_bytes())).collect();
    seen.calls(&called);
}

fn look_at_interpreter(interpreter: &[u8], seen: &mut Seen) {
    const TEMPORARY: [&[u8]; 4] = [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/home/"];
    if TEMPORARY.iter().any(|place| interpreter.starts_with(place)) {
        seen.odd("its loader lies in a place for temporary files");
    }
}
