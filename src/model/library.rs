//! Items of the script library: their names, what they are, and where a device gets their bytes.
//!
//! Invariant: an [`ItemName`] is one plain file name on every system, so it never climbs, hides or collides by spelling.

use super::{AsCell, Cell, Sha256};
use crate::error::{Error, ErrorCode, Result};
use crate::shape::clean;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::fs::File;

const NAME_MAX: usize = 128;
/// Names that Windows gives to devices, whatever extension follows.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$"];

/// A library file's name: letters, digits, `-`, `_`, `.` (reference: live-response-commands, 5.7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct ItemName(String);

impl ItemName {
    /// `E_PATH_ESCAPE` for what could leave a folder, `E_BAD_ARGS` for the rest.
    pub fn parse(text: &str) -> Result<Self> {
        let shown: String = clean(&text.chars().take(60).collect::<String>()).into_owned();
        let no = |code, why: &str| {
            Err(Error::new(code, format!("{shown:?} is no name of a library file: {why}"))
                .hint("letters, digits, hyphen, underscore and dot; no dot or hyphen first, no dot last"))
        };
        if text.contains(['/', '\\', ':']) || text.contains("..") || text.to_ascii_lowercase().contains("%2e") {
            return no(ErrorCode::PathEscape, "it could lead elsewhere");
        }
        if !(1..=NAME_MAX).contains(&text.len()) {
            return no(ErrorCode::BadArgs, "names have 1 to 128 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return no(ErrorCode::BadArgs, "it has another character");
        }
        if text.starts_with(['.', '-']) || text.ends_with('.') {
            return no(ErrorCode::BadArgs, "it begins or ends with a mark");
        }
        let stem = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let port = |kind: &str| stem.strip_prefix(kind).is_some_and(|n| n.len() == 1 && n != "0" && is_digits(n));
        if DEVICES.contains(&stem.as_str()) || port("com") || port("lpt") {
            return no(ErrorCode::BadArgs, "Windows has a device of that name");
        }
        Ok(ItemName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some system would take both names for one.
    pub fn collides(&self, other: &ItemName) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsCell for ItemName {
    fn as_cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(&self.0))
    }
}

impl<'de> Deserialize<'de> for ItemName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        ItemName::parse(&text).map_err(|e| serde::de::Error::custom(e.message))
    }
}

/// What an item is, by its first line and its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    Shell,
    Python,
    Perl,
    Ruby,
    PowerShell,
    /// Another interpreter, which its first line names.
    Script,
    /// A program of some system.
    Program,
    Data,
}

impl ItemKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            ItemKind::Shell => "shell",
            ItemKind::Python => "python",
            ItemKind::Perl => "perl",
            ItemKind::Ruby => "ruby",
            ItemKind::PowerShell => "powershell",
            ItemKind::Script => "script",
            ItemKind::Program => "program",
            ItemKind::Data => "data",
        }
    }

    /// Whether some system would run it, so that it has to be signed.
    pub const fn is_runnable(self) -> bool {
        !matches!(self, ItemKind::Data)
    }
}

/// What runs a script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// An absolute path, or a name that is looked for on the device's fixed search path.
    pub program: String,
    /// The options that the script's first line gives it. No caller can set one.
    pub options: Vec<String>,
}

/// A file of the library, by name and content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryItem {
    pub name: ItemName,
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub kind: ItemKind,
    /// What runs it, where it is a script.
    pub interpreter: Option<Interpreter>,
    /// The id of the trusted minisign key that signed exactly these bytes.
    pub signer: Option<String>,
}

/// Where a device gets the bytes of library items. What it gives is hashed again by who runs it.
pub trait Supply: Send + Sync {
    fn open(&self, sha256: &Sha256) -> Result<File>;
}

/// For tests of what needs no library.
#[cfg(test)]
pub(crate) struct NoSupply;

#[cfg(test)]
impl Supply for NoSupply {
    fn open(&self, sha256: &Sha256) -> Result<File> {
        Err(Error::new(ErrorCode::NotFound, format!("no {sha256}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gt_124_names_that_climb_are_no_names() {
        let escapes = ["../../x", r"..\..\x", "%2e%2e/x", "%2E%2Ex", "a/b", "C:x", "..", "/etc/passwd", "a..b"];
        for name in escapes {
            assert_eq!(ItemName::parse(name).unwrap_err().code, ErrorCode::PathEscape, "{name}");
        }
        let long = "x".repeat(300);
        let bad = [
            ".",
            "",
            "a\0b",
            &long,
            "CON.ps1",
            "con",
            "Lpt1.txt",
            ".hidden",
            "-rf",
            "x.",
            "a b",
            "größe.sh",
            "x\n",
            "a;b",
            "\u{202e}hs.x",
            "ｒun.sh",
        ];
        for name in bad {
            assert_eq!(ItemName::parse(name).unwrap_err().code, ErrorCode::BadArgs, "{name}");
        }
        for name in ["collect.sh", "a", "A-b_c.1.tar.gz", "com0", "console.py", "COM10"] {
            assert_eq!(ItemName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_of_an_old_record_is_checked_as_one_that_is_typed() {
        assert!(serde_json::from_str::<ItemName>(r#""../x""#).is_err());
        assert!(ItemName::parse("Tool.sh").unwrap().collides(&ItemName::parse("tool.SH").unwrap()));
    }
}
