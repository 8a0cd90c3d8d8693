//! A connection to a server, as a thread that may wait uses it: a plain, a TLS or a local socket, with a limit on every
//! wait and on every line. What is said over it is the business of those who use it.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::Fault;

/// How much is read at once, in octets.
const READ_OCTETS: usize = 16 * 1024;

/// How many addresses of one host are tried.
const ADDRESSES_MAX: usize = 8;

/// How long a destination on the network waits for its server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection to each of the host's addresses, and for a TLS handshake.
    pub connect: Duration,
    /// For the whole answer to a command.
    pub reply: Duration,
    /// For the server to take the next piece of a message.
    pub piece: Duration,
    /// For the answer to a whole message: the server is storing it (RFC 5321 §4.5.3.2.6 asks for ten minutes).
    pub stored: Duration,
    /// How long after its connection broke a server may still be busy storing a message that it has whole.
    pub late: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            reply: Duration::from_secs(2 * 60),
            piece: Duration::from_secs(3 * 60),
            stored: Duration::from_secs(10 * 60),
            late: Duration::from_secs(10),
        }
    }
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It ended, or was reset.
    Lost(String),
    /// The server did not answer, or took nothing, within the limit.
    Late(Duration),
    /// A line or an answer is longer than it may be, in octets.
    TooLong(usize),
    /// The server said something that makes no sense here.
    Nonsense(String),
    /// It said goodbye, with these words.
    Goodbye(String),
    /// No fault of the connection: the message could not be read here.
    Local(Fault),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
            Self::Late(limit) => write!(f, "no answer within {} seconds", limit.as_secs_f32()),
            Self::TooLong(octets) => write!(f, "the server's answer is longer than {octets} octets"),
            Self::Nonsense(said) => write!(f, "the server's answer makes no sense: {said}"),
            Self::Goodbye(said) => write!(f, "the server ended the connection: {said}"),
            Self::Local(fault) => fault.fmt(f),
        }
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Local(fault)
    }
}

/// A connection.
pub(crate) struct Wire {
    stream: Stream,
    input: Vec<u8>,
    at: usize,
}

enum Stream {
    Clear(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
    /// Between both, while a handshake is under way; left so if it failed.
    None,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() { "Wire(TLS)" } else { "Wire(clear)" })
    }
}

impl Wire {
    /// Connects to a host, trying its addresses one after the other. Looking its name up has the system's own limits.
    pub(crate) fn tcp(host: &str, port: u16, limits: &Limits) -> Result<Self, Broken> {
        let addresses = (host, port).to_socket_addrs().map_err(|error| Broken::Lost(error.to_string()))?;
        let mut why = Broken::Lost("the host has no address".into());
        for address in addresses.take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(&address, limits.connect) {
                Ok(stream) => {
                    // What is sent is sent whole: waiting for more would only cost time.
                    stream.set_nodelay(true).map_err(|error| lost(&error))?;
                    return Ok(Self::over(Socket::Tcp(stream)));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => why = Broken::Late(limits.connect),
                Err(error) => why = lost(&error),
            }
        }
        Err(why)
    }

    /// Connects to a socket of this machine. Such a connection is there at once, or the server has no room for it now.
    pub(crate) fn unix(path: &Path) -> Result<Self, Broken> {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let connect = || {
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            let stream = UnixStream::from(socket);
            stream.set_nonblocking(false)?;
            Ok(Self::over(Socket::Unix(stream)))
        };
        connect().map_err(|error: io::Error| lost(&error))
    }

    /// How this end is called where it has no name: an address literal (RFC 5321 §4.1.3).
    pub(crate) fn own_name(&self) -> String {
        let timed = match &self.stream {
            Stream::Clear(timed) => timed,
            Stream::Tls(tls) => &tls.sock,
            Stream::None => return "localhost".into(),
        };
        match &timed.socket {
            Socket::Tcp(stream) => match stream.local_addr().map(|address| address.ip()) {
                Ok(IpAddr::V4(ip)) => format!("[{ip}]"),
                Ok(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
                Err(_) => "localhost".into(),
            },
            Socket::Unix(_) => "localhost".into(),
        }
    }

    fn over(socket: Socket) -> Self {
        let timed = Timed { socket, until: Instant::now() };
        Self { stream: Stream::Clear(timed), input: Vec::new(), at: 0 }
    }

    /// Whether what is said is encrypted.
    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Shakes hands. What came in clear before it is never taken for what is said under TLS.
    pub(crate) fn secure(
        &mut self,
        host: &str,
        config: Arc<ClientConfig>,
        limit: Duration,
    ) -> Result<(), Broken> {
        if self.at < self.input.len() {
            return Err(Broken::Nonsense("it went on in clear when TLS was to begin".into()));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Broken::Lost(format!("TLS cannot ask for the name {host}")))?;
        let Stream::Clear(mut timed) = std::mem::replace(&mut self.stream, Stream::None) else {
            return Err(Broken::Lost("TLS is there already".into()));
        };
        let mut tls = ClientConnection::new(config, name).map_err(|error| Broken::Lost(error.to_string()))?;
        timed.until = Instant::now() + limit;
        while tls.is_handshaking() {
            tls.complete_io(&mut timed).map_err(|error| match told(&error, limit) {
                Broken::Lost(why) => Broken::Lost(format!("the TLS handshake failed: {why}")),
                other => other,
            })?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(tls, timed)));
        Ok(())
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, octets: &[u8], limit: Duration) -> Result<(), Broken> {
        self.set_limit(limit);
        self.stream.write_all(octets).and_then(|()| self.stream.flush()).map_err(|error| told(&error, limit))
    }

