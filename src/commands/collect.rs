//! `collect`: gathers a forensics package.

use crate::error::Result;
use crate::model::{CollectQuery, DevicePath, Profile, Remediated, Sha256, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, ListingOr, Reply, Spec};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Collect;

/// Collects a forensics package into the evidence store, or into a folder of the device (asks first).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Folder on the device
    output_folder: Option<DevicePath>,
    /// Default triage
    profile: Option<Profile>,
}

#[derive(Serialize, JsonSchema)]
pub struct Collected {
    sha256: Sha256,
    size_bytes: u64,
    name: Untrusted,
    path: DevicePath,
    /// `evidence:` and the hash.
    uri: String,
    /// `manifest.json` among them.
    members: u64,
    /// Of all members, unpacked.
    content_bytes: u64,
    /// What was to be collected and is not in it.
    left_out: u64,
    /// Members on the secret list.
    secrets: u64,
    /// Why a person is asked before its bytes are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
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
    type Output = ListingOr<Remediated, Collected>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let profile = args.profile.unwrap_or_default();
        if let Some(folder) = args.output_folder {
            return cx.propose(Wish::Collect { folder: cx.path(&folder)?, profile }).await;
        }
        let (sealed, package) = cx.collect(CollectQuery { profile }).await?;
        Ok(Reply::Done(ListingOr::Object(Collected {
            uri: format!("evidence:{}", sealed.sha256),
            sha256: sealed.sha256,
            size_bytes: sealed.size_bytes,
            name: sealed.name,
            path: sealed.path,
            members: package.members,
            content_bytes: package.bytes,
            left_out: package.left_out,
            secrets: package.secrets,
            secret: sealed.secret,
        })))
    }
}
