//! `getfile`: opens a file's bytes for the evidence store and says what they are.

use super::secret;
use super::view::{How, View};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FILE_LIMIT, FileFacts, FileQuery, Job, Unit};
use std::fs::File;

/// The facts and the open file, its cursor at the start. `E_TOO_LARGE` above [`FILE_LIMIT`]; the reader of a file that
/// grows meanwhile holds to the same limit.
pub fn open(view: &View, query: &FileQuery, job: &Job) -> Result<(FileFacts, File)> {
    job.check()?;
    let opened = view.open(&query.path, How::File)?;
    refuse_size(&query.path, opened.facts.size, FILE_LIMIT)?;
    job.expect(Unit::Bytes, opened.facts.size);
    let facts = FileFacts {
        path: query.path.clone(),
        size_bytes: opened.facts.size,
        modified: Some(opened.facts.modified),
        identity: Some(opened.facts.identity),
        secret: secret::reason(view, &query.path, &opened).map(str::to_owned),
    };
    Ok((facts, opened.file))
}

pub(super) fn refuse_size(path: &DevicePath, size: u64, limit: u64) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooLarge, format!("{path} has {size} bytes, the limit is {limit}"))
        .hint("dir and findfile tell its size and times"))
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{TempTree, host, text};
    use super::*;

    fn fetch(tree: &TempTree, path: DevicePath) -> Result<(FileFacts, File)> {
        open(&host(tree), &FileQuery { path }, &Job::default())
    }

    #[test]
    fn a_file_over_the_limit_is_refused_unread() {
        let tree = TempTree::new();
        File::create(tree.path("big")).unwrap().set_len(FILE_LIMIT + 1).unwrap();
        assert_eq!(fetch(&tree, tree.device_path("big")).err().unwrap().code, ErrorCode::TooLarge);
    }

    #[test]
    fn a_directory_is_no_file() {
        let tree = TempTree::new();
        assert_eq!(fetch(&tree, text("/etc")).err().unwrap().code, ErrorCode::NotAFile);
    }

    #[test]
    fn a_secret_is_known_by_its_place() {
        let tree = TempTree::new();
        std::fs::write(tree.path("site.key"), "x").unwrap();
        std::fs::write(tree.path("plain"), "x").unwrap();
        let secret = |name: &str| fetch(&tree, tree.device_path(name)).unwrap().0.secret;
        assert_eq!((secret("site.key").as_deref(), secret("plain").as_deref()), (Some("private key"), None));
    }

    #[test]
    fn the_environment_of_another_process_is_a_secret() {
        let tree = TempTree::new();
        let child = super::super::view::tests::Sleeper::start();
        let (facts, _) = fetch(&tree, text(&format!("/proc/{}/environ", child.id()))).unwrap();
        assert_eq!(facts.secret.as_deref(), Some("process memory"));
    }
}
