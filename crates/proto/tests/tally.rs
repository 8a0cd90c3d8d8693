//! The commands that a session says it answered: each once, however its octets were cut, and with the right status.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{collections::BTreeMap, path::Path, sync::Arc};

use restante_proto::{
    body::{Form, Part},
    command::Command,
    dialogue::{Kind, Piece},
    line::{AUTH_LINE_MAX_OCTETS, COMMAND_LINE_MAX_OCTETS},
    phase::Phase,
    server::{Answer, Ask, Link, Next, Policy, Session, Tally, TlsFacts, Transfer, Unasked, UnaskedLogin},
    verb::Verb,
};
use restante_testkit::dialogue::{Answered, Cutting, Script};

/// The commands of a dialogue, by their verbs, as somebody reads them in the file: a client's line is one unless the
/// server asked for it by a challenge.
fn commands(script: &Script) -> Vec<Option<Verb>> {
    let (mut commands, mut challenged) = (Vec::new(), false);
    let mut line = Vec::new();
    for event in &script.dialogue.events {
        match &event.kind {
            Kind::Client(said) => {
                for piece in said.pieces() {
                    if let Piece::Octets(octets) = piece {
                        line.extend_from_slice(octets);
                    }
                }
                if !line.ends_with(b"\n") {
                    continue;
                }
                // A file may say several lines in one.
                for line in line.split_inclusive(|&octet| octet == b'\n') {
                    if !std::mem::take(&mut challenged) {
                        let max_octets = match line.get(..5).map(<[u8]>::to_ascii_uppercase).as_deref() {
                            Some(b"AUTH ") => AUTH_LINE_MAX_OCTETS,
                            _ => COMMAND_LINE_MAX_OCTETS,
                        };
                        if line.len() > max_octets {
                            commands.push(None);
                            continue;
                        }
                        let line = line.strip_suffix(b"\n").unwrap_or(line);
                        let line = line.strip_suffix(b"\r").unwrap_or(line);
                        let command = Command::parse(line);
                        let verb = command.map_or_else(|error| error.verb(), |command| Some(command.verb()));
                        commands.push(verb);
                    }
                }
                line.clear();
            }
            Kind::Server(said) => {
                challenged = matches!(
                    said.pieces().first(),
                    Some(Piece::Octets(octets)) if octets.starts_with(b"+ ")
                );
            }
            // STLS drops what stands behind it, half a line too.
            Kind::Tls(_) => line.clear(),
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_every_dialogue_is_counted_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let (mut dialogues, mut counted, mut not_run) = (0, 0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pop3") {
            continue;
        }
        let script = Script::read(&path).unwrap();
        let (_, whole) = script.play_counted(Cutting::AsWritten).unwrap();
        let (_, octets) = script.play_counted(Cutting::EveryOctet).unwrap();
        assert_eq!(whole, octets, "{}: octet by octet", path.display());
        let (mut said, mut answered) = (BTreeMap::new(), BTreeMap::new());
        commands(&script).into_iter().for_each(|verb| *said.entry(verb).or_insert(0) += 1);
        whole.iter().for_each(|((verb, _), commands)| *answered.entry(*verb).or_insert(0) += commands);
        // What a client says behind STLS or the end is not run, and never counted.
        for (verb, commands) in &answered {
            assert!(said.get(verb).is_some_and(|said| commands <= said), "{} {verb:?}", path.display());
        }
        not_run += usize::from(answered != said);
        dialogues += 1;
        counted += whole.values().sum::<u32>();
    }
    assert!(
        dialogues >= 10 && counted >= 100,
        "{dialogues} dialogues, {counted} commands: they are not found"
    );
    assert!(not_run * 5 <= dialogues, "in {not_run} of {dialogues} dialogues something is not run");
}

/// A session without passwords and mail but one message, and what it tallied.
struct Played {
    session: Session<()>,
    out: Vec<u8>,
    answered: Answered,
}

impl Played {
    fn new() -> Self {
        let policy = Policy {
            hostname: "X1".into(),
            stls: true,
            passwords: true,
            mechanisms: Vec::new(),
            login_failures_max: 9,
            bad_commands_max: 20,
        };
        let link = Link { tls: None, cleartext: true };
        let session = Session::new(Arc::new(policy), link, None);
        Self { session, out: Vec::new(), answered: Answered::new() }
    }

    /// Goes on, and takes the tally each time; bodies break off if they are to. Gives what the driver has to do.
    fn hear(&mut self, mut input: &[u8], whole: bool) -> Next<()> {
        loop {
            let next = self.session.advance(&mut input, &mut self.out);
            let answered = &mut self.answered;
            self.session.tally().take(|verb, ok, count| *answered.entry((verb, ok)).or_default() += count);
            let answer = match next {
                Next::Ask(Ask::Password { .. }) => Answer::Accepted,
                Next::Ask(Ask::Open) => Answer::Opened { messages: 1, sizes: Some([3].into()) },
                Next::Ask(Ask::Message { part, .. }) => Answer::Message {
                    transfer: Transfer { source: (), octets: 0..3, form: Form::Wire, part },
                    octets: 3,
                },
                Next::Ask(Ask::Commit { .. }) => Answer::Committed,
                Next::Send(transfer) => {
                    assert_eq!(transfer.part, Part::Whole);
                    self.session.sent(whole, &mut self.out);
                    continue;
                }
                Next::Write => {
                    self.out.clear();
                    continue;
                }
                next => return next,
            };
            self.session.answer(answer, &mut self.out);
        }
    }

    /// Says something behind which the session waits for more.
    fn say(&mut self, input: &[u8]) {
        let next = self.hear(input, true);
        assert!(matches!(next, Next::Input), "{next:?}");
    }

    fn counts(&self) -> Vec<(Option<Verb>, bool, u32)> {
        self.answered.iter().map(|(&(verb, ok), &commands)| (verb, ok, commands)).collect()
    }
}

const LOGIN: &[u8] = b"USER a\r\nPASS b\r\n";

#[test]
fn a_command_counts_with_its_status_once_it_is_answered() {
    let mut played = Played::new();
    assert!(matches!(played.hear(b"", true), Next::Input));
    assert_eq!(played.counts(), [], "a greeting answers nothing");
    played.say(b"STAT\r\nXTND\r\n\r\nUSER\r\n");
    let expected = [(None, false, 2), (Some(Verb::Stat), false, 1), (Some(Verb::User), false, 1)];
    assert_eq!(played.counts(), expected, "misplaced, unknown, empty, without its argument");
    played.say(LOGIN);
    played.say(b"RETR 1\r\nRETR 7\r\nNOOP\r\nnoop\r\nQUI");
    assert_eq!(played.answered[&(Some(Verb::Retr), true)], 1);
    assert_eq!(played.answered[&(Some(Verb::Retr), false)], 1);
    assert_eq!(played.answered[&(Some(Verb::Noop), true)], 2);
    assert!(!played.session.is_between_commands());
    let before = played.answered.clone();
    assert!(matches!(played.hear(b"T\r\n", true), Next::Close(_)));
    let mut quit = before;
    quit.insert((Some(Verb::Quit), true), 1);
    assert_eq!(played.answered, quit);
    assert_eq!(played.session.tally(), &Tally::default(), "and nothing is left to take");
}

#[test]
fn a_login_that_is_refused_without_a_question_is_handed_out_once() {
    let mut played = Played::new();
    played.say(&b"AUTH NTLM\r\nAUTH X =\r\n".repeat(50_000));
    let unknown = |why, count| UnaskedLogin { mechanism: "", why, count };
    assert_eq!(played.session.tally().take_logins(), [unknown(Unasked::Malformed, 100_000)]);
    played.say(b"USER a\r\n");
    played.session.drain();
    played.say(b"PASS b\r\nAUTH X =\r\n");
    let expected =
        [UnaskedLogin { mechanism: "USER", why: Unasked::Draining, count: 1 }, unknown(Unasked::Draining, 1)];
    assert_eq!(played.session.tally().take_logins(), expected);
    assert_eq!(played.session.tally().take_logins(), []);
}

#[test]
fn marks_are_known_until_they_are_taken_back_or_carried_out() {
    let mut played = Played::new();
    played.say(LOGIN);
    for (line, marked) in [("DELE 1", 1), ("DELE 1", 1), ("RSET", 0), ("DELE 1", 1)] {
        played.say(format!("{line}\r\n").as_bytes());
        assert_eq!(played.session.marked(), marked, "{line}");
    }
    assert!(matches!(played.hear(b"QUIT\r\n", true), Next::Close(_)));
    assert_eq!(played.session.marked(), 0);
}

#[test]
fn a_line_that_is_too_long_is_a_command_without_a_verb() {
    let mut played = Played::new();
    played.say(&[&b"NOOP ".repeat(200)[..], b"\r\n"].concat());
    assert_eq!(played.counts(), [(None, false, 1)]);
    assert!(matches!(played.hear(&b"x".repeat(3_000_000), true), Next::Close(_)));
    assert_eq!(played.counts(), [(None, false, 2)], "without an end too");
}

#[test]
fn a_body_that_breaks_off_is_no_success() {
    let mut played = Played::new();
    played.say(LOGIN);
    assert!(matches!(played.hear(b"RETR 1\r\n", false), Next::Close(_)));
    assert_eq!(played.answered.get(&(Some(Verb::Retr), false)), Some(&1));
    assert_eq!(played.answered.get(&(Some(Verb::Retr), true)), None);
}

#[test]
fn stls_counts_before_the_handshake() {
    let mut played = Played::new();
    assert!(matches!(played.hear(b"STLS\r\nUSER a\r\n", true), Next::StartTls));
    assert_eq!(played.counts(), [(Some(Verb::Stls), true, 1)]);
    assert!(!played.session.is_between_commands(), "the client does not speak POP3 now");
    played.session.secured(TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        ..TlsFacts::default()
    });
    played.say(b"");
    assert!(played.session.is_between_commands());
    assert_eq!(played.counts(), [(Some(Verb::Stls), true, 1)], "and not again");
}

#[test]
fn a_pipelined_batch_of_any_length_is_counted_in_full() {
    let mut played = Played::new();
    played.say(LOGIN);
    // Far more than an output buffer holds answers for.
    played.say(&b"NOOP\r\n".repeat(200_000));
    assert_eq!(played.answered[&(Some(Verb::Noop), true)], 200_000);
}

#[test]
fn the_verb_is_known_while_it_is_answered_and_no_longer() {
    let mut played = Played::new();
    played.say(LOGIN);
    assert_eq!((played.session.verb(), played.session.phase()), (None, Phase::Transaction));
    let (mut input, mut out) = (&b"RETR 1\r\n"[..], Vec::new());
    assert!(matches!(played.session.advance(&mut input, &mut out), Next::Ask(Ask::Message { .. })));
    assert_eq!(played.session.verb(), Some(Verb::Retr));
    assert!(!played.session.is_between_commands());
    played.session.answer(Answer::Gone, &mut out);
    played.say(b"");
    assert_eq!(played.session.verb(), None);
    assert!(played.session.is_between_commands());
}
