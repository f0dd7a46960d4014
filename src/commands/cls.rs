//! `cls`: clears the console's screen; elsewhere there is none.

use crate::error::Result;
use crate::registry::{Command, Context, Object, Reply, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Cls;

/// Clears the console's screen; changes nothing else.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

#[derive(Serialize, JsonSchema)]
pub struct Cleared {}

impl Command for Cls {
    const SPEC: Spec =
        Spec { name: "cls", title: "Clear screen", aliases: &["clear"], examples: &[("cls", "{}")], ..Spec::SESSION };
    type Args = Args;
    type Output = Object<Cleared>;

    async fn run(_: Args, _: &Context<'_>) -> Result<Reply<Self::Output>> {
        Ok(Reply::Done(Object(Cleared {})))
    }
}
