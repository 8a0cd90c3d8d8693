//! Each anomaly by a fault that was put into a session, and none where there is none.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod rows;
#[path = "capture/talk.rs"]
#[allow(dead_code)] // only what makes a capture is needed here
mod talk;

use restante_diagram::{
    anomaly::Anomaly,
    drawing::{Choice, Options},
};
use rows::{found, row, session, sessions};

/// What stands before and behind the commands of most sessions here; TLS, so that nothing is said in clear.
fn logged_in(said: &str) -> String {
    format!("tls: implicit\n\nS: +OK\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\n{said}")
}

/// The anomalies of a session, with the rows that they stand at.
fn at(dialogue: &str) -> Vec<(Anomaly, String)> {
    found(&session(dialogue).1)
}

#[test]
fn a_session_in_which_nothing_is_wrong_has_none() {
    let text = logged_in(
        "C: STAT\nS: +OK 1 28\nC: LIST\nS: +OK 1 messages\nS: 1 28\nS: .\nC: RETR 1\nS: +OK 28 octets\nS: Subject: a\nS:\nS: ..a line here\nS: .\nC: DELE 1\nS: +OK\nC: QUIT\nS: +OK\nN: S FIN\nN: C FIN\n",
    );
    assert_eq!(at(&text), []);
}

#[test]
fn password_in_clear() {
    for (said, label) in [
        ("C: USER john\nS: +OK\nC: PASS abcxyz\nS: +OK\n", "PASS [secret]"),
        ("C: AUTH PLAIN AGpvaG4AYWJjeHl6\nS: +OK\n", "AUTH PLAIN [secret]"),
        (
            "C: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: am9obg==\nS: + UGFzc3dvcmQ6\nC: YWJjeHl6\nS: +OK\n",
            "[secret]",
        ),
    ] {
        let text = format!("S: +OK\n{said}C: QUIT\nS: +OK\n");
        assert!(at(&text).contains(&(Anomaly::PasswordInClear, label.to_owned())), "{said}");
        // The same inside TLS.
        let inside =
            format!("S: +OK\nC: STLS\nS: +OK\nT: handshake version=TLSv1.3\n{said}C: QUIT\nS: +OK\n");
        assert_eq!(at(&inside), [], "{said}");
    }
    let digest = "S: +OK <1.2@x>\nC: APOP john c4c9334bac560ecc979e58001b3e22fb\nS: +OK\nC: QUIT\nS: +OK\n";
    assert_eq!(at(digest), [], "a digest is no password");
}

#[test]
fn octet_count() {
    let text = logged_in(
        "C: RETR 1\nS: +OK 31 octets\nS: Subject: a\nS:\nS: ..a line here\nS: .\nC: QUIT\nS: +OK\n",
    );
    assert_eq!(at(&text), [(Anomaly::OctetCount, "message, 28 octets".to_owned())]);
    let listed = logged_in(
        "C: LIST\nS: +OK\nS: 1 99\nS: .\nC: RETR 1\nS: +OK here it is\nS: [30 octets]\nS: .\nC: QUIT\nS: +OK\n",
    );
    assert_eq!(at(&listed), [(Anomaly::OctetCount, "message, 30 octets".to_owned())]);
}

#[test]
fn unstuffed_dot() {
    let text = logged_in("C: RETR 1\nS: +OK\nS: .signature\nS: .\nC: QUIT\nS: +OK\n");
    assert_eq!(at(&text), [(Anomaly::UnstuffedDot, "message, 11 octets".to_owned())]);
}

#[test]
fn missing_final_dot() {
    let text = logged_in("C: RETR 1\nS: +OK 30 octets\nS: Subject: a\nN: S FIN\n");
    assert!(at(&text).contains(&(Anomaly::MissingFinalDot, "message, 12 octets, and no end".to_owned())));
    let nothing = logged_in("C: RETR 1\nS: +OK 30 octets\nN: S FIN\n");
    assert!(at(&nothing).contains(&(Anomaly::MissingFinalDot, "message, and nothing of it".to_owned())));
    let listing = logged_in("C: LIST\nS: +OK\nS: 1 30\nN: S FIN\n");
    assert!(at(&listing).contains(&(Anomaly::MissingFinalDot, "1 line, and no end".to_owned())));
}

