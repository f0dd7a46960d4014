//! Services and timers: stopped, their links taken away, their own files and image quarantined; masked where the unit
//! file is a package's.
//!
//! Invariant: nothing that a package owns unmodified goes, and nothing that this host or this session lives on stops.

use super::protected::Protected;
use super::{Image, Resolver, ancestors, uninspectable};
use crate::device::local::linux::effect::Place;
use crate::device::local::linux::proc::Proc;
use crate::device::local::linux::sources::Sources;
use crate::device::local::linux::systemd_bus::Now;
use crate::device::local::linux::units::{self, Name, Part, Scope, State, Unit, Units};
use crate::device::local::linux::view::How;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    DevicePath, EntityKind, FileIdentity, FileTarget, LinkTarget, PartOf, ServiceTarget, Step, UnitFile,
};
use rustix::fs::FileType;
use std::collections::HashSet;

/// What the system or a session on it cannot be without.
const ESSENTIAL: &[&str] = &[
    "dbus.service",
    "dbus.socket",
    "dbus-broker.service",
    "getty@.service",
    "serial-getty@.service",
    "console-getty.service",
    "emergency.service",
    "rescue.service",
    "user@.service",
    "user-runtime-dir@.service",
];
/// Where a unit's processes are counted, on either version of control groups.
const CGROUP_BYTES: u64 = 64 * 1024;
/// Links of run levels, in both layouts.
const LEVELS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "S"];

/// What is taken of one unit.
struct Taken {
    service: ServiceTarget,
    links: Vec<LinkTarget>,
    mask: Option<DevicePath>,
    files: Vec<FileTarget>,
}

