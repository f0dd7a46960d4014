//! Attacks first: what is linked, planted, swapped or signed by somebody else is not used.

use super::*;
use crate::private::scratch::Scratch;
use std::os::unix::fs::symlink;

/// Of the reference implementation: `test`, signed with this key in the prehashed form.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

struct Case {
    home: Scratch,
    library: Library,
}

fn case() -> Case {
    with_keys(&[])
}

fn with_keys(keys: &[&str]) -> Case {
    let home = Scratch::new();
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    Case { library: Library::new(&home, &keys), home }
}

impl Case {
    fn take(&self, name: &str, bytes: &[u8], signature: Option<&str>) -> Result<LibraryItem> {
        let file = self.home.join("source");
        std::fs::write(&file, bytes).unwrap();
        let hold = self.library.hold().unwrap();
        self.library.take_in(&hold, &file, &ItemName::parse(name).unwrap(), signature, &Job::default())
    }

    fn object(&self, item: &LibraryItem) -> PathBuf {
        self.home.join("library/objects").join(item.sha256.as_str())
    }

    fn inspect(&self, item: &LibraryItem, signature: Option<&str>) -> Result<LibraryItem> {
        self.library.inspect(item, signature, &Job::default())
    }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_not_a_file_is_not_taken_and_never_waited_for() {
    let case = case();
    let (name, hold) = (ItemName::parse("x.sh").unwrap(), case.library.hold().unwrap());
    let fifo = case.home.join("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for (path, code) in [
        (fifo, ErrorCode::NotAFile),
        (case.home.to_path_buf(), ErrorCode::NotAFile),
        ("/dev/zero".into(), ErrorCode::NotAFile),
        (case.home.join("none"), ErrorCode::NotFound),
    ] {
        let taken = case.library.take_in(&hold, &path, &name, None, &Job::default());
        assert_eq!(taken.unwrap_err().code, code, "{}", path.display());
    }
    let huge = case.home.join("huge");
    std::fs::File::create(&huge).unwrap().set_len(SIZE_MAX + 1).unwrap();
    let taken = case.library.take_in(&hold, &huge, &name, None, &Job::default());
    assert_eq!(taken.unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(std::fs::read_dir(case.home.join("library/incoming")).unwrap().count(), 0);
}

#[test]
fn an_object_behind_a_link_is_not_read() {
    let case = case();
    let item = case.take("a.sh", b"echo a", None).unwrap();
    let elsewhere = case.home.join("elsewhere");
    std::fs::rename(case.object(&item), &elsewhere).unwrap();
    symlink(&elsewhere, case.object(&item)).unwrap();
    assert!(case.inspect(&item, None).is_err() && case.library.open(&item.sha256).is_err());
    let report = case.library.verify(&[(item, None)], &Job::default()).unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
}

#[test]
fn a_changed_byte_a_missing_object_and_a_planted_one_are_found() {
    let case = case();
    let changed = case.take("a.sh", b"echo a", None).unwrap();
    let missing = case.take("b.sh", b"echo b", None).unwrap();
    let good = case.take("c.sh", b"echo c", None).unwrap();
    overwrite(&case.object(&changed), b"echo b");
    std::fs::remove_file(case.object(&missing)).unwrap();
    std::fs::write(case.home.join("library/objects").join("f".repeat(64)), "planted").unwrap();
    std::fs::write(case.home.join("library/objects/notes.txt"), "x").unwrap();
    for item in [&changed, &missing] {
        assert_eq!(case.inspect(item, None).unwrap_err().code, ErrorCode::ScriptDrift);
        assert_eq!(case.library.bytes(item, 100).unwrap_err().code, ErrorCode::ScriptDrift);
    }
    let listed = [changed, missing, good].map(|item| (item, None));
    let report = case.library.verify(&listed, &Job::default()).unwrap();
    let mut found: Vec<_> = report.problems.iter().map(|p| (p.part, p.id.as_str())).collect();
    found.sort_unstable();
    let planted = "f".repeat(64);
    assert_eq!(found, [("folder", planted.as_str()), ("folder", "notes.txt"), ("object", "a.sh"), ("object", "b.sh")]);
}

#[test]
fn a_damaged_object_is_mended_by_adding_it_again() {
    let case = case();
    let item = case.take("a.sh", b"echo a", None).unwrap();
    overwrite(&case.object(&item), b"echo x");
    assert_eq!(case.take("a.sh", b"echo a", None).unwrap(), item);
    assert_eq!(case.inspect(&item, None).unwrap(), item);
}

#[test]
fn only_a_trusted_key_over_these_very_bytes_is_a_signer() {
    let signed = with_keys(&[KEY]);
    let item = signed.take("a.sh", b"test", Some(SIGNATURE)).unwrap();
    assert_eq!(item.signer.as_deref(), Some(KEY));
    assert_eq!(signed.inspect(&item, Some(SIGNATURE)).unwrap().signer.as_deref(), Some(KEY));
    // The signature of the record counts, not what the record says of it.
    assert_eq!(signed.inspect(&item, None).unwrap().signer, None);

    let legacy = SIGNATURE.replace("RUQf", "RWQf");
    for (bytes, signature) in [(&b"tesT"[..], SIGNATURE), (b"test", "x"), (b"test", ""), (b"test", &legacy)] {
        let e = signed.take("b.sh", bytes, Some(signature)).unwrap_err();
        assert_eq!(e.code, ErrorCode::UnsignedScript, "{signature:?}");
    }
    let untrusting = case();
    assert_eq!(untrusting.take("a.sh", b"test", Some(SIGNATURE)).unwrap_err().code, ErrorCode::UnsignedScript);
}

#[test]
fn a_key_that_is_trusted_no_more_signs_no_more() {
    let case = with_keys(&[KEY]);
    let item = case.take("a.sh", b"test", Some(SIGNATURE)).unwrap();
    let later = Library::new(&case.home, &[]);
    assert_eq!(later.inspect(&item, Some(SIGNATURE), &Job::default()).unwrap().signer, None);
    let report = later.verify(&[(item, Some(SIGNATURE.into()))], &Job::default()).unwrap();
    assert_eq!(report.problems.first().map(|p| p.part), Some("signature"));
}

#[test]
fn two_names_of_the_same_bytes_share_an_object() {
    let case = case();
    let (a, b) = (case.take("a.sh", b"echo", None).unwrap(), case.take("b.py", b"echo", None).unwrap());
    assert_eq!((a.sha256.clone(), a.kind), (b.sha256.clone(), crate::model::ItemKind::Shell));
    assert_eq!(b.kind, crate::model::ItemKind::Python);
    assert_eq!(std::fs::read_dir(case.home.join("library/objects")).unwrap().count(), 1);
}

#[test]
fn what_a_dead_process_left_is_swept_and_a_living_one_waited_for() {
    let case = case();
    case.take("a.sh", b"echo", None).unwrap();
    std::fs::write(case.home.join("library/incoming/left"), "x").unwrap();
    case.take("b.sh", b"echo b", None).unwrap();
    assert_eq!(std::fs::read_dir(case.home.join("library/incoming")).unwrap().count(), 0);
    let hold = case.library.hold().unwrap();
    assert!(!Locked::is_free(private::open_or_create(&case.home.join("library/lock")).unwrap()));
    drop(hold);
    drop(case.library.hold().unwrap());
}
