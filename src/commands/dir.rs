//! `dir`: what lies in a directory.

use crate::error::Result;
use crate::model::{DevicePath, DirQuery, FileRow, Listing};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Dir;

/// Lists a directory, hidden entries too, with size, times, mode and owner.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default: the session's directory
    path: Option<DevicePath>,
    /// Absolute paths
    #[serde(default)]
    full_path: bool,
}

impl Command for Dir {
    const SPEC: Spec = Spec {
        name: "dir",
        title: "Directory",
        aliases: &["ls"],
        positional: &["path"],
        columns: &["kind", "attributes", "size_bytes", "modified", "path"],
        examples: &[("dir", "{}"), ("dir /tmp -full_path", r#"{"path":"/tmp","full_path":true}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<FileRow>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let path = args.path.map_or_else(|| cx.directory(), |p| cx.path(&p))?;
        Ok(Reply::Done(cx.read(DirQuery { path, full_path: args.full_path }).await?.into()))
    }
}
