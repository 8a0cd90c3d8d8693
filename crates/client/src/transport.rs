//! What a session runs over: TCP, TLS, or any byte stream of the caller's.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A byte stream that a session can run over: anything that reads and writes.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Ours.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
}

/// The stream of a connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Other(Box<dyn Transport>),
    Tls(Box<TlsStream<Box<dyn Transport>>>),
    /// A handshake failed, or was cancelled.
    Gone,
}

impl Stream {
    /// Takes the stream out for a handshake; TLS within TLS there is none.
    pub(crate) fn take_plain(&mut self) -> Option<Box<dyn Transport>> {
        match std::mem::replace(self, Self::Gone) {
            Self::Tcp(socket) => Some(Box::new(socket)),
            Self::Other(stream) => Some(stream),
            Self::Tls(_) | Self::Gone => None,
        }
    }

    fn project(&mut self) -> io::Result<Pin<&mut dyn Transport>> {
        match self {
            Self::Tcp(socket) => Ok(Pin::new(socket)),
            Self::Other(stream) => Ok(Pin::new(stream)),
            Self::Tls(stream) => Ok(Pin::new(stream.as_mut())),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.project()?.poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project()?.poll_shutdown(cx)
    }
}
