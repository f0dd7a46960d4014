//! `registry`: keys and values of a Windows registry.

use crate::error::Result;
use crate::evidence::Slice;
use crate::model::{DevicePath, Listing, RegistryKey, RegistryQuery, RegistryRow};
use crate::registry::{Command, Context, Effect, ListingOr, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Registry;

/// Reads a registry key: its values and sub-keys. Secrets ask a person first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// HKLM\\…, HKCU\\…, HKU\\…
    key: String,
    /// Only this value
    value: Option<String>,
    /// An offline hive, or a mounted Windows root
    hive: Option<DevicePath>,
    /// Whose hive HKCU is
    user: Option<String>,
}

impl Command for Registry {
    const SPEC: Spec = Spec {
        name: "registry",
        title: "Registry",
        effect: Effect::Disclosure,
        positional: &["key"],
        columns: &["key", "value", "kind", "data", "modified", "subkeys"],
        examples: &[(r"registry HKEY_CURRENT_USER\Console", r#"{"key":"HKEY_CURRENT_USER\\Console"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = ListingOr<RegistryRow, Slice, RegistryKey>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let hive = args.hive.map(|h| cx.path(&h)).transpose()?;
        let query = RegistryQuery { key: args.key, value: args.value, hive, user: args.user };
        let (mut extra, rows) = cx.read(query).await?;
        let Some(secret) = extra.secret.take() else {
            return Ok(Reply::Done(ListingOr::Listing(Listing { rows, extra })));
        };
        match cx.disclose(secret.path, secret.reason, secret.content).await? {
            Reply::Pending(view) => Ok(Reply::Pending(view)),
            Reply::Done(slice) => Ok(Reply::Done(ListingOr::Object(slice))),
        }
    }
}
