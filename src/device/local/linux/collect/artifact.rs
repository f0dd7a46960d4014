//! What belongs into a package, as data: `artifacts/*.toml` of this program, and those of `artifacts/` in the home.
//!
//! Invariant: a file that cannot be read or understood is left out as a whole, with a warning; it never runs anything.

use super::expand::{Case, Glob};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Profile};
use crate::private;
use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

/// The definitions that come with the program, in the order of the package: what passes first comes first.
const BUILT_IN: &[(&str, &str)] = &[
    ("volatile.toml", include_str!("../../../../../artifacts/volatile.toml")),
    ("system.toml", include_str!("../../../../../artifacts/system.toml")),
    ("logs.toml", include_str!("../../../../../artifacts/logs.toml")),
    ("users.toml", include_str!("../../../../../artifacts/users.toml")),
    ("applications.toml", include_str!("../../../../../artifacts/applications.toml")),
    ("host.toml", include_str!("../../../../../artifacts/host.toml")),
];
/// Those of a Windows volume, instead.
const WINDOWS: &[(&str, &str)] = &[("windows.toml", include_str!("../../../../../artifacts/windows.toml"))];
/// A definition file of the user's is not longer.
const FILE_MAX: usize = 1 << 20;
/// Nor are there more of them.
const FILES_MAX: usize = 200;
const MIB: u64 = 1 << 20;
/// Where a definition does not say.
const MAX_SIZE_MIB: u64 = 1024;
const MAX_DEPTH: u32 = 16;

/// One thing to collect.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub name: String,
    pub profiles: Vec<Profile>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Files {
        globs: Vec<Glob>,
        /// Names that are left out.
        except: Vec<Glob>,
        /// Bytes; larger files are left out.
        max_size: u64,
        /// Directories below a `**`.
        max_depth: u32,
    },
    Answer(Subject),
}

/// What the program's own collectors tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Host,
    Processes,
    Handles,
    Connections,
    Services,
    Drivers,
    ScheduledTasks,
    StartupFolders,
    Persistence,
    Mounts,
    KernelLog,
    Packages,
    Executables,
    Timeline,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    artifact: Vec<Entry>,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[allow(dead_code)] // For who reads the file.
    about: String,
    profiles: Vec<Profile>,
    files: Option<Vec<String>>,
    #[serde(default)]
    except: Vec<String>,
    max_size_mib: Option<u64>,
    max_depth: Option<u32>,
    answer: Option<Subject>,
}

/// All that a profile has, each name once: a definition of the user's takes the place of one of ours.
pub fn all(home: &Path, profile: Profile, case: Case, job: &Job) -> Result<Vec<Artifact>> {
    let mut found = Vec::new();
    let ours = if case == Case::Windows { WINDOWS } else { BUILT_IN };
    for (name, text) in ours {
        // Held by a test.
        found.extend(parse(text, case).map_err(|why| Error::new(ErrorCode::Internal, format!("{name}: {why}")))?);
    }
    for artifact in of_the_user(&home.join("artifacts"), case, job) {
        found.retain(|a| a.name != artifact.name);
        found.push(artifact);
    }
    found.retain(|a| a.profiles.contains(&profile));
    Ok(found)
}

fn of_the_user(folder: &Path, case: Case, job: &Job) -> Vec<Artifact> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path());
    let mut paths: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "toml")).take(FILES_MAX).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let read = private::read(&path, FILE_MAX).map_err(|e| e.message).and_then(|bytes| {
            let text = String::from_utf8(bytes.unwrap_or_default()).map_err(|_| "it is no UTF-8".to_owned())?;
            parse(&text, case)
        });
        match read {
            Ok(artifacts) => found.extend(artifacts),
            Err(why) => job.warn(format!("artifacts of {} are left out: {why}", path.display())),
        }
    }
    found
}

/// The definitions of one file, or what is wrong with it.
fn parse(text: &str, case: Case) -> Result<Vec<Artifact>, String> {
    let file: File = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        format!("line {line}: {}", e.message())
    })?;
    let mut names = HashSet::new();
    file.artifact
        .into_iter()
        .map(|entry| {
            let name = entry.name.clone();
            if !names.insert(name.clone()) {
                return Err(format!("{name:?} is there twice"));
            }
            entry.artifact(case).map_err(|why| format!("{name:?}: {why}"))
        })
        .collect()
}

impl Entry {
    fn artifact(self, case: Case) -> Result<Artifact, String> {
        let globs = |texts: Vec<String>| texts.iter().map(|t| Glob::parse(t, case)).collect::<Result<Vec<_>, _>>();
        let what = match (self.files, self.answer) {
            (Some(files), None) if !files.is_empty() => What::Files {
                globs: globs(files)?,
                except: globs(self.except)?,
                max_size: self.max_size_mib.unwrap_or(MAX_SIZE_MIB).saturating_mul(MIB),
                max_depth: self.max_depth.unwrap_or(MAX_DEPTH),
            },
            (None, Some(subject)) => What::Answer(subject),
            _ => return Err("it has either files or an answer".into()),
        };
        Ok(Artifact { name: self.name, profiles: self.profiles, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    #[test]
    fn those_of_windows_stand_alone_and_are_understood() {
        let (home, job) = (Scratch::new(), Job::default());
        let full = all(&home, Profile::Full, Case::Windows, &job).unwrap();
        let triage = all(&home, Profile::Triage, Case::Windows, &job).unwrap();
        let named = |name: &str| triage.iter().any(|a| a.name == name);
        assert!(named("WindowsEventLogs") && named("timeline") && !named("packages"));
        assert!(full.len() > triage.len() && triage.len() > 20, "{} {}", full.len(), triage.len());
    }

    #[test]
    fn ours_are_understood_and_triage_is_a_part_of_full() {
        let home = Scratch::new();
        let job = Job::default();
        let triage = all(&home, Profile::Triage, Case::Exact, &job).unwrap();
        let full = all(&home, Profile::Full, Case::Exact, &job).unwrap();
        assert!(triage.len() > 20 && full.len() > triage.len(), "{} {}", triage.len(), full.len());
        assert!(triage.iter().all(|t| full.iter().any(|f| f.name == t.name)));
        let mut names: Vec<_> = full.iter().map(|a| &a.name).collect();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), job.take_warnings()), (full.len(), vec![]));
    }

    #[test]
    fn the_users_add_and_replace_and_a_bad_file_is_a_warning() {
        let home = Scratch::new();
        private::dir(&home.join("artifacts")).unwrap();
        let write =
            |name: &str, text: &str| private::replace(&home.join("artifacts").join(name), text.as_bytes()).unwrap();
        let one = |name: &str| {
            format!(
                "[[artifact]]\nname = {name:?}\nabout = \"a\"\nprofiles = [\"triage\"]\nfiles = [\"/srv/app/*.log\"]\n"
            )
        };
        write("mine.toml", &one("mine"));
        write("logs.toml", &one("logs.system"));
        write("typo.toml", &one("typo").replace("files", "fils"));
        write("climbs.toml", &one("climbs").replace("/srv/app", "/srv/../app"));
        write("binary.toml", "\u{0}");
        let job = Job::default();
        let found = all(&home, Profile::Triage, Case::Exact, &job).unwrap();
        let count = |name: &str| found.iter().filter(|a| a.name == name).count();
        assert_eq!((count("mine"), count("logs.system"), count("typo"), count("climbs")), (1, 1, 0, 0));
        let warnings = job.take_warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("typo.toml") && w.contains("line 5")), "{warnings:?}");
    }
}
