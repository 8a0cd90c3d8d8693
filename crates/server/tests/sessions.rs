//! Sessions seen from outside while they run: listed, ended, heard late; and what is told of them as it happens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_auth::{
    Directory, MemoryDirectory, StoredPassword, Verifier,
    directory::{self, Lookup, LookupError},
};
use restante_proto::{UserName, phase::Phase, verb::Verb};
use restante_sasl::Needs;
use restante_server::{Begun, Doing, EndReason, Happening, LoginResult, Observer, Server, Watch};
use restante_store::{DeliverError, Delivery, Maildrop, OpenError, Store, Task};
use rustls::version::TLS13;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout},
};
use world::{
    Client, PASSWORD, PATIENCE, Plan, client_config, connect, logged_in, mail,
    told::{Ears, Told, told, until},
    user,
};

const SHORT: Duration = Duration::from_millis(200);

/// A message that no buffers of loopback hold.
fn large() -> Plan {
    Plan { store: Arc::new(mail(&[&"a line of a large message\n".repeat(1_000_000)])), ..Plan::default() }
}

/// Takes the rest of a large message.
async fn swallow(client: &mut Client<TcpStream>) {
    let (mut piece, mut end) = (vec![0; 100_000], Vec::new());
    while !end.ends_with(b"\r\n.\r\n") {
        let octets = timeout(PATIENCE, client.stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(octets > 0, "the server closed");
        end.extend_from_slice(&piece[..octets]);
        end.drain(..end.len().saturating_sub(5));
    }
}

#[tokio::test]
async fn what_happens_is_told_once_and_in_order() {
    let (running, told) = told(Plan::default());
    let mut client = connect(running.pop3).await;
    for line in ["XTND", "STAT", "USER john.doe@anydomain.com", "PASS wrong"] {
        client.say(line).await;
    }
    client.log_in().await;
    client.send("NOOP\r\nSTAT\r\nDELE 9\r\nNOOP\r\n").await;
    for _ in 0..4 {
        client.line().await;
    }
    client.say("RETR 1").await;
    client.block().await;
    client.say("QUIT").await;
    client.rest().await;
    told.tells("ended", 1).await;
    let lines = told.lines();
    let expected = [
        &["connected pop3", "none false 1", "STAT false 1", "USER true 1"][..],
        &["login USER credentials", "PASS false 1", "USER true 1"],
        &["lock free", "login USER accepted", "PASS true 1"],
        &["DELE false 1", "NOOP true 2", "STAT true 1", "RETR true 1", "QUIT true 1"],
        &["ended quit: quit; 12 commands"],
    ];
    assert_eq!(lines, expected.concat());
}

#[tokio::test]
async fn every_command_of_a_batch_of_any_size_is_told() {
    const BATCH: usize = 50_000;
    let (running, told) = told(Plan::default());
    let client = logged_in(running.pop3).await;
    let (mut reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn(async move {
        let batch = "NOOP\r\nDELE 9\r\n".repeat(BATCH);
        tokio::io::AsyncWriteExt::write_all(&mut writer, batch.as_bytes()).await.unwrap();
        writer
    });
    let mut answers = vec![0; BATCH * ("+OK\r\n".len() + "-ERR no such message\r\n".len())];
    reader.read_exact(&mut answers[..BATCH]).await.unwrap();
    let mut rest = Vec::new();
    let writer = writing.await;
    drop(writer);
    timeout(PATIENCE, reader.read_to_end(&mut rest)).await.unwrap().unwrap();
    told.tells("ended", 1).await;
    let count = |verb, status| -> u32 {
        let answers = told.answers.lock().unwrap();
        answers
            .iter()
            .filter(|(said, ok, ..)| *said == Some(verb) && *ok == status)
            .map(|(_, _, count, _)| count)
            .sum()
    };
    assert_eq!((count(Verb::Noop, true), count(Verb::Dele, false)), (BATCH as u32, BATCH as u32));
    assert_eq!(
        told.of("ended"),
        [format!("ended disconnected: disconnected without quit; {} commands", 2 * BATCH + 2)]
    );
}

#[tokio::test]
async fn the_time_of_a_message_is_the_time_until_it_was_sent() {
    let (running, told) = told(large());
    let mut client = logged_in(running.pop3).await;
    client.send("RETR 1\r\n").await;
    tokio::time::sleep(SHORT).await; // the time under test
    swallow(&mut client).await;
    told.tells("RETR true 1", 1).await;
    let answers = told.answers.lock().unwrap().clone();
    let (.., each) = answers.into_iter().find(|(verb, ..)| *verb == Some(Verb::Retr)).unwrap();
    assert!(each >= SHORT && each < PATIENCE, "{each:?}");
}

/// Users of whom some cannot be looked up.
#[derive(Debug)]
struct Users(MemoryDirectory);

impl Directory for Users {
    fn lookup<'a>(&'a self, user: &'a UserName) -> directory::Task<'a, Result<Lookup, LookupError>> {
        if user.as_str() == "lost" {
            let source = std::io::Error::other("it burnt down");
            return Box::pin(std::future::ready(Err(LookupError::Broken {
                context: "looking".into(),
                source,
            })));
        }
        self.0.lookup(user)
    }

    fn can(&self, needs: Needs) -> bool {
        self.0.can(needs)
    }

    fn stand_in(&self, name: &str) -> Option<StoredPassword> {
        self.0.stand_in(name)
    }
}

/// Mail of which some is in use by another program, and some cannot be opened.
#[derive(Debug)]
struct Mail(restante_store::MemoryStore);

impl Store for Mail {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        match user.as_str() {
            "busy" => Box::pin(std::future::ready(Err(OpenError::Busy))),
            "nowhere" => Box::pin(std::future::ready(Err(OpenError::NoPlace))),
            _ => self.0.open(user),
        }
    }

    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        self.0.deliver(user)
    }
}

