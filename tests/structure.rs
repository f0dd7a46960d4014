//! Who may use whom, held.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Used by all, and using only one another.
const GROUND: &[&str] = &["model", "shape", "error", "config", "principal", "nearest", "private", "secret", "trace"];

/// What each part may use beside the ground and itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("shape", &[]),
    ("error", &[]),
    ("config", &[]),
    ("principal", &[]),
    ("nearest", &[]),
    ("private", &[]),
    ("secret", &[]),
    ("trace", &[]),
    ("audit", &[]),
    ("guard", &["audit"]),
    ("evidence", &["audit"]),
    ("library", &[]),
    ("supervise", &[]),
    ("device", &["guard", "supervise"]),
    ("session", &["device", "guard"]),
    ("registry", &["guard", "session", "evidence", "library", "device"]),
    ("commands", &["registry", "evidence"]),
    ("dispatcher", &["registry", "commands", "guard", "session", "audit", "evidence", "library", "device"]),
    ("decide", &["dispatcher", "guard", "registry", "evidence"]),
    ("dead_man", &["device", "guard", "audit"]),
    ("front", &["dispatcher", "registry", "commands"]),
    (
        "cli",
        &[
            "dispatcher",
            "decide",
            "dead_man",
            "front",
            "guard",
            "audit",
            "evidence",
            "registry",
            "commands",
            "supervise",
        ],
    ),
    ("main", &["cli"]),
    ("fuzzing", &["device"]),
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The top-level parts that a file names outside its tests.
fn uses(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    assert!(!code.contains("crate::{"), "name each part in a line of its own: this test reads them by line");
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|name: &String| !name.is_empty())
        .collect()
}

#[test]
fn parts_use_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "the walk found {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).expect("a file below src");
        let part = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let part = part.trim_end_matches(".rs");
        if part == "lib" || inside.ends_with("tests.rs") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("{part} has no row in the table"));
            continue;
        };
        let parts = |name: &&String| MAY_USE.iter().any(|(known, _)| known == name);
        for used in uses(&fs::read_to_string(&file).expect("a source file")).iter().filter(parts) {
            if used != part && !GROUND.contains(&used.as_str()) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {part} uses {used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn front_ends_and_sessions_name_no_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for part in ["front", "session"] {
        let mut files = Vec::new();
        sources(&root.join(part), &mut files);
        for file in files.iter().filter(|f| !f.ends_with("console.rs")) {
            let text = fs::read_to_string(file).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for command in ["\"remediate\"", "\"processes\"", "\"connections\"", "\"fileinfo\"", "\"isolate\""] {
                assert!(!code.contains(command), "{} names {command}", file.display());
            }
        }
    }
}
