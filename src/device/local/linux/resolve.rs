//! From a wish to exact steps: looks, never touches.
//!
//! Invariant: a step names what was looked at on an open handle. What cannot be described is `E_UNINSPECTABLE`, what
//! is the guard's own `E_SELF_TARGET`, what this program or the system lives on `E_PROTECTED`.

mod hive;
mod layout;
mod library;
mod lines;
mod protected;
mod service;
mod startup;
mod task;
mod undo;

use super::effect::{Place, Quarantine};
use super::facts::Facts;
use super::proc::{self, Clock, Entry, Proc};
use super::systemd_bus::SystemdBus;
use super::users::Accounts;
use super::view::{How, Opened, View};
use super::watch::Watch;
use super::work_folder::WorkFolder;
use super::{fileinfo, hash, package, preflight};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, FileIdentity, FileTarget, Job, ProcessTarget, Profile, Step, Unit, Wish};
use crate::shape::Untrusted;
use layout::Layout;
use protected::Protected;
use std::collections::{HashMap, HashSet};

/// Names of images that run what other files say: to take one away would stop more than one process.
const INTERPRETERS: &[&str] = &[
    "ash",
    "bash",
    "busybox",
    "dash",
    "dotnet",
    "env",
    "fish",
    "java",
    "ksh",
    "lua",
    "node",
    "osascript",
    "perl",
    "php",
    "powershell",
    "pwsh",
    "python",
    "ruby",
    "sh",
    "tclsh",
    "zsh",
];
/// File systems whose files the kernel makes up (`linux/magic.h`): procfs, sysfs, cgroup, cgroup2, debugfs, tracefs,
/// securityfs, bpf, efivarfs, selinuxfs, configfs.
const MADE_UP: &[u64] = &[
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x6265_6570,
];
/// Entities of one plan.
const IDS: usize = 50;
/// Ancestors that are looked at: more than any terminal has.
const ANCESTORS: usize = 64;

/// What this host's own settings say.
pub struct Settings {
    pub quarantine: Quarantine,
    pub work_folder: WorkFolder,
    /// Seconds that a script may run.
    pub script_time_s: u64,
}

pub struct Resolver<'a> {
    view: &'a View,
    accounts: &'a Accounts,
    settings: &'a Settings,
    quarantine: &'a Quarantine,
    /// Where the system's manager of services answers, where it runs.
    bus: Option<&'a SystemdBus>,
    layout: Layout,
    job: &'a Job,
}

/// A process that is to be stopped, and what to do with its image.
struct Doomed {
    target: ProcessTarget,
    image: Image,
}

enum Image {
    /// It has no name any more: a copy is kept.
    Keep,
    /// It goes after its last process.
    Remove(Box<FileTarget>),
    Stays,
}

impl<'a> Resolver<'a> {
    pub fn new(
        view: &'a View,
        accounts: &'a Accounts,
        settings: &'a Settings,
        bus: Option<&'a SystemdBus>,
        job: &'a Job,
    ) -> Self {
        Resolver { view, accounts, settings, quarantine: &settings.quarantine, bus, layout: Layout::default(), job }
    }

    /// The new file of a package, in a folder that is what it is.
    fn package(&self, folder: &DevicePath, profile: Profile) -> Result<Step> {
        let opened = self.view.open(folder, How::Directory)?;
        let name = format!("{}.tar.zst", crate::device::package::stem(&super::host::Host::name().clean(), profile));
        let folder = opened.real_path;
        let path = folder.join(&DevicePath::new(name.as_str()));
        match self.view.open(&path, How::Link) {
            Err(e) if e.code == ErrorCode::NotFound => {}
            Err(e) => return Err(e),
            Ok(_) => {
                return Err(Error::new(ErrorCode::Exists, format!("{path} is there already"))
                    .hint("name another output_folder, or take it away with `remediate file`"));
            }
        }
        Ok(Step::Collect { folder, directory: opened.facts.identity, name, profile })
    }

