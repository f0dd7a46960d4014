//! `getfile`: the device's bytes, with the packing taken off that Defender puts round them, where that is certain.
//!
//! Invariants: the size and the hash that the device gave in the same action decide, not how the bytes look; what is
//! held in memory is bounded, whatever the file's size.

use super::DefenderDevice;
use super::actions::Look;
use super::api::{ActionId, LiveCommand, MachineAction, Status};
use super::batch::failed;
use super::document::Document;
use super::gunzip::Gunzip;
use super::kept::{Intent, comment};
use super::pack::{self, Arguments};
use super::read;
use crate::device::Fetched;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FILE_LIMIT, FileFacts, FileInfo, FileQuery, Job, Sha256};
use crate::secret;
use sha2::Digest;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Files up to here are held while it is found out how they came; larger ones are read twice.
const HELD: u64 = 8 << 20;
/// What its action is kept as.
const GET: &str = "getfile";
const GZIP: &[u8] = b"\x1f\x8b";

/// How a file's bytes came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    AsTheyAre,
    Packed,
    /// They may be packed, and nothing says so.
    Unresolved,
}

type Bytes = Box<dyn AsyncRead + Send + Unpin>;

impl DefenderDevice {
    pub(super) async fn get(&self, file: FileQuery, job: &Arc<Job>) -> Result<Fetched> {
        let path = self.syntax().absolute(&file.path)?;
        let as_text = std::str::from_utf8(path.as_bytes()).ok().filter(|text| !text.contains(['"', '\n', '\r']));
        let as_text = as_text.ok_or_else(|| {
            Error::new(ErrorCode::Unsupported, format!("Defender's GetFile takes no such path: {path}"))
                .hint("a name that is no text, or has a quote or a line break in it, cannot be sent")
        })?;
        let (action, nonce, at) = match job.kept().and_then(|kept| kept.begun(GET)) {
            Some(begun) => {
                let action = self.tenant.rejoin(self.machine_id(), &begun, job).await.map_err(|e| self.blamed(e))?;
                (action, begun.nonce, begun.index)
            }
            None => self.begin(&path, as_text, job).await?,
        };
        let info = if at == 1 { self.looked(&action, &nonce, job).await? } else { None };
        info.as_ref().map_or(Ok(()), fits)?;
        self.succeeded(&action, at)?;
        let (came, bytes) = self.bytes(&action.id, at, info.as_ref(), job).await?;
        // What is kept as it came need not have the file's size.
        let size = |info: &FileInfo| if came == Came::Unresolved { 0 } else { info.size_bytes };
        let known = |info: &FileInfo| (size(info), Some(info.modified));
        let (size_bytes, modified) = info.as_ref().map_or((0, None), known);
        let secret = secret::by_place(path.as_bytes()).map(str::to_owned);
        Ok(Fetched { facts: FileFacts { path, size_bytes, modified, identity: None, secret }, bytes })
    }

    /// Asks for the file's facts and its bytes; the nonce of the facts, and which command gets the bytes.
    async fn begin(&self, path: &DevicePath, as_text: &str, job: &Arc<Job>) -> Result<(MachineAction, String, u32)> {
        let script = pack::script("fileinfo", self.shell()?)?;
        let arguments = Arguments::new().path("path", path);
        // Without our script the bytes can still be had; how they came may stay open then.
        let looks = match self.tenant.command(script, &arguments, job).await {
            Ok(command) => Some(command),
            Err(e) if matches!(e.code, ErrorCode::Unsupported | ErrorCode::ScriptDrift) => {
                job.warn(format!("the file's size and hash were not asked of the device: {}", e.message));
                None
            }
            Err(e) => return Err(e),
        };
        let get = LiveCommand::GetFile { path: as_text.to_owned() };
        let at = u32::from(looks.is_some());
        let commands: Vec<LiveCommand> = looks.into_iter().chain([get]).collect();
        let kept = Intent::new(GET, &arguments.nonce, at, job);
        Ok((self.act(Look::Commands(commands), kept, job).await?, arguments.nonce, at))
    }

