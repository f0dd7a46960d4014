//! `scan`: looks for malware.

use crate::error::Result;
use crate::model::{Detection, DevicePath, Listing, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Scan;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Extent {
    Quick,
    Full,
    Path,
}

/// Scans for malware: quick, full or a path.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default quick
    r#type: Option<Extent>,
    /// For type path
    path: Option<DevicePath>,
}

impl Command for Scan {
    const SPEC: Spec = Spec {
        name: "scan",
        title: "Scan",
        aliases: &[],
        role: Role::Advanced,
        effect: Effect::Reversible,
        long: true,
        positional: &["type", "path"],
        columns: &["path", "engine", "name", "sha256"],
        examples: &[("scan path /tmp", r#"{"type":"path","path":"/tmp"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Detection>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let kind = match args.r#type.unwrap_or(Extent::Quick) {
            Extent::Quick => "quick",
            Extent::Full => "full",
            Extent::Path => "path",
        };
        let path = args.path.map(|p| cx.path(&p)).transpose()?;
        cx.propose(Wish::Scan { kind: kind.into(), path }).await
    }
}
