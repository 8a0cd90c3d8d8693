//! `restante mail`: against `restante serve`, and against servers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, Script, Sessions, USER};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::{
    odd::{Fault, Odd},
    served::{LETTER, Served},
};

mod binary;
mod odd;
mod served;

fn evil(server: &EvilServer, args: &[&str]) -> binary::Ran {
    let url = format!("pop3://{USER}@{}", server.address());
    let given = ["--insecure", "--password-env", "P", "--timeout", "5s"];
    let mut command = binary::command(&[&["mail", &url][..], args, &given].concat());
    command.env("P", PASSWORD);
    binary::feed(command, b"")
}

#[test]
fn help() {
    binary::help(&["mail"]);
}

#[test]
fn a_bare_url_lists_the_mail_decoded_and_harmless() {
    let served = Served::start();
    let shown = served.mail(&[]).ok();
    assert_eq!(
        shown,
        "1    197  2005-04-01 07:56  Jörg                          日本 and\u{fffd}[31m red\n\
         2    354  2005-04-02 08:00  parcel@example.org            a parcel\n\
         3     15  -                                               (no subject)\n\n3 messages, 566 octets\n"
    );
    assert_eq!(served.mail(&["list"]).ok(), shown);
    assert!(
        served.mail(&["list", "--limit", "1"]).ok().ends_with("(no subject)\n\nthe last 1 of 3 messages\n")
    );
    assert_eq!(served.left(), 3);
}

