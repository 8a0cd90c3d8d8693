//! Captures that begin in the middle of a session, or lose a part of it: from where on it is followed again.

use restante_proto::dialogue::Side;

use crate::talk::{Talk, lines, session, told};

/// What is heard of a session whose first packets were not captured.
fn without(mut talk: Talk, first: usize) -> Vec<String> {
    talk.packets.drain(..first);
    lines(&talk.heard())
}

#[test]
fn a_session_is_followed_from_the_second_command_on() {
    // It begins with STAT.
    let mut talk = session();
    talk.packets.drain(..8);
    assert_eq!(
        told(&talk.heard())[..8],
        [
            "begin 192.0.2.7:50312 192.0.2.1:110 joined",
            "N: C PSH ACK seq=1 ack=1 octets=6",
            "N: S PSH ACK seq=1 ack=7 octets=10",
            "C unplaced 6 <1>",
            "N: C PSH ACK seq=7 ack=11 octets=8",
            "S unplaced 10 <2>",
            "C: RETR 1 <3>",
            "N: S PSH ACK seq=11 ack=15 octets=27"
        ]
    );
    assert_eq!(
        lines(&talk.heard())[3..],
        ["C: RETR 1", "S: +OK 22 octets", "S: [22 octets]", "S: .", "C: QUIT", "S: +OK bye", "end Closed"]
    );
}

#[test]
fn before_a_login_is_proven_no_argument_is_shown() {
    let mut talk = Talk::new();
    talk.s("+OK\r\n")
        .c("NOOP\r\n")
        .s("+OK\r\n")
        .c("NOOP\r\n")
        .s("+OK\r\n")
        .c("RETR 17\r\n")
        .s("+OK 3 octets\r\na\r\n.\r\n");
    assert_eq!(
        lines(&talk.heard())[1..],
        [
            "S unplaced 5",
            "C unplaced 6",
            "S unplaced 5",
            "C: NOOP",
            "S: +OK",
            // The second line that is followed proves it.
            "C: RETR 17",
            "S: +OK 3 octets",
            "S: [3 octets]",
            "S: .",
            "end Source"
        ]
    );
    // Not while a block may be under way, or something is unanswered.
    let mut talk = Talk::new();
    talk.s("+OK\r\n").c("NOOP\r\n").s("+OK\r\n").c("CAPA\r\n").s("+OK\r\nTOP\r\n").c("RETR 17\r\n");
    assert_eq!(lines(&talk.heard())[4..], ["C: CAPA", "S: +OK", "S: TOP", "C: RETR [secret]", "end Source"]);
}

#[test]
fn a_secret_that_the_start_cut_is_no_command() {
    // The rest of a password looks like a command, and comes whole in a segment.
    for rest in ["LIST 1\r\n", "QUIT\r\n", "xyz\r\n", "PASS a\r\n", "AUTH PLAIN xyz\r\n"] {
        let mut talk = Talk::new();
        talk.s("+OK send your password\r\n")
            .c("PASS abc ")
            .ack(Side::Server)
            .c(rest)
            .s("+OK locked\r\n")
            .c("STAT\r\n");
        for first in [1, 2, 3] {
            let told = without(talk.clone(), first);
            assert_eq!(
                told.iter().filter(|line| line.starts_with("C: ")).collect::<Vec<_>>(),
                ["C: STAT"],
                "{told:?}"
            );
        }
        // With the beginning of the line lost in the middle.
        let mut talk = session();
        talk.c("NOOP\r\n").s("+OK\r\n").c("PASS abc ").ack(Side::Server).c(rest).s("+OK locked\r\n");
        talk.packets.remove(talk.packets.len() - 4);
        let told = lines(&talk.heard());
        assert!(told.contains(&format!("C unplaced {}", rest.len())), "{told:?}");
    }
}

