//! A volume with one thing of every technique planted; each must be found, and what was not planted must not.

use super::*;
use crate::device::local::linux::own::OwnThings;
use crate::device::local::linux::view::View;
use crate::device::local::registry::build::{self, Node};
use crate::private::scratch::Scratch;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const TASK: &str = r"<Task><Actions><Exec><Command>C:\Users\ann\t.exe</Command></Exec></Actions></Task>";

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The key that a rule reads, with every wildcard named.
fn example(path: &str) -> String {
    path.replace('*', "{11111111-2222-3333-4444-555555555555}")
}

fn plant(root: &Path) {
    let (mut system, mut software) = (build::key("ROOT"), build::key("ROOT"));
    let (mut user, mut classes, mut sam) = (build::key("ROOT"), build::key("ROOT"), build::key("ROOT"));
    system.put_dword("Select", "Current", 2);
    for rule in RULES {
        let name = match rule.values {
            ["*", ..] => "evil",
            [name, ..] => *name,
            [] => continue,
        };
        let path = example(rule.path);
        let data = format!("C:\\evil\\{}.exe", rule.technique);
        match rule.of {
            Of::System => system.put(&format!("ControlSet002\\{path}"), name, &data),
            Of::Software | Of::Both => software.put(&path, name, &data),
            Of::User => user.put(&path, name, &data),
            Of::UserClasses => classes.put(&path, name, &data),
        };
    }
    for rule in NAMED {
        software.at(&example(rule.path));
    }
    system.put("ControlSet002\\Services\\evil", "ImagePath", "C:\\evil\\service.exe -k").put_dword(
        "ControlSet002\\Services\\evil",
        "Type",
        0x10,
    );
    system.put("ControlSet001\\Services\\old", "ImagePath", "C:\\old.exe").put_dword(
        "ControlSet001\\Services\\old",
        "Type",
        0x10,
    );
    sam.at("SAM\\Domains\\Account\\Users\\Names\\ghost").values.push((String::new(), 1001, Vec::new()));
    for (name, hive) in [("SYSTEM", &system), ("SOFTWARE", &software), ("SAM", &sam)] {
        write(root, &format!("Windows/System32/config/{name}"), build::hive(hive));
    }
    write(root, "Users/ann/NTUSER.DAT", build::hive(&user));
    write(root, "Users/ann/AppData/Local/Microsoft/Windows/UsrClass.dat", build::hive(&classes));
    let startup = "AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup";
    write(root, &format!("Users/ann/{startup}/evil.bat"), "evil");
    write(root, "Windows/System32/Tasks/Evil", TASK);
    write(root, "Windows/System32/cmd.exe", "a shell");
    write(root, "Windows/System32/sethc.exe", "a shell");
    write(root, "Windows/System32/utilman.exe", "itself");
    let binding = "CommandLineEventConsumer.Name=\"evil\"\0__EventFilter.Name=\"boot\"";
    write(root, "Windows/System32/wbem/Repository/OBJECTS.DATA", binding);
    write(root, "evil/service.exe", "of the service");
    for place in files::PLACES {
        let top = match place.below {
            Below::Windows => "Windows/",
            Below::Root => "",
            Below::User => "Users/ann/",
        };
        write(root, &format!("{top}{}", place.path.join("/").replace('*', "evil.x")), "evil");
    }
}

fn listed(root: &Path, query: &PersistenceQuery) -> Result<Vec<Persistence>> {
    let view = View::image(root, Arc::new(OwnThings::new(root.join("home"), vec![]))).unwrap();
    let root = WindowsRoot::at(&view, &DevicePath::new("/")).expect("a Windows volume");
    list(&root, query, &Job::default())
}

fn all(root: &Path) -> Vec<Persistence> {
    listed(root, &PersistenceQuery::default()).unwrap()
}

fn planted() -> Scratch {
    let scratch = Scratch::new();
    plant(&scratch);
    scratch
}

#[test]
fn every_technique_is_found() {
    let root = planted();
    let found: BTreeSet<&str> = all(&root).iter().map(|r| r.technique).collect();
    let mut known: BTreeSet<&str> = RULES.iter().chain(NAMED).map(|r| r.technique).collect();
    known.extend(files::PLACES.iter().map(|p| p.technique));
    known.extend(OTHERS.iter().map(|(technique, _)| technique));
    assert_eq!(found, known);
}

#[test]
fn every_rule_finds_its_value() {
    let root = planted();
    let rows = all(&root);
    for rule in RULES {
        let place = example(rule.path);
        let is_it = |r: &&Persistence| r.technique == rule.technique && r.location.to_text().ends_with(&place);
        assert!(rows.iter().any(|r| is_it(&r)), "{} {}", rule.technique, rule.path);
    }
}

