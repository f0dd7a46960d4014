//! What could not be read of a hive: counted by kind, with the place of the first.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The kinds are few and fixed, so this stays small whatever the file holds.
#[derive(Default)]
pub struct Damage(RefCell<BTreeMap<&'static str, (u64, u64)>>);

impl Damage {
    /// `what` is a plural: "sub-key lists that cannot be read". `at` is an offset in the file.
    pub(super) fn note(&self, what: &'static str, at: u64) {
        self.0.borrow_mut().entry(what).or_insert((0, at)).0 += 1;
    }

    pub fn is_none(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// One sentence, or `None` where all was well.
    pub fn words(&self) -> Option<String> {
        let noted = self.0.borrow();
        let each = noted.iter().map(|(what, (count, first))| format!("{count} {what} (first at {first:#x})"));
        (!noted.is_empty()).then(|| each.collect::<Vec<_>>().join(", "))
    }
}
