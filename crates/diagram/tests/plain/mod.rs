//! Sessions made by hand, for the tests of the formats: the session of a textbook with its segments, and one that has
//! a row of every kind and every anomaly. Also [`golden`], which compares with a file.
#![allow(dead_code)] // each file of tests uses its part

use std::{path::Path, time::Duration};

use restante_diagram::{
    anomaly::Anomaly,
    format::{FORMATS, Picture, Style},
    heard::Opening,
    row::{Carried, Finding, Remark, Row, RowKind, Share, Summary},
};
use restante_proto::{
    dialogue::{Flag, Flags, Side},
    phase::Phase,
};

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

/// Draws sessions in the format of this name.
pub(crate) fn draw(format: &str, style: &Style, sessions: &[&Session]) -> String {
    let format = FORMATS.iter().find(|known| known.name == format).expect("the format exists");
    let (mut drawing, mut out) = ((format.new)(style), Vec::new());
    drawing.start(&mut out);
    for session in sessions {
        drawing.session(session.picture(), &mut out);
    }
    drawing.finish(&mut out);
    String::from_utf8(out).expect("it is UTF-8")
}

/// Compares `text` with `tests/golden/NAME`. With `UPDATE_SNAPSHOTS=1` in the environment the file is written instead: look
/// at the difference before you commit it.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, text).expect("the file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(text, expected, "{} differs; UPDATE_SNAPSHOTS=1 cargo test accepts it", file.display());
}

/// Rows in order: each is added with what it has in common with the others, and changed as it needs.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    now: Duration,
    phase: Option<Phase>,
    seq: [u32; 2],
}

impl Rows {
    /// A row so many microseconds after the one before it.
    fn add(&mut self, micros: u64, kind: RowKind, from: Option<Side>, label: &str) -> &mut Row {
        let since = Duration::from_micros(micros);
        self.now += since;
        let number = self.rows.len() as u64 + 1;
        self.rows.push(Row {
            number,
            at: Some(self.now),
            since: (number > 1).then_some(since),
            phase: self.phase,
            kind,
            from,
            label: label.to_owned(),
            lines: Vec::new(),
            lines_left_out: 0,
            carried: None,
            remark: None,
            findings: Vec::new(),
            share: None,
        });
        self.rows.last_mut().unwrap()
    }

    /// Something said in one segment, with its CRLF.
    fn say(&mut self, micros: u64, kind: RowKind, from: Side, label: &str, octets: u32) -> &mut Row {
        let (mine, other) = if from == Side::Client { (0, 1) } else { (1, 0) };
        let (seq, ack) = (self.seq[mine], self.seq[other]);
        self.seq[mine] += octets;
        let row = self.add(micros, kind, Some(from), label);
        row.carried = Some(Carried {
            count: 1,
            flags: Flags::default().with(Flag::Psh).with(Flag::Ack),
            seq: Some(seq),
            ack: Some(ack),
            octets: octets.into(),
            shared: false,
            acks: 0,
        });
        row
    }

    fn command(&mut self, micros: u64, label: &str) -> &mut Row {
        self.say(micros, RowKind::Command, Side::Client, label, label.len() as u32 + 2)
    }

    fn reply(&mut self, micros: u64, label: &str) -> &mut Row {
        self.say(micros, RowKind::Reply, Side::Server, label, label.len() as u32 + 2)
    }

    /// A segment that carries nothing.
    fn segment(&mut self, micros: u64, from: Side, flags: &[Flag]) -> &mut Row {
        let (mine, other) = if from == Side::Client { (0, 1) } else { (1, 0) };
        let names = flags.iter().map(|flag| format!("{flag:?}").to_uppercase());
        let label = names.collect::<Vec<_>>().join(", ");
        let (seq, ack) = (self.seq[mine], self.seq[other]);
        // They take a number of their own.
        self.seq[mine] += u32::from(flags.iter().any(|flag| matches!(flag, Flag::Syn | Flag::Fin)));
        let row = self.add(micros, RowKind::Segment, Some(from), &label);
        row.carried = Some(Carried {
            count: 1,
            flags: flags.iter().fold(Flags::default(), |all, flag| all.with(*flag)),
            seq: Some(seq),
            ack: flags.contains(&Flag::Ack).then_some(ack),
            octets: 0,
            shared: false,
            acks: 0,
        });
        row
    }
}

fn remark(text: &str, rfc: &'static str) -> Option<Remark> {
    Some(Remark { text: text.to_owned(), rfc: Some(rfc) })
}

fn finding(anomaly: Anomaly, text: &str) -> Finding {
    Finding { anomaly, text: text.to_owned() }
}

