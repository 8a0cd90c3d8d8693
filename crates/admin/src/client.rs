//! Asks a running server over its unix socket, as `restante admin` does. What is taken in is bounded.

use std::{
    fmt,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout, timeout_at},
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may say nothing in an answer that grows; it sends an empty line every 10 s.
const QUIET_PATIENCE: Duration = Duration::from_secs(25);
/// How often it is tried to come in where too many wait, and after how long again.
const CONNECT_TRIES_MAX: usize = 40;
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The longest answer that is taken, in octets: some hundred thousand sessions.
const ANSWER_MAX_OCTETS: usize = 256 << 20;
/// The longest text that says why something was refused, in octets.
const REASON_MAX_OCTETS: usize = 4096;
/// The longest line of a stream that is taken, in octets.
const LINE_MAX_OCTETS: usize = 4 << 20;

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no socket at this path.
    NoSocket(PathBuf),
    /// There is a socket, and nobody listens.
    NobodyListens(PathBuf),
    /// Somebody listens, and takes no connection.
    Hangs(PathBuf),
    /// The answer ended before its end: the server has stopped.
    Stopped,
    /// It said nothing for too long in an answer that grows.
    Quiet,
    /// This user may not open it.
    Denied(PathBuf),
    /// The connection failed.
    Io(io::Error),
    /// It did not answer in time.
    Silent,
    /// It was not spoken as HTTP is.
    Http(hyper::Error),
    /// It is longer than what is taken.
    TooLong,
    /// It is not what was expected.
    Malformed(serde_json::Error),
    /// It answered so instead.
    Refused {
        /// The status: 404 where what was asked about is not there.
        status: u16,
        /// What it said.
        text: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket(path) => write!(f, "there is no admin socket {}", path.display()),
            Self::NobodyListens(path) => write!(f, "nobody listens on {}", path.display()),
            Self::Hangs(path) => {
                write!(
                    f,
                    "the server that listens on {} does not answer: too many wait for it",
                    path.display()
                )
            }
            Self::Stopped => f.write_str("the server stopped"),
            Self::Quiet => write!(f, "the server has said nothing for {} s", QUIET_PATIENCE.as_secs()),
            Self::Denied(path) => {
                write!(f, "{} may be opened by root and the server's user only", path.display())
            }
            Self::Io(error) => write!(f, "the connection to the server failed: {error}"),
            Self::Silent => write!(f, "the server did not answer within {} s", PATIENCE.as_secs()),
            Self::Http(error) => write!(f, "the connection to the server failed: {error}"),
            Self::TooLong => f.write_str("the server's answer is too long"),
            Self::Malformed(error) => {
                write!(f, "the server's answer is not understood ({error}); is it of the same version?")
            }
            Self::Refused { status, text } if text.is_empty() => {
                write!(f, "the server answered with status {status}")
            }
            Self::Refused { text, .. } => f.write_str(text),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

impl Client {
    /// One for the server that listens on this unix socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks for a fact.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let octets = self.get_octets(path).await?;
        serde_json::from_slice(&octets).map_err(ClientError::Malformed)
    }

    /// Asks for a text.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let octets = self.get_octets(path).await?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    /// Has something done.
    pub async fn post(&self, path: &str) -> Result<(), ClientError> {
        good(self.ask(Method::POST, path).await?).await.map(drop)
    }

    /// Asks for lines that come as they come.
    pub async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let answer = good(self.ask(Method::GET, path).await?).await?;
        Ok(Lines { answer, held: Vec::new(), searched: 0, heard: Instant::now() })
    }

    async fn get_octets(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let answer = self.ask(Method::GET, path).await?;
        let mut body = good(answer).await?;
        let mut octets = Vec::new();
        let take = async {
            while let Some(frame) = body.frame().await {
                let Ok(piece) = frame?.into_data() else { continue };
                if octets.len() + piece.len() > ANSWER_MAX_OCTETS {
                    return Err(ClientError::TooLong);
                }
                octets.extend_from_slice(&piece);
            }
            Ok(())
        };
        timeout(PATIENCE, take).await.map_err(|_| ClientError::Silent)??;
        Ok(octets)
    }

    async fn connected(&self) -> Result<UnixStream, ClientError> {
        for _ in 0..CONNECT_TRIES_MAX {
            match UnixStream::connect(&self.socket).await {
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(CONNECT_AGAIN_AFTER).await,
                connected => {
                    return connected.map_err(|error| match error.kind() {
                        ErrorKind::NotFound => ClientError::NoSocket(self.socket.clone()),
                        ErrorKind::ConnectionRefused => ClientError::NobodyListens(self.socket.clone()),
                        ErrorKind::PermissionDenied => ClientError::Denied(self.socket.clone()),
                        _ => ClientError::Io(error),
                    });
                }
            }
        }
        Err(ClientError::Hangs(self.socket.clone()))
    }

    /// One question on a connection of its own.
    async fn ask(&self, method: Method, path: &str) -> Result<hyper::Response<Incoming>, ClientError> {
        let stream = self.connected().await?;
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| {
            // A path with characters that have no place in one.
            ClientError::Io(io::Error::new(ErrorKind::InvalidInput, error))
        })?;
        let asked = async {
            let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the answer, and its failure is the answer's.
            tokio::spawn(connection);
            send.send_request(request).await
        };
        Ok(timeout(PATIENCE, asked).await.map_err(|_| ClientError::Silent)??)
    }
}

/// The body of an answer that is none of a failure.
async fn good(answer: hyper::Response<Incoming>) -> Result<Incoming, ClientError> {
    let (head, mut body) = answer.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let mut text = Vec::new();
    let take = async {
        while let Some(Ok(frame)) = body.frame().await {
            text.extend_from_slice(frame.into_data().as_deref().unwrap_or_default());
            if text.len() > REASON_MAX_OCTETS {
                break;
            }
        }
    };
    // What has come says enough.
    let _cut = timeout(PATIENCE, take).await;
    text.truncate(REASON_MAX_OCTETS);
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    Err(ClientError::Refused { status: head.status.as_u16(), text })
}

/// Lines that come as they come.
#[derive(Debug)]
pub struct Lines {
    answer: Incoming,
    held: Vec<u8>,
    /// So much of what is held has no end of a line in it.
    searched: usize,
    /// When something came last.
    heard: Instant,
}

impl Lines {
    /// The next line, without its end; `None` where there is none any more. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let fresh = self.held.get(self.searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|c| *c == b'\n') {
                let rest = self.held.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.held.len() > LINE_MAX_OCTETS {
                return Err(ClientError::TooLong);
            }
            let frame = timeout_at(self.heard + QUIET_PATIENCE, self.answer.frame()).await;
            match frame.map_err(|_| ClientError::Quiet)? {
                Some(frame) => {
                    // Whatever cuts it: nothing more comes from there.
                    let frame = frame.map_err(|_| ClientError::Stopped)?;
                    self.heard = Instant::now();
                    self.held.extend_from_slice(frame.into_data().as_deref().unwrap_or_default());
                }
                None => return Ok(None),
            }
        }
    }
}
