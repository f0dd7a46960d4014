//! `cancel`: Ctrl+C on a command.

use crate::error::Result;
use crate::model::CommandId;
use crate::registry::{Command, Context, Followed, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Cancel;

/// Stops a running command, or takes back a pending request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// From a result
    command_id: CommandId,
}

impl Command for Cancel {
    const SPEC: Spec = Spec {
        name: "cancel",
        title: "Cancel",
        positional: &["command_id"],
        examples: &[("cancel c-0123456789abcdef", r#"{"command_id":"c-0123456789abcdef"}"#)],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Object<Followed>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Followed::new(cx.stop(&args.command_id).await?))))
    }
}
