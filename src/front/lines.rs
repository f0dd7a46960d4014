//! Lines of bytes from a client, one message each.
//!
//! Invariants: a line over [`MAX_LINE`] is skipped without being held; dropping a pending [`Lines::next`] loses nothing.

use std::ops::Range;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message that is read, in bytes.
pub const MAX_LINE: usize = 16 << 20;
const READ: usize = 64 << 10;
/// A buffer that grew beyond this is given back once its line is done.
const KEPT: usize = 256 << 10;

/// What comes next. The range is good for [`Lines::bytes`] until the next call.
#[derive(PartialEq, Eq, Debug)]
pub enum Next {
    Line(Range<usize>),
    /// The input ended inside a line.
    Cut(Range<usize>),
    /// A line over [`MAX_LINE`]: its rest is skipped.
    TooLong,
    End,
}

pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No newline before this.
    searched: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(input: R) -> Self {
        Lines { input, buffer: Vec::new(), start: 0, searched: 0, skipping: false }
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(line) = self.buffered() {
                return line;
            }
            self.make_room();
            match self.input.read_buf(&mut self.buffer).await {
                Ok(0) => return self.end(),
                Ok(_) => {}
                Err(e) => {
                    tracing::debug!(%e, "the input broke off");
                    return self.end();
                }
            }
        }
    }

    fn buffered(&mut self) -> Option<Next> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = unsearched.iter().position(|b| *b == b'\n') else {
                self.searched = self.buffer.len();
                break;
            };
            let newline = self.searched + at;
            let line = self.start..newline;
            self.start = newline + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            return Some(if line.len() > MAX_LINE { Next::TooLong } else { Next::Line(line) });
        }
        if self.skipping || self.buffer.len() - self.start <= MAX_LINE {
            return None;
        }
        self.skipping = true;
        Some(Next::TooLong)
    }

    fn make_room(&mut self) {
        if self.skipping {
            self.start = self.buffer.len();
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.searched = self.buffer.len();
        if self.buffer.capacity() > KEPT && self.buffer.len() < READ {
            self.buffer.shrink_to(READ);
        }
        // In small steps, so that a long line costs no more than its length.
        self.buffer.reserve_exact(READ.max(self.buffer.len() / 8));
    }

    fn end(&mut self) -> Next {
        let rest = self.start..self.buffer.len();
        self.start = self.buffer.len();
        self.searched = self.start;
        if rest.is_empty() || std::mem::take(&mut self.skipping) { Next::End } else { Next::Cut(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(input);
        let mut out = Vec::new();
        loop {
            match lines.next().await {
                Next::Line(r) => out.push(String::from_utf8_lossy(lines.bytes(r)).into_owned()),
                Next::Cut(r) => out.push(format!("cut {}", String::from_utf8_lossy(lines.bytes(r)))),
                Next::TooLong => out.push("too long".into()),
                Next::End => return out,
            }
        }
    }

    #[tokio::test]
    async fn half_a_line_before_the_end_is_told_apart() {
        assert_eq!(all(b"one\n\ntwo\nthr").await, ["one", "", "two", "cut thr"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_skipped_and_the_next_is_read() {
        let mut input = vec![b'x'; MAX_LINE + 1];
        input.extend_from_slice(b"\nafter\n");
        assert_eq!(all(&input).await, ["too long", "after"]);
    }

    #[tokio::test]
    async fn a_line_of_the_greatest_length_is_read() {
        let mut input = vec![b'x'; MAX_LINE];
        input.push(b'\n');
        let read = all(&input).await;
        assert_eq!(read.first().map(String::len), Some(MAX_LINE));
    }

    #[tokio::test]
    async fn an_endless_line_is_not_held() {
        let input = tokio::io::repeat(b'x').take(3 * MAX_LINE as u64);
        let mut lines = Lines::new(input);
        assert_eq!(lines.next().await, Next::TooLong);
        assert_eq!(lines.next().await, Next::End);
        assert!(lines.buffer.capacity() < 2 * MAX_LINE);
    }

    #[tokio::test]
    async fn a_dropped_read_loses_nothing() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = tokio::io::duplex(64);
        let mut lines = Lines::new(server);
        client.write_all(b"he").await.expect("duplex");
        tokio::select! {
            biased;
            _ = lines.next() => panic!("no line yet"),
            () = tokio::task::yield_now() => {}
        }
        client.write_all(b"llo\n").await.expect("duplex");
        let Next::Line(range) = lines.next().await else { panic!("a line") };
        assert_eq!(lines.bytes(range), b"hello");
    }
}
