//! What is known of sessions besides their list, and what is told where nobody is asked: marks, failed logins, places to
//! listen, handshakes that were cut off.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::UserName;
use restante_server::{Doing, Port, Server, SessionFacts, Settings, Transcripts};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use world::{
    Client, PASSWORD, Plan, Running, client_config, connect, logged_in, mail,
    told::{Ears, Told, told, until},
    user,
};

const SHORT: Duration = Duration::from_millis(200);

fn first(running: &Running) -> SessionFacts {
    running.handle.sessions()[0].clone()
}

#[tokio::test]
async fn what_is_marked_is_known_until_it_is_removed() {
    let (running, told) = told(Plan { store: Arc::new(mail(&["a\n", "b\n", "c\n"])), ..Plan::default() });
    let mut client = logged_in(running.pop3).await;
    for (line, marked) in [("DELE 1", 1), ("DELE 3", 2), ("DELE 3", 2), ("RSET", 0), ("DELE 2", 1)] {
        client.say(line).await;
        until(line, || (first(&running).marked, first(&running).deleted) == (marked, 0)).await;
    }
    client.say("QUIT").await;
    told.tells("ended quit", 1).await;
    let mut client = logged_in(running.pop3).await;
    client.say("DELE 1").await;
    drop(client);
    told.tells("ended", 2).await;
    let ends = told.ends.lock().unwrap().clone();
    let ends: Vec<_> = ends.iter().map(|facts| (facts.marked, facts.deleted)).collect();
    assert_eq!(ends, [(0, 1), (1, 0)], "and without QUIT what stays is known, too");
}

#[tokio::test]
async fn who_tried_to_log_in_is_known_and_no_password_is() {
    let (running, _told) = told(Plan::default());
    let mut client = connect(running.pop3).await;
    let known = || (first(&running).tried, first(&running).failed_logins);
    assert_eq!(known(), (None, 0));
    // Typed where the name belongs.
    client.say(&format!("USER {PASSWORD}")).await;
    client.say("PASS john.doe@anydomain.com").await;
    until("one has failed", || known() == (None, 1)).await;
    client.say(&format!("AUTH PLAIN {}", BASE64.encode("\0john.doe@anydomain.com\0wrong"))).await;
    until("another has", || known() == (Some(user()), 2)).await;
    client.say("AUTH NTLM").await;
    until("and one of no kind", || known() == (Some(user()), 3)).await;
    client.log_in().await;
    assert_eq!((known(), first(&running).user), ((Some(user()), 3), Some(user())));
}

#[tokio::test]
async fn where_it_listens_is_known_after_a_reload_and_after_the_end() {
    let running = Plan::default().start();
    let places = || running.handle.listening();
    assert_eq!(places(), [(running.pop3, Port::Pop3), (running.pop3s, Port::Pop3s)]);
    let any = "127.0.0.1:0".parse().unwrap();
    let plan =
        Plan { settings: Settings { pop3s: Vec::new(), ..Plan::default().settings }, ..Plan::default() };
    running.handle.reload(plan.config(running.folder.path())).await.unwrap();
    assert_eq!(places(), [(running.pop3, Port::Pop3)], "what stays keeps its port");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let broken =
        Plan { settings: Settings { pop3s: vec![taken.1], ..Plan::default().settings }, ..Plan::default() };
    assert!(running.handle.reload(broken.config(running.folder.path())).await.is_err());
    assert_eq!(places(), [(running.pop3, Port::Pop3)], "and a reload that failed changes nothing");
    let moved = Plan {
        settings: Settings { pop3: Vec::new(), pop3s: vec![any], ..Plan::default().settings },
        ..Plan::default()
    };
    running.handle.reload(moved.config(running.folder.path())).await.unwrap();
    let [(address, Port::Pop3s)] = places()[..] else { panic!("{:?}", places()) };
    TcpStream::connect(address).await.unwrap();
    running.handle.stop().await;
    until("it listens no more", || places().is_empty()).await;
}

#[tokio::test]
async fn logins_about_which_nobody_is_asked_are_told() {
    let (running, told) = told(Plan::default());
    let mut client = connect(running.pop3).await;
    // Several at once, and no mechanism of the client's own choice among them.
    client
        .send("AUTH PLAIN !!!\r\nauth plain =!\r\nAUTH NTLM\r\nAUTH \u{1}X\r\nAUTH\r\nAUTH LOGIN ?\r\n")
        .await;
    told.tells("AUTH true 1", 1).await;
    let expected =
        ["login PLAIN malformed"; 2].into_iter().chain(["login  malformed", "login LOGIN malformed"]);
    let mut logins = told.of("login");
    logins.dedup();
    assert!(expected.clone().all(|line| logins.iter().any(|login| login == line)), "{logins:?}");
    assert_eq!(told.of("login PLAIN").len(), 2);
    assert!(logins.iter().all(|login| expected.clone().any(|line| login == line)), "{logins:?}");
}

#[tokio::test]
async fn a_login_in_a_server_that_stops_is_told() {
    let (running, told) = told(Plan::default());
    let _keeps_it_up = logged_in(running.pop3).await;
    let mut client = connect(running.pop3).await;
    client.say("USER john.doe@anydomain.com").await;
    running.handle.stop().await;
    until("it stops", || !running.handle.is_serving()).await;
    let answer = client.say(&format!("PASS {PASSWORD}")).await;
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    client
        .say(&format!("AUTH PLAIN {}", BASE64.encode(format!("\0john.doe@anydomain.com\0{PASSWORD}"))))
        .await;
    told.tells("AUTH false", 1).await;
    assert_eq!(told.of("login"), ["login USER accepted", "login USER stopping", "login PLAIN stopping"]);
}

