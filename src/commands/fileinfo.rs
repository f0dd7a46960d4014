//! `fileinfo`: all about one file.

use crate::error::Result;
use crate::model::{DevicePath, FileInfo, FileInfoQuery};
use crate::registry::{Command, Context, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Fileinfo;

/// Shows a file's times, owner, kind, package and hashes (MD5, SHA-1, SHA-256, TLSH). Takes /proc/PID/exe too.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file
    path: DevicePath,
}

impl Command for Fileinfo {
    const SPEC: Spec = Spec {
        name: "fileinfo",
        title: "File information",
        positional: &["path"],
        examples: &[("fileinfo /bin/ls", r#"{"path":"/bin/ls"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Object<Box<FileInfo>>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let path = cx.path(&args.path)?;
        Ok(Reply::Done(Object(cx.read(FileInfoQuery { path }).await?)))
    }
}
