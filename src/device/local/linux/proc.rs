//! `/proc`, read close to the kernel (`man 5 proc`): one open directory a process, one buffer for all its files.
//!
//! Invariant: every file of a process is read through its directory's handle, so a pid that is used again is never
//! mixed up with the process that had it before. A process that ends meanwhile is `ENOENT` or `ESRCH`.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, Timestamp};
use crate::shape::Untrusted;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, fstat, fstatfs, open, openat, openat2,
    readlinkat_raw, statx,
};
use rustix::io::{Errno, read};
use rustix::path::DecInt;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is shown of a command line; the kernel allows megabytes.
const COMMAND_LINE_LIMIT: usize = 32 << 10;
/// `stat`, `status` and `cgroup` are a few lines.
const FILE_LIMIT: usize = 64 << 10;
const PF_KTHREAD: u64 = 0x0020_0000;
const DELETED: &[u8] = b" (deleted)";

/// An open `/proc`.
#[derive(Debug)]
pub struct Proc {
    directory: OwnedFd,
}

/// An open `/proc/PID`.
#[derive(Debug)]
pub struct Entry {
    pub pid: u32,
    directory: OwnedFd,
}

/// Fields of `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat<'a> {
    pub comm: &'a [u8],
    /// `R`, `S`, `D`, `Z`, …
    pub state: u8,
    pub ppid: u32,
    pub is_kernel_thread: bool,
    /// User and system time, clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks since boot.
    pub start_ticks: u64,
    pub rss_pages: u64,
}

/// The image of a process, as its `exe` link tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Without the kernel's ` (deleted)`.
    pub path: DevicePath,
    /// It has no name any more, or never was a file (`/memfd:…`).
    pub deleted: bool,
}

/// Who a process is: pid, start and boot name one process for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcIdentity {
    pub pid: u32,
    pub ppid: u32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    pub boot_id: String,
    /// `comm`.
    pub name: Untrusted,
    /// `R`, `S`, `Z` (ended, not yet reaped), …
    pub state: char,
    /// The effective user.
    pub uid: u32,
    pub command_line: Option<Untrusted>,
    /// Where its image lies; `None` where it has none (deleted, memfd, kernel thread) or it cannot be seen.
    pub image: Option<DevicePath>,
    /// Whether the image is deleted or a memfd; `None` where that cannot be seen.
    pub deleted_image: Option<bool>,
    pub is_kernel_thread: bool,
}

impl Proc {
    /// `E_BACKEND` where no procfs is mounted at `/proc`.
    pub fn open() -> Result<Self> {
        let directory = open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::io("cannot open /proc", e.into()))?;
        let magic = fstatfs(&directory).map_err(|e| Error::io("cannot look at /proc", e.into()))?.f_type;
        if u64::try_from(magic) != Ok(0x9fa0) {
            return Err(Error::new(ErrorCode::Backend, "/proc is no procfs, so processes cannot be seen")
                .hint("mount it: mount -t proc proc /proc"));
        }
        Ok(Proc { directory })
    }

    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The pids of all processes that are visible now, in rising order.
    pub fn pids(&self, job: &Job) -> Result<Vec<u32>> {
        // A handle of its own, since the position of a directory belongs to the handle.
        let directory =
            openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Error::io("cannot open /proc", e.into()))?;
        let mut pids = numbers(&directory, job)?.map_err(|e| Error::io("cannot list /proc", e.into()))?;
        pids.sort_unstable();
        Ok(pids)
    }

    pub fn entry(&self, pid: u32) -> rustix::io::Result<Entry> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Entry { pid, directory: openat(&self.directory, DecInt::new(pid), flags, Mode::empty())? })
    }
}

/// The names in a directory that are numbers: pids, descriptors.
pub fn numbers(directory: impl AsFd, job: &Job) -> Result<rustix::io::Result<Vec<u32>>> {
    let mut found = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => found.extend(number(entry.file_name().to_bytes()).and_then(|n| u32::try_from(n).ok())),
            Err(e) => return Ok(Err(e)),
        }
        if entries.is_buffer_empty() {
            job.check()?;
        }
    }
    Ok(Ok(found))
}

