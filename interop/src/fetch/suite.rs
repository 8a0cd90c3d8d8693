//! What our client must do at every server that nobody here wrote. What has to arrive is what the server sends
//! ([`on_the_wire`]); what a server makes of a stored letter is told in the head of its test.

use crate::{
    Fetch, Kind, Letter, Outcome, PASSWORD, Peer, Program, Security, assert_same, canonical, fresh,
    on_the_wire, with_security,
};

/// Nothing to fetch, or all of it fetched.
const FAILED: i32 = 1;

/// What has to arrive: what the server sends now.
fn expected(peer: &Peer) -> Vec<(&'static str, Vec<u8>)> {
    on_the_wire(peer).into_iter().map(|octets| ("as on the wire", canonical(&octets))).collect()
}

/// The same corpus arrives byte for byte, in a Maildir and as .eml files.
pub fn arrives_byte_for_byte(kind: &'static Kind, letters: &[Letter]) {
    let peer = Peer::start(kind, letters);
    with_security(kind.ways, |security| {
        let expected = expected(&peer);
        assert_eq!(expected.len(), letters.len());
        let fetch = Fetch::new(&peer, security, &format!("{security:?}"));
        fetch.run(&fetch.to_maildir(), &[]).succeeded();
        assert_same(fetch.in_maildir(), &expected);
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-eml"));
        fetch.run(&fetch.to_eml(), &[]).succeeded();
        assert_same(fetch.in_eml(), &expected);
        assert_eq!(peer.left(), letters.len());
    });
}

/// A second call fetches nothing; a letter that came in meanwhile arrives, alone.
pub fn keeps_and_then_fetches_only_what_is_new(kind: &'static Kind, letters: &[Letter]) {
    with_security(kind.ways, |security| {
        let peer = Peer::start(kind, letters);
        let fetch = Fetch::new(&peer, security, "client");
        for _ in 0..2 {
            fetch.run(&fetch.to_maildir(), &["--keep", "true"]).succeeded();
            assert_same(fetch.in_maildir(), &expected(&peer));
        }
        peer.deliver(&fresh());
        fetch.run(&fetch.to_maildir(), &["--keep", "true"]).succeeded();
        let now = expected(&peer);
        assert_eq!(now.len(), letters.len() + 1);
        assert_same(fetch.in_maildir(), &now);
        assert_eq!(peer.left(), letters.len() + 1);
    });
}

/// With `--keep false` the drop is empty afterwards, and nothing came twice.
pub fn deletes_what_it_has(kind: &'static Kind, letters: &[Letter]) {
    with_security(kind.ways, |security| {
        let peer = Peer::start(kind, letters);
        let fetch = Fetch::new(&peer, security, "client");
        let mut all = expected(&peer);
        for _ in 0..2 {
            fetch.run(&fetch.to_maildir(), &["--keep", "false"]).succeeded();
            assert_same(fetch.in_maildir(), &all);
            assert_eq!(peer.left(), 0);
        }
        peer.deliver(&fresh());
        all.extend(expected(&peer));
        fetch.run(&fetch.to_maildir(), &["--keep", "false"]).succeeded();
        assert_same(fetch.in_maildir(), &all);
        assert_eq!(peer.left(), 0);
    });
}

/// Mail that was kept is deleted by a later call that says so, and is not fetched again for it.
pub fn keeps_and_deletes_later(kind: &'static Kind, letters: &[Letter]) {
    let security = kind.ways[kind.ways.len() - 1];
    let peer = Peer::start(kind, letters);
    let fetch = Fetch::new(&peer, security, "client");
    let expected = expected(&peer);
    fetch.run(&fetch.to_maildir(), &["--keep", "true"]).succeeded();
    fetch.run(&fetch.to_maildir(), &["--keep", "false"]).succeeded();
    assert_same(fetch.in_maildir(), &expected);
    assert_eq!(peer.left(), 0);
}

/// `--plan` changes nothing, neither here nor there.
pub fn a_plan_changes_nothing(kind: &'static Kind, letters: &[Letter]) {
    let security = kind.ways[kind.ways.len() - 1];
    let peer = Peer::start(kind, letters);
    let fetch = Fetch::new(&peer, security, "client");
    fetch.run(&fetch.to_maildir(), &["--keep", "false", "--plan"]).succeeded();
    assert_same(fetch.in_maildir(), &[]);
    assert_eq!(peer.left(), letters.len());
    let expected = expected(&peer);
    fetch.run(&fetch.to_maildir(), &["--keep", "false"]).succeeded();
    assert_same(fetch.in_maildir(), &expected);
}

