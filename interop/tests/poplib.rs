//! poplib, of Python's standard library: every call it has, in a script.
//!
//! What poplib changes in a message: it hands over lines without their ends, dots unstuffed; joined by CRLF they are the
//! message again. It gives up on a line of more than 2048 octets, its end among them («line too long»), and the session
//! is of no use afterwards: the two letters with long lines are left out, and that it stops there is tested.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path};

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, fresh, with_security,
};

/// Connects, verifies, signs in; what follows it uses `box`.
const PREAMBLE: &str = r#"
import os, poplib, ssl, sys
way, port, authority, user, password = sys.argv[1:6]
trust = ssl.create_default_context(cafile=authority)
if way == "Tls":
    box = poplib.POP3_SSL("localhost", int(port), context=trust)
else:
    box = poplib.POP3("localhost", int(port))
    if way == "Stls":
        box.stls(trust)
box.user(user)
box.pass_(password)
def retrieve(number, name):
    answer, lines, octets = box.retr(number)
    with open(name, "wb") as file:
        file.write(b"".join(line + b"\r\n" for line in lines))
def unique_ids():
    return dict(line.decode().split(" ", 1) for line in box.uidl()[1])
"#;

fn python(server: &Server, security: Security, authority: &Path, folder: &Path, script: &str) -> Outcome {
    let file = folder.join("script.py");
    server.client_file(&file, &format!("{PREAMBLE}{script}"));
    Program::new("python3", "python3", folder)
        .arg(file)
        .arg(format!("{security:?}"))
        .arg(server.port(security).to_string())
        .arg(authority)
        .args([USER, PASSWORD])
        .run()
}

/// The letters whose lines poplib can bear.
fn bearable() -> Vec<Letter> {
    corpus().into_iter().filter(|letter| !letter.name.contains("long line")).collect()
}

/// Takes the files with the names of unique-ids out of the folder.
fn take(folder: &Path) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            got.push(fs::read(&path).unwrap());
            fs::remove_file(path).unwrap();
        }
    }
    got
}

fn received(letters: &[Letter]) -> Vec<(&'static str, Vec<u8>)> {
    letters.iter().map(|letter| (letter.name, letter.canonical())).collect()
}

/// Fetches what is not in the file `seen`, then writes that file anew.
const FETCH_NEW: &str = r#"
seen = set(open("seen").read().split()) if os.path.exists("seen") else set()
now = unique_ids()
for number, id in now.items():
    if id not in seen:
        retrieve(int(number), id + ".eml")
        if "delete" in sys.argv:
            box.dele(int(number))
with open("seen", "w") as file:
    file.write("\n".join(now.values()))
box.quit()
"#;

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    let letters = bearable();
    with_security(&Security::ALL, |security| {
        let server = Server::start(&letters);
        let folder = server.client_folder("client");
        let fetch = || python(&server, security, &server.authority(), &folder, FETCH_NEW).succeeded();
        fetch();
        assert_same(take(&folder), &received(&letters));
        fetch();
        assert_same(take(&folder), &[]);
        server.deliver(&fresh());
        fetch();
        assert_same(take(&folder), &received(&[fresh()]));
        assert_eq!(server.left().len(), letters.len() + 1);
        server.stop();
    });
}

#[test]
fn deletes_what_it_has() {
    let letters = bearable();
    with_security(&Security::ALL, |security| {
        let server = Server::start(&letters);
        let folder = server.client_folder("client");
        let script = FETCH_NEW.replace("\"delete\" in sys.argv", "True");
        python(&server, security, &server.authority(), &folder, &script).succeeded();
        assert_same(take(&folder), &received(&letters));
        assert_eq!(server.left(), Vec::<String>::new());
        server.stop();
    });
}

#[test]
fn every_call_is_answered() {
    let letters = bearable();
    with_security(&Security::ALL, |security| {
        let server = Server::start(&letters);
        let folder = server.client_folder("client");
        let script = r#"
count, octets = box.stat()
sizes = [int(line.split()[1]) for line in box.list()[1]]
assert (count, octets) == (len(sizes), sum(sizes)), (count, octets, sizes)
for number in range(1, count + 1):
    # poplib counts the line ends and the dots that were stuffed on top of the message.
    answer, lines, _ = box.retr(number)
    assert sum(len(line) + 2 for line in lines) == sizes[number - 1], (answer, sizes[number - 1])
    assert box.list(number).split()[-1] == b"%d" % sizes[number - 1]
    assert box.uidl(number).split()[-1].decode() == unique_ids()[str(number)]
assert box.top(1, 0)[1][-1] == b""
assert "UIDL" in box.capa() and "TOP" in box.capa()
assert ("STLS" in box.capa()) is False, "offered after login"
box.noop()
box.dele(1)
assert box.stat()[0] == count - 1
for refused in (lambda: box.retr(1), lambda: box.dele(1), lambda: box.retr(count + 1), lambda: box.utf8()):
    try:
        refused()
    except poplib.error_proto as error:
        assert error.args[0].startswith(b"-ERR"), error
    else:
        raise AssertionError("it had to be refused")
box.rset()
assert box.stat() == (count, octets)
box.quit()
"#;
        python(&server, security, &server.authority(), &folder, script).succeeded();
        assert_eq!(server.left().len(), letters.len());
        server.stop();
    });
}

#[test]
fn it_gives_up_on_a_long_line() {
    let letters: Vec<Letter> = corpus().into_iter().filter(|letter| letter.name == "long line").collect();
    let server = Server::start(&letters);
    let folder = server.client_folder("client");
    let outcome =
        python(&server, Security::Plain, &server.authority(), &folder, "retrieve(1, \"a.eml\")").failed();
    assert!(outcome.words().contains("line too long"), "{outcome}");
    server.stop();
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let server = Server::start(&bearable());
    let folder = server.client_folder("client");
    with_security(&[Security::Stls, Security::Tls], |security| {
        let outcome = python(&server, security, &server.stranger(), &folder, "box.quit()").failed();
        assert!(outcome.words().contains("CERTIFICATE_VERIFY_FAILED"), "{outcome}");
    });
    server.stop();
}
