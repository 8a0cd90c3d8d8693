//! The verifier: one verdict for all that is wrong, after the same work; delays; a full queue; a broken directory.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use md5::{Digest as _, Md5};
use restante_auth::{
    Account, Directory, Entry, MemoryDirectory, Settings, StoredPassword, Verdict, Verifier,
    directory::{Lookup, LookupError, Task},
    scheme::PasswordHash,
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Credentials, Needs};
use tokio::time::Instant;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

const REFUSED: Verdict = Verdict::Refused { known: true };
const UNKNOWN: Verdict = Verdict::Refused { known: false };

fn secret(password: impl AsRef<[u8]>) -> Secret<Vec<u8>> {
    Secret::new(password.as_ref().to_vec())
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// Ann, whose password is "tan staaf".
fn ann() -> Arc<dyn Directory> {
    Arc::new(MemoryDirectory::new([(name("ann"), StoredPassword::parse(b"{PLAIN}tan staaf").unwrap())]))
}

fn verifier() -> Verifier {
    Verifier::new(ann(), &Settings::default())
}

/// What a verdict is, and how many seconds it took on the paused clock.
async fn timed(verdict: impl Future<Output = Verdict>) -> (Verdict, u64) {
    let begin = Instant::now();
    let verdict = verdict.await;
    (verdict, begin.elapsed().as_secs())
}

/// A hash that counts how often it is computed, and waits for a gate where it has one.
struct Counting {
    password: &'static [u8],
    computed: Arc<AtomicUsize>,
    gate: Option<Mutex<mpsc::Receiver<()>>>,
}

impl PasswordHash for Counting {
    fn verify(&self, password: &[u8]) -> bool {
        self.computed.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            assert!(gate.lock().unwrap().recv().is_err(), "the gate opens by being dropped");
        }
        password == self.password
    }

    fn cost(&self) -> String {
        "counted".to_owned()
    }
}

/// One user, ann, and a stand-in of the same kind.
#[derive(Debug)]
struct CountingDirectory {
    ann: StoredPassword,
    stand_in: StoredPassword,
}

impl Directory for CountingDirectory {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        let entry = || Lookup::Known(Box::new(Entry::new(user.clone(), self.ann.clone())));
        Box::pin(async move { Ok(if user.as_str() == "ann" { entry() } else { Lookup::Unknown }) })
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Password
    }

    fn stand_in(&self, _: &str) -> Option<StoredPassword> {
        Some(self.stand_in.clone())
    }
}

fn counting(computed: &Arc<AtomicUsize>, gate: Option<mpsc::Receiver<()>>) -> Arc<CountingDirectory> {
    let hash = |password, gate| {
        let hash = Counting { password, computed: Arc::clone(computed), gate };
        StoredPassword::custom("COUNTED", Arc::new(hash))
    };
    // The stand-in's password is known on purpose: even who knows it is refused.
    Arc::new(CountingDirectory { ann: hash(b"a", gate.map(Mutex::new)), stand_in: hash(b"stand-in", None) })
}

#[tokio::test(start_paused = true)]
async fn the_owner_logs_in_at_once_under_the_folded_name() {
    let verifier = verifier();
    assert_eq!(
        timed(verifier.password("Ann", &secret("tan staaf"), PEER)).await,
        (Verdict::Accepted(Account::new(name("ann"))), 0)
    );
    let credentials = Credentials::new("ANN", secret("tan staaf"));
    assert_eq!(verifier.credentials(&credentials, PEER).await, Verdict::Accepted(Account::new(name("ann"))));
}

