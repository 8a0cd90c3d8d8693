//! TCP: who is who, octets in order, lost, late, twice and overlapping ones, wrap-around, and how a session ends.

use proptest::prelude::*;
use restante_diagram::{heard::Heard, source::capture::Options};
use restante_proto::dialogue::Side;

use crate::talk::{File, Packet, Talk, hear, lines, options, session, told, try_hear};

fn hear_packets(packets: &[Packet]) -> Vec<Heard> {
    hear(&File::default().of(packets))
}

/// A session whose sides speak in several segments each.
fn in_pieces() -> Talk {
    let mut talk = Talk::new();
    let body = format!("Subject: a\r\n\r\n{}", "a line of the message\r\n".repeat(9));
    talk.open();
    talk.in_pieces(Side::Server, b"+OK X1 POP3 Server ready to serve\r\n", 7).ack(Side::Client);
    talk.in_pieces(Side::Client, b"USER john.doe@anydomain.com\r\n", 5).ack(Side::Server);
    talk.in_pieces(Side::Server, b"+OK send your password\r\n", 4).ack(Side::Client);
    talk.in_pieces(Side::Client, b"PASS abc xyz\r\n", 3).ack(Side::Server);
    talk.in_pieces(Side::Server, b"+OK maildrop locked and ready\r\n", 9).ack(Side::Client);
    talk.in_pieces(Side::Client, b"RETR 1\r\nRETR 2\r\nQUIT\r\n", 2).ack(Side::Server);
    let answer = format!("+OK {} octets\r\n{body}.\r\n", body.len());
    talk.in_pieces(Side::Server, format!("{answer}{answer}+OK bye\r\n").as_bytes(), 40).ack(Side::Client);
    talk.close();
    talk
}

const IN_PIECES: &str = "\
begin 192.0.2.7:50312 192.0.2.1:110
S: +OK X1 POP3 Server ready to serve
C: USER john.doe@anydomain.com
S: +OK send your password
C: PASS [secret]
S: +OK maildrop locked and ready
C: RETR 1
C: RETR 2
C: QUIT
S: +OK 221 octets
S: [221 octets]
S: .
S: +OK 221 octets
S: [221 octets]
S: .
S: +OK bye
end Closed";

#[test]
fn lines_are_put_together_and_know_their_segments() {
    let told = told(&in_pieces().heard());
    for line in [
        "S: +OK X1 POP3 Server ready to serve <4-8 5 35>",
        "C: USER john.doe@anydomain.com <10-15 6 29>",
        "C: RETR 1 <35-38 4 8>",
        "C: RETR 2 <39-42 4 8>",
        "S: +OK 221 octets <47>",
        "S: [221 octets] <47-52 6 240>",
        "S: . <52>",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}\n{told:#?}");
    }
    assert_eq!(lines(&in_pieces().heard()).join("\n"), IN_PIECES);
}