#[test]
fn bare_lf() {
    let text = logged_in(
        "C: RETR 1\nS: +OK\nS: Subject: a\\n\\\nS: b\nS: .\nC: NOOP\\n\\\nS: +OK\\n\\\nC: QUIT\nS: +OK\n",
    );
    let expected = ["message, 14 octets", "NOOP", "+OK"].map(|label| (Anomaly::BareLf, label.to_owned()));
    assert_eq!(at(&text), expected);
    let listing = logged_in("C: UIDL\nS: +OK\nS: 1 a\\n\\\nS: 2 b\nS: .\nC: QUIT\nS: +OK\n");
    assert_eq!(at(&listing), [(Anomaly::BareLf, "2 lines, and the final dot".to_owned())]);
}

#[test]
fn unasked_reply() {
    let text = logged_in("C: STAT\nS: +OK 0 0\nS: -ERR idle for too long\n");
    assert_eq!(at(&text), [(Anomaly::UnaskedReply, "-ERR idle for too long".to_owned())]);
}

#[test]
fn deletion_without_quit() {
    let said = "C: DELE 1\nS: +OK\nC: DELE 2\nS: +OK\n";
    let text = logged_in(&format!("{said}N: C FIN\n"));
    assert_eq!(at(&text), [(Anomaly::DeletionWithoutQuit, "closed without QUIT".to_owned())]);
    for harmless in ["C: RSET\nS: +OK\nN: C FIN\n", "C: QUIT\nS: +OK\nN: C FIN\n", ""] {
        assert_eq!(at(&logged_in(&format!("{said}{harmless}"))), [], "{harmless}");
    }
}

#[test]
fn quit_refused() {
    let text = logged_in("C: DELE 1\nS: +OK\nC: QUIT\nS: -ERR some deleted messages not removed\nN: S FIN\n");
    assert_eq!(at(&text), [(Anomaly::QuitRefused, "-ERR some deleted messages not removed".to_owned())]);
}

#[test]
fn stls_stripped() {
    let refused = "S: +OK\nC: STLS\nS: -ERR unknown command\nC: USER john\nS: +OK\nC: PASS x\nS: +OK\nC: QUIT\nS: +OK\n";
    assert!(at(refused).contains(&(Anomaly::StlsStripped, "PASS [secret]".to_owned())));
    let masked = "S: +OK\nC: CAPA\nS: +OK\nS: TOP\nS: XXXX\nS: .\nC: QUIT\nS: +OK\n";
    assert_eq!(at(masked), [(Anomaly::StlsStripped, "2 lines, and the final dot".to_owned())]);
    let given_up = "S: +OK\nC: STLS\nS: -ERR unknown command\nC: QUIT\nS: +OK\n";
    assert_eq!(at(given_up), [], "a client that goes away does right");
}

#[test]
fn stls_injection() {
    let client = "S: +OK\nC: STLS\nC: USER mallory\nS: +OK\nT: handshake\nC: QUIT\nS: +OK\n";
    assert_eq!(at(client), [(Anomaly::StlsInjection, "USER mallory".to_owned())]);
    let server = "S: +OK\nC: STLS\nS: +OK\nS: +OK come in\nT: handshake\nC: QUIT\nS: +OK\n";
    assert_eq!(at(server), [(Anomaly::StlsInjection, "+OK come in".to_owned())]);
}

#[test]
fn slow_step() {
    let text = "tls: implicit\n\n0.000000 S: +OK\n0.001 C: CAPA\n2.501 S: +OK\n2.501 S: TOP\n2.501 S: .\n9.0 C: QUIT\n9.1 S: +OK\n";
    let (_, rows) = session(text);
    let texts: Vec<_> =
        rows.iter().flat_map(|row| &row.findings).map(|finding| finding.text.as_str()).collect();
    assert_eq!(texts, ["The server took 2.5 s.", "The client took 6.5 s."]);
}

#[test]
fn a_client_that_thinks_is_slow_only_where_that_is_asked_for() {
    let text =
        "tls: implicit\n\n0.000000 S: +OK\n9.0 C: CAPA\n11.5 S: +OK\n11.5 S: TOP\n11.5 S: .\n99.0 N: S FIN\n";
    let texts = |slow_client| {
        let options = Options { slow_client, choice: Choice::All, ..Options::default() };
        let (_, rows) = sessions(text.as_bytes(), options).remove(0);
        let texts = rows.iter().flat_map(|row| &row.findings).map(|finding| finding.text.clone());
        (texts.collect::<Vec<_>>(), rows)
    };
    let server = "The server took 2.5 s.".to_owned();
    let (found, rows) = texts(true);
    let client = ["The client took 9.0 s.", "No whole command came for 1.5 min."].map(str::to_owned);
    assert_eq!(found, [client[0].clone(), server.clone(), client[1].clone()]);
    let remarks =
        |rows: Vec<restante_diagram::row::Row>| rows.into_iter().map(|row| row.remark).collect::<Vec<_>>();
    let (found, others) = texts(false);
    assert_eq!(found, [server]);
    assert_eq!(remarks(rows), remarks(others), "what is said of the end stays");
}

