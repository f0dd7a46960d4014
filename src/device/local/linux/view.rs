//! A file system as a device sees it: this host's, or the tree of an image. The one place that opens a device's files.
//!
//! Invariant: a path of an image stays inside it, nothing but a regular file is opened for its bytes (so no FIFO or
//! device ever blocks), and the guard's own things are refused on the handle.

use super::facts::Facts;
use super::own::{OwnSet, OwnThings, handle_path, is_below, self_target};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity};
use crate::shape::Untrusted;
use rustix::fs::{CWD, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// The kernel takes paths below 4,096 bytes; longer ones are walked in pieces of this size.
const PIECE: usize = 4_000;
/// Names of a directory that are looked at for a hint.
const HINT_ENTRIES: usize = 20_000;

/// `linux/magic.h`.
const TRACEFS_MAGIC: FsWord = 0x7472_6163;
const DEBUGFS_MAGIC: FsWord = 0x6462_6720;

/// Names for accounts, as the device's own `passwd` and `group` tell them.
pub trait Names: Sync {
    fn user(&self, uid: u32) -> Option<Untrusted>;
    fn group(&self, gid: u32) -> Option<Untrusted>;
}

#[derive(Debug)]
pub struct View {
    root: OwnedFd,
    /// Where the root lies on this host, without a `/` at the end: empty for `/`.
    prefix: Vec<u8>,
    live: bool,
    own: Arc<OwnThings>,
}

/// For what a path is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The bytes of a regular file. A link is followed.
    File,
    /// The entries of a directory. A link is followed.
    Directory,
    /// Metadata only, of any kind of file. A link is followed.
    Handle,
    /// Metadata only, of the link itself where it is one.
    Link,
}

/// An open file with its facts, taken from the handle before it was opened for reading.
#[derive(Debug)]
pub struct Opened {
    /// Readable where it was opened as [`How::File`] or [`How::Directory`], else an `O_PATH` handle.
    pub file: File,
    pub facts: Facts,
    /// Absolute, as the device names it, links resolved.
    pub real_path: DevicePath,
    /// It has no name any more, or never had one.
    pub deleted: bool,
    /// The real path on this host.
    pub(super) host_path: Vec<u8>,
}

