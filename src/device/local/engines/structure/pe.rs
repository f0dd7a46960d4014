//! PE (Microsoft's "PE Format").

use super::{ITEMS, Seen, dense};
use object::read::pe::{ImageNtHeaders, ImageThunkData, PeFile};
use object::{LittleEndian as LE, Object, ObjectSection, SectionFlags, pe};

/// Names that packers give their sections.
const PACKERS: &[(&[u8], &str)] = &[
    (b"UPX0", "UPX"),
    (b"UPX1", "UPX"),
    (b".aspack", "ASPack"),
    (b".adata", "ASPack"),
    (b"FSG!", "FSG"),
    (b"MEW", "MEW"),
    (b".petite", "Petite"),
    (b".Upack", "UPack"),
    (b".ByDwing", "UPack"),
    (b".MPRESS1", "MPRESS"),
    (b".MPRESS2", "MPRESS"),
    (b".nsp0", "NsPack"),
    (b".nsp1", "NsPack"),
    (b"PEC2", "PECompact"),
    (b"pec1", "PECompact"),
    (b".vmp0", "VMProtect"),
    (b".vmp1", "VMProtect"),
    (b".themida", "Themida"),
    (b".winlice", "WinLicense"),
    (b".yP", "Y0da"),
    (b"PESpin", "PESpin"),
];

/// Calls that write code into other processes, log keys, or fetch things.
const NOTABLE: &[&str] = &[
    "CreateRemoteThread",
    "WriteProcessMemory",
    "VirtualAllocEx",
    "QueueUserAPC",
    "NtUnmapViewOfSection",
    "SetWindowsHookExA",
    "SetWindowsHookExW",
    "GetAsyncKeyState",
    "URLDownloadToFileA",
    "URLDownloadToFileW",
    "WinExec",
    "IsDebuggerPresent",
    "AdjustTokenPrivileges",
    "CryptEncrypt",
];
const INJECTS: [&str; 3] = ["CreateRemoteThread", "WriteProcessMemory", "VirtualAllocEx"];

pub(super) fn look<Pe: ImageNtHeaders>(file: &PeFile<'_, Pe>, seen: &mut Seen) {
    // Addresses of sections have the image's base in them.
    let entry = file.entry();
    let mut entry_runs = false;
    for section in file.sections().take(ITEMS) {
        let name = section.name_bytes().unwrap_or_default();
        if let Some((_, packer)) = PACKERS.iter().find(|(mark, _)| name.starts_with(mark)) {
            seen.odd(format!("packed with {packer}"));
        }
        let SectionFlags::Coff { characteristics } = section.flags() else { continue };
        let runs = characteristics.0 & pe::IMAGE_SCN_MEM_EXECUTE.0 != 0;
        if !runs {
            continue;
        }
        if characteristics.0 & pe::IMAGE_SCN_MEM_WRITE.0 != 0 {
            seen.odd("a section that is both written and run");
        }
        entry_runs |= entry >= section.address() && entry - section.address() < section.size().max(1);
        if let Some(bits) = section.data().ok().and_then(dense) {
            seen.odd(format!("code of {bits:.1} bits a byte: packed or encrypted"));
        }
    }
    if entry != 0 && entry != file.relative_address_base() && !entry_runs {
        seen.odd("it starts outside of its code");
    }
    imports(file, seen);
    // This directory's address is an offset in the file.
    let signed = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_SECURITY).is_some_and(|d| d.size.get(LE) > 0);
    seen.note(if signed { "carries an Authenticode signature, not verified" } else { "not signed" });
}

fn imports<Pe: ImageNtHeaders>(file: &PeFile<'_, Pe>, seen: &mut Seen) {
    let names = imported(file);
    let called: Vec<&'static str> = NOTABLE.iter().copied().filter(|n| names.contains(&n.as_bytes())).collect();
    if INJECTS.iter().all(|call| called.contains(call)) {
        seen.odd("calls what writes code into other processes");
    }
    let has = |name: &[u8]| names.contains(&name);
    if (1..=6).contains(&names.len()) && has(b"GetProcAddress") && (has(b"LoadLibraryA") || has(b"LoadLibraryW")) {
        seen.odd("it looks for all that it calls while it runs");
    }
    seen.calls(&called);
}

/// Names of imported functions, so many at most: tables may point at one another.
fn imported<'d, Pe: ImageNtHeaders>(file: &PeFile<'d, Pe>) -> Vec<&'d [u8]> {
    let mut names = Vec::new();
    let Ok(Some(table)) = file.import_table() else { return names };
    let Ok(mut libraries) = table.descriptors() else { return names };
    let mut steps = 0;
    while let Ok(Some(library)) = libraries.next() {
        let first = match library.original_first_thunk.get(LE) {
            0 => library.first_thunk.get(LE),
            at => at,
        };
        let Ok(mut thunks) = table.thunks(first) else { continue };
        while let Ok(Some(thunk)) = thunks.next::<Pe>() {
            steps += 1;
            if steps > ITEMS {
                return names;
            }
            if !thunk.is_ordinal()
                && let Ok((_, name)) = table.hint_name(thunk.address())
            {
                names.push(name.get(..name.len().min(256)).unwrap_or_default());
            }
        }
        steps += 1;
    }
    names
}
