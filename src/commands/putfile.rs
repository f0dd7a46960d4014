//! `putfile`: copies a library file to the device, after a person's yes.

use crate::error::Result;
use crate::model::{Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Putfile;

/// Copies an approved library file into the working folder of the device. A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Library file
    file: String,
    /// Replace it if there
    #[serde(default)]
    overwrite: bool,
    /// Survive a restart
    #[serde(default)]
    keep: bool,
}

impl Command for Putfile {
    const SPEC: Spec = Spec {
        name: "putfile",
        title: "Put file",
        aliases: &["put"],
        role: Role::Advanced,
        effect: Effect::Reversible,
        long: false,
        positional: &["file"],
        columns: &["type", "id", "outcome", "path", "sha256", "note"],
        examples: &[("putfile tool.sh -keep", r#"{"file":"tool.sh","keep":true}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let (overwrite, keep) = (args.overwrite, args.keep);
        cx.propose_item(&args.file, |item| Wish::PutFile { item, overwrite, keep }).await
    }
}
