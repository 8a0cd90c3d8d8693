//! What a running server answers to those who look at it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use hyper::StatusCode;
use restante_admin::facts::{All, Change, Ended, Heard, Lock, Session};
use world::{PASSWORD, USER, world, world_that};

#[tokio::test]
async fn sessions_are_listed_while_they_are_on_and_when_they_have_ended() {
    let world = world().await;
    let mut client = world.log_in().await;
    client.say("STAT").await;
    let (_, body) = world.get("/sessions").await;
    let all: All = serde_json::from_str(&body).unwrap();
    let [session] = all.on.as_slice() else { panic!("{body}") };
    assert_eq!(
        (session.user.as_deref(), session.phase.as_str(), session.doing.as_str()),
        (Some(USER), "TRANSACTION", "waits")
    );
    assert_eq!((session.commands, session.port.as_str(), session.tls.is_none()), (3, "pop3", true));
    assert!(
        session.received_octets > 40 && session.sent_octets > 60 && all.now_ms >= session.began_ms,
        "{body}"
    );
    assert_eq!((all.hostname.as_str(), all.totals.on, all.ended.len()), ("X1", 1, 0));
    let places: Vec<_> = all.listening.iter().map(|place| (place.port.as_str(), &place.address)).collect();
    assert_eq!(places, [("pop3", session.server.as_ref().unwrap())]);
    assert_eq!((session.marked, session.failed_logins, session.tried.as_deref()), (0, 0, None));
    let (_, one) = world.get(&format!("/sessions/{}", session.session)).await;
    assert_eq!(serde_json::from_str::<Session>(&one).unwrap().session, session.session);
    client.say("DELE 1").await;
    client.say("QUIT").await;
    world.until("it ends", |handle| handle.sessions().is_empty()).await;
    let (_, one) = world.get(&format!("/sessions/{}", session.session)).await;
    let ended: Ended = serde_json::from_str(&one).unwrap();
    assert_eq!((ended.why.as_str(), ended.heard, ended.session.deleted), ("quit", false, 1));
    let (_, body) = world.get("/sessions").await;
    let all: All = serde_json::from_str(&body).unwrap();
    assert_eq!((all.on.len(), all.ended), (0, vec![ended]));
    assert_eq!((all.totals.on, all.totals.ended), (0, 1));
    let (status, _) = world.get("/sessions/6b0afa0a-99").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = world.get(&format!("/sessions/{}/dialogue", session.session)).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nobody watched");
}

#[tokio::test]
async fn the_list_tells_what_changes() {
    let world = world().await;
    let mut list = world.follow("/sessions/events").await;
    let all: All = serde_json::from_str(&list.event("all").await).unwrap();
    assert!(all.on.is_empty() && all.ended.is_empty());
    let mut client = world.log_in().await;
    let began = loop {
        let change: Change = serde_json::from_str(&list.event("change").await).unwrap();
        if let [session] = change.on.as_slice()
            && session.user.is_some()
        {
            break session.session.clone();
        }
    };
    client.say("QUIT").await;
    let (mut gone, mut ended) = (Vec::new(), Vec::new());
    while gone.is_empty() || ended.is_empty() {
        let change: Change = serde_json::from_str(&list.event("change").await).unwrap();
        gone.extend(change.gone);
        ended.extend(change.ended);
    }
    assert_eq!(gone, [began.as_str()]);
    assert!(ended[0].session.session == began && ended[0].heard && ended.len() == 1, "somebody watched");
    assert!(!list.seen.contains(PASSWORD));
}

#[tokio::test]
async fn a_session_is_drawn_as_it_goes_on() {
    let world = world().await;
    let mut list = world.follow("/sessions/events").await;
    list.event("all").await;
    let mut client = world.connect().await;
    let session = world.session();
    let mut diagram = world.follow(&format!("/sessions/{session}/diagram")).await;
    diagram.until("POP3 Server").await;
    client.say(&format!("USER {USER}")).await;
    diagram.until("send your password").await;
    client.say(&format!("PASS {PASSWORD}")).await;
    diagram.until("maildrop locked and ready").await;
    client.say("QUIT").await;
    diagram.until("saying Good-Bye").await;
    diagram.event("end").await;
    assert_eq!(diagram.event("over").await, "{\"why\":\"quit\"}");
    while diagram.line().await.is_some() {}
    assert!(!diagram.seen.contains(PASSWORD) && diagram.seen.contains("[secret]"), "{}", diagram.seen);
    // It can still be drawn, and kept, when it is over.
    let mut again = world.follow(&format!("/sessions/{session}/diagram")).await;
    again.event("end").await;
    let (status, dialogue) = world.get(&format!("/sessions/{session}/dialogue")).await;
    assert_eq!(status, StatusCode::OK);
    restante_proto::dialogue::Dialogue::parse(dialogue.as_bytes()).unwrap();
    assert!(dialogue.contains("C: PASS [secret]") && !dialogue.contains(PASSWORD), "{dialogue}");
}

#[tokio::test]
async fn a_session_that_began_before_anybody_watched_is_drawn_from_its_next_command_on() {
    let world = world().await;
    let mut client = world.connect().await;
    client.say(&format!("USER {USER}")).await;
    let session = world.session();
    // Half a command is no place to begin.
    client.send("PASS ab").await;
    world.until("it came", |handle| handle.sessions()[0].received_octets == USER.len() as u64 + 7 + 7).await;
    let mut diagram = world.follow(&format!("/sessions/{session}/diagram")).await;
    diagram.event("waiting").await;
    client.send("cxyz\r\n").await;
    assert_eq!(client.line().await, "+OK maildrop locked and ready");
    client.say("STAT").await;
    let begin = diagram.event("begin").await;
    assert!(begin.contains("\"joined\":true"), "{begin}");
    diagram.until("STAT").await;
    client.say("RSET").await;
    diagram.until("RSET").await;
    assert!(!diagram.seen.contains("cxyz") && !diagram.seen.contains("PASS"), "{}", diagram.seen);
    assert!(!diagram.seen.contains("\"severity\""), "nothing is wrong in it: {}", diagram.seen);
}

