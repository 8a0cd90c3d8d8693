//! Servers on loopback that do what a test tells them, and messages that are hard to carry. What they say is the tests'
//! business.
#![allow(dead_code)] // each test file uses a part of it

pub(crate) mod pop;

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use restante_fetch::destination::{Batch, Destination, Fault, Intent, Limits, Spec, Token};
use restante_proto::Secret;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// A server; it ends with the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Serves each connection in a thread of its own. An error ends the connection: mostly the client went.
    pub(crate) fn start(serve: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let stopped = Arc::clone(&stop);
        let listener = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut peer, serve) = (Peer::Clear(stream), Arc::clone(&serve));
                thread::spawn(move || drop(serve(&mut peer)));
            }
        });
        Self { port, stop, listener: Some(listener) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.listener.take().unwrap().join().unwrap();
    }
}

/// The client, as the server sees it. Nothing is read ahead, so that TLS can begin any time.
pub(crate) enum Peer {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Gone,
}

impl Peer {
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{text}\r\n").as_bytes())
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(octets),
            Self::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn exactly(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; octets];
        match self {
            Self::Clear(stream) => stream.read_exact(&mut read)?,
            Self::Tls(stream) => stream.read_exact(&mut read)?,
            Self::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        Ok(read)
    }

    /// A line with its CRLF.
    pub(crate) fn raw_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.exactly(1)?);
        }
        Ok(line)
    }

    pub(crate) fn line(&mut self) -> io::Result<String> {
        let line = self.raw_line()?;
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    pub(crate) fn start_tls(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let Self::Clear(mut stream) = std::mem::replace(self, Self::Gone) else { panic!("TLS twice") };
        let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        *self = Self::Tls(Box::new(StreamOwned::new(tls, stream)));
        Ok(())
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads until the client goes: what a server does that never answers.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let mut heard = [0; 4096];
        loop {
            let read = match self {
                Self::Clear(stream) => stream.read(&mut heard)?,
                Self::Tls(stream) => stream.read(&mut heard)?,
                Self::Gone => 0,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A certificate for loopback, and the file that makes a client trust it.
pub(crate) fn certificate() -> (Arc<ServerConfig>, tempfile::TempDir, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    (Arc::new(config), folder, file)
}

pub(crate) fn spec(text: &str) -> Spec {
    let (kind, place) = text.split_once(':').unwrap();
    Spec {
        kind: kind.into(),
        place: place.into(),
        password: Some(Secret::new(b"hunter2".to_vec())),
        ca_file: None,
    }
}

/// Limits that a test can wait for.
pub(crate) fn short() -> Limits {
    Limits {
        connect: Duration::from_millis(500),
        reply: Duration::from_millis(500),
        piece: Duration::from_millis(500),
        stored: Duration::from_millis(500),
        late: Duration::ZERO,
    }
}

/// Limits that no test reaches.
pub(crate) fn long() -> Limits {
    Limits { late: Duration::ZERO, ..Limits::default() }
}

pub(crate) fn stage(batch: &mut dyn Batch, message: &[u8]) {
    batch.begin().unwrap();
    message.chunks(997).for_each(|piece| batch.write(piece).unwrap());
    batch.finish().unwrap();
}

/// Stages the messages and makes them durable.
pub(crate) fn synced(
    destination: &dyn Destination,
    messages: &[&[u8]],
) -> (Box<dyn Batch>, Vec<Result<Token, Fault>>) {
    let mut batch = destination.batch().unwrap();
    messages.iter().for_each(|message| stage(&mut *batch, message));
    let tokens = batch.sync();
    assert_eq!(tokens.len(), messages.len());
    (batch, tokens)
}

/// Delivers one message.
pub(crate) fn deliver(destination: &dyn Destination, message: &[u8]) -> Result<Token, Fault> {
    let (mut batch, mut tokens) = synced(destination, &[message]);
    let token = tokens.remove(0)?;
    batch.publish(0)?;
    batch.settle()?;
    Ok(token)
}

pub(crate) fn intent(token: &Token, message: &[u8]) -> Intent {
    Intent {
        token: token.clone(),
        octets: message.len() as u64,
        digest: Sha256::digest(message).into(),
        age: Duration::ZERO,
    }
}

/// Messages that are hard to carry.
pub(crate) fn hostile() -> Vec<Vec<u8>> {
    let mut corpus: Vec<Vec<u8>> = [
        &b""[..],
        b"\r\n",
        b".\r\n",
        b"Subject: a\r\n\r\n.\r\n..\r\n.a\r\n",
        b"Subject: \xe4\xff\r\n\r\n\x80\x01\r\n",
        b"a\rb\r.\r\r\n",
        b"A\r\n\r\nrN OK done\r\n* BYE\r\n}\r\n{3}\r\n",
        b"a\r\n.\r\nMAIL FROM:<>\r\n",
        b"no line end",
        b"a\r\n\r\n\r\n",
        b"From me\r\n",
    ]
    .map(<[u8]>::to_vec)
    .into();
    corpus.push([&b"Subject: long\r\n\r\n"[..], &[b'x'; 100_000], b"\r\n"].concat());
    corpus.push([&b"Subject: large\r\n\r\n"[..], &b"0123456789abcde\r\n".repeat(40_000)].concat());
    corpus
}

pub(crate) mod smtp;
