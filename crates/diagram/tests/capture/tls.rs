//! TLS from outside: records, what hellos say, and what was said in clear before.

use restante_proto::dialogue::Side;

use crate::talk::{Talk, lines, told};

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(content.len() as u16).to_be_bytes(), content].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
}

/// A ClientHello with a server's name, a protocol, versions among which one is made up, and an extension that is broken.
fn client_hello() -> Vec<u8> {
    let name = b"mail.example.org";
    let names = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
    let extensions = [
        extension(0x0a0a, b""),
        extension(10, b"\xff"),
        extension(0, &[&(names.len() as u16).to_be_bytes()[..], &names].concat()),
        extension(16, b"\0\x05\x04pop3"),
        extension(43, b"\x06\x7a\x7a\x03\x04\x03\x03"),
        extension(21, &[0; 300]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        b"\0\x04\x13\x02\x13\x01",
        b"\x01\0",
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ];
    message(1, &body.concat())
}

fn server_hello(cipher: u16, extensions: &[u8], random: &[u8; 32]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        random,
        &[0],
        &cipher.to_be_bytes(),
        &[0],
        &(extensions.len() as u16).to_be_bytes(),
        extensions,
    ];
    message(2, &body.concat())
}

fn tls13(talk: &mut Talk) {
    talk.c(record(22, &client_hello()));
    let hello = server_hello(0x1302, &extension(43, b"\x03\x04"), &[9; 32]);
    let first =
        [record(22, &hello), record(20, b"\x01"), record(23, &[0; 900]), record(23, &[0; 70])].concat();
    talk.in_pieces(Side::Server, &first, 500).ack(Side::Client);
    talk.c([record(20, b"\x01"), record(23, &[0; 53])].concat());
    talk.s(record(23, &[0; 255])).s(record(23, &[0; 255])).s(record(23, &[0; 42]));
    talk.c(record(23, &[0; 30])).ack(Side::Server).s(record(23, &[0; 20])).c(record(23, &[0; 19])).close();
}

const TLS13: [&str; 13] = [
    "C TLS ClientHello TLSv1.3 mail.example.org pop3 1x414",
    "S TLS ServerHello TLSv1.3 TLS_AES_256_GCM_SHA384 1x55",
    "S TLS ChangeCipherSpec 1x6",
    "S TLS ApplicationData 2x980",
    "C TLS ChangeCipherSpec 1x6",
    "C TLS ApplicationData 1x58",
    "S TLS ApplicationData 3x567",
    "C TLS ApplicationData 1x35",
    "S TLS ApplicationData 1x25",
    "C TLS ApplicationData 1x24",
    "end Closed",
    "",
    "",
];

#[test]
fn tls_from_the_first_octet_is_records() {
    for port in [995, 110, 2110] {
        let mut talk = Talk::between("192.0.2.7:50312", &format!("192.0.2.1:{port}"));
        tls13(talk.open());
        assert_eq!(lines(&talk.heard())[1..], TLS13[..11]);
    }
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    tls13(talk.open());
    let told = told(&talk.heard());
    let place = |line: &str| {
        told.iter().position(|told| told.starts_with(line)).unwrap_or_else(|| panic!("{told:#?}"))
    };
    // They know their segments, and a run is told before what ends it.
    assert!(told[place("S TLS ApplicationData 2x980")].ends_with("<5-7 3 1041>"), "{told:#?}");
    assert!(place("C TLS ApplicationData 1x24") < place("N: S FIN ACK"));
}

#[test]
fn stls_is_a_line_and_then_records() {
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("STLS\r\n").s("+OK begin\r\n");
    tls13(&mut talk);
    let heard = lines(&talk.heard());
    assert_eq!(heard[1..4], ["S: +OK ready", "C: STLS", "S: +OK begin"]);
    assert_eq!(heard[4..], TLS13[..11]);
}

#[test]
fn what_is_said_in_clear_behind_stls_is_heard_as_lines() {
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("STLS\r\nCAPA\r\n").s("+OK begin\r\n+OK injected\r\n");
    tls13(&mut talk);
    let heard = lines(&talk.heard());
    assert_eq!(heard[1..6], ["S: +OK ready", "C: STLS", "C: CAPA", "S: +OK begin", "S: +OK injected"]);
    assert_eq!(heard[6..], TLS13[..11]);

    // A line and the hello in one segment.
    let mut talk = Talk::new();
    talk.open().s("+OK ready\r\n").c("STLS\r\n").s("+OK begin\r\n");
    talk.c([b"NOOP\r\n", &record(22, &client_hello())[..]].concat());
    assert_eq!(lines(&talk.heard())[4..], ["C: NOOP", TLS13[0], "end Source"]);

    // A server that does not begin TLS.
    talk.s("-ERR no TLS here\r\n").close();
    assert_eq!(lines(&talk.heard())[5..], [TLS13[0], "S: -ERR no TLS here", "end Closed"]);
}

