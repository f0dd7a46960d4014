//! `library`: the scripts and files that `run` and `putfile` take. People add and approve them, in a terminal.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Sha256, Timestamp, row};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, ListingOrOutcome, Reply, Shelved, Spec};
use crate::shape::Untrusted;
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
    /// A file of the library.
    pub struct LibraryRow {
        pub name: String,
        /// `shell`, `python`, `perl`, `ruby`, `powershell`, `script`, `program`, `data`.
        pub kind: &'static str,
        pub sha256: Sha256,
        pub size_bytes: u64,
        /// Whether a person said that it may be run and put.
        pub approved: bool,
        /// The trusted minisign key that it was signed with.
        pub signer: Option<String>,
        pub description: Option<Untrusted>,
        pub added: Timestamp,
        pub added_by: String,
        pub approved_by: Option<String>,
    }
}

impl From<Shelved> for LibraryRow {
    fn from(shelved: Shelved) -> LibraryRow {
        LibraryRow {
            name: shelved.item.name.to_string(),
            kind: shelved.item.kind.as_str(),
            sha256: shelved.item.sha256,
            size_bytes: shelved.item.size_bytes,
            approved: shelved.approved.is_some(),
            signer: shelved.item.signer,
            description: shelved.description.map(Untrusted::new),
            added: shelved.added,
            added_by: shelved.by.to_string(),
            approved_by: shelved.approved.map(|a| a.person),
        }
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
        columns: &["name", "kind", "size_bytes", "approved", "description", "added", "sha256"],
        examples: &[("library", "{}"), ("library delete old.sh", r#"{"action":"delete","name":"old.sh"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = ListingOrOutcome<LibraryRow>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        match (args.action.unwrap_or(Action::List), args.name) {
            (Action::Delete, None) => Err(Error::new(ErrorCode::BadArgs, "library delete: name is missing")),
            (Action::Delete, Some(name)) => cx.propose_delete(&name).await,
            (Action::List, Some(_)) => {
                Err(Error::new(ErrorCode::BadArgs, "library: name goes with delete")
                    .hint("filter name=… picks one row"))
            }
            (Action::List, None) => {
                let rows = cx.library().await?.into_iter().map(LibraryRow::from).collect();
                Ok(Reply::Done(ListingOrOutcome(rows)))
            }
        }
    }
}
