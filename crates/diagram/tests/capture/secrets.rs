//! Planted secrets: whatever is captured, lost, cut and repeated, none of them is heard, in no form.

use proptest::prelude::*;
use restante_diagram::heard::Heard;
use restante_proto::dialogue::Side;

use crate::talk::{File, Format, Packet, Talk, hear};

/// The secret, its halves, its digest, and what is left of it in base64 wherever in a group of three it stands.
const FORMS: &[&str] = &[
    "hunter",
    "2horse",
    "nter2ho",
    "aHVudGVyMmhvcnNl",
    "h1bnRlcjJob3Jz",
    "odW50ZXIyaG9yc",
    "c4c9334bac560ecc979e58001b3e22fb",
];

fn assert_silent(heard: &[Heard], context: &str) {
    let shown = format!("{heard:?}").to_ascii_lowercase();
    // The events hold octets as numbers too.
    for form in FORMS {
        let numbers = format!("{:?}", form.as_bytes());
        let numbers = numbers.trim_matches(['[', ']']);
        let form = form.to_ascii_lowercase();
        let lowered = format!("{:?}", form.as_bytes());
        let lowered = lowered.trim_matches(['[', ']']);
        for found in [form.as_str(), numbers, lowered] {
            assert!(!shown.contains(found), "{form} in {context}");
        }
    }
    for told in crate::talk::told(heard) {
        let told = told.to_ascii_lowercase();
        assert!(FORMS.iter().all(|form| !told.contains(&form.to_ascii_lowercase())), "{told} in {context}");
    }
}

/// Sessions with a secret in every place where a client may put one.
fn sessions() -> Vec<Talk> {
    let greeted = || {
        let mut talk = Talk::new();
        talk.open().s("+OK <1@x> ready\r\n");
        talk
    };
    let mut all = Vec::new();
    for said in [
        "PASS hunter2horse",
        "pass  hunter2horse ",
        "PASS\thunter2horse",
        "PASShunter2horse",
        " PASS hunter2horse",
        "PASS LIST hunter2horse",
        "hunter2horse",
        "APOP john c4c9334bac560ecc979e58001b3e22fb",
        "AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl",
        "AUTH hunter2horse",
        "USER john hunter2horse",
        "XAUTH john hunter2horse",
        "\u{16}\u{3}hunter2horse",
    ] {
        let mut talk = greeted();
        talk.c("USER john\r\n").s("+OK\r\n");
        talk.in_pieces(Side::Client, format!("{said}\r\n").as_bytes(), 7);
        talk.s(format!("-ERR what is {said}?\r\n"))
            .c("PASS hunter2horse\r\n")
            .s("+OK\r\n")
            .c("STAT\r\n")
            .s("+OK 0 0\r\n");
        talk.c("LIST 1\r\n").s("-ERR no such message\r\n").c("QUIT\r\n").s("+OK\r\n").close();
        all.push(talk);
    }
    let mut login = greeted();
    login.c("AUTH LOGIN\r\n").s("+ VXNlcm5hbWU6\r\n").c("am9obg==\r\n").s("+ UGFzc3dvcmQ6\r\n");
    login
        .c("aHVudGVyMmhvcnNl\r\n")
        .s("+OK\r\n")
        .c("STAT\r\n")
        .s("+OK 0 0\r\n")
        .c("QUIT\r\n")
        .s("+OK\r\n")
        .close();
    all.push(login);
    let mut pipelined = greeted();
    pipelined.c("CAPA\r\nUSER john\r\nPASS hunter2horse\r\nSTAT\r\nLIST\r\n");
    pipelined
        .s("+OK\r\nSASL\r\n.\r\n+OK\r\n+OK\r\n+OK 0 0\r\n+OK\r\n.\r\n")
        .c("QUIT\r\n")
        .s("+OK\r\n")
        .close();
    all.push(pipelined);
    // A server that ends an exchange before it heard the response, and one that asks twice.
    for answers in [&["+ \r\n", "+OK\r\n"][..], &["+ \r\n", "+ \r\n", "+OK\r\n"]] {
        let mut odd = greeted();
        odd.c("AUTH LOGIN am9obg==\r\n");
        for answer in answers {
            odd.s(answer);
        }
        odd.c("aHVudGVyMmhvcnNl\r\n").s("-ERR hunter2horse is too late\r\n").c("QUIT\r\n").s("+OK\r\n");
        all.push(odd);
    }
    let mut late = greeted();
    late.c("STLS\r\n")
        .s("+OK\r\n")
        .c("PASS hunter2horse\r\n")
        .s("+OK\r\n")
        .c("AUTH LOGIN\r\nQUIT hunter2horse\r\n")
        .s("+ \r\n-ERR\r\n");
    all.push(late);
    all
}

