//! What the dynamic linker loads into every program, and where it looks.

use super::scan::{Entry, Found, Item, Scan, paths};
use super::text::only;
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;
use std::collections::BTreeSet;

/// Of one file, so many libraries or folders are looked at.
const LINES: usize = 256;

/// What `$LIB` and `$PLATFORM` stand for on the usual systems (`man 8 ld.so`).
const LIBRARY_FOLDERS: &[&str] = &["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"];

/// `/etc/ld.so.preload`: vouched for where each library in it is a package's.
pub fn preload(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let Some(item) = scan.look(&DevicePath::new("/etc/ld.so.preload")) else { return Ok(()) };
    let lines = only(|_| true).lines(&item.text);
    let names = lines.iter().flat_map(|l| l.split(|b| b.is_ascii_whitespace() || *b == b':')).filter(|l| !l.is_empty());
    let libraries: BTreeSet<&[u8]> = names.take(LINES).collect();
    if libraries.is_empty() {
        return Ok(());
    }
    let mut entry = Entry::of(&item).lines(&lines).root();
    let mut all = true;
    for name in libraries {
        scan.job.check()?;
        let library = library(scan, name);
        all &= library.as_ref().is_some_and(|l| l.packaged == Some(true));
        entry = entry.note(match library {
            Some(Item { packaged: Some(true), package: Some(package), .. }) => format!("its library is of {package}"),
            Some(_) => "its library is no package's, or modified".to_owned(),
            None => "its library is not there".to_owned(),
        });
    }
    found.push(if all { entry.packaged(Some(true)) } else { entry });
    Ok(())
}

fn library(scan: &Scan<'_>, name: &[u8]) -> Option<Item> {
    let text = String::from_utf8_lossy(name);
    let places = LIBRARY_FOLDERS.iter().map(|f| text.replace("${LIB}", f).replace("$LIB", f));
    let places = places.map(|place| if place.contains('/') { place } else { format!("/usr/lib/{place}") });
    places.into_iter().find_map(|place| scan.look_at_program(&DevicePath::new(place)))
}

/// `/etc/ld.so.conf` and its parts.
pub fn search_path(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for path in paths(&["/etc/ld.so.conf"]).into_iter().chain(scan.files_in(["/etc/ld.so.conf.d"])) {
        let Some(item) = scan.look(&path) else { continue };
        let lines = only(|line| !line.starts_with(b"include ")).lines(&item.text);
        if lines.is_empty() {
            continue;
        }
        let mut entry = Entry::of(&item).lines(&lines).root();
        for line in lines.iter().take(LINES).collect::<BTreeSet<_>>() {
            scan.job.check()?;
            entry = entry.note_if(is_open(scan, line), "anyone may write to a folder of it");
            entry = entry.note_if(is_unusual(line), "an unusual folder");
        }
        found.push(entry);
    }
    Ok(())
}

fn is_open(scan: &Scan<'_>, folder: &[u8]) -> bool {
    let opened = scan.view.open(&DevicePath::new(folder), super::super::view::How::Handle);
    opened.is_ok_and(|o| FileType::from_raw_mode(o.facts.mode) == FileType::Directory && o.facts.mode & 0o002 != 0)
}

fn is_unusual(folder: &[u8]) -> bool {
    [&b"/tmp"[..], b"/var/tmp", b"/dev/shm", b"/home", b"/root", b"/run"].iter().any(|f| folder.starts_with(f))
}
