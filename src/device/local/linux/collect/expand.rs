//! From a glob of an artifact to files of the device.
//!
//! Invariant: a link is followed where the glob names it in full, never where a wildcard met it.

use super::walk::{Found, Walk};
use crate::device::local::linux::view::How;
use crate::device::local::windows_root::{self, is_named};
use crate::device::package::LeftOut;
use crate::error::{ErrorCode, Result};
use crate::model::DevicePath;
use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Stands for every home directory of the device.
const HOMES: &[u8] = b"%%homes%%";

/// How names are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Exact,
    /// Without case, as on a Windows volume; the exact name wins.
    Windows,
}

/// An absolute pattern: `*`, `?`, `[…]` and `{…}` within a name; `**` for all directories below, as the last part or
/// before it; `%%homes%%` at the start.
#[derive(Clone, Debug)]
pub struct Glob {
    in_homes: bool,
    parts: Vec<Part>,
    case: Case,
}

#[derive(Clone, Debug)]
enum Part {
    Name(Vec<u8>),
    Match(Box<GlobMatcher>),
    /// `**`
    Below,
}

impl Glob {
    /// An `Err` says what is wrong.
    pub fn parse(text: &str, case: Case) -> Result<Glob, String> {
        let bytes = text.as_bytes();
        let (in_homes, rest) = match bytes.strip_prefix(HOMES) {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        if rest.first() != Some(&b'/') || bytes.contains(&0) || text.len() > 4096 {
            return Err(format!("{text:?} does not begin with / or %%homes%%/"));
        }
        let parts = rest.split(|b| *b == b'/').filter(|p| !p.is_empty()).map(|p| Part::parse(p, text, case));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let below = parts.iter().position(|p| matches!(p, Part::Below));
        if parts.is_empty()
            || below.is_some_and(|at| at + 2 < parts.len())
            || matches!(parts.as_slice(), [Part::Below, Part::Below])
        {
            return Err(format!("{text:?}: ** is the last part or the one before it"));
        }
        Ok(Glob { in_homes, parts, case })
    }

    /// Whether a path of the device fits, for what is left out.
    pub fn fits(&self, path: &[u8], homes: &[DevicePath]) -> bool {
        let fits_below = |start: &[u8]| path.strip_prefix(start).is_some_and(|rest| self.fits_parts(rest));
        if self.in_homes { homes.iter().any(|h| fits_below(h.as_bytes())) } else { fits_below(b"") }
    }

    fn fits_parts(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty()).collect();
        match self.parts.iter().position(|p| matches!(p, Part::Below)) {
            None => names.len() == self.parts.len() && all_match(&self.parts, &names, self.case),
            Some(at) => {
                let (head, tail) =
                    (self.parts.get(..at).unwrap_or_default(), self.parts.get(at + 1..).unwrap_or_default());
                names.len() >= head.len() + tail.len().max(1)
                    && all_match(head, &names, self.case)
                    && all_match(tail, names.get(names.len() - tail.len()..).unwrap_or_default(), self.case)
            }
        }
    }

    /// Gives every file and link that fits, in no order; what cannot be read goes to `left_out`.
    pub fn expand(
        &self,
        walk: &Walk<'_>,
        homes: &[DevicePath],
        max_depth: u32,
        left_out: &mut LeftOut,
        give: &mut dyn FnMut(&mut LeftOut, Found) -> Result<()>,
    ) -> Result<()> {
        let roots = if self.in_homes { homes } else { &[DevicePath::new("/")] };
        for root in roots {
            self.from(walk, root, 0, max_depth, left_out, give)?;
        }
        Ok(())
    }

