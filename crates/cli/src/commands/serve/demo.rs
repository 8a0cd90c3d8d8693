//! `restante serve --demo`: sample mail in memory, a password and a certificate made for the occasion, and the lines
//! to paste.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use rcgen::{CertificateParams, DnType, KeyPair};
use restante_admin::{Access, Doors, Place};
use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::{UniqueId, UserName};
use restante_server::{
    Cleartext, Config, Limits, Port, Settings as ServerSettings, Transcripts, server_config,
};
use restante_store::MemoryStore;

use super::page::Page;
use crate::{failure::Failure, logging, output, settings::Log};

/// The name in the greeting of the server, that of the seed.
const HOSTNAME: &str = "X1";

/// How long the password is; it is typed.
const PASSWORD_LETTERS: usize = 12;

/// How long the token of the live page is.
const TOKEN_LETTERS: usize = 24;

/// The one user of the demo.
const USER: &str = "demo";

/// The sample mail, with its unique-ids. The first message is the one of the seed: 1317 octets.
const SAMPLE: [(&str, &[u8]); 5] = [
    ("390953946", include_bytes!("sample/1-welcome.eml")),
    ("sample-2-accents", include_bytes!("sample/2-accents.eml")),
    ("sample-3-dots", include_bytes!("sample/3-dots.eml")),
    ("sample-4-attachment", include_bytes!("sample/4-attachment.eml")),
    ("sample-5-hurry", include_bytes!("sample/5-hurry.eml")),
];

/// Where the demo listens, if not at its usual ports.
#[derive(Args)]
pub(crate) struct Places {
    /// Where the demo speaks clear text and STLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1110", requires = "demo")]
    demo_pop3: SocketAddr,
    /// Where the demo speaks TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1995", requires = "demo")]
    demo_pop3s: SocketAddr,
    /// Where the demo's live page is.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1180", requires = "demo")]
    demo_admin: SocketAddr,
    /// Write every session of the demo down in this folder, as a dialogue without secrets.
    #[arg(long, value_name = "DIR", requires = "demo")]
    transcripts: Option<PathBuf>,
}

/// Serves the demo until it is interrupted.
pub(crate) fn run(places: &Places) -> Result<(), Failure> {
    for address in [places.demo_pop3, places.demo_pop3s, places.demo_admin] {
        if !address.ip().is_loopback() {
            return Err(Failure::usage(format!("{address} can be reached from outside"))
                .hint("the demo listens on loopback addresses only: 127.0.0.1:PORT"));
        }
    }
    logging::start(&Log::default());
    let transcripts = places.transcripts.as_deref().map(transcripts).transpose()?;
    let folder = tempfile::Builder::new()
        .prefix("restante-demo-")
        // The password is in there.
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
    let password = letters(PASSWORD_LETTERS)?;
    let certificate = folder.path().join("cert.pem");
    let files = write_files(folder.path(), &password);
    files
        .map_err(|error| Failure::failed(format!("cannot write to {}: {error}", folder.path().display())))?;
    let tls = server_config(&certificate, &folder.path().join("key.pem"))
        .map_err(|error| Failure::failed(error.to_string()))?;
    let token = letters(TOKEN_LETTERS)?;
    let access = Access { token: Some(token.clone().into_bytes().into()), ..Access::default() };
    let socket = Place::Unix(folder.path().join("admin.sock"));
    let page = Page::of_demo(HOSTNAME, access, vec![Place::Tcp(places.demo_admin), socket]);
    let config = Config {
        settings: ServerSettings {
            hostname: HOSTNAME.into(),
            pop3: vec![places.demo_pop3],
            pop3s: vec![places.demo_pop3s],
            cleartext: Cleartext::Loopback,
            apop: false,
            mechanisms: None,
            limits: Limits::default(),
            ..ServerSettings::default()
        },
        tls: Some(tls),
        store: Arc::new(sample()?),
        verifier: Arc::new(verifier(&password)?),
        observers: super::observers(transcripts.clone(), &page),
    };
    let greet = |addresses: &[(SocketAddr, Port)], doors: &Doors| {
        let more = places.transcripts.as_deref().map(transcripts_greeting).unwrap_or_default();
        output::print(&format!("{}{more}", greeting(addresses, doors, folder.path(), &password, &token)))
    };
    let served = super::serve(config, &page, greet, async |_| {});
    super::finish(transcripts.as_ref());
    served
}

/// The writer of transcripts, and the folder for them if it is not there.
fn transcripts(folder: &Path) -> Result<Transcripts, Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::failed(format!("cannot make a folder for transcripts, {}: {error}", folder.display()))
    })?;
    super::transcripts(folder)
}

fn transcripts_greeting(folder: &Path) -> String {
    format!("Every session is written down in {}, as a dialogue without secrets.\n\n", folder.display())
}

