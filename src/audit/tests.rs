use super::*;
use crate::error::{Error, ErrorCode, Result};
use crate::principal::Principal;
use crate::private::scratch::Scratch;
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Counts denials: enough of a state to see whether it is followed.
#[derive(Clone, Default)]
struct Denials(Arc<Mutex<u64>>);

impl Denials {
    fn get(&self) -> u64 {
        *self.0.lock().unwrap()
    }
}

impl Fold for Denials {
    fn reset(&mut self) {
        *self.0.lock().unwrap() = 0;
    }

    fn restore(&mut self, snapshot: Option<&RawValue>, _: &str) -> Result<(), String> {
        *self.0.lock().unwrap() = snapshot.map_or(Ok(0), |s| s.get().parse()).map_err(|e| format!("{e}"))?;
        Ok(())
    }

    fn wants(&self, event: &str) -> bool {
        event == "request.denied"
    }

    fn apply(&mut self, _: &Line<'_>) -> Result<(), String> {
        *self.0.lock().unwrap() += 1;
        Ok(())
    }

    fn snapshot(&mut self, _: &Moment) -> Result<Box<RawValue>> {
        RawValue::from_string(self.get().to_string()).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))
    }
}

fn following(dir: PathBuf) -> (Arc<Log>, Denials) {
    let (log, fold) = (Log::new(dir), Denials::default());
    log.attach(Box::new(fold.clone()));
    (log, fold)
}

fn deny(log: &Log) -> Result<()> {
    log.transact(|_| Ok((vec![Record::new("request.denied")], ())))
}

fn note(log: &Log) -> Result<()> {
    log.note(Record::new("output.returned").by(&Principal::uid(1)).detail(&"some facts"))
}

fn only_segment(dir: &std::path::Path) -> PathBuf {
    super::segment::path(dir, 1)
}

fn events(dir: &std::path::Path) -> Vec<String> {
    show(dir, Filter::default()).unwrap().map(|s| s.unwrap().event).collect()
}

#[test]
fn opens_nothing_before_the_first_record() {
    let home = Scratch::new();
    let (log, _) = following(home.join("audit"));
    assert!(!log.changed());
    log.follow().unwrap();
    assert!(!home.join("audit").exists());
}

#[test]
fn gt_153_every_changed_byte_is_found_and_its_record_named() {
    let home = Scratch::new();
    let log = Log::new(home.to_path_buf());
    for _ in 0..3 {
        note(&log).unwrap();
        log.commit(Record::new("request.denied").reason(ErrorCode::Denied)).unwrap();
    }
    let file = only_segment(&home);
    let good = std::fs::read(&file).unwrap();
    assert_eq!(verify(&home, None).unwrap().records, 7);
    let mut seq = 1;
    for i in 0..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(verify(&home, None).unwrap_err().seq, seq, "byte {i}");
        seq += u64::from(good[i] == b'\n');
    }
}

#[test]
fn gt_155_a_cut_tail_is_found_against_a_checkpoint() {
    let home = Scratch::new();
    let log = Log::new(home.to_path_buf());
    for _ in 0..1200 {
        note(&log).unwrap();
    }
    let kept = checkpoint(&home).unwrap();
    assert_eq!(kept.to_string().parse::<Checkpoint>().unwrap(), kept);
    let text = std::fs::read_to_string(only_segment(&home)).unwrap();
    for cut in [1, 10, 1000] {
        let lines: Vec<&str> = text.lines().collect();
        std::fs::write(only_segment(&home), lines[..lines.len() - cut].join("\n") + "\n").unwrap();
        assert!(verify(&home, None).is_ok());
        let broken = verify(&home, Some(&kept)).unwrap_err();
        assert_eq!(broken.seq, kept.size - cut as u64 + 1);
        assert!(broken.why.starts_with("truncated, expected size >= 1201"), "{}", broken.why);
    }
}

