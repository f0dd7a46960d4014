//! What is wanted (a wish), what exactly would be done (steps), and what came of it (an outcome).
//!
//! Invariant: a step is self-contained and exact. It names the entity by identity and content, so that the device can
//! refuse it when the entity is no longer the one that a person saw.

use super::{
    DevicePath, FileIdentity, Isolation, IsolationRules, LibraryItem, LineTarget, LinkTarget, PartOf, Profile, Release,
    ServiceTarget, Sha256, TenantDeed, Timestamp, UndoId, ValueTarget, row,
};
use crate::error::Error;
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of entities that `remediate` and `undo` take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    File,
    Process,
    Service,
    Registry,
    ScheduledTask,
    Startup,
}

impl EntityKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            EntityKind::File => "file",
            EntityKind::Process => "process",
            EntityKind::Service => "service",
            EntityKind::Registry => "registry",
            EntityKind::ScheduledTask => "scheduledtask",
            EntityKind::Startup => "startup",
        }
    }
}

/// Wanted, unresolved. The device resolves it into steps, read only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Wish {
    /// `ids` are paths (joined to the session's directory) for files and start-up items, pids for processes, names.
    Remediate {
        kind: EntityKind,
        ids: Vec<String>,
    },
    /// An id is what `remediate` took, or an undo id.
    Undo {
        kind: EntityKind,
        ids: Vec<String>,
    },
    /// Values of a hive copy, each as `key\value`.
    RemediateValues {
        hive: DevicePath,
        ids: Vec<String>,
    },
    /// An id is what `remediate` took, where the hive is named, or an undo id.
    UndoValues {
        hive: Option<DevicePath>,
        ids: Vec<String>,
    },
    /// `rules` are the policy's, put in before the device resolves it.
    Isolate {
        selective: bool,
        rules: IsolationRules,
    },
    Release,
    /// `directory` is where the script starts.
    Run {
        script: LibraryItem,
        parameters: Vec<String>,
        directory: DevicePath,
    },
    PutFile {
        item: LibraryItem,
        overwrite: bool,
        keep: bool,
    },
    /// A package into a folder of the device.
    Collect {
        folder: DevicePath,
        profile: Profile,
    },
    DeleteScript {
        item: LibraryItem,
    },
    /// Content of the evidence store that is on the secret list.
    Disclose(Disclosure),
    /// A scan that removes what it finds.
    Scan {
        full: bool,
    },
    /// Adds to what the tenant warns of, blocks or allows.
    AddIndicator {
        kind: String,
        value: String,
        effect: String,
        title: String,
        description: String,
        expires: Option<Timestamp>,
    },
    RemoveIndicator {
        id: String,
    },
}

impl Wish {
    pub const fn kind(&self) -> &'static str {
        match self {
            Wish::Remediate { kind, .. } => match kind {
                EntityKind::File => "remediate file",
                EntityKind::Process => "remediate process",
                EntityKind::Service => "remediate service",
                EntityKind::Registry => "remediate registry",
                EntityKind::ScheduledTask => "remediate scheduledtask",
                EntityKind::Startup => "remediate startup",
            },
            Wish::Undo { kind, .. } => match kind {
                EntityKind::File => "undo file",
                EntityKind::Process => "undo process",
                EntityKind::Service => "undo service",
                EntityKind::Registry => "undo registry",
                EntityKind::ScheduledTask => "undo scheduledtask",
                EntityKind::Startup => "undo startup",
            },
            Wish::RemediateValues { .. } => "remediate registry",
            Wish::UndoValues { .. } => "undo registry",
            Wish::Isolate { .. } => "isolate",
            Wish::Release => "release",
            Wish::Run { .. } => "run",
            Wish::PutFile { .. } => "putfile",
            Wish::Collect { .. } => "collect",
            Wish::DeleteScript { .. } => "library delete",
            Wish::Disclose(_) => "evidence",
            Wish::Scan { .. } => "scan",
            Wish::AddIndicator { .. } | Wish::RemoveIndicator { .. } => "indicator",
        }
    }
}

/// A slice of a sealed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    pub sha256: Sha256,
    /// Where it was collected last, for the person who decides.
    pub path: DevicePath,
    /// Why it is on the secret list.
    pub secret: String,
    pub entry: Option<String>,
    pub offset: u64,
    pub length: u64,
    /// `text`, `strings` or `hex`.
    pub r#as: String,
    pub r#match: Option<String>,
}

