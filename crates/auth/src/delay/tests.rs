//! The book of failures: growth, forgiveness, ageing, bounds.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn delays() -> Delays {
    Delays::new(&Settings::default())
}

fn peer(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// Fails `times` times, and gives the delays in seconds.
fn fail(delays: &Delays, user: &str, address: &str, times: usize, now: Instant) -> Vec<u64> {
    let attempt = delays.attempt(user, peer(address));
    (0..times).map(|_| (delays.failed(attempt, now) - now).as_secs()).collect()
}

#[test]
fn delays_grow_to_the_most_and_not_further() {
    let now = Instant::now();
    assert_eq!(fail(&delays(), "ann", "192.0.2.1", 8, now), [0, 1, 2, 4, 8, 15, 15, 15]);
    let delays = delays();
    fail(&delays, "ann", "192.0.2.1", 200, now);
    assert_eq!(fail(&delays, "ann", "192.0.2.1", 1, now), [15]);
}

#[test]
fn failures_count_by_address_and_by_user() {
    let (delays, now) = (delays(), Instant::now());
    assert_eq!(fail(&delays, "ann", "192.0.2.1", 3, now), [0, 1, 2]);
    assert_eq!(fail(&delays, "bob", "192.0.2.1", 1, now), [4], "the same address");
    assert_eq!(fail(&delays, "ANN", "192.0.2.2", 1, now), [4], "the same user");
    assert_eq!(fail(&delays, "bob", "192.0.2.3", 1, now), [1]);
    assert_eq!(fail(&delays, "carl", "192.0.2.4", 1, now), [0]);
}

#[test]
fn an_ipv6_customer_is_a_64_and_a_mapped_address_is_an_ipv4_one() {
    let (delays, now) = (delays(), Instant::now());
    assert_eq!(fail(&delays, "a", "2001:db8:0:1::1", 1, now), [0]);
    assert_eq!(fail(&delays, "b", "2001:db8:0:1:ffff::2", 1, now), [1]);
    assert_eq!(fail(&delays, "c", "2001:db8:0:2::1", 1, now), [0]);
    assert_eq!(fail(&delays, "d", "192.0.2.1", 1, now), [0]);
    assert_eq!(fail(&delays, "e", "::ffff:192.0.2.1", 1, now), [1]);
    assert_eq!(fail(&delays, "f", "::ffff:192.0.2.2", 1, now), [0], "all mapped addresses are one /64");
}

#[test]
fn a_success_forgives_the_pair_and_nobody_else() {
    let (delays, now) = (delays(), Instant::now());
    fail(&delays, "ann", "192.0.2.1", 3, now);
    delays.succeeded(delays.attempt("Ann", peer("192.0.2.1")), now);
    assert_eq!(fail(&delays, "ann", "192.0.2.1", 1, now), [0]);

    // A guesser's own account does not clear the address; the owner's login elsewhere does not clear the user.
    fail(&delays, "bob", "192.0.2.66", 3, now);
    delays.succeeded(delays.attempt("mallory", peer("192.0.2.66")), now);
    delays.succeeded(delays.attempt("bob", peer("192.0.2.7")), now);
    assert_eq!(fail(&delays, "carl", "192.0.2.66", 1, now), [4]);
    assert_eq!(fail(&delays, "bob", "192.0.2.8", 1, now), [4]);
}

#[test]
fn failures_are_forgotten() {
    let (delays, now) = (delays(), Instant::now());
    fail(&delays, "ann", "192.0.2.1", 5, now);
    let later = now + Settings::default().failures_forgotten_after;
    assert_eq!(fail(&delays, "ann", "192.0.2.1", 1, later - SECOND), [15]);
    assert_eq!(
        fail(&delays, "ann", "192.0.2.1", 2, later + Settings::default().failures_forgotten_after),
        [0, 1]
    );
}

#[test]
fn what_is_forgotten_is_not_forgiven_a_second_time() {
    let (delays, now) = (delays(), Instant::now());
    fail(&delays, "ann", "192.0.2.1", 5, now);
    let later = now + Settings::default().failures_forgotten_after;
    fail(&delays, "bob", "192.0.2.1", 3, later);
    delays.succeeded(delays.attempt("ann", peer("192.0.2.1")), later);
    assert_eq!(fail(&delays, "carl", "192.0.2.1", 1, later), [4]);
}

/// The book is full, and an address is dropped and noted again, but the pair is not.
#[test]
fn what_was_dropped_with_an_address_is_not_forgiven_to_others() {
    let (delays, now) = (delays(), Instant::now());
    fail(&delays, "ann", "192.0.2.1", 5, now);
    delays.book().addresses.entries.remove(&peer("192.0.2.1"));
    delays.book().users.entries.clear();
    assert_eq!(fail(&delays, "bob", "192.0.2.1", 3, now), [0, 1, 2]);
    delays.succeeded(delays.attempt("ann", peer("192.0.2.1")), now);
    assert_eq!(fail(&delays, "carl", "192.0.2.1", 1, now), [4]);
}

#[test]
fn names_and_addresses_without_number_take_bounded_room() {
    let (delays, now) = (delays(), Instant::now());
    for number in 0..REMEMBERED_MAX as u32 + 5000 {
        let at = now + Duration::from_millis(u64::from(number));
        let address = IpAddr::V4((0x0a00_0000 + number).into());
        delays.failed(delays.attempt(&format!("nobody{number}"), address), at);
        delays.failed(delays.attempt(&format!("nobody{number}"), address), at);
    }
    let book = delays.book();
    for length in [book.addresses.entries.len(), book.users.entries.len(), book.pairs.entries.len()] {
        assert!(length <= REMEMBERED_MAX, "{length}");
        assert!(length > REMEMBERED_MAX / 2, "{length}");
    }
}

#[test]
fn the_oldest_are_forgotten_first_and_equals_are_not_all() {
    let mut table = Table::default();
    let now = Instant::now();
    for key in 0..REMEMBERED_MAX {
        table.add(key, now, SECOND);
    }
    table.add(0, now + SECOND / 4, SECOND);
    table.add(REMEMBERED_MAX, now + SECOND / 2, SECOND);
    assert!(table.entries.contains_key(&0) && table.entries.contains_key(&REMEMBERED_MAX));
    assert!(table.entries.len() > REMEMBERED_MAX / 2, "{}", table.entries.len());
}
