//! `evidence`: reads a slice of a collected file.

use crate::error::{Error, ErrorCode, Result};
use crate::evidence::{Held, MAX_LENGTH, Slice};
use crate::model::{Disclosure, Sha256};
use crate::registry::{Command, Context, Effect, ListingOr, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Evidence;

const DEFAULT_LENGTH: u64 = 4096;

#[derive(Deserialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum As {
    #[default]
    Text,
    Strings,
    Hex,
}

/// Reads part of a collected file by sha256 or name; without either it lists them. Secrets ask a person first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Which file
    sha256: Option<Sha256>,
    /// Its file name, in your sessions
    name: Option<String>,
    /// A member of a collected package
    entry: Option<String>,
    /// Bytes from the start
    #[serde(default)]
    offset: u64,
    /// Bytes (4096, max 32768)
    length: Option<u64>,
    /// How to show it; default text
    #[serde(default)]
    r#as: As,
    /// Only lines with this, numbered, in context
    r#match: Option<String>,
}

impl Command for Evidence {
    const SPEC: Spec = Spec {
        name: "evidence",
        title: "Read evidence",
        effect: Effect::Disclosure,
        session: false,
        positional: &["sha256"],
        columns: &["name", "size_bytes", "sha256", "collected", "secret", "path"],
        examples: &[
            ("evidence -name hosts", r#"{"name":"hosts"}"#),
            ("evidence -name auth.log -match sshd", r#"{"name":"auth.log","match":"sshd"}"#),
        ],
        ..Spec::READ
    };
    type Args = Args;
    type Output = ListingOr<Held, Slice>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let length = args.length.unwrap_or(DEFAULT_LENGTH);
        if !(1..=MAX_LENGTH).contains(&length) {
            return Err(Error::new(
                ErrorCode::BadArgs,
                format!("evidence: length {length} is not in 1 to {MAX_LENGTH}"),
            ));
        }
        let held = cx.held(args.sha256.clone(), args.name.clone()).await?;
        let chosen = match held.as_slice() {
            [one] if args.sha256.is_some() || args.name.is_some() => one.clone(),
            _ => return Ok(Reply::Done(ListingOr::Listing(held.into()))),
        };
        let slice = Disclosure {
            sha256: chosen.sha256.clone(),
            path: chosen.path.clone(),
            secret: chosen.secret.clone().unwrap_or_default(),
            entry: args.entry,
            offset: args.offset,
            length,
            r#as: match args.r#as {
                As::Text => "text",
                As::Strings => "strings",
                As::Hex => "hex",
            }
            .into(),
            r#match: args.r#match,
        };
        match cx.slice(&chosen, slice).await? {
            Reply::Pending(view) => Ok(Reply::Pending(view)),
            Reply::Done(slice) => Ok(Reply::Done(ListingOr::Object(slice))),
        }
    }
}
