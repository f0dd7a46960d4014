//! SysV init scripts: `/etc/init.d`, and the links of the run levels that start them.
//!
//! Invariant: bounded; a script counts by its name, what its header says is text of the device.

use super::sources::Sources;
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;
use std::collections::BTreeSet;

/// A header stands at the top of its script (LSB 5.0, 22.3).
const HEADER_LIMIT: u64 = 16 << 10;
const FOLDERS: [&str; 2] = ["/etc/init.d", "/etc/rc.d/init.d"];
/// The run levels that a system comes up in, in both layouts.
const LEVELS: [&str; 5] = ["S", "2", "3", "4", "5"];

#[derive(Clone, Debug)]
pub struct Script {
    pub name: Vec<u8>,
    pub path: DevicePath,
    pub description: Option<Vec<u8>>,
    /// A link of a run level starts it.
    pub enabled: bool,
    pub pid_file: Option<DevicePath>,
}

/// The scripts, by name.
pub fn scripts(sources: &Sources<'_>) -> Result<Vec<Script>> {
    let started = started(sources)?;
    let mut seen = BTreeSet::new();
    let mut scripts = Vec::new();
    for folder in FOLDERS.map(DevicePath::new) {
        for item in sources.list(&folder)? {
            let leads_on = matches!(item.kind, FileType::RegularFile | FileType::Symlink);
            if !leads_on || !is_script(&item.name) || !seen.insert(item.name.clone()) {
                continue;
            }
            let path = folder.join(&DevicePath::new(item.name.clone()));
            let Some(source) = sources.head(&path, HEADER_LIMIT)? else { continue };
            // What cannot be run starts nothing.
            if source.facts.mode & 0o111 == 0 {
                continue;
            }
            scripts.push(Script {
                enabled: started.contains(&item.name),
                description: header(&source.bytes, "Short-Description")
                    .or_else(|| header(&source.bytes, "description")),
                pid_file: header(&source.bytes, "pidfile").map(DevicePath::new),
                name: item.name,
                path,
            });
        }
    }
    Ok(scripts)
}

/// Names that a run level's `S??NAME` starts.
fn started(sources: &Sources<'_>) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for level in LEVELS {
        for folder in [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")] {
            let items = sources.list(&DevicePath::new(folder))?.into_iter();
            names.extend(items.filter_map(|item| start_link(&item.name).map(<[u8]>::to_vec)));
        }
    }
    Ok(names)
}

/// `S01cron` starts `cron`.
fn start_link(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"S")?;
    let (order, name) = rest.split_at_checked(2)?;
    (order.iter().all(u8::is_ascii_digit) && !name.is_empty()).then_some(name)
}

/// Not what packages and editors leave behind.
fn is_script(name: &[u8]) -> bool {
    let left_behind = [&b".dpkg-"[..], b".rpm", b".swp", b"~"].iter().any(|s| name.windows(s.len()).any(|w| w == *s));
    !left_behind && !matches!(name, b"README" | b"skeleton" | b"functions") && name.first() != Some(&b'.')
}

/// A line `# Key: value` of the header.
fn header(text: &[u8], key: &str) -> Option<Vec<u8>> {
    let mut lines = text.split(|b| *b == b'\n').map(|line| line.trim_ascii());
    let value = lines.find_map(|line| {
        let line = line.strip_prefix(b"#")?.trim_ascii_start();
        let (found, value) = line.split_at_checked(key.len())?;
        found.eq_ignore_ascii_case(key.as_bytes()).then(|| value.strip_prefix(b":")).flatten()
    })?;
    Some(value.trim_ascii().to_vec()).filter(|v| !v.is_empty())
}
