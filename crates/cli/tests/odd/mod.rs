//! A small POP3 server with STLS and one fault, of those that show only where sessions are compared, or TLS with what was
//! said before it.
#![allow(dead_code)] // each file of tests uses its part

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// What is said in clear behind STLS is obeyed within TLS.
    ObeysInjected,
    /// STLS is offered within TLS.
    StlsAgain,
    /// Each session has other unique-ids.
    IdsChange,
    /// A second session is refused without a code.
    LockedWithoutCode,
    /// A second session ends the first one.
    EndsFirst,
    /// USER is neither offered nor taken without TLS.
    UserWithinTlsOnly,
    /// There is no CAPA without TLS, and USER is refused.
    NoCapa,
    /// Clients have to identify.
    WantsIdentity,
    /// What is said in clear behind STLS breaks the handshake.
    BreaksInjected,
    /// A minute has to lie between two logins.
    LoginDelay,
    /// AUTH LOGIN is offered and refused, whatever the password.
    LoginRefused,
    /// The connection ends at the TOP of the second message.
    TopBreaks,
    /// A refusal that would change what the terminal shows.
    Escapes,
    /// What is retrieved is deleted, and told to be (RFC 2449 §6.7).
    Expires,
}

/// The server; its threads end with the test.
pub(crate) struct Odd {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    world: Arc<World>,
}

/// What its sessions share.
struct World {
    fault: Fault,
    config: Arc<ServerConfig>,
    sessions: AtomicU32,
    logins: AtomicU32,
    /// The session that holds the drop, with a handle that ends it.
    holder: Mutex<Option<(u32, TcpStream)>>,
}

const MESSAGE: &str = "Subject: x\r\n\r\nbody\r\n";

impl Odd {
    pub(crate) fn start(fault: Fault) -> Self {
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let config = match fault {
            Fault::WantsIdentity => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(certificate.clone()).unwrap();
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
            _ => config.with_no_client_auth(),
        };
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let world = World {
            fault,
            config: Arc::new(config),
            sessions: AtomicU32::new(0),
            logins: AtomicU32::new(0),
            holder: Mutex::new(None),
        };
        let (world, served) = {
            let world = Arc::new(world);
            (Arc::clone(&world), world)
        };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let world = Arc::clone(&served);
                std::thread::spawn(move || world.serve(socket));
            }
        });
        Self { address, folder, world }
    }

    pub(crate) fn logins(&self) -> u32 {
        self.world.logins.load(Ordering::SeqCst)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl World {
    fn serve(&self, mut socket: TcpStream) {
        let number = self.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let handle = socket.try_clone().unwrap();
        let mut input = Vec::new();
        if socket.write_all(b"+OK hello\r\n").is_err() {
            return;
        }
        if self.talk(&mut socket, &mut input, (number, &handle, false)) {
            let injected = !input.is_empty();
            if self.fault != Fault::ObeysInjected {
                input.clear();
            }
            if self.fault == Fault::BreaksInjected && injected {
                return self.release(number);
            }
            let tls = ServerConnection::new(Arc::clone(&self.config)).unwrap();
            let mut tls = StreamOwned::new(tls, socket);
            self.talk(&mut tls, &mut input, (number, &handle, true));
            tls.conn.send_close_notify();
            tls.flush().unwrap_or_default();
        }
        self.release(number);
    }

    fn release(&self, number: u32) {
        let mut holder = self.holder.lock().unwrap();
        if holder.as_ref().is_some_and(|(by, _)| *by == number) {
            *holder = None;
        }
    }

    /// Answers until the end, or until TLS is due.
    fn talk(
        &self,
        stream: &mut (impl Read + Write),
        input: &mut Vec<u8>,
        (number, handle, tls): (u32, &TcpStream, bool),
    ) -> bool {
        loop {
            let Some(end) = input.iter().position(|&octet| octet == b'\n') else {
                let mut piece = [0; 1024];
                match stream.read(&mut piece) {
                    Ok(some) if some > 0 => input.extend_from_slice(&piece[..some]),
                    _ => return false,
                }
                continue;
            };
            let line = String::from_utf8(input.drain(..=end).collect()).unwrap();
            let mut words = line.split_whitespace();
            let verb = words.next().unwrap_or_default().to_ascii_uppercase();
            let number_asked = words.next();
            let answer = match verb.as_str() {
                "PASS" => self.lock(number, handle),
                "AUTH" if number_asked == Some("LOGIN") => "-ERR [SYS/PERM] no module\r\n".to_owned(),
                "AUTH" => self.lock(number, handle),
                "CAPA" | "USER" if !tls && self.fault == Fault::NoCapa => "-ERR what?\r\n".to_owned(),
                "USER" if !tls && self.fault == Fault::UserWithinTlsOnly => "-ERR not here\r\n".to_owned(),
                "CAPA" => {
                    let user = if tls || self.fault != Fault::UserWithinTlsOnly { "USER\r\n" } else { "" };
                    let stls = if !tls || self.fault == Fault::StlsAgain { "STLS\r\n" } else { "" };
                    let expire = if self.fault == Fault::Expires { "EXPIRE 0\r\n" } else { "" };
                    let delay = if self.fault == Fault::LoginDelay { "LOGIN-DELAY 60\r\n" } else { "" };
                    let sasl = match self.fault {
                        Fault::LoginDelay | Fault::LoginRefused if tls => "SASL PLAIN LOGIN X-ODD\r\n",
                        _ => "",
                    };
                    format!("+OK\r\n{delay}{sasl}{user}TOP\r\nUIDL\r\n{stls}{expire}.\r\n")
                }
                "STAT" => format!("+OK 2 {}\r\n", 2 * MESSAGE.len()),
                "LIST" if number_asked.is_some() => {
                    format!("+OK {} {}\r\n", number_asked.unwrap_or_default(), MESSAGE.len())
                }
                "LIST" => format!("+OK\r\n1 {0}\r\n2 {0}\r\n.\r\n", MESSAGE.len()),
                "UIDL" => {
                    let of = if self.fault == Fault::IdsChange { number } else { 0 };
                    format!("+OK\r\n1 a{of}\r\n2 b{of}\r\n.\r\n")
                }
                "TOP" => "+OK\r\nSubject: x\r\n\r\n.\r\n".to_owned(),
                "RETR" if self.fault == Fault::Escapes => "-ERR \u{202e}on\u{9b}2J\x1b[2J\r\n".to_owned(),
                "RETR" => format!("+OK\r\n{MESSAGE}.\r\n"),
                _ => "+OK\r\n".to_owned(),
            };
            if verb == "TOP" && number_asked == Some("2") && self.fault == Fault::TopBreaks {
                return false;
            }
            if verb == "QUIT" {
                // Whoever comes back at once finds the drop free.
                self.release(number);
            }
            if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() || verb == "QUIT" {
                return false;
            }
            if verb == "STLS" {
                return true;
            }
        }
    }

    fn lock(&self, number: u32, handle: &TcpStream) -> String {
        let mut holder = self.holder.lock().unwrap();
        match (&*holder, self.fault) {
            (None, _) => {}
            (Some((_, first)), Fault::EndsFirst) => {
                first.shutdown(std::net::Shutdown::Both).unwrap_or_default();
            }
            (Some(_), Fault::LockedWithoutCode) => return "-ERR the drop is locked\r\n".to_owned(),
            (Some(_), _) => return "-ERR [IN-USE] the drop is locked\r\n".to_owned(),
        }
        self.logins.fetch_add(1, Ordering::SeqCst);
        *holder = Some((number, handle.try_clone().unwrap()));
        "+OK\r\n".to_owned()
    }
}
