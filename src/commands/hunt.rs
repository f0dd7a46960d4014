//! `hunt`: a query over what the tenant's devices have reported.

use crate::error::Result;
use crate::model::{HuntQuery, HuntRow, Hunted, Listing};
use crate::registry::{Command, Context, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Hunt;

/// Runs an advanced hunting query (KQL) over the Defender tenant; reads only.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// KQL
    query: String,
    /// How far back: 30m, 12h, 7d; at most 30d, the default
    timespan: Option<String>,
}

impl Command for Hunt {
    const SPEC: Spec = Spec {
        name: "hunt",
        title: "Hunt",
        session: false,
        long: true,
        positional: &["query", "timespan"],
        columns: &["timestamp", "device", "row"],
        examples: &[("hunt \"DeviceFileEvents | take 5\"", r#"{"query":"DeviceFileEvents | take 5"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<HuntRow, Hunted>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let (extra, rows) = cx.ask_tenant(HuntQuery { query: args.query, timespan: args.timespan }).await?;
        Ok(Reply::Done(Listing { rows, extra }))
    }
}
