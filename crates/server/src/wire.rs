//! The socket of a connection, plain or TLS: reading it with a lent buffer, and writing to a peer that may be slow, or
//! gone. Here alone a session's octets are observed, as they are read and as they are taken for the peer.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use restante_tcp::Flow;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, Interest},
    net::TcpStream,
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;

use crate::{
    listen::DEAD_AFTER,
    observe::Recording,
    pool::{Input, Output},
};

/// How often the kernel is asked about a peer that takes nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A peer that takes nothing for so long is a slow reader, for whom no buffer is kept.
const STALL: Duration = Duration::from_secs(1);
/// After so much, in octets, other connections have their turn, however fast this one is: about one full buffer, so that
/// a small session behind fifty long messages waits for fifty buffers and not for more.
const TURN_OCTETS: usize = 56 * 1024;
/// So much of what a client still sends is thrown away after the last word, in octets.
const LINGER_MAX_OCTETS: usize = 1024 * 1024;
/// What TLS holds of encrypted octets: four whole records, which leave in one write.
const TLS_QUEUE_OCTETS: usize = 64 * 1024;
/// The same where many clients do not read: one record. Once encrypted they cannot be made again.
const TLS_QUEUE_SHORT_OCTETS: usize = 16 * 1024;
/// So many connections that wait for room are many.
const STALLED_MANY: usize = 128;

/// How many connections with a body to send wait for room, in the whole process.
static STALLED: AtomicUsize = AtomicUsize::new(0);

/// A connection's octets.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// What was written in this turn, in octets.
    turn_octets: usize,
    recording: Recording,
}

#[derive(Debug)]
enum Stream {
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

/// How much of what was to be written was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    All,
    /// So many octets; then the peer took nothing for a while.
    Stalled(usize),
}

