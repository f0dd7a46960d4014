//! `isolate`: cuts a device off the network, after a person's yes.

use crate::error::Result;
use crate::model::{IsolationRules, Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec, one_line};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Isolate;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Extent {
    Full,
    Selective,
}

/// Cuts the device off the network, management excepted. A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default full
    r#type: Option<Extent>,
    /// Why, for the record
    comment: Option<String>,
}

impl Command for Isolate {
    const SPEC: Spec = Spec {
        name: "isolate",
        title: "Isolate",
        aliases: &[],
        role: Role::Advanced,
        effect: Effect::Destructive,
        long: false,
        positional: &["type"],
        columns: &["type", "id", "outcome", "note"],
        examples: &[("isolate full", r#"{"type":"full"}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        one_line("isolate", args.comment.as_deref())?;
        let selective = matches!(args.r#type, Some(Extent::Selective));
        cx.propose(Wish::Isolate { selective, rules: IsolationRules::default() }).await
    }
}
