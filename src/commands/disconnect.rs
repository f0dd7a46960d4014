//! `disconnect`: closes a session.

use crate::error::Result;
use crate::model::SessionId;
use crate::registry::{Command, Context, Object, Reply, Spec, TranscriptLine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Disconnect;

/// Closes a session and gives its command log; its pending requests are cancelled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default: your newest session
    session: Option<SessionId>,
}

#[derive(Serialize, JsonSchema)]
pub struct Disconnected {
    session: SessionId,
    /// Requests that were taken back.
    cancelled_requests: usize,
    /// The session's newest commands, oldest first.
    transcript: Vec<TranscriptLine>,
}

impl Command for Disconnect {
    const SPEC: Spec = Spec {
        name: "disconnect",
        title: "Disconnect",
        positional: &["session"],
        examples: &[("disconnect s-0123456789ab", r#"{"session":"s-0123456789ab"}"#)],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Object<Disconnected>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let (session, cancelled_requests) = cx.disconnect(args.session.as_ref()).await?;
        let closed = Disconnected { session: session.id.clone(), cancelled_requests, transcript: session.transcript() };
        Ok(Reply::Done(Object(closed)))
    }
}
