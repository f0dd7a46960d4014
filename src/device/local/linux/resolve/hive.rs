//! Values of a hive copy, from the ids that name them to steps that take them out, and back.
//!
//! Invariant: only a copy is changed: a sound, clean hive with one name, on no Windows volume and with no log beside it
//! that would change it again. Each step names one value that no other of its key can be taken for.

use super::protected::Protected;
use super::{Resolver, undo, uninspectable};
use crate::device::local::linux::effect::{Kept, KeptValue, Standing, What, undo_id};
use crate::device::local::linux::view::How;
use crate::device::local::registry::{DATA_LIMIT, Hive, Key, Value, kind_name, same};
use crate::device::local::windows_root::{HiveFile, WindowsRoot, current_control_set, value_path};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, FileTarget, PartOf, Sha256, Step, ValueTarget};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::os::fd::AsRawFd;

/// As large as a hive is that is changed.
const HIVE_LIMIT: u64 = 512 << 20;
/// Characters of a value's data that stand in a plan.
const DATA_SHOWN: usize = 1_024;
/// Keys that one id may be read as before it is given up.
const READINGS: usize = 64;
/// Parts of an id that are one name: `\x00` in a name is a backslash in how it is shown.
const PARTS: usize = 3;

/// A hive that may be changed.
struct Copy {
    target: FileTarget,
    file: HiveFile,
}

/// A value that an id names.
struct Named {
    key: Vec<String>,
    value: Value,
}

