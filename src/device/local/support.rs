//! What these devices have, and what to do instead of what they have not: a typed `E_UNSUPPORTED`, never an empty
//! answer.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{AnalyzeQuery, EntityKind, Query, Wish};

/// Whether this host can do such a thing.
pub fn on_host(wish: &Wish) -> Result<()> {
    let hint = match wish {
        Wish::Remediate { kind: EntityKind::Registry, .. } | Wish::Undo { kind: EntityKind::Registry, .. } => {
            "this host has no registry; a hive copy is evidence and is not changed here"
        }
        Wish::Remediate { .. } | Wish::Undo { .. } | Wish::PutFile { .. } | Wish::Collect { .. } => {
            return system(wish);
        }
        Wish::Run { .. } if cfg!(feature = "run") => return system(wish),
        Wish::Isolate { .. } | Wish::Release => return system(wish),
        Wish::Run { .. } => "this build has no code to run scripts; the typed commands look at the host",
        Wish::DeleteScript { .. } => "the script library is on no device",
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
    Err(no_wish(wish, "local", "this system is not supported yet; run it on Linux"))
}

/// The error for a query that the device does not answer.
pub fn no_query(query: &Query, device: &str) -> Error {
    let (command, hint) = match query {
        Query::Services(_) => ("services", "this system is not supported yet"),
        Query::Drivers(_) => ("drivers", "this system is not supported yet"),
        Query::Tasks(_) => ("scheduledtasks", "this system is not supported yet"),
        Query::Startup(_) => ("startupfolders", "this system is not supported yet"),
        Query::Registry(_) => ("registry", "this system is not supported yet"),
        Query::Persistence(_) => ("persistence", "this system is not supported yet"),
        Query::Analyze(AnalyzeQuery::Process { .. }) => ("analyze process", "it needs a running system: `local`"),
        Query::Analyze(_) => ("analyze", "this system is not supported yet"),
        Query::Scan(_) => ("scan", "this system is not supported yet"),
        Query::Processes(_) => ("processes", "it needs a running system: `local`"),
        Query::Connections(_) => ("connections", "it needs a running system: `local`"),
        Query::Remediated(_) => ("remediate list", "nothing is changed on an image"),
        Query::Arrival(_) => ("connect", "this system is not supported yet"),
        Query::Enter(_) => ("cd", "this system is not supported yet"),
        Query::Dir(_) => ("dir", "this system is not supported yet"),
        Query::Find(_) => ("findfile", "this system is not supported yet"),
        Query::FileInfo(_) => ("fileinfo", "this system is not supported yet"),
    };
    Error::new(ErrorCode::Unsupported, format!("{device} has no `{command}`")).hint(hint)
}
