//! Verifies the store: each object against its hash, the custody record against itself and against the audit log.
//! And exports it, for another place.

use super::custody::{Entry, Follower};
use super::seal::SealedDetail;
use super::{Store, unavailable};
use crate::audit::{self, Record};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, Timestamp, Unit};
use crate::private;
use rustix::fs::Mode;
use serde::Serialize;
use sha2::Digest;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

const CHUNK: usize = 256 * 1024;

/// What a verification found.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    pub objects: u64,
    pub bytes: u64,
    pub entries: u64,
    /// Empty where all holds.
    pub problems: Vec<Problem>,
}

/// Something that does not hold.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Problem {
    /// `object`, `custody` or `audit`.
    pub part: &'static str,
    /// The object's hash, or the number of the line.
    pub id: String,
    pub why: String,
}

/// What an export wrote.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Exported {
    pub files: u64,
    pub bytes: u64,
    pub entries: u64,
}

#[derive(Serialize)]
struct ManifestHead<'a> {
    tool: &'static str,
    tool_version: &'static str,
    exported: Timestamp,
    /// SHA-256 of the last custody line.
    custody_head: Option<&'a Sha256>,
}

impl Report {
    fn problem(&mut self, part: &'static str, id: impl ToString, why: impl Into<String>) {
        self.problems.push(Problem { part, id: id.to_string(), why: why.into() });
    }
}

impl Store {
    /// Hashes every object again and follows the custody record; what does not hold is a problem in the report and
    /// `evidence.verify_failed` in the audit log.
    pub fn verify(&self, job: &Job) -> Result<Report> {
        job.expect(Unit::Bytes, 0);
        let mut report = Report::default();
        let (sizes, hashes) = self.follow_custody(&mut report)?;
        self.check_objects(&sizes, &mut report, job)?;
        self.check_audit(&hashes, &mut report)?;
        if !report.problems.is_empty() {
            let failed =
                Record::new("evidence.verify_failed").detail(&report.problems.iter().take(20).collect::<Vec<_>>());
            if let Err(e) = self.log.commit(failed) {
                job.warn(format!("not on record in the audit log: {}", e.message));
            }
        }
        Ok(report)
    }

    /// Sizes by object, and the lines' hashes in order.
    fn follow_custody(&self, report: &mut Report) -> Result<(HashMap<Sha256, u64>, Vec<Sha256>)> {
        let (mut sizes, mut hashes) = (HashMap::new(), Vec::new());
        let mut follower = Follower::new();
        for line in self.chain().lines()? {
            let line = line.map_err(|e| unavailable(&self.root, e))?;
            match follower.next(&line) {
                Ok((entry, _)) => _ = sizes.insert(entry.sha256, entry.size_bytes),
                Err(why) => report.problem("custody", hashes.len() + 1, why),
            }
            hashes.push(Sha256::of(&line));
        }
        report.entries = u64::try_from(hashes.len()).unwrap_or(u64::MAX);
        Ok((sizes, hashes))
    }

    fn check_objects(&self, sizes: &HashMap<Sha256, u64>, report: &mut Report, job: &Job) -> Result<()> {
        let mut seen = HashSet::new();
        for sha256 in self.objects(report)? {
            match private::open(&self.object_path(&sha256)) {
                Ok(Some(file)) => self.check_object(file, &sha256, sizes.get(&sha256), report, job)?,
                Ok(None) => report.problem("object", &sha256, "it is gone"),
                Err(e) => report.problem("object", &sha256, e.message),
            }
            seen.insert(sha256);
        }
        let mut missing: Vec<&Sha256> = sizes.keys().filter(|s| !seen.contains(*s)).collect();
        missing.sort();
        for sha256 in missing {
            report.problem("object", sha256, "the custody record names it, but it is not there");
        }
        Ok(())
    }

