//! The rows of many devices in one listing, each with its device, kept on disk while they are many.
//!
//! Invariants: memory grows by a few bytes a row; a row is read back as it was, so that filter, sort and print treat it as
//! a row of one device.

use super::select::Rows;
use super::spill::{Spill, Spilled};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Cell, DeviceId, DeviceRef, Job};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of all rows: what a state directory can be expected to have.
const MOST: u64 = 4 << 30;

/// Takes the rows of one device after the other.
pub struct Gathering {
    fields: &'static [&'static str],
    /// Which fields are kept.
    kept: Vec<bool>,
    bytes: Spill,
    places: Vec<Place>,
    devices: Vec<Gatherer>,
}

/// A device whose rows were added: where it stands among all, what it is called, its id.
struct Gatherer {
    at: usize,
    name: String,
    id: DeviceId,
}

/// Where a row lies, and whose it is.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    len: u32,
    device: u32,
}

/// A listing whose first field is the device's name.
pub struct Gathered {
    fields: &'static [&'static str],
    bytes: Spilled,
    places: Vec<Place>,
    devices: Vec<String>,
    /// The row that was looked at last: a printer asks for cell after cell.
    last: Mutex<Option<(usize, Vec<Cell<'static>>)>>,
    job: Arc<Job>,
}

impl Gathering {
    /// `fields` are the rows' own after the device's; those that `keep` does not want are left out.
    pub fn new(dir: &Path, fields: &'static [&'static str], keep: impl Fn(&str) -> bool) -> Gathering {
        let own = fields.get(1..).unwrap_or_default();
        Gathering {
            fields,
            kept: own.iter().map(|field| keep(field)).collect(),
            bytes: Spill::new(dir),
            places: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// Adds the rows of the device that stands at `at` among all.
    pub fn add(&mut self, at: usize, device: &DeviceRef, rows: &dyn Rows, job: &Job) -> Result<()> {
        let index = narrow(self.devices.len())?;
        let (name, id) = (device.name.raw().to_owned(), device.id.clone());
        self.devices.push(Gatherer { at, name, id });
        let mut line = Vec::new();
        for row in 0..rows.len() {
            if row.is_multiple_of(super::select::STRIDE) {
                job.check()?;
            }
            let cells: Vec<Cell<'_>> = self
                .kept
                .iter()
                .enumerate()
                .map(|(field, kept)| if *kept { rows.cell(row, field) } else { Cell::Empty })
                .collect();
            line.clear();
            serde_json::to_writer(&mut line, &cells).map_err(damaged)?;
            let at = self.bytes.len();
            if at.saturating_add(line.len() as u64) > MOST {
                let what = format!("the rows of all devices are more than {} GiB", MOST >> 30);
                return Err(Error::new(ErrorCode::TooLarge, what).hint("name fewer devices, or what to look for"));
            }
            self.bytes.push(&line)?;
            self.places.push(Place { at, len: narrow(line.len())?, device: index });
        }
        Ok(())
    }

    /// In the order of the devices, whichever answered first. `job` hears of a row that cannot be read again.
    pub fn finish(mut self, job: Arc<Job>) -> Result<Gathered> {
        let devices = &self.devices;
        self.places.sort_by_key(|place| devices.get(place.device as usize).map(|device| device.at));
        // A name is the device's own word: where two say the same, the ids tell whose a row is.
        let mut called: HashMap<String, usize> = HashMap::new();
        devices.iter().for_each(|device| *called.entry(device.name.to_lowercase()).or_default() += 1);
        let shown = |device: &Gatherer| match called.get(&device.name.to_lowercase()) {
            Some(1) => device.name.clone(),
            _ => format!("{} ({})", device.name, device.id),
        };
        let devices = devices.iter().map(shown).collect();
        Ok(Gathered {
            fields: self.fields,
            bytes: self.bytes.finish()?,
            places: self.places,
            devices,
            last: Mutex::default(),
            job,
        })
    }
}

impl Gathered {
    fn read(&self, place: Place) -> Result<Vec<Cell<'static>>> {
        let mut line = Vec::with_capacity(place.len as usize);
        self.bytes.read(place.at, place.len as usize, &mut line)?;
        serde_json::from_slice(&line).map_err(damaged)
    }
}

