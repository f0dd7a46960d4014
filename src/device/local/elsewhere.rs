//! Systems without collectors: every question is `E_UNSUPPORTED`.

use super::engines::Engines;
use super::support;
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{
    Answer, CollectQuery, DevicePath, End, FileFacts, FileQuery, Job, Outcome, PackageFacts, Query, Step, Supply,
    Verified, Wish,
};
use crate::shape::Untrusted;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct OwnThings;
pub struct Host;
pub struct Tree;

impl OwnThings {
    pub fn new(_: PathBuf, _: Vec<PathBuf>) -> OwnThings {
        OwnThings
    }
}

impl Host {
    pub fn new(_: &Config, _: Arc<OwnThings>, _: Arc<Engines>) -> Host {
        Host
    }

    pub fn name() -> Untrusted {
        Untrusted::new("this host")
    }

    pub fn os() -> Option<Untrusted> {
        None
    }

    pub fn read(&self, query: Query, _: &Job) -> Result<Answer> {
        Err(support::no_query(&query, "local"))
    }

    pub fn open(&self, _: &FileQuery, _: &Job) -> Result<(FileFacts, File)> {
        Err(unsupported())
    }

    pub fn package_facts(&self, _: &CollectQuery) -> Result<FileFacts> {
        Err(unsupported())
    }

    pub fn collect(&self, _: &CollectQuery, _: impl Write, _: &Job) -> Result<PackageFacts> {
        Err(unsupported())
    }

    pub fn resolve(&self, _: &Wish, _: &Job) -> Result<Vec<Step>> {
        Err(unsupported())
    }

    pub fn apply(&self, _: impl Iterator<Item = Order>, _: &dyn Supply, _: &Job) -> Outcome {
        let e = unsupported();
        let end = End::Failed { code: e.code.as_str().into(), message: e.message };
        Outcome { rows: Vec::new(), verified: Verified::No, end, warnings: Vec::new() }
    }
}

impl Tree {
    pub fn new(_: PathBuf, _: PathBuf, _: Arc<OwnThings>, _: Arc<Engines>) -> Tree {
        Tree
    }

    pub fn platform(&self) -> &'static str {
        std::env::consts::OS
    }

    pub fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        Ok(directory.join(path))
    }

    pub fn read(&self, query: Query, _: &Job) -> Result<Answer> {
        Err(support::no_query(&query, "image"))
    }

    pub fn package_facts(&self, _: &CollectQuery) -> Result<FileFacts> {
        Err(unsupported())
    }

    pub fn collect(&self, _: &CollectQuery, _: impl Write, _: &Job) -> Result<PackageFacts> {
        Err(unsupported())
    }

    pub fn open(&self, _: &FileQuery, _: &Job) -> Result<(FileFacts, File)> {
        Err(unsupported())
    }
}

/// An isolation that its dead-man ended: never, here.
pub struct Ended {
    pub by: crate::model::RequestId,
    pub why: &'static str,
}

pub fn hold_isolation(_: &Path, _: &mut dyn std::io::Write) -> Result<Option<Ended>> {
    Err(unsupported())
}

pub fn revive_isolation(_: &Path) -> Result<bool> {
    Ok(false)
}

fn unsupported() -> Error {
    Error::new(ErrorCode::Unsupported, "this system is not supported yet").hint("run it on Linux")
}
