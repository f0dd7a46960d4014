//! The script library against who would run what nobody approved.

use super::*;
use crate::guard::library::{ScriptBallot, ScriptPrompt, Shelved, Upload};
use crate::model::{FileIdentity, Interpreter, ItemKind, ItemName, LibraryItem, ProgramTarget};

const UNSIGNED: &str = "version = 1\n[defaults]\nallow_unsigned_scripts = true\n[[rule]]\n\
    commands = [\"run\", \"putfile\", \"library\", \"remediate\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";

fn item(name: &str, text: &str) -> LibraryItem {
    LibraryItem {
        name: ItemName::parse(name).unwrap(),
        sha256: Sha256::of(text.as_bytes()),
        size_bytes: text.len() as u64,
        kind: ItemKind::Shell,
        interpreter: Some(Interpreter { program: "bash".into(), options: Vec::new() }),
        signer: None,
    }
}

fn run_of(script: &LibraryItem) -> Step {
    Step::Run {
        script: script.clone(),
        interpreter: DevicePath::new("/bin/bash"),
        program: Some(ProgramTarget {
            identity: FileIdentity { device: 0x801, inode: 7 },
            size_bytes: 4,
            sha256: Sha256::of(b"bash"),
        }),
        parameters: vec!["a b".into()],
        directory: DevicePath::new("/"),
        user: "root".into(),
        time_limit_s: 60,
        output_max: 100,
    }
}

fn intent_to_run(name: &str) -> Intent {
    Intent { command: "run", args: serde_json::json!({ "script": name }).to_string(), ..intent("/") }
}

impl Bench {
    fn unsigned() -> (Self, Person) {
        Self::with_policy(Some(UNSIGNED)).enrolled()
    }

    fn add(&self, name: &str, text: &str, overwrite: bool) -> Result<Shelved> {
        self.guard.upload(Upload { item: item(name, text), signature: None, description: None, overwrite })
    }

    fn screen(&self, name: &str, text: &str) -> ScriptPrompt {
        self.guard.show_script(&ItemName::parse(name).unwrap(), Some(text.as_bytes())).unwrap()
    }

    fn approve_script(&self, prompt: &ScriptPrompt, code: String) -> Result<Shelved> {
        self.guard.approve_script(&ScriptBallot {
            name: prompt.name.clone(),
            sha256: prompt.sha256.clone(),
            preview_sha256: prompt.preview_sha256.clone(),
            person: Some("alex".into()),
            code,
        })
    }

    /// Added and approved.
    fn shelve(&self, name: &str, text: &str, person: &Person) -> LibraryItem {
        self.add(name, text, false).unwrap();
        let prompt = self.screen(name, text);
        self.clock.advance_ms(2_000);
        let item = self.approve_script(&prompt, person.code(self.now_s())).unwrap().item;
        self.next_code();
        item
    }

    fn run(&self, script: &LibraryItem) -> Result<RequestView> {
        self.guard.submit(intent_to_run(script.name.as_str()), vec![run_of(script)])
    }
}

#[test]
fn gt_120_what_was_uploaded_and_not_approved_does_not_run() {
    let (bench, alex) = Bench::unsigned();
    let script = bench.add("tool.sh", "echo", false).unwrap().item;
    assert_eq!(code(bench.guard.may_use(&script)), ErrorCode::ScriptNotApproved);
    assert_eq!(code(bench.run(&script)), ErrorCode::ScriptNotApproved);
    let put = vec![Step::Put { item: script.clone(), path: DevicePath::new("/w/tool.sh"), keep: false }];
    let asked = Intent { command: "putfile", ..intent_to_run("tool.sh") };
    assert_eq!(code(bench.guard.submit(asked, put)), ErrorCode::ScriptNotApproved, "GT-132");
    assert_eq!((bench.count("library.uploaded"), bench.count("request.created")), (1, 0));
    bench.still_works(&alex);
}

#[test]
fn gt_122_an_unsigned_script_does_not_run_though_a_person_approved_it() {
    let (bench, alex) = Bench::new().enrolled();
    let script = bench.shelve("tool.sh", "echo", &alex);
    assert_eq!(code(bench.run(&script)), ErrorCode::UnsignedScript);
    let signed = LibraryItem { signer: Some("RW…".into()), ..script };
    assert!(bench.run(&signed).is_ok());
}

