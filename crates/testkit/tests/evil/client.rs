//! A client that says what it is told to and knows nothing of POP3 but the end of a line.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use restante_testkit::evil::{EvilServer, PASSWORD, USER};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};

/// The longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a test listens to a silence.
const SILENCE: Duration = Duration::from_millis(30);

pub(crate) enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    pub(crate) fn connect(server: &EvilServer) -> Self {
        let socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::Plain(socket)
    }

    /// Connects, takes the greeting and logs in.
    pub(crate) fn logged_in(server: &EvilServer) -> Self {
        let mut client = Self::connect(server);
        client.line();
        client.log_in();
        client
    }

    pub(crate) fn log_in(&mut self) {
        assert!(self.ask(&format!("USER {USER}")).to_ascii_uppercase().starts_with("+OK"));
        assert!(self.ask(&format!("PASS {PASSWORD}")).to_ascii_uppercase().starts_with("+OK"));
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// The TLS handshake, trusting the server's certificate under this name.
    pub(crate) fn secure(self, server: &EvilServer, name: &'static str) -> io::Result<Self> {
        let Self::Plain(mut socket) = self else { panic!("there is TLS already") };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(server.certificate())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tls = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        tls.complete_io(&mut socket)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    pub(crate) fn say(&mut self, octets: &[u8]) {
        match self {
            Self::Plain(socket) => socket.write_all(octets).unwrap(),
            Self::Tls(stream) => stream.write_all(octets).unwrap(),
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Exactly so many octets.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        let mut at = 0;
        while at < count {
            let read = self.read(&mut heard[at..]);
            let so_far = String::from_utf8_lossy(&heard[..at]).into_owned();
            match read {
                Ok(0) => panic!("closed after {so_far:?}"),
                Ok(read) => at += read,
                Err(fault) => panic!("{fault} after {so_far:?}"),
            }
        }
        heard
    }

    /// A line with its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.octets(1));
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// The lines up to a dot, without it; the status line is read already.
    pub(crate) fn block(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().trim_end_matches(['\r', '\n']) {
                "." => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Says a line, and hears one.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n").as_bytes());
        self.line()
    }

    /// Says a line, and hears a block.
    pub(crate) fn list(&mut self, command: &str) -> Vec<String> {
        let status = self.ask(command);
        assert!(status.to_ascii_uppercase().starts_with("+OK"), "{command}: {status}");
        self.block()
    }

    /// All that comes until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return heard,
                Ok(read) => heard.extend_from_slice(&buffer[..read]),
                Err(fault) if fault.kind() == ErrorKind::ConnectionReset => return heard,
                Err(fault) => panic!("it does not close: {fault}"),
            }
        }
    }

    /// Nothing comes, and nothing ends.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.socket().set_read_timeout(Some(SILENCE)).unwrap();
        let heard = self.read(&mut [0; 1]);
        self.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|fault| matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}
