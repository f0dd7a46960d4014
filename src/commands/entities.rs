//! The entities of `remediate` and `undo`: one `id` or up to 50 `ids`, paths made absolute.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind};
use crate::registry::Context;

pub const MAX_IDS: usize = 50;

pub fn entity_ids(
    command: &str,
    kind: EntityKind,
    id: Option<String>,
    ids: Option<Vec<String>>,
    cx: &Context<'_>,
) -> Result<Vec<String>> {
    let ids = match (id, ids) {
        (Some(_), Some(_)) => {
            return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{command}: id and ids exclude each other")));
        }
        (Some(id), None) => vec![id],
        (None, Some(ids)) => ids,
        (None, None) => Vec::new(),
    };
    if ids.is_empty() {
        return Err(Error::new(ErrorCode::BadArgs, format!("{command}: name an entity by id, or several by ids")));
    }
    if ids.len() > MAX_IDS {
        let e = Error::new(ErrorCode::TooLarge, format!("{command}: {} ids; one plan takes {MAX_IDS}", ids.len()));
        return Err(e.hint("ask in several plans"));
    }
    ids.into_iter().map(|id| entity_id(command, kind, id, cx)).collect()
}

fn entity_id(command: &str, kind: EntityKind, id: String, cx: &Context<'_>) -> Result<String> {
    let is_path = matches!(kind, EntityKind::File | EntityKind::Startup);
    if !is_path || id.starts_with("u-") {
        return Ok(id);
    }
    let path = DevicePath::from_text(&id).map_err(|why| Error::new(ErrorCode::BadArgs, format!("{command}: {why}")))?;
    Ok(cx.path(&path)?.to_text().into_owned())
}
