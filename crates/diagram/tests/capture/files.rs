//! The file: every format, link type and way of cutting gives the same; what is damaged is named.

use restante_diagram::{
    heard::What,
    source::capture::{Capture, Problem},
};

use crate::talk::{File, Format, Link, Talk, hear, lines, options, session, told, try_hear};

const PCAP: Format = Format::Pcap { nanoseconds: false };
const FORMATS: [Format; 5] = [
    PCAP,
    Format::Pcap { nanoseconds: true },
    Format::Pcapng { resolution: 6 },
    Format::Pcapng { resolution: 9 },
    // 2^-30 seconds.
    Format::Pcapng { resolution: 0x80 | 30 },
];

#[test]
fn a_session_is_heard_with_its_segments() {
    let expected = "\
begin 192.0.2.7:50312 192.0.2.1:110
N: C SYN seq=0 octets=0
N: S SYN ACK seq=0 ack=1 octets=0
N: C ACK seq=1 ack=1 octets=0
N: S PSH ACK seq=1 ack=1 octets=20
S: +OK X1 POP3 Server <4>
N: C PSH ACK seq=1 ack=21 octets=29
C: USER john.doe@anydomain.com <5>
N: S PSH ACK seq=21 ack=30 octets=24
S: +OK send your password <6>
N: C PSH ACK seq=30 ack=45 octets=13
C: PASS [secret] <7>
N: S PSH ACK seq=45 ack=43 octets=31
S: +OK maildrop locked and ready <8>
N: C PSH ACK seq=43 ack=76 octets=6
C: STAT <9>
N: S PSH ACK seq=76 ack=49 octets=10
S: +OK 1 22 <10>
N: C PSH ACK seq=49 ack=86 octets=8
C: RETR 1 <11>
N: S PSH ACK seq=86 ack=57 octets=27
S: +OK 22 octets <12>
N: S PSH ACK seq=113 ack=57 octets=13
S: [22 octets] <12-13 2 40>
S: . <13>
N: C PSH ACK seq=57 ack=126 octets=6
C: QUIT <14>
N: S PSH ACK seq=126 ack=63 octets=9
S: +OK bye <15>
N: S FIN ACK seq=135 ack=63 octets=0
N: C FIN ACK seq=63 ack=136 octets=0
N: S ACK seq=136 ack=64 octets=0
end Closed";
    assert_eq!(told(&session().heard()).join("\n"), expected);
}

#[test]
fn times_count_from_the_first_packet_and_the_start_is_told() {
    let heard = session().heard();
    let What::Begin(opening) = &heard[0].what else { panic!("{heard:?}") };
    assert_eq!(opening.started.as_deref(), Some("2005-04-01T07:56:00Z"));
    let at = |place: usize| match &heard[place].what {
        What::Said { observed, .. } => observed.event.at.unwrap().as_micros(),
        other => panic!("{other:?}"),
    };
    assert_eq!((at(1), at(2), at(4), at(5)), (0, 100, 300, 300));
    let What::Said { observed, .. } = &heard[23].what else { panic!("{heard:?}") };
    assert_eq!(observed.event.to_string(), "0.001100 S: [22 octets]");
    assert_eq!(observed.body.as_ref().unwrap().start, b"Subject: a\r\n\r\nhe");
}

#[test]
fn every_format_and_every_link_says_the_same() {
    let (talk, expected) = (session(), session().heard());
    for format in FORMATS {
        for link in Link::ALL {
            for big_endian in [false, true] {
                let file = File { link, format, big_endian, ..File::default() }.of(&talk.packets);
                assert!(Capture::looks_like(&file[..4]));
                assert_eq!(hear(&file), expected, "{link:?} {format:?} big-endian: {big_endian}");
            }
        }
    }
}

#[test]
fn ipv6_is_heard_as_ipv4_is() {
    let mut talk = Talk::between("[2001:db8::7]:50312", "[2001:db8::1]:110");
    talk.open().s("+OK ready\r\n").c("QUIT\r\n").s("+OK bye\r\n").close();
    let expected =
        "begin [2001:db8::7]:50312 [2001:db8::1]:110\nS: +OK ready\nC: QUIT\nS: +OK bye\nend Closed";
    for link in Link::ALL {
        let file = File { link, ..File::default() }.of(&talk.packets);
        assert_eq!(
            lines(&hear(&file)).join(
                "
"
            ),
            expected,
            "{link:?}"
        );
    }
}

