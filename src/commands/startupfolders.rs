//! `startupfolders`: what runs at sign-in.

use crate::model::{Listing, StartupItem, StartupQuery};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Startupfolders;

/// Lists what starts when a user signs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

impl Command for Startupfolders {
    const SPEC: Spec = Spec {
        name: "startupfolders",
        title: "Start-up folders",
        columns: &["user", "folder", "file", "target", "modified"],
        examples: &[("startupfolders", "{}")],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<StartupItem>;

    async fn run(_: Args, cx: &Context<'_>) -> crate::error::Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.read(StartupQuery::default()).await?.into()))
    }
}
