//! A unit as its manager would load it: fragment, drop-ins, and how it is set up to start.
//!
//! Invariant: from files alone; the links of an alias are followed a bounded number of times, inside the tree only.

use super::super::facts::Facts;
use super::super::sources::Sources;
use super::exec::Exec;
use super::name::Name;
use super::search::{Entry, Index, Place, Scope, Wanted, directories, own_directories};
use super::text::Text;
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};

/// Of a file of a unit; the longest line that the system takes.
const FILE_LIMIT: u64 = 1 << 20;
/// Links from name to name.
const LINKS: usize = 8;
/// Drop-ins of one unit.
const DROP_INS: usize = 256;

/// How a unit is set up to start, in systemd's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Enabled,
    EnabledRuntime,
    Linked,
    LinkedRuntime,
    Alias,
    Masked,
    MaskedRuntime,
    Static,
    Disabled,
    Indirect,
    Generated,
    Transient,
    /// A link or a drop-in names it, and there is no file.
    NotFound,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Enabled => "enabled",
            State::EnabledRuntime => "enabled-runtime",
            State::Linked => "linked",
            State::LinkedRuntime => "linked-runtime",
            State::Alias => "alias",
            State::Masked => "masked",
            State::MaskedRuntime => "masked-runtime",
            State::Static => "static",
            State::Disabled => "disabled",
            State::Indirect => "indirect",
            State::Generated => "generated",
            State::Transient => "transient",
            State::NotFound => "not-found",
        }
    }
}

/// A file that a unit is made of.
#[derive(Clone, Debug)]
pub struct Part {
    pub path: DevicePath,
    pub real_path: DevicePath,
    pub facts: Facts,
    pub place: Place,
    /// What it says alone.
    pub text: Text,
}

#[derive(Clone, Debug)]
pub struct Unit {
    pub name: Name,
    /// The unit whose file it is: another one where the name is an alias or an instance.
    pub of: Name,
    pub state: State,
    pub fragment: Option<Part>,
    pub drop_ins: Vec<Part>,
    /// Of all files, in the order in which they count.
    pub text: Text,
}

impl Unit {
    /// The section that is named after its type: `Service` of a service.
    pub fn section(&self) -> String {
        let kind = self.name.kind();
        kind.get(..1).map_or_else(String::new, |first| first.to_ascii_uppercase()) + kind.get(1..).unwrap_or_default()
    }

    pub fn value(&self, section: &str, key: &str) -> Option<&[u8]> {
        self.text.value(section, key)
    }

    /// The commands of one key: `ExecStart`.
    pub fn execs(&self, key: &str) -> Vec<Exec> {
        let values = self.text.list(&self.section(), key).into_iter();
        values.flat_map(|value| Exec::parse(value, &self.name)).collect()
    }

    /// The unit that a timer, socket or path starts.
    pub fn starts(&self) -> Option<Name> {
        let key = match self.name.kind() {
            "timer" | "path" => "Unit",
            "socket" => "Service",
            _ => return None,
        };
        let named = self.value(&self.section(), key).map(|v| super::exec::specify(v, &self.name));
        if let Some(named) = named.and_then(|n| Name::parse(&n)) {
            return Some(named);
        }
        let accepts = self.name.kind() == "socket" && self.value("Socket", "Accept").is_some_and(is_true);
        let service = self.name.with_kind("service");
        if !accepts || service.instance().is_some() {
            return Some(service);
        }
        Name::parse(format!("{}@.service", service.prefix()).as_bytes())
    }
}

/// A boolean of a unit file.
fn is_true(value: &[u8]) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|t| value.eq_ignore_ascii_case(t.as_bytes()))
}

/// The units of one manager.
pub struct Units<'a> {
    sources: &'a Sources<'a>,
    index: Index,
    /// Where the links among the entries point, by the link's path.
    targets: BTreeMap<DevicePath, DevicePath>,
    /// Other names that links give a unit.
    aliased: BTreeMap<Name, Vec<(Name, Place)>>,
    directories: Vec<DevicePath>,
}

