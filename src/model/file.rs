//! Files: directory entries, one file in full, and what identifies a file.

use super::{DevicePath, Sha256, Timestamp, row};
use crate::model::{AsCell, Cell};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a file is, whatever its name: compared on the opened handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
}

impl std::fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.device >> 8 & 0xfff, self.device & 0xff, self.inode)
    }
}

/// Lists one directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirQuery {
    pub path: DevicePath,
    /// `path` of the rows is absolute; otherwise relative to the session's directory.
    pub full_path: bool,
}

/// Searches below a directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindQuery {
    /// A glob over the name, not the path.
    pub name: String,
    pub path: DevicePath,
    pub max_depth: Option<u32>,
    pub min_size: Option<u64>,
    pub max_size: Option<u64>,
    pub modified_after: Option<Timestamp>,
    pub modified_before: Option<Timestamp>,
    /// Rows need only `name`, `path` and `kind`, which a directory tells without a look at each file.
    pub brief: bool,
}

/// Mode, owner, group and flags of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attributes {
    /// As `ls -l` writes it: `-rwsr-xr-x`.
    pub mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Untrusted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Untrusted>,
    /// The name starts with a dot.
    pub hidden: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub append_only: bool,
}

impl AsCell for Attributes {
    fn as_cell(&self) -> Cell<'_> {
        let mut cells = vec![
            ("mode".into(), self.mode.as_cell()),
            ("owner".into(), self.owner.as_cell()),
            ("group".into(), self.group.as_cell()),
            ("hidden".into(), self.hidden.as_cell()),
        ];
        for (name, set) in [("immutable", self.immutable), ("append_only", self.append_only)] {
            if set {
                cells.push((name.into(), Cell::Bool(true)));
            }
        }
        Cell::Object(cells)
    }
}

row! {
    /// A directory entry.
    pub struct FileEntry {
        pub name: DevicePath,
        pub path: DevicePath,
        /// `file`, `directory`, `symlink`, `fifo`, `socket`, `block_device`, `char_device`.
        pub kind: &'static str,
        pub size_bytes: Option<u64>,
        pub created: Option<Timestamp>,
        pub modified: Option<Timestamp>,
        pub accessed: Option<Timestamp>,
        /// Where a symlink points.
        pub target: Option<DevicePath>,
        pub attributes: Option<Attributes>,
    }
}

/// All about one file, its bytes read once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfoQuery {
    pub path: DevicePath,
}

/// `fileinfo`: metadata and hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    pub path: DevicePath,
    pub size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    pub modified: Timestamp,
    pub accessed: Timestamp,
    /// Of the inode (`ctime`).
    pub changed: Timestamp,
    pub attributes: Attributes,
    pub md5: String,
    pub sha1: String,
    pub sha256: Sha256,
    /// TLSH; absent where the file is too short or too uniform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsh: Option<String>,
    /// By magic: `ELF 64-bit executable`, `application/zip`, `text`.
    pub kind: String,
    /// The package that owns it, and whether its bytes are the package's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageOwner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Where the path is a symlink: what was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<DevicePath>,
    /// Hard links to the same bytes.
    pub links: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackageOwner {
    pub name: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Untrusted>,
    /// `dpkg` or `rpm`.
    pub manager: String,
    /// The hash is the one that the package database lists; absent where it lists none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmodified: Option<bool>,
}

/// Reads one file's bytes for the evidence store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    pub path: DevicePath,
}

/// The most bytes of a file that are fetched: 3 GB, as Live Response has it, however a gigabyte is counted.
pub const FILE_LIMIT: u64 = 3 << 30;

/// What a device knows of a file whose bytes it hands out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileFacts {
    /// Absolute, as it was opened.
    pub path: DevicePath,
    pub size_bytes: u64,
    pub modified: Option<Timestamp>,
    pub identity: Option<FileIdentity>,
    /// Why its content is on the secret list, by its place: `password hashes`, `private key`, `process memory`.
    pub secret: Option<String>,
}

/// Checks that a path is a directory and gives it absolute and normalised, for `cd`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnterQuery {
    pub path: DevicePath,
}
