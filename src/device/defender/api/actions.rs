//! Machine actions: what was asked of devices, and how far it is.

use super::{ActionId, Comment, MachineId};
use crate::device::defender::client::json::{time, tolerant};
use crate::device::defender::client::{Client, Endpoint, Failure, FailureKind, Family, Pages, quoted};
use crate::error::{ErrorCode, Result};
use crate::model::{Job, Timestamp};
use crate::shape::Untrusted;
use serde::{Deserialize, Deserializer};
use std::fmt;

static ACTION: Endpoint = Endpoint {
    what: "show the action",
    permission: "Machine.Read.All",
    family: Family::ActionRead,
    missing: ErrorCode::NotFound,
};
static ACTIONS: Endpoint = Endpoint {
    what: "list the actions",
    permission: "Machine.Read.All",
    family: Family::ActionList,
    missing: ErrorCode::NotFound,
};
static CANCEL: Endpoint = Endpoint {
    what: "cancel the action",
    permission: "of the action's kind (Machine.LiveResponse, Machine.Isolate, Machine.Scan, …)",
    family: Family::ActionCancel,
    missing: ErrorCode::NotFound,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($variant,)*
            /// A word that no document names.
            Other(Untrusted),
        }

        impl $name {
            pub fn parse(word: &str) -> Self {
                $(if word.eq_ignore_ascii_case(stringify!($variant)) {
                    return $name::$variant;
                })*
                $name::Other(Untrusted::new(word))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::Other(Untrusted::new(""))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                String::deserialize(from).map(|word| $name::parse(&word))
            }
        }

        /// As the service writes it, cleaned.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant => f.write_str(stringify!($variant)),)*
                    $name::Other(word) => f.write_str(&word.clean()),
                }
            }
        }
    };
}

words! {
    /// How far an action is. `Cancelled` may stand although it ran.
    Status { Pending, InProgress, Succeeded, Failed, TimeOut, Cancelled }
}
words! {
    /// How far a command of a live response action is.
    CommandStatus { Created, Completed, Failed }
}
words! {
    /// What was asked of the device.
    ActionKind {
        RunAntiVirusScan,
        Offboard,
        LiveResponse,
        CollectInvestigationPackage,
        Isolate,
        Unisolate,
        StopAndQuarantineFile,
        RestrictCodeExecution,
        UnrestrictCodeExecution,
    }
}

impl Status {
    /// Whether nothing more comes. A word that nobody knows is not taken for an end.
    pub fn is_final(&self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed | Status::TimeOut | Status::Cancelled)
    }
}

/// An action on a device.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineAction {
    pub id: ActionId,
    #[serde(rename = "type", deserialize_with = "tolerant")]
    pub kind: ActionKind,
    #[serde(deserialize_with = "tolerant")]
    pub status: Status,
    #[serde(deserialize_with = "tolerant")]
    pub title: Option<Untrusted>,
    /// `Full`, `Selective`, `Quick`.
    #[serde(deserialize_with = "tolerant")]
    pub scope: Option<Untrusted>,
    /// A user, or the name or id of an app.
    #[serde(deserialize_with = "tolerant")]
    pub requestor: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub requestor_comment: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub request_source: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub machine_id: MachineId,
    #[serde(deserialize_with = "tolerant")]
    pub computer_dns_name: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub creation_date_time_utc: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    last_update_date_time_utc: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    last_update_time_utc: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub cancellation_requestor: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub cancellation_comment: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub cancellation_date_time_utc: Option<Timestamp>,
    /// A signed 32-bit number; 0 for none.
    #[serde(rename = "errorHResult", deserialize_with = "tolerant")]
    pub error_hresult: i64,
    /// Of live response only.
    #[serde(deserialize_with = "tolerant")]
    pub commands: Vec<CommandRun>,
}

/// A command of a live response action.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CommandRun {
    /// From 0: what the result's link is asked by.
    #[serde(deserialize_with = "tolerant")]
    pub index: u32,
    #[serde(deserialize_with = "time")]
    pub start_time: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub end_time: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub command_status: CommandStatus,
    #[serde(deserialize_with = "tolerant")]
    pub errors: Vec<Untrusted>,
}

impl MachineAction {
    /// When it last changed; documents and payloads name it differently.
    pub fn last_update(&self) -> Option<Timestamp> {
        self.last_update_date_time_utc.or(self.last_update_time_utc)
    }

    /// Whether a command of it was begun. Of other kinds than live response nobody says.
    pub fn has_run(&self) -> bool {
        self.commands.iter().any(|command| command.start_time.is_some())
    }

    /// Who asked for what, for a person who waits for it.
    pub fn told(&self) -> String {
        let text = |text: &Option<Untrusted>| text.as_ref().map(cut).filter(|t| !t.is_empty());
        let by = text(&self.requestor).unwrap_or_else(|| "somebody".into());
        let comment = text(&self.requestor_comment).map(|c| format!(" (\"{c}\")")).unwrap_or_default();
        format!("{} {} of {by}{comment}, {}", self.kind, self.id, self.status)
    }
}

fn cut(text: &Untrusted) -> String {
    let cut: String = text.raw().chars().take(120).collect();
    crate::shape::scrub(&cut).into_owned()
}

impl Client {
    pub async fn action(&self, id: &ActionId, job: &Job) -> Result<MachineAction> {
        self.look(id, job).await.map_err(Failure::into_error)
    }

    /// As [`Client::action`], telling apart an action that is not there (yet).
    pub(crate) async fn look(&self, id: &ActionId, job: &Job) -> std::result::Result<MachineAction, Failure> {
        let call = self.get(&ACTION, &["machineactions", id.as_str()], &[])?;
        self.ask(&call, job).await
    }

    /// Actions of the tenant; `filter` in OData.
    pub async fn actions(&self, filter: Option<&str>, job: &Job) -> Result<Vec<MachineAction>> {
        self.list_actions(filter, job).await.map_err(Failure::into_error)
    }

    /// As [`Client::actions`], telling apart why there is no answer.
    pub(crate) async fn list_actions(
        &self,
        filter: Option<&str>,
        job: &Job,
    ) -> std::result::Result<Vec<MachineAction>, Failure> {
        let mut pages = Pages::new(self, &ACTIONS, "machineactions", filter);
        let mut actions = Vec::new();
        while let Some(page) = pages.following(job).await? {
            actions.extend(page);
        }
        Ok(actions)
    }

    /// A device's actions, whatever became of them.
    pub async fn actions_of(&self, machine: &MachineId, job: &Job) -> Result<Vec<MachineAction>> {
        self.actions(Some(&format!("machineId eq {}", quoted(machine.as_str()))), job).await
    }

    /// Asks for an end; what answers may go on for a while, and may have run. One that is over already answers as it is.
    pub async fn cancel(&self, id: &ActionId, comment: &str, job: &Job) -> Result<MachineAction> {
        let call = self.post(&CANCEL, &["machineactions", id.as_str(), "cancel"], &Comment { comment })?;
        let failure = match self.ask::<MachineAction>(&call, job).await {
            Ok(action) => return Ok(action),
            Err(failure) => failure,
        };
        // It may have ended in between, and a lost answer may have cancelled it: what stands there says which.
        let now = match failure.kind {
            FailureKind::Missing => return Err(failure.error),
            _ => self.action(id, job).await,
        };
        match now {
            Ok(action) if action.status.is_final() => Ok(action),
            _ => Err(failure.error),
        }
    }
}
