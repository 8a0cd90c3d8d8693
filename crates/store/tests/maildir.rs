//! The Maildir back end against the law of back ends.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use restante_proto::UserName;
use restante_store::{
    DeliverError, MaildirStore, OpenError, Store, conformance,
    maildir::{Options, Template},
};
use support::World;

#[tokio::test]
async fn it_conforms() {
    conformance::check(&World::new()).await;
}

#[tokio::test]
async fn its_limit_is_kept() {
    let world = World::new();
    let template: Template = format!("{}/{{user}}", world.folder.path().display()).parse().unwrap();
    let options = Options { message_limit_octets: Some(1000), ..Options::default() };
    conformance::a_message_over_the_limit_is_refused(&MaildirStore::new(template, options), 1000).await;
}

#[tokio::test]
async fn a_user_without_a_domain_has_no_place_under_domains() {
    let world = World::new();
    let template = format!("{}/{{domain}}/{{local}}", world.folder.path().display()).parse().unwrap();
    let store = MaildirStore::new(template, Options::default());
    let user = UserName::new("root").unwrap();
    assert!(matches!(store.open(&user).await, Err(OpenError::NoPlace)));
    assert!(matches!(store.deliver(&user), Err(DeliverError::NoPlace)));
    let user = UserName::new("john@example.org").unwrap();
    let mut delivery = store.deliver(&user).unwrap();
    delivery.write(b"Subject: a\n").unwrap();
    delivery.commit().unwrap();
    assert!(world.folder.path().join("example.org/john/new").is_dir());
    assert_eq!(store.open(&user).await.unwrap().messages(), 1);
}
