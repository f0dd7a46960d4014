//! `status`: where a command stands, without waiting.

use crate::error::Result;
use crate::model::CommandId;
use crate::registry::{Command, Context, Followed, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Status;

/// Shows a command's state and result, without waiting.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// From a result
    command_id: CommandId,
}

impl Command for Status {
    const SPEC: Spec = Spec {
        name: "status",
        title: "Status",
        positional: &["command_id"],
        examples: &[("status c-0123456789abcdef", r#"{"command_id":"c-0123456789abcdef"}"#)],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Object<Followed>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Followed::new(cx.look(&args.command_id).await?))))
    }
}
