//! The registry: names, what each mechanism needs and shows, and the order in which they are preferred.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_sasl::{CredentialKind, MECHANISMS, Needs, find};

#[test]
fn it_names_each_mechanism_once_in_capitals() {
    for (index, mechanism) in MECHANISMS.iter().enumerate() {
        assert_eq!(mechanism.name, mechanism.name.to_ascii_uppercase());
        assert!(matches!(mechanism.name.len(), 1..=20), "RFC 4422 \u{a7}3.1");
        assert!(MECHANISMS[..index].iter().all(|other| other.name != mechanism.name));
        assert_eq!(find(&mechanism.name.to_ascii_lowercase()).unwrap().name, mechanism.name);
    }
}

#[test]
fn what_shows_a_password_or_a_token_needs_tls_and_what_binds_is_named_so() {
    for mechanism in MECHANISMS {
        let shows = matches!(mechanism.needs, Needs::Password | Needs::Token);
        assert_eq!(mechanism.cleartext, shows, "{}", mechanism.name);
        assert_eq!(mechanism.binding, mechanism.name.ends_with("-PLUS"), "{}", mechanism.name);
        assert_eq!(mechanism.by_name_only, mechanism.needs == Needs::Plaintext, "{}", mechanism.name);
    }
}

/// With a binding before without, SHA-256 before SHA-1, and what shows the password last.
#[test]
fn the_strongest_for_a_password_comes_first() {
    let of = |kind| {
        let usable = MECHANISMS.iter().filter(move |mechanism| mechanism.takes(kind));
        usable.map(|mechanism| mechanism.name).collect::<Vec<_>>()
    };
    let by_password = [
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1",
        "CRAM-MD5",
        "PLAIN",
        "LOGIN",
    ];
    assert_eq!(of(CredentialKind::Password), by_password);
    assert_eq!(of(CredentialKind::Token), ["OAUTHBEARER", "XOAUTH2"]);
    assert_eq!(of(CredentialKind::Certificate), ["EXTERNAL"]);
}
