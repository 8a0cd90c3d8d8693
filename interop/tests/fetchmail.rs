//! fetchmail: hands every message to a command (here one that writes it to a file), keeps or deletes, and remembers
//! unique-ids.
//!
//! What fetchmail changes in a message: it puts a `Received:` field in front, which `invisible` leaves away, and rewrites
//! addresses, which `no rewrite` stops. CRLF becomes LF and a bare CR vanishes (`stripcr`, its default for a command). A
//! header without the empty line behind it gets one; a message of no octets becomes a header of fetchmail's own. A line
//! of more than 8191 octets is cut into pieces of that length, with NUL, an octet of chance and LF put between them
//! (seen in 6.4.37; the octets on the wire are right, as `curl.rs` and `openssl.rs` show).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::{Path, PathBuf};

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, fresh, maildir,
    with_security,
};

/// «There was no mail awaiting retrieval.»
const NO_MAIL: i32 = 1;
/// «The user authentication step failed.»
const LOGIN_FAILED: i32 = 3;

struct Fetchmail<'a> {
    server: &'a Server,
    folder: PathBuf,
    mail: PathBuf,
}

impl<'a> Fetchmail<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let folder = server.client_folder(name);
        Self { server, mail: server.client_maildir(&format!("{name}/mail")), folder }
    }

    fn run(&self, security: Security, authority: &Path, password: &str, options: &str) -> Outcome {
        let tls = format!("sslcertck sslcertfile \"{}\"", authority.display());
        let security_options = match security {
            // An empty protocol switches fetchmail's own wish for STLS off.
            Security::Plain => "sslproto \"\"".to_owned(),
            Security::Stls => format!("sslproto \"TLS1.2+\" {tls}"),
            Security::Tls => format!("ssl sslproto \"TLS1.2+\" {tls}"),
        };
        let text = format!(
            "set no bouncemail\nset idfile \"{folder}/ids\"\nset pidfile \"{folder}/pid\"\nset invisible\n\
             poll localhost service {port} protocol pop3 uidl no dns\n  user \"{USER}\" password \"{password}\" is \"nobody\" here\n  \
             no rewrite no mimedecode no dropstatus no dropdelivered pass8bits {security_options} {options}\n  \
             mda \"sh {folder}/deliver\"\n",
            folder = self.folder.display(),
            port = self.server.port(security),
        );
        // Where fetchmail hands a message over: each into a file of its own.
        let deliver = format!("cat > \"$(mktemp {}/new/XXXXXXXX)\"\n", self.mail.display());
        self.server.client_file(&self.folder.join("deliver"), &deliver);
        let file = self.folder.join("fetchmailrc");
        self.server.client_file(&file, &text);
        Program::new("fetchmail", "fetchmail", &self.folder)
            .env("FETCHMAILHOME", &self.folder)
            .args(["--nosyslog", "--nodetach", "--verbose", "--fetchmailrc"])
            .arg(file)
            .run()
    }

    fn fetch(&self, security: Security, options: &str) -> Outcome {
        let outcome = self.run(security, &self.server.authority(), PASSWORD, options);
        // It can do without TLS if nobody insists: here it must not.
        let upgraded = outcome.words().contains("upgrade to TLS succeeded");
        assert_eq!(upgraded, security == Security::Stls, "{outcome}");
        outcome
    }
}

/// What fetchmail makes of the letters.
fn received(letters: &[Letter]) -> Vec<(&'static str, Vec<u8>)> {
    letters
        .iter()
        .map(|letter| {
            let octets = letter.local();
            let made = match letter.name {
                "bare CR" => octets.into_iter().filter(|&octet| octet != b'\r').collect(),
                "header only" => [octets.as_slice(), b"\n"].concat(),
                "empty file" => HEADERLESS.to_vec(),
                _ => octets,
            };
            (letter.name, made)
        })
        .collect()
}

/// How the header of fetchmail's own begins; behind it stands this machine's name.
const HEADERLESS: &[u8] = b"From: FETCHMAIL-DAEMON\n";

/// What came in, with the pieces of a line that fetchmail cut joined again, and its own header cut.
fn take(fetchmail: &Fetchmail<'_>) -> Vec<Vec<u8>> {
    const PIECE: usize = 8191;
    let mend = |octets: Vec<u8>| {
        if octets.starts_with(HEADERLESS) {
            return HEADERLESS.to_vec();
        }
        let mut mended = Vec::with_capacity(octets.len());
        let mut left = octets.as_slice();
        while !left.is_empty() {
            let line = left.iter().position(|&octet| octet == b'\n').map_or(left.len(), |at| at + 1);
            // The octet of chance may itself be an LF.
            let cut = line > PIECE && left[PIECE] == 0 && left.get(PIECE + 2) == Some(&b'\n');
            let (kept, all) = if cut { (PIECE, PIECE + 3) } else { (line, line) };
            mended.extend_from_slice(&left[..kept]);
            left = &left[all..];
        }
        mended
    };
    maildir::take(&fetchmail.mail).into_iter().map(mend).collect()
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    let letters = corpus();
    with_security(&Security::ALL, |security| {
        let server = Server::start(&letters);
        let fetchmail = Fetchmail::new(&server, "client");
        fetchmail.fetch(security, "keep").succeeded();
        assert_same(take(&fetchmail), &received(&letters));
        fetchmail.fetch(security, "keep").failed_with(NO_MAIL);
        server.deliver(&fresh());
        fetchmail.fetch(security, "keep").succeeded();
        assert_same(take(&fetchmail), &received(&[fresh()]));
        assert_eq!(server.left().len(), letters.len() + 1);
        server.stop();
    });
}

#[test]
fn deletes_what_it_has() {
    let letters = corpus();
    with_security(&Security::ALL, |security| {
        let server = Server::start(&letters);
        let fetchmail = Fetchmail::new(&server, "client");
        fetchmail.fetch(security, "no keep").succeeded();
        assert_same(take(&fetchmail), &received(&letters));
        assert_eq!(server.left(), Vec::<String>::new());
        server.deliver(&fresh());
        fetchmail.fetch(security, "no keep").succeeded();
        assert_same(take(&fetchmail), &received(&[fresh()]));
        server.stop();
    });
}

#[test]
fn a_wrong_password_is_told_and_nothing_is_fetched() {
    with_security(&Security::ALL, |security| {
        let server = Server::start(&corpus());
        let fetchmail = Fetchmail::new(&server, "client");
        fetchmail.run(security, &server.authority(), "wrong", "no keep").failed_with(LOGIN_FAILED);
        assert_same(take(&fetchmail), &[]);
        server.stop();
    });
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&[Security::Stls, Security::Tls], |security| {
        let fetchmail = Fetchmail::new(&server, &format!("{security:?}"));
        let outcome = fetchmail.run(security, &server.stranger(), PASSWORD, "no keep").failed();
        assert!(outcome.words().contains("verif"), "{outcome}");
        assert_same(take(&fetchmail), &[]);
    });
    assert_eq!(server.left().len(), letters.len());
    server.stop();
}