impl Wire {
    pub(crate) const fn plain(stream: TcpStream, recording: Recording) -> Self {
        Self { stream: Stream::Plain(stream), turn_octets: 0, recording }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, recording: Recording) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), turn_octets: 0, recording }
    }

    /// The socket, where nothing but clear text was spoken yet.
    pub(crate) fn into_plain(self) -> Option<(TcpStream, Recording)> {
        match self.stream {
            Stream::Plain(stream) => Some((stream, self.recording)),
            Stream::Tls(_) => None,
        }
    }

    /// Reads what there is into a lent buffer; empty at the end.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        poll_fn(|context| {
            // The buffer is lent only while the socket is asked: a connection that waits holds none.
            let mut buffer = Input::lend();
            let into: &mut Vec<u8> = &mut buffer;
            let (polled, tls) = match &mut self.stream {
                Stream::Plain(stream) => (pin!(stream.read_buf(into)).poll(context), false),
                Stream::Tls(stream) => (pin!(stream.read_buf(into)).poll(context), true),
            };
            match &polled {
                Poll::Ready(Ok(_)) => self.recording.heard(&buffer, buffer.len() == buffer.capacity(), tls),
                Poll::Ready(Err(error)) => self.recording.failed(error),
                Poll::Pending => {}
            }
            polled.map_ok(|_| buffer)
        })
        .await
    }

    /// Writes all of it; gives up when the peer takes nothing for `patience`, or is dead.
    pub(crate) async fn write(&mut self, mut octets: &[u8], patience: Duration) -> Result<(), WriteError> {
        while !octets.is_empty() {
            let written = self.take(Step::Write(octets), patience).await?;
            octets = &octets[written..];
        }
        self.take(Step::Flush, patience).await.map(|_| ())
    }

    /// Writes as much as the peer takes without a stall.
    pub(crate) async fn write_unless_stalled(
        &mut self,
        octets: &[u8],
        patience: Duration,
    ) -> Result<Taken, WriteError> {
        let stall = if Output::many() { Duration::ZERO } else { STALL.min(patience) };
        self.limit_tls_queue();
        let mut written = 0;
        while written <= octets.len() {
            let rest = &octets[written..];
            let step = if rest.is_empty() { Step::Flush } else { Step::Write(rest) };
            let done = match self.attempt(step).await {
                Poll::Ready(done) => done,
                Poll::Pending => {
                    let _waiting = Stalled::begin();
                    match timeout(stall, poll_fn(|context| self.poll(context, step))).await {
                        Ok(done) => done,
                        Err(_) => return Ok(Taken::Stalled(written)),
                    }
                }
            };
            written += done.map_err(WriteError::Io)?;
            if rest.is_empty() {
                break;
            }
        }
        self.end_turn().await;
        Ok(Taken::All)
    }

    /// Waits until a peer that stalled takes something again.
    pub(crate) async fn room(&mut self, patience: Duration) -> Result<(), WriteError> {
        let _stalled = Stalled::begin();
        self.take(Step::Room, patience).await.map(|_| ())
    }

    /// Takes one step, and looks after the peer while that takes long.
    async fn take(&mut self, step: Step<'_>, patience: Duration) -> Result<usize, WriteError> {
        let done = match self.attempt(step).await {
            Poll::Ready(done) => done.map_err(WriteError::Io)?,
            Poll::Pending => self.stalling(step, patience).await?,
        };
        self.end_turn().await;
        Ok(done)
    }

    /// Takes one step if that is possible at once: nearly always, and then no timer is needed.
    async fn attempt(&mut self, step: Step<'_>) -> Poll<io::Result<usize>> {
        poll_fn(|context| Poll::Ready(self.poll(context, step))).await
    }

    async fn stalling(&mut self, step: Step<'_>, patience: Duration) -> Result<usize, WriteError> {
        let by = Instant::now() + patience;
        let mut lifted = false;
        loop {
            let look = by.min(Instant::now() + LOOK_EVERY);
            match timeout_at(look, poll_fn(|context| self.poll(context, step))).await {
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

    fn poll(&mut self, context: &mut Context<'_>, step: Step<'_>) -> Poll<io::Result<usize>> {
        let polled = self.poll_step(context, step);
        match (&polled, step) {
            (Poll::Ready(Ok(written)), Step::Write(octets)) => {
                self.recording.said(octets.get(..*written).unwrap_or_default());
            }
            (Poll::Ready(Err(error)), _) => self.recording.failed(error),
            _ => {}
        }
        polled
    }

    fn poll_step(&mut self, context: &mut Context<'_>, step: Step<'_>) -> Poll<io::Result<usize>> {
        let written = match (&mut self.stream, step) {
            (Stream::Plain(stream), Step::Write(octets)) => {
                ready!(Pin::new(stream).poll_write(context, octets))?
            }
            (Stream::Tls(stream), Step::Write(octets)) => {
                ready!(Pin::new(stream).poll_write(context, octets))?
            }
            (Stream::Plain(_), Step::Flush) => return Poll::Ready(Ok(0)),
            (Stream::Plain(stream), Step::Room) => {
                return stream.poll_write_ready(context).map_ok(|()| 0);
            }
            // What TLS holds back has to leave first.
            (Stream::Tls(stream), Step::Flush | Step::Room) => {
                return Pin::new(stream).poll_flush(context).map_ok(|()| 0);
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.turn_octets += written;
        Poll::Ready(Ok(written))
    }

    /// Lets others have their turn when this connection has had its own.
    async fn end_turn(&mut self) {
        if self.turn_octets >= TURN_OCTETS {
            self.turn_octets = 0;
            yield_now().await;
        }
    }

    fn limit_tls_queue(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            let many = STALLED.load(Ordering::Relaxed) > STALLED_MANY;
            let octets = if many { TLS_QUEUE_SHORT_OCTETS } else { TLS_QUEUE_OCTETS };
            stream.get_mut().1.set_buffer_limit(Some(octets));
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
                Ok(ready) if !ready.is_error() => yield_now().await,
                _ => {
                    self.recording.reset();
                    return;
                }
            }
        }
    }

    /// Shuts the sending side, which TLS tells the peer, and reads what is left for a while: unread input would turn
    /// the last words into a reset.
    pub(crate) async fn linger(mut self, patience: Duration) {
        let rest = async {
            match poll_fn(|context| self.poll_shutdown(context)).await {
                Ok(()) => self.recording.shut(matches!(self.stream, Stream::Tls(_))),
                Err(error) => {
                    self.recording.failed(&error);
                    return;
                }
            }
            let mut thrown_octets = 0;
            while let Ok(buffer) = self.read().await {
                thrown_octets += buffer.len();
                if buffer.is_empty() || thrown_octets > LINGER_MAX_OCTETS {
                    return;
                }
            }
        };
        // The connection is over either way.
        let _timed_out = timeout(patience, rest).await;
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// A connection that waits for room, counted while this lives.
struct Stalled(());

impl Stalled {
    fn begin() -> Self {
        STALLED.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        STALLED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is done to write.
#[derive(Clone, Copy)]
enum Step<'a> {
    Write(&'a [u8]),
    Flush,
    /// Waits until something could be written.
    Room,
}

/// Whether a peer that has to acknowledge something has been silent for too long.
pub(crate) const fn is_dead(flow: &Flow) -> bool {
    flow.in_flight_segments > 0 && flow.heard_ago.as_secs() >= DEAD_AFTER.as_secs()
}
