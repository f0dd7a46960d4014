//! Attacks first: hostile names, changed bytes, full disks, vanished sources.

use super::*;
use crate::audit::{Filter, show};
use crate::model::{FileFacts, Job};
use crate::private::scratch::Scratch;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

struct Case {
    home: Scratch,
    store: Arc<Store>,
    job: Arc<Job>,
}

fn case() -> Case {
    let home = Scratch::new();
    let log = Log::new(home.join("audit"));
    Case { store: Arc::new(Store::new(&home, log)), home, job: Arc::default() }
}

fn facts(path: impl Into<Vec<u8>>) -> FileFacts {
    FileFacts { path: DevicePath::new(path), size_bytes: 0, modified: None, identity: None, secret: None }
}

fn custody(uid: u32) -> Custody {
    Custody {
        device: DeviceId::new("local"),
        device_name: Untrusted::new("host"),
        session: SessionId::new("s-1"),
        command_id: CommandId::new("c-1"),
        principal: Principal::uid(uid),
        comment: Some("CASE-7".into()),
    }
}

impl Case {
    async fn seal(&self, path: &str, bytes: &[u8]) -> Sealed {
        self.store.seal(facts(path), bytes, custody(7), &self.job).await.unwrap()
    }

    fn read(&self, sealed: &Sealed, r#as: &str, offset: u64, length: u64, wanted: Option<&str>) -> Result<Slice> {
        self.store.read(&Disclosure {
            sha256: sealed.sha256.clone(),
            path: sealed.path.clone(),
            secret: String::new(),
            entry: None,
            offset,
            length,
            r#as: r#as.into(),
            r#match: wanted.map(str::to_owned),
        })
    }

    fn object(&self, sealed: &Sealed) -> PathBuf {
        self.store.object_path(&sealed.sha256)
    }

    /// Files below `evidence/`, relative.
    fn files(&self) -> Vec<String> {
        fn walk(at: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), root, found),
                    false => found.push(entry.path().strip_prefix(root).unwrap().display().to_string()),
                }
            }
        }
        let (root, mut found) = (self.home.join("evidence"), Vec::new());
        walk(&root, &root, &mut found);
        found.sort();
        found
    }

    fn problems(&self) -> Vec<Problem> {
        self.store.verify(&self.job).unwrap().problems
    }

    fn events(&self) -> Vec<String> {
        let all = show(&self.home.join("audit"), Filter::default()).unwrap();
        all.map(|r| r.unwrap().event).filter(|e| e.starts_with("evidence.")).collect()
    }
}

#[tokio::test]
async fn gt_130_a_name_from_the_device_is_no_local_path() {
    let case = case();
    for path in ["/x/../../.ssh/authorized_keys", "..", "/", "/a\n{\"event\":\"vote.cast\"}", "/\u{202e}gpj.exe"] {
        case.seal(path, b"bytes").await;
    }
    let sealed = case.store.seal(facts(*b"/a\xff"), &b"bytes"[..], custody(7), &case.job).await.unwrap();
    let sha = sealed.sha256.as_str();
    assert_eq!(case.files(), ["custody.jsonl".to_owned(), format!("objects/{}/{sha}", &sha[..2])]);
    assert_eq!(sealed.name.raw(), r"esc:a\xff");
    assert_eq!(case.problems(), []);
    assert_eq!(std::fs::metadata(case.object(&sealed)).unwrap().mode() & 0o777, 0o400);
}

#[tokio::test]
async fn the_same_content_is_one_object_with_two_custody_lines() {
    let case = case();
    let (a, b) = (case.seal("/a", b"same").await, case.seal("/b", b"same").await);
    assert_eq!(a.sha256, b.sha256);
    assert_eq!(case.files().len(), 2);
    assert_eq!(case.store.entries().unwrap().count(), 2);
    assert_eq!(case.events(), ["evidence.sealed", "evidence.sealed"]);
}

