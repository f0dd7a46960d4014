//! Work over many small items on a few short-lived threads.
//!
//! Invariant: an error or a panic of one thread is the whole's, and no thread outlives the call.

use crate::error::Result;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// Below so many items a second thread costs more than it saves.
const ALONE: usize = 64;
/// Items that a thread takes at a time.
const CHUNK: usize = 32;

/// Runs `work` over chunks of `items`, on as many threads as pay, and gives what all of them made, in no order.
pub fn for_chunks<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&[T], &mut Vec<R>) -> Result<()> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    on_threads(threads(items.len()), || {
        let mut made = Vec::new();
        while let Some(chunk) = items.chunks(CHUNK).nth(next.fetch_add(1, Relaxed)) {
            work(chunk, &mut made)?;
        }
        Ok(made)
    })
}

/// Runs the same work on `count` threads, this one among them, and puts together what they made.
pub fn on_threads<R: Send>(count: usize, run: impl Fn() -> Result<Vec<R>> + Sync) -> Result<Vec<R>> {
    thread::scope(|scope| {
        // Where no more threads can be started, those that are there do the work.
        let start = || thread::Builder::new().spawn_scoped(scope, &run).ok();
        let others: Vec<_> = (1..count).map_while(|_| start()).collect();
        let mut made = run();
        for other in others {
            let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            made = made.and_then(|mut all| {
                all.extend(theirs?);
                Ok(all)
            });
        }
        made
    })
}

/// More than four only queue for the kernel's locks.
pub fn threads(items: usize) -> usize {
    if items < ALONE {
        return 1;
    }
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorCode};

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<u32> = (0..1000).collect();
        let mut made = for_chunks(&items, |chunk, made| {
            made.extend_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        made.sort_unstable();
        assert_eq!(made, items);
    }

    #[test]
    fn the_error_of_any_thread_is_the_whole_s() {
        let items: Vec<u32> = (0..1000).collect();
        let result = for_chunks(&items, |chunk, _: &mut Vec<()>| match chunk.contains(&500) {
            true => Err(Error::new(ErrorCode::Cancelled, "stop")),
            false => Ok(()),
        });
        assert_eq!(result.unwrap_err().code, ErrorCode::Cancelled);
    }
}