/// A session with its segments: seen at the client's side, 10 ms away from the server.
const SEGMENTS: &str = "\
0.000000 N: C SYN seq=0 octets=0
0.010000 N: S SYN ACK seq=0 ack=1 octets=0
0.010020 N: C ACK seq=1 ack=1 octets=0
0.021000 N: S PSH ACK seq=1 ack=1 octets=5
0.021000 S: +OK
0.021100 N: C PSH ACK seq=1 ack=6 octets=6
0.021100 C: CAPA
";

#[test]
fn the_time_of_a_slow_step_is_shared_out() {
    let text = format!(
        "{SEGMENTS}1.021100 N: S PSH ACK seq=6 ack=7 octets=13\n1.021100 S: +OK\n1.021100 S: TOP\n1.021100 S: .\n"
    );
    let (_, rows) = session(&text);
    let slow = rows.iter().find(|row| !row.findings.is_empty()).unwrap();
    assert_eq!(slow.findings[0].text, "1.0 s passed: 10.0 ms on the network, 990 ms with the server.");
    assert_eq!(slow.share.unwrap().network.as_millis(), 10);
}

#[test]
fn delayed_ack_stall() {
    // The answer's second segment waits until the client acknowledges the first.
    let text = format!(
        "{SEGMENTS}0.031200 N: S PSH ACK seq=6 ack=7 octets=5\n0.031200 S: +OK\n0.071300 N: C ACK seq=7 ack=11 octets=0\n0.071400 N: S PSH ACK seq=11 ack=7 octets=8\n0.071400 S: TOP\n0.071400 S: .\n"
    );
    assert_eq!(at(&text), [(Anomaly::DelayedAckStall, "1 line, and the final dot".to_owned())]);
    let prompt = text.replace("0.071300 N: C ACK", "0.031300 N: C ACK");
    assert_eq!(at(&prompt), [], "the ACK came at once");
}

#[test]
fn retransmission_and_out_of_order() {
    let again = format!("{SEGMENTS}0.221100 N: C PSH ACK seq=1 ack=6 octets=6\n");
    assert_eq!(at(&again), [(Anomaly::Retransmission, "PSH, ACK: 6 octets again".to_owned())]);
    let overtaken = format!(
        "{SEGMENTS}0.031000 N: S PSH ACK seq=11 ack=7 octets=8\n0.031010 N: S ACK seq=6 ack=7 octets=5\n0.031010 S: +OK\n0.031010 S: TOP\n0.031010 S: .\n"
    );
    assert_eq!(at(&overtaken), [(Anomaly::OutOfOrder, "+OK".to_owned())]);
    let lost = overtaken.replace("0.031010", "0.231010");
    assert_eq!(at(&lost), [(Anomaly::Retransmission, "+OK".to_owned())]);
    let kept_alive = format!(
        "{SEGMENTS}0.03 N: S ACK seq=6 ack=7 octets=0\n60.0 N: C ACK seq=6 ack=6 octets=1\n60.1 N: S ACK seq=6 ack=7 octets=0\n"
    );
    assert_eq!(at(&kept_alive), [], "a keep-alive is none");
}

#[test]
fn not_captured() {
    let mut talk = talk::session();
    // The server's answer to one command is lost to the capture, and not to the client, which goes on.
    let lost = talk.packets.iter().position(|packet| packet.octets.starts_with(b"+OK")).unwrap() + 2;
    let lost =
        (lost..talk.packets.len()).find(|&place| talk.packets[place].octets.starts_with(b"+OK")).unwrap();
    talk.packets.remove(lost);
    let drawn = sessions(&talk.file(), Options { choice: Choice::All, ..Options::default() });
    let found = found(&drawn[0].1);
    assert!(found.iter().any(|(anomaly, _)| *anomaly == Anomaly::NotCaptured), "{found:?}");
}

#[test]
fn reset() {
    let text = format!("{SEGMENTS}0.031000 N: S RST seq=6 octets=0\n");
    assert!(at(&text).contains(&(Anomaly::Reset, "RST".to_owned())));
}

