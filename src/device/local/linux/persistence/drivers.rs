//! Modules of the kernel that come back: what loads them, what runs in their place, files that no package has, and those
//! that hide.

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{SCRIPT, directive, only};
use crate::device::local::linux::drivers;
use crate::error::Result;
use crate::model::{DevicePath, Driver};

pub fn kernel_modules(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let loads = SCRIPT.comments(&[b"#", b";"]);
    let folders =
        ["/etc/modules-load.d", "/run/modules-load.d", "/usr/local/lib/modules-load.d", "/usr/lib/modules-load.d"];
    let lists = paths(&["/etc/modules"]).into_iter().chain(scan.files_in(folders));
    found.files(scan, lists, Some(&root()), &loads)?;
    let runs = only(|line| matches!(&directive(line).0[..], b"install" | b"remove"));
    let folders =
        ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];
    let configured = paths(&["/etc/modprobe.conf"]).into_iter().chain(scan.files_in(folders));
    found.files(scan, configured, Some(&root()), &runs)?;
    for driver in drivers::for_persistence(scan.view, scan.job)? {
        scan.job.check()?;
        push_driver(scan, found, &driver);
    }
    Ok(())
}

/// One that no package has, and one that hides or taints while it is loaded.
fn push_driver(scan: &Scan<'_>, found: &mut Found, driver: &Driver) {
    let loaded = driver.loaded == Some(true);
    let told = driver.tainted.as_ref().filter(|_| loaded);
    let is_owned = driver.path.as_ref().is_some_and(|path| scan.packages.verdict(path, None).packaged() != Some(false));
    if is_owned && told.is_none() {
        return;
    }
    let item = driver.path.as_ref().and_then(|path| scan.look_at_program(path));
    let place = || DevicePath::new("/sys/module").join(&DevicePath::new(driver.name.raw()));
    let entry = item.as_ref().map_or_else(|| Entry::at(place()), Entry::of);
    let entry = entry.name(driver.name.raw()).root().note_if(loaded, "loaded");
    let entry = match told {
        Some(told) => entry.note(told.raw()),
        None => entry,
    };
    found.push(entry.note_if(driver.signed == Some(false), "not signed"));
}

/// Modules that are built again for every kernel, by what their `dkms.conf` runs.
pub fn dkms(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let runs = only(|line| {
        let (word, value) = directive(line);
        let starts = |begin: &[u8]| word.starts_with(begin);
        !value.is_empty()
            && (starts(b"make")
                || starts(b"clean")
                || starts(b"pre_")
                || starts(b"post_")
                || starts(b"built_module_name"))
    });
    let is_config = |path: &DevicePath| matches!(path.name().as_bytes(), b"dkms.conf" | b"dkms_dbversion");
    let trees = scan.files_below(["/usr/src", "/var/lib/dkms"], 4).into_iter().filter(is_config);
    let framework =
        paths(&["/etc/dkms/framework.conf"]).into_iter().chain(scan.files_in(["/etc/dkms/framework.conf.d"]));
    found.files(scan, trees.chain(framework), Some(&root()), &runs)
}