    pub fn steps(&self, wish: &Wish) -> Result<Vec<Step>> {
        if let Wish::Remediate { ids, .. }
        | Wish::Undo { ids, .. }
        | Wish::RemediateValues { ids, .. }
        | Wish::UndoValues { ids, .. } = wish
            && !(1..=IDS).contains(&ids.len())
        {
            return Err(Error::new(ErrorCode::BadArgs, format!("{} ids are not 1 to {IDS}", ids.len()))
                .hint("a plan that a person can read has at most that many"));
        }
        match wish {
            Wish::Remediate { kind: EntityKind::File, ids } => self.quarantine_files(ids),
            Wish::Remediate { kind: EntityKind::Process, ids } => self.stop_processes(ids),
            Wish::Collect { folder, profile } => Ok(vec![self.package(folder, *profile)?]),
            Wish::Remediate { kind: EntityKind::ScheduledTask, ids } => self.remove_tasks(ids),
            Wish::Remediate { kind: EntityKind::Startup, ids } => self.remove_startup_items(ids),
            Wish::Remediate { kind: EntityKind::Service, ids } => self.stop_services(ids),
            Wish::Undo { kind, ids } => self.undo(*kind, ids),
            Wish::RemediateValues { hive, ids } => self.cut_values(hive, ids),
            Wish::UndoValues { hive, ids } => self.put_values(hive.as_ref(), ids),
            Wish::Isolate { selective, rules } => {
                let watch = Watch::new(self.quarantine.home());
                preflight::isolate(*selective, rules, &watch, self.accounts, self.job).map(|step| vec![step])
            }
            Wish::Release => preflight::release(&Watch::new(self.quarantine.home())).map(|step| vec![step]),
            Wish::Run { script, parameters, directory } => self.run_script(script, parameters, directory),
            Wish::PutFile { item, overwrite, keep } => self.put_file(item, *overwrite, *keep),
            other => Err(Error::new(ErrorCode::Unsupported, format!("local has no `{}`", other.kind()))),
        }
    }

    fn quarantine_files(&self, ids: &[String]) -> Result<Vec<Step>> {
        let protected = Protected::find();
        let mut seen = HashMap::new();
        let mut steps = Vec::new();
        for id in ids {
            self.job.check()?;
            let file = self.file(&path_of(id)?, &protected)?;
            if let Some(before) = seen.insert(file.identity, file.path.clone()) {
                return Err(Error::new(
                    ErrorCode::AmbiguousArgs,
                    format!("{} and {before} are the same file", file.path),
                )
                .hint("name each file once; other names of the same bytes in a call of their own"));
            }
            steps.push(Step::Quarantine { file, part_of: None });
        }
        Ok(steps)
    }

    /// A file as it is now, by its real path.
    fn file(&self, path: &DevicePath, protected: &Protected) -> Result<FileTarget> {
        let link = self.view.open(path, How::Link).map_err(|e| glob_hint(path, e))?;
        inspectable(path, &link)?;
        protected.refuse(path, link.facts.identity)?;
        // Real directories all the way: what the person sees is what is done, whatever links are changed meanwhile.
        Place::reach(&link.real_path).map_err(|e| uninspectable(path, &format!("its place cannot be held: {e}")))?;
        let opened = self.view.open(&link.real_path, How::File)?;
        if opened.facts.identity != link.facts.identity {
            return Err(uninspectable(path, "it was replaced while it was looked at"));
        }
        self.job.expect(Unit::Bytes, opened.facts.size);
        let digests = hash::digest(&opened.file, false, self.job)?;
        let owner = package::owner(self.view, &link.real_path, &digests, self.job)?;
        let facts = opened.facts;
        Ok(FileTarget {
            path: link.real_path,
            identity: facts.identity,
            size_bytes: digests.bytes,
            sha256: digests.sha256,
            mode: facts.mode & 0o7777,
            uid: facts.uid,
            gid: facts.gid,
            modified: facts.modified,
            links: facts.links,
            package: owner.filter(|o| o.unmodified == Some(true)).map(|o| o.name.raw().to_owned()),
        })
    }

    fn stop_processes(&self, ids: &[String]) -> Result<Vec<Step>> {
        let all = Proc::open()?;
        let spared = ancestors(&all);
        let protected = Protected::find();
        let mut pids = Vec::new();
        for id in ids {
            let pid = pid_of(id)?;
            if pids.contains(&pid) {
                return Err(Error::new(ErrorCode::AmbiguousArgs, format!("process {pid} is named twice"))
                    .hint("name each process once"));
            }
            pids.push(pid);
        }
        let mut doomed = Vec::new();
        for pid in &pids {
            self.job.check()?;
            doomed.push(self.process(&all, *pid, &pids, &spared, &protected)?);
        }
        Ok(in_order(doomed))
    }

