//! `library`: the scripts and files that `run` and `putfile` take.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Listing, Sha256, Timestamp, row};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Library;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Action {
    List,
    Delete,
}

/// Lists the script library; deleting asks a person first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default list
    action: Option<Action>,
    /// For delete
    name: Option<String>,
}

row! {
    pub struct LibraryRow {
        pub name: String,
        pub sha256: Option<Sha256>,
        pub size_bytes: Option<u64>,
        pub approved: Option<bool>,
        pub added: Option<Timestamp>,
    }
}

impl Command for Library {
    const SPEC: Spec = Spec {
        name: "library",
        title: "Script library",
        role: Role::Advanced,
        effect: Effect::Destructive,
        session: false,
        positional: &["action", "name"],
        columns: &["name", "size_bytes", "approved", "added", "sha256"],
        examples: &[("library", "{}"), ("library delete old.sh", r#"{"action":"delete","name":"old.sh"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<LibraryRow>;

    async fn run(args: Args, _: &Context<'_>) -> Result<Reply<Self::Output>> {
        match (args.action.unwrap_or(Action::List), args.name) {
            (Action::Delete, None) => Err(Error::new(ErrorCode::BadArgs, "library delete: name is missing")),
            _ => Err(Error::new(ErrorCode::Unsupported, "the script library is not part of this version")
                .hint("getfile, fileinfo and remediate work without it")),
        }
    }
}
