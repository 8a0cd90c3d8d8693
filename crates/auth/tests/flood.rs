//! What a flood of wrong logins holds while it waits for its answers: no thread. Alone in its process, whose threads are counted.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use restante_auth::{MemoryDirectory, Settings, StoredPassword, Verdict, Verifier};
use restante_proto::{Secret, UserName};
use tokio::{task::JoinSet, time::Instant};

fn verifier(settings: &Settings) -> Arc<Verifier> {
    let users = (0..100).map(|number| {
        let stored = StoredPassword::parse(b"{PLAIN}right").unwrap();
        (UserName::new(&format!("user{number}")).unwrap(), stored)
    });
    Arc::new(Verifier::new(Arc::new(MemoryDirectory::new(users)), settings))
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

/// The threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_waits_for_its_answers_holds_no_thread() {
    let settings = Settings {
        failure_delay_first: Duration::from_secs(15),
        failure_delay_max: Duration::from_secs(15),
        ..Settings::default()
    };
    let verifier = verifier(&settings);
    let _warm = login(&verifier, "user0", "wrong", at(0)).await;
    let before = threads();
    let mut flood = JoinSet::new();
    for number in 0..5000 {
        let verifier = Arc::clone(&verifier);
        flood.spawn(async move {
            login(&verifier, &format!("user{}", number % 50), "wrong", at(number % 500)).await
        });
    }
    tokio::task::yield_now().await;
    assert_eq!(threads(), before);
    let begun = Instant::now();
    assert!(is_right(&login(&verifier, "user99", "right", at(10_000)).await));
    assert_eq!(begun.elapsed(), Duration::ZERO, "others do not wait");
    assert!(flood.len() > 1000, "they wait still");
}