#[test]
fn a_secret_in_clear_is_not_heard() {
    for talk in sessions() {
        assert_silent(&talk.heard(), &format!("{:?}", crate::talk::lines(&talk.heard())));
    }
}

#[test]
fn a_capture_that_begins_or_ends_anywhere_shows_no_secret() {
    for talk in sessions() {
        for first in 0..talk.packets.len() {
            let heard = hear(&File::default().of(&talk.packets[first..]));
            assert_silent(&heard, &format!("from {first} {:?}", crate::talk::lines(&heard)));
            assert_silent(&hear(&File::default().of(&talk.packets[..first])), "the beginning");
        }
    }
}

#[test]
fn a_packet_that_is_lost_shows_no_secret() {
    for talk in sessions() {
        for lost in 0..talk.packets.len() {
            for count in 1..4 {
                let mut packets = talk.packets.clone();
                packets.drain(lost..(lost + count).min(packets.len()));
                let heard = hear(&File::default().of(&packets));
                assert_silent(&heard, &format!("without {lost} {:?}", crate::talk::lines(&heard)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_packets_no_secret_is_heard(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..7_u8), 0..12),
        first in 0..12_usize,
        snap_octets in prop_oneof![Just(262_144_usize), 60..110_usize],
        pcapng in any::<bool>(),
    ) {
        let all = sessions();
        let mut packets: Vec<Packet> = which.get(&all).packets.clone();
        packets.drain(..first.min(packets.len() - 1));
        for (place, other, change) in changes {
            let (place, other) = (place.index(packets.len()), other.index(packets.len()));
            match change {
                0 if packets.len() > 1 => drop(packets.remove(place)),
                1 => packets.swap(place, other),
                2 => {
                    let packet = packets[place].clone();
                    packets.insert(other, packet);
                }
                3 => {
                    let keep = packets[place].octets.len() / 2;
                    packets[place].octets.truncate(keep);
                }
                4 => {
                    let cut = packets[place].octets.len() / 3;
                    packets[place].octets.drain(..cut);
                    packets[place].seq = packets[place].seq.wrapping_add(cut as u32);
                }
                // A server that answers what it has not acknowledged is none.
                5 if packets[place].destination.port() == 110 => packets[place].ack = packets[other].ack,
                5 => {}
                _ => packets[place].flags = packets[other].flags,
            }
        }
        let format = if pcapng { Format::Pcapng { resolution: 9 } } else { File::default().format };
        let heard = hear(&File { snap_octets, format, ..File::default() }.of(&packets));
        assert_silent(&heard, &format!("{packets:?} {:?}", crate::talk::lines(&heard)));
    }
}

#[test]
fn a_wrong_number_in_the_first_segment_hides_nothing_that_was_said() {
    let mut talk = sessions().remove(0);
    talk.packets.remove(0);
    talk.packets[0].ack = talk.packets[8].ack;
    assert_silent(&talk.heard(), &format!("{:?}", crate::talk::lines(&talk.heard())));
}

#[test]
fn a_reply_that_comes_late_to_a_session_that_was_joined_shows_no_secret() {
    // The client is always one command ahead, so that every reply seems to answer the next one.
    for (secret, repeated) in [
        ("PASS hunter2horse", "PASS hunter2horse"),
        ("PASS hunter2horse", "HUNTER2HORSE"),
        ("PASShunter2horse", "hunter2horse"),
        ("AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl", "hunter2horse"),
    ] {
        let mut talk = Talk::new();
        talk.c("NOOP\r\n").c(format!("{secret}\r\n")).s("+OK\r\n").c("STAT\r\n");
        talk.s(format!("-ERR what is {repeated}?\r\n")).c("LIST\r\n").s("-ERR no\r\n");
        let heard = talk.heard();
        assert_silent(&heard, &format!("{:?}", crate::talk::lines(&heard)));
        assert!(crate::talk::lines(&heard).contains(&"C: STAT".to_owned()));
    }
}

#[test]
fn what_the_snap_length_cuts_shows_no_secret() {
    for talk in sessions() {
        for snap_octets in 60..140 {
            let heard = hear(&File { snap_octets, ..File::default() }.of(&talk.packets));
            assert_silent(&heard, &format!("cut to {snap_octets} {:?}", crate::talk::lines(&heard)));
        }
    }
}
