//! A connection line by line, for what a client that behaves well would never say. Every wait and every line is bounded.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use restante_client::{
    Transport,
    tls::{Reason, TlsInfo},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

/// The longest line, in octets.
const LINE_MAX_OCTETS: usize = 4096;

/// The longest list of capabilities, in lines.
const BLOCK_MAX_LINES: usize = 200;

/// A list of capabilities takes no longer than so many waits for a line.
const LIST_WAITS_MAX: u32 = 2;

/// How long is waited for what should not come.
const SOON: Duration = Duration::from_secs(2);

/// A connection in clear text or TLS.
pub(super) struct Wire {
    stream: Box<dyn Transport>,
    /// Read, and not looked at.
    input: Vec<u8>,
    wait: Duration,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server said nothing in time.
    Silent(Duration),
    /// The server ended the connection.
    Ended,
    /// There was no connection.
    Unreachable(String),
    /// The connection broke.
    Broken(String),
    /// A line, or a list, does not end.
    Endless,
    /// The handshake failed.
    Tls(Reason),
    /// Octets in clear text lie behind the answer to STLS.
    Injected,
    /// The server said no.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(wait) => write!(f, "no answer in {} s", wait.as_secs_f64()),
            Self::Ended => f.write_str("the server ended the connection"),
            Self::Unreachable(why) => f.write_str(why),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Endless => f.write_str("the answer does not end"),
            Self::Tls(reason) => write!(f, "the TLS handshake failed: {reason}"),
            Self::Injected => f.write_str("clear text lies behind the answer to STLS"),
            Self::Refused(text) => write!(f, "the server says «{text}»"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Ended
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr, wait: Duration) -> Result<Self, Trouble> {
        let socket = timeout(wait, TcpStream::connect(address)).await.map_err(|_| Trouble::Silent(wait))?;
        let socket = socket.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        socket.set_nodelay(true)?;
        Ok(Self { stream: Box::new(socket), input: Vec::new(), wait })
    }

    /// A TLS handshake over it; what lay unread is lost.
    pub(super) async fn secure(
        self,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> Result<(Self, TlsInfo), Trouble> {
        let failed = |error: &io::Error| Trouble::Tls(Reason::of(error));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&io::Error::other(error)))?;
        let shaken = timeout(self.wait, TlsConnector::from(config).connect(name, self.stream)).await;
        let stream =
            shaken.map_err(|_| failed(&io::ErrorKind::TimedOut.into()))?.map_err(|error| failed(&error))?;
        let info = TlsInfo::of(stream.get_ref().1);
        Ok((Self { stream: Box::new(stream), input: Vec::new(), wait: self.wait }, info))
    }

    pub(super) async fn say(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        let said = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        Ok(timeout(self.wait, said).await.map_err(|_| Trouble::Silent(self.wait))??)
    }

    /// The next line, without its end; all of it has to come in time.
    pub(super) async fn line(&mut self) -> Result<String, Trouble> {
        let deadline = Instant::now() + self.wait;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.input.len() > LINE_MAX_OCTETS {
                return Err(Trouble::Endless);
            }
            let mut piece = [0; LINE_MAX_OCTETS];
            let read = timeout_at(deadline, self.stream.read(&mut piece)).await;
            match read.map_err(|_| Trouble::Silent(self.wait))?? {
                0 => return Err(Trouble::Ended),
                some => self.input.extend_from_slice(&piece[..some]),
            }
        }
    }

    /// A command's status line.
    pub(super) async fn ask(&mut self, command: &str) -> Result<String, Trouble> {
        self.say(format!("{command}\r\n").as_bytes()).await?;
        self.line().await
    }

    /// The next line, if it comes soon.
    pub(super) async fn line_soon(&mut self) -> Option<String> {
        timeout(SOON, self.line()).await.ok()?.ok()
    }

    /// The lines of CAPA; `None` where it is refused.
    pub(super) async fn capabilities(&mut self) -> Result<Option<Vec<String>>, Trouble> {
        let wait = self.wait * LIST_WAITS_MAX;
        timeout(wait, self.list()).await.map_err(|_| Trouble::Silent(wait))?
    }

    async fn list(&mut self) -> Result<Option<Vec<String>>, Trouble> {
        if !is_ok(&self.ask("CAPA").await?) {
            return Ok(None);
        }
        let mut lines = Vec::new();
        loop {
            match self.line().await? {
                end if end == "." => return Ok(Some(lines)),
                line if lines.len() < BLOCK_MAX_LINES => lines.push(line),
                _ => return Err(Trouble::Endless),
            }
        }
    }

    /// How many octets came that nobody asked for.
    pub(super) const fn unread(&self) -> usize {
        self.input.len()
    }

    /// Goes away; how is of no matter.
    pub(super) async fn quit(mut self) {
        drop(self.ask("QUIT").await);
        drop(timeout(Duration::from_secs(1), self.stream.shutdown()).await);
    }
}

pub(super) fn is_err(line: &str) -> bool {
    line.get(..4).is_some_and(|status| status.eq_ignore_ascii_case("-ERR"))
}

pub(super) fn is_ok(line: &str) -> bool {
    line.get(..3).is_some_and(|status| status.eq_ignore_ascii_case("+OK"))
}
