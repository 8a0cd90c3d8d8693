//! Several directories: which is asked, which decides, and what a broken or silent one means.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use restante_auth::{
    Account, Directories, Directory, Entry, Route, Settings, StoredPassword, Verdict, Verifier,
    directory::{Check, Lookup, LookupError, PATIENCE_DEFAULT, Task},
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram::Hash};
use tokio::time::{Instant, timeout};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What a directory does, whoever is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    KnowsNobody,
    /// Has everybody, with this password.
    Stores(&'static str),
    Compares(&'static str),
    /// Has everybody, and leaves the password to a comparison.
    KnowsAndCompares(&'static str),
    /// As that, of users who do not log in by certificate.
    KnowsWithoutCertificates(&'static str),
    /// Has nobody, and would leave the password to a comparison.
    KnowsNobodyAndCompares,
    /// Has nobody, and would hash the password.
    KnowsNobodyAndHashes,
    /// Has everybody's token.
    Tokens(&'static str),
    LocksOut,
    Fails,
    Hangs,
}

#[derive(Debug)]
struct Fake {
    /// Where its users have their mail, so that it is known who let them in.
    name: &'static str,
    does: Does,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Fake {
    fn account(&self, user: &UserName) -> Account {
        Account { maildrop: Some(self.name.to_owned()), ..Account::new(user.clone()) }
    }

    fn verdict(&self, user: &UserName, right: bool) -> Check {
        if right { Check::Right(Box::new(self.account(user))) } else { Check::Wrong }
    }

    async fn answer<T>(&self, answer: T) -> Result<T, LookupError> {
        match self.does {
            Does::Hangs => pending().await,
            Does::Fails => Err(LookupError::Broken {
                context: "asking".to_owned(),
                source: io::ErrorKind::ConnectionRefused.into(),
            }),
            _ => Ok(answer),
        }
    }
}

impl Directory for Fake {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        self.asked.lock().unwrap().push(self.name);
        let known = |password: Option<&str>| {
            let stored = |text: &str| StoredPassword::parse(format!("{{PLAIN}}{text}").as_bytes()).unwrap();
            let password = password.map(stored);
            Lookup::Known(Box::new(Entry { account: self.account(user), password, keys: Vec::new() }))
        };
        let found = match self.does {
            Does::Stores(password) => known(Some(password)),
            Does::KnowsAndCompares(_) | Does::KnowsWithoutCertificates(_) => known(None),
            Does::Compares(_) => Lookup::Ask,
            Does::LocksOut => Lookup::LockedOut(Box::new(self.account(user))),
            _ => Lookup::Unknown,
        };
        Box::pin(self.answer(found))
    }

    fn check<'a>(
        &'a self,
        user: &'a UserName,
        password: &'a Secret<Vec<u8>>,
    ) -> Task<'a, Result<Check, LookupError>> {
        let verdict = match self.does {
            Does::Compares(right) | Does::KnowsAndCompares(right) | Does::KnowsWithoutCertificates(right) => {
                self.verdict(user, password.expose() == right.as_bytes())
            }
            Does::KnowsNobodyAndCompares => {
                self.asked.lock().unwrap().push("a password");
                Check::Unknown
            }
            _ => Check::Unknown,
        };
        Box::pin(self.answer(verdict))
    }

    fn token<'a>(
        &'a self,
        claimed: Option<&'a UserName>,
        token: &'a Secret<String>,
    ) -> Task<'a, Result<Check, LookupError>> {
        self.asked.lock().unwrap().push(self.name);
        let verdict = match (self.does, claimed) {
            (Does::Tokens(right), Some(user)) if token.expose().starts_with(self.name) => {
                self.verdict(user, token.expose().ends_with(right))
            }
            _ => Check::Unknown,
        };
        Box::pin(self.answer(verdict))
    }

    fn can(&self, needs: Needs) -> bool {
        match (self.does, needs) {
            (Does::Tokens(_), _) => needs == Needs::Token,
            // One that is broken may have tokens, too.
            (Does::Fails | Does::Hangs, Needs::Token) => true,
            (Does::Stores(_), Needs::Keys(_) | Needs::Plaintext) => true,
            (Does::KnowsWithoutCertificates(_), Needs::Certificate) => false,
            _ => matches!(needs, Needs::Password | Needs::Certificate),
        }
    }

    fn stand_in(&self, _: &str) -> Option<StoredPassword> {
        match self.does {
            Does::Stores(_) | Does::KnowsNobody => Some(StoredPassword::parse(b"{PLAIN}x").unwrap()),
            Does::KnowsNobodyAndHashes => Some(StoredPassword::stand_in()),
            _ => None,
        }
    }
}

