//! The login: which way is taken, what is never said in clear, and what a refusal means.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/fake.rs"]
mod fake;
#[path = "harness/mod.rs"]
mod harness;

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use fake::Fake;
use harness::{credentials, options, over, runtime, scripted, url};
use restante_client::{Client, Credentials, Error, Options, ResponseCode, Security, Verb};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};

fn john(password: &[u8]) -> Credentials {
    Credentials::new("john", password.to_vec())
}

fn clear() -> Options {
    Options { cleartext_passwords: true, ..Options::default() }
}

/// A session with a server of these capabilities, and what is said to it.
async fn with(capabilities: &'static str, options: &Options) -> (Client, Arc<Mutex<Vec<String>>>) {
    let mut server = Fake::new(vec![b"Subject: a\r\n\r\n".to_vec()]);
    server.capabilities = capabilities;
    let heard = Arc::clone(&server.heard);
    let client = Client::over(server, "localhost", Security::None, options).await.unwrap();
    (client, heard)
}

/// What is said behind CAPA.
fn said(heard: &Mutex<Vec<String>>) -> Vec<String> {
    heard.lock().unwrap()[1..].to_vec()
}

#[test]
fn the_strongest_way_on_offer_is_taken() {
    let plain = format!("AUTH PLAIN {}", BASE64.encode("\0john\0pw"));
    let (name, password) = (BASE64.encode("john"), BASE64.encode("pw"));
    let user = ["USER john".to_owned(), "PASS pw".to_owned()];
    runtime().block_on(async {
        for (capabilities, expected) in [
            ("SASL LOGIN PLAIN\r\nUSER\r\n", vec![plain.clone()]),
            ("sasl plain\r\n", vec![plain]),
            // LOGIN is USER in more words.
            ("SASL LOGIN\r\nUSER\r\n", user.to_vec()),
            ("SASL LOGIN\r\n", vec!["AUTH LOGIN".into(), name, password]),
            ("SASL X-UNKNOWN\r\n", user.to_vec()),
            ("USER\r\nPIPELINING\r\n", user.to_vec()),
            // It does not say that it knows USER.
            ("TOP\r\n", user.to_vec()),
        ] {
            let (mut client, heard) = with(capabilities, &clear()).await;
            client.authenticate(&john(b"pw")).await.unwrap();
            assert_eq!(said(&heard), expected, "{capabilities}");
        }
    });
}

#[test]
fn no_password_is_sent_in_clear_unless_that_was_allowed() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let options = Options { cleartext_passwords: false, ..options(None) };
    runtime().block_on(async {
        let mut client = Client::connect(&url(&server, Security::None), &options).await.unwrap();
        for way in ["", "PLAIN", "LOGIN", "USER", "user"] {
            let error = match way {
                "" => client.authenticate(&credentials()).await,
                // LOGIN is not offered, which is said first.
                way => client.authenticate_with(way, &credentials()).await,
            }
            .unwrap_err();
            let right = matches!(error, Error::Cleartext)
                || (way == "LOGIN" && matches!(error, Error::NotOffered(_)));
            assert!(right && !error.is_fatal(), "{way}: {error}");
        }
        client.quit().await.unwrap();
    });
    assert_eq!(server.commands(), ["CAPA", "QUIT"]);
}

#[test]
fn apop_is_used_where_it_is_named_and_never_else() {
    runtime().block_on(async {
        let (mut client, heard) = with("USER\r\n", &clear()).await;
        client.authenticate(&john(b"pw")).await.unwrap();
        assert_eq!(said(&heard), ["USER john", "PASS pw"], "though the greeting has a time stamp");
        // The example of RFC 1939 §7, over a connection that shows passwords to everybody.
        let greeting = "+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n";
        let (stream, server) = scripted(&[greeting, "-ERR\r\n", "+OK maildrop has 1 message\r\n"]);
        let mut client = over(stream, &Options::default()).await.unwrap();
        client.authenticate_with("apop", &Credentials::new("mrose", b"tanstaaf".to_vec())).await.unwrap();
        drop(client);
        assert_eq!(server.await.unwrap()[1..], ["APOP mrose c4c9334bac560ecc979e58001b3e22fb"]);
        // No time stamp, no APOP.
        let (stream, server) = scripted(&["+OK ready <none>\r\n", "-ERR\r\n"]);
        let mut client = over(stream, &Options::default()).await.unwrap();
        let error = client.authenticate_with("APOP", &john(b"pw")).await.unwrap_err();
        assert_eq!(error.to_string(), "the server does not offer APOP: its greeting has no time stamp");
        drop(client);
        assert_eq!(server.await.unwrap(), ["CAPA"]);
    });
}

