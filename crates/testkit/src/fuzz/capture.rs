//! Packet captures are the same at every cut of the file, and show no secret whatever becomes of the packets.
//!
//! The first line holds the lengths of pieces. What follows is a capture; or, where it is none, lines: a letter says who
//! speaks, as in `recorder`, a number what becomes of the packet, and then comes what is said. The server says a line that
//! ends in `\` without its line end, and at `E` it repeats the secret that it was just told.

use restante_diagram::{
    heard::{Heard, What},
    source::capture::{Capture, CaptureError, Options},
};
use restante_proto::dialogue::{Kind, Side};

use super::{number, pieces, recorder, split_how};

/// The most packets that a script makes.
const PACKETS_MAX: usize = 200;

pub(super) fn run(data: &[u8]) {
    let (cuts, rest) = split_how(data);
    if Capture::looks_like(rest) {
        same_at_every_cut(rest, cuts);
    } else if let Some(file) = scripted(rest) {
        for heard in same_at_every_cut(&file, cuts) {
            let shown = format!("{heard:?}");
            assert_eq!(recorder::holds_secret(&shown), None, "{shown}");
            if let What::Said { observed, .. } = &heard.what {
                let shown = observed.event.to_string();
                assert_eq!(recorder::holds_secret(&shown), None, "{shown}");
            }
        }
    }
}

fn same_at_every_cut(file: &[u8], cuts: &[u8]) -> Vec<Heard> {
    let (whole, error) = hear([file].into_iter(), None);
    assert_eq!(hear(pieces(file, cuts), None), (whole.clone(), error));
    assert_eq!(hear(file.chunks(1), None), (whole.clone(), error));
    check(&whole);
    if let Some(error) = error {
        assert!(error.at <= file.len() as u64 && !error.to_string().contains('\n'), "{error}");
    }
    let first: Vec<Heard> = whole.iter().filter(|heard| heard.session == 1).cloned().collect();
    assert_eq!(hear([file].into_iter(), Some(1)).0.len(), first.len());
    whole
}

fn hear<'a>(pieces: impl Iterator<Item = &'a [u8]>, only: Option<u32>) -> (Vec<Heard>, Option<CaptureError>) {
    let options = Options { ports: vec![2110], body_start_max_octets: 32, only };
    let (mut capture, mut heard) = (Capture::new(options), Vec::new());
    let mut error = None;
    for piece in pieces {
        error = capture.push(piece, &mut heard).err();
        if error.is_some() {
            break;
        }
    }
    let at_end = capture.end(&mut heard).err();
    (heard, error.or(at_end))
}

/// Sessions begin once, in order, and end once; lines name segments that passed.
fn check(heard: &[Heard]) {
    let mut segments: Vec<Option<u32>> = Vec::new();
    for Heard { session, what } in heard {
        let place = *session as usize - 1;
        if let What::Begin(_) = what {
            assert_eq!(place, segments.len());
            segments.push(Some(0));
            continue;
        }
        let passed = segments[place].as_mut().expect("it has not ended");
        let span = match what {
            What::Said { observed, span } => {
                *passed += u32::from(matches!(observed.event.kind, Kind::Tcp(_)));
                *span
            }
            What::Records(records) => {
                assert!(records.count > 0 && records.octets > 0);
                records.span
            }
            What::Unplaced { octets, span, .. } => {
                assert!(*octets > 0);
                *span
            }
            What::Missing { octets, .. } => {
                assert!(*octets > 0);
                None
            }
            What::End(_) => {
                segments[place] = None;
                None
            }
            What::Begin(_) => None,
        };
        if let Some(span) = span {
            let passed = segments[place].expect("it has not ended");
            assert!((1..=passed).contains(&span.first) && (1..=passed).contains(&span.last), "{span:?}");
            assert!((1..=passed).contains(&span.count), "{span:?} of {passed}");
        }
    }
    assert!(segments.iter().all(Option::is_none), "a session has no end");
}

/// What the server has to answer: it may repeat a secret only where that stood in the command that it answers.
#[derive(Default)]
struct Answers {
    greeted: bool,
    owed: usize,
    /// The last line was the secret in clear, or in base64.
    secret: bool,
    /// Something may have been answered by a block.
    blocks: bool,
}

impl Answers {
    fn follow(&mut self, letter: u8, said: &[u8]) {
        if matches!(letter, b'S' | b'E') {
            let status = said.starts_with(b"+OK") || said.starts_with(b"-ERR");
            self.owed = self.owed.saturating_sub(usize::from(status && self.greeted));
            self.greeted |= status;
        } else {
            self.owed += said.iter().filter(|&&octet| octet == b'\n').count();
        }
        self.secret = !matches!(letter, b'S' | b'E' | b'C' | b'D');
        let word = said.split(|&octet| octet == b' ' || octet == b'\r').next().unwrap_or_default();
        let lines = [&b"USER"[..], b"STAT", b"NOOP", b"QUIT", b"DELE", b"RSET", b"STLS"];
        self.blocks |= letter == b'C' && !lines.contains(&word.to_ascii_uppercase().as_slice());
    }

