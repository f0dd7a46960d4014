//! systemd's units from their files alone: on this host, whether systemd runs or not, and in an image.
//!
//! [`Units::read`] looks through a manager's search path, [`Units::load`] puts a unit together. Invariant: bounded by
//! what the constants here say, whatever the files hold; nothing outside [`super::view::View`] is opened.

mod exec;
mod name;
mod search;
mod text;
mod unit;

#[cfg(test)]
pub(super) mod tests;

pub use exec::{Exec, specify};
pub use name::{Name, unescape};
pub use search::{Directory, Entry, Index, Place, Scope, Wanted, directories, own_directories};
pub use text::{Assignment, Text};
pub use unit::{Part, State, Unit, Units, is_true};
