//! strace: kills `restante fetch` at every system call of a run that deletes, one after the other, against the real
//! server. Whatever was killed, each message is in the Maildir exactly once in the end, and the server is empty.
//!
//! The N-th call of each kind is a case, counted in each thread; kinds that only set the process up are left out. The
//! process dies on entering the call, so that all before it is done and the call itself is not. A machine that does not
//! have a call of that name skips it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use restante_interop::{Letter, Outcome, PASSWORD, Program, Security, Server, USER, maildir};

/// What changes a disk, talks to the server, or waits.
const CALLS: &[&str] = &[
    "clone3",
    "close",
    "connect",
    "epoll_ctl",
    "epoll_wait",
    "fadvise64",
    "fcntl",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "futex",
    "getdents64",
    "getrandom",
    "link",
    "linkat",
    "lseek",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "read",
    "recvfrom",
    "rename",
    "renameat",
    "renameat2",
    "sendto",
    "shutdown",
    "socket",
    "statx",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// More calls of one kind than a thread makes.
const CALLS_MAX: usize = 200;

/// So often it is fetched again: a server may hold the maildrop's lock for a moment behind a kill.
const MENDING_RUNS_MAX: usize = 50;

/// Cases at a time, each with a server of its own.
const AT_ONCE: usize = 4;

/// Two of them are the same.
fn letters(case: usize) -> Vec<Letter> {
    let letter = |n: usize, name, stored: &[u8]| Letter {
        name,
        id: format!("18{case:08}.M{n}P7.mail.example.org"),
        stored: stored.to_vec(),
        seen: false,
    };
    vec![
        letter(1, "with a dot", b"Received: by a\nSubject: a\n\n.\nFrom here\n"),
        letter(2, "the first of two", b"Subject: same\n\nsame\n"),
        letter(3, "the second of two", b"Subject: same\n\nsame\n"),
    ]
}

struct Fetch<'a> {
    server: &'a Server,
    restante: PathBuf,
    folder: PathBuf,
}

impl Fetch<'_> {
    fn arguments(&self, program: Program) -> Program {
        let port = self.server.port(Security::Plain);
        program
            .args(["fetch", &format!("pop3://{USER}@127.0.0.1:{port}?tls=none"), "--keep", "false"])
            .args(["--password-env", "THE_PASSWORD", "--to", &format!("maildir:{}", self.mail().display())])
            .arg("--state")
            .arg(self.folder.join("state"))
            .env("THE_PASSWORD", PASSWORD)
    }

    fn mail(&self) -> PathBuf {
        self.folder.join("mail")
    }

    /// A run that is killed at this call; or comes to its end, if there are not so many.
    fn killed_at(&self, call: &str, number: usize) -> Outcome {
        let strace = Program::new("strace", "strace", &self.folder)
            .args(["-f", "-qq", "-o", "/dev/null", &format!("--trace=?{call}")])
            .arg(format!("--inject=?{call}:signal=KILL:when={number}"))
            .arg(&self.restante);
        self.arguments(strace).run()
    }

    fn run(&self) -> Outcome {
        let restante = self.restante.to_str().expect("a path of ours");
        self.arguments(Program::new(restante, "restante", &self.folder)).run()
    }
}

fn received(path: &Path) -> Vec<Vec<u8>> {
    let mut received = if path.join("new").exists() { maildir::take(path) } else { Vec::new() };
    received.sort();
    received
}

/// Whether the process was killed.
fn check(server: &Server, call: &str, number: usize, case: usize) -> bool {
    let name = format!("{call}-{number}");
    let letters = letters(case);
    letters.iter().for_each(|letter| server.deliver(letter));
    let fetch = Fetch { server, restante: server.restante(), folder: server.client_folder(&name) };
    let outcome = fetch.killed_at(call, number);
    // strace ends as what it watches did.
    let killed = outcome.status.signal() == Some(9);
    assert!(killed || outcome.status.success(), "{name}: {outcome}");
    let mut mending = 0;
    while !server.left().is_empty() || mending == 0 {
        mending += 1;
        let outcome = fetch.run();
        assert!(mending < MENDING_RUNS_MAX, "{name}: {outcome}");
    }
    let mut expected: Vec<Vec<u8>> = letters.iter().map(Letter::local).collect();
    expected.sort();
    assert_eq!(received(&fetch.mail()), expected, "{name}: {outcome}");
    killed
}

#[test]
fn killed_at_every_system_call() {
    let kills = AtomicUsize::new(0);
    let cases = AtomicUsize::new(0);
    let calls = Mutex::new(CALLS.iter());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let server = Server::start(&[]);
                loop {
                    let call = calls.lock().expect("no case panicked").next();
                    let Some(call) = call else { break };
                    let killed = (1..CALLS_MAX)
                        .take_while(|&number| {
                            check(&server, call, number, cases.fetch_add(1, Ordering::Relaxed))
                        })
                        .count();
                    assert!(killed + 1 < CALLS_MAX, "{call}: there are more");
                    kills.fetch_add(killed, Ordering::Relaxed);
                }
                server.stop();
            });
        }
    });
    let kills = kills.into_inner();
    println!("killed {kills} times");
    assert!(kills > 100, "only {kills} kills");
}
