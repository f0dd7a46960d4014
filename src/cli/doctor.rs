//! `live-response doctor`: what works here, and what is missing. Reads facts only, never a secret.

use super::io::Io;
use super::{Exit, listing};
use crate::audit;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::model::row;
use crate::registry::Examined;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A JSON array
    #[arg(long)]
    json: bool,
}

row! {
    pub struct CheckRow {
        pub check: &'static str,
        /// `ok`; `limited`: less is seen or done; `broken`: something refuses to work.
        pub state: &'static str,
        pub fact: String,
        pub hint: Option<String>,
    }
}

fn ok(check: &'static str, fact: impl Into<String>) -> CheckRow {
    CheckRow { check, state: "ok", fact: fact.into(), hint: None }
}

fn limited(check: &'static str, fact: impl Into<String>, hint: impl Into<String>) -> CheckRow {
    CheckRow { check, state: "limited", fact: fact.into(), hint: Some(hint.into()) }
}

fn broken(check: &'static str, fact: impl Into<String>, hint: impl Into<String>) -> CheckRow {
    CheckRow { check, state: "broken", fact: fact.into(), hint: Some(hint.into()) }
}

pub(super) fn run(config: Result<Config>, args: Args, io: &mut Io) -> Result<Exit> {
    let mut rows = vec![ok("version", concat!("live-response ", env!("CARGO_PKG_VERSION")))];
    match &config {
        Ok(config) => about_state(config, &mut rows),
        Err(e) => {
            let (check, hint) = match e.code {
                ErrorCode::StoreUnavailable => ("home", "set LIVE_RESPONSE_HOME to a directory of your own"),
                _ => ("configuration", "correct the file, or name another with --config"),
            };
            rows.push(broken(check, e.message.clone(), hint))
        }
    }
    about_host(&mut rows);
    for row in &mut rows {
        row.fact = crate::shape::scrub(&row.fact).into_owned();
        row.hint = row.hint.take().map(|hint| crate::shape::scrub(&hint).into_owned());
    }
    let exit = if rows.iter().any(|r| r.state == "broken") { Exit::Failed } else { Exit::Done };
    listing::print(&rows, &["check", "state", "fact", "hint"], args.json, io)?;
    Ok(exit)
}

fn about_state(config: &Config, rows: &mut Vec<CheckRow>) {
    let file = config.file.as_ref().map_or("none, built-in values".into(), |f| f.display().to_string());
    rows.push(ok("configuration", file));
    rows.push(home(&config.home));
    rows.push(file_system(&config.home));
    let core = Dispatcher::new(config).core().clone();
    rows.push(match core.guard.policy() {
        Ok(p) => ok("policy", p.file.map_or_else(|| p.source.to_owned(), |f| f.display().to_string())),
        Err(e) => broken("policy", e.message, "gated commands are refused until it loads; policy check says more"),
    });
    rows.push(match core.guard.enrolled() {
        Ok(people) if people.is_empty() => limited(
            "approvers",
            "nobody is enrolled",
            "gated commands are refused; approver enroll NAME enrols a person",
        ),
        Ok(people) => ok("approvers", people.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")),
        Err(e) => broken("approvers", e.message, "the audit log holds who is enrolled; audit verify says more"),
    });
    rows.push(match audit::verify(&config.home.join("audit"), None) {
        Ok(v) => ok("audit log", format!("{} records hold", v.records)),
        Err(b) => broken("audit log", b.to_string(), "keep a copy, find out who changed it"),
    });
    match super::block_on(core.sessions.examine_tenant()) {
        Ok(None) => {}
        Ok(Some(examined)) => about_tenant(examined, rows),
        Err(e) => rows.push(told("tenant", e)),
    }
}

/// Clocks that differ by more are worth a word: Entra allows five minutes.
const SKEW_S: u64 = 240;

fn told(check: &'static str, e: Error) -> CheckRow {
    let hint = e.hint.unwrap_or_else(|| "docs/defender.md says how a tenant is set up".into());
    broken(check, format!("{}: {}", e.code, e.message), hint)
}

fn about_tenant(examined: Examined, rows: &mut Vec<CheckRow>) {
    rows.push(ok("tenant", "signed in"));
    rows.push(match examined.lacks {
        None => limited("permissions", "the token does not say which it has", "a call that lacks one names it"),
        Some(lacks) if lacks.is_empty() => ok("permissions", "all that the commands need"),
        Some(lacks) => {
            let each = lacks.iter().map(|l| format!("{} ({})", l.permission, l.needed_by)).collect::<Vec<_>>();
            let hint = "give them to the app in Entra as application permissions, with an administrator's consent";
            limited("permissions", format!("without {}", each.join("; ")), hint)
        }
    });
    rows.push(match examined.skew_s {
        Some(skew) if skew.unsigned_abs() > SKEW_S => {
            let side = if skew > 0 { "ahead of" } else { "behind" };
            limited("clock", format!("{} s {side} Entra's", skew.unsigned_abs()), "set the clock of this host")
        }
        Some(_) => ok("clock", "as Entra's"),
        None => limited("clock", "Entra did not tell the time", "compare it with another clock"),
    });
    rows.push(match examined.library {
        Err(e) => told("tenant library", e),
        Ok(held) => match held.drifted {
            Some(e) => told("tenant library", e),
            None if held.scripts == held.of => ok("tenant library", format!("holds all {} scripts", held.of)),
            None => {
                let fact = format!("holds {} of {} scripts", held.scripts, held.of);
                limited("tenant library", fact, "live-response library sync puts them there")
            }
        },
    });
}

/// The home as it would be used: nothing is made here.
fn home(path: &Path) -> CheckRow {
    let shown = path.display().to_string();
    let Ok(stat) = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) else {
        return ok("home", format!("{shown}, made when it is needed"));
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return broken(
            "home",
            format!("{shown} is not a directory"),
            "set LIVE_RESPONSE_HOME to a directory of your own",
        );
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return broken(
            "home",
            format!("{shown} belongs to another account"),
            "set LIVE_RESPONSE_HOME to one of your own",
        );
    }
    let mode = stat.st_mode & 0o777;
    if mode & 0o022 != 0 {
        return broken("home", format!("{shown} has mode {mode:04o}"), "others may write there: chmod 0700");
    }
    ok("home", format!("{shown}, mode {mode:04o}"))
}

