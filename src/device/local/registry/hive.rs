//! A hive with its logs: keys and values by path.

use super::base::{Base, NoHive};
use super::cell::Cells;
use super::damage::Damage;
use super::key::Key;
use super::log::{Recovered, recover};
use super::name::Name;
use super::pages::{Overlay, Pages, Source};
use super::value::{Data, Value};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use std::sync::Arc;

/// As large as a hive of Windows may be.
const LIMIT: u64 = 2 << 30;

/// A log's name and bytes.
pub type LogFile = (String, Arc<dyn Source>);

pub struct Hive {
    pub(super) cells: Cells,
    root: Key,
    pub(super) base: Base,
}

/// A hive as it is after its logs, and beside it, where a log changed something, as the file alone has it.
pub struct Opened {
    pub hive: Hive,
    pub as_is: Option<Hive>,
    /// A log with entries that are not older than the hive: of a later state, or one that would be applied next.
    pub ahead: Option<String>,
    /// What a reader must know of logs and base block: one sentence each.
    pub notes: Vec<String>,
}

impl Hive {
    /// Opens a hive and applies its logs in memory. `name` is for messages. `E_BAD_ARGS` for what is no hive,
    /// `E_UNSUPPORTED` for one of Windows 9x, `E_TOO_LARGE`, `E_BACKEND` where its root key cannot be read.
    pub fn open(name: &str, source: Arc<dyn Source>, logs: Vec<LogFile>, job: &Job) -> Result<Opened> {
        let size = source.size();
        if size > LIMIT {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("{name} has {size} bytes, a hive has at most {LIMIT}"),
            ));
        }
        let base = Base::read(&*source).map_err(|no| refusal(name, no))?;
        let Recovered { base: recovered, overlay, ahead, mut notes } = recover(&base, &logs, job)?;
        let logs: Vec<_> = logs.into_iter().map(|(_, source)| source).collect();
        if overlay.is_empty() {
            state(&base, &mut notes);
            return Ok(Opened {
                hive: Hive::of(name, base, Pages::new(source, logs, overlay))?,
                as_is: None,
                ahead,
                notes,
            });
        }
        let as_is = Hive::of(name, base, Pages::new(Arc::clone(&source), Vec::new(), Overlay::default())).ok();
        Ok(Opened { hive: Hive::of(name, recovered, Pages::new(source, logs, overlay))?, as_is, ahead, notes })
    }

    pub(super) fn of(name: &str, base: Base, pages: Pages) -> Result<Hive> {
        let cells = Cells { pages, damage: Damage::default() };
        // The first cell of the first bin, where Windows puts it.
        const USUAL: u32 = 32;
        let root = Key::read(&cells, base.root).or_else(|| Key::read(&cells, USUAL)).ok_or_else(|| {
            let damage = cells.damage.words().unwrap_or_default();
            Error::new(ErrorCode::Backend, format!("the root key of {name} cannot be read: {damage}"))
                .hint("the file is cut or damaged; getfile collects it for other tools")
        })?;
        Ok(Hive { cells, root, base })
    }

    pub fn root(&self) -> &Key {
        &self.root
    }

    /// The end of the path that the hive was written under, as Windows noted it in the file.
    pub fn file_name(&self) -> &str {
        &self.base.file_name
    }

    pub fn damage(&self) -> &Damage {
        &self.cells.damage
    }

    pub(super) fn note(&self, what: &'static str, offset: u32) {
        self.cells.damage.note(what, Cells::place(offset));
    }

    pub(super) fn key_at(&self, offset: u32) -> Option<Key> {
        Key::read(&self.cells, offset)
    }

    pub(super) fn subkey_offsets(&self, key: &Key, job: &Job) -> Result<Vec<u32>> {
        key.subkey_offsets(&self.cells, job)
    }

    /// The sub-keys of a key in the file's order, read one at a time.
    pub fn subkeys<'a>(&'a self, key: &Key, job: &Job) -> Result<impl Iterator<Item = Key> + use<'a>> {
        Ok(self.subkey_offsets(key, job)?.into_iter().filter_map(|offset| self.key_at(offset)))
    }

    /// The values of a key in the file's order, without their data.
    pub fn values<'a>(&'a self, key: &Key) -> impl Iterator<Item = Value> + use<'a> {
        key.value_offsets(&self.cells).into_iter().filter_map(|offset| Value::read(&self.cells, offset))
    }

    /// A value's data, at most `limit` bytes of it.
    pub fn data(&self, value: &Value, limit: usize) -> Data {
        value.data(&self.cells, self.has_segments(), limit)
    }

    pub(super) fn has_segments(&self) -> bool {
        self.base.minor > 3
    }

    /// The sub-key of that name.
    pub fn subkey(&self, key: &Key, name: &str, job: &Job) -> Result<Option<Key>> {
        for (n, subkey) in self.subkeys(key, job)?.enumerate() {
            if n % 1024 == 1023 {
                job.check()?;
            }
            if subkey.name.is(name) {
                return Ok(Some(subkey));
            }
        }
        Ok(None)
    }

    /// The key at a path below another.
    pub fn find<'p>(&self, top: &Key, path: impl IntoIterator<Item = &'p str>, job: &Job) -> Result<Option<Key>> {
        let mut key = top.clone();
        for name in path {
            match self.subkey(&key, name, job)? {
                Some(found) => key = found,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// The value of that name; "" is the default one.
    pub fn value(&self, key: &Key, name: &str) -> Option<Value> {
        self.values(key).find(|value| value.name.is(name))
    }

    /// Names of sub-keys that are near to one that is not there, at most three.
    pub fn near(&self, key: &Key, missing: &str, job: &Job) -> Result<Vec<Name>> {
        const LOOKED_AT: usize = 20_000;
        let mut names: Vec<Name> = self.subkeys(key, job)?.take(LOOKED_AT).map(|k| k.name).collect();
        let missing = missing.to_lowercase();
        let mut near = Vec::new();
        while near.len() < 3 {
            let lower: Vec<String> = names.iter().map(|n| n.as_str().to_lowercase()).collect();
            let found = crate::nearest::nearest(&missing, lower.iter().map(String::as_str));
            let Some(at) = found.and_then(|found| lower.iter().position(|n| n == found)) else { break };
            near.push(names.swap_remove(at));
        }
        Ok(near)
    }
}

fn state(base: &Base, notes: &mut Vec<String>) {
    if !base.valid {
        notes.push("the hive's base block is damaged and no log has a copy of it: read as it is".into());
    } else if base.is_dirty() {
        notes.push("the hive was being written and no log of it was applied: read as it is".into());
    }
}

fn refusal(name: &str, why: NoHive) -> Error {
    match why {
        NoHive::Creg => {
            Error::new(ErrorCode::Unsupported, format!("{name} is a registry of Windows 9x (CREG), which is not read"))
                .hint("getfile collects it for another tool")
        }
        NoHive::Empty => Error::new(ErrorCode::BadArgs, format!("{name} is empty: it holds no registry hive")),
        NoHive::Other => {
            Error::new(ErrorCode::BadArgs, format!("{name} is no registry hive: it does not begin with regf"))
                .hint("name a hive such as SYSTEM or NTUSER.DAT, or the folder that a Windows volume is mounted on")
        }
    }
}