impl View {
    /// This host.
    pub fn host(own: Arc<OwnThings>) -> Result<View> {
        let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::io("/", e.into()))?;
        Ok(View { root, prefix: Vec::new(), live: true, own })
    }

    /// A mounted image or any tree.
    pub fn image(dir: &Path, own: Arc<OwnThings>) -> Result<View> {
        let named = DevicePath::new(dir.as_os_str().as_encoded_bytes());
        let root = rustix::fs::openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| match e {
                Errno::NOENT => Error::new(ErrorCode::NotFound, format!("no directory {named}"))
                    .hint("name the directory that the image is mounted on"),
                Errno::NOTDIR => not_a_directory(&named, "file"),
                e => system_error(&named, e),
            })?;
        own.refuse_handle(root.as_fd(), &named)?;
        let mut prefix = handle_path(root.as_fd()).map_err(|e| system_error(&named, e))?;
        if prefix == b"/" {
            prefix.clear();
        }
        Ok(View { root, prefix, live: false, own })
    }

    /// Whether it is the running host: only there do `/proc/PID/exe` and the like lead anywhere.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The host beside an image; `None` for the host itself.
    pub(super) fn on_host(&self) -> Option<View> {
        if self.live { None } else { View::host(Arc::clone(&self.own)).ok() }
    }

    /// The tree below a directory of this host, with the same things of the guard's kept out.
    pub(super) fn below(&self, directory: &DevicePath) -> Result<View> {
        use std::os::unix::ffi::OsStrExt;
        View::image(Path::new(std::ffi::OsStr::from_bytes(directory.as_bytes())), Arc::clone(&self.own))
    }

    pub fn own(&self) -> &OwnThings {
        &self.own
    }

    /// Opens a path of the device. `E_NOT_FOUND` (with near names), `E_ACCESS`, `E_NOT_A_FILE`, `E_SELF_TARGET`.
    pub fn open(&self, path: &DevicePath, how: How) -> Result<Opened> {
        self.open_among(&self.own.snapshot(), path, how)
    }

    /// [`View::open`] against a snapshot of what is own, for walks.
    pub(super) fn open_among(&self, own: &OwnSet, path: &DevicePath, how: How) -> Result<Opened> {
        let handle = self.handle(path, how)?;
        self.own.refuse(own, handle.as_fd(), path)?;
        let opened = self.describe(handle, path)?;
        match how {
            How::File if !opened.facts.is_file() => Err(not_a_file(path, opened.facts.kind())),
            How::File if is_used_up(&opened) => Err(used_up(path)),
            How::Directory if !opened.facts.is_directory() => Err(not_a_directory(path, opened.facts.kind())),
            How::File => self.reopen(opened, path, OFlags::NONBLOCK | OFlags::NOCTTY),
            How::Directory => self.reopen(opened, path, OFlags::DIRECTORY),
            How::Handle | How::Link => Ok(opened),
        }
    }

    /// Opens a regular file by its name in a directory that a walk has come to; no link is followed. `path` is how the
    /// device names it. Errors as those of [`View::open`].
    pub(super) fn open_entry(
        &self,
        set: &OwnSet,
        directory: impl AsFd,
        name: &[u8],
        path: &DevicePath,
    ) -> Result<Opened> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = open_at(directory.as_fd(), name, flags, ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH)
            .map_err(|e| system_error(path, e))?;
        let facts = Facts::of(&handle).map_err(|e| system_error(path, e))?;
        if !facts.is_file() {
            return Err(not_a_file(path, facts.kind()));
        }
        self.own.refuse(set, handle.as_fd(), path)?;
        let (real_path, host_path) = (path.clone(), Vec::new());
        let opened = Opened { file: handle.into(), facts, real_path, deleted: false, host_path };
        if is_used_up(&opened) {
            return Err(used_up(path));
        }
        self.reopen(opened, path, OFlags::NONBLOCK | OFlags::NOCTTY)
    }

    /// The directory that holds the path's last component, as an `O_PATH` handle, and that component's name. Links
    /// on the way are followed; the component itself is not looked at.
    pub fn open_parent(&self, path: &DevicePath) -> Result<(OwnedFd, Vec<u8>)> {
        let name = path.name();
        if matches!(name.as_bytes(), b"/" | b"." | b"..") || path.as_bytes().ends_with(b"/") {
            return Err(Error::new(ErrorCode::BadArgs, format!("{path} does not end in the name of an entry"))
                .hint("give the path of the file itself"));
        }
        let parent = self.open(&path.parent(), How::Handle)?;
        if !parent.facts.is_directory() {
            return Err(not_a_directory(&path.parent(), parent.facts.kind()));
        }
        Ok((parent.file.into(), name.as_bytes().to_vec()))
    }

    /// What a path leads to, whatever it is; `None` where it leads nowhere. Nothing is opened for reading.
    pub fn identity(&self, path: &DevicePath) -> Option<FileIdentity> {
        self.resolve(path, OFlags::empty()).and_then(Facts::of).ok().map(|f| f.identity)
    }

    /// An `O_PATH` handle, its kind not yet looked at.
    fn handle(&self, path: &DevicePath, how: How) -> Result<OwnedFd> {
        let nofollow = if how == How::Link { OFlags::NOFOLLOW } else { OFlags::empty() };
        match self.resolve(path, nofollow) {
            Ok(fd) => Ok(fd),
            Err(Errno::LOOP) => match self.live.then(|| ProcessLink::in_path(path)).flatten() {
                Some(link) => self.through(&link, path, nofollow),
                None => Err(self.explain_loop(path)),
            },
            Err(e) => Err(self.explain(path, e)),
        }
    }

    fn resolve(&self, path: &DevicePath, more: OFlags) -> rustix::io::Result<OwnedFd> {
        let scope = if self.live { ResolveFlags::empty() } else { ResolveFlags::IN_ROOT };
        resolve_from(self.root.as_fd(), path.as_bytes(), more, scope)
    }

    /// Follows the one link of procfs that the path itself names, of a process that is not the guard's, and nothing
    /// of the kind behind it.
    fn through(&self, link: &ProcessLink, path: &DevicePath, more: OFlags) -> Result<OwnedFd> {
        if link.is_own(&self.own) {
            return Err(self_target(path));
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        if link.rest.is_empty() && more.contains(OFlags::NOFOLLOW) {
            return rustix::fs::openat(CWD, &link.link[..], flags | more, Mode::empty())
                .map_err(|e| self.explain(path, e));
        }
        let fd = rustix::fs::openat(CWD, &link.link[..], flags, Mode::empty()).map_err(|e| self.explain(path, e))?;
        if link.rest.is_empty() {
            return Ok(fd);
        }
        self.own.refuse_handle(fd.as_fd(), path)?;
        // Absolute links below another process's root mean that root.
        let scope = if link.link.ends_with(b"/root") { ResolveFlags::IN_ROOT } else { ResolveFlags::empty() };
        resolve_from(fd.as_fd(), &link.rest, more, scope).map_err(|e| match e {
            Errno::LOOP => self.explain_loop(path),
            e => system_error(path, e),
        })
    }

    fn describe(&self, handle: OwnedFd, path: &DevicePath) -> Result<Opened> {
        let facts = Facts::of(&handle).map_err(|e| system_error(path, e))?;
        // Longer than the kernel tells: the path as it was named.
        let mut host_path = handle_path(handle.as_fd()).unwrap_or_else(|_| [&self.prefix, path.as_bytes()].concat());
        let mut deleted = false;
        if let Some(named) = host_path.strip_suffix(b" (deleted)")
            && !leads_to(&host_path, &facts)
        {
            host_path = named.to_vec();
            deleted = true;
        }
        let inside = match host_path.strip_prefix(&self.prefix[..]) {
            Some(inside) if is_below(&host_path, &self.prefix) => inside,
            _ => path.as_bytes(),
        };
        let real_path = DevicePath::new(if inside.is_empty() { b"/" } else { inside });
        Ok(Opened { file: handle.into(), facts, real_path, deleted, host_path })
    }

    /// Opens what the handle is of for reading: by the handle, so it is the file that was looked at.
    fn reopen(&self, opened: Opened, path: &DevicePath, more: OFlags) -> Result<Opened> {
        let again = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | more;
        let fd = match rustix::fs::openat(CWD, &again, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(CWD, &again, flags, Mode::empty()),
            opened => opened,
        };
        let file = fd.map_err(|e| system_error(path, e))?.into();
        Ok(Opened { file, ..opened })
    }

    fn explain(&self, path: &DevicePath, e: Errno) -> Error {
        match e {
            Errno::NOENT => self.explain_missing(path),
            Errno::NOTDIR => {
                Error::new(ErrorCode::NotFound, format!("no file {path}: a part of it is not a directory"))
            }
            e => system_error(path, e),
        }
    }

    fn explain_missing(&self, path: &DevicePath) -> Error {
        if let Ok(link) = self.resolve(path, OFlags::NOFOLLOW)
            && let Ok(target) = rustix::fs::readlinkat(&link, "", Vec::new())
        {
            let target = DevicePath::new(target.into_bytes());
            return Error::new(ErrorCode::NotFound, format!("{path} is a link to {target}, which does not exist"));
        }
        let error = Error::new(ErrorCode::NotFound, format!("no file {path}"));
        match self.near(path) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn explain_loop(&self, path: &DevicePath) -> Error {
        let own = ProcessLink::in_path(path).is_some_and(|link| link.is_own(&self.own));
        if own {
            return self_target(path);
        }
        // Followed without restriction, a loop is still one; a link of procfs leads somewhere.
        let open = || rustix::fs::openat(&self.root, path.as_bytes(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        if self.live && !matches!(open(), Err(Errno::LOOP)) {
            return Error::new(
                ErrorCode::SelfTarget,
                format!("{path} leads through a process's links in procfs, which may be this program's own"),
            )
            .hint("dir shows where a link points: name /proc/PID/… itself");
        }
        let reason =
            if self.live { "its links lead in a circle" } else { "its links lead in a circle or through procfs" };
        Error::new(ErrorCode::NotFound, format!("no file {path}: {reason}")).hint("dir shows where a link points")
    }

    /// Up to three names in the deepest directory that exists, near to the one that does not.
    fn near(&self, path: &DevicePath) -> Option<String> {
        let mut missing = path.clone();
        for _ in 0..64 {
            let parent = missing.parent();
            // Not by `open`: its own hint would look here again, once for every part that is missing.
            match self.resolve(&parent, OFlags::DIRECTORY) {
                Ok(handle) => {
                    self.own.refuse_handle(handle.as_fd(), &parent).ok()?;
                    let opened = self.describe(handle, &parent).ok()?;
                    let directory = self.reopen(opened, &parent, OFlags::DIRECTORY).ok()?;
                    let names = near_names(&directory.file, missing.name().to_text().as_ref(), &self.own);
                    let holds = names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ");
                    return Some(if names.is_empty() {
                        format!("the directory {parent} has no entry like {}", missing.name())
                    } else {
                        format!("the directory {parent} holds {holds}")
                    });
                }
                Err(Errno::NOENT) if parent != missing => missing = parent,
                Err(_) => return None,
            }
        }
        None
    }
}

/// `/proc/PID/exe`, `cwd`, `root`, `fd/N`, `map_files/RANGE`, of a process or one of its threads, and what follows.
struct ProcessLink {
    link: Vec<u8>,
    rest: Vec<u8>,
    /// The process and the thread; `None` is this process.
    pids: Vec<Option<u32>>,
}

impl ProcessLink {
    fn in_path(path: &DevicePath) -> Option<ProcessLink> {
        let mut parts = path.as_bytes().split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b"."));
        if path.as_bytes().first() != Some(&b'/') || parts.next() != Some(b"proc") {
            return None;
        }
        let mut taken = vec![parts.next()?];
        let mut pids = vec![pid_of(taken.first()?)?];
        let mut part = parts.next()?;
        if part == b"task" {
            let thread = parts.next()?;
            pids.push(pid_of(thread)?);
            taken.extend([part, thread]);
            part = parts.next()?;
        }
        taken.push(part);
        match part {
            b"exe" | b"cwd" | b"root" => {}
            b"fd" | b"map_files" | b"ns" => taken.push(parts.next().filter(|p| *p != b"..")?),
            _ => return None,
        }
        let link = [b"/proc/", taken.join(&b'/').as_slice()].concat();
        Some(ProcessLink { link, rest: parts.collect::<Vec<_>>().join(&b'/'), pids })
    }
    fn is_own(&self, own: &OwnThings) -> bool {
        self.pids.iter().any(|pid| pid.is_none_or(|pid| own.is_own_process(pid)))
    }
}

/// `Some(None)` is this process, by the names that procfs has for it.
fn pid_of(part: &[u8]) -> Option<Option<u32>> {
    match part {
        b"self" | b"thread-self" => Some(None),
        _ => std::str::from_utf8(part).ok()?.parse().ok().map(Some),
    }
}

/// Resolves below `start`; a path longer than the kernel takes is walked in pieces, each staying below the last.
pub(super) fn resolve_from(
    start: BorrowedFd<'_>,
    path: &[u8],
    more: OFlags,
    scope: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let scope = scope | ResolveFlags::NO_MAGICLINKS;
    if path.len() < PIECE {
        return open_at(start, path, flags | more, scope);
    }
    let (mut rest, mut scope) = (path, scope);
    let mut at: Option<OwnedFd> = None;
    while rest.len() >= PIECE {
        let cut = rest.iter().take(PIECE).rposition(|b| *b == b'/').filter(|i| *i > 0).ok_or(Errno::NAMETOOLONG)?;
        let (piece, after) = rest.split_at(cut);
        at = Some(open_at(at.as_ref().map_or(start, AsFd::as_fd), piece, flags | OFlags::DIRECTORY, scope)?);
        let slashes = after.iter().take_while(|b| **b == b'/').count();
        rest = after.get(slashes..).unwrap_or_default();
        scope = scope.difference(ResolveFlags::IN_ROOT) | ResolveFlags::BENEATH;
    }
    let rest = if rest.is_empty() { b"." } else { rest };
    open_at(at.as_ref().map_or(start, AsFd::as_fd), rest, flags | more, scope)
}

/// `openat2`; it answers EAGAIN when a rename nearby left it unsure.
pub(super) fn open_at(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    scope: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), scope) {
            Err(Errno::AGAIN) if tries < 32 && !scope.is_empty() => tries += 1,
            opened => return opened,
        }
    }
}

