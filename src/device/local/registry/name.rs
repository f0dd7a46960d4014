//! Names of keys and values: Latin-1 or UTF-16 in the file. A lone surrogate is written `\uNNNN`, so that every name has
//! a text and every text names one thing.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Name(String);

impl Name {
    /// A name that the file says is compressed: a byte a character.
    pub fn latin(bytes: &[u8]) -> Name {
        Name(bytes.iter().map(|b| char::from(*b)).collect())
    }

    pub fn utf16(bytes: &[u8]) -> Name {
        Name(utf16(bytes))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is what somebody wrote: without case, and as it is shown where it holds what cannot be typed.
    pub fn is(&self, written: &str) -> bool {
        same(&self.0, written) || same(&crate::shape::clean(&self.0), written)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two names are one to Windows: compared without case.
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || (!(a.is_ascii() && b.is_ascii()) && a.chars().flat_map(upper).eq(b.chars().flat_map(upper)))
}

/// Windows upcases character by character; `ß` stays as it is.
fn upper(c: char) -> Option<char> {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(one), None) => Some(one),
        _ => Some(c),
    }
}

/// UTF-16LE as text; an odd last byte is left out.
pub fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let mut out = String::with_capacity(bytes.len() / 2);
    for c in char::decode_utf16(units) {
        match c {
            Ok(c) => out.push(c),
            Err(lone) => out.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_surrogate_has_a_text() {
        let name = Name::utf16(&[0x41, 0, 0x00, 0xd8, 0x42, 0]);
        assert_eq!(name.as_str(), r"A\ud800B");
        assert!(name.is(r"a\UD800b"));
    }

    #[test]
    fn case_is_no_difference() {
        assert!(same("MÜLLER", "müller") && same("ΣΑΣ", "σας".to_uppercase().as_str()) && same("Run", "RUN"));
        assert!(!same("straße", "strasse") && !same("Run", "RunOnce"));
    }

    #[test]
    fn a_name_with_a_nul_is_asked_for_as_it_is_shown() {
        let name = Name::utf16(&[0x52, 0, 0, 0, 0x6e, 0]);
        assert!(name.is(&crate::shape::clean(name.as_str())));
    }
}
