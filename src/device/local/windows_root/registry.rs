//! `registry`: a key of a hive file, or of a mounted Windows volume whose hives are found by themselves.

use super::hives::HiveFile;
use super::keypath::{Top, parse};
use super::listing::{Found, ROOT};
use super::{Profile, WindowsRoot};
use crate::device::local::linux::view::{How, View};
use crate::device::local::registry::{Hive, same};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, RegistryKey, RegistryQuery, RegistryRow};
use crate::shape::Untrusted;

/// Hives below `HKLM`, by the name of their file.
const MACHINE: &[&str] = &["SYSTEM", "SOFTWARE", "SAM", "SECURITY", "COMPONENTS", "DRIVERS"];

type Answer = (RegistryKey, Vec<RegistryRow>);

/// The key's values and sub-keys. `hive` is a file or the root of a Windows volume; without it, the device's own root
/// is taken where it is one. `E_UNSUPPORTED` where there is no registry, `E_BAD_ARGS` for a key that needs a `user`,
/// `E_NOT_FOUND` with near names.
pub fn read(view: &View, query: &RegistryQuery, job: &Job) -> Result<Answer> {
    let place = query.hive.clone().unwrap_or_else(|| DevicePath::new("/"));
    let is_directory = view.open(&place, How::Handle)?.facts.is_directory();
    if !is_directory {
        return in_file(view, &place, query, job);
    }
    match WindowsRoot::at(view, &place) {
        Some(root) => in_root(&root, query, job),
        None if query.hive.is_none() => Err(no_registry(view)),
        None => Err(Error::new(ErrorCode::BadArgs, format!("{place} is no root of a Windows volume"))
            .hint("it holds no Windows/System32/config: name the folder that holds Windows, or a hive file")),
    }
}

fn no_registry(view: &View) -> Error {
    let what = if view.is_live() { "this system has no registry" } else { "this image has no registry" };
    Error::new(ErrorCode::Unsupported, what)
        .hint("give `hive`: an offline hive file, or the folder that a Windows volume is mounted on")
}

fn in_file(view: &View, path: &DevicePath, query: &RegistryQuery, job: &Job) -> Result<Answer> {
    let file = HiveFile::open(view, path, job)?;
    let (top, mut inside) = parse(&query.key);
    if let (Some(Top::LocalMachine), Some(asked)) = (top, inside.first()) {
        refuse_another(&file, asked)?;
    }
    // A whole path into a single hive: the hive is what its first names lead to.
    let led_there = match top {
        Some(Top::LocalMachine | Top::Users) => 1,
        _ => 0,
    };
    inside.drain(..led_there.min(inside.len()));
    let answer = find(&file, "", inside, job).and_then(|found| found.answer(query.value.as_deref(), job));
    file.warn(job);
    answer
}

/// A whole path below `HKLM` names the hive that it is in: `E_NOT_FOUND` where the file is known to be another.
fn refuse_another(file: &HiveFile, asked: &str) -> Result<()> {
    let known = |name: &str| MACHINE.iter().find(|known| same(known, name)).copied();
    let last = |path: &str| path.rsplit(['\\', '/']).next().and_then(known);
    let Some(is) = last(file.hive().file_name()).or_else(|| last(&file.path.to_text())) else { return Ok(()) };
    if same(is, asked) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::NotFound, format!("{} is the hive HKLM\\{is}: HKLM\\{asked} is not in it", file.path))
        .hint(format!("write HKLM\\{is}\\… or a key below its root, or give the hive that {asked} is in")))
}

fn in_root(root: &WindowsRoot<'_>, query: &RegistryQuery, job: &Job) -> Result<Answer> {
    let (top, inside) = parse(&query.key);
    let user = query.user.as_deref();
    let places = match top {
        None => return Err(no_top(&query.key)),
        Some(Top::LocalMachine) if inside.is_empty() => return machine(root, job),
        Some(Top::Users) if inside.is_empty() => return users(root, job),
        Some(Top::LocalMachine) => vec![of_machine(root, inside)?],
        Some(Top::CurrentConfig) => {
            let profile = ["CurrentControlSet", "Hardware Profiles", "Current"].map(str::to_owned);
            vec![Place::system(root, "SYSTEM", [profile.to_vec(), inside].concat())?]
        }
        Some(Top::CurrentUser) => vec![of_user(root, user, inside, job)?],
        Some(Top::Users) => vec![of_users(root, inside, job)?],
        Some(Top::ClassesRoot) => classes(root, user, inside, job)?,
    };
    merged(root, places, query.value.as_deref(), job)
}

