//! JSON, for scripts and for comparing with other programs. Names and meanings are stable; what is not known is left out.
//! Each session begins on a line of its own, and so does each row.
//!
//! ```json
//! {"restante_diagram":1,"sessions":[
//! {"number":1,"client":"192.0.2.7:50312","server":"192.0.2.1:110","started":"2005-04-01T07:56:00Z","title":"…",
//!  "user":"john.doe","tls":"TLS 1.3 …","duration_seconds":0.044512,"commands":7,"retrieved":1,"retrieved_octets":1317,
//!  "deleted":1,"segments_count":19,"client_octets":77,"server_octets":1622,"ending":"ended by QUIT","end":"quit",
//!  "anomalies":[{"name":"password-in-clear","title":"Password in clear","count":1,"severity":"grave"}],"rows":[
//! {"number":4,"at":0.001004,"since":0.000682,"phase":"AUTHORIZATION","kind":"reply","from":"server",
//!  "label":"+OK X1 POP3 Server","lines":["…"],"lines_left_out":12,
//!  "carried":{"count":1,"flags":["PSH","ACK"],"seq":1,"ack":1,"octets":20,"shared":false,"acks":0},
//!  "remark":"…","rfc":"RFC 1939 §4",
//!  "findings":[{"name":"slow-step","title":"Slow step","severity":"slow","text":"…"}],
//!  "share":{"network":0.000031,"peer":0.000651},
//!  "about":{"command":5,"verb":"RETR","message":3,"octets":1317,"elapsed":0.000682}}
//! ]}
//! ]}
//! ```
//!
//! | key | meaning |
//! | --- | --- |
//! | `restante_diagram` | the version of this shape: 1; new keys do not change it |
//! | `duration_seconds`, `at`, `since`, `network`, `peer` | seconds, with six digits behind the point, or nine where they are known |
//! | `joined` | `true` where the source began when the session was under way |
//! | `inside_tls` | `true` where TLS, if there was any, was taken off before the source heard anything |
//! | `kind` | `segment`, `command`, `response`, `reply`, `listing`, `message`, `records`, `note`, `fold` |
//! | `phase` | `AUTHORIZATION`, `TRANSACTION`, `UPDATE`, `closed` |
//! | `from` | `client`, `server`; left out for what concerns both |
//! | `carried.count` | how many segments carried it; `flags`, `seq` and `ack` are those of the first |
//! | `carried.shared` | its first segment carried the row before it too |
//! | `carried.acks` | how many pure ACKs of the other side were folded into this row |
//! | `severity` | `slow`, `wrong`, `grave` |
//! | `end` | how it ended: `quit`, `quit-refused`, `quit-unanswered`, `reset-by-client`, `reset-by-server`, `closed`, `unseen`, `unfinished`; `ending` says it in words |
//! | `tls` | left out where there is none, or where nobody knows |
//! | `about` | the command that the row is or answers: its place among the session's commands, its verb, its message; in answers how many seconds after the command this was over, and how long the message was |
//! | `lines_left_out` | in a `fold`: how many rows became one |
//! | `segments` | where rows are not folded: every TCP segment, as `{"n":2,"at":0.00031,"from":"server","flags":["SYN","ACK"],"seq":0,"ack":1,"octets":0}`, numbers counted from the connection's first; 1,048,576 at most |

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Draw, Picture, Style, facts::is_drawn};
use crate::{
    anomaly::Anomaly,
    row::{About, Carried, Finding, Passed, Row, Share, Summary},
    words::{flag_names, side},
};

/// JSON at work.
struct Json {
    style: Style,
    below: bool,
}

/// Begins one.
pub(super) fn new(style: &Style) -> Box<dyn Draw> {
    Box::new(Json { style: style.clone(), below: false })
}

impl Draw for Json {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"restante_diagram\":1,\"sessions\":[");
    }

    fn session(&mut self, picture: Picture<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(if std::mem::replace(&mut self.below, true) { b",\n" } else { b"\n" });
        // The session is an object that is left open for its rows, one a line.
        let mut head = text_of(&session(picture.summary));
        head.pop();
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b",\"rows\":[");
        let rows = picture.rows.iter().filter(|row| is_drawn(row, &self.style));
        for (place, row) in rows.enumerate() {
            out.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
            out.extend_from_slice(text_of(&self.row(row)).as_bytes());
        }
        out.extend_from_slice(b"\n]");
        if self.style.segments && !picture.summary.passed.is_empty() {
            out.extend_from_slice(b",\"segments\":[");
            for (place, passed) in picture.summary.passed.iter().enumerate() {
                out.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
                out.extend_from_slice(text_of(&segment(place, passed)).as_bytes());
            }
            out.extend_from_slice(b"\n]");
        }
        out.push(b'}');
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\n]}\n");
    }
}

