//! Dialogues that begin in the middle of a session: the state is known from the first row on, nothing is wrong just because
//! the start lacks, and no secret passes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod rows;

use restante_diagram::{
    anomaly::Anomaly,
    row::{Row, RowKind},
};
use restante_proto::phase::Phase;
use rows::{found, labels, row, session};

fn phases(rows: &[Row]) -> Vec<Option<Phase>> {
    rows.iter().map(|row| row.phase).collect()
}

#[test]
fn behind_the_login_commands_pass_from_the_first_one_on() {
    let (summary, rows) = session(
        "joined: TRANSACTION\ntls: stls\n\n35.200114 C: RETR 1\n35.200301 S: +OK 30 octets\n35.200301 S: [30 octets]\n\
         35.200301 S: .\n35.3 C: DELE 1\n35.31 S: +OK\n35.4 C: CAPA\n35.41 S: +OK\n35.41 S: TOP\n35.41 S: .\n\
         35.5 C: QUIT\n35.51 S: +OK\n35.52 N: S FIN\n35.53 N: C FIN\n",
    );
    assert!(summary.opening.joined && summary.opening.phase == Some(Phase::Transaction));
    assert_eq!(
        labels(&rows),
        [
            "command RETR 1",
            "reply +OK 30 octets",
            "message message, 30 octets",
            "command DELE 1",
            "reply +OK",
            "command CAPA",
            "reply +OK",
            "listing 1 line, and the final dot",
            "command QUIT",
            "reply +OK",
            "segment FIN",
            "segment FIN",
        ]
    );
    assert_eq!(found(&rows), []);
    assert_eq!(phases(&rows)[..9], [Some(Phase::Transaction); 9]);
    assert_eq!(rows[9].phase, Some(Phase::Update));
    assert_eq!((summary.retrieved, summary.deleted, summary.end), (1, 1, "quit"));
}

#[test]
fn before_the_login_a_password_is_none_of_our_business() {
    let text = "joined: AUTHORIZATION\n\nC: PASS abcxyz\nS: -ERR not abcxyz\nC: USER john\nS: +OK\nC: PASS abcxyz\nS: +OK\n\
                C: RETR 1\nS: +OK\nS: [30 octets]\nS: .\nC: QUIT\nS: +OK\n";
    let (summary, rows) = session(text);
    assert_eq!(labels(&rows)[..2], ["command PASS [secret]", "reply -ERR [secret]"]);
    assert_eq!(rows[0].phase, Some(Phase::Authorization));
    assert_eq!(row(&rows, "RETR 1").phase, Some(Phase::Transaction));
    // Whether the handshake was before anybody heard, nobody knows.
    assert_eq!(found(&rows), []);
    assert_eq!(summary.user.as_deref(), Some("john"));
    assert!(!format!("{summary:?}{rows:?}").contains("abcxyz"));
    // Where it is known that there is no TLS, the password was sent in the clear.
    let (_, rows) = session(&text.replace("\n\n", "\ntls: off\n\n"));
    assert_eq!(found(&rows)[0], (Anomaly::PasswordInClear, "PASS [secret]".to_owned()));
}

#[test]
fn no_secret_passes_whatever_comes_first() {
    // "\0john\0abcxyz", as a response to an AUTH that nobody heard; passwords in the wrong place; what the server repeats.
    let plain = "AGpvaG4AYWJjeHl6";
    for joined in ["AUTHORIZATION", "TRANSACTION"] {
        for events in [
            format!("C: {plain}\nS: +OK\n"),
            format!("C: {plain}\nS: -ERR {plain} says abcxyz\n"),
            "C: abcxyz\nS: -ERR what is abcxyz\n".to_owned(),
            "C: PASS abcxyz\nS: -ERR abcxyz\n".to_owned(),
            "C: NOOP \\x01abcxyz\nS: -ERR\n".to_owned(),
            "S: -ERR it was not abcxyz\nC: PASS abcxyz\n".to_owned(),
            "S: a list abcxyz\nS: [30 octets]\nS: {lines}\nS: .\nC: NOOP\nS: +OK\n".to_owned(),
            "S: +OK abcxyz\n".to_owned(),
            "S: +OK abcx\\\nC: QUIT\n".to_owned(),
        ] {
            let text = format!("joined: {joined}\n\n{events}");
            let (summary, rows) = session(&text);
            let shown = format!("{summary:?}{rows:?}");
            assert!(!shown.contains("abcx") && !shown.contains(plain), "{text}\n{shown}");
        }
    }
}

#[test]
fn an_answer_to_what_nobody_heard_is_no_fault() {
    let (summary, rows) = session(
        "joined: TRANSACTION\n\nS: +OK 1 octets\nS: [30 octets]\nS: .\nC: LIST 1\nS: +OK 1 30\nN: S FIN\nN: C FIN\n",
    );
    assert_eq!(found(&rows), []);
    assert_eq!(
        labels(&rows)[..5],
        [
            "note 14 octets of something that began earlier",
            "note 30 octets of something that began earlier",
            "note 3 octets of something that began earlier",
            "command LIST 1",
            "reply +OK 1 30",
        ]
    );
    assert_eq!(phases(&rows)[..5], [Some(Phase::Transaction); 5]);
    // QUIT may have been among what lacks.
    assert_eq!(summary.end, "unseen");
    assert_eq!(rows.iter().filter(|row| row.remark.is_some() && row.kind == RowKind::Note).count(), 1);
}

#[test]
fn an_end_without_anything_said_is_one() {
    for (end, word) in
        [("N: timeout\nN: S FIN\n", "closed"), ("N: C FIN\nN: S FIN\n", "closed"), ("", "unfinished")]
    {
        let (summary, rows) = session(&format!("joined: TRANSACTION\n\n35.2 C: NOOP\n35.3 S: +OK\n{end}"));
        assert_eq!(found(&rows), [], "{end}");
        assert_eq!(summary.end, word);
    }
}

#[test]
fn a_joined_session_is_followed_behind_events_that_were_left_out() {
    let left_out = restante_proto::dialogue::left_out(3, "the transcript is full");
    let (_, rows) = session(&format!(
        "joined: TRANSACTION\n\nS: +OK abcxyz\n{left_out}\nS: +OK abcxyz\nC: DELE 2\nS: +OK\nC: PASS abcxyz\nS: -ERR\n"
    ));
    assert_eq!(row(&rows, "DELE 2").phase, Some(Phase::Transaction));
    assert!(!format!("{rows:?}").contains("abcxyz"));
}
