//! `release`: ends isolation, after a person's yes.

use crate::error::Result;
use crate::model::{Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec, one_line};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Release;

/// Ends the device's isolation. A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Why, for the record
    comment: Option<String>,
}

impl Command for Release {
    const SPEC: Spec = Spec {
        name: "release",
        title: "Release",
        aliases: &[],
        role: Role::Advanced,
        effect: Effect::Reversible,
        long: false,
        positional: &[],
        columns: &["type", "id", "outcome", "note"],
        examples: &[("release", "{}")],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        one_line("release", args.comment.as_deref())?;
        cx.propose(Wish::Release).await
    }
}
