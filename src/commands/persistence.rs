//! `persistence`: what was set up to come back.

use crate::error::Result;
use crate::model::{Listing, Persistence as Row, PersistenceQuery};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Persistence;

/// Lists known persistence methods: technique, ATT&CK id, what runs, as whom, packaged or not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Only this technique
    technique: Option<String>,
    /// Only of this user
    user: Option<String>,
}

impl Command for Persistence {
    const SPEC: Spec = Spec {
        name: "persistence",
        title: "Persistence",
        columns: &["technique", "attack_id", "location", "command", "user", "packaged"],
        examples: &[("persistence -technique cron", r#"{"technique":"cron"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Row>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let query = PersistenceQuery { technique: args.technique, user: args.user };
        Ok(Reply::Done(cx.read(query).await?.into()))
    }
}
