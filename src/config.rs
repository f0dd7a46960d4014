//! Configuration: one TOML file, read strictly, and where things lie.
//!
//! Invariants: none is needed; an unknown key is an error that names file, line and the nearest known key; what asks
//! for a mode that this build does not have is refused, never ignored. Secrets are not in it, only files that hold them.

mod defender;

pub use defender::{Credential, Defender, DefenderLimits};

use crate::error::{Error, ErrorCode, Result, in_words};
use crate::nearest::nearest;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// No configuration or policy is larger.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// What holds for this process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, where there is one.
    pub file: Option<PathBuf>,
    /// Where state lies: `audit/`, `guard/`, `evidence/`, `library/`, `quarantine/`.
    pub home: PathBuf,
    /// The policy file; `None` for the built-in policy.
    pub policy: Option<PathBuf>,
    /// Gated commands on other devices than this host, though assistant and guard share an account.
    pub allow_shared_account: bool,
    pub limits: Limits,
    /// Directories that `image:` may open; none listed means any, in embedded mode.
    pub images: Vec<PathBuf>,
    /// The socket of a ClamAV daemon that is at none of the usual places.
    pub clamd: Option<PathBuf>,
    /// Where `putfile` puts files on this host; `None` for the usual places.
    pub working_folder: Option<PathBuf>,
    /// Minisign public keys whose signatures on library files count.
    pub library_keys: Vec<String>,
    /// The Defender tenant, where one is named.
    pub defender: Option<Defender>,
}

