//! `connections`: who talks to whom now.

use crate::model::{Connection, ConnectionQuery, Listing};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Connections;

/// Lists TCP and UDP sockets with the processes that own them, listening ones too, in every network namespace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

impl Command for Connections {
    const SPEC: Spec = Spec {
        name: "connections",
        title: "Network connections",
        columns: &[
            "protocol",
            "local_address",
            "local_port",
            "remote_address",
            "remote_port",
            "state",
            "pid",
            "process",
            "user",
        ],
        examples: &[("connections", "{}"), ("connections -filter \"state=LISTEN\"", r#"{"filter":"state=LISTEN"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Connection>;

    async fn run(_: Args, cx: &Context<'_>) -> crate::error::Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.read(ConnectionQuery::default()).await?.into()))
    }
}