#[test]
fn gt_027_new_bytes_under_the_name_void_what_waits_and_what_is_approved() {
    for approved_first in [false, true] {
        let (bench, alex) = Bench::unsigned();
        let script = bench.shelve("tool.sh", "echo", &alex);
        let id = bench.run(&script).unwrap().id;
        if approved_first {
            assert!(bench.approve(&id, &alex).unwrap().granted);
        }
        bench.add("tool.sh", "rm -rf /", true).unwrap();
        let view = bench.guard.request(&id, &asst()).unwrap();
        assert!(matches!(view.phase, Phase::Invalidated(ErrorCode::ScriptDrift)), "{view:?}");
        bench.next_code();
        assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::ScriptDrift);
        assert_eq!(code(bench.guard.consume(&id)), ErrorCode::ScriptDrift);
        let line: serde_json::Value = serde_json::from_str(&bench.last("request.invalidated").line).unwrap();
        let detail = &line["detail"];
        assert_eq!(detail["why"], "script_hash");
        assert_eq!(detail["old"], Sha256::of(b"echo").as_str());
        assert_eq!(detail["new"], Sha256::of(b"rm -rf /").as_str());
        // Neither version runs: the new one is approved by nobody.
        assert_eq!(code(bench.run(&item("tool.sh", "rm -rf /"))), ErrorCode::ScriptNotApproved);
        assert_eq!(code(bench.run(&script)), ErrorCode::ScriptDrift);
        assert_eq!(bench.count("exec.consumed"), 0);
        bench.still_works(&alex);
    }
}

#[test]
fn a_script_that_is_taken_out_voids_what_waits() {
    let (bench, alex) = Bench::unsigned();
    let script = bench.shelve("tool.sh", "echo", &alex);
    let id = bench.run(&script).unwrap().id;
    bench.guard.unshelve(&script.name).unwrap();
    assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::ScriptDrift);
    assert_eq!(code(bench.run(&script)), ErrorCode::NotFound);
    // The same bytes under the same name are a new script.
    bench.add("tool.sh", "echo", false).unwrap();
    assert_eq!(code(bench.run(&script)), ErrorCode::ScriptNotApproved);
}

#[test]
fn an_approval_is_for_what_was_shown_and_needs_a_factor_of_its_own() {
    let (bench, alex) = Bench::unsigned();
    bench.add("tool.sh", "echo", false).unwrap();
    let prompt = bench.screen("tool.sh", "echo");
    assert_eq!(code(bench.approve_script(&prompt, alex.code(bench.now_s()))), ErrorCode::TooFast);
    bench.clock.advance_ms(2_000);
    let now = bench.now_s();
    assert_eq!(code(bench.approve_script(&prompt, alex.wrong_code(now))), ErrorCode::FactorInvalid);
    assert_eq!(code(bench.approve_script(&prompt, String::new())), ErrorCode::FactorInvalid);
    let unseen = ScriptPrompt { preview_sha256: Sha256::of(b"x"), ..prompt.clone() };
    assert_eq!(code(bench.approve_script(&unseen, alex.code(now))), ErrorCode::TooFast);
    // Replaced between the look and the code.
    bench.add("tool.sh", "rm -rf /", true).unwrap();
    assert_eq!(code(bench.approve_script(&prompt, alex.code(now))), ErrorCode::ScriptDrift);
    assert_eq!(bench.count("library.approved"), 0);
    assert_eq!(bench.count("library.approval_rejected"), 5);
    // Bytes that are not those of the name are not shown for it.
    let name = ItemName::parse("tool.sh").unwrap();
    assert_eq!(code(bench.guard.show_script(&name, Some(b"echo"))), ErrorCode::ScriptDrift);

    let prompt = bench.screen("tool.sh", "rm -rf /");
    bench.clock.advance_ms(2_000);
    let code_now = alex.code(bench.now_s());
    let approved = bench.approve_script(&prompt, code_now.clone()).unwrap();
    assert!(approved.approved.is_some_and(|a| a.same_person && a.person == "alex"));
    // One code, one yes.
    let id = bench.run(&approved.item).unwrap().id;
    let shown = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    assert_eq!(code(bench.guard.vote(ballot(&shown, code_now))), ErrorCode::FactorReused);
}

