//! What nobody may read in a log, an error or evidence: tokens, client secrets, result links.
//!
//! Invariant: neither `Debug` nor anything else but [`Secret::expose`] shows it, and its memory is wiped.

use zeroize::Zeroizing;

#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// For the one header, form or address that it is made for.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// An address that holds the right to read one file for a while (a shared access signature).
#[derive(Clone, Debug)]
pub struct Link(Secret);

impl Link {
    pub fn new(address: impl Into<String>) -> Self {
        Link(Secret::new(address))
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }
}
