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
