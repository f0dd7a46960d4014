//! What may not be put into a plan is refused, and what is put there is exact.

mod hive;
mod lines;
mod services;

use super::*;
use crate::device::local::linux::effect;
use crate::device::local::linux::own::OwnThings;
use crate::device::local::linux::users::Users;
use crate::guard::approved_for_test;
use crate::model::{DeviceId, End, NoSupply, Outcome, RemediatedQuery, Sha256, Verified};
use crate::private::scratch::Scratch;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

struct Case {
    home: Scratch,
    dir: Scratch,
    view: View,
    accounts: Accounts,
    settings: Settings,
    bus: Option<SystemdBus>,
    job: Job,
}

fn case() -> Case {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let own = Arc::new(OwnThings::new(home.to_path_buf(), Vec::new()));
    Case {
        view: View::host(own).unwrap(),
        accounts: Users::host().accounts(),
        settings: Settings {
            quarantine: Quarantine::new(&home),
            work_folder: WorkFolder::new(Some(dir.join("put"))),
            script_time_s: 60,
        },
        bus: None,
        home,
        dir,
        job: Job::default(),
    }
}

impl Case {
    fn steps(&self, wish: &Wish) -> Result<Vec<Step>> {
        let resolver = Resolver::new(&self.view, &self.accounts, &self.settings, self.bus.as_ref(), &self.job);
        Resolver { layout: Layout::below(&self.dir), ..resolver }.steps(wish)
    }

    fn files(&self, paths: &[&Path]) -> Result<Vec<Step>> {
        self.steps(&Wish::Remediate { kind: EntityKind::File, ids: paths.iter().map(|p| spoken(p)).collect() })
    }

    fn processes(&self, pids: &[u32]) -> Result<Vec<Step>> {
        self.steps(&Wish::Remediate { kind: EntityKind::Process, ids: pids.iter().map(ToString::to_string).collect() })
    }

    fn of(&self, kind: EntityKind, ids: &[&str]) -> Result<Vec<Step>> {
        self.steps(&Wish::Remediate { kind, ids: ids.iter().map(|id| (*id).to_owned()).collect() })
    }

    fn undo(&self, kind: EntityKind, id: &str) -> Result<Vec<Step>> {
        self.steps(&Wish::Undo { kind, ids: vec![id.into()] })
    }

