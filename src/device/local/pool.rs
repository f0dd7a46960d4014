//! A bounded pool of blocking slots for work on a device's files and processes.
//!
//! Invariant: a thread that is stuck on a dead mount costs one slot and nobody's answer. Whoever waits is released as
//! soon as the job is cancelled or its time is up, and the slot comes back when the thread does.

use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use std::fs::File;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

const SLOTS: usize = 8;
/// How soon a cancel releases who waits.
const TICK: Duration = Duration::from_millis(20);
/// How long cancelled work may take to stop by itself, so that its own error and warnings are heard.
const GRACE: Duration = Duration::from_millis(200);
/// How long approved work may take to stop after a cancel before its outcome is unknown.
const EFFECT_GRACE: Duration = Duration::from_secs(30);
const CHUNK: usize = 256 * 1024;

#[derive(Clone)]
pub struct Pool {
    slots: Arc<Semaphore>,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { slots: Arc::new(Semaphore::new(SLOTS)) }
    }
}

impl Pool {
    /// Runs `work` on a slot. `E_CANCELLED` or `E_TIMEOUT` when the job ends first, `E_INTERNAL` for a panic.
    pub async fn run<T, F>(&self, job: &Arc<Job>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Job) -> Result<T> + Send + 'static,
    {
        self.run_for(job, GRACE, work).await
    }

    /// As [`Pool::run`], for work that changes something: a cancel lets it finish its step.
    pub async fn run_effect<T, F>(&self, job: &Arc<Job>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Job) -> Result<T> + Send + 'static,
    {
        self.run_for(job, EFFECT_GRACE, work).await
    }

    async fn run_for<T, F>(&self, job: &Arc<Job>, grace: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Job) -> Result<T> + Send + 'static,
    {
        let slot = self.slot(job).await?;
        let inner = Arc::clone(job);
        let thread = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&inner)
        });
        wait(thread, job, grace).await
    }

    /// A file's bytes, read ahead on a slot of their own; the thread ends when the reader is dropped.
    pub async fn stream(&self, job: &Arc<Job>, file: File) -> Result<impl AsyncRead + Send + Unpin + use<>> {
        let slot = self.slot(job).await?;
        let (tx, chunks) = mpsc::channel(2);
        let job = Arc::clone(job);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            send_chunks(file, &job, &tx);
        });
        Ok(Chunks { chunks, current: Vec::new(), at: 0 })
    }

    /// Bytes that `make` writes on a slot of its own, and what it came to once they have ended. It is told of a reader
    /// that was dropped by an error when it writes.
    pub async fn produce<T, F>(
        &self,
        job: &Arc<Job>,
        make: F,
    ) -> Result<(impl AsyncRead + Send + Unpin + use<T, F>, oneshot::Receiver<Result<T>>)>
    where
        T: Send + 'static,
        F: FnOnce(Chunked, &Job) -> Result<T> + Send + 'static,
    {
        let slot = self.slot(job).await?;
        let (tx, chunks) = mpsc::channel(2);
        let (tell, made) = oneshot::channel();
        let job = Arc::clone(job);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let result = make(Chunked { to: tx.clone(), chunk: Vec::new() }, &job);
            if let Err(e) = &result {
                let _ = tx.blocking_send(Err(std::io::Error::other(e.message.clone())));
            }
            // Told before the bytes end: who reads to the end finds it there.
            let _ = tell.send(result);
        });
        Ok((Chunks { chunks, current: Vec::new(), at: 0 }, made))
    }

    async fn slot(&self, job: &Arc<Job>) -> Result<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        tokio::select! {
            biased;
            slot = slot => slot.map_err(|e| Error::new(ErrorCode::Internal, "the pool is closed").source(e)),
            e = ended(job) => Err(e.hint("every slot for work on this host is taken: a mount may hang")),
        }
    }
}

