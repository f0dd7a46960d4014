//! `scheduledtasks`: what runs at set times.

use crate::error::Result;
use crate::model::{Listing, ScheduledTask, TaskQuery};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Scheduledtasks;

/// Lists scheduled tasks: cron, anacron, at, timers, with the next run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Only this task
    name: Option<String>,
}

impl Command for Scheduledtasks {
    const SPEC: Spec = Spec {
        name: "scheduledtasks",
        title: "Scheduled tasks",
        aliases: &["scheduledtask"],
        positional: &["name"],
        columns: &["kind", "name", "schedule", "user", "command", "next_run"],
        examples: &[("scheduledtasks apt-daily.timer", r#"{"name":"apt-daily.timer"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<ScheduledTask>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.read(TaskQuery { name: args.name }).await?.into()))
    }
}