    fn check_object(
        &self,
        file: File,
        sha256: &Sha256,
        size: Option<&u64>,
        report: &mut Report,
        job: &Job,
    ) -> Result<()> {
        let (bytes, found) = copy(file, &mut std::io::sink(), job)?;
        report.objects += 1;
        report.bytes += bytes;
        if found != *sha256 {
            report.problem("object", sha256, format!("its content has the hash {found}"));
        }
        match size {
            None => report.problem("object", sha256, "the custody record does not name it"),
            Some(size) if *size != bytes => {
                report.problem("object", sha256, format!("it has {bytes} bytes, the custody record says {size}"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The names in `objects/`; one that is no hash is a problem.
    fn objects(&self, report: &mut Report) -> Result<Vec<Sha256>> {
        let mut found = Vec::new();
        for folder in names(&self.root.join("objects"))? {
            for name in names(&self.root.join("objects").join(&folder))? {
                match Sha256::parse(&name).filter(|s| name.starts_with(&folder) && s.as_str() == name) {
                    Some(sha256) => found.push(sha256),
                    None => report.problem("object", format!("{folder}/{name}"), "nothing of that name was sealed"),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The audit log carries the hash of every custody line: a record that was cut or rebuilt does not fit to it.
    fn check_audit(&self, lines: &[Sha256], report: &mut Report) -> Result<()> {
        if !self.log.dir().exists() {
            return Ok(());
        }
        let filter = audit::Filter { event: Some("evidence.sealed".into()), ..audit::Filter::default() };
        for record in audit::show(self.log.dir(), filter)? {
            let record = match record {
                Ok(record) => record,
                Err(e) => {
                    report.problem("audit", "log", e.message);
                    return Ok(());
                }
            };
            let detail = audit::Line::parse(record.line.as_bytes()).and_then(|l| l.detail::<SealedDetail>());
            let Ok(detail) = detail else {
                report.problem("audit", record.seq, "its detail cannot be read");
                continue;
            };
            let index = usize::try_from(detail.custody_seq).ok().and_then(|n| n.checked_sub(1));
            match index.and_then(|i| lines.get(i)) {
                Some(hash) if *hash == detail.custody_sha256 => {}
                Some(_) => report.problem("custody", detail.custody_seq, "it is not the line that the audit log has"),
                None => report.problem("custody", detail.custody_seq, "it was cut: the audit log has it"),
            }
        }
        Ok(())
    }

    /// Copies every object and the custody record to `to`, files named by their hash, with `manifest.json`. Nothing
    /// is replaced: `E_EXISTS` where the directory holds anything.
    pub fn export(&self, to: &Path, job: &Job) -> Result<Exported> {
        prepare(to)?;
        let mut report = Report::default();
        let objects = self.objects(&mut report)?;
        let mut done = Exported { files: 0, bytes: 0, entries: 0 };
        for sha256 in objects {
            let target = to.join(sha256.as_str());
            let (bytes, found) = copy(self.object(&sha256)?, &mut new_file(&target)?, job)?;
            if found != sha256 {
                return Err(Error::new(
                    ErrorCode::StoreUnavailable,
                    format!("{sha256} has the hash {found}: it was changed"),
                )
                .hint("`live-response evidence verify` names all that is damaged"));
            }
            done.files += 1;
            done.bytes += bytes;
        }
        done.entries = self.write_manifest(to)?;
        Ok(done)
    }

    fn write_manifest(&self, to: &Path) -> Result<u64> {
        let (mut entries, mut head, mut count): (Vec<Entry>, _, _) = (Vec::new(), None, 0);
        let custody = to.join("custody.jsonl");
        let mut copy = BufWriter::new(new_file(&custody)?);
        for line in self.chain().lines()? {
            let line = line.map_err(|e| unavailable(&self.root, e))?;
            copy.write_all(&line).and_then(|()| copy.write_all(b"\n")).map_err(|e| unavailable(&custody, e))?;
            head = Some(Sha256::of(&line));
            count += 1;
            entries.extend(serde_json::from_slice::<Entry>(&line).ok());
        }
        copy.into_inner()
            .map_err(|e| e.into_error())
            .and_then(|f| f.sync_all())
            .map_err(|e| unavailable(&custody, e))?;
        let about = ManifestHead {
            tool: "live-response",
            tool_version: env!("CARGO_PKG_VERSION"),
            exported: Timestamp::now(),
            custody_head: head.as_ref(),
        };
        let path = to.join("manifest.json");
        let mut manifest = BufWriter::new(new_file(&path)?);
        let written =
            serde_json::to_writer_pretty(&mut manifest, &serde_json::json!({ "export": about, "files": entries }));
        written.map_err(|e| unavailable(&path, e.into()))?;
        manifest
            .into_inner()
            .map_err(|e| e.into_error())
            .and_then(|f| f.sync_all())
            .map_err(|e| unavailable(&path, e))?;
        Ok(count)
    }
}

/// Makes the directory, or takes an empty one.
fn prepare(to: &Path) -> Result<()> {
    let what = || to.display().to_string();
    match rustix::fs::mkdir(to, Mode::RWXU) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => match std::fs::read_dir(to).map(|mut d| d.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(ErrorCode::Exists, format!("{} is not empty", what()))
                .hint("name a new directory; nothing is replaced")),
            Err(e) => Err(Error::io(what(), e)),
        },
        Err(e) => Err(Error::io(what(), e.into())),
    }
}

fn new_file(path: &Path) -> Result<File> {
    File::options().write(true).create_new(true).open(path).map_err(|e| Error::io(path.display(), e))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(unavailable(folder, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|e| unavailable(folder, e))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Copies a whole file, hashing; size and SHA-256 of what was copied.
pub(super) fn copy(mut from: File, to: &mut impl Write, job: &Job) -> Result<(u64, Sha256)> {
    let (mut hasher, mut chunk, mut size) = (sha2::Sha256::new(), vec![0; CHUNK], 0u64);
    loop {
        job.check()?;
        let n = from.read(&mut chunk).map_err(|e| Error::io("the evidence", e))?;
        let Some(read) = chunk.get(..n).filter(|r| !r.is_empty()) else { break };
        hasher.update(read);
        to.write_all(read).map_err(|e| Error::io("the copy", e))?;
        let read = u64::try_from(n).unwrap_or(0);
        size += read;
        job.advance(read);
    }
    Ok((size, Sha256::from_bytes(&hasher.finalize())))
}
