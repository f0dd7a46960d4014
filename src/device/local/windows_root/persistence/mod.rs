//! `persistence` of a Windows volume: what was set up to come back, from its hives and files.
//!
//! Invariant: what starts code is listed though Windows itself set it; the note says so where that is known.

mod files;
mod keys;
mod wmi;

use super::machine::{Machine, key, line, text};
use super::{Profile, WindowsRoot, below, names, services, startup, tasks};
use crate::device::local::linux::hash;
use crate::device::local::linux::view::How;
use crate::device::local::registry::{Hive, Key};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, Persistence, PersistenceQuery, Timestamp};
use crate::nearest::unmatched;
use crate::shape::Untrusted;
use files::Below;
use keys::{NAMED, Of, RULES, Rule};
use std::collections::BTreeSet;

const ROWS: usize = 100_000;
/// Names of users that are remembered for a warning.
const USERS: usize = 1_000;
/// Of `WOW6432Node`: the view of 32-bit programs.
const TWIN: &str = "WOW6432Node\\";

/// Techniques that are no rule of a table.
const OTHERS: &[(&str, &str)] = &[
    ("startup-folders", "T1547.001"),
    ("services", "T1543.003"),
    ("scheduled-tasks", "T1053.005"),
    ("wmi-subscriptions", "T1546.003"),
    ("accessibility", "T1546.008"),
    ("local-accounts", "T1136.001"),
];

pub fn list(root: &WindowsRoot<'_>, query: &PersistenceQuery, job: &Job) -> Result<Vec<Persistence>> {
    let wanted = Wanted::of(query)?;
    let machine = Machine::open(root, job)?;
    let mut found = Finds { root, wanted, rows: Vec::new(), others: BTreeSet::new(), job };
    found.keys(&machine)?;
    found.services(&machine)?;
    found.tasks(&machine)?;
    found.startup(&machine)?;
    found.files(&machine)?;
    found.accessibility()?;
    found.wmi()?;
    found.accounts()?;
    for hive in machine.system.iter().map(|c| &c.file).chain(&machine.software) {
        hive.warn(job);
    }
    if let Some(user) = found.wanted.user.as_deref().filter(|_| found.rows.is_empty()) {
        let known = found.others.iter().map(String::as_str);
        job.warn(unmatched("nothing that was found runs as", user, known));
    }
    Ok(found.rows)
}

/// Which techniques and whose.
struct Wanted {
    technique: Option<String>,
    user: Option<String>,
}

impl Wanted {
    /// `E_BAD_ARGS` for a technique that there is not.
    fn of(query: &PersistenceQuery) -> Result<Wanted> {
        let wanted = Wanted { technique: query.technique.clone(), user: query.user.clone() };
        let mut known: Vec<(&str, &str)> = RULES.iter().chain(NAMED).map(|r| (r.technique, r.attack_id)).collect();
        known.extend(files::PLACES.iter().map(|p| (p.technique, p.attack_id)));
        known.extend(OTHERS);
        if known.iter().any(|(technique, id)| wanted.takes(technique, id)) {
            return Ok(wanted);
        }
        let mut names: Vec<&str> = known.iter().map(|(technique, _)| *technique).collect();
        names.sort_unstable();
        names.dedup();
        let asked = query.technique.as_deref().unwrap_or_default();
        Err(Error::new(ErrorCode::BadArgs, format!("{asked:?} is no technique of Windows"))
            .hint(format!("an ATT&CK id, or one of {}", names.join(", "))))
    }

    fn takes(&self, technique: &str, attack_id: &str) -> bool {
        let begins =
            |text: &str, wanted: &str| text.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
        self.technique.as_deref().is_none_or(|w| begins(technique, w) || begins(attack_id, w))
    }
}

struct Finds<'a, 'v> {
    root: &'a WindowsRoot<'v>,
    wanted: Wanted,
    rows: Vec<Persistence>,
    /// Users whose rows were not asked for.
    others: BTreeSet<String>,
    job: &'a Job,
}

/// What a row is made of.
struct Find<'a> {
    technique: &'static str,
    attack_id: &'static str,
    location: String,
    name: Option<String>,
    command: Option<String>,
    user: Option<&'a Profile>,
    account: Option<String>,
    modified: Option<Timestamp>,
    /// The file that runs, on the volume.
    file: Option<DevicePath>,
    note: Option<String>,
}

impl<'a> Find<'a> {
    const fn new(technique: &'static str, attack_id: &'static str, location: String) -> Find<'a> {
        Find {
            technique,
            attack_id,
            location,
            name: None,
            command: None,
            user: None,
            account: None,
            modified: None,
            file: None,
            note: None,
        }
    }
}

