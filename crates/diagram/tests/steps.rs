//! Dialogues → rows: each step in its state, with its words; long runs folded.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod rows;

use restante_diagram::{
    drawing::{Choice, Options},
    row::RowKind,
};
use restante_proto::phase::Phase;
use rows::{labels, row, session, sessions};

const SEED: &str = include_str!("../../proto/tests/dialogues/seed.pop3");

#[test]
fn the_seeds_session_has_a_row_for_each_step() {
    let (summary, rows) = session(SEED);
    assert_eq!(
        labels(&rows),
        [
            "reply +OK X1 POP3 Server",
            "command USER john.doe@anydomain.com",
            "reply +OK send your password",
            "command PASS [secret]",
            "reply +OK maildrop locked and ready",
            "command STAT",
            "reply +OK 1 1317",
            "command UIDL",
            "reply +OK 1 messages (1317 octets)",
            "listing 1 line, and the final dot",
            "command LIST",
            "reply +OK 1 messages (1317 octets)",
            "listing 1 line, and the final dot",
            "command RETR 1",
            "reply +OK 1317 octets",
            "message message, 1,317 octets",
            "command DELE 1",
            "reply +OK msg deleted",
            "command QUIT",
            "reply +OK POP3 Server saying Good-Bye",
            "segment FIN",
        ]
    );
    let phase = |label| row(&rows, label).phase;
    assert_eq!(phase("PASS [secret]"), Some(Phase::Named));
    assert_eq!(phase("STAT"), Some(Phase::Transaction));
    assert_eq!(phase("QUIT"), Some(Phase::Transaction));
    assert_eq!(phase("+OK POP3 Server saying Good-Bye"), Some(Phase::Update));
    let remark = |label| row(&rows, label).remark.clone().unwrap();
    assert!(remark("+OK 1 1317").text.starts_with("The maildrop holds 1 message, 1,317 octets in all."));
    assert_eq!(remark("RETR 1").text, "The client asks for message 1, the whole of it.");
    assert_eq!(remark("RETR 1").rfc, Some("RFC 1939 §5"));
    assert_eq!(row(&rows, "1 line, and the final dot").lines, ["1 390953946", "."]);
    assert_eq!(summary.user.as_deref(), Some("john.doe@anydomain.com"));
    assert_eq!(
        (summary.commands, summary.retrieved, summary.retrieved_octets, summary.deleted),
        (8, 1, 1317, 1)
    );
    assert_eq!(summary.ending, "ended by QUIT");
}

/// A session that takes `messages` messages, one after another or pipelined.
fn long(messages: u32, pipelined: bool, dele: bool) -> String {
    let mut text = "S: +OK\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\n".to_owned();
    let ask = |n| if dele { format!("C: RETR {n}\nC: DELE {n}\n") } else { format!("C: RETR {n}\n") };
    let answer = |n: u32| {
        let message = format!("S: +OK {0} octets\nS: [{0} octets]\nS: .\n", 1000 + n);
        if dele { message + "S: +OK msg deleted\n" } else { message }
    };
    if pipelined {
        // As many at once as clients send before they read.
        for first in (1..=messages).step_by(1000) {
            let window = first..=messages.min(first + 999);
            window.clone().for_each(|n| text += &ask(n));
            window.for_each(|n| text += &answer(n));
        }
    } else {
        (1..=messages).for_each(|n| text += &(ask(n) + &answer(n)));
    }
    text + "C: QUIT\nS: +OK\n"
}

#[test]
fn a_long_run_is_folded_and_its_ends_stay() {
    let (summary, rows) = session(&long(1000, false, false));
    let shown = labels(&rows);
    assert_eq!(shown.len(), 5 + 6 + 1 + 6 + 2, "{shown:#?}");
    assert_eq!(shown[11], "fold RETR 3 … 998, 996 messages, 1,494 kB");
    assert_eq!(shown[12], "command RETR 999");
    assert_eq!(summary.retrieved, 1000);
}

#[test]
fn a_short_run_is_not_folded_nor_is_a_long_one_if_asked_not_to() {
    let (_, rows) = session(&long(12, false, false));
    assert_eq!(rows::count(&rows, RowKind::Fold), 0);
    let options = Options { fold: false, choice: Choice::All, ..Options::default() };
    let (_, rows) = sessions(long(1000, false, false).as_bytes(), options).remove(0);
    assert_eq!(rows.len(), 5 + 3000 + 2);
    assert_eq!(rows[3004].number, 3005);
}

#[test]
fn a_hundred_thousand_commands_are_a_few_rows() {
    for (pipelined, dele) in [(false, false), (true, false), (false, true)] {
        let commands = if dele { 50_000 } else { 100_000 };
        let (summary, rows) = session(&long(commands, pipelined, dele));
        assert_eq!((summary.commands, summary.retrieved), (100_003, commands.into()));
        assert!(rows.len() < 40, "{:#?}", labels(&rows));
    }
}

#[test]
fn pipelined_runs_are_folded_on_both_ways() {
    let (_, rows) = session(&long(1000, true, false));
    let folds: Vec<String> = labels(&rows).into_iter().filter(|label| label.starts_with("fold")).collect();
    assert_eq!(
        folds,
        ["fold RETR 3 … 998, 996 commands", "fold answers to RETR 3 … 998, 996 messages, 1,494 kB"]
    );
    assert!(rows.len() < 40, "{:#?}", labels(&rows));
}

#[test]
fn a_run_of_two_commands_for_each_message_is_one_run() {
    let (_, rows) = session(&long(1000, false, true));
    let folds: Vec<String> = labels(&rows).into_iter().filter(|label| label.starts_with("fold")).collect();
    assert_eq!(folds, ["fold RETR, DELE 3 … 998, 996 messages, 1,494 kB"]);
    assert!(rows.len() < 40, "{:#?}", labels(&rows));
}

