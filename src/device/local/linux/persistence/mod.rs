//! `persistence`: what was set up to come back, one technique at a time.
//!
//! Invariants: it only reads; each technique is a line of [`TECHNIQUES`] with a function of its own, in the file of its
//! group; all that can start code is a row, and what a package vouches for is marked, not hidden.

pub(super) mod accounts;
mod scan;
mod sources;
mod sweep;
mod text;

mod boot;
mod containers;
mod desktop;
mod drivers;
mod hooks;
mod identities;
mod interpreters;
mod kernel;
mod linker;
mod modules;
mod programs;
mod repositories;
mod rights;
mod running;
mod schedules;
mod sessions;
mod shells;
mod ssh;
mod units;
mod web;

use super::view::View;
use super::workers::on_threads;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Persistence, PersistenceQuery};
use crate::nearest::{nearest, unmatched};
use crate::shape::Untrusted;
use scan::{Found, Scan};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Techniques at a time: the walk and the hashing have threads of their own.
const THREADS: usize = 4;

/// A way to come back.
struct Technique {
    /// Kebab case; related ones share their first word.
    name: &'static str,
    /// MITRE ATT&CK.
    attack_id: &'static str,
    find: fn(&Scan<'_>, &mut Found) -> Result<()>,
}

const fn technique(
    name: &'static str,
    attack_id: &'static str,
    find: fn(&Scan<'_>, &mut Found) -> Result<()>,
) -> Technique {
    Technique { name, attack_id, find }
}

/// All of them, in the order of their rows. The slow ones, which walk everything, are begun first all the same.
const TECHNIQUES: &[Technique] = &[
    technique("systemd-services", "T1543.002", units::services),
    technique("systemd-user-services", "T1543.002", units::user_services),
    technique("systemd-timers", "T1053.006", units::activation),
    technique("systemd-generators", "T1543.002", units::generators),
    technique("systemd-hooks", "T1037", units::hooks),
    technique("cron-system", "T1053.003", schedules::cron_system),
    technique("cron-user", "T1053.003", schedules::cron_user),
    technique("at", "T1053.002", schedules::at),
    technique("sysv-init", "T1037.004", boot::init_scripts),
    technique("rc-local", "T1037.004", boot::rc_local),
    technique("shell-startup-system", "T1546.004", shells::system),
    technique("shell-startup-user", "T1546.004", shells::user),
    technique("environment", "T1574.006", shells::environment),
    technique("linker-preload", "T1574.006", linker::preload),
    technique("linker-search-path", "T1574.006", linker::search_path),
    technique("ssh-authorized-keys", "T1098.004", ssh::authorized_keys),
    technique("sshd-configuration", "T1556", ssh::server),
    technique("ssh-client", "T1546", ssh::client),
    technique("ssh-private-keys", "T1552.004", ssh::private_keys),
    technique("account-uid-0", "T1136.001", identities::uid_0),
    technique("account-added", "T1136.001", identities::added),
    technique("account-woken", "T1098", identities::woken),
    technique("account-shell", "T1098", identities::shells),
    technique("sudoers", "T1548.003", rights::sudo),
    technique("polkit", "T1556", rights::polkit),
    technique("pam", "T1556.003", modules::pam),
    technique("nss", "T1556", modules::nss),
    technique("motd", "T1037", hooks::motd),
    technique("udev-rules", "T1546.017", hooks::udev),
    technique("kernel-modules", "T1547.006", drivers::kernel_modules),
    technique("dkms", "T1547.006", drivers::dkms),
    technique("bpf", "T1014", kernel::bpf),
    technique("boot-loader", "T1542", boot::loader),
    technique("initramfs", "T1542", boot::initramfs),
    technique("xdg-autostart", "T1547.013", sessions::autostart),
    technique("session-scripts", "T1547.013", sessions::scripts),
    technique("dbus-services", "T1543", sessions::dbus),
    technique("network-hooks", "T1546", hooks::network),
    technique("package-manager-hooks", "T1546.016", hooks::package_managers),
    technique("maintainer-scripts", "T1546.016", hooks::maintainer_scripts),
    technique("web-shells", "T1505.003", web::shells),
    technique("containers", "T1610", containers::containers),
    technique("inetd", "T1543", sessions::inetd),
    technique("log-and-mail-hooks", "T1546", hooks::logs_and_mail),
    technique("editor-startup", "T1546", interpreters::editors),
    technique("binfmt", "T1546", kernel::binfmt),
    technique("kernel-helpers", "T1546", kernel::helpers),
    technique("running-shells", "T1059.004", running::shells),
    technique("desktop-hooks", "T1546.002", desktop::hooks),
    technique("cloud-init", "T1037", boot::cloud_init),
    technique("interpreter-startup", "T1546", interpreters::interpreters),
    technique("git", "T1546", repositories::git),
    technique("file-capabilities", "T1548", programs::capabilities),
    technique("suid", "T1548.001", programs::set_id),
    technique("replaced-programs", "T1554", programs::replaced),
];

/// The rows of all techniques that the query asks for. `E_BAD_ARGS` for a technique that is none.
pub fn list(view: &View, query: &PersistenceQuery, job: &Job) -> Result<Vec<Persistence>> {
    let wanted = match &query.technique {
        Some(text) => wanted(text)?,
        None => TECHNIQUES.iter().collect(),
    };
    let scan = Scan::new(view, job)?;
    let next = AtomicUsize::new(0);
    let mut parts = on_threads(THREADS.min(wanted.len()), || {
        let mut made = Vec::new();
        while let Some((at, technique)) = nth_from_the_end(&wanted, next.fetch_add(1, Relaxed)) {
            job.check()?;
            let mut found = Found::new(technique.name, technique.attack_id);
            (technique.find)(&scan, &mut found)?;
            made.push((at, found.into_rows()));
        }
        Ok(made)
    })?;
    scan.warn();
    parts.sort_by_key(|(at, _)| *at);
    let mut rows: Vec<Persistence> = parts.into_iter().flat_map(|(_, rows)| rows).collect();
    if let Some(user) = &query.user {
        let named = |row: &Persistence| row.user.as_ref().is_some_and(|u| u.raw() == user);
        if !rows.iter().any(named) {
            let known = rows.iter().filter_map(|row| row.user.as_ref()).map(Untrusted::raw);
            job.warn(unmatched("nothing that was found runs as", user, known));
        }
        rows.retain(named);
    }
    Ok(rows)
}

/// The techniques at the end of the table walk everything: they are begun first.
fn nth_from_the_end<T: Copy>(items: &[T], n: usize) -> Option<(usize, T)> {
    let at = items.len().checked_sub(n + 1)?;
    items.get(at).map(|item| (at, *item))
}

/// By name, by the beginning of one, or by the ATT&CK id, with or without its `T`, its sub-techniques included.
fn wanted(text: &str) -> Result<Vec<&'static Technique>> {
    let asked = text.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    let number = asked.strip_prefix('t').unwrap_or(&asked);
    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
    let fits = |technique: &&Technique| {
        let id = technique.attack_id.trim_start_matches('T');
        let by_id = id == number || id.strip_prefix(number).is_some_and(|rest| rest.starts_with('.'));
        if is_number { by_id } else { !asked.is_empty() && technique.name.starts_with(&asked) }
    };
    let exact: Vec<_> = TECHNIQUES.iter().filter(|t| t.name == asked).collect();
    let found: Vec<_> = if exact.is_empty() { TECHNIQUES.iter().filter(fits).collect() } else { exact };
    if found.is_empty() {
        return Err(unknown(text, &asked));
    }
    Ok(found)
}

fn unknown(text: &str, asked: &str) -> Error {
    let names = || TECHNIQUES.iter().map(|t| t.name);
    let hint = match nearest(asked, names()) {
        Some(name) => format!("did you mean {name}? Known are: {}", names().collect::<Vec<_>>().join(", ")),
        None => format!(
            "a name, its beginning, or an ATT&CK id such as T1053.003: {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    };
    Error::new(ErrorCode::BadArgs, format!("{text:?} is no technique that is looked for")).hint(hint)
}

#[cfg(test)]
mod tests;