#[test]
fn a_response_that_looks_like_a_command_is_none() {
    // QUIT, STAT and their like are base64.
    let mut talk = Talk::new();
    talk.s("+OK\r\n")
        .c("AUTH LOGIN\r\n")
        .s("+ VXNlcm5hbWU6\r\n")
        .c("am9obg==\r\n")
        .s("+ UGFzc3dvcmQ6\r\n")
        .c("STAT\r\n");
    talk.s("+OK logged in\r\n").c("LIST 1\r\n").s("+OK 1 10\r\n");
    for first in 0..6 {
        let told = without(talk.clone(), first);
        let commands: Vec<_> = told.iter().filter(|line| line.starts_with("C: ")).collect();
        let expected: &[&str] = match first {
            0..=5 => &["C: LIST 1"],
            _ => &[],
        };
        assert_eq!(commands, expected, "{first} {told:?}");
    }
    // The challenge before it was lost.
    for lost in [2, 4] {
        let mut talk = talk.clone();
        talk.packets.remove(lost);
        let told = lines(&talk.heard());
        assert!(!told.iter().any(|line| line.contains("STAT")), "{told:?}");
    }
}

#[test]
fn the_middle_of_a_message_is_unplaced() {
    let mut talk = Talk::new();
    let body = "a line of the message\r\n+OK 12 octets\r\n".repeat(40);
    talk.c("RETR 1\r\n");
    talk.in_pieces(Side::Server, format!("+OK {} octets\r\n{body}.\r\n", body.len()).as_bytes(), 100);
    talk.c("DELE 1\r\n").s("+OK\r\n").c("QUIT\r\n").s("+OK bye\r\n").close();
    let told = without(talk, 7);
    assert_eq!(
        told[1..],
        ["S unplaced 940", "C unplaced 8", "S unplaced 5", "C: QUIT", "S: +OK bye", "end Closed"]
    );
}

#[test]
fn a_client_that_speaks_inside_a_message_has_seen_its_end() {
    let mut talk = Talk::new();
    let body = "a line of the message\r\n".repeat(40);
    talk.open()
        .s("+OK ready\r\n")
        .c("USER john\r\n")
        .s("+OK\r\n")
        .c("PASS abcxyz\r\n")
        .s("+OK\r\n")
        .c("RETR 1\r\n");
    let answer = format!("+OK {} octets\r\n{body}", body.len() + 5000);
    talk.in_pieces(Side::Server, answer.as_bytes(), 200)
        .s(".\r\n")
        .c("DELE 1\r\n")
        .s("+OK\r\n")
        .c("QUIT\r\n")
        .s("+OK bye\r\n");
    // The server named a wrong length, and the end lacks: it seems to be inside.
    let end = talk.packets.iter().position(|packet| packet.octets == b".\r\n").unwrap();
    talk.packets.remove(end);
    assert_eq!(
        lines(&talk.heard())[7..],
        [
            "S: +OK 5920 octets",
            "S missing 3",
            "S: [923 octets] broken off",
            "C: DELE 1",
            "S: +OK",
            "C: QUIT",
            "S: +OK bye",
            "end Source"
        ]
    );
}

#[test]
fn a_guess_that_turns_out_wrong_is_taken_back() {
    // A client that does not wait: the server is still in the middle of a message.
    let mut talk = Talk::new();
    talk.c("NOOP\r\n")
        .s("text\r\n+OK\r\n")
        .c("RETR 2\r\n")
        .s("more of the message\r\n.\r\n+OK 5 octets\r\nabc\r\n.\r\n");
    talk.c("QUIT\r\n").s("+OK bye\r\n");
    assert_eq!(
        lines(&talk.heard())[1..],
        [
            "C unplaced 6",
            "S unplaced 11",
            "C: RETR 2",
            "S unplaced 46",
            "C: QUIT",
            "S: +OK bye",
            "end Source"
        ]
    );
}

#[test]
fn one_side_alone_is_counted_and_nothing_of_it_is_shown() {
    for port in [110, 50312] {
        let mut talk = session();
        talk.packets.retain(|packet| packet.source.port() == port);
        let heard = talk.heard();
        let shown = format!("{heard:?}");
        assert!(!shown.contains("abcxyz"));
        assert_eq!(lines(&heard).first().unwrap(), "begin 192.0.2.7:50312 192.0.2.1:110");
    }
}

#[test]
fn an_acknowledgement_says_where_the_other_side_stands() {
    // Nothing of the server's greeting and its SYN is there.
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("QUIT\r\n").s("+OK bye\r\n");
    talk.packets.drain(..4);
    assert_eq!(
        told(&talk.heard())[..3],
        [
            "begin 192.0.2.7:50312 192.0.2.1:110 joined",
            "N: C PSH ACK seq=1 ack=1 octets=6",
            "N: S PSH ACK seq=1 ack=7 octets=9"
        ]
    );
}
