use super::super::view::tests::{Sleeper, TempTree, device_path, host, image, text};
use super::*;
use std::os::unix::fs::symlink;
use std::process::Command;

/// The harmless test file, put together here so that no scanner takes this source for it.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-", "TEST-FILE!$H+H*"].concat().into_bytes()
}

fn engines(tree: &TempTree) -> Engines {
    Engines::new(&tree.path("home"), Some(tree.path("no-daemon")))
}

fn look(view: &View, tree: &TempTree, extent: Extent) -> (Scanned, Vec<Detection>, Vec<String>) {
    let job = Job::default();
    let (scanned, rows) = scan(view, &engines(tree), &ScanQuery { extent }, &Users::host(), &job).unwrap();
    (scanned, rows, job.take_warnings())
}

fn paths(rows: &[Detection], tree: &TempTree) -> Vec<String> {
    let root = format!("{}/", tree.root().display());
    rows.iter().map(|r| r.path.to_string().trim_start_matches(&root).to_owned()).collect()
}

fn scanned(tree: &TempTree, below: &str) -> (Scanned, Vec<Detection>, Vec<String>) {
    look(&host(tree), tree, Extent::Path(tree.device_path(below)))
}

fn put(tree: &TempTree, files: &[&str]) {
    for file in files {
        std::fs::create_dir_all(tree.path(file).parent().unwrap()).unwrap();
        std::fs::write(tree.path(file), eicar()).unwrap();
    }
}

#[cfg(feature = "yara")]
#[test]
fn a_tree_is_scanned_and_each_hit_is_a_row() {
    let tree = TempTree::new();
    put(&tree, &["t/a", "t/b/c/d"]);
    std::fs::write(tree.path("t/plain"), "nothing").unwrap();
    let (what, rows, warnings) = scanned(&tree, "t");
    assert_eq!(paths(&rows, &tree), ["t/a", "t/b/c/d"]);
    assert_eq!((rows[0].engine, rows[0].verdict, rows[0].size_bytes), ("yara", "infected", Some(68)));
    let sha256 = Some("275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f");
    assert_eq!(rows[0].sha256.as_ref().map(|s| s.as_str()), sha256);
    assert_eq!((what.files, what.bytes), (3, 68 * 2 + 7));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(paths(&scanned(&tree, "t/a").1, &tree), ["t/a"]);
}

#[cfg(feature = "yara")]
#[test]
fn a_file_of_many_names_is_one_row_and_links_are_not_followed() {
    let tree = TempTree::new();
    put(&tree, &["t/a"]);
    for name in ["t/b", "t/c"] {
        std::fs::hard_link(tree.path("t/a"), tree.path(name)).unwrap();
    }
    symlink("a", tree.path("t/link")).unwrap();
    symlink("..", tree.path("t/up")).unwrap();
    let (what, rows, _) = scanned(&tree, "t");
    assert_eq!((what.files, rows.len()), (1, 1));
}

