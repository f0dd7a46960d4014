//! `collect`: the investigation package where Defender makes one, else a script of ours that gathers and tidies up.
//!
//! Invariant: what the script wrote on the device is removed again, also where its bytes did not come.

use super::DefenderDevice;
use super::actions::Look;
use super::api::{ActionId, LiveCommand, MachineAction, Status};
use super::batch::failed;
use super::client::json::tolerant;
use super::document::Document;
use super::gunzip::Gunzip;
use super::kept::Intent;
use super::pack::{self, Arguments, Shell, Value};
use crate::device::Package;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{CollectQuery, DevicePath, FileFacts, Job, PackageFacts, Profile, Sha256, random_hex};
use serde::Deserialize;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What its action is kept as.
const GATHER: &str = "gather";
/// Nobody has looked through it when it comes.
const NOT_LOOKED_THROUGH: &str = "a package that was not looked through";
/// Days that the script searches back.
const TRIAGE_DAYS: u64 = 2;
const FULL_DAYS: u64 = 30;
/// A package's link may come a while after its action's end; the service is asked twice a minute.
const LINK_TRIES: u32 = 20;

/// What the script says of the package that it made.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Gathered {
    #[serde(deserialize_with = "tolerant")]
    members: u64,
    #[serde(deserialize_with = "tolerant")]
    bytes: u64,
    #[serde(deserialize_with = "tolerant")]
    left_out: u64,
}

type Bytes = Box<dyn AsyncRead + Send + Unpin>;

impl DefenderDevice {
    pub(super) async fn gather(&self, query: CollectQuery, job: &Arc<Job>) -> Result<Package> {
        match self.shell()? {
            Shell::PowerShell => self.investigation_package(job).await,
            Shell::Bash => self.by_script(query, job).await,
        }
    }

    async fn investigation_package(&self, job: &Arc<Job>) -> Result<Package> {
        let action = self.gathered(async { Ok(Look::CollectPackage) }, "", job).await?;
        if action.status != Status::Succeeded {
            return Err(failed(&action, None));
        }
        let bytes = self.package_bytes(&action.id, job).await?;
        Ok(package("investigation-package.zip", bytes, PackageFacts::default()))
    }

    /// The end of the action that gathers: of one that is kept, or of a new one.
    async fn gathered(
        &self,
        look: impl Future<Output = Result<Look>>,
        nonce: &str,
        job: &Arc<Job>,
    ) -> Result<MachineAction> {
        match job.kept().and_then(|kept| kept.begun(GATHER)) {
            Some(begun) => self.tenant.rejoin(self.machine_id(), &begun, job).await.map_err(|e| self.blamed(e)),
            None => self.act(look.await?, Intent::new(GATHER, nonce, 0, job), job).await,
        }
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

    async fn by_script(&self, query: CollectQuery, job: &Arc<Job>) -> Result<Package> {
        let script = pack::script("collect", self.shell()?)?;
        let nonce = job.kept().and_then(|kept| kept.begun(GATHER)).map_or_else(random_hex::<16>, |begun| begun.nonce);
        // Found again by who goes on with it, and guessed by nobody on the device.
        let name = Sha256::of(nonce.as_bytes());
        let out = format!("/var/tmp/live-response-{}.tar.gz", name.as_str().get(..16).unwrap_or_default());
        let days = if query.profile == Profile::Full { FULL_DAYS } else { TRIAGE_DAYS };
        let path = DevicePath::new(out.as_str());
        let arguments = |of: Arguments, mode: &str| of.text("mode", mode).path("out", &path);
        let gather = arguments(Arguments::signed(&nonce), "gather").with("days", Some(Value::Number(days)));
        let look = async {
            let command = self.tenant.command(script, &gather, job).await?;
            Ok(Look::Commands(vec![command, LiveCommand::GetFile { path: out.clone() }]))
        };
        let action = self.gathered(look, &nonce, job).await;
        let made = async {
            let action = action?;
            let result = self.tenant.script_result(&action.id, 0, job).await?;
            let document = Document::find(&result, script.name, &gather.nonce)?;
            let gathered: Gathered = document.data(job)?;
            if action.status != Status::Succeeded {
                return Err(failed(&action, action.commands.iter().find(|c| c.index == 1)));
            }
            Ok((gathered, self.tenant.result(&action.id, 1, job).await?.bytes))
        }
        .await;
        self.tidy(arguments(Arguments::new(), "tidy"), script, job).await;
        let (gathered, bytes) = made?;
        let facts = PackageFacts {
            members: gathered.members,
            bytes: gathered.bytes,
            left_out: gathered.left_out,
            ..PackageFacts::default()
        };
        Ok(package("live-response-package.tar.gz", one_layer(bytes, job).await?, facts))
    }

    /// Takes the archive off the device. What fails here leaves a file there, and the answer says so.
    async fn tidy(&self, arguments: Arguments, script: &'static pack::Script, job: &Arc<Job>) {
        let calm = job.calm();
        if let Err(e) = self.tenant.run(self.machine_id(), script, arguments, &calm).await
            && e.code != ErrorCode::NotFound
        {
            job.warn(format!(
                "the package's archive may still be in /var/tmp on the device: {}: {}",
                e.code, e.message
            ));
        }
    }
}

fn package(name: &str, bytes: Bytes, facts: PackageFacts) -> Package {
    let (made, waits) = tokio::sync::oneshot::channel();
    // The receiver is right here.
    let _ = made.send(Ok(PackageFacts { secret: Some(NOT_LOOKED_THROUGH.into()), ..facts }));
    let file = FileFacts {
        path: DevicePath::new(name),
        size_bytes: 0,
        modified: None,
        identity: None,
        secret: Some(NOT_LOOKED_THROUGH.into()),
    };
    Package { facts: file, bytes, made: waits }
}

/// The archive is gzip itself: a second layer is Defender's, and shows in what the first unpacks to.
async fn one_layer(mut bytes: Bytes, job: &Job) -> Result<Bytes> {
    let mut head = vec![0; 64 << 10];
    let mut length = 0;
    while length < head.len() {
        job.check()?;
        let read = bytes.read(head.get_mut(length..).unwrap_or_default()).await;
        match read.map_err(|e| Error::new(ErrorCode::Backend, format!("the package broke off on its way: {e}")))? {
            0 => break,
            n => length += n,
        }
    }
    head.truncate(length);
    let mut inner = [0; 2];
    let is_twice = Gunzip::new(head.as_slice()).read_exact(&mut inner).await.is_ok() && inner == *b"\x1f\x8b";
    let whole = std::io::Cursor::new(head).chain(bytes);
    Ok(if is_twice { Box::new(Gunzip::new(whole)) } else { Box::new(whole) })
}