/// The session of a textbook: one message is retrieved and deleted.
pub(crate) fn textbook() -> Session {
    let mut rows = Rows::default();
    rows.segment(0, Side::Client, &[Flag::Syn]).remark = remark(
        "The client asks for a connection, and tells where its octets are counted from.",
        "RFC 9293 §3.5",
    );
    rows.segment(310, Side::Server, &[Flag::Syn, Flag::Ack]);
    rows.segment(12, Side::Client, &[Flag::Ack]).remark = remark("The connection stands.", "RFC 9293 §3.5");
    rows.phase = Some(Phase::Authorization);
    rows.reply(682, "+OK X1 POP3 Server").remark =
        remark("The greeting: the server is ready, and waits for a login.", "RFC 1939 §4");
    let user = rows.command(1_204, "USER john.doe@anydomain.com");
    user.remark = remark("The client says whose maildrop it wants.", "RFC 1939 §7");
    user.carried.as_mut().unwrap().acks = 1;
    rows.phase = Some(Phase::Named);
    rows.reply(97, "+OK send your password").remark =
        remark("The name is taken. That does not mean that the maildrop exists.", "RFC 1939 §7");
    let pass = rows.command(88, "PASS [secret]");
    pass.remark = remark("The password, as it is, without any protection.", "RFC 1939 §7");
    pass.findings = vec![finding(
        Anomaly::PasswordInClear,
        "PASS went over the connection without TLS: everybody on the way can read the password.",
    )];
    rows.phase = Some(Phase::Transaction);
    let ready = rows.reply(31_250, "+OK maildrop locked and ready");
    ready.remark = remark("The maildrop is open, and nobody else can change it now.", "RFC 1939 §7");
    ready.share = Some(Share { network: Duration::from_micros(28), peer: Duration::from_micros(31_222) });
    rows.command(102, "STAT").remark =
        remark("How many messages, and how many octets in all?", "RFC 1939 §5");
    rows.reply(55, "+OK 1 1317").remark = remark("One message, 1,317 octets.", "RFC 1939 §5");
    rows.command(61, "LIST");
    rows.reply(70, "+OK 1 messages (1317 octets)");
    let listing = rows.say(0, RowKind::Listing, Side::Server, "1 line", 11);
    listing.lines = vec!["1 1317".to_owned()];
    listing.carried.as_mut().unwrap().shared = true;
    listing.remark =
        remark("Number and octets of each message; a line of one dot ends the list.", "RFC 1939 §5");
    rows.command(75, "RETR 1").remark = remark("The client asks for the whole of message 1.", "RFC 1939 §5");
    rows.reply(340, "+OK 1317 octets");
    let message = rows.say(5, RowKind::Message, Side::Server, "message, 1,317 octets", 1322);
    message.lines = vec!["Received: from mail.example.com".to_owned()];
    message.lines_left_out = 26;
    message.remark = remark("The message; a line of one dot ends it, and does not count.", "RFC 1939 §3");
    rows.command(400, "DELE 1").remark =
        remark("The message is marked as deleted; QUIT removes it.", "RFC 1939 §5");
    rows.reply(60, "+OK msg deleted");
    rows.command(90, "QUIT");
    rows.phase = Some(Phase::Update);
    rows.reply(9_600, "+OK POP3 Server saying Good-Bye").remark =
        remark("What was marked has been removed, and the lock is released.", "RFC 1939 §6");
    rows.segment(41, Side::Server, &[Flag::Fin, Flag::Ack]);
    rows.segment(66, Side::Client, &[Flag::Fin, Flag::Ack]);
    rows.segment(9, Side::Server, &[Flag::Ack]);
    let [client, server] = rows.seq;
    let summary = Summary {
        number: 1,
        opening: Opening {
            title: Some("a message is retrieved and deleted".into()),
            client: Some("192.0.2.7:50312".into()),
            server: Some("192.0.2.1:110".into()),
            started: Some("2005-04-01T07:56:00Z".into()),
            ..Opening::default()
        },
        user: Some("john.doe@anydomain.com".to_owned()),
        tls: None,
        duration: Some(rows.now),
        commands: 7,
        retrieved: 1,
        retrieved_octets: 1317,
        deleted: 1,
        segments: rows.rows.len() as u64,
        client_octets: client.into(),
        server_octets: server.into(),
        anomalies: vec![(Anomaly::PasswordInClear, 1)],
        ending: "QUIT, and both sides closed".to_owned(),
        ..Summary::default()
    };
    Session { summary, rows: rows.rows }
}

