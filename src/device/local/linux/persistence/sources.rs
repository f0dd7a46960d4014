//! The packages that apt's sources have, by the lists that it keeps.

use super::super::view::How;
use super::scan::Scan;
use crate::error::Result;
use memchr::memmem::Finder;
use std::collections::HashSet;
use std::io::Read;

/// Bytes of lists that are read in all; Debian's main one has 50 MB.
const LISTS: u64 = 512 << 20;

/// Names of packages; `None` where apt keeps no list that can be read.
pub struct Sources(Option<HashSet<Vec<u8>>>);

impl Sources {
    pub fn read(scan: &Scan<'_>) -> Result<Sources> {
        let mut names = HashSet::new();
        let mut room = LISTS;
        for path in scan.files_in(["/var/lib/apt/lists"]) {
            scan.job.check()?;
            let name = path.name();
            if !name.as_bytes().windows(9).any(|w| w == b"_Packages") {
                continue;
            }
            // A compressed list or one too many would make its packages strangers.
            let Ok(opened) = scan.view.open(&path, How::File) else { return Ok(Sources(None)) };
            if !name.as_bytes().ends_with(b"_Packages") || opened.facts.size > room {
                return Ok(Sources(None));
            }
            let mut text = Vec::new();
            if (&opened.file).take(room).read_to_end(&mut text).is_err() {
                return Ok(Sources(None));
            }
            room = room.saturating_sub(text.len() as u64);
            let finder = Finder::new(b"Package: ");
            names.extend(
                finder
                    .find_iter(&text)
                    .filter(|at| *at == 0 || text.get(at - 1) == Some(&b'\n'))
                    .filter_map(|at| Some(text.get(at + 9..)?.split(|b| *b == b'\n').next()?.trim_ascii().to_vec())),
            );
        }
        Ok(Sources((!names.is_empty()).then_some(names)))
    }

    /// Whether no source has the package; never where nobody knows.
    pub fn lacks(&self, package: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|names| !names.contains(package))
    }
}
