//! TLS as it looks from outside: the records of one side (RFC 8446 §5.1, RFC 5246 §6.2), and the names of what they hold.
//! What hellos say is in `hello.rs`. Nothing is decrypted.

use std::time::Duration;

use super::{hello, span::Spanning, stream::Carrier};
use crate::heard::RecordKind;

/// The length of a record's header, in octets.
const HEADER_OCTETS: usize = 5;
/// The longest record, in octets, its header not counted (RFC 5246 §6.2.3; RFC 8446 allows less).
const RECORD_MAX_OCTETS: usize = (1 << 14) + 2048;
/// The longest hello that is read, in octets. Post-quantum key shares make 2 KiB of it, long tickets more.
const HELLO_MAX_OCTETS: usize = 64 << 10;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// A record, or several that belong to one message.
pub(super) struct Record {
    pub(super) at: Option<Duration>,
    pub(super) kind: RecordKind,
    pub(super) count: u32,
    pub(super) octets: u64,
    pub(super) span: Spanning,
}

/// Whether these octets, as many as there are, may be the beginning of a ClientHello. No line begins so.
pub(super) const fn begins_hello(octets: &[u8]) -> bool {
    matches!(octets, [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, 0..=4] | [HANDSHAKE, 3, 0..=4, _])
        || (is_record(octets)
            && matches!(octets, [HANDSHAKE, _, _, _, _] | [_, _, _, _, _, CLIENT_HELLO, ..]))
}

/// Whether these octets, as many as there are, may be the beginning of a record of any kind.
pub(super) const fn begins_record(octets: &[u8]) -> bool {
    match octets {
        [CHANGE_CIPHER_SPEC..=APPLICATION_DATA] | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3] => true,
        [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4] => true,
        [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4, _] => true,
        _ => is_record(octets),
    }
}

/// Whether a record begins here for sure: its header is whole, and all of it can be.
pub(super) const fn is_record(octets: &[u8]) -> bool {
    let [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4, high, low, ..] = *octets else { return false };
    matches!(u16::from_be_bytes([high, low]) as usize, 1..=RECORD_MAX_OCTETS)
}

/// Reads the records of one side.
#[derive(Default)]
pub(super) struct Reader {
    header: [u8; HEADER_OCTETS],
    /// How much of the header came.
    header_octets: usize,
    /// How much of the record is still to come.
    left: usize,
    /// What a handshake record or an alert holds; of others nothing is kept.
    payload: Vec<u8>,
    /// What is not reported yet: the record that comes in, and those before it that its message began in.
    open: Option<Open>,
    /// ChangeCipherSpec was sent: what follows is encrypted, but for hellos (RFC 8446 §D.4).
    encrypted: bool,
    /// A message of the handshake that goes on in the next record: its kind, and how much is to come.
    message: u8,
    message_left: usize,
    /// The message is a hello, and this is its beginning.
    hello: Option<Vec<u8>>,
    /// Where records begin is not known.
    lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    at: Option<Duration>,
    count: u32,
    octets: u64,
    span: Spanning,
}

/// What comes of a side's octets.
pub(super) enum Heard {
    Record(Record),
    /// So many octets that are in no record that is known.
    Unplaced(u64, Spanning),
}

impl Reader {
    /// Takes the octets that come next, which one segment carried.
    pub(super) fn push(
        &mut self,
        at: Option<Duration>,
        octets: &[u8],
        carrier: Carrier,
        sink: &mut dyn FnMut(Heard),
    ) {
        // Segments of other people's TLS often begin with a record.
        if self.lost && is_record(octets) {
            self.lost = false;
        }
        let mut rest = octets;
        while !rest.is_empty() {
            if self.lost {
                sink(Heard::Unplaced(rest.len() as u64, Spanning::new(carrier)));
                return;
            }
            let open = self.open.get_or_insert_with(|| Open {
                at,
                count: 0,
                octets: 0,
                span: Spanning::new(carrier),
            });
            open.span.add(carrier);
            if self.header_octets < HEADER_OCTETS {
                let (header, behind) = rest.split_at(rest.len().min(HEADER_OCTETS - self.header_octets));
                if let Some(place) =
                    self.header.get_mut(self.header_octets..self.header_octets + header.len())
                {
                    place.copy_from_slice(header);
                }
                self.header_octets += header.len();
                open.octets += header.len() as u64;
                rest = behind;
                if self.header_octets == HEADER_OCTETS {
                    self.begin(sink);
                }
            } else {
                let (part, behind) = rest.split_at(rest.len().min(self.left));
                if matches!(self.header, [ALERT | HANDSHAKE, ..]) {
                    self.payload.extend_from_slice(part);
                }
                self.left -= part.len();
                open.octets += part.len() as u64;
                rest = behind;
            }
            if self.header_octets == HEADER_OCTETS && self.left == 0 {
                self.end(sink);
            }
        }
    }

    /// So many octets that come next lack.
    pub(super) fn lacking(&mut self, octets: u64, sink: &mut dyn FnMut(Heard)) {
        let inside = self.header_octets == HEADER_OCTETS && matches!(self.header, [APPLICATION_DATA, ..]);
        match usize::try_from(octets) {
            Ok(octets) if inside && octets <= self.left => {
                self.left -= octets;
                if let Some(open) = &mut self.open {
                    open.octets += octets as u64;
                }
                if self.left == 0 {
                    self.end(sink);
                }
            }
            _ => {
                self.finish(sink);
                self.lost = true;
            }
        }
    }