impl Resolver<'_> {
    pub(super) fn cut_values(&self, hive: &DevicePath, ids: &[String]) -> Result<Vec<Step>> {
        let copy = self.hive_copy(hive)?;
        let mut seen = Vec::new();
        let mut steps = Vec::new();
        for id in ids {
            self.job.check()?;
            let named = self.value_of(copy.file.hive(), id)?;
            if seen.contains(&named.value.offset) {
                return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{id:?} names what another id names"))
                    .hint("name each value once"));
            }
            seen.push(named.value.offset);
            let value = self.target(&copy, named)?;
            let part_of = PartOf { kind: EntityKind::Registry, id: value.path() };
            steps.push(Step::CutValue { hive: copy.target.clone(), value, part_of });
        }
        Ok(steps)
    }

    /// The hive at a path, if it may be changed.
    fn hive_copy(&self, path: &DevicePath) -> Result<Copy> {
        let facts = self.view.open(path, How::Handle)?.facts;
        if facts.is_directory() {
            return Err(Error::new(ErrorCode::BadArgs, format!("{path} is a folder"))
                .hint("name one hive file: a copy, not the hive of a Windows volume"));
        }
        // Before it is read to its end.
        if facts.is_file() && facts.size > HIVE_LIMIT {
            let message = format!("{path} has {} bytes, a hive that is changed has at most {HIVE_LIMIT}", facts.size);
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        let target = self.file(path, &Protected::find())?;
        self.refuse_hive(&target)?;
        let file = HiveFile::open(self.view, &target.path, self.job)?;
        if file.identity != target.identity {
            return Err(uninspectable(&target.path, "it was replaced while it was looked at"));
        }
        let ahead = file.opened.as_is.as_ref().map(|_| "a transaction log beside it".to_owned());
        if let Some(log) = ahead.or_else(|| file.opened.ahead.clone()) {
            let why = format!("{log} holds changes of it that are not applied, and would come over this one");
            return Err(uninspectable(&target.path, &why)
                .hint("let Windows load and unload the copy, which applies its logs, or copy the hive without them"));
        }
        file.hive().check_sound(self.job).map_err(|e| {
            Error::new(e.code, format!("{}: {}", target.path, e.message)).hint(e.hint.unwrap_or_default())
        })?;
        Ok(Copy { target, file })
    }

    fn refuse_hive(&self, target: &FileTarget) -> Result<()> {
        let path = &target.path;
        if target.links > 1 {
            return Err(uninspectable(
                path,
                &format!("it has {} names, and only one would get the new hive", target.links),
            )
            .hint("make a copy of it, and change that"));
        }
        let mut above = path.parent();
        while above.as_bytes() != b"/" {
            if WindowsRoot::at(self.view, &above).is_some() {
                return Err(Error::new(ErrorCode::Protected, format!("{path} is on the Windows volume at {above}"))
                    .hint("a system's own hive is not changed here: copy it elsewhere, and change the copy"));
            }
            above = above.parent();
        }
        let held = self.view.open(path, How::Handle)?.file;
        let own = format!("/proc/self/fd/{}", held.as_raw_fd());
        rustix::fs::accessat(CWD, own, Access::WRITE_OK, AtFlags::EACCESS).map_err(|e| {
            let error = Error::io(format!("{path} may not be written"), e.into());
            match e {
                Errno::ROFS => error.hint("its file system is mounted read-only: copy it elsewhere"),
                _ => error.hint("this account may not write it"),
            }
        })
    }

    fn target(&self, copy: &Copy, named: Named) -> Result<ValueTarget> {
        let (hive, value) = (copy.file.hive(), named.value);
        let data = hive.data(&value, DATA_LIMIT);
        if !data.whole {
            let message = format!("the value has {} bytes of data, the limit is {DATA_LIMIT}", value.size);
            return Err(Error::new(ErrorCode::TooLarge, message).hint("a larger one could not be put back"));
        }
        let shown = || {
            let text = data.text(value.kind);
            match text.char_indices().nth(DATA_SHOWN) {
                Some((end, _)) => format!("{}… (cut)", text.get(..end).unwrap_or_default()),
                None => text,
            }
        };
        Ok(ValueTarget {
            key: named.key,
            name: value.name.as_str().to_owned(),
            kind: kind_name(value.kind).into_owned(),
            size_bytes: u64::from(value.size),
            sha256: Sha256::of(&data.bytes),
            data: copy.file.secret.is_none().then(shown),
        })
    }

    /// The one value that an id can mean. A value's name may hold backslashes, so every place where the key may end is
    /// tried. `E_AMBIGUOUS_ARGS` where it can mean several.
    fn value_of(&self, hive: &Hive, id: &str) -> Result<Named> {
        let (mut parts, is_default) = value_path(id);
        if let Some(first) = parts.first_mut().filter(|first| same(first, "CurrentControlSet"))
            && let Some(current) = current_control_set(hive, self.job)?
        {
            *first = current;
        }
        let mut found: Vec<Named> = Vec::new();
        let mut left: Vec<(Key, Vec<String>, usize)> = vec![(hive.root().clone(), Vec::new(), 0)];
        let mut nearest = 0;
        let mut read = 0;
        while let Some((key, spelled, from)) = left.pop() {
            self.job.check()?;
            read += 1;
            if read > READINGS {
                return Err(several(id));
            }
            nearest = nearest.max(from);
            let rest = parts.get(from..).unwrap_or_default();
            let named = |value: &Value| is_named(value, &rest.join("\\"), is_default);
            found.extend(hive.values(&key).filter(named).map(|value| Named { key: spelled.clone(), value }));
            for taken in 1..=rest.len().min(PARTS) {
                let name = rest.get(..taken).unwrap_or_default().join("\\");
                for below in hive.subkeys(&key, self.job)?.filter(|below| is_spelled(below.name.as_str(), &name)) {
                    if left.len() > READINGS {
                        return Err(several(id));
                    }
                    let spelled = [spelled.clone(), vec![below.name.to_string()]].concat();
                    left.push((below, spelled, from + taken));
                }
            }
        }
        match (found.len(), found.pop()) {
            (1, Some(named)) => Ok(named),
            (0, _) => Err(none(id, &parts, nearest, is_default)),
            _ => Err(several(id)),
        }
    }

    /// What `undo registry` plans: newest first, so that each finds the hive that the one after it left.
    pub(super) fn put_values(&self, hive: Option<&DevicePath>, ids: &[String]) -> Result<Vec<Step>> {
        let real = hive.map(|path| self.view.open(path, How::Handle).map(|o| o.real_path)).transpose()?;
        let mut deeds: Vec<Kept> = Vec::new();
        for id in ids {
            self.job.check()?;
            let kept = self.kept_value(real.as_ref(), id)?;
            if deeds.iter().any(|d| d.undo_id == kept.undo_id) {
                return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{id} names what another id names"))
                    .hint("name each once"));
            }
            deeds.push(kept);
        }
        deeds.sort_by(|a, b| (b.begun, &b.undo_id).cmp(&(a.begun, &a.undo_id)));
        let mut copies: Vec<(Copy, Option<Sha256>)> = Vec::new();
        deeds.into_iter().map(|kept| self.value_back(kept, &mut copies)).collect()
    }

    /// `copies`: the hives of the plan, and what each is when the step's turn comes, where that is known.
    fn value_back(&self, kept: Kept, copies: &mut Vec<(Copy, Option<Sha256>)>) -> Result<Step> {
        let (Some(What::Value(KeptValue { value, after })), Some(file)) = (kept.what, kept.file) else {
            return Err(undo::unknown(kept.undo_id.as_str()));
        };
        let Some(path) = file.path else { return Err(undo::unknown(kept.undo_id.as_str())) };
        let at = match copies.iter().position(|(copy, _)| copy.target.path == path) {
            Some(at) => at,
            None => {
                let copy = self.hive_copy(&path)?;
                let now = Some(copy.target.sha256.clone());
                copies.push((copy, now));
                copies.len() - 1
            }
        };
        let Some((copy, now)) = copies.get_mut(at) else { return Err(undo::unknown(kept.undo_id.as_str())) };
        let whole = now.is_some() && *now == after;
        if whole {
            *now = Some(file.sha256);
        } else {
            self.has_room(copy, now.as_ref() == Some(&file.sha256), &value)?;
            *now = None;
        }
        Ok(Step::PutValue { undo_id: kept.undo_id, hive: copy.target.clone(), value, whole })
    }

    /// Whether the hive as it is now takes the value: its key is there, and no value of the name.
    fn has_room(&self, copy: &Copy, is_as_before: bool, value: &ValueTarget) -> Result<()> {
        let (hive, path) = (copy.file.hive(), &copy.target.path);
        let Some(key) = hive.find(hive.root(), value.key.iter().map(String::as_str), self.job)? else {
            let message = format!("{path} changed since, and has no key {} any more", value.key.join("\\"));
            return Err(Error::new(ErrorCode::EntityDrift, message)
                .hint("the hive as it was before stays in the quarantine; `remediate list` shows its hash"));
        };
        if is_as_before || hive.value(&key, &value.name).is_some() {
            return Err(Error::new(ErrorCode::Exists, format!("{path} has a value {} again", value.path()))
                .hint("nothing is put in twice; `registry` with `hive` shows it"));
        }
        Ok(())
    }

    /// The deed that an id means: by its undo id, or the newest on this value of the hive.
    fn kept_value(&self, hive: Option<&DevicePath>, id: &str) -> Result<Kept> {
        let is_of = |kept: &Kept| hive.is_none_or(|hive| kept.path() == Some(hive));
        if let Some(undo) = undo_id(id) {
            let deed = self.quarantine.find(&undo)?;
            let what = match &deed.0 {
                kept if kept.kind() != EntityKind::Registry => format!("{id} is of type {}", kept.kind().as_str()),
                kept if !is_of(kept) => format!("{id} is of another hive"),
                _ => return undo::undoable(deed, id),
            };
            return Err(Error::new(ErrorCode::BadArgs, what).hint("`remediate list` tells type and path"));
        }
        if hive.is_none() {
            return Err(Error::new(ErrorCode::BadArgs, format!("{id:?} is no undo id"))
                .hint("give `hive` too, or the undo id from `remediate list`"));
        }
        let (parts, _) = value_path(id);
        let wanted = parts.join("\\");
        let is_it = |(kept, _): &(Kept, Standing)| match &kept.what {
            Some(What::Value(recorded)) => is_of(kept) && is_spelled(&recorded.value.path(), &wanted),
            _ => false,
        };
        let mut all = self.quarantine.all(self.job)?;
        all.retain(is_it);
        let newest = all.iter().rposition(|(_, standing)| standing.is_undoable()).or_else(|| all.len().checked_sub(1));
        undo::undoable(all.swap_remove(newest.ok_or_else(|| undo::unknown(id))?), id)
    }
}