/// A row of every kind, and every anomaly once.
pub(crate) fn everything() -> Session {
    let mut rows = Rows { seq: [1, 1], ..Rows::default() };
    rows.phase = Some(Phase::Authorization);
    rows.add(0, RowKind::Note, None, "The connection stands");
    rows.say(1_003, RowKind::Reply, Side::Server, "+OK <1896.697170952@dbc.mtview.ca.us>", 39);
    rows.command(210, "CAPA");
    let refused = rows.reply(
        40_113,
        "-ERR unknown command; this answer is longer than a line and is broken between words, \
        as it says more than most of them do",
    );
    refused.share = Some(Share { network: Duration::from_micros(40_031), peer: Duration::from_micros(82) });
    refused.remark = remark("The server does not know what CAPA is. That is its right.", "RFC 2449 §5");
    rows.command(310, "AUTH PLAIN");
    rows.say(90, RowKind::Reply, Side::Server, "+ [secret]", 4);
    rows.say(80, RowKind::Response, Side::Client, "[secret]", 42);
    rows.phase = Some(Phase::Transaction);
    rows.reply(3_200_000, "+OK logged in as 山田太郎").share =
        Some(Share { network: Duration::from_micros(420), peer: Duration::from_micros(3_199_580) });
    rows.command(52, "UIDL");
    rows.reply(75, "+OK");
    let listing = rows.say(0, RowKind::Listing, Side::Server, "1,000 lines", 21_034);
    listing.lines = vec!["1 0000000a5e3b".to_owned(), "2 <unique;id#with\"odd%%signs>".to_owned()];
    listing.lines_left_out = 998;
    listing.carried = Some(Carried { count: 15, acks: 7, shared: true, ..listing.carried.unwrap() });
    rows.command(60, "RETR 1");
    let message = rows.say(0, RowKind::Message, Side::Server, "message, 81,317 octets", 81_322);
    message.lines =
        vec!["Subject: Grüße, e\u{301}, 日本語".to_owned(), String::new(), "  indented".to_owned()];
    message.carried = Some(Carried { count: 57, acks: 28, ..message.carried.unwrap() });
    let fold = rows.add(3_200_000, RowKind::Fold, None, "RETR 3 … 998, 996 messages, 81 MB, 3.2 s");
    fold.remark = Some(Remark { text: "Steps of one kind, folded into one row.".to_owned(), rfc: None });
    fold.lines_left_out = 2988;
    fold.carried = Some(Carried {
        count: 56_772,
        flags: Flags::default().with(Flag::Psh).with(Flag::Ack),
        seq: Some(75),
        ack: Some(102_559),
        octets: 81_045_132,
        shared: false,
        acks: 27_900,
    });
    let records = rows.say(101, RowKind::Records, Side::Client, "ClientHello, pop.example.com", 517);
    records.remark = remark("What is inside cannot be seen.", "RFC 8446 §4.1.2");
    rows.say(420, RowKind::Records, Side::Server, "ServerHello, TLSv1.3 TLS_AES_256_GCM_SHA384", 122);
    rows.add(99, RowKind::Note, Some(Side::Client), "close_notify");
    rows.add(99, RowKind::Note, Some(Side::Server), "close_notify");
    for anomaly in Anomaly::ALL {
        rows.reply(700, &format!("+OK {}", anomaly.name())).findings =
            vec![finding(*anomaly, &format!("This row has {}, as a whole sentence says.", anomaly.name()))];
    }
    rows.segment(12_000_000, Side::Client, &[Flag::Rst]).findings = vec![
        finding(Anomaly::Reset, "The client broke the connection off."),
        finding(Anomaly::DeletionWithoutQuit, "3 messages were marked, and QUIT was not said."),
    ];
    let summary = Summary {
        number: 2,
        opening: Opening {
            client: Some("[2001:db8:4006:812:1234:5678:9abc:def0]:50312".into()),
            server: Some("[2001:db8::ffff:ffff:ffff:1]:110".into()),
            joined: true,
            ..Opening::default()
        },
        user: Some("山田太郎".to_owned()),
        tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384".to_owned()),
        duration: Some(rows.now),
        commands: 1004,
        retrieved: 997,
        retrieved_octets: 81_234_567,
        deleted: 0,
        segments: 60_120,
        client_octets: 9_120,
        server_octets: 83_000_000,
        anomalies: Anomaly::ALL
            .iter()
            .map(|anomaly| (*anomaly, u64::from(*anomaly == Anomaly::Reset) + 1))
            .collect(),
        ending: "broken off by the client".to_owned(),
        ..Summary::default()
    };
    Session { summary, rows: rows.rows }
}

/// As written by hand: no times, no segments, no addresses.
pub(crate) fn bare() -> Session {
    let mut rows = Rows { phase: Some(Phase::Authorization), ..Rows::default() };
    rows.reply(0, "+OK ready");
    rows.command(0, "QUIT");
    rows.phase = Some(Phase::Closed);
    rows.reply(0, "+OK bye").remark = remark("Nobody was logged in: nothing is removed.", "RFC 1939 §6");
    for row in &mut rows.rows {
        (row.at, row.since, row.carried) = (None, None, None);
    }
    let ending = "QUIT before a login".to_owned();
    Session { summary: Summary { number: 3, commands: 1, ending, ..Summary::default() }, rows: rows.rows }
}
