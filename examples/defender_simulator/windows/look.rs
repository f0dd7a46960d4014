//! Listings out of recordings, less what is no more.

use super::State;
use super::document::{Document, Failure, glob, needed, text};
use super::tree;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

macro_rules! recordings {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!($name, ".json")))),*]
    };
}

const RECORDINGS: &[(&str, &str)] =
    recordings!["connections", "drivers", "persistence", "processes", "scheduledtasks", "services", "startupfolders"];

static ROWS: LazyLock<HashMap<&str, Vec<Value>>> = LazyLock::new(|| {
    let rows = |text: &str| serde_json::from_str(text).expect("a recording is a list of rows");
    RECORDINGS.iter().map(|(name, text)| (*name, rows(text))).collect()
});

/// Keys by their path in lower case: the path as it is written, and what it holds.
static KEYS: LazyLock<BTreeMap<String, (String, Value)>> = LazyLock::new(|| {
    let keys: serde_json::Map<String, Value> =
        serde_json::from_str(include_str!("registry.json")).expect("a recording is an object of keys");
    keys.into_iter().map(|(path, key)| (path.to_lowercase(), (path, key))).collect()
});

pub fn recorded(name: &str) -> &'static [Value] {
    ROWS.get(name).map_or(&[], Vec::as_slice)
}

/// The rows of a recording whose entity is still there.
pub fn listing(state: &State, kind: &str, recording: &str, id: &str) -> Result<Document, Failure> {
    let there = |row: &&Value| !state.is_gone(kind, row[id].as_str().unwrap_or_default());
    Ok(Document::rows(recorded(recording).iter().filter(there).cloned().collect()))
}

/// What was disabled is still there, stopped.
pub fn services(state: &State) -> Result<Document, Failure> {
    let mut rows = recorded("services").to_vec();
    for row in &mut rows {
        if state.is_gone("service", row["name"].as_str().unwrap_or_default()) {
            row["state"] = json!("stopped");
            row["start_mode"] = json!("disabled");
            if let Value::Object(fields) = row {
                fields.remove("pid");
            }
        }
    }
    Ok(Document::rows(rows))
}

pub fn processes(state: &State, args: &Value) -> Result<Document, Failure> {
    let name = text(args, "name").map(glob).transpose()?;
    let pid = args["pid"].as_u64();
    let there = |row: &&Value| !state.is_gone("process", &row["pid"].to_string());
    let mut rows: Vec<Value> = recorded("processes").iter().filter(there).cloned().collect();
    if args["tree"] == true {
        rows = in_tree(&rows);
    }
    rows.retain(|row| {
        let of = |field: &str| row[field].as_str().unwrap_or_default();
        let image = of("path").rsplit('\\').next().unwrap_or_default();
        pid.is_none_or(|pid| row["pid"].as_u64() == Some(pid))
            && name.as_ref().is_none_or(|n| n.is_match(of("name")) || n.is_match(image))
    });
    if args["sha256"] == true {
        for row in &mut rows {
            if let Some(node) = row["path"].as_str().and_then(|path| state.file(path)) {
                row["sha256"] = json!(node.hashes().sha256);
            }
        }
    }
    Ok(Document::rows(rows))
}

/// Parents before their children, each with its depth.
fn in_tree(rows: &[Value]) -> Vec<Value> {
    let pids: Vec<u64> = rows.iter().filter_map(|r| r["pid"].as_u64()).collect();
    let is_root = |row: &&Value| !pids.contains(&row["ppid"].as_u64().unwrap_or(0));
    let mut open: Vec<(&Value, u32)> = rows.iter().filter(is_root).map(|r| (r, 0)).collect();
    open.reverse();
    let mut out = Vec::new();
    while let Some((row, depth)) = open.pop() {
        let mut placed = row.clone();
        placed["depth"] = json!(depth);
        out.push(placed);
        let children = rows.iter().rev().filter(|r| r["ppid"] == row["pid"] && r["pid"] != row["pid"]);
        open.extend(children.map(|child| (child, depth + 1)));
    }
    out
}

/// The processes whose image this is.
pub fn pids_of(path: &str) -> Vec<String> {
    let of = recorded("processes").iter().filter(|r| r["path"].as_str().is_some_and(|p| p.eq_ignore_ascii_case(path)));
    of.map(|row| row["pid"].to_string()).collect()
}

pub fn connections(state: &State) -> Result<Document, Failure> {
    let there = |row: &&Value| !state.is_gone("process", &row["pid"].to_string());
    Ok(Document::rows(recorded("connections").iter().filter(there).cloned().collect()))
}

pub fn tasks(state: &State, args: &Value) -> Result<Document, Failure> {
    let mut document = listing(state, "scheduledtask", "scheduledtasks", "name")?;
    if let (Some(name), Some(rows)) = (text(args, "name"), &mut document.rows) {
        let asked = glob(name)?;
        rows.retain(|row| {
            let whole = row["name"].as_str().unwrap_or_default();
            asked.is_match(whole) || asked.is_match(whole.rsplit('\\').next().unwrap_or_default())
        });
    }
    Ok(document)
}

pub fn persistence(state: &State, args: &Value) -> Result<Document, Failure> {
    let wanted = |row: &&Value| {
        let is = |field: &str| {
            text(args, field).is_none_or(|v| row[field].as_str().is_some_and(|f| f.eq_ignore_ascii_case(v)))
        };
        let location = row["location"].as_str().unwrap_or_default();
        let name = row["name"].as_str().unwrap_or_default();
        let gone = [
            ("file", location),
            ("service", name),
            ("scheduledtask", name),
            ("registry", &*format!("{location}\\{name}")),
        ]
        .iter()
        .any(|(kind, id)| state.is_gone(kind, id));
        is("technique") && is("user") && !gone
    };
    Ok(Document::rows(recorded("persistence").iter().filter(wanted).cloned().collect()))
}

