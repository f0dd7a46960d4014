//! `live-response demo`: a triage of this host through a real MCP session with the same binary, in a throw-away home.
//!
//! Three parts are played: the assistant by the MCP client below, the server by this binary started as `mcp`, the
//! approver by this program's own `approvals` in yet another process. Only files that the demo made itself are
//! touched.
#![allow(clippy::indexing_slicing)] // of JSON values, where what is missing is null

use super::{Exit, Io};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Timestamp, random_hex};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ServiceExt, model::CallToolResult};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

const PERSON: &str = "demo-approver";
/// A harmless script that looks like what a responder would take away.
const DROPPER: &str = "#!/bin/sh\n# planted by the demo: does nothing\nexit 0\n";

pub fn run(io: &mut Io) -> Result<Exit> {
    let stage = Stage::set()?;
    let runtime = super::runtime()?;
    let played = runtime.block_on(play(&stage, io));
    runtime.shutdown_background();
    played.map(|()| Exit::Done)
}

/// A throw-away home and a throw-away case folder, gone at the end.
struct Stage {
    root: PathBuf,
    program: PathBuf,
}

impl Stage {
    fn set() -> Result<Self> {
        let root = std::env::temp_dir().join(format!("live-response-demo-{}", random_hex::<4>()));
        let at = |e| Error::io(root.display(), e);
        for folder in ["home", "config", "case"] {
            crate::private::dir(&root)?;
            crate::private::dir(&root.join(folder))?;
        }
        for name in [".kworker-update", "invoice.sh"] {
            let file = root.join("case").join(name);
            std::fs::write(&file, DROPPER).map_err(at)?;
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(at)?;
        }
        Ok(Stage { program: std::env::current_exe().map_err(at)?, root })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join("case").join(name)
    }

    /// This binary, in the throw-away home.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("LIVE_RESPONSE_HOME", self.root.join("home"))
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .env_remove("LIVE_RESPONSE_CONFIG")
            .stderr(Stdio::piped());
        command
    }

    /// Runs it with these lines on its stdin; exit code, stdout, stderr.
    async fn person(&self, arguments: &[&str], lines: &str) -> Result<(i32, String, String)> {
        use tokio::io::AsyncWriteExt;
        let broken = |e| Error::io("the approver's process", e);
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(broken)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes()).await.map_err(broken)?;
        }
        let output = child.wait_with_output().await.map_err(broken)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The assistant: an MCP client over stdio.
struct Assistant(RunningService<RoleClient, ()>);

impl Assistant {
    async fn arrive(stage: &Stage) -> Result<Self> {
        let process = TokioChildProcess::new(stage.command(&["mcp"])).map_err(|e| Error::io("the MCP server", e))?;
        let client = ().serve(process).await.map_err(|e| broken("the MCP server did not answer", e))?;
        Ok(Assistant(client))
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Result<CallToolResult> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let call = CallToolRequestParams::new(tool).with_arguments(arguments);
        self.0.call_tool(call).await.map_err(|e| broken(tool, e))
    }

    /// The result object of a call.
    async fn ask(&self, tool: &'static str, arguments: Value) -> Result<Value> {
        Ok(self.call(tool, arguments).await?.structured_content.unwrap_or_default())
    }
}

fn broken(what: &str, e: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("{what}: {e}"))
}

