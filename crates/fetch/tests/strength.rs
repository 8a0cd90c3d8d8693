//! How strong a login was is remembered, and a server that offers less later is not talked to: somebody may have stripped its
//! list.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use engine::{account, destination, run};
use restante_client::Strength;
use restante_fetch::{
    Account, Keep, RunError,
    journal::{Journal, Record, now},
};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn known(account: &Account) -> Option<Strength> {
    Journal::look(&account.journal).unwrap().unwrap().strength.map(|(strength, _)| strength)
}

#[test]
fn what_was_stronger_once_is_asked_for_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let to = destination(&format!("maildir:{}", folder.path().join("mail").display()));
    let account = account(server.address(), to, folder.path(), Keep::Always);
    // The first login takes what there is, and is remembered.
    run(&account).ended.unwrap();
    assert_eq!(known(&account), Some(Strength::Password));
    // A stronger one was seen since.
    let seen = Record::Strength { strength: Some(Strength::Keys), at: now() };
    Journal::open(&account.journal).unwrap().append_durably(&[seen]).unwrap();
    let before = server.commands().len();
    for _ in 0..2 {
        let error = run(&account).ended.unwrap_err();
        assert!(matches!(error, RunError::Weaker { .. }) && !error.is_temporary(), "{error}");
        let words = error.to_string();
        for part in
            ["no login as strong as scram", "it offers PLAIN", "ago a login was that strong", "between"]
        {
            assert!(words.contains(part), "{words}");
        }
    }
    assert!(server.commands()[before..].iter().all(|command| command == "CAPA"), "nothing was sent");
    assert_eq!(known(&account), Some(Strength::Keys), "and it is still known");
    // Those who run the server have changed it.
    block_on(restante_fetch::forget_login(&account)).unwrap();
    assert_eq!(known(&account), None);
    run(&account).ended.unwrap();
    assert_eq!(known(&account), Some(Strength::Password));
}

#[test]
fn a_minimum_holds_from_the_first_login_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let to = destination(&format!("maildir:{}", folder.path().join("mail").display()));
    let mut account = account(server.address(), to, folder.path(), Keep::Always);
    account.minimum = Some(Strength::Bound);
    let error = run(&account).ended.unwrap_err();
    assert!(matches!(error, RunError::Client(restante_client::Error::TooWeak { .. })), "{error}");
    assert_eq!(server.commands(), ["CAPA"]);
    // What is named is what is wanted; and it is no reason to expect less of others.
    account.way = Some("USER".into());
    run(&account).ended.unwrap();
}
