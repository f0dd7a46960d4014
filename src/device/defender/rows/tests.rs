//! The scripts' words against the reader's: every field that a script writes is read, every field that is read is written
//! by a script, and what the simulated Windows devices answer has the shape of our own scripts.

use super::*;
use crate::device::defender::pack::{Shell, script};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

type Names = BTreeSet<String>;

/// A listing: its scripts' name, what its reader knows, and what a row cannot be without.
struct Listing {
    name: &'static str,
    fields: &'static [&'static str],
    needed: &'static [&'static str],
    /// Reads a row: what of it is there afterwards.
    read: fn(Value) -> Option<Value>,
}

fn read<W: Wire>(row: Value) -> Option<Value>
where
    W::Row: serde::Serialize,
{
    // From text, as a document comes.
    serde_json::to_value(serde_json::from_str::<W>(&row.to_string()).ok()?.row()?).ok()
}

/// A row of a file says what it holds only to who shows it.
fn read_file(row: Value) -> Option<Value> {
    serde_json::from_str::<FileWire>(&row.to_string()).ok()?.row().map(|_| Value::Null)
}

fn listings() -> Vec<Listing> {
    macro_rules! listing {
        ($name:literal, $wire:ident, $($needed:literal),*) => {
            Listing { name: $name, fields: $wire::FIELDS, needed: &[$($needed),*], read: read::<$wire> }
        };
    }
    vec![
        listing!("processes", ProcessWire, "pid", "ppid", "name"),
        listing!("connections", ConnectionWire, "protocol", "local_address", "local_port", "state"),
        Listing { name: "dir", fields: FileWire::FIELDS, needed: &["name", "path", "kind"], read: read_file },
        Listing { name: "findfile", fields: FileWire::FIELDS, needed: &["name", "path", "kind"], read: read_file },
        listing!("services", ServiceWire, "name"),
        listing!("drivers", DriverWire, "name"),
        listing!("scheduledtasks", TaskWire, "name", "kind"),
        listing!("startupfolders", StartupWire, "folder", "file"),
        listing!("persistence", PersistenceWire, "technique", "attack_id", "location"),
        listing!("registry", RegistryWire, "key"),
        listing!("remediated", RemediatedWire, "type", "id", "outcome"),
    ]
}

fn plain(field: &str) -> String {
    field.trim_start_matches("r#").to_owned()
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}"));
    rest.split_once(end).map_or(rest, |(inside, _)| inside)
}

/// The part of a script that makes its rows: of those that list files, the shared one.
fn maker(name: &str, shell: Shell) -> String {
    let text = script(name, shell).unwrap().text();
    let is_list_of_files = matches!(name, "dir" | "findfile");
    match shell {
        Shell::Bash if is_list_of_files => between(text, "\nnext_entry() {", "\n}\n").to_owned(),
        Shell::PowerShell if is_list_of_files => between(text, "\nfunction New-LrEntry", "\nfunction ").to_owned(),
        // Behind the prelude, whose last function this is.
        Shell::Bash => {
            let body = text.split_once("\n# --- homes and small files").unwrap().1;
            body.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
        }
        Shell::PowerShell => {
            let body = text.split_once("\nfunction Invoke-LrScript").unwrap().1;
            // What stands beside the rows is no field of one.
            body.lines().filter(|line| !line.contains("$script:LrData")).collect::<Vec<_>>().join("\n")
        }
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// `put_text NAME …` and `"NAME":` in what is appended to an object.
fn written_by_bash(name: &str) -> Names {
    let text = maker(name, Shell::Bash);
    let mut names = Names::new();
    for put in ["put_text ", "put_path ", "put_time ", "put "] {
        let found = text.match_indices(put).filter(|(at, _)| {
            text[..*at].chars().next_back().is_none_or(|before| before.is_whitespace() || before == '&')
        });
        names.extend(found.map(|(at, _)| word(&text[at + put.len()..]).to_owned()));
    }
    names.extend(text.match_indices("\\\":").map(|(at, _)| {
        let begin = text[..at].rfind('"').unwrap() + 1;
        text[begin..at].to_owned()
    }));
    names.remove("");
    names
}

/// `$row = [ordered]@{ NAME = …; … }`, what is handed to `Add-LrRow` or returned so, and `$row['NAME'] = …`.
fn written_by_powershell(name: &str) -> Names {
    let text = maker(name, Shell::PowerShell);
    let mut names: Names =
        text.match_indices("$row['").map(|(at, mark)| word(&text[at + mark.len()..]).to_owned()).collect();
    for begin in ["$row = [ordered]@{", "Add-LrRow ([ordered]@{", "return [ordered]@{"] {
        for (at, _) in text.match_indices(begin) {
            names.extend(keys(&text[at + begin.len()..]));
        }
    }
    names
}

/// The keys of a hashtable up to its `}`.
fn keys(text: &str) -> Names {
    let (mut names, mut depth, mut quote, mut is_key, mut open) = (Names::new(), 0u32, None, true, String::new());
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('(' | '{' | '[', None) => depth += 1,
            ('}', None) if depth == 0 => return names,
            (')' | '}' | ']', None) => depth -= 1,
            (';' | '\n', None) if depth == 0 => is_key = true,
            ('=', None) if depth == 0 && is_key => {
                names.insert(std::mem::take(&mut open).trim().to_owned());
                is_key = false;
            }
            (c, None) if depth == 0 && is_key => open.push(c),
            _ => {}
        }
        if c == ';' || c == '\n' {
            open.clear();
        }
    }
    panic!("a hashtable without an end")
}