#[test]
fn json_has_an_object_for_each_message() {
    let served = Served::start();
    let list: serde_json::Value = serde_json::from_str(&served.mail(&["--json"]).ok()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(
        list[0],
        serde_json::json!({
            "number": 1, "octets": 197, "id": "1", "date": "2005-04-01T07:56:00+02:00",
            "from": "Jörg <joerg@example.org>", "subject": "日本 and\u{fffd}[31m red",
        })
    );
    assert_eq!(list[2]["subject"], serde_json::Value::Null);
    let empty = EvilServer::start(Misbehaviour::Nothing, Mail::none());
    assert_eq!(evil(&empty, &["--json"]).ok(), "[]\n");
    assert_eq!(evil(&empty, &[]).ok(), "no messages, 0 octets\n");
}

#[test]
fn show_has_the_readable_part_and_raw_the_octets() {
    let served = Served::start();
    let shown = served.mail(&["show", "1"]).ok();
    assert!(shown.contains("Subject: 日本 and\u{fffd}[31m red\n\nHello John.\n.hidden\n"), "{shown}");
    assert_eq!(
        served.mail(&["show", "2"]).ok(),
        "Date: 2005-04-02 08:00:00Z\nFrom: parcel@example.org\nSubject: a parcel\n\nSee below.\n\n\
         Attachment: bill.pdf (application/pdf, 3 octets)\n"
    );
    let raw = served.mail(&["show", "1", "--raw"]);
    assert_eq!(raw.0.stdout, LETTER.replace('\n', "\r\n").as_bytes());
    let told = served.mail(&["show", "9"]).fails(1);
    assert!(told.contains("the server refused RETR"), "{told}");
    assert_eq!(served.left(), 3);
}

#[test]
fn save_writes_whole_files_and_overwrites_none() {
    let served = Served::start();
    assert_eq!(served.mail(&["save", "1", "3"]).ok(), "1: 197 octets in ./1.eml\n3: 15 octets in ./3.eml\n");
    assert_eq!(fs::read(served.path("1.eml")).unwrap(), LETTER.replace('\n', "\r\n").as_bytes());
    let told = served.mail(&["save", "1-3"]).fails(1);
    assert!(told.contains("./1.eml is there already") && told.contains("--overwrite"), "{told}");
    assert!(!served.path("2.eml").exists());
    served.mail(&["save", "1-3", "--overwrite"]).ok();
    assert_eq!(served.mail(&["save", "2", "--to", "parcel.eml"]).ok(), "2: 354 octets in parcel.eml\n");
    let told = served.mail(&["save", "1-2", "--to", "new.eml"]).fails(2);
    assert!(told.contains("takes one message only"), "{told}");
    assert!(served.mail(&["save", "1", "--to", "nowhere/"]).fails(1).contains("there is no folder"));
    assert!(served.mail(&["save", "3-4"]).fails(1).contains("there is no message 4"));
    assert_eq!(served.left(), 3);
}

#[test]
fn a_message_that_breaks_off_leaves_no_file() {
    for misbehaviour in [Misbehaviour::BodyClosed, Misbehaviour::RetrRefused, Misbehaviour::MissingFinalDot] {
        let server = EvilServer::start(misbehaviour, Mail::few());
        let folder = TempDir::new().unwrap();
        let to = folder.path().to_str().unwrap();
        evil(&server, &["save", "1-2", "--to", to]).fails(1);
        let names: Vec<_> = fs::read_dir(to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["1.eml"], "{}", misbehaviour.name());
    }
}

#[test]
fn a_refused_message_does_not_keep_the_others_from_being_saved() {
    let server = EvilServer::start(Misbehaviour::RetrRefused, Mail::few());
    let folder = TempDir::new().unwrap();
    let ran = evil(&server, &["save", "1-4", "--to", folder.path().to_str().unwrap()]);
    assert_eq!(ran.stdout().lines().count(), 3, "{}", ran.stdout());
    let told = ran.fails(1);
    assert!(
        told.starts_with("warning: ") && told.contains("error: message 2: the server refused RETR"),
        "{told}"
    );
    for (number, saved) in [(1, true), (2, false), (3, true), (4, true)] {
        assert_eq!(folder.path().join(format!("{number}.eml")).exists(), saved, "{number}");
    }
    assert_eq!(server.commands().last().map(String::as_str), Some("QUIT"));
}

/// Runs `restante mail` against a server with this fault.
fn odd(fault: Fault, args: &[&str]) -> binary::Ran {
    let odd = Odd::start(fault);
    let url = format!("pop3://mara@{}", odd.address);
    let mut command = binary::command(&[&["mail", &url][..], args, &["--password-env", "P"]].concat());
    let authority = odd.authority();
    command.arg("--ca-file").arg(&authority).env("P", "x").current_dir(authority.parent().unwrap());
    binary::feed(command, b"")
}

#[test]
fn a_list_that_is_cut_off_tells_what_is_known() {
    let ran = odd(Fault::TopBreaks, &[]);
    let shown = ran.stdout();
    assert!(shown.contains("  x\n2     20  -") && shown.contains("(its header was not read)\n"), "{shown}");
    assert!(ran.fails(1).contains("ended"));
    let ran = odd(Fault::TopBreaks, &["--json"]);
    let list: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!((&list[0]["subject"], &list[1]["octets"]), (&"x".into(), &20.into()));
    assert_eq!((&list[1]["error"], ran.status()), (&"its header was not read".into(), 1));
}

#[test]
fn what_a_server_says_cannot_change_the_terminal() {
    for args in [&["show", "1"][..], &["save", "1"]] {
        let told = odd(Fault::Escapes, args).fails(1);
        let harmful = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(told.contains("refused RETR") && !told.contains(harmful), "{told:?}");
    }
}

#[test]
fn delete_needs_consent_and_tells_what_quit_said() {
    let served = Served::start();
    let told = served.mail(&["delete", "2"]).fails(2);
    assert!(told.contains("--yes"), "{told}");
    assert_eq!(served.left(), 3);
    let shown = served.mail(&["delete", "2", "3", "--yes"]).ok();
    assert!(shown.contains("a parcel\n") && shown.ends_with("Deleted: 2 messages.\n"), "{shown}");
    assert_eq!(served.left(), 1);
    assert!(served.mail(&["delete", "2", "--yes"]).fails(1).contains("there is no message 2"));

    for (misbehaviour, told) in [
        (Misbehaviour::QuitRefusedHalf, "not all may be deleted"),
        (Misbehaviour::QuitClosedDeleted, "nobody knows whether it is deleted"),
        (Misbehaviour::DeleRefused, "message 2: the server refused DELE"),
    ] {
        let server = EvilServer::start(misbehaviour, Mail::few());
        let ran = evil(&server, &["delete", "1-3", "--yes"]);
        assert_eq!(ran.stdout().contains("Deleted: 2 messages."), misbehaviour == Misbehaviour::DeleRefused);
        let said = ran.fails(1);
        assert!(said.contains(told), "{}: {said}", misbehaviour.name());
    }
    let server = EvilServer::start(Misbehaviour::RenumbersAfterDele, Mail::few());
    evil(&server, &["delete", "1-3", "--yes"]).ok();
    assert_eq!(server.left(), ["few-4", "few-5"]);
}

#[test]
fn on_a_terminal_a_person_is_asked() {
    let served = Served::start();
    let program = served.command(&["delete", "1"]);
    let line: Vec<String> = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    for (answer, told, left) in [("n\n", "Nothing was deleted.", 3), ("y\n", "Deleted: 1 message.", 2)] {
        // `script` (of bsdutils) makes a terminal.
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--echo", "never", "--command", &line.join(" "), "/dev/null"])
            .env("P", "abcxyz");
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        assert!(screen.contains("Delete 1 message for good? [y/N]") && screen.contains(told), "{screen}");
        assert!(screen.contains("\x1b[1m1\x1b[0m"), "colours: {screen}");
        assert_eq!((output.status.code(), served.left()), (Some(0), left));
    }
}

#[test]
fn servers_without_top_are_listed_all_the_same() {
    for misbehaviour in [
        Misbehaviour::CapaLiesTop,
        Misbehaviour::CapaHidesThem,
        Misbehaviour::CapaRefused,
        Misbehaviour::TopSendsAll,
        Misbehaviour::UidlRefused,
    ] {
        let server = EvilServer::start(misbehaviour, Mail::few());
        let ran = evil(&server, &[]);
        assert_eq!(
            ran.stderr().contains("has no TOP"),
            misbehaviour == Misbehaviour::CapaLiesTop || misbehaviour == Misbehaviour::CapaHidesThem,
            "{}",
            misbehaviour.name()
        );
        let shown = ran.ok();
        for subject in ["plain", "dots", "empty", "octets", "long"] {
            assert!(shown.contains(&format!("server@example.org            {subject}\n")), "{shown}");
        }
        assert!(server.deleted().is_empty());
    }
}

#[test]
fn an_endless_message_is_not_shown() {
    let server = EvilServer::start(Misbehaviour::BodyEndless, Mail::few());
    // Its end is not the limit of what is shown, but the connection's.
    let told = evil(&server, &["show", "2"]).fails(1);
    assert!(told.contains("ended") || told.contains("too much to be shown"), "{told}");
}

#[test]
fn what_is_looked_at_is_not_deleted_where_the_server_deletes_what_is_read() {
    for (fault, warned) in [(Fault::Expires, true), (Fault::None, false)] {
        let odd = Odd::start(fault);
        let (url, authority) = (format!("pop3://mara@{}", odd.address), odd.authority());
        let mut command = binary::command(&["mail", &url, "show", "1", "--password-env", "P"]);
        command.args(["--transcript", "session.pop3", "--ca-file"]).arg(&authority);
        command.env("P", "x").current_dir(authority.parent().unwrap());
        let ran = binary::feed(command, b"");
        assert_eq!(ran.stderr().contains("without QUIT"), warned, "{}", ran.stderr());
        assert!(ran.ok().contains("body"));
        let said = fs::read_to_string(authority.with_file_name("session.pop3")).unwrap();
        assert_eq!(said.contains("C: QUIT"), !warned, "{said}");
    }
}

#[test]
fn who_breaks_off_leaves_no_file() {
    let script = Script::from(Misbehaviour::BodyStops).in_sessions(Sessions::Every);
    let server = EvilServer::start(script, Mail::few());
    let folder = TempDir::new().unwrap();
    let url = format!("pop3://{USER}@{}", server.address());
    let mut command =
        binary::command(&["mail", &url, "save", "2", "--insecure", "--password-env", "P", "--to"]);
    command.arg(folder.path()).env("P", PASSWORD).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let files = || fs::read_dir(folder.path()).unwrap().count();
    let until = Instant::now() + Duration::from_secs(20);
    while files() == 0 {
        assert!(Instant::now() < until, "nothing is written");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files(), 0);
}

#[test]
fn many_messages_are_listed() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::many(2000));
    let shown = evil(&server, &[]).ok();
    assert_eq!(shown.lines().filter(|line| line.contains("number ")).count(), 2000);
    assert!(evil(&server, &["--limit", "2"]).ok().starts_with("1999  "));
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    for (args, told) in [
        (&["pop3://john:hunter2@h"][..], "--password-command"),
        (&["pop3://h"], "names no user"),
        (&["pop3://j@h"], "a password is needed"),
        (&["pop3://j@h", "fetch"], "invalid value"),
        (&["pop3://j@h", "show"], "the number of one message"),
        (&["pop3://j@h", "show", "1-2"], "the number of one message"),
        (&["pop3://j@h", "show", "0"], "write the number"),
        (&["pop3://j@h", "list", "3"], "takes no numbers"),
        (&["pop3://j@h", "save"], "takes the numbers"),
        (&["pop3://j@h", "show", "3", "--yes"], "--yes belongs to `delete`"),
        (&["pop3://j@h", "--raw"], "--raw belongs to `show`"),
    ] {
        let said = binary::restante(&[&["mail"], args].concat()).fails(2);
        assert!(said.contains(told) && !said.contains("hunter2"), "{args:?}: {said}");
    }
}

#[test]
fn no_password_goes_in_clear_unless_the_url_says_so() {
    let served = Served::start();
    let url = format!("pop3://john.doe@anydomain.com@{}?tls=none", served.plain);
    let mut command = binary::command(&["mail", &url, "--password-env", "P"]);
    command.env("P", "abcxyz");
    assert!(binary::feed(command, b"").ok().contains("3 messages"));
    let server = EvilServer::start(Misbehaviour::StlsRefused, Mail::few());
    assert!(evil(&server, &[]).fails(1).contains("would not be encrypted"));
    assert!(server.commands().iter().all(|line| !line.contains("PASS") && !line.contains("AUTH")));
}

#[test]
fn a_transcript_has_no_secrets() {
    let served = Served::start();
    served.mail(&["--transcript", "session.pop3"]).ok();
    let text = fs::read_to_string(served.path("session.pop3")).unwrap();
    assert!(text.contains("C: QUIT") && !text.contains("abcxyz"), "{text}");
}