#[test]
fn fifos_and_sockets_are_never_waited_for() {
    let tree = TempTree::new();
    std::fs::create_dir(tree.path("t")).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("t/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("t/socket")).unwrap();
    let (what, rows, warnings) = scanned(&tree, "t");
    assert_eq!((what.files, rows.len(), warnings.len()), (0, 0, 0), "{warnings:?}");
    let query = ScanQuery { extent: Extent::Path(tree.device_path("t/fifo")) };
    let e = scan(&host(&tree), &engines(&tree), &query, &Users::host(), &Job::default()).unwrap_err();
    assert_eq!(e.code, ErrorCode::NotAFile);
}

/// What a walk has read of a directory may be something else by the time that it is opened.
#[test]
fn a_file_that_became_a_link_or_a_fifo_is_left_alone() {
    let tree = TempTree::new();
    put(&tree, &["t/link", "t/fifo", "t/gone", "out"]);
    let view = host(&tree);
    let directory = File::open(tree.path("t")).unwrap();
    for name in ["link", "fifo", "gone"] {
        std::fs::remove_file(tree.path("t").join(name)).unwrap();
    }
    symlink("../out", tree.path("t/link")).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("t/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for name in ["link", "fifo", "gone", "../out"] {
        let opened = view.open_entry(&view.own().snapshot(), &directory, name.as_bytes(), &text("/t/x"));
        assert!(opened.is_err(), "{name}");
    }
}

#[cfg(feature = "yara")]
#[test]
fn own_state_is_not_scanned_by_any_of_its_names() {
    let tree = TempTree::new();
    put(&tree, &["home/guard/secret", "t/other"]);
    std::fs::hard_link(tree.path("home/guard/secret"), tree.path("t/hard")).unwrap();
    let (_, rows, warnings) = look(&host(&tree), &tree, Extent::Path(device_path(tree.root())));
    assert_eq!(paths(&rows, &tree), ["t/other"]);
    assert_eq!(warnings, ["2 entries of this program's own state left out"]);
    let query = ScanQuery { extent: Extent::Path(tree.device_path("t/hard")) };
    let e = scan(&host(&tree), &engines(&tree), &query, &Users::host(), &Job::default()).unwrap_err();
    assert_eq!(e.code, ErrorCode::SelfTarget);
}

#[cfg(feature = "yara")]
#[test]
fn a_large_file_is_found_where_its_head_does_not_reach() {
    let tree = TempTree::new();
    let rules = tree.path("home/rules");
    std::fs::create_dir_all(&rules).unwrap();
    std::fs::write(rules.join("x.yar"), "rule deep { strings: $a = \"lies-very-deep\" condition: $a }").unwrap();
    std::fs::create_dir(tree.path("t")).unwrap();
    let file = File::create(tree.path("t/large")).unwrap();
    let size = (crate::device::local::engines::WINDOW + (5 << 20)) as u64;
    file.set_len(size).unwrap();
    file.write_all_at(b"lies-very-deep", size - 100).unwrap();
    std::fs::write(tree.path("t/small"), "lies-very-deep").unwrap();
    let (what, rows, warnings) = scanned(&tree, "t");
    assert_eq!(paths(&rows, &tree), ["t/large", "t/small"]);
    assert_eq!(what.bytes, size + 14);
    assert!(warnings.iter().any(|w| w.starts_with("1 file of more than")), "{warnings:?}");
}

#[cfg(feature = "yara")]
#[test]
fn what_runs_without_a_file_is_reached_through_its_process() {
    let tree = TempTree::new();
    let mut program = std::fs::read("/bin/sleep").unwrap();
    program.extend_from_slice(b"a mark of no meaning 5d1f");
    std::fs::write(tree.path("gone"), program).unwrap();
    std::fs::set_permissions(tree.path("gone"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let child = Sleeper::run(Command::new(tree.path("gone")).arg("600"));
    std::fs::remove_file(tree.path("gone")).unwrap();
    let rules = tree.path("home/rules");
    std::fs::create_dir_all(&rules).unwrap();
    let rule = "rule marked { strings: $a = \"a mark of no meaning 5d1f\" condition: $a and uint32(0) == 0x464c457f }";
    std::fs::write(rules.join("x.yar"), rule).unwrap();
    // The roots of a quick scan are this host's: the images alone are looked at here.
    let path = DevicePath::new(format!("/proc/{}/exe", child.id()));
    assert!(places::running_images(&host(&tree), &Job::default()).unwrap().contains(&path));
    let (_, rows, _) = look(&host(&tree), &tree, Extent::Path(path.clone()));
    assert_eq!(rows.iter().map(|r| (&r.path, r.name.raw())).collect::<Vec<_>>(), [(&path, "marked")]);
}

#[cfg(feature = "yara")]
#[test]
fn an_image_is_scanned_with_its_own_paths_quick_and_full() {
    let tree = TempTree::new();
    put(&tree, &["img/tmp/x", "img/usr/share/y", "img/home/ann/.local/bin/z"]);
    std::fs::create_dir_all(tree.path("img/etc")).unwrap();
    std::fs::write(tree.path("img/etc/passwd"), "ann:x:1:1::/home/ann:/bin/sh\n").unwrap();
    let view = image(&tree, "img");
    let found = |extent| look(&view, &tree, extent).1.iter().map(|r| r.path.to_string()).collect::<Vec<_>>();
    assert_eq!(found(Extent::Quick), ["/home/ann/.local/bin/z", "/tmp/x"]);
    assert_eq!(found(Extent::Full), ["/home/ann/.local/bin/z", "/tmp/x", "/usr/share/y"]);
}

#[test]
fn a_bad_hash_is_found_by_its_list() {
    let tree = TempTree::new();
    std::fs::create_dir_all(tree.path("home/hashes")).unwrap();
    std::fs::create_dir(tree.path("t")).unwrap();
    std::fs::write(tree.path("t/evil"), "evil\n").unwrap();
    std::fs::write(tree.path("t/good"), "good\n").unwrap();
    let hash = crate::model::Sha256::of(b"evil\n");
    std::fs::write(tree.path("home/hashes/bad.txt"), format!("{hash}  Evil.A\n")).unwrap();
    let (_, rows, _) = scanned(&tree, "t");
    assert_eq!(paths(&rows, &tree), ["t/evil"]);
    assert_eq!((rows[0].engine, rows[0].name.raw(), rows[0].verdict), ("hashes", "Evil.A", "infected"));
}

#[test]
fn what_may_not_be_read_is_one_warning() {
    let tree = TempTree::new();
    put(&tree, &["t/a", "t/b"]);
    let closed = |mode| {
        std::fs::set_permissions(tree.path("t/a"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    closed(0o000);
    let (what, _, warnings) = scanned(&tree, "t");
    closed(0o600);
    if rustix::process::geteuid().is_root() {
        assert_eq!((what.files, warnings.len()), (2, 0), "{warnings:?}");
    } else {
        assert_eq!(what.files, 1);
        assert!(warnings[0].starts_with("1 file could not be read: "), "{warnings:?}");
    }
}

#[test]
fn a_cancelled_job_ends_the_scan() {
    let tree = TempTree::new();
    put(&tree, &["t/a"]);
    let job = Job::default();
    job.cancel();
    let query = ScanQuery { extent: Extent::Path(tree.device_path("t")) };
    let e = scan(&host(&tree), &engines(&tree), &query, &Users::host(), &job).unwrap_err();
    assert_eq!(e.code, ErrorCode::Cancelled);
}

#[test]
fn a_path_that_is_not_there_is_said() {
    let tree = TempTree::new();
    let query = ScanQuery { extent: Extent::Path(tree.device_path("none")) };
    let e = scan(&host(&tree), &engines(&tree), &query, &Users::host(), &Job::default()).unwrap_err();
    assert_eq!(e.code, ErrorCode::NotFound);
}
