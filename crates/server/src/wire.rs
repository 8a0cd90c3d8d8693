//! The socket of a connection, plain or TLS, and reading it with a lent buffer.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use restante_tcp::Flow;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;

use crate::{
    listen::DEAD_AFTER,
    pool::{self, Buffer},
};

/// How often the kernel is asked about a peer that takes nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A connection's octets.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why nothing could be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The client took nothing for as long as it may.
    Patience,
    /// The client answers nothing at all.
    Dead,
    /// The connection failed.
    Io(io::Error),
}

impl Wire {
    /// Reads what there is into a lent buffer; empty at the end.
    pub(crate) async fn read(&mut self) -> io::Result<Buffer> {
        poll_fn(|context| {
            // The buffer is lent only while the socket is asked: a connection that waits holds none.
            let mut buffer = pool::lend();
            buffer.resize(pool::BUFFER_OCTETS, 0);
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut *self).poll_read(context, &mut read);
            let octets = read.filled().len();
            buffer.truncate(octets);
            polled.map_ok(|()| buffer)
        })
        .await
    }

    /// Writes all of it; gives up when the peer takes nothing for `patience`, or is dead.
    pub(crate) async fn write(&mut self, mut octets: &[u8], patience: Duration) -> Result<(), WriteError> {
        while !octets.is_empty() {
            let written = self.stalling(patience, Step::Write(octets)).await?;
            if written == 0 {
                return Err(WriteError::Io(io::ErrorKind::WriteZero.into()));
            }
            octets = &octets[written..];
        }
        self.stalling(patience, Step::Flush).await.map(|_| ())
    }

    /// Takes one step, and looks after the peer while that takes long.
    async fn stalling(&mut self, patience: Duration, step: Step<'_>) -> Result<usize, WriteError> {
        let by = Instant::now() + patience;
        let mut lifted = false;
        loop {
            let look = by.min(Instant::now() + LOOK_EVERY);
            let stepped = match step {
                Step::Write(octets) => timeout_at(look, AsyncWriteExt::write(self, octets)).await,
                Step::Flush => timeout_at(look, self.flush()).await.map(|flushed| flushed.map(|()| 0)),
            };
            match stepped {
                Ok(done) => {
                    if lifted {
                        self.be_patient(DEAD_AFTER);
                    }
                    return done.map_err(WriteError::Io);
                }
                Err(_) if Instant::now() >= by => return Err(WriteError::Patience),
                Err(_) => {
                    if self.flow().is_some_and(|flow| is_dead(&flow)) {
                        return Err(WriteError::Dead);
                    }
                    // The kernel would end a peer that is there and does not read.
                    lifted = true;
                    self.be_patient(patience + DEAD_AFTER);
                }
            }
        }
    }

    /// How much has arrived, and when the peer was heard; `None` where the socket cannot tell any more.
    pub(crate) fn flow(&self) -> Option<Flow> {
        restante_tcp::flow(self.socket()).ok()
    }

    /// For how long the kernel bears a peer that acknowledges nothing new.
    pub(crate) fn be_patient(&self, time: Duration) {
        // It fails where the connection has failed, which the next call will tell.
        let _failed = SockRef::from(self.socket()).set_tcp_user_timeout(Some(time));
    }

    /// Waits until the peer has reset the connection.
    pub(crate) async fn reset(&self) {
        loop {
            match self.socket().ready(Interest::ERROR).await {
                Ok(ready) if !ready.is_error() => tokio::task::yield_now().await,
                _ => return,
            }
        }
    }

    /// Shuts the sending side, which TLS tells the peer, and reads what is left for a while: unread input would turn
    /// the last words into a reset.
    pub(crate) async fn linger(mut self, patience: Duration) {
        let rest = async {
            if self.shutdown().await.is_ok() {
                while self.read().await.is_ok_and(|buffer| !buffer.is_empty()) {}
            }
        };
        // The connection is over either way.
        let _timed_out = timeout(patience, rest).await;
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// What is done to write.
#[derive(Clone, Copy)]
enum Step<'a> {
    Write(&'a [u8]),
    Flush,
}

/// Whether a peer that has to acknowledge something has been silent for too long.
pub(crate) const fn is_dead(flow: &Flow) -> bool {
    flow.in_flight_segments > 0 && flow.heard_ago.as_secs() >= DEAD_AFTER.as_secs()
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
