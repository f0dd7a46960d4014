//! The rows of one key: its values, then its sub-keys.

use super::hives::HiveFile;
use crate::device::local::registry::{Data, Hive, Key, Value, kind_name};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, RegistryKey, RegistryRow, SecretValue};
use crate::shape::Untrusted;
use std::collections::{HashMap, HashSet};

/// Rows of one key are held in memory.
const ROWS: usize = 100_000;
/// Of one value's data that is shown; twice as much is left for hex digits. The wire cuts what is longer in a listing.
const DATA: usize = 64 * 1024;
/// Of all data of one key.
const DATA_IN_ALL: usize = 8 * 1024 * 1024;

/// What the root key of a single hive is shown as; keys below it are shown without it.
pub const ROOT: &str = "\\";

/// A key that is there.
pub struct Found<'h> {
    pub file: &'h HiveFile,
    pub key: Key,
    /// The path that it is shown under.
    pub shown: String,
    /// The names that lead to it from the hive's root.
    pub inside: Vec<String>,
}

impl Found<'_> {
    /// The key with all its values and sub-keys, or only the value of that name. `E_NOT_FOUND` where there is no such
    /// value. Data of a secret hive stands in no row; of the one value that was named it is given apart.
    pub fn answer(&self, value: Option<&str>, job: &Job) -> Result<(RegistryKey, Vec<RegistryRow>)> {
        let mut facts =
            RegistryKey { key: Some(Untrusted::new(self.shown.clone())), modified: self.key.modified, secret: None };
        let mut rows = self.rows(value, job)?;
        if let Some(reason) = self.file.secret {
            facts.secret = value.and_then(|name| self.apart(name, reason, &rows));
            let held_back = rows.iter_mut().filter_map(|row| row.data.take()).count();
            if held_back > 0 && value.is_none() {
                job.warn(format!("data left out ({reason}): name a value, and a person is asked to show its data"));
            }
        }
        Ok((facts, rows))
    }

    fn apart(&self, name: &str, reason: &'static str, rows: &[RegistryRow]) -> Option<SecretValue> {
        let mut content = String::new();
        for row in rows {
            let (key, kind) = (row.key.clean(), row.kind.as_deref().unwrap_or_default());
            let data = row.data.as_ref()?.raw();
            content.push_str(&format!("{key} {} {kind}\n", crate::shape::clean(name)));
            data.split('\n').flat_map(lines).for_each(|line| content.push_str(&format!("{line}\n")));
        }
        let place = format!("{}:{}\\{name}", self.file.path.to_text(), self.inside.join("\\"));
        Some(SecretValue { reason, path: DevicePath::new(place.replace('\0', "")), content })
    }

    fn rows(&self, value: Option<&str>, job: &Job) -> Result<Vec<RegistryRow>> {
        let before = AsItWas::of(self, job)?;
        let mut rows = self.value_rows(value, &before, job)?;
        match value {
            Some(name) if rows.is_empty() => return Err(self.no_value(name)),
            Some(_) => {}
            None => self.subkey_rows(&before, &mut rows, job)?,
        }
        before.warn(self, &rows, value.is_none(), job)?;
        Ok(rows)
    }

    fn hive(&self) -> &Hive {
        self.file.hive()
    }

    fn value_rows(&self, only: Option<&str>, before: &AsItWas<'_>, job: &Job) -> Result<Vec<RegistryRow>> {
        let mut rows = Vec::new();
        let (mut room, mut cut) = (DATA_IN_ALL, 0u64);
        for value in self.hive().values(&self.key) {
            job.check()?;
            if only.is_some_and(|name| !value.name.is(name)) {
                continue;
            }
            if rows.len() == ROWS {
                job.warn(format!("{} has more values: the first {ROWS} are listed", self.shown));
                break;
            }
            let data = self.hive().data(&value, DATA.min(room));
            room -= data.bytes.len();
            cut += u64::from(!data.whole);
            rows.push(RegistryRow {
                key: Untrusted::new(self.shown.clone()),
                value: Some(Untrusted::new(value.name.to_string())),
                kind: Some(kind_name(value.kind).into_owned()),
                from_log: before.lacks_value(&value, &data),
                data: Some(Untrusted::new(data.text(value.kind))),
                modified: None,
                subkeys: None,
            });
        }
        if cut > 0 {
            job.warn(format!("of {cut} values the data is not shown whole: getfile collects the hive"));
        }
        Ok(rows)
    }

    fn subkey_rows(&self, before: &AsItWas<'_>, rows: &mut Vec<RegistryRow>, job: &Job) -> Result<()> {
        let above =
            if self.inside.is_empty() && self.shown == ROOT { String::new() } else { format!("{}\\", self.shown) };
        for (n, subkey) in self.hive().subkeys(&self.key, job)?.enumerate() {
            job.check()?;
            if n == ROWS {
                job.warn(format!("{} has more sub-keys: the first {ROWS} are listed", self.shown));
                break;
            }
            rows.push(RegistryRow {
                key: Untrusted::new(format!("{above}{}", subkey.name)),
                value: None,
                kind: None,
                data: None,
                modified: subkey.modified,
                subkeys: Some(u64::from(subkey.subkeys)),
                from_log: before.lacks_key(subkey.name.as_str()),
            });
        }
        Ok(())
    }

    fn no_value(&self, name: &str) -> Error {
        let names: Vec<String> = self.hive().values(&self.key).take(20_000).map(|v| v.name.to_string()).collect();
        let error = Error::new(ErrorCode::NotFound, format!("{} has no value {name:?}", self.shown));
        match crate::nearest::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("it has {near:?}")),
            None => error.hint(format!("it has {} values: leave `value` out to list them", names.len())),
        }
    }
}