async fn play(stage: &Stage, io: &mut Io) -> Result<()> {
    let mut report = Report(io);
    report.line("live-response demo: a triage of this host, with a person in the loop")?;
    report.line("")?;
    report.line("  assistant   an MCP client in this process; it can look, it can ask, it can approve nothing")?;
    report.line("  server      this binary as `live-response mcp`, spoken to over stdio, in a throw-away home")?;
    report.line(&format!(
        "  approver    played by this program as {PERSON}: `live-response approvals …` in a process of its own"
    ))?;
    report.line(&format!("  evidence    two harmless scripts planted in {}", stage.root.join("case").display()))?;

    let assistant = Assistant::arrive(stage).await?;
    look(&assistant, stage, &mut report).await?;
    refused(&assistant, stage, &mut report).await?;
    let person = enroll(stage, &mut report).await?;
    denied(&assistant, stage, &mut report).await?;
    approved(&assistant, stage, &person, &mut report).await?;
    undone(&assistant, stage, &person, &mut report).await?;
    verified(&assistant, stage, &mut report).await?;
    assistant.0.cancel().await.map_err(|e| broken("the MCP server did not end", e))?;
    report.line("")?;
    report.line(
        "Next: docs/clients.md connects Claude Desktop, Claude Code, VS Code, Cursor or Zed to `live-response mcp`.",
    )
}

async fn look(assistant: &Assistant, stage: &Stage, report: &mut Report<'_>) -> Result<()> {
    report.heading("1  The assistant looks: reads need nobody's yes")?;
    let arrival = assistant.ask("connect", json!({ "device": "local", "comment": "DEMO-1" })).await?;
    expect(&arrival, "completed")?;
    let data = &arrival["data"];
    report.said(
        "connect",
        &format!(
            "session {} on {}, {}, kernel {}, up since {}, as {}",
            text(&data["session"]),
            text(&data["device"]["name"]),
            text(&data["os"]),
            text(&data["kernel"]),
            text(&data["boot_time"]),
            text(&data["account"])
        ),
    )?;
    for hidden in data["hidden"].as_array().into_iter().flatten() {
        report.line(&format!("      not visible: {}", text(hidden)))?;
    }

    let busiest = json!({ "sort": "-cpu_ms", "limit": 5, "fields": ["pid", "user", "name", "started", "cpu_ms"] });
    let processes = assistant.ask("processes", busiest).await?;
    report
        .said("processes", &format!("{} run; the five with the most CPU time:", text(&processes["page"]["total"])))?;
    report.rows(&processes, &["pid", "user", "name", "started", "cpu_ms"])?;
    let deleted = assistant.ask("processes", json!({ "filter": "deleted_image=true" })).await?;
    report.said(
        "processes",
        &format!("{} run from an image that is no longer on disk", text(&deleted["page"]["total"])),
    )?;

    let columns = ["protocol", "local_address", "local_port", "process", "pid"];
    let listening = json!({ "filter": "state=LISTEN", "limit": 8, "fields": columns });
    let listening = assistant.ask("connections", listening).await?;
    report.said("connections", &format!("{} sockets listen", text(&listening["page"]["total"])))?;
    report.rows(&listening, &columns)?;

    let case = stage.root.join("case").to_string_lossy().into_owned();
    let since = Timestamp::now().plus_secs(-86_400).to_string();
    let fresh =
        json!({ "name": "*", "path": case, "modified_after": since, "filter": "kind=file and attributes.mode~x" });
    let fresh = assistant.ask("findfile", fresh).await?;
    report.said(
        "findfile",
        &format!("{} executable files were written there within a day", text(&fresh["page"]["total"])),
    )?;
    report.rows(&fresh, &["path", "size_bytes", "modified"])?;

    let planted = stage.file(".kworker-update");
    let info = assistant.ask("fileinfo", json!({ "path": planted })).await?;
    expect(&info, "completed")?;
    report.said(
        "fileinfo",
        &format!(
            "{}: {}, hidden: {}",
            text(&info["data"]["path"]),
            text(&info["data"]["kind"]),
            text(&info["data"]["attributes"]["hidden"])
        ),
    )?;
    report.line(&format!("      sha256 {}", text(&info["data"]["sha256"])))?;
    let sealed = assistant.ask("getfile", json!({ "path": planted })).await?;
    expect(&sealed, "completed")?;
    report.said("getfile", &format!("sealed as {}", text(&sealed["data"]["uri"])))
}

