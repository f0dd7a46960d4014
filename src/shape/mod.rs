//! A result on its way out: page, filter, project, clean, redact, text. One place, every path: answers, errors,
//! progress and logs go through here, so no text of a device reaches anyone uncleaned.

mod clean;

pub use clean::{Untrusted, clean, is_plain, is_plain_char};
