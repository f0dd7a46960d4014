//! A wish on a tenant's device as steps: what exactly the tenant would be asked to do, and to what.
//!
//! Invariant: looks only. What a look found is in the step, so that it is compared again before anything is begun.

use super::api::{ActionKind, MachineAction, Status, UPLOAD_BYTES};
use super::pack::{self, Arguments, Shell};
use super::{DefenderDevice, machines};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    DevicePath, EntityKind, Fact, IsolationKind, ItemKind, Job, LibraryItem, Step, TenantDeed, Timestamp, UndoId, Wish,
    random_hex,
};
use crate::shape::scrub;
use serde::Deserialize;
use std::sync::Arc;

/// Defender keeps an action for a device that is off so long, in seconds.
const WAITS_S: i64 = 3 * 24 * 3600;
/// Facts of an entity, and what each may be.
const FACTS: usize = 64;
const FACT_NAME: usize = 64;
const FACT_VALUE: usize = 4096;
/// Of a script's output this much is kept, in bytes.
const OUTPUT_MAX: u64 = 16 << 20;
/// What a parameter may hold beside letters and digits: each sign stands for itself in a word and between quotes.
const PLAIN: &str = " -_.,:/=+@";
const PLAIN_TO_POWERSHELL: &str = "\\*?[]~";

#[derive(Deserialize)]
struct Looked {
    #[serde(default)]
    facts: Vec<Fact>,
    #[serde(default)]
    note: Option<String>,
}

impl DefenderDevice {
    pub(super) fn can(&self, wish: &Wish) -> Result<()> {
        let cannot = |what: &str, hint: &str| Err(Error::new(ErrorCode::Unsupported, what).hint(hint));
        let no = |hint: &str| cannot(&format!("a Defender device has no `{}`", wish.kind()), hint);
        let is_windows = self.platform() == "windows";
        match wish {
            Wish::Isolate { selective: true, .. } if self.platform() == "linux" => cannot(
                "Defender isolates a Linux device fully or not at all",
                "`isolate` with type full can be asked for",
            ),
            Wish::Isolate { .. } | Wish::Release | Wish::Scan { .. } => Ok(()),
            Wish::PutFile { overwrite: true, .. } | Wish::PutFile { keep: true, .. } => {
                cannot("Defender's PutFile has neither overwrite nor keep", "without them the file can be put")
            }
            Wish::Run { script: item, .. } | Wish::PutFile { item, .. } => {
                self.shell()?;
                fits_a_library(item)
            }
            Wish::Remediate { kind: EntityKind::Registry, .. } | Wish::Undo { kind: EntityKind::Registry, .. }
                if !is_windows =>
            {
                cannot("only Windows has a registry", "`persistence` says what starts by itself on a Linux device")
            }
            Wish::Remediate { .. } | Wish::Undo { .. } => self.shell().map(drop),
            Wish::RemediateValues { .. } | Wish::UndoValues { .. } => {
                no("a hive file is changed where its copy lies, on `local`")
            }
            Wish::Collect { .. } => no("without output_folder `collect` seals the package into the evidence store"),
            Wish::DeleteScript { .. } | Wish::Disclose(_) => no("it is on no device"),
            Wish::AddIndicator { .. } | Wish::RemoveIndicator { .. } => no("indicators are the whole tenant's"),
        }
    }

    pub(super) async fn plan(&self, wish: &Wish, job: &Arc<Job>) -> Result<Vec<Step>> {
        self.can(wish)?;
        let deeds = match wish {
            Wish::Isolate { selective, .. } => {
                let kind = if *selective { IsolationKind::Selective } else { IsolationKind::Full };
                vec![TenantDeed::Isolate {
                    kind,
                    state: self.isolation_now(job).await?,
                    may_wait_until: self.may_wait_until(),
                }]
            }
            Wish::Release => vec![TenantDeed::Release {
                state: self.isolation_now(job).await?,
                may_wait_until: self.may_wait_until(),
            }],
            Wish::Scan { full } => vec![TenantDeed::Scan { full: *full }],
            Wish::Run { script, parameters, .. } => vec![self.run(script, parameters)?],
            Wish::PutFile { item, .. } => {
                vec![TenantDeed::Put { item: item.clone(), file_name: uploaded_name("put", item) }]
            }
            Wish::Remediate { kind: EntityKind::File, ids } if self.platform() == "windows" => {
                let mut deeds = Vec::new();
                for id in ids {
                    deeds.push(self.stop_and_quarantine(id, job).await?);
                }
                deeds
            }
            Wish::Remediate { kind, ids } => self.entities("remediate", *kind, ids, job).await?,
            Wish::Undo { kind, ids } => self.entities("undo", *kind, ids, job).await?,
            _ => Vec::new(),
        };
        Ok(deeds.into_iter().map(|deed| Step::Tenant { deed: Box::new(deed) }).collect())
    }

    fn may_wait_until(&self) -> Option<Timestamp> {
        machines::not_active(&self.machine).map(|_| Timestamp::now().plus_secs(WAITS_S))
    }