async fn refused(assistant: &Assistant, stage: &Stage, report: &mut Report<'_>) -> Result<()> {
    report.heading("2  The assistant tries to act alone: refused")?;
    let target = stage.file(".kworker-update");
    let alone = assistant.ask("remediate", json!({ "type": "file", "id": target })).await?;
    report.refusal("remediate", "nobody is enrolled to say yes", &alone)?;
    let forged = assistant
        .ask("remediate", json!({ "type": "file", "id": target, "confirm": true, "approver": PERSON }))
        .await?;
    report.refusal("remediate", "with confirm=true and an approver's name", &forged)?;
    let own = assistant.ask("getfile", json!({ "path": stage.root.join("home") })).await?;
    report.refusal("getfile", "of the guard's own state", &own)?;
    still_there(&target, true)
}

/// The played person's factor.
struct Person(totp_rs::Totp);

impl Person {
    /// The code of this or the previous time step; each step counts once.
    fn code(&self, steps_ago: u64) -> String {
        let now = u64::try_from(Timestamp::now().as_secs()).unwrap_or(0);
        self.0.generate(now.saturating_sub(30 * steps_ago)).to_string()
    }
}

async fn enroll(stage: &Stage, report: &mut Report<'_>) -> Result<Person> {
    report.heading("3  A person enrols, with a phone's authenticator (here: played)")?;
    let (code, out, err) = stage.person(&["approver", "enroll", PERSON], "\n").await?;
    let url = out.split_whitespace().find(|word| word.starts_with("otpauth://"));
    let (0, Some(url)) = (code, url) else {
        return Err(broken("approver enroll", err));
    };
    report.said(
        "approver",
        &format!("enroll {PERSON}: shows its otpauth:// URI and a QR code once; this demo reads it"),
    )?;
    totp_rs::Totp::from_url(url).map(Person).map_err(|e| broken("the enrolment's URI", e))
}

async fn denied(assistant: &Assistant, stage: &Stage, report: &mut Report<'_>) -> Result<()> {
    report.heading("4  The person says no")?;
    let target = stage.file("invoice.sh");
    let why = "looks like a dropper";
    let asked = assistant.ask("remediate", json!({ "type": "file", "id": target, "reason": why })).await?;
    expect(&asked, "pending_approval")?;
    report.said(
        "remediate",
        &format!("{} → pending_approval, match {}", target.display(), text(&asked["approval"]["match"])),
    )?;
    let request = text(&asked["approval"]["request_id"]);
    let (code, ..) = stage.person(&["approvals", "deny", &request], "").await?;
    report.approver(&format!("approvals deny {request} (exit {code})"))?;
    let after = assistant.ask("fg", json!({ "command_id": asked["command_id"] })).await?;
    report.refusal("fg", "the same command", &after["data"]["command"])?;
    still_there(&target, true)
}

async fn approved(assistant: &Assistant, stage: &Stage, person: &Person, report: &mut Report<'_>) -> Result<()> {
    report.heading("5  The person says yes, to exactly this")?;
    let target = stage.file(".kworker-update");
    let asked = assistant
        .ask("remediate", json!({ "type": "file", "id": target, "reason": "hidden, fresh, executable" }))
        .await?;
    expect(&asked, "pending_approval")?;
    report.said("remediate", &format!("{} → pending_approval: nothing has changed", target.display()))?;
    still_there(&target, true)?;
    let request = text(&asked["approval"]["request_id"]);
    let (code, screen, err) =
        stage.person(&["approvals", "approve", &request], &format!("{}\n", person.code(1))).await?;
    if code != 0 {
        return Err(broken("approvals approve", err));
    }
    report.approver(&format!("approvals approve {request}, with a code from the phone; the screen:"))?;
    screen.lines().try_for_each(|line| report.line(&format!("      | {line}")))?;
    let after = assistant.ask("fg", json!({ "command_id": asked["command_id"] })).await?;
    let result = &after["data"]["command"];
    expect(result, "completed")?;
    report.said("fg", &format!("{}, verified: {}", text(&result["state"]), text(&result["verified"])))?;
    still_there(&target, false)
}

