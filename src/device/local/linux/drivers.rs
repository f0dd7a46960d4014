//! `drivers`: the modules of the kernel, loaded and on disk, and those that one of the kernel's lists hides.
//!
//! Invariant: bounded. A file is opened for its version and signer only where it is loaded or lies outside the tree that
//! the kernel's own package brings (`kernel/`); all others are listed with name, path and size.

mod loaded;
mod modinfo;

use super::sources::Sources;
use super::view::View;
use crate::error::Result;
use crate::model::{DevicePath, Driver, Job};
use crate::shape::Untrusted;
use loaded::Loaded;
use modinfo::ModInfo;
use rustix::fs::FileType;
use std::collections::BTreeMap;

const TREES: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];
const SUFFIXES: [&[u8]; 4] = [b".ko", b".ko.xz", b".ko.zst", b".ko.gz"];
/// A release has some 4,500.
const FILES: usize = 50_000;
const DEPTH: usize = 16;
/// Of a module, as it lies on disk.
const FILE_LIMIT: u64 = 64 << 20;
/// Modules that are opened.
const OPENED: usize = 1_000;

/// The modules of this host, or those that lie in an image.
pub fn list(view: &View, job: &Job) -> Result<Vec<Driver>> {
    let uname = rustix::system::uname();
    let release = view.is_live().then(|| uname.release().to_bytes());
    let sources = Sources::new(view, job);
    let rows = rows(&sources, release)?;
    sources.finish();
    Ok(rows)
}

/// As [`list`]; what could not be seen has been said elsewhere.
pub fn for_persistence(view: &View, job: &Job) -> Result<Vec<Driver>> {
    let uname = rustix::system::uname();
    let release = view.is_live().then(|| uname.release().to_bytes());
    rows(&Sources::new(view, job), release)
}

/// `release` is that of the running kernel; without one nothing is loaded, and the files of every release are listed.
fn rows(sources: &Sources<'_>, release: Option<&[u8]>) -> Result<Vec<Driver>> {
    let loaded = match release {
        Some(_) => loaded::read(sources)?,
        None => BTreeMap::new(),
    };
    let mut rows = Vec::new();
    let mut opened = 0;
    for tree in trees(sources, release)? {
        for file in files(sources, &tree)? {
            let known = loaded.get(&file.name);
            let is_own_tree =
                file.path.as_bytes().strip_prefix(tree.as_bytes()).is_some_and(|p| p.starts_with(b"/kernel/"));
            let mut row = row(file);
            if let Some(path) = row.path.clone().filter(|_| (known.is_some() || !is_own_tree) && opened < OPENED) {
                opened += 1;
                add_info(&mut row, info(sources, &path)?);
            }
            if let Some(known) = known {
                add_loaded(&mut row, known);
            } else if release.is_some() {
                row.loaded = Some(false);
            }
            rows.push(row);
        }
    }
    let on_disk: std::collections::HashSet<String> = rows.iter().map(|r| r.name.raw().to_owned()).collect();
    for (name, known) in loaded.iter().filter(|(name, _)| !on_disk.contains(*name)) {
        let mut row = Driver { path: None, size_bytes: None, ..row(File::named(name.clone())) };
        add_loaded(&mut row, known);
        rows.push(row);
    }
    if opened == OPENED {
        sources.job().warn(format!("versions and signers of the first {OPENED} modules were read"));
    }
    rows.sort_by(|a, b| (b.loaded == Some(true), &a.name, &a.path).cmp(&(a.loaded == Some(true), &b.name, &b.path)));
    Ok(rows)
}

fn row(file: File) -> Driver {
    Driver {
        name: Untrusted::new(file.name),
        version: None,
        path: Some(file.path),
        size_bytes: file.size,
        signer: None,
        signed: None,
        loaded: None,
        used_by: Vec::new(),
        tainted: None,
    }
}

fn add_loaded(row: &mut Driver, known: &Loaded) {
    row.loaded = Some(true);
    row.used_by = known.used_by.iter().map(|u| Untrusted::from_bytes(u)).collect();
    row.tainted = known.told();
    if row.version.is_none() {
        row.version = known.version.as_deref().map(Untrusted::from_bytes);
    }
}

fn add_info(row: &mut Driver, info: Option<ModInfo>) {
    let Some(info) = info else { return };
    row.version = info.version.as_deref().map(Untrusted::from_bytes);
    row.signed = Some(info.signed);
    row.signer = info.signer.as_deref().map(Untrusted::from_bytes);
}

fn info(sources: &Sources<'_>, path: &DevicePath) -> Result<Option<ModInfo>> {
    let source = sources.read(path, FILE_LIMIT)?.filter(|s| !s.cut);
    let info = source.and_then(|s| ModInfo::read(path.as_bytes(), &s.bytes));
    if info.is_none() {
        sources.job().warn(format!("{path} is no module that can be read: its version and signer are not known"));
    }
    Ok(info)
}

/// The folders of modules: the running release's, or each.
fn trees(sources: &Sources<'_>, release: Option<&[u8]>) -> Result<Vec<DevicePath>> {
    let mut seen = std::collections::HashSet::new();
    let mut trees = Vec::new();
    for tree in TREES.map(DevicePath::new) {
        for item in sources.list(&tree)? {
            let is_wanted = release.is_none_or(|r| r == item.name);
            let path = tree.join(&DevicePath::new(item.name));
            if is_wanted && sources.view().identity(&path).is_some_and(|id| seen.insert(id)) {
                trees.push(path);
            }
        }
    }
    Ok(trees)
}

struct File {
    /// As the kernel calls it: `_` for `-`.
    name: String,
    path: DevicePath,
    size: Option<u64>,
}

impl File {
    fn named(name: String) -> File {
        File { name, path: DevicePath::new("/"), size: None }
    }
}

/// The modules below a folder, links to folders not followed.
fn files(sources: &Sources<'_>, tree: &DevicePath) -> Result<Vec<File>> {
    let mut found = Vec::new();
    let mut waiting = vec![(tree.clone(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for (item, size) in sources.list_sized(&folder)? {
            let path = folder.join(&DevicePath::new(item.name.clone()));
            match item.kind {
                FileType::Directory if depth < DEPTH => waiting.push((path, depth + 1)),
                FileType::RegularFile | FileType::Symlink => {
                    let Some(stem) = SUFFIXES.iter().find_map(|suffix| item.name.strip_suffix(*suffix)) else {
                        continue;
                    };
                    if found.len() == FILES {
                        sources.job().warn(format!("{tree} holds more than {FILES} modules: the rest is not shown"));
                        return Ok(found);
                    }
                    let name = Untrusted::from_bytes(stem).raw().replace('-', "_");
                    found.push(File { name, path, size });
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
