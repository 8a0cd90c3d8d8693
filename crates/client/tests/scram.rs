//! SCRAM (RFC 5802, RFC 7677) and tokens by the client: which mechanism is taken, what is never fallen back to, how a server
//! proves itself, and that nobody stands between where the login is bound to the channel.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/mod.rs"]
mod harness;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use harness::{LONG, runtime, scripted, within};
use restante_client::{
    Client, ClientError, Credentials, Error, Options, Security, Strength,
    tls::{TlsOptions, Trust, Version},
};
use restante_sasl::{
    ChannelBindings, Evidence, ServerContext, Step,
    scram::{Hash, Keys},
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
        DuplexStream,
    },
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PASSWORD: &[u8] = b"pencil";
/// All that a good server of this house offers.
const ALL: &str =
    "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\nUSER\r\n";
const NO_PLUS: &str = "SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\nUSER\r\n";
const WEAK: &str = "SASL PLAIN LOGIN\r\nUSER\r\n";

fn john() -> Credentials {
    Credentials::new("john", PASSWORD.to_vec())
}

/// What a server does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// It does not know the password, and lets everybody in, with a proof that is none.
    Proof,
    /// The same, without one.
    NoProof,
    /// It lets everybody in at once.
    AtOnce,
}

/// A session of a server that has SCRAM; what was said to it.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    greets: bool,
    offer: &str,
    bindings: ChannelBindings,
    wrong: Wrong,
) -> Vec<String> {
    let (mut stream, mut heard) = (BufReader::new(stream), Vec::new());
    if greets {
        stream.write_all(b"+OK ready\r\n").await.unwrap();
    }
    let context = ServerContext {
        nonce: "fyko+d2lbbFgONRv9qkxdawL".into(),
        hostname: "localhost".into(),
        plus_offered: !bindings.is_empty() && offer.contains("-PLUS"),
        bindings,
    };
    let password = if wrong == Wrong::Nothing { PASSWORD } else { b"not the password" };
    let mut exchange = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return heard;
        }
        heard.push(line.trim_end().to_owned());
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let mut step = match (&mut exchange, first) {
            (None, "CAPA") => {
                stream.write_all(format!("+OK\r\n{offer}.\r\n").as_bytes()).await.unwrap();
                continue;
            }
            (None, "AUTH") => {
                let mechanism = restante_sasl::find(words.next().unwrap()).unwrap();
                let mut half = (mechanism.server)(&context);
                let initial = words.next().map(|text| BASE64.decode(text).unwrap());
                let step = half.step(initial.as_deref());
                exchange = Some(half);
                step
            }
            (Some(half), _) => half.step(Some(&BASE64.decode(first).unwrap_or_default())),
            _ => {
                stream.write_all(b"+OK\r\n").await.unwrap();
                continue;
            }
        };
        let half = exchange.as_mut().unwrap();
        if let Step::Keys { hash, .. } = step {
            step = half.keys(&Keys::derive(hash, password, b"salt and pepper", 4096).unwrap());
        }
        let answer = match step {
            Step::Challenge(_) if wrong == Wrong::AtOnce => {
                exchange = None;
                "+OK come in\r\n".to_owned()
            }
            Step::Challenge(challenge) => format!("+ {}\r\n", BASE64.encode(challenge)),
            Step::Verify(Evidence::Proof { right }) if wrong == Wrong::Nothing => {
                match half.verified(right) {
                    Some(last) => {
                        stream.write_all(format!("+ {}\r\n", BASE64.encode(last)).as_bytes()).await.unwrap();
                        line.clear();
                        stream.read_line(&mut line).await.unwrap();
                        exchange = None;
                        if right { "+OK\r\n".to_owned() } else { "-ERR [AUTH] no\r\n".to_owned() }
                    }
                    None => {
                        exchange = None;
                        "-ERR [AUTH] no\r\n".to_owned()
                    }
                }
            }
            Step::Verify(_) if wrong == Wrong::Proof => {
                format!("+ {}\r\n", BASE64.encode(format!("v={}", BASE64.encode([7; 32]))))
            }
            _ => {
                exchange = None;
                match wrong {
                    Wrong::Nothing => "-ERR [AUTH] malformed\r\n".to_owned(),
                    _ => "+OK come in\r\n".to_owned(),
                }
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return heard;
        }
    }
}

