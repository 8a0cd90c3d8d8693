//! A journal is that of one mailbox and one destination: what happens when either becomes another, or the server moves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use engine::Desk;
use restante_fetch::{
    Keep, RunError,
    destination::Token,
    journal::{Bound, Journal, JournalError, Key, Record, now},
};
use restante_proto::UniqueId;
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, Script, Sessions};
use sha2::{Digest as _, Sha256};
use support::Files;

fn key(id: &str) -> Key {
    Key::of_id(&UniqueId::new(id.as_bytes()).unwrap())
}

/// As an earlier run wrote it down, with a length that no server would tell.
fn intent(id: &str, octets: &[u8]) -> Record {
    Record::Intent {
        key: key(id),
        octets: 7,
        listed: Some(7),
        digest: Sha256::digest(octets).into(),
        header: None,
        token: Token::new("x").unwrap(),
        at: now(),
    }
}

fn good(mail: Mail) -> EvilServer {
    EvilServer::start(Misbehaviour::Nothing, mail)
}

#[test]
fn another_destination_is_not_asked_about_what_was_on_its_way_to_the_first() {
    let server = good(Mail::few());
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let first = server.mail().messages()[0].clone();
    let mut journal = Journal::open(&desk.account.journal).unwrap();
    let there =
        Bound { user: desk.account.credentials.user.clone(), host: "127.0.0.1".into(), to: "there".into() };
    assert_eq!(journal.bind(&there).unwrap(), None, "one that was bound to nothing is adopted");
    journal.append(&[intent(&first.id, &first.octets)]).unwrap();
    drop(journal);
    let ran = desk.run();
    assert_eq!(ran.summary().delivered, 5);
    assert!(ran.told().contains("mail goes somewhere else now"), "{}", ran.told());
    assert_eq!(desk.state().account.unwrap().to, "here");
    desk.account.to = "elsewhere".into();
    assert_eq!(desk.run().told(), "", "nothing was on its way");
}

#[test]
fn another_users_journal_is_refused() {
    let server = good(Mail::few());
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    desk.run().summary();
    desk.account.credentials.user = "somebody else".into();
    let before = (server.connections(), desk.state().account);
    let ran = desk.run();
    let Err(error @ RunError::Journal(JournalError::OtherMailbox { .. })) = &ran.ended else {
        panic!("{}", ran.told());
    };
    assert!(error.to_string().contains("give the account another name") && !error.is_temporary(), "{error}");
    assert_eq!((server.connections(), desk.state().account), before);
}

/// Some unique-ids of the new server are those of the old one; that does not tell that the others are new.
#[test]
fn at_another_host_all_that_is_new_is_looked_at() {
    let few = Mail::few();
    let first = few.messages()[0].clone();
    let server = good(few);
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 5);
    let new = good(
        Mail::none().and(&first.id, &first.octets).and("new", b"Subject: of another length\r\n\r\nyes\r\n"),
    );
    let asked = |server: &EvilServer| server.commands().iter().filter(|said| said.starts_with("TOP")).count();
    desk.at_server(new.address()).account.url.host = "localhost".into();
    let ran = desk.run();
    assert_eq!((ran.summary().delivered, asked(&new)), (1, 1), "{}", ran.told());
    assert!(!desk.state().moved, "it ended well");
    new.deliver("newer", b"Subject: of one more length\r\n\r\nyes, yes\r\n");
    assert_eq!((desk.run().summary().delivered, asked(&new)), (1, 1), "that it has moved is over");
}

/// All unique-ids are new, the lengths are told in another way, and only whole messages tell; then the session breaks. That
/// the first are known now does not make the others new.
#[test]
fn that_the_server_was_moved_is_not_forgotten_when_a_session_breaks() {
    let mail = (0..4).fold(Mail::none(), |mail, n| {
        mail.and(&format!("new{n}"), format!("Subject: {n}\r\n\r\nfrom nowhere\r\n").as_bytes())
    });
    for cut in (400..1000).step_by(20) {
        let script = Script::from(Misbehaviour::ConnectionCut).in_sessions(Sessions::First).after_octets(cut);
        let server = EvilServer::start(script, mail.clone());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
        let mut journal = Journal::open(&desk.account.journal).unwrap();
        for (n, message) in mail.messages().iter().enumerate() {
            let id = format!("old{n}");
            let delivered = Record::Delivered { key: key(&id), at: now() };
            journal.append(&[intent(&id, &message.octets), delivered]).unwrap();
        }
        drop(journal);
        let ran = desk.run();
        assert_eq!(ran.summary().delivered, 0, "cut after {cut} octets: {}", ran.told());
        desk.run().summary();
        assert!(!desk.state().moved);
    }
}