impl Resolver<'_> {
    pub(super) fn stop_services(&self, ids: &[String]) -> Result<Vec<Step>> {
        self.stop_units(EntityKind::Service, &ids.iter().collect::<Vec<_>>())
    }

    pub(super) fn stop_units(&self, kind: EntityKind, ids: &[&String]) -> Result<Vec<Step>> {
        let below = self.layout.below_root(self.view)?;
        let sources = Sources::new(below.as_ref().unwrap_or(self.view), self.job);
        let units = Units::read(&Scope::System, &sources)?;
        let protected = Protected::find();
        let all = Proc::open()?;
        let mut seen: HashSet<String> = HashSet::new();
        let mut gone: HashSet<FileIdentity> = HashSet::new();
        let mut steps = Vec::new();
        for id in ids {
            self.job.check()?;
            let name = unit_name(id)?;
            let unit = units.load(&name)?;
            // An alias is another name of the unit that it leads to.
            let unit = if unit.state == State::Alias { units.load(&unit.of)? } else { unit };
            if !seen.insert(unit.name.as_str().to_owned()) {
                return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{id} names what another id names"))
                    .hint("name each unit once"));
            }
            let taken = self.take_unit(&units, &unit, &all, &protected)?;
            let part_of = PartOf { kind, id: unit.name.as_str().to_owned() };
            steps.extend(self.of_unit(taken, &part_of, &mut gone));
        }
        drop(units);
        sources.finish();
        if self.bus.is_some() {
            steps.push(Step::ReloadServices);
        }
        Ok(steps)
    }

    fn of_unit(&self, taken: Taken, part_of: &PartOf, gone: &mut HashSet<FileIdentity>) -> Vec<Step> {
        let whole = || part_of.clone();
        let mut steps = Vec::new();
        if self.bus.is_some() {
            steps.push(Step::StopService { service: taken.service, part_of: whole() });
        } else {
            taken.service.notes.iter().for_each(|note| self.job.warn(format!("{}: {note}", part_of.id)));
        }
        steps.extend(taken.links.into_iter().map(|link| Step::RemoveLink { link, part_of: whole() }));
        steps.extend(taken.mask.map(|path| Step::Mask { path, part_of: whole() }));
        let files = taken.files.into_iter().filter(|file| gone.insert(file.identity));
        steps.extend(files.map(|file| Step::Quarantine { file, part_of: Some(whole()) }));
        steps
    }

    fn take_unit(&self, units: &Units<'_>, unit: &Unit, all: &Proc, protected: &Protected) -> Result<Taken> {
        let name = &unit.name;
        refuse_essential(name)?;
        let now = self.now(name)?;
        let script = self.layout.path(&format!("/etc/init.d/{}", name.prefix()));
        let script = (name.kind() == "service" && self.view.identity(&script).is_some()).then_some(script);
        let is_loaded = now.as_ref().is_some_and(|n| n.state != "not-found");
        if unit.state == State::NotFound && !is_loaded && script.is_none() {
            return Err(missing(units, name));
        }
        let pids = unit_pids(all, name, self)?;
        self.refuse_own(name, &pids, all)?;

        let mut taken = Taken {
            service: ServiceTarget {
                unit: name.as_str().to_owned(),
                state: now.as_ref().map_or_else(|| "unknown".to_owned(), |n| n.state.clone()),
                pid: now.as_ref().and_then(|n| n.main_pid),
                files: Vec::new(),
                image: None,
                notes: Vec::new(),
            },
            links: Vec::new(),
            mask: None,
            files: Vec::new(),
        };
        if now.as_ref().is_some_and(|n| n.refuses_stop) {
            return Err(Error::new(ErrorCode::Protected, format!("{name} refuses to be stopped by hand"))
                .hint("its unit file says so: the system needs it"));
        }
        let is_packaged = self.take_files(&mut taken, unit, script.as_ref(), protected)?;
        self.take_links(&mut taken, units, unit, is_packaged)?;
        if is_packaged {
            self.mask(&mut taken, name);
        }
        self.take_image(&mut taken, unit, &pids, all, protected)?;
        self.note_triggers(&mut taken, units, unit, now.as_ref());
        let nothing = taken.links.is_empty() && taken.files.is_empty() && taken.mask.is_none();
        let is_down = now.as_ref().is_none_or(|n| matches!(n.state.as_str(), "inactive" | "failed" | "not-found"));
        if nothing && is_down {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!("{name} neither runs nor starts: nothing is left to take"),
            )
            .hint("`services` shows its state"));
        }
        Ok(taken)
    }

    fn now(&self, name: &Name) -> Result<Option<Now>> {
        self.bus.map(|bus| bus.now(name.as_str(), self.job)).transpose()
    }

    /// The unit's own files go where no package owns them unmodified. Whether the unit file stays for that reason.
    fn take_files(
        &self,
        taken: &mut Taken,
        unit: &Unit,
        script: Option<&DevicePath>,
        protected: &Protected,
    ) -> Result<bool> {
        let mut is_packaged = false;
        let own_drop_in = |part: &Part| {
            let dir = part.path.parent().name();
            [&unit.name, &unit.of].iter().any(|n| dir.as_bytes() == format!("{n}.d").as_bytes())
        };
        let fragment = unit.fragment.as_ref().filter(|f| f.place != units::Place::Generated);
        let parts = fragment.into_iter().chain(unit.drop_ins.iter().filter(|p| own_drop_in(p)));
        let parts = parts.map(|part| self.layout.path_of(&part.real_path)).chain(script.cloned());
        for (index, path) in parts.enumerate() {
            let file = self.file(&path, protected)?;
            taken.service.files.push(UnitFile { path: file.path.clone(), sha256: file.sha256.clone() });
            match &file.package {
                Some(package) => {
                    taken.service.notes.push(format!("{path} stays: it belongs to the package {package}, unmodified"));
                    is_packaged |= index == 0 && fragment.is_some();
                }
                None => taken.files.push(file),
            }
        }
        if unit.fragment.is_none() && script.is_none() {
            taken.service.notes.push(format!("{} has no unit file here: only what runs is stopped", unit.name));
        }
        if unit.name.template().is_some()
            && fragment.is_some_and(|f| f.path.name().as_bytes() != unit.name.as_str().as_bytes())
        {
            taken.service.notes.push("its unit file is the template of other instances too".to_owned());
        }
        Ok(is_packaged)
    }

    /// The links that start it or give it another name.
    fn take_links(&self, taken: &mut Taken, units: &Units<'_>, unit: &Unit, is_packaged: bool) -> Result<()> {
        let of_it = |name: &Name| *name == unit.name || (*name == unit.of && unit.name.template().is_none());
        let is_set_up = |place: units::Place| match place {
            units::Place::Config | units::Place::Runtime => true,
            units::Place::Vendor => !is_packaged,
            units::Place::Generated | units::Place::Transient => false,
        };
        let mut paths: Vec<DevicePath> = Vec::new();
        for (name, entries) in &units.index().entries {
            for entry in entries.iter().filter(|e| e.kind == FileType::Symlink && is_set_up(e.place)) {
                let target = units.sources().target(&entry.path);
                let leads = target.and_then(|t| Name::parse(t.name().as_bytes()));
                if of_it(name) || leads.as_ref().is_some_and(of_it) {
                    paths.push(entry.path.clone());
                }
            }
        }
        let wanted = units.index().wanted.iter().filter(|w| of_it(&w.unit) && is_set_up(w.place));
        paths.extend(wanted.map(|w| w.path.clone()));
        if unit.name.kind() == "service" {
            paths.extend(level_links(units.sources(), unit.name.prefix())?);
        }
        for path in paths {
            // A mask stays: without it the unit could be started.
            if let Some(link) = self.link(&self.layout.path_of(&path))?
                && link.target.as_bytes() != b"/dev/null"
                && !taken.links.iter().any(|l| l.identity == link.identity)
            {
                taken.links.push(link);
            }
        }
        Ok(())
    }

    /// A symlink as it is now, by its real path; `None` where it is none.
    fn link(&self, path: &DevicePath) -> Result<Option<LinkTarget>> {
        let opened = self.view.open(path, How::Link)?;
        if !opened.facts.is_symlink() {
            return Ok(None);
        }
        let target = rustix::fs::readlinkat(&opened.file, "", Vec::new()).map_err(|e| Error::io(path, e.into()))?;
        Place::reach(&opened.real_path).map_err(|e| uninspectable(path, &format!("its place cannot be held: {e}")))?;
        Ok(Some(LinkTarget {
            path: opened.real_path,
            identity: opened.facts.identity,
            target: DevicePath::new(target.into_bytes()),
            uid: opened.facts.uid,
            gid: opened.facts.gid,
        }))
    }

    /// A package's unit file stays, so a mask in front of it keeps it from being started.
    fn mask(&self, taken: &mut Taken, name: &Name) {
        let path = self.layout.path(&format!("/etc/systemd/system/{name}"));
        let is_free = self.view.open(&path, How::Link).is_err_and(|e| e.code == ErrorCode::NotFound);
        // A link of that name goes first.
        if is_free || taken.links.iter().any(|l| l.path == path) {
            taken.mask = Some(path);
        } else {
            taken.service.notes.push(format!("it is not masked: {path} is there; it can be started by hand"));
        }
    }

    fn take_image(
        &self,
        taken: &mut Taken,
        unit: &Unit,
        pids: &[u32],
        all: &Proc,
        protected: &Protected,
    ) -> Result<()> {
        let Some(image) = unit.execs("ExecStart").first().and_then(|exec| exec.path()) else { return Ok(()) };
        let image = self.layout.path_of(&image);
        let opened = match self.view.open(&image, How::Handle) {
            Ok(opened) => opened,
            Err(e) if e.code == ErrorCode::SelfTarget => return Err(e),
            Err(e) => {
                taken.service.notes.push(format!("its image {image} stays: {}", e.message));
                return Ok(());
            }
        };
        taken.service.image = Some(opened.real_path.clone());
        let (fate, note) = self.fate_of(&opened.real_path, opened.facts.identity, all, pids, protected)?;
        match fate {
            Image::Remove(file) => taken.files.push(*file),
            Image::Keep | Image::Stays => taken.service.notes.extend(note),
        }
        Ok(())
    }

    fn note_triggers(&self, taken: &mut Taken, units: &Units<'_>, unit: &Unit, now: Option<&Now>) {
        let mut by: Vec<String> = now.map(|n| n.triggered_by.clone()).unwrap_or_default();
        if now.is_none() {
            let near = ["timer", "socket", "path"].map(|kind| unit.name.with_kind(kind));
            by.extend(near.iter().filter(|n| units.index().entries.contains_key(n)).map(ToString::to_string));
        }
        let notes = by.into_iter().map(|by| format!("{by} starts it, and stays: name it too"));
        taken.service.notes.extend(notes);
        if let Some(starts) = unit.starts() {
            taken.service.notes.push(format!("it starts {starts}, which stays: name it too"));
        }
    }

    /// What this program or its terminal runs in.
    fn refuse_own(&self, name: &Name, pids: &[u32], all: &Proc) -> Result<()> {
        let spared = ancestors(all);
        match pids.iter().any(|pid| spared.contains(pid) || self.view.own().is_own_process(*pid)) {
            true => Err(Error::new(
                ErrorCode::SelfTarget,
                format!("{name} carries this program, or the terminal that it runs in"),
            )
            .hint("without it nobody could undo it from here")),
            false => Ok(()),
        }
    }
}