/// Whether a value is what is left of an id. A backslash at the end is that of a key whose default value is meant, or
/// belongs to the name, as in `C:\Windows\`.
fn is_named(value: &Value, rest: &str, ends_in_backslash: bool) -> bool {
    let name = value.name.as_str();
    match rest.is_empty() {
        true => ends_in_backslash && name.is_empty(),
        false => is_spelled(name, rest) && (!ends_in_backslash || name.ends_with('\\')),
    }
}

/// Whether an id spells a name or path so: as it is, or as it is shown.
fn is_spelled(name: &str, written: &str) -> bool {
    same(&plain(name), written) || same(&plain(&crate::shape::clean(name)), written)
}

/// Without empty parts, as the parts of an id are.
fn plain(name: &str) -> String {
    name.split('\\').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\\")
}

fn several(id: &str) -> Error {
    Error::new(ErrorCode::AmbiguousArgs, format!("{id:?} can be read as more than one value"))
        .hint("keys or values with one name for several are not changed: nobody could tell which one was meant")
}

fn none(id: &str, parts: &[String], nearest: usize, is_default: bool) -> Error {
    let there = parts.get(..nearest).unwrap_or_default().join("\\");
    let error = match parts.get(nearest..) {
        Some([] | [_]) if is_default => Error::new(ErrorCode::NotFound, format!("{id:?} has no default value")),
        Some([]) => Error::new(ErrorCode::NotFound, format!("{id:?} is a key, and only values are taken out"))
            .hint(r"give KEY\VALUE, or KEY\ for the default value of the key"),
        Some([name]) => Error::new(ErrorCode::NotFound, format!("the key {there:?} has no value {name:?}")),
        _ => Error::new(ErrorCode::NotFound, format!("the hive has no {id:?}: it is there up to {there:?}")),
    };
    match error.hint {
        Some(_) => error,
        None => error.hint("`registry` with `hive` lists keys and values"),
    }
}
