//! systemd's units from their files alone: on this host, whether systemd runs or not, and in an image.
//!
//! [`Units::read`] looks through a manager's search path, [`Units::load`] puts a unit together. Invariant: bounded by
//! what the constants here say, whatever the files hold; nothing outside [`super::view::View`] is opened.

mod exec;
mod name;
mod search;
mod text;
mod unit;

#[cfg(test)]
pub(super) mod tests;

pub use exec::specify;
pub use name::Name;
pub use search::{Place, Scope};
pub use text::Text;
pub use unit::{Part, State, Unit, Units};

/// Reads a unit's text in every way that there is, for `fuzz/`.
pub fn exhaust(bytes: &[u8]) {
    let text = Text::parse(bytes);
    let Some(name) = Name::parse(b"a-b@c.service") else { return };
    for assignment in text.assignments() {
        let _ = exec::Exec::parse(&assignment.value, &name);
        let _ = Name::parse(&assignment.value);
    }
}
