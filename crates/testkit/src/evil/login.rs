//! How an evil server takes CAPA, STLS, USER, PASS and AUTH.

use super::{
    Misbehaviour as M,
    reply::{Reply, Then, endless_line},
    session::{Command, Session},
};

/// The reply, if it is not a good one.
pub(super) fn play(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    match command.verb.as_str() {
        "CAPA" => capa(session),
        "STLS" => stls(session.evil),
        "USER" if session.evil == M::UserRefused => Some(Reply::refused("no such user")),
        "PASS" => password(session, command),
        "AUTH" => auth(session, command),
        "" => response(session, command),
        _ => None,
    }
}

/// Whether what lies behind a command is dropped.
pub(super) fn drops_input(session: &Session<'_>) -> bool {
    match session.evil {
        M::CapaLiesPipelining => true,
        M::CapaShrinksAfterLogin => session.logged_in,
        _ => false,
    }
}

fn capa(session: &Session<'_>) -> Option<Reply> {
    let good = session.capabilities();
    let without = |words: &[&str]| {
        let left = good.iter().filter(|line| !words.contains(&line.as_str()));
        Reply::block("capabilities", left)
    };
    Some(match (session.evil, session.logged_in) {
        (M::CapaRefused, _) => Reply::refused("what is that?"),
        (M::CapaEndless, _) => Reply::ok("capabilities").then(Then::Repeat(endless_capabilities)),
        (M::CapaWithoutFinalDot, _) => Reply::open_block("capabilities", &good).then(Then::FallSilent),
        (M::CapaOddLines, _) => Reply::open_block("capabilities", &good)
            .and(b"\r\n \r\ncaf\xe9 \x01\r\nlogin-delay soon\r\nEXPIRE -1\r\nLOGIN-DELAY 99999999999999999999\r\n.\r\n"),
        (M::CapaHidesThem, _) => without(&["TOP", "UIDL", "USER"]),
        (M::UidlRefused, _) => without(&["UIDL"]),
        (M::CapaShrinksAfterLogin, true) => without(&["TOP", "PIPELINING"]),
        (M::CapaGrowsAfterLogin, false) => without(&["TOP", "UIDL", "PIPELINING"]),
        (M::StlsNotOffered, _) => without(&["STLS"]),
        (M::CapaUnknownSaslOnly, _) => {
            let lines = good.iter().map(|line| if line == "SASL PLAIN" { "SASL X-NOBODY-KNOWS" } else { line });
            Reply::block("capabilities", lines)
        }
        (M::LoginRefusedLoginDelay, _) => {
            Reply::block("capabilities", good.iter().map(String::as_str).chain(["LOGIN-DELAY 2"]))
        }
        _ => return None,
    })
}

fn endless_capabilities(part: u64) -> Vec<u8> {
    (0..100).flat_map(|line| format!("X-ENDLESS-{}\r\n", part * 100 + line).into_bytes()).collect()
}

fn stls(evil: M) -> Option<Reply> {
    Some(match evil {
        M::StlsInjection => Reply::ok("begin TLS").and(b"+OK this was injected\r\n").then(Then::Secure),
        M::StlsRefused | M::StlsNotOffered => Reply::refused("no TLS today"),
        M::StlsClearText => Reply::ok("begin TLS").then(Then::ClearText),
        M::StlsStalls => Reply::ok("begin TLS").then(Then::FallSilent),
        M::StlsClosed => Reply::ok("begin TLS").then(Then::HangUp),
        _ => return None,
    })
}

/// A password has come, right or wrong.
fn password(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    let refused = match session.evil {
        M::LoginRefused => "no",
        M::LoginRefusedAuth => "[AUTH] wrong user or password",
        M::LoginRefusedInUse => "[IN-USE] another session has the maildrop",
        M::LoginRefusedSysTemp => "[SYS/TEMP] the directory is down",
        M::LoginRefusedSysPerm => "[SYS/PERM] the maildrop is damaged: call your administrator",
        M::LoginRefusedLoginDelay => "[LOGIN-DELAY] not so often",
        M::LoginUnanswered => return Some(Reply::silence()),
        M::LoginPlusErr => return Some(Reply::line("+ERR wrong password")),
        M::ClosedAfterLogin | M::ReplyUnasked => {
            let reply = session.good(command);
            return Some(match (session.logged_in, session.evil) {
                (false, _) => reply,
                (true, M::ReplyUnasked) => reply.and(b"+OK and by the way\r\n"),
                (true, _) => reply.then(Then::HangUp),
            });
        }
        _ => return None,
    };
    Some(Reply::refused(refused))
}

fn auth(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    let challenge = match session.evil {
        M::AuthChallengeNoBase64 => Reply::line("+ *** no base64 ***"),
        M::AuthChallengesForEver => Reply::line("+ bW9yZQ=="),
        M::AuthChallengeEndless => {
            return Some(Reply { octets: b"+ ".to_vec(), then: Then::Repeat(endless_line) });
        }
        // With the first response the password has come.
        _ if command.arguments.contains(' ') => return password(session, command),
        _ => return None,
    };
    session.exchange = true;
    Some(challenge)
}

/// A line within AUTH.
fn response(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    let cancelled = command.arguments == "*";
    match session.evil {
        M::AuthChallengesForEver if !cancelled => Some(Reply::line("+ bW9yZQ==")),
        M::AuthChallengeNoBase64 => {
            session.exchange = false;
            Some(Reply::refused("cancelled"))
        }
        _ if cancelled => None,
        _ => {
            let reply = password(session, command);
            session.exchange = false;
            reply
        }
    }
}
