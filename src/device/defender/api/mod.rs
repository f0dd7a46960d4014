//! The API's families, a file each: its endpoints, what they take and what they answer.
//!
//! Invariant: an answer's unknown fields, nulls and words never fail; its texts are untrusted.

pub(crate) mod actions;
mod files;
mod hunting;
mod indicators;
mod library;
mod live_response;
mod machines;
mod respond;

pub use actions::{ActionKind, CommandRun, CommandStatus, MachineAction, Status};
pub use files::FileProfile;
pub use hunting::{Column, Hunted};
pub use indicators::{Indicator, NewIndicator};
pub use library::{LibraryFile, UPLOAD_BYTES};
pub use live_response::{LiveCommand, ScriptResult};
pub use machines::{LogonUser, Machine, MachineAddress};
pub use respond::{IsolationType, ScanType};

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// In lower case: the service writes it either way.
            pub fn new(text: impl AsRef<str>) -> Self {
                $name(text.as_ref().to_ascii_lowercase())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from).map($name::new)
            }
        }

        /// Cleaned: it came from the service.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::shape::clean(&self.0))
            }
        }
    };
}

id! {
    /// A device of the tenant, 40 hex digits.
    MachineId
}
id! {
    /// A machine action, a GUID.
    ActionId
}

/// What people read beside an action; also what it is found by again.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Comment<'a> {
    pub(crate) comment: &'a str,
}