/// Lines that are read whole: hex digits go on for thousands.
fn lines(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(64).map(|line| line.iter().collect()).collect()
}

/// The key as the hive file alone has it, where logs were applied.
enum AsItWas<'h> {
    NoLogs,
    /// The key itself stands only in a log.
    NoKey,
    Key {
        hive: &'h Hive,
        values: HashMap<String, Value>,
        subkeys: HashSet<String>,
    },
}

impl<'h> AsItWas<'h> {
    fn of(found: &Found<'h>, job: &Job) -> Result<AsItWas<'h>> {
        let Some(hive) = &found.file.opened.as_is else { return Ok(AsItWas::NoLogs) };
        let Some(key) = hive.find(hive.root(), found.inside.iter().map(String::as_str), job)? else {
            return Ok(AsItWas::NoKey);
        };
        let values = hive.values(&key).take(ROWS).map(|value| (value.name.to_string(), value)).collect();
        Ok(AsItWas::Key { hive, values, subkeys: subkeys(hive, &key, job)? })
    }

    fn lacks_value(&self, value: &Value, data: &Data) -> Option<bool> {
        let AsItWas::Key { hive, values, .. } = self else { return matches!(self, AsItWas::NoKey).then_some(true) };
        let there = values.get(value.name.as_str()).is_some_and(|old| {
            old.kind == value.kind && old.size == value.size && hive.data(old, data.bytes.len()).bytes == data.bytes
        });
        (!there).then_some(true)
    }

    fn lacks_key(&self, name: &str) -> Option<bool> {
        match self {
            AsItWas::NoLogs => None,
            AsItWas::NoKey => Some(true),
            AsItWas::Key { subkeys, .. } => (!subkeys.contains(name)).then_some(true),
        }
    }

    /// Says how much of the answer stands only in a log, and what a log takes away.
    fn warn(&self, found: &Found<'_>, rows: &[RegistryRow], whole: bool, job: &Job) -> Result<()> {
        let from_log = rows.iter().filter(|row| row.from_log == Some(true)).count();
        if from_log > 0 {
            job.warn(format!("{from_log} rows stand only in a transaction log, not in the hive file: `from_log`"));
        }
        let AsItWas::Key { values, subkeys: before, .. } = self else { return Ok(()) };
        if !whole {
            return Ok(());
        }
        let keys = subkeys(found.hive(), &found.key, job)?;
        let valued: HashSet<String> = found.hive().values(&found.key).take(ROWS).map(|v| v.name.to_string()).collect();
        let gone = before.difference(&keys).count() + values.keys().filter(|name| !valued.contains(*name)).count();
        if gone > 0 {
            job.warn(format!("a log removes {gone} keys or values that stand in the hive file"));
        }
        Ok(())
    }
}

fn subkeys(hive: &Hive, key: &Key, job: &Job) -> Result<HashSet<String>> {
    Ok(hive.subkeys(key, job)?.take(ROWS).map(|key| key.name.to_string()).collect())
}