    const fn may_repeat(&self) -> bool {
        self.greeted && self.owed == 1 && self.secret && !self.blocks
    }
}

/// A packet on its way.
#[derive(Clone)]
struct Packet {
    from: Side,
    seq: u32,
    ack: u32,
    flags: u8,
    octets: Vec<u8>,
    /// So many of them were captured.
    kept: usize,
}

const SYN: u8 = 2;
const ACK: u8 = 16;

/// The capture of a script; `None` where the secret stands in a line of it that may be shown.
fn scripted(script: &[u8]) -> Option<Vec<u8>> {
    if recorder::holds_secret(&String::from_utf8_lossy(script)).is_some() {
        return None;
    }
    // Both numbers wrap around soon.
    let mut next = [u32::MAX - 9, u32::MAX - 30];
    let mut packets: Vec<Packet> = Vec::new();
    let mut send = |from: Side, flags: u8, octets: &[u8], packets: &mut Vec<Packet>| {
        let (me, other) = if from == Side::Client { (0, 1) } else { (1, 0) };
        let (seq, ack, kept) = (next[me], next[other], octets.len());
        packets.push(Packet { from, seq, ack, flags, octets: octets.to_vec(), kept });
        next[me] = seq.wrapping_add(octets.len() as u32).wrapping_add(u32::from(flags & (SYN | 1) != 0));
    };
    send(Side::Client, SYN, b"", &mut packets);
    send(Side::Server, SYN | ACK, b"", &mut packets);
    let mut answers = Answers::default();
    for line in script.split(|&octet| octet == b'\n') {
        let [letter, fate, text @ ..] = line else { continue };
        let (text, end) = match text.strip_suffix(b"\\") {
            Some(text) if matches!(letter, b'S' | b'E') => (text, &b""[..]),
            _ => (text, &b"\r\n"[..]),
        };
        let (from, said) = match (letter, recorder::planted(*letter)) {
            (_, Some(planted)) => (Side::Client, [planted.as_bytes(), end].concat()),
            (b'C', _) => (Side::Client, [text, end].concat()),
            (b'S', _) => (Side::Server, [text, end].concat()),
            (b'E', _) if answers.may_repeat() => (Side::Server, [b"-ERR hunter2horse", text, end].concat()),
            (b'F', _) => {
                send(Side::Client, ACK | 1, b"", &mut packets);
                continue;
            }
            _ => continue,
        };
        if packets.len() > PACKETS_MAX {
            break;
        }
        answers.follow(*letter, &said);
        let first = packets.len();
        match number(&[*fate], 0) {
            1 => {
                send(from, ACK, &said, &mut packets);
                packets.pop();
            }
            2 => {
                send(from, ACK, &said, &mut packets);
                packets.extend(packets.last().cloned());
            }
            3 => {
                for part in said.chunks(said.len() / 2 + 1) {
                    send(from, ACK, part, &mut packets);
                }
                packets[first..].reverse();
            }
            4 => {
                send(from, ACK, &said, &mut packets);
                packets[first].kept = said.len() / 2;
            }
            5 => said.chunks(5).for_each(|part| send(from, ACK, part, &mut packets)),
            6 => {
                said.chunks(7).for_each(|part| send(from, ACK, part, &mut packets));
                packets.remove(first);
            }
            7 => {
                send(from, ACK, &said, &mut packets);
                // The other side is said to have acknowledged it, and what comes after it.
                let last = packets.last().cloned()?;
                packets.push(Packet {
                    from: if from == Side::Client { Side::Server } else { Side::Client },
                    seq: last.ack,
                    ack: last.seq.wrapping_add(last.octets.len() as u32 + 3),
                    flags: ACK,
                    octets: Vec::new(),
                    kept: 0,
                });
            }
            8 => packets.clear(),
            // Captured before what came before it.
            9 => {
                send(from, ACK, &said, &mut packets);
                if let [.., before, last] = &mut packets[..] {
                    std::mem::swap(before, last);
                }
            }
            _ => send(from, ACK, &said, &mut packets),
        }
    }
    Some(file(&packets))
}

/// A pcap file of raw IPv4 packets.
fn file(packets: &[Packet]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    for (place, packet) in packets.iter().enumerate() {
        let (ends, ports) = match packet.from {
            Side::Client => ([192, 0, 2, 7, 192, 0, 2, 1], [0xc0, 0, 0, 110]),
            Side::Server => ([192, 0, 2, 1, 192, 0, 2, 7], [0, 110, 0xc0, 0]),
        };
        let whole = 40 + packet.octets.len();
        file.extend((place as u32).to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend((40 + packet.kept as u32).to_le_bytes());
        file.extend((whole as u32).to_le_bytes());
        file.extend([0x45, 0]);
        file.extend((whole as u16).to_be_bytes());
        file.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        file.extend(ends);
        file.extend(ports);
        file.extend(packet.seq.to_be_bytes());
        file.extend(packet.ack.to_be_bytes());
        file.extend([0x50, packet.flags, 0x20, 0, 0, 0, 0, 0]);
        file.extend(&packet.octets[..packet.kept]);
    }
    file
}
