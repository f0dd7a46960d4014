//! Paths as people write them on Windows, led to what the volume has: `C:\Users\x`, `%SystemRoot%\Temp`, `\\?\C:\x`, in
//! any case.
//!
//! Invariant: what comes out is a path of the image, below its root; what has no place there is an error that says why.

use super::{WindowsRoot, is_named, names};
use crate::device::local::linux::view::View;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{AnalyzeQuery, DevicePath, Extent, Job, Query};
use crate::shape::Untrusted;

/// Names that differ by case are named in an error, so many of them.
const NAMED: usize = 5;

/// From where a variable of Windows leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    Root,
    /// The folder `Windows`.
    System,
    /// The folder of a user.
    User,
}

/// A longer name stands before one that it begins with.
const VARIABLES: &[(&str, Base, &[&str])] = &[
    ("%SystemRoot%", Base::System, &[]),
    ("%windir%", Base::System, &[]),
    ("%SystemDrive%", Base::Root, &[]),
    ("%HomeDrive%", Base::Root, &[]),
    ("%ProgramData%", Base::Root, &["ProgramData"]),
    ("%ALLUSERSPROFILE%", Base::Root, &["ProgramData"]),
    ("%ProgramFiles%", Base::Root, &["Program Files"]),
    ("%ProgramW6432%", Base::Root, &["Program Files"]),
    ("%ProgramFiles(x86)%", Base::Root, &["Program Files (x86)"]),
    ("%CommonProgramFiles%", Base::Root, &["Program Files", "Common Files"]),
    ("%CommonProgramFiles(x86)%", Base::Root, &["Program Files (x86)", "Common Files"]),
    ("%PUBLIC%", Base::Root, &["Users", "Public"]),
    ("%USERPROFILE%", Base::User, &[]),
    ("%APPDATA%", Base::User, &["AppData", "Roaming"]),
    ("%LOCALAPPDATA%", Base::User, &["AppData", "Local"]),
    ("%TEMP%", Base::User, &["AppData", "Local", "Temp"]),
    ("%TMP%", Base::User, &["AppData", "Local", "Temp"]),
];

/// The variable that a path begins with: from where it leads, by which folders, and what follows.
pub fn variable(path: &str) -> Option<(Base, &'static [&'static str], &str)> {
    VARIABLES.iter().find_map(|(name, base, folders)| Some((*base, *folders, after(path, name)?)))
}

/// What follows a prefix that is there in any case.
pub fn after<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// What a Windows volume calls itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The letter that it had when it was the system's drive.
    pub letter: char,
    pub host_name: Option<Untrusted>,
    /// The folder `Windows`, from the root.
    pub system: DevicePath,
}

