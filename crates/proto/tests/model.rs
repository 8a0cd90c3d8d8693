//! The session against a model that is too simple to be wrong: random dialogues, cut anywhere, dropped anywhere, on a
//! store that fails at random. A failure prints the dialogue, and is kept as a seed that replays.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fmt::Write as _, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::Index};
use restante_proto::{
    Marks, UniqueId, UniqueIds,
    body::{Form, Measure, Part, Progress, Stuffer},
    reply::{Refusal, ResponseCode},
    server::{Answer, Ask, Link, Next, Policy, Session, Transfer},
};

/// What a client says.
#[derive(Clone, Debug)]
enum Say {
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top(u32, u64),
    Dele(u32),
    Rset,
    Noop,
    Nonsense,
}

/// A maildrop, and what the store does when it is asked for a message.
#[derive(Clone, Debug)]
struct Mail {
    messages: Vec<Vec<u8>>,
    gone: Vec<bool>,
    /// Whether the sizes are known at login.
    measured: bool,
    commit_fails: bool,
}

fn say() -> impl Strategy<Value = Say> {
    let number = 0u32..8;
    prop_oneof![
        Just(Say::Stat),
        proptest::option::of(number.clone()).prop_map(Say::List),
        proptest::option::of(number.clone()).prop_map(Say::Uidl),
        number.clone().prop_map(Say::Retr),
        (number.clone(), 0u64..4).prop_map(|(number, lines)| Say::Top(number, lines)),
        number.prop_map(Say::Dele),
        Just(Say::Rset),
        Just(Say::Noop),
        Just(Say::Nonsense),
    ]
}

fn mail() -> impl Strategy<Value = Mail> {
    let octet = prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'.'), Just(b'a')];
    let message = (vec(octet, 0..60), proptest::bool::weighted(0.1));
    (vec(message, 0..6), any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        |(messages, measured, commit_fails)| {
            let (messages, gone) = messages.into_iter().unzip();
            Mail { messages, gone, measured, commit_fails }
        },
    )
}

impl Say {
    fn line(&self) -> String {
        match self {
            Self::Stat => "STAT".into(),
            Self::List(None) => "LIST".into(),
            Self::List(Some(number)) => format!("LIST {number}"),
            Self::Uidl(None) => "UIDL".into(),
            Self::Uidl(Some(number)) => format!("UIDL {number}"),
            Self::Retr(number) => format!("RETR {number}"),
            Self::Top(number, lines) => format!("TOP {number} {lines}"),
            Self::Dele(number) => format!("DELE {number}"),
            Self::Rset => "RSET".into(),
            Self::Noop => "NOOP".into(),
            Self::Nonsense => "XYZZY 1".into(),
        }
    }
}

impl Mail {
    fn octets(&self, index: usize) -> u64 {
        let mut measure = Measure::default();
        measure.push(&self.messages[index]);
        measure.finish().octets
    }