#[test]
fn gt_119_the_right_to_run_is_not_the_right_to_upload() {
    let own = rustix::process::geteuid().as_raw();
    let with = |roles: &str| {
        let principal = format!("[[principal]]\nname = \"own\"\nuid = {own}\nroles = [{roles}]\n");
        Bench::with_policy(Some(&format!("{UNSIGNED}{principal}"))).enrolled()
    };
    let (bench, _) = with("\"responder-advanced\"");
    assert_eq!(code(bench.add("tool.sh", "echo", false)), ErrorCode::Scope);
    assert_eq!(bench.reasons("library.upload_rejected"), ["E_SCOPE"]);

    let (bench, alex) = with("\"responder-advanced\", \"library-author\"");
    let script = bench.add("tool.sh", "echo", false).unwrap().item;
    let prompt = bench.screen("tool.sh", "echo");
    bench.clock.advance_ms(2_000);
    assert_eq!(code(bench.approve_script(&prompt, alex.code(bench.now_s()))), ErrorCode::Scope);
    assert_eq!(bench.reasons("library.approval_rejected"), ["E_SCOPE"]);
    assert_eq!(code(bench.guard.may_use(&script)), ErrorCode::ScriptNotApproved);

    // Where roles are given and there is somebody else, nobody approves what he added himself.
    let (bench, alex) = with("\"library-author\", \"library-approver\"");
    bench.guard.enroll("sam", Some(("alex", &alex.code(bench.now_s())))).unwrap();
    bench.next_code();
    bench.add("tool.sh", "echo", false).unwrap();
    let prompt = bench.screen("tool.sh", "echo");
    bench.clock.advance_ms(2_000);
    assert_eq!(code(bench.approve_script(&prompt, alex.code(bench.now_s()))), ErrorCode::SelfApproval);
}

#[test]
fn names_that_some_system_takes_for_one_are_refused() {
    let (bench, _) = Bench::unsigned();
    bench.add("Tool.sh", "echo", false).unwrap();
    assert_eq!(code(bench.add("tool.SH", "echo", true)), ErrorCode::Exists);
    assert_eq!(code(bench.add("Tool.sh", "other", false)), ErrorCode::Exists);
    assert_eq!(bench.reasons("library.upload_rejected"), ["E_EXISTS", "E_EXISTS"]);
    assert_eq!(bench.guard.library().unwrap().len(), 1);
}

#[test]
fn a_delete_takes_out_what_was_approved_and_nothing_else() {
    let (bench, alex) = Bench::unsigned();
    let script = bench.add("tool.sh", "echo", false).unwrap().item;
    let asked = Intent { command: "library", ..intent_to_run("tool.sh") };
    let id = bench.guard.submit(asked, vec![Step::DeleteScript { item: script.clone() }]).unwrap().id;
    bench.approve(&id, &alex).unwrap();
    let (approved, _) = bench.guard.consume(&id).unwrap();
    assert!(approved.is_of_library());
    let device = approved.device().clone();
    bench.add("tool.sh", "other", true).unwrap();
    for order in approved.orders(&device).unwrap() {
        assert_eq!(code(bench.guard.delete_script(order)), ErrorCode::ScriptDrift);
    }
    assert_eq!(bench.guard.library().unwrap().len(), 1);
    for order in approved_for_test(&device, vec![quarantine("/x")]).orders(&device).unwrap() {
        assert_eq!(code(bench.guard.delete_script(order)), ErrorCode::Internal);
    }
}

#[test]
fn the_library_outlasts_a_new_segment_and_a_new_process() {
    let (bench, alex) = Bench::unsigned();
    let script = bench.shelve("tool.sh", "echo", &alex);
    let fill = "x".repeat(1 << 20);
    for _ in 0..9 {
        bench.guard.log.note(crate::audit::Record::new("output.returned").detail(&fill)).unwrap();
    }
    bench.add("other.sh", "echo", false).unwrap();
    assert_eq!(crate::audit::verify(&bench.home.join("audit"), None).unwrap().segments, 2);
    let other = bench.other();
    assert!(other.may_use(&script).is_ok());
    assert_eq!(other.library().unwrap(), bench.guard.library().unwrap());
}

#[test]
fn the_screen_of_a_run_has_each_parameter_on_a_line_of_its_own() {
    let (bench, alex) = Bench::unsigned();
    let script = bench.shelve("tool.sh", "echo", &alex);
    let mut step = run_of(&script);
    if let Step::Run { parameters, .. } = &mut step {
        *parameters = vec!["-x".into(), "a    b\u{202e}".into(), String::new()];
    }
    let id = bench.guard.submit(intent_to_run("tool.sh"), vec![step]).unwrap().id;
    let prompt = bench.guard.show(&id).unwrap();
    for line in
        ["library file    tool.sh", script.sha256.as_str(), "/bin/bash", "  1             -x", "runs as         root"]
    {
        assert!(prompt.text.contains(line), "no {line:?} in {}", prompt.text);
    }
    assert!(prompt.text.contains(r"a\x20\x20\x20\x20b\u{202e}") || prompt.text.contains(r"\u202e"), "{}", prompt.text);
    assert_eq!(prompt.check.as_deref(), Some("wks-01"), "a run cannot be undone");
    assert!(prompt.flags.contains(&"direction_control"));
}
