//! The verifier's other doors: SCRAM keys, proofs, digests, tokens, certificates; what tells who is a user, and does not.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    future::{Future as _, poll_fn},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    task::Poll,
    time::Duration,
};

use hmac::{Hmac, Mac as _};
use md5::Md5;
use restante_auth::{
    Account, Claim, Directory, MemoryDirectory, Settings, StoredPassword, UsersFileDirectory, Verdict,
    Verifier,
    scheme::{self, PasswordHash},
    users::edit::{self, NewLogin},
};
use restante_proto::{Secret, UserName};
use restante_sasl::{
    Needs,
    scram::{self, Hash, Keys},
};
use tokio::time::Instant;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const REFUSED: Verdict = Verdict::Refused { known: true };
const UNKNOWN: Verdict = Verdict::Refused { known: false };

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn accepted(user: &str) -> Verdict {
    Verdict::Accepted(Account::new(name(user)))
}

struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl World {
    /// A users file with this text.
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn directory(&self) -> Arc<UsersFileDirectory> {
        Arc::new(UsersFileDirectory::open(&self.path).unwrap())
    }

    /// A server that has just started.
    fn verifier(&self) -> Verifier {
        Verifier::new(self.directory(), &Settings::default())
    }

    fn add(&self, user: &str, keys: bool) {
        let scheme = scheme::find("SHA256-CRYPT").unwrap();
        let keys = if keys { &Hash::ALL[..] } else { &[] };
        let login = NewLogin::create(scheme, &Secret::new(b"tan staaf".to_vec()), keys).unwrap();
        edit::add(&self.path, &name(user), &login).unwrap();
    }
}

/// Keys of "tan staaf", with a salt of so many octets.
fn keys(hash: Hash, salt_octets: usize, iterations: u32) -> String {
    let keys = Keys::derive(hash, b"tan staaf", &vec![7; salt_octets], iterations).unwrap();
    format!("{{{}}}{}", hash.mechanism(), keys.text().expose())
}

/// What a client sees of a claim.
fn seen(claim: &Claim) -> (Vec<u8>, u32) {
    (claim.keys.salt().to_vec(), claim.keys.iterations())
}

fn is_of(claim: &Claim, password: &[u8]) -> bool {
    let keys = &claim.keys;
    Keys::derive(keys.hash(), password, keys.salt(), keys.iterations()).as_ref() == Some(&**keys)
}

