//! `connect`: opens a session on a device.

use crate::error::Result;
use crate::model::{Arrival, DeviceRef, SessionId};
use crate::registry::{Command, Context, Effect, Object, Reply, Spec, one_line};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Connect;

/// Opens a session on a device; do this first. Later calls use the newest session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Id or name; default local; image:DIR for a mounted image
    #[serde(default = "local")]
    device: String,
    /// Case number
    comment: Option<String>,
}

fn local() -> String {
    "local".into()
}

#[derive(Serialize, JsonSchema)]
pub struct Connected {
    session: SessionId,
    device: DeviceRef,
    #[serde(flatten)]
    arrival: Arrival,
}

impl Command for Connect {
    const SPEC: Spec = Spec {
        name: "connect",
        title: "Connect",
        session: false,
        effect: Effect::Read,
        positional: &["device"],
        examples: &[("connect", "{}"), ("connect local -comment INC-1", r#"{"device":"local","comment":"INC-1"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Object<Connected>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        one_line("connect", args.comment.as_deref())?;
        let (session, arrival) = cx.connect(&args.device, args.comment).await?;
        Ok(Reply::Done(Object(Connected { session: session.id.clone(), device: session.device.describe(), arrival })))
    }
}