/// Unknown, illegal and empty names, empty, overlong and wrong passwords: one hash each, one verdict, one delay.
#[tokio::test(start_paused = true)]
async fn all_that_is_wrong_costs_the_same_and_looks_the_same() {
    for (user, password) in [
        ("ann", secret("wrong")),
        ("ANN", secret("")),
        ("ann", secret([b'a'; 5000])),
        ("nobody", secret("wrong")),
        ("nobody", secret("stand-in")),
        ("nobody", secret("")),
        ("../ann", secret("stand-in")),
        ("ann\0", secret("a")),
        ("", secret("stand-in")),
        ("", secret("")),
    ] {
        let computed = Arc::new(AtomicUsize::new(0));
        let verifier = Verifier::new(counting(&computed, None), &Settings::default());
        for (hashes, delay) in [(1, 0), (2, 1), (3, 2)] {
            let answer = timed(verifier.password(user, &password, PEER)).await;
            // What the log may know, the client does not.
            let known = user.eq_ignore_ascii_case("ann");
            assert_eq!(answer, (Verdict::Refused { known }, delay), "{user:?}");
            assert_eq!(computed.load(Ordering::SeqCst), hashes, "{user:?}");
        }
    }
    let computed = Arc::new(AtomicUsize::new(0));
    let verifier = Verifier::new(counting(&computed, None), &Settings::default());
    assert_eq!(
        verifier.password("ann", &secret("a"), PEER).await,
        Verdict::Accepted(Account::new(name("ann")))
    );
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_and_longer_and_the_owner_never() {
    let verifier = verifier();
    for delay in [0, 1, 2, 4, 8, 15, 15] {
        assert_eq!(timed(verifier.password("ann", &secret("wrong"), PEER)).await, (REFUSED, delay));
    }
    for peer in [ELSEWHERE, PEER] {
        let right = timed(verifier.password("ann", &secret("tan staaf"), peer)).await;
        assert_eq!(right, (Verdict::Accepted(Account::new(name("ann"))), 0));
    }
    // The owner was at PEER all the time, it seems: forgiven.
    assert_eq!(timed(verifier.password("ann", &secret("wrong"), PEER)).await, (REFUSED, 0));
}

/// A waiting answer holds no thread: with a pool of one, many wait at the same time while the owner logs in.
#[tokio::test(start_paused = true)]
async fn waiting_holds_no_thread() {
    let verifier = Arc::new(Verifier::new(ann(), &Settings { threads: 1, queue: 64, ..Settings::default() }));
    let begin = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for octet in 1..=40 {
        let verifier = Arc::clone(&verifier);
        let peer = IpAddr::V4(Ipv4Addr::new(198, 51, 100, octet));
        waiting.spawn(async move { verifier.password("ann", &secret("wrong"), peer).await });
    }
    assert!(waiting.join_all().await.iter().all(|verdict| *verdict == REFUSED));
    assert_eq!(begin.elapsed().as_secs(), 15);
}

/// Guesses at these names from one address, hanging up as soon as the guess is noted.
async fn guess_and_hang_up(verifier: &Verifier, users: impl IntoIterator<Item = String>) {
    let wrong = secret("wrong");
    for user in users {
        // Long enough to be hashed and noted, not long enough to be answered.
        let guess = verifier.password(&user, &wrong, PEER);
        drop(tokio::time::timeout(Duration::from_millis(1), guess).await);
    }
}

/// An address that has all its answers outstanding waits for a turn; others are not held up. It does not help to hang
/// up.
#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_answers_to_wait_for() {
    let verifier = Verifier::new(ann(), &Settings { waiting_per_address: 2, ..Settings::default() });
    guess_and_hang_up(&verifier, ["a", "b", "c"].map(String::from)).await;
    let elsewhere = timed(verifier.password("ann", &secret("tan staaf"), ELSEWHERE)).await;
    assert_eq!(elsewhere, (Verdict::Accepted(Account::new(name("ann"))), 0));
    // Noted at 1 and 2 ms, due a second or two later.
    let begin = Instant::now();
    assert!(matches!(verifier.apop("bob", "<1@x>", &[0; 16], PEER).await, Verdict::Refused { .. }));
    assert!(
        begin.elapsed() > Duration::from_millis(900 + 4000),
        "a turn after a second, an answer after four"
    );
}

/// A right password gets in behind an address that somebody guesses from: at once where its owner has logged in from
/// there, in turn where not.
#[tokio::test(start_paused = true)]
async fn a_guesser_locks_nobody_out_behind_the_same_address() {
    for guessed in ["ann", "nobody"] {
        let verifier = verifier();
        guess_and_hang_up(&verifier, (0..40).map(|_| guessed.to_owned())).await;
        let (verdict, waited) = timed(verifier.password("ann", &secret("tan staaf"), PEER)).await;
        assert_eq!(verdict, Verdict::Accepted(Account::new(name("ann"))), "{guessed}");
        assert!(waited <= 15, "{guessed}: {waited}");
        for round in 0..3 {
            guess_and_hang_up(&verifier, (0..40).map(|number| format!("nobody{round}-{number}"))).await;
            let known = timed(verifier.password("ann", &secret("tan staaf"), PEER)).await;
            assert_eq!(known, (Verdict::Accepted(Account::new(name("ann"))), 0));
        }
    }
}

/// Many guesses at once are no more guesses than one after the other, and the honest user is next.
#[tokio::test(start_paused = true)]
async fn guessing_in_parallel_buys_nothing() {
    let computed = Arc::new(AtomicUsize::new(0));
    let settings = Settings { waiting_per_address: 3, ..Settings::default() };
    let verifier = Arc::new(Verifier::new(counting(&computed, None), &settings));
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let verifier = Arc::clone(&verifier);
        guesses.spawn(async move { verifier.password("bob", &secret("wrong"), PEER).await });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The first failure is answered at once and gives its place to the next guess.
    assert_eq!(computed.load(Ordering::SeqCst), 4);
    let (verdict, waited) = timed(verifier.password("ann", &secret("a"), PEER)).await;
    assert_eq!(verdict, Verdict::Accepted(Account::new(name("ann"))));
    assert!(waited <= 1, "{waited}");
    guesses.abort_all();
}