async fn timed<T>(task: impl Future<Output = T>) -> (T, u64) {
    let begin = Instant::now();
    let done = task.await;
    (done, begin.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_proof_lets_the_user_in_and_a_wrong_one_waits() {
    let world = World::new(&format!("ann:{}:maildir=/m/ann\n", keys(Hash::Sha256, 16, 4096)));
    let verifier = world.verifier();
    for (right, delay) in [(false, 0), (false, 1), (false, 2)] {
        let claim = verifier.keys("ANN", Hash::Sha256, PEER).await.unwrap();
        assert!(is_of(&claim, b"tan staaf") && claim.user() == "ANN");
        assert_eq!(timed(verifier.proof(claim, right, PEER)).await, (REFUSED, delay));
    }
    let claim = verifier.keys("Ann", Hash::Sha256, PEER).await.unwrap();
    let account = Account { maildrop: Some("/m/ann".to_owned()), ..Account::new(name("ann")) };
    assert_eq!(timed(verifier.proof(claim, true, PEER)).await, (Verdict::Accepted(account), 0));
    // The password is as good, compared with the keys.
    assert!(matches!(
        verifier.password("ann", &Secret::new(b"tan staaf".to_vec()), PEER).await,
        Verdict::Accepted(_)
    ));
    assert_eq!(verifier.password("ann", &Secret::new(b"tan".to_vec()), PEER).await, REFUSED);
    // Guesses at names that are not there count, too, and none of them is ever right.
    for (user, right, delay) in [("bob", true, 1), ("../ann", true, 2), ("", true, 4)] {
        let claim = verifier.keys(user, Hash::Sha256, PEER).await.unwrap();
        assert_eq!(timed(verifier.proof(claim, right, PEER)).await, (UNKNOWN, delay), "{user:?}");
    }
    // Keys of SHA-1 there are none of, though the user is there.
    let claim = verifier.keys("ann", Hash::Sha1, PEER).await.unwrap();
    assert!(!is_of(&claim, b"tan staaf"));
    assert!(matches!(verifier.proof(claim, true, PEER).await, Verdict::Refused { known: true }));
}

/// Unknown names, users without keys, and illegal names get salts and iterations as users have them, the same at every
/// question and after every start.
#[tokio::test(start_paused = true)]
async fn who_is_not_there_looks_like_who_is() {
    let world = World::new("");
    world.add("ann", true);
    let lines: String = (0..3).map(|user| format!("user{user}:{}\n", keys(Hash::Sha256, 24, 4096))).collect();
    let text = fs::read_to_string(&world.path).unwrap()
        + &lines
        + "nokeys:{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC\nlocked:!x\n";
    fs::write(&world.path, text).unwrap();
    let (today, tomorrow) = (world.verifier(), world.verifier());
    let ask =
        async |verifier: &Verifier, user: &str, hash| seen(&verifier.keys(user, hash, PEER).await.unwrap());
    for user in ["nobody", "nokeys", "locked", "two words", "", "ann", "user1"] {
        let first = ask(&today, user, Hash::Sha256).await;
        assert_eq!(ask(&today, user, Hash::Sha256).await, first, "{user:?} changes");
        assert_eq!(ask(&tomorrow, user, Hash::Sha256).await, first, "{user:?} changes at a restart");
        assert_eq!(ask(&today, &user.to_ascii_uppercase(), Hash::Sha256).await, first, "{user:?} by case");
        assert!(
            matches!((first.0.len(), first.1), (24, 4096) | (16, scram::ITERATIONS_DEFAULT)),
            "{first:?}"
        );
        if user != "ann" {
            assert_ne!(ask(&today, user, Hash::Sha1).await.0, first.0, "each mechanism has its salt");
        }
    }
    assert_ne!(ask(&today, "nobody", Hash::Sha256).await.0, ask(&today, "nobody2", Hash::Sha256).await.0);
    // As often as users have them: three in four.
    let mut long = 0;
    for number in 0..200 {
        long += usize::from(ask(&today, &format!("nobody{number}"), Hash::Sha256).await.0.len() == 24);
    }
    assert!((125..=175).contains(&long), "{long}");
}

/// Keys of the two hashes may be of different age and make; a stranger's are like a user's by each mechanism, and by both
/// together.
#[tokio::test(start_paused = true)]
async fn strangers_keys_have_a_users_shape_of_each_hash() {
    let users = [((64, 10_000), (16, 4096)), ((100, 4096), (256, 5000))];
    let lines: String = users
        .iter()
        .enumerate()
        .map(|(number, (sha256, sha1))| {
            let (sha256, sha1) = (keys(Hash::Sha256, sha256.0, sha256.1), keys(Hash::Sha1, sha1.0, sha1.1));
            format!("user{number}:{sha256}:{sha1}\n")
        })
        .collect();
    // Who has keys of one hash only does not make the other one's look like them.
    let half = format!("half:{}\n", keys(Hash::Sha256, 24, 7000));
    let shape = async |verifier: &Verifier, user: &str, hash| {
        let claim = verifier.keys(user, hash, PEER).await.unwrap();
        (claim.keys.salt().len(), claim.keys.iterations())
    };
    for (text, others) in [(lines.clone(), false), (lines + &half, true)] {
        let world = World::new(&text);
        let (verifier, mut seen) = (world.verifier(), std::collections::BTreeSet::new());
        for number in 0..100 {
            let name = format!("nobody{number}");
            let both =
                (shape(&verifier, &name, Hash::Sha256).await, shape(&verifier, &name, Hash::Sha1).await);
            let half = others && both.0 == (24, 7000) && users.iter().any(|user| user.1 == both.1);
            assert!(users.contains(&both) || half, "{both:?}");
            seen.insert(both);
        }
        assert_eq!(seen.len(), if others { 4 } else { 2 }, "each user's: {seen:?}");
        let half = shape(&verifier, "half", Hash::Sha1).await;
        assert!(users.iter().any(|user| user.1 == half), "{half:?}");
    }
    // No block of a long salt comes again.
    let world = World::new(&format!("ann:{}\n", keys(Hash::Sha256, 256, 4096)));
    let (salt, _) = seen(&world.verifier().keys("nobody", Hash::Sha256, PEER).await.unwrap());
    let blocks: std::collections::HashSet<_> = salt.chunks(32).collect();
    assert_eq!((salt.len(), blocks.len()), (256, 8));
}

/// The configuration's key goes before the file's; without either, nothing stays.
#[tokio::test]
async fn the_configurations_salt_key_goes_before_the_files() {
    let world = World::new("");
    let salt = async |verifier: Verifier| seen(&verifier.keys("nobody", Hash::Sha256, PEER).await.unwrap()).0;
    let with = |key: Option<[u8; 32]>| {
        let settings = Settings { salt_key: key.map(Secret::new), ..Settings::default() };
        Verifier::new(world.directory(), &settings)
    };
    assert_ne!(salt(with(None)).await, salt(with(None)).await);
    assert_eq!(salt(with(Some([1; 32]))).await, salt(with(Some([1; 32]))).await);
    assert_ne!(salt(with(Some([1; 32]))).await, salt(with(Some([2; 32]))).await);
    let configured = salt(with(Some([1; 32]))).await;
    world.add("ann", true);
    assert_eq!(salt(with(None)).await, salt(with(None)).await);
    assert_eq!(salt(with(Some([1; 32]))).await, configured);
}

/// A running server follows the file's key, and what it offers.
#[tokio::test]
async fn a_change_of_the_file_is_followed() {
    let world = World::new("");
    let (directory, needs) = (world.directory(), Needs::Keys(Hash::Sha256));
    let verifier = Verifier::new(Arc::clone(&directory) as Arc<dyn Directory>, &Settings::default());
    assert!(!verifier.can(needs) && verifier.can(Needs::Password), "nobody is there");
    world.add("ann", true);
    directory.reload().await;
    assert!(verifier.can(needs) && !verifier.can(Needs::Plaintext) && directory.salt_key().is_some());
    let salt = async || seen(&verifier.keys("nobody", Hash::Sha256, PEER).await.unwrap());
    assert_eq!(salt().await, seen(&world.verifier().keys("nobody", Hash::Sha256, PEER).await.unwrap()));
    world.add("bob", false);
    directory.reload().await;
    assert!(!verifier.can(needs), "bob could not log in by it");
    fs::write(&world.path, "ann:{PLAIN}a\n").unwrap();
    directory.reload().await;
    assert!(verifier.can(needs) && verifier.can(Needs::Plaintext));
}

/// Keys are made of a password that can be read, with a salt that stays; nobody else's password fits a stranger's.
#[tokio::test(start_paused = true)]
async fn keys_are_made_of_passwords_that_can_be_read() {
    let world = World::new(
        "#salt-key AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nann:{PLAIN}tan staaf\nempty:{PLAIN}\n",
    );
    let (today, tomorrow) = (world.verifier(), world.verifier());
    for hash in Hash::ALL {
        let claim = today.keys("Ann", hash, PEER).await.unwrap();
        assert!(is_of(&claim, b"tan staaf"));
        assert_eq!(seen(&claim), seen(&tomorrow.keys("ann", hash, PEER).await.unwrap()));
        assert_eq!(today.proof(claim, true, PEER).await, accepted("ann"));
        for stranger in ["nobody", "", "empty"] {
            let claim = today.keys(stranger, hash, PEER).await.unwrap();
            assert_eq!((claim.keys.salt().len(), claim.keys.iterations()), (16, scram::ITERATIONS_MIN));
            assert!(!is_of(&claim, b"tan staaf"), "{stranger:?}");
            assert!(matches!(today.proof(claim, true, PEER).await, Verdict::Refused { .. }));
        }
    }
}

/// A password whose comparison lasts until it is let go.
struct Gated(Mutex<mpsc::Receiver<()>>);

impl PasswordHash for Gated {
    fn verify(&self, _: &[u8]) -> bool {
        assert!(self.0.lock().unwrap().recv().is_err(), "it is let go by being dropped");
        false
    }

    fn cost(&self) -> String {
        "gated".to_owned()
    }
}

/// Making keys takes a place in the pool, for users as for strangers; what was made is there at once.
#[tokio::test]
async fn making_keys_is_bounded_and_done_once() {
    let (gate, gated) = mpsc::channel();
    let slow = StoredPassword::custom("GATED", Arc::new(Gated(Mutex::new(gated))));
    let plain = StoredPassword::parse(b"{PLAIN}tan staaf").unwrap();
    let users = MemoryDirectory::new([(name("ann"), plain), (name("slow"), slow)]);
    let settings = Settings { threads: 1, queue: 0, ..Settings::default() };
    let verifier = Arc::new(Verifier::new(Arc::new(users), &settings));
    // Asked once, it has its place.
    let password = Secret::new(b"x".to_vec());
    let mut slow = Box::pin(verifier.password("slow", &password, PEER));
    assert!(poll_fn(|context| Poll::Ready(slow.as_mut().poll(context).is_pending())).await);
    let is_busy =
        async |user: &str| verifier.keys(user, Hash::Sha256, PEER).await.err() == Some(Verdict::Busy);
    assert!(is_busy("ann").await);
    // One of two users has keys that are made, and so has every second stranger.
    let mut stranger = None;
    for number in 0..64 {
        let user = format!("nobody{number}");
        if is_busy(&user).await {
            stranger = Some(user);
            break;
        }
    }
    let stranger = stranger.expect("keys are made for a stranger, too");
    drop(gate);
    assert_eq!(slow.await, REFUSED);
    for user in ["ann".to_owned(), stranger] {
        assert!(!is_busy(&user).await, "{user}: there is room");
        // Now it needs no room: all at once are answered.
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (verifier, user) = (Arc::clone(&verifier), user.clone());
            tasks.spawn(async move { verifier.keys(&user, Hash::Sha256, PEER).await.is_ok() });
        }
        assert_eq!(tasks.join_all().await, [true; 4], "{user}");
    }
}

/// RFC 2195 §2: "tanstaaftanstaaf" and its challenge give b913a602c7eda7a495b4e6e7334d3890.
#[tokio::test(start_paused = true)]
async fn cram_md5_by_the_example_of_rfc_2195() {
    const CHALLENGE: &[u8] = b"<1896.697170952@postoffice.reston.mci.net>";
    let digest = 0xb913_a602_c7ed_a7a4_95b4_e6e7_334d_3890_u128.to_be_bytes();
    let world = World::new("tim:{PLAIN}tanstaaftanstaaf\nlocked:!{PLAIN}tanstaaftanstaaf\n");
    world.add("hashed", true);
    let verifier = world.verifier();
    assert_eq!(verifier.digest("Tim", CHALLENGE, &digest, PEER).await, accepted("tim"));
    assert_eq!(timed(verifier.digest("tim", b"<other>", &digest, PEER)).await, (REFUSED, 0));
    assert_eq!(timed(verifier.digest("nobody", CHALLENGE, &digest, PEER)).await, (UNKNOWN, 1));
    assert_eq!(timed(verifier.digest("locked", CHALLENGE, &digest, PEER)).await, (REFUSED, 2));
    // Nobody logs in with the digest under an empty password.
    let empty =
        Hmac::<Md5>::new_from_slice(b"").unwrap().chain_update(CHALLENGE).finalize().into_bytes().into();
    for user in ["hashed", "nobody", ""] {
        assert!(matches!(verifier.digest(user, CHALLENGE, &empty, PEER).await, Verdict::Refused { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_needs_a_user_who_may_log_in() {
    let world = World::new("ann:{PLAIN}a:maildir=/m/ann\nlocked:!{PLAIN}a\ndamaged:{MD5}a\n");
    let verifier = world.verifier();
    let account = Account { maildrop: Some("/m/ann".to_owned()), ..Account::new(name("ann")) };
    assert_eq!(verifier.certificate("ANN", PEER).await, Verdict::Accepted(account));
    for (user, delay) in [("nobody", 0), ("locked", 1), ("damaged", 2), ("../ann", 4)] {
        assert_eq!(timed(verifier.certificate(user, PEER)).await, (UNKNOWN, delay), "{user}");
    }
}

/// A users file knows no tokens: to offer them is not up to it, and a failure counts all the same.
#[tokio::test(start_paused = true)]
async fn tokens_are_nothing_to_a_users_file() {
    let verifier = World::new("ann:{PLAIN}a\n").verifier();
    assert!(!verifier.can(Needs::Token));
    for delay in [0, 1, 2] {
        let token = Secret::new("a".to_owned());
        assert_eq!(timed(verifier.token(Some("ann"), &token, PEER)).await, (REFUSED, delay));
    }
    let begin = Instant::now();
    assert_eq!(verifier.token(None, &Secret::new(String::new()), PEER).await, UNKNOWN);
    assert_eq!(begin.elapsed(), Duration::from_secs(4));
}
