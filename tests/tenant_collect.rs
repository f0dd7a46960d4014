//! `collect` on a tenant's devices, end to end: gathered by script and by Defender, sealed as one package, read back.

mod support;

use serde_json::{Value, json};
use std::path::PathBuf;
use support::defender::Simulator;
use support::{Home, Said, text, tools};

const MANIFEST: &str = "manifest.json";

/// A tenant whose library has the pack, and a home whose program knows it.
struct Case {
    home: Home,
    tenant: Simulator,
}

impl Case {
    fn new() -> Case {
        let case = Case {
            home: Home::new(),
            tenant: Simulator::start(&["--devices", "4", "--package-links-per-minute", "100"]),
        };
        case.run(&["library", "sync"]).expect(0);
        case
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.tenant.config().display().to_string();
        self.home.run(&[&["--config", config.as_str()], arguments].concat(), "")
    }

    fn call(&self, tool: &str, arguments: &Value, device: &str) -> std::process::Output {
        self.run(&["call", tool, &arguments.to_string(), "--device", device])
    }

    fn collect(&self, device: &str) -> Value {
        self.call("collect", &json!({}), device).expect(0).json()
    }

    fn windows(&self) -> String {
        self.tenant.device("windows").1
    }

    /// A member's text, as the assistant reads it.
    fn entry(&self, collected: &Value, name: &str) -> String {
        let asked = json!({ "sha256": collected["data"]["sha256"], "entry": name, "length": 32768 });
        text(&self.run(&["call", "evidence", &asked.to_string()]).expect(0).json()["data"]["content"])
    }

    fn manifest(&self, collected: &Value) -> Value {
        serde_json::from_slice(&self.bytes(collected, MANIFEST)).expect("a manifest")
    }

    /// A member's bytes, as tar has them.
    fn bytes(&self, collected: &Value, name: &str) -> Vec<u8> {
        let sha256 = text(&collected["data"]["sha256"]);
        let object: PathBuf = self.home.state().join("evidence/objects").join(&sha256[..2]).join(&sha256);
        let unpacked = zstd::decode_all(std::fs::File::open(object).expect("an object")).expect("zstd");
        for entry in tar::Archive::new(unpacked.as_slice()).entries().expect("tar") {
            let mut entry = entry.expect("an entry");
            if entry.path_bytes().as_ref() == name.as_bytes() {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).expect("bytes");
                return bytes;
            }
        }
        panic!("no {name} in the package");
    }

    /// The archives that `collect` left on the device.
    fn left_on(&self, device: &str, folder: &str) -> Vec<Value> {
        let found = self.call("findfile", &json!({ "name": "live-response-*", "path": folder }), device).json();
        match found["error"]["code"].as_str() {
            Some("E_NOT_FOUND") => Vec::new(),
            _ => found["data"]["rows"].as_array().expect("rows").clone(),
        }
    }
}

fn names(manifest: &Value) -> Vec<String> {
    manifest["members"].as_array().expect("members").iter().map(|m| text(&m["name"])).collect()
}

fn warned(result: &Value, what: &str) -> bool {
    result["warnings"].to_string().contains(what)
}

