//! Passwords that were right a short while ago: who is let in without hashing, and who is not.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use restante_auth::{
    Directory, MemoryDirectory, Settings, StoredPassword, UsersFileDirectory, Verdict, Verifier,
    directory::CHECK_EVERY, scheme::PasswordHash,
};
use restante_proto::{Secret, UserName};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, advance},
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

const REFUSED: Verdict = Verdict::Refused { known: true };
const CACHE: Duration = Duration::from_secs(300);

fn secret(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.as_bytes().to_vec())
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn accepted(user: &str) -> Verdict {
    Verdict::Accepted(restante_auth::Account::new(name(user)))
}

/// A slow hash: it counts how often it is computed, and waits for the gate that it finds.
struct Slow {
    password: &'static str,
    computed: Arc<AtomicUsize>,
    gate: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

impl PasswordHash for Slow {
    fn verify(&self, password: &[u8]) -> bool {
        self.computed.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gate) = gate {
            assert!(gate.recv().is_err(), "the gate opens by being dropped");
        }
        password == self.password.as_bytes()
    }

    fn cost(&self) -> String {
        "slow".to_owned()
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        Some(secret(self.password))
    }
}

/// Ann, whose password is "a", and bob, whose password is "b"; how often one was hashed.
struct World {
    verifier: Arc<Verifier>,
    computed: Arc<AtomicUsize>,
    gate: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

fn world(settings: &Settings) -> World {
    let (computed, gate) = (Arc::default(), Arc::default());
    let slow = |password| {
        let hash = Slow { password, computed: Arc::clone(&computed), gate: Arc::clone(&gate) };
        StoredPassword::custom("SLOW", Arc::new(hash))
    };
    let directory = MemoryDirectory::new([(name("ann"), slow("a")), (name("bob"), slow("b"))]);
    World { verifier: Arc::new(Verifier::new(Arc::new(directory), settings)), computed, gate }
}

impl World {
    async fn password(&self, user: &str, password: &str, peer: IpAddr) -> Verdict {
        self.verifier.password(user, &secret(password), peer).await
    }

    fn computed(&self) -> usize {
        self.computed.load(Ordering::SeqCst)
    }

    /// The next password that is hashed takes until what is returned is dropped.
    fn close_gate(&self) -> mpsc::Sender<()> {
        let (open, gate) = mpsc::channel();
        *self.gate.lock().unwrap() = Some(gate);
        open
    }

