//! Where a manager looks for units, in its order (`man 5 systemd.unit`, UNIT FILE LOAD PATH), and what lies there.
//!
//! Invariant: each directory is read once, whatever names lead to it; what comes first in the order wins.

use super::super::sources::Sources;
use super::name::Name;
use crate::error::Result;
use crate::model::{DevicePath, FileIdentity};
use rustix::fs::FileType;
use std::collections::{BTreeMap, HashSet};

/// Names beyond these are not looked at, over all directories of a manager.
const NAMES: usize = 50_000;

/// Whose units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    System,
    /// A user's manager: the user's own units and those for all users.
    User {
        home: DevicePath,
        uid: u32,
    },
    /// What every user's manager gets.
    AllUsers,
}

/// What a directory of the search path is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Set up here, to stay: `/etc`, `~/.config`.
    Config,
    /// Until the next boot: `/run`.
    Runtime,
    /// Started without a file.
    Transient,
    /// Made by a generator at boot.
    Generated,
    /// Of packages.
    Vendor,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub path: DevicePath,
    pub place: Place,
}

/// A unit's file or link in one directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub path: DevicePath,
    pub place: Place,
    pub kind: FileType,
}

/// A link below `NAME.wants`, `NAME.requires` or `NAME.upholds`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub by: Name,
    pub unit: Name,
    pub path: DevicePath,
    pub place: Place,
}

/// What lies in the directories of one manager.
#[derive(Debug, Default)]
pub struct Index {
    /// By name, in the order of the search path.
    pub entries: BTreeMap<Name, Vec<Entry>>,
    pub wanted: Vec<Wanted>,
    /// `NAME.d` directories by `NAME`, in the order of the search path; `NAME` is a type alone too.
    pub drop_ins: BTreeMap<String, Vec<Directory>>,
}

impl Index {
    pub fn read(directories: &[Directory], sources: &Sources<'_>) -> Result<Index> {
        let mut index = Index::default();
        let mut seen: HashSet<FileIdentity> = HashSet::new();
        let mut left = NAMES;
        for directory in directories {
            let Some(identity) = sources.view().identity(&directory.path) else { continue };
            if seen.insert(identity) {
                index.read_directory(directory, sources, &mut left)?;
            }
        }
        if left == 0 {
            sources.job().warn(format!("there are more than {NAMES} names of units: the rest is not looked at"));
        }
        Ok(index)
    }

    fn read_directory(&mut self, directory: &Directory, sources: &Sources<'_>, left: &mut usize) -> Result<()> {
        for item in sources.list(&directory.path)? {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            let path = directory.path.join(&DevicePath::new(item.name.clone()));
            if let Some(name) = Name::parse(&item.name) {
                let entry = Entry { path, place: directory.place, kind: item.kind };
                self.entries.entry(name).or_default().push(entry);
            } else if let Some((by, suffix)) = split_suffix(&item.name) {
                match suffix {
                    "d" => {
                        let directory = Directory { path, place: directory.place };
                        self.drop_ins.entry(by.to_owned()).or_default().push(directory);
                    }
                    "wants" | "requires" | "upholds" => self.read_wanted(by, &path, directory.place, sources, left)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_wanted(
        &mut self,
        by: &str,
        path: &DevicePath,
        place: Place,
        sources: &Sources<'_>,
        left: &mut usize,
    ) -> Result<()> {
        let Some(by) = Name::parse(by.as_bytes()) else { return Ok(()) };
        for item in sources.list(path)? {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            if let Some(unit) = Name::parse(&item.name) {
                let path = path.join(&DevicePath::new(item.name));
                self.wanted.push(Wanted { by: by.clone(), unit, path, place });
            }
        }
        Ok(())
    }

    /// The units that want or require this one by a link.
    pub fn wanted_by<'a>(&'a self, unit: &'a Name) -> impl Iterator<Item = &'a Wanted> {
        self.wanted.iter().filter(move |w| w.unit == *unit)
    }
}

fn split_suffix(name: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(name).ok()?.rsplit_once('.')
}

/// The search path of a manager, first wins.
pub fn directories(scope: &Scope) -> Vec<Directory> {
    use Place::*;
    let at = |path: &str, place| Directory { path: DevicePath::new(path), place };
    match scope {
        Scope::System => vec![
            at("/etc/systemd/system.control", Config),
            at("/run/systemd/system.control", Runtime),
            at("/run/systemd/transient", Transient),
            at("/run/systemd/generator.early", Generated),
            at("/etc/systemd/system", Config),
            at("/etc/systemd/system.attached", Config),
            at("/run/systemd/system", Runtime),
            at("/run/systemd/system.attached", Runtime),
            at("/run/systemd/generator", Generated),
            at("/usr/local/lib/systemd/system", Vendor),
            at("/usr/lib/systemd/system", Vendor),
            at("/lib/systemd/system", Vendor),
            at("/run/systemd/generator.late", Generated),
        ],
        Scope::AllUsers => vec![
            at("/etc/xdg/systemd/user", Config),
            at("/etc/systemd/user", Config),
            at("/run/systemd/user", Runtime),
            at("/usr/local/share/systemd/user", Vendor),
            at("/usr/share/systemd/user", Vendor),
            at("/usr/local/lib/systemd/user", Vendor),
            at("/usr/lib/systemd/user", Vendor),
            at("/lib/systemd/user", Vendor),
        ],
        Scope::User { .. } => [own_directories(scope), directories(&Scope::AllUsers)].concat(),
    }
}

/// Those of a user alone, which the user can write.
pub fn own_directories(scope: &Scope) -> Vec<Directory> {
    use Place::*;
    let Scope::User { home, uid } = scope else { return Vec::new() };
    let home = |below: &str, place| Directory { path: home.join(&DevicePath::new(below)), place };
    let run =
        |below: &str, place| Directory { path: DevicePath::new(format!("/run/user/{uid}/systemd/{below}")), place };
    vec![
        home(".config/systemd/user.control", Config),
        run("user.control", Runtime),
        run("transient", Transient),
        run("generator.early", Generated),
        home(".config/systemd/user", Config),
        run("user", Runtime),
        run("generator", Generated),
        home(".local/share/systemd/user", Vendor),
        run("generator.late", Generated),
    ]
}