/// Runs of packets of one side, between whose ends the order means nothing.
fn runs(packets: &[Packet]) -> Vec<Vec<Packet>> {
    packets
        .chunk_by(|one, next| one.source == next.source && !one.octets.is_empty() && !next.octets.is_empty())
        .map(<[Packet]>::to_vec)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_overlap_change_no_line(
        seed in proptest::collection::vec((any::<u16>(), any::<u16>(), 0..8_u8), 60),
        at in any::<u32>(),
    ) {
        let mut talk = in_pieces();
        // Where the numbers wrap around is anywhere.
        for packet in &mut talk.packets {
            let by = if packet.source.port() == 110 { at } else { at.rotate_left(16) };
            let other = if packet.source.port() == 110 { at.rotate_left(16) } else { at };
            packet.seq = packet.seq.wrapping_add(by);
            packet.ack = packet.ack.map(|ack| ack.wrapping_add(other));
        }
        let mut seeds = seed.into_iter().cycle();
        let mut packets = Vec::new();
        for mut run in runs(&talk.packets) {
            if run[0].octets.is_empty() {
                packets.append(&mut run);
                continue;
            }
            let originals = run.clone();
            for original in &originals {
                let (place, other, what) = seeds.next().unwrap();
                match what {
                    // Sent again, somewhere in the run.
                    0 => run.insert(usize::from(place) % (run.len() + 1), original.clone()),
                    // Sent again together with what follows.
                    1 => {
                        let mut long = original.clone();
                        for next in &originals {
                            if next.seq == long.seq.wrapping_add(long.octets.len() as u32) {
                                long.octets.extend(&next.octets);
                            }
                        }
                        run.insert(usize::from(place) % (run.len() + 1), long);
                    }
                    // Sent again from its middle on.
                    2 => {
                        let mut tail = original.clone();
                        let cut = usize::from(other) % tail.octets.len();
                        tail.octets.drain(..cut);
                        tail.seq = tail.seq.wrapping_add(cut as u32);
                        run.insert(usize::from(place) % (run.len() + 1), tail);
                    }
                    _ => {
                        let place = usize::from(place) % run.len();
                        let other = usize::from(other) % run.len();
                        run.swap(place, other);
                    }
                }
            }
            packets.append(&mut run);
        }
        let heard = hear_packets(&packets);
        prop_assert_eq!(lines(&heard).join("\n"), IN_PIECES);
        let file = File::default().of(&packets);
        prop_assert_eq!(try_hear(&file, 1 + at as usize % 97, options()).unwrap(), heard);
    }

    #[test]
    fn packets_that_overtake_each_other_in_the_capture_change_no_line(
        swaps in proptest::collection::vec(0..4_usize, 100),
    ) {
        let mut talk = in_pieces();
        let mut swaps = swaps.into_iter();
        // Those that passed at nearly the same time, whoever sent them.
        for window in talk.packets[3..].chunks_mut(5) {
            for place in 0..window.len() {
                window.swap(place, (place + swaps.next().unwrap_or(0)).min(window.len() - 1));
            }
        }
        prop_assert_eq!(lines(&talk.heard()).join("\n"), IN_PIECES);
    }

    #[test]
    fn nothing_that_is_lost_makes_it_stumble(lost in proptest::collection::vec(any::<bool>(), 90)) {
        let mut talk = in_pieces();
        let mut lost = lost.into_iter();
        talk.packets.retain(|_| lost.next().unwrap_or(true));
        let heard = hear_packets(&talk.packets);
        let shown = format!("{heard:?}");
        prop_assert!(!shown.contains("xyz") && !shown.contains("abc"));
    }
}

#[test]
fn octets_that_came_first_win() {
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n");
    let mut forged = talk.packets[3].clone();
    forged.octets = b"-ERR away and more\r\n".to_vec();
    talk.packets.push(forged);
    let heard = lines(&talk.heard());
    // What is new behind the eleventh octet counts.
    assert_eq!(heard[1..], ["S: +OK ready", "S: nd more", "end Source"]);

    // The same where both wait for a segment before them.
    let mut talk = Talk::new();
    talk.open().s("+OK ").s("ready\r\n");
    let mut forged = talk.packets[4].clone();
    forged.octets = b"READY\r\nmore\r\n".to_vec();
    let (first, second) = (talk.packets[3].clone(), talk.packets[4].clone());
    talk.packets.truncate(3);
    talk.packets.extend([second, forged, first]);
    assert_eq!(lines(&talk.heard())[1..], ["S: +OK ready", "S: more", "end Source"]);
}

#[test]
fn what_was_acknowledged_and_never_seen_is_missing() {
    let mut talk = session();
    // The password's answer.
    talk.packets.remove(7);
    let heard = lines(&talk.heard());
    assert_eq!(
        heard[3..],
        [
            "S: +OK send your password",
            "C: PASS [secret]",
            "S missing 31",
            // STAT is not trusted to be a command, since nobody knows what the server said before.
            "C unplaced 6",
            "S unplaced 10",
            "C: RETR 1",
            "S: +OK 22 octets",
            "S: [22 octets]",
            "S: .",
            "C: QUIT",
            "S: +OK bye",
            "end Closed"
        ]
    );
    assert_eq!(heard[2], "C: USER john.doe@anydomain.com");
}

