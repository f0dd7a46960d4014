//! `devices`: what can be connected to.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DeviceRow, Listing};
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Devices;

const BACKENDS: &[&str] = &["local", "image", "defender"];

/// Lists the devices that can be connected to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Part of the id or name
    query: Option<String>,
    /// local, image, defender
    backend: Option<String>,
}

impl Command for Devices {
    const SPEC: Spec = Spec {
        name: "devices",
        title: "Devices",
        session: false,
        effect: Effect::Read,
        positional: &["query"],
        columns: &["id", "name", "backend", "platform", "os", "group", "tier"],
        examples: &[("devices", "{}"), ("devices -backend local", r#"{"backend":"local"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<DeviceRow>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        if let Some(backend) = args.backend.as_deref().filter(|b| !BACKENDS.contains(b)) {
            return Err(Error::new(ErrorCode::BadArgs, format!("devices: no backend {backend:?}"))
                .hint(format!("there are {}", BACKENDS.join(", "))));
        }
        let query = args.query.as_ref().map(|q| q.to_lowercase());
        let mut rows = cx.devices(args.query.as_deref(), args.backend.as_deref()).await?;
        rows.retain(|row| {
            let named =
                |q: &String| row.id.as_str().to_lowercase().contains(q) || row.name.raw().to_lowercase().contains(q);
            query.as_ref().is_none_or(named) && args.backend.as_ref().is_none_or(|b| b == row.backend)
        });
        Ok(Reply::Done(rows.into()))
    }
}
