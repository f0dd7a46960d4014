//! Windows devices: they run nothing. Scripts of the product's pack (`lr-<name>-<hash>.ps1`) are answered from
//! recordings, with the arguments that they are given; any other script is echoed.

mod collect;
mod document;
mod entities;
mod look;
mod tree;

use crate::gzip::Source;
use crate::live::Ran;
use axum::body::Bytes;
use document::Document;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tree::Node;
pub use tree::images;

/// What happened on one device since it was recorded.
#[derive(Default)]
pub struct State {
    /// Files that were put there, by their path in lower case.
    files: BTreeMap<String, Node>,
    /// What is no more: kind, and what names it in lower case.
    gone: BTreeSet<(String, String)>,
    /// Undo records, oldest first.
    records: Vec<entities::Record>,
}

const DOWNLOADS: &str = r"C:\ProgramData\Microsoft\Windows Defender Advanced Threat Protection\Downloads";

impl State {
    fn is_gone(&self, kind: &str, name: &str) -> bool {
        !self.gone.is_empty() && self.gone.contains(&(kind.to_owned(), name.to_lowercase()))
    }

    fn file(&self, path: &str) -> Option<&Node> {
        let path = path.to_lowercase();
        if self.is_gone("file", &path) {
            return None;
        }
        self.files.get(&path).or_else(|| tree::RECORDED.get(&path))
    }

    /// Every file, in the order of their paths.
    fn all_files(&self) -> impl Iterator<Item = &Node> {
        let recorded = tree::RECORDED.iter().filter(|(path, _)| !self.files.contains_key(*path));
        recorded.chain(&self.files).filter(|(path, _)| !self.is_gone("file", path)).map(|(_, node)| node)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn run(state: &Mutex<State>, host: &str, script: &str, args: &str) -> Ran {
    let output = match pack_name(script) {
        Some(name) => {
            let call = document::Call::of(args);
            let document = match &call {
                Ok(call) => answered(&mut locked(state), name, &call.args),
                Err(why) => Err(document::Failure::new("E_BAD_ARGS", why.clone())),
            };
            let nonce = call.as_ref().map_or(document::NO_NONCE, |c| c.nonce.as_str());
            document::printed(name, nonce, document)
        }
        None => format!("{host}\r\n{script} {args}\r\n"),
    };
    Ran { exit_code: 0, output: output.into_bytes(), errors: Vec::new() }
}

/// `processes` of `lr-processes-0123456789abcdef.ps1`.
fn pack_name(script: &str) -> Option<&str> {
    let (name, hash) = script.strip_prefix("lr-")?.strip_suffix(".ps1")?.rsplit_once('-')?;
    (hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit())).then_some(name)
}

fn answered(state: &mut State, name: &str, args: &Value) -> Result<Document, document::Failure> {
    match name {
        "processes" => look::processes(state, args),
        "connections" => look::connections(state),
        "services" => look::services(state),
        "drivers" => look::listing(state, "driver", "drivers", "name"),
        "startupfolders" => look::listing(state, "file", "startupfolders", "file"),
        "scheduledtasks" => look::tasks(state, args),
        "persistence" => look::persistence(state, args),
        "registry" => look::registry(state, args),
        "dir" => tree::dir(state, args),
        "findfile" => tree::find(state, args),
        "fileinfo" => tree::info(state, args),
        "remediated" => entities::remediated(state, args),
        "remediate" => entities::remediate(state, args),
        "undo" => entities::undo(state, args),
        "collect" => collect::collect(state, args),
        other => Err(document::Failure::new("E_UNSUPPORTED", format!("there is no recording of {other}"))),
    }
}

pub fn put(state: &Mutex<State>, name: &str, bytes: Bytes) {
    write(state, &format!("{DOWNLOADS}\\{name}"), Source::Bytes(bytes));
}

pub fn write(state: &Mutex<State>, path: &str, content: Source) {
    locked(state).files.insert(path.to_lowercase(), Node::put(path, content));
}

pub fn get(state: &Mutex<State>, path: &str) -> Result<Source, String> {
    let state = locked(state);
    state.file(path).map(Node::source).ok_or_else(|| format!("The file {path} was not found"))
}

/// Takes every copy of a file and ends what runs of it, as Defender does; whether there was one.
pub fn quarantine(state: &Mutex<State>, sha1: &str) -> bool {
    let mut state = locked(state);
    let found: Vec<String> =
        state.all_files().filter(|n| n.is_small() && n.hashes().sha1 == sha1).map(|n| n.path.to_lowercase()).collect();
    for path in &found {
        for pid in look::pids_of(path) {
            state.gone.insert(("process".into(), pid));
        }
        state.gone.insert(("file".into(), path.clone()));
    }
    !found.is_empty()
}

/// A file that the tenant knows by its hash.
pub struct Known {
    pub sha1: String,
    pub sha256: String,
    pub size: u64,
    pub is_pe: bool,
    pub malicious: bool,
}

pub fn known(hash: &str) -> Option<Known> {
    let node = tree::RECORDED.values().filter(|n| n.is_small()).find(|n| {
        let hashes = n.hashes();
        hashes.sha1 == hash || hashes.sha256 == hash
    })?;
    let hashes = node.hashes();
    Some(Known {
        sha1: hashes.sha1.clone(),
        sha256: hashes.sha256.clone(),
        size: node.size(),
        is_pe: node.is_pe,
        malicious: node.malicious,
    })
}
