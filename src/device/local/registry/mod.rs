//! Offline registry hives (`regf`), as msuhanov's "Windows registry file format specification" describes them. Nothing
//! here writes a file: an edit is the pieces of one that would be other.
//!
//! Invariant: a hive is hostile. Every offset and count in it is checked, nothing recurses, memory is bounded whatever
//! the file says, and what cannot be read is counted as damage while the rest is read.

mod base;
mod cell;
mod damage;
mod edit;
mod exhaust;
mod hive;
mod key;
mod log;
mod marvin;
mod name;
mod pages;
mod sound;
mod value;
mod walk;

#[cfg(test)]
pub mod build;
#[cfg(test)]
mod tests;

pub use damage::Damage;
pub use edit::{DATA_LIMIT, Edit};
pub use exhaust::exhaust;
pub use hive::{Hive, LogFile, Opened};
pub use key::Key;
pub use name::{Name, same};
pub use pages::Source;
pub use value::{Data, Value, kind_name, strings};
