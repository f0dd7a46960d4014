//! `collect`: what a script of ours gathers, and on Windows Defender's investigation package beside it, as one package.
//!
//! Invariants: what the script wrote on the device is removed again, also where its bytes did not come; where one half
//! does not come, the other is kept and the answer says so.

use super::DefenderDevice;
use super::actions::Look;
use super::api::{ActionId, LiveCommand, MachineAction, Status};
use super::batch::failed;
use super::client::json::tolerant;
use super::document::Document;
use super::gunzip::Gunzip;
use super::kept::Intent;
use super::machines;
use super::pack::{self, Arguments, Script, Shell, Value};
use super::repack::{Layout, Part, repack};
use crate::device::{Package, package};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{CollectQuery, DevicePath, Job, Profile, Sha256, Timestamp, random_hex};
use crate::private;
use serde::Deserialize;
use sha2::Digest;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// What their actions are kept as.
const GATHER: &str = "gather";
const INVESTIGATE: &str = "investigate";
/// Days that the script searches back.
const TRIAGE_DAYS: u64 = 2;
const FULL_DAYS: u64 = 30;
/// A package's link may come a while after its action's end; the service is asked twice a minute.
const LINK_TRIES: u32 = 20;
/// Bytes that broke off, and links that counted no more by then, are asked for so often.
const FETCHES: u32 = 2;
/// An archive is no larger, in bytes. Live response fetches files up to 3 GiB.
const ARCHIVE: u64 = 8 << 30;
/// Whoever waits for a package waits so long for the device to remove what it made.
const TIDY_WITHIN: Duration = Duration::from_secs(120);
const CHUNK: usize = 256 << 10;

/// What the script says of the archive that it made.
#[derive(Deserialize)]
struct Gathered {
    #[serde(default)]
    sha256: Option<Sha256>,
    #[serde(default, deserialize_with = "tolerant")]
    left_out: u64,
}

type Bytes = Box<dyn AsyncRead + Send + Unpin>;

/// Where an action's bytes are to be had.
#[derive(Clone, Copy)]
enum Link {
    Package,
    Result(u32),
}

/// Bytes of ours without a name, read from their start.
struct Kept {
    file: tokio::fs::File,
    size: u64,
    sha256: Sha256,
    head: Vec<u8>,
}

impl DefenderDevice {
    pub(super) async fn gather(&self, query: CollectQuery, job: &Arc<Job>) -> Result<Package> {
        let (began, shell) = (Timestamp::now(), self.shell()?);
        // What changes soonest comes first.
        let mut halves = vec![("script", self.by_script(query.profile, job).await)];
        if shell == Shell::PowerShell {
            job.check()?;
            halves.push(("investigation", self.investigation_package(job).await));
        }
        job.check()?;
        let parts = kept_halves(halves, job)?;
        let host = machines::name(&self.machine).clean().into_owned();
        let (facts, profile) = (package::facts(&host, query.profile), query.profile);
        let (tenant, work) = (self.tenant.clone(), job.clone());
        let packed = tokio::task::spawn_blocking(move || repack(parts, host, profile, began, &tenant.home, &work));
        let (file, made) = packed
            .await
            .map_err(|e| Error::new(ErrorCode::Internal, "the making of the package broke off").source(e))??;
        let (tell, waits) = tokio::sync::oneshot::channel();
        // The receiver is right here.
        let _ = tell.send(Ok(made));
        Ok(Package { facts, bytes: Box::new(tokio::fs::File::from_std(file)), made: waits })
    }

    async fn investigation_package(&self, job: &Arc<Job>) -> Result<Part> {
        let look = async { Ok(Look::CollectPackage) };
        let action = self.acted(INVESTIGATE, look, "", &Mutex::default(), job).await?;
        if action.status != Status::Succeeded {
            return Err(failed(&action, None));
        }
        let kept = self.fetched(&action.id, Link::Package, job).await?;
        self.part("investigation", Layout::Zip, kept, None, 0, job).await
    }

