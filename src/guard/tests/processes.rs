//! The same with real processes.

use super::*;
use std::process::{Child, Command, Stdio};

fn child(test: &str, home: &Path, id: &RequestId, code: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("LR_TEST_HOME", home)
        .env("LR_TEST_REQUEST", id.as_str())
        .env("LR_TEST_CODE", code)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn given() -> Option<(Guard, RequestId, String)> {
    let home = PathBuf::from(std::env::var_os("LR_TEST_HOME")?);
    let id = RequestId::new(std::env::var("LR_TEST_REQUEST").ok()?);
    Some((guard_at(&home, Arc::new(SystemClock), None), id, std::env::var("LR_TEST_CODE").ok()?))
}

/// Waits for a line: all are let go at once.
fn wait_for_go() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A policy clock of 1 s would make every child wait; the viewing time is this process's own.
fn see(guard: &Guard, id: &RequestId) -> Prompt {
    let prompt = guard.show(id).unwrap();
    let until = std::time::Instant::now() + prompt.min_view + std::time::Duration::from_millis(20);
    while std::time::Instant::now() < until {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    prompt
}

/// Run again as a child.
#[test]
fn child_votes_and_consumes() {
    let Some((guard, id, code)) = given() else { return };
    let prompt = see(&guard, &id);
    wait_for_go();
    match guard.vote(ballot(&prompt, code)) {
        Ok(voted) if voted.granted => {
            let (_approved, execution) = guard.consume(&id).unwrap();
            guard.started(&execution).unwrap();
            guard.finished(execution, &done()).unwrap();
            println!("\nOUTCOME consumed");
        }
        Ok(_) => println!("\nOUTCOME counted"),
        Err(e) => println!("\nOUTCOME {}", e.code),
    }
}

fn real() -> (Scratch, Guard, Person, RequestId) {
    let home = Scratch::new();
    let guard = guard_at(&home, Arc::new(SystemClock), None);
    let alex = Person::of(&guard.enroll("alex", None).unwrap());
    let id = guard.submit(intent("/tmp/a"), vec![quarantine("/tmp/a")]).unwrap().id;
    (home, guard, alex, id)
}

fn now_s() -> u64 {
    u64::try_from(SystemClock.now().wall_ms / 1000).unwrap()
}

fn outcome(child: Child) -> String {
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|l| l.strip_prefix("OUTCOME ")).unwrap_or(&text).to_owned()
}

#[test]
fn gt_021_votes_of_many_processes_consume_once() {
    use std::io::Write;
    let (home, _, alex, id) = real();
    let code = alex.code(now_s());
    let spawn = |_| child("guard::tests::processes::child_votes_and_consumes", &home, &id, &code);
    let mut children: Vec<Child> = (0..12).map(spawn).collect();
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let outcomes: Vec<String> = children.into_iter().map(outcome).collect();
    assert_eq!(outcomes.iter().filter(|o| *o == "consumed").count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|o| *o == "E_CONSUMED").count(), 11, "{outcomes:?}");
    let events: Vec<String> =
        crate::audit::show(&home.join("audit"), Filter::default()).unwrap().map(|s| s.unwrap().event).collect();
    let count = |event: &str| events.iter().filter(|e| *e == event).count();
    assert_eq!((count("exec.consumed"), count("exec.started"), count("exec.finished")), (1, 1, 1));
}

/// Run again as a child: consumes and waits to be killed.
#[test]
fn child_consumes_and_hangs() {
    let Some((guard, id, code)) = given() else { return };
    let prompt = see(&guard, &id);
    guard.vote(ballot(&prompt, code)).unwrap();
    let (_approved, _execution) = guard.consume(&id).unwrap();
    println!("\nOUTCOME consumed");
    wait_for_go();
}

#[test]
fn gt_025_a_killed_process_leaves_unknown_and_a_living_one_does_not() {
    use std::io::{BufRead, BufReader};
    let (home, guard, alex, id) = real();
    let mut child = child("guard::tests::processes::child_consumes_and_hangs", &home, &id, &alex.code(now_s()));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().contains("OUTCOME consumed")));
    assert!(matches!(guard.request(&id, &asst()).unwrap().phase, Phase::Consuming));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(guard.request(&id, &asst()).unwrap().phase, Phase::Unknown));
    assert!(crate::audit::verify(&home.join("audit"), None).is_ok());
}
