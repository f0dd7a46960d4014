//! A folder that becomes a link, bytes that change, a name that is taken: no byte lands anywhere else.

use super::*;
use crate::device::local::linux::effect::{Ground, Pack, Quarantine, carry_out};
use crate::guard::approved_for_test;
use crate::model::{DeviceId, End, ItemKind, ItemName, Outcome, Sha256};
use crate::private::scratch::Scratch;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the library gives out, whatever was asked for.
struct Gives(&'static [u8], Scratch);

impl Supply for Gives {
    fn open(&self, _: &Sha256) -> Result<File> {
        let path = self.1.join("object");
        std::fs::write(&path, self.0).unwrap();
        Ok(File::open(path).unwrap())
    }
}

fn step(path: &Path) -> Step {
    let item = LibraryItem {
        name: ItemName::parse("tool.sh").unwrap(),
        sha256: Sha256::of(b"tool"),
        size_bytes: 4,
        kind: ItemKind::Shell,
        interpreter: None,
        signer: None,
    };
    Step::Put { item, path: DevicePath::new(path.as_os_str().as_bytes()), keep: true }
}

fn apply(home: &Path, step: Step, supply: &dyn Supply) -> Outcome {
    let device = DeviceId::new("local");
    let orders = approved_for_test(&device, vec![step]).orders(&device).unwrap();
    let pack: &Pack<'_> = &|_, _, _| unreachable!("no package is asked for");
    let ground = Ground { store: &Quarantine::new(home), bus: None, supply, spill: home, pack };
    carry_out(orders, &ground, &Job::default())
}

fn real(dir: &Scratch) -> std::path::PathBuf {
    std::fs::canonicalize(&**dir).unwrap()
}

#[test]
fn other_bytes_than_were_approved_leave_nothing() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    for bytes in [&b"tooL"[..], b"tool and more", b""] {
        let outcome = apply(&home, step(&real(&dir).join("tool.sh")), &Gives(bytes, Scratch::new()));
        assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
        assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 0);
    }
}

#[test]
fn what_took_the_name_stays() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = real(&dir).join("tool.sh");
    let target = dir.join("elsewhere");
    for plant in [0, 1, 2] {
        match plant {
            0 => std::fs::write(&path, "first").unwrap(),
            1 => symlink(&target, &path).unwrap(),
            _ => std::fs::create_dir(&path).unwrap(),
        }
        let outcome = apply(&home, step(&path), &Gives(b"tool", Scratch::new()));
        assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
        assert!(!target.exists());
        match plant {
            2 => std::fs::remove_dir(&path).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        }
    }
}

#[test]
fn a_folder_that_others_may_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let (home, dir) = (Scratch::new(), Scratch::new());
    let folder = real(&dir).join("open");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let outcome = apply(&home, step(&folder.join("tool.sh")), &Gives(b"tool", Scratch::new()));
    assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn gt_128_a_folder_that_becomes_a_link_in_a_race_lets_no_byte_out() {
    const ROUNDS: usize = 1_000;
    let (home, dir, outside) = (Scratch::new(), Scratch::new(), Scratch::new());
    let (base, stop) = (real(&dir), AtomicBool::new(false));
    let (folder, aside) = (base.join("kept"), base.join("aside"));
    std::fs::create_dir(&folder).unwrap();
    symlink(&*outside, &aside).unwrap();
    let private = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    };
    private(&folder);
    let supply = Gives(b"tool", Scratch::new());
    let (mut put, mut refused) = (0, 0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &folder,
                    rustix::fs::CWD,
                    &aside,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        });
        for _ in 0..ROUNDS {
            match apply(&home, step(&folder.join("tool.sh")), &supply).end {
                End::Done => put += 1,
                _ => refused += 1,
            }
            assert_eq!(std::fs::read_dir(&*outside).unwrap().count(), 0);
            for place in [&folder, &aside] {
                if rustix::fs::lstat(place).is_ok_and(|s| s.st_mode & 0o170_000 == 0o040_000) {
                    let _ = std::fs::remove_file(place.join("tool.sh"));
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(put + refused, ROUNDS);
}
