//! `live-response call TOOL [JSON]`: one tool call in a session of its own, its result object as one line on stdout.
//!
//! Invariant: a result object is printed in every case. It waits for running work, never for a person.

use super::Exit;
use super::io::Io;
use crate::commands;
use crate::config::Config;
use crate::decide::Signals;
use crate::dispatcher::{Connection, Dispatcher, Extent};
use crate::error::{Error, ErrorCode, Result};
use crate::model::CommandId;
use crate::principal::Transport;
use crate::registry::split;
use crate::shape::ResultObject;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// More than any tool reads; what is longer is refused by its size.
const MAX_STDIN: u64 = 16 << 20;
/// The tool that opens sessions.
const CONNECT: &str = "connect";
/// What a cancelled command gets to end by itself, and the log to be written.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The tool's exact name
    tool: String,
    /// Its arguments, a JSON object; - reads them from stdin
    json: Option<String>,
    /// The device of the session, by id or name [default: local]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// A result on its way to stdout: as text, and what the process ends with.
struct Printed {
    json: String,
    exit: Exit,
}

pub(super) fn run(config: Result<Config>, args: Args, io: &mut Io) -> Result<Exit> {
    let printed = match config.and_then(|config| input(args.json.as_deref()).map(|json| (config, json))) {
        Ok((config, json)) => super::block_on(called(&config, &args, &json)),
        Err(e) => Err(e),
    };
    let printed = printed.unwrap_or_else(|e| {
        let result = ResultObject::from_error(CommandId::mint(), &e);
        Printed { exit: usage_or(&result), json: render(&result) }
    });
    io.say(&printed.json)?;
    io.flush()?;
    Ok(printed.exit)
}

fn input(json: Option<&str>) -> Result<String> {
    match json {
        None => Ok("{}".into()),
        Some("-") => {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().lock();
            stdin.take(MAX_STDIN).read_to_end(&mut bytes).map_err(|e| Error::io("stdin", e))?;
            let refused = |what| Error::new(ErrorCode::BadArgs, format!("the arguments on stdin {what}"));
            match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => Err(refused("are missing").hint("{} stands for none")),
                Ok(text) => Ok(text),
                Err(_) => Err(refused("are not UTF-8")),
            }
        }
        Some(json) => Ok(json.to_owned()),
    }
}

async fn called(config: &Config, args: &Args, json: &str) -> Result<Printed> {
    let dispatcher = Dispatcher::new(config);
    let connection = dispatcher.connect(Transport::Call);
    let printed = answer(&connection, args, json).await;
    dispatcher.drain(DRAIN).await;
    printed
}

async fn answer(connection: &Arc<Connection>, args: &Args, json: &str) -> Result<Printed> {
    let named = match args.device.as_deref().filter(|_| args.tool == CONNECT) {
        Some(device) => with_device(json, device)?,
        None => None,
    };
    let json = named.as_deref().unwrap_or(json);
    if needs_session(&args.tool, json) {
        let device = serde_json::json!({ "device": args.device.as_deref().unwrap_or("local") }).to_string();
        let connected = connection.call(CONNECT, &device, Extent::Page).await?.result;
        if connected.is_error() {
            return Ok(Printed { exit: exit_of(&connected), json: render(&connected) });
        }
    }
    let id = CommandId::mint();
    let first =
        match interruptible(connection, &id, connection.call_as(id.clone(), &args.tool, json, Extent::Page)).await {
            Ok(answered) => answered.result,
            // An unknown tool: a protocol error elsewhere, wrong usage here.
            Err(e) if e.code == ErrorCode::UnknownCommand => {
                return Ok(Printed { exit: Exit::Usage, json: render(&ResultObject::from_error(id, &e)) });
            }
            Err(e) => {
                let result = ResultObject::from_error(id, &e);
                return Ok(Printed { exit: exit_of(&result), json: render(&result) });
            }
        };
    if first.state != crate::error::State::Running {
        return Ok(Printed { exit: usage_or(&first), json: render(&first) });
    }
    follow(connection, &id).await
}

