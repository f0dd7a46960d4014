//! `remediate`: takes a malicious entity out of action, after a person's yes.

use super::entities::{MAX_IDS, entity_ids};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, Listing, Remediated, RemediatedQuery, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Remediate;

/// Remediates entities: quarantines a file, stops a process, …; or lists what was remediated. A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What it is
    r#type: Option<EntityKind>,
    /// Path, pid, name or key\value
    id: Option<String>,
    /// Up to 50 of one type, one plan
    ids: Option<Vec<String>>,
    /// Show what was remediated
    #[serde(default)]
    list: bool,
    /// Accepted; always so
    #[serde(default)]
    #[allow(dead_code)]
    auto: bool,
    /// For registry: the hive copy
    hive: Option<DevicePath>,
}

impl Command for Remediate {
    const SPEC: Spec = Spec {
        name: "remediate",
        title: "Remediate",
        role: Role::Advanced,
        effect: Effect::Destructive,
        positional: &["type", "id"],
        flags: &["list"],
        columns: &["type", "id", "outcome", "undo_id", "sha256", "at", "note"],
        examples: &[
            ("remediate file /tmp/x", r#"{"type":"file","id":"/tmp/x"}"#),
            ("remediate process 7960", r#"{"type":"process","id":"7960"}"#),
            ("remediate list", r#"{"list":true}"#),
        ],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        if args.list {
            if args.id.is_some() || args.ids.is_some() {
                return Err(Error::new(ErrorCode::AmbiguousArgs, "remediate: list stands without id and ids"));
            }
            return Ok(Reply::Done(cx.read(RemediatedQuery { kind: args.r#type }).await?.into()));
        }
        let Some(kind) = args.r#type else {
            let e = Error::new(ErrorCode::BadArgs, "remediate: type is missing");
            return Err(e.hint("file, process, service, registry, scheduledtask or startup; or list"));
        };
        if args.hive.is_some() && kind != EntityKind::Registry {
            return Err(Error::new(ErrorCode::BadArgs, "remediate: hive goes with type registry only"));
        }
        let ids = entity_ids("remediate", kind, args.id, args.ids, cx)?;
        debug_assert!(ids.len() <= MAX_IDS);
        match args.hive {
            Some(hive) => cx.propose(Wish::RemediateValues { hive: cx.path(&hive)?, ids }).await,
            None => cx.propose(Wish::Remediate { kind, ids }).await,
        }
    }
}
