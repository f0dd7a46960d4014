//! What desktops run beside their autostart: extensions, screen savers, scripts of file managers, thumbnailers.

use super::scan::{Found, Scan, paths, root};
use super::text::{SCRIPT, directive, has_word, only};
use crate::error::Result;
use crate::model::DevicePath;

pub fn hooks(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let script = SCRIPT.comments(&[b"//", b"/*", b"*"]);
    let exec = only(|line| matches!(&directive(line).0[..], b"exec" | b"execstart" | b"tryexec"));
    let is = |path: &DevicePath, ending: &[u8]| path.name().as_bytes().ends_with(ending);
    let system = scan.files_below(["/usr/share/gnome-shell/extensions", "/usr/local/share/gnome-shell/extensions"], 2);
    found.files(scan, system.into_iter().filter(|p| is(p, b"extension.js")), None, &script)?;
    let services =
        ["/usr/share/dbus-1/accessibility-services", "/usr/share/thumbnailers", "/usr/local/share/thumbnailers"];
    found.files(scan, scan.files_in(services), None, &exec)?;
    let xfce = only(|line| {
        has_word(line, &["type=\"string\" value=\"/", "command", "exec", "savermode"])
            && has_word(line, &["value=\"/", "command", ".sh", "sh -c"])
    });
    let udisks = only(|line| has_word(line, &["exec", "suid", "_command"]) && line.contains(&b'='));
    found.files(
        scan,
        paths(&["/etc/udisks2/udisks2.conf", "/etc/udisks2/mount_options.conf"]),
        Some(&root()),
        &udisks,
    )?;
    let saver = only(|line| {
        has_word(
            line,
            &["programs:", "programs.", "- root", "newlogincommand", "grabdesktopimages", "textprogram", "texturl"],
        ) && line.contains(&b':')
    });
    found.home_files(scan, &[".xscreensaver"], &saver)?;
    for home in &scan.homes {
        let below =
            |name: &str, depth: u32| scan.files_below([home.path.join(&DevicePath::new(name)).as_bytes()], depth);
        let user = home.user.as_ref();
        let extensions = below(".local/share/gnome-shell/extensions", 2);
        found.files(scan, extensions.into_iter().filter(|p| is(p, b"extension.js")), user, &script)?;
        let xml = below(".config/xfce4", 5).into_iter().filter(|p| is(p, b".xml") || is(p, b".rc"));
        found.files(scan, xml, user, &xfce)?;
        found.files(scan, below(".local/share/nautilus/scripts", 3), user, &SCRIPT)?;
        found.files(scan, below(".config/caja/scripts", 3), user, &SCRIPT)?;
        found.files(scan, below(".local/share/nautilus-python/extensions", 2), user, &SCRIPT)?;
        found.files(scan, below(".local/share/thumbnailers", 1), user, &exec)?;
        found.files(scan, below(".local/share/kio/servicemenus", 1), user, &exec)?;
        found.files(
            scan,
            below(".local/share/plasma/plasmoids", 6).into_iter().filter(|p| is(p, b".qml")),
            user,
            &script,
        )?;
    }
    Ok(())
}
