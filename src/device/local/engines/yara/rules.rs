//! The rules: those in this program, and those in the home's `rules/`, compiled once for each content and kept.
//!
//! Invariant: what was kept is used only where its own hash and that of the rules' sources agree.

use super::EXTERNALS;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use crate::private;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use yara_x::{Compiler, Rules, SourceCode};

/// The starter set.
const STARTER: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/starter.yar"));
/// Files of a person's rules, and their bytes, each and together.
const FILES: usize = 5_000;
const FILE: usize = 16 << 20;
const ALL: usize = 64 << 20;
/// Folders below `rules/`.
const DEPTH: usize = 4;
/// Of compiled rules that are kept.
const KEPT: usize = 512 << 20;
/// Errors that are named, and of each its characters.
const NAMED: usize = 20;
const TEXT: usize = 300;
const DIGEST: usize = 32;

/// Rules that are ready.
pub struct Ruleset {
    pub(super) compiled: Rules,
}

impl std::fmt::Debug for Ruleset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rules", self.count())
    }
}

struct Source {
    /// Below `rules/`.
    name: String,
    text: Vec<u8>,
}

impl Ruleset {
    /// The starter set with the rules in the home's `rules/`. A file that does not compile is named in a warning; the
    /// rules of the others work.
    pub fn load(home: &Path, job: &Job) -> Result<Option<Ruleset>> {
        let mut warnings = Vec::new();
        let sources = sources(&home.join("rules"), &mut warnings);
        warnings.into_iter().for_each(|w| job.warn(w));
        job.check()?;
        let (compiled, warnings) = if sources.is_empty() {
            compile(&sources)
        } else {
            let key = key(&sources);
            let kept = home.join("cache");
            match read_kept(&kept, &key) {
                Some(kept) => kept,
                None => {
                    let made = compile(&sources);
                    // Without room for it, it is compiled again next time.
                    if let Err(e) = keep(&kept, &key, &made) {
                        tracing::debug!("compiled rules are not kept: {e}");
                    }
                    made
                }
            }
        };
        warnings.into_iter().for_each(|w| job.warn(w));
        Ok(Some(Ruleset { compiled }))
    }

    /// Rules from one text, the starter set left out. `E_BAD_ARGS` where it does not compile.
    #[cfg(test)]
    pub fn of(text: &str) -> Result<Ruleset> {
        let mut compiler = compiler();
        compiler.add_source(text).map_err(|e| Error::new(ErrorCode::BadArgs, e.to_string()))?;
        Ok(Ruleset { compiled: compiler.build() })
    }

    pub fn count(&self) -> usize {
        self.compiled.iter().count()
    }
}

fn compiler<'a>() -> Compiler<'a> {
    let mut compiler = Compiler::new();
    // As public rules are written; an include would read any file that its author likes.
    compiler.relaxed_re_syntax(true).enable_includes(false).colorize_errors(false).switch_all_warnings(false);
    for name in EXTERNALS {
        // Fails for a name that is none, and these are.
        let _ = compiler.define_global(name, "");
    }
    compiler
}

fn compile(sources: &[Source]) -> (Rules, Vec<String>) {
    let mut compiler = compiler();
    compiler.new_namespace("live-response");
    let mut broken = Vec::new();
    if let Err(e) = compiler.add_source(STARTER) {
        broken.push(format!("the starter rules: {}", in_short(&e.to_string())));
    }
    for source in sources {
        compiler.new_namespace(&source.name);
        if let Err(e) = compiler.add_source(SourceCode::from(source.text.as_slice()).with_origin(source.name.clone())) {
            broken.push(format!("rules/{}: {}", source.name, in_short(&e.to_string())));
        }
    }
    let more = broken.len().saturating_sub(NAMED);
    broken.truncate(NAMED);
    let mut warnings: Vec<String> = broken.into_iter().map(|b| format!("rules were left out: {b}")).collect();
    if more > 0 {
        warnings.push(format!("{more} more files hold rules that do not compile"));
    }
    (compiler.build(), warnings)
}

/// The first two lines of a compiler's report: what is wrong, and where.
fn in_short(report: &str) -> String {
    let lines: Vec<&str> = report.lines().take(2).map(str::trim).collect();
    lines.join(" ").chars().take(TEXT).collect()
}

/// Every `.yar` and `.yara` file below the folder, by name.
fn sources(folder: &Path, warnings: &mut Vec<String>) -> Vec<Source> {
    let mut files = Vec::new();
    list(folder, DEPTH, &mut files, warnings);
    files.sort();
    if files.len() > FILES {
        warnings.push(format!("rules/ has {} files, {FILES} of them are used", files.len()));
        files.truncate(FILES);
    }
    let (mut sources, mut bytes) = (Vec::new(), 0usize);
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        match private::read(&path, FILE) {
            Ok(Some(text)) if bytes + text.len() <= ALL => {
                bytes += text.len();
                sources.push(Source { name, text });
            }
            Ok(Some(_)) => {
                warnings.push(format!("rules/ holds more than {ALL} bytes: left out from {name} on"));
                break;
            }
            Ok(None) => {}
            Err(e) => warnings.push(format!("rules were left out: {}", e.message)),
        }
    }
    sources
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, warnings: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && depth > 0 {
            list(&path, depth - 1, files, warnings);
        } else if is_folder {
            warnings.push(format!("rules were left out: {} lies too deep", path.display()));
        } else if path.extension().is_some_and(|e| e == "yar" || e == "yara") && files.len() <= FILES {
            files.push(path);
        }
    }
}

