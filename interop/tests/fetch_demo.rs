//! The demo of the README: `restante serve --demo` in one terminal, `restante fetch` in the other.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Demo, Fetch, Origin, Security, assert_same, with_security};

#[test]
fn the_sample_mail_arrives_once() {
    with_security(&Security::ALL, |security| {
        let demo = Demo::start();
        let fetch = Fetch::new(&demo, security, "client");
        for keep in ["true", "true", "false", "false"] {
            fetch.run(&fetch.to_maildir(), &["--keep", keep]).succeeded();
            assert_same(fetch.in_maildir(), &Demo::sample());
        }
    });
}

#[test]
fn the_demo_itself_works() {
    let (demo, sample) = (Demo::start(), Demo::sample());
    assert!(sample.len() >= 5);
    assert!(demo.authority().is_file());
    assert_ne!(demo.pop3_port(Security::Plain), demo.pop3_port(Security::Tls));
}
