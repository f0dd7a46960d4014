//! A result on its way out: filter, sort, project, page, clean, redact, text. One place, every path: answers, errors,
//! progress and logs go through here, so no text of a device reaches anyone uncleaned.
//!
//! Invariant: what leaves is cleaned, and secrets in free text are redacted; filters and sorting see only what leaves.

mod clean;
mod filter;
mod gathered;
mod json;
mod redact;
mod result;
mod select;
mod snapshot;
mod spill;
pub mod table;
pub mod text;

pub use clean::{Hidden, Untrusted, clean, clean_counted, is_plain, is_plain_char};
pub use filter::{Filter, natural};
pub use gathered::{Gathered, Gathering, ObjectRow};
pub use json::{CELL_CAP, scrub_json, write_row, write_row_counted};
pub use redact::redact;
pub use result::{Approval, ErrorObject, Page, Progress, ResultObject};
pub use select::{Rows, Selection, Wanted, select};
pub use snapshot::{Builder, PageRows, Snapshot, Snapshots};

/// Free text as it may leave: secrets redacted, everything invisible made visible.
pub fn scrub(text: &str) -> std::borrow::Cow<'_, str> {
    use std::borrow::Cow;
    match redact(text) {
        Cow::Borrowed(text) => clean(text),
        Cow::Owned(text) => match clean(&text) {
            Cow::Owned(cleaned) => Cow::Owned(cleaned),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}
