//! Lists that agree and that do not, and real modules.

use super::super::units::tests::Root;
use super::*;

fn found(root: &Root) -> Vec<Driver> {
    let sources = Sources::new(&root.view, &root.job);
    let rows = rows(&sources, Some(b"6.1")).unwrap();
    sources.finish();
    rows
}

fn row<'r>(rows: &'r [Driver], name: &str) -> &'r Driver {
    rows.iter().find(|r| r.name.raw() == name).unwrap_or_else(|| panic!("no {name}"))
}

fn tainted(row: &Driver) -> Option<&str> {
    row.tainted.as_ref().map(Untrusted::raw)
}

#[test]
fn a_module_that_one_list_hides_is_told() {
    let root = Root::new();
    root.write(
        "/proc/modules",
        "good 16384 1 user,other, Live 0x0\nghost 1 0 - Live 0x0 (OE)\nperm 1 0 [permanent], Live 0x0\n",
    );
    for name in ["good", "perm", "hider"] {
        root.write(&format!("/sys/module/{name}/initstate"), "live\n");
    }
    root.write("/sys/module/good/version", "1.2\n");
    root.write("/sys/module/hider/taint", "PO\n");
    root.write("/sys/module/builtin/parameters/x", "1\n");
    let rows = found(&root);
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|r| r.loaded == Some(true)));
    let good = row(&rows, "good");
    assert_eq!((tainted(good), good.version.as_ref().unwrap().raw()), (None, "1.2"));
    assert_eq!(good.used_by.iter().map(Untrusted::raw).collect::<Vec<_>>(), ["user", "other"]);
    assert!(row(&rows, "perm").used_by.is_empty());
    assert_eq!(
        tainted(row(&rows, "hider")),
        Some("hidden: in /sys/module, not in /proc/modules; PO: proprietary, out of tree")
    );
    assert_eq!(
        tainted(row(&rows, "ghost")),
        Some("hidden: in /proc/modules, not in /sys/module; OE: out of tree, unsigned")
    );
}

#[test]
fn files_of_the_running_release_and_broken_ones() {
    let root = Root::new();
    root.write("/proc/modules", "snd_pcm 1 0 - Live 0x0\n");
    root.write("/sys/module/snd_pcm/initstate", "live\n");
    root.write("/lib/modules/6.1/kernel/sound/snd-pcm.ko.xz", "broken");
    root.write("/lib/modules/6.1/kernel/other.ko", "not opened");
    root.write("/lib/modules/6.1/updates/evil.ko", "\x7fELF broken");
    root.write("/lib/modules/6.0/kernel/old.ko", "");
    root.link("/lib/modules/6.1/loop", ".");
    root.link("/usr/lib/modules", "../../lib/modules");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path("/lib/modules/6.1/kernel/fifo.ko"), rustix::fs::Mode::RUSR)
        .unwrap();
    let rows = found(&root);
    let names: Vec<_> = rows.iter().map(|r| (r.name.raw(), r.loaded, r.size_bytes)).collect();
    assert_eq!(
        names,
        [("snd_pcm", Some(true), Some(6)), ("evil", Some(false), Some(11)), ("other", Some(false), Some(10))]
    );
    let warnings = root.job.take_warnings().join("\n");
    assert!(warnings.contains("snd-pcm") && warnings.contains("evil") && !warnings.contains("other"), "{warnings}");
}

#[test]
fn a_kernel_without_modules_is_said() {
    let root = Root::new();
    assert_eq!(found(&root), []);
    assert!(root.job.take_warnings()[0].contains("no modules"));
}

#[test]
fn real_modules_tell_their_version_and_signer() {
    let Some(modules) = crate::tools::corpus("modules") else { return };
    let own = std::sync::Arc::new(super::super::own::OwnThings::new("/nonexistent".into(), Vec::new()));
    let view = View::image(&modules, own).unwrap();
    let job = Job::default();
    let sources = Sources::new(&view, &job);
    let listed = rows(&sources, None).unwrap();
    let dummy = row(&listed, "dummy");
    assert!(dummy.size_bytes > Some(1_000) && dummy.loaded.is_none(), "{dummy:?}");
    let info = info(&sources, dummy.path.as_ref().unwrap()).unwrap().unwrap();
    assert!(info.signed, "{info:?}");
    let signer = String::from_utf8(info.signer.unwrap()).unwrap();
    assert!(signer.contains("Debian") || signer.contains("kernel"), "{signer}");
}
