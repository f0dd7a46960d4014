//! Live response: the three commands that the API has, and what they leave.

use super::{ActionId, MachineAction, MachineId};
use crate::device::defender::client::json::{self, tolerant};
use crate::device::defender::client::{Client, Download, Endpoint, Failure, Family, Link};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use crate::shape::Untrusted;
use serde::{Deserialize, Serialize};

static RUN: Endpoint = Endpoint {
    what: "run live response",
    permission: "Machine.LiveResponse",
    family: Family::Start,
    missing: ErrorCode::NoDevice,
};
static LINK: Endpoint = Endpoint {
    what: "give the link of a result",
    permission: "Machine.Read.All",
    family: Family::ResultLink,
    missing: ErrorCode::NotFound,
};

/// A command. The service takes puts first, then scripts, then gets, and stops at the first that fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveCommand {
    /// Puts a library file on the device; has no result.
    PutFile { file_name: String },
    /// Runs a library script; 10 minutes at most.
    RunScript { script_name: String, args: Option<String> },
    /// Fetches a file of the device.
    GetFile { path: String },
}

#[derive(Serialize)]
struct Param<'a> {
    key: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    params: Vec<Param<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    commands: Vec<Written<'a>>,
    comment: &'a str,
}

impl LiveCommand {
    fn written(&self) -> Written<'_> {
        let param = |key, value| Param { key, value };
        match self {
            LiveCommand::PutFile { file_name } => {
                Written { kind: "PutFile", params: vec![param("FileName", file_name.as_str())] }
            }
            LiveCommand::RunScript { script_name, args } => {
                let mut params = vec![param("ScriptName", script_name.as_str())];
                params.extend(args.as_deref().map(|args| param("Args", args)));
                Written { kind: "RunScript", params }
            }
            LiveCommand::GetFile { path } => Written { kind: "GetFile", params: vec![param("Path", path.as_str())] },
        }
    }

    fn order(&self) -> u8 {
        match self {
            LiveCommand::PutFile { .. } => 0,
            LiveCommand::RunScript { .. } => 1,
            LiveCommand::GetFile { .. } => 2,
        }
    }
}

/// What a script left. Its output is a transcript: it begins with a line of the service's and may end in NULs.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct ScriptResult {
    #[serde(deserialize_with = "tolerant")]
    script_name: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    name: Option<Untrusted>,
    /// 323: the device found another script than the library has.
    #[serde(deserialize_with = "tolerant")]
    pub exit_code: Option<i64>,
    #[serde(rename = "script_output", deserialize_with = "tolerant")]
    pub output: String,
    #[serde(deserialize_with = "tolerant")]
    script_errors: Option<String>,
    #[serde(deserialize_with = "tolerant")]
    script_error: Option<String>,
}

impl ScriptResult {
    /// From the bytes behind a result link; mends what the service is known to break.
    pub fn parse(bytes: &[u8]) -> Result<ScriptResult> {
        let mut result: ScriptResult = json::read(bytes).map_err(|e| {
            Error::new(ErrorCode::Backend, format!("a script's result is not the JSON that it should be: {e}"))
                .hint("the action's page in the portal shows what the script wrote")
        })?;
        result.output.truncate(result.output.trim_end_matches('\0').len());
        Ok(result)
    }

    pub fn name(&self) -> Option<&Untrusted> {
        self.script_name.as_ref().or(self.name.as_ref())
    }

    /// What it wrote as errors; nothing where it wrote none.
    pub fn errors(&self) -> &str {
        let errors = self.script_errors.as_deref().or(self.script_error.as_deref()).unwrap_or_default();
        errors.trim_end_matches('\0')
    }
}

#[derive(Deserialize)]
pub(super) struct Value {
    pub(super) value: String,
}

impl Value {
    /// Some answers have quotes around the address.
    pub(super) fn link(&self) -> Link {
        Link::new(self.value.trim().trim_matches('"'))
    }
}

impl Client {
    /// Starts an action; see `Actions::run`, which waits for its turn and knows what an answer that is lost means.
    pub(crate) async fn start_live_response(
        &self,
        machine: &MachineId,
        commands: &[LiveCommand],
        comment: &str,
        job: &Job,
    ) -> std::result::Result<MachineAction, Failure> {
        if commands.is_empty() || !commands.is_sorted_by_key(LiveCommand::order) {
            let what = "live response takes puts, then scripts, then gets, and at least one of them";
            return Err(Error::new(ErrorCode::BadArgs, what).into());
        }
        let request = Request { commands: commands.iter().map(LiveCommand::written).collect(), comment };
        let call = self.post(&RUN, &["machines", machine.as_str(), "runliveresponse"], &request)?;
        self.ask(&call, job).await
    }

    /// The address of a command's result, good for half an hour. A `PutFile` has none.
    pub async fn result_link(&self, action: &ActionId, index: u32, job: &Job) -> Result<Link> {
        let name = format!("GetLiveResponseResultDownloadLink(index={index})");
        let call = self.get(&LINK, &["machineactions", action.as_str(), &name], &[])?;
        Ok(self.ask::<Value>(&call, job).await.map_err(Failure::into_error)?.link())
    }

    /// A command's result; asks for a second link where the first counts no more.
    pub async fn result(&self, action: &ActionId, index: u32, job: &Job) -> Result<Download> {
        let link = self.result_link(action, index, job).await?;
        match self.download(&link, job).await {
            Err(e) if e.code == ErrorCode::Expired => {
                let link = self.result_link(action, index, job).await?;
                self.download(&link, job).await
            }
            other => other,
        }
    }
}