/// The name of a unit; of a service without its type too.
fn unit_name(id: &str) -> Result<Name> {
    let known = ["service", "timer", "socket", "path"];
    let whole = Name::parse(id.as_bytes()).or_else(|| Name::parse(format!("{id}.service").as_bytes()));
    match whole {
        Some(name) if name.is_template() => {
            Err(Error::new(ErrorCode::Uninspectable, format!("{name} is a template: it runs as instances"))
                .hint("name its instances; `services` lists them"))
        }
        Some(name) if known.contains(&name.kind()) => Ok(name),
        Some(name) => {
            Err(Error::new(ErrorCode::Protected, format!("{name} is a {}: it holds the system together", name.kind()))
                .hint("services, timers, sockets and paths are remediated"))
        }
        None => Err(Error::new(ErrorCode::BadArgs, format!("{id:?} is no name of a unit"))
            .hint("`services` lists them: NAME or NAME.service")),
    }
}

fn refuse_essential(name: &Name) -> Result<()> {
    let template = name.template();
    let is = |n: &Name| ESSENTIAL.contains(&n.as_str());
    let of_systemd = name.as_str().starts_with("systemd-");
    match of_systemd || is(name) || template.as_ref().is_some_and(is) {
        true => Err(Error::new(ErrorCode::Protected, format!("{name} is part of what this host runs on"))
            .hint("a drop-in or an image of it can be remediated as a file; a person changes the rest by hand")),
        false => Ok(()),
    }
}