/// The key in each of the places; `E_NOT_FOUND` where it is in none.
fn merged(root: &WindowsRoot<'_>, places: Vec<Place>, value: Option<&str>, job: &Job) -> Result<Answer> {
    let mut answer: Option<Answer> = None;
    let mut missing = None;
    for place in places {
        let file = HiveFile::open(root.view, &place.hive, job)?;
        let found = find(&file, &place.shown, place.inside, job).and_then(|found| found.answer(value, job));
        file.warn(job);
        match (found, &mut answer) {
            (Ok((_, rows)), Some((_, all))) => all.extend(rows),
            (Ok(found), None) => answer = Some(found),
            (Err(e), _) if e.code == ErrorCode::NotFound => missing = missing.or(Some(e)),
            (Err(e), _) => return Err(e),
        }
    }
    answer.ok_or_else(|| missing.unwrap_or_else(|| Error::new(ErrorCode::NotFound, "no such key")))
}

/// Where a key is: in which hive, under which names, and what those before are called.
struct Place {
    hive: DevicePath,
    shown: String,
    inside: Vec<String>,
}

impl Place {
    fn system(root: &WindowsRoot<'_>, name: &str, inside: Vec<String>) -> Result<Place> {
        let hive = root.find_system(&["System32", "config", name]).ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("the volume has no hive {name}"))
                .hint("it is in Windows/System32/config of a whole volume; RegBack there may hold a copy")
        })?;
        Ok(Place { hive, shown: format!("HKLM\\{name}"), inside })
    }
}

fn of_machine(root: &WindowsRoot<'_>, mut inside: Vec<String>) -> Result<Place> {
    let name = inside.remove(0);
    match MACHINE.iter().find(|known| same(known, &name)) {
        Some(known) => Place::system(root, known, inside),
        None if same(&name, "HARDWARE") => Err(Error::new(ErrorCode::NotFound, "HKLM\\HARDWARE is on no disk")
            .hint("Windows makes it when it starts: SYSTEM\\CurrentControlSet\\Enum knows the devices")),
        None => Err(no_hive(&format!("HKLM\\{name}"), MACHINE.iter().copied())),
    }
}

fn of_user(root: &WindowsRoot<'_>, user: Option<&str>, inside: Vec<String>, job: &Job) -> Result<Place> {
    let profiles = root.profiles(job)?;
    let Some(user) = user else {
        return Err(Error::new(ErrorCode::BadArgs, "HKCU is of a user: give `user`").hint(who(&profiles)));
    };
    let profile = profiles.iter().find(|p| p.is(user)).ok_or_else(|| {
        Error::new(ErrorCode::NotFound, format!("the volume has no user {user:?}")).hint(who(&profiles))
    })?;
    of_profile(root, profile, inside)
}

/// A user's key: of NTUSER.DAT, or of UsrClass.dat, which Windows shows below `Software\Classes`.
fn of_profile(root: &WindowsRoot<'_>, profile: &Profile, mut inside: Vec<String>) -> Result<Place> {
    let shown = format!("HKU\\{}", profile.key());
    let classes = matches!(&inside[..], [a, b, ..] if same(a, "Software") && same(b, "Classes"));
    if classes && let Some(hive) = profile.usrclass(root) {
        return Ok(Place { hive, shown: format!("{shown}\\Software\\Classes"), inside: inside.split_off(2) });
    }
    let hive = profile
        .ntuser(root)
        .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("{} has no NTUSER.DAT", profile.folder)))?;
    Ok(Place { hive, shown, inside })
}

fn of_users(root: &WindowsRoot<'_>, mut inside: Vec<String>, job: &Job) -> Result<Place> {
    let name = inside.remove(0);
    if same(&name, ".DEFAULT") || same(&name, "S-1-5-18") {
        let default = Place::system(root, "DEFAULT", inside)?;
        return Ok(Place { shown: "HKU\\.DEFAULT".into(), ..default });
    }
    let profiles = root.profiles(job)?;
    if let Some(profile) = profiles.iter().find(|p| p.is(&name)) {
        return of_profile(root, profile, inside);
    }
    // `S-1-5-21-…_Classes` is the user's UsrClass.dat.
    let stem = name.len().checked_sub("_Classes".len()).and_then(|at| name.split_at_checked(at));
    let classes = stem.filter(|(_, end)| same(end, "_Classes")).map(|(stem, _)| stem);
    if let Some(profile) = profiles.iter().find(|p| classes.is_some_and(|c| p.is(c)))
        && let Some(hive) = profile.usrclass(root)
    {
        return Ok(Place { hive, shown: format!("HKU\\{}_Classes", profile.key()), inside });
    }
    Err(Error::new(ErrorCode::NotFound, format!("the volume has no user {name:?}")).hint(who(&profiles)))
}

/// `HKCR` is what the user has, then what the machine has.
fn classes(root: &WindowsRoot<'_>, user: Option<&str>, inside: Vec<String>, job: &Job) -> Result<Vec<Place>> {
    let under = |path: [&str; 2]| [path.map(str::to_owned).to_vec(), inside.clone()].concat();
    let machine = Place::system(root, "SOFTWARE", [vec!["Classes".to_owned()], inside.clone()].concat())?;
    let Some(user) = user else {
        job.warn("HKCR is shown as the machine has it: give `user` for that user's own classes too");
        return Ok(vec![machine]);
    };
    Ok(vec![of_user(root, Some(user), under(["Software", "Classes"]), job)?, machine])
}