impl Rows for Gathered {
    fn fields(&self) -> &'static [&'static str] {
        self.fields
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn cell(&self, row: usize, field: usize) -> Cell<'_> {
        let Some(place) = self.places.get(row) else { return Cell::Empty };
        let Some(own) = field.checked_sub(1) else {
            let device = self.devices.get(place.device as usize);
            return device.map_or(Cell::Empty, |name| Cell::Raw(Cow::Borrowed(name)));
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(n, _)| *n != row) {
            *last = match self.read(*place) {
                Ok(cells) => Some((row, cells)),
                Err(e) => {
                    self.job.warn(format!("some rows cannot be read again: {}", e.message));
                    None
                }
            };
        }
        last.as_ref().and_then(|(_, cells)| cells.get(own)).cloned().unwrap_or(Cell::Empty)
    }
}

fn narrow(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::new(ErrorCode::TooLarge, format!("{n} are more than a listing holds")))
}

fn damaged(e: serde_json::Error) -> Error {
    Error::new(ErrorCode::Internal, "a row that was kept is damaged").source(e)
}

/// One object of a device as a row: a field for each of its members.
pub struct ObjectRow {
    fields: &'static [&'static str],
    cells: Vec<Cell<'static>>,
}

impl ObjectRow {
    /// `fields` are the members that are taken, in this order.
    pub fn new(fields: &'static [&'static str], object: &serde_json::value::RawValue) -> Result<ObjectRow> {
        let mut members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(object.get()).map_err(damaged)?;
        let cells = fields.iter().map(|field| members.remove(*field).map_or(Cell::Empty, cell)).collect();
        Ok(ObjectRow { fields, cells })
    }
}

impl Rows for ObjectRow {
    fn fields(&self) -> &'static [&'static str] {
        self.fields
    }

    fn len(&self) -> usize {
        1
    }

    fn cell(&self, row: usize, field: usize) -> Cell<'_> {
        self.cells.get(field).filter(|_| row == 0).cloned().unwrap_or(Cell::Empty)
    }
}

