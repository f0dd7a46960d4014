//! What these devices have, and what to do instead of what they have not: a typed `E_UNSUPPORTED`, never an empty
//! answer.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{AnalyzeQuery, EntityKind, Query, Wish};

/// Whether this host can do such a thing.
pub fn on_host(wish: &Wish) -> Result<()> {
    let hint = match wish {
        Wish::Remediate { kind: EntityKind::Registry, .. } | Wish::Undo { kind: EntityKind::Registry, .. } => {
            "this host has no registry; `hive` names a hive copy, a file that the values are taken out of"
        }
        Wish::Remediate { .. } | Wish::Undo { .. } | Wish::PutFile { .. } | Wish::Collect { .. } => {
            return system(wish);
        }
        Wish::RemediateValues { .. } | Wish::UndoValues { .. } => return system(wish),
        Wish::Run { .. } if cfg!(feature = "run") => return system(wish),
        Wish::Isolate { .. } | Wish::Release => return system(wish),
        Wish::Run { .. } => "this build has no code to run scripts; the typed commands look at the host",
        Wish::DeleteScript { .. } => "the script library is on no device",
        Wish::Scan { .. } => "scans of this host only look: `scan` reads",
        Wish::AddIndicator { .. } | Wish::RemoveIndicator { .. } => "indicators are a Defender tenant's",
        Wish::Disclose(_) => "content is read from the evidence store with `evidence`",
    };
    Err(no_wish(wish, "local", hint))
}

/// An image is read only.
pub fn on_image(wish: &Wish) -> Result<()> {
    Err(no_wish(
        wish,
        "an image",
        "images are read only: `getfile` and `collect` without output_folder collect from them; change the host itself on `local`",
    ))
}

fn no_wish(wish: &Wish, device: &str, hint: &str) -> Error {
    Error::new(ErrorCode::Unsupported, format!("{device} has no `{}`", wish.kind())).hint(hint)
}

#[cfg(target_os = "linux")]
fn system(_: &Wish) -> Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn system(wish: &Wish) -> Result<()> {
    Err(no_wish(wish, "local", NOT_LINUX))
}

const NOT_LINUX: &str = "this system is not supported yet; run it on Linux";

/// The error for a query that the device does not answer.
pub fn no_query(query: &Query, device: &str) -> Error {
    let (command, hint) = match query {
        Query::Services(_) => ("services", NOT_LINUX),
        Query::Drivers(_) => ("drivers", NOT_LINUX),
        Query::Tasks(_) => ("scheduledtasks", NOT_LINUX),
        Query::Startup(_) => ("startupfolders", NOT_LINUX),
        Query::Registry(_) => ("registry", NOT_LINUX),
        Query::Persistence(_) => ("persistence", NOT_LINUX),
        Query::Analyze(AnalyzeQuery::Process { .. }) => ("analyze process", "it needs a running system: `local`"),
        Query::Analyze(_) => ("analyze", NOT_LINUX),
        Query::Scan(_) => ("scan", NOT_LINUX),
        Query::Processes(_) => ("processes", "it needs a running system: `local`"),
        Query::Connections(_) => ("connections", "it needs a running system: `local`"),
        Query::Remediated(_) => ("remediate list", "nothing is changed on an image"),
        Query::Hunt(_) => ("hunt", "it asks a Defender tenant, without a session"),
        Query::Indicators(_) => ("indicator", "indicators are a Defender tenant's"),
        Query::Arrival(_) => ("connect", NOT_LINUX),
        Query::Enter(_) => ("cd", NOT_LINUX),
        Query::Dir(_) => ("dir", NOT_LINUX),
        Query::Find(_) => ("findfile", NOT_LINUX),
        Query::FileInfo(_) => ("fileinfo", NOT_LINUX),
    };
    Error::new(ErrorCode::Unsupported, format!("{device} has no `{command}`")).hint(hint)
}