    /// The next line without its line end, until this moment and of this length at most. `limit` is for words only.
    pub(crate) fn line(&mut self, until: Until, max_octets: usize) -> Result<Vec<u8>, Broken> {
        let mut seen = self.at;
        loop {
            if let Some(end) = self.input[seen..].iter().position(|&octet| octet == b'\n') {
                let line = &self.input[self.at..seen + end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at = seen + end + 1;
                return if line.len() > max_octets { Err(Broken::TooLong(max_octets)) } else { Ok(line) };
            }
            if self.input.len() - self.at > max_octets {
                return Err(Broken::TooLong(max_octets));
            }
            seen = self.input.len() - self.at;
            self.fill(until)?;
        }
    }

    /// The next octets, this many exactly. The caller has bounded the number.
    pub(crate) fn exactly(&mut self, octets: usize, until: Until) -> Result<Vec<u8>, Broken> {
        while self.input.len() - self.at < octets {
            self.fill(until)?;
        }
        let taken = self.input[self.at..self.at + octets].to_vec();
        self.at += octets;
        Ok(taken)
    }

    /// Reads more; what was taken is forgotten, so that the unread part begins at 0 afterwards.
    fn fill(&mut self, until: Until) -> Result<(), Broken> {
        self.input.drain(..self.at);
        self.at = 0;
        self.set_until(until.moment);
        let from = self.input.len();
        self.input.resize(from + READ_OCTETS, 0);
        let read = self.stream.read(&mut self.input[from..]);
        self.input.truncate(from + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(Broken::Lost("the server ended it".into())),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(told(&error, until.limit)),
        }
    }

    fn set_limit(&mut self, limit: Duration) {
        self.set_until(Instant::now() + limit);
    }

    fn set_until(&mut self, moment: Instant) {
        match &mut self.stream {
            Stream::Clear(timed) => timed.until = moment,
            Stream::Tls(tls) => tls.sock.until = moment,
            Stream::None => {}
        }
    }
}

/// Until when an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    moment: Instant,
    limit: Duration,
}

impl Until {
    /// From now on for so long.
    pub(crate) fn now_and(limit: Duration) -> Self {
        Self { moment: Instant::now() + limit, limit }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(timed) => timed.read(into),
            Self::Tls(tls) => tls.read(into),
            Self::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(timed) => timed.write(octets),
            Self::Tls(tls) => tls.write(octets),
            Self::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(timed) => timed.flush(),
            Self::Tls(tls) => tls.flush(),
            Self::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket whose every call ends at a moment: a peer that sends an octet now and then does not stretch it.
struct Timed {
    socket: Socket,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(into)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(into)),
        }
    }
}

impl Write for Timed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.socket {
            Socket::Tcp(stream) => stream.set_write_timeout(Some(left)).and_then(|()| stream.write(octets)),
            Socket::Unix(stream) => stream.set_write_timeout(Some(left)).and_then(|()| stream.write(octets)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lost(error: &io::Error) -> Broken {
    Broken::Lost(error.to_string())
}

fn told(error: &io::Error, limit: Duration) -> Broken {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::Late(limit),
        io::ErrorKind::UnexpectedEof => Broken::Lost("the server ended it".into()),
        _ => lost(error),
    }
}

/// What a server said, fit for people: one line, printable, of bounded length.
pub(crate) fn printable(said: &[u8]) -> String {
    /// How much of it is shown, in characters.
    const SHOWN_MAX: usize = 300;
    let text = String::from_utf8_lossy(said);
    let mut shown: String =
        text.trim().chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