#[test]
fn extension_headers_and_ip_options_are_stepped_over() {
    let mut talk = Talk::between("[2001:db8::7]:50312", "[2001:db8::1]:110");
    talk.open().s("+OK ready\r\n");
    let (file, mut octets) = (File { link: Link::Raw, ..File::default() }, Vec::new());
    octets.extend(file.head());
    for packet in &talk.packets {
        let frame = Link::Raw.frame(packet);
        let (mut ip, tcp) = (frame[..40].to_vec(), &frame[40..]);
        // Hop-by-hop options of eight octets: an alert for routers, padded.
        ip[6] = 0;
        ip[4..6].copy_from_slice(&(tcp.len() as u16 + 8).to_be_bytes());
        let extended = [&ip[..], &[6, 0, 5, 2, 0, 0, 1, 0], tcp].concat();
        file.frame(0, packet.at, &extended, &mut octets);
    }
    assert_eq!(lines(&hear(&octets))[1], "S: +OK ready");
}

#[test]
fn fragments_and_damaged_extension_headers_are_read_over() {
    let mut talk = Talk::between("[2001:db8::7]:50312", "[2001:db8::1]:110");
    talk.open().s("+OK ready\r\n");
    let file = File { link: Link::Raw, ..File::default() };
    let frame = Link::Raw.frame(&talk.packets[3]);
    let with = |first: u8, extensions: &[u8]| {
        let (mut ip, tcp) = (frame[..40].to_vec(), &frame[40..]);
        ip[6] = first;
        ip[4..6].copy_from_slice(&((tcp.len() + extensions.len()) as u16).to_be_bytes());
        [&ip[..], extensions, tcp].concat()
    };
    let facts = |packet: &[u8]| {
        let (mut capture, mut heard, mut octets) = (Capture::new(options()), Vec::new(), file.head());
        file.frame(0, 0, packet, &mut octets);
        capture.push(&octets, &mut heard).unwrap();
        capture.end(&mut heard).unwrap();
        let facts = capture.facts();
        (facts.sessions, facts.fragments, facts.others)
    };
    // Fragments: one that is whole, the first of several, and a later one.
    assert_eq!(facts(&with(44, &[6, 0, 0, 0, 0, 0, 0, 1])), (1, 0, 0));
    assert_eq!(facts(&with(0, &[44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 9, 0, 0, 0, 1])), (0, 1, 0));
    // The first of several is not put together with the others, and holds no whole segment.
    assert_eq!(facts(&with(44, &[6, 0, 0, 1, 0, 0, 0, 1])), (1, 0, 0));
    // A header that says it goes on where the packet ends.
    for first in [0, 43, 44, 51, 60] {
        for next in [0, 43, 44, 51, 60] {
            for kept in 0..40 {
                let packet = with(first, &[next, 0, 0, 1, 0, 0, 0, 1, 60, 200, 0, 1, 0, 0, 0, 1]);
                facts(&packet[..40 + kept]);
            }
        }
    }
}

#[test]
fn octet_by_octet_is_heard_as_at_once() {
    for format in FORMATS {
        for piece in [1, 2, 3, 5, 16, 100, 1000] {
            let file = File { format, ..File::default() }.of(&session().packets);
            assert_eq!(try_hear(&file, piece, options()).unwrap(), hear(&file), "{format:?} {piece}");
        }
    }
}

#[test]
fn live_captures_are_heard_as_they_come() {
    let (talk, file) = (session(), File::default());
    let (mut capture, mut heard) = (Capture::new(options()), Vec::new());
    capture.push(&file.head(), &mut heard).unwrap();
    for packet in &talk.packets[..5] {
        let mut octets = Vec::new();
        file.packet(packet, &mut octets);
        capture.push(&octets, &mut heard).unwrap();
    }
    assert_eq!(lines(&heard)[1..], ["S: +OK X1 POP3 Server", "C: USER john.doe@anydomain.com"]);
}

#[test]
fn a_capture_that_is_cut_short_ends_with_what_came() {
    for format in FORMATS {
        let file = File { format, ..File::default() };
        let (head, whole) = (file.head().len(), file.of(&session().packets));
        for cut in 0..whole.len() {
            let heard = try_hear(&whole[..cut], 64, options());
            match heard {
                Ok(heard) => assert!(cut >= 28.min(head) && heard.len() <= hear(&whole).len()),
                Err(error) => assert!(cut < 28, "{cut}: {error}"),
            }
        }
        let (mut capture, mut heard) = (Capture::new(options()), Vec::new());
        capture.push(&whole[..whole.len() - 1], &mut heard).unwrap();
        capture.end(&mut heard).unwrap();
        assert!(capture.facts().cut_short && capture.facts().sessions == 1);
    }
}

