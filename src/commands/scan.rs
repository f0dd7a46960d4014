//! `scan`: looks for malware.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Detection, DevicePath, Extent, Listing, ScanQuery, Scanned, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Scan;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Quick,
    Full,
    Path,
}

/// Scans for malware: quick, full or a path. Defender's scanner removes what it finds, after a yes; ours removes nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default quick
    r#type: Option<Kind>,
    /// For type path
    path: Option<DevicePath>,
}

impl Command for Scan {
    const SPEC: Spec = Spec {
        name: "scan",
        title: "Scan",
        role: Role::Advanced,
        effect: Effect::Reversible,
        long: true,
        positional: &["type", "path"],
        columns: &["verdict", "engine", "name", "path"],
        examples: &[("scan path /tmp", r#"{"type":"path","path":"/tmp"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Detection, Scanned>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let extent = match (args.r#type, args.path) {
            (None | Some(Kind::Path), Some(path)) => Extent::Path(cx.path(&path)?),
            (Some(Kind::Path), None) => return Err(bad("type path needs a path", "scan path /tmp")),
            (Some(Kind::Quick | Kind::Full), Some(_)) => {
                return Err(bad("quick and full take no path", "type path scans one file or tree"));
            }
            (None | Some(Kind::Quick), None) => Extent::Quick,
            (Some(Kind::Full), None) => Extent::Full,
        };
        let wish = match &extent {
            Extent::Quick => Some(Wish::Scan { full: false }),
            Extent::Full => Some(Wish::Scan { full: true }),
            Extent::Path(_) => None,
        };
        // A scanner that removes what it finds asks a person first.
        if let Some(wish) = wish
            && cx.supports(&wish)?
        {
            return cx.propose(wish).await;
        }
        let (extra, rows) = cx.read(ScanQuery { extent }).await?;
        Ok(Reply::Done(Listing { rows, extra }))
    }
}

fn bad(why: &str, hint: &str) -> Error {
    Error::new(ErrorCode::BadArgs, format!("scan: {why}")).hint(hint)
}