impl Json {
    fn row<'a>(&self, row: &'a Row) -> RowJson<'a> {
        let remark = row.remark.as_ref().filter(|_| self.style.remarks);
        RowJson {
            number: row.number,
            at: row.at.and_then(seconds),
            since: row.since.and_then(seconds),
            phase: row.phase.map(|phase| phase.name()),
            kind: row.kind.name(),
            from: row.from.map(side),
            label: &row.label,
            lines: &row.lines,
            lines_left_out: row.lines_left_out,
            carried: row.carried.as_ref().filter(|_| self.style.segments).map(carried),
            remark: remark.map(|remark| remark.text.as_str()),
            rfc: remark.and_then(|remark| remark.rfc),
            findings: row.findings.iter().map(finding).collect(),
            share: row.share.map(share),
            about: row.about.map(about),
        }
    }
}

#[derive(Serialize)]
struct SessionJson<'a> {
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    joined: bool,
    #[serde(skip_serializing_if = "is_false")]
    inside_tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<Box<RawValue>>,
    commands: u64,
    retrieved: u64,
    retrieved_octets: u64,
    deleted: u64,
    segments_count: u64,
    client_octets: u64,
    server_octets: u64,
    ending: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    end: &'static str,
    anomalies: Vec<AnomalyJson<'a>>,
}

/// An anomaly with how often it was found, or one in its place with what was found.
#[derive(Serialize)]
struct AnomalyJson<'a> {
    name: &'static str,
    title: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
    label: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    lines: &'a [String],
    #[serde(skip_serializing_if = "is_none")]
    lines_left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    carried: Option<CarriedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rfc: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<AnomalyJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<ShareJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<AboutJson>,
}

#[derive(Serialize)]
struct AboutJson {
    command: u64,
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    octets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct CarriedJson {
    count: u64,
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u32>,
    octets: u64,
    shared: bool,
    acks: u64,
}

#[derive(Serialize)]
struct SegmentJson {
    n: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Box<RawValue>>,
    from: &'static str,
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    octets: Option<u32>,
}

#[derive(Serialize)]
struct ShareJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Box<RawValue>>,
}

const fn is_false(is: &bool) -> bool {
    !*is
}

const fn is_none(number: &u64) -> bool {
    *number == 0
}

fn session(summary: &Summary) -> SessionJson<'_> {
    let anomaly = |(anomaly, count): &(Anomaly, u64)| AnomalyJson {
        name: anomaly.name(),
        title: anomaly.title(),
        count: Some(*count),
        severity: anomaly.severity().name(),
        text: None,
    };
    SessionJson {
        number: summary.number,
        client: summary.opening.client.as_deref(),
        server: summary.opening.server.as_deref(),
        started: summary.opening.started.as_deref(),
        title: summary.opening.title.as_deref(),
        joined: summary.opening.joined,
        inside_tls: summary.opening.inside_tls,
        user: summary.user.as_deref(),
        tls: summary.tls.as_deref(),
        duration_seconds: summary.duration.and_then(seconds),
        commands: summary.commands,
        retrieved: summary.retrieved,
        retrieved_octets: summary.retrieved_octets,
        deleted: summary.deleted,
        segments_count: summary.segments,
        client_octets: summary.client_octets,
        server_octets: summary.server_octets,
        ending: &summary.ending,
        end: summary.end,
        anomalies: summary.anomalies.iter().map(anomaly).collect(),
    }
}

fn finding(finding: &Finding) -> AnomalyJson<'_> {
    AnomalyJson {
        name: finding.anomaly.name(),
        title: finding.anomaly.title(),
        count: None,
        severity: finding.anomaly.severity().name(),
        text: Some(&finding.text),
    }
}

fn carried(carried: &Carried) -> CarriedJson {
    CarriedJson {
        count: carried.count,
        flags: flag_names(carried.flags).collect(),
        seq: carried.seq,
        ack: carried.ack,
        octets: carried.octets,
        shared: carried.shared,
        acks: carried.acks,
    }
}

fn segment(place: usize, passed: &Passed) -> SegmentJson {
    SegmentJson {
        n: place + 1,
        at: passed.at.and_then(seconds),
        from: side(passed.segment.from),
        flags: flag_names(passed.segment.flags).collect(),
        seq: passed.segment.seq,
        ack: passed.segment.ack,
        octets: passed.segment.octets,
    }
}

fn about(about: About) -> AboutJson {
    AboutJson {
        command: about.command,
        verb: about.verb.word(),
        message: about.message,
        octets: about.octets,
        elapsed: about.elapsed.and_then(seconds),
    }
}

fn share(share: Share) -> ShareJson {
    ShareJson { network: seconds(share.network), peer: seconds(share.peer) }
}

/// Seconds digit by digit: a floating point number would write some of them as `3.1e-5`, and lose the last digits of others.
fn seconds(duration: Duration) -> Option<Box<RawValue>> {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let text = match nanos % 1000 {
        0 => format!("{seconds}.{:06}", nanos / 1000),
        _ => format!("{seconds}.{nanos:09}"),
    };
    RawValue::from_string(text).ok()
}

/// No value here can fail to be written: keys are texts, and numbers are whole or written above.
fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_their_digits() {
        for (nanos, text) in
            [(0, "0.000000"), (31_000, "0.000031"), (31_001, "0.000031001"), (12_000_000_001, "12.000000001")]
        {
            assert_eq!(seconds(Duration::from_nanos(nanos)).unwrap().get(), text);
        }
        assert_eq!(seconds(Duration::MAX).unwrap().get(), "18446744073709551615.999999999");
    }
}
