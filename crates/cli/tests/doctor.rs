//! `restante doctor`: against `restante serve`, against servers that misbehave, and against one with faults of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, Script, Sessions, USER};
use tempfile::TempDir;

use self::{
    odd::{Fault, Odd},
    served::Served,
};

mod binary;
mod odd;
mod served;

/// What a check found: its verdict, and its words.
type Found = BTreeMap<String, (String, String)>;

fn doctor(url: &str, authority: &Path, password: &str, args: &[&str]) -> binary::Ran {
    let given = ["doctor", url, "--ca-file", authority.to_str().unwrap(), "--password-env", "P"];
    let mut command = binary::command(&[&given[..], args].concat());
    command.env("P", password);
    binary::feed(command, b"")
}

fn json(ran: &binary::Ran) -> Found {
    let list: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    let mut found = Found::new();
    for check in list.as_array().unwrap() {
        assert!(check["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{check}");
        let text = |name: &str| check[name].as_str().unwrap().to_owned();
        assert_eq!(
            check["advice"].is_null(),
            matches!(check["verdict"].as_str(), Some("ok" | "note")),
            "{check}"
        );
        let before = found.insert(text("id"), (text("verdict"), text("detail")));
        assert!(before.is_none(), "twice: {check}");
    }
    found
}

/// Examines a misbehaving server.
fn evil(misbehaviour: Misbehaviour) -> (i32, Found) {
    let script = Script::from(misbehaviour);
    // The first connection is the doctor's look at the port.
    let script = match misbehaviour.sessions() {
        Sessions::First => script.in_sessions(Sessions::Every),
        Sessions::Later | Sessions::Every => script,
    };
    let server = EvilServer::start(script, Mail::few());
    let folder = TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    let base64 = BASE64.encode(server.certificate());
    fs::write(&authority, format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"))
        .unwrap();
    let scheme = if misbehaviour.name().starts_with("Tls") { "pop3s" } else { "pop3" };
    let url = format!("{scheme}://{USER}@{}", server.address());
    // Who never answers is waited for; who answers is quick, but not on a machine that is busy.
    let ran = doctor(&url, &authority, PASSWORD, &["--json", "--timeout", "2s"]);
    assert!(server.deleted().is_empty() && server.left().len() == 5, "{}", misbehaviour.name());
    (ran.status(), json(&ran))
}

#[test]
fn help() {
    binary::help(&["doctor"]);
}

#[test]
fn a_good_server_passes_by_both_doors() {
    let served = Served::start();
    let authority = served.path("cert.pem");
    for (scheme, address) in [("pop3", served.plain), ("pop3s", served.tls)] {
        let url = format!("{scheme}://john.doe@anydomain.com@{address}");
        let ran = doctor(&url, &authority, "abcxyz", &["--json"]);
        let found = json(&ran);
        assert_eq!(ran.status(), 0, "{found:#?}");
        for (id, (verdict, detail)) in &found {
            // The certificate is self-signed, and clear passwords are taken on this machine.
            let expected = id.ends_with(".certificate") || id.ends_with(".clear-password");
            assert_eq!(verdict, if expected { "note" } else { "ok" }, "{id}: {detail}");
        }
        for id in
            ["login", "mechanisms", "top", "retr", "second-session", "pipelining", "uidl-stable", "quit"]
        {
            assert!(found.contains_key(&format!("session.{id}")), "{id}");
        }
        assert_eq!(found.contains_key("pop3.stls-injection"), scheme == "pop3");
    }
    assert_eq!(served.left(), 3);
}

#[test]
fn the_table_has_a_line_for_each_check_and_advice_where_it_is_needed() {
    let served = Served::start();
    let url = format!("pop3://john.doe@anydomain.com@{}", served.plain);
    let shown = doctor(&url, &served.path("cert.pem"), "abcxyz", &["--no-retr"]).ok();
    assert!(
        shown.starts_with(&format!("pop3://{}: clear text, and TLS by STLS\nok       connect", served.plain)),
        "{shown}"
    );
    assert!(shown.contains("ok       tls-versions     1.2 and 1.3; older ones are not tried\n"), "{shown}");
    assert!(shown.contains("ok       stat             3 messages, 566 octets\n"), "{shown}");
    assert!(!shown.contains(" retr ") && shown.ends_with(" 2 notes, 0 warnings, 0 failed\n"), "{shown}");

    let ran = binary::restante(&["doctor", &url]);
    assert_eq!(ran.status(), 1);
    assert!(
        ran.stdout().contains("\n                          → no password is sent here"),
        "{}",
        ran.stdout()
    );
    assert!(ran.stdout().contains("note     login            not tried: the certificate is not trusted"));
}

#[test]
fn without_a_password_only_what_comes_before_the_login_is_examined() {
    let served = Served::start();
    let url = format!("pop3s://{}", served.tls);
    let shown = binary::restante(&["doctor", &url, "--insecure"]).ok();
    assert!(shown.contains("note     login            not tried: no password was given\n"), "{shown}");
    let mut command = binary::command(&["doctor", &url, "--password-env", "P"]);
    command.env("P", "x");
    assert!(binary::feed(command, b"").fails(2).contains("names no user"));
    let shown = doctor(
        &format!("pop3s://john.doe@anydomain.com@{}", served.tls),
        &served.path("cert.pem"),
        "wrong",
        &[],
    );
    assert!(shown.stdout().contains("[AUTH]") && shown.status() == 1, "{}", shown.stdout());
}

#[test]
fn nobody_there_is_a_failure() {
    let shown = binary::restante(&["doctor", "pop3s://127.0.0.1:1", "--insecure"]);
    assert_eq!(shown.status(), 1);
    assert!(shown.stdout().contains("fail     connect          127.0.0.1: "), "{}", shown.stdout());
    assert!(shown.stdout().contains("there is no session to log in to"));
}

#[test]
fn misbehaviour_is_named() {
    use Misbehaviour as M;
    for (misbehaviour, id, verdict, words) in [
        (M::GreetingEndless, "pop3.greeting", "fail", "does not end"),
        (M::GreetingAbsent, "pop3.greeting", "fail", "nothing was said"),
        (M::GreetingRefused, "pop3.greeting", "fail", "go away"),
        (M::GreetingOfSmtp, "pop3.greeting", "fail", "220"),
        (M::TlsClearText, "pop3s.tls", "fail", "is not TLS"),
        (M::TlsWrongName, "pop3s.certificate", "fail", "and not for 127.0.0.1"),
        (M::CapaRefused, "pop3.capa", "note", "refused"),
        (M::CapaRefused, "pop3.clear-password", "note", "USER is taken without TLS, on this machine"),
        (M::CapaHidesThem, "pop3.clear-password", "note", "PLAIN offered without TLS"),
        (M::CapaOddLines, "session.capa", "note", "unknown here: caf"),
        (M::CapaLiesPipelining, "session.pipelining", "fail", "in time"),
        (M::CapaLiesTop, "session.top", "fail", "offered, but the server refused TOP"),
        (M::CapaLiesUidl, "session.uidl", "fail", "offered, but the server refused UIDL"),
        (M::CapaHidesThem, "session.top", "note", "though not offered"),
        (M::CapaShrinksAfterLogin, "session.capa", "note", "less than before the login: TOP, PIPELINING"),
        (M::StlsInjection, "pop3.stls", "fail", "clear text lies behind"),
        (M::StlsNotOffered, "pop3.stls", "fail", "not offered"),
        (M::StlsRefused, "pop3.stls", "fail", "offered, and then"),
        (M::StlsWrongName, "session.login", "note", "not trusted"),
        (M::LoginRefusedInUse, "session.login", "fail", "[IN-USE]"),
        (M::LoginPlusErr, "session.login", "fail", "neither +OK nor -ERR"),
        (M::StatHuge, "session.stat", "warning", "not two numbers"),
        (M::StatUnlikeList, "session.list", "warning", "leaves out"),
        (M::StatUnanswered, "session.stat", "fail", "in time (STAT)"),
        (M::ListSizesWrong, "session.retr", "warning", "was listed with 1"),
        (M::ListRepeats, "session.list", "warning", "twice"),
        (M::UidlRefused, "session.uidl", "note", "not there"),
        (M::UidlEmpty, "session.uidl", "fail", "empty unique-id"),
        (M::UidlDuplicates, "session.uidl", "fail", "the same unique-id"),
        (M::UidlLong71, "session.uidl", "fail", "longer than 70"),
        (M::UidlShorter, "session.uidl", "warning", "leaves out"),
        (M::RetrRefused, "session.retr", "fail", "refused RETR"),
        (M::RetrEmpty, "session.retr", "fail", "is empty"),
        (M::RetrSendsAnother, "session.retr", "warning", "was listed with"),
        (M::RetrWrongOctets, "session.retr", "note", "announced"),
        (M::BodyEndless, "session.retr", "fail", "does not end within"),
        (M::MissingFinalDot, "session.retr", "fail", "in the middle"),
        (M::TopSendsAll, "session.top", "warning", "all the same"),
        (M::ReplyGarbage, "session.list", "fail", "neither +OK nor -ERR"),
        (M::QuitRefusedKept, "session.quit", "warning", "refused QUIT"),
        (M::QuitClosedKept, "session.quit", "warning", "ended"),
    ] {
        let (status, found) = evil(misbehaviour);
        let name = misbehaviour.name();
        let (told, detail) = found.get(id).unwrap_or_else(|| panic!("{name}: {found:#?}"));
        assert!(told == verdict && detail.contains(words), "{name}: {told} {detail}");
        let failed = found.values().any(|(verdict, _)| verdict == "fail");
        assert_eq!(status, i32::from(failed), "{name}");
    }
}

#[test]
fn faults_that_only_a_comparison_shows_are_found() {
    for (fault, id, verdict, words) in [
        (Fault::None, "pop3.stls-injection", "ok", "is dropped"),
        (Fault::None, "session.second-session", "ok", "[IN-USE]"),
        (Fault::None, "session.uidl-stable", "ok", "all 2 are the same"),
        (Fault::ObeysInjected, "pop3.stls-injection", "fail", "is obeyed within TLS"),
        (Fault::BreaksInjected, "pop3.stls-injection", "ok", "breaks the handshake"),
        (Fault::WantsIdentity, "pop3.stls-injection", "note", "could not be tried"),
        (Fault::UserWithinTlsOnly, "pop3.clear-password", "ok", "no password is asked for"),
        (Fault::NoCapa, "pop3.clear-password", "note", "answered with «-ERR what?»"),
        (Fault::LoginDelay, "session.second-session", "note", "wants 60 s"),
        (Fault::LoginDelay, "session.mechanisms", "note", "LOGIN, USER not tried: the server wants 60 s"),
        (Fault::LoginRefused, "session.mechanisms", "fail", "the login took PLAIN; X-ODD not tried"),
        (Fault::LoginRefused, "session.mechanisms", "fail", "LOGIN is offered, but the server refused AUTH"),
        (Fault::LoginRefused, "session.mechanisms", "fail", "USER works too"),
        (Fault::None, "session.mechanisms", "ok", "USER offered; the login took USER"),
        (Fault::StlsAgain, "pop3.capa-within", "warning", "offered again"),
        (Fault::IdsChange, "session.uidl-stable", "fail", "none of 2"),
        (Fault::LockedWithoutCode, "session.second-session", "warning", "locked"),
        (Fault::EndsFirst, "session.second-session", "note", "the first session is over"),
        (Fault::Expires, "session.retr", "note", "EXPIRE 0"),
    ] {
        let odd = Odd::start(fault);
        let ran = doctor(&format!("pop3://mara@{}", odd.address), &odd.authority(), "x", &["--json"]);
        let found = json(&ran);
        let (told, detail) = found.get(id).unwrap_or_else(|| panic!("{fault:?}: {found:#?}"));
        assert!(told == verdict && detail.contains(words), "{fault:?}: {told} {detail}");
        assert!(fault != Fault::LoginDelay || odd.logins() == 1, "{}", odd.logins());
    }
}

#[test]
fn servers_that_ask_for_an_identity_get_it_at_each_look() {
    let odd = Odd::start(Fault::WantsIdentity);
    let (certificate, url) = (odd.authority(), format!("pop3://mara@{}", odd.address));
    let key = certificate.with_file_name("key.pem");
    let identity =
        ["--client-certificate", certificate.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    let found = json(&doctor(&url, &certificate, "x", &[&identity[..], &["--json"]].concat()));
    for id in ["pop3.stls", "pop3.tls-versions", "pop3.capa-within", "pop3.stls-injection", "session.login"] {
        assert_eq!(found[id].0, "ok", "{id}: {}", found[id].1);
    }
}