/// What a newcomer reads.
fn greeting(
    addresses: &[(SocketAddr, Port)],
    doors: &Doors,
    folder: &Path,
    password: &str,
    token: &str,
) -> String {
    let at = |port| {
        addresses
            .iter()
            .find(|(_, spoken)| *spoken == port)
            .map_or_else(String::new, |(at, _)| at.to_string())
    };
    let (pop3, pop3s) = (at(Port::Pop3), at(Port::Pop3s));
    let page = doors.address().map_or_else(String::new, |at| format!("http://{at}/#token={token}"));
    let socket = doors.socket().map_or_else(String::new, |path| path.display().to_string());
    let (certificate, hello) = (folder.join("cert.pem"), folder.join("hello.pop3"));
    let password_file = folder.join("password");
    let (certificate, hello, password_file) =
        (certificate.display(), hello.display(), password_file.display());
    // As it can be pasted, also where it was started by cargo.
    let restante =
        std::env::current_exe().map_or_else(|_| "restante".into(), |path| path.display().to_string());
    format!(
        "\
Restante is serving sample mail. What you delete comes back when you start it again; Ctrl-C ends it.

  address      {pop3} (clear text, STLS), {pop3s} (TLS)
  user         {USER}
  password     {password}
  certificate  {certificate}
  live page    {page}

Open the live page in a browser: it shows each session as it is drawn, while it runs. The same in a terminal:

  {restante} admin --socket {socket} who
  {restante} admin --socket {socket} watch

List the mail, read the first message, and read it with TLS from the first octet, and by STLS:

  curl --user {USER}:{password} 'pop3://{pop3}/'
  curl --user {USER}:{password} 'pop3://{pop3}/1'
  curl --user {USER}:{password} --cacert {certificate} 'pop3s://{pop3s}/1'
  curl --user {USER}:{password} --cacert {certificate} --ssl-reqd 'pop3://{pop3}/1'

Fetch it into a Maildir of your own, each message once however often you call; --keep false deletes it here:

  {restante} fetch pop3s://{USER}@{pop3s} --to maildir:demo-mail --ca-file {certificate} --password-file {password_file}

Watch a whole session, line by line, and see it drawn:

  {restante} play --ca-file {certificate} {hello} 'pop3s://{pop3s}' --record session.pop3
  {restante} diagram session.pop3

"
    )
}

/// The certificate, its key, the password, and a dialogue to play.
fn write_files(folder: &Path, password: &str) -> io::Result<()> {
    let names = ["127.0.0.1", "::1", "localhost"].map(String::from);
    let mut certificate = CertificateParams::new(names).map_err(io::Error::other)?;
    certificate.distinguished_name.push(DnType::CommonName, "Restante demo");
    let signing_key = KeyPair::generate().map_err(io::Error::other)?;
    let cert = certificate.self_signed(&signing_key).map_err(io::Error::other)?;
    fs::write(folder.join("cert.pem"), cert.pem())?;
    fs::write(folder.join("key.pem"), signing_key.serialize_pem())?;
    fs::write(folder.join("password"), format!("{password}\n"))?;
    fs::write(folder.join("hello.pop3"), hello(password))
}

/// A dialogue with the demo's own mail.
fn hello(password: &str) -> String {
    format!(
        "\
# What a mail client says to a server that it keeps its mail on. Play it again: nothing is deleted.

S: +OK {{any}}
C: USER {USER}
S: +OK {{any}}
C: PASS {password}
S: +OK maildrop locked and ready
C: STAT
S: +OK {{any}}
C: UIDL 1
S: +OK 1 390953946
C: LIST 1
S: +OK 1 1317
C: RETR 1
S: +OK 1317 octets
S: [1317 octets]
S: .
C: QUIT
S: +OK POP3 Server saying Good-Bye
"
    )
}

/// So many letters and digits that are not mistaken for one another.
fn letters(count: usize) -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = vec![0; count];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed(format!("no randomness for a password or a token: {error}")))?;
    Ok(random.iter().map(|octet| char::from(LETTERS[usize::from(octet % 32)])).collect())
}

fn sample() -> Result<MemoryStore, Failure> {
    let (store, user) = (MemoryStore::new(), user()?);
    for (id, message) in SAMPLE {
        let id =
            UniqueId::new(id.as_bytes()).ok_or_else(|| Failure::failed(format!("sample id {id} is none")))?;
        store.add(&user, id, message);
    }
    Ok(store)
}

fn user() -> Result<UserName, Failure> {
    UserName::new(USER).map_err(|error| Failure::failed(error.to_string()))
}

fn verifier(password: &str) -> Result<Verifier, Failure> {
    let stored = StoredPassword::parse(format!("{{PLAIN}}{password}").as_bytes())
        .map_err(|error| Failure::failed(format!("the demo's password: {error}")))?;
    let directory = MemoryDirectory::new([(user()?, stored)]);
    Ok(Verifier::new(Arc::new(directory), &restante_auth::Settings::default()))
}