#[test]
fn every_field_of_a_script_is_read_and_every_field_that_is_read_is_of_a_script() {
    for listing in listings() {
        let known: Names = listing.fields.iter().map(|f| plain(f)).collect();
        let mut written = Names::new();
        for shell in [Shell::Bash, Shell::PowerShell] {
            if listing.name == "registry" && shell == Shell::Bash {
                continue;
            }
            let of_shell =
                if shell == Shell::Bash { written_by_bash(listing.name) } else { written_by_powershell(listing.name) };
            let unknown: Vec<_> = of_shell.difference(&known).collect();
            assert!(unknown.is_empty(), "{} {shell:?}: nobody reads {unknown:?}", listing.name);
            let missing: Vec<_> = listing.needed.iter().filter(|n| !of_shell.contains(**n)).collect();
            assert!(missing.is_empty(), "{} {shell:?}: a row lacks {missing:?}", listing.name);
            written.extend(of_shell);
        }
        // Only the local backend reads hives, and knows these.
        let unwritten: Vec<_> =
            known.difference(&written).filter(|f| !(listing.name == "registry" && *f == "modified")).collect();
        assert!(unwritten.is_empty(), "{}: no script writes {unwritten:?}", listing.name);
    }
}

#[test]
fn what_a_row_cannot_be_without_is_what_its_reader_asks_for() {
    for listing in listings() {
        assert!((listing.read)(serde_json::json!({})).is_none(), "{}: a row of nothing", listing.name);
    }
}

fn recording(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/defender_simulator/windows");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn recordings_of_windows_devices_have_the_shape_of_our_scripts() {
    let names = ["connections", "drivers", "persistence", "processes", "scheduledtasks", "services", "startupfolders"];
    for listing in listings().into_iter().filter(|l| names.contains(&l.name)) {
        let written = written_by_powershell(listing.name);
        for row in recording(listing.name).as_array().unwrap() {
            let fields: Names = row.as_object().unwrap().keys().cloned().collect();
            let other: Vec<_> = fields.difference(&written).collect();
            assert!(other.is_empty(), "{}: our script writes no {other:?}: {row}", listing.name);
            let read = (listing.read)(row.clone()).unwrap_or_else(|| panic!("{}: no row: {row}", listing.name));
            for field in &fields {
                let kept =
                    read.get(field).is_some_and(|v| !v.is_null() && !matches!(v.as_str(), Some("unknown" | "UNKNOWN")));
                assert!(kept, "{}: {field} is lost: {row}", listing.name);
            }
            for field in ["state", "start_mode"].into_iter().filter(|_| listing.name == "services") {
                let text = row[field].as_str().unwrap();
                assert_eq!(text, text.to_lowercase(), "the script writes {field} in small letters: {row}");
            }
        }
    }
    for (key, content) in recording("registry").as_object().unwrap() {
        for value in content["values"].as_array().unwrap() {
            let mut row = value.clone();
            row["key"] = Value::from(key.clone());
            let fields: Names = row.as_object().unwrap().keys().cloned().collect();
            assert!(fields.is_subset(&written_by_powershell("registry")), "{row}");
            assert!((read::<RegistryWire>)(row).is_some(), "{value}");
        }
    }
}
