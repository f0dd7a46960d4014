//! `remediate`, `undo` and `remediated` of a Windows device, with the state that they leave.

use super::State;
use super::document::{Document, Failure, needed, text};
use super::look;
use super::tree::Node;
use crate::library::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What was taken, and what it takes to give it back.
pub struct Record {
    undo_id: String,
    kind: String,
    id: String,
    outcome: &'static str,
    path: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
    at: String,
    restored: bool,
}

type Facts = Vec<(&'static str, String)>;

const PROTECTED_PROCESSES: &[&str] = &[
    "System",
    "Registry",
    "smss.exe",
    "csrss.exe",
    "wininit.exe",
    "winlogon.exe",
    "services.exe",
    "lsass.exe",
    "MsSense.exe",
    "SenseIR.exe",
    "MsMpEng.exe",
];
const PROTECTED_SERVICES: &[&str] =
    &["Sense", "WinDefend", "RpcSs", "DcomLaunch", "LSM", "EventLog", "BFE", "mpssvc", "Schedule", "PlugPlay", "Power"];
const PROTECTED_FOLDERS: &[&str] = &[
    r"c:\program files\windows defender advanced threat protection\",
    r"c:\programdata\microsoft\windows defender\",
    r"c:\programdata\live-response\",
];

pub fn remediate(state: &mut State, args: &Value) -> Result<Document, Failure> {
    let (kind, id) = (needed(args, "kind")?, needed(args, "id")?);
    let facts = facts(state, kind, id)?;
    match needed(args, "mode")? {
        "look" => Ok(told(&facts)),
        "do" => {
            same(&facts, args)?;
            let undo_id = needed(args, "undo_id")?;
            if !is_undo_id(undo_id) {
                return Err(Failure::new("E_BAD_ARGS", "undo_id is u- and 32 hex digits"));
            }
            Ok(take(state, kind, id, undo_id, &facts))
        }
        other => Err(Failure::new("E_BAD_ARGS", format!("mode is look or do, not {other}"))),
    }
}

fn is_undo_id(text: &str) -> bool {
    text.strip_prefix("u-").is_some_and(|hex| hex.len() == 32 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}

fn told(facts: &Facts) -> Document {
    let facts: Vec<Value> = facts.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    Document::data(json!({ "facts": facts, "note": "" }))
}

/// Every fact as it was expected, byte for byte.
fn same(facts: &Facts, args: &Value) -> Result<(), Failure> {
    for (name, value) in facts {
        if args[format!("expect_{name}")].as_str() != Some(value) {
            return Err(Failure::new("E_ENTITY_DRIFT", format!("{name} is not as it was when it was looked at")));
        }
    }
    Ok(())
}

fn facts(state: &State, kind: &str, id: &str) -> Result<Facts, Failure> {
    let missing = || Failure::new("E_NOT_FOUND", format!("there is no {kind} {id}"));
    let protected = || Failure::new("E_PROTECTED", format!("the {kind} {id} is protected"));
    let named = |list: &[&str], name: &str| list.iter().any(|p| p.eq_ignore_ascii_case(name));
    match kind {
        "file" | "startup" => {
            let lower = id.to_lowercase();
            if PROTECTED_FOLDERS.iter().any(|folder| lower.starts_with(folder)) {
                return Err(protected());
            }
            state.file(id).map(file_facts).ok_or_else(missing)
        }
        "process" => {
            let row = look::row(state, kind, id).ok_or_else(missing)?;
            if named(PROTECTED_PROCESSES, row["name"].as_str().unwrap_or_default()) {
                return Err(protected());
            }
            let mut facts = fields(row, &["pid", "started", "name", "user", "command_line", "path"]);
            facts.extend(image_facts(state, row));
            Ok(facts)
        }
        "service" => {
            let row = look::row(state, kind, id).ok_or_else(missing)?;
            if named(PROTECTED_SERVICES, row["name"].as_str().unwrap_or_default()) {
                return Err(protected());
            }
            let mut facts = fields(row, &["name", "description", "state", "start_mode", "account", "path"]);
            if let Some(display) = facts.iter_mut().find(|(name, _)| *name == "description") {
                display.0 = "display_name";
            }
            facts.extend(image_facts(state, row).into_iter().filter(|(name, _)| *name == "sha256"));
            Ok(facts)
        }
        "scheduledtask" => {
            let row = look::row(state, kind, id).ok_or_else(missing)?;
            let mut facts = fields(row, &["name", "source", "schedule", "command", "user"]);
            facts.push(("definition_sha256", hex(&Sha256::digest(row.to_string()))));
            Ok(facts)
        }
        "registry" => {
            if id.to_ascii_uppercase().starts_with("HKU\\") || id.to_ascii_uppercase().starts_with("HKEY_USERS\\") {
                return Err(Failure::new("E_UNSUPPORTED", "HKEY_USERS is not remediated"));
            }
            let value = look::registry_value(state, id).ok_or_else(missing)?;
            let sha256 = hex(&Sha256::digest(&value.data));
            Ok(vec![
                ("key", value.key),
                ("value", value.name),
                ("kind", value.kind),
                ("data", value.data),
                ("data_sha256", sha256),
            ])
        }
        other => Err(Failure::new("E_BAD_ARGS", format!("there is no kind {other}"))),
    }
}

fn fields(row: &Value, names: &[&'static str]) -> Facts {
    let written = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    names.iter().filter_map(|name| Some((*name, written(&row[*name])?))).collect()
}

fn image_facts(state: &State, row: &Value) -> Facts {
    let Some(image) = look::image(state, row) else { return Vec::new() };
    vec![("sha256", image.hashes().sha256.clone()), ("size_bytes", image.size().to_string())]
}

fn file_facts(node: &Node) -> Facts {
    let hashes = node.hashes();
    vec![
        ("path", node.path.clone()),
        ("size_bytes", node.size().to_string()),
        ("modified", node.modified().to_owned()),
        ("sha256", hashes.sha256.clone()),
        ("sha1", hashes.sha1.clone()),
        ("owner", "BUILTIN\\Administrators".into()),
        ("identity", node.identity()),
        ("links", "1".into()),
    ]
}

/// The kind under which something counts as gone: a start-up item is a file.
fn gone_kind(kind: &str) -> &str {
    if kind == "startup" { "file" } else { kind }
}

fn take(state: &mut State, kind: &str, id: &str, undo_id: &str, facts: &Facts) -> Document {
    let fact = |name: &str| facts.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    let outcome = match kind {
        "file" | "startup" => "quarantined",
        "process" => "stopped",
        "service" => "disabled",
        _ => "deleted",
    };
    // The entity's own spelling names it from now on.
    let id = match kind {
        "registry" => format!("{}\\{}", fact("key").unwrap_or_default(), fact("value").unwrap_or_default()),
        "process" => id.to_owned(),
        _ => {
            fact("path").filter(|_| gone_kind(kind) == "file").or_else(|| fact("name")).unwrap_or_else(|| id.to_owned())
        }
    };
    state.records.push(Record {
        undo_id: undo_id.to_owned(),
        kind: kind.to_owned(),
        id: id.clone(),
        outcome,
        path: fact("path"),
        sha256: fact("sha256"),
        size: fact("size_bytes").and_then(|s| s.parse().ok()),
        at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        restored: false,
    });
    if let Some(pid) = look::row(state, kind, &id).filter(|_| kind == "service").and_then(|row| row["pid"].as_u64()) {
        state.gone.insert(("process".into(), pid.to_string()));
    }
    state.gone.insert((gone_kind(kind).to_owned(), id.to_lowercase()));
    Document::data(json!({ "outcome": outcome, "undo_id": undo_id, "verified": true, "note": "" }))
}

pub fn undo(state: &mut State, args: &Value) -> Result<Document, Failure> {
    let id = needed(args, "id")?;
    let kind = text(args, "kind");
    let is_meant = |r: &Record| {
        !r.restored && kind.is_none_or(|k| k == r.kind) && (r.undo_id == id || r.id.eq_ignore_ascii_case(id))
    };
    let at = state.records.iter().rposition(is_meant);
    let at = at.ok_or_else(|| Failure::new("E_NOT_FOUND", format!("nothing was remediated as {id}")))?;
    let record = &state.records[at];
    let mut facts: Facts = vec![
        ("undo_id", record.undo_id.clone()),
        ("kind", record.kind.clone()),
        ("id", record.id.clone()),
        ("outcome", record.outcome.to_owned()),
        ("at", record.at.clone()),
    ];
    facts.extend(record.path.clone().map(|p| ("path", p)));
    facts.extend(record.sha256.clone().map(|h| ("sha256", h)));
    match needed(args, "mode")? {
        "look" => Ok(told(&facts)),
        "do" => {
            same(&facts, args)?;
            Ok(give_back(state, at))
        }
        other => Err(Failure::new("E_BAD_ARGS", format!("mode is look or do, not {other}"))),
    }
}

fn give_back(state: &mut State, at: usize) -> Document {
    let record = &mut state.records[at];
    record.restored = true;
    let undo_id = record.undo_id.clone();
    if record.kind == "process" {
        let note = "a process is not started again; its image is kept";
        return Document::data(json!({ "outcome": "image_kept", "undo_id": undo_id, "verified": true, "note": note }));
    }
    let gone = (gone_kind(&record.kind).to_owned(), record.id.to_lowercase());
    state.gone.remove(&gone);
    Document::data(json!({ "outcome": "restored", "undo_id": undo_id, "verified": true, "note": "" }))
}

pub fn remediated(state: &State, args: &Value) -> Result<Document, Failure> {
    let kind = text(args, "kind");
    let rows = state.records.iter().filter(|r| kind.is_none_or(|k| k == r.kind)).map(|r| {
        let mut row = json!({
            "type": r.kind,
            "id": r.id,
            "outcome": if r.restored { "restored" } else { r.outcome },
            "undo_id": r.undo_id,
            "at": r.at,
        });
        for (name, value) in [("path", json!(r.path)), ("sha256", json!(r.sha256)), ("size_bytes", json!(r.size))] {
            if !value.is_null() {
                row[name] = value;
            }
        }
        row
    });
    Ok(Document::rows(rows.collect()))
}
