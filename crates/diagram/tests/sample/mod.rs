//! Sessions made by hand, for the tests of all formats: the seed's as it would be captured, some with every kind of row and
//! everything that can be wrong, and one whose every text comes from a stranger who means harm. In `golden` they are drawn
//! and compared with files.
#![allow(dead_code, unused_imports)] // each file of tests uses its part

mod golden;
mod rows;

use std::time::Duration;

use restante_diagram::{
    anomaly::Anomaly,
    format::Picture,
    heard::Opening,
    row::{Passed, Row, RowKind, Share, Summary},
};
use restante_proto::{
    dialogue::{Flag, Segment, Side},
    phase::Phase,
};

pub(crate) use golden::{draw, golden};
use rows::{ACK, FIN_ACK, PSH_ACK, Rows, SYN, SYN_ACK};

use Side::{Client, Server};

/// A session and its rows.
pub(crate) struct Session {
    pub(crate) summary: Summary,
    pub(crate) rows: Vec<Row>,
}

impl Session {
    pub(crate) fn picture(&self) -> Picture<'_> {
        Picture { summary: &self.summary, rows: &self.rows }
    }
}

/// Sessions that are drawn into one picture.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) sessions: Vec<Session>,
}

/// All of them.
pub(crate) fn all() -> [Sample; 3] {
    [
        Sample { name: "seed", sessions: vec![seed()] },
        Sample { name: "everything", sessions: vec![everything(), secured(), bare()] },
        Sample { name: "hostile", sessions: vec![hostile()] },
    ]
}

fn opening() -> Opening {
    Opening {
        title: None,
        client: Some("192.0.2.17:49152".into()),
        server: Some("198.51.100.4:110".into()),
        started: Some("2005-04-01T07:56:00Z".into()),
        ..Opening::default()
    }
}

/// What is counted by hand is the figures alone.
fn summary(number: u32, rows: &[Row], ending: &str) -> Summary {
    let mut anomalies: Vec<(Anomaly, u64)> = Vec::new();
    for finding in rows.iter().flat_map(|row| &row.findings) {
        match anomalies.iter_mut().find(|(anomaly, _)| *anomaly == finding.anomaly) {
            Some((_, count)) => *count += 1,
            None => anomalies.push((finding.anomaly, 1)),
        }
    }
    Summary {
        number,
        opening: opening(),
        duration: rows.last().and_then(|row| row.at),
        commands: rows.iter().filter(|row| row.kind == RowKind::Command).count() as u64,
        anomalies,
        ending: ending.to_owned(),
        ..Summary::default()
    }
}

/// The first segment of each row.
fn passed(rows: &[Row]) -> Vec<Passed> {
    let segment = |row: &Row| {
        let carried = row.carried.filter(|carried| !carried.shared)?;
        let octets = u32::try_from(carried.octets).ok();
        let (flags, seq, ack) = (carried.flags, carried.seq, carried.ack);
        Some(Passed { at: row.at, segment: Segment { from: row.from?, flags, seq, ack, octets } })
    };
    rows.iter().filter_map(segment).collect()
}