fn missing(units: &Units<'_>, name: &Name) -> Error {
    let near = |other: &&Name| other.prefix().contains(name.prefix()) || name.prefix().contains(other.prefix());
    let names: Vec<String> = units.names(name.kind()).iter().filter(near).take(3).map(|n| format!("{n:?}")).collect();
    let e = Error::new(ErrorCode::NotFound, format!("there is no unit {name}"));
    match names.is_empty() {
        true => e.hint("`services` and `scheduledtasks` list them; a user's own unit is of type startup, by its path"),
        false => e.hint(format!("there are {}", names.join(", "))),
    }
}

/// The processes of a unit, as far as this account sees them.
fn unit_pids(all: &Proc, name: &Name, resolver: &Resolver<'_>) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for pid in all.pids(resolver.job)? {
        resolver.job.check()?;
        let path = DevicePath::new(format!("/proc/{pid}/cgroup"));
        let Ok(opened) = resolver.view.open(&path, How::File) else { continue };
        let mut text = Vec::new();
        if std::io::Read::read_to_end(&mut std::io::Read::take(opened.file, CGROUP_BYTES), &mut text).is_err() {
            continue;
        }
        // Below a user's manager a unit of the same name is another one.
        let of_it = |line: &[u8]| {
            let mut above = line.split(|b| *b == b'/').take_while(|part| !part.starts_with(b"user@"));
            above.any(|part| part == name.as_str().as_bytes())
        };
        if text.split(|b| *b == b'\n').any(of_it) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// `S01name` in a directory of a run level.
fn level_links(sources: &Sources<'_>, script: &str) -> Result<Vec<DevicePath>> {
    let mut found = Vec::new();
    for dir in LEVELS.iter().flat_map(|l| [format!("/etc/rc{l}.d"), format!("/etc/rc.d/rc{l}.d")]) {
        let dir = DevicePath::new(dir);
        for item in sources.list(&dir)?.into_iter().filter(|i| i.kind == FileType::Symlink) {
            let name = item.name.strip_prefix(b"S").and_then(|rest| rest.split_at_checked(2));
            let starts = name.is_some_and(|(order, n)| order.iter().all(u8::is_ascii_digit) && n == script.as_bytes());
            if starts {
                found.push(dir.join(&DevicePath::new(item.name)));
            }
        }
    }
    Ok(found)
}
