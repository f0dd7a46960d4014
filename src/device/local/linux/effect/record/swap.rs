//! Two files that changed places: which of them lies where now.

use super::{Kept, What};
use crate::device::local::linux::effect::place::{Place, identity};
use crate::model::{DevicePath, FileIdentity, Sha256};
use serde::{Deserialize, Serialize};

/// A file and the one that was written to take its place; durable before they change places.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    pub old: FileIdentity,
    pub old_sha256: Sha256,
    pub new: FileIdentity,
}

/// What lies under the name that both are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lies {
    Old,
    New,
    /// A third file, and the new one still beside it.
    Beside,
    /// A third file, or none.
    Neither,
}

pub fn lies(kept: &Kept) -> Lies {
    let Some((swap, place, aside)) = places(kept) else { return Lies::Neither };
    let at = |place: &Place| place.look().ok().map(|s| identity(&s));
    match at(&place) {
        Some(i) if i == swap.old => Lies::Old,
        Some(i) if i == swap.new => Lies::New,
        _ if at(&aside) == Some(swap.new) => Lies::Beside,
        _ => Lies::Neither,
    }
}

/// The name beside, where a file still lies there after a deed that was interrupted.
pub fn leftover(kept: &Kept, path: &DevicePath) -> Option<String> {
    let name = &kept.file.as_ref()?.aside;
    let aside = Place::reach(path).ok()?.beside(name).ok()?;
    aside.look().ok().map(|_| name.clone())
}

pub(in crate::device::local::linux::effect) fn places(kept: &Kept) -> Option<(&Swap, Place, Place)> {
    let Some(What::Line(_) | What::Value(_)) = kept.what else { return None };
    let file = kept.file.as_ref()?;
    let place = Place::reach(file.path.as_ref()?).ok()?;
    let aside = place.beside(&file.aside).ok()?;
    Some((kept.swap.as_ref()?, place, aside))
}
