//! The PowerShell half of the script pack: parsed and linted for Windows PowerShell 5.1, and held to its contract.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use support::tools;

const FOLDER: &str = "src/device/defender/pack/powershell";
const NAMES: [&str; 15] = [
    "processes",
    "connections",
    "dir",
    "findfile",
    "fileinfo",
    "services",
    "drivers",
    "scheduledtasks",
    "startupfolders",
    "registry",
    "persistence",
    "remediated",
    "remediate",
    "undo",
    "collect",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(inside: &str) -> String {
    std::fs::read_to_string(root().join(inside)).unwrap()
}

/// What the checker says of a body after the prelude.
fn complaints(bodies: &[PathBuf]) -> Option<(bool, String)> {
    let mut python = tools::python_with("tree_sitter_powershell")?;
    let check = python
        .arg(root().join("tests/powershell_pack/check.py"))
        .arg(root().join(FOLDER).join("prelude.ps1"))
        .args(bodies)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    Some((check.status.success(), text))
}

#[test]
fn every_script_is_there_and_no_other() {
    let there: BTreeSet<String> = std::fs::read_dir(root().join(FOLDER))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let wanted = NAMES.iter().chain(&["prelude"]).map(|name| format!("{name}.ps1")).collect();
    assert_eq!(there, wanted);
}

#[test]
fn scripts_are_ascii_with_line_feeds() {
    for name in NAMES.iter().chain(&["prelude"]) {
        let text = read(&format!("{FOLDER}/{name}.ps1"));
        assert!(text.is_ascii() && !text.contains('\r') && text.ends_with('\n'), "{name}");
    }
}

#[test]
fn scripts_parse_and_keep_the_rules() {
    let bodies: Vec<PathBuf> = NAMES.iter().map(|name| root().join(FOLDER).join(format!("{name}.ps1"))).collect();
    let Some((clean, text)) = complaints(&bodies) else { return };
    assert!(clean, "{text}");
}

#[test]
fn the_checker_sees_what_it_is_for() {
    let bad = [
        ("an alias", "gci 'C:\\'", "gci is no cmdlet"),
        ("code from text", "Invoke-Expression $Arguments", "is banned"),
        ("a typing error", "$right = 1\n    Write-Output $rihgt", "$rihgt is never set"),
        ("syntax of 7", "$a = $null ?? 1", "PowerShell 7"),
        ("half a block", "if ($true) {", "cannot be parsed"),
        ("an effect", "[System.IO.File]::Delete('C:\\x')", "changes the device"),
        ("too many arguments", "Add-LrWarning 'a' 'b'", "takes 1 arguments"),
    ];
    let home = support::Home::new();
    for (what, line, wanted) in bad {
        let body = home.files().join("dir.ps1");
        std::fs::write(&body, format!("Invoke-LrScript 'dir' {{\n    param($Arguments)\n    {line}\n}}\n")).unwrap();
        let Some((clean, text)) = complaints(&[body]) else { return };
        assert!(!clean && text.contains(wanted), "{what}: {text}");
    }
}

#[test]
fn persistence_knows_every_place_that_a_volume_is_searched_for() {
    let script = read(&format!("{FOLDER}/persistence.ps1"));
    let keys = read("src/device/local/windows_root/persistence/keys.rs");
    let files = read("src/device/local/windows_root/persistence/files.rs");
    let quoted = |source: &str| -> Vec<String> {
        source.split('"').skip(1).step_by(2).map(|text| text.replace("\\\\", "\\")).collect()
    };
    let places = quoted(&keys).into_iter().filter(|text| text.contains('\\') && !text.ends_with('\\'));
    // Of a file's path the last name alone: the script writes it in one piece.
    let names = quoted(&files).into_iter().filter(|text| text.contains('.') && !text.contains(' '));
    let missing: Vec<String> = places
        .filter(|place| {
            place.starts_with("Microsoft\\") || place.starts_with("Control\\") || place.starts_with("Services\\")
        })
        .chain(names)
        .filter(|place| !script.contains(place.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What DFIR-Script (Bert-JanP/Incident-Response-Powershell) gathers, in its order, and where the package has it.
const STEPS: [(&str, &str); 28] = [
    ("IP configuration", r"network\addresses.csv"),
    ("established TCP connections", r"network\tcp.csv"),
    ("autoruns", r"system\startup.csv"),
    ("signed-in users", r"users\signed_in.txt"),
    ("local users", r"users\local_users.csv"),
    ("processes with hashes", r"processes\processes.csv"),
    ("connections made by Office", r"'office', 'Software\Microsoft\Office\16.0\Common\Internet\Server Cache'"),
    ("network shares", r"'shares', 'Software\Microsoft\Windows\CurrentVersion\Explorer\MountPoints2'"),
    ("SMB shares", r"network\smb_shares.csv"),
    ("RDP sessions", r"network\rdp_sessions.txt"),
    ("PowerShell history", r"$name\ConsoleHost_history.txt"),
    ("DNS cache", r"network\dns_cache.csv"),
    ("drivers", r"system\drivers.csv"),
    ("installed software", r"events\installed.csv"),
    ("running services", r"system\services.csv"),
    ("scheduled tasks", r"system\tasks.csv"),
    ("task runs", r"system\tasks_run.csv"),
    ("PnP devices", r"system\devices.csv"),
    ("Chromium files", "'History', 'Preferences'"),
    ("Firefox files", "'places.sqlite', 'permissions.sqlite', 'content-prefs.sqlite'"),
    ("count of Security events", r"events\security_count.csv"),
    ("Security events", r"events\security.csv"),
    ("files opened remotely", r"network\files_opened_remotely.txt"),
    ("shadow copies", r"system\shadow_copies.csv"),
    (
        "event logs",
        "'Security', 'System', 'Application', 'Microsoft-Windows-Sysmon/Operational', 'Microsoft-Windows-TaskScheduler/Operational', 'Microsoft-Windows-PowerShell/Operational'",
    ),
    (
        "MPLog",
        r"Add-LrFolder 'defender' ([Environment]::GetFolderPath('CommonApplicationData') + '\Microsoft\Windows Defender\Support')",
    ),
    ("Defender's exclusions", r"defender\exclusions.txt"),
    ("console history of all users", "foreach ($entry in @(Get-LrProfiles))"),
];

#[test]
fn collect_gathers_what_dfir_script_gathers() {
    let script = read(&format!("{FOLDER}/collect.ps1"));
    let page = read("docs/collect.md");
    let simulated = read("examples/defender_simulator/windows/collect.rs");
    for (step, place) in STEPS {
        assert!(script.contains(place), "{step}: the script has no {place}");
        assert!(page.contains(&format!("| {step} |")), "{step}: docs/collect.md does not say where it is");
        let is_member = !place.starts_with('$') && (place.ends_with(".csv") || place.ends_with(".txt"));
        let name = place.replace('\\', "/");
        assert!(!is_member || simulated.contains(&format!("\"{name}\"")), "{step}: the simulator has no {name}");
    }
}