    fn from(
        &self,
        walk: &Walk<'_>,
        at: &DevicePath,
        part: usize,
        max_depth: u32,
        left_out: &mut LeftOut,
        give: &mut dyn FnMut(&mut LeftOut, Found) -> Result<()>,
    ) -> Result<()> {
        walk.job.check()?;
        let is_last = part + 1 == self.parts.len();
        match self.parts.get(part) {
            None => Ok(()),
            Some(Part::Name(name)) => {
                for path in self.named(walk, at, name) {
                    if !is_last {
                        self.from(walk, &path, part + 1, max_depth, left_out, give)?;
                        continue;
                    }
                    for found in walk.named(&path, left_out) {
                        give(left_out, found)?;
                    }
                }
                Ok(())
            }
            Some(Part::Match(name)) => {
                let mut below = Vec::new();
                self.each(walk, at, 1, left_out, &mut |left_out, found| {
                    if !matches(name, found.path.name().as_bytes()) {
                        return Ok(());
                    }
                    match is_last {
                        true => give(left_out, found),
                        false => {
                            below.extend(found.facts.is_directory().then_some(found.path));
                            Ok(())
                        }
                    }
                })?;
                below.iter().try_for_each(|path| self.from(walk, path, part + 1, max_depth, left_out, give))
            }
            Some(Part::Below) => {
                let last = self.parts.get(part + 1);
                self.each(walk, at, max_depth, left_out, &mut |left_out, found| match last
                    .is_none_or(|p| p.fits(found.path.name().as_bytes(), self.case))
                {
                    true => give(left_out, found),
                    false => Ok(()),
                })
            }
        }
    }

    /// The entries that a name means: itself where it is there, else those that differ from it by case.
    fn named(&self, walk: &Walk<'_>, at: &DevicePath, name: &[u8]) -> Vec<DevicePath> {
        let exact = at.join(&DevicePath::new(name));
        if self.case == Case::Exact || walk.view.identity(&exact).is_some() {
            return vec![exact];
        }
        let there = windows_root::names(walk.view, at).into_iter();
        there.filter(|there| is_named(there, name)).map(|there| at.join(&DevicePath::new(there))).collect()
    }

    /// Everything below a directory, where there is one.
    fn each(
        &self,
        walk: &Walk<'_>,
        directory: &DevicePath,
        max_depth: u32,
        left_out: &mut LeftOut,
        give: &mut dyn FnMut(&mut LeftOut, Found) -> Result<()>,
    ) -> Result<()> {
        if walk.view.identity(directory).is_none() {
            return Ok(());
        }
        match walk.view.open(directory, How::Directory) {
            Ok(start) => walk.below(&start, max_depth, left_out, give),
            Err(e) if matches!(e.code, ErrorCode::NotFound | ErrorCode::NotAFile) => Ok(()),
            Err(e) => {
                left_out.add(directory, super::walk::reason(&e));
                Ok(())
            }
        }
    }
}

impl Part {
    fn parse(part: &[u8], whole: &str, case: Case) -> Result<Part, String> {
        let is_wild = part.iter().any(|b| b"*?[{".contains(b));
        match part {
            b"**" => Ok(Part::Below),
            b"." | b".." => Err(format!("{whole:?} climbs")),
            name if !is_wild => Ok(Part::Name(name.to_vec())),
            name => {
                let text = std::str::from_utf8(name).map_err(|e| e.to_string())?;
                if text.contains("**") {
                    return Err(format!("{whole:?}: ** stands for whole directories"));
                }
                let glob = GlobBuilder::new(text)
                    .case_insensitive(case == Case::Windows)
                    .build()
                    .map_err(|e| format!("{whole:?}: {}", e.kind()))?;
                Ok(Part::Match(Box::new(glob.compile_matcher())))
            }
        }
    }

    fn fits(&self, name: &[u8], case: Case) -> bool {
        match self {
            Part::Name(own) if case == Case::Windows => is_named(name, own),
            Part::Name(own) => own == name,
            Part::Match(glob) => matches(glob, name),
            Part::Below => true,
        }
    }
}

fn all_match(parts: &[Part], names: &[&[u8]], case: Case) -> bool {
    parts.iter().zip(names).all(|(part, name)| part.fits(name, case))
}