#[test]
fn nothing_is_found_where_nothing_was_planted() {
    let scratch = Scratch::new();
    for name in ["SYSTEM", "SOFTWARE", "SAM"] {
        write(&scratch, &format!("Windows/System32/config/{name}"), build::hive(&build::key("ROOT")));
    }
    assert_eq!(all(&scratch), []);
}

#[test]
fn a_service_says_what_runs_and_its_hash() {
    let root = planted();
    let rows = all(&root);
    let service = rows.iter().find(|r| r.technique == "services" && r.name.as_ref().unwrap().raw() == "evil").unwrap();
    assert_eq!(service.command.as_ref().unwrap().raw(), "C:\\evil\\service.exe -k");
    assert_eq!(service.sha256, Some(crate::model::Sha256::of(b"of the service")));
    let old = |r: &&Persistence| r.location.to_text().contains("ControlSet001");
    assert!(!rows.iter().any(|r| old(&r)), "what the volume does not start with is not listed");
}

#[test]
fn a_shell_in_the_place_of_another_program_is_told_and_the_program_itself_is_not() {
    let root = planted();
    let rows = listed(&root, &PersistenceQuery { technique: Some("T1546.008".into()), user: None }).unwrap();
    let files: Vec<String> = rows.iter().map(|r| r.location.to_text().into_owned()).collect();
    assert!(
        files.iter().any(|f| f.ends_with("sethc.exe")) && !files.iter().any(|f| f.ends_with("utilman.exe")),
        "{files:?}"
    );
}

#[test]
fn a_technique_is_known_by_name_id_and_beginning() {
    let root = planted();
    let count = |technique: &str| {
        let query = PersistenceQuery { technique: Some(technique.into()), user: None };
        listed(&root, &query).map(|rows| rows.len())
    };
    assert_eq!(count("t1546.003").unwrap(), 1);
    assert_eq!(count("wmi").unwrap(), count("wmi-subscriptions").unwrap());
    let error = count("cron").unwrap_err();
    assert_eq!(error.code, ErrorCode::BadArgs);
    assert!(error.hint.unwrap().contains("run-keys"));
}

#[test]
fn a_user_is_known_by_name() {
    let root = planted();
    let rows = listed(&root, &PersistenceQuery { technique: None, user: Some("ANN".into()) }).unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|r| r.user.as_ref().unwrap().raw() == "ann"));
}

#[test]
fn a_user_that_nothing_runs_as_is_said_with_who_is_near() {
    let root = planted();
    let view = View::image(&root, Arc::new(OwnThings::new(root.join("home"), vec![]))).unwrap();
    let volume = WindowsRoot::at(&view, &DevicePath::new("/")).unwrap();
    let job = Job::default();
    let rows = list(&volume, &PersistenceQuery { technique: None, user: Some("an".into()) }, &job).unwrap();
    let warned = job.take_warnings().join("; ");
    assert!(rows.is_empty() && warned.contains(r#"nothing that was found runs as "an"; near it: "ann""#), "{warned}");
}

#[test]
fn a_task_without_a_descriptor_is_hidden_and_one_without_a_file_is_told() {
    let root = planted();
    let tree = "Microsoft\\Windows NT\\CurrentVersion\\Schedule\\TaskCache\\Tree";
    let mut software: Node = build::key("ROOT");
    software.put(&format!("{tree}\\Evil"), "Id", "{1}").put(&format!("{tree}\\Gone"), "Id", "{2}").put(
        &format!("{tree}\\Gone"),
        "SD",
        "x",
    );
    write(&root, "Windows/System32/config/SOFTWARE", build::hive(&software));
    let rows = listed(&root, &PersistenceQuery { technique: Some("scheduled".into()), user: None }).unwrap();
    let note = |name: &str| {
        let row = rows.iter().find(|r| r.name.as_ref().unwrap().raw() == name).unwrap();
        row.note.as_ref().unwrap().raw().to_owned()
    };
    assert!(note("\\Evil").contains("no security descriptor"));
    assert!(note("\\Gone").contains("its file is gone"));
}

/// Links that lead out of the volume, and files that never end, are read by nobody.
#[test]
fn a_hostile_volume_is_read_inside_only() {
    let root = planted();
    let tasks = root.join("Windows/System32/Tasks");
    std::os::unix::fs::symlink("/etc", tasks.join("etc")).unwrap();
    std::os::unix::fs::symlink("..", tasks.join("loop")).unwrap();
    let fifo = root.join("Users/ann/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup/a.lnk");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    std::fs::write(root.join("Windows/System32/config/SOFTWARE"), b"regf, they say").unwrap();
    let rows = all(&root);
    assert!(rows.iter().any(|r| r.technique == "services"), "the rest is still read");
    assert!(!rows.iter().any(|r| r.location.to_text().contains("etc/") || r.location.to_text().contains("loop/")));
}
