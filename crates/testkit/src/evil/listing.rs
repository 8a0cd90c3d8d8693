//! How an evil server counts and names its mail: STAT, LIST and UIDL.

use super::{
    Misbehaviour as M,
    mail::Held,
    reply::{Reply, Then, endless_line},
    session::{Command, Session},
};

/// What a session sees of the maildrop at its login, altered.
pub(super) fn alter(session: &mut Session<'_>) {
    if session.evil == M::MailboxShrinks {
        session.view.retain(|held| held.key != 0);
    }
    if session.evil == M::UidlAllChange {
        session.view.iter_mut().for_each(|held| held.shown = format!("changed-{}", held.shown));
    }
    let k = session.script().message - 1;
    if session.evil == M::UidlDuplicates && session.view.len() > 1 && k < session.view.len() {
        let next = if k + 1 < session.view.len() { k + 1 } else { k - 1 };
        session.view[next].shown = session.view[k].shown.clone();
    }
    let Some(held) = session.view.get_mut(k) else { return };
    held.shown = match session.evil {
        M::UidlEmpty => String::new(),
        M::UidlLong71 => "l".repeat(71),
        M::UidlLong5000 => "l".repeat(5_000),
        M::UidlSpaces => "an id with spaces".to_owned(),
        M::UidlControls => "id\u{1b}[2J\u{7}\tid".to_owned(),
        _ => return,
    };
}

/// Whether marked messages are shown as if they were not.
pub(super) fn shows_marked(session: &Session<'_>) -> bool {
    session.evil == M::DeletedStillListed
}

/// The messages with their numbers.
fn numbered<'a>(session: &'a Session<'_>) -> Vec<(usize, &'a Held)> {
    let there = session
        .view
        .iter()
        .enumerate()
        .filter(|(index, _)| shows_marked(session) || !session.marked.contains(index));
    if session.evil == M::RenumbersAfterDele {
        return there.enumerate().map(|(at, (_, held))| (at + 1, held)).collect();
    }
    there.map(|(index, held)| (index + 1, held)).collect()
}

/// How many messages there are, and how many octets.
pub(super) fn total(session: &Session<'_>) -> (usize, usize) {
    let there = numbered(session);
    (there.len(), there.iter().map(|(_, held)| held.message.octets.len()).sum())
}

/// One line of LIST or UIDL.
pub(super) fn line(verb: &str, number: usize, held: &Held) -> String {
    if verb == "LIST" {
        format!("{number} {}", held.message.octets.len())
    } else {
        format!("{number} {}", held.shown)
    }
}

/// All lines of a good LIST or UIDL.
pub(super) fn lines(session: &Session<'_>, verb: &str) -> Vec<String> {
    numbered(session).into_iter().map(|(number, held)| line(verb, number, held)).collect()
}

/// The reply, if it is not a good one.
pub(super) fn play(session: &Session<'_>, command: &Command<'_>) -> Option<Reply> {
    if !session.logged_in {
        return None;
    }
    match command.verb.as_str() {
        "STAT" => stat(session),
        "LIST" => list(session, command),
        "UIDL" => uidl(session, command),
        _ => None,
    }
}

fn stat(session: &Session<'_>) -> Option<Reply> {
    let (count, octets) = total(session);
    let good = Reply::ok(&format!("{count} {octets}"));
    Some(match session.evil {
        M::StatRefused => Reply::refused("not counted"),
        M::StatNegative => Reply::ok("-1 -320"),
        M::StatHuge => Reply::ok("18446744073709551616 18446744073709551616"),
        M::StatWords => Reply::ok("some messages"),
        M::StatTooFewWords => Reply::ok(&count.to_string()),
        M::StatUnlikeList => Reply::ok(&format!("{} {}", count + 3, octets * 2)),
        M::StatUnanswered => Reply::silence(),
        M::StatEndless => Reply { octets: b"+OK ".to_vec(), then: Then::Repeat(endless_line) },
        M::ReplyGarbage => Reply::line("\u{1b}[31mOK? 1 2"),
        M::ReplyNul => Reply::ok(&format!("{count} {octets} \0\u{1b}[2J\0")),
        M::ReplyLong => Reply::ok(&format!("{count} {octets} {}", "long ".repeat(20 * 1024))),
        M::DataAfterReply => good.and(b"this is no reply\r\n"),
        M::AutologoutUnasked => good.and(b"-ERR autologout; idle for too long\r\n").then(Then::HangUp),
        M::ByeUnasked => good.and(b"* BYE\r\n").then(Then::HangUp),
        _ => return None,
    })
}

fn list(session: &Session<'_>, command: &Command<'_>) -> Option<Reply> {
    if session.evil == M::ListRefused {
        return Some(Reply::refused("not listed"));
    }
    if !command.arguments.is_empty() {
        return None;
    }
    let mut lines = lines(session, "LIST");
    let beyond = session.view.len() + 1;
    match session.evil {
        M::ListLonger => lines.push(format!("{beyond} 100")),
        M::ListShorter => drop(lines.pop()),
        M::ListRepeats => lines.push("1 77777".to_owned()),
        M::ListZero => lines.insert(0, "0 100".to_owned()),
        M::ListHugeNumber => lines.push("1180591620717411303424 100".to_owned()),
        M::ListOutOfOrder => lines.reverse(),
        M::ListSizeMissing => change(session, &mut lines, |number| number),
        M::ListSizeNegative => change(session, &mut lines, |number| number + " -100"),
        M::ListSizeHuge => change(session, &mut lines, |number| number + " 1180591620717411303424"),
        M::ListSizesWrong => lines.iter_mut().for_each(|line| *line = number_of(line) + " 1"),
        M::ListGarbage => lines.insert(1.min(lines.len()), "this is no line of a list".to_owned()),
        M::ListEndless => return Some(Reply::open_block("they are", lines).then(Then::Repeat(endless_list))),
        M::ListWithoutFinalDot => return Some(Reply::open_block("they are", lines).then(Then::FallSilent)),
        _ => return None,
    }
    Some(Reply::block("they are", lines))
}

fn uidl(session: &Session<'_>, command: &Command<'_>) -> Option<Reply> {
    if matches!(session.evil, M::UidlRefused | M::CapaLiesUidl) {
        return Some(Reply::refused("what is that?"));
    }
    if !command.arguments.is_empty() {
        return None;
    }
    let mut lines = lines(session, "UIDL");
    let beyond = session.view.len() + 1;
    match session.evil {
        M::UidlShorter => drop(lines.pop()),
        M::UidlBeyondStat => lines.push(format!("{beyond} beyond")),
        M::UidlRepeats => lines.push("1 once-more".to_owned()),
        M::UidlZero => lines.insert(0, "0 zero".to_owned()),
        M::UidlOutOfOrder => lines.reverse(),
        M::UidlEndless => return Some(Reply::open_block("they are", lines).then(Then::Repeat(endless_list))),
        M::UidlWithoutFinalDot => return Some(Reply::open_block("they are", lines).then(Then::FallSilent)),
        _ => return None,
    }
    Some(Reply::block("they are", lines))
}

/// Makes another line of the one of message *k*.
fn change(session: &Session<'_>, lines: &mut [String], another: fn(String) -> String) {
    for line in lines {
        let number = number_of(line);
        if number == session.script().message.to_string() {
            *line = another(number);
        }
    }
}

fn number_of(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// Lines that count on, for ever; they are good as sizes and as unique-ids.
fn endless_list(part: u64) -> Vec<u8> {
    (0..100).flat_map(|line| format!("{0} {0}\r\n", 1_000 + part * 100 + line).into_bytes()).collect()
}
