//! `processes`: what runs on the device now.

use crate::error::Result;
use crate::model::{Listing, Process, ProcessQuery};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Processes;

/// Fields that cost a look of their own at each process.
const COSTLY: &[&str] = &["path", "deleted_image", "sha256", "cwd", "container"];

/// Lists running processes. The image's sha256 comes only when fields, filter or sort names it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Only this process
    pid: Option<u32>,
    /// Image name; * and ? match
    name: Option<String>,
    /// Parents before children
    #[serde(default)]
    tree: bool,
}

impl Command for Processes {
    const SPEC: Spec = Spec {
        name: "processes",
        title: "Processes",
        aliases: &["process", "ps"],
        positional: &["pid"],
        columns: &["pid", "ppid", "user", "started", "name", "command_line"],
        examples: &[
            ("processes", "{}"),
            ("processes 123", r#"{"pid":123}"#),
            ("processes -name sshd", r#"{"name":"sshd"}"#),
        ],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Process>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let want = if cx.wanted().mentions("sha256") { vec!["sha256".to_owned()] } else { Vec::new() };
        let query = ProcessQuery {
            pid: args.pid,
            name: args.name,
            tree: args.tree,
            want,
            brief: !COSTLY.iter().any(|f| cx.shows(f)),
        };
        Ok(Reply::Done(cx.read(query).await?.into()))
    }
}