#[test]
fn what_is_no_capture_is_refused_with_what_to_do() {
    let error = |file: &[u8]| {
        let error = try_hear(file, 7, options()).unwrap_err();
        assert_eq!(try_hear(file, 1, options()).unwrap_err(), error);
        (error.problem, error.to_string())
    };
    assert!(error(b"").1.contains("it is empty"));
    assert!(error(b"\x1f\x8b\x08\0\0\0").1.contains("gunzip -c FILE | restante diagram -"));
    assert!(error(b"\x28\xb5\x2f\xfd\0\0").1.contains("zstdcat FILE"));
    assert_eq!(error(b"hostname: X1\n\nS: +OK\n").0, Problem::NoCapture);
    assert_eq!(error(b"\xd4\xc3").0, Problem::NoCapture);
    assert!(Capture::looks_like(b"\x1f\x8b\x08\0") && !Capture::looks_like(b"host"));

    let head = File::default().head();
    let mut version = head.clone();
    version[4] = 9;
    assert_eq!(error(&version).0, Problem::Version(9));
    let mut link = head.clone();
    link[20] = 127;
    assert!(error(&link).1.contains("link type 127"), "{}", error(&link).1);

    let long = [&head[..], &[0; 8], &[0xff; 8]].concat();
    let (problem, text) = error(&long);
    assert_eq!(problem, Problem::PacketLength(u32::MAX, 24));
    assert!(text.starts_with("octet 24 of the capture: a packet of 4294967295 octets"), "{text}");
}

#[test]
fn damaged_blocks_are_named_by_their_place() {
    for big_endian in [false, true] {
        let file = File { format: Format::Pcapng { resolution: 6 }, big_endian, ..File::default() };
        let head = file.head();
        let error = |behind: &[u8]| {
            let error = try_hear(&[&head[..], behind].concat(), 13, options()).unwrap_err();
            assert_eq!(error.at, head.len() as u64);
            error.problem
        };
        let u32 = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let at = head.len() as u64;
        for length in [0, 8, 13, u32::MAX, 1 << 24] {
            let block = [u32(6), u32(length), u32(0), u32(0)].concat();
            assert_eq!(error(&block), Problem::BlockLength(length, at), "{length}");
        }
        let mut unknown = Vec::new();
        file.frame(3, 0, b"", &mut unknown);
        assert_eq!(error(&unknown), Problem::Interface(3));
        let mut captured = unknown.clone();
        captured[20..24].copy_from_slice(&u32(4000));
        assert_eq!(error(&captured), Problem::Block(at));
        // A clock with 10^99 units in a second.
        assert_eq!(error(&file.interface(Link::Raw, 99)), Problem::Block(at));
    }
}

#[test]
fn what_came_before_the_damage_is_heard() {
    let mut file = session().file();
    file.extend([0; 8]);
    file.extend([0xff; 8]);
    let (mut capture, mut heard) = (Capture::new(options()), Vec::new());
    let error = capture.push(&file, &mut heard).unwrap_err();
    assert_eq!(error.problem, Problem::PacketLength(u32::MAX, session().file().len() as u64));
    assert_eq!(capture.push(&file, &mut heard), Err(error));
    assert_eq!(capture.end(&mut heard), Err(error));
    assert_eq!(heard, session().heard());
}

#[test]
fn unknown_blocks_are_read_over_however_long_they_are() {
    let file = File { format: Format::Pcapng { resolution: 6 }, ..File::default() };
    let talk = session();
    let mut octets = file.head();
    for packet in &talk.packets {
        octets.extend(file.block(0x1234_5678, &[0x2b; 5000]));
        file.packet(packet, &mut octets);
    }
    octets.extend(file.block(0x1234_5678, &vec![0x2b; 3 << 20]));
    assert_eq!(hear(&octets), talk.heard());
    assert_eq!(try_hear(&octets, 977, options()).unwrap(), talk.heard());
}

