//! Memory: what is held does not grow with the capture.

use restante_diagram::{
    heard::{Ending, Heard, What},
    source::capture::Capture,
};
use restante_proto::dialogue::Side;

use crate::talk::{File, Link, Packet, Talk, options};

/// Captures packets one by one, and gives what the heap held at most meanwhile, in octets, and what was heard of endings.
fn peak(packets: impl Iterator<Item = Packet>) -> (u64, Vec<(u32, Ending)>, u32) {
    let (mut capture, mut heard, mut octets) = (Capture::new(options()), Vec::new(), File::default().head());
    let mut endings = Vec::new();
    let mut keep = |heard: &mut Vec<Heard>| {
        for Heard { session, what } in heard.drain(..) {
            if let What::End(ending) = what {
                endings.push((session, ending));
            }
        }
    };
    let info = allocation_counter::measure(|| {
        for packet in packets {
            File::default().packet(&packet, &mut octets);
            capture.push(&octets, &mut heard).unwrap();
            keep(&mut heard);
            octets.clear();
        }
        capture.end(&mut heard).unwrap();
        keep(&mut heard);
    });
    (info.bytes_max, endings, capture.facts().sessions)
}

#[test]
fn a_long_session_takes_no_more_than_a_short_one() {
    let fetch = |messages: usize| {
        let mut talk = Talk::new();
        let body = "a line of the message, as long as most of them are\r\n".repeat(27);
        talk.open().s("+OK ready\r\n").c("USER john\r\n").s("+OK\r\n").c("PASS abcxyz\r\n").s("+OK\r\n");
        for _ in 0..messages {
            talk.c("RETR 1\r\n").s(format!("+OK {} octets\r\n", body.len())).s(&body).s(".\r\n");
        }
        talk.close();
        let packets = std::mem::take(&mut talk.packets);
        peak(packets.into_iter())
    };
    let ((few, ..), (many, ..)) = (fetch(20), fetch(2000));
    assert!(many < few + (16 << 10), "{few} {many}");
}

#[test]
fn a_packet_in_order_costs_next_to_nothing() {
    let mut talk = Talk::new();
    talk.open()
        .s("+OK ready\r\n")
        .c("USER john\r\n")
        .s("+OK\r\n")
        .c("PASS abcxyz\r\n")
        .s("+OK\r\n")
        .c("RETR 1\r\n");
    talk.s("+OK 99999999 octets\r\n");
    let file = File::default();
    let (mut capture, mut heard) = (Capture::new(options()), Vec::with_capacity(10_000));
    capture.push(&file.of(&talk.packets), &mut heard).unwrap();
    let before = talk.packets.len();
    for _ in 0..2000 {
        talk.s("a line of the message, as long as most of them are\r\n".repeat(27));
    }
    let mut rest = Vec::new();
    talk.packets[before..].iter().for_each(|packet| file.packet(packet, &mut rest));
    let info = allocation_counter::measure(|| capture.push(&rest, &mut heard).unwrap());
    // What the recorder copies of a message to count it is its own.
    assert!(info.count_total <= 2 * 2000 && info.bytes_max < 64 << 10, "{info:?}");
}

#[test]
fn a_flood_of_connections_is_bounded() {
    // Each has its SYN alone, and is never heard again.
    let flood = |server: &'static str, count: u32| {
        peak((0..count).map(move |n| {
            let client =
                format!("10.{}.{}.{}:{}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff, 1024 + (n % 60_000));
            let mut talk = Talk::between(&client, server);
            talk.wait(u64::from(n)).flags(Side::Client, "S");
            talk.packets.remove(0)
        }))
    };
    let (octets, endings, sessions) = flood("192.0.2.1:110", 20_000);
    assert_eq!((sessions, endings.len()), (20_000, 20_000));
    assert!(octets < 32 << 20, "{octets}");
    // The oldest went first.
    assert_eq!(endings[0], (1, Ending::Idle));
    let idle = endings.iter().filter(|(_, ending)| *ending == Ending::Idle).count();
    assert_eq!(idle, 20_000 - 4096);

    let (octets, _, sessions) = flood("192.0.2.1:80", 100_000);
    assert_eq!(sessions, 0);
    assert!(octets < 32 << 20, "{octets}");
}

#[test]
fn what_waits_for_a_lost_segment_is_bounded_in_all() {
    // In many sessions the segment behind the greeting is lost, and much comes after it.
    let talks = (0..64_u32).map(|n| {
        let mut talk = Talk::between(&format!("192.0.2.7:{}", 40_000 + n), "192.0.2.1:110");
        talk.wait(u64::from(n)).open().s("+OK ready\r\n").s("lost");
        talk.packets.pop();
        talk.in_pieces(Side::Server, &vec![b'x'; 3 << 20], 60_000);
        talk.packets
    });
    let (octets, endings, sessions) = peak(talks.flatten());
    assert_eq!((sessions, endings.len()), (64, 64));
    assert!(octets < 80 << 20, "{octets}");
    assert!(endings.iter().any(|(_, ending)| *ending == Ending::Idle));
    assert_eq!(endings.last(), Some(&(64, Ending::Source)));
}

#[test]
fn other_traffic_costs_nothing() {
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:443");
    talk.open().c("hello");
    for _ in 0..2000 {
        talk.s([0x17; 1400]).ack(Side::Client);
    }
    let mut octets = Vec::new();
    talk.packets
        .iter()
        .for_each(|packet| File::default().frame(0, packet.at, &Link::Ethernet.frame(packet), &mut octets));
    let (mut capture, mut heard) = (Capture::new(options()), Vec::new());
    capture.push(&File::default().head(), &mut heard).unwrap();
    let info = allocation_counter::measure(|| capture.push(&octets, &mut heard).unwrap());
    assert!(heard.is_empty() && info.count_total < 32, "{info:?}");
}