fn matches(glob: &GlobMatcher, name: &[u8]) -> bool {
    glob.is_match(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::super::walk::tests::{found, walker};
    use super::*;
    use crate::device::local::linux::view::tests::{TempTree, image};

    fn tree() -> TempTree {
        let tree = TempTree::new();
        for file in
            ["img/var/log/a.log", "img/var/log/deep/b.log", "img/var/log/deep/c.txt", "img/home/ann/.bash_history"]
        {
            std::fs::create_dir_all(tree.path(file).parent().unwrap()).unwrap();
            std::fs::write(tree.path(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("/var/log/deep", tree.path("img/var/log/link")).unwrap();
        std::os::unix::fs::symlink("/var/log/deep/b.log", tree.path("img/named")).unwrap();
        tree
    }

    fn expand(tree: &TempTree, glob: &str) -> Vec<String> {
        expand_as(tree, glob, Case::Exact)
    }

    fn expand_as(tree: &TempTree, glob: &str, case: Case) -> Vec<String> {
        let view = image(tree, "img");
        let homes = [DevicePath::new("/home/ann"), DevicePath::new("/nowhere")];
        let set = view.own().snapshot();
        let job = crate::model::Job::default();
        let walk = walker(&view, &set, &job);
        found(|left_out, give| Glob::parse(glob, case).unwrap().expand(&walk, &homes, 16, left_out, give))
    }

    #[test]
    fn wildcards_meet_files_and_follow_no_link() {
        let tree = tree();
        assert_eq!(expand(&tree, "/var/log/*.log"), ["/var/log/a.log"]);
        assert_eq!(expand(&tree, "/var/*/*/*.log"), ["/var/log/deep/b.log"]);
        assert_eq!(expand(&tree, "/var/**/*.log"), ["/var/log/a.log", "/var/log/deep/b.log"]);
        assert_eq!(
            expand(&tree, "/var/log/**"),
            ["/var/log/a.log", "/var/log/deep", "/var/log/deep/b.log", "/var/log/deep/c.txt", "/var/log/link"]
        );
        assert_eq!(expand(&tree, "%%homes%%/.bash_history"), ["/home/ann/.bash_history"]);
    }

    #[test]
    fn a_windows_volume_is_matched_without_case_and_the_exact_name_first() {
        let tree = TempTree::new();
        for path in ["WINDOWS/prefetch/A.PF", "Windows/Prefetch/b.pf", "users/Ann/NTUSER.dat", "twice/X", "TWICE/y"] {
            let path = tree.path("img").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let expand = |glob: &str| expand_as(&tree, glob, Case::Windows);
        assert_eq!(expand("/Windows/Prefetch/*.pf"), ["/Windows/Prefetch/b.pf"]);
        assert_eq!(expand("/Users/*/ntuser.{DAT,MAN}"), ["/users/Ann/NTUSER.dat"]);
        assert_eq!(expand("/Twice/*"), ["/TWICE/y", "/twice/X"]);
        let glob = Glob::parse("/windows/**/*.PF", Case::Windows).unwrap();
        assert!(glob.fits(b"/WINDOWS/prefetch/A.pf", &[]));
    }

    #[test]
    fn a_link_that_is_named_in_full_brings_its_target() {
        assert_eq!(expand(&tree(), "/named"), ["/named", "/var/log/deep/b.log"]);
        assert_eq!(expand(&tree(), "/var/log/link/b.log"), ["/var/log/deep/b.log"]);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for bad in ["var/log", "/a/../b", "/a/**/b/c", "/", "/**/**", "/a/x**", "/a/[", "%%homes%%", "/a\0b"] {
            assert!(Glob::parse(bad, Case::Exact).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_tested_by_the_same_rules() {
        let fits = |glob: &str, path: &str| {
            Glob::parse(glob, Case::Exact).unwrap().fits(path.as_bytes(), &[DevicePath::new("/root")])
        };
        assert!(
            fits("/var/log/**", "/var/log/a/b")
                && fits("/var/**/*.gz", "/var/a/b.gz")
                && fits("/var/**/*.gz", "/var/b.gz")
        );
        assert!(fits("%%homes%%/.cache/**", "/root/.cache/x") && !fits("%%homes%%/.cache/**", "/home/a/.cache/x"));
        assert!(
            !fits("/var/log/**", "/var/log") && !fits("/var/log/*", "/var/log/a/b") && !fits("/var/*.gz", "/var/b")
        );
    }
}
