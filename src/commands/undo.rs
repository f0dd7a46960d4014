//! `undo`: puts back what `remediate` took away, after a person's yes.

use super::entities::entity_ids;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Undo;

/// Restores remediated entities (remediate list shows them). A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What it is
    r#type: EntityKind,
    /// Path, name or undo id
    id: Option<String>,
    /// Up to 50 of one type, one plan
    ids: Option<Vec<String>>,
    /// Accepted
    #[serde(default)]
    #[allow(dead_code)]
    auto: bool,
    /// For registry: the hive copy
    hive: Option<DevicePath>,
}

impl Command for Undo {
    const SPEC: Spec = Spec {
        name: "undo",
        title: "Undo",
        role: Role::Advanced,
        effect: Effect::Reversible,
        positional: &["type", "id"],
        columns: &["type", "id", "outcome", "undo_id", "sha256", "at", "note"],
        examples: &[("undo file /tmp/x", r#"{"type":"file","id":"/tmp/x"}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        if args.hive.is_some() && args.r#type != EntityKind::Registry {
            return Err(Error::new(ErrorCode::BadArgs, "undo: hive goes with type registry only"));
        }
        let ids = entity_ids("undo", args.r#type, args.id, args.ids, cx)?;
        let hive = args.hive.map(|hive| cx.path(&hive)).transpose()?;
        let by_undo_id = ids.iter().all(|id| id.starts_with("u-"));
        let own = Wish::Undo { kind: args.r#type, ids: ids.clone() };
        // An undo id says by itself which hive it was, where the device has no registry of its own.
        let is_of_hive = hive.is_some() || (by_undo_id && !cx.supports(&own)?);
        if args.r#type == EntityKind::Registry && is_of_hive {
            return cx.propose(Wish::UndoValues { hive, ids }).await;
        }
        cx.propose(own).await
    }
}
