//! How an evil server sends messages: RETR and TOP.

use super::{
    Mail, Misbehaviour as M, Script,
    reply::{Reply, Then, endless_line},
    session::{Command, Session},
};

/// How long the lines of [`M::BodyLongLines`] are.
const LONG_LINE_OCTETS: usize = 100 * 1024;

/// Puts into message *k* what the misbehaviour needs: where octets must come through, sizes and contents tell of them.
pub(super) fn prepare(script: &Script, mail: &mut Mail) {
    let more: Vec<u8> = match script.misbehaviour {
        M::BodyBareCr => b"one\rtwo\r\rthree\r.\r\r\n".to_vec(),
        M::BodyNul => b"\0\0nul\0\r\n\0\r\n".to_vec(),
        M::BodyLongLines => {
            [vec![b'l'; LONG_LINE_OCTETS], b"\r\n.".to_vec(), vec![b'.'; LONG_LINE_OCTETS], b"\r\n".to_vec()]
                .concat()
        }
        M::BodyUnstuffedDot => b"before\r\n.\r\n+OK 77 octets\r\n-ERR [AUTH] go away\r\nafter\r\n".to_vec(),
        M::BodyUnstuffedDots => b".hidden\r\n..two\r\n".to_vec(),
        _ => return,
    };
    if let Some(message) = mail.0.get_mut(script.message - 1) {
        message.octets = [&message.octets[..], &more].concat().into();
    }
}

/// A message as it is sent, without its end.
fn stuffed(octets: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(octets.len() + 16);
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
    }
    if !sent.is_empty() && !sent.ends_with(b"\r\n") {
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

/// A good RETR.
pub(super) fn whole(session: &mut Session<'_>, index: usize) -> Reply {
    session.note_retrieved(index);
    let octets = session.view[index].message.octets.clone();
    Reply::ok(&format!("{} octets", octets.len())).and(&stuffed(&octets)).and(b".\r\n")
}

/// A good TOP: the header, and as many lines of the body as were asked for.
pub(super) fn top(session: &Session<'_>, index: usize, command: &Command<'_>) -> Reply {
    let Some(wanted) = command.arguments.split(' ').nth(1).and_then(|lines| lines.parse::<usize>().ok())
    else {
        return Reply::refused("how many lines?");
    };
    let octets = &session.view[index].message.octets;
    let mut part = Vec::new();
    let mut body_lines = None;
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        if body_lines.is_some_and(|lines| lines >= wanted) {
            break;
        }
        body_lines = match body_lines {
            Some(lines) => Some(lines + 1),
            None if line == b"\r\n" => Some(0),
            None => None,
        };
        part.extend_from_slice(line);
    }
    Reply::ok("the top").and(&stuffed(&part)).and(b".\r\n")
}

/// The reply, if it is not a good one.
pub(super) fn play(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    if !session.logged_in {
        return None;
    }
    if command.verb == "TOP" {
        return match session.evil {
            M::CapaLiesTop | M::CapaShrinksAfterLogin => Some(Reply::refused("what is that?")),
            M::TopSendsAll => {
                let octets = &session.view[session.named(command)?].message.octets;
                Some(Reply::ok("the top").and(&stuffed(octets)).and(b".\r\n"))
            }
            _ => None,
        };
    }
    if command.verb != "RETR" {
        return None;
    }
    let index = session.named(command)?;
    if !session.is_k(index + 1) {
        return None;
    }
    let reply = retr(session, index)?;
    if !reply.octets.starts_with(b"-ERR") {
        session.note_retrieved(index);
    }
    Some(reply)
}

/// RETR of message *k*.
fn retr(session: &Session<'_>, index: usize) -> Option<Reply> {
    let octets = &session.view[index].message.octets;
    let sent = stuffed(octets);
    let half = &sent[..sent.len() / 2];
    let status = || Reply::ok(&format!("{} octets", octets.len()));
    Some(match session.evil {
        M::RetrRefused => Reply::refused("cannot be read"),
        M::RetrRefusedSysTemp => Reply::refused("[SYS/TEMP] cannot be read now"),
        M::RetrRefusedSysPerm => Reply::refused("[SYS/PERM] cannot be read"),
        M::RetrWrongOctets => Reply::ok("99999999999 octets").and(&sent).and(b".\r\n"),
        M::RetrSendsAnother => {
            let another = &session.view[(index + 1) % session.view.len()].message.octets;
            Reply::ok("this is it").and(&stuffed(another)).and(b".\r\n")
        }
        M::RetrEmpty => status().and(b".\r\n"),
        M::RetrUnanswered => Reply::silence(),
        M::MissingFinalDot => status().and(&sent).then(Then::HangUp),
        M::FinalDotUnended => status().and(&sent).and(b".").then(Then::FallSilent),
        M::BodyStops => status().and(half).then(Then::FallSilent),
        M::BodyClosed => status().and(half).then(Then::HangUp),
        M::TlsEndsWithoutNotify => status().and(half).then(Then::Break),
        M::BodyEndlessLine => status().and(half).then(Then::Repeat(endless_line)),
        M::BodyEndless => status().and(half).then(Then::Repeat(endless_lines)),
        M::BodyBareLf => status().and(&without_cr(&sent)).and(b".\n"),
        M::BodyUnstuffedDot | M::BodyUnstuffedDots => status().and(octets).and(b".\r\n"),
        _ => return None,
    })
}

/// The same with LF for each CRLF.
pub(super) fn without_cr(octets: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => left.extend([text, b"\n"].concat()),
            None => left.extend_from_slice(line),
        }
    }
    left
}

fn endless_lines(_: u64) -> Vec<u8> {
    b"This goes on and on and on and on.\r\n".repeat(100)
}
