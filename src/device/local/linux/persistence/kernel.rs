//! Programs that the kernel itself starts: for formats it does not know, for crashes, for modules; and what is loaded
//! into it as BPF.

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{Style, directive, only};
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;

pub fn binfmt(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let folders = ["/etc/binfmt.d", "/run/binfmt.d", "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d"];
    let style = Style { comments: &[b"#", b";"], keep: Some(|line| line.first() == Some(&b':')) };
    for path in scan.files_in(folders) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &style) else { continue };
        let credentials =
            lines.iter().any(|l| l.rsplit(|b| *b == b':').next().is_some_and(|flags| flags.contains(&b'C')));
        found.push(
            Entry::of(&item).lines(&lines).root().note_if(credentials, "flag C: runs with the rights of the file"),
        );
    }
    if !scan.view.is_live() {
        return Ok(());
    }
    for path in scan.files_in(["/proc/sys/fs/binfmt_misc"]) {
        if matches!(path.name().as_bytes(), b"register" | b"status") {
            continue;
        }
        let Some(text) = scan.text_of(&path) else { continue };
        let value = |name: &str| {
            let line = text.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(name.as_bytes()));
            line.unwrap_or_default().trim_ascii().to_vec()
        };
        let program = value("interpreter ");
        let entry = helper(scan, Entry::at(path).command(&program), &program);
        let entry = entry.note_if(text.starts_with(b"disabled"), "disabled");
        found.push(entry.note_if(value("flags:").contains(&b'C'), "flag C: runs with the rights of the file"));
    }
    Ok(())
}

/// The row of what the kernel has set, vouched for where the program is a package's.
fn helper(scan: &Scan<'_>, entry: Entry, program: &[u8]) -> Entry {
    let item = (program.first() == Some(&b'/')).then(|| scan.look_at_program(&DevicePath::new(program))).flatten();
    let packaged = item.as_ref().map_or(Some(false), |item| item.packaged);
    entry.root().packaged(packaged).note_if(item.is_none(), "the program is not there")
}

const SETTINGS: [(&str, &[&str]); 4] = [
    ("/proc/sys/kernel/core_pattern", &[]),
    ("/proc/sys/kernel/modprobe", &["/sbin/modprobe", "/usr/sbin/modprobe"]),
    ("/proc/sys/kernel/hotplug", &["/sbin/hotplug"]),
    ("/proc/sys/kernel/poweroff_cmd", &["/sbin/poweroff"]),
];

pub fn helpers(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let style = only(|line| {
        let line = line.strip_prefix(b"-").unwrap_or(line);
        let (word, value) = directive(line);
        match &word.iter().map(|b| if *b == b'/' { b'.' } else { *b }).collect::<Vec<_>>()[..] {
            b"kernel.core_pattern" => value.starts_with(b"|"),
            b"kernel.modprobe" | b"kernel.hotplug" | b"kernel.poweroff_cmd" => !value.is_empty(),
            _ => false,
        }
    });
    let folders = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];
    let files = paths(&["/etc/sysctl.conf"]).into_iter().chain(scan.files_in(folders));
    found.files(scan, files, Some(&root()), &style)?;
    if !scan.view.is_live() {
        return Ok(());
    }
    for (path, usual) in SETTINGS {
        let path = DevicePath::new(path);
        let Some(text) = scan.text_of(&path) else { continue };
        let value = text.trim_ascii();
        let is_pattern = path.name().as_bytes() == b"core_pattern";
        if value.is_empty() || (is_pattern && value.first() != Some(&b'|')) {
            continue;
        }
        let program = value.trim_ascii_start().strip_prefix(b"|").unwrap_or(value).trim_ascii_start();
        let program = program.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        // The usual one tells nothing where it is the package's: told is what replaced it.
        let entry = helper(scan, Entry::at(path).command(value), program);
        if is_pattern || !usual.iter().any(|u| u.as_bytes() == program) {
            found.push(entry);
        }
    }
    Ok(())
}

/// What is pinned stays loaded without a process that holds it. Its files are names only: they are not opened.
pub fn bpf(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    if !scan.view.is_live() {
        return Ok(());
    }
    let mut waiting = vec![(DevicePath::new("/sys/fs/bpf"), 8u32)];
    while let Some((folder, depth)) = waiting.pop() {
        scan.job.check()?;
        for (path, kind) in scan.dir(folder.as_bytes()) {
            if kind == FileType::Directory {
                if depth > 0 {
                    waiting.push((path, depth - 1));
                }
                continue;
            }
            // The kernel pins its own iterators at the top.
            let own = matches!(path.as_bytes(), b"/sys/fs/bpf/maps.debug" | b"/sys/fs/bpf/progs.debug");
            let facts = scan.view.open(&path, super::super::view::How::Link).ok().map(|o| o.facts);
            let entry =
                Entry::at(path).root().modified(facts.map(|f| f.modified)).note("pinned in the BPF file system");
            found.push(if own { entry.packaged(None).note("the kernel's own") } else { entry });
        }
    }
    Ok(())
}
