//! `fileinfo`: all about one file, its bytes read once.

use super::fetch::refuse_size;
use super::view::{How, Names, View};
use super::{hash, kind, package};
use crate::error::Result;
use crate::model::{DevicePath, FileInfo, FileInfoQuery, Job, Unit};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// As Live Response has it.
pub const LIMIT: u64 = 30_000_000_000;

/// Metadata, digests, kind and owner. `E_NOT_A_FILE` for what has no bytes of its own, `E_TOO_LARGE` above [`LIMIT`].
pub fn read(view: &View, query: &FileInfoQuery, names: &dyn Names, job: &Job) -> Result<FileInfo> {
    let opened = view.open(&query.path, How::File)?;
    let facts = opened.facts;
    refuse_size(&query.path, facts.size, LIMIT)?;
    job.expect(Unit::Bytes, facts.size);
    let digests = hash::digest_within(&opened.file, true, LIMIT, job)?;
    let package = if opened.deleted {
        None
    } else {
        package::owner(view, &opened.real_path, &digests, job).unwrap_or_else(|e| {
            job.warn(format!("the package data could not be read: {}", e.message));
            None
        })
    };
    Ok(FileInfo {
        // Files that the kernel makes up have no size until they are read.
        size_bytes: if facts.blocks == 0 { digests.bytes } else { facts.size },
        created: facts.created,
        modified: facts.modified,
        accessed: facts.accessed,
        changed: facts.changed,
        attributes: facts.attributes(query.path.name().as_bytes(), names),
        md5: digests.md5,
        sha1: digests.sha1,
        sha256: digests.sha256,
        lsh: digests.tlsh,
        kind: kind_of(&opened.file),
        package,
        signature: None,
        target: (plain(&query.path) != opened.real_path).then_some(opened.real_path),
        links: facts.links,
        deleted: opened.deleted,
        path: query.path.clone(),
    })
}

fn kind_of(file: &File) -> String {
    let mut head = vec![0; kind::HEAD];
    let held = file.read_at(&mut head, 0).unwrap_or(0);
    head.truncate(held);
    kind::kind_of(&head)
}

/// The path as it would be without links: no `.`, no `..`, one `/` at a time.
fn plain(path: &DevicePath) -> DevicePath {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    DevicePath::new([b"/", parts.join(&b'/').as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{Numbers, Sleeper, TempTree, host, text};
    use super::*;
    use crate::error::ErrorCode;
    use crate::model::Sha256;
    use std::process::Command;

    fn info(tree: &TempTree, path: DevicePath) -> Result<FileInfo> {
        read(&host(tree), &FileInfoQuery { path }, &Numbers, &Job::default())
    }

    #[test]
    fn a_directory_a_fifo_and_a_giant_are_refused() {
        let tree = TempTree::new();
        let fifo = tree.path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        File::create(tree.path("giant")).unwrap().set_len(LIMIT + 1).unwrap();
        for (name, code) in [("", ErrorCode::NotAFile), ("fifo", ErrorCode::NotAFile), ("giant", ErrorCode::TooLarge)] {
            assert_eq!(info(&tree, tree.device_path(name)).err().unwrap().code, code, "{name}");
        }
    }

    #[test]
    fn a_link_tells_what_was_read() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "content\n").unwrap();
        std::os::unix::fs::symlink("file", tree.path("link")).unwrap();
        let told = info(&tree, tree.device_path("link")).unwrap();
        assert_eq!(told.target, Some(tree.device_path("file")));
        assert_eq!((told.sha256, told.size_bytes, told.kind.as_str()), (Sha256::of(b"content\n"), 8, "text"));
        assert_eq!(info(&tree, tree.device_path("x/../file")).err().map(|e| e.code), Some(ErrorCode::NotFound));
        assert_eq!(info(&tree, tree.device_path("./file")).unwrap().target, None);
    }

    #[test]
    fn the_image_of_a_process_is_read_when_it_has_no_name_any_more() {
        let tree = TempTree::new();
        let sleep = std::fs::read("/bin/sleep").unwrap();
        std::fs::write(tree.path("malware"), &sleep).unwrap();
        std::fs::set_permissions(tree.path("malware"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new(tree.path("malware"));
        // Another thread's fork may hold the new file open for writing for a moment.
        let child = loop {
            match command.arg("600").spawn() {
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => break Sleeper::of(child.unwrap()),
            }
        };
        std::fs::remove_file(tree.path("malware")).unwrap();
        let told = info(&tree, text(&format!("/proc/{}/exe", child.id()))).unwrap();
        assert!(told.deleted);
        assert_eq!(told.sha256, Sha256::of(&sleep));
        assert_eq!(told.target, Some(tree.device_path("malware")));
        assert!(told.kind.starts_with("ELF"));
    }

    #[test]
    fn a_file_of_memory_alone_is_read() {
        let tree = TempTree::new();
        let memory = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::empty()).unwrap();
        rustix::io::write(&memory, b"payload").unwrap();
        let child = Sleeper::run(Command::new("sleep").arg("600").stdin(memory));
        let told = info(&tree, text(&format!("/proc/{}/fd/0", child.id()))).unwrap();
        assert_eq!((told.sha256, told.deleted), (Sha256::of(b"payload"), true));
        assert_eq!(told.target, Some(text("/memfd:payload")));
    }

    #[test]
    fn a_file_of_the_kernel_has_the_size_that_was_read() {
        let tree = TempTree::new();
        let told = info(&tree, text("/proc/version")).unwrap();
        assert_eq!(told.size_bytes, std::fs::read("/proc/version").unwrap().len() as u64);
    }
}