    /// Runs an action to its end. A command that is stopped has it cancelled where it is still to be had.
    pub(super) async fn act(&self, look: Look, kept: Option<Intent>, job: &Arc<Job>) -> Result<MachineAction> {
        self.act_noting(look, kept, &Mutex::default(), job).await
    }

    /// The same; `started` holds the action's id once the tenant has taken it.
    pub(super) async fn act_noting(
        &self,
        look: Look,
        kept: Option<Intent>,
        started: &Mutex<Option<ActionId>>,
        job: &Arc<Job>,
    ) -> Result<MachineAction> {
        let comment = comment(kept.as_slice());
        let note = |action: &MachineAction| {
            *started.lock().unwrap_or_else(PoisonError::into_inner) = Some(action.id.clone());
            kept.iter().for_each(|intent| intent.took(&action.id));
        };
        let ended = self.tenant.actions.run(self.machine_id(), look, &comment, &note, job).await;
        let started = started.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if job.is_cancelled()
            && let Some(id) = started
        {
            self.tenant.let_go(&id).await;
        }
        ended.map_err(|e| self.blamed(e))
    }

    /// The facts that the script of the same action found. What it says of the file goes over what GetFile says.
    async fn looked(&self, action: &MachineAction, nonce: &str, job: &Arc<Job>) -> Result<Option<FileInfo>> {
        let result = self.tenant.script_result(&action.id, 0, job).await;
        let document = result.and_then(|result| Document::find(&result, "fileinfo", nonce));
        match document.and_then(|document| read::info(&document, job)) {
            Ok(info) => Ok(Some(info)),
            Err(e) if matches!(e.code, ErrorCode::NotFound | ErrorCode::NotAFile | ErrorCode::Access) => Err(e),
            Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::ScriptDrift) => Err(e),
            Err(e) => {
                job.warn(format!("the file's size and hash are not known: {}", e.message));
                Ok(None)
            }
        }
    }

    fn succeeded(&self, action: &MachineAction, at: u32) -> Result<()> {
        let command = action.commands.iter().find(|c| c.index == at);
        match action.status {
            Status::Succeeded => Ok(()),
            _ => Err(failed(action, command)),
        }
    }

    async fn bytes(
        &self,
        action: &ActionId,
        at: u32,
        info: Option<&FileInfo>,
        job: &Arc<Job>,
    ) -> Result<(Came, Bytes)> {
        let tenant = &self.tenant;
        let download = tenant.result(action, at, job).await?;
        let mut bytes = download.bytes;
        let head = held(&mut bytes, HELD, job).await?;
        if !head.starts_with(GZIP) {
            return Ok((Came::AsTheyAre, Box::new(std::io::Cursor::new(head).chain(bytes))));
        }
        let is_whole = (head.len() as u64) < HELD;
        let came = if is_whole {
            came(&mut std::io::Cursor::new(&head), info, job).await?
        } else {
            // Nothing of it is kept: the link is good for a second reading.
            came(&mut std::io::Cursor::new(head.as_slice()).chain(&mut bytes), info, job).await?
        };
        let again: Bytes = if is_whole {
            Box::new(std::io::Cursor::new(head))
        } else {
            drop((head, bytes));
            tenant.result(action, at, job).await?.bytes
        };
        let bytes = match came {
            Came::AsTheyAre => again,
            Came::Packed => Box::new(Gunzip::new(again)),
            Came::Unresolved => {
                job.warn("encoding: unresolved. The bytes look packed by gzip, and neither size nor hash of the device says whether Defender packed them: they are kept as they came");
                again
            }
        };
        Ok((came, bytes))
    }
}

/// What the store would not take is not fetched.
fn fits(info: &FileInfo) -> Result<()> {
    if info.size_bytes <= FILE_LIMIT {
        return Ok(());
    }
    let what = format!("{} has {} bytes, the limit is {FILE_LIMIT}", info.path, info.size_bytes);
    Err(Error::new(ErrorCode::TooLarge, what).hint("fileinfo tells its hashes"))
}