    /// What the newest isolation or release that took place left.
    pub(super) async fn isolation_now(&self, job: &Job) -> Result<String> {
        let actions = self.tenant.client.actions_of(self.machine_id(), job).await?;
        Ok(isolation(&actions))
    }

    fn run(&self, item: &LibraryItem, parameters: &[String]) -> Result<TenantDeed> {
        let shell = self.shell()?;
        let fits = match shell {
            Shell::PowerShell => item.kind == ItemKind::PowerShell,
            Shell::Bash => item.kind.is_runnable() && !matches!(item.kind, ItemKind::PowerShell | ItemKind::Program),
        };
        if !fits {
            let what = format!("{} is of type {}, which this device does not run", item.name, item.kind.as_str());
            return Err(Error::new(ErrorCode::Unsupported, what)
                .hint("live response runs PowerShell scripts on Windows, shell and other scripts on Linux"));
        }
        Ok(TenantDeed::Run {
            item: item.clone(),
            file_name: uploaded_name("run", item),
            args: one_line(parameters, shell)?,
            user: if shell == Shell::PowerShell { "SYSTEM" } else { "root" }.to_owned(),
            output_max: OUTPUT_MAX,
        })
    }

    async fn stop_and_quarantine(&self, id: &str, job: &Arc<Job>) -> Result<TenantDeed> {
        let path = DevicePath::from_text(id).map_err(|e| Error::new(ErrorCode::BadArgs, e))?;
        let info = self.file_info(&path, job).await?;
        let sha1 = info.sha1.clone();
        let profile = self.tenant.client.file(&sha1, job).await.unwrap_or_else(|e| {
            job.warn(format!("what Defender knows of the file was not asked: {}", e.message));
            None
        });
        let text = |text: Option<&crate::shape::Untrusted>| text.map(|t| cut(t.raw(), 200)).filter(|t| !t.is_empty());
        let known = profile.as_ref();
        Ok(TenantDeed::StopAndQuarantine {
            path: info.path.clone(),
            sha1,
            sha256: info.sha256.clone(),
            size_bytes: info.size_bytes,
            signer: text(known.and_then(|p| p.signer.as_ref())),
            known_as: text(known.and_then(|p| p.determination_value.as_ref().or(p.determination_type.as_ref()))),
        })
    }

    async fn entities(&self, name: &str, kind: EntityKind, ids: &[String], job: &Arc<Job>) -> Result<Vec<TenantDeed>> {
        let script = pack::script(name, self.shell()?)?;
        let mut deeds = Vec::new();
        for id in ids {
            job.check()?;
            let asked = Arguments::new().text("mode", "look").text("kind", kind.as_str()).text("id", id.as_str());
            let looked: Looked = self.script(name, asked, job).await?.data(job)?;
            deeds.push(TenantDeed::Script {
                script: name.to_owned(),
                file_name: script.file_name(),
                sha256: script.sha256().clone(),
                kind,
                id: id.clone(),
                undo_id: (name == "remediate").then(|| UndoId::new(format!("u-{}", random_hex::<16>()))),
                nonce: random_hex::<16>(),
                facts: checked(looked.facts, id)?,
                note: looked.note.filter(|note| !note.is_empty()).map(|note| cut(&note, 500)),
            });
        }
        Ok(deeds)
    }
}

/// Said before a person is asked.
fn fits_a_library(item: &LibraryItem) -> Result<()> {
    let limit = u64::try_from(UPLOAD_BYTES).unwrap_or(u64::MAX);
    if item.size_bytes <= limit {
        return Ok(());
    }
    let what = format!("{} has {} bytes, a tenant's library takes {limit}", item.name, item.size_bytes);
    Err(Error::new(ErrorCode::TooLarge, what))
}