    fn wire(&self, index: usize, part: Part) -> String {
        let (mut out, mut stuffer) = (Vec::new(), Stuffer::new(Form::Local, part));
        let _: Progress = stuffer.push(&self.messages[index], &mut out);
        stuffer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// What a server is to say, and which messages are left, by the letter of RFC 1939.
    fn expect(&self, dialogue: &[Say]) -> (String, Vec<usize>) {
        let mut out =
            "+OK X1 POP3 Server\r\n+OK send your password\r\n+OK maildrop locked and ready\r\n".to_owned();
        let mut deleted = vec![false; self.messages.len()];
        // UIDL's head has the octets only where they are known.
        let mut known = self.measured;
        for say in dialogue {
            let left: Vec<usize> = (0..self.messages.len()).filter(|index| !deleted[*index]).collect();
            let octets: u64 = left.iter().map(|index| self.octets(*index)).sum();
            let head = |known: bool| match known {
                true => format!("+OK {} messages ({octets} octets)\r\n", left.len()),
                false => format!("+OK {} messages\r\n", left.len()),
            };
            let find = |number: u32| match (number as usize).checked_sub(1) {
                Some(index) if index < deleted.len() && deleted[index] => {
                    Err("-ERR the message is marked as deleted\r\n")
                }
                Some(index) if index < deleted.len() => Ok(index),
                _ => Err("-ERR no such message\r\n"),
            };
            let body = |number: u32, part: Part, head: &dyn Fn(usize) -> String| match find(number) {
                Ok(index) if self.gone[index] => "-ERR the message was removed by another program\r\n".into(),
                Ok(index) => format!("{}{}.\r\n", head(index), self.wire(index, part)),
                Err(refusal) => refusal.to_owned(),
            };
            let said = match say {
                Say::Stat => {
                    known = true;
                    format!("+OK {} {octets}\r\n", left.len())
                }
                Say::List(None) => {
                    known = true;
                    let lines = left.iter().map(|index| format!("{} {}\r\n", index + 1, self.octets(*index)));
                    format!("{}{}.\r\n", head(true), lines.collect::<String>())
                }
                Say::List(Some(number)) => match find(*number) {
                    Ok(index) => {
                        known = true;
                        format!("+OK {number} {}\r\n", self.octets(index))
                    }
                    Err(refusal) => refusal.into(),
                },
                Say::Uidl(None) => {
                    let lines = left.iter().map(|index| format!("{} id-{index}\r\n", index + 1));
                    format!("{}{}.\r\n", head(known), lines.collect::<String>())
                }
                Say::Uidl(Some(number)) => match find(*number) {
                    Ok(index) => format!("+OK {number} id-{index}\r\n"),
                    Err(refusal) => refusal.into(),
                },
                Say::Retr(number) => {
                    body(*number, Part::Whole, &|index| format!("+OK {} octets\r\n", self.octets(index)))
                }
                Say::Top(number, lines) => {
                    body(*number, Part::Top(*lines), &|_| "+OK top of message follows\r\n".into())
                }
                Say::Dele(number) => match find(*number) {
                    Ok(index) => {
                        deleted[index] = true;
                        "+OK msg deleted\r\n".into()
                    }
                    Err(refusal) => refusal.into(),
                },
                Say::Rset => {
                    deleted.fill(false);
                    let octets: u64 = (0..self.messages.len()).map(|index| self.octets(index)).sum();
                    match known {
                        true => format!("+OK maildrop has {} messages ({octets} octets)\r\n", deleted.len()),
                        false => format!("+OK maildrop has {} messages\r\n", deleted.len()),
                    }
                }
                Say::Noop => "+OK\r\n".into(),
                Say::Nonsense => "-ERR unknown command\r\n".into(),
            };
            out.push_str(&said);
        }
        (out, (0..deleted.len()).filter(|index| deleted[*index]).collect())
    }
}

/// Runs a dialogue whose input comes in pieces; says what came out, and what was to be removed, if it came to that.
fn run(mail: &Mail, pieces: &[&[u8]]) -> (String, Option<Vec<usize>>) {
    let policy = Policy {
        hostname: "X1".into(),
        stls: false,
        passwords: true,
        mechanisms: vec![],
        login_failures_max: 3,
        bad_commands_max: 100,
    };
    let mut session: Session<usize> =
        Session::new(Arc::new(policy), Link { tls: None, cleartext: true }, None);
    let (mut out, mut committed) = (Vec::new(), None);
    let mut pieces = pieces.iter();
    let mut input: &[u8] = &[];
    loop {
        match session.advance(&mut input, &mut out) {
            Next::Input => match pieces.next() {
                Some(piece) => input = piece,
                None => break,
            },
            Next::Ask(ask) => session.answer(answer(mail, ask, &mut committed), &mut out),
            Next::Send(transfer) => {
                out.extend_from_slice(mail.wire(transfer.source, transfer.part).as_bytes());
                session.sent(true, &mut out);
            }
            Next::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    (String::from_utf8(out).unwrap(), committed)
}

fn answer(mail: &Mail, ask: Ask, committed: &mut Option<Vec<usize>>) -> Answer<usize> {
    let sizes = || -> Arc<[u64]> { (0..mail.messages.len()).map(|index| mail.octets(index)).collect() };
    match ask {
        Ask::Password { .. } => Answer::Accepted,
        Ask::Open => Answer::Opened {
            messages: u32::try_from(mail.messages.len()).unwrap(),
            sizes: mail.measured.then(sizes),
        },
        Ask::Sizes => Answer::Sizes(sizes()),
        Ask::UniqueIds { range } => {
            // Two a page, so that listings have several.
            let page = range.take(2).map(|index| UniqueId::new(format!("id-{index}").as_bytes()).unwrap());
            Answer::UniqueIds(page.collect::<Vec<_>>().iter().collect::<UniqueIds>())
        }
        Ask::Message { number, .. } if mail.gone[number.index() as usize] => Answer::Gone,
        Ask::Message { number, part } => {
            let index = number.index() as usize;
            let octets = 0..mail.messages[index].len() as u64;
            let transfer = Transfer { source: index, octets, form: Form::Local, part };
            Answer::Message { transfer, octets: mail.octets(index) }
        }
        Ask::Commit { deleted } => {
            *committed = Some(deleted.iter().map(|index| index as usize).collect());
            match mail.commit_fails && deleted != Marks::default() {
                true => Answer::Remain(deleted.count()),
                false => Answer::Committed,
            }
        }
        _ => Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "not here")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_session_says_what_the_model_says(mail in mail(), dialogue in vec(say(), 0..24), cuts in vec(any::<Index>(), 0..6)) {
        let mut input = "USER a\r\nPASS b\r\n".to_owned();
        dialogue.iter().for_each(|say| write!(input, "{}\r\n", say.line()).unwrap());
        input.push_str("QUIT\r\n");
        let (mut expected, deleted) = mail.expect(&dialogue);
        match mail.commit_fails && !deleted.is_empty() {
            true => write!(expected, "-ERR [SYS/TEMP] {} deleted messages not removed\r\n", deleted.len()).unwrap(),
            false => expected.push_str("+OK POP3 Server saying Good-Bye\r\n"),
        }
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|ends| &input.as_bytes()[ends[0]..ends[1]]).collect();
        let (out, committed) = run(&mail, &pieces);
        prop_assert_eq!(out, expected, "{}", input);
        prop_assert_eq!(committed, Some(deleted));
    }

    #[test]
    fn a_session_that_is_cut_off_removes_nothing(mail in mail(), dialogue in vec(say(), 0..12), cut in any::<Index>()) {
        let mut input = "USER a\r\nPASS b\r\n".to_owned();
        dialogue.iter().for_each(|say| write!(input, "{}\r\n", say.line()).unwrap());
        input.push_str("QUIT\r\n");
        // Anywhere, but before the last octet of QUIT's line.
        let (out, committed) = run(&mail, &[&input.as_bytes()[..cut.index(input.len())]]);
        prop_assert_eq!(committed, None, "{}", out);
    }
}