    fn write(&self, name: &str, bytes: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn apply(&self, steps: Vec<Step>) -> Outcome {
        let device = DeviceId::new("local");
        let orders = approved_for_test(&device, steps).orders(&device).unwrap();
        let (store, bus) = (&self.settings.quarantine, self.bus.as_ref());
        let pack: &effect::Pack<'_> = &|_, _, _| unreachable!("no package is asked for");
        let ground = effect::Ground { store, bus, supply: &NoSupply, spill: &self.home, pack };
        effect::carry_out(orders, &ground, &self.job)
    }

    fn refused(&self, path: &Path) -> ErrorCode {
        let before = std::fs::symlink_metadata(path).is_ok();
        let code = self.files(&[path]).unwrap_err().code;
        assert_eq!(std::fs::symlink_metadata(path).is_ok(), before);
        code
    }

    /// A copy of `sleep` that runs from the case's directory.
    fn victim(&self, name: &str) -> Victim {
        let image = self.dir.join(name);
        if !image.exists() {
            std::fs::copy("/bin/sleep", &image).unwrap();
        }
        Victim::start(Command::new(image).arg("600"))
    }
}

fn spoken(path: &Path) -> String {
    DevicePath::new(path.as_os_str().as_bytes()).to_text().into_owned()
}

struct Victim(Child);

impl Victim {
    fn start(command: &mut Command) -> Victim {
        // Another test's fork may hold a fresh image open for writing for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match command.spawn() {
                Ok(child) => return Victim(child),
                Err(e)
                    if e.kind() == std::io::ErrorKind::ExecutableFileBusy && std::time::Instant::now() < deadline =>
                {
                    std::thread::yield_now();
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn gt_050_what_cannot_be_described_is_refused() {
    let case = case();
    case.write("file", "x");
    std::os::unix::fs::symlink("file", case.dir.join("link")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, case.dir.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(case.dir.join("socket")).unwrap();
    for name in [".", "link", "fifo", "socket", "*.exe", "fil?"] {
        assert_eq!(case.refused(&case.dir.join(name)), ErrorCode::Uninspectable, "{name}");
    }
    assert_eq!(case.refused(Path::new("/dev/null")), ErrorCode::Uninspectable);
    assert_eq!(case.refused(Path::new("/proc/version")), ErrorCode::Uninspectable);
    assert_eq!(case.refused(&case.dir.join("missing")), ErrorCode::NotFound);
    for bad in ["relative", "", "esc:\\q", "/a\0b"] {
        let wish = Wish::Remediate { kind: EntityKind::File, ids: vec![bad.into()] };
        assert_eq!(case.steps(&wish).unwrap_err().code, ErrorCode::BadArgs, "{bad:?}");
    }
}

#[test]
fn gt_175_own_things_are_refused_by_every_way() {
    let case = case();
    std::fs::write(case.home.join("secret"), "canary").unwrap();
    std::fs::hard_link(case.home.join("secret"), case.dir.join("hard")).unwrap();
    std::os::unix::fs::symlink(&*case.home, case.dir.join("dir")).unwrap();
    let binary = std::env::current_exe().unwrap();
    for path in [case.home.join("secret"), case.dir.join("hard"), case.dir.join("dir/secret"), binary] {
        assert_eq!(case.refused(&path), ErrorCode::SelfTarget, "{}", path.display());
    }
}

#[test]
fn what_the_host_runs_on_is_protected() {
    let case = case();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|l| l.find('/').map(|at| &l[at..])).find(|p| p.contains("libc"));
    for path in libc.into_iter().chain(["/bin/sh"]).filter_map(|p| std::fs::canonicalize(p).ok()) {
        assert_eq!(case.refused(&path), ErrorCode::Protected, "{}", path.display());
    }
    std::fs::create_dir(case.dir.join("lib")).unwrap();
    assert_eq!(case.refused(&case.write("lib/ld-linux-x86-64.so.2", "x")), ErrorCode::Protected);
}

#[test]
fn one_file_by_two_names_is_ambiguous() {
    let case = case();
    let file = case.write("file", "x");
    std::fs::hard_link(&file, case.dir.join("twin")).unwrap();
    for second in [file.clone(), case.dir.join("twin"), case.dir.join("./file")] {
        assert_eq!(case.files(&[&file, &second]).unwrap_err().code, ErrorCode::AmbiguousArgs);
    }
}

#[test]
fn an_immutable_file_says_so() {
    let case = case();
    let path = case.write("file", "x");
    let file = std::fs::File::open(&path).unwrap();
    let Ok(flags) = rustix::fs::ioctl_getflags(&file) else {
        println!("skipped: the file system has no flags");
        return;
    };
    if rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::IMMUTABLE).is_err() {
        println!("skipped: root sets the immutable flag");
        return;
    }
    let refused = case.files(&[&path]);
    rustix::fs::ioctl_setflags(&file, flags).unwrap();
    let e = refused.unwrap_err();
    assert_eq!(e.code, ErrorCode::Uninspectable);
    assert!(e.message.contains("immutable") && e.hint.unwrap().contains("chattr -i"));
}

#[test]
fn a_plan_names_the_file_exactly_by_its_real_path() {
    let case = case();
    std::fs::create_dir(case.dir.join("real")).unwrap();
    let path = case.write("real/evil", "payload");
    std::os::unix::fs::symlink("real", case.dir.join("way")).unwrap();
    let steps = case.files(&[&case.dir.join("way/evil")]).unwrap();
    let [Step::Quarantine { file, .. }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(file.path, DevicePath::new(std::fs::canonicalize(&path).unwrap().as_os_str().as_bytes()));
    assert_eq!((file.size_bytes, &file.sha256), (7, &Sha256::of(b"payload")));
    assert_eq!((file.links, file.package.as_deref()), (1, None));
}

#[test]
fn names_that_are_no_text_go_and_come_back() {
    let case = case();
    let path = case.dir.join(std::ffi::OsStr::from_bytes(b"evil\xff\n\x1b[2J"));
    std::fs::write(&path, "x").unwrap();
    let outcome = case.apply(case.files(&[&path]).unwrap());
    assert_eq!((&outcome.end, path.exists()), (&End::Done, false));
    let back = case.apply(case.undo(EntityKind::File, &spoken(&path)).unwrap());
    assert_eq!((&back.end, path.exists()), (&End::Done, true));
}

#[test]
fn undo_takes_the_path_the_undo_id_and_the_newest() {
    let case = case();
    let path = case.write("evil", "first");
    case.apply(case.files(&[&path]).unwrap());
    case.write("evil", "second");
    let newest = case.apply(case.files(&[&path]).unwrap());
    let by_path = case.undo(EntityKind::File, &spoken(&path)).unwrap();
    let id = newest.rows[0].undo_id.clone().unwrap();
    assert_eq!(by_path, case.undo(EntityKind::File, id.as_str()).unwrap());

    std::fs::write(&path, "in the way").unwrap();
    assert_eq!(case.undo(EntityKind::File, &spoken(&path)).unwrap_err().code, ErrorCode::Exists);
    std::fs::remove_file(&path).unwrap();
    let outcome = case.apply(by_path);
    assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes));
    assert_eq!(std::fs::read(&path).unwrap(), b"second");
    let e = case.undo(EntityKind::File, id.as_str()).unwrap_err();
    assert_eq!(e.code, ErrorCode::NotFound);
}

#[test]
fn undo_of_what_was_never_done_is_unknown() {
    let case = case();
    for (kind, id) in [
        (EntityKind::File, "/never/was"),
        (EntityKind::File, "u-0123456789abcdef"),
        (EntityKind::Process, "u-0123456789abcdef"),
        (EntityKind::Process, "4194999"),
    ] {
        let e = case.undo(kind, id).unwrap_err();
        assert_eq!(e.code, ErrorCode::NotFound, "{id}");
        assert!(e.hint.unwrap().contains("remediate list"));
    }
    for kind in [EntityKind::Service, EntityKind::ScheduledTask, EntityKind::Startup] {
        assert_eq!(case.undo(kind, "cron").unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(case.undo(kind, "u-0123456789abcdef").unwrap_err().code, ErrorCode::NotFound);
    }
}

#[test]
fn undo_names_each_deed_once() {
    let case = case();
    let path = case.write("evil", "x");
    let id = case.apply(case.files(&[&path]).unwrap()).rows[0].undo_id.clone().unwrap();
    let wish = Wish::Undo { kind: EntityKind::File, ids: vec![id.as_str().into(), spoken(&path)] };
    assert_eq!(case.steps(&wish).unwrap_err().code, ErrorCode::AmbiguousArgs);
}

#[test]
fn own_and_system_processes_are_refused() {
    let case = case();
    let parent = u32::try_from(rustix::process::getppid().unwrap().as_raw_nonzero().get()).unwrap();
    for pid in [1, std::process::id(), parent] {
        assert_eq!(case.processes(&[pid]).unwrap_err().code, ErrorCode::SelfTarget, "{pid}");
    }
    // pid 2 is kthreadd, where it can be seen at all.
    if proc::identity(2).is_ok_and(|p| p.is_kernel_thread) {
        assert_eq!(case.processes(&[2]).unwrap_err().code, ErrorCode::SelfTarget);
    }
    for bad in ["0", "-1", "+5", " 5", "0x5", "1e3", "٣", "", "99999999999", "4294967296"] {
        let wish = Wish::Remediate { kind: EntityKind::Process, ids: vec![bad.into()] };
        assert_eq!(case.steps(&wish).unwrap_err().code, ErrorCode::BadArgs, "{bad:?}");
    }
    assert_eq!(case.processes(&[4_194_999]).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn an_image_goes_after_its_last_process() {
    let case = case();
    let (a, b) = (case.victim("evil"), case.victim("evil"));
    let steps = case.processes(&[a.pid(), b.pid()]).unwrap();
    let kinds: Vec<&str> = steps
        .iter()
        .map(|s| match s {
            Step::Stop { keep_image: false, .. } => "stop",
            Step::Quarantine { .. } => "quarantine",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["stop", "stop", "quarantine"]);
    let outcome = case.apply(steps);
    assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes), "{outcome:?}");
    let back = case.undo(EntityKind::Process, &b.pid().to_string()).unwrap();
    assert_eq!(case.apply(back).end, End::Done);
    assert!(case.dir.join("evil").exists());
    assert_eq!(case.undo(EntityKind::Process, &a.pid().to_string()).unwrap_err().code, ErrorCode::Unsupported);
}

#[test]
fn an_image_that_others_run_stays() {
    let case = case();
    let (a, b) = (case.victim("shared"), case.victim("shared"));
    let steps = case.processes(&[a.pid()]).unwrap();
    let [Step::Stop { process, keep_image: false }] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(process.image_note.as_ref().unwrap().contains(&b.pid().to_string()));
    let outcome = case.apply(steps);
    assert!(outcome.rows[0].note.as_ref().unwrap().raw().contains("stays"), "{outcome:?}");
    assert!(case.dir.join("shared").exists());
}

#[test]
fn interpreters_and_packaged_images_stay() {
    let case = case();
    let interpreter = case.victim("python3.12");
    let packaged = Victim::start(Command::new("/bin/sleep").arg("600"));
    // Elsewhere nothing tells which package it is of.
    let has_dpkg = Path::new("/var/lib/dpkg/info").exists();
    for pid in [interpreter.pid(), packaged.pid()].into_iter().take(1 + usize::from(has_dpkg)) {
        let steps = case.processes(&[pid]).unwrap();
        let [Step::Stop { process, keep_image: false }] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(process.image_note.as_ref().unwrap().contains("stays"));
    }
}

#[test]
fn a_deleted_image_is_kept() {
    let case = case();
    let victim = case.victim("evil");
    std::fs::remove_file(case.dir.join("evil")).unwrap();
    let steps = case.processes(&[victim.pid()]).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Stop { keep_image: true, .. }]), "{steps:?}");
    assert_eq!(case.apply(steps).rows[0].outcome, "image_kept");
    let back = case.undo(EntityKind::Process, &victim.pid().to_string()).unwrap();
    assert_eq!(case.apply(back).end, End::Done);
    assert!(case.dir.join("evil").exists());
}

#[test]
fn a_plan_has_a_size_that_a_person_reads() {
    let case = case();
    for ids in [vec![], vec!["/x".to_owned(); 51]] {
        let wish = Wish::Remediate { kind: EntityKind::File, ids };
        assert_eq!(case.steps(&wish).unwrap_err().code, ErrorCode::BadArgs);
    }
}

#[test]
fn a_process_named_twice_is_ambiguous() {
    let case = case();
    let victim = case.victim("evil");
    assert_eq!(case.processes(&[victim.pid(), victim.pid()]).unwrap_err().code, ErrorCode::AmbiguousArgs);
}

#[test]
fn resolving_changes_nothing() {
    let case = case();
    let path = case.write("evil", "x");
    let before = std::fs::metadata(&path).unwrap();
    case.files(&[&path]).unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (before.accessed().unwrap(), before.modified().unwrap()),
        (after.accessed().unwrap(), after.modified().unwrap())
    );
    assert_eq!(std::fs::read_dir(&*case.home).unwrap().count(), 0);
    assert!(case.settings.quarantine.rows(&RemediatedQuery::default(), &case.job).unwrap().is_empty());
}

#[test]
fn a_cancelled_job_resolves_nothing() {
    let case = case();
    let path = case.write("evil", "x");
    case.job.cancel();
    assert_eq!(case.files(&[&path]).unwrap_err().code, ErrorCode::Cancelled);
}
