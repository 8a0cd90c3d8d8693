//! One connection to a server: TCP, and TLS by rustls on top of it where it is asked for.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use restante_proto::dialogue::{TlsFacts, Word};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{failure::Failure, url::Url};

/// Whom to trust.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// The system's roots.
    System,
    /// The certificates of this file, and no others.
    File(PathBuf),
    /// Anybody.
    Anybody,
}

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    host: String,
    /// The addresses of both ends.
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A handshake failed.
    Broken,
}

impl Connection {
    /// Connects to the first address of the host that answers.
    pub(super) fn open(url: &Url, timeout: Duration) -> Result<Self, Failure> {
        let place = format!("{}:{}", url.host, url.port);
        let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .map_err(|error| Failure::failed(format!("cannot find {}: {error}", url.host)))?
            .collect();
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => {
                    return Self::over(socket, url, timeout).map_err(|error| {
                        Failure::failed(format!("the connection to {place} failed: {error}"))
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => Failure::failed(format!("cannot connect to {place}: {error}")),
            None => Failure::failed(format!("{} has no address", url.host)),
        })
    }

    fn over(socket: TcpStream, url: &Url, timeout: Duration) -> io::Result<Self> {
        // A segment of the dialogue is one write, and is to leave as one.
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        let (client, server) = (socket.local_addr()?, socket.peer_addr()?);
        Ok(Self { stream: Stream::Plain(socket), host: url.host.clone(), client, server })
    }

    /// Shakes hands, and gives what was settled.
    pub(super) fn secure(&mut self, trust: &Trust) -> Result<TlsFacts, Failure> {
        let config = config(trust)?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| Failure::failed("the host's name cannot stand in a certificate"))?;
        let Stream::Plain(mut socket) = std::mem::replace(&mut self.stream, Stream::Broken) else {
            return Err(Failure::failed("TLS is on already"));
        };
        let mut tls = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| Failure::failed(format!("TLS cannot begin: {error}")))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|error| {
                Failure::failed(format!("the TLS handshake failed: {}", told(&error)))
                    .hint("--ca-file trusts a certificate of your own, --insecure trusts any")
            })?;
        }
        let word = |text: Option<&str>| text.and_then(|text| Word::new(text).ok());
        let version =
            tls.protocol_version().and_then(|version| version.as_str().map(|text| text.replace('_', ".")));
        // The registered names have no 13 in them.
        let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let cipher = cipher.map(|name| name.replace("TLS13_", "TLS_"));
        let facts = TlsFacts {
            version: word(version.as_deref()),
            cipher: word(cipher.as_deref()),
            // An address is not asked for (RFC 6066 §3).
            name: word(Some(&self.host).filter(|host| host.parse::<IpAddr>().is_err()).map(String::as_str)),
            alpn: word(tls.alpn_protocol().and_then(|name| std::str::from_utf8(name).ok())),
        };
        self.stream = Stream::Tls(Box::new(StreamOwned::new(tls, socket)));
        Ok(facts)
    }

    /// Waits no longer than this from now on. Where that cannot be set the time-out of the command holds.
    pub(super) fn wait_at_most(&self, time: Duration) {
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.sock,
            Stream::Broken => return,
        };
        socket.set_read_timeout(Some(time)).unwrap_or_default();
    }

    /// Whether a handshake failed, which ends a connection.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.stream, Stream::Broken)
    }

    /// Whether TLS is on.
    pub(super) const fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Sends one segment.
    pub(super) fn send(&mut self, segment: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(segment),
            Stream::Tls(tls) => tls.write_all(segment).and_then(|()| tls.flush()),
            Stream::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what is there, or waits for it; 0 where the server's octets ended, in TLS with a close_notify.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
            Stream::Broken => Ok(0),
        }
    }

    /// Says in TLS that no more will be sent.
    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        Ok(())
    }

    /// Closes the client's side.
    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        self.close_notify()?;
        match &self.stream {
            Stream::Plain(socket) => socket.shutdown(Shutdown::Write),
            Stream::Tls(tls) => tls.sock.shutdown(Shutdown::Write),
            Stream::Broken => Ok(()),
        }
    }
}

/// An error of TLS without its Rust around it.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server ended the connection".into(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".into(),
        _ => error.to_string(),
    }
}

fn config(trust: &Trust) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS cannot be set up: {error}")))?;
    let mut config = match trust {
        Trust::Anybody => {
            let verifier = Arc::new(NoVerifier(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::System => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
        Trust::File(file) => builder.with_root_certificates(roots_of(file)?).with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"pop3".to_vec()];
    Ok(config)
}

/// What the system trusts. Single certificates that cannot be read are no reason to trust none.
fn system_roots() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
    Err(Failure::failed(format!("the system has no certificates that it trusts{why}"))
        .hint("install the package ca-certificates, or name a file with --ca-file"))
}

fn roots_of(file: &Path) -> Result<RootCertStore, Failure> {
    let fail = |why: String| Failure::failed(format!("{}: {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(format!("{error} (PEM is expected: CERTIFICATE)")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() { Err(fail("holds no certificate".into())) } else { Ok(roots) }
}

/// Takes any certificate, for `--insecure`. Signatures are still checked, so that the handshake stays one.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
