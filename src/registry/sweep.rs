//! What a read of many devices gives: one listing, in which a column says which device a row is of.

use super::Tool;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The column's name.
pub(super) const DEVICE: &str = "device";

/// A tool's listing over many devices.
#[derive(Clone, Copy, Debug)]
pub struct Swept {
    /// The device, then the rows' fields; the members of its object where the tool lists nothing.
    pub fields: &'static [&'static str],
    /// Of the compact text; all of them where empty.
    pub columns: &'static [&'static str],
    /// Of the console's table.
    pub table: &'static [&'static str],
}

/// Made once a tool, for the life of the process.
pub fn swept(tool: &dyn Tool) -> Swept {
    static MADE: LazyLock<Mutex<HashMap<&'static str, Swept>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    *made.entry(tool.spec().name).or_insert_with(|| {
        let fields = match tool.row_fields() {
            Some(fields) => fields.to_vec(),
            None => members(tool),
        };
        let spec = tool.spec();
        let columns = |own: &[&'static str]| if own.is_empty() { &[] } else { with_device(own) };
        Swept { fields: with_device(&fields), columns: columns(spec.columns), table: columns(spec.table()) }
    })
}

fn with_device(fields: &[&'static str]) -> &'static [&'static str] {
    let mut all = vec![DEVICE];
    all.extend_from_slice(fields);
    all.leak()
}

fn members(tool: &dyn Tool) -> Vec<&'static str> {
    let schema = tool.data_schema();
    let properties = schema.get("properties").and_then(|p| p.as_object());
    properties.map(|p| p.keys().map(|name| &*name.clone().leak()).collect()).unwrap_or_default()
}
