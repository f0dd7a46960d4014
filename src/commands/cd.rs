//! `cd`: the session's directory.

use crate::error::Result;
use crate::model::DevicePath;
use crate::registry::{Command, Context, Effect, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Cd;

/// Changes the session's current directory.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The directory
    path: DevicePath,
}

#[derive(Serialize, JsonSchema)]
pub struct Entered {
    current_directory: DevicePath,
}

impl Command for Cd {
    const SPEC: Spec = Spec {
        name: "cd",
        title: "Change directory",
        effect: Effect::Session,
        positional: &["path"],
        examples: &[("cd /tmp", r#"{"path":"/tmp"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Object<Entered>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Entered { current_directory: cx.enter(&args.path).await? })))
    }
}
