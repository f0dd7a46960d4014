//! Hooks: what runs when something else happens: a sign-in, a device, a network, a package, a log, a mail.

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{SCRIPT, Style, directive, has_word, only};
use crate::error::Result;
use crate::model::DevicePath;
use memchr::memmem::find;

/// Scripts of folders whose runner takes executable files alone.
fn scripts(scan: &Scan<'_>, found: &mut Found, files: Vec<DevicePath>) -> Result<()> {
    for path in files {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &SCRIPT) else { continue };
        let sleeps = !item.is_executable();
        found.push(Entry::of(&item).lines(&lines).root().note_if(sleeps, "not executable: does not run"));
    }
    Ok(())
}

/// Whole files of which only those that have one of the words start code.
fn with_words(scan: &Scan<'_>, found: &mut Found, files: Vec<DevicePath>, style: &Style, words: &[&str]) -> Result<()> {
    for path in files {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        if !style.lines(&item.text).iter().any(|line| has_word(line, words)) {
            continue;
        }
        if let Some(lines) = scan.lines(&item, style) {
            found.push(Entry::of(&item).lines(&lines).root());
        }
    }
    Ok(())
}

pub fn motd(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    scripts(scan, found, scan.files_in(["/etc/update-motd.d", "/usr/lib/update-notifier"]))
}

pub fn udev(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let folders = [
        "/etc/udev/rules.d",
        "/run/udev/rules.d",
        "/usr/local/lib/udev/rules.d",
        "/usr/lib/udev/rules.d",
        "/lib/udev/rules.d",
    ];
    let style = only(|line| {
        let squeezed: Vec<u8> = line.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        let has = |word: &str| find(&squeezed, word.as_bytes()).is_some();
        has("RUN+=")
            || has("RUN=")
            || has("RUN:=")
            || has("RUN{program}")
            || has("PROGRAM=")
            || has("IMPORT{program}")
            || has("SYSTEMD_WANTS")
    });
    found.files(scan, scan.files_in(folders), Some(&root()), &style)
}

pub fn network(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let trees = [
        "/etc/NetworkManager/dispatcher.d",
        "/usr/lib/NetworkManager/dispatcher.d",
        "/usr/local/lib/NetworkManager/dispatcher.d",
        "/etc/networkd-dispatcher",
        "/usr/lib/networkd-dispatcher",
        "/etc/wpa_supplicant",
    ];
    let folders = [
        "/etc/network/if-up.d",
        "/etc/network/if-down.d",
        "/etc/network/if-pre-up.d",
        "/etc/network/if-post-down.d",
        "/etc/dhcp/dhclient-enter-hooks.d",
        "/etc/dhcp/dhclient-exit-hooks.d",
        "/etc/dhcp/dhclient.d",
        "/lib/dhcpcd/dhcpcd-hooks",
        "/etc/ppp/ip-up.d",
        "/etc/ppp/ip-down.d",
        "/etc/ppp/ip-pre-up.d",
        "/etc/ppp/ipv6-up.d",
        "/etc/ppp/ipv6-down.d",
    ];
    let mut files = scan.files_below(trees, 3);
    files.extend(scan.files_in(folders));
    files.retain(|path| !path.name().as_bytes().ends_with(b".conf"));
    scripts(scan, found, files)?;
    let single = [
        "/etc/dhcp/dhclient-enter-hooks",
        "/etc/dhcp/dhclient-exit-hooks",
        "/etc/dhcpcd.enter-hook",
        "/etc/dhcpcd.exit-hook",
        "/etc/ppp/ip-up",
        "/etc/ppp/ip-down",
        "/etc/ppp/ip-up.local",
        "/etc/ppp/ip-down.local",
    ];
    scripts(scan, found, paths(&single))?;
    let interfaces = only(|line| {
        matches!(&directive(line).0[..], b"up" | b"pre-up" | b"post-up" | b"down" | b"pre-down" | b"post-down")
    });
    let files = paths(&["/etc/network/interfaces"]).into_iter().chain(scan.files_in(["/etc/network/interfaces.d"]));
    found.files(scan, files, Some(&root()), &interfaces)
}