fn who(profiles: &[Profile]) -> String {
    let names: Vec<String> = profiles
        .iter()
        .take(50)
        .map(|p| match &p.sid {
            Some(sid) => format!("{:?} ({sid})", p.name),
            None => format!("{:?}", p.name),
        })
        .collect();
    if names.is_empty() {
        "no folder of a user holds an NTUSER.DAT".into()
    } else {
        format!("there are {}", names.join(", "))
    }
}

fn no_top(key: &str) -> Error {
    Error::new(ErrorCode::BadArgs, format!("{key:?} does not begin with HKLM, HKCU, HKU, HKCR or HKCC"))
        .hint(r"write HKLM\SOFTWARE\…, or give a hive file as `hive` and a key below its root")
}

fn no_hive<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no {name} on disk"))
        .hint(format!("there are {}", known.collect::<Vec<_>>().join(", ")))
}

/// `HKLM` itself: the hives that are there.
fn machine(root: &WindowsRoot<'_>, job: &Job) -> Result<Answer> {
    let hives = MACHINE
        .iter()
        .filter_map(|name| Some((format!("HKLM\\{name}"), root.find_system(&["System32", "config", name])?)));
    tops(root, "HKLM", hives.collect(), job)
}

/// `HKU` itself: those whose hives are there.
fn users(root: &WindowsRoot<'_>, job: &Job) -> Result<Answer> {
    let default = root.find_system(&["System32", "config", "DEFAULT"]).map(|hive| ("HKU\\.DEFAULT".to_owned(), hive));
    let profiles = root.profiles(job)?;
    let profiles = profiles.iter().filter_map(|p| Some((format!("HKU\\{}", p.key()), p.ntuser(root)?)));
    tops(root, "HKU", default.into_iter().chain(profiles).collect(), job)
}

fn tops(root: &WindowsRoot<'_>, top: &str, hives: Vec<(String, DevicePath)>, job: &Job) -> Result<Answer> {
    let mut rows = Vec::new();
    for (key, path) in hives {
        job.check()?;
        match HiveFile::open(root.view, &path, job) {
            Ok(file) => rows.push(RegistryRow {
                key: Untrusted::new(key),
                value: None,
                kind: None,
                data: None,
                modified: file.hive().root().modified,
                subkeys: Some(u64::from(file.hive().root().subkeys)),
                from_log: None,
            }),
            Err(e) => job.warn(format!("{key} is left out: {}", e.message)),
        }
    }
    Ok((RegistryKey { key: Some(Untrusted::new(top)), ..RegistryKey::default() }, rows))
}

/// The key under names from the hive's root; `E_NOT_FOUND` names what is near.
fn find<'h>(file: &'h HiveFile, shown: &str, mut inside: Vec<String>, job: &Job) -> Result<Found<'h>> {
    let hive = file.hive();
    if let Some(first) = inside.first_mut().filter(|first| same(first, "CurrentControlSet"))
        && let Some(current) = current_control_set(hive, job)?
    {
        *first = current;
    }
    let mut key = hive.root().clone();
    let mut spelled: Vec<String> = Vec::new();
    let path = |spelled: &[String]| match (shown, spelled) {
        ("", []) => ROOT.to_owned(),
        ("", names) => names.join("\\"),
        (shown, []) => shown.to_owned(),
        (shown, names) => format!("{shown}\\{}", names.join("\\")),
    };
    for name in &inside {
        let Some(next) = hive.subkey(&key, name, job)? else {
            return Err(no_key(hive, &key, &path(&spelled), name, job));
        };
        spelled.push(next.name.to_string());
        key = next;
    }
    Ok(Found { file, key, shown: path(&spelled), inside: spelled })
}

fn no_key(hive: &Hive, parent: &crate::device::local::registry::Key, shown: &str, name: &str, job: &Job) -> Error {
    let error = Error::new(ErrorCode::NotFound, format!("{shown} has no sub-key {name:?}"));
    let near = hive.near(parent, name, job).unwrap_or_default();
    let near: Vec<String> = near.iter().map(|n| format!("{:?}", n.as_str())).collect();
    if near.is_empty() {
        error.hint(format!("it has {} sub-keys: list it to see them", parent.subkeys))
    } else {
        error.hint(format!("it has {}", near.join(", ")))
    }
}

/// `ControlSet001` or another: what `Select\Current` says.
pub fn current_control_set(hive: &Hive, job: &Job) -> Result<Option<String>> {
    if hive.subkey(hive.root(), "CurrentControlSet", job)?.is_some() {
        return Ok(None);
    }
    let Some(select) = hive.subkey(hive.root(), "Select", job)? else { return Ok(None) };
    let Some(current) = hive.value(&select, "Current") else { return Ok(None) };
    let data = hive.data(&current, 4).bytes;
    Ok(data.first_chunk().map(|bytes| format!("ControlSet{:03}", u32::from_le_bytes(*bytes))))
}