#[test]
fn a_removed_line_a_moved_line_and_a_rebuilt_log_are_found() {
    let home = Scratch::new();
    let log = Log::new(home.to_path_buf());
    for _ in 0..5 {
        note(&log).unwrap();
    }
    let kept = checkpoint(&home).unwrap();
    let text = std::fs::read_to_string(only_segment(&home)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let write = |lines: &[&str]| std::fs::write(only_segment(&home), lines.join("\n") + "\n").unwrap();
    write(&[&lines[..2], &lines[3..]].concat());
    assert_eq!(verify(&home, None).unwrap_err().seq, 3);
    write(&[lines[0], lines[1], lines[3], lines[2], lines[4], lines[5]]);
    assert_eq!(verify(&home, None).unwrap_err().seq, 3);
    std::fs::remove_file(only_segment(&home)).unwrap();
    let again = Log::new(home.to_path_buf());
    for _ in 0..9 {
        note(&again).unwrap();
    }
    assert_eq!(verify(&home, Some(&kept)).unwrap_err().seq, kept.size);
}

#[test]
fn segments_follow_one_another_and_carry_the_state() {
    let home = Scratch::new();
    let (log, fold) = following(home.to_path_buf());
    deny(&log).unwrap();
    let fill = "x".repeat(1 << 20);
    for _ in 0..9 {
        log.note(Record::new("output.returned").detail(&fill)).unwrap();
    }
    deny(&log).unwrap();
    let verified = verify(&home, None).unwrap();
    assert_eq!((verified.segments, fold.get()), (2, 2));
    let (other, seen) = following(home.to_path_buf());
    other.follow().unwrap();
    assert_eq!(seen.get(), 2);
    let second = super::segment::list(&home).unwrap()[1];
    std::fs::remove_file(only_segment(&home)).unwrap();
    assert_eq!(verify(&home, None).unwrap_err().seq, 1);
    assert!(second > 1);
}

#[test]
fn a_log_that_one_process_rotates_is_followed_by_another() {
    let home = Scratch::new();
    let (writer, _) = following(home.to_path_buf());
    let (reader, seen) = following(home.to_path_buf());
    deny(&writer).unwrap();
    reader.follow().unwrap();
    let fill = "x".repeat(1 << 20);
    for _ in 0..9 {
        writer.note(Record::new("output.returned").detail(&fill)).unwrap();
    }
    deny(&writer).unwrap();
    assert!(reader.changed());
    reader.follow().unwrap();
    assert!(!reader.changed());
    assert_eq!(seen.get(), 2);
    deny(&reader).unwrap();
    writer.follow().unwrap();
    assert!(verify(&home, None).is_ok());
}

#[test]
fn gt_152_no_value_makes_a_second_record() {
    let home = Scratch::new();
    let log = Log::new(home.to_path_buf());
    let value = "a\n{\"event\":\"vote.cast\"}\r\u{1b}[2K\u{2028}\u{2029}\u{85}\u{202e}\u{7f}z";
    log.note(Record::new("request.refused").detail(&value)).unwrap();
    let bytes = std::fs::read(only_segment(&home)).unwrap();
    assert!(bytes.iter().all(|b| matches!(b, b'\n' | 0x20..=0x7e)), "the log is plain ASCII here");
    assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 2);
    let line = std::str::from_utf8(&bytes).unwrap().lines().nth(1).unwrap().to_owned();
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((read["event"].as_str(), read["detail"].as_str()), (Some("request.refused"), Some(value)));
}