impl Called {
    /// Where a path leads by its spelling alone, below a directory where it is relative. `E_NOT_FOUND` for another drive
    /// or the network, `E_BAD_ARGS` for a variable that is each user's own.
    pub fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        match std::str::from_utf8(path.as_bytes()) {
            // A path of the image, which may hold backslashes of its own.
            Ok(text) if !text.starts_with('/') => self.spelled(directory, path, text),
            _ => Ok(directory.join(path)),
        }
    }

    fn spelled(&self, directory: &DevicePath, path: &DevicePath, text: &str) -> Result<DevicePath> {
        let root = DevicePath::new("/");
        if let Some((base, folders, rest)) = variable(text) {
            let from = match base {
                Base::Root => &root,
                Base::System => &self.system,
                Base::User => return Err(of_a_user(text)),
            };
            return Ok(joined(from, &[&folders.join("/"), rest]));
        }
        let device = ["\\\\?\\", "\\??\\", "\\\\.\\", "//?/"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let plain = device.unwrap_or(text);
        match plain.as_bytes() {
            [letter, b':'] | [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => {
                self.drive(char::from(*letter), path)?;
                Ok(joined(&root, &[plain.get(2..).unwrap_or_default()]))
            }
            // Below the directory of that drive.
            [letter, b':', ..] if letter.is_ascii_alphabetic() && plain.get(2..).is_some_and(|r| !r.contains(':')) => {
                self.drive(char::from(*letter), path)?;
                Ok(directory.join(&DevicePath::new(plain.get(2..).unwrap_or_default())))
            }
            _ if device.is_some() || text.starts_with("\\\\") => Err(elsewhere(path)),
            [b'\\', ..] => Ok(joined(
                after(plain, "\\SystemRoot\\").map_or(&root, |_| &self.system),
                &[after(plain, "\\SystemRoot\\").unwrap_or(plain)],
            )),
            _ => Ok(directory.join(path)),
        }
    }

    fn drive(&self, letter: char, path: &DevicePath) -> Result<()> {
        if letter.eq_ignore_ascii_case(&self.letter) {
            return Ok(());
        }
        let other = letter.to_ascii_uppercase();
        Err(Error::new(
            ErrorCode::NotFound,
            format!("no file {path}: this image is drive {}:, not {other}:", self.letter),
        )
        .hint(format!(
            "connect image:DIR with the directory that drive {other}: is mounted on, or write /… for this one"
        )))
    }
}

fn joined(from: &DevicePath, parts: &[&str]) -> DevicePath {
    let slashes = parts.iter().map(|part| part.replace('\\', "/"));
    slashes.fold(from.clone(), |path, part| match part.trim_start_matches('/') {
        "" => path,
        part => path.join(&DevicePath::new(part)),
    })
}

fn of_a_user(text: &str) -> Error {
    let name = text.split_inclusive('%').take(2).collect::<String>();
    Error::new(ErrorCode::BadArgs, format!("{name} is each user's own: which one is meant is not said"))
        .hint("write C:\\Users\\NAME\\…; `dir C:\\Users` lists them")
}

fn elsewhere(path: &DevicePath) -> Error {
    Error::new(ErrorCode::NotFound, format!("no file {path}: it names a device or another computer, not this volume"))
        .hint("write C:\\… or /…")
}

/// The query with its paths as the volume spells them; as it was where the device is no Windows volume.
/// `E_AMBIGUOUS_ARGS` where several names differ from a path only by case.
pub fn respelled(view: &View, mut query: Query, job: &Job) -> Result<Query> {
    let path = match &mut query {
        Query::Enter(q) => Some(&mut q.path),
        Query::Dir(q) => Some(&mut q.path),
        Query::Find(q) => Some(&mut q.path),
        Query::FileInfo(q) => Some(&mut q.path),
        Query::Analyze(AnalyzeQuery::File { path }) => Some(path),
        Query::Scan(q) => match &mut q.extent {
            Extent::Path(path) => Some(path),
            Extent::Quick | Extent::Full => None,
        },
        Query::Registry(q) => q.hive.as_mut(),
        _ => None,
    };
    if let Some(path) = path {
        *path = respell(view, path, job)?;
    }
    Ok(query)
}

/// The path as the volume spells it, as far as it leads. What is there exactly as it was written comes first.
pub fn respell(view: &View, path: &DevicePath, job: &Job) -> Result<DevicePath> {
    let root = DevicePath::new("/");
    if view.identity(path).is_some() || WindowsRoot::at(view, &root).is_none() {
        return Ok(path.clone());
    }
    // As Windows does, `..` is taken by the spelling.
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.as_bytes().split(|b| matches!(b, b'/' | b'\\')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let (mut at, mut missing) = (root, false);
    for part in parts {
        job.check()?;
        let found = if missing { None } else { entry(view, &at, part)? };
        missing = found.is_none();
        at = found.unwrap_or_else(|| at.join(&DevicePath::new(part)));
    }
    Ok(at)
}

fn entry(view: &View, directory: &DevicePath, part: &[u8]) -> Result<Option<DevicePath>> {
    let exact = directory.join(&DevicePath::new(part));
    if view.identity(&exact).is_some() {
        return Ok(Some(exact));
    }
    let mut found: Vec<DevicePath> = names(view, directory)
        .into_iter()
        .filter(|name| is_named(name, part))
        .map(|name| directory.join(&DevicePath::new(name)))
        .collect();
    if found.len() > 1 {
        let named: Vec<String> = found.iter().take(NAMED).map(DevicePath::to_string).collect();
        return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{exact} may be {}", named.join(" or ")))
            .hint("write it exactly as it is there: these names differ only by case"));
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Volume;
    use super::*;

    fn text(path: &str) -> DevicePath {
        DevicePath::new(path)
    }

    fn called() -> Called {
        Called { letter: 'C', host_name: None, system: text("/WINDOWS") }
    }

    #[test]
    fn every_spelling_has_its_place() {
        for (written, place) in [
            (r"C:\Users\ann", "/Users/ann"),
            ("c:/users", "/users"),
            (r"c:\", "/"),
            ("C:", "/"),
            (r"C:x\y", r"/Users/x\y"),
            (r"\\?\C:\a b", "/a b"),
            (r"\??\c:\a", "/a"),
            (r"\\.\C:\a", "/a"),
            (r"\a\b", "/a/b"),
            (r"\SystemRoot\Temp", "/WINDOWS/Temp"),
            ("%SYSTEMROOT%", "/WINDOWS"),
            (r"%windir%\System32", "/WINDOWS/System32"),
            (r"%ProgramFiles(x86)%\x", "/Program Files (x86)/x"),
            (r"%programfiles%/x", "/Program Files/x"),
            (r"%SystemDrive%\x", "/x"),
            ("/Windows/x", "/Windows/x"),
            (r"/odd\name", r"/odd\name"),
            (r"ann\x", r"/Users/ann\x"),
            ("100%", "/Users/100%"),
            ("a:b:c", "/Users/a:b:c"),
        ] {
            assert_eq!(called().place(&text("/Users"), &text(written)).unwrap(), text(place), "{written}");
        }
    }

    #[test]
    fn what_is_not_on_this_volume_is_refused_with_the_reason() {
        for (written, code, why) in [
            (r"D:\x", ErrorCode::NotFound, "drive C:, not D:"),
            ("e:", ErrorCode::NotFound, "drive C:, not E:"),
            (r"\\?\D:\x", ErrorCode::NotFound, "drive C:, not D:"),
            (r"\\server\share", ErrorCode::NotFound, "another computer"),
            (r"\\?\UNC\server\share", ErrorCode::NotFound, "another computer"),
            (r"\\.\PhysicalDrive0", ErrorCode::NotFound, "a device"),
            (r"%USERPROFILE%\x", ErrorCode::BadArgs, "%USERPROFILE% is each user's own"),
        ] {
            let e = called().place(&text("/"), &text(written)).unwrap_err();
            assert_eq!(e.code, code, "{written}");
            assert!(e.message.contains(why) && e.hint.is_some(), "{written}: {e}");
        }
    }

    #[test]
    fn a_path_is_spelled_as_the_volume_has_it() {
        let volume = Volume::new();
        volume.file("Users/Ann/Desktop/Note.TXT", "x").file("back\\slash", "x");
        let view = volume.view();
        for (written, there) in [
            ("/users/ANN/desktop/note.txt", "/Users/Ann/Desktop/Note.TXT"),
            (r"/users\ann\desktop", "/Users/Ann/Desktop"),
            (r"/users/ann/..\ANN", "/Users/Ann"),
            (r"/users\..\..\..\windows", "/WINDOWS"),
            (r"/back\slash", r"/back\slash"),
            ("/users/nobody/x", "/Users/nobody/x"),
            ("/users/nobody/../ann", "/Users/Ann"),
        ] {
            assert_eq!(respell(&view, &text(written), &Job::default()).unwrap(), text(there), "{written}");
        }
    }

    #[test]
    fn of_names_that_differ_by_case_the_exact_one_is_meant() {
        let volume = Volume::new();
        volume.file("Temp/A", "x").file("temp/a", "y");
        let view = volume.view();
        for exact in ["/Temp/A", "/temp/a"] {
            assert_eq!(respell(&view, &text(exact), &Job::default()).unwrap(), text(exact));
        }
        let e = respell(&view, &text("/TEMP/a"), &Job::default()).unwrap_err();
        assert_eq!(e.code, ErrorCode::AmbiguousArgs);
        assert!(e.message.contains("/Temp or /temp"), "{e}");
    }

    #[test]
    fn other_trees_keep_their_case() {
        let volume = Volume::empty();
        volume.file("etc/Passwd", "x");
        assert_eq!(respell(&volume.view(), &text("/ETC/passwd"), &Job::default()).unwrap(), text("/ETC/passwd"));
    }

    #[test]
    fn a_cancelled_search_ends() {
        let (volume, job) = (Volume::new(), Job::default());
        job.cancel();
        assert_eq!(respell(&volume.view(), &text("/users/x"), &job).unwrap_err().code, ErrorCode::Cancelled);
    }
}