    /// Somebody's password is hashed until the gate opens.
    async fn occupy(&self, logins: &mut JoinSet<Verdict>) {
        let before = self.computed();
        let verifier = Arc::clone(&self.verifier);
        logins.spawn(async move { verifier.password("bob", &secret("b"), ELSEWHERE).await });
        while self.computed() == before {
            yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_login_is_hashed_once_in_a_while() {
    let world = world(&Settings { cache: CACHE, ..Settings::default() });
    for user in ["ann", "Ann", "ann"] {
        assert_eq!(world.password(user, "a", PEER).await, accepted("ann"));
        assert_eq!(world.computed(), 1);
    }
    advance(CACHE - Duration::from_secs(1)).await;
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    assert_eq!(world.computed(), 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    assert_eq!(world.computed(), 2, "use does not make it last longer");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_where_it_is_off() {
    let world = world(&Settings { cache: Duration::ZERO, ..Settings::default() });
    for hashes in 1..4 {
        assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
        assert_eq!(world.computed(), hashes);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_else_and_nowhere_else() {
    let world = world(&Settings::default());
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    assert_eq!(world.password("bob", "a", PEER).await, REFUSED, "ann's password is not bob's");
    assert_eq!(world.computed(), 2);
    assert_eq!(world.password("ann", "a", ELSEWHERE).await, accepted("ann"));
    assert_eq!(world.computed(), 3);
}

/// It takes what it took before, and is answered as late.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_after_a_right_one_is_hashed_and_counted() {
    let world = world(&Settings::default());
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    for (failures, delay) in [0, 1, 2, 4, 8, 15, 15].into_iter().enumerate() {
        let begin = Instant::now();
        assert_eq!(world.password("ann", "b", PEER).await, REFUSED);
        assert_eq!((begin.elapsed().as_secs(), world.computed()), (delay, failures + 2));
    }
    let begin = Instant::now();
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    assert_eq!((begin.elapsed().as_secs(), world.computed()), (0, 8), "and the owner still gets in");
    assert_eq!(world.password("ann", "", PEER).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_changed_users_file_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let hashed = |password: &str| {
        // The lowest cost that there is: hashing is not what is tested.
        let salt = "./$";
        let params = sha_crypt::Sha256Params::new(1000).unwrap();
        let digest = sha_crypt::sha256_crypt_b64(password.as_bytes(), b"./", &params).unwrap();
        format!("ann:{{SHA256-CRYPT}}$5$rounds=1000${salt}{digest}\n")
    };
    fs::write(&path, hashed("old")).unwrap();
    let directory = Arc::new(UsersFileDirectory::open(&path).unwrap());
    let verifier = Verifier::new(Arc::clone(&directory) as Arc<dyn Directory>, &Settings::default());
    for _ in 0..2 {
        assert_eq!(verifier.password("ann", &secret("old"), PEER).await, accepted("ann"));
    }
    fs::write(&path, hashed("new")).unwrap();
    advance(CHECK_EVERY).await;
    assert_eq!(verifier.password("ann", &secret("old"), PEER).await, REFUSED);
    assert_eq!(verifier.password("ann", &secret("new"), PEER).await, accepted("ann"));

    fs::write(&path, hashed("new").replace("ann:", "bob:")).unwrap();
    advance(CHECK_EVERY).await;
    let gone = verifier.password("ann", &secret("new"), PEER).await;
    assert_eq!(gone, Verdict::Refused { known: false });
}

/// A flood of logins that must be hashed: who was right a while ago is let in, on this thread, and all others are told
/// to try again.
#[tokio::test]
async fn who_was_right_gets_in_during_a_flood() {
    let world = world(&Settings { threads: 1, queue: 3, ..Settings::default() });
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    let open = world.close_gate();
    let mut flood = JoinSet::new();
    world.occupy(&mut flood).await;
    for number in 0..200 {
        let verifier = Arc::clone(&world.verifier);
        let peer = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number));
        flood.spawn(async move { verifier.password("bob", &secret("b"), peer).await });
    }
    let mut busy = 0;
    while busy < 197 {
        assert_eq!(flood.join_next().await.unwrap().unwrap(), Verdict::Busy);
        busy += 1;
    }
    for _ in 0..100 {
        assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    }
    assert_eq!(world.password("ann", "a", ELSEWHERE).await, Verdict::Busy, "not known there");
    assert_eq!(world.computed(), 2, "ann once, and one of the flood");
    drop(open);
    let rest = flood.join_all().await;
    assert_eq!(rest, [accepted("bob"), accepted("bob"), accepted("bob"), accepted("bob")]);
}

/// Where nothing is hashed, be it that the pool is full or that the client does not wait for its turn, the cache has
/// still told that the guess is wrong: guesses are not free meanwhile.
#[tokio::test(start_paused = true)]
async fn a_guess_that_the_pool_never_sees_is_counted() {
    for queue in [0, 1] {
        let world = world(&Settings { threads: 1, queue, waiting_per_address: 1, ..Settings::default() });
        assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
        let open = world.close_gate();
        let mut logins = JoinSet::new();
        world.occupy(&mut logins).await;
        for _ in 0..3 {
            let wrong = secret("wrong");
            let mut guess = Box::pin(world.verifier.password("ann", &wrong, PEER));
            let left = std::future::poll_fn(|context| match guess.as_mut().poll(context) {
                std::task::Poll::Ready(verdict) => std::task::Poll::Ready(Some(verdict)),
                std::task::Poll::Pending => std::task::Poll::Ready(None),
            })
            .await;
            assert_eq!(left, (queue == 0).then_some(Verdict::Busy));
        }
        assert_eq!(world.computed(), 2, "none was hashed");
        drop(open);
        assert_eq!(logins.join_all().await, [accepted("bob")]);
        let begin = Instant::now();
        assert_eq!(world.password("ann", "wrong", PEER).await, REFUSED);
        assert_eq!((world.computed(), begin.elapsed().as_secs()), (3, 4), "the fourth failure");
    }
}

#[tokio::test]
async fn nothing_shows_a_password_or_a_key() {
    let world = world(&Settings::default());
    assert_eq!(world.password("ann", "a", PEER).await, accepted("ann"));
    let shown = format!("{:?}", world.verifier);
    assert!(shown.contains("Cache { lifetime: 300s, .. }"), "{shown}");
}
