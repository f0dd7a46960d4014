//! `services`: what the system starts by itself.

use crate::model::{Listing, Service, ServiceQuery};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Services;

/// Lists services with state, start mode, account and image.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

impl Command for Services {
    const SPEC: Spec = Spec {
        name: "services",
        title: "Services",
        columns: &["name", "state", "start_mode", "account", "pid", "path"],
        examples: &[("services", "{}")],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Service>;

    async fn run(_: Args, cx: &Context<'_>) -> crate::error::Result<Reply<Self::Output>> {
        Ok(Reply::Done(cx.read(ServiceQuery::default()).await?.into()))
    }
}