#[tokio::test]
async fn too_many_logins_at_once_are_told() {
    let told = Arc::<Told>::default();
    let plan = Plan { observers: vec![Arc::clone(&told) as _], ..Plan::default() };
    let folder = tempfile::tempdir().unwrap();
    world::write_certificate(folder.path());
    let mut config = plan.config(folder.path());
    // To verify it takes far longer than to answer another.
    let hash = "{CRYPT}$6$rounds=30000$saltsalt$".to_owned() + &"a".repeat(86);
    let stored = StoredPassword::parse(hash.as_bytes()).unwrap();
    let directory = MemoryDirectory::new([(UserName::new("slow").unwrap(), stored)]);
    let settings = restante_auth::Settings {
        threads: 1,
        queue: 0,
        failure_delay_first: Duration::ZERO,
        ..Default::default()
    };
    config.verifier = Arc::new(Verifier::new(Arc::new(directory), &settings));
    let server = Server::bind(config).unwrap();
    let (handle, (address, _)) = (server.handle(), server.addresses()[0]);
    tokio::spawn(server.run());
    let (mut one, mut other) = (connect(address).await, connect(address).await);
    one.send("USER slow\r\nPASS wrong\r\n").await;
    let verified = || matches!(handle.sessions()[0].doing, Doing::Answering(_));
    until("the first is verified", verified).await;
    other.say("USER slow").await;
    assert!(other.say("PASS wrong").await.starts_with("-ERR [SYS/TEMP]"));
    told.tells("login USER credentials", 1).await;
    assert_eq!(told.of("login"), ["login USER busy", "login USER credentials"]);
    assert_eq!(handle.sessions()[1].tried, None, "nothing was found out about the name");
}

#[tokio::test]
async fn a_handshake_that_is_cut_off_has_failed() {
    let mut plan = Plan::default();
    plan.settings.limits.login = SHORT * 5;
    let (running, told) = told(plan);
    let shakes = |count| {
        let on = running.handle.sessions();
        on.iter().filter(|session| session.doing == Doing::Handshake).count() == count
    };
    let mut kicked = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    until("it shakes hands", || shakes(1)).await;
    assert!(running.handle.kick(&first(&running).session));
    kicked.rest().await;
    told.tells("ended kicked", 1).await;
    assert_eq!(told.of("not secured").len(), 1);
    // Its first octets came, and no more.
    let mut late = connect(running.pop3).await;
    late.say("STLS").await;
    late.send([0x16, 3, 1]).await;
    late.rest().await;
    told.tells("ended login-timeout", 1).await;
    assert_eq!(told.of("not secured").len(), 2);
    // Who speaks no TLS, or has done with the handshake, is no failure.
    let mut plain = connect(running.pop3).await;
    plain.rest().await;
    let secure = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut secure = secure.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    secure.rest().await;
    told.tells("ended login-timeout", 3).await;
    assert_eq!(told.of("not secured").len(), 2);
}

#[tokio::test]
async fn who_only_looks_whether_the_tls_port_is_open_is_no_failure() {
    let (running, told) = told(Plan::default());
    drop(TcpStream::connect(running.pop3s).await.unwrap());
    told.tells("ended", 1).await;
    let reset = TcpStream::connect(running.pop3s).await.unwrap();
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    told.tells("ended", 2).await;
    let end = "ended disconnected: the client went away without a word; 0 commands";
    assert_eq!(told.lines(), ["connected pop3s", end, "connected pop3s", end]);
}

#[tokio::test]
async fn who_comes_late_hears_what_a_transcript_has_too() {
    let folder = tempfile::tempdir().unwrap();
    let writes = Transcripts::in_folder(folder.path()).unwrap();
    let plan = Plan { observers: vec![Arc::new(writes.clone())], ..Plan::default() };
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.say("NOOP").await;
    let ears = Arc::<Ears>::default();
    ears.attach(&running);
    ears.joined().await;
    client.say("STAT").await;
    client.say("QUIT").await;
    client.rest().await;
    drop(client);
    let heard = ears.ended().await;
    assert_eq!((heard[0].as_str(), heard.last().unwrap().as_str()), ("C: STAT", "ended: quit"));
    let written = || {
        let texts =
            fs::read_dir(folder.path()).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()));
        texts.map(Result::unwrap).collect::<String>()
    };
    until("it is written", || written().contains("# The session ended: quit\n")).await;
    let text = written();
    let dialogue = restante_proto::dialogue::Dialogue::parse(text.as_bytes()).unwrap();
    let lines: Vec<_> = dialogue
        .events
        .into_iter()
        .map(|event| restante_proto::dialogue::Event::new(event.kind).to_string())
        .collect();
    assert_eq!(lines[0], "N: connect", "{text}");
    let tail = &lines[lines.len() + 1 - heard.len()..];
    assert_eq!(tail, &heard[..heard.len() - 1], "each once\n{text}");
    assert!(!text.contains(PASSWORD) && lines.iter().filter(|line| *line == "C: STAT").count() == 1);
}

#[tokio::test]
async fn who_comes_in_the_midst_of_stls_hears_no_octet_of_it() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    client.send("ST").await;
    until("it was read", || running.handle.totals().received_octets == 2).await;
    let ears = Arc::<Ears>::default();
    ears.attach(&running);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(ears.joined.lock().unwrap().is_empty(), "it is heard in the midst of it");
    client.say("LS").await;
    let mut client = client.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    client.say("USER john.doe@anydomain.com").await;
    client.say(&format!("PASS {PASSWORD}")).await;
    client.say("QUIT").await;
    drop(client);
    let lines = ears.ended().await;
    let begin = ["C: USER john.doe@anydomain.com", "S: +OK send your password", "C: PASS [secret]"];
    assert_eq!(lines[..3], begin, "{lines:?}");
}
