//! One connection of the load generator, on tokio's sockets: lines, listings and messages read in large pieces, each
//! wait bounded. What is said over it is `session.rs`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use restante_client::tls::{Reason, TlsInfo};
use restante_proto::{
    body::{Unstuffed, Unstuffer},
    reply::Status,
};
use rustls::{ClientConfig, HandshakeKind};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    plan::{Mode, Plan},
    tally::{ErrorKind, Problem},
};

/// How much is read at a time, and the longest line, in octets.
const READ_OCTETS: usize = 64 << 10;

/// How long a server may take to close after its answer to QUIT.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What a slow client lets the system keep for it, and the longest segment that it takes: that of Ethernet, since the
/// system measures a sender's buffer by it, and loopback's is 64 KiB.
const SLOW_RECEIVE_OCTETS: u32 = 4096;
const SLOW_SEGMENT_OCTETS: u32 = 1448;

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    /// What was read lies at `taken..filled`.
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    /// A piece of a message on its way through.
    message: Vec<u8>,
    patience: Duration,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed.
    Broken,
}

/// What a handshake settled.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    pub(super) version: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) resumed: bool,
}

impl Connection {
    pub(super) async fn open(plan: &Plan, source: Option<IpAddr>) -> Result<Self, Problem> {
        let connected = timeout(plan.patience, connect(plan, source)).await;
        let socket = connected
            .map_err(|_| Problem::new(ErrorKind::Timeout, "no connection in time"))?
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|error| Problem::new(ErrorKind::Connect, error.to_string()))?;
        Ok(Self {
            stream: Stream::Plain(socket),
            input: vec![0; READ_OCTETS],
            taken: 0,
            filled: 0,
            message: Vec::new(),
            patience: plan.patience,
        })
    }

    /// Shakes hands. Octets that came before TLS would be somebody's who sits in between (RFC 2595 §4).
    pub(super) async fn secure(
        &mut self,
        plan: &Plan,
        config: &Arc<ClientConfig>,
    ) -> Result<Secured, Problem> {
        if self.taken < self.filled {
            return Err(Problem::new(ErrorKind::Nonsense, "the server says more before TLS begins"));
        }
        let Stream::Plain(socket) = std::mem::replace(&mut self.stream, Stream::Broken) else {
            return Err(Problem::new(ErrorKind::Handshake, "TLS is on already"));
        };
        let handshake = TlsConnector::from(Arc::clone(config)).connect(plan.name.clone(), socket);
        let tls = timeout(self.patience, handshake)
            .await
            .map_err(|_| Problem::new(ErrorKind::Timeout, "no TLS handshake in time"))?
            .map_err(|error| Problem::new(ErrorKind::Handshake, Reason::of(&error).to_string()))?;
        let session = tls.get_ref().1;
        let TlsInfo { version, cipher, .. } = TlsInfo::of(session);
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        self.stream = Stream::Tls(Box::new(tls));
        Ok(Secured { version, cipher, resumed })
    }

    /// Sends commands in one write.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<(), Problem> {
        let sending = async {
            match &mut self.stream {
                Stream::Plain(socket) => socket.write_all(commands).await,
                Stream::Tls(tls) => {
                    tls.write_all(commands).await?;
                    tls.flush().await
                }
                Stream::Broken => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        match timeout(self.patience, sending).await {
            Err(_) => Err(Problem::new(ErrorKind::Timeout, "the server does not read")),
            Ok(sent) => sent.map_err(|error| lost(&error)),
        }
    }

    /// The text of a `+OK`.
    pub(super) async fn status(&mut self) -> Result<String, Problem> {
        let line = self.line().await?;
        match Status::parse(line) {
            Some(Status::Ok { text }) => Ok(text),
            Some(Status::Err { code, text }) => {
                let code = code.map(|code| code.as_str().into());
                Err(Problem::new(ErrorKind::Refused(code), text))
            }
            Some(Status::Challenge { .. }) | None => {
                Err(Problem::new(ErrorKind::Nonsense, String::from_utf8_lossy(line)))
            }
        }
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> Result<&[u8], Problem> {
        // Counted from the line's start, since the line may move.
        let mut searched = 0;
        let end = loop {
            let from = self.taken + searched;
            if let Some(at) = memchr::memchr(b'\n', &self.input[from..self.filled]) {
                break from + at;
            }
            if self.filled - self.taken == self.input.len() {
                return Err(Problem::new(ErrorKind::Nonsense, "a line without an end"));
            }
            if self.filled == self.input.len() {
                self.input.copy_within(self.taken..self.filled, 0);
                self.filled -= self.taken;
                self.taken = 0;
            }
            searched = self.filled - self.taken;
            self.fill().await?;
        };
        let line = self.taken..end;
        self.taken = end + 1;
        let line = &self.input[line];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Reads a message to its end and gives its octets, without the dots that were stuffed (RFC 1939 §3).
    pub(super) async fn message(&mut self) -> Result<u64, Problem> {
        let (mut unstuffer, mut octets) = (Unstuffer::default(), 0);
        loop {
            if self.taken == self.filled {
                self.fill().await?;
            }
            self.message.clear();
            let piece = &self.input[self.taken..self.filled];
            let unstuffed = unstuffer.push(piece, &mut self.message);
            octets += self.message.len() as u64;
            match unstuffed {
                Unstuffed::More => self.taken = self.filled,
                Unstuffed::Done(of_piece) => {
                    self.taken += of_piece;
                    return Ok(octets);
                }
            }
        }
    }

    /// Reads a little of a message. `true` where that was its end.
    pub(super) async fn sip(&mut self, unstuffer: &mut Unstuffer, octets: usize) -> Result<bool, Problem> {
        if self.taken == self.filled {
            self.input.resize(octets, 0);
            self.input.shrink_to_fit();
            self.fill().await?;
        }
        let piece = &self.input[self.taken..self.filled];
        let piece = &piece[..piece.len().min(octets)];
        self.message.clear();
        match unstuffer.push(piece, &mut self.message) {
            Unstuffed::More => {
                self.taken += piece.len();
                Ok(false)
            }
            Unstuffed::Done(of_piece) => {
                self.taken += of_piece;
                *unstuffer = Unstuffer::default();
                Ok(true)
            }
        }
    }

    /// Waits until the server says something without being asked, or goes. Holds no buffer meanwhile.
    pub(super) async fn broken_silence(&mut self) -> Problem {
        if self.taken < self.filled {
            return Problem::new(ErrorKind::Nonsense, "the server says what nobody asked for");
        }
        self.input = Vec::new();
        (self.taken, self.filled) = (0, 0);
        match self.stream.read(&mut [0]).await {
            Ok(0) => closed(),
            Ok(_) => Problem::new(ErrorKind::Nonsense, "the server says what nobody asked for"),
            Err(error) => lost(&error),
        }
    }

    /// Takes a buffer again after a silence.
    pub(super) fn wake(&mut self) {
        self.input.resize(READ_OCTETS, 0);
    }

    /// Waits for the server to close, so that it is through with the session; how it does so is of no interest here.
    pub(super) async fn closed(mut self) {
        let mut rest = [0; 512];
        let gone = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        timeout(self.patience.min(CLOSE_MAX), gone).await.unwrap_or_default();
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        match timeout(self.patience, self.stream.read(&mut self.input[self.filled..])).await {
            Err(_) => Err(Problem::new(ErrorKind::Timeout, "no answer in time")),
            Ok(Err(error)) => Err(lost(&error)),
            Ok(Ok(0)) => Err(closed()),
            Ok(Ok(octets)) => {
                self.filled += octets;
                Ok(())
            }
        }
    }
}

impl Stream {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into).await,
            Self::Tls(tls) => tls.read(into).await,
            Self::Broken => Ok(0),
        }
    }
}

async fn connect(plan: &Plan, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if plan.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if plan.mode == Mode::Slow {
        socket.set_recv_buffer_size(SLOW_RECEIVE_OCTETS)?;
        SockRef::from(&socket).set_tcp_mss(SLOW_SEGMENT_OCTETS)?;
    }
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(plan.address).await
}

fn closed() -> Problem {
    Problem::new(ErrorKind::Closed, "the server ended the connection")
}

fn lost(error: &io::Error) -> Problem {
    match error.kind() {
        // TLS without its own goodbye (RFC 8446 §6.1).
        io::ErrorKind::UnexpectedEof => closed(),
        _ => Problem::new(ErrorKind::Lost, error.to_string()),
    }
}