#[tokio::test]
async fn logins_are_told_by_what_came_of_them() {
    let told = Arc::<Told>::default();
    let plan = Plan {
        store: Arc::new(Mail(mail(&["a\n"]))),
        observers: vec![Arc::clone(&told) as _],
        ..Plan::default()
    };
    let folder = tempfile::tempdir().unwrap();
    world::write_certificate(folder.path());
    let mut config = plan.config(folder.path());
    let stored = StoredPassword::parse(format!("{{PLAIN}}{PASSWORD}").as_bytes()).unwrap();
    let users = ["busy", "nowhere"].map(|name| (UserName::new(name).unwrap(), stored.clone()));
    let directory = MemoryDirectory::new([(user(), stored)].into_iter().chain(users));
    let settings = restante_auth::Settings { failure_delay_first: Duration::ZERO, ..Default::default() };
    config.verifier = Arc::new(Verifier::new(Arc::new(Users(directory)), &settings));
    let server = Server::bind(config).unwrap();
    let (address, _) = *server.addresses().iter().find(|(_, port)| port.to_string() == "pop3").unwrap();
    tokio::spawn(server.run());
    let plain = |name: &str| BASE64.encode(format!("\0{name}\0{PASSWORD}"));
    let ways = [
        format!("AUTH PLAIN {}\r\n", BASE64.encode("\0john.doe@anydomain.com\0wrong")),
        format!("AUTH PLAIN {}\r\n", BASE64.encode("nonsense")),
        "AUTH LOGIN\r\n*\r\n".to_owned(),
        "AUTH PLAIN\r\n!!!\r\n".to_owned(),
        format!("AUTH PLAIN {}\r\n", plain("lost")),
        format!("USER busy\r\nPASS {PASSWORD}\r\n"),
        format!("AUTH PLAIN {}\r\n", plain("nowhere")),
        format!("AUTH PLAIN {}\r\n", plain("john.doe@anydomain.com")),
    ];
    for way in ways {
        let mut client = connect(address).await;
        client.send(way).await;
        client.send("QUIT\r\n").await;
        client.rest().await;
    }
    told.tells("ended", 8).await;
    let expected = [
        ("PLAIN", LoginResult::Credentials),
        ("PLAIN", LoginResult::Malformed),
        ("LOGIN", LoginResult::Cancelled),
        ("PLAIN", LoginResult::Cancelled),
        ("PLAIN", LoginResult::Directory),
        ("USER", LoginResult::InUse),
        ("PLAIN", LoginResult::Maildrop),
        ("PLAIN", LoginResult::Accepted),
    ];
    assert_eq!(
        told.of("login"),
        expected.map(|(mechanism, result)| format!("login {mechanism} {}", result.name()))
    );
    assert_eq!(told.of("lock"), ["lock in-use", "lock free"]);
    assert_eq!(told.of("AUTH"), ["AUTH false 1"; 6].into_iter().chain(["AUTH true 1"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn locks_are_told_by_what_came_of_them_and_how_long_it_took() {
    let mut plan = Plan::default();
    plan.settings.limits.takeover_idle = SHORT;
    let (running, told) = told(plan);
    let mut first = logged_in(running.pop3).await;
    let mut second = connect(running.pop3).await;
    second.say("USER john.doe@anydomain.com").await;
    second.say(&format!("PASS {PASSWORD}")).await;
    assert_eq!(told.of("lock"), ["lock free", "lock in-use"]);
    assert_eq!(told.of("login"), ["login USER accepted", "login USER in-use"]);
    let held = running.handle.locks();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].user.clone(), held[0].client), (user(), first.stream.local_addr().unwrap()));
    let idle = || running.handle.locks().first().and_then(|lock| lock.idle_for);
    until("it is idle for long enough", || idle().is_some_and(|idle| idle > SHORT)).await;
    second.log_in().await;
    assert_eq!(told.of("lock"), ["lock free", "lock in-use", "lock taken-over"]);
    assert_eq!(first.rest().await, b"");
    told.tells("ended taken-over", 1).await;
    let waits = told.waits.lock().unwrap().clone();
    assert!(waits[0] < waits[2].max(SHORT) && waits[2] < PATIENCE, "{waits:?}");
    assert_eq!(running.handle.locks()[0].client, second.stream.local_addr().unwrap());
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let mut plan = Plan::default();
    plan.settings.limits.connections_per_address = 1;
    let (running, told) = told(plan);
    let _one = connect(running.pop3).await;
    let mut other = Client::new(TcpStream::connect(running.pop3).await.unwrap());
    other.rest().await;
    assert_eq!(told.lines(), ["connected pop3", "refused connections_per_address"]);
    assert_eq!(running.handle.totals().on, 1);
}

#[tokio::test]
async fn handshakes_are_told_once_whether_they_succeed_or_not() {
    let (running, told) = told(Plan::default());
    let trusting = client_config(&running.certificate, &[], &[&TLS13]);
    let plain = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut client = plain.secure(Arc::clone(&trusting)).await.unwrap();
    client.line().await;
    until("it is known", || running.handle.sessions().iter().any(|session| session.tls.is_some())).await;
    client.say("QUIT").await;
    client.rest().await;
    told.tells("ended quit", 1).await;
    assert_eq!(told.lines()[..2], ["connected pop3s", "secured TLSv1.3"]);
    let mut plain = connect(running.pop3).await;
    plain.say("STLS").await;
    let mut client = plain.secure(trusting).await.unwrap();
    client.say("QUIT").await;
    client.rest().await;
    told.tells("ended quit", 2).await;
    assert_eq!(told.of("secured").len(), 2);
    assert_eq!(told.of("STLS"), ["STLS true 1"]);
    let mut clear = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    clear.send("USER a\r\n").await;
    clear.rest().await;
    told.tells("ended wrong-protocol", 1).await;
    let mut client = connect(running.pop3).await;
    client.say("STLS").await;
    client.send("USER a\r\n").await;
    client.rest().await;
    told.tells("ended tls-handshake", 1).await;
    assert_eq!((told.of("not secured").len(), told.of("secured").len()), (2, 2));
    assert_eq!(told.of("STLS"), ["STLS true 1", "STLS true 1"], "it was answered");
}

#[tokio::test]
async fn sessions_are_listed_with_what_they_do() {
    let (running, told) = told(large());
    assert!(running.handle.is_serving() && running.handle.sessions().is_empty());
    let waiting = connect(running.pop3).await;
    let mut sending = logged_in(running.pop3).await;
    sending.send("RETR 1\r\n").await;
    let listed = || running.handle.sessions();
    until("it sends", || listed().last().is_some_and(|last| last.doing == Doing::Answering(Verb::Retr)))
        .await;
    let [one, other] = &listed()[..] else { panic!("{:?}", listed()) };
    assert_eq!(
        (one.client, one.phase, one.doing),
        (waiting.stream.local_addr().unwrap(), Phase::Authorization, Doing::Waiting)
    );
    assert_eq!((one.user.as_ref(), one.commands, one.port.to_string()), (None, 0, "pop3".to_owned()));
    assert_eq!((other.user.clone(), other.phase, other.commands), (Some(user()), Phase::Transaction, 2));
    assert_eq!(
        running.handle.session(&other.session).map(|facts| facts.session),
        Some(other.session.clone())
    );
    assert_eq!(other.server, Some(running.pop3));
    let before = running.handle.totals();
    assert_eq!((before.on, before.ended), (2, 0));
    swallow(&mut sending).await;
    sending.send("QUIT\r\n").await;
    sending.rest().await;
    told.tells("ended", 1).await;
    let after = running.handle.totals();
    assert_eq!((after.on, after.ended), (1, 1), "at once");
    assert_eq!(listed().len(), 1);
    assert_eq!(running.handle.session(&other.session).map(|facts| facts.session), None);
    let said = "USER john.doe@anydomain.com\r\nPASS abcxyz\r\nRETR 1\r\nQUIT\r\n";
    assert_eq!(after.received_octets, said.len() as u64);
    assert!(after.sent_octets > 26_000_000 && after.sent_octets > before.sent_octets);
}

/// What looks at a session the moment it hears that it has ended.
#[derive(Debug, Default)]
struct Looks {
    handle: Mutex<Option<restante_server::Handle>>,
    wrong: AtomicUsize,
    seen: AtomicUsize,
}

impl Observer for Looks {
    fn begin(&self, _: &Begun<'_>) -> Option<Box<dyn Watch>> {
        None
    }

    fn happened(&self, happening: &Happening<'_>) {
        let handle = self.handle.lock().unwrap();
        let Some(handle) = &*handle else { return };
        let right = match happening {
            Happening::Ended { session, .. } => {
                handle.session(&session.session).is_none()
                    && !handle.kick(&session.session)
                    && handle.totals().ended > 0
            }
            Happening::Connected { .. } => handle.totals().on == 1,
            _ => return,
        };
        self.seen.fetch_add(1, Ordering::SeqCst);
        self.wrong.fetch_add(usize::from(!right), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_hears_of_a_session_finds_it_so() {
    let looks = Arc::<Looks>::default();
    let running = Plan { observers: vec![Arc::clone(&looks) as _], ..Plan::default() }.start();
    *looks.handle.lock().unwrap() = Some(running.handle.clone());
    let mut client = logged_in(running.pop3).await;
    client.say("QUIT").await;
    client.rest().await;
    until("both are told", || looks.seen.load(Ordering::SeqCst) == 2).await;
    assert_eq!(looks.wrong.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_kick_wakes_an_idle_session_and_one_before_its_login() {
    let (running, told) = told(Plan::default());
    assert!(!running.handle.kick("00000000-1"), "nobody is on");
    let mut idle = logged_in(running.pop3).await;
    idle.say("DELE 1").await;
    let session = running.handle.sessions()[0].session.clone();
    assert!(!running.handle.kick("nonsense") && !running.handle.kick("00000000-1"), "another server's");
    let began = Instant::now();
    assert!(running.handle.kick(&session));
    assert_eq!(idle.rest().await, b"", "nothing unasked is said");
    assert!(began.elapsed() < Duration::from_secs(10), "at once, not at the end of its time");
    told.tells("ended kicked: ended by the operator", 1).await;
    assert!(!running.handle.kick(&session), "it is over");
    let mut early = connect(running.pop3).await;
    assert!(running.handle.kick(&running.handle.sessions()[0].session));
    assert_eq!(early.rest().await, b"");
    told.tells("ended kicked", 2).await;
    let mut again = logged_in(running.pop3).await;
    assert!(again.say("STAT").await.starts_with("+OK 2 "), "what was marked is there");
    assert_eq!(EndReason::Kicked.name(), "kicked");
}

#[tokio::test]
async fn a_session_is_heard_late_in_either_state() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    let early = Arc::<Ears>::default();
    early.attach(&running);
    assert_eq!(early.joined().await, Some(Phase::Authorization), "at once, though the client says nothing");
    client.log_in().await;
    let late = Arc::<Ears>::default();
    late.attach(&running);
    assert_eq!(late.joined().await, Some(Phase::Transaction));
    client.say("STAT").await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    let login = [
        "C: USER john.doe@anydomain.com",
        "S: +OK send your password",
        "C: PASS [secret]",
        "S: +OK maildrop locked and ready",
    ];
    let end = [
        "C: STAT",
        "S: +OK 2 48",
        "C: QUIT",
        "S: +OK POP3 Server saying Good-Bye",
        "N: S FIN",
        "N: C FIN",
        "ended: quit",
    ];
    assert_eq!(early.ended().await, [&login[..], &end].concat());
    assert_eq!(late.ended().await, end);
    assert_eq!((early.joined.lock().unwrap().len(), late.joined.lock().unwrap().len()), (1, 1));
    assert!(!running.handle.attach("00000000-1", Arc::<Ears>::default()), "nobody is on");
}

#[tokio::test]
async fn a_message_on_its_way_is_not_heard_but_the_next_command_is() {
    let running = large().start();
    let mut client = logged_in(running.pop3).await;
    client.send("RETR 1\r\n").await;
    let sends = || running.handle.sessions()[0].doing == Doing::Answering(Verb::Retr);
    until("it is on its way", sends).await;
    let ears = Arc::<Ears>::default();
    ears.attach(&running);
    swallow(&mut client).await;
    client.say("NOOP").await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    let lines = ears.ended().await;
    assert_eq!(lines[0], "C: NOOP", "{lines:?}");
    assert!(!lines.concat().contains("octets"));
}

#[tokio::test]
async fn no_piece_of_a_secret_is_heard_by_who_comes_in_its_midst() {
    let half = &PASSWORD[..3];
    let name = BASE64.encode("john.doe@anydomain.com");
    let word = BASE64.encode(PASSWORD);
    let whole = BASE64.encode(format!("\0john.doe@anydomain.com\0{PASSWORD}"));
    let user = "USER john.doe@anydomain.com\r\n";
    // What is said, up to where somebody begins to hear, and after it.
    let ways = [
        (format!("{user}PASS {half}"), format!("{}\r\n", &PASSWORD[3..])),
        (format!("{user}PA"), format!("SS {PASSWORD}\r\n")),
        (format!("AUTH PLAIN {}", &whole[..9]), format!("{}\r\n", &whole[9..])),
        ("AUTH PLAIN\r\n".to_owned(), format!("{whole}\r\n")),
        (format!("AUTH PLAIN\r\n{}", &whole[..9]), format!("{}\r\n", &whole[9..])),
        ("AUTH LOGIN\r\n".to_owned(), format!("{name}\r\n{word}\r\n")),
        (format!("AUTH LOGIN\r\n{name}\r\n"), format!("{word}\r\n")),
        (format!("AUTH LOGIN\r\n{name}\r\n{}", &word[..2]), format!("{}\r\n", &word[2..])),
        // In the midst of a line that is too long already.
        (format!("{user}PASS {}", "y".repeat(600)), format!("{PASSWORD}\r\n{user}PASS {PASSWORD}\r\n")),
    ];
    for (before, after) in ways {
        let running = Plan::default().start();
        let mut client = connect(running.pop3).await;
        client.send(&before).await;
        let received = || running.handle.totals().received_octets;
        until("it was read", || received() == before.len() as u64).await;
        let ears = Arc::<Ears>::default();
        ears.attach(&running);
        // What wakes it has been looked at, more than once.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(ears.joined.lock().unwrap().is_empty(), "{before:?}: it is heard in the midst of it");
        client.send(&after).await;
        until("it is heard then", || !ears.joined.lock().unwrap().is_empty()).await;
        client.send("STAT\r\nQUIT\r\n").await;
        client.rest().await;
        drop(client);
        let text = ears.ended().await.join("\n");
        for secret in [half, &PASSWORD[3..], &word, &word[2..], &whole[9..], "yyy"] {
            assert!(!text.replace("\\|", "").contains(secret), "{secret} of {before:?} in\n{text}");
        }
        assert!(text.contains("C: STAT\n") && text.contains("S: +OK 2 48\n"), "{before:?}\n{text}");
    }
}

#[tokio::test]
async fn who_has_heard_enough_hears_no_more_and_others_do() {
    let running = Plan::default().start();
    let mut client = logged_in(running.pop3).await;
    let (short, long) = (Arc::new(Ears { enough: Some(1), ..Ears::default() }), Arc::<Ears>::default());
    for ears in [&short, &long, &long] {
        ears.attach(&running);
    }
    until("all three hear", || short.joined.lock().unwrap().len() + long.joined.lock().unwrap().len() == 3)
        .await;
    client.say("NOOP").await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    let lines = long.ended().await;
    assert_eq!(lines.iter().filter(|line| *line == "C: NOOP").count(), 2, "it was attached twice");
    assert_eq!(short.text(), "C: NOOP\n", "nor is it told of the end");
    // And a session that nobody hears any more can be heard anew.
    let mut client = logged_in(running.pop3).await;
    short.attach(&running);
    until("it hears", || short.joined.lock().unwrap().len() == 2).await;
    client.say("STAT").await;
    until("it has heard", || short.text() == "C: NOOP\nC: STAT\n").await;
    short.attach(&running);
    until("it hears again", || short.joined.lock().unwrap().len() == 3).await;
    client.say("LIST 1").await;
    until("it has heard", || short.text() == "C: NOOP\nC: STAT\nC: LIST 1\n").await;
}

#[tokio::test]
async fn being_heard_does_not_lengthen_an_idle_session() {
    let mut plan = Plan::default();
    plan.settings.limits.idle = SHORT * 5;
    let (running, told) = told(plan);
    let mut client = logged_in(running.pop3).await;
    let began = Instant::now();
    let ears = Arc::<Ears>::default();
    let session = running.handle.sessions()[0].session.clone();
    let heard = async {
        while running.handle.attach(&session, Arc::clone(&ears) as _) {
            tokio::time::sleep(SHORT).await; // who looks again and again
            assert!(began.elapsed() < PATIENCE, "it is not ended");
        }
    };
    heard.await;
    assert_eq!(client.rest().await, b"");
    told.tells("ended autologout", 1).await;
    assert!(began.elapsed() >= SHORT * 4, "{:?}", began.elapsed());
    assert!(began.elapsed() < SHORT * 25, "{:?}", began.elapsed());
}