#[tokio::test]
async fn what_nobody_watched_cannot_be_drawn() {
    let world = world().await;
    let mut diagram = world.follow("/sessions/6b0afa0a-99/diagram").await;
    assert!(diagram.event("gone").await.contains("No session of this name"));
    assert_eq!(diagram.until("").await, "");
}

#[tokio::test]
async fn one_users_sessions_are_watched_from_their_beginning() {
    let world = world().await;
    // In capitals or not: it is the same user.
    let mut watch = world.follow(&format!("/watch?user={}", USER.to_uppercase())).await;
    let mut other = world.connect().await;
    other.say("USER somebody").await;
    let mut client = world.log_in().await;
    client.say("QUIT").await;
    other.say("QUIT").await;
    let (mut text, mut name) = (String::new(), None);
    let ended = loop {
        let line = watch.until("{").await;
        let heard: Heard = serde_json::from_str(&line).unwrap();
        assert_eq!(name.get_or_insert_with(|| heard.session.clone()), &heard.session, "no other session");
        text.push_str(&heard.text);
        if let Some(why) = heard.ended {
            break why;
        }
    };
    assert_eq!(ended, "quit");
    let dialogue = restante_proto::dialogue::Dialogue::parse(text.as_bytes()).unwrap();
    assert_eq!(dialogue.head.hostname.as_deref(), Some("X1"));
    assert!(text.contains("S: +OK X1 POP3 Server") && text.contains("C: QUIT") && !text.contains(PASSWORD));
}

#[tokio::test]
async fn one_session_is_watched_to_its_end() {
    let world = world().await;
    let mut client = world.log_in().await;
    let mut watch = world.follow(&format!("/watch?session={}", world.session())).await;
    client.say("NOOP").await;
    watch.until("C: NOOP").await;
    client.say("QUIT").await;
    let line = watch.until("\"ended\"").await;
    assert_eq!(serde_json::from_str::<Heard>(&line).unwrap().ended.as_deref(), Some("quit"));
    assert!(watch.line().await.is_none(), "nothing follows");
    let (status, _) = world.get("/watch?session=6b0afa0a-99").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_is_ended_and_its_lock_is_free() {
    let world = world().await;
    let mut client = world.log_in().await;
    let session = world.session();
    let (_, body) = world.get("/locks").await;
    let locks: Vec<Lock> = serde_json::from_str(&body).unwrap();
    assert_eq!((locks.len(), locks[0].user.as_str(), locks[0].session.as_str()), (1, USER, session.as_str()));
    assert!(locks[0].idle_since_ms.is_some(), "it waits for a command");
    let kicked = world.ask("POST", &format!("/sessions/{session}/kick")).await;
    assert_eq!(kicked.status(), StatusCode::NO_CONTENT);
    assert_eq!(client.line().await, "", "the connection ends");
    world.until("it ends", |handle| handle.sessions().is_empty()).await;
    assert_eq!(world.get("/locks").await.1, "[]");
    let (_, one) = world.get(&format!("/sessions/{session}")).await;
    assert_eq!(serde_json::from_str::<Ended>(&one).unwrap().why, "ended by the operator");
    let again = world.ask("POST", &format!("/sessions/{session}/kick")).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_is_ready_while_mail_and_users_can_be_reached_and_it_serves() {
    let world = world().await;
    assert_eq!(world.get("/livez").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(world.get("/readyz").await, (StatusCode::OK, "ok\n".into()));
    // A session that is on keeps the server from stopping at once.
    let _client = world.log_in().await;
    world.handle.stop().await;
    world.until("it stops", |handle| !handle.is_serving()).await;
    assert_eq!(world.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let broken = world_that(|| Err("/var/vmail cannot be reached".into())).await;
    assert_eq!(
        broken.get("/readyz").await,
        (StatusCode::SERVICE_UNAVAILABLE, "/var/vmail cannot be reached\n".into())
    );
    assert_eq!(broken.get("/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_asks_meanwhile_hears_the_same() {
    let (go, gate) = std::sync::mpsc::channel();
    let (gate, asked) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let checks = Arc::clone(&asked);
    let world = world_that(move || {
        checks.fetch_add(1, Ordering::SeqCst);
        gate.lock().unwrap().recv().unwrap();
        Ok(())
    })
    .await;
    let release = async {
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        (0..4).for_each(|_| go.send(()).unwrap());
    };
    let [one, two, three, four] = [(); 4].map(|()| world.get("/readyz"));
    let (one, two, three, four, ()) = tokio::join!(one, two, three, four, release);
    assert!([one, two, three, four].iter().all(|(status, _)| *status == StatusCode::OK));
}

#[tokio::test]
async fn who_watches_and_does_not_read_makes_nobody_wait() {
    let world = world().await;
    // Nothing of it is read.
    let _stalled = world.ask("GET", &format!("/watch?user={USER}")).await;
    let mut client = world.log_in().await;
    let lines = "NOOP\r\n".repeat(1000);
    for _ in 0..200 {
        client.send(&lines).await;
        for _ in 0..1000 {
            assert_eq!(client.line().await, "+OK");
        }
    }
    let (_, dialogue) = world.get(&format!("/sessions/{}/dialogue", world.session())).await;
    assert!(dialogue.len() < 3 << 20 && dialogue.contains("events are left out here"), "{}", dialogue.len());
    assert!(world.admin.observers().len() == 2);
}
