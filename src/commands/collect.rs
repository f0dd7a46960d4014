//! `collect`: gathers a forensics package.

use crate::error::Result;
use crate::model::{DevicePath, Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Collect;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Profile {
    Triage,
    Full,
}

/// Collects a forensics package into the evidence store, or into a folder of the device (asks first).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Folder on the device
    output_folder: Option<DevicePath>,
    /// Default triage
    profile: Option<Profile>,
}

impl Command for Collect {
    const SPEC: Spec = Spec {
        name: "collect",
        title: "Collect",
        aliases: &[],
        role: Role::Advanced,
        effect: Effect::Reversible,
        long: true,
        positional: &["profile"],
        columns: &["type", "id", "outcome", "note"],
        examples: &[("collect triage", r#"{"profile":"triage"}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let profile = match args.profile.unwrap_or(Profile::Triage) {
            Profile::Triage => "triage",
            Profile::Full => "full",
        };
        let output_folder = args.output_folder.map(|p| cx.path(&p)).transpose()?;
        cx.propose(Wish::Collect { output_folder, profile: profile.into() }).await
    }
}