/// The seed's session, as a capture shows it.
pub(crate) fn seed() -> Session {
    let mut rows = Rows::default();
    rows.segment(0, Client, "SYN", SYN, 0, None).remark(
        "The client asks for a TCP connection: the first of three steps of the handshake.",
        "RFC 9293 §3.5",
    );
    rows.segment(182, Server, "SYN, ACK", SYN_ACK, 0, Some(1))
        .remark("The server agrees, and asks for its own direction.", "RFC 9293 §3.5");
    rows.segment(64, Client, "ACK", ACK, 1, Some(1)).remark("The connection stands.", "RFC 9293 §3.5");
    rows.phase(Phase::Authorization);
    rows.say(2_310, Server, "+OK X1 POP3 Server", 1, 1)
        .remark("The server greets, and is ready for the login.", "RFC 1939 §4");
    rows.segment(71, Client, "ACK", ACK, 1, Some(21));
    rows.say(1_204, Client, "USER john.doe@anydomain.com", 1, 21)
        .remark("The client names the maildrop that it wants.", "RFC 1939 §7");
    rows.phase(Phase::Named);
    rows.say(410, Server, "+OK send your password", 21, 30).acks(1).remark(
        "The server takes the name, whether it knows it or not, and asks for the password.",
        "RFC 1939 §7",
    );
    rows.say(388, Client, "PASS [secret]", 30, 45)
        .remark(
            "The client proves who it is. Without TLS the password can be read on the whole way.",
            "RFC 1939 §7",
        )
        .finding(Anomaly::PasswordInClear, "The password went over the connection without TLS.");
    rows.segment(40_102, Server, "ACK", ACK, 45, Some(43));
    rows.phase(Phase::Transaction);
    rows.say(98_400, Server, "+OK maildrop locked and ready", 45, 43)
        .share(900, 137_602)
        .remark("The password was right. The maildrop is locked for this session.", "RFC 1939 §4");
    rows.say(812, Client, "STAT", 43, 76).remark("The client asks how much mail there is.", "RFC 1939 §5");
    rows.say(244, Server, "+OK 1 1317", 76, 49)
        .remark("There is 1 message of 1,317 octets in all.", "RFC 1939 §5");
    rows.say(690, Client, "UIDL", 49, 88).remark(
        "The client asks for the unique-ids: by them it knows what it fetched before.",
        "RFC 1939 §7",
    );
    rows.say(301, Server, "+OK 1 messages", 88, 55);
    rows.listing(0, &["1 390953946"], 0, 104, 55).remark(
        "The message has a unique-id that stays the same in every session. The line of one dot ends the listing.",
        "RFC 1939 §7",
    );
    rows.say(702, Client, "LIST", 55, 120)
        .remark("The client asks for the length of each message.", "RFC 1939 §5");
    rows.say(289, Server, "+OK 1 messages (1317 octets)", 120, 61);
    rows.listing(0, &["1 1317"], 0, 150, 61).remark("Message 1 has 1,317 octets.", "RFC 1939 §5");
    rows.say(655, Client, "RETR 1", 61, 161).remark("The client asks for message 1.", "RFC 1939 §5");
    rows.say(1_410, Server, "+OK 1317 octets", 161, 69).remark(
        "The message follows. The length is that of the message itself, without stuffed dots.",
        "RFC 1939 §11",
    );
    rows.message(0, "message 1, 1,317 octets", &["Received: from mx.example.net by x1"], 31, 178, 69)
        .remark("The message came whole; the line of one dot says so.", "RFC 1939 §3");
    rows.segment(88, Client, "ACK", ACK, 69, Some(1_500));
    rows.say(5_200, Client, "DELE 1", 69, 1_500)
        .remark("The client has stored the message, and marks it for deletion.", "RFC 1939 §5");
    rows.say(260, Server, "+OK msg deleted", 1_500, 77)
        .remark("It is marked. It is removed only by QUIT.", "RFC 1939 §5");
    rows.say(480, Client, "QUIT", 77, 1_517).remark("The client ends the session.", "RFC 1939 §6");
    rows.phase(Phase::Update);
    rows.say(3_900, Server, "+OK POP3 Server saying Good-Bye", 1_517, 83)
        .remark("What was marked is removed, and the maildrop is free again.", "RFC 1939 §6");
    rows.no_phase();
    rows.segment(40, Server, "FIN, ACK", FIN_ACK, 1_550, Some(83))
        .remark("The server sends no more.", "RFC 9293 §3.6");
    rows.segment(120, Client, "FIN, ACK", FIN_ACK, 83, Some(1_551))
        .remark("The client sends no more either.", "RFC 9293 §3.6");
    rows.segment(30, Server, "ACK", ACK, 1_551, Some(84))
        .remark("The connection is closed.", "RFC 9293 §3.6");
    let rows = rows.done();
    let mut summary = summary(1, &rows, "QUIT, and both sides closed");
    summary.user = Some("john.doe@anydomain.com".into());
    summary.retrieved = 1;
    summary.retrieved_octets = 1_317;
    summary.deleted = 1;
    summary.passed = passed(&rows);
    summary.segments = 34;
    summary.client_octets = 82;
    summary.server_octets = 1_549;
    Session { summary, rows }
}

