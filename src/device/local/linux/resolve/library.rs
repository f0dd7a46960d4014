//! From a library file to the step that runs it or puts it here: which interpreter, which folder, what is in the way.

use super::{Protected, Resolver, uninspectable};
use crate::device::local::linux::{hash, view::How};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Interpreter, ItemKind, LibraryItem, ProgramTarget, Step};

/// Where an interpreter is looked for that its script names without a path; no environment decides.
const SEARCH_PATH: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
/// Of the output of one script.
const OUTPUT_MAX: u64 = 1 << 30;

impl Resolver<'_> {
    pub(super) fn run_script(
        &self,
        script: &LibraryItem,
        parameters: &[String],
        directory: &DevicePath,
    ) -> Result<Vec<Step>> {
        let (interpreter, program) = match (&script.interpreter, script.kind) {
            (_, ItemKind::PowerShell) => return Err(not_here(script, "PowerShell scripts are for Windows")),
            (Some(interpreter), _) => self.interpreter(script, interpreter)?,
            (None, ItemKind::Program) => return Err(not_here(script, "it is a program, not a script")),
            (None, _) => return Err(not_here(script, "no first line and no extension says what runs it")),
        };
        let directory = self.view.open(directory, How::Directory)?.real_path;
        let uid = rustix::process::geteuid().as_raw();
        Ok(vec![Step::Run {
            script: script.clone(),
            interpreter,
            program: Some(program),
            parameters: parameters.to_vec(),
            directory,
            user: self.accounts.user_or_id(uid).raw().to_owned(),
            time_limit_s: self.settings.script_time_s,
            output_max: OUTPUT_MAX,
        }])
    }

    /// The interpreter by its real path and its bytes: what the person sees is what is started, whatever links say
    /// later and whatever is put in its place.
    fn interpreter(&self, script: &LibraryItem, wanted: &Interpreter) -> Result<(DevicePath, ProgramTarget)> {
        let named = |path: &str| self.view.open(&DevicePath::new(path), How::File);
        let found = match wanted.program.starts_with('/') {
            true => named(&wanted.program),
            false => {
                let mut tried = SEARCH_PATH.iter().map(|dir| named(&format!("{dir}/{}", wanted.program)));
                tried.find(|found| !matches!(found, Err(e) if e.code == ErrorCode::NotFound)).unwrap_or_else(|| {
                    Err(Error::new(ErrorCode::NotFound, format!("this host has no {}", wanted.program))
                        .hint(format!("{} needs it; `library` lists what else there is", script.name)))
                })
            }
        }?;
        if found.facts.mode & 0o111 == 0 {
            return Err(uninspectable(&found.real_path, "it cannot be executed, so it runs no script"));
        }
        let digests = hash::digest(&found.file, false, self.job)?;
        let program =
            ProgramTarget { identity: found.facts.identity, size_bytes: digests.bytes, sha256: digests.sha256 };
        Ok((found.real_path, program))
    }

    pub(super) fn put_file(&self, item: &LibraryItem, overwrite: bool, keep: bool) -> Result<Vec<Step>> {
        let folder = self.real_folder(&self.settings.work_folder.path(keep)?)?;
        let path = folder.join(&DevicePath::new(item.name.as_str()));
        let mut steps = Vec::new();
        match self.view.open(&path, How::Link) {
            Err(e) if e.code == ErrorCode::NotFound => {}
            Err(e) => return Err(e),
            Ok(_) if !overwrite => {
                return Err(Error::new(ErrorCode::Exists, format!("{path} exists"))
                    .hint("with overwrite it goes into quarantine first"));
            }
            Ok(_) => steps.push(Step::Quarantine { file: self.file(&path, &Protected::find())?, part_of: None }),
        }
        steps.push(Step::Put { item: item.clone(), path, keep });
        Ok(steps)
    }

    /// The folder with the links of what is there of it resolved. Refused where that is the guard's own.
    fn real_folder(&self, folder: &DevicePath) -> Result<DevicePath> {
        let mut missing = Vec::new();
        let mut there = folder.clone();
        loop {
            match self.view.open(&there, How::Directory) {
                Ok(opened) => {
                    return Ok(missing.iter().rev().fold(opened.real_path, |path, name| path.join(name)));
                }
                Err(e) if e.code == ErrorCode::NotFound && there.as_bytes() != b"/" => {
                    missing.push(there.name());
                    there = there.parent();
                }
                Err(e) => return Err(e),
            }
        }
    }
}

fn not_here(script: &LibraryItem, why: &str) -> Error {
    Error::new(ErrorCode::Unsupported, format!("{} is not run on this host: {why}", script.name))
        .hint("wrap it in a shell script of the library; `putfile` copies any library file here")
}
