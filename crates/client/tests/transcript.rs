//! What is written down of a session: a dialogue that can be read again, and no secret in it, whichever way the login goes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/fake.rs"]
mod fake;
#[path = "harness/mod.rs"]
mod harness;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use fake::Fake;
use harness::{credentials, options, pem, runtime, url};
use restante_client::{Client, Credentials, Error, Options, Security, Transcript};
use restante_proto::dialogue::Dialogue;
use restante_sasl::Needs;
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, Script, Tls, USER};

/// A place that everybody can look into.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<Vec<u8>>>);

impl Write for Place {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Place {
    fn transcript(&self) -> Transcript {
        let place = self.clone();
        Transcript::new(move || Ok(Box::new(place.clone())))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Everything that must not be seen: the password in each of its clothes.
fn secrets() -> Vec<String> {
    let plain = BASE64.encode(format!("\0{USER}\0{PASSWORD}"));
    // In the middle of base64 it looks otherwise at each of three places.
    let shifted = (0..3).map(|by| {
        let base64 = BASE64.encode(format!("{}{PASSWORD}", "x".repeat(by)));
        base64[4..base64.len() - 4].to_owned()
    });
    [PASSWORD.to_owned(), PASSWORD[..6].to_owned(), plain, BASE64.encode(PASSWORD)]
        .into_iter()
        .chain(shifted)
        .collect()
}

fn check(text: &str) {
    for secret in secrets() {
        assert!(!text.contains(&secret), "{secret} in\n{text}");
    }
    if let Err(error) = Dialogue::parse(text.as_bytes()) {
        panic!("{error}\n{text}");
    }
}

async fn talk(client: &mut Client, way: &str) -> Result<(), Error> {
    let token = restante_sasl::find(way).is_some_and(|mechanism| mechanism.needs == Needs::Token);
    let credentials =
        if token { Credentials::token(USER, PASSWORD.as_bytes().to_vec()) } else { credentials() };
    client.authenticate_with(way, &credentials).await?;
    let listing = client.listing().await?;
    let mut messages = client.messages(listing.numbers());
    while messages.next().await?.is_some() {}
    Ok(())
}

#[test]
fn no_way_to_log_in_leaves_a_secret_behind() {
    // The others never send the secret: their own tests show that.
    for way in ["PLAIN", "LOGIN", "USER", "APOP", "OAUTHBEARER", "XOAUTH2"] {
        for (pipelining, drips) in [(true, false), (false, false), (true, true)] {
            let place = Place::default();
            let mut server = Fake::new(vec![b"Subject: a\r\n\r\nopen Sesame\r\n".to_vec()]);
            server.drips = drips;
            server.capabilities =
                "TOP\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN OAUTHBEARER XOAUTH2\r\nPIPELINING\r\n";
            let heard = Arc::clone(&server.heard);
            let transcript = Some(place.transcript());
            let options = Options { cleartext_passwords: true, pipelining, transcript, ..Options::default() };
            runtime().block_on(async {
                let mut client = Client::over(server, "localhost", Security::None, &options).await.unwrap();
                talk(&mut client, way).await.unwrap();
                client.quit().await.unwrap();
            });
            let text = place.text();
            check(&text);
            if way == "APOP" {
                let heard = heard.lock().unwrap();
                let digest =
                    heard.iter().find_map(|line| line.strip_prefix(&format!("APOP {USER} "))).unwrap();
                assert!(!text.contains(digest), "{text}");
            }
            for line in ["STAT", "RETR 1", "QUIT"] {
                assert!(text.contains(line), "{way}: {text}");
            }
        }
    }
}

#[test]
fn nor_does_a_session_that_was_refused_or_broke_or_was_encrypted() {
    for evil in [
        Misbehaviour::Nothing,
        Misbehaviour::LoginRefused,
        Misbehaviour::UserRefused,
        Misbehaviour::LoginPlusErr,
        Misbehaviour::ClosedAfterLogin,
        Misbehaviour::AuthChallengesForEver,
        Misbehaviour::BodyClosed,
        Misbehaviour::ReplyTwice,
        Misbehaviour::OctetByOctet,
        Misbehaviour::StlsWrongName,
    ] {
        for (security, tls) in [
            (Security::None, Tls::Stls),
            (Security::Stls, Tls::Stls),
            (Security::Implicit, Tls::FromTheFirstOctet),
        ] {
            for way in ["PLAIN", "USER"] {
                let server = EvilServer::start(Script::from(evil).with_tls(tls), Mail::few());
                let (place, trusted) = (Place::default(), pem(&[&server.certificate()]));
                let with = options((security != Security::None).then_some(&trusted));
                let options = Options { transcript: Some(place.transcript()), ..with };
                let fine = runtime().block_on(async {
                    let mut client = Client::connect(&url(&server, security), &options).await?;
                    talk(&mut client, way).await?;
                    client.quit().await
                });
                let text = place.text();
                check(&text);
                let encrypted = fine.is_ok() && security != Security::None;
                assert!(!encrypted || text.contains("TLSv1.3"), "{text}");
            }
        }
    }
}

#[test]
fn a_transcript_that_cannot_be_written_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for transcript in [
        Transcript::new(|| Ok(Box::new(Full))),
        Transcript::new(|| Err(io::ErrorKind::PermissionDenied.into())),
    ] {
        let options = Options { transcript: Some(transcript), ..Options::default() };
        let done =
            runtime().block_on(Client::over(Fake::new(Vec::new()), "localhost", Security::None, &options));
        assert!(matches!(done, Err(Error::Transcript(_))), "{done:?}");
    }
}