/// What a name leads to.
enum Found<'i> {
    Masked(&'i Entry),
    File { entry: &'i Entry, of: Name, linked: bool },
    Missing,
}

impl<'a> Units<'a> {
    /// Reads the directories, and no file yet.
    pub fn read(scope: &Scope, sources: &'a Sources<'a>) -> Result<Self> {
        Self::of(Index::read(&directories(scope), sources)?, scope, sources)
    }

    /// As [`Units::read`], of a user's own directories alone.
    pub fn read_own(scope: &Scope, sources: &'a Sources<'a>) -> Result<Self> {
        Self::of(Index::read(&own_directories(scope), sources)?, scope, sources)
    }

    fn of(index: Index, scope: &Scope, sources: &'a Sources<'a>) -> Result<Self> {
        let directories = directories(scope).into_iter().map(|d| d.path).collect();
        let mut units = Units { sources, index, targets: BTreeMap::new(), aliased: BTreeMap::new(), directories };
        units.read_links()?;
        Ok(units)
    }

    fn read_links(&mut self) -> Result<()> {
        for (name, entries) in &self.index.entries {
            for entry in entries.iter().filter(|e| e.kind == FileType::Symlink) {
                self.sources.job().check()?;
                let Some(target) = self.sources.target(&entry.path) else { continue };
                if let Some(of) = Name::parse(target.name().as_bytes()).filter(|of| of != name) {
                    self.aliased.entry(of).or_default().push((name.clone(), entry.place));
                }
                self.targets.insert(entry.path.clone(), target);
            }
        }
        Ok(())
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    pub fn sources(&self) -> &'a Sources<'a> {
        self.sources
    }

    /// The names of a type that have a file or a link, and the instances that something wants.
    pub fn names(&self, kind: &str) -> BTreeSet<Name> {
        let files = self.index.entries.keys();
        let wanted = self.index.wanted.iter().map(|w| &w.unit).filter(|n| !n.is_template());
        files.chain(wanted).filter(|n| n.kind() == kind).cloned().collect()
    }

    /// A unit with all its files. Fails only when the job is to stop.
    pub fn load(&self, name: &Name) -> Result<Unit> {
        let (entry, of, linked) = match self.find(name) {
            Found::Masked(entry) => return Ok(masked(name, entry)),
            Found::Missing => (None, name.clone(), false),
            Found::File { entry, of, linked } => (Some(entry), of, linked),
        };
        let fragment = match entry {
            Some(entry) => self.part(&entry.path, entry.place)?,
            None => None,
        };
        if let (Some(entry), Some(part)) = (entry, &fragment)
            && part.facts.size == 0
        {
            return Ok(masked(name, entry));
        }
        let drop_ins = self.drop_ins(name, &of)?;
        let mut text = fragment.as_ref().map(|p| p.text.clone()).unwrap_or_default();
        drop_ins.iter().for_each(|p| text.append(p.text.clone()));
        let state = match entry {
            Some(entry) => self.state(name, &of, entry, linked, &text),
            None => State::NotFound,
        };
        Ok(Unit { name: name.clone(), of, state, fragment, drop_ins, text })
    }

    fn part(&self, path: &DevicePath, place: Place) -> Result<Option<Part>> {
        let source = self.sources.read(path, FILE_LIMIT)?;
        Ok(source.map(|s| Part {
            text: Text::parse(&s.bytes),
            path: s.path,
            real_path: s.real_path,
            facts: s.facts,
            place,
        }))
    }

    fn find(&self, name: &Name) -> Found<'_> {
        let mut at = name.clone();
        for _ in 0..LINKS {
            let entry = match self.entry(&at) {
                Some(entry) => entry,
                // An instance has the file of its template.
                None => match at.template().and_then(|t| self.entry(&t).map(|e| (t, e))) {
                    Some((template, entry)) => {
                        at = template;
                        entry
                    }
                    None => return Found::Missing,
                },
            };
            let Some(target) = self.targets.get(&entry.path) else {
                return Found::File { entry, of: at, linked: false };
            };
            if is_null(&entry.path, target) {
                return Found::Masked(entry);
            }
            let other = Name::parse(target.name().as_bytes()).filter(|n| *n != at);
            match other.filter(|n| self.entry(n).is_some()) {
                Some(other) => at = other,
                None => {
                    let linked = !self.is_searched(&entry.path, target);
                    return Found::File { entry, of: at, linked };
                }
            }
        }
        Found::Missing
    }

    fn entry(&self, name: &Name) -> Option<&Entry> {
        self.index.entries.get(name)?.first()
    }

    /// Whether a link leads into the search path.
    fn is_searched(&self, link: &DevicePath, target: &DevicePath) -> bool {
        let parent = link.parent().join(target).parent();
        let parent = self.sources.view().identity(&parent);
        parent.is_some() && self.directories.iter().any(|d| self.sources.view().identity(d) == parent)
    }

    /// Sorted by file name; of several with one name the first of the search path counts.
    fn drop_ins(&self, name: &Name, of: &Name) -> Result<Vec<Part>> {
        let mut names = name.drop_in_names();
        if of != name {
            names.extend(of.drop_in_names());
        }
        names.push(name.kind().to_owned());
        let mut files: BTreeMap<Vec<u8>, (DevicePath, Place)> = BTreeMap::new();
        for directory in names.iter().filter_map(|n| self.index.drop_ins.get(n)).flatten() {
            for item in self.sources.list(&directory.path)? {
                if item.name.ends_with(b".conf") && files.len() < DROP_INS {
                    let path = directory.path.join(&DevicePath::new(item.name.clone()));
                    files.entry(item.name).or_insert((path, directory.place));
                }
            }
        }
        let mut parts = Vec::new();
        for (path, place) in files.into_values() {
            parts.extend(self.part(&path, place)?);
        }
        Ok(parts)
    }

    /// As `unit_file_lookup_state` of systemd decides it.
    fn state(&self, name: &Name, of: &Name, entry: &Entry, linked: bool, text: &Text) -> State {
        let is_instance = name.instance().is_some_and(|i| !i.is_empty());
        if name != of && !is_instance {
            return State::Alias;
        }
        match entry.place {
            Place::Generated => return State::Generated,
            Place::Transient => return State::Transient,
            _ => {}
        }
        // A template is enabled by its default instance; by any other it is only in use.
        let default = text.value("Install", "DefaultInstance").and_then(|i| std::str::from_utf8(i).ok());
        let default = default.filter(|_| name.is_template()).map(|i| name.instantiate(i));
        let is_of = |other: &Name| other == name || Some(other) == default.as_ref();
        let wanted = self.index.wanted.iter().filter(|w| is_of(&w.unit)).map(|w| w.place);
        // A link that gives another name enables where the unit asks for that name, else it is only known by it.
        let asked = text.words("Install", "Alias");
        let aliased = self.aliased.get(name).map(Vec::as_slice).unwrap_or_default();
        let asked_for = aliased.iter().filter(|(other, _)| asked.contains(&other.as_str().as_bytes()));
        let places: Vec<Place> = wanted.chain(asked_for.map(|(_, place)| *place)).collect();
        if places.contains(&Place::Config) {
            return State::Enabled;
        }
        if places.contains(&Place::Runtime) {
            return State::EnabledRuntime;
        }
        if !places.is_empty() && is_instance {
            return State::Static;
        }
        match (linked, entry.place) {
            (true, Place::Runtime) => return State::LinkedRuntime,
            (true, _) => return State::Linked,
            _ => {}
        }
        let in_use = |w: &Wanted| w.place != Place::Vendor && w.unit.template().as_ref() == Some(name);
        if aliased.iter().any(|(_, place)| *place != Place::Vendor) || self.index.wanted.iter().any(in_use) {
            return State::Indirect;
        }
        let has = |key| !text.list("Install", key).is_empty();
        if ["WantedBy", "RequiredBy", "UpheldBy", "Alias"].into_iter().any(has) {
            State::Disabled
        } else if has("Also") {
            State::Indirect
        } else {
            State::Static
        }
    }
}

fn masked(name: &Name, entry: &Entry) -> Unit {
    let state = if entry.place == Place::Runtime { State::MaskedRuntime } else { State::Masked };
    let (fragment, drop_ins, text) = (None, Vec::new(), Text::default());
    Unit { name: name.clone(), of: name.clone(), state, fragment, drop_ins, text }
}

/// Whether a link leads to `/dev/null`, which need not be in an image.
fn is_null(link: &DevicePath, target: &DevicePath) -> bool {
    let whole = link.parent().join(target);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts == [&b"dev"[..], b"null"]
}