pub fn package_managers(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let apt = SCRIPT.comments(&[b"//", b"#", b"/*"]);
    let files = paths(&["/etc/apt/apt.conf"]).into_iter().chain(scan.files_in(["/etc/apt/apt.conf.d"])).collect();
    let words =
        ["-invoke", "pre-install-pkgs", "dpkg::options", "dir::bin", "proxy-auto-detect", "planner", "::solver"];
    with_words(scan, found, files, &apt, &words)?;
    let dpkg = only(|line| {
        ["pre-invoke", "post-invoke", "status-logger", "instdir", "admindir"]
            .iter()
            .any(|w| line.starts_with(w.as_bytes()))
    });
    let files = paths(&["/etc/dpkg/dpkg.cfg"]).into_iter().chain(scan.files_in(["/etc/dpkg/dpkg.cfg.d"]));
    found.files(scan, files, Some(&root()), &dpkg)?;
    let plugins = ["/usr/lib/yum-plugins", "/usr/share/yum-plugins", "/etc/zypp/plugins", "/usr/lib/zypp/plugins"];
    let mut files = scan.files_below(plugins, 3);
    for top in ["/usr/lib", "/usr/local/lib", "/usr/lib64"] {
        for (python, _) in scan.dir(top).into_iter().filter(|(p, _)| p.name().as_bytes().starts_with(b"python3")) {
            for part in ["site-packages/dnf-plugins", "dist-packages/dnf-plugins"] {
                files.extend(scan.files_below([python.join(&DevicePath::new(part)).as_bytes()], 2));
            }
        }
    }
    files.retain(|path| !path.name().as_bytes().ends_with(b".pyc"));
    found.files(scan, files, Some(&root()), &SCRIPT)?;
    let enabled = only(|line| directive(line).0 == b"enabled" && matches!(directive(line).1, b"1" | b"yes" | b"true"));
    found.files(scan, scan.files_in(["/etc/yum/pluginconf.d", "/etc/dnf/plugins"]), Some(&root()), &enabled)?;
    let pacman = only(|line| directive(line).0 == b"exec");
    found.files(scan, scan.files_in(["/etc/pacman.d/hooks", "/usr/share/libalpm/hooks"]), Some(&root()), &pacman)
}

pub fn logs_and_mail(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let rotate = paths(&["/etc/logrotate.conf"]).into_iter().chain(scan.files_in(["/etc/logrotate.d"])).collect();
    let words = ["postrotate", "prerotate", "firstaction", "lastaction", "preremove", "compresscmd", "uncompresscmd"];
    with_words(scan, found, rotate, &SCRIPT, &words)?;
    let syslog = only(|line| {
        has_word(line, &["omprog", "mmexternal", "improg", "program("])
            || line.first() == Some(&b'^')
            || find(line, b" ^/").is_some()
            || find(line, b"\t^/").is_some()
    });
    let mut files = paths(&["/etc/rsyslog.conf", "/etc/syslog-ng/syslog-ng.conf", "/etc/syslog.conf"]);
    files.extend(scan.files_in(["/etc/rsyslog.d", "/etc/syslog-ng/conf.d"]));
    found.files(scan, files, Some(&root()), &syslog)?;
    let pipes = only(|line| {
        let to = line.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
        to.contains(&b'|') || find(to, b":include:").is_some()
    });
    found.files(scan, paths(&["/etc/aliases", "/etc/mail/aliases", "/etc/postfix/aliases"]), Some(&root()), &pipes)?;
    found.files(scan, paths(&["/etc/procmailrc"]), Some(&root()), &SCRIPT)?;
    let postfix =
        only(|line| has_word(line, &["mailbox_command", "_command_", "argv="]) && line.first() != Some(&b'#'));
    found.files(scan, paths(&["/etc/postfix/main.cf", "/etc/postfix/master.cf"]), Some(&root()), &postfix)?;
    found.home_files(scan, &[".forward"], &only(|line| line.contains(&b'|')))?;
    found.home_files(scan, &[".procmailrc", ".mailfilter"], &SCRIPT)
}

/// Scripts that dpkg runs with a package, and triggers' (`man 5 deb-postinst`). dpkg has no sums of them: one that is
/// newer than its package's list, or of a package that is not installed, is nobody's.
pub fn maintainer_scripts(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    const KINDS: [&[u8]; 4] = [b".preinst", b".postinst", b".prerm", b".postrm"];
    let known = super::sources::Sources::read(scan)?;
    for path in scan.files_in(["/var/lib/dpkg/info"]) {
        scan.job.check()?;
        let name = path.name();
        let Some(stem) = KINDS.iter().find_map(|kind| name.as_bytes().strip_suffix(*kind)) else { continue };
        let list = DevicePath::new([b"/var/lib/dpkg/info/", stem, b".list"].concat());
        let listed = scan.view.open(&list, super::super::view::How::Handle).ok().map(|o| o.facts.modified);
        let package = stem.split(|b| *b == b':').next().unwrap_or_default();
        let Some(item) = scan.look_at_program(&path) else { continue };
        let odd = match listed {
            None => Some("its package is not installed"),
            Some(listed) if item.facts.modified.as_secs() > listed.as_secs() + 60 => Some("newer than its package"),
            Some(_) if known.lacks(package) => Some("its package is in no source of packages"),
            Some(_) => None,
        };
        let mut entry = Entry::of(&item).root().packaged(odd.is_some().then_some(false));
        if let Some(odd) = odd {
            entry = entry.lines(&SCRIPT.lines(&item.text)).note(odd);
        }
        found.push(entry);
    }
    Ok(())
}