impl Finds<'_, '_> {
    fn push(&mut self, find: Find<'_>) -> Result<()> {
        self.job.check()?;
        let user = find.user.map(|u| u.name.clone()).or(find.account);
        let theirs = |wanted: &str| {
            find.user.is_some_and(|u| u.is(wanted)) || user.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(wanted))
        };
        if !self.wanted.takes(find.technique, find.attack_id) {
            return Ok(());
        }
        if !self.wanted.user.as_deref().is_none_or(theirs) {
            self.others.extend(user.filter(|_| self.others.len() < USERS));
            return Ok(());
        }
        if self.rows.len() == ROWS {
            return Err(Error::new(ErrorCode::TooLarge, format!("more than {ROWS} entries")).hint("name a technique"));
        }
        let opened = find.file.and_then(|file| self.root.view.open(&file, How::File).ok());
        let sha256 = match &opened {
            Some(opened) => Some(hash::sha256(&opened.file, self.job)?),
            None => None,
        };
        self.job.advance(1);
        self.rows.push(Persistence {
            technique: find.technique,
            attack_id: find.attack_id,
            location: DevicePath::new(find.location),
            name: find.name.map(Untrusted::new),
            command: find.command.map(Untrusted::new),
            user: user.map(Untrusted::new),
            modified: find.modified.or(opened.map(|o| o.facts.modified)),
            sha256,
            packaged: None,
            note: find.note.map(Untrusted::new),
        });
        Ok(())
    }

    fn keys(&mut self, machine: &Machine) -> Result<()> {
        for rule in RULES.iter().chain(NAMED) {
            if !self.wanted.takes(rule.technique, rule.attack_id) {
                continue;
            }
            if let (Of::System, Some(control)) = (rule.of, &machine.system) {
                let shown = format!("HKLM\\SYSTEM\\{}", control.set);
                let hive = control.file.hive();
                if let Some(set) = hive.subkey(hive.root(), &control.set, self.job)? {
                    self.rule(rule, hive, (&set, rule.path), &shown, machine, None)?;
                }
            }
            if let (Of::Software | Of::Both, Some(software)) = (rule.of, &machine.software) {
                let hive = software.hive();
                self.rule(rule, hive, (hive.root(), rule.path), "HKLM\\SOFTWARE", machine, None)?;
                if rule.path.starts_with("Microsoft") {
                    let twin = format!("{TWIN}{}", rule.path);
                    self.rule(rule, hive, (hive.root(), &twin), "HKLM\\SOFTWARE", machine, None)?;
                }
            }
            for user in &machine.users {
                let of = Some(&user.profile);
                let shown = format!("HKU\\{}", user.profile.key());
                if let Some(ntuser) = &user.ntuser {
                    let path = match rule.of {
                        Of::User => rule.path.to_owned(),
                        Of::Both => format!("Software\\{}", rule.path),
                        Of::UserClasses => format!("Software\\Classes\\{}", rule.path),
                        _ => continue,
                    };
                    self.rule(rule, ntuser.hive(), (ntuser.hive().root(), &path), &shown, machine, of)?;
                }
                if let (Of::UserClasses, Some(classes)) = (rule.of, &user.classes) {
                    let shown = format!("{shown}_Classes");
                    self.rule(rule, classes.hive(), (classes.hive().root(), rule.path), &shown, machine, of)?;
                }
            }
        }
        Ok(())
    }

    /// Every value that a rule names, below `top`.
    fn rule(
        &mut self,
        rule: &Rule,
        hive: &Hive,
        (top, path): (&Key, &str),
        shown: &str,
        machine: &Machine,
        user: Option<&Profile>,
    ) -> Result<()> {
        let parts: Vec<&str> = path.split('\\').collect();
        let mut level = vec![(top.clone(), shown.to_owned())];
        for part in parts {
            let mut next = Vec::new();
            for (at, shown) in level {
                self.job.check()?;
                let keys = match part {
                    "*" => hive.subkeys(&at, self.job)?.collect(),
                    name => Vec::from_iter(hive.subkey(&at, name, self.job)?),
                };
                next.extend(keys.into_iter().map(|k: Key| {
                    let shown = format!("{shown}\\{}", k.name);
                    (k, shown)
                }));
            }
            level = next;
        }
        for (at, shown) in level {
            if rule.values.is_empty() {
                let mut find = Find::new(rule.technique, rule.attack_id, shown.clone());
                (find.modified, find.user) = (at.modified, user);
                self.class(&mut find, at.name.as_str(), machine)?;
                self.push(find)?;
            }
            for value in hive.values(&at) {
                let named = |name: &&str| *name == "*" || value.name.is(name);
                if !rule.values.iter().any(named) {
                    continue;
                }
                let data = line(hive, &value);
                if data.trim().is_empty() {
                    continue;
                }
                let mut find = Find::new(rule.technique, rule.attack_id, shown.clone());
                find.name = Some(value.name.to_string()).filter(|n| !n.is_empty());
                (find.modified, find.user) = (at.modified, user);
                let low = data.to_ascii_lowercase();
                if rule.usual.iter().any(|usual| low.ends_with(usual)) {
                    find.note = Some("as Windows sets it".into());
                }
                self.class(&mut find, &data, machine)?;
                self.push(find)?;
            }
        }
        Ok(())
    }

    /// What a value's data runs: a command line, or what a CLSID stands for.
    fn class(&self, find: &mut Find<'_>, data: &str, machine: &Machine) -> Result<()> {
        let is_class = data.starts_with('{') && data.ends_with('}');
        let server = match (&machine.software, is_class) {
            (Some(software), true) => {
                let hive = software.hive();
                let path = format!("Classes\\CLSID\\{data}\\InprocServer32");
                key(hive, hive.root(), &path, self.job)?.and_then(|k| text(hive, &k, ""))
            }
            _ => None,
        };
        let runs = server.as_deref().unwrap_or(data);
        find.file = self.root.program(runs, find.user);
        find.command = Some(match &server {
            Some(server) => format!("{data} {server}"),
            None => data.to_owned(),
        });
        Ok(())
    }

    fn services(&mut self, machine: &Machine) -> Result<()> {
        let (Some(control), true) = (&machine.system, self.wanted.takes("services", "T1543.003")) else {
            return Ok(());
        };
        let hive = control.file.hive();
        for entry in services::entries(control, self.job)? {
            let Some(runs) = entry.dll.clone().or_else(|| entry.image.clone()) else { continue };
            let place = format!("HKLM\\SYSTEM\\{}\\Services\\{}", control.set, entry.name);
            let mut find = Find::new("services", "T1543.003", place);
            find.command = Some(match (&entry.image, &entry.dll) {
                (Some(image), Some(dll)) => format!("{image} [{dll}]"),
                _ => runs.clone(),
            });
            find.file = self.root.program(&runs, None);
            find.modified = entry.key.modified;
            find.account = entry.account;
            let kind = if entry.is_driver { "driver" } else { "service" };
            let failure = text(hive, &entry.key, "FailureCommand").map(|f| format!("; on failure: {f}"));
            find.note =
                Some(format!("{kind}, {}{}", entry.start.unwrap_or("no start mode"), failure.unwrap_or_default()));
            find.name = Some(entry.name);
            self.push(find)?;
        }
        Ok(())
    }

    fn tasks(&mut self, machine: &Machine) -> Result<()> {
        if !self.wanted.takes("scheduled-tasks", "T1053.005") {
            return Ok(());
        }
        for found in tasks::found(self.root, machine.software.as_ref(), self.job)? {
            let mut find = Find::new("scheduled-tasks", "T1053.005", found.source.to_text().into_owned());
            let actions = found.task.as_ref().map(|t| t.actions.join("; ")).filter(|a| !a.is_empty());
            find.file = actions.as_deref().and_then(|a| self.root.program(a, None));
            find.modified = self.root.view.open(&found.source, How::Handle).ok().map(|o| o.facts.modified);
            find.account = found.task.as_ref().and_then(|t| t.account.clone());
            let disabled = found.task.as_ref().filter(|t| !t.enabled).map(|_| "disabled".to_owned());
            let notes: Vec<String> = [disabled, found.note].into_iter().flatten().collect();
            find.note = Some(notes.join("; ")).filter(|n| !n.is_empty());
            (find.command, find.name) = (actions, Some(found.name));
            self.push(find)?;
        }
        Ok(())
    }

    fn startup(&mut self, machine: &Machine) -> Result<()> {
        if !self.wanted.takes("startup-folders", "T1547.001") {
            return Ok(());
        }
        for item in startup::items(self.root, machine, self.job)? {
            let mut find = Find::new("startup-folders", "T1547.001", item.file.to_text().into_owned());
            find.command = item.target.map(|t| t.raw().to_owned());
            find.account = item.user.map(|u| u.raw().to_owned());
            find.file = Some(item.file);
            self.push(find)?;
        }
        Ok(())
    }

    fn files(&mut self, machine: &Machine) -> Result<()> {
        for place in files::PLACES {
            if !self.wanted.takes(place.technique, place.attack_id) {
                continue;
            }
            let (folder, all) = match place.path.split_last() {
                Some((&"*", folder)) => (folder, true),
                _ => (place.path, false),
            };
            let mut tops: Vec<(Option<&Profile>, Option<DevicePath>)> = match place.below {
                Below::Windows => vec![(None, self.root.find_system(folder))],
                Below::Root => vec![(None, self.root.find(folder))],
                Below::User => machine
                    .users
                    .iter()
                    .map(|u| (Some(&u.profile), below(self.root.view, &u.profile.folder, folder)))
                    .collect(),
            };
            for (user, top) in tops.drain(..) {
                let Some(top) = top else { continue };
                let files = match all {
                    true => names(self.root.view, &top).into_iter().map(|n| top.join(&DevicePath::new(n))).collect(),
                    false => vec![top],
                };
                for file in files {
                    if !self.root.view.open(&file, How::Handle).is_ok_and(|o| o.facts.is_file()) {
                        continue;
                    }
                    let mut find = Find::new(place.technique, place.attack_id, file.to_text().into_owned());
                    find.note = place.note.map(str::to_owned);
                    (find.user, find.file) = (user, Some(file));
                    self.push(find)?;
                }
            }
        }
        Ok(())
    }

    /// A shell in the place of a program that starts before anybody signed in.
    fn accessibility(&mut self) -> Result<()> {
        if !self.wanted.takes("accessibility", "T1546.008") {
            return Ok(());
        }
        let mut shells = Vec::new();
        for shell in files::SHELLS {
            shells.extend(self.digest(self.root.find_system(shell))?.map(|(_, sha256)| (shell.join("\\"), sha256)));
        }
        for program in files::ACCESSIBILITY {
            let Some((path, sha256)) = self.digest(self.root.find_system(&["System32", program]))? else { continue };
            let Some((shell, _)) = shells.iter().find(|(_, other)| *other == sha256) else { continue };
            let mut find = Find::new("accessibility", "T1546.008", path.to_text().into_owned());
            find.note = Some(format!("its bytes are those of {shell}"));
            find.file = Some(path);
            self.push(find)?;
        }
        Ok(())
    }

    fn digest(&self, path: Option<DevicePath>) -> Result<Option<(DevicePath, crate::model::Sha256)>> {
        let Some(path) = path else { return Ok(None) };
        let Ok(opened) = self.root.view.open(&path, How::File) else { return Ok(None) };
        Ok(Some((path, hash::sha256(&opened.file, self.job)?)))
    }

    fn wmi(&mut self) -> Result<()> {
        let repository = ["System32", "wbem", "Repository"];
        let places =
            [[&repository[..], &["OBJECTS.DATA"]].concat(), [&repository[..], &["FS", "OBJECTS.DATA"]].concat()];
        for place in places {
            let Some(path) = self.root.find_system(&place) else { continue };
            if !self.wanted.takes("wmi-subscriptions", "T1546.003") {
                continue;
            }
            let opened = self.root.view.open(&path, How::File)?;
            let modified = opened.facts.modified;
            for binding in wmi::bindings(opened.file, self.job)? {
                let mut find = Find::new("wmi-subscriptions", "T1546.003", path.to_text().into_owned());
                let filter = binding.filter.as_deref().unwrap_or("?");
                find.command = Some(format!("{} {:?} on filter {filter:?}", binding.kind, binding.consumer));
                let usual = matches!(binding.consumer.as_str(), "SCM Event Log Consumer" | "BVTConsumer");
                find.note = usual.then(|| "as Windows sets it".into());
                (find.name, find.modified) = (Some(binding.consumer), Some(modified));
                self.push(find)?;
            }
        }
        Ok(())
    }

    /// Names and RIDs of the accounts of SAM; nothing of their data is read.
    fn accounts(&mut self) -> Result<()> {
        if !self.wanted.takes("local-accounts", "T1136.001") {
            return Ok(());
        }
        let Some(path) = self.root.find_system(&["System32", "config", "SAM"]) else { return Ok(()) };
        let file = match super::hives::HiveFile::open(self.root.view, &path, self.job) {
            Ok(file) => file,
            Err(e) => {
                self.job.warn(format!("local accounts are not known: {}", e.message));
                return Ok(());
            }
        };
        let hive = file.hive();
        let Some(list) = key(hive, hive.root(), "SAM\\Domains\\Account\\Users\\Names", self.job)? else {
            return Ok(());
        };
        for account in hive.subkeys(&list, self.job)? {
            let place = format!("HKLM\\SAM\\SAM\\Domains\\Account\\Users\\Names\\{}", account.name);
            let mut find = Find::new("local-accounts", "T1136.001", place);
            // The type of the default value is the account's RID.
            let rid = hive.value(&account, "").map(|v| v.kind);
            find.note = rid.map(|rid| match rid {
                500 | 501 | 503 | 504 => format!("RID {rid}, built in"),
                rid => format!("RID {rid}"),
            });
            (find.name, find.modified) = (Some(account.name.to_string()), account.modified);
            self.push(find)?;
        }
        file.warn(self.job);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
