//! What the tests of the client share: options for an evil server, errors in a line, a server that says what it is told to.
#![allow(dead_code)] // each test uses a part

use std::{io::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_client::{
    Client, Credentials, Error, Options, Security, Timeouts, Url,
    tls::{TlsOptions, Trust},
};
use restante_testkit::evil::{EvilServer, PASSWORD, USER};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::Runtime,
};

/// How long is waited for what must not come.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// How long is waited for what must come.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A runtime of one thread.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The same time limit for everything.
pub(crate) fn within(limit: Duration) -> Timeouts {
    Timeouts { connect: LONG, handshake: limit, answer: limit }
}

/// A file with these certificates (DER).
pub(crate) fn pem(certificates: &[&[u8]]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for der in certificates {
        let base64 = BASE64.encode(der);
        writeln!(file, "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----").unwrap();
    }
    file
}

/// Options that trust this file, if there is one, and let the password go in clear otherwise.
pub(crate) fn options(trusted: Option<&NamedTempFile>) -> Options {
    let trust = trusted.map_or(Trust::Anybody, |file| Trust::File(file.path().to_owned()));
    Options {
        timeouts: within(LONG),
        tls: TlsOptions { trust, ..TlsOptions::default() },
        cleartext_passwords: trusted.is_none(),
        ..Options::default()
    }
}

/// The URL of an evil server.
pub(crate) fn url(server: &EvilServer, security: Security) -> Url {
    let address = server.address();
    Url { user: None, host: address.ip().to_string(), port: address.port(), security }
}

/// Who is let in.
pub(crate) fn credentials() -> Credentials {
    Credentials::new(USER, PASSWORD.as_bytes().to_vec())
}

/// An error as `Kind: words`.
pub(crate) fn told(error: &Error) -> String {
    let kind = format!("{error:?}");
    let end = kind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(kind.len());
    format!("{}: {error}", &kind[..end])
}

/// A server that reads a line, says the next of these, and so on; the first is the greeting. At the end it closes.
/// It gives back what was said to it.
pub(crate) fn scripted(says: &[&str]) -> (DuplexStream, tokio::task::JoinHandle<Vec<String>>) {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let says: Vec<Vec<u8>> = says.iter().map(|text| text.as_bytes().to_vec()).collect();
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        for text in says {
            theirs.write_all(&text).await.unwrap();
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                match theirs.read_u8().await {
                    Ok(octet) => line.push(octet),
                    Err(_) => break,
                }
            }
            if !line.is_empty() {
                heard.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
        heard
    });
    (ours, server)
}

/// A session with a scripted server, over a connection that is not encrypted.
pub(crate) async fn over(stream: DuplexStream, options: &Options) -> Result<Client, Error> {
    Client::over(stream, "localhost", Security::None, options).await
}
