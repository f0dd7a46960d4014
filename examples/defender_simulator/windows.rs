//! Windows devices: they run nothing, they replay.

use crate::gzip::Source;
use crate::live::Ran;
use axum::body::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What happened on one device.
#[derive(Default)]
pub struct State {
    files: BTreeMap<String, Bytes>,
}

/// A file that the tenant knows by its hash.
pub struct Known {
    pub sha1: String,
    pub sha256: String,
    pub size: u64,
    pub is_pe: bool,
    pub malicious: bool,
}

const DOWNLOADS: &str = r"C:\ProgramData\Microsoft\Windows Defender Advanced Threat Protection\Downloads";

pub fn run(_state: &Mutex<State>, host: &str, script: &str, args: &str) -> Ran {
    Ran { exit_code: 0, output: format!("{host}: {script} {args}\r\n").into_bytes(), errors: Vec::new() }
}

pub fn put(state: &Mutex<State>, name: &str, bytes: Bytes) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.files.insert(format!("{DOWNLOADS}\\{name}").to_lowercase(), bytes);
}

pub fn get(state: &Mutex<State>, path: &str) -> Result<Source, String> {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let found = state.files.get(&path.to_lowercase()).cloned();
    found.map(Source::Bytes).ok_or_else(|| format!("The file {path} was not found"))
}

pub fn quarantine(_state: &Mutex<State>, _sha1: &str) -> bool {
    false
}

pub fn known(_hash: &str) -> Option<Known> {
    None
}

/// A program that the devices have.
#[derive(Clone)]
pub struct Image {
    pub path: String,
    pub sha1: String,
    pub sha256: String,
    pub size: u64,
}

impl Image {
    pub fn name(&self) -> &str {
        self.path.rsplit('\\').next().unwrap_or_default()
    }
}

pub fn images() -> Vec<Image> {
    vec![Image {
        path: r"C:\Windows\System32\svchost.exe".into(),
        sha1: "0".repeat(40),
        sha256: "0".repeat(64),
        size: 1,
    }]
}