/// A server's certificate, with what TLS needs of it.
struct Place {
    certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

fn place() -> Place {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    Place { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

fn options(trusted: &[&Place], version: Version) -> (Options, tempfile::NamedTempFile) {
    let certificates: Vec<&[u8]> = trusted.iter().map(|place| place.certificate.as_ref()).collect();
    let file = harness::pem(&certificates);
    let trust = Trust::File(file.path().to_owned());
    let tls = TlsOptions { trust, max_version: Some(version), ..TlsOptions::default() };
    (Options { timeouts: within(LONG), tls, ..Options::default() }, file)
}

/// A server behind TLS that offers this.
fn behind_tls(place: &Place, offer: &'static str, wrong: Wrong) -> (DuplexStream, JoinHandle<Vec<String>>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (acceptor, certificate) = (place.acceptor.clone(), place.certificate.clone());
    let served = tokio::spawn(async move {
        let Ok(stream) = acceptor.accept(theirs).await else { return Vec::new() };
        let tls = stream.get_ref().1;
        let exporter = (tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)).then(|| {
            tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap()
        });
        // rcgen signs by ECDSA with SHA-256.
        let end_point = Some(Sha256::digest(&certificate).to_vec());
        serve(stream, true, offer, ChannelBindings { exporter, end_point }, wrong).await
    });
    (ours, served)
}

/// Somebody who stands between with a certificate that the client trusts, and takes words out of what the server says.
fn between(mallory: &Place, server: &Place, far: DuplexStream, strips: &'static str) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (tls, _file) = options(&[server], Version::Tls13);
    let connector = TlsConnector::from(Arc::new(tls.tls.client_config().unwrap()));
    let acceptor = mallory.acceptor.clone();
    tokio::spawn(async move {
        let Ok(victim) = acceptor.accept(theirs).await else { return };
        let far = connector.connect(ServerName::try_from("localhost").unwrap(), far).await.unwrap();
        let (mut from_victim, mut to_victim) = tokio::io::split(victim);
        let (mut from_server, mut to_server) = tokio::io::split(far);
        let down = async {
            let mut octets = vec![0; 4096];
            while let Ok(count @ 1..) = from_server.read(&mut octets).await {
                let mut said = String::from_utf8_lossy(&octets[..count]).into_owned();
                for word in strips.split_whitespace() {
                    said = said.replace(&format!(" {word}"), "");
                }
                if to_victim.write_all(said.as_bytes()).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = down => {}
            _ = tokio::io::copy(&mut from_victim, &mut to_server) => {}
        }
    });
    ours
}

async fn connect(stream: DuplexStream, options: &Options) -> Client {
    Client::over(stream, "localhost", Security::Implicit, options).await.unwrap()
}

/// The mechanism that was taken.
fn taken(heard: &[String]) -> Option<&str> {
    heard.iter().find_map(|line| line.strip_prefix("AUTH ")).and_then(|rest| rest.split(' ').next())
}

#[test]
fn the_strongest_login_that_the_connection_carries_is_taken() {
    runtime().block_on(async {
        let server = place();
        for version in [Version::Tls13, Version::Tls12] {
            let (options, _file) = options(&[&server], version);
            for (offer, mechanism, strength) in [
                (ALL, "SCRAM-SHA-256-PLUS", Strength::Bound),
                (NO_PLUS, "SCRAM-SHA-256", Strength::Keys),
                ("SASL PLAIN SCRAM-SHA-1\r\n", "SCRAM-SHA-1", Strength::Keys),
                // Bound goes before a better hash.
                ("SASL SCRAM-SHA-256 SCRAM-SHA-1-PLUS\r\n", "SCRAM-SHA-1-PLUS", Strength::Bound),
            ] {
                let (stream, served) = behind_tls(&server, offer, Wrong::Nothing);
                let mut client = connect(stream, &options).await;
                let done = client.authenticate_at_least(&john(), Some(strength)).await.unwrap();
                assert_eq!(done, Some(strength));
                drop(client);
                assert_eq!(taken(&served.await.unwrap()), Some(mechanism));
            }
        }
    });
}

#[test]
fn without_tls_a_password_is_proven_where_it_may_not_be_shown() {
    runtime().block_on(async {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(serve(theirs, true, ALL, ChannelBindings::default(), Wrong::Nothing));
        let mut client = Client::over(ours, "localhost", Security::None, &Options::default()).await.unwrap();
        let error = client.authenticate_with("SCRAM-SHA-256-PLUS", &john()).await.unwrap_err();
        let why = ClientError::NoBinding;
        assert!(matches!(&error, Error::Exchange { why: told, .. } if *told == why), "{error}");
        drop(client);
        assert_eq!(served.await.unwrap(), ["CAPA"]);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(serve(theirs, true, ALL, ChannelBindings::default(), Wrong::Nothing));
        let mut client = Client::over(ours, "localhost", Security::None, &Options::default()).await.unwrap();
        assert_eq!(client.authenticate_at_least(&john(), None).await.unwrap(), Some(Strength::Keys));
        drop(client);
        assert_eq!(taken(&served.await.unwrap()), Some("SCRAM-SHA-256"));
    });
}

#[test]
fn a_list_that_was_stripped_leaves_a_client_that_knows_better_where_it_was() {
    runtime().block_on(async {
        let server = place();
        let (options, _file) = options(&[&server], Version::Tls13);
        for (offer, minimum) in [
            (WEAK, Strength::Keys),
            (WEAK, Strength::Bound),
            (NO_PLUS, Strength::Bound),
            ("USER\r\n", Strength::Keys),
            ("TOP\r\n", Strength::Keys),
            ("SASL CRAM-MD5 EXTERNAL XOAUTH2\r\n", Strength::Keys),
        ] {
            let (stream, served) = behind_tls(&server, offer, Wrong::Nothing);
            let mut client = connect(stream, &options).await;
            let error = client.authenticate_at_least(&john(), Some(minimum)).await.unwrap_err();
            assert!(matches!(&error, Error::TooWeak { minimum: told, .. } if *told == minimum), "{error}");
            assert!(!error.is_fatal());
            drop(client);
            assert_eq!(served.await.unwrap(), ["CAPA"], "{offer}: nothing was sent");
        }
    });
}

#[test]
fn what_was_refused_is_not_tried_in_a_weaker_way() {
    runtime().block_on(async {
        for refusal in ["-ERR [AUTH] no\r\n", "-ERR unknown command\r\n", "-ERR\r\n"] {
            let capabilities = format!("+OK\r\n{ALL}.\r\n");
            let (stream, server) = scripted(&["+OK\r\n", &capabilities, refusal]);
            let options = Options { cleartext_passwords: true, ..Options::default() };
            let mut client = harness::over(stream, &options).await.unwrap();
            let error = client.authenticate(&john()).await.unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            drop(client);
            let heard = server.await.unwrap();
            assert_eq!(heard.len(), 2, "{heard:?}");
        }
    });
}

#[test]
fn an_impostor_who_lets_everybody_in_is_left_without_a_word() {
    runtime().block_on(async {
        let server = place();
        let (options, _file) = options(&[&server], Version::Tls13);
        for (wrong, lines) in [(Wrong::Proof, 3), (Wrong::NoProof, 3), (Wrong::AtOnce, 2)] {
            let (stream, served) = behind_tls(&server, NO_PLUS, wrong);
            let mut client = connect(stream, &options).await;
            let error = client.authenticate(&john()).await.unwrap_err();
            assert!(matches!(error, Error::Impostor), "{error}");
            assert!(error.is_fatal() && error.to_string().contains("impostor"));
            // The connection was closed, while the client still lives.
            let heard = served.await.unwrap();
            assert_eq!(heard.len(), lines, "nothing behind the proof: {heard:?}");
            assert!(matches!(client.stat().await, Err(Error::Interrupted(_))));
        }
    });
}

#[test]
fn a_wrong_password_is_refused_with_the_codes_of_the_server() {
    runtime().block_on(async {
        let server = place();
        let (options, _file) = options(&[&server], Version::Tls13);
        let (stream, _served) = behind_tls(&server, ALL, Wrong::Nothing);
        let mut client = connect(stream, &options).await;
        let error = client.authenticate(&Credentials::new("john", b"pen".to_vec())).await.unwrap_err();
        assert_eq!(error.code(), Some(&restante_client::ResponseCode::Auth), "{error}");
        client.refresh_capabilities().await.unwrap();
    });
}

#[test]
fn too_much_hashing_is_not_done() {
    runtime().block_on(async {
        for iterations in ["1", "4095", "1000001", "4294967295"] {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let asks = tokio::spawn(async move {
                theirs.write_all(b"+OK\r\n").await.unwrap();
                let mut lines = BufReader::new(theirs);
                let (mut line, mut heard) = (String::new(), Vec::new());
                while lines.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let answer = match line.trim_end().split_once("AUTH SCRAM-SHA-256 ") {
                        None if line.starts_with("CAPA") => format!("+OK\r\n{NO_PLUS}.\r\n"),
                        None => "-ERR cancelled\r\n".to_owned(),
                        Some((_, first)) => {
                            let first = String::from_utf8(BASE64.decode(first).unwrap()).unwrap();
                            let nonce = first.split_once("r=").unwrap().1.to_owned();
                            let says = format!("r={nonce}server,s=c2FsdA==,i={iterations}");
                            format!("+ {}\r\n", BASE64.encode(says))
                        }
                    };
                    heard.push(std::mem::take(&mut line));
                    lines.write_all(answer.as_bytes()).await.unwrap();
                }
                heard
            });
            let mut client =
                Client::over(ours, "localhost", Security::None, &Options::default()).await.unwrap();
            let error = client.authenticate(&john()).await.unwrap_err();
            assert!(error.to_string().contains("iterations"), "{iterations}: {error}");
            drop(client);
            assert_eq!(asks.await.unwrap().last().map(String::as_str), Some("*\r\n"), "{iterations}");
        }
    });
}

#[test]
fn somebody_between_with_a_trusted_certificate_does_not_get_through() {
    runtime().block_on(async {
        let (server, mallory) = (place(), place());
        for version in [Version::Tls13, Version::Tls12] {
            let (options, _file) = options(&[&mallory, &server], version);
            // PLUS goes through, and its proof does not fit the server's connection.
            let (far, served) = behind_tls(&server, ALL, Wrong::Nothing);
            let mut client = connect(between(&mallory, &server, far, ""), &options).await;
            let error = client.authenticate(&john()).await.unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            drop(client);
            assert_eq!(taken(&served.await.unwrap()), Some("SCRAM-SHA-256-PLUS"));
            // PLUS is taken out of the list: the client says that it saw none (`y`), and the server refuses.
            let strips = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS";
            let (far, served) = behind_tls(&server, ALL, Wrong::Nothing);
            let mut client = connect(between(&mallory, &server, far, strips), &options).await;
            let error = client.authenticate(&john()).await.unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            drop(client);
            let heard = served.await.unwrap();
            assert_eq!(taken(&heard), Some("SCRAM-SHA-256"));
            let first = heard.iter().find_map(|line| line.strip_prefix("AUTH SCRAM-SHA-256 ")).unwrap();
            assert!(BASE64.decode(first).unwrap().starts_with(b"y,,"));
            // A client that remembers says nothing at all.
            let (far, served) = behind_tls(&server, ALL, Wrong::Nothing);
            let mut client = connect(between(&mallory, &server, far, strips), &options).await;
            let error = client.authenticate_at_least(&john(), Some(Strength::Bound)).await.unwrap_err();
            assert!(matches!(error, Error::TooWeak { .. }), "{error}");
            drop(client);
            assert_eq!(served.await.unwrap(), ["CAPA"]);
        }
    });
}

#[test]
fn tokens_go_in_one_line_or_two_and_never_where_a_password_goes() {
    let token = |octets: usize| Credentials::token("john", "t".repeat(octets).into_bytes());
    let options = Options { cleartext_passwords: true, ..Options::default() };
    let two_lines = Options { initial_response: false, ..options.clone() };
    runtime().block_on(async {
        for (options, octets, lines) in [(&options, 40, 1), (&options, 4096, 2), (&two_lines, 40, 2)] {
            for (offer, mechanism) in
                [("SASL PLAIN XOAUTH2\r\n", "XOAUTH2"), ("SASL XOAUTH2 OAUTHBEARER\r\n", "OAUTHBEARER")]
            {
                let capabilities = format!("+OK\r\n{offer}.\r\n");
                let mut says = vec!["+OK\r\n", &capabilities, "+OK\r\n"];
                if lines == 2 {
                    says.insert(2, "+ \r\n");
                }
                let (stream, server) = scripted(&says);
                let mut client = harness::over(stream, options).await.unwrap();
                client.authenticate(&token(octets)).await.unwrap();
                drop(client);
                let heard = server.await.unwrap();
                assert_eq!(heard.len(), 1 + lines, "{mechanism} {octets}");
                assert!(heard[1].starts_with(&format!("AUTH {mechanism}")));
            }
        }
        for offer in [WEAK, NO_PLUS, "USER\r\n"] {
            let capabilities = format!("+OK\r\n{offer}.\r\n");
            let (stream, server) = scripted(&["+OK\r\n", &capabilities]);
            let mut client = harness::over(stream, &options).await.unwrap();
            let error = client.authenticate(&token(40)).await.unwrap_err();
            assert!(matches!(error, Error::NotOffered(_)), "{error}");
            for way in ["PLAIN", "USER", "APOP"] {
                let error = client.authenticate_with(way, &token(40)).await.unwrap_err();
                assert!(matches!(error, Error::Unsuitable(_) | Error::NotOffered(_)), "{way}: {error}");
            }
            drop(client);
            assert_eq!(server.await.unwrap(), ["CAPA"]);
        }
    });
}

#[test]
fn why_a_token_was_refused_is_told_and_the_token_is_not() {
    let token = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg";
    let error = BASE64.encode(r#"{"status":"invalid_token","scope":"mail"}"#);
    let repeats = BASE64.encode(format!("user=john\x01auth=Bearer {token}\x01\x01"));
    let options = Options { cleartext_passwords: true, ..Options::default() };
    runtime().block_on(async {
        let challenge = format!("+ {error}\r\n");
        let (stream, _server) =
            scripted(&["+OK\r\n", "+OK\r\nSASL XOAUTH2\r\n.\r\n", &challenge, "-ERR [AUTH] no\r\n"]);
        let mut client = harness::over(stream, &options).await.unwrap();
        let error =
            client.authenticate(&Credentials::token("john", token.as_bytes().to_vec())).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("invalid_token"), "{error}");
        for said in [token.to_owned(), format!("bad token {}", &token[..20]), repeats] {
            let refusal = format!("-ERR {said}\r\n");
            let (stream, _server) = scripted(&["+OK\r\n", "+OK\r\nSASL XOAUTH2\r\n.\r\n", &refusal]);
            let mut client = harness::over(stream, &options).await.unwrap();
            let error = client
                .authenticate(&Credentials::token("john", token.as_bytes().to_vec()))
                .await
                .unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains("what is secret") && !told.contains(&token[..12]), "{told}");
        }
    });
}

#[test]
fn a_certificate_speaks_for_itself() {
    runtime().block_on(async {
        for (user, response) in [("", "="), ("john", "am9obg==")] {
            let (stream, server) = scripted(&["+OK\r\n", "+OK\r\nSASL PLAIN EXTERNAL\r\n.\r\n", "+OK\r\n"]);
            let mut client = harness::over(stream, &Options::default()).await.unwrap();
            client.authenticate(&Credentials::certificate(user)).await.unwrap();
            drop(client);
            assert_eq!(server.await.unwrap()[1], format!("AUTH EXTERNAL {response}"));
        }
    });
}

#[test]
fn what_rests_on_md5_is_never_chosen() {
    runtime().block_on(async {
        let (stream, server) = scripted(&["+OK\r\n", "+OK\r\nSASL CRAM-MD5 PLAIN\r\n.\r\n", "+OK\r\n"]);
        let options = Options { cleartext_passwords: true, ..Options::default() };
        let mut client = harness::over(stream, &options).await.unwrap();
        client.authenticate(&john()).await.unwrap();
        drop(client);
        assert!(server.await.unwrap()[1].starts_with("AUTH PLAIN"));
        assert_eq!(Hash::Sha256.mechanism(), "SCRAM-SHA-256");
        assert_eq!(Client::strength_of("CRAM-MD5"), None);
        assert_eq!(Client::strength_of("scram-sha-1-plus"), Some(Strength::Bound));
        assert_eq!(Client::strength_of("user"), Some(Strength::Password));
    });
}
