//! `run`: runs a library script, after a person's yes.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Listing, Remediated, Wish};
use crate::principal::Role;
use crate::registry::{Command, Context, Effect, Reply, Spec, console};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Run;

/// The characters that the product refuses in parameters.
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];
/// What a person can look through.
const PARAMETERS: usize = 100;
const PARAMETER_BYTES: usize = 4096;

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
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

/// Beside the row, once the script has run; the whole output is evidence under the row's `sha256`.
#[derive(Serialize, JsonSchema)]
pub struct Ran {
    /// Begin and end of what the script wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Untrusted>,
}

impl Command for Run {
    const SPEC: Spec = Spec {
        name: "run",
        title: "Run script",
        role: Role::Advanced,
        effect: Effect::Destructive,
        long: true,
        positional: &["script"],
        columns: &["type", "id", "outcome", "exit_code", "sha256", "size_bytes", "note"],
        examples: &[("run collect.sh -parameters \"-days 7\"", r#"{"script":"collect.sh","parameters":"-days 7"}"#)],
        paged: false,
        ..Spec::READ
    };
    type Args = Args;
    type Output = Listing<Remediated, Ran>;

    async fn run(args: Args, cx: &Context<'_>) -> Result<Reply<Self::Output>> {
        let parameters = match args.parameters {
            None => Vec::new(),
            Some(Parameters::Line(line)) => console::split_words(&line)
                .map_err(|e| Error::new(e.code, format!("run: parameters: {}", e.message)).hint("or give a list"))?,
            Some(Parameters::List(list)) => list,
        };
        check(&parameters)?;
        let directory = cx.directory()?;
        cx.propose_item(&args.script, |script| Wish::Run {
            script,
            parameters: parameters.clone(),
            directory: directory.clone(),
        })
        .await
    }
}

fn check(parameters: &[String]) -> Result<()> {
    if parameters.len() > PARAMETERS || parameters.iter().any(|p| p.len() > PARAMETER_BYTES) {
        let what = format!("run: more than {PARAMETERS} parameters, or one of more than {PARAMETER_BYTES} bytes");
        return Err(Error::new(ErrorCode::TooLarge, what).hint("`putfile` takes a file of them to the device"));
    }
    if let Some(bad) = parameters.iter().flat_map(|p| p.chars()).find(|c| FORBIDDEN.contains(c)) {
        let e = Error::new(ErrorCode::BadArgs, format!("run: parameters hold the forbidden character {bad:?}"));
        return Err(e.hint("; & | ! $ are refused in parameters"));
    }
    if parameters.iter().flat_map(|p| p.chars()).any(char::is_control) {
        return Err(Error::new(
            ErrorCode::BadArgs,
            "run: parameters hold a NUL, a line break or another control character",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(parameters: &[&str]) -> Option<ErrorCode> {
        let parameters: Vec<String> = parameters.iter().map(|p| (*p).to_owned()).collect();
        check(&parameters).err().map(|e| e.code)
    }

    #[test]
    fn gt_111_what_a_shell_would_obey_is_refused() {
        for bad in ["x; Remove-Item y", "a&b", "a|b", "!x", "$(id)", "${IFS}", "a\0b", "a\nb", "a\rb", "\x1b[2K"] {
            assert_eq!(code(&["ok", bad]), Some(ErrorCode::BadArgs), "{bad:?}");
        }
        assert_eq!(code(&["-EncodedCommand", "a b", "*", "`id`", "../x", "größe", ""]), None);
        assert_eq!(code(&["x"; 101]), Some(ErrorCode::TooLarge));
        assert_eq!(code(&[&"x".repeat(5000)]), Some(ErrorCode::TooLarge));
    }

    #[test]
    fn a_line_is_split_as_the_console_does() {
        let words = console::split_words(r#"-days 7 -name "a b" 'c d'"#).unwrap();
        assert_eq!(words, ["-days", "7", "-name", "a b", "c d"]);
        assert!(console::split_words("\"open").is_err());
        assert!(console::split_words("").unwrap().is_empty());
    }
}
