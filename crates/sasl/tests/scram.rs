//! SCRAM: the examples of RFC 5802 §5 and RFC 7677 §3 by both halves, both halves against each other, and an octet changed
//! anywhere. What each half refuses is in `scram_server.rs` and `scram_client.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;
use restante_sasl::{
    ChannelBindings, ClientContext, ClientExchange, Credentials, Evidence, ServerContext, ServerExchange,
    Step, find,
    scram::{Hash, Keys},
};

/// An exchange as an RFC prints it.
struct Example {
    mechanism: &'static str,
    hash: Hash,
    nonces: (&'static str, &'static str),
    salt: &'static str,
    /// What the client says, the server, the client, the server.
    messages: [&'static str; 4],
}

/// User `user` with the password `pencil`, both.
const EXAMPLES: [Example; 2] = [
    Example {
        mechanism: "SCRAM-SHA-1",
        hash: Hash::Sha1,
        nonces: ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"),
        salt: "QSXCR+Q6sek8bf92",
        messages: [
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    },
    Example {
        mechanism: "SCRAM-SHA-256",
        hash: Hash::Sha256,
        nonces: ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        messages: [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    },
];

impl Example {
    fn halves(&self) -> (Box<dyn ClientExchange>, Box<dyn ServerExchange>, Keys) {
        let mechanism = find(self.mechanism).unwrap();
        let client = ClientContext { nonce: self.nonces.0.into(), ..Default::default() };
        let server = ServerContext { nonce: self.nonces.1.into(), ..Default::default() };
        let keys = Keys::derive(self.hash, b"pencil", &BASE64.decode(self.salt).unwrap(), 4096).unwrap();
        let credentials = Credentials::new("user", b"pencil".to_vec());
        ((mechanism.client)(credentials, &client), (mechanism.server)(&server), keys)
    }
}

/// Who says yes, and what was said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    server: bool,
    client: bool,
    messages: Vec<Vec<u8>>,
}

/// Plays an exchange, with somebody in between who may change the message of each number.
fn play(
    (mut client, mut server, keys): (Box<dyn ClientExchange>, Box<dyn ServerExchange>, Keys),
    between: impl Fn(usize, &mut Vec<u8>),
) -> Outcome {
    let mut outcome = Outcome::default();
    let pass = |outcome: &mut Outcome, mut message: Vec<u8>| {
        between(outcome.messages.len(), &mut message);
        outcome.messages.push(message.clone());
        message
    };
    let first = pass(&mut outcome, client.initial().unwrap().expose().clone());
    let Step::Keys { .. } = server.step(Some(&first)) else { return outcome };
    let Step::Challenge(challenge) = server.keys(&keys) else { panic!("keys are answered by a challenge") };
    let challenge = pass(&mut outcome, challenge);
    let Ok(response) = client.respond(&challenge) else { return outcome };
    let response = pass(&mut outcome, response.expose().clone());
    match server.step(Some(&response)) {
        Step::Verify(Evidence::Proof { right }) => outcome.server = right,
        _ => return outcome,
    }
    match server.verified(outcome.server) {
        Some(last) => {
            assert!(outcome.server, "who is refused learns nothing");
            let last = pass(&mut outcome, last);
            let answer = client.respond(&last);
            outcome.client = client.accepted().is_ok();
            assert_eq!(answer.is_ok_and(|answer| answer.expose().is_empty()), outcome.client);
        }
        None => assert!(client.accepted().is_err(), "a server that proves nothing is not believed"),
    }
    outcome
}

#[test]
fn both_halves_say_what_the_examples_of_the_rfcs_say() {
    for example in EXAMPLES {
        let outcome = play(example.halves(), |_, _| {});
        assert!(outcome.server && outcome.client, "{}", example.mechanism);
        let said: Vec<_> = outcome.messages.iter().map(|octets| String::from_utf8_lossy(octets)).collect();
        assert_eq!(said, example.messages);
    }
}

#[test]
fn an_octet_changed_anywhere_lets_nobody_in() {
    for example in EXAMPLES {
        for (number, message) in example.messages.iter().enumerate() {
            for at in 0..message.len() {
                let outcome = play(example.halves(), |now, message| {
                    if now == number {
                        message[at] ^= 1;
                    }
                });
                // Behind the proof the server has said yes; the client does not believe what proves nothing.
                assert_eq!(outcome.server, number == 3, "octet {at} of {message}");
                assert!(!outcome.client, "octet {at} of {message}");
            }
        }
    }
}

/// RFC 5802 §2.2: passwords are prepared by SASLprep, so that one spelling stands for another.
#[test]
fn spellings_that_mean_the_same_are_the_same() {
    let mechanism = find("SCRAM-SHA-256").unwrap();
    for (kept, typed, same) in [
        ("IX", "\u{2168}", true),
        ("I\u{ad}X", "IX", true),
        ("caf\u{e9}", "cafe\u{301}", true),
        ("a b", "a\u{a0}b", true),
        ("pencil", "Pencil", false),
    ] {
        let client = ClientContext { nonce: "c".repeat(24), ..Default::default() };
        let server = ServerContext { nonce: "s".repeat(24), ..Default::default() };
        let keys = Keys::derive(Hash::Sha256, kept.as_bytes(), b"salt", 4096).unwrap();
        let credentials = Credentials::new("tim", typed.as_bytes().to_vec());
        let halves = ((mechanism.client)(credentials, &client), (mechanism.server)(&server), keys);
        assert_eq!(play(halves, |_, _| {}).client, same, "{kept:?} {typed:?}");
    }
    for password in ["", "\u{7}", "\u{1f980}", "\u{627}1"] {
        assert!(Keys::derive(Hash::Sha1, password.as_bytes(), b"salt", 4096).is_none(), "{password:?}");
    }
    assert!(Keys::derive(Hash::Sha1, b"\xff", b"salt", 4096).is_none());
}

#[test]
fn each_binding_binds_and_another_does_not() {
    let (exporter, end_point) = (Some(vec![7; 32]), Some(vec![9; 32]));
    let both = ChannelBindings { exporter, end_point: end_point.clone() };
    let old = ChannelBindings { exporter: None, end_point: end_point.clone() };
    let other = ChannelBindings { exporter: Some(vec![8; 32]), end_point };
    for (mechanism, hash) in [("SCRAM-SHA-256-PLUS", Hash::Sha256), ("SCRAM-SHA-1-PLUS", Hash::Sha1)] {
        for (ours, theirs, same, name) in [
            (&both, &both, true, "tls-exporter"),
            (&old, &old, true, "tls-server-end-point"),
            (&old, &both, true, "tls-server-end-point"),
            (&other, &both, false, "tls-exporter"),
        ] {
            let client = ClientContext {
                nonce: "c".repeat(24),
                bindings: ours.clone(),
                plus_offered: true,
                ..Default::default()
            };
            let server = ServerContext {
                nonce: "s".repeat(24),
                bindings: theirs.clone(),
                plus_offered: true,
                ..Default::default()
            };
            let keys = Keys::derive(hash, b"pencil", b"salt", 4096).unwrap();
            let credentials = Credentials::new("tim", b"pencil".to_vec());
            let mechanism = find(mechanism).unwrap();
            let halves = ((mechanism.client)(credentials, &client), (mechanism.server)(&server), keys);
            let outcome = play(halves, |_, _| {});
            assert_eq!((outcome.server, outcome.client), (same, same));
            assert!(outcome.messages[0].starts_with(format!("p={name},,n=tim,").as_bytes()));
        }
    }
}

#[test]
fn nothing_shows_a_secret() {
    for example in EXAMPLES {
        let (mut client, mut server, keys) = example.halves();
        let mut seen = format!("{client:?} {server:?} {keys:?}");
        let first = client.initial().unwrap();
        seen.push_str(&format!("{first:?} {:?}", server.step(Some(first.expose()))));
        let Step::Challenge(challenge) = server.keys(&keys) else { panic!("a challenge") };
        let last = client.respond(&challenge).unwrap();
        seen.push_str(&format!("{last:?} {:?} {client:?} {server:?}", server.step(Some(last.expose()))));
        for secret in ["pencil", example.nonces.0, example.nonces.1, "p="] {
            assert!(!seen.contains(secret), "{seen}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn who_knows_the_password_gets_in_and_nobody_else(
        user in "[a-zA-Z0-9=,@. äéßо日]{1,60}",
        password in "\\PC{1,40}",
        typed in "\\PC{1,40}",
        salt in prop::collection::vec(any::<u8>(), 1..64),
        iterations in 4096_u32..6000,
        nonces in ("[!-+\\--~]{18,64}", "[!-+\\--~]{18,64}"),
        which in 0_usize..4,
    ) {
        let hash = [Hash::Sha256, Hash::Sha1][which % 2];
        let name = format!("{}{}", hash.mechanism(), if which < 2 { "" } else { "-PLUS" });
        let mechanism = find(&name).unwrap();
        let bindings = ChannelBindings { exporter: Some(salt.clone()), end_point: None };
        let client = ClientContext { nonce: nonces.0, bindings: bindings.clone(), plus_offered: true, ..Default::default() };
        let server = ServerContext { nonce: nonces.1, bindings, plus_offered: true, ..Default::default() };
        let keys = Keys::derive(hash, password.as_bytes(), &salt, iterations);
        for typed in [&password, &typed] {
            let credentials = Credentials::new(user.as_str(), typed.as_bytes().to_vec());
            let mut client = (mechanism.client)(credentials, &client);
            let (Some(keys), Some(_)) = (&keys, client.initial()) else { continue };
            let again = Keys::derive(hash, typed.as_bytes(), &salt, iterations);
            let outcome = play((client, (mechanism.server)(&server), keys.clone()), |_, _| {});
            prop_assert_eq!(outcome.client, again.as_ref() == Some(keys));
            prop_assert_eq!(outcome.server, outcome.client);
        }
    }
}
