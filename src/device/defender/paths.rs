//! Paths of a device that is far away: joined and made absolute by their text alone.
//!
//! Invariant: nothing is asked of the device, so a link before `..` is taken for a directory.

use crate::error::{Error, ErrorCode, Result};
use crate::model::DevicePath;

/// Whose syntax a path has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Syntax {
    Unix,
    Windows,
}

impl Syntax {
    /// Where a session starts.
    pub(crate) fn root(self) -> DevicePath {
        match self {
            Syntax::Unix => DevicePath::new("/"),
            Syntax::Windows => DevicePath::new(r"C:\"),
        }
    }

    /// `path` below `directory`; alone where it is absolute.
    pub(crate) fn join(self, directory: &DevicePath, path: &DevicePath) -> DevicePath {
        if self == Syntax::Unix {
            return directory.join(path);
        }
        let (here, there) = (directory.as_bytes(), slashed(unquoted(path.as_bytes())));
        let drive = here.get(..2).filter(|d| is_drive(d)).unwrap_or(b"C:");
        let bytes = match there.as_slice() {
            [b'\\', b'\\', ..] => there,
            [b'\\', ..] => [drive, &there].concat(),
            // `D:name` is below D's own directory on Windows, which a session does not keep.
            [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => {
                let slash: &[u8] = if rest.first() == Some(&b'\\') { b"" } else { b"\\" };
                [&[*letter, b':'], slash, rest].concat()
            }
            _ => [here, if here.ends_with(b"\\") { b"" } else { b"\\" }, &there].concat(),
        };
        DevicePath::new(bytes)
    }

    /// Without `.`, `..` and doubled separators; `E_BAD_ARGS` where it is not absolute.
    pub(crate) fn absolute(self, path: &DevicePath) -> Result<DevicePath> {
        let (prefix, rest) = self.prefix(path).ok_or_else(|| {
            Error::new(ErrorCode::BadArgs, format!("{path} is not an absolute path")).hint(match self {
                Syntax::Unix => "an absolute path begins with /",
                Syntax::Windows => r"an absolute path begins with a drive: C:\Windows, or is \\server\share\…",
            })
        })?;
        let separator = if self == Syntax::Unix { b'/' } else { b'\\' };
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in rest.split(|b| *b == separator) {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        let mut bytes = prefix;
        bytes.extend_from_slice(&parts.join(&separator));
        Ok(DevicePath::new(bytes))
    }

    /// What no `..` leaves, with a separator at its end, and what is below it.
    fn prefix(self, path: &DevicePath) -> Option<(Vec<u8>, Vec<u8>)> {
        let bytes = path.as_bytes();
        if self == Syntax::Unix {
            return bytes.strip_prefix(b"/").map(|rest| (b"/".to_vec(), rest.to_vec()));
        }
        let bytes = slashed(bytes);
        match bytes.as_slice() {
            [letter, b':', b'\\', rest @ ..] if letter.is_ascii_alphabetic() => {
                Some((vec![letter.to_ascii_uppercase(), b':', b'\\'], rest.to_vec()))
            }
            // A server and its share.
            [b'\\', b'\\', rest @ ..] => {
                let mut parts = rest.splitn(3, |b| *b == b'\\');
                let (server, share) = (parts.next()?, parts.next()?);
                let is_name = |name: &[u8]| !name.is_empty() && name != b".." && name != b"." && name != b"?";
                if !is_name(server) || !is_name(share) {
                    return None;
                }
                Some(([b"\\\\", server, b"\\", share, b"\\"].concat(), parts.next().unwrap_or_default().to_vec()))
            }
            _ => None,
        }
    }
}

/// Without the quotes that a person put round a path: no name on Windows has one.
fn unquoted(path: &[u8]) -> &[u8] {
    match path {
        [b'"', inner @ .., b'"'] if !inner.is_empty() => inner,
        _ => path,
    }
}

fn is_drive(two: &[u8]) -> bool {
    matches!(two, [letter, b':'] if letter.is_ascii_alphabetic())
}

/// Windows takes both.
fn slashed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|b| if *b == b'/' { b'\\' } else { *b }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> DevicePath {
        DevicePath::new(text)
    }

    #[test]
    fn windows_paths_are_joined_as_windows_does() {
        for (here, path, joined) in [
            (r"C:\", "Windows", r"C:\Windows"),
            (r"C:\Users", "ann", r"C:\Users\ann"),
            (r"D:\data", r"\top", r"D:\top"),
            (r"D:\data", "/top", r"D:\top"),
            (r"D:\data", r"c:\x/y", r"c:\x\y"),
            (r"D:\data", "E:x", r"E:\x"),
            (r"D:\data", "E:", r"E:\"),
            (r"C:\", r"\\srv\share\x", r"\\srv\share\x"),
            (r"C:\", r#""D:\a b""#, r"D:\a b"),
            (r"C:\", r#"""#, r#"C:\""#),
        ] {
            assert_eq!(Syntax::Windows.join(&p(here), &p(path)), p(joined), "{here} {path}");
        }
        assert_eq!(Syntax::Unix.join(&p("/a"), &p(r"b\c")), p(r"/a/b\c"));
    }

    #[test]
    fn dots_go_and_nothing_climbs_above_the_top() {
        for (syntax, path, absolute) in [
            (Syntax::Unix, "/a/./b//../c/", "/a/c"),
            (Syntax::Unix, "/../..", "/"),
            (Syntax::Windows, r"c:\a\.\b\..\c\", r"C:\a\c"),
            (Syntax::Windows, r"C:/../x", r"C:\x"),
            (Syntax::Windows, r"\\srv\share\..\..\x", r"\\srv\share\x"),
            (Syntax::Windows, r"C:\", r"C:\"),
        ] {
            assert_eq!(syntax.absolute(&p(path)).unwrap(), p(absolute), "{path}");
        }
    }

    #[test]
    fn what_is_not_absolute_is_refused() {
        for (syntax, path) in [
            (Syntax::Unix, "a"),
            (Syntax::Windows, r"\x"),
            (Syntax::Windows, "x"),
            (Syntax::Windows, r"\\srv"),
            (Syntax::Windows, r"\\.\PhysicalDrive0"),
            (Syntax::Windows, r"\\?\C:\x"),
            (Syntax::Windows, "1:\\x"),
        ] {
            assert_eq!(syntax.absolute(&p(path)).unwrap_err().code, ErrorCode::BadArgs, "{path}");
        }
    }
}
