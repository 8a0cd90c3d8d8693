//! The evil server's end of a connection: lines in, octets out, TLS; and the misbehaviours that count octets.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Misbehaviour, Script, World};
use crate::loopback::{AtEnd, Stop};

/// The longest command line: tokens of OAuth are a few thousand octets.
const LINE_MAX_OCTETS: usize = 16 * 1024;

/// How long the client may say nothing, or not take what it is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much is read at once.
const READ_OCTETS: usize = 64 * 1024;

/// How much is kept of what nobody listened to.
const UNHEARD_MAX_OCTETS: usize = 64 * 1024;

/// Who the server is.
pub(super) struct Identity {
    /// In DER.
    pub(super) certificate: Vec<u8>,
    config: Arc<ServerConfig>,
}

/// The identity that a misbehaviour goes with.
pub(super) fn identity(evil: Misbehaviour) -> &'static Identity {
    static RIGHT: OnceLock<Identity> = OnceLock::new();
    static WRONG: OnceLock<Identity> = OnceLock::new();
    match evil {
        Misbehaviour::TlsWrongName | Misbehaviour::StlsWrongName => {
            WRONG.get_or_init(|| new_identity(&["elsewhere.invalid"]))
        }
        _ => RIGHT.get_or_init(|| new_identity(&["localhost", "127.0.0.1"])),
    }
}

#[allow(clippy::expect_used)] // of a test, from constants
fn new_identity(names: &[&str]) -> Identity {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate for good names");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key))
        .expect("a key that fits its certificate");
    Identity { certificate: certificate.to_vec(), config: Arc::new(config) }
}

/// A connection.
pub(super) struct Wire<'a> {
    stream: Stream,
    input: Vec<u8>,
    said: u64,
    world: &'a World,
    number: usize,
    evil: Misbehaviour,
    stop: &'a Stop,
    _at_end: AtEnd<'a>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// A handshake failed.
    Gone,
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Gone => Ok(0),
        };
        // Without TLS's farewell or after a reset, it has ended all the same.
        match read {
            Err(fault) if matches!(fault.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                Ok(0)
            }
            other => other,
        }
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(octets),
            Self::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Self::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(stream) => Some(&stream.sock),
            Self::Gone => None,
        }
    }
}

impl<'a> Wire<'a> {
    pub(super) fn new(
        socket: TcpStream,
        world: &'a World,
        number: usize,
        stop: &'a Stop,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(IDLE_TIMEOUT))?;
        socket.set_write_timeout(Some(IDLE_TIMEOUT))?;
        let closed = socket.try_clone()?;
        let at_end = stop.at_end(move || drop(closed.shutdown(Shutdown::Both)));
        Ok(Self {
            stream: Stream::Plain(socket),
            input: Vec::new(),
            said: 0,
            world,
            number,
            evil: world.script.of_session(number),
            stop,
            _at_end: at_end,
        })
    }

    fn script(&self) -> &'a Script {
        &self.world.script
    }

    /// The next line without its end; none when the client has gone.
    pub(super) fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            if self.input.len() > LINE_MAX_OCTETS || self.hear_something()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits for octets; how many came.
    pub(super) fn hear_something(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; READ_OCTETS];
        let read = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// Whether something was read and not yet looked at.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Forgets what was read and not yet looked at.
    pub(super) fn drop_input(&mut self) {
        self.input.clear();
    }

    /// Says something, as the script wants it.
    pub(super) fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        match self.evil {
            Misbehaviour::EveryReplyDelayed => {
                self.stop.wait(self.script().reply_delay);
                self.stream.write(octets)
            }
            Misbehaviour::OctetByOctet => octets.iter().try_for_each(|octet| self.stream.write(&[*octet])),
            Misbehaviour::ConnectionCut => self.say_up_to_the_cut(octets),
            _ => self.stream.write(octets),
        }
    }

    fn say_up_to_the_cut(&mut self, octets: &[u8]) -> io::Result<()> {
        let left = self.script().cut_after_octets - self.said;
        let said = octets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.stream.write(&octets[..said])?;
        self.said += said as u64;
        if self.said == self.script().cut_after_octets {
            self.world.note(self.number, |record| record.cut = true);
            self.break_off()?;
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Says what never ends, but for the script's limit; then closes.
    pub(super) fn repeat(&mut self, part: fn(u64) -> Vec<u8>) -> io::Result<()> {
        let (mut said, mut times) = (0, 0);
        while said < self.script().endless_octets {
            let octets = part(times);
            self.stream.write(&octets)?;
            said += octets.len() as u64;
            times += 1;
        }
        self.break_off()
    }

    /// The TLS handshake.
    pub(super) fn secure(&mut self, evil: Misbehaviour) -> io::Result<()> {
        let Stream::Plain(mut socket) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let config = Arc::clone(&identity(evil).config);
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.complete_io(&mut socket)?;
        self.stream = Stream::Tls(Box::new(StreamOwned::new(tls, socket)));
        Ok(())
    }

    /// Closes in an orderly way.
    pub(super) fn hang_up(&mut self) -> io::Result<()> {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.break_off()
    }

    /// Closes the connection, but not TLS. What is still unread would make the kernel forget what is unsent: so it is
    /// read.
    pub(super) fn break_off(&mut self) -> io::Result<()> {
        if let Some(socket) = self.stream.socket() {
            socket.shutdown(Shutdown::Write)?;
        }
        self.fall_silent()
    }

    /// Says no more, until the client has gone.
    pub(super) fn fall_silent(&mut self) -> io::Result<()> {
        loop {
            let heard = std::mem::take(&mut self.input);
            self.world.note(self.number, |record| {
                let room = UNHEARD_MAX_OCTETS.saturating_sub(record.unheard.len());
                record.unheard.extend_from_slice(&heard[..heard.len().min(room)]);
            });
            if self.hear_something()? == 0 {
                return Ok(());
            }
        }
    }
}
