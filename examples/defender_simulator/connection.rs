//! Connections that can be cut from inside: what a network does to a client.

use crate::service::{self, Simulator};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How many bytes may still be written before the connection breaks.
#[derive(Clone)]
pub struct Cut(Arc<AtomicUsize>);

impl Cut {
    /// Breaks it after so many bytes more, of head or body.
    pub fn after(&self, bytes: usize) {
        self.0.store(bytes, Relaxed);
    }
}

pub async fn serve(listener: TcpListener, simulator: Arc<Simulator>) -> io::Result<()> {
    let app = Router::new().fallback(service::answer).with_state(simulator);
    axum::serve(Incoming(listener), app.into_make_service_with_connect_info::<Cut>()).await
}

struct Incoming(TcpListener);

impl Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let _ = stream.set_nodelay(true);
        (Connection { stream, cut: Cut(Arc::new(AtomicUsize::new(usize::MAX))) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Cut {
        stream.io().cut.clone()
    }
}

struct Connection {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.cut.0.load(Relaxed);
        if left == usize::MAX {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..bytes.len().min(left)]))?;
        self.cut.0.store(left - written, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
