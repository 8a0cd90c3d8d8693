//! curl: lists, unique-ids, single messages, TOP, DELE, and SASL, one message at a time.
//!
//! What curl changes in a message: it writes every octet as it is, dots unstuffed, CRLF kept; but a message of no octets
//! at all comes out as one empty line (seen in 7.88 and 8.14; the wire is right, as `openssl.rs` shows).
//! What it cannot do: by itself it neither fetches all messages nor remembers what it has; a script around it, here
//! this test, keeps the unique-ids. A command without a block in its answer needs `--head`, or curl waits for one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::Path;

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, fresh, with_security,
};

/// `curl: (67) the user name, password, or similar was not accepted`.
const LOGIN_DENIED: i32 = 67;
/// `curl: (60) the peer's certificate cannot be authenticated with known CA certificates`.
const CERTIFICATE_REFUSED: i32 = 60;

fn url(server: &Server, security: Security, path: &str) -> String {
    let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
    format!("{scheme}://localhost:{}/{path}", server.port(security))
}

fn bare(security: Security, authority: &Path) -> Program {
    let folder = authority.parent().expect("it is in a folder");
    let program =
        Program::new("curl", "curl", folder).args(["--disable", "--silent", "--show-error", "--cacert"]);
    let program = program.arg(authority);
    // STLS is not a wish but a condition.
    if security == Security::Stls { program.arg("--ssl-reqd") } else { program }
}

fn curl(server: &Server, security: Security) -> Program {
    bare(security, &server.authority()).arg("--user").arg(format!("{USER}:{PASSWORD}"))
}

/// One command and the answer's block.
fn ask(server: &Server, security: Security, command: &str) -> Outcome {
    curl(server, security).args(["--request", command]).arg(url(server, security, "")).run().succeeded()
}

/// The unique-ids by message number.
fn unique_ids(server: &Server, security: Security) -> Vec<(u32, String)> {
    let text = ask(server, security, "UIDL").text();
    text.lines()
        .map(|line| line.split_once(' ').expect("number and id"))
        .map(|(number, id)| (number.parse().unwrap(), id.to_owned()))
        .collect()
}

fn retrieve(server: &Server, security: Security, number: u32) -> Vec<u8> {
    curl(server, security).arg(url(server, security, &number.to_string())).run().succeeded().stdout
}

/// What curl makes of a letter.
fn received(letter: &Letter) -> Vec<u8> {
    if letter.stored.is_empty() { b"\r\n".to_vec() } else { letter.canonical() }
}

fn by_id<'a>(letters: &'a [Letter], id: &str) -> &'a Letter {
    letters.iter().find(|letter| letter.id == id).unwrap_or_else(|| panic!("no letter has the id {id}"))
}

#[test]
fn lists_and_retrieves_every_octet() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&Security::ALL, |security| {
        let ids = unique_ids(&server, security);
        assert_eq!(ids.len(), letters.len());
        let sizes: Vec<String> = curl(&server, security)
            .arg(url(&server, security, ""))
            .run()
            .succeeded()
            .text()
            .lines()
            .map(str::to_owned)
            .collect();
        let expected: Vec<String> = ids
            .iter()
            .map(|(number, id)| format!("{number} {}", by_id(&letters, id).canonical().len()))
            .collect();
        assert_eq!(sizes, expected);
        let mut got = Vec::new();
        for (number, id) in &ids {
            let octets = retrieve(&server, security, *number);
            assert!(octets == received(by_id(&letters, id)), "{:?}", by_id(&letters, id));
            got.push(octets);
        }
        let expected: Vec<_> = letters.iter().map(|letter| (letter.name, received(letter))).collect();
        assert_same(got, &expected);
    });
    assert_eq!(server.left().len(), letters.len());
    server.stop();
}

#[test]
fn one_connection_serves_many_urls() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&Security::ALL, |security| {
        // All but the last, the empty one (see above).
        let first = letters.len() - 1;
        let program = curl(&server, security)
            .args((1..=first).map(|number| url(&server, security, &number.to_string())));
        let got = program.run().succeeded().stdout;
        let ids = unique_ids(&server, security);
        let expected: Vec<u8> =
            ids[..first].iter().flat_map(|(_, id)| received(by_id(&letters, id))).collect();
        assert!(got == expected, "{} octets and not {}", got.len(), expected.len());
    });
    server.stop();
}

#[test]
fn top_sends_the_header_and_some_lines() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&Security::ALL, |security| {
        let ids = unique_ids(&server, security);
        let (number, id) =
            ids.iter().find(|(_, id)| by_id(&letters, id).name == "plain").expect("it is there");
        let whole = by_id(&letters, id).canonical();
        let body = whole.windows(4).position(|octets| octets == b"\r\n\r\n").expect("an empty line") + 4;
        assert_eq!(ask(&server, security, &format!("TOP {number} 0")).stdout, whole[..body]);
        let hello = b"Hello John,\r\n".len();
        assert_eq!(ask(&server, security, &format!("TOP {number} 1")).stdout, whole[..body + hello]);
        assert_eq!(ask(&server, security, &format!("TOP {number} 99")).stdout, whole);
    });
    server.stop();
}

#[test]
fn deletes_and_then_fetches_only_what_is_new() {
    with_security(&Security::ALL, |security| {
        let letters = corpus();
        let server = Server::start(&letters);
        let seen = unique_ids(&server, security);
        let (number, gone) = &seen[2];
        curl(&server, security)
            .args(["--head", "--request", &format!("DELE {number}")])
            .arg(url(&server, security, ""))
            .run()
            .succeeded();
        assert!(!server.left().contains(gone), "{gone} is still there");
        assert_eq!(server.left().len(), letters.len() - 1);

        server.deliver(&fresh());
        let now = unique_ids(&server, security);
        let new: Vec<_> = now.iter().filter(|(_, id)| !seen.iter().any(|(_, old)| old == id)).collect();
        let [(number, id)] = new.as_slice() else { panic!("one is new, not {new:?}") };
        assert_eq!(*id, fresh().id);
        assert_eq!(retrieve(&server, security, *number), fresh().canonical());
        assert_eq!(now.len(), letters.len());
        server.stop();
    });
}

#[test]
fn signs_in_by_plain_and_by_login() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&Security::ALL, |security| {
        for options in ["AUTH=PLAIN", "AUTH=LOGIN", "AUTH=*"] {
            for initial in [&["--sasl-ir"][..], &[]] {
                let list = curl(&server, security)
                    .args(["--login-options", options])
                    .args(initial)
                    .arg(url(&server, security, ""))
                    .run()
                    .succeeded();
                assert_eq!(list.text().lines().count(), letters.len());
            }
        }
    });
    server.stop();
}

#[test]
fn a_wrong_password_is_told() {
    with_security(&Security::ALL, |security| {
        // A server each: the second failure from one address is answered late, on purpose.
        for options in [&[][..], &["--login-options", "AUTH=LOGIN"]] {
            let server = Server::start(&corpus());
            bare(security, &server.authority())
                .args(["--user", "john:wrong"])
                .args(options)
                .arg(url(&server, security, ""))
                .run()
                .failed_with(LOGIN_DENIED);
            server.stop();
        }
    });
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let server = Server::start(&corpus());
    with_security(&[Security::Stls, Security::Tls], |security| {
        bare(security, &server.stranger())
            .arg("--user")
            .arg(format!("{USER}:{PASSWORD}"))
            .arg(url(&server, security, ""))
            .run()
            .failed_with(CERTIFICATE_REFUSED);
    });
    server.stop();
}