/// A value of the registry: key, name, kind, data.
pub struct RegistryValue {
    pub key: String,
    pub name: String,
    pub kind: String,
    pub data: String,
}

/// The value that a path names: the key, and the value's name after the last backslash.
pub fn registry_value(state: &State, id: &str) -> Option<RegistryValue> {
    let id = plain_key(id);
    let (key, name) = id.rsplit_once('\\')?;
    let (written, held) = KEYS.get(&key.to_lowercase())?;
    let row = held["values"]
        .as_array()?
        .iter()
        .find(|v| v["value"].as_str().is_some_and(|v| v.eq_ignore_ascii_case(name)))?;
    if state.is_gone("registry", &id) {
        return None;
    }
    let of = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    Some(RegistryValue { key: written.clone(), name: of("value"), kind: of("kind"), data: of("data") })
}

/// Single backslashes, short roots.
fn plain_key(key: &str) -> String {
    let single = key.replace("\\\\", "\\");
    let (root, rest) = single.split_once('\\').unwrap_or((&single, ""));
    let root = match root.to_ascii_uppercase().as_str() {
        "HKEY_LOCAL_MACHINE" | "HKLM" => "HKLM",
        "HKEY_USERS" | "HKU" => "HKU",
        "HKEY_CURRENT_USER" | "HKCU" => "HKCU",
        "HKEY_CLASSES_ROOT" | "HKCR" => "HKCR",
        _ => root,
    };
    format!("{root}\\{rest}").trim_end_matches('\\').to_owned()
}

/// `HKCU` of the one user whose hive was recorded.
const USER: (&str, &str) = ("m.keller", r"HKU\S-1-5-21-1004336348-1177238915-682003330-1104");

pub fn registry(state: &State, args: &Value) -> Result<Document, Failure> {
    let mut key = plain_key(needed(args, "key")?);
    if let Some(rest) = key.strip_prefix("HKCU") {
        let user =
            text(args, "user").ok_or_else(|| Failure::new("E_BAD_ARGS", "HKCU needs user: whose hive is meant"))?;
        let name = user.rsplit('\\').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(USER.0) {
            return Err(Failure::new("E_NOT_FOUND", format!("there is no profile of {user}")));
        }
        key = format!("{}{rest}", USER.1);
    }
    let lower = key.to_lowercase();
    let below: BTreeMap<String, u64> = subkeys(&lower);
    let held = KEYS.get(&lower);
    if held.is_none() && below.is_empty() {
        return Err(Failure::new("E_NOT_FOUND", format!("there is no key {key}")));
    }
    let written = held.map_or(key.as_str(), |(path, _)| path);
    let mut rows = Vec::new();
    for value in held.and_then(|(_, k)| k["values"].as_array()).into_iter().flatten() {
        let name = value["value"].as_str().unwrap_or_default();
        let asked = text(args, "value").is_none_or(|v| v.eq_ignore_ascii_case(name));
        if asked && !state.is_gone("registry", &format!("{written}\\{name}")) {
            rows.push(json!({ "key": written, "value": name, "kind": value["kind"], "data": value["data"] }));
        }
    }
    if text(args, "value").is_some() {
        if rows.is_empty() {
            return Err(Failure::new("E_NOT_FOUND", format!("{key} has no such value")));
        }
    } else {
        rows.extend(
            below.into_iter().map(|(name, subkeys)| json!({ "key": format!("{written}\\{name}"), "subkeys": subkeys })),
        );
    }
    let modified = held.map_or(&Value::Null, |(_, k)| &k["modified"]);
    let mut data = json!({ "key": written });
    if !modified.is_null() {
        data["modified"] = modified.clone();
    }
    Ok(Document { data: Some(data), ..Document::rows(rows) })
}

/// The names right below a key, each with how many keys are below it.
fn subkeys(key: &str) -> BTreeMap<String, u64> {
    let prefix = format!("{key}\\");
    let mut names: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for (lower, (written, _)) in KEYS.iter().filter(|(lower, _)| lower.starts_with(&prefix)) {
        debug_assert_eq!(lower.len(), written.len());
        let mut parts = written[prefix.len()..].split('\\');
        let below = names.entry(parts.next().unwrap_or_default().to_owned()).or_default();
        below.extend(parts.next().map(str::to_lowercase));
    }
    names.into_iter().map(|(name, below)| (name, below.len() as u64)).collect()
}

/// The row of an entity by what names it.
pub fn row(state: &State, kind: &str, id: &str) -> Option<&'static Value> {
    let (recording, field) = match kind {
        "service" => ("services", "name"),
        "scheduledtask" => ("scheduledtasks", "name"),
        "process" => ("processes", "pid"),
        _ => return None,
    };
    let named = |row: &&Value| match &row[field] {
        Value::String(name) => name.eq_ignore_ascii_case(id),
        number => number.as_u64().is_some_and(|n| id.parse() == Ok(n)),
    };
    recorded(recording).iter().find(named).filter(|_| !state.is_gone(kind, id))
}

/// The image of a process or a service, without its arguments.
pub fn image<'a>(state: &'a State, row: &Value) -> Option<&'a tree::Node> {
    let path = row["path"].as_str()?.trim_start_matches('"');
    if let Some(node) = state.file(path.trim_end_matches('"')) {
        return Some(node);
    }
    let end = path.to_lowercase().find(".exe")? + 4;
    state.file(&path[..end])
}
