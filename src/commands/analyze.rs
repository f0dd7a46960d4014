//! `analyze`: what engines say of a file or a process.

use crate::error::Result;
use crate::model::{Analysis, AnalyzeQuery};
use crate::principal::Role;
use crate::registry::{Command, Context, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Analyze;

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Process,
}

/// Runs the incrimination engines on a file or a process and gives a verdict.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What it is
    r#type: Kind,
    /// Path or pid
    id: String,
}

impl Command for Analyze {
    const SPEC: Spec = Spec {
        name: "analyze",
        title: "Analyze",
        role: Role::Advanced,
        long: true,
        positional: &["type", "id"],
        examples: &[("analyze file /tmp/x", r#"{"type":"file","id":"/tmp/x"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Object<Box<Analysis>>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let kind = match args.r#type {
            Kind::File => "file",
            Kind::Process => "process",
        };
        Ok(Reply::Done(Object(cx.read(AnalyzeQuery { kind: kind.into(), id: args.id }).await?)))
    }
}