/// Whether reading takes what is read away from its other readers (`man 5 proc`, the kernel's `ftrace` document).
fn is_used_up(opened: &Opened) -> bool {
    let made_up = opened.facts.blocks == 0 && opened.facts.size == 0;
    made_up
        && match opened.real_path.name().as_bytes() {
            b"kmsg" => is_on(&opened.file, &[PROC_SUPER_MAGIC]),
            b"trace_pipe" | b"trace_pipe_raw" => is_on(&opened.file, &[TRACEFS_MAGIC, DEBUGFS_MAGIC]),
            _ => false,
        }
}

fn is_on(file: &File, types: &[FsWord]) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|s| types.contains(&s.f_type))
}

fn used_up(path: &DevicePath) -> Error {
    Error::new(ErrorCode::NotAFile, format!("{path} is a stream: what is read from it is gone for its other readers"))
        .hint("the system's log has what it said")
}

fn leads_to(host_path: &[u8], facts: &Facts) -> bool {
    rustix::fs::openat(CWD, host_path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .and_then(Facts::of)
        .is_ok_and(|f| f.identity == facts.identity)
}

fn near_names(directory: &File, missing: &str, own: &OwnThings) -> Vec<String> {
    let own = own.snapshot();
    let mut names = Vec::new();
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && !own.may_hold(entry.ino()) {
            names.push(DevicePath::new(name).to_text().into_owned());
        }
        if names.len() == HINT_ENTRIES {
            break;
        }
    }
    let mut near = Vec::new();
    while near.len() < 3 {
        let Some(name) = crate::nearest::nearest(missing, names.iter().map(String::as_str)).map(str::to_owned) else {
            break;
        };
        names.retain(|n| *n != name);
        near.push(name);
    }
    near
}