#[test]
fn interfaces_of_several_links_and_clocks_are_one_capture() {
    let file = File { format: Format::Pcapng { resolution: 6 }, ..File::default() };
    let nanoseconds = File { format: Format::Pcapng { resolution: 9 }, ..File::default() };
    let talk = session();
    let mut octets = file.head();
    octets.extend(file.interface(Link::Cooked2, 9));
    // One that nobody reads is no error: its packets are.
    octets.extend({
        let mut wireless = file.interface(Link::Raw, 6);
        wireless[8] = 127;
        wireless
    });
    for (place, packet) in talk.packets.iter().enumerate() {
        match place % 2 {
            0 => file.frame(0, packet.at, &Link::Ethernet.frame(packet), &mut octets),
            _ => nanoseconds.frame(1, packet.at, &Link::Cooked2.frame(packet), &mut octets),
        }
        file.frame(2, packet.at, b"beacon", &mut octets);
    }
    assert_eq!(hear(&octets), talk.heard());

    // A second section begins anew, in the other order of octets.
    let other = File { big_endian: true, ..file };
    let halves = talk.packets.split_at(7);
    let octets = [file.of(halves.0), other.of(halves.1)].concat();
    assert_eq!(hear(&octets), talk.heard());
}

#[test]
fn packets_without_a_time_are_heard_without_one() {
    let file = File { format: Format::Pcapng { resolution: 6 }, ..File::default() };
    let mut octets = file.head();
    for packet in &session().packets {
        let frame = Link::Ethernet.frame(packet);
        octets.extend(file.block(3, &[&(frame.len() as u32).to_le_bytes()[..], &frame].concat()));
    }
    let heard = hear(&octets);
    assert_eq!(told(&heard), told(&session().heard()));
    let What::Begin(opening) = &heard[0].what else { panic!("{heard:?}") };
    assert_eq!(opening.started, None);
}

#[test]
fn what_the_snap_length_cut_off_is_missing() {
    let mut talk = Talk::new();
    let body = format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(600));
    talk.open().s("+OK ready\r\n").c("USER john\r\n").s("+OK\r\n").c("PASS abcxyz\r\n").s("+OK\r\n");
    talk.c("RETR 1\r\n").s(format!("+OK {} octets\r\n", body.len()));
    talk.s(&body).s(".\r\n").c("QUIT\r\n").s("+OK bye\r\n").close();
    let heard = hear(&File { snap_octets: 14 + 20 + 32 + 64, ..File::default() }.of(&talk.packets));
    assert_eq!(
        lines(&heard)[6..],
        [
            "C: RETR 1",
            "S: +OK 616 octets",
            "S missing 552",
            "S: [616 octets] with holes",
            "S: .",
            "C: QUIT",
            "S: +OK bye",
            "end Closed"
        ]
    );
    // Where nothing but the headers was kept, and not even the options of TCP, nothing is said and all is counted.
    for snap_octets in [14 + 20 + 20, 14 + 20 + 31, 14 + 20 + 32] {
        let heard = hear(&File { snap_octets, ..File::default() }.of(&talk.packets));
        let segments =
            |heard: &[_]| told(heard).into_iter().filter(|line| line.starts_with("N: ")).collect::<Vec<_>>();
        assert_eq!(segments(&heard), segments(&talk.heard()));
        assert_eq!(lines(&heard)[1..3], ["S missing 11", "C missing 11"]);
    }
}

#[test]
fn other_packets_are_counted_and_read_over() {
    let mut octets = File::default().of(&session().packets);
    for frame in [&b""[..], b"\x01", &[0; 14], &[0xff; 60]] {
        File::default().frame(0, crate::talk::STARTED_MICROSECONDS, frame, &mut octets);
    }
    // A later fragment of an IP packet.
    let mut fragment = Link::Raw.frame(&session().packets[4]);
    fragment[6..8].copy_from_slice(&[0x20, 0x10]);
    let ethernet = [&[0; 12][..], &[8, 0], &fragment].concat();
    File::default().frame(0, crate::talk::STARTED_MICROSECONDS, &ethernet, &mut octets);
    let (mut capture, mut heard) = (Capture::new(options()), Vec::new());
    capture.push(&octets, &mut heard).unwrap();
    capture.end(&mut heard).unwrap();
    let facts = capture.facts();
    assert_eq!((facts.others, facts.fragments, facts.sessions), (4, 1, 1));
    assert_eq!(facts.packets, session().packets.len() as u64 + 5);
    assert_eq!(heard, session().heard());
}
