//! The rows of the script pack as those of the model.
//!
//! Invariant: a field of the wrong type is as if it were missing, and a word that no script of ours has is `unknown`.

use super::client::json::{time, tolerant};
use super::document::Wire;
use super::pack;
use crate::model::{
    Attributes, Connection, DevicePath, Driver, FileEntry, FileInfo, FileRow, PackageOwner, Persistence, Process,
    RegistryKey, RegistryRow, Remediated, ScheduledTask, Service, Sha256, StartupItem, Timestamp, UndoId,
};
use crate::shape::Untrusted;
use serde::Deserialize;

const UNKNOWN: &str = "unknown";
const KINDS: &[&str] = &["file", "directory", "symlink", "fifo", "socket", "block_device", "char_device"];
const PROTOCOLS: &[&str] = &["tcp", "tcp6", "udp", "udp6"];
const STATES: &[&str] = &[
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSED",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "UNCONNECTED",
];
const TASKS: &[&str] = &["cron", "timer", "at", "anacron", "task"];

/// The word itself where it is one that is known.
fn known(word: &Option<String>, words: &[&'static str]) -> &'static str {
    let word = word.as_deref().unwrap_or_default();
    words.iter().copied().find(|w| *w == word).unwrap_or(UNKNOWN)
}

/// What texts take in memory, about.
fn texts<const N: usize>(all: [Option<&Untrusted>; N]) -> u64 {
    all.iter().flatten().map(|t| t.raw().len() as u64 + 32).sum()
}

fn paths<const N: usize>(all: [Option<&DevicePath>; N]) -> u64 {
    all.iter().flatten().map(|p| p.as_bytes().len() as u64 + 16).sum()
}

macro_rules! wire {
    ($name:ident -> $row:ty { $($(#[$how:meta])* $field:ident: $ty:ty,)* } $self:ident => $make:expr; $one:ident => $memory:expr;) => {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name { $($(#[$how])* $field: $ty,)* }

        #[cfg(test)]
        impl $name {
            /// What it reads.
            const FIELDS: &[&str] = &[$(stringify!($field)),*];
        }

        impl Wire for $name {
            type Row = $row;

            fn row(self) -> Option<$row> {
                let $self = self;
                $make
            }

            fn memory($one: &$row) -> u64 {
                $memory
            }
        }
    };
}

/// Windows writes some with a dash, and `ss` shortens some.
fn state(word: &Option<String>) -> &'static str {
    let word = word.as_deref().unwrap_or_default().replace('-', "_").replace("FIN_WAIT_", "FIN_WAIT");
    match word.as_str() {
        "ESTAB" => "ESTABLISHED",
        "UNCONN" => "UNCONNECTED",
        "CLOSE" => "CLOSED",
        word => STATES.iter().copied().find(|s| *s == word).unwrap_or("UNKNOWN"),
    }
}

wire! {
    ProcessWire -> Process {
        #[serde(deserialize_with = "tolerant")] pid: Option<u32>,
        #[serde(deserialize_with = "tolerant")] ppid: u32,
        #[serde(deserialize_with = "tolerant")] name: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] path: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] command_line: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] user: Option<Untrusted>,
        #[serde(deserialize_with = "time")] started: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] sha256: Option<Sha256>,
        #[serde(deserialize_with = "tolerant")] deleted_image: Option<bool>,
        #[serde(deserialize_with = "tolerant")] cwd: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] container: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] cpu_ms: Option<u64>,
        #[serde(deserialize_with = "tolerant")] rss_bytes: Option<u64>,
        #[serde(deserialize_with = "tolerant")] depth: Option<u32>,
    }
    w => Some(Process {
        pid: w.pid?,
        ppid: w.ppid,
        name: w.name?,
        path: w.path,
        command_line: w.command_line,
        user: w.user,
        started: w.started,
        sha256: w.sha256,
        deleted_image: w.deleted_image,
        cwd: w.cwd,
        container: w.container,
        cpu_ms: w.cpu_ms,
        rss_bytes: w.rss_bytes,
        depth: w.depth,
    });
    r => texts([Some(&r.name), r.command_line.as_ref(), r.user.as_ref(), r.container.as_ref()])
        + paths([r.path.as_ref(), r.cwd.as_ref()]) + if r.sha256.is_some() { 64 } else { 0 };
}

wire! {
    ConnectionWire -> Connection {
        #[serde(deserialize_with = "tolerant")] protocol: Option<String>,
        #[serde(deserialize_with = "tolerant")] local_address: Option<String>,
        #[serde(deserialize_with = "tolerant")] local_port: u16,
        #[serde(deserialize_with = "tolerant")] remote_address: Option<String>,
        #[serde(deserialize_with = "tolerant")] remote_port: Option<u16>,
        #[serde(deserialize_with = "tolerant")] state: Option<String>,
        #[serde(deserialize_with = "tolerant")] pid: Option<u32>,
        #[serde(deserialize_with = "tolerant")] process: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] user: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] netns: Option<u64>,
        #[serde(deserialize_with = "tolerant")] container: Option<Untrusted>,
    }
    w => Some(Connection {
        protocol: known(&w.protocol, PROTOCOLS),
        local_address: address(w.local_address)?,
        local_port: w.local_port,
        remote_address: address(w.remote_address),
        remote_port: w.remote_port,
        state: state(&w.state),
        pid: w.pid,
        process: w.process,
        user: w.user,
        netns: w.netns,
        container: w.container,
    });
    r => texts([r.process.as_ref(), r.user.as_ref(), r.container.as_ref()]) + 64;
}

/// An address, with its zone where it has one; the row's field is not cleaned later.
fn address(text: Option<String>) -> Option<String> {
    let text = text?;
    let (bare, zone) = text.split_once('%').unwrap_or((&text, ""));
    let is_zone = zone.len() <= 32 && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
    (bare.parse::<std::net::IpAddr>().is_ok() && is_zone).then_some(text)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttributesWire {
    #[serde(deserialize_with = "tolerant")]
    mode: String,
    #[serde(deserialize_with = "tolerant")]
    owner: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    group: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    hidden: bool,
    #[serde(deserialize_with = "tolerant")]
    immutable: bool,
    #[serde(deserialize_with = "tolerant")]
    append_only: bool,
}

impl AttributesWire {
    fn read(self) -> Attributes {
        let mode = self.mode.bytes().all(|b| b.is_ascii_graphic()) && self.mode.len() <= 12;
        Attributes {
            mode: if mode { self.mode } else { String::new() },
            owner: self.owner,
            group: self.group,
            hidden: self.hidden,
            immutable: self.immutable,
            append_only: self.append_only,
        }
    }
}

wire! {
    FileWire -> FileRow {
        #[serde(deserialize_with = "tolerant")] name: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] path: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] kind: Option<String>,
        #[serde(deserialize_with = "tolerant")] size_bytes: Option<u64>,
        #[serde(deserialize_with = "time")] created: Option<Timestamp>,
        #[serde(deserialize_with = "time")] modified: Option<Timestamp>,
        #[serde(deserialize_with = "time")] accessed: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] target: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] attributes: Option<AttributesWire>,
    }
    w => Some(FileRow::from(FileEntry {
        name: w.name?,
        path: w.path?,
        kind: known(&w.kind, KINDS),
        size_bytes: w.size_bytes,
        created: w.created,
        modified: w.modified,
        accessed: w.accessed,
        target: w.target,
        attributes: w.attributes.map(AttributesWire::read),
    }));
    r => r.memory().saturating_sub(size_of::<FileRow>() as u64);
}

wire! {
    ServiceWire -> Service {
        #[serde(deserialize_with = "tolerant")] name: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] description: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] state: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] start_mode: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] path: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] account: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] pid: Option<u32>,
        #[serde(deserialize_with = "tolerant")] unit_file: Option<DevicePath>,
    }
    w => Some(Service {
        name: w.name?,
        description: w.description,
        state: w.state,
        start_mode: w.start_mode,
        path: w.path,
        account: w.account,
        pid: w.pid,
        unit_file: w.unit_file,
    });
    r => texts([Some(&r.name), r.description.as_ref(), r.state.as_ref(), r.start_mode.as_ref(), r.account.as_ref()])
        + paths([r.path.as_ref(), r.unit_file.as_ref()]);
}

wire! {
    DriverWire -> Driver {
        #[serde(deserialize_with = "tolerant")] name: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] version: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] path: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] size_bytes: Option<u64>,
        #[serde(deserialize_with = "tolerant")] signer: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] signed: Option<bool>,
        #[serde(deserialize_with = "tolerant")] loaded: Option<bool>,
        #[serde(deserialize_with = "tolerant")] used_by: Vec<Untrusted>,
        #[serde(deserialize_with = "tolerant")] tainted: Option<Untrusted>,
    }
    w => Some(Driver {
        name: w.name?,
        version: w.version,
        path: w.path,
        size_bytes: w.size_bytes,
        signer: w.signer,
        signed: w.signed,
        loaded: w.loaded,
        used_by: w.used_by,
        tainted: w.tainted,
    });
    r => texts([Some(&r.name), r.version.as_ref(), r.signer.as_ref(), r.tainted.as_ref()])
        + paths([r.path.as_ref()]) + r.used_by.iter().map(|u| u.raw().len() as u64 + 48).sum::<u64>();
}

wire! {
    TaskWire -> ScheduledTask {
        #[serde(deserialize_with = "tolerant")] name: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] kind: Option<String>,
        #[serde(deserialize_with = "tolerant")] schedule: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] command: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] user: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] enabled: Option<bool>,
        #[serde(deserialize_with = "tolerant")] source: Option<DevicePath>,
        #[serde(deserialize_with = "time")] next_run: Option<Timestamp>,
    }
    w => Some(ScheduledTask {
        name: w.name?,
        kind: known(&w.kind, TASKS),
        schedule: w.schedule,
        command: w.command,
        user: w.user,
        enabled: w.enabled,
        source: w.source,
        next_run: w.next_run,
    });
    r => texts([Some(&r.name), r.schedule.as_ref(), r.command.as_ref(), r.user.as_ref()]) + paths([r.source.as_ref()]);
}

wire! {
    StartupWire -> StartupItem {
        #[serde(deserialize_with = "tolerant")] user: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] folder: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] file: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] target: Option<Untrusted>,
        #[serde(deserialize_with = "time")] modified: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] sha256: Option<Sha256>,
    }
    w => Some(StartupItem {
        user: w.user,
        folder: w.folder?,
        file: w.file?,
        target: w.target,
        modified: w.modified,
        sha256: w.sha256,
    });
    r => texts([r.user.as_ref(), r.target.as_ref()]) + paths([Some(&r.folder), Some(&r.file)]) + 64;
}

wire! {
    PersistenceWire -> Persistence {
        #[serde(deserialize_with = "tolerant")] technique: Option<String>,
        #[serde(deserialize_with = "tolerant")] attack_id: Option<String>,
        #[serde(deserialize_with = "tolerant")] location: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] name: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] command: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] user: Option<Untrusted>,
        #[serde(deserialize_with = "time")] modified: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] sha256: Option<Sha256>,
        #[serde(deserialize_with = "tolerant")] packaged: Option<bool>,
        #[serde(deserialize_with = "tolerant")] note: Option<Untrusted>,
    }
    w => Some(Persistence {
        technique: w.technique.as_deref().and_then(pack::word).unwrap_or(UNKNOWN),
        attack_id: w.attack_id.as_deref().and_then(pack::word).unwrap_or(UNKNOWN),
        location: w.location?,
        name: w.name,
        command: w.command,
        user: w.user,
        modified: w.modified,
        sha256: w.sha256,
        packaged: w.packaged,
        note: w.note,
    });
    r => texts([r.name.as_ref(), r.command.as_ref(), r.user.as_ref(), r.note.as_ref()])
        + paths([Some(&r.location)]) + if r.sha256.is_some() { 64 } else { 0 };
}

wire! {
    RegistryWire -> RegistryRow {
        #[serde(deserialize_with = "tolerant")] key: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] value: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] kind: Option<String>,
        #[serde(deserialize_with = "tolerant")] data: Option<Untrusted>,
        #[serde(deserialize_with = "time")] modified: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] subkeys: Option<u64>,
    }
    w => Some(RegistryRow {
        key: w.key?,
        value: w.value,
        kind: w.kind.filter(|k| k.len() <= 40 && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')),
        data: w.data,
        modified: w.modified,
        subkeys: w.subkeys,
        from_log: None,
    });
    r => texts([Some(&r.key), r.value.as_ref(), r.data.as_ref()]) + 32;
}

wire! {
    RemediatedWire -> Remediated {
        #[serde(deserialize_with = "tolerant")] r#type: Option<String>,
        #[serde(deserialize_with = "tolerant")] id: Option<Untrusted>,
        #[serde(deserialize_with = "tolerant")] outcome: Option<String>,
        #[serde(deserialize_with = "tolerant")] undo_id: Option<String>,
        #[serde(deserialize_with = "tolerant")] path: Option<DevicePath>,
        #[serde(deserialize_with = "tolerant")] sha256: Option<Sha256>,
        #[serde(deserialize_with = "tolerant")] size_bytes: Option<u64>,
        #[serde(deserialize_with = "time")] at: Option<Timestamp>,
        #[serde(deserialize_with = "tolerant")] note: Option<Untrusted>,
    }
    w => Some(Remediated {
        r#type: w.r#type.and_then(plain_word)?,
        id: w.id?,
        outcome: w.outcome.and_then(plain_word).unwrap_or_else(|| UNKNOWN.into()),
        undo_id: w.undo_id.filter(|u| is_undo_id(u)).map(UndoId::new),
        path: w.path,
        sha256: w.sha256,
        size_bytes: w.size_bytes,
        at: w.at,
        request_id: None,
        exit_code: None,
        note: w.note,
    });
    r => texts([Some(&r.id), r.note.as_ref()]) + paths([r.path.as_ref()]) + 128;
}

fn plain_word(word: String) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (!word.is_empty() && word.len() <= 32 && word.bytes().all(is_plain)).then_some(word)
}

fn is_undo_id(id: &str) -> bool {
    id.strip_prefix("u-").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The key beside the rows of `registry`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyWire {
    #[serde(deserialize_with = "tolerant")]
    key: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    modified: Option<Timestamp>,
}

impl KeyWire {
    pub(crate) fn read(self) -> RegistryKey {
        RegistryKey { key: self.key, modified: self.modified, secret: None }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PackageWire {
    #[serde(deserialize_with = "tolerant")]
    name: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    version: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    manager: String,
    #[serde(deserialize_with = "tolerant")]
    unmodified: Option<bool>,
}

/// What `fileinfo` gives.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct FileInfoWire {
    #[serde(deserialize_with = "tolerant")]
    path: Option<DevicePath>,
    #[serde(deserialize_with = "tolerant")]
    size_bytes: Option<u64>,
    #[serde(deserialize_with = "time")]
    created: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    modified: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    accessed: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    changed: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    attributes: AttributesWire,
    #[serde(deserialize_with = "tolerant")]
    md5: String,
    #[serde(deserialize_with = "tolerant")]
    sha1: String,
    #[serde(deserialize_with = "tolerant")]
    sha256: Option<Sha256>,
    #[serde(deserialize_with = "tolerant")]
    kind: String,
    #[serde(deserialize_with = "tolerant")]
    package: Option<PackageWire>,
    #[serde(deserialize_with = "tolerant")]
    signature: Option<String>,
    #[serde(deserialize_with = "tolerant")]
    target: Option<DevicePath>,
    #[serde(deserialize_with = "tolerant")]
    links: Option<u64>,
    #[serde(deserialize_with = "tolerant")]
    deleted: bool,
}

impl FileInfoWire {
    /// `None` where it says neither which file it is of nor what its bytes are.
    pub(crate) fn read(self) -> Option<FileInfo> {
        let digits = |text: &String, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits(&self.md5, 32) || !digits(&self.sha1, 40) {
            return None;
        }
        let modified = self.modified?;
        Some(FileInfo {
            path: self.path?,
            size_bytes: self.size_bytes?,
            created: self.created,
            modified,
            accessed: self.accessed.unwrap_or(modified),
            changed: self.changed.unwrap_or(modified),
            attributes: self.attributes.read(),
            md5: self.md5.to_ascii_lowercase(),
            sha1: self.sha1.to_ascii_lowercase(),
            sha256: self.sha256?,
            lsh: None,
            kind: shown(self.kind),
            package: self.package.and_then(|p| {
                Some(PackageOwner {
                    name: p.name?,
                    version: p.version,
                    manager: shown(p.manager),
                    unmodified: p.unmodified,
                })
            }),
            signature: self.signature.map(shown),
            target: self.target,
            links: self.links.unwrap_or(1),
            deleted: self.deleted,
        })
    }
}

/// A device's words for a field that is not cleaned later.
fn shown(text: String) -> String {
    let cut: String = text.chars().take(300).collect();
    crate::shape::scrub(&cut).into_owned()
}

#[cfg(test)]
mod tests;