async fn undone(assistant: &Assistant, stage: &Stage, person: &Person, report: &mut Report<'_>) -> Result<()> {
    report.heading("6  And it can be undone, which needs its own yes")?;
    let target = stage.file(".kworker-update");
    let asked = assistant.ask("undo", json!({ "type": "file", "id": target })).await?;
    expect(&asked, "pending_approval")?;
    let request = text(&asked["approval"]["request_id"]);
    let (code, _, err) = stage.person(&["approvals", "approve", &request], &format!("{}\n", person.code(0))).await?;
    if code != 0 {
        return Err(broken("approvals approve", err));
    }
    let after = assistant.ask("status", json!({ "command_id": asked["command_id"] })).await?;
    expect(&after["data"]["command"], "completed")?;
    let whole = std::fs::read(&target).map_err(|e| Error::io(target.display(), e))? == DROPPER.as_bytes();
    if !whole {
        return Err(broken("undo", "the file that came back has other bytes"));
    }
    report.said("undo", &format!("{} is back, byte for byte", target.display()))
}

async fn verified(assistant: &Assistant, stage: &Stage, report: &mut Report<'_>) -> Result<()> {
    report.heading("7  The audit log tells the story")?;
    let list = assistant.ask("remediate", json!({ "list": true })).await?;
    report.said("remediate", "list:")?;
    report.rows(&list, &["id", "outcome", "undo_id", "at"])?;
    for arguments in [["audit", "verify"], ["evidence", "verify"]] {
        let (code, out, err) = stage.person(&arguments, "").await?;
        if code != 0 {
            return Err(broken(&arguments.join(" "), err));
        }
        report.approver(&format!("{}: {}", arguments.join(" "), out.trim()))?;
    }
    Ok(())
}

fn still_there(file: &Path, wanted: bool) -> Result<()> {
    if file.exists() == wanted {
        return Ok(());
    }
    let what = if wanted { "is gone although nobody said yes" } else { "is still there after the yes" };
    Err(broken(&file.display().to_string(), what))
}

fn expect(result: &Value, state: &str) -> Result<()> {
    if result["state"] == state {
        return Ok(());
    }
    Err(broken(&format!("expected {state}"), result))
}

/// A JSON scalar without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// The report on stdout.
struct Report<'a>(&'a mut Io);

impl Report<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.0.out, "{line}").map_err(|e| Error::io("stdout", e))
    }

    fn heading(&mut self, line: &str) -> Result<()> {
        self.line("")?;
        self.line(line)
    }

    fn said(&mut self, tool: &str, what: &str) -> Result<()> {
        self.line(&format!("   {tool:<12}{what}"))
    }

    fn approver(&mut self, what: &str) -> Result<()> {
        self.line(&format!("   {:<12}{what}", "(approver)"))
    }

    /// A result that must be a refusal.
    fn refusal(&mut self, tool: &str, tried: &str, result: &Value) -> Result<()> {
        expect(result, "refused")?;
        self.said(tool, &format!("{tried} → {}: {}", text(&result["error"]["code"]), text(&result["error"]["message"])))
    }

    fn rows(&mut self, result: &Value, columns: &[&str]) -> Result<()> {
        let rows: Vec<Vec<String>> = result["data"]["rows"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| columns.iter().map(|c| text(&row[*c])).collect())
            .collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(i, c)| {
                rows.iter().filter_map(|r| r.get(i)).map(|v| v.chars().count()).chain([c.len()]).max().unwrap_or(0)
            })
            .collect();
        let header: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        for row in std::iter::once(&header).chain(&rows) {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(v, w)| format!("{v:<w$}")).collect();
            self.line(format!("      {}", cells.join("  ")).trim_end())?;
        }
        Ok(())
    }
}
