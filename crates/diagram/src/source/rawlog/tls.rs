//! TLS as the program before the login sees it: records, of which the headers can be read (RFC 8446 §5.1). Runs of one side
//! and one kind are told as one.

use std::time::Duration;

use restante_proto::dialogue::{Side, TlsFacts};

use crate::heard::{RecordKind, Records, What};

/// The content type that a connection inside TLS begins with.
pub(super) const HANDSHAKE: u8 = 22;
/// Content type, version, length.
const HEADER_OCTETS: usize = 5;

/// Whether a connection begins with a record that only a server sends.
pub(super) fn is_server_hello(octets: &[u8]) -> bool {
    matches!(octets, [HANDSHAKE, _, _, _, _, 2, ..])
}

/// Both sides' records.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// What is said is said in records.
    pub(super) begun: bool,
    client: Reader,
    server: Reader,
    /// The run that may go on.
    run: Option<Records>,
}

/// One side's records as they come in.
#[derive(Debug, Default)]
struct Reader {
    /// The header, and the first octet of a handshake's message behind it.
    start: Vec<u8>,
    at: Option<Duration>,
    /// How many octets of the record are still to come.
    left: usize,
    /// What comes is encrypted, as far as that can be told.
    encrypted: bool,
}

impl Tls {
    pub(super) fn new(begun: bool) -> Self {
        Self { begun, ..Self::default() }
    }

    /// Takes what one side sent next.
    pub(super) fn push(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: &[u8],
        hand_on: &mut dyn FnMut(What),
    ) {
        let mut rest = octets;
        while !rest.is_empty() {
            let reader = self.reader(from);
            if reader.left > 0 {
                let skipped = reader.left.min(rest.len());
                reader.left -= skipped;
                rest = rest.get(skipped..).unwrap_or_default();
                continue;
            }
            let Some((first, behind)) = rest.split_first() else { return };
            rest = behind;
            if let Some(record) = reader.header(from, at, *first) {
                self.join(record, hand_on);
            }
        }
    }

    const fn reader(&mut self, from: Side) -> &mut Reader {
        match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn join(&mut self, record: Records, hand_on: &mut dyn FnMut(What)) {
        match &mut self.run {
            Some(run) if run.from == record.from && run.kind == record.kind => {
                run.count = run.count.saturating_add(record.count);
                run.octets = run.octets.saturating_add(record.octets);
            }
            run => {
                if let Some(before) = run.replace(record) {
                    hand_on(What::Records(before));
                }
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, hand_on: &mut dyn FnMut(What)) {
        if let Some(run) = self.run.take() {
            hand_on(What::Records(run));
        }
    }
}

impl Reader {
    /// Takes an octet of a header; gives the record once it is known what it is.
    fn header(&mut self, from: Side, at: Option<Duration>, octet: u8) -> Option<Records> {
        if self.start.is_empty() {
            self.at = at;
        }
        self.start.push(octet);
        let &[kind, _, _, high, low, ref message @ ..] = &self.start[..] else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind == HANDSHAKE && !self.encrypted && length > 0 && message.is_empty() {
            return None;
        }
        self.left = length - message.len();
        let kind = match (kind, message.first()) {
            (20, _) => {
                self.encrypted = true;
                RecordKind::ChangeCipherSpec
            }
            (21, _) => RecordKind::Alert(if self.encrypted { "encrypted" } else { "unread" }),
            (HANDSHAKE, Some(1)) => RecordKind::ClientHello(TlsFacts::default()),
            (HANDSHAKE, Some(2)) => RecordKind::ServerHello(TlsFacts::default()),
            (HANDSHAKE, Some(11)) => RecordKind::Handshake("Certificate"),
            (HANDSHAKE, Some(12)) => RecordKind::Handshake("ServerKeyExchange"),
            (HANDSHAKE, Some(14)) => RecordKind::Handshake("ServerHelloDone"),
            (HANDSHAKE, Some(16)) => RecordKind::Handshake("ClientKeyExchange"),
            (HANDSHAKE, _) => RecordKind::Handshake("encrypted"),
            (23, _) => RecordKind::ApplicationData,
            (other, _) => RecordKind::Other(other),
        };
        self.start.clear();
        let octets = (HEADER_OCTETS + length) as u64;
        Some(Records { at: self.at, from, kind, count: 1, octets, span: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_by_their_headers_at_every_cut() {
        let client = b"\x16\x03\x01\x00\x03\x01ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02ab\x17\x03\x03\x00\x00\x15\x03\x03\x00\x02";
        for at_once in 1..=client.len() {
            let (mut tls, mut heard) = (Tls::new(true), Vec::new());
            for piece in client.chunks(at_once) {
                tls.push(Side::Client, None, piece, &mut |what| heard.push(what));
            }
            tls.end(&mut |what| heard.push(what));
            let told: Vec<_> = heard
                .iter()
                .map(|what| match what {
                    What::Records(records) => (records.kind.clone(), records.count, records.octets),
                    other => panic!("{other:?}"),
                })
                .collect();
            let expected = [
                (RecordKind::ClientHello(TlsFacts::default()), 1, 8),
                (RecordKind::ChangeCipherSpec, 1, 6),
                (RecordKind::ApplicationData, 2, 12),
                (RecordKind::Alert("encrypted"), 1, 7),
            ];
            assert_eq!(told, expected, "by {at_once}");
        }
    }
}
