//! Files of Linux devices, opened inside their root: no link leads out of it.

use crate::gzip::Source;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

pub fn open(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<File> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = path.trim_start_matches('/');
    // A FIFO does not block.
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RWXU } else { Mode::empty() };
    Ok(openat2(root, path, flags, mode, resolve)?.into())
}

/// The bytes that it has now.
pub fn source(file: File) -> Result<Source, String> {
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("The path is not a file".into());
    }
    // A file of /proc says that it is empty.
    if meta.len() == 0 {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&file, 64 << 20), &mut bytes).map_err(|e| e.to_string())?;
        return Ok(Source::Bytes(bytes.into()));
    }
    Ok(Source::File(Arc::new(file), meta.len()))
}