/// Of what the rules are made from, this program's version among it.
fn key(sources: &[Source]) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    add(STARTER.as_bytes());
    for source in sources {
        add(source.name.as_bytes());
        add(&source.text);
    }
    digest.finalize().into()
}

const KEPT_AS: &str = "rules.bin";

/// What was kept: the sources' hash, the hash of the rest, the warnings in a line of JSON, the rules.
fn read_kept(folder: &Path, key: &[u8; DIGEST]) -> Option<(Rules, Vec<String>)> {
    let bytes = private::read(&folder.join(KEPT_AS), KEPT).ok()??;
    let rest = bytes.strip_prefix(key)?;
    let (hash, rest) = rest.split_first_chunk::<DIGEST>()?;
    if Sha256::digest(rest)[..] != hash[..] {
        return None;
    }
    let at = memchr::memchr(b'\n', rest)?;
    let warnings = serde_json::from_slice(rest.get(..at)?).ok()?;
    Some((Rules::deserialize(rest.get(at + 1..)?).ok()?, warnings))
}

fn keep(folder: &Path, key: &[u8; DIGEST], (rules, warnings): &(Rules, Vec<String>)) -> Result<()> {
    let no = |e: String| Error::new(ErrorCode::Internal, format!("the rules have no stored form: {e}"));
    let mut rest = serde_json::to_vec(warnings).map_err(|e| no(e.to_string()))?;
    rest.push(b'\n');
    rules.serialize_into(&mut rest).map_err(|e| no(e.to_string()))?;
    private::store(folder)?;
    private::replace(&folder.join(KEPT_AS), &[&key[..], &Sha256::digest(&rest)[..], &rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    fn put(home: &Path, name: &str, text: &str) {
        let path = home.join("rules").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn load(home: &Path) -> (usize, Vec<String>) {
        let job = Job::default();
        let rules = Ruleset::load(home, &job).unwrap().unwrap();
        (rules.count(), job.take_warnings())
    }

    #[test]
    fn the_starter_set_compiles_whole() {
        let home = Scratch::new();
        let (count, warnings) = load(&home);
        assert!(count >= 10, "{count}");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(std::fs::read_dir(&*home).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_file_is_named_and_the_others_work_also_when_they_were_kept() {
        let home = Scratch::new();
        let starter = load(&home).0;
        put(&home, "bad.yar", "rule broken { condition: }");
        put(&home, "deep/good.yara", "rule good { condition: true } rule other { condition: false }");
        put(&home, "good.yar", "rule good { condition: filename == \"x\" and owner == \"y\" }");
        put(&home, "notes.txt", "rule no { condition: true }");
        for _ in 0..2 {
            let (count, warnings) = load(&home);
            assert_eq!(count, starter + 3);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains("rules/bad.yar"), "{warnings:?}");
        }
        assert!(home.join("cache/rules.bin").exists());
    }

    #[test]
    fn no_rule_includes_another_file() {
        let home = Scratch::new();
        put(&home, "a.yar", "include \"/etc/passwd\"");
        let (_, warnings) = load(&home);
        assert!(warnings[0].contains("rules/a.yar") && !warnings[0].contains("root:"), "{warnings:?}");
    }

    #[test]
    fn what_was_kept_is_not_used_once_it_or_a_rule_has_changed() {
        let home = Scratch::new();
        put(&home, "a.yar", "rule one { condition: true }");
        let before = load(&home).0;
        let kept = home.join("cache/rules.bin");
        let mut bytes = std::fs::read(&kept).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&kept, &bytes).unwrap();
        assert_eq!(load(&home).0, before);
        assert_ne!(std::fs::read(&kept).unwrap(), bytes);
        put(&home, "a.yar", "rule one { condition: true } rule two { condition: true }");
        assert_eq!(load(&home).0, before + 1);
    }

    #[test]
    fn links_and_fifos_are_refused_by_name() {
        let home = Scratch::new();
        put(&home, "real.yar", "rule one { condition: true }");
        std::os::unix::fs::symlink("/etc/passwd", home.join("rules/link.yar")).unwrap();
        let fifo = home.join("rules/fifo.yar");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let (_, warnings) = load(&home);
        assert!(warnings.iter().any(|w| w.contains("link.yar")), "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("fifo.yar")), "{warnings:?}");
    }
}
