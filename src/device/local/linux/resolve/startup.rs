//! Start-up items: a desktop entry, a session script, a shell's start-up file or one line of it.

use super::Resolver;
use super::lines::Named;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{EntityKind, FileTarget, Step};

impl Resolver<'_> {
    pub(super) fn remove_startup_items(&self, ids: &[String]) -> Result<Vec<Step>> {
        let named = ids.iter().map(|id| self.named(id)).collect::<Result<Vec<_>>>()?;
        self.cut_or_quarantine(EntityKind::Startup, named, &|one, target| self.is_startup(one, target))
    }

    fn is_startup(&self, named: &Named, target: &FileTarget) -> Result<()> {
        if self.layout.is_startup(&target.path) || self.layout.is_startup(&named.path) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::BadArgs, format!("{} is no start-up item", target.path))
            .hint("`startupfolders` and `persistence` list them; any other file is of type file"))
    }
}