#[test]
fn a_response_that_would_make_the_line_too_long_waits_for_the_challenge() {
    runtime().block_on(async {
        for (octets, at_once) in [(174, true), (175, false), (3000, false)] {
            let password = vec![b'p'; octets];
            let (mut client, heard) = with("SASL PLAIN\r\n", &clear()).await;
            client.authenticate(&john(&password)).await.unwrap();
            let response = BASE64.encode([&b"\0john\0"[..], &password].concat());
            let said = said(&heard);
            match at_once {
                true => assert_eq!(said, [format!("AUTH PLAIN {response}")]),
                false => assert_eq!(said, ["AUTH PLAIN".to_owned(), response]),
            }
            assert!(said[0].len() + "\r\n".len() <= 255);
        }
    });
}

#[test]
fn what_cannot_be_sent_is_not_sent() {
    runtime().block_on(async {
        let (mut client, heard) = with("SASL PLAIN LOGIN\r\nUSER\r\n", &clear()).await;
        for way in ["PLAIN", "LOGIN", "USER"] {
            for (user, password) in [("", &b"pw"[..]), ("jo\0hn", b"pw"), ("john", b"p\0w")] {
                let bad = Credentials::new(user, password.to_vec());
                let error = client.authenticate_with(way, &bad).await.unwrap_err();
                assert!(matches!(error, Error::Credentials(_)), "{way}: {error}");
            }
        }
        for (user, password) in
            [("jo hn", &b"pw"[..]), ("john", b"p\r\nDELE 1"), ("john\r\nQUIT", b"pw"), ("john", b"")]
        {
            let bad = Credentials::new(user, password.to_vec());
            let error = client.authenticate_with("USER", &bad).await.unwrap_err();
            assert!(matches!(error, Error::Credentials(_)), "{user}: {error}");
        }
        let error =
            client.authenticate_with("APOP", &Credentials::new("a\nb", b"pw".to_vec())).await.unwrap_err();
        assert!(matches!(error, Error::Credentials(_)), "{error}");
        assert!(said(&heard).is_empty());
        client.authenticate(&john(b"pw")).await.unwrap();
    });
}

#[test]
fn what_is_not_offered_is_not_tried() {
    runtime().block_on(async {
        let (mut client, heard) = with("SASL PLAIN X-OTHER\r\n", &clear()).await;
        let error = client.authenticate_with("login", &john(b"pw")).await.unwrap_err();
        assert_eq!(error.to_string(), "the server does not offer AUTH LOGIN; it offers PLAIN, X-OTHER");
        let error = client.authenticate_with("x-other", &john(b"pw")).await.unwrap_err();
        assert_eq!(error.to_string(), "the server does not offer X-OTHER, which this client does not know");
        assert!(said(&heard).is_empty());
    });
}

#[test]
fn without_capabilities_auth_has_no_initial_response() {
    runtime().block_on(async {
        let (stream, server) = scripted(&["+OK\r\n", "-ERR what is that?\r\n", "+ \r\n", "+OK\r\n"]);
        let mut client = over(stream, &clear()).await.unwrap();
        client.authenticate_with("PLAIN", &john(b"pw")).await.unwrap();
        drop(client);
        assert_eq!(server.await.unwrap()[1..], ["AUTH PLAIN".to_owned(), BASE64.encode("\0john\0pw")]);
    });
}

#[test]
fn where_auth_is_offered_and_not_there_user_and_pass_are_said() {
    let capabilities = "+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n";
    runtime().block_on(async {
        let (stream, server) =
            scripted(&["+OK\r\n", capabilities, "-ERR Unknown command\r\n", "+OK\r\n", "+OK\r\n"]);
        let mut client = over(stream, &clear()).await.unwrap();
        client.authenticate(&john(b"hunter2")).await.unwrap();
        drop(client);
        assert_eq!(server.await.unwrap()[2..], ["USER john", "PASS hunter2"]);
        // A wrong password is not tried twice.
        let (stream, server) = scripted(&["+OK\r\n", capabilities, "-ERR login failed\r\n"]);
        let mut client = over(stream, &clear()).await.unwrap();
        client.authenticate(&john(b"hunter2")).await.unwrap_err();
        drop(client);
        assert_eq!(server.await.unwrap().len(), 2);
    });
}

#[test]
fn a_server_that_repeats_the_password_is_not_repeated() {
    let plain = BASE64.encode("\0john\0hunter2 and more");
    let cut = format!("-ERR [X] bad: AUTH PLAIN {}\r\n", &plain[..24]);
    runtime().block_on(async {
        for (way, answers) in [
            ("PLAIN", vec![format!("-ERR unknown: AUTH PLAIN {plain}\r\n")]),
            ("PLAIN", vec![cut]),
            ("USER", vec!["+OK\r\n".into(), "-ERR what is PASS hunter2 and more?\r\n".into()]),
            ("USER", vec!["+OK\r\n".into(), "PASS hunter2 and more\r\n".into()]),
            (
                "LOGIN",
                vec![
                    "+ \r\n".into(),
                    "+ \r\n".into(),
                    format!("-ERR {}\r\n", BASE64.encode("hunter2 and more")),
                ],
            ),
        ] {
            let script: Vec<&str> =
                ["+OK\r\n", "-ERR\r\n"].into_iter().chain(answers.iter().map(String::as_str)).collect();
            let (stream, _server) = scripted(&script);
            let mut client = over(stream, &clear()).await.unwrap();
            let error = client.authenticate_with(way, &john(b"hunter2 and more")).await.unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains("what is secret"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains(&plain[8..20]), "{told}");
        }
    });
}