/// Locks and durable writes are what the guard rests on; file systems of other machines keep neither for sure.
fn file_system(home: &Path) -> CheckRow {
    const REMOTE: [(u64, &str); 8] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
    ];
    let existing = home.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let Ok(stat) = rustix::fs::statfs(existing) else {
        return limited("file system", "the home's cannot be told", "keep the home on a local disk");
    };
    // The kernel's magic numbers have 32 bits; the type of the field differs by platform.
    let magic = u64::try_from(stat.f_type).unwrap_or_default() & 0xffff_ffff;
    match REMOTE.iter().find(|(m, _)| *m == magic) {
        Some((_, name)) => {
            limited("file system", format!("the home lies on {name}"), "locks and durable writes need a local disk")
        }
        None if stat.f_bavail == 0 => broken("file system", "the home's disk is full", "no log, no action: make room"),
        None => ok("file system", format!("local, type {magic:#x}")),
    }
}

fn about_host(rows: &mut Vec<CheckRow>) {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    rows.push(ok("system", format!("{} {release}", system.sysname().to_string_lossy())));
    if cfg!(target_os = "linux") {
        rows.push(account());
        rows.push(descriptors());
        rows.push(beneath());
        rows.push(program("firewall", "nft", "isolate needs nft"));
        rows.push(scanner());
    } else {
        rows.push(limited("collectors", "none for this system yet", "the local device is read on Linux only so far"));
    }
}

/// What the account may see, by the capabilities that its processes hold.
fn account() -> CheckRow {
    const WANTED: [(u32, &str); 5] = [
        (2, "CAP_DAC_READ_SEARCH"),
        (5, "CAP_KILL"),
        (12, "CAP_NET_ADMIN"),
        (19, "CAP_SYS_PTRACE"),
        (21, "CAP_SYS_ADMIN"),
    ];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let missing: Vec<&str> = WANTED.iter().filter(|(bit, _)| held >> bit & 1 == 0).map(|(_, name)| *name).collect();
    let uid = rustix::process::geteuid().as_raw();
    if missing.is_empty() {
        return ok("account", format!("uid {uid}, sees and reaches everything"));
    }
    limited(
        "account",
        format!("uid {uid}, without {}", missing.join(", ")),
        "other accounts' processes, sockets and files stay hidden in part; answers say which",
    )
}

fn descriptors() -> CheckRow {
    match rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()) {
        Ok(_) => ok("pidfd", "a process is stopped by handle"),
        Err(e) => broken("pidfd", std::io::Error::from(e).to_string(), "remediate process needs Linux 5.3 or later"),
    }
}

fn beneath() -> CheckRow {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(_) => ok("openat2", "paths are followed without links"),
        Err(e) => {
            limited("openat2", std::io::Error::from(e).to_string(), "it needs Linux 5.6, or a sandbox that allows it")
        }
    }
}

fn program(check: &'static str, name: &'static str, hint: &'static str) -> CheckRow {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let runs = |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    match places.map(|dir| dir.join(name)).find(runs) {
        Some(found) => ok(check, found.display().to_string()),
        None => limited(check, format!("{name} is not installed"), hint),
    }
}

fn scanner() -> CheckRow {
    const SOCKETS: [&str; 3] = ["/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock", "/run/clamav/clamd.sock"];
    match SOCKETS.iter().find(|s| Path::new(s).exists()) {
        Some(socket) => ok("scanner", format!("clamd at {socket}")),
        None => limited("scanner", "clamd does not run here", "scan and analyze will use it where it does"),
    }
}
