//! `trace`: debug logging of this process, on stderr.

use crate::error::Result;
use crate::registry::{Command, Context, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Trace;

/// Switches this server's debug logging on or off.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default: the other of what it is
    enabled: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub struct Tracing {
    enabled: bool,
}

impl Command for Trace {
    const SPEC: Spec = Spec {
        name: "trace",
        title: "Trace",
        positional: &["enabled"],
        examples: &[("trace true", r#"{"enabled":true}"#)],
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Object<Tracing>;

    async fn run(args: Args, _: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Tracing { enabled: crate::trace::switch(args.enabled) })))
    }
}
