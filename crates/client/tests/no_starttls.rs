//! The attacks on STLS of «Why TLS Is Better Without STARTTLS» (Poddebniak, Ising, Böck, Schinzel, 2021), by their names
//! there, against the client: nothing that was heard in clear counts within TLS, and no password goes out without it. The
//! table in `docs/security.md` maps each attack to its test, here and in the server's crate.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/mod.rs"]
mod harness;

use std::sync::Arc;

use harness::{credentials, options, pem, runtime, scripted, url};
use restante_client::{Client, Error, Offer, Options, Security};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// Connects to a server of this misbehaviour by STLS, with its certificate trusted, and logs in.
fn attempt(evil: Misbehaviour) -> (Result<(), Error>, EvilServer) {
    let server = EvilServer::start(evil, Mail::few());
    let file = pem(&[&server.certificate()]);
    let done = runtime().block_on(async {
        let mut client = Client::connect(&url(&server, Security::Stls), &options(Some(&file))).await?;
        client.authenticate(&credentials()).await?;
        client.quit().await
    });
    (done, server)
}

/// What was said in clear holds no login.
fn no_login(server: &EvilServer) {
    for command in server.commands() {
        let verb = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        assert!(matches!(verb.as_str(), "STLS" | "CAPA" | "QUIT"), "{command}");
    }
    for session in server.sessions() {
        // What was said to a server that did not listen any more is the beginning of TLS.
        let heard = String::from_utf8_lossy(&session.unheard).into_owned();
        assert!(!heard.contains("PASS") && !heard.contains("AUTH") && !heard.contains("USER"), "{heard}");
    }
}

/// A server that is a script in clear text; how the client ends, and what it said.
fn in_clear(says: &[&str]) -> (Error, Vec<String>) {
    runtime().block_on(async {
        let (stream, server) = scripted(says);
        // Even for those who allow passwords in clear: the URL asked for STLS.
        let options = Options { cleartext_passwords: true, ..options(None) };
        let error = Client::over(stream, "localhost", Security::Stls, &options).await.unwrap_err();
        (error, server.await.unwrap())
    })
}

#[test]
fn without_an_attack_it_works() {
    let (done, server) = attempt(Misbehaviour::Nothing);
    done.unwrap();
    // The password went out within TLS, behind capabilities that were asked for within TLS.
    assert_eq!(server.commands()[..2], ["STLS", "CAPA"]);
    assert!(server.sessions()[0].encrypted);
}

#[test]
fn response_injection() {
    // Answers behind `+OK` to STLS, in the same segment, would answer what is asked within TLS.
    let (done, server) = attempt(Misbehaviour::StlsInjection);
    let error = done.unwrap_err();
    assert!(error.to_string().starts_with("octets came behind the answer to STLS, before TLS"), "{error}");
    no_login(&server);
    for injected in [
        "+OK\r\n",
        "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n",
        "-ERR [AUTH] wrong password: try another\r\n",
        "+",
        "\r\n",
        "+OK half a li",
    ] {
        let answer = format!("+OK begin TLS\r\n{injected}");
        let (error, said) = in_clear(&["+OK ready\r\n", &answer]);
        assert!(matches!(error, Error::Protocol(_)), "{injected:?}: {error}");
        assert_eq!(said, ["STLS"], "{injected:?}");
    }
}