#[test]
fn a_listing_that_drips_is_given_up() {
    runtime().block_on(async {
        let (stream, mut far) = tokio::io::duplex(64);
        let dripping = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            far.write_all(b"+OK\r\n").await.unwrap();
            far.read_exact(&mut [0; 6]).await.unwrap();
            far.write_all(b"+OK\r\n").await.unwrap();
            while far.write_all(b"X\r\n").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        let mut options = clear();
        options.timeouts.answer = std::time::Duration::from_millis(200);
        let error = over(stream, &options).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut(_)), "{error}");
        dripping.await.unwrap();
    });
}

#[test]
fn a_refusal_says_whose_fault_it_is() {
    for (evil, code) in [
        (Misbehaviour::LoginRefusedAuth, Some(ResponseCode::Auth)),
        (Misbehaviour::LoginRefusedInUse, Some(ResponseCode::InUse)),
        (Misbehaviour::LoginRefusedSysTemp, Some(ResponseCode::SysTemp)),
        (Misbehaviour::LoginRefusedSysPerm, Some(ResponseCode::SysPerm)),
        (Misbehaviour::LoginRefusedLoginDelay, Some(ResponseCode::LoginDelay)),
        (Misbehaviour::LoginRefused, None),
    ] {
        for (way, verb) in [("PLAIN", Verb::Auth), ("USER", Verb::Pass)] {
            let server = EvilServer::start(evil, Mail::few());
            runtime().block_on(async {
                let mut client =
                    Client::connect(&url(&server, Security::None), &options(None)).await.unwrap();
                let error = client.authenticate_with(way, &credentials()).await.unwrap_err();
                let Error::Refused(refused) = &error else { panic!("{evil:?}: {error}") };
                assert_eq!((error.code(), refused.verb), (code.as_ref(), Some(verb)));
                assert!(client.capabilities().auth_resp_code());
                client.quit().await.unwrap();
            });
        }
    }
}

#[test]
fn where_user_is_refused_the_answer_to_pass_is_taken_too() {
    for pipelining in [true, false] {
        let server = EvilServer::start(Misbehaviour::UserRefused, Mail::few());
        let options = Options { pipelining, ..options(None) };
        runtime().block_on(async {
            let mut client = Client::connect(&url(&server, Security::None), &options).await.unwrap();
            let error = client.authenticate_with("USER", &credentials()).await.unwrap_err();
            assert!(matches!(&error, Error::Refused(refused) if refused.verb == Some(Verb::User)), "{error}");
            client.authenticate_with("PLAIN", &credentials()).await.unwrap();
            assert_eq!(client.stat().await.unwrap().messages, 5);
        });
        let pass = server.commands().iter().any(|command| command.starts_with("PASS"));
        assert_eq!(pass, pipelining);
    }
}

#[test]
fn a_cancelled_exchange_is_no_login_whatever_the_server_says() {
    runtime().block_on(async {
        for end in ["+OK come in\r\n", "-ERR cancelled\r\n"] {
            let capabilities = "+OK\r\nSASL PLAIN\r\n.\r\n";
            let (stream, server) = scripted(&["+OK\r\n", capabilities, "+ bW9yZQ==\r\n", end]);
            let mut client = over(stream, &clear()).await.unwrap();
            let error = client.authenticate(&john(b"pw")).await.unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{error}");
            assert!(matches!(client.stat().await, Err(Error::Interrupted(_))));
            drop(client);
            assert_eq!(server.await.unwrap()[2], "*");
        }
    });
}

#[test]
fn an_end_that_comes_with_the_challenge_is_no_answer_to_the_response() {
    runtime().block_on(async {
        let (stream, server) = scripted(&["+OK\r\n", "-ERR\r\n", "+ \r\n+OK come in\r\n"]);
        let mut client = over(stream, &clear()).await.unwrap();
        let error = client.authenticate_with("PLAIN", &john(b"pw")).await.unwrap_err();
        assert_eq!(error.to_string(), "the server said without being asked: «+OK come in»");
        drop(client);
        assert_eq!(server.await.unwrap(), ["CAPA", "AUTH PLAIN"], "the password was not sent");
    });
}

#[test]
fn an_answer_that_makes_no_sense_is_told_and_the_session_goes_on() {
    runtime().block_on(async {
        let says = ["+OK\r\n", "-ERR\r\n", "+OK\r\n", "+OK\r\n", "+OK some\x1b[2J messages\r\n", "+OK\r\n"];
        let (stream, _server) = scripted(&says);
        let mut client = over(stream, &clear()).await.unwrap();
        client.authenticate(&john(b"pw")).await.unwrap();
        let error = client.stat().await.unwrap_err();
        assert_eq!(error.to_string(), "the answer to STAT cannot be understood: «some?[2J messages»");
        client.noop().await.unwrap();
    });
}