/// The arguments of `connect` with the device that the command line names; `None` where they are no object.
fn with_device(json: &str, device: &str) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Named {
        device: Option<String>,
    }
    let (Ok(own), Some((_, rest))) = (serde_json::from_str::<Named>(json), json.split_once('{')) else {
        return Ok(None);
    };
    match own.device {
        Some(own) if own != device => {
            let what = format!("the device is named twice: {own:?} in the arguments, {device:?} by --device");
            Err(Error::new(ErrorCode::BadArgs, what).hint("name it once"))
        }
        Some(_) => Ok(None),
        None => {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            Ok(Some(format!("{{\"device\":{}{comma}{rest}", serde_json::Value::from(device))))
        }
    }
}

/// A call that will be refused for its arguments opens no session first.
fn needs_session(tool: &str, json: &str) -> bool {
    let Some(tool) = commands::find(tool) else { return false };
    let Ok((common, own)) = split(tool, json) else { return false };
    tool.spec().session && common.devices.is_empty() && tool.check(&own).is_ok()
}

/// What is read of a followed command's result: the rest goes out as it is.
#[derive(Deserialize)]
struct Ended {
    state: String,
    error: Option<Coded>,
}

#[derive(Deserialize)]
struct Coded {
    code: String,
}

#[derive(Deserialize)]
struct Followed<'a> {
    #[serde(borrow)]
    command: &'a RawValue,
}

/// Waits for a job's end.
async fn follow(connection: &Arc<Connection>, id: &CommandId) -> Result<Printed> {
    let asked = serde_json::json!({ "command_id": id }).to_string();
    let broken = |e| Error::new(ErrorCode::Internal, "fg gave no result object").source(e);
    loop {
        let looked = interruptible(connection, id, connection.call("fg", &asked, Extent::Page)).await?.result;
        let Some(data) = looked.data.as_ref().filter(|_| !looked.is_error()) else {
            return Ok(Printed { exit: exit_of(&looked), json: render(&looked) });
        };
        let command = serde_json::from_str::<Followed<'_>>(data.get()).map_err(broken)?.command;
        let ended: Ended = serde_json::from_str(command.get()).map_err(broken)?;
        if ended.state != "running" {
            let exit = exit_code(&ended.state, ended.error.as_ref().map(|e| e.code.as_str()), true);
            return Ok(Printed { exit, json: command.get().to_owned() });
        }
    }
}

/// Waits for a call; a signal cancels the command.
async fn interruptible<T>(
    connection: &Arc<Connection>,
    id: &CommandId,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut signals = Signals::take()?;
    connection.unless(signals.next(), id, call).await
}

fn render(result: &ResultObject) -> String {
    serde_json::to_string(result).unwrap_or_else(|e| format!("{{\"state\":\"failed\",\"error\":{:?}}}", e.to_string()))
}

fn exit_of(result: &ResultObject) -> Exit {
    exit_code(result.state.as_str(), result.error.as_ref().map(|e| e.code.as_str()), false)
}

fn usage_or(result: &ResultObject) -> Exit {
    exit_code(result.state.as_str(), result.error.as_ref().map(|e| e.code.as_str()), true)
}

/// The table of the contract. Arguments are wrong `usage` where they were the caller's own.
fn exit_code(state: &str, code: Option<&str>, usage: bool) -> Exit {
    match state {
        "completed" => Exit::Done,
        "pending_approval" => Exit::Pending,
        "refused" if usage && code == Some(ErrorCode::BadArgs.as_str()) => Exit::Usage,
        "refused" => Exit::Refused,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_goes_where_the_command_line_says() {
        let with = |json: &str| with_device(json, "a\"b").unwrap();
        assert_eq!(with("{}").as_deref(), Some(r#"{"device":"a\"b"}"#));
        assert_eq!(with(r#" { "comment": "x" }"#).as_deref(), Some(r#"{"device":"a\"b", "comment": "x" }"#));
        assert_eq!(with(r#"{"device":"a\"b"}"#), None);
        assert_eq!(with("[{}]"), None);
        assert_eq!(with_device(r#"{"device":"c"}"#, "d").unwrap_err().code, ErrorCode::BadArgs);
    }

    #[test]
    fn a_state_has_its_exit_code() {
        let code = |state, code| exit_code(state, code, true).code();
        assert_eq!(code("completed", None), 0);
        for state in ["failed", "cancelled", "expired", "unknown", "running", "anything"] {
            assert_eq!(code(state, Some("E_X")), 1, "{state}");
        }
        assert_eq!(code("refused", Some("E_BAD_ARGS")), 2);
        assert_eq!(code("refused", Some("E_NO_HUMAN_CHANNEL")), 3);
        assert_eq!(code("pending_approval", None), 4);
    }
}