#[test]
fn a_hole_inside_a_message_is_counted_and_its_end_is_found() {
    let mut talk = Talk::new();
    let body = format!("Subject: a\r\n\r\n{}", "a line of the message\r\n".repeat(40));
    talk.open().s("+OK ready\r\n").c("USER john\r\n").s("+OK\r\n").c("PASS abcxyz\r\n").s("+OK\r\n");
    talk.c("RETR 1\r\n");
    talk.in_pieces(Side::Server, format!("+OK {} octets\r\n{body}.\r\n", body.len()).as_bytes(), 200);
    talk.c("QUIT\r\n").s("+OK bye\r\n").close();
    let whole = lines(&talk.heard());
    assert_eq!(whole[8], "S: [934 octets]");
    let last = talk.packets.remove(11);
    let heard = lines(&talk.heard());
    assert_eq!(heard[8..11], ["S missing 200", "S: [934 octets] with holes", "S: ."]);
    assert_eq!(heard[11..], whole[10..]);

    // With the end in the hole nobody waits for it.
    talk.packets.insert(11, last);
    talk.packets.remove(13);
    let heard = lines(&talk.heard());
    assert_eq!(
        heard[8..],
        ["S: [784 octets] broken off", "S missing 153", "C unplaced 6", "S unplaced 9", "end Closed"]
    );
}

#[test]
fn nobody_waits_for_ever_for_octets_that_do_not_come() {
    // The client's side was not captured: nothing is acknowledged.
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n");
    let line = [b'x'; 1000];
    for _ in 0..6000 {
        talk.s(line);
    }
    talk.packets.remove(4);
    let heard = talk.heard();
    assert!(lines(&heard)[2] == "S missing 1000", "{:?}", &lines(&heard)[..4]);
}

#[test]
fn a_used_pair_of_ports_begins_a_new_session() {
    let mut talk = session();
    let again = session().numbers(7, 9);
    let (mut again, first) = (again, talk.packets.len());
    again.packets.clear();
    again.wait(1_000_000).open().s("+OK again\r\n");
    talk.packets.extend(again.packets);
    let heard = talk.heard();
    let second: Vec<_> = heard.iter().filter(|heard| heard.session == 2).cloned().collect();
    assert_eq!(
        told(&second),
        [
            "begin 192.0.2.7:50312 192.0.2.1:110",
            "N: C SYN seq=0 octets=0",
            "N: S SYN ACK seq=0 ack=1 octets=0",
            "N: C ACK seq=1 ack=1 octets=0",
            "N: S PSH ACK seq=1 ack=1 octets=11",
            "S: +OK again <4>",
            "end Source"
        ]
    );
    assert!(first > 0 && told(&heard).iter().any(|line| line == "end Closed"));

    // A SYN that is sent again begins none.
    let mut talk = session();
    talk.packets.insert(1, talk.packets[0].clone());
    assert_eq!(lines(&talk.heard()), lines(&session().heard()));
}

#[test]
fn stragglers_belong_to_the_session_that_closed() {
    let mut talk = session();
    let last = talk.packets.len() - 1;
    talk.packets.extend([talk.packets[last - 1].clone(), talk.packets[last].clone()]);
    let heard = told(&talk.heard());
    assert_eq!(heard.iter().filter(|line| line.starts_with("begin")).count(), 1);
    assert_eq!(
        heard[heard.len() - 3..],
        ["N: C FIN ACK seq=63 ack=136 octets=0", "N: S ACK seq=136 ack=64 octets=0", "end Closed"]
    );
    // Long after that they are nobody's.
    for packet in &mut talk.packets[last + 1..] {
        packet.at += 60_000_000;
    }
    assert_eq!(told(&talk.heard()), told(&session().heard()));
}

#[test]
fn resets_end_a_session_and_half_closed_ones_go_on() {
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").flags(Side::Client, "RA");
    assert_eq!(told(&talk.heard()).last().unwrap(), "end Closed");

    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("QUIT\r\n").flags(Side::Client, "FA").s("+OK bye\r\n");
    let heard = told(&talk.heard());
    assert_eq!(
        heard[heard.len() - 4..],
        [
            "N: C FIN ACK seq=7 ack=12 octets=0",
            "N: S PSH ACK seq=12 ack=8 octets=9",
            "S: +OK bye <7>",
            "end Source"
        ]
    );

    // A port where nobody listens.
    let mut talk = Talk::new();
    talk.flags(Side::Client, "S").flags(Side::Server, "RA");
    assert_eq!(
        told(&talk.heard())[1..],
        ["N: C SYN seq=0 octets=0", "N: S RST ACK seq=1 ack=1 octets=0", "end Closed"]
    );
}