async fn held(bytes: &mut Bytes, most: u64, job: &Job) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut bounded = bytes.take(most);
    loop {
        job.check()?;
        match bounded.read_buf(&mut head).await {
            Ok(0) => return Ok(head),
            Ok(_) => {}
            Err(e) => return Err(Error::new(ErrorCode::Backend, format!("the file broke off on its way: {e}"))),
        }
    }
}

/// Reads packed bytes to their end, both as they are and unpacked, and says which of them is the device's file.
async fn came(bytes: &mut (impl AsyncRead + Unpin + Send), info: Option<&FileInfo>, job: &Job) -> Result<Came> {
    let Some(info) = info else { return Ok(Came::Unresolved) };
    let mut raw = Hashed { bytes, sha256: sha2::Sha256::new(), size: 0 };
    let mut unpacked = sha2::Sha256::new();
    let mut size = 0u64;
    let mut buffer = vec![0; 64 << 10];
    let mut gunzip = Gunzip::new(&mut raw);
    let is_gzip = loop {
        job.check()?;
        match gunzip.read(&mut buffer).await {
            Ok(0) => break true,
            Ok(n) => {
                unpacked.update(buffer.get(..n).unwrap_or_default());
                size += n as u64;
            }
            Err(_) => break false,
        }
    };
    drop(gunzip);
    // What follows the layer belongs to the bytes as they are.
    while raw.read(&mut buffer).await.map_err(|e| Error::new(ErrorCode::Backend, format!("the file broke off: {e}")))?
        > 0
    {
        job.check()?;
    }
    let is = |digest: sha2::Sha256| Sha256::from_bytes(&digest.finalize()) == info.sha256;
    let (as_they_are, raw_size) = (is(raw.sha256), raw.size);
    Ok(if as_they_are {
        Came::AsTheyAre
    } else if is_gzip && (is(unpacked) || size == info.size_bytes) {
        Came::Packed
    } else if raw_size == info.size_bytes {
        Came::AsTheyAre
    } else {
        Came::Unresolved
    })
}

/// Hashes and counts what is read.
struct Hashed<'a, R> {
    bytes: &'a mut R,
    sha256: sha2::Sha256,
    size: u64,
}

impl<R: AsyncRead + Unpin> AsyncRead for Hashed<'_, R> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = into.filled().len();
        std::task::ready!(std::pin::Pin::new(&mut *self.bytes).poll_read(cx, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        self.sha256.update(new);
        self.size += new.len() as u64;
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn facts(bytes: &[u8]) -> FileInfo {
        let json = serde_json::json!({"path": "/x", "size_bytes": bytes.len(), "modified": "2026-11-24T00:00:00Z",
            "md5": "0".repeat(32), "sha1": "0".repeat(40), "sha256": Sha256::of(bytes)});
        serde_json::from_str::<rows::FileInfoWire>(&json.to_string()).unwrap().read().unwrap()
    }

    async fn judged(mut bytes: &[u8], of: &[u8]) -> Came {
        came(&mut bytes, Some(&facts(of)), &Job::default()).await.unwrap()
    }

    #[test]
    fn a_file_over_the_limit_is_not_fetched() {
        let mut info = facts(b"x");
        info.size_bytes = FILE_LIMIT;
        fits(&info).unwrap();
        info.size_bytes += 1;
        assert_eq!(fits(&info).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[tokio::test]
    async fn a_layer_goes_only_where_the_device_says_so() {
        let file = b"the file".repeat(1000);
        assert_eq!(judged(&packed(&file), &file).await, Came::Packed);
        assert_eq!(judged(&packed(&packed(&file)), &packed(&file)).await, Came::Packed);
        assert_eq!(judged(&packed(&file), &packed(&file)).await, Came::AsTheyAre);
        assert_eq!(judged(&packed(&file), b"another").await, Came::Unresolved);
        let cut = &packed(&file)[..20];
        assert_eq!(judged(cut, &file).await, Came::Unresolved);
        assert_eq!(came(&mut &packed(&file)[..], None, &Job::default()).await.unwrap(), Came::Unresolved);
    }
}