/// Resolves with the job's own error once it is to stop.
async fn ended(job: &Job) -> Error {
    loop {
        if let Err(e) = job.check() {
            return e;
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn wait<T>(thread: JoinHandle<Result<T>>, job: &Job, grace: Duration) -> Result<T> {
    tokio::pin!(thread);
    let joined = tokio::select! {
        biased;
        joined = &mut thread => joined,
        e = ended(job) => match tokio::time::timeout(grace, &mut thread).await {
            Ok(joined) => joined,
            Err(_) => return Err(e),
        },
    };
    joined.unwrap_or_else(|e| Err(Error::new(ErrorCode::Internal, "the work on this host broke off").source(e)))
}

fn send_chunks(mut file: File, job: &Job, to: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = job
            .check()
            .map_err(std::io::Error::other)
            .and_then(|()| (&mut file).take(CHUNK as u64).read_to_end(&mut chunk));
        let message = match read {
            Ok(0) => return,
            Ok(_) => Ok(chunk),
            Err(e) => Err(e),
        };
        let last = message.is_err();
        if to.blocking_send(message).is_err() || last {
            return;
        }
    }
}

/// Passes on what is written, a chunk at a time.
pub struct Chunked {
    to: mpsc::Sender<std::io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
}

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.to.blocking_send(Ok(chunk)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

struct Chunks {
    chunks: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
}

impl AsyncRead for Chunks {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.at == self.current.len() {
            match ready!(self.chunks.poll_recv(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(e)) => return Poll::Ready(Err(e)),
                Some(Ok(chunk)) => (self.current, self.at) = (chunk, 0),
            }
        }
        let rest = self.current.get(self.at..).unwrap_or_default();
        let taken = rest.get(..buf.remaining().min(rest.len())).unwrap_or_default();
        buf.put_slice(taken);
        self.at += taken.len();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as sync;
    use tokio::io::AsyncReadExt;

    fn job() -> Arc<Job> {
        Arc::new(Job::default())
    }

    #[tokio::test]
    async fn a_stuck_thread_releases_who_waits() {
        let (job, pool) = (job(), Pool::default());
        let (unstick, stuck) = sync::channel::<()>();
        let canceller = Arc::clone(&job);
        let answer = pool.run(&job, move |_| {
            canceller.cancel();
            let _ = stuck.recv();
            Ok(())
        });
        assert_eq!(answer.await.unwrap_err().code, ErrorCode::Cancelled);
        assert_eq!(pool.slots.available_permits(), SLOTS - 1);
        unstick.send(()).unwrap();
    }

    #[tokio::test]
    async fn the_ninth_waits_and_is_told_when_its_time_is_up() {
        let pool = Pool::default();
        let mut held = Vec::new();
        let mut stuck = tokio::task::JoinSet::new();
        let (started, starts) = sync::channel();
        for _ in 0..SLOTS {
            let (unstick, rx) = sync::channel::<()>();
            held.push(unstick);
            let (pool, started) = (pool.clone(), started.clone());
            stuck.spawn(async move {
                let job = Arc::new(Job::default());
                let work = move |_: &Job| {
                    let _ = started.send(());
                    let _ = rx.recv();
                    Ok(())
                };
                pool.run(&job, work).await
            });
        }
        for _ in 0..SLOTS {
            while starts.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        }
        let late = job();
        late.time_out();
        let e = pool.run(&late, |_| Ok(())).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::Timeout);
        drop(held);
        while let Some(done) = stuck.join_next().await {
            done.unwrap().unwrap();
        }
        pool.run(&job(), |_| Ok(())).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_slot_comes_back() {
        let pool = Pool::default();
        let e = pool.run::<(), _>(&job(), |_| panic!("planted")).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::Internal);
        assert_eq!(pool.slots.available_permits(), SLOTS);
    }

    #[tokio::test]
    async fn a_stream_gives_the_bytes_and_ends_with_its_reader() {
        let path = std::env::temp_dir().join(format!("lr-pool-{}", crate::model::random_hex::<8>()));
        let bytes: Vec<u8> = (0..CHUNK * 5 + 17).map(|i| u8::try_from(i % 251).unwrap()).collect();
        std::fs::write(&path, &bytes).unwrap();
        let (job, pool) = (job(), Pool::default());
        let mut got = Vec::new();
        pool.stream(&job, File::open(&path).unwrap()).await.unwrap().read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);

        drop(pool.stream(&job, File::open(&path).unwrap()).await.unwrap());
        std::fs::remove_file(&path).unwrap();
        let _all = Arc::clone(&pool.slots).acquire_many_owned(u32::try_from(SLOTS).unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_made_arrives_with_what_came_of_it() {
        let (job, pool) = (job(), Pool::default());
        let make = |mut to: Chunked, _: &Job| {
            for _ in 0..5 {
                to.write_all(&[7; CHUNK]).unwrap();
            }
            to.flush().unwrap();
            Ok(42)
        };
        let (mut bytes, made) = pool.produce(&job, make).await.unwrap();
        let mut got = Vec::new();
        bytes.read_to_end(&mut got).await.unwrap();
        assert_eq!((got.len(), made.await.unwrap().unwrap()), (CHUNK * 5, 42));
    }

    #[tokio::test]
    async fn a_maker_is_told_when_nobody_reads_and_a_reader_when_it_fails() {
        let (job, pool) = (job(), Pool::default());
        let endless = |mut to: Chunked, _: &Job| -> Result<()> {
            loop {
                to.write_all(&[7; CHUNK]).map_err(|e| Error::io("the stream", e))?;
            }
        };
        let (bytes, made) = pool.produce(&job, endless).await.unwrap();
        drop(bytes);
        assert!(made.await.unwrap().is_err());

        let fails = |_: Chunked, _: &Job| -> Result<()> { Err(Error::new(ErrorCode::Backend, "planted")) };
        let (mut bytes, made) = pool.produce(&job, fails).await.unwrap();
        let e = bytes.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert!(e.to_string().contains("planted"));
        assert!(made.await.unwrap().is_err());
        let _all = Arc::clone(&pool.slots).acquire_many_owned(u32::try_from(SLOTS).unwrap()).await.unwrap();
    }
}
