//! `registry`: keys and values of a Windows registry.

use crate::error::Result;
use crate::model::{DevicePath, Listing, RegistryKey, RegistryQuery, RegistryRow};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Registry;

/// Reads a registry key: its values and sub-keys.
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
        positional: &["key"],
        columns: &["key", "value", "kind", "data", "modified", "subkeys"],
        examples: &[(r"registry HKEY_CURRENT_USER\Console", r#"{"key":"HKEY_CURRENT_USER\\Console"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<RegistryRow, RegistryKey>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let hive = args.hive.map(|h| cx.path(&h)).transpose()?;
        let query = RegistryQuery { key: args.key, value: args.value, hive, user: args.user };
        let (extra, rows) = cx.read(query).await?;
        Ok(Reply::Done(Listing { rows, extra }))
    }
}
