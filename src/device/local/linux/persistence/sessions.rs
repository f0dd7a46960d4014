//! What a session starts, and the daemons that start programs on demand: XDG autostart, session scripts, D-Bus, inetd.

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{SCRIPT, directive, has_word, only};
use crate::device::local::linux::startup::Entry as Desktop;
use crate::error::Result;
use crate::model::DevicePath;
use crate::shape::Untrusted;

const AUTOSTART: [&str; 3] = ["/etc/xdg/autostart", "/usr/share/gnome/autostart", "/usr/share/autostart"];

pub fn autostart(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    entries(scan, found, scan.files_in(AUTOSTART), None)?;
    for home in &scan.homes {
        let folders = [".config/autostart", ".kde/Autostart"].map(|f| home.path.join(&DevicePath::new(f)));
        entries(scan, found, scan.files_in(folders.iter().map(DevicePath::as_bytes)), home.user.as_ref())?;
    }
    Ok(())
}

fn entries(scan: &Scan<'_>, found: &mut Found, files: Vec<DevicePath>, user: Option<&Untrusted>) -> Result<()> {
    for path in files.into_iter().filter(|p| p.as_bytes().ends_with(b".desktop")) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let entry = Desktop::parse(&item.text);
        let Some(exec) = &entry.exec else { continue };
        let dotted = path.name().as_bytes().first() == Some(&b'.');
        let mut row = Entry::of(&item).command(exec).user(user.cloned()).note_if(dotted, "a name that listings hide");
        for condition in &entry.conditions {
            row = row.note(Untrusted::from_bytes(condition).raw());
        }
        found.push(row);
    }
    Ok(())
}

/// Scripts of sessions, and the menu entries that a user has put over those of the system.
pub fn scripts(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let system = [
        "/etc/X11/Xsession.d",
        "/etc/X11/xinit/xinitrc.d",
        "/etc/X11/Xreset.d",
        "/etc/xdg/plasma-workspace/env",
        "/etc/xdg/plasma-workspace/shutdown",
        "/etc/gdm3/PreSession",
        "/etc/gdm3/PostSession",
        "/etc/gdm3/PostLogin",
        "/etc/gdm3/Init",
    ];
    let files = paths(&["/etc/X11/Xsession", "/etc/X11/xinit/xinitrc", "/etc/X11/xinit/xserverrc"]);
    found.files(scan, files.into_iter().chain(scan.files_in(system)), None, &SCRIPT)?;
    let own =
        [".xprofile", ".xinitrc", ".xserverrc", ".xsession", ".Xsession", ".xsessionrc", ".Xclients", ".vnc/xstartup"];
    found.home_files(scan, &own, &SCRIPT)?;
    for home in &scan.homes {
        let user = home.user.as_ref();
        let below = |name: &str| home.path.join(&DevicePath::new(name));
        let folders =
            [".config/plasma-workspace/env", ".config/plasma-workspace/shutdown", ".config/autostart-scripts"]
                .map(below);
        found.files(scan, scan.files_in(folders.iter().map(DevicePath::as_bytes)), user, &SCRIPT)?;
        entries(scan, found, scan.files_in([below(".local/share/applications").as_bytes()]), user)?;
    }
    Ok(())
}

/// Services that the buses start when they are asked for, and policies that allow all.
pub fn dbus(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let exec = only(|line| matches!(&directive(line).0[..], b"exec" | b"user" | b"systemdservice"));
    let system =
        ["/etc", "/run", "/usr/local/share", "/usr/share", "/lib"].map(|p| format!("{p}/dbus-1/system-services"));
    found.files(scan, scan.files_in(system), Some(&root()), &exec)?;
    let session = ["/etc", "/run", "/usr/local/share", "/usr/share"].map(|p| format!("{p}/dbus-1/services"));
    found.files(scan, scan.files_in(session), None, &exec)?;
    for home in &scan.homes {
        let folder = home.path.join(&DevicePath::new(".local/share/dbus-1/services"));
        found.files(scan, scan.files_in([folder.as_bytes()]), home.user.as_ref(), &exec)?;
    }
    let allows = only(|line| {
        has_word(line, &["<allow"]) && has_word(line, &["own=\"*\"", "send_destination=\"*\"", "own_prefix=\"*\""])
    });
    let policies = ["/etc/dbus-1/system.d", "/etc/dbus-1/session.d", "/usr/share/dbus-1/system.d"];
    found.files(scan, scan.files_in(policies), None, &allows)
}

pub fn inetd(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.files(scan, paths(&["/etc/inetd.conf"]), Some(&root()), &SCRIPT)?;
    found.files(scan, scan.files_in(["/etc/inetd.d"]), Some(&root()), &SCRIPT)?;
    let keys = only(|line| {
        let word = directive(line).0;
        matches!(&word[..], b"server" | b"server_args" | b"user" | b"port" | b"disable")
    });
    found.files(scan, paths(&["/etc/xinetd.conf"]), Some(&root()), &keys)?;
    found.files(scan, scan.files_in(["/etc/xinetd.d"]), Some(&root()), &keys)
}
