//! Paths on a device: bytes in the device's own syntax, never `std::path`, which is for our own files.
//!
//! Invariant: `DevicePath::from_text(&p.to_text())` gives back the same bytes for every path. What text cannot hold,
//! or what a person could not see, is written `esc:` with `\xNN`, `\uNNNN` and `\\`.

use crate::shape;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePath(Vec<u8>);

impl DevicePath {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        DevicePath(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what `to_text` or a person wrote; an `Err` says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("esc:") {
            None => text.as_bytes().to_vec(),
            Some(rest) => unescape(rest)?,
        };
        if bytes.contains(&0) {
            return Err("a path holds no NUL".into());
        }
        if bytes.is_empty() {
            return Err("a path is not empty".into());
        }
        Ok(DevicePath(bytes))
    }

    /// The path as text; borrowed where it is plain.
    pub fn to_text(&self) -> Cow<'_, str> {
        DevicePath::text_of(&self.0)
    }

    /// [`DevicePath::to_text`] of a path that is held as bytes.
    pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("esc:") && shape::is_plain(text) => Cow::Borrowed(text),
            _ => Cow::Owned(escape(bytes)),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// This path with `other` after it; `other` alone where it is absolute. POSIX syntax; `.` and `..` are kept,
    /// since only the device knows what a link before a `..` means.
    pub fn join(&self, other: &DevicePath) -> DevicePath {
        if other.0.first() == Some(&b'/') {
            return other.clone();
        }
        let mut bytes = self.0.clone();
        if bytes.last() != Some(&b'/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(&other.0);
        DevicePath(bytes)
    }

    /// The last component; of a path that begins with a drive or `\\` as Windows parts it.
    pub fn name(&self) -> DevicePath {
        let is_windows = matches!(self.0.as_slice(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic())
            || self.0.starts_with(br"\\");
        let parts = |b: &u8| *b == b'/' || (is_windows && *b == b'\\');
        let end = self.0.len() - self.0.iter().rev().take_while(|b| parts(b)).count();
        let whole = self.0.get(..end).unwrap_or_default();
        let start = whole.iter().rposition(parts).map_or(0, |i| i + 1);
        match whole.get(start..) {
            Some(name) if !name.is_empty() => DevicePath(name.to_vec()),
            _ => DevicePath(b"/".to_vec()),
        }
    }

    /// All but the last component, `/` for one at the top.
    pub fn parent(&self) -> DevicePath {
        let end = self.0.len() - self.0.iter().rev().take_while(|b| **b == b'/').count();
        let whole = self.0.get(..end).unwrap_or_default();
        match whole.iter().rposition(|b| *b == b'/') {
            None | Some(0) => DevicePath(b"/".to_vec()),
            Some(i) => DevicePath(whole.get(..i).unwrap_or_default().to_vec()),
        }
    }
}

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl Serialize for DevicePath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for DevicePath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        DevicePath::from_text(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for DevicePath {
    fn schema_name() -> Cow<'static, str> {
        "DevicePath".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::from("esc:");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if shape::is_plain_char(c) => out.push(c),
                c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}"))),
            }
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bad = || "after esc: a backslash starts \\xNN, \\uNNNN or \\\\".to_owned();
    let hex = |digits: Option<&str>| {
        digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or_else(bad)
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let (taken, byte_count) = match escape.as_bytes().get(1) {
            Some(b'\\') => (vec![b'\\'], 2),
            Some(b'x') => (vec![u8::try_from(hex(escape.get(2..4))?).map_err(|_| bad())?], 4),
            Some(b'u') => {
                let c = char::from_u32(hex(escape.get(2..6))?).ok_or_else(bad)?;
                (c.to_string().into_bytes(), 6)
            }
            _ => return Err(bad()),
        };
        out.extend_from_slice(&taken);
        rest = escape.get(byte_count..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_what_stands_last() {
        for (path, name) in
            [("/a/b/", "b"), (r"/a/b\c", r"b\c"), (r"C:\a\b.exe", "b.exe"), (r"\\s\share\x", "x"), ("/", "/")]
        {
            assert_eq!(DevicePath::new(path).name(), DevicePath::new(name), "{path}");
        }
    }

    proptest! {
        #[test]
        fn text_gives_back_the_bytes(bytes in proptest::collection::vec(1u8.., 1..64)) {
            let path = DevicePath::new(bytes);
            prop_assert_eq!(&DevicePath::from_text(&path.to_text()).unwrap(), &path);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(esc:)?.{0,40}") {
            if let Ok(path) = DevicePath::from_text(&text) {
                prop_assert!(shape::is_plain(&path.to_text()));
            }
        }
    }

    #[test]
    fn shows_what_a_person_cannot_see() {
        assert_eq!(DevicePath::new(*b"/tmp/a\xff").to_text(), r"esc:/tmp/a\xff");
        assert_eq!(DevicePath::new("/tmp/\u{202e}gpj.exe").to_text(), r"esc:/tmp/\u202egpj.exe");
        assert_eq!(DevicePath::new("esc:x").to_text(), "esc:esc:x");
        assert_eq!(DevicePath::new(r"C:\x").to_text(), r"C:\x");
    }

    #[test]
    fn joins_and_splits() {
        let p = |t: &str| DevicePath::new(t);
        assert_eq!(p("/a").join(&p("b")), p("/a/b"));
        assert_eq!(p("/").join(&p("b")), p("/b"));
        assert_eq!(p("/a").join(&p("/b")), p("/b"));
        assert_eq!((p("/a/b/").name(), p("/a/b/").parent()), (p("b"), p("/a")));
        assert_eq!((p("/").name(), p("/a").parent()), (p("/"), p("/")));
    }
}