/// A wrong password is told, and nothing is fetched or deleted.
pub fn a_wrong_password_is_told(kind: &'static Kind) {
    let peer = Peer::start(kind, &[fresh()]);
    with_security(kind.ways, |security| {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}"));
        let wrong = "not the passphrase";
        let outcome = fetch.run_with(wrong, &peer.authority(), &fetch.to_maildir(), &["--keep", "false"]);
        let outcome = outcome.failed_with(FAILED);
        assert!(!outcome.words().contains(wrong), "the wrong password is shown");
        assert_same(fetch.in_maildir(), &[]);
        assert_eq!(peer.left(), 1);
    });
}

/// A certificate of somebody else is refused before a password is sent.
pub fn a_certificate_of_somebody_else_is_refused(kind: &'static Kind) {
    let peer = Peer::start(kind, &[fresh()]);
    let ways: Vec<Security> =
        kind.ways.iter().copied().filter(|security| *security != Security::Plain).collect();
    with_security(&ways, |security| {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}"));
        let outcome = fetch.run_with(PASSWORD, &peer.stranger(), &fetch.to_maildir(), &["--keep", "false"]);
        let outcome = outcome.failed_with(FAILED);
        assert!(outcome.words().contains("certificate"), "{outcome}");
        assert_same(fetch.in_maildir(), &[]);
        assert_eq!(peer.left(), 1);
    });
}

/// Every mechanism of the server leads in; one that it has not is told by name.
pub fn signs_in_by_every_mechanism(kind: &'static Kind) {
    let peer = Peer::start(kind, &[fresh()]);
    with_security(kind.ways, |security| {
        for mechanism in kind.mechanisms {
            let fetch = Fetch::new(&peer, security, &format!("{security:?}-{mechanism}"));
            fetch.run(&fetch.to_maildir(), &["--mechanism", mechanism]).succeeded();
            assert_same(fetch.in_maildir(), &expected(&peer));
        }
        if kind.lacks.is_empty() {
            return;
        }
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-{}", kind.lacks));
        let outcome = fetch.run(&fetch.to_maildir(), &["--mechanism", kind.lacks]).failed_with(FAILED);
        assert!(outcome.words().contains(kind.lacks), "{outcome}");
        assert_same(fetch.in_maildir(), &[]);
    });
}

/// The server does what its test takes for granted: Python's poplib signs in by each way and mechanism, and on
/// the wire stands what `changed` makes of each letter, apart from a field that the server adds.
pub fn the_peer_itself_works(
    kind: &'static Kind,
    letters: &[Letter],
    changed: fn(&Letter, Vec<u8>) -> Vec<u8>,
    added: Option<&str>,
) {
    const SCRIPT: &str = r#"
import base64, poplib, ssl, sys
way, port, authority, user, password, lacks, *mechanisms = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)

def sign_in(mechanism):
    if way == "Tls":
        box = poplib.POP3_SSL("localhost", int(port), context=trust)
    else:
        box = poplib.POP3("localhost", int(port))
        if way == "Stls":
            box.stls(trust)
    answers = {"PLAIN": ["\0" + user + "\0" + password], "LOGIN": [user, password]}
    if mechanism == "USER":
        box.user(user)
        box.pass_(password)
    elif mechanism == "APOP":
        box.apop(user, password)
    else:
        box._shortcmd("AUTH " + mechanism)
        for answer in answers[mechanism]:
            box._shortcmd(base64.b64encode(answer.encode()).decode())
    return box

for mechanism in mechanisms:
    box = sign_in(mechanism)
    print(box.stat()[0])
    box.quit()
if lacks:
    try:
        sign_in(lacks)
    except poplib.error_proto:
        pass
    else:
        raise AssertionError("it has " + lacks)
"#;
    let peer = Peer::start(kind, letters);
    let folder = peer.client_folder("poplib");
    with_security(kind.ways, |security| {
        let outcome: Outcome = Program::new("python3", "python3", &folder)
            .args(["-c", SCRIPT, &format!("{security:?}"), &peer.pop3_port(security).to_string()])
            .arg(peer.authority())
            .args([peer.user(), PASSWORD, kind.lacks])
            .args(kind.mechanisms)
            .run()
            .succeeded();
        let counts = format!("{}\n", letters.len()).repeat(kind.mechanisms.len());
        assert_eq!(outcome.text(), counts, "{outcome}");
    });
    let expected: Vec<_> =
        letters.iter().map(|letter| (letter.name, changed(letter, letter.canonical()))).collect();
    let own = |line: &&[u8]| added.is_none_or(|field| !line.starts_with(field.as_bytes()));
    let without = |message: Vec<u8>| {
        message.split_inclusive(|&octet| octet == b'\n').filter(own).collect::<Vec<_>>().concat()
    };
    assert_same(on_the_wire(&peer).into_iter().map(without).collect(), &expected);
}
