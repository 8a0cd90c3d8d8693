//! How an evil server deletes: DELE, RSET and QUIT; and how it dresses replies of every kind.

use super::{
    Misbehaviour as M, body,
    reply::{Reply, Then},
    session::{Command, Session},
};

/// The reply, if it is not a good one.
pub(super) fn play(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    if !session.logged_in {
        return None;
    }
    match command.verb.as_str() {
        "DELE" => dele(session, command),
        "RSET" if session.evil == M::RsetRefused => Some(Reply::refused("the marks stay")),
        "QUIT" => quit(session),
        _ => None,
    }
}

fn dele(session: &mut Session<'_>, command: &Command<'_>) -> Option<Reply> {
    let index = session.named(command)?;
    match session.evil {
        M::DeleRefused if session.is_k(index + 1) => Some(Reply::refused("that message stays")),
        M::DeletesAtOnce => {
            let reply = session.good(command);
            session.commit(&[session.view[index].key]);
            Some(reply)
        }
        _ => None,
    }
}

fn quit(session: &Session<'_>) -> Option<Reply> {
    let marked = session.marked_keys();
    let refused = || Reply::refused("[SYS/TEMP] not all messages were deleted").then(Then::HangUp);
    let deleted = |reply: Reply| {
        session.commit(&marked);
        reply
    };
    Some(match session.evil {
        M::RetrHides => {
            session.commit(session.retrieved_keys());
            deleted(Reply::ok("bye").then(Then::HangUp))
        }
        M::QuitRefusedKept => refused(),
        M::QuitRefusedDeleted => deleted(refused()),
        M::QuitRefusedHalf => {
            session.commit(&marked[..marked.len() / 2]);
            refused()
        }
        M::QuitClosedDeleted => deleted(Reply::closed()),
        M::QuitClosedKept => Reply::closed(),
        M::QuitUnansweredDeleted => deleted(Reply::silence()),
        M::QuitUnansweredKept => Reply::silence(),
        M::QuitLies => Reply::ok("bye").then(Then::HangUp),
        _ => return None,
    })
}

/// A reply in the clothes of this session.
pub(super) fn dress(session: &Session<'_>, command: &Command<'_>, mut reply: Reply) -> Reply {
    let is_mail = matches!(command.verb.as_str(), "RETR" | "TOP");
    // What leads from one state to another is answered once; a second +OK for the login is another misbehaviour.
    let is_passage = matches!(command.verb.as_str(), "PASS" | "AUTH" | "" | "QUIT");
    match session.evil {
        M::ReplyTwice if session.logged_in && reply.is_one_line() && !is_passage => {
            let once = reply.octets.clone();
            reply.and(&once)
        }
        M::BareLfReplies if !is_mail => Reply { octets: body::without_cr(&reply.octets), ..reply },
        M::LowerCaseOk => {
            let word = reply.octets.iter().position(|octet| !b"+OK-ER".contains(octet));
            let end = word.unwrap_or(reply.octets.len());
            reply.octets[..end].make_ascii_lowercase();
            reply
        }
        _ => reply,
    }
}
