//! `fg`: waits for a command.

use crate::error::Result;
use crate::model::CommandId;
use crate::registry::{Command, Context, Followed, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Fg;

/// Waits for a job's end or a person's decision and shows the result.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// From a result
    command_id: CommandId,
}

impl Command for Fg {
    const SPEC: Spec = Spec {
        name: "fg",
        title: "Foreground",
        positional: &["command_id"],
        examples: &[("fg c-0123456789abcdef", r#"{"command_id":"c-0123456789abcdef"}"#)],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Object<Followed>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Followed::new(cx.wait(&args.command_id).await?))))
    }
}
