//! Rows of listings: plain structs whose fields can be filtered, sorted, projected and printed by name, without a
//! detour over JSON values.

use super::{DevicePath, Sha256, Timestamp};
use crate::shape::Untrusted;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One field of one row, borrowed. Its serde form is for rows that wait on our own disk, never for a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell<'a> {
    /// Absent: the wire leaves it out.
    Empty,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    #[serde(with = "to_the_nanosecond")]
    Time(Timestamp),
    /// Clean, ready to be shown.
    Text(Cow<'a, str>),
    /// From a device, not yet cleaned.
    Raw(Cow<'a, str>),
    Object(Vec<(Cow<'static, str>, Cell<'a>)>),
    List(Vec<Cell<'a>>),
}

/// A time's own form cuts it to the millisecond.
mod to_the_nanosecond {
    use super::{Deserialize, Serialize, Timestamp};

    pub(super) fn serialize<S: serde::Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        time.to_unix().serialize(s)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let (seconds, nanos) = Deserialize::deserialize(d)?;
        Ok(Timestamp::from_unix(seconds, nanos))
    }
}

/// A row: named fields in a fixed order.
pub trait Row: Send + Sync + 'static {
    const FIELDS: &'static [&'static str];

    fn cell(&self, field: usize) -> Cell<'_>;
}

/// What can stand in a field.
pub trait AsCell {
    fn as_cell(&self) -> Cell<'_>;
}

macro_rules! cells {
    ($($ty:ty => $x:ident $cell:expr;)*) => { $(impl AsCell for $ty {
        fn as_cell(&self) -> Cell<'_> {
            let $x = self;
            $cell
        }
    })* };
}

cells! {
    bool => x Cell::Bool(*x);
    u8 => x Cell::Unsigned(u64::from(*x));
    u16 => x Cell::Unsigned(u64::from(*x));
    u32 => x Cell::Unsigned(u64::from(*x));
    u64 => x Cell::Unsigned(*x);
    i32 => x Cell::Signed(i64::from(*x));
    i64 => x Cell::Signed(*x);
    String => x Cell::Text(Cow::Borrowed(x));
    &'static str => x Cell::Text(Cow::Borrowed(x));
    Untrusted => x Cell::Raw(Cow::Borrowed(x.raw()));
    DevicePath => x Cell::Text(x.to_text());
    Sha256 => x Cell::Text(Cow::Borrowed(x.as_str()));
    Timestamp => x Cell::Time(*x);
    super::DeviceId => x Cell::Raw(Cow::Borrowed(x.as_str()));
    super::CommandId => x Cell::Text(Cow::Borrowed(x.as_str()));
    super::UndoId => x Cell::Text(Cow::Borrowed(x.as_str()));
    super::RequestId => x Cell::Text(Cow::Borrowed(x.as_str()));
}

impl<T: AsCell> AsCell for Option<T> {
    fn as_cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Empty, AsCell::as_cell)
    }
}

impl<T: AsCell> AsCell for Vec<T> {
    fn as_cell(&self) -> Cell<'_> {
        if self.is_empty() { Cell::Empty } else { Cell::List(self.iter().map(AsCell::as_cell).collect()) }
    }
}

/// Defines a row: the struct, its wire form (empty optional fields left out), its schema and its cells.
macro_rules! row {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, schemars::JsonSchema)]
        pub struct $name { $($(#[$fdoc])* #[serde(skip_serializing_if = "crate::model::empty")] pub $field: $ty,)* }

        impl $crate::model::Row for $name {
            const FIELDS: &'static [&'static str] = &[$($crate::model::field_name(stringify!($field))),*];

            fn cell(&self, field: usize) -> $crate::model::Cell<'_> {
                let mut i = 0usize;
                $(
                    if field == i { return $crate::model::AsCell::as_cell(&self.$field); }
                    i += 1;
                )*
                let _ = i;
                $crate::model::Cell::Empty
            }
        }
    };
}
pub(crate) use row;

/// A field's name on the wire: `r#type` is `type`.
pub(crate) const fn field_name(ident: &'static str) -> &'static str {
    match ident.as_bytes() {
        [b'r', b'#', ..] => ident.split_at(2).1,
        _ => ident,
    }
}

/// Whether a field is left out of its row.
pub(crate) fn empty<T: AsCell>(field: &T) -> bool {
    field.as_cell() == Cell::Empty
}

/// What a listing command gives: rows, and facts of its own beside them.
#[derive(Debug)]
pub struct Listing<R, X = NoExtra> {
    pub rows: Vec<R>,
    pub extra: X,
}

/// Nothing beside the rows.
#[derive(Debug, Default, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct NoExtra {}

impl<R> From<Vec<R>> for Listing<R> {
    fn from(rows: Vec<R>) -> Self {
        Listing { rows, extra: NoExtra {} }
    }
}