    /// Nothing more comes: what came of a record is told.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(Heard)) {
        if let Some(mut open) = self.open.take() {
            open.count += u32::from(self.header_octets > 0);
            let kind = match self.header {
                _ if self.header_octets < HEADER_OCTETS && open.count < 2 => None,
                [HANDSHAKE, ..] => Some(RecordKind::Handshake("unfinished")),
                [ALERT, ..] => Some(RecordKind::Alert("unfinished")),
                [CHANGE_CIPHER_SPEC, ..] => Some(RecordKind::ChangeCipherSpec),
                [APPLICATION_DATA, ..] => Some(RecordKind::ApplicationData),
                [other, ..] => Some(RecordKind::Other(other)),
            };
            sink(match kind {
                Some(kind) => Heard::Record(open.record(kind)),
                None => Heard::Unplaced(open.octets, open.span),
            });
        }
        (self.header_octets, self.left, self.message_left, self.hello) = (0, 0, 0, None);
        self.payload.clear();
    }

    /// The header is whole.
    fn begin(&mut self, sink: &mut dyn FnMut(Heard)) {
        let [_, major, _, high, low] = self.header;
        self.left = u16::from_be_bytes([high, low]).into();
        if major != 3 || self.left > RECORD_MAX_OCTETS {
            if let Some(open) = self.open.take() {
                sink(Heard::Unplaced(open.octets, open.span));
            }
            (self.header_octets, self.left, self.lost) = (0, 0, true);
        }
    }

    /// A record is whole.
    fn end(&mut self, sink: &mut dyn FnMut(Heard)) {
        let payload = std::mem::take(&mut self.payload);
        self.header_octets = 0;
        let kind = match self.header {
            [CHANGE_CIPHER_SPEC, ..] => {
                self.encrypted = true;
                Some(RecordKind::ChangeCipherSpec)
            }
            [ALERT, ..] => Some(RecordKind::Alert(self.alert(&payload))),
            [HANDSHAKE, ..] => self.handshake(&payload),
            [APPLICATION_DATA, ..] => Some(RecordKind::ApplicationData),
            [other, ..] => Some(RecordKind::Other(other)),
        };
        self.payload = payload;
        self.payload.clear();
        if let Some(open) = &mut self.open {
            open.count = open.count.saturating_add(1);
        }
        // Without a kind the message goes on in the next record.
        if let (Some(kind), Some(open)) = (kind, self.open) {
            self.open = None;
            sink(Heard::Record(open.record(kind)));
        }
    }

    /// The name of an alert (RFC 8446 §6).
    fn alert(&self, payload: &[u8]) -> &'static str {
        match *payload {
            [_, description] if !self.encrypted => alert_name(description),
            _ => "encrypted",
        }
    }

    /// What a record of the handshake holds: the hello if there is one in it, else the message that begins it. `None`
    /// while a hello is not whole.
    fn handshake(&mut self, payload: &[u8]) -> Option<RecordKind> {
        if self.encrypted && !is_hello(payload) {
            return Some(RecordKind::Handshake("encrypted"));
        }
        let (mut rest, mut kind) = (payload, None);
        if self.message_left > 0 {
            let (part, behind) = rest.split_at(rest.len().min(self.message_left));
            self.message_left -= part.len();
            rest = behind;
            kind = Some(RecordKind::Handshake(message_name(self.message)));
            if let Some(hello) = &mut self.hello {
                hello.extend_from_slice(part);
                if self.message_left > 0 {
                    return None;
                }
                kind = self.hello.take().map(|hello| hello_kind(self.message, &hello));
            }
        }
        while let [message, l0, l1, l2, body @ ..] = rest {
            let octets = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
            let (part, behind) = body.split_at(body.len().min(octets));
            (self.message, self.message_left) = (*message, octets - part.len());
            rest = behind;
            if matches!(*message, CLIENT_HELLO | SERVER_HELLO) {
                if self.message_left == 0 {
                    kind = Some(hello_kind(*message, part));
                } else if octets <= HELLO_MAX_OCTETS {
                    self.hello = Some(part.to_vec());
                    return None;
                }
            }
            kind = kind.or_else(|| Some(RecordKind::Handshake(message_name(*message))));
        }
        kind.or(Some(RecordKind::Handshake("fragment")))
    }
}

impl Open {
    fn record(self, kind: RecordKind) -> Record {
        Record { at: self.at, kind, count: self.count, octets: self.octets, span: self.span }
    }
}

/// A hello alone in its record, which ciphertext does not look like.
fn is_hello(payload: &[u8]) -> bool {
    let [CLIENT_HELLO | SERVER_HELLO, l0, l1, l2, body @ ..] = payload else { return false };
    body.len() == u32::from_be_bytes([0, *l0, *l1, *l2]) as usize
}

fn hello_kind(message: u8, body: &[u8]) -> RecordKind {
    match message {
        CLIENT_HELLO => RecordKind::ClientHello(hello::client(body)),
        _ if hello::is_retry(body) => RecordKind::Handshake("HelloRetryRequest"),
        _ => RecordKind::ServerHello(hello::server(body)),
    }
}

/// The names of the handshake's messages (RFC 8446 §4, RFC 5246 §7.4).
const fn message_name(message: u8) -> &'static str {
    match message {
        0 => "HelloRequest",
        1 => "ClientHello",
        2 => "ServerHello",
        4 => "NewSessionTicket",
        5 => "EndOfEarlyData",
        8 => "EncryptedExtensions",
        11 => "Certificate",
        12 => "ServerKeyExchange",
        13 => "CertificateRequest",
        14 => "ServerHelloDone",
        15 => "CertificateVerify",
        16 => "ClientKeyExchange",
        20 => "Finished",
        21 => "CertificateURL",
        22 => "CertificateStatus",
        24 => "KeyUpdate",
        25 => "CompressedCertificate",
        _ => "unknown",
    }
}

/// The names of alerts (RFC 8446 §6, RFC 5246 §7.2).
const fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}
