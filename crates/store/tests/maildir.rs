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

#[tokio::test]
async fn a_user_has_mail_where_a_directory_says() {
    let world = World::new();
    let template = format!("{}/mail/{{user}}", world.folder.path().display()).parse().unwrap();
    let store = MaildirStore::new(template, Options::default());
    let (ann, bob) = (UserName::new("ann").unwrap(), UserName::new("bob").unwrap());
    let path = world.folder.path().join("elsewhere");
    let place = path.join("ann").to_str().unwrap().to_owned();
    let deliver = |place: &str| {
        let mut delivery = store.deliver_at(&ann, Some(place))?;
        delivery.write(b"Subject: a\n")?;
        delivery.commit()
    };
    // The folder that the place is in is not made: a disk may not be mounted.
    assert!(matches!(deliver(&place), Err(DeliverError::Broken { .. })));
    assert!(matches!(store.open_at(&ann, Some(&place)).await, Err(OpenError::Broken { .. })));
    std::fs::create_dir(&path).unwrap();
    assert_eq!(store.open_at(&ann, Some(&place)).await.unwrap().messages(), 0);
    assert!(!path.join("ann").exists(), "nothing is made for a look");
    deliver(&place).unwrap();
    assert_eq!(std::fs::read_dir(path.join("ann/new")).unwrap().count(), 1);
    let held = store.open_at(&ann, Some(&place)).await.unwrap();
    assert_eq!(held.messages(), 1);
    // One place is one maildrop, however it is written and whoever has it.
    for same in [format!("{place}/"), place.replace("/ann", "//ann"), place.replace("/ann", "/./ann")] {
        assert!(matches!(store.open_at(&bob, Some(&same)).await, Err(OpenError::Busy)), "{same}");
    }
    drop(held);
    for none in ["", "ann", "./ann", "/", "/a/../b", "/..", "/a\0b", "maildir:/a"] {
        assert!(matches!(store.open_at(&ann, Some(none)).await, Err(OpenError::NoPlace)), "{none:?}");
        assert!(matches!(store.deliver_at(&ann, Some(none)), Err(DeliverError::NoPlace)), "{none:?}");
    }
}

/// Links are followed where root or the server's user made them, as everywhere; one that leads nowhere is a disk that is
/// not mounted.
#[tokio::test]
async fn a_place_that_is_a_link_to_nowhere_is_not_empty() {
    let world = World::new();
    let template = format!("{}/mail/{{user}}", world.folder.path().display()).parse().unwrap();
    let store = MaildirStore::new(template, Options::default());
    let ann = UserName::new("ann").unwrap();
    let link = world.folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let place = link.to_str().unwrap();
    assert!(matches!(store.open_at(&ann, Some(place)).await, Err(OpenError::Broken { .. })));
    assert!(matches!(store.open_at(&ann, None).await, Err(OpenError::Broken { .. })), "no folder mail");
}
