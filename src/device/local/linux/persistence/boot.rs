//! What runs before and with the system's start: boot loader, initramfs, cloud-init.

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{SCRIPT, has_word, only};
use crate::error::Result;
use crate::model::DevicePath;

/// Kernel arguments that start something else, or take a protection away.
const ODD_ARGUMENTS: &[&str] = &[
    "init=",
    "rd.break",
    "systemd.debug",
    "systemd.unit=",
    "systemd.wants=",
    "systemd.run",
    "systemd.setenv",
    "single",
    "emergency",
    "modules_load=",
    "module.sig_enforce=0",
    "selinux=0",
    "enforcing=0",
    "apparmor=0",
    "audit=0",
    "lockdown=none",
    "mitigations=off",
    "nokaslr",
    "initcall_blacklist",
];

fn has_odd_argument(line: &[u8]) -> bool {
    let words = || line.split(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\''));
    words().any(|word| {
        ODD_ARGUMENTS.iter().any(|odd| match odd.ends_with('=') || odd.contains('.') || odd.contains('_') {
            true => word.starts_with(odd.as_bytes()),
            false => word == odd.as_bytes(),
        })
    })
}

fn boots_oddly(line: &[u8]) -> bool {
    let (word, _) = super::text::directive(line);
    matches!(&word[..], b"linux" | b"linux16" | b"linuxefi" | b"linuxboot" | b"options" | b"append" | b"kernel")
        && has_odd_argument(line)
}

pub fn loader(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let settings = paths(&["/etc/default/grub"]).into_iter().chain(scan.files_in(["/etc/default/grub.d"]));
    for path in settings.chain(scan.files_in(["/etc/grub.d"])) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &SCRIPT) else { continue };
        let odd = SCRIPT.lines(&item.text).iter().any(|l| {
            l.starts_with(b"GRUB_CMDLINE") && has_odd_argument(l.splitn(2, |b| *b == b'=').nth(1).unwrap_or_default())
        });
        found.push(Entry::of(&item).lines(&lines).root().note_if(odd, "odd kernel arguments"));
    }
    let mut menus = paths(&[
        "/boot/grub/grub.cfg",
        "/boot/grub2/grub.cfg",
        "/boot/grub/custom.cfg",
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/syslinux.cfg",
        "/boot/cmdline.txt",
    ]);
    menus.extend(scan.files_in(["/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries"]));
    found.files(scan, menus, Some(&root()), &only(boots_oddly))?;
    found.files(scan, paths(&["/etc/kernel/cmdline"]), Some(&root()), &only(has_odd_argument))?;
    let hooks = [
        "/etc/kernel/preinst.d",
        "/etc/kernel/postinst.d",
        "/etc/kernel/prerm.d",
        "/etc/kernel/postrm.d",
        "/etc/kernel/install.d",
        "/usr/lib/kernel/install.d",
    ];
    found.files(scan, scan.files_in(hooks), Some(&root()), &SCRIPT)
}

/// The scripts of SysV init, and what its run levels start from elsewhere.
pub fn init_scripts(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.files(scan, scan.files_in(["/etc/init.d", "/etc/rc.d/init.d"]), Some(&root()), &SCRIPT)?;
    let levels = ["0", "1", "2", "3", "4", "5", "6", "S"];
    let folders = levels.iter().flat_map(|l| [format!("/etc/rc{l}.d"), format!("/etc/rc.d/rc{l}.d")]);
    found.files(scan, scan.files_in(folders), Some(&root()), &SCRIPT)
}

pub fn rc_local(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for path in paths(&["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local"]) {
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &SCRIPT) else { continue };
        let off = !item.is_executable();
        found.push(Entry::of(&item).lines(&lines).root().note_if(off, "not executable: it does not run"));
    }
    Ok(())
}

pub fn initramfs(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let trees = [
        "/etc/initramfs-tools/hooks",
        "/etc/initramfs-tools/scripts",
        "/usr/share/initramfs-tools/hooks",
        "/usr/share/initramfs-tools/scripts",
        "/etc/initramfs/post-update.d",
        "/usr/lib/dracut/modules.d",
        "/etc/initcpio/hooks",
        "/etc/initcpio/install",
    ];
    found.files(scan, scan.files_below(trees, 4), Some(&root()), &SCRIPT)?;
    let conf = only(|line| {
        has_word(
            line,
            &[
                "install_items",
                "install_optional_items",
                "add_dracutmodules",
                "add_drivers",
                "fscks",
                "early_microcode",
                "hooks=",
                "binaries=",
            ],
        )
    });
    let files = paths(&["/etc/dracut.conf", "/etc/mkinitcpio.conf"])
        .into_iter()
        .chain(scan.files_in(["/etc/dracut.conf.d", "/usr/lib/dracut/dracut.conf.d"]));
    found.files(scan, files, Some(&root()), &conf)
}

pub fn cloud_init(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let mut scripts = scan.files_below(["/var/lib/cloud/scripts"], 4);
    let instances: Vec<DevicePath> = scan.dir("/var/lib/cloud/instances").into_iter().map(|(path, _)| path).collect();
    let mut data = Vec::new();
    for instance in instances.iter().chain([
        &DevicePath::new("/var/lib/cloud/instance"),
        &DevicePath::new("/var/lib/cloud/seed/nocloud"),
        &DevicePath::new("/var/lib/cloud/seed/nocloud-net"),
    ]) {
        scripts.extend(scan.files_below([instance.join(&DevicePath::new("scripts")).as_bytes()], 2));
        for name in ["user-data.txt", "vendor-data.txt", "vendor-data2.txt", "user-data", "vendor-data"] {
            data.push(instance.join(&DevicePath::new(name)));
        }
    }
    found.files(scan, scripts, Some(&root()), &SCRIPT)?;
    let settings = paths(&["/etc/cloud/cloud.cfg"]).into_iter().chain(scan.files_in(["/etc/cloud/cloud.cfg.d"]));
    for path in settings.chain(data) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let runs = |l: &Vec<u8>| {
            [
                &b"runcmd:"[..],
                b"bootcmd:",
                b"write_files:",
                b"#!",
                b"#include",
                b"#cloud-boothook",
                b"#part-handler",
                b"Content-Type: text/x-shellscript",
            ]
            .iter()
            .any(|w| l.starts_with(w))
        };
        if !item.text.split(|b| *b == b'\n').map(|l| l.trim_ascii().to_vec()).any(|l| runs(&l)) {
            continue;
        }
        if let Some(lines) = scan.lines(&item, &SCRIPT) {
            let twice = item.real_path != path;
            if !twice {
                found.push(Entry::of(&item).lines(&lines).root());
            }
        }
    }
    Ok(())
}