#[test]
fn what_is_wrong_is_not_folded_away_and_does_not_swell_the_drawing() {
    let wrong = |every: u32| {
        let mut text = "S: +OK\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\n".to_owned();
        for n in 1..=1000 {
            let announced = if n % every == 0 { 7 } else { 1000 };
            text += &format!("C: RETR {n}\nS: +OK {announced} octets\nS: [1000 octets]\nS: .\n");
        }
        session(&(text + "C: QUIT\nS: +OK\n"))
    };
    let (_, rows) = wrong(500);
    let messages = rows.iter().filter(|row| row.kind == RowKind::Message && !row.findings.is_empty());
    assert_eq!(messages.count(), 2, "{:#?}", labels(&rows));
    let (summary, rows) = wrong(1);
    assert!(rows.len() < 60, "{:#?}", labels(&rows));
    assert_eq!(summary.anomalies.iter().find(|(a, _)| a.name() == "octet-count").unwrap().1, 1000);
}

#[test]
fn asking_for_mechanisms_is_no_login() {
    let (_, rows) =
        session("S: +OK\nC: AUTH\nS: +OK\nS: PLAIN\nS: .\nC: USER john\nS: -ERR no\nC: QUIT\nS: -ERR no\n");
    assert_eq!(row(&rows, "USER john").phase, Some(Phase::Authorization));
    assert!(rows.iter().all(|row| row.findings.is_empty()), "{rows:#?}");
}

#[test]
fn a_command_out_of_place_is_explained_by_the_state_and_not_by_its_argument() {
    // The texts of refusals, in turn.
    let refusals = |text: &str| {
        let (_, rows) = session(text);
        let refused = rows.into_iter().filter(|row| row.label.starts_with("-ERR"));
        refused.map(|row| row.remark.unwrap()).collect::<Vec<_>>()
    };
    let user = "C: USER john\nS: +OK\n";
    let pass = "C: PASS x\nS: -ERR no\n";
    let wrong = "The login failed: name or password is wrong";
    let nameless = "PASS may stand only behind a USER that the server took, and no name is given";
    let begins = |text: &str, starts: &[&str]| {
        let remarks = refusals(text);
        assert_eq!(remarks.len(), starts.len(), "{remarks:#?}");
        for (remark, start) in remarks.iter().zip(starts) {
            assert!(remark.text.starts_with(start), "{text}: {remark:?}");
            assert_eq!(remark.rfc, Some("RFC 1939 §7"));
        }
    };
    begins(&format!("S: +OK\n{pass}"), &[nameless]);
    begins(&format!("S: +OK\n{user}{pass}{pass}{user}{pass}"), &[wrong, nameless, wrong]);
    // At once, as they are answered.
    begins(
        &format!("S: +OK\n{}S: -ERR\nS: +OK\nS: -ERR\n", "C: PASS x\nC: USER john\nC: PASS x\n"),
        &[nameless, wrong],
    );
    // Who came late has not heard whether a name was given.
    begins(&format!("joined: AUTHORIZATION\n\n{pass}{pass}"), &[wrong, nameless]);
    let misplaced = refusals(
        "S: +OK\nC: STAT\nS: -ERR [SYS/TEMP] no\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\nC: USER a\nS: -ERR\n",
    );
    assert_eq!(
        misplaced.iter().map(|remark| remark.text.as_str()).collect::<Vec<_>>(),
        [
            "STAT belongs to the TRANSACTION state, and the session is in the AUTHORIZATION state. [SYS/TEMP]: it is the server's trouble, and may be over later.",
            "USER belongs to the AUTHORIZATION state, and the session is in the TRANSACTION state."
        ]
    );
}

#[test]
fn a_fold_hides_no_refusal() {
    let mut text = "tls: implicit\n\nS: +OK\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\n".to_owned();
    for n in 1..=200 {
        let answer = if n % 10 == 0 { "-ERR locked" } else { "+OK" };
        text += &format!("C: DELE {n}\nS: {answer}\n");
    }
    let (_, rows) = session(&(text + "C: QUIT\nS: +OK\n"));
    let shown = rows.iter().filter(|row| row.label == "-ERR locked" && row.kind == RowKind::Reply).count();
    let folded: Vec<&str> =
        rows.iter().filter(|row| row.kind == RowKind::Fold).map(|row| &*row.label).collect();
    assert!(shown >= 8, "{folded:#?}");
    assert!(folded.iter().any(|label| label.contains(" refused")), "{folded:#?}");
}

#[test]
fn what_an_extension_lists_has_its_rows() {
    let (_, rows) = session("S: +OK\nC: LANG\nS: +OK\nS: en English\nS: .\nC: QUIT\nS: +OK\n");
    assert_eq!(row(&rows, "1 line, and the final dot").lines, ["en English", "."]);
    assert_eq!(row(&rows, "LANG").remark.as_ref().unwrap().rfc, Some("RFC 6856 §3.1"));
}

#[test]
fn a_transcript_that_lacks_events_is_followed_again_and_blames_nobody() {
    let left_out = restante_proto::dialogue::left_out(3, "the transcript is full");
    let (_, rows) = session(&format!(
        "tls: implicit\n\nS: +OK\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\nC: DELE 1\n{left_out}\nS: +OK\nC: RETR 2\nS: +OK 30 octets\nS: [30 octets]\nS: .\nN: S FIN\n"
    ));
    assert_eq!(row(&rows, "message, 30 octets").findings, []);
    let found = rows::found(&rows);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, "events are left out here");
}