    fn process(
        &self,
        all: &Proc,
        pid: u32,
        planned: &[u32],
        spared: &HashSet<u32>,
        protected: &Protected,
    ) -> Result<Doomed> {
        let entry = proc::find(all, pid)?;
        let who = proc::identity(pid)?;
        if pid == 1 || who.is_kernel_thread || spared.contains(&pid) || self.view.own().is_own_process(pid) {
            let what = match pid {
                1 => "the system's first process",
                _ if who.is_kernel_thread => "a thread of the kernel",
                _ => "this program, or the terminal that it runs in",
            };
            return Err(Error::new(ErrorCode::SelfTarget, format!("process {pid} ({}) is {what}", who.name.clean())));
        }
        if who.state == 'Z' {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!("process {pid} has ended; its parent {} has not reaped it", who.ppid),
            )
            .hint("there is nothing left to stop"));
        }
        let image = entry.open_image().map_err(|e| proc::failed(pid, e).hint("run as root to see its image"))?;
        let facts = Facts::of(&image).map_err(|e| proc::failed(pid, e))?;
        let sha256 = hash::sha256(&image, self.job)?;
        let named = entry.image(&mut Vec::new()).map_err(|e| proc::failed(pid, e))?;
        let path = Some(named.path).filter(|p| !p.as_bytes().starts_with(b"/memfd:"));
        let (fate, note) = match (&path, named.deleted) {
            (Some(path), false) => self.fate_of(path, facts.identity, all, planned, protected)?,
            _ => (Image::Keep, None),
        };
        // A pid that went to another process meanwhile gives nothing of two processes.
        if proc::start_ticks(pid)? != who.start_ticks {
            return Err(Error::new(ErrorCode::NotFound, format!("process {pid} ended while it was looked at")));
        }
        let target = ProcessTarget {
            pid,
            start_ticks: who.start_ticks,
            boot_id: who.boot_id,
            started: Clock::now().at(who.start_ticks),
            name: who.name.raw().to_owned(),
            user: self.accounts.user_or_id(who.uid).raw().to_owned(),
            command_line: who.command_line.as_ref().map(Untrusted::raw).unwrap_or_default().to_owned(),
            image: path,
            image_identity: facts.identity,
            image_sha256: sha256,
            image_size: facts.size,
            image_note: note,
        };
        Ok(Doomed { target, image: fate })
    }

    /// Whether the image goes too, or why it stays.
    fn fate_of(
        &self,
        path: &DevicePath,
        identity: FileIdentity,
        all: &Proc,
        planned: &[u32],
        protected: &Protected,
    ) -> Result<(Image, Option<String>)> {
        let stays = |why: String| Ok((Image::Stays, Some(format!("its image {path} stays: {why}"))));
        let file = match self.file(path, protected) {
            Ok(file) => file,
            Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::Timeout) => return Err(e),
            Err(e) => return stays(e.message),
        };
        if file.identity != identity {
            return stays("another file has that path on this host".into());
        }
        if let Some(package) = &file.package {
            return stays(format!("it belongs to the package {package}, unmodified"));
        }
        if is_interpreter(&file.path) {
            return stays("it is an interpreter".into());
        }
        match self.sharer(identity, all, planned)? {
            Some(pid) => stays(format!("process {pid} runs it too")),
            None => Ok((Image::Remove(Box::new(file)), None)),
        }
    }

    /// A process outside of the plan that runs the same image.
    fn sharer(&self, identity: FileIdentity, all: &Proc, planned: &[u32]) -> Result<Option<u32>> {
        for pid in all.pids(self.job)? {
            self.job.check()?;
            let runs = |entry: Entry| entry.image_stat().is_ok_and(|s| Facts::from(&s).identity == identity);
            if !planned.contains(&pid) && all.entry(pid).is_ok_and(runs) {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }
}

fn path_of(id: &str) -> Result<DevicePath> {
    let path = DevicePath::from_text(id).map_err(|e| Error::new(ErrorCode::BadArgs, format!("{id:?}: {e}")))?;
    if path.as_bytes().first() != Some(&b'/') {
        return Err(Error::new(ErrorCode::BadArgs, format!("{path} is not absolute")).hint("give the whole path"));
    }
    Ok(path)
}

/// Decimal digits and nothing else.
fn pid_of(id: &str) -> Result<u32> {
    let digits = !id.is_empty() && id.len() <= 10 && id.bytes().all(|b| b.is_ascii_digit());
    let pid = digits.then(|| id.parse().ok()).flatten().filter(|pid| *pid != 0);
    pid.ok_or_else(|| Error::new(ErrorCode::BadArgs, format!("{id:?} is no pid")).hint("`processes` lists them"))
}

/// Only a regular file that a name leads to and that can go.
fn inspectable(path: &DevicePath, link: &Opened) -> Result<()> {
    let facts = &link.facts;
    if facts.is_symlink() {
        let what = "it is a symlink; only what it leads to has content";
        return Err(uninspectable(path, what).hint("name the file that it points to; `dir` shows its target"));
    }
    if facts.is_directory() {
        return Err(
            uninspectable(path, "it is a directory").hint("name its files, up to 50 in `ids`; `findfile` lists them")
        );
    }
    if !facts.is_file() {
        return Err(
            uninspectable(path, &format!("it is a {}", facts.kind())).hint("only regular files are quarantined")
        );
    }
    if link.deleted {
        return Err(uninspectable(path, "it has no name any more"));
    }
    if facts.immutable || facts.append_only {
        let flag = if facts.immutable { ("immutable", "i") } else { ("append-only", "a") };
        return Err(uninspectable(path, &format!("it is {}", flag.0))
            .hint(format!("a person can lift that with `chattr -{} {path}`, then ask again", flag.1)));
    }
    if is_made_up(link) {
        return Err(uninspectable(path, "the kernel makes it up; there is nothing to move"));
    }
    if facts.size > fileinfo::LIMIT {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("{path} has {} bytes, the limit is {}", facts.size, fileinfo::LIMIT),
        ));
    }
    Ok(())
}

