//! What the kernel says is loaded: `/proc/modules`, and `/sys/module`, which a module that hides forgets at times.
//!
//! Invariant: a module that only one of the two names is one of the rows, and told.

use super::super::sources::Sources;
use crate::error::Result;
use crate::model::DevicePath;
use crate::shape::Untrusted;
use std::collections::BTreeMap;

const LIST: &str = "/proc/modules";
const LIST_LIMIT: u64 = 4 << 20;
const FOLDER: &str = "/sys/module";
const ATTRIBUTE_LIMIT: u64 = 4_096;
const MODULES: usize = 20_000;

/// Flags of a module that taints the kernel (`Documentation/admin-guide/tainted-kernels.rst`).
const FLAGS: [(u8, &str); 8] = [
    (b'P', "proprietary"),
    (b'F', "loaded by force"),
    (b'R', "unloaded by force"),
    (b'C', "staging"),
    (b'O', "out of tree"),
    (b'E', "unsigned"),
    (b'K', "live patch"),
    (b'T', "test"),
];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub used_by: Vec<Vec<u8>>,
    pub version: Option<Vec<u8>>,
    taint: Vec<u8>,
    in_list: bool,
    in_folder: bool,
}

impl Loaded {
    /// What there is to say against it.
    pub fn told(&self) -> Option<Untrusted> {
        let mut parts: Vec<String> = Vec::new();
        match (self.in_list, self.in_folder) {
            (true, false) => parts.push(format!("hidden: in {LIST}, not in {FOLDER}")),
            (false, true) => parts.push(format!("hidden: in {FOLDER}, not in {LIST}")),
            _ => {}
        }
        if !self.taint.is_empty() {
            parts.push(taints(&self.taint));
        }
        (!parts.is_empty()).then(|| Untrusted::new(parts.join("; ")))
    }
}

/// `OE` as `OE: out of tree, unsigned`.
pub fn taints(flags: &[u8]) -> String {
    let meanings = FLAGS.iter().filter(|(flag, _)| flags.contains(flag)).map(|(_, meaning)| *meaning);
    let meanings = meanings.collect::<Vec<_>>().join(", ");
    let flags = Untrusted::from_bytes(flags).raw().to_owned();
    if meanings.is_empty() { flags } else { format!("{flags}: {meanings}") }
}

/// By name. Empty where the kernel has no modules.
pub fn read(sources: &Sources<'_>) -> Result<BTreeMap<String, Loaded>> {
    let first = listed(sources)?;
    let folders = folders(sources)?;
    if first.is_none() && folders.is_empty() {
        sources
            .job()
            .warn("this kernel tells of no modules: it is built without them, or /proc and /sys are not there");
        return Ok(BTreeMap::new());
    }
    let mut loaded = first.unwrap_or_default();
    // What was loaded or unloaded between the two looks is in the list of one side by now.
    let again = listed(sources)?.unwrap_or_default();
    for (name, folder) in folders {
        let entry = loaded.entry(name.clone()).or_insert_with(|| again.get(&name).cloned().unwrap_or_default());
        entry.in_folder = true;
        entry.version = folder.version;
        if entry.taint.is_empty() {
            entry.taint = folder.taint;
        }
    }
    loaded.retain(|name, l| l.in_folder || again.contains_key(name));
    Ok(loaded)
}

/// `NAME SIZE COUNT USERS STATE ADDRESS (FLAGS)`; `None` where there is no list.
fn listed(sources: &Sources<'_>) -> Result<Option<BTreeMap<String, Loaded>>> {
    let Some(list) = sources.read(&DevicePath::new(LIST), LIST_LIMIT)? else { return Ok(None) };
    let lines = list.bytes.split(|b| *b == b'\n').take(MODULES);
    Ok(Some(lines.filter_map(line).collect()))
}

fn line(line: &[u8]) -> Option<(String, Loaded)> {
    let mut fields = line.split(u8::is_ascii_whitespace);
    let name = fields.next().filter(|n| !n.is_empty())?;
    let users = fields.nth(2)?;
    let users = users.split(|b| *b == b',').filter(|u| !u.is_empty() && *u != b"-" && *u != b"[permanent]");
    let flags = fields.next_back().and_then(|f| f.strip_prefix(b"(")?.strip_suffix(b")")).unwrap_or_default();
    // While it comes or goes it has a sign of that beside its flags.
    let taint = flags.iter().copied().filter(|b| !matches!(b, b'+' | b'-')).collect();
    let used_by = users.map(<[u8]>::to_vec).collect();
    let name = Untrusted::from_bytes(name).raw().to_owned();
    Some((name, Loaded { used_by, taint, in_list: true, ..Loaded::default() }))
}

struct Folder {
    version: Option<Vec<u8>>,
    taint: Vec<u8>,
}

/// Those that were loaded: what is built in has no `initstate`.
fn folders(sources: &Sources<'_>) -> Result<BTreeMap<String, Folder>> {
    let mut found = BTreeMap::new();
    let folder = DevicePath::new(FOLDER);
    for item in sources.list(&folder)?.into_iter().take(MODULES) {
        let own = folder.join(&DevicePath::new(item.name.clone()));
        if sources.view().identity(&own.join(&DevicePath::new("initstate"))).is_none() {
            continue;
        }
        let attribute = |name: &str| {
            let file = sources.head(&own.join(&DevicePath::new(name)), ATTRIBUTE_LIMIT)?;
            Ok(file.map(|f| f.bytes.trim_ascii().to_vec()).filter(|v| !v.is_empty()))
        };
        let name = Untrusted::from_bytes(&item.name).raw().to_owned();
        found.insert(name, Folder { version: attribute("version")?, taint: attribute("taint")?.unwrap_or_default() });
    }
    Ok(found)
}
