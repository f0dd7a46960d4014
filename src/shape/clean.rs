//! Text of a device, made visible: control characters (C0, C1, DEL), escape sequences, bidirectional controls,
//! characters that show nothing or pass for a space (zero-width, fillers, tags, variation selectors, other blanks),
//! line separators, private-use and non-characters come out as `\xNN` or `\u{…}`.
//!
//! Invariant: what comes out is plain; cleaning it again changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::AddAssign;
use std::sync::Arc;

/// Text that a device wrote. Nothing but [`clean`] opens it: its `Serialize` is the cleaned text.
/// One text is shared by all its clones: the names of accounts stand in many rows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Untrusted(Arc<str>);

impl Untrusted {
    pub fn new(text: impl Into<String>) -> Self {
        Untrusted(text.into().into())
    }

    /// Bytes as text; what is not UTF-8 is written `\xNN`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Untrusted(text.into());
        }
        let mut out = String::with_capacity(bytes.len() + 16);
        for chunk in bytes.utf8_chunks() {
            out.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|b| push_byte(*b, &mut out));
        }
        Untrusted(out.into())
    }

    /// The text as the device wrote it: to compare and to filter, never to show.
    pub fn raw(&self) -> &str {
        &self.0
    }

    pub fn clean(&self) -> Cow<'_, str> {
        clean(&self.0)
    }
}

impl std::fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.clean())
    }
}

impl Serialize for Untrusted {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.clean())
    }
}

impl<'de> Deserialize<'de> for Untrusted {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Untrusted::new)
    }
}

impl JsonSchema for Untrusted {
    fn schema_name() -> Cow<'static, str> {
        "Untrusted".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// How many characters were made visible, by what they would have done.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Hidden {
    /// C0, C1, DEL, line and paragraph separators: what a terminal obeys.
    pub controls: u64,
    /// Direction controls: what makes `gpj.exe` read as `exe.jpg`.
    pub direction: u64,
    /// What shows as nothing, as a space that is none, or differently on every screen.
    pub invisible: u64,
}

impl Hidden {
    pub const fn any(&self) -> bool {
        self.controls + self.direction + self.invisible > 0
    }

    fn count(&mut self, c: char) {
        match c {
            '\0'..='\u{9f}' | '\u{2028}' | '\u{2029}' => self.controls += 1,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                self.direction += 1;
            }
            _ => self.invisible += 1,
        }
    }
}

impl AddAssign for Hidden {
    fn add_assign(&mut self, other: Hidden) {
        self.controls += other.controls;
        self.direction += other.direction;
        self.invisible += other.invisible;
    }
}

/// Whether a person sees this character for what it is, and no terminal obeys it.
///
/// Not plain are: `Default_Ignorable_Code_Point` of Unicode's DerivedCoreProperties, spaces (Zs) other than U+0020,
/// format characters (Cf) without a glyph, glyphs that are blank, private use, non-characters, empty planes.
pub const fn is_plain_char(c: char) -> bool {
    if (c as u32) < 0x7f {
        return c as u32 >= 0x20;
    }
    if c as u32 & 0xfffe == 0xfffe {
        return false;
    }
    !matches!(c,
        '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{1680}'
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
        | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffc}'
        | '\u{13430}'..='\u{13440}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{40000}'..='\u{10ffff}')
}

/// Whether cleaning would change nothing.
pub fn is_plain(text: &str) -> bool {
    // One look at the bytes settles nearly every text there is.
    is_printable_ascii(text.as_bytes()) || text.chars().all(is_plain_char)
}

/// Without early exit, so that it is a few vector instructions.
pub(super) fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|chunk| chunk.iter().fold(true, |all, b| all & matches!(b, 0x20..=0x7e)))
}

/// The text with everything invisible made visible.
pub fn clean(text: &str) -> Cow<'_, str> {
    clean_counted(text, &mut Hidden::default())
}

/// [`clean`], adding to a count of what was made visible.
pub fn clean_counted<'a>(text: &'a str, hidden: &mut Hidden) -> Cow<'a, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + text.len() / 4 + 16);
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain_char(*c)) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        hidden.count(c);
        push_visible(c, &mut out);
        rest = from.get(c.len_utf8()..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn push_visible(c: char, out: &mut String) {
    match (c, u8::try_from(u32::from(c))) {
        ('\n', _) => out.push_str("\\n"),
        ('\t', _) => out.push_str("\\t"),
        ('\r', _) => out.push_str("\\r"),
        // From 0x80 on `\xNN` is a byte that was not UTF-8, so U+0085 is not written so.
        (_, Ok(byte @ 0..=0x7f)) => push_byte(byte, out),
        _ => out.extend(c.escape_unicode()),
    }
}

fn push_byte(byte: u8, out: &mut String) {
    out.push_str("\\x");
    for nibble in [byte >> 4, byte & 15] {
        out.extend(char::from_digit(u32::from(nibble), 16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in any::<String>()) {
            let once = clean(&text).into_owned();
            prop_assert!(is_plain(&once));
            prop_assert_eq!(clean(&once).into_owned(), once);
        }

        #[test]
        fn nothing_that_a_terminal_obeys_comes_out(text in r"[\x00-\x{9f}\x{202a}-\x{202e}a-z]{0,64}") {
            let obeyed = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            prop_assert_eq!(clean(&text).chars().find(|c| obeyed(*c)), None);
        }

        #[test]
        fn any_bytes_are_text(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(is_plain(&Untrusted::from_bytes(&bytes).clean()));
        }
    }

    #[test]
    fn every_control_is_made_visible() {
        for code in (0..=0x10ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(!is_plain_char(code), "{:x}", u32::from(code));
        }
    }

    #[test]
    fn every_blank_but_the_space_is_made_visible() {
        for c in (0..=0x10ffff).filter_map(char::from_u32).filter(|c| c.is_whitespace() && *c != ' ') {
            assert!(!is_plain_char(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn terminal_escapes_and_direction_controls_read_as_text() {
        assert_eq!(clean("a\x1b[2K\x1b[1A\rb\x08"), r"a\x1b[2K\x1b[1A\rb\x08");
        assert_eq!(clean("\u{9b}31m\u{202e}gpj.exe"), r"\u{9b}31m\u{202e}gpj.exe");
        assert_eq!(
            clean("rem\u{200b}ediate\u{e0041}\u{fe0f}\u{e0100}"),
            r"rem\u{200b}ediate\u{e0041}\u{fe0f}\u{e0100}"
        );
        assert_eq!(clean("a\u{a0}b\u{2800}c\u{3164}\u{2062}\u{fff9}"), r"a\u{a0}b\u{2800}c\u{3164}\u{2062}\u{fff9}");
    }

    #[test]
    fn words_of_all_languages_stay() {
        for text in ["naïve Straße", "Ελληνικά", "каталог", "文件名.txt", "קובץ", "ملف", "ไฟล์", "फ़ाइल", "파일", "😀"]
        {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn counts_by_what_the_character_would_have_done() {
        let mut hidden = Hidden::default();
        let _ = clean_counted("\x1b[0m\u{85}\u{202e}x\u{200b}\u{200b}", &mut hidden);
        assert_eq!(hidden, Hidden { controls: 2, direction: 1, invisible: 2 });
    }

    #[test]
    fn a_byte_and_a_character_are_told_apart() {
        assert_eq!(Untrusted::from_bytes(b"\x85").clean(), r"\x85");
        assert_eq!(Untrusted::from_bytes("\u{85}".as_bytes()).clean(), r"\u{85}");
    }
}
