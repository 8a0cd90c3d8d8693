//! What every directory has to show behind the real server: who gets in, who does not, and what is said while it is down.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use crate::{PASSWORD, Program, Security, Server, USER};

/// Somebody in the directory.
pub const ANN: (&str, &str) = ("ann@example.org", "s3cret of Ann");
/// Somebody with a name and a password beyond ASCII.
pub const JOERG: (&str, &str) = ("j\u{f6}rg@example.org", "p\u{e4}ssw\u{f6}rd");
/// Whose mail the server has.
pub const USERS: &[&str] = &[ANN.0, JOERG.0];

/// How long the server waits for a directory in these tests, in seconds.
pub const TIMEOUT_SECONDS: u64 = 2;

/// What a login was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    In,
    /// `[AUTH]`: name or password are wrong.
    Wrong,
    /// `[SYS/TEMP]`: try again later.
    Later,
    /// Anything else.
    Other(String),
}

/// Logs in by curl.
pub fn login(server: &Server, user: &str, password: &str) -> Answer {
    let authority = server.authority();
    let folder = authority.parent().expect("it is in a folder");
    let outcome = Program::new("curl", "curl", folder)
        .args(["--disable", "--silent", "--show-error", "--verbose", "--user"])
        .arg(format!("{user}:{password}"))
        .arg(format!("pop3://127.0.0.1:{}/", server.port(Security::Plain)))
        .run();
    let words = outcome.words();
    match outcome.status.success() {
        true => Answer::In,
        false if words.contains("-ERR [AUTH]") => Answer::Wrong,
        false if words.contains("-ERR [SYS/TEMP]") => Answer::Later,
        false => Answer::Other(words),
    }
}

/// The directory is up: [`ANN`] and [`JOERG`] get in, and nobody else.
pub fn is_up(server: &Server) {
    for (user, password) in [ANN, JOERG] {
        assert_eq!(login(server, user, password), Answer::In, "{user}");
        assert_eq!(login(server, &user.to_ascii_uppercase(), password), Answer::In, "{user} in capitals");
        for wrong in ["wrong", "", ANN.1.trim_end_matches('n')] {
            assert_eq!(login(server, user, wrong), Answer::Wrong, "{user} with {wrong:?}");
        }
    }
    for stranger in [
        "carl@example.org",
        "'or'1'='1",
        "ann@example.org'--",
        "*",
        "ann*",
        "ann@example.org)(uid=*",
        "%",
        "\\",
    ] {
        assert_eq!(login(server, stranger, ANN.1), Answer::Wrong, "{stranger}");
    }
}

/// The directory is down, or says nothing: nobody is told that the password was wrong, and nobody waits for long.
pub fn is_down(server: &Server) {
    for (user, password) in [ANN, (ANN.0, "wrong"), ("carl@example.org", "x")] {
        let begin = Instant::now();
        assert_eq!(login(server, user, password), Answer::Later, "{user}");
        let patience = Duration::from_secs(TIMEOUT_SECONDS + 20);
        assert!(begin.elapsed() < patience, "{user} waits for {:?}", begin.elapsed());
    }
}

/// The users file behind the directory: who is in it gets in while the directory is up.
pub fn next_is_asked(server: &Server) {
    assert_eq!(login(server, USER, PASSWORD), Answer::In);
    assert_eq!(login(server, USER, "wrong"), Answer::Wrong);
}

/// While the directory is down, nobody knows whether it has the user, so that the next one is not asked.
pub fn next_is_not_asked(server: &Server) {
    assert_eq!(login(server, USER, PASSWORD), Answer::Later);
}

/// A port of this machine at which nobody listens.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it has one").port()
}
