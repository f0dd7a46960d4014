//! `jobs`: what runs, what waits for a person, what ended within the hour.

use crate::error::Result;
use crate::model::Listing;
use crate::registry::{Command, Context, JobRow, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Jobs;

/// Lists your commands: running, pending approval, ended within the hour.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

impl Command for Jobs {
    const SPEC: Spec = Spec {
        name: "jobs",
        title: "Jobs",
        columns: &["command_id", "tool", "state", "device", "started", "progress"],
        examples: &[("jobs", "{}")],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Listing<JobRow>;

    async fn run(_: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.jobs().await?.into()))
    }
}
