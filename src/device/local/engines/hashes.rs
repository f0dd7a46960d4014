//! Lists of hashes that a person keeps in the home's `hashes/`: `good*.txt` and `bad*.txt`, a hash a line.
//!
//! Invariant: a list is read line by line, never whole, whatever its size.

use super::{Failure, Opinion, Status};
use crate::error::Result;
use crate::model::Job;
use crate::private;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Lists that are used.
const LISTS: usize = 100;
/// A longer line is no entry.
const LINE: usize = 4_096;
const CHUNK: usize = 256 * 1024;
/// Hashes of bad files that a scan has at hand, eight bytes each.
const INDEXED: usize = 2_000_000;
/// Characters of a name.
const NAME: usize = 200;

/// A file's digests, lower-case hex.
#[derive(Clone, Copy, Debug)]
pub struct Hashes<'a> {
    pub md5: &'a str,
    pub sha1: &'a str,
    pub sha256: &'a str,
}

impl Hashes<'_> {
    fn has(&self, hash: &[u8]) -> bool {
        let own = match hash.len() {
            32 => self.md5,
            40 => self.sha1,
            64 => self.sha256,
            _ => return false,
        };
        own.as_bytes().eq_ignore_ascii_case(hash)
    }

    fn prints(&self) -> impl Iterator<Item = u64> {
        [self.md5, self.sha1, self.sha256].into_iter().filter_map(|h| print(h.as_bytes()))
    }
}

/// The lists that there are.
#[derive(Debug, Default)]
pub struct Lists {
    good: Vec<PathBuf>,
    bad: Vec<PathBuf>,
}

impl Lists {
    /// Looks for them; reads none.
    pub fn find(home: &Path) -> Lists {
        let mut files: Vec<PathBuf> = match std::fs::read_dir(home.join("hashes")) {
            Ok(entries) => entries.flatten().map(|e| e.path()).take(LISTS).collect(),
            Err(_) => return Lists::default(),
        };
        files.sort();
        let of = |start: &str| {
            let is_one = |path: &&PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(start) && name.ends_with(".txt")
            };
            files.iter().filter(is_one).cloned().collect()
        };
        Lists { good: of("good"), bad: of("bad") }
    }

    pub fn is_empty(&self) -> bool {
        self.good.is_empty() && self.bad.is_empty()
    }

    pub fn has_bad(&self) -> bool {
        !self.bad.is_empty()
    }

    /// What the lists say of a file: bad before good, and nothing where neither names it.
    pub fn opinion(&self, hashes: Hashes<'_>, job: &Job) -> Result<Opinion> {
        if self.is_empty() {
            return Ok(Opinion::because(Status::NotAvailable, "there is no list in hashes/"));
        }
        if let Some(name) = self.bad_name(hashes, job)? {
            return Ok(Opinion::because(Status::Infected, name));
        }
        Ok(match self.name_in(&self.good, hashes, job)? {
            Some(name) => Opinion { notes: vec![crate::shape::Untrusted::new(name)], ..Opinion::plain(Status::Clean) },
            None => Opinion::plain(Status::NotFound),
        })
    }

    /// The name that a list of bad hashes has for a file.
    pub fn bad_name(&self, hashes: Hashes<'_>, job: &Job) -> Result<Option<String>> {
        self.name_in(&self.bad, hashes, job)
    }

    fn name_in(&self, lists: &[PathBuf], hashes: Hashes<'_>, job: &Job) -> Result<Option<String>> {
        for list in lists {
            let mut name = None;
            let file = match private::open(list) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(e) => {
                    job.warn(format!("a list of hashes was left out: {}", e.message));
                    continue;
                }
            };
            each_line(file, job, |line| match entry(line).filter(|(hash, _)| hashes.has(hash)) {
                Some((_, known)) => {
                    name = Some(known);
                    false
                }
                None => true,
            })?;
            let file_name = || list.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match name {
                Some(known) if !known.is_empty() => return Ok(Some(String::from_utf8_lossy(&known).into_owned())),
                Some(_) => return Ok(Some(format!("listed in {}", file_name()))),
                None => {}
            }
        }
        Ok(None)
    }
}

/// The bad hashes in short, so that a scan need not read the lists for every file.
#[derive(Debug)]
pub struct Index {
    lists: Lists,
    prints: Vec<u64>,
}

impl Index {
    /// Warns where the lists hold more than it takes.
    pub fn load(lists: Lists, job: &Job) -> Result<Index> {
        let (mut prints, mut more) = (Vec::new(), 0u64);
        for list in &lists.bad {
            let Ok(Some(file)) = private::open(list) else {
                job.warn(format!("a list of hashes was left out: {} cannot be read safely", list.display()));
                continue;
            };
            each_line(file, job, |line| {
                match entry(line).and_then(|(hash, _)| print(hash)) {
                    Some(print) if prints.len() < INDEXED => prints.push(print),
                    Some(_) => more += 1,
                    None => {}
                }
                true
            })?;
        }
        if more > 0 {
            job.warn(format!("the lists of bad hashes hold {more} more than the {INDEXED} that a scan looks for"));
        }
        prints.sort_unstable();
        prints.dedup();
        Ok(Index { lists, prints })
    }

    pub fn count(&self) -> usize {
        self.prints.len()
    }

    /// As [`Lists::bad_name`].
    pub fn bad_name(&self, hashes: Hashes<'_>, job: &Job) -> Result<Option<String>, Failure> {
        if !hashes.prints().any(|print| self.prints.binary_search(&print).is_ok()) {
            return Ok(None);
        }
        self.lists.bad_name(hashes, job).map_err(|_| Failure::Stopped)
    }
}

