//! `run`: runs a library script, after a person's yes.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec};
use schemars::JsonSchema;
use serde::Deserialize;

pub struct Run;

/// The characters that the product refuses in parameters.
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Parameters {
    Line(String),
    List(Vec<String>),
}

/// Runs an approved script of the library on the device. A person is asked first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Library script
    script: String,
    /// One line as in the console, or a list
    parameters: Option<Parameters>,
}

impl Command for Run {
    const SPEC: Spec = Spec {
        name: "run",
        title: "Run script",
        role: Role::Advanced,
        effect: Effect::Destructive,
        long: true,
        positional: &["script"],
        columns: &["type", "id", "outcome", "note"],
        examples: &[("run collect.sh -parameters \"-days 7\"", r#"{"script":"collect.sh","parameters":"-days 7"}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let parameters = match args.parameters {
            None => Vec::new(),
            Some(Parameters::Line(line)) => vec![line],
            Some(Parameters::List(list)) => list,
        };
        if let Some(bad) = parameters.iter().flat_map(|p| p.chars()).find(|c| FORBIDDEN.contains(c)) {
            let e = Error::new(ErrorCode::BadArgs, format!("run: parameters hold the forbidden character {bad:?}"));
            return Err(e.hint("; & | ! $ are refused in parameters"));
        }
        cx.propose(Wish::Run { script: args.script, parameters }).await
    }
}
