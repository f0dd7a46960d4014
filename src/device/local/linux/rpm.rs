//! The package that owns a file, from rpm's database (SQLite, rpm 4.16 and later), on the host or in an image.
//!
//! Invariant: nothing of rpm runs; the database is read as hostile bytes, and never written, locked or recovered.

mod header;
mod sqlite;

use super::hash::Digests;
use super::view::{How, View};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use header::{Header, Listed};
use sqlite::{Sqlite, Value, record};
use std::io::ErrorKind;

const PLACES: [&str; 2] = ["/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"];
/// So many packages may own files of one name: `__init__.py` is the most common.
const SAME_NAME: usize = 100_000;

/// What a package's data says of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub package: String,
    pub version: Option<String>,
    /// As in OpenPGP: 1 MD5, 2 SHA-1, 8 SHA-256.
    pub algorithm: u32,
    /// Lower-case hex.
    pub digest: Option<String>,
    /// Type and permissions as the package wants them.
    pub mode: Option<u16>,
}

impl Claim {
    /// Whether the bytes are the package's; `None` where it names no digest that is made here.
    pub fn is_of(&self, digests: &Digests) -> Option<bool> {
        let made = match self.algorithm {
            1 => digests.md5.as_str(),
            2 => digests.sha1.as_str(),
            8 => digests.sha256.as_str(),
            _ => return None,
        };
        self.digest.as_deref().map(|listed| listed == made)
    }
}

pub struct Rpm {
    database: Sqlite,
    packages: u32,
}

impl Rpm {
    /// `None` where there is no database of rpm.
    pub fn open(view: &View) -> Result<Option<Rpm>> {
        for place in PLACES {
            let path = DevicePath::new(place);
            let opened = match view.open(&path, How::File) {
                Ok(opened) => opened,
                Err(e) if e.code == ErrorCode::NotFound => continue,
                Err(e) => return Err(e),
            };
            let wal = view.open(&DevicePath::new(format!("{place}-wal")), How::File).ok().map(|o| o.file);
            let unreadable = |e: std::io::Error| Error::io(&path, e);
            let database = Sqlite::open(opened.file, wal).map_err(unreadable)?;
            let packages = database.root("table", "Packages").map_err(unreadable)?;
            return Ok(Some(Rpm { database, packages }));
        }
        Ok(None)
    }

    /// Who owns the file at a real path: by the index of base names, so that a single question stays cheap.
    pub fn find(&self, path: &DevicePath) -> Result<Option<Claim>> {
        self.look_up(path.as_bytes()).map_err(|e| Error::io("rpm's database", e))
    }

    fn look_up(&self, path: &[u8]) -> std::io::Result<Option<Claim>> {
        let slash = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let name = path.get(slash + 1..).unwrap_or_default();
        let root = self.database.root("table", "Basenames")?;
        let index = self.database.root("index", "Basenames_key_idx")?;
        let mut last = None;
        for rowid in self.database.indexed(index, name, SAME_NAME)? {
            let Some(row) = self.database.row(root, rowid)? else { continue };
            let columns = record(&row)?;
            let Some(Value::Integer(package)) = columns.get(1) else { continue };
            if last.replace(*package) == Some(*package) {
                continue;
            }
            let Some(blob) = self.blob(*package)? else { continue };
            if let Some(claim) = Header::parse(&blob).and_then(|h| claims(&h).find(|(p, _)| p == path)) {
                return Ok(Some(claim.1));
            }
        }
        Ok(None)
    }

    fn blob(&self, package: i64) -> std::io::Result<Option<Vec<u8>>> {
        let Some(row) = self.database.row(self.packages, package)? else { return Ok(None) };
        blob(&row)
    }

    /// Every file of every package.
    pub fn each(&self, job: &Job, each: &mut dyn FnMut(Vec<u8>, Claim)) -> Result<()> {
        let mut stop = None;
        let walked = self.database.rows(self.packages, &mut |_, row| {
            if let Err(e) = job.check() {
                stop = Some(e);
                return Err(std::io::Error::from(ErrorKind::Interrupted));
            }
            if let Some(blob) = blob(row)?
                && let Some(header) = Header::parse(&blob)
            {
                claims(&header).for_each(|(path, claim)| each(path, claim));
            }
            Ok(())
        });
        match stop {
            Some(e) => Err(e),
            None => walked.map_err(|e| Error::io("rpm's database", e)),
        }
    }
}

/// The second column of `Packages`.
fn blob(row: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    Ok(record(row)?.into_iter().find_map(|v| match v {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }))
}

fn claims(header: &Header<'_>) -> impl Iterator<Item = (Vec<u8>, Claim)> {
    let package = String::from_utf8_lossy(header.name().unwrap_or_default()).into_owned();
    let (version, algorithm) = (header.version(), header.algorithm());
    header.files().filter(|f| !f.is_ghost).map(move |file: Listed<'_>| {
        let digest = file.digest.filter(|d| !d.is_empty() && d.iter().all(u8::is_ascii_hexdigit));
        let claim = Claim {
            package: package.clone(),
            version: version.clone(),
            algorithm,
            digest: digest.map(|d| String::from_utf8_lossy(d).to_ascii_lowercase()),
            mode: file.mode,
        };
        ([file.directory, file.name].concat(), claim)
    })
}

#[cfg(test)]
mod tests;