#[test]
fn a_line_without_an_end_is_told_at_the_end() {
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("QUI").s("+OK half");
    assert_eq!(lines(&talk.heard())[2..], ["C: [secret]\\", "S unplaced 8", "end Source"]);
    let mut talk = Talk::new();
    talk.open().s("+OK half");
    assert_eq!(lines(&talk.heard())[1..], ["S: +OK half\\", "end Source"]);
    // Half of the server's line may repeat half of the password.
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("PASS abcxyz\r\n").s("-ERR what is abc");
    let heard = talk.heard();
    assert_eq!(lines(&heard)[2..], ["C: PASS [secret]", "S unplaced 16", "end Source"]);
    assert!(!format!("{heard:?}").contains("abc"));
}

#[test]
fn servers_are_known_by_their_port_or_by_what_they_say() {
    let sessions = |talk: &Talk, options: Options| {
        let file = File::default().of(&talk.packets);
        let heard = try_hear(&file, 4096, options).unwrap();
        lines(&heard)
    };
    let greeted = |server: &str, greeting: &str| {
        let mut talk = Talk::between("192.0.2.7:50312", server);
        talk.open().s(greeting).c("QUIT\r\n").s("+OK bye\r\n").close();
        talk
    };
    for port in [110, 995, 1110, 1995, 2110] {
        let talk = greeted(&format!("192.0.2.1:{port}"), "* odd\r\n");
        assert_eq!(sessions(&talk, options()).len(), 5, "{port}");
    }
    for (greeting, is_pop3) in [
        ("+OK ready\r\n", true),
        ("-ERR too many\r\n", true),
        ("+OK\r\n", true),
        ("+OKAY\r\n", false),
        ("* OK IMAP4rev1\r\n", false),
        ("220 ESMTP\r\n", false),
    ] {
        let talk = greeted("192.0.2.1:4321", greeting);
        assert_eq!(!sessions(&talk, options()).is_empty(), is_pop3, "{greeting}");
        if is_pop3 {
            // Its handshake is heard too.
            let all = told(&talk.heard());
            assert_eq!(all[1..4], told(&session().heard())[1..4]);
        }
    }
    // Who is asked first is no POP3 server, whatever it answers.
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:6379");
    talk.open().c("PING\r\n").s("+OK\r\n");
    assert_eq!(sessions(&talk, options()), Vec::<String>::new());
}

#[test]
fn sessions_are_numbered_and_one_alone_can_be_heard() {
    let mut packets = Vec::new();
    for n in 0..5 {
        let mut talk = Talk::between(&format!("192.0.2.7:{}", 40_000 + n), "192.0.2.1:110");
        talk.wait(n * 50).open().s(format!("+OK number {n}\r\n")).c("QUIT\r\n").s("+OK bye\r\n").close();
        packets.extend(talk.packets);
    }
    packets.sort_by_key(|packet| packet.at);
    let file = File::default().of(&packets);
    let all = hear(&file);
    for only in 1..=5 {
        let options = Options { only: Some(only), ..options() };
        let heard = try_hear_only(&file, options);
        let expected: Vec<_> = all.iter().filter(|heard| heard.session == only).cloned().collect();
        assert_eq!(heard, expected);
        assert_eq!(lines(&heard)[1], format!("S: +OK number {}", only - 1));
    }
}

fn try_hear_only(file: &[u8], options: Options) -> Vec<Heard> {
    let (mut capture, mut heard) = (restante_diagram::source::capture::Capture::new(options), Vec::new());
    capture.push(file, &mut heard).unwrap();
    capture.end(&mut heard).unwrap();
    assert_eq!(capture.facts().sessions, 5);
    heard
}