    /// The end of an action: of one that is kept, or of a new one. `started` holds its id once the tenant has taken it.
    async fn acted(
        &self,
        kept_as: &'static str,
        look: impl Future<Output = Result<Look>>,
        nonce: &str,
        started: &Mutex<Option<ActionId>>,
        job: &Arc<Job>,
    ) -> Result<MachineAction> {
        let Some(begun) = job.kept().and_then(|kept| kept.begun(kept_as)) else {
            return self.act_noting(look.await?, Intent::new(kept_as, nonce, 0, job), started, job).await;
        };
        let ended = self.tenant.rejoin(self.machine_id(), &begun, job).await;
        if let Ok(action) = &ended {
            *started.lock().unwrap_or_else(PoisonError::into_inner) = Some(action.id.clone());
        }
        ended.map_err(|e| self.blamed(e))
    }

    async fn package_bytes(&self, action: &ActionId, job: &Job) -> Result<Bytes> {
        let client = &self.tenant.client;
        let mut tries = 0;
        loop {
            // The client keeps to two a minute.
            match client.package_link(action, job).await {
                Ok(link) => return Ok(client.download(&link, job).await?.bytes),
                Err(e) if e.code == ErrorCode::NotFound && tries < LINK_TRIES => tries += 1,
                Err(e) => return Err(e),
            }
            job.check()?;
        }
    }

