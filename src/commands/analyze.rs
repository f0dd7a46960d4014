//! `analyze`: what engines say of a file or a process.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Analysis, AnalyzeQuery, DevicePath};
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
        let query = match args.r#type {
            Kind::File => AnalyzeQuery::File { path: path(&args.id, cx)? },
            Kind::Process => AnalyzeQuery::Process { pid: pid(&args.id)? },
        };
        Ok(Reply::Done(Object(cx.read(query).await?)))
    }
}

fn path(id: &str, cx: &Context<'_>) -> Result<DevicePath> {
    let path = DevicePath::from_text(id).map_err(|e| Error::new(ErrorCode::BadArgs, format!("analyze: id: {e}")))?;
    cx.path(&path)
}

fn pid(id: &str) -> Result<u32> {
    id.parse().map_err(|_| {
        Error::new(ErrorCode::BadArgs, format!("analyze: {id:?} is no pid")).hint("`processes` lists them")
    })
}
