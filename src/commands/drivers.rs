//! `drivers`: what runs inside the kernel.

use crate::model::{Driver, DriverQuery, Listing};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Drivers;

/// Lists drivers (kernel modules): loaded, on disk, signed, tainting.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

impl Command for Drivers {
    const SPEC: Spec = Spec {
        name: "drivers",
        title: "Kernel modules",
        columns: &["name", "version", "path", "loaded", "signed", "tainted"],
        examples: &[("drivers", "{}")],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Driver>;

    async fn run(_: Args, cx: &Context<'_>) -> crate::error::Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.read(DriverQuery::default()).await?.into()))
    }
}
