//! A Windows volume, mounted or copied, as `image:`: with a SYSTEM hive that Windows itself wrote.

mod support;

use serde_json::{Value, json};
use support::{Home, Said, tools};

/// A volume that holds SYSTEM, one task and one start-up item.
fn volume(home: &Home) -> Option<String> {
    let hive = std::fs::read(tools::corpus("hives/SYSTEM")?).unwrap();
    let root = home.files().join("volume");
    for (path, content) in [
        ("Windows/System32/config/SYSTEM", hive.as_slice()),
        ("Windows/System32/Tasks/Updater", b"<Task><Actions><Exec><Command>evil.exe</Command></Exec></Actions></Task>"),
        ("ProgramData/Microsoft/Windows/Start Menu/Programs/StartUp/a.bat", b"evil"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Some(format!("image:{}", root.display()))
}

fn rows(home: &Home, device: &str, tool: &str, arguments: Value) -> Vec<Value> {
    let ended = home.run(&["call", tool, &arguments.to_string(), "--device", device], "").expect(0).json();
    assert_eq!(ended["state"], "completed", "{ended}");
    ended["data"]["rows"].as_array().unwrap().clone()
}

#[test]
fn what_windows_starts_is_told_from_its_hives_and_files() {
    let home = Home::new();
    let Some(device) = volume(&home) else { return };
    let filter = json!({ "filter": "name=Dnscache" });
    let services = rows(&home, &device, "services", filter.clone());
    assert_eq!(services[0]["start_mode"], "automatic", "{services:?}");
    assert_eq!(services[0]["account"], r"NT AUTHORITY\NetworkService");
    let drivers = rows(&home, &device, "drivers", json!({ "filter": "name=ACPI" }));
    assert_eq!(drivers[0]["path"], r"System32\drivers\ACPI.sys");
    let tasks = rows(&home, &device, "scheduledtasks", json!({}));
    assert_eq!((&tasks[0]["name"], &tasks[0]["command"]), (&json!(r"\Updater"), &json!("evil.exe")));
    let items = rows(&home, &device, "startupfolders", json!({}));
    assert!(items[0]["file"].as_str().unwrap().ends_with("a.bat"), "{items:?}");
    let found = rows(&home, &device, "persistence", json!({ "technique": "services", "limit": 1000 }));
    assert!(found.iter().any(|r| r["name"] == "Dnscache"), "{}", found.len());
    let key = json!({ "key": r"HKLM\SYSTEM\CurrentControlSet\Services\Dnscache", "value": "Start" });
    assert_eq!(rows(&home, &device, "registry", key)[0]["data"], "2");
}

/// A volume with the names that Windows gives, and hives that are none.
fn plain(home: &Home) -> String {
    let root = home.files().join("plain");
    for (path, content) in [
        ("Windows/System32/config/SYSTEM", "none"),
        ("Windows/System32/drivers/etc/hosts", "127.0.0.1 evil"),
        ("Users/Ann/Desktop/Note.TXT", "note"),
        ("Program Files/Evil/e.exe", "evil"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    format!("image:{}", root.display())
}

fn call(home: &Home, device: &str, tool: &str, arguments: Value, code: i32) -> Value {
    home.run(&["call", tool, &arguments.to_string(), "--device", device], "").expect(code).json()
}

#[test]
fn every_command_takes_paths_as_windows_writes_them() {
    let home = Home::new();
    let device = plain(&home);
    let note = "/Users/Ann/Desktop/Note.TXT";
    let listed = rows(&home, &device, "dir", json!({ "path": r"C:\users\ANN\desktop", "full_path": true }));
    assert_eq!((listed.len(), &listed[0]["path"]), (1, &json!(note)));
    let found = rows(&home, &device, "findfile", json!({ "name": "*.exe", "path": "%programfiles%" }));
    assert_eq!(found[0]["path"], "/Program Files/Evil/e.exe");
    for (tool, arguments) in [
        ("fileinfo", json!({ "path": r"\\?\c:\USERS\ann\Desktop\note.txt" })),
        ("getfile", json!({ "path": "c:/Users/Ann/..\\ann/desktop/NOTE.txt" })),
    ] {
        assert_eq!(call(&home, &device, tool, arguments, 0)["data"]["path"], note, "{tool}");
    }
    let analyzed = call(
        &home,
        &device,
        "analyze",
        json!({ "type": "file", "id": r"%SystemDrive%\users\ann\desktop\note.txt" }),
        0,
    );
    assert_eq!(analyzed["data"]["report"]["file_hash"], fileinfo_sha256(&home, &device, note));
    let scanned = call(&home, &device, "scan", json!({ "type": "path", "path": r"%SystemRoot%\system32\DRIVERS" }), 0);
    assert_eq!(scanned["data"]["files"], 1, "{scanned}");
    let hive = json!({ "key": "", "hive": r"c:\windows\system32\CONFIG\system" });
    let refused = call(&home, &device, "registry", hive, 2);
    assert!(refused["error"]["message"].as_str().unwrap().contains("/Windows/System32/config/SYSTEM"), "{refused}");
}

fn fileinfo_sha256(home: &Home, device: &str, path: &str) -> Value {
    call(home, device, "fileinfo", json!({ "path": path }), 0)["data"]["sha256"].clone()
}

#[test]
fn a_relative_name_is_below_the_session_s_directory_and_never_above_the_root() {
    let home = Home::new();
    let device = plain(&home);
    let lines = r"cd c:\users; cd ann\DESKTOP; dir; cd ..\..\..\..\..; dir";
    let said = home.run(&["console", &device, "-c", lines], "").expect(0).out();
    assert!(said.contains("Note.TXT") && said.contains("Program Files"), "{said}");
}

#[test]
fn another_drive_is_told_from_a_missing_file() {
    let home = Home::new();
    let device = plain(&home);
    let other = call(&home, &device, "dir", json!({ "path": r"D:\data" }), 1);
    assert_eq!(other["error"]["code"], "E_NOT_FOUND");
    assert!(other["error"]["message"].as_str().unwrap().contains("drive C:, not D:"), "{other}");
    let near = call(&home, &device, "fileinfo", json!({ "path": r"c:\users\ann\desktop\Notes.TXT" }), 1);
    assert!(near["error"]["hint"].as_str().unwrap().contains("Note.TXT"), "{near}");
}

#[test]
fn connect_says_what_the_volume_is_and_where_there_is_no_system() {
    let home = Home::new();
    let device = plain(&home);
    let windows = call(&home, &device, "connect", json!({ "device": device }), 0);
    assert_eq!((&windows["device"]["platform"], &windows["data"]["os"]), (&json!("windows"), &json!("Windows")));
    let empty = home.files().join("nothing");
    std::fs::create_dir(&empty).unwrap();
    let empty = format!("image:{}", empty.display());
    let nothing = call(&home, &empty, "connect", json!({ "device": empty }), 0);
    assert!(nothing["warnings"][0].as_str().unwrap().starts_with("no system found in"), "{nothing}");
}

#[test]
fn collect_takes_what_windows_keeps_and_shows_its_secrets_to_nobody_unasked() {
    let home = Home::new();
    let device = plain(&home);
    let root = home.files().join("plain");
    for path in [
        "Windows/System32/config/SAM",
        "Windows/System32/config/sam.LOG1",
        "Windows/System32/winevt/logs/Security.EVTX",
        "Windows/prefetch/E.EXE-1.pf",
        "$RECYCLE.BIN/S-1-5-21-1/$I0001.txt",
        "Windows/System32/Tasks/Updater",
        "Users/Ann/ntuser.dat",
        "Users/Ann/AppData/Roaming/Microsoft/Windows/PowerShell/PSReadLine/ConsoleHost_history.txt",
        "Users/Ann/AppData/Local/Google/Chrome/User Data/Default/History",
        "Windows/System32/sru/SRUDB.dat",
        "Windows/AppCompat/Programs/Amcache.hve",
        "ProgramData/Microsoft/Windows Defender/Support/MPLog-1.log",
        "Windows/INF/setupapi.dev.log",
        "$MFT",
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "CANARY").unwrap();
    }
    let collected = call(&home, &device, "collect", json!({ "profile": "triage" }), 0);
    let name = &collected["data"]["name"];
    let entry = |entry: &str| json!({ "name": name, "entry": entry, "length": 32_768 });
    let manifest = call(&home, &device, "evidence", entry("manifest.json"), 0);
    let manifest = manifest["data"]["content"].as_str().unwrap().to_owned();
    for there in [
        "config/SAM\"",
        "sam.LOG1",
        "Security.EVTX",
        "E.EXE-1.pf",
        "$I0001.txt",
        "Tasks/Updater",
        "ntuser.dat",
        "ConsoleHost_history.txt",
        "Default/History",
        "SRUDB.dat",
        "Amcache.hve",
        "MPLog-1.log",
        "setupapi.dev.log",
        "$MFT",
        "drivers/etc/hosts",
        "timeline.body",
        "WindowsEventLogs",
    ] {
        assert!(manifest.contains(there), "{there} is not in {manifest}");
    }
    let shown = call(&home, &device, "evidence", entry("host/Windows/prefetch/E.EXE-1.pf"), 0);
    assert_eq!(shown["data"]["content"], "CANARY");
    for secret in ["host/Windows/System32/config/SAM", "host/Windows/System32/config/sam.LOG1"] {
        let asked = call(&home, &device, "evidence", entry(secret), 3);
        assert!(!asked.to_string().contains("CANARY"), "{asked}");
    }
}
