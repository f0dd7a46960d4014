//! The evidence store: content-addressed files, an append-only custody record, a verifier.
//!
//! Invariants: names from a device never become local paths; nothing is unpacked or opened; content that has been
//! sealed is never written again.
#![allow(clippy::disallowed_methods)]

mod custody;
mod package;
mod seal;
mod slice;
mod verify;

pub use custody::Entry;
pub use seal::{Draft, PACKAGE_LIMIT};
pub use slice::{MAX_LENGTH, Slice};
pub use verify::{Exported, Problem, Report};

use crate::audit::Log;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{CommandId, DeviceId, DevicePath, Disclosure, Job, SessionId, Sha256, Timestamp, row};
use crate::principal::Principal;
use crate::private;
use crate::shape::Untrusted;
use custody::Chain;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder `evidence/` of the state: `objects/aa/<sha256>`, `custody.jsonl`, and `incoming/` while files arrive.
pub struct Store {
    root: PathBuf,
    log: Arc<Log>,
}

/// Who collected a file, and why.
#[derive(Clone, Debug)]
pub struct Custody {
    pub device: DeviceId,
    pub device_name: Untrusted,
    pub session: SessionId,
    pub command_id: CommandId,
    pub principal: Principal,
    /// The session's comment: a case number.
    pub comment: Option<String>,
}

/// A file that is in the store now.
#[derive(Clone, PartialEq, Debug)]
pub struct Sealed {
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// The last component of its path.
    pub name: Untrusted,
    pub path: DevicePath,
    /// Why a person is asked before its content is shown.
    pub secret: Option<String>,
}

row! {
    /// A file in the store, as it was collected last.
    pub struct Held {
        pub sha256: Sha256,
        pub name: Untrusted,
        pub size_bytes: u64,
        pub path: DevicePath,
        pub device: DeviceId,
        /// The session that collected it.
        pub session: String,
        pub collected: Timestamp,
        /// Why a person is asked before its content is shown.
        pub secret: Option<String>,
        pub comment: Option<Untrusted>,
    }
}

impl Store {
    /// Opens nothing.
    pub fn new(home: &Path, log: Arc<Log>) -> Store {
        Store { root: home.join("evidence"), log }
    }

    /// What `by` collected, one row a content, newest first; only this hash, only this name where they are given.
    /// Content that any custody entry calls secret is secret.
    pub fn held(&self, by: &Principal, sha256: Option<&Sha256>, name: Option<&str>) -> Result<Vec<Held>> {
        let mut rows: HashMap<Sha256, Held> = HashMap::new();
        let mut secrets: HashMap<Sha256, String> = HashMap::new();
        for entry in self.chain().entries()? {
            let entry = entry?;
            if let Some(secret) = &entry.secret {
                secrets.entry(entry.sha256.clone()).or_insert_with(|| secret.clone());
            }
            let asked = sha256.is_none_or(|s| *s == entry.sha256) && name.is_none_or(|n| entry.is_named(n));
            if asked && entry.principal == *by {
                rows.insert(entry.sha256.clone(), entry.into());
            }
        }
        let mut rows: Vec<Held> = rows.into_values().collect();
        for row in &mut rows {
            row.secret = secrets.remove(&row.sha256);
        }
        rows.sort_by(|a, b| (b.collected, &b.sha256).cmp(&(a.collected, &a.sha256)));
        if rows.is_empty() && (sha256.is_some() || name.is_some()) {
            let what = name.map_or_else(|| sha256.map(ToString::to_string).unwrap_or_default(), |n| format!("{n:?}"));
            return Err(Error::new(ErrorCode::NotFound, format!("no evidence {what}"))
                .hint("`evidence` without arguments lists what was collected; `getfile` collects"));
        }
        Ok(rows)
    }

    /// Every custody entry, oldest first.
    pub fn entries(&self) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        self.chain().entries()
    }

    /// Reads a slice of sealed content. Whether it may be shown is the guard's to say.
    pub fn read(&self, slice: &Disclosure) -> Result<Slice> {
        if slice.entry.is_some() {
            return self.read_member(slice, &Job::default()).map(|(slice, _)| slice);
        }
        let object = self.object(&slice.sha256)?;
        let size_bytes = object.metadata().map_err(|e| Error::io("the evidence", e))?.len();
        let name = self.name_of(&slice.sha256)?;
        slice::read(object, size_bytes, name, slice)
    }

    /// Reads a slice of a package's member, and says why the member is secret, where it is: by its name, by the mark
    /// that it was collected with, or by what its bytes say, all of them.
    pub fn read_member(&self, slice: &Disclosure, job: &Job) -> Result<(Slice, Option<&'static str>)> {
        package::read(self.object(&slice.sha256)?, slice, job)
    }

    fn name_of(&self, sha256: &Sha256) -> Result<Untrusted> {
        let mut name = Untrusted::new("");
        for entry in self.chain().entries()? {
            let entry = entry?;
            if entry.sha256 == *sha256 {
                name = entry.name();
            }
        }
        Ok(name)
    }

    fn object(&self, sha256: &Sha256) -> Result<File> {
        private::open(&self.object_path(sha256))?.ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("no evidence {sha256}"))
                .hint("`evidence` without arguments lists what was collected")
        })
    }

    /// A SHA-256 is 64 hex digits by type: no name of anyone else's choosing.
    fn object_path(&self, sha256: &Sha256) -> PathBuf {
        let (two, _) = sha256.as_str().split_at_checked(2).unwrap_or_default();
        self.root.join("objects").join(two).join(sha256.as_str())
    }

    fn chain(&self) -> Chain {
        Chain::new(self.root.join("custody.jsonl"))
    }
}

impl From<Entry> for Held {
    fn from(entry: Entry) -> Held {
        Held {
            name: entry.name(),
            sha256: entry.sha256,
            size_bytes: entry.size_bytes,
            path: entry.path,
            device: entry.device,
            session: entry.session.as_str().to_owned(),
            collected: entry.at,
            secret: entry.secret,
            comment: entry.comment.map(Untrusted::new),
        }
    }
}

fn unavailable(path: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("the evidence store: {}: {e}", path.display()))
        .hint("free space or repair it and ask again; what was sealed before is untouched")
        .source(e)
}

#[cfg(test)]
mod tests;
