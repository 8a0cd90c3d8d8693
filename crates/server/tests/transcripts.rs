//! Sessions written down as dialogues: what is said and what happens to the connection, no secret, and never at the cost of
//! the session.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::dialogue::{Dialogue, Event};
use restante_server::{Begun, Bounds, Observer, Port, Transcripts, Watch};
use rustls::version::{TLS12, TLS13};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use world::{Client, PASSWORD, PATIENCE, Plan, Running, client_config, connect, logged_in, mail, user};

/// A server that writes sessions down into a folder.
fn recording(mut plan: Plan) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    plan.observers = vec![Arc::new(Transcripts::in_folder(folder.path()).unwrap())];
    (plan.start(), folder)
}

/// The transcripts in a folder, in the order of their sessions, once there are so many that are complete.
async fn transcripts(folder: &Path, count: usize) -> Vec<String> {
    let complete = async {
        loop {
            let mut found = BTreeMap::new();
            for entry in fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let text = fs::read_to_string(folder.join(&name)).unwrap();
                let (stem, number) = name.strip_suffix(".pop3").unwrap().rsplit_once('-').unwrap();
                assert!(stem.len() == "20050401T075600Z-0123abcd".len() && stem.contains("Z-"), "{name}");
                if text.contains("\n# The session ended: ") && text.ends_with('\n') {
                    found.insert(number.parse::<u64>().unwrap(), text);
                }
            }
            if found.len() >= count {
                return found.into_values().collect();
            }
            tokio::task::yield_now().await;
        }
    };
    let texts: Vec<String> = timeout(PATIENCE, complete).await.expect("the transcripts are complete");
    texts.iter().for_each(|text| drop(dialogue(text)));
    texts
}