#[test]
fn a_log_cut_at_any_byte_recovers_and_keeps_every_whole_record() {
    let home = Scratch::new();
    let (log, _) = following(home.join("whole"));
    for _ in 0..3 {
        deny(&log).unwrap();
    }
    let bytes = std::fs::read(only_segment(&home.join("whole"))).unwrap();
    let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    for cut in first..=bytes.len() {
        let dir = home.join(format!("cut-{cut}"));
        crate::private::dir(&dir).unwrap();
        crate::private::replace(&only_segment(&dir), &bytes[..cut]).unwrap();
        let (log, fold) = following(dir.clone());
        deny(&log).unwrap();
        let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count() as u64 - 1;
        assert_eq!(fold.get(), whole + 1, "cut at {cut}");
        let torn = bytes[cut - 1] != b'\n';
        assert_eq!(events(&dir).contains(&"audit.recovered".to_owned()), torn, "cut at {cut}");
        assert!(verify(&dir, None).is_ok(), "cut at {cut}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn gt_100_what_could_not_be_written_is_told_of_first() {
    let home = Scratch::new();
    let (log, _) = following(home.join("audit"));
    std::fs::write(home.join("audit"), "in the way").unwrap();
    assert_eq!(note(&log).unwrap_err().code, ErrorCode::AuditUnavailable);
    assert_eq!(note(&log).unwrap_err().code, ErrorCode::AuditUnavailable);
    assert_eq!(deny(&log).unwrap_err().code, ErrorCode::AuditUnavailable);
    std::fs::remove_file(home.join("audit")).unwrap();
    note(&log).unwrap();
    note(&log).unwrap();
    assert_eq!(events(&home.join("audit")), ["audit.checkpoint", "audit.gap", "output.returned", "output.returned"]);
    let filter = Filter { event: Some("audit.gap".into()), ..Filter::default() };
    let gap = show(&home.join("audit"), filter).unwrap().next().unwrap().unwrap();
    assert!(gap.line.contains(r#"{"missed_reads":2,"missed_changes":1}"#), "{}", gap.line);
}

#[test]
fn a_full_disk_stops_changes_and_another_process_tells_the_gap() {
    let home = Scratch::new();
    let dir = home.join("audit");
    crate::private::dir(&dir).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", &dir, "tmpfs", flags, Some(c"size=64k,mode=0700")).is_err() {
        println!("skipped: only root mounts a small disk");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let (log, fold) = following(dir.clone());
        deny(&log).unwrap();
        let fill = "x".repeat(100 << 10);
        assert_eq!(
            log.note(Record::new("output.returned").detail(&fill)).unwrap_err().code,
            ErrorCode::AuditUnavailable
        );
        std::fs::write(dir.join("ballast"), vec![0; 64 << 10]).unwrap_err();
        while deny(&log).is_ok() {}
        let seen = fold.get();
        assert_eq!(deny(&log).unwrap_err().code, ErrorCode::AuditUnavailable);
        assert_eq!(fold.get(), seen, "what is not on disk has not happened");
        std::fs::remove_file(dir.join("ballast")).unwrap();
        let (other, followed) = following(dir.clone());
        deny(&other).unwrap();
        assert_eq!(followed.get(), seen + 1);
        assert!(verify(&dir, None).is_ok());
        let gap = events(&dir);
        assert_eq!(gap[gap.len() - 2], "audit.gap");
    });
    rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH).unwrap();
    outcome.unwrap();
}

#[test]
fn a_changed_log_takes_no_more_changes() {
    let home = Scratch::new();
    let (log, _) = following(home.to_path_buf());
    deny(&log).unwrap();
    deny(&log).unwrap();
    let mut bytes = std::fs::read(only_segment(&home)).unwrap();
    let at = bytes.iter().position(|b| *b == b'\n').unwrap() + 40;
    bytes[at] ^= 1;
    std::fs::write(only_segment(&home), bytes).unwrap();
    let (again, _) = following(home.to_path_buf());
    assert_eq!(deny(&again).unwrap_err().code, ErrorCode::AuditUnavailable);
}

#[test]
fn a_log_taken_away_under_a_running_process_begins_anew() {
    let home = Scratch::new();
    let (log, fold) = following(home.join("audit"));
    deny(&log).unwrap();
    std::fs::remove_dir_all(home.join("audit")).unwrap();
    deny(&log).unwrap();
    assert_eq!(fold.get(), 1);
    assert_eq!(verify(&home.join("audit"), None).unwrap().records, 2);
}

#[test]
fn an_event_that_is_not_in_the_list_is_refused() {
    let home = Scratch::new();
    let log = Log::new(home.to_path_buf());
    assert_eq!(log.note(Record::new("vote.forged")).unwrap_err().code, ErrorCode::Internal);
}

/// Run again as a child, this test writes; alone it does nothing.
#[test]
fn child_writes_records() {
    let Some(dir) = std::env::var_os("LR_TEST_AUDIT") else { return };
    let (log, _) = following(dir.into());
    for _ in 0..50 {
        note(&log).unwrap();
        deny(&log).unwrap();
    }
}

#[test]
fn processes_and_threads_write_one_chain() {
    let home = Scratch::new();
    let spawn = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["audit::tests::child_writes_records", "--exact"])
            .env("LR_TEST_AUDIT", &*home)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| spawn()).collect();
    let (log, fold) = following(home.to_path_buf());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| deny(&log).unwrap()));
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    log.follow().unwrap();
    assert_eq!(fold.get(), 4 * 50 + 4 * 25);
    assert_eq!(verify(&home, None).unwrap().records, 1 + 4 * 100 + 4 * 25);
}