fn is_made_up(link: &Opened) -> bool {
    let kind = rustix::fs::fstatfs(&link.file).map(|s| u64::from_ne_bytes(s.f_type.to_ne_bytes()));
    kind.is_ok_and(|kind| MADE_UP.contains(&(kind & 0xffff_ffff)))
}

fn uninspectable(path: &DevicePath, why: &str) -> Error {
    Error::new(ErrorCode::Uninspectable, format!("{path} cannot be put into a plan: {why}"))
}

/// A name that is missing and looks like a glob was meant as one.
fn glob_hint(path: &DevicePath, e: Error) -> Error {
    let is_glob = path.as_bytes().iter().any(|b| b"*?[".contains(b));
    if e.code != ErrorCode::NotFound || !is_glob {
        return e;
    }
    uninspectable(path, "a pattern names nothing exactly").hint("`findfile` lists what it matches; name those files")
}

fn is_interpreter(path: &DevicePath) -> bool {
    let name = path.name();
    let name = String::from_utf8_lossy(name.as_bytes()).to_ascii_lowercase();
    // `python3.12`, `lua5.4`, `php-cgi8.2`.
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    INTERPRETERS.contains(&stem)
}

/// This process and those above it, up to the terminal and the login that started it.
pub(super) fn ancestors(all: &Proc) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut pid = std::process::id();
    let mut buffer = Vec::new();
    while pid > 0 && found.len() < ANCESTORS && found.insert(pid) {
        pid = all.entry(pid).ok().and_then(|e| e.stat(&mut buffer).map(|s| s.ppid).ok()).unwrap_or(0);
    }
    found
}

/// Stops first, each image after the last process that runs it.
fn in_order(doomed: Vec<Doomed>) -> Vec<Step> {
    let mut left: HashMap<FileIdentity, usize> = HashMap::new();
    for one in &doomed {
        *left.entry(one.target.image_identity).or_default() += 1;
    }
    let mut steps = Vec::new();
    for Doomed { mut target, image } in doomed {
        let last = left.get_mut(&target.image_identity).is_none_or(|n| {
            *n = n.saturating_sub(1);
            *n == 0
        });
        if matches!(image, Image::Remove(_)) && !last {
            target.image_note = Some("its image goes after the last process that runs it".into());
        }
        let keep_image = matches!(image, Image::Keep);
        steps.push(Step::Stop { process: target, keep_image });
        if let (Image::Remove(file), true) = (image, last) {
            steps.push(Step::Quarantine { file: *file, part_of: None });
        }
    }
    steps
}

#[cfg(test)]
mod tests;