/// Directories of this kind, in this order.
struct World {
    verifier: Verifier,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl World {
    fn new(directories: &[(&'static str, Does)]) -> Self {
        Self::routed(&directories.iter().map(|(name, does)| (*name, *does, "")).collect::<Vec<_>>())
    }

    /// With the domain that each is for.
    fn routed(directories: &[(&'static str, Does, &str)]) -> Self {
        let asked = Arc::default();
        let route = |(name, does, domain): &(&'static str, Does, &str)| {
            let fake: Arc<dyn Directory> = Arc::new(Fake { name, does: *does, asked: Arc::clone(&asked) });
            let domains = Some((*domain).to_owned()).filter(|domain| !domain.is_empty());
            Route { domains: domains.into_iter().collect(), ..Route::new(name, fake) }
        };
        let directories = Directories::new(directories.iter().map(route).collect());
        let settings = Settings { failure_delay_first: Duration::ZERO, ..Settings::default() };
        Self { verifier: Verifier::of(directories, &settings), asked }
    }

    /// Who lets the user in, or the verdict.
    async fn password(&self, user: &str, password: &str) -> Result<String, Verdict> {
        let secret = Secret::new(password.as_bytes().to_vec());
        match self.verifier.password(user, &secret, PEER).await {
            Verdict::Accepted(account) => Ok(account.maildrop.unwrap()),
            other => Err(other),
        }
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

const REFUSED: Result<String, Verdict> = Err(Verdict::Refused { known: true });
const UNKNOWN: Result<String, Verdict> = Err(Verdict::Refused { known: false });

#[tokio::test(start_paused = true)]
async fn the_first_that_knows_the_name_decides() {
    let world = World::new(&[
        ("none", Does::KnowsNobody),
        ("first", Does::Stores("one")),
        ("second", Does::Stores("two")),
    ]);
    assert_eq!(world.password("ann", "one").await, Ok("first".to_owned()));
    assert_eq!(world.asked(), ["none", "first"]);
    assert_eq!(world.password("ann", "two").await, REFUSED, "the second one's password is nobody's");
    for does in [Does::Compares("one"), Does::KnowsAndCompares("one")] {
        let world =
            World::new(&[("none", Does::KnowsNobody), ("first", does), ("second", Does::Stores("two"))]);
        assert_eq!(world.password("ann", "one").await, Ok("first".to_owned()), "{does:?}");
        assert_eq!(world.password("ann", "two").await, REFUSED, "{does:?}");
    }
    let world = World::new(&[("first", Does::LocksOut), ("second", Does::Stores("two"))]);
    assert_eq!(world.password("ann", "two").await, REFUSED, "who is locked out is let in nowhere");
    let world = World::new(&[("first", Does::KnowsNobody), ("second", Does::KnowsNobody)]);
    assert_eq!(world.password("ann", "x").await, UNKNOWN);
    assert_eq!(World::new(&[]).password("ann", "x").await, UNKNOWN);
}

/// The user may be one of the broken one's: another must not say that there is no such user, or let somebody in under the
/// name.
#[tokio::test(start_paused = true)]
async fn a_broken_directory_is_never_passed_over() {
    for (does, seconds) in [(Does::Fails, 0), (Does::Hangs, PATIENCE_DEFAULT.as_secs())] {
        for second in [Does::Stores("two"), Does::KnowsNobody, Does::Compares("two")] {
            let world = World::new(&[("first", does), ("second", second)]);
            let begin = Instant::now();
            assert_eq!(world.password("ann", "two").await, Err(Verdict::Failed), "{does:?} {second:?}");
            assert_eq!((begin.elapsed().as_secs(), world.asked()), (seconds, vec!["first"]));
            let token = Secret::new("x".to_owned());
            assert_eq!(world.verifier.token(Some("ann"), &token, PEER).await, Verdict::Failed);
            assert_eq!(world.verifier.certificate("ann", PEER).await, Verdict::Failed);
            assert_eq!(world.verifier.digest("ann", b"x", &[0; 16], PEER).await, Verdict::Failed);
            let keys = world.verifier.keys("ann", Hash::Sha256, PEER).await;
            assert_eq!(keys.err(), Some(Verdict::Failed));
            // It is no failure of the user's, and it is not asked about what is no name.
            assert_eq!(world.password("../ann", "two").await, UNKNOWN);
        }
    }
    // Behind one that knows the user it does not matter.
    let world = World::new(&[("first", Does::Stores("one")), ("second", Does::Fails)]);
    assert_eq!(world.password("ann", "one").await, Ok("first".to_owned()));
}

/// An answer takes as long for somebody who is not there as for a user of the last directory: where that one compares by
/// itself, it is asked to, and nothing is hashed here.
#[tokio::test(start_paused = true)]
async fn for_who_is_not_there_the_same_is_done_as_for_users() {
    let (compares, hashes) = (Does::KnowsNobodyAndCompares, Does::KnowsNobodyAndHashes);
    for (directories, asked, is_hashed) in [
        (vec![("a", compares)], vec!["a", "a password"], false),
        (
            vec![("a", compares), ("b", compares), ("t", Does::Tokens("x"))],
            vec!["a", "a password", "b", "a password", "t"],
            false,
        ),
        (vec![("a", hashes), ("b", compares)], vec!["a", "b", "a password"], false),
        (vec![("a", compares), ("b", hashes)], vec!["a", "a password", "b"], true),
        (vec![("a", hashes)], vec!["a"], true),
    ] {
        let world = World::new(&directories);
        // What is hashed runs on another thread, and is not there at once.
        let at_once = timeout(Duration::ZERO, world.password("ann", "x")).await;
        assert_eq!((world.asked(), at_once.is_err()), (asked, is_hashed), "{directories:?}");
        assert_eq!(world.password("ann", "x").await, UNKNOWN, "{directories:?}");
        // Of what is no password, nothing is compared for users either.
        world.asked();
        assert_eq!(world.password("ann", "").await, UNKNOWN, "{directories:?}");
        assert!(!world.asked().contains(&"a password"), "{directories:?}");
    }
    let world = World::routed(&[("a", compares, "example.org"), ("b", hashes, "")]);
    assert_eq!(timeout(Duration::ZERO, world.password("ann@example.org", "x")).await, Ok(UNKNOWN));
    assert!(timeout(Duration::ZERO, world.password("ann", "x")).await.is_err());
    // Somebody who is locked out is one of those whose passwords are hashed.
    let world = World::new(&[("first", hashes), ("second", Does::LocksOut), ("third", compares)]);
    assert!(timeout(Duration::ZERO, world.password("ann", "x")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_no_login_where_the_directory_takes_none() {
    let certificate = async |does| {
        let world = World::new(&[("first", does), ("second", Does::Stores("two"))]);
        world.verifier.certificate("ann", PEER).await
    };
    let refused = certificate(Does::KnowsWithoutCertificates("one")).await;
    assert_eq!(refused, Verdict::Refused { known: true });
    for does in [Does::KnowsAndCompares("one"), Does::KnowsNobody, Does::Stores("one")] {
        assert!(matches!(certificate(does).await, Verdict::Accepted(_)), "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_leads_to_its_directories_and_no_others() {
    let world = World::routed(&[
        ("all", Does::Stores("all"), ""),
        ("com", Does::Stores("com"), "example.com"),
        ("org", Does::KnowsNobody, "example.org"),
        ("org2", Does::Stores("org"), "example.org"),
    ]);
    for (user, password, expected, asked) in [
        ("ann", "all", Ok("all".to_owned()), vec!["all"]),
        ("ann@example.net", "all", Ok("all".to_owned()), vec!["all"]),
        ("ann@Example.COM", "com", Ok("com".to_owned()), vec!["com"]),
        ("ann@example.com", "all", REFUSED, vec!["com"]),
        ("ann@b@example.org", "org", Ok("org2".to_owned()), vec!["org", "org2"]),
    ] {
        assert_eq!(world.password(user, password).await, expected, "{user}");
        assert_eq!(world.asked(), asked, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_go_to_those_that_know_tokens() {
    let world = World::new(&[
        ("users", Does::KnowsNobody),
        ("a", Does::Tokens("right")),
        ("b", Does::Tokens("right")),
    ]);
    let token = async |token: &str| match world
        .verifier
        .token(Some("ann"), &Secret::new(token.to_owned()), PEER)
        .await
    {
        Verdict::Accepted(account) => Ok(account.maildrop.unwrap()),
        other => Err(other),
    };
    assert_eq!(token("b: right").await, Ok("b".to_owned()));
    assert_eq!(world.asked(), ["a", "b", "users"], "who has him is asked what holds for him");
    assert_eq!(token("a: wrong").await, UNKNOWN, "a name is none because a token came with it");
    assert_eq!(world.asked(), ["a", "users"], "it was meant for the first");
    assert_eq!(token("c: right").await, UNKNOWN);
    // A token is no password.
    assert_eq!(world.password("ann", "a: right").await, UNKNOWN);
}

#[test]
fn what_is_offered_is_what_every_directory_of_passwords_can_do() {
    let can = |directories: &[(&'static str, Does)]| {
        let verifier = World::new(directories).verifier;
        [Needs::Password, Needs::Keys(Hash::Sha256), Needs::Plaintext, Needs::Token, Needs::Certificate]
            .map(|needs| verifier.can(needs))
    };
    assert_eq!(can(&[("a", Does::Stores("x"))]), [true, true, true, false, true]);
    assert_eq!(
        can(&[("a", Does::Stores("x")), ("b", Does::Compares("x"))]),
        [true, false, false, false, true]
    );
    assert_eq!(can(&[("a", Does::Stores("x")), ("b", Does::Tokens("x"))]), [true, true, true, true, true]);
    assert_eq!(can(&[("b", Does::Tokens("x"))]), [false, false, false, true, false]);
    assert_eq!(can(&[]), [false; 5]);
}

#[tokio::test]
async fn a_token_speaks_for_the_users_of_its_domains_alone() {
    // Whom it is of is said by the token, where the client claims nobody.
    #[derive(Debug)]
    struct Issuer;
    impl Directory for Issuer {
        fn lookup<'a>(&'a self, _: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
            Box::pin(async { Ok(Lookup::Unknown) })
        }

        fn token<'a>(
            &'a self,
            _: Option<&'a UserName>,
            token: &'a Secret<String>,
        ) -> Task<'a, Result<Check, LookupError>> {
            let account = Account::new(UserName::new(token.expose()).unwrap());
            Box::pin(async { Ok(Check::Right(Box::new(account))) })
        }

        fn can(&self, needs: Needs) -> bool {
            needs == Needs::Token
        }

        fn stand_in(&self, _: &str) -> Option<StoredPassword> {
            None
        }
    }
    let verdict = async |others: Does, domains: &[&str], claimed: Option<&str>, of: &str| {
        let asked = Arc::default();
        let fake: Arc<dyn Directory> = Arc::new(Fake { name: "users", does: others, asked });
        let issuer = Route {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ..Route::new("oauth", Arc::new(Issuer))
        };
        let directories = Directories::new(vec![Route::new("users", fake), issuer]);
        let verifier = Verifier::of(directories, &Settings::default());
        verifier.token(claimed, &Secret::new(of.to_owned()), PEER).await
    };
    let (ours, others) = ("ann@example.org", "boss@other.org");
    let here = |name: &str| Verdict::Accepted(Account::new(UserName::new(name).unwrap()));
    let domains = ["example.org"];
    for claimed in [None, Some(ours)] {
        assert_eq!(verdict(Does::KnowsNobody, &domains, claimed, ours).await, here(ours));
    }
    for claimed in [None, Some(ours), Some(others)] {
        assert!(!matches!(verdict(Does::KnowsNobody, &domains, claimed, others).await, Verdict::Accepted(_)));
    }
    // What holds for somebody is said by the directory that has him.
    let Verdict::Accepted(account) = verdict(Does::Stores("x"), &[], None, ours).await else {
        panic!("refused")
    };
    assert_eq!(account.maildrop.as_deref(), Some("users"));
    assert!(matches!(verdict(Does::LocksOut, &[], None, ours).await, Verdict::Refused { .. }));
    assert_eq!(verdict(Does::Fails, &[], None, ours).await, Verdict::Failed);
}

/// A mail program that has not renewed its token yet is no guesser.
#[tokio::test(start_paused = true)]
async fn a_token_whose_time_is_over_delays_nothing() {
    #[derive(Debug)]
    struct Over(fn() -> Check);
    impl Directory for Over {
        fn lookup<'a>(&'a self, _: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
            Box::pin(async { Ok(Lookup::Unknown) })
        }

        fn token<'a>(
            &'a self,
            _: Option<&'a UserName>,
            _: &'a Secret<String>,
        ) -> Task<'a, Result<Check, LookupError>> {
            Box::pin(async { Ok((self.0)()) })
        }

        fn can(&self, needs: Needs) -> bool {
            needs == Needs::Token
        }

        fn stand_in(&self, _: &str) -> Option<StoredPassword> {
            None
        }
    }
    for users in [Does::KnowsNobody, Does::Stores("x"), Does::LocksOut, Does::Fails] {
        let known = matches!(users, Does::Stores(_) | Does::LocksOut);
        for (check, expected, is_delayed) in [
            ((|| Check::Expired) as fn() -> Check, Verdict::Expired { known }, false),
            (|| Check::Wrong, Verdict::Refused { known }, true),
        ] {
            let fake: Arc<dyn Directory> =
                Arc::new(Fake { name: "users", does: users, asked: Arc::default() });
            let routes = vec![Route::new("oauth", Arc::new(Over(check))), Route::new("users", fake)];
            let verifier = Verifier::of(Directories::new(routes), &Settings::default());
            let begin = Instant::now();
            for _ in 0..4 {
                let verdict = verifier.token(Some("ann"), &Secret::new("x".to_owned()), PEER).await;
                assert_eq!(verdict, expected, "{users:?}");
            }
            assert_eq!(!begin.elapsed().is_zero(), is_delayed, "{users:?} {expected:?}");
        }
    }
}
