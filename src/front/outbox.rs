//! Messages on their way to a client, one line each.
//!
//! Invariants: a line goes out whole and in the order of its [`Outbox::push`]; whoever flushes writes all that waits,
//! so many answers cost one system call; dropping a flush loses nothing.

use std::io::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// With this much waiting for a client that does not read, nothing more is read from it.
const FULL: usize = 8 << 20;
/// A buffer that grew beyond this is given back once it is written.
const KEPT: usize = 256 << 10;

pub struct Outbox<W> {
    queue: Mutex<Vec<u8>>,
    writer: tokio::sync::Mutex<Writer<W>>,
    /// Bytes not yet written.
    waiting: AtomicUsize,
    room: Notify,
    broken: AtomicBool,
}

struct Writer<W> {
    output: W,
    part: Vec<u8>,
    written: usize,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub fn new(output: W) -> Self {
        Outbox {
            queue: Mutex::default(),
            writer: tokio::sync::Mutex::new(Writer { output, part: Vec::new(), written: 0 }),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
            broken: AtomicBool::new(false),
        }
    }

    /// Queues one line; `write` gives its bytes without the newline.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.broken.load(Relaxed) {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let before = queue.len();
        write(&mut queue);
        queue.push(b'\n');
        self.waiting.fetch_add(queue.len() - before, Relaxed);
    }

    /// Writes all that waits.
    pub async fn flush(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let result = writer.drain(self).await;
        if result.is_err() {
            self.broken.store(true, Relaxed);
            self.waiting.store(0, Relaxed);
            self.room.notify_waiters();
        }
        result
    }

    /// Waits until what the client has not read is not too much.
    pub async fn room(&self) {
        loop {
            let changed = self.room.notified();
            if self.waiting.load(Relaxed) < FULL {
                return;
            }
            changed.await;
        }
    }

    /// Nobody reads any more.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    fn next_part(&self, writer: &mut Writer<W>) -> bool {
        writer.part.clear();
        writer.part.shrink_to(KEPT);
        writer.written = 0;
        std::mem::swap(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner), &mut writer.part);
        !writer.part.is_empty()
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    async fn drain(&mut self, outbox: &Outbox<W>) -> Result<()> {
        let mut wrote = false;
        loop {
            while let Some(rest) = self.part.get(self.written..).filter(|r| !r.is_empty()) {
                let n = self.output.write(rest).await?;
                if n == 0 {
                    return Err(Error::from(std::io::ErrorKind::WriteZero));
                }
                wrote = true;
                self.written += n;
                if outbox.waiting.fetch_sub(n, Relaxed) >= FULL {
                    outbox.room.notify_waiters();
                }
            }
            if !outbox.next_part(self) {
                break;
            }
        }
        if wrote { self.output.flush().await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_dropped_flush_loses_nothing() {
        let (server, mut client) = tokio::io::duplex(4);
        let outbox = Outbox::new(server);
        outbox.push(|line| line.extend_from_slice(b"0123456789"));
        tokio::select! {
            biased;
            _ = outbox.flush() => panic!("the pipe holds four bytes"),
            () = tokio::task::yield_now() => {}
        }
        outbox.push(|line| line.extend_from_slice(b"abc"));
        let mut read = vec![0; 15];
        let (flushed, _) = tokio::join!(outbox.flush(), client.read_exact(&mut read));
        flushed.expect("written");
        assert_eq!(read, b"0123456789\nabc\n");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_read_no_further() {
        let (server, mut client) = tokio::io::duplex(64);
        let outbox = Arc::new(Outbox::new(server));
        outbox.push(|line| line.resize(2 * FULL, b'x'));
        tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.flush().await }
        });
        tokio::select! {
            biased;
            () = outbox.room() => panic!("it is full"),
            () = tokio::task::yield_now() => {}
        }
        let mut read = vec![0; 2 * FULL + 1];
        let ((), read) = tokio::join!(outbox.room(), client.read_exact(&mut read));
        read.expect("all of it");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_costs_no_memory() {
        let (server, client) = tokio::io::duplex(64);
        drop(client);
        let outbox = Outbox::new(server);
        outbox.push(|line| line.push(b'x'));
        assert!(outbox.flush().await.is_err());
        outbox.push(|line| line.resize(FULL, b'x'));
        assert_eq!(outbox.queue.lock().expect("no panic").len(), 0);
        outbox.room().await;
    }
}