/// Limits of sessions and commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub sessions: usize,
    pub sessions_per_user: usize,
    /// Seconds after which an unused session ends.
    pub idle_s: u64,
    /// Seconds that a command may run.
    pub command_s: u64,
    /// Seconds for `getfile`, `findfile` and `run`.
    pub long_command_s: u64,
    /// Seconds after which a call that still runs is answered as a job.
    pub answer_within_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 25,
            sessions_per_user: 10,
            idle_s: 1800,
            command_s: 600,
            long_command_s: 1800,
            answer_within_s: 25,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    service: Option<toml::Table>,
    defender: Option<defender::WrittenDefender>,
    guard: WrittenGuard,
    limits: WrittenLimits,
    local: WrittenLocal,
    library: WrittenLibrary,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenGuard {
    policy: Option<PathBuf>,
    allow_shared_account: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    sessions: Option<u64>,
    sessions_per_user: Option<u64>,
    idle_s: Option<u64>,
    command_s: Option<u64>,
    long_command_s: Option<u64>,
    answer_within_s: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLocal {
    images: Vec<PathBuf>,
    clamd: Option<PathBuf>,
    working_folder: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLibrary {
    keys: Vec<String>,
}

impl Config {
    /// `--config`, else `$LIVE_RESPONSE_CONFIG`, else `$XDG_CONFIG_HOME/live-response/config.toml`; only the last may
    /// be missing. State lies in `$LIVE_RESPONSE_HOME`, else `$XDG_STATE_HOME/live-response`.
    pub fn load(explicit: Option<&Path>) -> Result<Config> {
        Self::load_with(explicit, &|name| std::env::var_os(name))
    }

    /// No file, no policy, every default.
    pub fn of_home(home: PathBuf) -> Config {
        Config {
            file: None,
            home: absolute(home),
            policy: None,
            allow_shared_account: false,
            limits: Limits::default(),
            images: Vec::new(),
            clamd: None,
            working_folder: None,
            library_keys: Vec::new(),
            defender: None,
        }
    }

    fn load_with(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Config> {
        let env_path = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let below_home = |xdg: &str, rest: &str| {
            let base = env_path(xdg).filter(|p| p.is_absolute()).or_else(|| env_path("HOME").map(|h| h.join(rest)));
            base.map(|b| b.join("live-response"))
        };
        let named = explicit.map(Path::to_path_buf).or_else(|| env_path("LIVE_RESPONSE_CONFIG"));
        let usual = below_home("XDG_CONFIG_HOME", ".config").map(|d| d.join("config.toml"));
        let (place, must_exist) = match named {
            Some(place) => (Some(place), true),
            None => (usual, false),
        };
        let home = env_path("LIVE_RESPONSE_HOME").or_else(|| below_home("XDG_STATE_HOME", ".local/state"));
        let home = home.ok_or_else(|| {
            Error::new(ErrorCode::StoreUnavailable, "there is no place for state: HOME is not set")
                .hint("set LIVE_RESPONSE_HOME to a directory of your own")
        })?;
        let text = match &place {
            Some(place) => read_text(place, must_exist)?,
            None => None,
        };
        let file = place.clone().filter(|_| text.is_some());
        let written = match (&file, &text) {
            (Some(file), Some(text)) => parse_toml::<Written>(file, text)?,
            _ => Written::default(),
        };
        refuse_other_modes(&written, file.as_deref())?;
        let beside = place.as_deref().and_then(Path::parent).map(|d| d.join("policy.toml"));
        let policy = match written.guard.policy {
            Some(policy) => Some(beside_file(file.as_deref(), policy)),
            None => beside.filter(|p| p.symlink_metadata().is_ok()),
        };
        Ok(Config {
            defender: defender::read(written.defender, file.as_deref())?,
            working_folder: working_folder(written.local.working_folder, file.as_deref())?,
            library_keys: library_keys(written.library.keys, file.as_deref())?,
            limits: limits(&written.limits, file.as_deref())?,
            images: written.local.images.into_iter().map(|p| beside_file(file.as_deref(), p)).collect(),
            clamd: written.local.clamd.map(|p| beside_file(file.as_deref(), p)),
            allow_shared_account: written.guard.allow_shared_account,
            home: absolute(home),
            policy: policy.map(absolute),
            file: file.map(absolute),
        })
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// A relative path in a file is meant from that file's directory.
fn beside_file(file: Option<&Path>, path: PathBuf) -> PathBuf {
    match file.and_then(Path::parent) {
        Some(dir) => dir.join(path),
        None => path,
    }
}

fn refuse_other_modes(written: &Written, file: Option<&Path>) -> Result<()> {
    if written.service.is_none() {
        return Ok(());
    }
    let file = file.unwrap_or(Path::new("the configuration")).display();
    Err(Error::new(ErrorCode::Unsupported, format!("{file} has [service], but this build has no service mode"))
        .hint("take [service] out to run embedded on this host; it is not done without being asked for"))
}

fn limits(written: &WrittenLimits, file: Option<&Path>) -> Result<Limits> {
    let default = Limits::default();
    let bounded = |name: &str, value: Option<u64>, default: u64, max: u64| match value {
        None => Ok(default),
        Some(v) if (1..=max).contains(&v) => Ok(v),
        Some(v) => {
            let file = file.unwrap_or(Path::new("the configuration")).display();
            Err(Error::new(ErrorCode::BadArgs, format!("{file}: [limits] {name} = {v} is out of bounds"))
                .hint(format!("give 1 to {max}")))
        }
    };
    let count = |name: &str, value: Option<u64>, default: usize| {
        bounded(name, value, default as u64, 10_000).map(|v| usize::try_from(v).unwrap_or(default))
    };
    Ok(Limits {
        sessions: count("sessions", written.sessions, default.sessions)?,
        sessions_per_user: count("sessions_per_user", written.sessions_per_user, default.sessions_per_user)?,
        idle_s: bounded("idle_s", written.idle_s, default.idle_s, 86_400)?,
        command_s: bounded("command_s", written.command_s, default.command_s, 86_400)?,
        long_command_s: bounded("long_command_s", written.long_command_s, default.long_command_s, 86_400)?,
        answer_within_s: bounded("answer_within_s", written.answer_within_s, default.answer_within_s, 3_600)?,
    })
}

/// It is made with its parents and written to by root, so no relative path decides where.
fn working_folder(folder: Option<PathBuf>, file: Option<&Path>) -> Result<Option<PathBuf>> {
    match folder {
        Some(folder) if !folder.is_absolute() || folder.components().any(|c| c == Component::ParentDir) => {
            let file = file.unwrap_or(Path::new("the configuration")).display();
            let what = format!("{file}: [local] working_folder = {:?} is not an absolute path", folder.display());
            Err(Error::new(ErrorCode::BadArgs, what).hint("give the whole path, without .."))
        }
        folder => Ok(folder),
    }
}

/// A key that is none would make its signatures count for nothing, silently.
fn library_keys(keys: Vec<String>, file: Option<&Path>) -> Result<Vec<String>> {
    match keys.iter().find(|key| minisign_verify::PublicKey::from_base64(key).is_err()) {
        None => Ok(keys),
        Some(bad) => {
            let file = file.unwrap_or(Path::new("the configuration")).display();
            let what = format!("{file}: [library] keys: {bad:?} is no minisign public key");
            Err(Error::new(ErrorCode::BadArgs, what).hint("give the second line of minisign.pub, which begins with RW"))
        }
    }
}

/// The text of a regular file; never waits for a FIFO or a device.
fn read_text(path: &Path, must_exist: bool) -> Result<Option<String>> {
    let bad = |code, why: String| Error::new(code, format!("configuration {}: {why}", path.display()));
    let fd = match rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) if !must_exist => return Ok(None),
        Err(e) => return Err(Error::io(format!("configuration {}", path.display()), e.into())),
    };
    let file = File::from(fd);
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        return Err(bad(ErrorCode::BadArgs, "is not a file".into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| bad(ErrorCode::Access, e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(ErrorCode::TooLarge, format!("is larger than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| bad(ErrorCode::BadArgs, "is not UTF-8".into()))
}

/// TOML as a type, with errors that name file, line and, for an unknown key, the nearest known one.
pub(crate) fn parse_toml<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let start = e.span().map_or(0, |s| s.start);
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let message = e.message();
        let mut names = message.split('`').skip(1).step_by(2);
        let unknown = message.strip_prefix("unknown field").and_then(|_| names.next());
        let hint = unknown.map(|unknown| {
            let known: Vec<&str> = names.collect();
            match nearest(unknown, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", known.join(", ")),
            }
        });
        let what = match unknown {
            Some(key) => format!("unknown key {key:?}"),
            None => in_words(message),
        };
        let hint = hint.unwrap_or_else(|| "docs/configuration.md shows every key with its default".into());
        Error::new(ErrorCode::BadArgs, format!("{}:{line}: {what}", file.display())).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    fn load(dir: &Path, text: &str) -> Result<Config> {
        let file = dir.join("config.toml");
        std::fs::write(&file, text).unwrap();
        Config::load_with(Some(&file), &|name| (name == "HOME").then(|| "/home/x".into()))
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest() {
        let dir = Scratch::new();
        let e = load(&dir, "[limits]\nsessions = 3\nidel_s = 4\n").unwrap_err();
        assert!(e.message.ends_with("config.toml:3: unknown key \"idel_s\""), "{}", e.message);
        assert_eq!(e.hint.as_deref(), Some("did you mean idle_s?"));
    }

    #[test]
    fn a_service_is_never_replaced_by_embedded_mode() {
        let dir = Scratch::new();
        let e = load(&dir, "[service]\nurl = \"https://x\"\n").unwrap_err();
        assert_eq!(e.code, ErrorCode::Unsupported);
        assert!(e.message.contains("no service mode"), "{}", e.message);
    }

    #[test]
    fn limits_are_bounded() {
        let dir = Scratch::new();
        for text in ["[limits]\nsessions = 0", "[limits]\nidle_s = 999999999", "[limits]\ncommand_s = -1"] {
            assert_eq!(load(&dir, text).unwrap_err().code, ErrorCode::BadArgs, "{text}");
        }
        assert_eq!(load(&dir, "[limits]\nsessions = 2").unwrap().limits.sessions, 2);
    }

    #[test]
    fn a_fifo_does_not_block() {
        let dir = Scratch::new();
        let fifo = dir.join("fifo");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(Config::load_with(Some(&fifo), &|_| Some("/x".into())).unwrap_err().code, ErrorCode::BadArgs);
    }

    #[test]
    fn a_named_file_must_exist_and_the_usual_one_need_not() {
        let dir = Scratch::new();
        let env = |name: &str| (name == "XDG_CONFIG_HOME" || name == "HOME").then(|| dir.as_os_str().to_owned());
        let e = Config::load_with(Some(&dir.join("none.toml")), &env).unwrap_err();
        assert_eq!(e.code, ErrorCode::NotFound);
        let config = Config::load_with(None, &env).unwrap();
        assert_eq!((config.file, config.policy, config.limits), (None, None, Limits::default()));
        assert_eq!(config.home, dir.join(".local/state/live-response"));
    }

    #[test]
    fn a_key_of_the_library_is_one() {
        let dir = Scratch::new();
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(load(&dir, &format!("[library]\nkeys = [\"{key}\"]")).unwrap().library_keys, [key]);
        for bad in ["", "RW", "AAAA", "untrusted comment: x"] {
            let e = load(&dir, &format!("[library]\nkeys = [\"{bad}\"]")).unwrap_err();
            assert_eq!(e.code, ErrorCode::BadArgs, "{bad:?}");
        }
        assert_eq!(load(&dir, "[local]\nworking_folder = \"x/y\"").unwrap_err().code, ErrorCode::BadArgs);
        assert_eq!(load(&dir, "[local]\nworking_folder = \"/x/../y\"").unwrap_err().code, ErrorCode::BadArgs);
    }

    #[test]
    fn a_policy_beside_the_configuration_is_found() {
        let dir = Scratch::new();
        std::fs::write(dir.join("policy.toml"), "version = 1").unwrap();
        assert_eq!(load(&dir, "").unwrap().policy, Some(dir.join("policy.toml")));
        assert_eq!(load(&dir, "[guard]\npolicy = \"p/q.toml\"").unwrap().policy, Some(dir.join("p/q.toml")));
    }
}