/// Every kind of row but TLS records, and everything that can be wrong.
pub(crate) fn everything() -> Session {
    let mut rows = Rows::default();
    rows.note(0, "The source begins in the middle of the session.");
    rows.segment(10, Client, "SYN", SYN, 0, None);
    rows.segment(0, Server, "", ACK, 1, Some(1)).finding(
        Anomaly::OutOfOrder,
        "The segment from seq 1 came 2.1 ms behind the one from seq 1,461, which was sent later.",
    );
    rows.phase(Phase::Authorization);
    rows.say(15_000_000, Server, "+OK", 1, 1)
        .share(40_000, 14_960_000)
        .remark("The server greets.", "RFC 1939 §4")
        .finding(Anomaly::SlowStep, "15.0 s passed: 40.0 ms on the network, 15.0 s with the server.");
    rows.say(4_000, Client, "CAPA", 1, 6);
    rows.say(700, Server, "+OK Capability list follows", 6, 7);
    rows.listing(
        0,
        &[
            "TOP",
            "USER",
            "SASL PLAIN SCRAM-SHA-256",
            "UIDL",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "UTF8 USER",
            "STLS",
            "LANG",
        ],
        4,
        35,
        7,
    );
    rows.say(300, Client, "STLS", 7, 300);
    rows.say(300, Server, "-ERR TLS is not available right now", 300, 13)
        .finding(
            Anomaly::StlsStripped,
            "STLS was offered and then refused, and the client logs in all the same.",
        )
        .finding(Anomaly::StlsInjection, "23 octets stood behind STLS in the same segment.");
    rows.say(900, Client, "AUTH PLAIN", 13, 337);
    rows.say(300, Server, "+ ", 337, 25);
    rows.add(500, Some(Client), RowKind::Response, "[secret]").carried(PSH_ACK, 25, Some(341), 44).finding(
        Anomaly::PasswordInClear,
        "The password went over the connection without TLS, and so did what is as good as one: the client's part of the SASL exchange, which anybody can decode.",
    );
    rows.phase(Phase::Transaction);
    rows.say(
        260_000,
        Server,
        "+OK [LOGIN-DELAY] a very long answer that a server made up to greet those who come to fetch their mail, with the weather of the day, the phase of the moon, and every other thing that nobody who wrote a mail client would ever want to read to its end",
        341,
        69,
    )
    .remark("The login was right.", "RFC 1939 §4");
    rows.say(40_000, Client, "STAT", 69, 600)
        .finding(Anomaly::DelayedAckStall, "40.0 ms: the client waited for an ACK that the server delayed.");
    rows.say(200, Server, "+OK 3 81300000", 600, 75);
    rows.add(100, Some(Server), RowKind::Reply, "+OK nobody asked for this")
        .carried(PSH_ACK, 616, Some(75), 27)
        .finding(Anomaly::UnaskedReply, "No command waits for an answer.");
    rows.say(100, Client, "UIDL", 75, 643);
    rows.say(300, Server, "+OK 日本語の返事, Grüße, e\u{301}", 643, 81);
    rows.listing(0, &["1 0000000a5e3b", "2 <unique;id#with\"odd%%signs>"], 998, 643, 81).several(15).acks(7);
    rows.say(100, Client, "RETR 1", 81, 21_677);
    rows.say(200, Server, "+OK 4000 octets", 21_677, 89)
        .finding(Anomaly::OctetCount, "4,000 octets were announced, and 3,871 came.");
    rows.message(
        120,
        "message 1, 3,871 octets",
        &["Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "", "  indented", ".profile is a line that begins with a dot", "日本語の本文はこのように全角で表示される、そして長い行は省略記号で切られる、まだ続く、まだまだ続く"],
        9_998,
        21_694,
        89,
    )
    .finding(Anomaly::UnstuffedDot, "Line 4 begins with a dot that was not stuffed.")
    .finding(Anomaly::BareLf, "12 lines end in LF without CR.")
    .finding(Anomaly::MissingFinalDot, "The block ended without its final line of one dot.");
    rows.add(200_000, Some(Server), RowKind::Segment, "ACK")
        .carried(ACK, 21_694, Some(89), 1_460)
        .finding(Anomaly::Retransmission, "1,460 octets from seq 21694 were sent again after 200 ms.");
    rows.add(10, None, RowKind::Note, "2,920 octets of the server are not in the capture")
        .finding(Anomaly::NotCaptured, "2,920 octets of the server are missing.");
    rows.add(3_200_000, None, RowKind::Fold, "RETR 2 … 998, 997 messages, 81.3 MB, 3.2 s")
        .carried(PSH_ACK, 89, Some(80_000_000), 81_300_000)
        .several(56_700)
        .acks(27_900)
        .lines(&[], 2_990)
        .remark("Steps of one kind, folded into one row.", None);
    rows.say(300, Client, "DELE 1", 89, 80_000_000);
    rows.say(300, Server, "+OK", 80_000_000, 97);
    rows.say(300, Client, "QUIT", 97, 80_000_005).finding(
        Anomaly::DeletionWithoutQuit,
        "1 message was marked, and the session ended without an answer to QUIT.",
    );
    rows.phase(Phase::Update);
    rows.say(300, Server, "-ERR some deleted messages not removed", 80_000_005, 103)
        .finding(Anomaly::QuitRefused, "The server answered QUIT with -ERR.");
    rows.no_phase();
    rows.segment(100, Client, "FIN, ACK", FIN_ACK, 103, Some(80_000_045))
        .finding(Anomaly::HalfClose, "The client closed its direction, and the server went on for 2 s.");
    rows.segment(2_000_000, Server, "RST", Rows::flags(&[Flag::Rst]), 80_000_045, None)
        .finding(Anomaly::Reset, "The server broke the connection off.");
    let rows = rows.done();
    let mut summary = summary(1, &rows, "broken off by the server");
    // Rows that were folded had more of it.
    for (anomaly, count) in &mut summary.anomalies {
        *count += if *anomaly == Anomaly::DelayedAckStall { 996 } else { 0 };
    }
    summary.opening.title = Some("everything.pcapng".into());
    summary.opening.joined = true;
    summary.user = Some("a.user.with.a.very.long.name.indeed@mail.department.university.example".into());
    summary.retrieved = 997;
    summary.retrieved_octets = 81_300_000;
    summary.segments = 56_789;
    summary.client_octets = 12_345;
    summary.server_octets = 81_400_000;
    Session { summary, rows }
}

/// TLS from the first octet, seen from outside.
pub(crate) fn secured() -> Session {
    let mut rows = Rows::default();
    rows.segment(0, Client, "SYN", SYN, 0, None);
    rows.segment(9_000, Server, "SYN, ACK", SYN_ACK, 0, Some(1));
    rows.records(9_100, Client, "ClientHello, mail.example.net, TLS 1.3", 517);
    rows.records(9_800, Server, "ServerHello, TLS 1.3, TLS_AES_128_GCM_SHA256", 127)
        .remark("The server chose version and cipher. All that follows is encrypted.", "RFC 8446 §4.1.3");
    rows.records(100, Server, "9 records of application data", 3_811).several(4);
    rows.add(
        0,
        None,
        RowKind::Note,
        "From here on everything is encrypted: lengths and times are all that can be seen.",
    );
    rows.records(300, Client, "1 record of application data", 58);
    rows.add(90, Some(Client), RowKind::Note, "close_notify");
    rows.add(90, Some(Server), RowKind::Note, "close_notify");
    rows.segment(9_000, Server, "FIN, ACK", FIN_ACK, 3_939, Some(576));
    let rows = rows.done();
    let mut summary = summary(2, &rows, "the capture ends");
    summary.user = Some("山田太郎".into());
    summary.tls = Some("TLS 1.3 TLS_AES_128_GCM_SHA256".into());
    summary.opening.client = Some("[2001:db8:4006:812:1234:5678:9abc:def0]:50312".into());
    summary.opening.server = Some("[2001:db8:ffff:ffff:ffff:ffff:ffff:fffe]:995".into());
    Session { summary, rows }
}

/// A dialogue written by hand: no times, no segments, no addresses.
pub(crate) fn bare() -> Session {
    let mut rows = Rows::default();
    rows.phase(Phase::Authorization);
    rows.add(0, Some(Server), RowKind::Reply, "+OK ready");
    rows.add(0, Some(Client), RowKind::Command, "QUIT");
    rows.phase(Phase::Closed);
    rows.add(0, Some(Server), RowKind::Reply, "+OK bye")
        .remark("Nobody was logged in: nothing is removed.", "RFC 1939 §6");
    let mut rows = rows.done();
    for row in &mut rows {
        row.at = None;
        row.since = None;
    }
    let mut summary = summary(3, &rows, "QUIT before a login");
    summary.opening = Opening::default();
    Session { summary, rows }
}

/// What an attacker would like to be read as markup, or to turn the page around.
pub(crate) const MARKUP: &str =
    "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>&amp;]]>-->";
pub(crate) const TURNED: &str = "abc \u{202e}drowssap\u{2066}\u{200b} \u{0}\u{1b}[31m\u{7f} ﷽ עברית العربية";

/// Every text is of a stranger.
pub(crate) fn hostile() -> Session {
    let long = "W".repeat(700);
    let texts = [MARKUP, TURNED, &long, "日本語".repeat(60).leak(), "</text></svg></style>{}", "   "];
    let mut rows = Rows::default();
    rows.phase(Phase::Transaction);
    for (at, text) in texts.iter().enumerate() {
        let from = if at % 2 == 0 { Server } else { Client };
        let kinds = [
            RowKind::Command,
            RowKind::Reply,
            RowKind::Listing,
            RowKind::Segment,
            RowKind::Note,
            RowKind::Fold,
            RowKind::Records,
        ];
        for kind in kinds {
            let row = rows.add(1_000, Some(from), kind, text).remark(text, "RFC 1939 §5");
            let mut row = row.carried(PSH_ACK, u32::MAX, Some(u32::MAX), u64::MAX);
            if kind == RowKind::Listing {
                row = row.lines(&texts, u64::MAX);
            }
            if kind == RowKind::Reply {
                row.finding(Anomaly::Reset, text);
            }
        }
    }
    let mut rows = rows.done();
    for row in &mut rows {
        if row.kind == RowKind::Command {
            row.share = Some(Share { network: Duration::MAX, peer: Duration::MAX });
            row.at = Some(Duration::MAX);
            row.since = Some(Duration::MAX);
        }
    }
    let mut summary = summary(u32::MAX, &rows, MARKUP);
    summary.user = Some(MARKUP.into());
    summary.tls = Some(TURNED.into());
    summary.duration = Some(Duration::MAX);
    summary.client_octets = u64::MAX;
    summary.opening = Opening {
        title: Some(MARKUP.into()),
        client: Some(long.as_str().into()),
        server: Some(MARKUP.into()),
        started: Some(TURNED.into()),
        joined: true,
        ..Opening::default()
    };
    Session { summary, rows }
}
