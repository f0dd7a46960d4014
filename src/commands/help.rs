//! `help`: the commands, or one of them in full.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Listing, row};
use crate::nearest::nearest;
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec, Tool, command_help};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Help;

/// Lists the commands, or explains one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The command to explain
    command: Option<String>,
}

row! {
    pub struct HelpRow {
        pub command: &'static str,
        pub title: &'static str,
        /// `basic` or `advanced`.
        pub role: &'static str,
        /// Runs only after a person's yes.
        pub asks: Option<bool>,
    }
}

#[derive(Serialize, JsonSchema, Default)]
pub struct Text {
    /// One command in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Command for Help {
    const SPEC: Spec = Spec {
        name: "help",
        title: "Help",
        aliases: &["?"],
        positional: &["command"],
        columns: &["command", "title", "role", "asks"],
        examples: &[("help", "{}"), ("help remediate", r#"{"command":"remediate"}"#)],
        paged: false,
        fixed: true,
        ..Spec::SESSION
    };
    type Args = Args;
    type Output = Listing<HelpRow, Text>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let Some(name) = args.command else {
            let rows = cx.tools().iter().map(|t| row_of(t.spec())).collect();
            return Ok(Reply::Done(Listing { rows, extra: Text::default() }));
        };
        let is = |t: &&&dyn Tool| t.spec().name == name || t.spec().aliases.contains(&name.as_str());
        // Of what is not listed here there is help all the same: its hints name it.
        let Some(tool) = cx.tools().iter().find(is).or_else(|| super::TENANT.iter().find(is)) else {
            let shown: String = name.chars().take(60).collect();
            let e = Error::new(ErrorCode::UnknownCommand, format!("there is no command {shown:?}"));
            return Err(match nearest(&name, cx.tools().iter().map(|t| t.spec().name)) {
                Some(near) => e.hint(format!("did you mean {near:?}?")),
                None => e.hint("help without an argument lists them"),
            });
        };
        let extra = Text { help: Some(command_help(*tool)) };
        Ok(Reply::Done(Listing { rows: vec![row_of(tool.spec())], extra }))
    }
}

fn row_of(spec: &'static Spec) -> HelpRow {
    HelpRow {
        command: spec.name,
        title: spec.title,
        role: match spec.role {
            Role::Basic => "basic",
            Role::Advanced => "advanced",
        },
        asks: matches!(spec.effect, Effect::Reversible | Effect::Destructive).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::ALL;
    use crate::registry::command_help;

    #[test]
    fn help_names_the_words_that_an_argument_takes() {
        let help = |name: &str| command_help(*ALL.iter().find(|t| t.spec().name == name).unwrap());
        for (command, words) in [
            ("remediate", "file, process, service, registry, scheduledtask, startup"),
            ("undo", "file, process, service, registry, scheduledtask, startup"),
            ("isolate", "full, selective"),
            ("collect", "triage, full"),
            ("scan", "quick, full, path"),
            ("analyze", "file, process"),
        ] {
            let said = help(command);
            let arguments = said.split("\narguments:\n").nth(1).unwrap().split("\n\n").next().unwrap();
            assert!(arguments.contains(words), "{command}: {arguments}");
        }
        assert!(!help("processes").contains("()"));
    }
}