/// A file as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTarget {
    /// Absolute.
    pub path: DevicePath,
    pub identity: FileIdentity,
    pub size_bytes: u64,
    pub sha256: Sha256,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Timestamp,
    /// Hard links; more than one means that the bytes stay reachable.
    pub links: u64,
    /// The package that owns it unmodified, where one does.
    pub package: Option<String>,
}

/// A process as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTarget {
    pub pid: u32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`: with the pid and the boot it names one process for ever.
    pub start_ticks: u64,
    pub boot_id: String,
    pub started: Timestamp,
    pub name: String,
    pub user: String,
    pub command_line: String,
    /// Where its image lies, or lay before it was deleted; `None` for a memfd.
    pub image: Option<DevicePath>,
    pub image_identity: FileIdentity,
    pub image_sha256: Sha256,
    pub image_size: u64,
    /// Why its image stays where it is, where it does.
    #[serde(default)]
    pub image_note: Option<String>,
}

/// A program's bytes as they were when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramTarget {
    pub identity: FileIdentity,
    pub size_bytes: u64,
    pub sha256: Sha256,
}

/// One exact thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Moves a file into quarantine: content, metadata and position are kept for `undo`.
    Quarantine {
        file: FileTarget,
        #[serde(default)]
        part_of: Option<PartOf>,
    },
    /// Stops a process. `keep_image`: its image has no name any more, so a copy goes into quarantine first.
    Stop { process: ProcessTarget, keep_image: bool },
    /// Puts a quarantined file back where it was.
    Restore { undo_id: UndoId, path: DevicePath, size_bytes: u64, sha256: Sha256, mode: u32, uid: u32, gid: u32 },
    /// Writes a new package into a folder; nothing that is there is replaced.
    Collect { folder: DevicePath, directory: FileIdentity, name: String, profile: Profile },
    /// Takes one line out of a file; the whole file as it was is kept.
    CutLine { file: FileTarget, line: LineTarget, part_of: PartOf },
    /// Puts a cut line back into the file as it is now, before the line that has this number.
    PutLine { undo_id: UndoId, file: FileTarget, line: LineTarget },
    /// Takes a value out of a hive copy; the whole hive as it was is kept.
    CutValue { hive: FileTarget, value: ValueTarget, part_of: PartOf },
    /// Puts a value back. `whole`: the hive becomes what it was, byte for byte; otherwise the value goes into the hive
    /// as it is now.
    PutValue { undo_id: UndoId, hive: FileTarget, value: ValueTarget, whole: bool },
    /// Stops a unit of the running service manager.
    StopService { service: ServiceTarget, part_of: PartOf },
    /// Starts a unit that was stopped.
    StartService { undo_id: UndoId, unit: String },
    /// Takes a symlink away, such as the one that starts a service at boot.
    RemoveLink { link: LinkTarget, part_of: PartOf },
    /// Puts a symlink back.
    RestoreLink { undo_id: UndoId, path: DevicePath, target: DevicePath, uid: u32, gid: u32 },
    /// Makes a symlink to `/dev/null` in a unit's place, so that nothing starts it.
    Mask { path: DevicePath, part_of: PartOf },
    /// Takes such a symlink away.
    Unmask { undo_id: UndoId, path: DevicePath },
    /// Has the service manager read its files again.
    ReloadServices,
    /// Runs a script of the library: exactly these bytes, by this interpreter, with these words after it, each one
    /// argument and none of them read by a shell.
    Run {
        script: LibraryItem,
        interpreter: DevicePath,
        /// What the interpreter was. A plan of before it was kept has none, and is not run.
        #[serde(default)]
        program: Option<ProgramTarget>,
        parameters: Vec<String>,
        directory: DevicePath,
        user: String,
        /// After it everything that the script started is killed.
        time_limit_s: u64,
        /// Bytes of its output that are kept.
        output_max: u64,
    },
    /// Writes a library file to a new name, never over anything.
    Put { item: LibraryItem, path: DevicePath, keep: bool },
    /// Takes a file out of the library.
    DeleteScript { item: LibraryItem },
    /// Shows a slice of sealed content to the requester.
    Disclose { slice: Disclosure },
    /// Cuts the host off the network.
    Isolate { isolation: Isolation },
    /// Ends an isolation.
    Release { release: Release },
    /// What a Defender tenant does by itself.
    Tenant { deed: Box<TenantDeed> },
}

impl Step {
    /// Whether `undo`, or `release`, reverses it, so that no check value is asked for. A disclosure is not undone.
    pub fn is_reversible(&self) -> bool {
        match self {
            Step::Quarantine { .. }
            | Step::Restore { .. }
            | Step::Stop { .. }
            | Step::CutLine { .. }
            | Step::PutLine { .. }
            | Step::CutValue { .. }
            | Step::PutValue { .. }
            | Step::StopService { .. }
            | Step::StartService { .. }
            | Step::RemoveLink { .. }
            | Step::RestoreLink { .. }
            | Step::Mask { .. }
            | Step::Unmask { .. }
            | Step::ReloadServices => true,
            // A file that is put or collected replaces nothing: `remediate file` takes it away.
            Step::Put { .. } | Step::Collect { .. } => true,
            Step::Isolate { .. } | Step::Release { .. } => true,
            Step::Tenant { deed } => deed.is_reversible(),
            Step::Run { .. } | Step::DeleteScript { .. } | Step::Disclose { .. } => false,
        }
    }

    /// How long it may take by itself, where that is more than a command.
    pub const fn time_limit_s(&self) -> Option<u64> {
        match self {
            Step::Run { time_limit_s, .. } => Some(*time_limit_s),
            _ => None,
        }
    }

    /// Whether who was asked goes on with it when this process has ended.
    pub fn outlives(&self) -> bool {
        matches!(self, Step::Tenant { deed } if deed.outlives())
    }

    /// The library file whose bytes it is about.
    pub fn item(&self) -> Option<&LibraryItem> {
        match self {
            Step::Tenant { deed } => deed.item(),
            Step::Run { script: item, .. } | Step::Put { item, .. } | Step::DeleteScript { item } => Some(item),
            _ => None,
        }
    }
}

/// What `remediate list` shows, and one row a step of an approved `remediate` or `undo`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemediatedQuery {
    pub kind: Option<EntityKind>,
}

row! {
    #[derive(Deserialize)]
    pub struct Remediated {
        /// `file`, `process`, `script`, …
        pub r#type: String,
        /// What was named: a path, a pid.
        pub id: Untrusted,
        /// `quarantined`, `stopped`, `cut`, `unlinked`, `masked`, `restored`, `image_kept`, `ran`, `put`, `collected`, …;
        /// in `remediate list` the state now.
        pub outcome: String,
        /// What `undo` takes, besides the path.
        pub undo_id: Option<UndoId>,
        pub path: Option<DevicePath>,
        pub sha256: Option<Sha256>,
        pub size_bytes: Option<u64>,
        pub at: Option<Timestamp>,
        pub request_id: Option<super::RequestId>,
        /// Of a script that ended by itself.
        #[serde(default)]
        pub exit_code: Option<i32>,
        pub note: Option<Untrusted>,
    }
}

/// Whether an independent read afterwards saw the wanted state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    Yes,
    No,
    Unknown,
}

impl Verified {
    /// Of two, the one that promises less.
    pub const fn and(self, other: Verified) -> Verified {
        match (self, other) {
            (Verified::No, _) | (_, Verified::No) => Verified::No,
            (Verified::Unknown, _) | (_, Verified::Unknown) => Verified::Unknown,
            _ => Verified::Yes,
        }
    }
}

/// What came of an approved plan: rows for the steps that were done, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub rows: Vec<Remediated>,
    pub verified: Verified,
    pub end: End,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Done,
    /// The entity of a step is not the one that was approved; nothing was done to it, and later steps did not run.
    Drift {
        step: usize,
        message: String,
    },
    /// A code of `ErrorCode` and why.
    Failed {
        code: String,
        message: String,
    },
    /// It may have happened.
    Unknown {
        message: String,
    },
    /// Who was asked goes on with it: nothing of this is recorded as an end.
    GoesOn {
        message: String,
    },
}

impl End {
    /// How an outcome ends with this error.
    pub fn failed(e: &Error) -> End {
        let message = match &e.hint {
            Some(hint) => format!("{} ({hint})", e.message),
            None => e.message.clone(),
        };
        End::Failed { code: e.code.as_str().into(), message }
    }
}