#[tokio::test]
async fn a_full_queue_is_busy_and_not_a_refusal() {
    let (open, gate) = mpsc::channel();
    let computed = Arc::new(AtomicUsize::new(0));
    let settings = Settings { threads: 1, queue: 0, ..Settings::default() };
    let verifier = Arc::new(Verifier::new(counting(&computed, Some(gate)), &settings));
    let first = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verifier.password("ann", &secret("a"), PEER).await }
    });
    while computed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(verifier.password("ann", &secret("a"), ELSEWHERE).await, Verdict::Busy);
    assert_eq!(verifier.password("nobody", &secret("a"), ELSEWHERE).await, Verdict::Busy);
    drop(open);
    assert_eq!(first.await.unwrap(), Verdict::Accepted(Account::new(name("ann"))));
    assert_eq!(
        verifier.password("ann", &secret("a"), ELSEWHERE).await,
        Verdict::Accepted(Account::new(name("ann")))
    );
    assert_eq!(computed.load(Ordering::SeqCst), 2);
}

/// A client that hangs up while its guess is hashed has failed all the same.
#[tokio::test(start_paused = true)]
async fn hanging_up_early_is_a_failure() {
    let (open, gate) = mpsc::channel();
    let computed = Arc::new(AtomicUsize::new(0));
    let settings = Settings { threads: 1, ..Settings::default() };
    let verifier = Arc::new(Verifier::new(counting(&computed, Some(gate)), &settings));
    let guess = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verifier.password("ann", &secret("wrong"), PEER).await }
    });
    while computed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    guess.abort();
    assert!(guess.await.unwrap_err().is_cancelled());
    drop(open);
    // The pool has one thread, so that this guess is hashed after the first one was noted.
    assert_eq!(timed(verifier.password("ann", &secret("wrong"), PEER)).await, (REFUSED, 1));
}

#[derive(Debug)]
struct BrokenDirectory;

impl Directory for BrokenDirectory {
    fn lookup<'a>(&'a self, _: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        Box::pin(async { Err(LookupError::Broken { context: "asking".to_owned(), source }) })
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Password
    }

    fn stand_in(&self, _: &str) -> Option<StoredPassword> {
        Some(StoredPassword::stand_in())
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_directory_is_not_a_wrong_password() {
    let verifier = Verifier::new(Arc::new(BrokenDirectory), &Settings::default());
    for _ in 0..5 {
        assert_eq!(timed(verifier.password("ann", &secret("a"), PEER)).await, (Verdict::Failed, 0));
        assert_eq!(verifier.apop("ann", "<1@x>", &[0; 16], PEER).await, Verdict::Failed);
    }
}

/// RFC 1939 §7: `<1896.697170952@dbc.mtview.ca.us>` and "tanstaaf" give c4c9334bac560ecc979e58001b3e22fb.
#[tokio::test(start_paused = true)]
async fn apop_by_the_example_of_rfc_1939() {
    const STAMP: &str = "<1896.697170952@dbc.mtview.ca.us>";
    let digest = 0xc4c9_334b_ac56_0ecc_979e_5800_1b3e_22fb_u128.to_be_bytes();
    let hashed = restante_auth::scheme::create(
        restante_auth::scheme::find("SHA256-CRYPT").unwrap(),
        &secret("tanstaaf"),
    );
    let directory = MemoryDirectory::new([
        (name("mrose"), StoredPassword::parse(b"{PLAIN}tanstaaf").unwrap()),
        (name("hashed"), StoredPassword::parse(hashed.unwrap().expose().as_bytes()).unwrap()),
    ]);
    let verifier = Verifier::new(Arc::new(directory), &Settings::default());
    assert_eq!(
        verifier.apop("MRose", STAMP, &digest, PEER).await,
        Verdict::Accepted(Account::new(name("mrose")))
    );
    assert_eq!(timed(verifier.apop("mrose", "<other@stamp>", &digest, PEER)).await, (REFUSED, 0));
    assert_eq!(timed(verifier.apop("nobody", STAMP, &digest, PEER)).await, (UNKNOWN, 1));
    assert_eq!(timed(verifier.apop("hashed", STAMP, &digest, PEER)).await, (REFUSED, 2));
    // Nobody logs in with the digest of the stamp alone, as an empty password would.
    let stamp_alone = Md5::digest(STAMP).into();
    assert_eq!(timed(verifier.apop("hashed", STAMP, &stamp_alone, PEER)).await, (REFUSED, 4));
    assert_eq!(timed(verifier.apop("../x", STAMP, &stamp_alone, PEER)).await, (UNKNOWN, 8));
    assert_eq!(
        verifier.apop("mrose", STAMP, &digest, PEER).await,
        Verdict::Accepted(Account::new(name("mrose")))
    );
}

#[test]
fn nothing_shows_a_password() {
    let shown = format!("{:?} {:?}", verifier(), ann());
    assert!(!shown.contains("staaf"), "{shown}");
}