#[test]
fn tls12_names_its_messages_and_hides_what_is_encrypted() {
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    talk.open().c(record(22, &client_hello()));
    let hello = server_hello(0xc030, &extension(16, b"\0\x05\x04pop3"), &[9; 32]);
    // A certificate over three records, the last of which holds what follows it too.
    let certificate = message(11, &[1; 1000]);
    let rest = [&certificate[800..], &message(12, &[2; 300]), &message(14, b"")].concat();
    talk.s([record(22, &hello), record(22, &certificate[..400])].concat());
    talk.s(
        [record(22, &certificate[400..800]), record(22, &rest), record(22, &message(4, &[0; 30]))].concat()
    );
    talk.c([record(22, &message(16, &[3; 66])), record(20, b"\x01"), record(22, &[0xee; 40])].concat());
    talk.s([record(20, b"\x01"), record(22, &[1; 40])].concat());
    talk.s(record(23, &[0; 60])).c(record(21, &[5; 26])).s(record(21, &[5; 26])).close();
    assert_eq!(
        lines(&talk.heard())[1..],
        [
            TLS13[0],
            "S TLS ServerHello TLSv1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 pop3 1x60",
            "S TLS Handshake(\"Certificate\") 3x1327",
            "S TLS Handshake(\"NewSessionTicket\") 1x39",
            "C TLS Handshake(\"ClientKeyExchange\") 1x75",
            "C TLS ChangeCipherSpec 1x6",
            "C TLS Handshake(\"encrypted\") 1x45",
            "S TLS ChangeCipherSpec 1x6",
            "S TLS Handshake(\"encrypted\") 1x45",
            "S TLS ApplicationData 1x65",
            "C TLS Alert(\"encrypted\") 1x31",
            "S TLS Alert(\"encrypted\") 1x31",
            "end Closed"
        ]
    );
}

#[test]
fn a_retry_and_an_alert_are_named_and_unknown_ciphers_numbered() {
    let retry = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    let version = extension(43, b"\x03\x04");
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    talk.open().c(record(22, &client_hello()));
    talk.s([record(22, &server_hello(0x1301, &version, &retry)), record(20, b"\x01")].concat());
    // The second hello stands behind ChangeCipherSpec, and is not encrypted (RFC 8446 §D.4).
    talk.c([record(20, b"\x01"), record(22, &client_hello())].concat());
    talk.s(record(22, &server_hello(0x7777, &version, &[9; 32])))
        .c(record(21, b"\x02\x30"))
        .flags(Side::Client, "R");
    let heard = lines(&talk.heard());
    assert_eq!(heard[2], "S TLS Handshake(\"HelloRetryRequest\") 1x55");
    assert_eq!(heard[5], TLS13[0]);
    assert_eq!(heard[6], "S TLS ServerHello TLSv1.3 0x7777 1x55");
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    talk.open().c(record(22, &client_hello())).s(record(21, b"\x02\x28")).s("").close();
    assert_eq!(lines(&talk.heard())[2], "S TLS Alert(\"handshake_failure\") 1x7");
}

#[test]
fn a_hello_is_read_however_it_is_cut() {
    let (whole, hello) = (record(22, &client_hello()), client_hello());
    for piece in [1, 2, 4, 5, 6, 100] {
        let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
        talk.open().in_pieces(Side::Client, &whole, piece);
        assert_eq!(lines(&talk.heard())[1], TLS13[0], "{piece}");
    }
    // Over several records.
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    let records: Vec<u8> = hello.chunks(150).flat_map(|part| record(22, part)).collect();
    talk.open().c(records);
    assert_eq!(lines(&talk.heard())[1], TLS13[0].replace("1x414", "3x424"));
    // It ends in its middle.
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    talk.open().c(&whole[..200]);
    assert_eq!(lines(&talk.heard())[1..], ["C TLS Handshake(\"unfinished\") 1x200", "end Source"]);
}

#[test]
fn tls_that_was_joined_or_lost_is_found_again_at_a_record() {
    let mut talk = Talk::between("192.0.2.7:50312", "192.0.2.1:995");
    for _ in 0..3 {
        talk.c(record(23, &[0; 30]));
        talk.in_pieces(Side::Server, &record(23, &[0xaa; 2500]), 1000).ack(Side::Client);
    }
    let whole = lines(&talk.heard());
    assert_eq!(
        whole[1..4],
        ["C TLS ApplicationData 1x35", "S TLS ApplicationData 1x2505", "C TLS ApplicationData 1x35"]
    );
    // From the middle of a record on.
    let mut joined = talk.clone();
    joined.packets.drain(..2);
    assert_eq!(
        lines(&joined.heard())[1..],
        [
            "S unplaced 1505",
            "C TLS ApplicationData 1x35",
            "S TLS ApplicationData 1x2505",
            "C TLS ApplicationData 1x35",
            "S TLS ApplicationData 1x2505",
            "end Source"
        ]
    );
    // A hole inside a record is counted; one that a record's end is in is not guessed at.
    let mut lost = talk.clone();
    lost.packets.remove(2);
    assert_eq!(
        lines(&lost.heard())[1..4],
        ["C TLS ApplicationData 1x35", "S missing 1000", "S TLS ApplicationData 1x2505"]
    );
    let mut lost = talk.clone();
    lost.packets.remove(3);
    assert_eq!(
        lines(&lost.heard())[1..5],
        [
            "C TLS ApplicationData 1x35",
            "S TLS ApplicationData 1x2505",
            "S missing 505",
            "C TLS ApplicationData 1x35"
        ]
    );
}