/// A hash's first eight bytes.
fn print(hash: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(hash.get(..16)?).ok()?, 16).ok()
}

/// The hash of a line and what stands behind it; `None` for comments and what is no hash.
fn entry(line: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let line = line.trim_ascii();
    let end = line.iter().position(|b| b.is_ascii_whitespace() || b",;:|".contains(b)).unwrap_or(line.len());
    let (hash, rest) = line.split_at_checked(end)?;
    let is_hash = matches!(hash.len(), 32 | 40 | 64) && hash.iter().all(u8::is_ascii_hexdigit);
    let skip = rest.iter().take_while(|b| b.is_ascii_whitespace() || b",;:|*".contains(b)).count();
    let name = rest.get(skip..).unwrap_or_default();
    is_hash.then(|| (hash, name.get(..name.len().min(NAME)).unwrap_or_default().to_vec()))
}

/// Hands out lines until `take` has enough.
fn each_line(mut file: File, job: &Job, mut take: impl FnMut(&[u8]) -> bool) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut held = Vec::new();
    let mut too_long = false;
    loop {
        job.check()?;
        let read = match file.read(&mut buffer) {
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(crate::error::Error::io("a list of hashes", e)),
        };
        if read.is_empty() {
            if !too_long {
                take(&held);
            }
            return Ok(());
        }
        let mut rest = read;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            held.extend_from_slice(line.get(..line.len().min(LINE)).unwrap_or_default());
            if !std::mem::take(&mut too_long) && !take(&held) {
                return Ok(());
            }
            held.clear();
            rest = after.get(1..).unwrap_or_default();
        }
        held.extend_from_slice(rest.get(..rest.len().min(LINE)).unwrap_or_default());
        if held.len() > LINE {
            held.clear();
            too_long = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    const MD5: &str = "0123456789abcdef0123456789abcdef";
    const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";
    const SHA256: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    const FILE: Hashes<'_> = Hashes { md5: MD5, sha1: SHA1, sha256: SHA256 };

    fn home(lists: &[(&str, &str)]) -> Scratch {
        let home = Scratch::new();
        std::fs::create_dir(home.join("hashes")).unwrap();
        for (name, text) in lists {
            std::fs::write(home.join("hashes").join(name), text).unwrap();
        }
        home
    }

    fn opinion(lists: &[(&str, &str)]) -> Opinion {
        let home = home(lists);
        Lists::find(&home).opinion(FILE, &Job::default()).unwrap()
    }

    #[test]
    fn every_kind_of_line_is_read() {
        let upper = SHA256.to_uppercase();
        for line in [MD5.to_owned(), format!("{SHA1}  *x.exe"), format!("{upper},Evil.A"), format!("  {MD5};Evil.B\r")]
        {
            let text = format!("# known\n\nnonsense\n{}\n{line}\n", "0".repeat(64));
            assert_eq!(opinion(&[("bad.txt", &text)]).status, Status::Infected, "{line:?}");
            assert_eq!(opinion(&[("good-1.txt", &text)]).status, Status::Clean, "{line:?}");
        }
        assert_eq!(opinion(&[("bad.txt", &format!("{upper},Evil.A"))]).detections[0].raw(), "Evil.A");
        assert_eq!(opinion(&[("bad.txt", MD5)]).detections[0].raw(), "listed in bad.txt");
    }

    #[test]
    fn bad_goes_before_good_and_a_list_without_it_knows_nothing() {
        assert_eq!(opinion(&[("bad.txt", MD5), ("good.txt", SHA256)]).status, Status::Infected);
        assert_eq!(opinion(&[("bad.txt", ""), ("good.txt", "x")]).status, Status::NotFound);
        assert_eq!(opinion(&[("other.txt", MD5)]).status, Status::NotAvailable);
    }

    #[test]
    fn lines_across_reads_and_lines_without_end_are_met() {
        let padding = "x".repeat(CHUNK - 7);
        assert_eq!(opinion(&[("bad.txt", &format!("{padding}\n{MD5}"))]).status, Status::Infected);
        let endless = "0".repeat(3 * CHUNK);
        assert_eq!(opinion(&[("bad.txt", &format!("{endless}\n{MD5} n\n"))]).status, Status::Infected);
        assert_eq!(opinion(&[("bad.txt", &endless)]).status, Status::NotFound);
    }

    #[test]
    fn a_list_that_others_may_write_is_left_out_by_name() {
        let home = home(&[("bad.txt", MD5)]);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(home.join("hashes/bad.txt"), mode).unwrap();
        let job = Job::default();
        assert_eq!(Lists::find(&home).opinion(FILE, &job).unwrap().status, Status::NotFound);
        assert!(job.take_warnings()[0].contains("bad.txt"));
    }

    #[test]
    fn an_index_finds_what_the_lists_hold_and_nothing_that_only_begins_like_it() {
        let home = home(&[("bad.txt", &format!("{MD5} Evil.A\n{}\n", SHA1.replace('7', "8")))]);
        let index = Index::load(Lists::find(&home), &Job::default()).unwrap();
        let name = |md5: &str| {
            let hashes = Hashes { md5, sha1: "", sha256: "" };
            index.bad_name(hashes, &Job::default()).unwrap()
        };
        assert_eq!(name(MD5).as_deref(), Some("Evil.A"));
        assert_eq!(name(&MD5.replace("cdef0", "cdef1")), None);
    }
}