#[test]
fn a_windows_package_holds_both_halves_and_nothing_stays_on_the_device() {
    let case = Case::new();
    let device = case.windows();
    for encoding in ["plain", "gzip"] {
        case.tenant.control(json!({ "result": { "encoding": encoding, "times": 2 } }));
        let result = case.collect(&device);
        let data = &result["data"];
        assert!(text(&data["name"]).starts_with(&format!("collect-{device}-triage-")), "{result}");
        let manifest = case.manifest(&result);
        let names = names(&manifest);
        let half = |half: &str| names.iter().filter(|n| n.starts_with(half)).count();
        assert_eq!(half("script/") + half("investigation/"), names.len(), "{names:?}");
        assert!(half("script/") > 28 && half("investigation/") == 4, "{names:?}");
        assert_eq!(data["members"], names.len() + 1);
        let made_of = manifest["package"]["made_of"].as_array().expect("archives");
        assert_eq!(made_of.iter().map(|m| text(&m["artifact"])).collect::<Vec<_>>(), ["script", "investigation"]);
        assert!(case.entry(&result, "script/processes/processes.csv").contains("lsass.exe"));
        assert!(case.entry(&result, "investigation/Processes/Processes.csv").contains("System,4"));
        assert!(!warned(&result, "not the one that the device hashed"), "{result}");
        assert_eq!(case.left_on(&device, r"C:\"), [Value::Null; 0]);
    }
    case.run(&["evidence", "verify"]).expect(0);
}

#[test]
fn one_half_that_does_not_come_leaves_the_other() {
    let case = Case::new();
    let device = case.windows();
    let only = |result: &Value, half: &str| names(&case.manifest(result)).iter().all(|n| n.starts_with(half));
    // The service's time runs out for the script.
    case.tenant.control(json!({ "action": { "type": "LiveResponse", "ends": "TimeOut" } }));
    let result = case.collect(&device);
    assert!(only(&result, "investigation/") && warned(&result, "E_TIMEOUT"), "{result}");
    assert_eq!(case.left_on(&device, r"C:\"), [Value::Null; 0]);
    // Defender does not make its package.
    case.tenant.control(json!({ "action": { "type": "CollectInvestigationPackage", "ends": "Failed" } }));
    let result = case.collect(&device);
    assert!(only(&result, "script/") && warned(&result, "the investigation package is not in the package"), "{result}");
    // Its link leads nowhere, however often it is asked for.
    case.tenant.control(json!({ "result": { "package": true, "lost": true } }));
    let result = case.collect(&device);
    assert!(only(&result, "script/") && warned(&result, "a link to a result that is not there"), "{result}");
}

#[test]
fn what_may_not_be_asked_for_is_named_and_without_both_there_is_no_package() {
    let case = Case::new();
    let device = case.windows();
    case.tenant.control(json!({ "permissions": { "revoke": ["Machine.CollectForensics"] } }));
    let result = case.collect(&device);
    assert!(warned(&result, "Machine.CollectForensics"), "{result}");
    assert!(names(&case.manifest(&result)).iter().all(|n| n.starts_with("script/")), "{result}");
    case.tenant.control(json!({ "permissions": { "revoke": ["Machine.LiveResponse"] } }));
    let refused = case.call("collect", &json!({}), &device).expect(1).json();
    assert!(refused["error"].to_string().contains("Machine.LiveResponse"), "{refused}");
    assert!(!warned(&refused, "may still be"), "{refused}");
}

#[test]
fn a_script_that_the_library_does_not_hold_exactly_gathers_nothing() {
    let case = Case::new();
    let device = case.windows();
    let listed = case.tenant.api(&case.tenant.token(), "GET", "/api/libraryfiles", None).1;
    let files = listed["value"].as_array().expect("files").iter().map(|f| text(&f["fileName"]));
    let script = files.clone().find(|n| n.starts_with("lr-collect-") && n.ends_with(".ps1")).expect("the script");
    case.tenant.control(json!({ "library": { "name": script, "drift": true } }));
    let result = case.collect(&device);
    assert!(warned(&result, "E_SCRIPT_DRIFT"), "{result}");
    assert_eq!(case.tenant.count("run_live_response"), 0);
}

#[test]
fn what_is_not_finished_or_not_what_was_hashed_is_said() {
    let case = Case::new();
    let device = case.windows();
    case.tenant.control(json!({ "result": { "partial": true } }));
    let result = case.collect(&device);
    assert!(warned(&result, "could not finish"), "{result}");
    assert!(case.entry(&result, "script/network/tcp.csv").contains("remote_port"));
    // Spoiled on the way: kept as it came beside what can be read of it.
    case.tenant.control(json!([{ "result": {} }, { "result": { "wrong_bytes": true } }]));
    let result = case.collect(&device);
    assert!(warned(&result, "not the one that the device hashed"), "{result}");
    assert!(names(&case.manifest(&result)).contains(&"script.zip".to_owned()), "{result}");
    let whole = json!({ "sha256": result["data"]["sha256"], "entry": "script.zip", "as": "hex" });
    let asked = case.run(&["call", "evidence", &whole.to_string()]).json();
    // An archive that nobody looked through is shown to nobody unasked.
    assert!(asked["state"] != "completed" && asked["data"]["content"].is_null(), "{asked}");
    assert_eq!(case.left_on(&device, r"C:\"), [Value::Null; 0]);
}

#[test]
fn a_linux_device_is_gathered_by_the_script_and_tidied() {
    if !tools::root() {
        return;
    }
    let case = Case::new();
    let device = case.tenant.device("linux").1;
    let result = case.collect(&device);
    assert!(text(&result["data"]["name"]).ends_with(".tar.zst"), "{result}");
    let manifest = case.manifest(&result);
    let member = |name: &str| {
        let members = manifest["members"].as_array().expect("members");
        members
            .iter()
            .find(|m| m["name"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("{name} in {:?}", names(&manifest)))
    };
    assert_eq!(member("host/etc/passwd")["source"], "/etc/passwd");
    assert_eq!(member("script/processes/status.txt")["artifact"], "script");
    assert!(case.entry(&result, "host/etc/passwd").contains("root:x:0"));
    let about = String::from_utf8(case.bytes(&result, "script/about.txt")).expect("text");
    assert!(about.contains("complete\ttrue"), "{about}");
    for folder in ["/var/tmp", "/tmp"] {
        assert_eq!(case.left_on(&device, folder), [Value::Null; 0], "{folder}");
    }
    case.run(&["evidence", "verify"]).expect(0);
}
