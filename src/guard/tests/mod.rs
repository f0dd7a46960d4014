//! Attacks on the guard, one test a case; the id of the reference's case where it has one.

mod asking;
mod binding;
mod crash;
mod display;
mod library;
mod people;
mod processes;

use super::factors::totp::Key;
use super::*;
use crate::audit::{Clock, FakeClock, Filter, Shown, SystemClock};
use crate::config::Limits;
use crate::model::{DevicePath, Disclosure};
use crate::model::{End, FileIdentity, FileTarget, Outcome, SessionId, Step, Timestamp, Verified};
use crate::principal::Transport;
use crate::private::scratch::Scratch;
use std::path::Path;

/// A home, a clock that the test turns, and a guard on both.
struct Bench {
    home: Scratch,
    clock: Arc<FakeClock>,
    guard: Guard,
    policy: Option<PathBuf>,
}

fn config(home: &Path, policy: Option<PathBuf>) -> Config {
    Config {
        file: None,
        home: home.to_owned(),
        policy,
        allow_shared_account: false,
        limits: Limits::default(),
        images: Vec::new(),
        clamd: None,
        working_folder: Some(home.join("put")),
        library_keys: Vec::new(),
        defender: None,
    }
}

fn guard_at(home: &Path, clock: Arc<dyn Clock>, policy: Option<PathBuf>) -> Guard {
    Guard::new(&config(home, policy), Log::with_clock(home.join("audit"), clock))
}

impl Bench {
    fn new() -> Self {
        Self::with_policy(None)
    }

    /// With a policy file of this text.
    fn with_policy(text: Option<&str>) -> Self {
        let (home, clock) = (Scratch::new(), FakeClock::new());
        let policy = text.map(|text| {
            std::fs::write(home.join("policy.toml"), text).unwrap();
            home.join("policy.toml")
        });
        let guard = guard_at(&home, clock.clone(), policy.clone());
        Bench { home, clock, guard, policy }
    }

    /// Another process, as far as one can be had without one.
    fn other(&self) -> Guard {
        guard_at(&self.home, self.clock.clone(), self.policy.clone())
    }

    fn enrolled(self) -> (Self, Person) {
        let alex = Person::of(&self.guard.enroll("alex", None).unwrap());
        (self, alex)
    }

    fn now_s(&self) -> u64 {
        u64::try_from(self.clock.now().wall_ms / 1000).unwrap()
    }

    fn next_code(&self) {
        self.clock.advance_ms(30_000);
    }

    fn ask(&self, path: &str) -> RequestView {
        self.guard.submit(intent(path), vec![quarantine(path)]).unwrap()
    }

    /// A right vote on what is shown now, after the viewing time.
    fn ballot(&self, guard: &Guard, id: &RequestId, person: &Person) -> Ballot {
        let prompt = guard.show(id).unwrap();
        self.clock.advance_ms(2_000);
        ballot(&prompt, person.code(self.now_s()))
    }

    fn approve(&self, id: &RequestId, person: &Person) -> Result<Voted> {
        self.guard.vote(self.ballot(&self.guard, id, person))
    }

    fn log(&self) -> Vec<Shown> {
        let dir = self.home.join("audit");
        crate::audit::verify(&dir, None).unwrap();
        crate::audit::show(&dir, Filter::default()).unwrap().map(Result::unwrap).collect()
    }

    fn count(&self, event: &str) -> usize {
        self.log().iter().filter(|s| s.event == event).count()
    }

    /// The codes of all records of an event.
    fn reasons(&self, event: &str) -> Vec<String> {
        let of = |s: Shown| (s.event == event).then(|| s.reason_code.unwrap_or_default());
        self.log().into_iter().filter_map(of).collect()
    }

    fn last(&self, event: &str) -> Shown {
        self.log().into_iter().rfind(|s| s.event == event).unwrap()
    }

    /// A following legitimate request still works.
    fn still_works(&self, person: &Person) {
        self.next_code();
        self.next_code();
        let path = format!("/tmp/next-{}", crate::model::random_hex::<4>());
        let id = self.ask(&path).id;
        assert!(self.approve(&id, person).unwrap().granted);
        let (approved, execution) = self.guard.consume(&id).unwrap();
        assert_eq!(run(approved), 1);
        self.guard.started(&execution).unwrap();
        assert!(matches!(self.guard.finished(execution, &done()).unwrap().phase, Phase::Done(_)));
    }
}

/// Somebody with an authenticator.
struct Person {
    name: String,
    key: Key,
}

impl Person {
    fn of(enrolment: &Enrolment) -> Self {
        Person { name: enrolment.name.clone(), key: Key::from_base32(&enrolment.secret) }
    }

    fn code(&self, now_s: u64) -> String {
        self.key.code(now_s)
    }

    /// A code of six digits that is none of those near now.
    fn wrong_code(&self, now_s: u64) -> String {
        let near: Vec<String> = (0..4).map(|i| self.code(now_s + 60 - i * 30)).collect();
        (0..).map(|n| format!("{n:06}")).find(|c| !near.contains(c)).unwrap()
    }
}

fn ballot(prompt: &Prompt, code: String) -> Ballot {
    Ballot {
        id: prompt.id.clone(),
        digest: prompt.digest.clone(),
        preview_sha256: prompt.preview_sha256.clone(),
        person: None,
        code,
        check: prompt.check.clone(),
        yes: true,
    }
}

fn asst() -> Principal {
    Principal::uid(7)
}

fn intent(path: &str) -> Intent {
    Intent {
        by: asst(),
        transport: Transport::Mcp,
        claimed: Some("claude".into()),
        command_id: CommandId::mint(),
        session: Some(SessionId::new("s-000000000001")),
        device: DeviceId::new("local"),
        device_name: "wks-01".into(),
        command: "remediate",
        args: serde_json::json!({"type": "file", "id": path}).to_string(),
        directory: Some(DevicePath::new(*b"/")),
        reason: Some("it is malware".into()),
    }
}

fn target(path: &str) -> FileTarget {
    FileTarget {
        path: DevicePath::new(path),
        identity: FileIdentity { device: 2049, inode: 42 },
        size_bytes: 5,
        sha256: Sha256::of(path.as_bytes()),
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        modified: Timestamp::from_unix(1_700_000_000, 0),
        links: 1,
        package: None,
    }
}

fn quarantine(path: &str) -> Step {
    Step::Quarantine { file: target(path), part_of: None }
}

fn disclose() -> Step {
    Step::Disclose {
        slice: Disclosure {
            sha256: Sha256::of(b"shadow"),
            path: DevicePath::new("/etc/shadow"),
            secret: "password hashes".into(),
            entry: None,
            offset: 0,
            length: 4096,
            r#as: "text".into(),
            r#match: None,
        },
    }
}

fn done() -> Outcome {
    Outcome { rows: Vec::new(), verified: Verified::Yes, end: End::Done, warnings: Vec::new() }
}

/// What a device would do: how many orders it got.
fn run(approved: Approved) -> usize {
    let device = approved.device().clone();
    approved.orders(&device).unwrap().count()
}

fn code<T>(result: Result<T>) -> ErrorCode {
    result.err().expect("should be refused").code
}
