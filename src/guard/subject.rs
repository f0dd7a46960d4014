//! What a policy judges: a device's id, and what its backend says of it.
//!
//! Invariant: a name that a device gives itself never stands for this host, an image, a tenant or another device's id.

use super::Guard;
use super::policy::{LOCAL, Policy, Tier};
use crate::model::{DeviceId, DeviceRow, DeviceTraits};
use std::sync::Arc;

/// No process meets more devices than a tenant lists.
const REMEMBERED: usize = 100_000;

/// A device as the policy meets it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) id: &'a DeviceId,
    pub(super) traits: Option<&'a DeviceTraits>,
}

impl<'a> From<&'a DeviceId> for Subject<'a> {
    fn from(id: &'a DeviceId) -> Self {
        Subject { id, traits: None }
    }
}

impl Subject<'_> {
    /// Whether an entry of a group's `devices` means it: its id, its name, or `BACKEND:NAME`.
    pub(super) fn is_named(&self, entry: &str) -> bool {
        if entry == self.id.as_str() {
            return true;
        }
        let Some(traits) = self.traits.filter(|t| !t.name.is_empty()) else { return false };
        match entry.split_once(':') {
            Some((backend, name)) => backend == traits.backend && name.eq_ignore_ascii_case(&traits.name),
            None => !is_id(entry) && entry != traits.backend && entry.eq_ignore_ascii_case(&traits.name),
        }
    }

    /// Whether its id says that only a backend far away knows what it is.
    pub(super) fn is_of_a_backend(&self) -> bool {
        self.id.as_str() != LOCAL && is_id(self.id.as_str())
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.traits.is_some_and(|t| t.tags.iter().any(|own| own == tag))
    }
}

fn is_id(entry: &str) -> bool {
    entry == LOCAL || (entry.len() == 40 && entry.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Guard {
    /// Remembers what a backend says of a device that was opened.
    pub fn know(&self, device: &DeviceId, traits: DeviceTraits) {
        let mut known = self.known.lock().unwrap_or_else(|p| p.into_inner());
        if known.len() >= REMEMBERED && !known.contains_key(device) {
            known.clear();
        }
        known.insert(device.clone(), Arc::new(traits));
    }

    pub(super) fn traits(&self, device: &DeviceId) -> Option<Arc<DeviceTraits>> {
        self.known.lock().unwrap_or_else(|p| p.into_inner()).get(device).cloned()
    }

    /// Group and tier of each row, where the policy has them: one look at the policy for all.
    pub fn place_rows(&self, rows: &mut [DeviceRow]) {
        let Ok(policy) = self.policy_now() else { return };
        for row in rows {
            let traits = (!row.tags.is_empty() || row.backend != LOCAL).then(|| DeviceTraits {
                backend: row.backend,
                name: row.name.raw().to_owned(),
                tags: row.tags.clone(),
            });
            let found = policy.place(Subject { id: &row.id, traits: traits.as_ref() });
            (row.group, row.tier) =
                found.map_or((None, None), |(group, tier)| (Some(group.to_owned()), Some(tier.as_str().to_owned())));
        }
    }

    /// The device's group and tier now, for a plan that was made for others; `None` where nothing new is known.
    pub(super) fn place_now(&self, policy: &Policy, device: &DeviceId) -> Option<Option<(String, Tier)>> {
        let traits = self.traits(device)?;
        let found = policy.place(Subject { id: device, traits: Some(&traits) });
        Some(found.map(|(group, tier)| (group.to_owned(), tier)))
    }
}