#[track_caller]
fn dialogue(text: &str) -> Dialogue {
    Dialogue::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The events without their times, and the last line.
#[track_caller]
fn events(text: &str) -> Vec<String> {
    let events = dialogue(text).events.into_iter().map(|event| {
        assert!(event.at.is_some(), "{event}");
        Event::new(event.kind).to_string()
    });
    events.chain(text.lines().last().map(str::to_owned)).collect()
}

const LOGIN: [&str; 6] = [
    "N: connect",
    "S: +OK X1 POP3 Server",
    "C: USER john.doe@anydomain.com",
    "S: +OK send your password",
    "C: PASS [secret]",
    "S: +OK maildrop locked and ready",
];

#[tokio::test]
async fn a_session_is_a_dialogue_from_connect_to_the_last_fin() {
    let (running, folder) = recording(Plan::default());
    let mut client = logged_in(running.pop3).await;
    let address = client.stream.local_addr().unwrap().to_string();
    client.say("LIST").await;
    client.block().await;
    client.say("RETR 2").await;
    client.block().await;
    client.say("DELE 1").await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    let texts = transcripts(folder.path(), 1).await;
    let expected = [
        &LOGIN[..],
        &["C: LIST", "S: +OK 2 messages (48 octets)", "S: 1 23", "S: 2 25", "S: ."],
        &["C: RETR 2", "S: +OK 25 octets", "S: [25 octets]", "S: ."],
        &["C: DELE 1", "S: +OK msg deleted", "C: QUIT", "S: +OK POP3 Server saying Good-Bye"],
        &["N: S FIN", "N: C FIN", "# The session ended: quit"],
    ];
    assert_eq!(events(&texts[0]), expected.concat());
    let head = dialogue(&texts[0]).head;
    assert_eq!(head.client.as_deref(), Some(address.as_str()));
    assert_eq!(head.server.as_deref(), Some(running.pop3.to_string().as_str()));
    assert_eq!(head.hostname.as_deref(), Some("X1"));
    assert!(texts[0].contains("\ntls: stls\n"), "{}", texts[0]);
    // The name says when it was, as the head does.
    let name = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    let started = head.started.unwrap().replace(['-', ':'], "");
    assert!(name.file_name().to_str().unwrap().starts_with(&format!("{started}-")));
    assert_eq!(name.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn tls_sessions_are_there_in_full() {
    let (running, folder) = recording(Plan::default());
    for version in [&TLS12, &TLS13] {
        let config = client_config(&running.certificate, &[b"pop3"], &[version]);
        let mut plain = connect(running.pop3).await;
        assert_eq!(plain.say("STLS").await, "+OK begin TLS negotiation");
        let mut client = plain.secure(Arc::clone(&config)).await.unwrap();
        client.log_in().await;
        client.send("STAT\r\nQUIT\r\n").await;
        client.rest().await;
        client.stream.shutdown().await.unwrap();
        let plain = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        let mut client = plain.secure(config).await.unwrap();
        client.line().await;
        client.log_in().await;
        client.send("STAT\r\nQUIT\r\n").await;
        client.rest().await;
        client.stream.shutdown().await.unwrap();
    }
    let texts = transcripts(folder.path(), 4).await;
    for (text, version) in texts.iter().zip(["TLSv1.2", "TLSv1.2", "TLSv1.3", "TLSv1.3"]) {
        let lines = events(text);
        let handshake = lines.iter().find(|line| line.starts_with("T: handshake")).unwrap();
        assert!(handshake.contains(&format!(" version={version} cipher=TLS_")), "{handshake}");
        assert!(handshake.ends_with(" name=localhost alpn=pop3"), "{handshake}");
        let end = [
            "C: QUIT",
            "S: +OK 2 48",
            "S: +OK POP3 Server saying Good-Bye",
            "T: S close",
            "N: S FIN",
            "T: C close",
            "# The session ended: quit",
        ];
        assert!(lines.ends_with(&end.map(String::from)), "{text}");
        assert!(lines.contains(&LOGIN[4].to_owned()), "{text}");
    }
    let at = |text: &str, line: &str| events(text).iter().position(|found| found.starts_with(line)).unwrap();
    assert!(texts[0].contains("\ntls: stls\n") && texts[1].contains("\ntls: implicit\n"));
    assert_eq!(at(&texts[0], "T: handshake"), at(&texts[0], "S: +OK begin TLS negotiation") + 1);
    assert_eq!(at(&texts[1], "T: handshake"), 1);
}

#[tokio::test]
async fn a_handshake_that_fails_is_told() {
    let (running, folder) = recording(Plan::default());
    let mut client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    client.send("USER a\r\n").await;
    client.rest().await;
    let mut client = connect(running.pop3).await;
    client.say("STLS").await;
    client.send("USER a\r\n").await;
    client.rest().await;
    let untrusting = client_config(&world::write_certificate(folder.path()), &[], &[&TLS13]);
    fs::remove_file(folder.path().join("cert.pem")).unwrap();
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    let client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    assert!(client.secure(untrusting).await.is_err());
    drop(TcpStream::connect(running.pop3s).await.unwrap());
    let texts = transcripts(folder.path(), 4).await;
    let ends = [
        ["T: failed", "N: S RST", "# The session ended: clear text on the TLS port"],
        ["T: failed", "N: S FIN", "# The session ended: TLS handshake: the client does not speak TLS"],
        ["T: failed", "N: S FIN", "# The session ended: TLS handshake: the client ended the handshake with"],
        ["N: C FIN", "N: S FIN", "# The session ended: the client went away without a word"],
    ];
    for (text, end) in texts.iter().zip(ends) {
        let lines = events(text);
        let last = &lines[lines.len() - 3..];
        assert!(last.iter().zip(end).all(|(line, start)| line.starts_with(start)), "{end:?}\n{text}");
    }
    assert!(!texts[3].contains("T: failed"), "who only looks whether it is open begins no handshake");
}

/// Everything that must not be seen: the password in each of its clothes.
fn secrets(password: &str) -> Vec<String> {
    // In the middle of base64 it looks otherwise at each of three places.
    let shifted = (0..3).map(|by| {
        let base64 = BASE64.encode(format!("{}{password}", "x".repeat(by)));
        base64[4..base64.len() - 4].to_owned()
    });
    let all = [password.to_owned(), BASE64.encode(password)].into_iter().chain(shifted);
    all.filter(|secret| !secret.is_empty()).collect()
}

#[tokio::test]
async fn no_way_to_log_in_leaves_a_secret_behind() {
    const WRONG: &str = "open-sesame-7";
    let (running, folder) = recording(Plan::default());
    let plain = |password: &str| BASE64.encode(format!("\0john.doe@anydomain.com\0{password}"));
    let name = BASE64.encode("john.doe@anydomain.com");
    for password in [WRONG, PASSWORD] {
        let (whole, word) = (plain(password), BASE64.encode(password));
        for way in [
            format!("USER john.doe@anydomain.com\r\nPASS {password}\r\n"),
            format!("USER {password}\r\nPASS {password}\r\n"),
            format!("PASS {password}\r\nUSER john.doe@anydomain.com\r\nPASS  {password}\r\n"),
            format!("pass{password}\r\n{password}\r\nXYZZY {password}\r\n"),
            format!("AUTH PLAIN {whole}\r\n"),
            format!("AUTH PLAIN\r\n{whole}\r\n"),
            format!("AUTH LOGIN\r\n{name}\r\n{word}\r\n"),
            format!("AUTH LOGIN {name}\r\n{word}\r\n"),
            format!("AUTH {whole}\r\n"),
            format!("APOP john.doe@anydomain.com {password}\r\n"),
        ] {
            // A name that is a password may be seen: it is told from none.
            let is_name = way.starts_with(&format!("USER {password}"));
            for piece in if is_name { vec![] } else { vec![way.len(), 1, 7] } {
                let mut client = connect(running.pop3).await;
                for octets in way.as_bytes().chunks(piece) {
                    client.send(octets).await;
                    tokio::task::yield_now().await;
                }
                client.send("STAT\r\nQUIT\r\n").await;
                client.rest().await;
            }
        }
    }
    let texts = transcripts(folder.path(), 2 * 9 * 3).await;
    for text in &texts {
        // Not in pieces either.
        let joined = text.replace("\\|", "");
        for secret in secrets(WRONG).into_iter().chain(secrets(PASSWORD)) {
            assert!(!joined.contains(&secret), "{secret} in\n{text}");
        }
        assert!(!text.contains(&plain(WRONG)) && !text.contains(&plain(PASSWORD)), "{text}");
        assert!(text.contains("S: +OK POP3 Server saying Good-Bye"), "{text}");
    }
    assert!(texts.iter().any(|text| text.contains("S: -ERR [AUTH] ")), "a wrong password is told");
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_by_how_it_went() {
    let mut plan = Plan::default();
    plan.settings.limits.takeover_idle = Duration::ZERO;
    let (running, folder) = recording(plan);
    // It closes without QUIT, in the middle of a line.
    let mut client = logged_in(running.pop3).await;
    client.send("STAT").await;
    client.stream.shutdown().await.unwrap();
    client.rest().await;
    drop(client);
    transcripts(folder.path(), 1).await;
    // It resets.
    let client = logged_in(running.pop3).await;
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    transcripts(folder.path(), 2).await;
    // It ends TCP, and TLS knows nothing of it.
    let plain = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut client = plain.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    client.line().await;
    client.stream.get_mut().0.shutdown().await.unwrap();
    client.rest().await;
    let texts = transcripts(folder.path(), 3).await;
    let ends = [
        vec!["C: STAT\\", "N: C FIN", "N: S FIN", "# The session ended: disconnected without quit"],
        vec!["S: +OK maildrop locked and ready", "N: C RST"],
        vec!["N: C FIN", "T: S close", "N: S FIN", "# The session ended: disconnected without quit"],
    ];
    for (text, end) in texts.iter().zip(ends) {
        let lines = events(text);
        assert!(lines.windows(end.len()).any(|lines| lines == end), "{end:?}\n{text}");
    }
    assert!(texts[1].lines().last().unwrap().starts_with("# The session ended: connection: "));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_told_by_the_timeout() {
    let mut plan = Plan::default();
    plan.settings.limits.login = Duration::from_millis(200);
    let (running, folder) = recording(plan);
    let mut client = connect(running.pop3).await;
    client.rest().await;
    drop(client);
    let texts = transcripts(folder.path(), 1).await;
    let end = ["N: timeout", "N: S FIN", "N: C FIN", "# The session ended: no login in time"];
    assert_eq!(events(&texts[0])[2..], end);
}

#[tokio::test]
async fn bodies_are_their_lengths_and_dots_are_not_counted_twice() {
    let message = format!("Subject: large\n\n{}", ".a line that begins with a dot\n".repeat(100_000));
    let store = mail(&[&message, "Subject: small\n\nline\n"]);
    let (running, folder) = recording(Plan { store: Arc::new(store), ..Plan::default() });
    let mut client = logged_in(running.pop3).await;
    client.send("RETR 1\r\nTOP 1 2\r\nRETR 2\r\nQUIT\r\n").await;
    let sent = client.rest().await.len();
    drop(client);
    let canonical = message.len() + message.matches('\n').count();
    assert!(sent > canonical + 100_000, "the dots were stuffed");
    let texts = transcripts(folder.path(), 1).await;
    let lines = events(&texts[0]);
    let whole = [format!("S: +OK {canonical} octets"), format!("S: [{canonical} octets]"), "S: .".to_owned()];
    assert!(lines.windows(3).any(|lines| lines == whole), "{}", texts[0]);
    assert!(texts[0].len() < 2000, "{}", texts[0]);
}

#[tokio::test]
async fn what_is_pipelined_shows_where_it_was_cut() {
    let (running, folder) = recording(Plan::default());
    let mut client = connect(running.pop3).await;
    client.send("USER john.doe@anydomain.com\r\nPA").await;
    client.line().await;
    client.send(format!("SS {}", &PASSWORD[..3])).await;
    tokio::task::yield_now().await;
    client.send(format!("{}\r\nSTAT\r\nLIST\r\nQU", &PASSWORD[3..])).await;
    for _ in 0..5 {
        client.line().await;
    }
    client.send("IT\r\n").await;
    client.rest().await;
    drop(client);
    let texts = transcripts(folder.path(), 1).await;
    let lines = events(&texts[0]);
    // Nothing tells whether, and where, the password itself was cut.
    let said: Vec<_> = lines.iter().filter(|line| line.starts_with("C: ")).map(String::as_str).collect();
    assert_eq!(said[1..], ["C: PA\\|SS [secret]", "C: STAT", "C: LIST", "C: QU\\|IT"], "{}", texts[0]);
}

#[tokio::test]
async fn what_nobody_reads_behind_the_last_word_is_not_there() {
    let (running, folder) = recording(Plan::default());
    let mut client = logged_in(running.pop3).await;
    client.send(format!("QUIT\r\n{}", "NOOP\r\n".repeat(20_000))).await;
    assert_eq!(client.rest().await, b"+OK POP3 Server saying Good-Bye\r\n");
    drop(client);
    let texts = transcripts(folder.path(), 1).await;
    let lines = events(&texts[0]);
    let end = ["N: S FIN", "N: C FIN", "# The session ended: quit"];
    assert!(lines.ends_with(&end.map(String::from)), "{:?}", lines.last_chunk::<5>());
    assert!(lines.len() < 3000, "what came with QUIT: {}", lines.len());
}

/// Text in memory.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<Vec<u8>>>);

impl Place {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Place {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_that_is_stuck_slows_no_session_and_what_it_misses_is_told() {
    let (go, stuck) = mpsc::channel::<()>();
    let (stuck, place) = (Mutex::new(stuck), Place::default());
    let written = place.clone();
    let transcripts = Transcripts::new(Bounds { queue_octets: 3000, ..Bounds::default() }, move |_| {
        // Until the test is over with its sessions.
        let _gone = stuck.lock().unwrap().recv();
        Ok(Box::new(written.clone()) as Box<dyn Write + Send>)
    })
    .unwrap();
    let running = Plan { observers: vec![Arc::new(transcripts.clone())], ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    for _ in 0..200 {
        assert_eq!(client.say("LIST").await, "+OK 2 messages (48 octets)");
        client.block().await;
    }
    assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    client.rest().await;
    drop(client);
    // Nor is there a place in the queue for this one.
    let mut client = logged_in(running.pop3).await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    assert_eq!(place.text(), "", "nothing is written yet");
    assert!(!transcripts.written(Duration::ZERO), "and it is known that it is not");
    drop(go);
    assert!(transcripts.written(PATIENCE));
    timeout(PATIENCE, async {
        while !place.text().contains("# The session ended: quit\n") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the transcript is complete");
    let text = place.text();
    dialogue(&text);
    let left_out: usize = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(" events are left out here: writing"))
        .map(|(count, _)| count.parse::<usize>().unwrap())
        .sum();
    let there = dialogue(&text).events.len();
    // Connect, greeting, four lines of the login, five of each LIST, two of QUIT, and the two ends.
    assert_eq!(left_out + there, 6 + 200 * 5 + 2 + 2, "{text}");
    assert!(left_out > 500, "{text}");
    assert!(text.len() < 4000, "{text}");
}

#[tokio::test]
async fn a_transcript_that_is_full_says_so_and_still_tells_the_end() {
    let place = Place::default();
    let written = place.clone();
    let transcripts = Transcripts::new(Bounds { transcript_octets: 1000, ..Bounds::default() }, move |_| {
        Ok(Box::new(written.clone()) as Box<dyn Write + Send>)
    })
    .unwrap();
    let running = Plan { observers: vec![Arc::new(transcripts)], ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    for _ in 0..100 {
        client.say("NOOP").await;
    }
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    timeout(PATIENCE, async {
        while !place.text().contains("# The session ended") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the transcript is complete");
    let text = place.text();
    let lines: Vec<_> = text.lines().collect();
    let [.., missing, fin, _, end] = lines.as_slice() else { panic!("{text}") };
    assert!(missing.ends_with(" events are left out here: the transcript is full"), "{text}");
    assert!(fin.ends_with("N: S FIN") && *end == "# The session ended: quit", "{text}");
    let left_out: usize = missing.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(left_out + dialogue(&text).events.len(), 6 + 200 + 2 + 2);
    assert!(text.len() < 1400, "{text}");
}

#[tokio::test]
async fn a_transcript_that_cannot_be_written_does_not_touch_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let gone = Transcripts::in_folder(&folder.path().join("gone")).unwrap();
    let full = Transcripts::new(Bounds::default(), |_| {
        Ok(Box::new(fs::File::options().write(true).open("/dev/full")?) as Box<dyn Write + Send>)
    })
    .unwrap();
    let plan = Plan { observers: vec![Arc::new(gone.clone()), Arc::new(full)], ..Plan::default() };
    let (settings, store) = (plan.settings.clone(), Arc::clone(&plan.store));
    let running = plan.start();
    for _ in 0..3 {
        let mut client = logged_in(running.pop3).await;
        assert_eq!(client.say("STAT").await, "+OK 2 48");
        client.say("QUIT").await;
        client.rest().await;
    }
    // Another folder by a reload: for who comes from now on.
    let observers: Vec<Arc<dyn Observer>> = vec![Arc::new(gone.moved(folder.path()))];
    let plan = Plan { settings, store, observers, ..Plan::default() };
    running.handle.reload(plan.config(running.folder.path())).await.unwrap();
    let mut client = logged_in(running.pop3).await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    assert_eq!(events(&transcripts(folder.path(), 1).await[0])[..6], LOGIN);
}

/// Hears of sessions at one port, and keeps what it hears up to a line.
#[derive(Debug)]
struct Ear {
    port: Port,
    until: &'static str,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Observer for Ear {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        assert!(session.client().ip().is_loopback());
        let keep = || {
            Box::new(Kept { session: session.session(), until: self.until, heard: Arc::clone(&self.heard) })
        };
        (session.port() == self.port).then(|| keep() as Box<dyn Watch>)
    }
}

struct Kept {
    session: String,
    until: &'static str,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Watch for Kept {
    fn events(&mut self, events: &[Event]) -> ControlFlow<()> {
        let lines: Vec<_> = events.iter().map(|event| Event::new(event.kind.clone()).to_string()).collect();
        let last = lines.contains(&self.until.to_owned());
        self.heard.lock().unwrap().extend(lines);
        if last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn ended(&mut self, why: &str) {
        self.heard.lock().unwrap().push(format!("{}: {why}", self.session));
    }
}

#[tokio::test]
async fn an_observer_hears_of_the_sessions_that_it_wants_as_they_run() {
    let log = world::log();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let short: Arc<Mutex<Vec<String>>> = Arc::default();
    let ear = |port, until, heard: &Arc<_>| Arc::new(Ear { port, until, heard: Arc::clone(heard) });
    let observers: Vec<Arc<dyn Observer>> = vec![
        ear(Port::Pop3s, "", &heard),
        ear(Port::Pop3, "", &heard),
        ear(Port::Pop3, "S: +OK X1 POP3 Server", &short),
    ];
    let running = Plan { observers, ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    assert_eq!(heard.lock().unwrap().as_slice(), LOGIN, "the session still runs");
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    log.shows(&format!("user=\"{}\"", user().as_str())).await;
    let last = || heard.lock().unwrap().last().cloned().unwrap();
    timeout(PATIENCE, async {
        while !last().ends_with("-1: quit") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it hears of the end");
    log.shows(&format!("session={}", last().strip_suffix(": quit").unwrap())).await;
    assert_eq!(heard.lock().unwrap().len(), 6 + 2 + 2 + 1, "and nothing twice");
    assert_eq!(short.lock().unwrap().as_slice(), &LOGIN[..2], "who has heard enough hears no more");
}