#[tokio::test]
async fn content_is_secret_if_any_line_says_so() {
    let case = case();
    let secret = FileFacts { secret: Some("private key".into()), ..facts("/a") };
    case.store.seal(secret, &b"same"[..], custody(8), &case.job).await.unwrap();
    case.seal("/b", b"same").await;
    let held = case.store.held(&Principal::uid(7), None, None).unwrap();
    assert_eq!((held.len(), held[0].secret.as_deref()), (1, Some("private key")));
}

#[tokio::test]
async fn content_tells_that_it_is_secret() {
    let case = case();
    let pem = [&vec![b'a'; CHUNK_BORDER][..], b"-----BEGIN PRIVATE KEY-----\nMIIEvQ"].concat();
    assert_eq!(case.seal("/notes.txt", &pem).await.secret.as_deref(), Some("private key"));
}

/// Where the store cuts what it reads, minus a part of a mark.
const CHUNK_BORDER: usize = 256 * 1024 - 9;

#[tokio::test]
async fn evidence_of_others_is_unknown() {
    let case = case();
    let sealed = case.seal("/a", b"x").await;
    let other = Principal::uid(8);
    assert!(case.store.held(&other, None, None).unwrap().is_empty());
    for (sha, name) in [(Some(&sealed.sha256), None), (None, Some("a"))] {
        assert_eq!(case.store.held(&other, sha, name).unwrap_err().code, ErrorCode::NotFound);
    }
    assert_eq!(case.store.held(&Principal::uid(7), None, Some("a")).unwrap().len(), 1);
}