/// Facts that a person can be shown and a script can be held to.
fn checked(facts: Vec<Fact>, id: &str) -> Result<Vec<Fact>> {
    let is_name = |name: &str| {
        (1..=FACT_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let mut names: Vec<&str> = facts.iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let sound = !facts.is_empty()
        && names.len() == facts.len()
        && facts.len() <= FACTS
        && facts.iter().all(|f| is_name(&f.name) && f.value.len() <= FACT_VALUE);
    if sound {
        return Ok(facts);
    }
    Err(Error::new(ErrorCode::Uninspectable, format!("the device did not say what {} is", cut(id, 200)))
        .hint("name it another way; what a person cannot be shown is not changed"))
}

/// The parameters as the one string that the service takes, each a word.
fn one_line(parameters: &[String], shell: Shell) -> Result<Option<String>> {
    let mut line = Vec::new();
    for parameter in parameters {
        // What stands for itself. All else some shell reads: PowerShell takes typographic quotes for quotes.
        let is_plain = |c: char| {
            c.is_alphanumeric() || PLAIN.contains(c) || (shell == Shell::PowerShell && PLAIN_TO_POWERSHELL.contains(c))
        };
        let splats = shell == Shell::PowerShell && parameter.starts_with('@');
        if let Some(bad) = parameter.chars().find(|c| !is_plain(*c) || splats) {
            let what = format!("run: a parameter holds {bad:?}, which a shell on the device would read");
            return Err(Error::new(ErrorCode::BadArgs, what)
                .hint("Defender takes all parameters as one line; put what is special into a file (`putfile`)"));
        }
        let needs_quotes = parameter.is_empty() || parameter.contains(char::is_whitespace);
        if needs_quotes && parameter.ends_with('\\') {
            return Err(Error::new(ErrorCode::BadArgs, "run: a parameter with a space ends in a backslash")
                .hint("leave the last backslash off"));
        }
        line.push(if needs_quotes { format!("\"{parameter}\"") } else { parameter.clone() });
    }
    Ok((!line.is_empty()).then(|| line.join(" ")))
}

/// A name in the tenant's library that stands for exactly these bytes.
fn uploaded_name(verb: &str, item: &LibraryItem) -> String {
    let name = item.name.as_str();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let hash = item.sha256.as_str().get(..16).unwrap_or_default();
    let dot = if extension.is_empty() { "" } else { "." };
    format!("lr-{verb}-{stem}-{hash}{dot}{extension}")
}

fn isolation(actions: &[MachineAction]) -> String {
    let is_one = |a: &&MachineAction| {
        matches!(a.kind, ActionKind::Isolate | ActionKind::Unisolate) && a.status == Status::Succeeded
    };
    match actions.iter().filter(is_one).max_by_key(|a| a.creation_date_time_utc) {
        None => "not isolated, by the tenant's records".to_owned(),
        Some(action) if action.kind == ActionKind::Unisolate => "released".to_owned(),
        Some(action) => match action.scope.as_ref().map(|scope| scope.raw().to_ascii_lowercase()).as_deref() {
            Some("selective") => "selective".to_owned(),
            _ => "full".to_owned(),
        },
    }
}

pub(super) fn cut(text: &str, chars: usize) -> String {
    let cut: String = text.chars().take(chars).collect();
    scrub(&cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(parameters: &[&str], shell: Shell) -> Result<Option<String>> {
        one_line(&parameters.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), shell)
    }

    #[test]
    fn what_the_devices_shell_would_read_is_refused() {
        for bad in ["$(id)", "a;b", "a'b", "a\"b", "`id`", "a>b", "%PATH%", "a\nb", "a|b", "a&b", "a!b", "(x)"] {
            for shell in [Shell::Bash, Shell::PowerShell] {
                assert_eq!(line(&[bad], shell).unwrap_err().code, ErrorCode::BadArgs, "{bad:?}");
            }
        }
        for bad in ["a\\b", "*", "~root", "#x"] {
            assert!(line(&[bad], Shell::Bash).is_err(), "{bad:?}");
        }
        assert!(line(&["C:\\a b\\"], Shell::PowerShell).is_err());
    }

    #[test]
    fn parameters_stay_words() {
        assert_eq!(line(&["-days", "7", "a b", ""], Shell::Bash).unwrap().as_deref(), Some("-days 7 \"a b\" \"\""));
        assert_eq!(line(&[], Shell::Bash).unwrap(), None);
        assert_eq!(line(&["C:\\x"], Shell::PowerShell).unwrap().as_deref(), Some("C:\\x"));
    }

    #[test]
    fn a_fact_cannot_pass_for_another_argument() {
        let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
        assert!(checked(vec![fact("path", "/x")], "/x").is_ok());
        for bad in [
            vec![],
            vec![fact("", "x")],
            vec![fact("a b", "x")],
            vec![fact("a", "x"), fact("a", "y")],
            vec![fact("a", &"x".repeat(5000))],
            (0..100).map(|i| fact(&format!("f{i}"), "")).collect(),
        ] {
            assert_eq!(checked(bad, "/x").unwrap_err().code, ErrorCode::Uninspectable);
        }
    }

    #[test]
    fn signs_that_only_some_shell_reads_are_refused() {
        for bad in [
            "{id}",
            "<a",
            "^a",
            "a\tb",
            "a\u{2028}b",
            "a\u{85}b",
            "\u{201c}a",
            "\u{2019}a",
            "\u{201e}a",
            "a\0b",
            "\u{1b}[2J",
        ] {
            for shell in [Shell::Bash, Shell::PowerShell] {
                assert_eq!(line(&[bad], shell).unwrap_err().code, ErrorCode::BadArgs, "{bad:?}");
            }
        }
        for bad in ["@a", "#a", r"C:\a b\"] {
            assert!(line(&[bad], Shell::PowerShell).is_err(), "{bad:?}");
        }
        assert_eq!(line(&[r"C:\a b\*.log"], Shell::PowerShell).unwrap().unwrap(), r#""C:\a b\*.log""#);
        assert_eq!(line(&["-name=Zoë"], Shell::Bash).unwrap().unwrap(), "-name=Zoë");
    }
}