pub(super) fn system_error(path: &DevicePath, e: Errno) -> Error {
    match e {
        Errno::ACCESS | Errno::PERM => Error::new(ErrorCode::Access, format!("this account may not read {path}"))
            .hint(if rustix::process::geteuid().is_root() {
                "the system refuses it to root too: a security module, a namespace or the file system forbids it"
            } else {
                "run as root, or as the account that owns it"
            })
            .source(std::io::Error::from(e)),
        Errno::NOENT => Error::new(ErrorCode::NotFound, format!("no file {path}")),
        Errno::NOTDIR => Error::new(ErrorCode::NotFound, format!("no file {path}: a part of it is not a directory")),
        Errno::NAMETOOLONG => {
            Error::new(ErrorCode::NotFound, format!("no file {path}: a name is longer than any can be"))
        }
        Errno::INVAL => Error::new(ErrorCode::BadArgs, format!("{path} is no path that the system takes")),
        Errno::XDEV => Error::new(ErrorCode::PathEscape, format!("{path} leads out of where it starts"))
            .hint("name the file by its real path"),
        Errno::AGAIN => {
            Error::new(ErrorCode::DeviceBusy, format!("{path} is held by another process")).hint("try again")
        }
        Errno::NOSYS => {
            Error::new(ErrorCode::Unsupported, "this kernel has no openat2").hint("Linux 5.6 or later is needed")
        }
        e => Error::io(path, e.into()),
    }
}