    async fn by_script(&self, profile: Profile, job: &Arc<Job>) -> Result<Part> {
        let shell = self.shell()?;
        let (layout, folder, extension) = match shell {
            Shell::Bash => (Layout::TarGz, "/var/tmp/", "tar.gz"),
            Shell::PowerShell => (Layout::Zip, r"C:\Windows\Temp\", "zip"),
        };
        let script = pack::script("collect", shell)?;
        let nonce = job.kept().and_then(|kept| kept.begun(GATHER)).map_or_else(random_hex::<16>, |begun| begun.nonce);
        // Found again by who goes on with it, and guessed by nobody on the device.
        let name = Sha256::of(nonce.as_bytes());
        let out = format!("{folder}live-response-{}.{extension}", name.as_str().get(..16).unwrap_or_default());
        let path = DevicePath::new(out.as_str());
        let days = if profile == Profile::Full { FULL_DAYS } else { TRIAGE_DAYS };
        let arguments = |of: Arguments, mode: &str| of.text("mode", mode).path("out", &path);
        let gather = arguments(Arguments::signed(&nonce), "gather").with("days", Some(Value::Number(days)));
        let look = async {
            let command = self.tenant.command(script, &gather, job).await?;
            Ok(Look::Commands(vec![command, LiveCommand::GetFile { path: out.clone() }]))
        };
        let started = Mutex::default();
        let action = self.acted(GATHER, look, &nonce, &started, job).await;
        let was_started = started.into_inner().unwrap_or_else(PoisonError::into_inner).is_some()
            || action.as_ref().is_err_and(|e| e.code == ErrorCode::OutcomeUnknown);
        let made = async {
            let action = action?;
            let result = self.tenant.script_result(&action.id, 0, job).await;
            let said = result.and_then(|result| Document::find(&result, script.name, &gather.nonce));
            if action.status != Status::Succeeded {
                // What the script says of it says more.
                let own = said.err().filter(|e| e.code != ErrorCode::Backend);
                return Err(
                    own.unwrap_or_else(|| failed(&action, action.commands.iter().find(|c| !c.errors.is_empty())))
                );
            }
            let gathered: Gathered = said?.data(job)?;
            let kept = self.fetched(&action.id, Link::Result(1), job).await?;
            self.part("script", layout, kept, gathered.sha256.as_ref(), gathered.left_out, job).await
        }
        .await;
        if was_started {
            self.tidy(arguments(Arguments::new(), "tidy"), script, folder, job).await;
        }
        made
    }

    /// Takes the archive off the device, also where nobody waits any more. Where that fails, the answer says so.
    async fn tidy(&self, arguments: Arguments, script: &'static Script, folder: &str, job: &Job) {
        let (tenant, machine, calm) = (self.tenant.clone(), self.machine_id().clone(), job.calm());
        let work = tokio::spawn(async move { tenant.run(&machine, script, arguments, &calm).await });
        let why = match tokio::time::timeout(TIDY_WITHIN, work).await {
            Ok(Ok(Ok(_))) => return,
            Ok(Ok(Err(e))) if e.code == ErrorCode::NotFound => return,
            Ok(Ok(Err(e))) => format!("{}: {}", e.code, e.message),
            Ok(Err(_)) => "the removing broke off".to_owned(),
            Err(_) => "the device did not answer in time".to_owned(),
        };
        job.warn(format!("the archive that `collect` made may still be in {folder} on the device: {why}"));
    }

    /// The bytes behind a link, in a file of ours; asked for again where they do not come whole.
    async fn fetched(&self, action: &ActionId, link: Link, job: &Job) -> Result<Kept> {
        let mut tries = 1;
        loop {
            let bytes = match link {
                Link::Package => self.package_bytes(action, job).await,
                Link::Result(index) => self.tenant.result(action, index, job).await.map(|result| result.bytes),
            };
            let kept = match bytes {
                Ok(bytes) => self.kept(bytes, job).await,
                Err(e) => Err(e),
            };
            match kept {
                Err(e) if matches!(e.code, ErrorCode::Expired | ErrorCode::Backend) && tries < FETCHES => tries += 1,
                other => return other,
            }
            job.check()?;
        }
    }

    async fn kept(&self, mut bytes: Bytes, job: &Job) -> Result<Kept> {
        let unwritten = |e| Error::io("the state home", e);
        let file = private::nameless(&self.tenant.home.join("snapshots"))?;
        let mut file = tokio::fs::File::from_std(file);
        let (mut hash, mut size, mut head) = (sha2::Sha256::new(), 0, Vec::new());
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                read = bytes.read(&mut buffer) => read,
                () = job.stopped() => { job.check()?; continue }
            };
            let broke = |e| Error::new(ErrorCode::Backend, format!("the archive broke off on its way: {e}"));
            let chunk = buffer.get(..read.map_err(broke)?).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            size += chunk.len() as u64;
            if size > ARCHIVE {
                let what = format!("the device's archive is larger than {} GiB", ARCHIVE >> 30);
                return Err(Error::new(ErrorCode::TooLarge, what));
            }
            let missing = 8_usize.saturating_sub(head.len());
            head.extend(chunk.iter().take(missing));
            hash.update(chunk);
            file.write_all(chunk).await.map_err(unwritten)?;
        }
        file.flush().await.map_err(unwritten)?;
        file.rewind().await.map_err(unwritten)?;
        Ok(Kept { file, size, sha256: Sha256::from_bytes(&hash.finalize()), head })
    }

    /// The archive, without the packing that Defender put round it, where it did.
    async fn part(
        &self,
        artifact: &'static str,
        layout: Layout,
        mut kept: Kept,
        said: Option<&Sha256>,
        left_out: u64,
        job: &Job,
    ) -> Result<Part> {
        if said != Some(&kept.sha256) && kept.head.starts_with(Layout::TarGz.magic()) {
            let packed = kept.file.try_clone().await.map_err(|e| Error::io("the state home", e))?;
            let inner = self.kept(Box::new(Gunzip::new(packed)), job).await;
            match inner {
                Ok(inner) if inner.head.starts_with(layout.magic()) => kept = inner,
                Err(e) if e.code != ErrorCode::Backend => return Err(e),
                _ => {}
            }
            kept.file.rewind().await.map_err(|e| Error::io("the state home", e))?;
        }
        if said.is_some_and(|said| *said != kept.sha256) {
            job.warn(format!(
                "the archive `{artifact}` is not the one that the device hashed: it was changed on its way"
            ));
        }
        let Kept { file, size, sha256, .. } = kept;
        Ok(Part { artifact, layout, file: file.into_std().await, size, sha256, left_out })
    }
}

/// The halves that came. What became of the others is a warning, or the error where none came.
fn kept_halves(halves: Vec<(&str, Result<Part>)>, job: &Job) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut first = None;
    let mut told = Vec::new();
    for (artifact, half) in halves {
        match half {
            Ok(part) => parts.push(part),
            Err(e) => {
                let what = if artifact == "script" { "what our script gathers" } else { "the investigation package" };
                let hint = e.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                told.push(format!("{what} is not in the package: {}: {}{hint}", e.code, e.message));
                first.get_or_insert(e);
            }
        }
    }
    match first {
        Some(e) if parts.is_empty() => {
            told.into_iter().skip(1).for_each(|text| job.warn(text));
            Err(e)
        }
        _ => {
            told.into_iter().for_each(|text| job.warn(text));
            Ok(parts)
        }
    }
}