fn cell(value: serde_json::Value) -> Cell<'static> {
    use serde_json::Value;
    match value {
        Value::Null => Cell::Empty,
        Value::Bool(b) => Cell::Bool(b),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Cell::Unsigned(n),
            (None, Some(n)) => Cell::Signed(n),
            _ => Cell::Text(n.to_string().into()),
        },
        Value::String(text) => Cell::Raw(text.into()),
        Value::Array(items) => Cell::List(items.into_iter().map(cell).collect()),
        Value::Object(members) => {
            Cell::Object(members.into_iter().map(|(name, value)| (name.into(), cell(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::private::scratch::Scratch;
    use crate::shape::Untrusted;
    use crate::shape::{Wanted, select, write_row};
    use proptest::prelude::*;

    const FIELDS: &[&str] = &["device", "a", "b"];

    fn device(id: &str, name: &str) -> DeviceRef {
        DeviceRef { id: DeviceId::new(id), name: Untrusted::new(name), platform: "linux", backend: "image" }
    }

    struct Two(Vec<[Cell<'static>; 2]>);

    impl Rows for Two {
        fn fields(&self) -> &'static [&'static str] {
            &["a", "b"]
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn cell(&self, row: usize, field: usize) -> Cell<'_> {
            self.0.get(row).and_then(|cells| cells.get(field)).cloned().unwrap_or(Cell::Empty)
        }
    }

    fn line(rows: &dyn Rows, row: usize) -> String {
        let mut out = Vec::new();
        write_row(rows, row, &[0, 1, 2], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_stand_in_the_order_of_the_devices_and_sort_across_them() {
        let (dir, job) = (Scratch::new(), Arc::new(Job::default()));
        let mut gathering = Gathering::new(&dir, FIELDS, |_| true);
        let row = |n| [Cell::Unsigned(n), Cell::Time(Timestamp::from_unix(7, 1_000_001))];
        gathering.add(1, &device("2", "late\u{202e}"), &Two(vec![row(3), row(1)]), &job).unwrap();
        gathering.add(0, &device("1", "early"), &Two(vec![row(2)]), &job).unwrap();
        let rows = gathering.finish(job.clone()).unwrap();
        assert_eq!(line(&rows, 0), r#"{"device":"early","a":2,"b":"1970-01-01T00:00:07.001Z"}"#);
        assert!(line(&rows, 1).starts_with(r#"{"device":"late\\u{202e}","a":3"#), "{}", line(&rows, 1));
        let wanted = |sort: &str, filter: &str| Wanted {
            sort: Some(sort.into()),
            filter: Some(filter.into()),
            ..Wanted::default()
        };
        assert_eq!(select(&rows, &wanted("a", "a>0"), &job).unwrap().order, [2, 0, 1]);
        assert_eq!(select(&rows, &wanted("-a", "device~l and a<3"), &job).unwrap().order, [0, 2]);
        assert!(job.take_warnings().is_empty());
    }

    #[test]
    fn of_two_devices_with_one_name_the_ids_tell() {
        let (dir, job) = (Scratch::new(), Arc::new(Job::default()));
        let mut gathering = Gathering::new(&dir, FIELDS, |_| true);
        for (n, (id, name)) in [("1", "web"), ("2", "WEB"), ("3", "db")].into_iter().enumerate() {
            gathering.add(n, &device(id, name), &Two(vec![[Cell::Bool(true), Cell::Empty]]), &job).unwrap();
        }
        let rows = gathering.finish(job).unwrap();
        for (n, shown) in ["web (1)", "WEB (2)", "db"].into_iter().enumerate() {
            assert_eq!(line(&rows, n), format!("{{\"device\":\"{shown}\",\"a\":true}}"));
        }
    }

    #[test]
    fn an_object_is_one_row_and_what_nobody_wants_is_not_kept() {
        let (dir, job) = (Scratch::new(), Arc::new(Job::default()));
        let object = serde_json::value::to_raw_value(&serde_json::json!({
            "b": { "x": [1, -2, "\u{7}"] }, "a": null, "other": true
        }));
        let object = ObjectRow::new(&["a", "b"], &object.unwrap()).unwrap();
        let mut gathering = Gathering::new(&dir, FIELDS, |field| field == "b");
        gathering.add(0, &device("1", "d"), &object, &job).unwrap();
        gathering.add(1, &device("2", "e"), &Two(vec![[Cell::Bool(true), Cell::Bool(false)]]), &job).unwrap();
        let rows = gathering.finish(job).unwrap();
        assert_eq!(line(&rows, 0), r#"{"device":"d","b":{"x":[1,-2,"\\x07"]}}"#);
        assert_eq!(line(&rows, 1), r#"{"device":"e","b":false}"#);
    }

    fn cells() -> impl Strategy<Value = Cell<'static>> {
        let leaf = prop_oneof![
            Just(Cell::Empty),
            any::<bool>().prop_map(Cell::Bool),
            any::<u64>().prop_map(Cell::Unsigned),
            any::<i64>().prop_map(Cell::Signed),
            (any::<i32>(), 0u32..1_000_000_000).prop_map(|(s, n)| Cell::Time(Timestamp::from_unix(i64::from(s), n))),
            any::<String>().prop_map(|t| Cell::Text(t.into())),
            any::<String>().prop_map(|t| Cell::Raw(t.into())),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let member = (any::<String>().prop_map(Cow::from), inner.clone());
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Cell::List),
                proptest::collection::vec(member, 0..4).prop_map(Cell::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_row_comes_back_as_it_was(a in cells(), b in cells()) {
            let (dir, job) = (Scratch::new(), Arc::new(Job::default()));
            let mut gathering = Gathering::new(&dir, FIELDS, |_| true);
            gathering.add(0, &device("1", "d"), &Two(vec![[a.clone(), b.clone()]]), &job).unwrap();
            let rows = gathering.finish(job).unwrap();
            prop_assert_eq!((rows.cell(0, 1), rows.cell(0, 2)), (a, b));
        }
    }
}