fn not_a_file(path: &DevicePath, kind: &str) -> Error {
    let error = Error::new(ErrorCode::NotAFile, format!("{path} is no regular file: {}", spoken(kind)));
    error.hint(if kind == "directory" {
        "dir lists it, findfile searches it"
    } else {
        "only regular files have bytes to read"
    })
}

fn not_a_directory(path: &DevicePath, kind: &str) -> Error {
    Error::new(ErrorCode::NotAFile, format!("{path} is no directory: {}", spoken(kind)))
        .hint("fileinfo tells about a file")
}

fn spoken(kind: &str) -> &'static str {
    match kind {
        "file" => "it is a file",
        "directory" => "it is a directory",
        "symlink" => "it is a symbolic link",
        "fifo" => "it is a FIFO",
        "socket" => "it is a socket",
        "block_device" => "it is a block device",
        "char_device" => "it is a character device",
        _ => "it is something else",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::process::{Child, Command};

    /// A directory of its own, removed at the end.
    pub(in super::super) struct TempTree(PathBuf);

    impl TempTree {
        pub fn new() -> Self {
            let name = format!("live-response-files-{}", crate::model::random_hex::<8>());
            let root = std::env::temp_dir().canonicalize().unwrap().join(name);
            std::fs::create_dir(&root).unwrap();
            TempTree(root)
        }

        pub fn root(&self) -> &Path {
            &self.0
        }

        pub fn path(&self, below: &str) -> PathBuf {
            self.0.join(below)
        }

        pub fn device_path(&self, below: &str) -> DevicePath {
            device_path(&self.path(below))
        }
    }

    impl Drop for TempTree {
        fn drop(&mut self) {
            let _ = Command::new("rm").arg("-rf").arg(&self.0).status();
        }
    }

    /// A process that is not the guard's, ended at the end.
    pub(in super::super) struct Sleeper(Child);

    impl Sleeper {
        pub fn start() -> Self {
            Self::run(Command::new("sleep").arg("600"))
        }

        pub fn run(command: &mut Command) -> Self {
            Sleeper(command.spawn().unwrap())
        }

        pub fn of(child: Child) -> Self {
            Sleeper(child)
        }

        pub fn id(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    pub(in super::super) struct Numbers;

    impl Names for Numbers {
        fn user(&self, uid: u32) -> Option<Untrusted> {
            Some(Untrusted::new(uid.to_string()))
        }

        fn group(&self, gid: u32) -> Option<Untrusted> {
            Some(Untrusted::new(gid.to_string()))
        }
    }

    pub(in super::super) fn device_path(path: &Path) -> DevicePath {
        DevicePath::new(path.as_os_str().as_bytes())
    }

    pub(in super::super) fn text(path: &str) -> DevicePath {
        DevicePath::new(path)
    }

    /// The host, with the state home at `home` of the tree.
    pub(in super::super) fn host(tree: &TempTree) -> View {
        View::host(Arc::new(OwnThings::new(tree.path("home"), vec![]))).unwrap()
    }

    pub(in super::super) fn image(tree: &TempTree, dir: &str) -> View {
        View::image(&tree.path(dir), Arc::new(OwnThings::new(tree.path("home"), vec![]))).unwrap()
    }

    fn code(result: Result<Opened>) -> ErrorCode {
        result.err().map(|e| e.code).unwrap()
    }

    fn content(opened: Opened) -> String {
        let mut text = String::new();
        (&opened.file).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_fifo_is_refused_and_never_waited_for() {
        let tree = TempTree::new();
        rustix::fs::mknodat(CWD, tree.path("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = host(&tree).open(&tree.device_path("fifo"), How::File).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotAFile);
        assert!(error.message.contains("FIFO"), "{error}");
    }

    #[test]
    fn devices_are_no_files() {
        let tree = TempTree::new();
        for path in ["/dev/null", "/dev/zero", "/dev/tty"] {
            assert_eq!(code(host(&tree).open(&text(path), How::File)), ErrorCode::NotAFile, "{path}");
        }
    }

    #[test]
    fn a_loop_of_links_is_named() {
        let tree = TempTree::new();
        symlink("b", tree.path("a")).unwrap();
        symlink("a", tree.path("b")).unwrap();
        let error = host(&tree).open(&tree.device_path("a"), How::File).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("circle"), "{error}");
    }

    #[test]
    fn a_missing_file_comes_with_near_names() {
        let tree = TempTree::new();
        for name in ["shadow", "shadow-", "hosts"] {
            std::fs::write(tree.path(name), "").unwrap();
        }
        let error = host(&tree).open(&tree.device_path("shdow"), How::File).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotFound);
        let hint = error.hint.unwrap();
        assert!(hint.contains("\"shadow\"") && hint.contains("\"shadow-\"") && !hint.contains("hosts"), "{hint}");
    }

    #[test]
    fn a_path_of_which_everything_is_missing_is_looked_up_once() {
        let tree = TempTree::new();
        for count in [20, 1_500, 60_000] {
            let path = tree.device_path(&"q/".repeat(count));
            let error = host(&tree).open(&path, How::File).err().unwrap();
            assert_eq!(error.code, ErrorCode::NotFound, "{count}");
        }
    }

    #[test]
    fn a_missing_directory_is_hinted_at_where_it_is_missing() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("config")).unwrap();
        let error = host(&tree).open(&tree.device_path("confg/a/b"), How::File).err().unwrap();
        assert!(error.hint.unwrap().contains("\"config\""));
    }

    #[test]
    fn a_dangling_link_tells_where_it_points() {
        let tree = TempTree::new();
        symlink("/nowhere/at/all", tree.path("link")).unwrap();
        let error = host(&tree).open(&tree.device_path("link"), How::File).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("/nowhere/at/all"), "{error}");
    }

    #[test]
    fn links_of_an_image_stay_inside_it() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("img/etc")).unwrap();
        std::fs::write(tree.path("img/etc/passwd"), "inside").unwrap();
        std::fs::write(tree.path("outside"), "outside").unwrap();
        symlink("/etc/passwd", tree.path("img/absolute")).unwrap();
        symlink("../../../../../../etc/passwd", tree.path("img/climbing")).unwrap();
        symlink(tree.path("outside"), tree.path("img/out")).unwrap();
        let view = image(&tree, "img");
        for path in ["/absolute", "/climbing", "/../../etc/passwd", "etc/passwd"] {
            assert_eq!(content(view.open(&text(path), How::File).unwrap()), "inside", "{path}");
        }
        assert_eq!(code(view.open(&text("/out"), How::File)), ErrorCode::NotFound);
        assert_eq!(view.open(&text("/absolute"), How::File).unwrap().real_path, text("/etc/passwd"));
    }

    #[test]
    fn own_state_is_refused_by_every_path() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("home/guard")).unwrap();
        std::fs::write(tree.path("home/guard/secret"), "canary").unwrap();
        symlink(tree.path("home/guard/secret"), tree.path("link")).unwrap();
        symlink(tree.path("home"), tree.path("dir")).unwrap();
        std::fs::hard_link(tree.path("home/guard/secret"), tree.path("hard")).unwrap();
        let view = host(&tree);
        for path in ["home/guard/secret", "link", "hard", "dir/guard/secret", "home/../home/guard/./secret", "home"] {
            for how in [How::File, How::Directory, How::Handle] {
                assert_eq!(code(view.open(&tree.device_path(path), how)), ErrorCode::SelfTarget, "{path} {how:?}");
            }
        }
        assert_eq!(code(image(&tree, ".").open(&text("/hard"), How::File)), ErrorCode::SelfTarget);
    }

    /// Bind mounts need a mount namespace of their own: this test runs itself again in one, where the system gives one.
    #[test]
    fn own_state_is_refused_under_a_bind_mount() {
        const INSIDE: &str = "LIVE_RESPONSE_TEST_TREE";
        if let Some(root) = std::env::var_os(INSIDE) {
            return check_bind_mounts(Path::new(&root));
        }
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("home/guard")).unwrap();
        std::fs::create_dir(tree.path("bound")).unwrap();
        std::fs::create_dir(tree.path("proc")).unwrap();
        std::fs::write(tree.path("home/guard/secret"), "canary").unwrap();
        std::fs::write(tree.path("bound-file"), "").unwrap();
        let root = rustix::process::geteuid().is_root();
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            command.arg(if root { "-m" } else { "-rm" }).args(["sh", "-c", script]);
            command.args([tree.root().as_os_str(), std::env::current_exe().unwrap().as_os_str()]);
            command.env(INSIDE, tree.root());
            command
        };
        let mount = "cd \"$0\" && mount --bind home bound && mount --bind home/guard/secret bound-file && mount --bind /proc proc";
        if !unshare(mount).output().is_ok_and(|o| o.status.success()) {
            return;
        }
        let name = "device::local::linux::view::tests::own_state_is_refused_under_a_bind_mount";
        let output = unshare(&format!("{mount} && exec \"$1\" --exact {name} --nocapture")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn check_bind_mounts(root: &Path) {
        let own = Arc::new(OwnThings::new(root.join("home"), vec![]));
        let view = View::host(Arc::clone(&own)).unwrap();
        for path in ["bound", "bound/guard/secret", "bound-file", "proc/self/environ", "proc/self/exe"] {
            assert_eq!(code(view.open(&device_path(&root.join(path)), How::Handle)), ErrorCode::SelfTarget, "{path}");
        }
        let image = View::image(root, own).unwrap();
        for path in ["/bound/guard/secret", "/bound-file", "/proc/self/environ"] {
            assert_eq!(code(image.open(&text(path), How::File)), ErrorCode::SelfTarget, "image {path}");
        }
        let job = crate::model::Job::default();
        let query = crate::model::DirQuery { path: device_path(root), full_path: false };
        let rows = super::super::dir::list(&view, &query, &Numbers, &job).unwrap();
        assert_eq!(rows.iter().map(|r| r.path()).collect::<Vec<_>>(), [b"proc"]);
        assert_eq!(job.take_warnings(), ["3 entries of this program's own state left out"]);
    }

    #[test]
    fn a_parent_in_own_state_is_refused() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("home")).unwrap();
        let parent = host(&tree).open_parent(&tree.device_path("home/new"));
        assert_eq!(parent.err().unwrap().code, ErrorCode::SelfTarget);
    }

    #[test]
    fn own_processes_are_refused_by_every_path() {
        let tree = TempTree::new();
        let pid = std::process::id();
        let file = File::open("/proc/self/status").unwrap();
        symlink("/proc/self/environ", tree.path("link")).unwrap();
        symlink(format!("/proc/{pid}/root/etc/passwd"), tree.path("magic")).unwrap();
        symlink("/proc", tree.path("p")).unwrap();
        let view = host(&tree);
        let child = Sleeper::start();
        let mut paths: Vec<DevicePath> =
            ["environ", "mem", "maps", "exe", "root/etc/passwd", "cwd", "fd", "task", "status"]
                .iter()
                .flat_map(|what| {
                    [
                        "/proc/self".into(),
                        "/proc/thread-self".into(),
                        format!("/proc/{pid}"),
                        format!("/proc//{pid}/."),
                        format!("/proc/{}/root/proc/{pid}", child.id()),
                        format!("/proc/{}/root/proc/self", child.id()),
                    ]
                    .map(|p| text(&format!("{p}/{what}")))
                })
                .collect();
        paths.push(text(&format!("/proc/self/fd/{}", file.as_raw_fd())));
        paths.push(text(&format!("/proc/{pid}/task/{pid}/environ")));
        paths.push(text(&format!("/proc/{}/../self/environ", child.id())));
        paths.extend(["link", "magic", "p/self/environ"].map(|p| tree.device_path(p)));
        for path in paths {
            let result = view.open(&path, How::Handle);
            // thread-self has no task of its own.
            if path.as_bytes() == b"/proc/thread-self/task" {
                continue;
            }
            assert_eq!(code(result), ErrorCode::SelfTarget, "{path}");
        }
    }

    #[test]
    fn the_systems_memory_is_refused() {
        let tree = TempTree::new();
        let result = host(&tree).open(&text("/proc/kcore"), How::File);
        assert!(matches!(code(result), ErrorCode::SelfTarget | ErrorCode::NotFound));
    }

    #[test]
    fn streams_that_reading_uses_up_are_not_read() {
        let tree = TempTree::new();
        let result = host(&tree).open(&text("/proc/kmsg"), How::File);
        assert!(matches!(code(result), ErrorCode::NotAFile | ErrorCode::NotFound));
    }

    #[test]
    fn another_process_is_looked_into() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "content").unwrap();
        let child = Sleeper::run(Command::new("sleep").arg("600").stdin(File::open(tree.path("file")).unwrap()));
        std::fs::remove_file(tree.path("file")).unwrap();
        let view = host(&tree);
        let opened = view.open(&text(&format!("/proc/{}/fd/0", child.id())), How::File).unwrap();
        assert!(opened.deleted);
        assert_eq!(opened.real_path, tree.device_path("file"));
        assert_eq!(content(opened), "content");
        let inside = view.open(&text(&format!("/proc/{}/root{}", child.id(), tree.root().display())), How::Directory);
        assert_eq!(inside.unwrap().real_path, device_path(tree.root()));
    }

    #[test]
    fn a_name_that_ends_like_a_deleted_one_is_not_deleted() {
        let tree = TempTree::new();
        std::fs::write(tree.path("x (deleted)"), "").unwrap();
        let opened = host(&tree).open(&tree.device_path("x (deleted)"), How::File).unwrap();
        assert!(!opened.deleted);
        assert_eq!(opened.real_path, tree.device_path("x (deleted)"));
    }

    #[test]
    fn names_that_are_no_text_are_reached() {
        let tree = TempTree::new();
        let name = tree.root().join(OsStr::from_bytes(b"a\xff\n"));
        std::fs::write(&name, "bytes").unwrap();
        let spoken = device_path(&name).to_text().into_owned();
        let opened = host(&tree).open(&DevicePath::from_text(&spoken).unwrap(), How::File).unwrap();
        assert_eq!(content(opened), "bytes");
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_reached() {
        let tree = TempTree::new();
        let deep = deep_tree(&tree, 3_000);
        let opened = host(&tree).open(&deep, How::File).unwrap();
        assert_eq!(content(opened), "deep");
    }

    /// `d/d/…/leaf` below the tree's root.
    pub(in super::super) fn deep_tree(tree: &TempTree, depth: usize) -> DevicePath {
        let mut path = device_path(tree.root());
        let mut at: OwnedFd = File::open(tree.root()).unwrap().into();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            path = path.join(&text("d"));
        }
        let leaf = rustix::fs::openat(&at, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
        rustix::io::write(&leaf, b"deep").unwrap();
        path.join(&text("leaf"))
    }

    #[test]
    fn a_parent_is_opened_without_its_last_link() {
        let tree = TempTree::new();
        symlink("/etc/passwd", tree.path("link")).unwrap();
        let (dir, name) = host(&tree).open_parent(&tree.device_path("link")).unwrap();
        assert_eq!(Facts::of(&dir).unwrap().identity, Facts::of(File::open(tree.root()).unwrap()).unwrap().identity);
        assert_eq!(name, b"link");
        for bad in ["/", "/etc/..", "/etc/."] {
            assert_eq!(host(&tree).open_parent(&text(bad)).err().unwrap().code, ErrorCode::BadArgs, "{bad}");
        }
    }
}