/// A number, and what it leads to.
pub type Descriptor = (u32, Vec<u8>);

impl Entry {
    /// Reads a file whose content the kernel makes in one piece; at most `limit` bytes.
    fn read<'b>(&self, name: &str, buffer: &'b mut Vec<u8>, limit: usize) -> rustix::io::Result<&'b [u8]> {
        let file = openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        buffer.clear();
        buffer.reserve(4096);
        loop {
            read(&file, spare_capacity(buffer))?;
            // Less than there was room for is all there is.
            if buffer.len() < buffer.capacity() || buffer.len() >= limit {
                buffer.truncate(limit);
                return Ok(buffer);
            }
            buffer.reserve(buffer.len());
        }
    }

    fn link<'b>(&self, name: &str, buffer: &'b mut Vec<u8>) -> rustix::io::Result<&'b [u8]> {
        buffer.clear();
        // A page, and so longer than any path the kernel names.
        buffer.reserve(4097);
        readlinkat_raw(&self.directory, name, spare_capacity(buffer))?;
        Ok(buffer)
    }

    pub fn stat<'b>(&self, buffer: &'b mut Vec<u8>) -> rustix::io::Result<Stat<'b>> {
        parse_stat(self.read("stat", buffer, FILE_LIMIT)?).ok_or(Errno::PROTO)
    }

    /// The effective user: the kernel shows it as the owner of the directory, whatever the process has become.
    pub fn uid(&self) -> rustix::io::Result<u32> {
        Ok(fstat(&self.directory)?.st_uid)
    }

    /// Arguments joined by spaces; `None` for a process without any.
    pub fn command_line(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<Option<Untrusted>> {
        let bytes = self.read("cmdline", buffer, COMMAND_LINE_LIMIT)?;
        Ok((!bytes.is_empty()).then(|| join_arguments(bytes)))
    }

    /// The first argument, `None` where there is none.
    pub fn first_argument<'b>(&self, buffer: &'b mut Vec<u8>) -> rustix::io::Result<Option<&'b [u8]>> {
        let bytes = self.read("cmdline", buffer, COMMAND_LINE_LIMIT)?;
        Ok(bytes.split(|b| *b == 0).next().filter(|a| !a.is_empty()))
    }

    /// `EACCES` where the account may not see it, `ENOENT` where the process has none.
    pub fn image(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<Image> {
        let link = self.link("exe", buffer)?;
        let Some(path) = link.strip_suffix(DELETED) else {
            return Ok(Image { path: DevicePath::new(link), deleted: false });
        };
        let deleted = self.is_deleted(link)?;
        Ok(Image { path: DevicePath::new(if deleted { path } else { link }), deleted })
    }

    /// Whether ` (deleted)` at the end of the link is the kernel's word and no part of a file's name.
    fn is_deleted(&self, link: &[u8]) -> rustix::io::Result<bool> {
        let image = match self.image_stat() {
            Err(Errno::NOENT) => return Ok(true),
            other => other?,
        };
        // Where it has a name, it is this one only if that leads to the same file, in the process's own root.
        Ok(image.stx_nlink == 0 || self.cached(link).map(|s| file_key(&s)) != Ok(file_key(&image)))
    }

    /// What lies at a path in the process's root. Only what the kernel has at hand is asked, as it has the path of each
    /// image that runs: so no file system that hangs, or that the process's owner serves, holds us up.
    fn cached(&self, path: &[u8]) -> rustix::io::Result<Statx> {
        let root = openat(&self.directory, "root", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
        let file = match openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Kernels before 5.12 cannot promise it.
            Err(Errno::NOSYS | Errno::INVAL) => {
                let inside = path.strip_prefix(b"/").unwrap_or(path);
                openat(&root, inside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
            }
            other => other?,
        };
        statx(&file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)
    }

    /// Size, times and identity of the image, as far as they are known without asking a server.
    pub fn image_stat(&self) -> rustix::io::Result<Statx> {
        statx(&self.directory, "exe", AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)
    }

    /// The image's bytes, also where it has no name any more.
    pub fn open_image(&self) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.directory, "exe", flags, Mode::empty())?))
    }

    pub fn cwd(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<DevicePath> {
        Ok(DevicePath::new(self.link("cwd", buffer)?))
    }

    pub fn container(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<Option<Untrusted>> {
        let cgroup = self.read("cgroup", buffer, FILE_LIMIT)?;
        Ok(super::container::container(cgroup).map(|id| Untrusted::from_bytes(&id)))
    }

    /// Its descriptors with what they lead to, as the kernel names it; so many at most.
    pub fn descriptors(&self, limit: usize, job: &Job) -> Result<rustix::io::Result<Vec<Descriptor>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match openat(&self.directory, "fd", flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(e) => return Ok(Err(e)),
        };
        let numbers = match numbers(&directory, job)? {
            Ok(numbers) => numbers,
            Err(e) => return Ok(Err(e)),
        };
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for number in numbers.into_iter().take(limit) {
            buffer.clear();
            buffer.reserve(4097);
            match readlinkat_raw(&directory, number.to_string(), spare_capacity(&mut buffer)) {
                Ok(_) => found.push((number, buffer.clone())),
                Err(e @ (Errno::ACCESS | Errno::PERM)) => return Ok(Err(e)),
                Err(_) => {}
            }
        }
        Ok(Ok(found))
    }

    /// What its memory is made of; at most `limit` bytes of it.
    pub fn maps(&self, limit: u64) -> rustix::io::Result<Vec<u8>> {
        let file = File::from(openat(&self.directory, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        let mut text = Vec::new();
        file.take(limit).read_to_end(&mut text).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok(text)
    }

    /// The process that this id belongs to: another one where the id is a thread's.
    fn leader(&self, buffer: &mut Vec<u8>) -> rustix::io::Result<u32> {
        let status = self.read("status", buffer, FILE_LIMIT)?;
        let value = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Tgid:")).ok_or(Errno::PROTO)?;
        number(value.trim_ascii()).and_then(|n| u32::try_from(n).ok()).ok_or(Errno::PROTO)
    }
}

/// Device and inode.
fn file_key(stat: &Statx) -> (u32, u32, u64) {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// Opens one process. `E_NOT_FOUND` where there is none with this pid, or where the number is a thread's.
pub fn find(proc: &Proc, pid: u32) -> Result<Entry> {
    let entry = proc.entry(pid).map_err(|e| failed(pid, e))?;
    let leader = entry.leader(&mut Vec::new()).map_err(|e| failed(pid, e))?;
    if leader != pid {
        return Err(Error::new(ErrorCode::NotFound, format!("no process {pid}: it is a thread of process {leader}"))
            .hint(format!("name process {leader}")));
    }
    Ok(entry)
}

/// The error for a process that could not be read.
pub fn failed(pid: u32, e: Errno) -> Error {
    if is_gone(e) {
        return Error::new(ErrorCode::NotFound, format!("no process {pid}: it never was, or it has ended"))
            .hint("`processes` lists those that run");
    }
    Error::io(format_args!("process {pid} cannot be read"), e.into())
}

/// Whether the process ended between two looks at it.
pub fn is_gone(e: Errno) -> bool {
    matches!(e, Errno::NOENT | Errno::SRCH)
}

/// Who the process is. `E_NOT_FOUND` where there is none with this pid.
pub fn identity(pid: u32) -> Result<ProcIdentity> {
    let entry = find(&Proc::open()?, pid)?;
    identify(&entry).map_err(|e| failed(pid, e))?.with_boot()
}

/// Start of the process in clock ticks since boot. `E_NOT_FOUND` where there is none with this pid.
pub fn start_ticks(pid: u32) -> Result<u64> {
    let entry = find(&Proc::open()?, pid)?;
    Ok(entry.stat(&mut Vec::new()).map_err(|e| failed(pid, e))?.start_ticks)
}

/// A random id that the kernel draws at each boot.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    Ok(text.trim_end().to_owned())
}

fn identify(entry: &Entry) -> rustix::io::Result<ProcIdentity> {
    let mut buffer = Vec::new();
    let uid = entry.uid()?;
    let command_line = entry.command_line(&mut buffer)?;
    let image = match entry.image(&mut buffer) {
        Ok(image) => Some(image),
        Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => None,
        Err(e) => return Err(e),
    };
    // Read last: that it can be read says that all above belongs to a process that had not been reaped.
    let stat = entry.stat(&mut buffer)?;
    Ok(ProcIdentity {
        pid: entry.pid,
        ppid: stat.ppid,
        start_ticks: stat.start_ticks,
        boot_id: String::new(),
        name: Untrusted::from_bytes(stat.comm),
        state: char::from(stat.state),
        uid,
        command_line,
        deleted_image: image.as_ref().map(|i| i.deleted),
        image: image.filter(|i| !i.deleted).map(|i| i.path),
        is_kernel_thread: stat.is_kernel_thread,
    })
}

impl ProcIdentity {
    fn with_boot(self) -> Result<Self> {
        Ok(ProcIdentity { boot_id: boot_id()?, ..self })
    }
}

/// The comm may hold parentheses, spaces and newlines: it ends at the last `)`.
pub fn parse_stat(bytes: &[u8]) -> Option<Stat<'_>> {
    let start = bytes.iter().position(|b| *b == b'(')?;
    let end = bytes.iter().rposition(|b| *b == b')').filter(|end| *end > start)?;
    let mut fields = bytes.get(end + 1..)?.split(|b| *b == b' ' || *b == b'\n').filter(|f| !f.is_empty());
    // `nth` counts on from the last field taken; the numbers in brackets are the manual's.
    let state = *fields.next()?.first()?; // (3)
    let ppid = u32::try_from(number(fields.next()?)?).ok()?; // (4)
    let flags = number(fields.nth(4)?)?; // (9)
    let user_ticks = number(fields.nth(4)?)?; // (14)
    let system_ticks = number(fields.next()?)?; // (15)
    let start_ticks = number(fields.nth(6)?)?; // (22)
    let rss_pages = number(fields.nth(1)?)?; // (24)
    Some(Stat {
        comm: bytes.get(start + 1..end)?,
        state,
        ppid,
        is_kernel_thread: flags & PF_KTHREAD != 0,
        cpu_ticks: user_ticks.saturating_add(system_ticks),
        start_ticks,
        rss_pages,
    })
}

/// A decimal number and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// NUL-separated arguments on one line; an argument that would not be seen as one is quoted.
fn join_arguments(bytes: &[u8]) -> Untrusted {
    let title_end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let title = bytes.get(..title_end).unwrap_or_default();
    // One argument alone is a title that the process gave itself, or the whole command: nothing to tell apart.
    if !title.is_empty() && !title.contains(&0) {
        return Untrusted::from_bytes(title);
    }
    let mut line = Vec::with_capacity(bytes.len() + 8);
    for argument in bytes.strip_suffix(b"\0").unwrap_or(bytes).split(|b| *b == 0) {
        if !line.is_empty() {
            line.push(b' ');
        }
        push_argument(&mut line, argument);
    }
    if bytes.len() >= COMMAND_LINE_LIMIT {
        line.extend_from_slice(" …".as_bytes());
    }
    Untrusted::from_bytes(&line)
}

fn push_argument(line: &mut Vec<u8>, argument: &[u8]) {
    if !argument.is_empty() && !argument.iter().any(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == b'"') {
        return line.extend_from_slice(argument);
    }
    line.push(b'"');
    for byte in argument {
        if matches!(byte, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

/// Turns clock ticks since boot into points in time and spans.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot_ms: i64,
    ticks_per_second: u64,
}

impl Clock {
    pub fn now() -> Self {
        let nanos = |t: rustix::time::Timespec| i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec);
        let boot = nanos(clock_gettime(ClockId::Realtime)) - nanos(clock_gettime(ClockId::Boottime));
        // The two clocks are read one after the other; a tick's grain makes every look give the same answer.
        let boot_ms = i64::try_from((boot + 5_000_000).div_euclid(10_000_000) * 10).unwrap_or(0);
        Clock { boot_ms, ticks_per_second: rustix::param::clock_ticks_per_second().max(1) }
    }

    pub fn boot_time(&self) -> Timestamp {
        Timestamp::from_millis(self.boot_ms)
    }

    pub fn millis(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000) / self.ticks_per_second
    }

    pub fn at(&self, ticks: u64) -> Timestamp {
        let since_boot = i64::try_from(self.millis(ticks)).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.boot_ms.saturating_add(since_boot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBERS: &str = "S 41 42 42 0 -1 4194304 1 2 3 4 500 60 7 8 20 0 1 0 123456 9999 77 18446744073709551615 1 1";

    fn line(comm: &str) -> Vec<u8> {
        format!("42 ({comm}) {NUMBERS}\n").into_bytes()
    }

    #[test]
    fn the_comm_ends_at_the_last_parenthesis() {
        for comm in ["a", "", ") R 1 (", "a)\n7 (b", "))", "(", "42 (x) R 1"] {
            let bytes = line(comm);
            let stat = parse_stat(&bytes).unwrap();
            let facts = (stat.comm, stat.state, stat.ppid, stat.cpu_ticks, stat.start_ticks, stat.rss_pages);
            assert_eq!(facts, (comm.as_bytes(), b'S', 41, 560, 123_456, 77));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..120) {
            let _ = parse_stat(&bytes);
            let whole = line("x");
            let _ = parse_stat(whole.get(..cut).unwrap_or(&whole));
            let _ = join_arguments(&bytes);
        }
    }

    #[test]
    fn a_rewritten_title_is_shown_as_it_is() {
        assert_eq!(join_arguments(b"nginx: master process\0\0\0").raw(), "nginx: master process");
        assert_eq!(join_arguments(b"a\0\0").raw(), "a");
        assert_eq!(join_arguments(b"a\0b c\0\0").raw(), r#"a "b c" """#);
        assert_eq!(join_arguments(b"a\0\xff\0").raw(), "a \\xff");
    }

    #[test]
    fn a_number_is_digits_alone() {
        assert_eq!(number(b"42"), Some(42));
        for bad in [&b""[..], b"-1", b"+1", b"1 ", b"0x1", b"18446744073709551616"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn the_identity_of_this_process_holds() {
        let me = identity(std::process::id()).unwrap();
        assert_eq!(me.ppid, std::os::unix::process::parent_id());
        assert_eq!(me.uid, rustix::process::geteuid().as_raw());
        assert_eq!(me.start_ticks, start_ticks(me.pid).unwrap());
        assert_eq!(me.boot_id.len(), 36);
        assert_eq!(me.image.unwrap().as_bytes(), std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
    }

    #[test]
    fn kernel_threads_are_told_apart() {
        let kernel_thread = identity(2).ok().filter(|p| p.name.raw() == "kthreadd");
        match kernel_thread {
            Some(p) => assert!(p.is_kernel_thread && p.command_line.is_none()),
            None => eprintln!("skipped: no kernel threads are visible here"),
        }
    }

    #[test]
    fn every_look_at_the_clock_finds_the_same_boot() {
        let boots: std::collections::BTreeSet<i64> = (0..50).map(|_| Clock::now().boot_ms).collect();
        assert!(boots.len() <= 2, "{boots:?}");
    }
}
