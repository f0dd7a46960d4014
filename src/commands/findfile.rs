//! `findfile`: where files of a name lie.

use crate::error::Result;
use crate::model::{DevicePath, FileRow, FindQuery, Listing, Row, Timestamp};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Findfile;

/// Fields that cost no look at the file.
const BRIEF: &[&str] = &["name", "path", "kind"];

/// Finds files by name below a directory. Network and pseudo file systems are skipped unless named.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name; * and ? match
    name: String,
    /// Where to start; default /
    path: Option<DevicePath>,
    /// Levels below path
    max_depth: Option<u32>,
    /// Bytes
    min_size: Option<u64>,
    /// Bytes
    max_size: Option<u64>,
    /// ISO-8601
    modified_after: Option<Timestamp>,
    /// ISO-8601
    modified_before: Option<Timestamp>,
}

impl Command for Findfile {
    const SPEC: Spec = Spec {
        name: "findfile",
        title: "Find files",
        aliases: &["find"],
        long: true,
        positional: &["name", "path"],
        columns: &["kind", "size_bytes", "modified", "path"],
        table: &["path"],
        examples: &[
            ("findfile test.txt", r#"{"name":"test.txt"}"#),
            ("findfile *.sh /tmp", r#"{"name":"*.sh","path":"/tmp"}"#),
        ],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<FileRow>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let path = cx.path(&args.path.unwrap_or_else(|| DevicePath::new(*b"/")))?;
        let query = FindQuery {
            name: args.name,
            path,
            max_depth: args.max_depth,
            min_size: args.min_size,
            max_size: args.max_size,
            modified_after: args.modified_after,
            modified_before: args.modified_before,
            brief: !FileRow::FIELDS.iter().any(|f| !BRIEF.contains(f) && cx.shows(f)),
        };
        Ok(Reply::Done(cx.read(query).await?.into()))
    }
}
