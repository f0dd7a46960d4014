//! The archive that the pack's `collect` makes: members of the names that the script gives, out of the recordings.

use super::State;
use super::document::{Document, Failure, needed};
use super::look::recorded;
use super::tree::Node;
use crate::archive::zip;
use crate::library::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USER: &str = "users/S-1-5-21-3623811015-3361044348-30300820-1013";
const MANIFEST: &str = "live-response-manifest.json";

/// What a device has beside its recordings: name, content.
const MEMBERS: &[(&str, &str)] = &[
    ("network/addresses.csv", "\"InterfaceAlias\",\"IPAddress\"\r\n\"Ethernet0\",\"10.20.1.17\"\r\n"),
    ("network/ipconfig.txt", "Windows IP Configuration\r\n\r\n   Host Name . . . . . . . . . . . . : wks\r\n"),
    ("network/dns_cache.csv", "\"Entry\",\"Data\"\r\n\"pool.example\",\"203.0.113.66\"\r\n"),
    ("network/smb_shares.csv", "\"Name\",\"Path\"\r\n\"C$\",\"C:\\\"\r\n"),
    ("network/rdp_sessions.txt", " SESSIONNAME  USERNAME  ID  STATE\r\n console      alice      1  Active\r\n"),
    ("network/files_opened_remotely.txt", "INFO: No shared open files found.\r\n"),
    ("system/startup.csv", "\"Name\",\"Command\"\r\n\"SecurityHealth\",\"SecurityHealthSystray.exe\"\r\n"),
    ("system/devices.csv", "\"Class\",\"FriendlyName\"\r\n\"DiskDrive\",\"Virtual disk\"\r\n"),
    ("system/shadow_copies.csv", ""),
    ("system/tasks_run.csv", "\"TaskName\",\"LastTaskResult\"\r\n\"Updater\",\"0\"\r\n"),
    ("users/signed_in.txt", " USERNAME  SESSIONNAME  ID  STATE\r\n>alice     console       1  Active\r\n"),
    ("users/local_users.csv", "\"Name\",\"Disabled\"\r\n\"Administrator\",\"True\"\r\n"),
    ("registry/run.csv", "\"Key\",\"Value\",\"Data\"\r\n"),
    ("registry/run_32.csv", "\"Key\",\"Value\",\"Data\"\r\n"),
    ("defender/MPLog-20261124-060000.log", "2026-11-24T06:00:00.000Z [Mini-filter] started\r\n"),
    ("defender/exclusions.txt", "ExclusionPath: C:\\Temp"),
    ("events/security_count.csv", "\"Count\",\"Name\"\r\n\"12\",\"4624\"\r\n"),
    ("events/security.csv", "\"TimeCreated\",\"Id\"\r\n\"24.11.2026 06:00:00\",\"4624\"\r\n"),
    ("events/installed.csv", "\"TimeCreated\",\"Message\"\r\n"),
    ("events/Security.evtx", "ElfFile\0 simulated"),
    ("events/System.evtx", "ElfFile\0 simulated"),
];

/// What a user's folder and registry hold.
const OF_A_USER: &[(&str, &str)] = &[
    ("ConsoleHost_history.txt", "net use \\\\10.20.1.5\\c$ /user:admin Passw0rd\r\n"),
    ("chrome/Default/History", "SQLite format 3\0 simulated"),
    ("firefox/x1.default/places.sqlite", "SQLite format 3\0 simulated"),
    ("registry/office.csv", "\"Key\",\"Value\",\"Data\"\r\n"),
    ("registry/shares.csv", "\"Key\",\"Value\",\"Data\"\r\n"),
];

/// The recordings that stand for tables: name, columns.
const TABLES: &[(&str, &str, &[&str])] = &[
    ("processes/processes.csv", "processes", &["pid", "ppid", "name", "path", "command_line", "started"]),
    (
        "network/tcp.csv",
        "connections",
        &["local_address", "local_port", "remote_address", "remote_port", "state", "pid"],
    ),
    ("system/services.csv", "services", &["name", "state", "start_mode", "path"]),
    ("system/drivers.csv", "drivers", &["name", "state", "path"]),
    ("system/tasks.csv", "scheduledtasks", &["name", "command", "user"]),
];

/// The archive is a file like any other afterwards.
pub fn collect(state: &mut State, args: &Value) -> Result<Document, Failure> {
    let out = needed(args, "out")?;
    let lower = out.to_lowercase();
    match needed(args, "mode")? {
        "tidy" => {
            let was = state.files.remove(&lower);
            Ok(Document::data(json!({ "removed": was.is_some(), "path": out })))
        }
        "gather" if state.files.contains_key(&lower) => {
            Err(Failure::new("E_EXISTS", format!("{out} is there: it is not overwritten")))
        }
        "gather" => {
            let mut members = members();
            let bytes: usize = members.iter().map(|(_, content)| content.len()).sum();
            members.push((MANIFEST.to_owned(), manifest(&members, args)));
            let archive = zip(members.iter().map(|(name, content)| (name.as_str(), content.as_bytes())));
            let node = Node::put(out, crate::gzip::Source::Bytes(archive.into()));
            let data = json!({
                "path": out,
                "size_bytes": node.size(),
                "sha256": node.hashes().sha256,
                "members": members.len(),
                "bytes": bytes,
                "left_out": 1,
            });
            state.files.insert(lower, node);
            Ok(Document::data(data))
        }
        other => Err(Failure::new("E_BAD_ARGS", format!("mode is gather or tidy, not {other}"))),
    }
}

fn members() -> Vec<(String, String)> {
    let written = |text: &Value| text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    let table = |recording: &str, columns: &[&str]| {
        let line = |cells: Vec<String>| format!("\"{}\"\r\n", cells.join("\",\""));
        let head = line(columns.iter().map(|c| (*c).to_owned()).collect());
        let rows = recorded(recording).iter().map(|row| line(columns.iter().map(|c| written(&row[*c])).collect()));
        std::iter::once(head).chain(rows).collect::<String>()
    };
    let tables = TABLES.iter().map(|(name, recording, columns)| ((*name).to_owned(), table(recording, columns)));
    let plain = MEMBERS.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned()));
    let of_a_user = OF_A_USER.iter().map(|(name, content)| (format!("{USER}/{name}"), (*content).to_owned()));
    tables.chain(plain).chain(of_a_user).collect()
}

fn manifest(members: &[(String, String)], args: &Value) -> String {
    let line = |(name, content): &(String, String)| {
        let sha256 = hex(&Sha256::digest(content));
        json!({ "name": name.replace('/', "\\"), "size_bytes": content.len(), "sha256": sha256, "source": "simulated" })
    };
    json!({
        "v": 1,
        "device": "simulated",
        "made": jiff::Timestamp::now().to_string(),
        "days": args["days"],
        "complete": true,
        "members": members.iter().map(line).collect::<Vec<_>>(),
        "left_out": [{ "name": "events\\Microsoft-Windows-Sysmon-Operational.evtx", "why": "simulated" }],
    })
    .to_string()
}
