//! What this process inherited beside its streams, and a script does not get.
#![allow(unsafe_code)]

use rustix::fd::BorrowedFd;
use rustix::io::FdFlags;

/// Descriptors below are the streams.
const FIRST: i32 = 3;

/// Marks every descriptor but the streams so that no program which this one starts has it. One thread only.
pub(super) fn keep_from_children() {
    let Ok(mut open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = open.by_ref().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|n| *n >= FIRST) {
        // SAFETY: it was listed just now, nothing else runs in this process, and the listing itself is still open, so
        // the descriptor is; it is marked and neither kept nor closed.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    drop(open);
}
