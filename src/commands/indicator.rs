//! `indicator`: what the tenant warns of, blocks or allows on every device.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{IndicatorKind, IndicatorQuery, IndicatorRow, Timestamp, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, ListingOrOutcome, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Indicator;

const TEXT_CHARS: usize = 200;

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Action {
    List,
    Add,
    Remove,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum What {
    Audit,
    Warn,
    Block,
    Remediate,
    Allow,
}

/// Lists the Defender tenant's indicators; adding and removing asks a person first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Default list
    action: Option<Action>,
    /// For add; in list only these
    r#type: Option<IndicatorKind>,
    /// For add; in list only these
    value: Option<String>,
    /// For add; default audit
    effect: Option<What>,
    /// For add
    title: Option<String>,
    /// For add
    description: Option<String>,
    /// RFC 3339
    expires: Option<Timestamp>,
    /// For remove
    id: Option<String>,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            What::Audit => "Audit",
            What::Warn => "Warn",
            What::Block => "Block",
            What::Remediate => "BlockAndRemediate",
            What::Allow => "Allowed",
        }
    }
}

impl Command for Indicator {
    const SPEC: Spec = Spec {
        name: "indicator",
        title: "Indicators",
        role: Role::Advanced,
        effect: Effect::Reversible,
        session: false,
        positional: &["action", "type", "value"],
        columns: &["id", "type", "value", "effect", "title", "expires"],
        examples: &[("indicator", "{}"), ("indicator remove -id 7", r#"{"action":"remove","id":"7"}"#)],
        ..Spec::READ
    };
    type Args = Args;
    type Output = ListingOrOutcome<IndicatorRow>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let bad = |what: &str| Error::new(ErrorCode::BadArgs, format!("indicator: {what}"));
        match args.action.unwrap_or(Action::List) {
            Action::List => {
                let query = IndicatorQuery { kind: args.r#type.map(|k| k.word().to_owned()), value: args.value };
                Ok(Reply::Done(ListingOrOutcome(cx.ask_tenant(query).await?)))
            }
            Action::Add => {
                let (Some(kind), Some(value)) = (args.r#type, args.value) else {
                    return Err(bad("add needs type and value"));
                };
                let value = kind.value(&value).map_err(|what| {
                    let shown: String = value.chars().take(80).collect();
                    bad(&format!("{shown:?} is no value of its type")).hint(what)
                })?;
                if let Some(past) = args.expires.filter(|at| *at <= Timestamp::now()) {
                    return Err(bad(&format!("it would have expired already, at {past}"))
                        .hint("give a time to come, or none: then it does not expire"));
                }
                let named = || value.chars().take(TEXT_CHARS / 2).collect::<String>();
                let title = args.title.unwrap_or_else(|| format!("live-response: {}", named()));
                let description = args.description.unwrap_or_else(|| title.clone());
                let is_line = |text: &str| {
                    !text.is_empty() && text.chars().count() <= TEXT_CHARS && !text.chars().any(char::is_control)
                };
                if !is_line(&title) || !is_line(&description) {
                    return Err(bad("title and description are one line each, of 200 characters at most"));
                }
                cx.propose_to_tenant(Wish::AddIndicator {
                    kind: kind.word().to_owned(),
                    value,
                    effect: args.effect.unwrap_or(What::Audit).word().to_owned(),
                    title,
                    description,
                    expires: args.expires,
                })
                .await
            }
            Action::Remove => {
                let id = args.id.ok_or_else(|| bad("remove needs the id, which list gives"))?;
                cx.propose_to_tenant(Wish::RemoveIndicator { id }).await
            }
        }
    }
}