#[test]
fn half_close() {
    let text = format!(
        "{SEGMENTS}0.021200 N: C FIN ACK seq=7 ack=6 octets=0\n0.031000 N: S PSH ACK seq=6 ack=8 octets=13\n0.031000 S: +OK\n0.031000 S: TOP\n0.031000 S: .\n"
    );
    assert_eq!(at(&text), [(Anomaly::HalfClose, "+OK".to_owned())]);
}

#[test]
fn the_segments_of_a_row_are_told_with_it() {
    let (summary, rows) = session(SEGMENTS);
    let carried = row(&rows, "CAPA").carried.unwrap();
    assert_eq!((carried.seq, carried.ack, carried.octets, carried.count), (Some(1), Some(6), 6, 1));
    assert_eq!((summary.segments, summary.client_octets, summary.server_octets), (5, 6, 5));
    assert_eq!(
        row(&rows, "ACK").remark.as_ref().unwrap().text,
        "The handshake is complete: the connection stands."
    );
}

#[test]
fn a_line_whose_end_was_captured_first_is_drawn() {
    let mut talk = talk::Talk::new();
    talk.open();
    talk.s("+OK\r\n").c("CA").c("PA\r\n").s("+OK\r\nTOP\r\n").s(".\r\n");
    let at = talk.packets.iter().position(|packet| packet.octets == b"CA").unwrap();
    talk.packets.swap(at, at + 1);
    let swapped = talk.packets[at].at;
    talk.packets[at].at = talk.packets[at + 1].at;
    talk.packets[at + 1].at = swapped;
    let drawn = sessions(&talk.file(), Options { choice: Choice::All, ..Options::default() });
    assert!(drawn[0].1.iter().any(|row| row.label == "CAPA"), "{:#?}", rows::labels(&drawn[0].1));
}

#[test]
fn a_handshake_that_was_sent_twice_times_nothing() {
    let text = format!("0.0 N: C SYN seq=0 octets=0\n{}", SEGMENTS.replace("0.0", "1.0"))
        + "2.021100 N: S PSH ACK seq=6 ack=7 octets=13\n2.021100 S: +OK\n2.021100 S: TOP\n2.021100 S: .\n";
    let (_, rows) = session(&text);
    let slow = rows.iter().flat_map(|row| &row.findings).find(|finding| finding.anomaly == Anomaly::SlowStep);
    assert_eq!(slow.unwrap().text, "The server took 1.0 s.");
}

#[test]
fn a_message_without_its_dot_takes_no_later_answer_along() {
    let text = logged_in(
        "C: RETR 1\nS: +OK 14 octets\nS: Subject: a\nC: DELE 1\nS: +OK deleted\nC: QUIT\nS: +OK bye\n",
    );
    let (summary, rows) = session(&text.replace("14 octets", "12 octets"));
    assert_eq!(found(&rows), [(Anomaly::MissingFinalDot, "message, 12 octets, and no end".to_owned())]);
    assert_eq!((summary.deleted, &*summary.ending), (1, "ended by QUIT"));
}

#[test]
fn nor_does_one_in_the_same_segment() {
    let mut talk = talk::Talk::new();
    talk.open();
    talk.s("+OK\r\n").c("USER john\r\n").s("+OK\r\n").c("PASS x\r\n").s("+OK\r\n");
    talk.c("RETR 1\r\nDELE 1\r\nQUIT\r\n").s("+OK 5 octets\r\nabc\r\n+OK deleted\r\n+OK bye\r\n");
    talk.close();
    let (summary, rows) =
        sessions(&talk.file(), Options { choice: Choice::All, ..Options::default() }).remove(0);
    assert!(found(&rows).contains(&(Anomaly::MissingFinalDot, "message, 5 octets, and no end".to_owned())));
    assert_eq!((summary.deleted, &*summary.ending), (1, "ended by QUIT"));
}

#[test]
fn octets_count_once_however_often_they_are_sent() {
    let overlapping = format!(
        "{SEGMENTS}0.3 N: C PSH ACK seq=4 ack=6 octets=9\n0.3 C: NOOP\n0.4 N: S ACK seq=6 ack=13 octets=0\n60.0 N: C ACK seq=12 ack=6 octets=1\n"
    );
    let (summary, rows) = session(&overlapping);
    assert_eq!(summary.client_octets, 12);
    let texts: Vec<&str> = rows.iter().flat_map(|row| &row.findings).map(|finding| &*finding.text).collect();
    assert_eq!(texts, ["3 octets of it were sent again."]);
    assert!(rows.iter().any(|row| row.label == "ACK: keep-alive"), "{:#?}", rows::labels(&rows));
}
