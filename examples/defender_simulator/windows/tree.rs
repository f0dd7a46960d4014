//! The files of a Windows device, in memory: listed, searched, hashed.

use super::State;
use super::document::{Document, Failure, glob, needed, text};
use crate::gzip::Source;
use crate::library::hex;
use crate::seed::Seed;
use md5::Md5;
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{LazyLock, OnceLock};

/// Above it, nobody asked yet for a hash.
const SMALL: u64 = 64 << 20;
const ROWS_MAX: u64 = 50_000;

#[derive(Deserialize)]
struct Written {
    path: String,
    text: Option<String>,
    /// So many bytes that begin like a program.
    pe: Option<usize>,
    generated: Option<u64>,
    modified: String,
    signature: Option<String>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    malicious: bool,
}

pub struct Node {
    pub path: String,
    pub is_pe: bool,
    pub malicious: bool,
    content: Source,
    hidden: bool,
    modified: String,
    signature: Option<String>,
    hashes: OnceLock<Hashes>,
}

pub struct Hashes {
    pub md5: String,
    pub sha1: String,
    pub sha256: String,
}

/// By path in lower case.
pub static RECORDED: LazyLock<BTreeMap<String, Node>> = LazyLock::new(|| {
    let written: Vec<Written> =
        serde_json::from_str(include_str!("tree.json")).expect("a recording is a list of files");
    written.into_iter().map(Node::recorded).map(|node| (node.path.to_lowercase(), node)).collect()
});

impl Node {
    fn recorded(written: Written) -> Node {
        let content = match (written.pe, written.generated) {
            (Some(size), _) => Source::Bytes(program(&written.path, size).into()),
            (None, Some(size)) => Source::Generated(size),
            (None, None) => Source::Bytes(written.text.unwrap_or_default().into()),
        };
        Node {
            is_pe: written.pe.is_some(),
            malicious: written.malicious,
            content,
            hidden: written.hidden,
            modified: written.modified,
            signature: written.signature,
            path: written.path,
            hashes: OnceLock::new(),
        }
    }

    /// A file that came later.
    pub fn put(path: &str, content: Source) -> Node {
        Node {
            path: path.to_owned(),
            is_pe: matches!(&content, Source::Bytes(bytes) if bytes.starts_with(b"MZ")),
            malicious: false,
            content,
            hidden: false,
            modified: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            signature: None,
            hashes: OnceLock::new(),
        }
    }

    pub fn source(&self) -> Source {
        self.content.clone()
    }

    pub fn size(&self) -> u64 {
        self.content.size()
    }

    pub fn is_small(&self) -> bool {
        self.size() <= SMALL
    }

    pub fn modified(&self) -> &str {
        &self.modified
    }

    /// Volume and index, made of the path: the same file has the same.
    pub fn identity(&self) -> String {
        let mut seed = Seed::new(0, &self.path.to_lowercase());
        format!("a41f03c2:{:016x}", seed.next() >> 8)
    }

    pub fn hashes(&self) -> &Hashes {
        self.hashes.get_or_init(|| {
            let (mut md5, mut sha1, mut sha256) = (Md5::new(), Sha1::new(), Sha256::new());
            let mut reader = self.content.reader();
            let mut part = vec![0; 1 << 20];
            while let Ok(n) = reader.read(&mut part) {
                if n == 0 {
                    break;
                }
                md5.update(&part[..n]);
                sha1.update(&part[..n]);
                sha256.update(&part[..n]);
            }
            Hashes { md5: hex(&md5.finalize()), sha1: hex(&sha1.finalize()), sha256: hex(&sha256.finalize()) }
        })
    }

    fn name(&self) -> &str {
        self.path.rsplit('\\').next().unwrap_or_default()
    }

    fn attributes(&self) -> Value {
        json!({ "mode": if self.hidden { "-a-h-" } else { "-a---" }, "owner": "BUILTIN\\Administrators", "hidden": self.hidden })
    }

    fn entry(&self) -> Value {
        json!({
            "name": self.name(),
            "path": self.path,
            "kind": "file",
            "size_bytes": self.size(),
            "created": self.modified,
            "modified": self.modified,
            "accessed": self.modified,
            "attributes": self.attributes(),
        })
    }
}

