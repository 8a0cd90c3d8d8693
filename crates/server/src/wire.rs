//! The socket of a connection, plain or TLS, and reading it with a lent buffer.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use crate::pool;

/// A connection's octets.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Reads what there is, into a lent buffer that the caller gives back; empty at the end.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        poll_fn(|context| {
            // The buffer is lent only while the socket is asked: a connection that waits holds none.
            let mut buffer = pool::lend();
            buffer.resize(pool::BUFFER_OCTETS, 0);
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut *self).poll_read(context, &mut read);
            let octets = read.filled().len();
            buffer.truncate(octets);
            match polled {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer)),
                Poll::Ready(Err(error)) => {
                    pool::give_back(buffer);
                    Poll::Ready(Err(error))
                }
                Poll::Pending => {
                    pool::give_back(buffer);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Writes all of it; fails when the peer takes nothing for `patience`.
    pub(crate) async fn write(&mut self, mut octets: &[u8], patience: Duration) -> io::Result<()> {
        while !octets.is_empty() {
            let written = timeout(patience, AsyncWriteExt::write(self, octets)).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            octets = &octets[written..];
        }
        timeout(patience, self.flush()).await?
    }

    /// Waits until the peer has reset the connection.
    pub(crate) async fn reset(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        loop {
            match stream.ready(Interest::ERROR).await {
                Ok(ready) if ready.is_error() => return,
                Ok(_) => tokio::task::yield_now().await,
                Err(_) => return,
            }
        }
    }

    /// Shuts the sending side, reads what is left for a while, and closes: unread input would turn the last words
    /// into a reset.
    pub(crate) async fn linger(mut self, patience: Duration) {
        const LEFT_MAX_OCTETS: usize = 1024 * 1024;
        let rest = async {
            if self.shutdown().await.is_err() {
                return;
            }
            let mut left = 0;
            while left < LEFT_MAX_OCTETS {
                match self.read().await {
                    Ok(buffer) if !buffer.is_empty() => {
                        left += buffer.len();
                        pool::give_back(buffer);
                    }
                    _ => return,
                }
            }
        };
        // The connection is over either way.
        let _timed_out = timeout(patience, rest).await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, read),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, read),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => {
                let stream = Pin::new(stream);
                ready!(stream.poll_shutdown(context))?;
                Poll::Ready(Ok(()))
            }
        }
    }
}
