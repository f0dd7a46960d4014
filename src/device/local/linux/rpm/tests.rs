//! A database that rpm itself made, and damage to it.

use super::*;
use crate::device::local::linux::own::OwnThings;
use crate::private::scratch::Scratch;
use crate::tools;
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;

const FILES: usize = 3000;

/// The root whose database holds a package of many files, made once.
fn database() -> Option<&'static Path> {
    static MADE: OnceLock<Option<Scratch>> = OnceLock::new();
    MADE.get_or_init(|| (tools::have("rpmbuild") && tools::root()).then(make)).as_deref()
}

fn make() -> Scratch {
    let scratch = Scratch::new();
    let top = scratch.display();
    for (package, count) in [("many", FILES), ("few", 2)] {
        let spec = format!(
            "Name: {package}\nVersion: 1.5\nRelease: 2\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n\
             %install\nmkdir -p %{{buildroot}}/opt/{package}/deep\n\
             for i in $(seq {count}); do echo {package} $i > %{{buildroot}}/opt/{package}/deep/file$i; done\n\
             chmod 4755 %{{buildroot}}/opt/{package}/deep/file1\n%files\n/opt/{package}\n"
        );
        std::fs::write(scratch.join(format!("{package}.spec")), spec).unwrap();
        run(Command::new("rpmbuild")
            .arg("-bb")
            .args(["--define", &format!("_topdir {top}")])
            .arg(format!("{top}/{package}.spec")));
        run(Command::new("rpm")
            .args(["--define", "_db_backend sqlite", "-i", "--justdb", "--nodeps", "--ignorearch", "--dbpath"])
            .arg(format!("{top}/var/lib/rpm"))
            .arg(format!("{top}/RPMS/noarch/{package}-1.5-2.noarch.rpm")));
    }
    scratch
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn open(root: &Path) -> Result<Rpm> {
    let own = Arc::new(OwnThings::new(root.join("home"), vec![]));
    Ok(Rpm::open(&View::image(root, own)?)?.expect("a database"))
}

#[test]
fn a_file_of_thousands_is_found_with_its_digest_and_mode() {
    let Some(root) = database() else { return };
    let rpm = open(root).unwrap();
    let claim = rpm.find(&DevicePath::new(format!("/opt/many/deep/file{FILES}"))).unwrap().unwrap();
    let content = format!("many {FILES}\n");
    assert_eq!((claim.package.as_str(), claim.version.as_deref()), ("many", Some("1.5-2")));
    assert_eq!(claim.algorithm, 8, "SHA-256");
    assert_eq!(claim.digest.as_deref(), Some(crate::model::Sha256::of(content.as_bytes()).as_str()));
    let digests = |bytes: &[u8]| {
        let scratch = Scratch::new();
        let file = scratch.join("content");
        std::fs::write(&file, bytes).unwrap();
        crate::device::local::linux::hash::digest(&std::fs::File::open(&file).unwrap(), false, &Job::default()).unwrap()
    };
    assert_eq!(claim.is_of(&digests(content.as_bytes())), Some(true));
    assert_eq!(claim.is_of(&digests(b"another")), Some(false));
    let set_uid = rpm.find(&DevicePath::new("/opt/few/deep/file1")).unwrap().unwrap();
    assert_eq!((set_uid.package.as_str(), set_uid.mode), ("few", Some(0o104755)));
}

#[test]
fn what_no_package_lists_is_nobody_s() {
    let Some(root) = database() else { return };
    let rpm = open(root).unwrap();
    for path in ["/opt/many/file1", "/opt/many/deep/file", "/file1", "/", "/opt/many/deep/file3001"] {
        assert_eq!(rpm.find(&DevicePath::new(path)).unwrap(), None, "{path}");
    }
}

#[test]
fn every_file_of_every_package_is_told_once() {
    let Some(root) = database() else { return };
    let mut paths = Vec::new();
    open(root).unwrap().each(&Job::default(), &mut |path, _| paths.push(path)).unwrap();
    let told = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!((told, paths.len()), (FILES + 2 + 4, FILES + 2 + 4), "files and their directories");
}

/// What rpm wrote last may lie in the write-ahead log alone: the log of a writer that is still there.
#[test]
fn what_only_the_log_has_is_read() {
    let Some(root) = database() else { return };
    if !tools::have("sqlite3") {
        return;
    }
    let copy = copy_of(root);
    let place = copy.join("var/lib/rpm/rpmdb.sqlite");
    run(Command::new("sqlite3").arg(&place).args([
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; DELETE FROM Basenames WHERE key='file7';",
        &format!(".shell cp {0} {0}.kept; cp {0}-wal {0}-wal.kept", place.display()),
    ]));
    for part in ["", "-wal"] {
        let name = |end: &str| format!("{}{part}{end}", place.display());
        std::fs::rename(name(".kept"), name("")).unwrap();
    }
    let seven = DevicePath::new("/opt/few/deep/file7");
    let many = DevicePath::new("/opt/many/deep/file7");
    assert_eq!(open(&copy).unwrap().find(&many).unwrap(), None);
    std::fs::remove_file(format!("{}-wal", place.display())).unwrap();
    assert!(open(&copy).unwrap().find(&many).unwrap().is_some());
    assert_eq!(open(&copy).unwrap().find(&seven).unwrap(), None);
}

fn copy_of(root: &Path) -> Scratch {
    let copy = Scratch::new();
    std::fs::create_dir_all(copy.join("var/lib/rpm")).unwrap();
    std::fs::copy(root.join("var/lib/rpm/rpmdb.sqlite"), copy.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    copy
}

#[test]
fn damage_is_an_error_or_an_answer_and_never_the_end() {
    let Some(root) = database() else { return };
    let copy = copy_of(root);
    let place = copy.join("var/lib/rpm/rpmdb.sqlite");
    let whole = std::fs::read(&place).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 60, ..Default::default() });
    let strategy = (prop::collection::vec((0..whole.len(), any::<u8>()), 1..200), 0..whole.len());
    runner
        .run(&strategy, |(flips, cut)| {
            let mut bytes = whole.clone();
            for (at, byte) in flips {
                bytes[at] = byte;
            }
            bytes.truncate(cut.max(whole.len() / 2));
            std::fs::write(&place, &bytes).unwrap();
            if let Ok(rpm) = open(&copy) {
                let _ = rpm.find(&DevicePath::new("/opt/many/deep/file2999"));
                let _ = rpm.each(&Job::default(), &mut |_, _| {});
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(header) = Header::parse(&bytes) {
            let _ = (header.name(), header.version(), header.algorithm(), header.files().count());
        }
        let _ = record(&bytes);
    }
}