fn program(path: &str, size: usize) -> Vec<u8> {
    let mut seed = Seed::new(1, path);
    let mut bytes = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0This program cannot be run in DOS mode.\r\r\n$".to_vec();
    while bytes.len() < size {
        bytes.extend(seed.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn directory(path: &str) -> Value {
    json!({
        "name": path.rsplit('\\').next().unwrap_or_default(),
        "path": path,
        "kind": "directory",
        "created": "2026-05-02T09:00:00Z",
        "modified": "2026-11-21T03:14:15Z",
        "accessed": "2026-11-23T06:00:00Z",
        "attributes": { "mode": "d----", "owner": "NT SERVICE\\TrustedInstaller", "hidden": false },
    })
}

/// Backslashes, and none at the end but of a volume.
fn normal(path: &str) -> String {
    let path = path.replace('/', "\\");
    let trimmed = path.trim_end_matches('\\');
    if trimmed.len() == 2 { format!("{trimmed}\\") } else { trimmed.to_owned() }
}

/// The directory's path as a prefix in lower case.
fn prefix(path: &str) -> String {
    format!("{}\\", path.trim_end_matches('\\').to_lowercase())
}

/// What is right below a directory, files and directories, by name.
fn children(state: &State, path: &str) -> Option<Vec<Value>> {
    let prefix = prefix(path);
    let mut rows = BTreeMap::new();
    let mut there = false;
    for node in state.all_files().filter(|n| n.path.to_lowercase().starts_with(&prefix)) {
        there = true;
        let rest = node.path.get(prefix.len()..).unwrap_or_default();
        match rest.split_once('\\') {
            None => rows.insert(rest.to_lowercase(), node.entry()),
            Some((name, _)) => rows.insert(name.to_lowercase(), directory(&node.path[..prefix.len() + name.len()])),
        };
    }
    there.then(|| rows.into_values().collect())
}

pub fn dir(state: &State, args: &Value) -> Result<Document, Failure> {
    let path = normal(needed(args, "path")?);
    if state.file(&path).is_some() {
        return Err(Failure::new("E_NOT_A_FILE", format!("{path} is not a directory")));
    }
    let rows = children(state, &path).ok_or_else(|| Failure::new("E_NOT_FOUND", format!("there is no {path}")))?;
    Ok(Document::rows(rows))
}

pub fn find(state: &State, args: &Value) -> Result<Document, Failure> {
    let name = glob(needed(args, "name")?)?;
    let path = normal(text(args, "path").unwrap_or("C:\\"));
    let start = prefix(&path);
    let depth = args["max_depth"].as_u64();
    let number = |field: &str, default: u64| args[field].as_u64().unwrap_or(default);
    let (min, max) = (number("min_size", 0), number("max_size", u64::MAX));
    let time = |field: &str| -> Result<Option<jiff::Timestamp>, Failure> {
        let parsed = text(args, field).map(str::parse).transpose();
        parsed.map_err(|_| Failure::new("E_BAD_ARGS", format!("{field} is no RFC 3339 time")))
    };
    let (after, before) = (time("modified_after")?, time("modified_before")?);
    let sized = args["min_size"].is_u64() || args["max_size"].is_u64() || after.is_some() || before.is_some();
    let below = |path: &str| path.to_lowercase().starts_with(&start);
    let deep = |path: &str| {
        depth.is_none_or(|max| {
            path.get(start.len()..).unwrap_or_default().matches('\\').count() as u64 <= max.saturating_sub(1)
        })
    };
    let mut folders = BTreeSet::new();
    let mut rows = Vec::new();
    let mut there = false;
    for node in state.all_files().filter(|n| below(&n.path)) {
        there = true;
        for (at, _) in node.path.match_indices('\\').filter(|(at, _)| *at >= start.len()) {
            folders.insert(&node.path[..at]);
        }
        let modified: Option<jiff::Timestamp> = node.modified.parse().ok();
        let inside = (min..=max).contains(&node.size())
            && after.is_none_or(|t| modified.is_some_and(|m| m >= t))
            && before.is_none_or(|t| modified.is_some_and(|m| m <= t));
        if name.is_match(node.name()) && deep(&node.path) && inside {
            rows.push(node.entry());
        }
    }
    if !there {
        return Err(Failure::new("E_NOT_FOUND", format!("there is no {path}")));
    }
    let named = |p: &&&str| name.is_match(p.rsplit('\\').next().unwrap_or_default()) && deep(p);
    if !sized {
        rows.extend(folders.iter().filter(named).map(|p| directory(p)));
    }
    let most = usize::try_from(number("max_rows", ROWS_MAX)).unwrap_or(usize::MAX);
    let mut document = Document { cut: rows.len() > most, ..Document::default() };
    if document.cut {
        document.warnings.push(format!("only the first {most} rows are given"));
    }
    rows.truncate(most);
    document.rows = Some(rows);
    Ok(document)
}

pub fn info(state: &State, args: &Value) -> Result<Document, Failure> {
    let path = normal(needed(args, "path")?);
    let Some(node) = state.file(&path) else {
        return Err(match children(state, &path) {
            Some(_) => Failure::new("E_NOT_A_FILE", format!("{path} is a directory")),
            None => Failure::new("E_NOT_FOUND", format!("there is no {path}")),
        });
    };
    let hashes = node.hashes();
    let mut data = json!({
        "path": node.path,
        "size_bytes": node.size(),
        "created": node.modified,
        "modified": node.modified,
        "accessed": node.modified,
        "changed": node.modified,
        "attributes": node.attributes(),
        "md5": hashes.md5,
        "sha1": hashes.sha1,
        "sha256": hashes.sha256,
        "kind": if node.is_pe { "PE32+ executable" } else { "text" },
        "links": 1,
    });
    if let Some(signature) = &node.signature {
        data["signature"] = json!(signature);
    }
    Ok(Document::data(data))
}

/// A program that the devices have.
pub struct Image {
    pub path: String,
    pub sha1: String,
    pub sha256: String,
    pub size: u64,
}

impl Image {
    pub fn name(&self) -> &str {
        self.path.rsplit('\\').next().unwrap_or_default()
    }
}

/// The programs of the recording.
pub fn images() -> &'static [Image] {
    static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| {
        let image = |node: &Node| {
            let hashes = node.hashes();
            Image {
                path: node.path.clone(),
                sha1: hashes.sha1.clone(),
                sha256: hashes.sha256.clone(),
                size: node.size(),
            }
        };
        RECORDED.values().filter(|n| n.is_pe).map(image).collect()
    });
    &IMAGES
}
