//! `getfile`: takes a file into the evidence store.

use crate::error::Result;
use crate::model::{DevicePath, Sha256};
use crate::registry::{Command, Context, Object, Reply, Spec};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Getfile;

/// Collects a file into the evidence store with SHA-256 and a custody record. Read it with evidence.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file
    path: DevicePath,
    /// Accepted
    #[serde(default)]
    #[allow(dead_code)]
    auto: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Collected {
    sha256: Sha256,
    size_bytes: u64,
    name: Untrusted,
    path: DevicePath,
    /// `evidence:` and the hash.
    uri: String,
    /// Why a person is asked before its content is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Command for Getfile {
    const SPEC: Spec = Spec {
        name: "getfile",
        title: "Get file",
        aliases: &["download"],
        long: true,
        positional: &["path"],
        examples: &[("getfile /etc/hosts", r#"{"path":"/etc/hosts"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Object<Collected>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let sealed = cx.seal(cx.path(&args.path)?).await?;
        Ok(Reply::Done(Object(Collected {
            uri: format!("evidence:{}", sealed.sha256),
            sha256: sealed.sha256,
            size_bytes: sealed.size_bytes,
            name: sealed.name,
            path: sealed.path,
            secret: sealed.secret,
        })))
    }
}