#[test]
fn response_injection_before_the_question() {
    // Behind the greeting, an answer to STLS that nobody has asked for yet.
    let (error, said) = in_clear(&["+OK ready\r\n+OK begin TLS\r\n"]);
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn stripping() {
    // STLS is taken out of the list, or refused: there is no session in clear instead, and no password.
    for evil in [Misbehaviour::StlsNotOffered, Misbehaviour::StlsRefused] {
        let (done, server) = attempt(evil);
        assert!(matches!(done, Err(Error::NotOffered(_))), "{evil:?}: {done:?}");
        assert_eq!(server.commands(), ["STLS"], "{evil:?}: which is tried whatever the list says");
    }
    for refusal in
        ["-ERR\r\n", "-ERR unknown command\r\n", "-ERR [SYS/TEMP] later\r\n", "-ERR TLS is on already\r\n"]
    {
        let (error, said) = in_clear(&["+OK ready\r\n", refusal]);
        assert!(matches!(error, Error::NotOffered(_) | Error::Refused(_)), "{error}");
        assert_eq!(said, ["STLS"]);
    }
}

#[test]
fn capabilities_from_before_are_not_believed() {
    // In clear a mechanism was offered that within TLS is not: what counts is what is said within.
    let server = EvilServer::start(Misbehaviour::CapaUnknownSaslOnly, Mail::few());
    let file = pem(&[&server.certificate()]);
    runtime().block_on(async {
        let client = Client::connect(&url(&server, Security::Stls), &options(Some(&file))).await.unwrap();
        assert_eq!(client.capabilities().mechanisms().collect::<Vec<_>>(), ["X-NOBODY-KNOWS"]);
        assert_eq!(client.capabilities().stls(), Offer::No);
        client.quit().await.unwrap();
    });
    // They are not even asked for in clear.
    assert_eq!(server.commands(), ["STLS", "CAPA", "QUIT"]);
}

#[test]
fn a_tampered_greeting_is_not_believed() {
    // It came in clear: neither its time stamp makes a digest within TLS, which the attacker could guess passwords by, nor
    // does its text.
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = pem(&[made.cert.der()]);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    runtime().block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(async move {
            theirs.write_all(b"+OK ready <1.evil@attacker.example.org>\r\n").await.unwrap();
            theirs.read_exact(&mut [0; 6]).await.unwrap();
            theirs.write_all(b"+OK\r\n").await.unwrap();
            let mut tls = TlsAcceptor::from(Arc::new(config)).accept(theirs).await.unwrap();
            tls.read_exact(&mut [0; 6]).await.unwrap();
            tls.write_all(b"+OK\r\nSASL PLAIN\r\n.\r\n").await.unwrap();
            let mut rest = Vec::new();
            tls.read_to_end(&mut rest).await.unwrap_or_default();
            rest
        });
        let mut client =
            Client::over(ours, "localhost", Security::Stls, &options(Some(&file))).await.unwrap();
        let error = client.authenticate_with("APOP", &credentials()).await.unwrap_err();
        assert!(error.to_string().contains("came before TLS"), "{error}");
        drop(client);
        assert_eq!(server.await.unwrap(), b"", "nothing was said");
    });
}

#[test]
fn pre_authentication_is_no_login() {
    // POP3 has no PREAUTH; a server that says in clear that all is well, whatever it is asked, gets no further than STLS.
    for greeting in ["+OK john is logged in\r\n", "+OK [PREAUTH] maildrop has 1 message\r\n"] {
        runtime().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let server = tokio::spawn(async move {
                let (mut heard, mut octets) = (Vec::new(), [0; 4096]);
                theirs.write_all(greeting.as_bytes()).await.unwrap();
                while let Ok(count @ 1..) = theirs.read(&mut octets).await {
                    heard.extend_from_slice(&octets[..count]);
                    if theirs.write_all(b"+OK maildrop locked and ready\r\n").await.is_err() {
                        break;
                    }
                }
                heard
            });
            let options = Options { cleartext_passwords: true, ..options(None) };
            let error = Client::over(ours, "localhost", Security::Stls, &options).await.unwrap_err();
            assert!(matches!(error, Error::Tls(_)), "{error}");
            let heard = String::from_utf8_lossy(&server.await.unwrap()).into_owned();
            assert!(heard.starts_with("STLS\r\n"), "{heard}");
            assert!(!heard.contains("USER") && !heard.contains("PASS") && !heard.contains("AUTH"), "{heard}");
        });
    }
}

#[test]
fn a_server_that_goes_on_in_clear_is_left() {
    // `+OK` to STLS and then clear text, silence, or the end: no way of failing goes back to clear text.
    for evil in [Misbehaviour::StlsClearText, Misbehaviour::StlsClosed] {
        let (done, server) = attempt(evil);
        assert!(matches!(done, Err(Error::Tls(_))), "{evil:?}: {done:?}");
        no_login(&server);
    }
}

#[test]
fn a_certificate_of_another_name_is_not_taken() {
    let (done, server) = attempt(Misbehaviour::StlsWrongName);
    assert!(matches!(done, Err(Error::Tls(_))), "{done:?}");
    no_login(&server);
}

#[test]
fn a_certificate_of_a_stranger_is_not_taken() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = pem(&[stranger.cert.der()]);
    runtime().block_on(async {
        let connected = Client::connect(&url(&server, Security::Stls), &options(Some(&file))).await;
        assert!(matches!(connected, Err(Error::Tls(_))));
    });
    no_login(&server);
}

#[test]
fn referrals_lead_nowhere() {
    // IMAP has referrals, by which credentials are sent to somebody else's server. POP3 has none, and text that looks like one
    // is text.
    let refusal = "-ERR [REFERRAL pop3://eve@evil.example.org/] log in there\r\n";
    runtime().block_on(async {
        let (stream, server) = scripted(&["+OK\r\n", "-ERR\r\n", refusal]);
        let options = Options { cleartext_passwords: true, ..options(None) };
        let mut client = Client::over(stream, "localhost", Security::None, &options).await.unwrap();
        let error = client.authenticate_with("PLAIN", &credentials()).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        drop(client);
        assert_eq!(server.await.unwrap(), ["CAPA", "AUTH PLAIN"]);
    });
}
