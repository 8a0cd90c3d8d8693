//! The limits of logins in a short time, by the verifier: who is refused, and who is let in all the
//! same. What a flood holds is in `flood.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use restante_auth::{MemoryDirectory, Settings, StoredPassword, Verdict, Verifier};
use restante_proto::{Secret, UserName};
use restante_sasl::scram::Hash;
use tokio::time::Instant;

fn verifier(settings: &Settings) -> Arc<Verifier> {
    let users = (0..100).map(|number| {
        let stored = StoredPassword::parse(b"{PLAIN}right").unwrap();
        (UserName::new(&format!("user{number}")).unwrap(), stored)
    });
    Arc::new(Verifier::new(Arc::new(MemoryDirectory::new(users)), settings))
}

fn limits(address: u32, user: u32, all: u32) -> Settings {
    Settings {
        threads: 1,
        failure_delay_first: Duration::ZERO,
        failure_delay_max: Duration::ZERO,
        logins_per_minute_per_address: address,
        failed_logins_per_minute_per_user: user,
        logins_per_second: all,
        ..Settings::default()
    }
}

fn at(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

async fn login(verifier: &Verifier, user: &str, password: &str, peer: IpAddr) -> Verdict {
    verifier.password(user, &Secret::new(password.as_bytes().to_vec()), peer).await
}

fn is_right(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted(_))
}

#[tokio::test(start_paused = true)]
async fn a_guessing_address_is_refused_and_others_are_not() {
    let verifier = verifier(&limits(10, 0, 0));
    assert!(is_right(&login(&verifier, "user1", "right", at(1)).await));
    for number in 0..10 {
        let verdict = login(&verifier, &format!("user{number}"), "wrong", at(1)).await;
        assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    }
    assert_eq!(login(&verifier, "user2", "right", at(1)).await, Verdict::TooMany { told: Some(1) });
    assert_eq!(login(&verifier, "user2", "right", at(1)).await, Verdict::TooMany { told: None });
    assert!(is_right(&login(&verifier, "user2", "right", at(2)).await), "elsewhere");
    assert!(is_right(&login(&verifier, "user1", "right", at(1)).await), "who is known there");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(is_right(&login(&verifier, "user2", "right", at(1)).await), "a token has come");
}

#[tokio::test(start_paused = true)]
async fn many_people_behind_one_address_log_in_as_often_as_they_like() {
    let verifier = verifier(&limits(10, 10, 0));
    for round in 0..20 {
        for number in 0..100 {
            assert!(is_right(&login(&verifier, &format!("user{number}"), "right", at(1)).await), "{round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn guessing_from_everywhere_delays_the_user_where_he_is_known() {
    let verifier = verifier(&limits(0, 6, 0));
    assert!(is_right(&login(&verifier, "user1", "right", at(1)).await));
    for number in 100..106 {
        assert!(matches!(login(&verifier, "user1", "wrong", at(number)).await, Verdict::Refused { .. }));
    }
    assert!(matches!(login(&verifier, "USER1", "right", at(200)).await, Verdict::TooMany { .. }));
    let begun = Instant::now();
    assert!(is_right(&login(&verifier, "user1", "right", at(1)).await));
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert!(is_right(&login(&verifier, "user2", "right", at(200)).await), "another user");
}

#[tokio::test(start_paused = true)]
async fn an_exchange_counts_once_and_not_at_all_if_it_is_right() {
    let verifier = verifier(&limits(3, 0, 0));
    for _ in 0..20 {
        let claim = verifier.keys("user1", Hash::Sha256, at(1)).await.unwrap();
        assert!(is_right(&verifier.proof(claim, true, at(1)).await));
    }
    // Those that are begun and left count: the keys cost something.
    for _ in 0..3 {
        verifier.keys("user2", Hash::Sha256, at(1)).await.unwrap();
    }
    assert!(matches!(verifier.keys("user2", Hash::Sha256, at(1)).await, Err(Verdict::TooMany { .. })));
}

#[tokio::test(start_paused = true)]
async fn all_together_are_bounded() {
    let verifier = verifier(&limits(0, 0, 10));
    let mut refused = 0;
    for number in 0..60 {
        let verdict = login(&verifier, "user1", "right", at(number)).await;
        refused += usize::from(matches!(verdict, Verdict::TooMany { .. }));
    }
    assert_eq!(refused, 10, "five seconds' worth is taken at once");
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_name_are_nobodys_elsewhere() {
    let verifier = verifier(&limits(0, 3, 0));
    let guess = async |peer| verifier.token(None, &Secret::new("guess".to_owned()), peer).await;
    for _ in 0..3 {
        assert!(matches!(guess(at(1)).await, Verdict::Refused { .. }));
    }
    assert!(matches!(guess(at(1)).await, Verdict::TooMany { .. }));
    assert!(matches!(guess(at(2)).await, Verdict::Refused { .. }));
}
