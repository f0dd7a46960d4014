//! One layer of gzip, taken off while bytes go by.
//!
//! Invariant: what is held is a chunk and what it unpacks to, whatever the whole is; bytes after the layer's end, or
//! none at all, are an error.

use flate2::write::GzDecoder;
use std::io;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Of packed bytes; they unpack to a thousand times that at most.
const CHUNK: usize = 4 << 10;

pub(super) struct Gunzip<R> {
    packed: R,
    decoder: GzDecoder<Vec<u8>>,
    at: usize,
    is_over: bool,
}

impl<R> Gunzip<R> {
    pub(super) fn new(packed: R) -> Self {
        Gunzip { packed, decoder: GzDecoder::new(Vec::new()), at: 0, is_over: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Gunzip<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let rest = this.decoder.get_ref().get(this.at..).unwrap_or_default();
            if !rest.is_empty() {
                let some = rest.get(..rest.len().min(into.remaining())).unwrap_or(rest);
                into.put_slice(some);
                this.at += some.len();
                return Poll::Ready(Ok(()));
            }
            if this.is_over {
                return Poll::Ready(Ok(()));
            }
            this.decoder.get_mut().clear();
            this.at = 0;
            let mut chunk = [0; CHUNK];
            let mut packed = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.packed).poll_read(cx, &mut packed))?;
            if packed.filled().is_empty() {
                this.is_over = true;
                this.decoder.try_finish()?;
                continue;
            }
            // It takes nothing more after its end.
            this.decoder.write_all(packed.filled())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio::io::AsyncReadExt;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Gunzip::new(packed).read_to_end(&mut all).await.map(|_| all)
    }

    #[tokio::test]
    async fn one_layer_goes() {
        let bytes: Vec<u8> = (0..300_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        assert_eq!(unpacked(&packed(&bytes)).await.unwrap(), bytes);
        assert_eq!(unpacked(&packed(&packed(b"x"))).await.unwrap(), packed(b"x"));
        assert_eq!(unpacked(&packed(b"")).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn what_is_no_whole_layer_is_an_error() {
        let whole = packed(&[7; 100_000]);
        assert!(unpacked(&whole[..whole.len() - 3]).await.is_err());
        assert!(unpacked(&[&whole[..], b"rest"].concat()).await.is_err());
        assert!(unpacked(b"\x1f\x8bnothing of the kind").await.is_err());
        let mut broken = whole.clone();
        *broken.last_mut().unwrap() ^= 1;
        assert!(unpacked(&broken).await.is_err());
    }
}