#[tokio::test]
async fn gt_160_a_changed_byte_is_named() {
    for part in ["object", "custody"] {
        let case = case();
        let sealed = case.seal("/a", b"content").await;
        case.seal("/b", b"other").await;
        let path = if part == "object" { case.object(&sealed) } else { case.home.join("evidence/custody.jsonl") };
        let whole = std::fs::read(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Each byte in turn would take minutes for the custody record: each seventh.
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(case.problems().iter().any(|p| p.part == part), "{part}: byte {at} was changed unseen");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(case.problems(), []);
        assert!(case.events().contains(&"evidence.verify_failed".to_owned()));
    }
}

#[tokio::test]
async fn a_custody_record_that_was_cut_or_rebuilt_does_not_fit_to_the_log() {
    let case = case();
    case.seal("/a", b"a").await;
    case.seal("/b", b"b").await;
    let custody_path = case.home.join("evidence/custody.jsonl");
    let whole = std::fs::read_to_string(&custody_path).unwrap();
    let first = format!("{}\n", whole.lines().next().unwrap());
    std::fs::write(&custody_path, &first).unwrap();
    assert!(case.problems().iter().any(|p| p.part == "custody" && p.id == "2" && p.why.contains("cut")));

    std::fs::remove_file(&custody_path).unwrap();
    let rebuilt = Chain::new(custody_path);
    for line in whole.lines() {
        let entry: Entry = serde_json::from_str(line).unwrap();
        rebuilt.append(Entry { comment: Some("CASE-8".into()), ..entry }).unwrap();
    }
    assert!(case.problems().iter().any(|p| p.part == "custody" && p.id == "1"));
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_told() {
    let case = case();
    case.seal("/a", b"a").await;
    let path = case.home.join("evidence/custody.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], br#"{"seq":2,"prev"#].concat()).unwrap();
    assert_eq!(case.store.held(&Principal::uid(7), None, None).unwrap().len(), 1);
    case.seal("/b", b"b").await;
    assert_eq!(case.store.entries().unwrap().map(|e| e.unwrap().seq).collect::<Vec<_>>(), [1, 2]);
    assert!(case.events().contains(&"evidence.truncated".to_owned()));
    assert_eq!(case.problems(), []);
}

#[tokio::test]
async fn damaged_content_is_not_taken_for_the_same() {
    let case = case();
    let object = case.object(&case.seal("/a", b"content").await);
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&object, "CONTENT").unwrap();
    let again = case.store.seal(facts("/b"), &b"content"[..], custody(7), &case.job).await;
    assert_eq!(again.unwrap_err().code, ErrorCode::StoreUnavailable);
    assert_eq!(case.store.entries().unwrap().count(), 1);
}

#[tokio::test]
async fn what_was_not_sealed_is_found() {
    let case = case();
    let sealed = case.seal("/a", b"a").await;
    let planted = case.object(&sealed).with_file_name("planted");
    std::fs::write(&planted, "x").unwrap();
    assert!(case.problems().iter().any(|p| p.part == "object" && p.id.ends_with("planted")));
    std::fs::remove_file(&planted).unwrap();
    std::fs::remove_file(case.object(&sealed)).unwrap();
    assert!(case.problems().iter().any(|p| p.part == "object" && p.id == sealed.sha256.as_str()));
}

/// Gives some bytes and then nothing more, ever.
struct Silent(usize);

impl AsyncRead for Silent {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.0 == 0 {
            return Poll::Pending;
        }
        let n = self.0.min(buf.remaining());
        buf.put_slice(&vec![1; n]);
        self.0 -= n;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_source_that_falls_silent_is_given_up_and_leaves_nothing() {
    let case = case();
    let job = Arc::clone(&case.job);
    let seal = case.store.seal(facts("/a"), Silent(1_000_000), custody(7), &job);
    let stop = async {
        while job.progress().0 < 700_000 {
            tokio::task::yield_now().await;
        }
        job.time_out();
    };
    let (sealed, ()) = tokio::join!(seal, stop);
    assert_eq!(sealed.unwrap_err().code, ErrorCode::Timeout);
    assert!(case.files().is_empty(), "{:?}", case.files());
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_sealed() {
    let case = case();
    let evidence = case.home.join("evidence");
    private::dir(&evidence).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", &evidence, "tmpfs", flags, Some(c"size=64k,mode=700")).is_err() {
        println!("skipped: a small file system can be mounted by root only");
        return;
    }
    let big = vec![3; 500_000];
    let sealed = case.store.seal(facts("/a"), &big[..], custody(7), &case.job).await;
    let left = case.files();
    let small = case.store.seal(facts("/b"), &b"fits"[..], custody(7), &case.job).await;
    rustix::mount::unmount(&evidence, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(sealed.unwrap_err().code, ErrorCode::StoreUnavailable);
    assert!(left.is_empty(), "{left:?}");
    small.unwrap();
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_written_is_a_warning() {
    let case = case();
    std::fs::write(case.home.join("audit"), "no directory").unwrap();
    case.seal("/a", b"a").await;
    assert!(case.job.take_warnings().iter().any(|w| w.contains("audit log")));
}

#[tokio::test]
async fn slices_cover_the_whole_without_gap() {
    let case = case();
    let text: String = (0..2000).map(|n| format!("zeile {n} äöü€\n")).collect();
    let sealed = case.seal("/a.txt", text.as_bytes()).await;
    let (mut offset, mut whole) = (0, String::new());
    loop {
        let slice = case.read(&sealed, "text", offset, 1000, None).unwrap();
        if slice.length == 0 {
            break;
        }
        whole.push_str(&slice.content);
        offset += slice.length;
    }
    assert_eq!(whole, text);
    assert_eq!(offset, u64::try_from(text.len()).unwrap());
}

#[tokio::test]
async fn text_is_clean_and_binary_is_escaped() {
    let case = case();
    let sealed = case.seal("/a", b"a\xff\x1b[2J\r\nb\x00").await;
    let slice = case.read(&sealed, "text", 0, 100, None).unwrap();
    assert_eq!(slice.content, "a\\xff\\x1b[2J\nb\\x00");
    assert_eq!(case.read(&sealed, "hex", 1, 2, None).unwrap().content, "ff1b");
}

#[tokio::test]
async fn strings_go_on_where_they_ended() {
    let case = case();
    let mut bytes = Vec::new();
    for n in 0..3000 {
        bytes.extend_from_slice(format!("word{n:04}").as_bytes());
        bytes.extend_from_slice(&[0, 1, b'a', b'b', b'c', 2]);
    }
    let sealed = case.seal("/a", &bytes).await;
    let (mut offset, mut words) = (0, String::new());
    loop {
        let slice = case.read(&sealed, "strings", offset, 900, None).unwrap();
        if slice.length == 0 {
            break;
        }
        words.push_str(&slice.content);
        offset += slice.length;
    }
    let joined = words.replace('\n', "");
    assert!((0..3000).all(|n| joined.contains(&format!("word{n:04}"))));
    assert!(!joined.contains("abc"));
}

#[tokio::test]
async fn matches_come_with_numbers_and_context() {
    let case = case();
    let text = "one\ntwo\nthree\nneedle a\nfive\nsix\nseven\neight\nnine\nten\nneedle b";
    let sealed = case.seal("/a", text.as_bytes()).await;
    let slice = case.read(&sealed, "text", 0, 4096, Some("needle")).unwrap();
    assert_eq!(slice.content, "2-two\n3-three\n4:needle a\n5-five\n6-six\n--\n9-nine\n10-ten\n11:needle b\n");
    let on = case.read(&sealed, "text", slice.offset + 40, 4096, Some("needle")).unwrap();
    assert!(on.content.contains("11:needle b") && !on.content.contains("needle a"), "{}", on.content);
    assert_eq!(case.read(&sealed, "hex", 0, 10, Some("x")).unwrap_err().code, ErrorCode::BadArgs);
}

#[tokio::test]
async fn a_match_across_pieces_of_an_endless_line_is_found() {
    let case = case();
    let line = [&vec![b'x'; 64 * 1024 - 3][..], b"needle", &[b'y'; 1000]].concat();
    let sealed = case.seal("/a", &line).await;
    let slice = case.read(&sealed, "text", 0, 100, Some("needle")).unwrap();
    assert!(slice.content.starts_with("1:xxx") && slice.content.ends_with(" [cut]\n"));
}

#[tokio::test]
async fn slices_hold_to_their_limits() {
    let case = case();
    let sealed = case.seal("/a", &vec![b'a'; 100_000]).await;
    let slice = case.read(&sealed, "text", 0, u64::MAX, None).unwrap();
    assert_eq!((slice.length, slice.size_bytes), (MAX_LENGTH, 100_000));
    assert_eq!(case.read(&sealed, "text", u64::MAX, 10, None).unwrap().length, 0);
    assert_eq!(case.read(&sealed, "text", 0, 0, None).unwrap().content, "");
    assert_eq!(case.read(&sealed, "runes", 0, 1, None).unwrap_err().code, ErrorCode::BadArgs);
}

#[tokio::test]
async fn an_export_replaces_nothing_and_is_complete() {
    let case = case();
    let sealed = case.seal("/a", b"content").await;
    let to = case.home.join("out");
    let done = case.store.export(&to, &case.job).unwrap();
    assert_eq!((done.files, done.bytes, done.entries), (1, 7, 1));
    assert_eq!(std::fs::read(to.join(sealed.sha256.as_str())).unwrap(), b"content");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["files"][0]["sha256"], sealed.sha256.as_str());
    assert_eq!(case.store.export(&to, &case.job).unwrap_err().code, ErrorCode::Exists);
}

#[tokio::test]
async fn many_at_once_make_one_chain() {
    let case = case();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (store, job) = (Arc::new(Store::new(&case.home, Log::new(case.home.join("audit")))), Arc::clone(&case.job));
        all.spawn(async move {
            let bytes = format!("content {}", n % 10).into_bytes();
            store.seal(facts(format!("/f{n}")), &bytes[..], custody(7), &job).await.unwrap();
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let report = case.store.verify(&case.job).unwrap();
    assert_eq!((report.objects, report.entries, report.problems), (10, 40, vec![]));
}

#[test]
fn nothing_is_opened_before_it_is_needed() {
    let home = Scratch::new();
    let store = Store::new(&home, Log::new(home.join("audit")));
    assert!(store.held(&Principal::uid(7), None, None).unwrap().is_empty());
    assert_eq!(store.verify(&Job::default()).unwrap(), Report::default());
    assert_eq!(std::fs::read_dir(&*home).unwrap().count(), 0);
}
