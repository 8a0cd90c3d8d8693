//! Captures made by hand: what two parties say, as packets that a test may lose, repeat, swap or cut, in any kind of file.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LinuxSllPacketType, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};
use restante_diagram::{
    heard::{Heard, RecordKind, What},
    source::capture::{Capture, CaptureError, Options},
};
use restante_proto::dialogue::{Kind, Side};

/// The time of the first packet, in microseconds since 1970.
pub(crate) const STARTED_MICROSECONDS: u64 = 1_112_342_160_000_000;

/// A TCP segment on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) at: u64,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) flags: &'static str,
    pub(crate) octets: Vec<u8>,
}

/// Two parties and what they have said so far.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    client: SocketAddr,
    server: SocketAddr,
    next: [u32; 2],
    now: u64,
    pub(crate) packets: Vec<Packet>,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self::between("192.0.2.7:50312", "192.0.2.1:110")
    }

    pub(crate) fn between(client: &str, server: &str) -> Self {
        // Both wrap around soon.
        let next = [u32::MAX - 20, u32::MAX - 300];
        let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
        Self { client, server, next, now: STARTED_MICROSECONDS, packets: Vec::new() }
    }

    pub(crate) fn numbers(mut self, client: u32, server: u32) -> Self {
        self.next = [client, server];
        self
    }

    fn send(&mut self, from: Side, flags: &'static str, octets: &[u8]) -> &mut Self {
        let (me, other) = if from == Side::Client { (0, 1) } else { (1, 0) };
        let (source, destination) =
            if me == 0 { (self.client, self.server) } else { (self.server, self.client) };
        let ack = flags.contains('A').then_some(self.next[other]);
        let (at, seq) = (self.now, self.next[me]);
        self.packets.push(Packet { at, source, destination, seq, ack, flags, octets: octets.to_vec() });
        let virtual_octets = u32::from(flags.contains('S')) + u32::from(flags.contains('F'));
        self.next[me] = seq.wrapping_add(octets.len() as u32).wrapping_add(virtual_octets);
        self.now += 100;
        self
    }

    /// The three segments with which a connection begins.
    pub(crate) fn open(&mut self) -> &mut Self {
        self.send(Side::Client, "S", b"").send(Side::Server, "SA", b"").send(Side::Client, "A", b"")
    }

    /// The client says this, in one segment.
    pub(crate) fn c(&mut self, octets: impl AsRef<[u8]>) -> &mut Self {
        self.send(Side::Client, "PA", octets.as_ref())
    }

    /// The server says this, in one segment.
    pub(crate) fn s(&mut self, octets: impl AsRef<[u8]>) -> &mut Self {
        self.send(Side::Server, "PA", octets.as_ref())
    }

    /// This side says this, in segments of so many octets.
    pub(crate) fn in_pieces(&mut self, from: Side, octets: &[u8], piece: usize) -> &mut Self {
        for piece in octets.chunks(piece) {
            self.send(from, "A", piece);
        }
        self
    }

    /// A pure ACK.
    pub(crate) fn ack(&mut self, from: Side) -> &mut Self {
        self.send(from, "A", b"")
    }

    /// A segment with these flags.
    pub(crate) fn flags(&mut self, from: Side, flags: &'static str) -> &mut Self {
        self.send(from, flags, b"")
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, microseconds: u64) -> &mut Self {
        self.now += microseconds;
        self
    }

    /// The server closes, and then the client.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.flags(Side::Server, "FA").flags(Side::Client, "FA").ack(Side::Server)
    }

    /// The capture of it in the usual form.
    pub(crate) fn file(&self) -> Vec<u8> {
        File::default().of(&self.packets)
    }

    /// What is heard of it.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        hear(&self.file())
    }
}

/// A short session.
pub(crate) fn session() -> Talk {
    let mut talk = Talk::new();
    talk.open()
        .s("+OK X1 POP3 Server\r\n")
        .c("USER john.doe@anydomain.com\r\n")
        .s("+OK send your password\r\n")
        .c("PASS abcxyz\r\n")
        .s("+OK maildrop locked and ready\r\n")
        .c("STAT\r\n")
        .s("+OK 1 22\r\n")
        .c("RETR 1\r\n")
        .s("+OK 22 octets\r\nSubject: a\r\n")
        .s("\r\nhello.\r\n.\r\n")
        .c("QUIT\r\n")
        .s("+OK bye\r\n")
        .close();
    talk
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    Vlan,
    TwoVlans,
    Cooked,
    Cooked2,
    Null,
    Loop,
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pcap {
        nanoseconds: bool,
    },
    /// With the resolution of its clock as the file says it.
    Pcapng {
        resolution: u8,
    },
}

/// How packets are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) link: Link,
    pub(crate) format: Format,
    pub(crate) big_endian: bool,
    pub(crate) snap_octets: usize,
}

impl Default for File {
    fn default() -> Self {
        let format = Format::Pcap { nanoseconds: false };
        Self { link: Link::Ethernet, format, big_endian: false, snap_octets: 262_144 }
    }
}

impl File {
    fn u16(&self, number: u16) -> [u8; 2] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u32(&self, number: u32) -> [u8; 4] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    /// The file of these packets.
    pub(crate) fn of(&self, packets: &[Packet]) -> Vec<u8> {
        let mut file = self.head();
        packets.iter().for_each(|packet| self.packet(packet, &mut file));
        file
    }

    /// What stands before the first packet.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut file = Vec::new();
        match self.format {
            Format::Pcap { nanoseconds } => {
                file.extend(self.u32(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
                file.extend([self.u16(2), self.u16(4)].concat());
                file.extend([self.u32(0), self.u32(0), self.u32(self.snap_octets as u32)].concat());
                file.extend(self.u32(self.link.number()));
            }
            Format::Pcapng { resolution } => {
                let section = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
                file.extend(self.block(0x0a0d_0d0a, &section));
                // A block of a kind that nobody knows, and one that holds the names of hosts.
                file.extend(self.block(0x0bad_beef, b"12345678"));
                file.extend(self.block(4, &[0; 4]));
                file.extend(self.interface(self.link, resolution));
            }
        }
        file
    }

    pub(crate) fn interface(&self, link: Link, resolution: u8) -> Vec<u8> {
        let content = [
            &self.u16(link.number() as u16)[..],
            &self.u16(0),
            &self.u32(self.snap_octets as u32),
            &self.u16(9),
            &self.u16(1),
            &[resolution, 0, 0, 0],
            &[0; 4],
        ];
        self.block(1, &content.concat())
    }

    pub(crate) fn block(&self, kind: u32, content: &[u8]) -> Vec<u8> {
        let padding = vec![0; content.len().next_multiple_of(4) - content.len()];
        let octets = self.u32((12 + content.len() + padding.len()) as u32);
        [&self.u32(kind)[..], &octets, content, &padding, &octets].concat()
    }

    pub(crate) fn packet(&self, packet: &Packet, file: &mut Vec<u8>) {
        self.frame(0, packet.at, &self.link.frame(packet), file);
    }

    pub(crate) fn frame(&self, interface: u32, at: u64, frame: &[u8], file: &mut Vec<u8>) {
        let captured = &frame[..frame.len().min(self.snap_octets)];
        let (kept, all) = (self.u32(captured.len() as u32), self.u32(frame.len() as u32));
        match self.format {
            Format::Pcap { nanoseconds } => {
                file.extend(self.u32((at / 1_000_000) as u32));
                file.extend(self.u32((at % 1_000_000) as u32 * if nanoseconds { 1000 } else { 1 }));
                file.extend([kept, all].concat());
                file.extend(captured);
            }
            Format::Pcapng { resolution } => {
                let per_second = if resolution & 0x80 == 0 {
                    10_u128.pow(resolution.into())
                } else {
                    1_u128 << (resolution & 0x7f)
                };
                // Rounded up, so that reading it back gives the same microsecond.
                let ticks = (u128::from(at) * per_second).div_ceil(1_000_000) as u64;
                let head = [interface, (ticks >> 32) as u32, ticks as u32].map(|number| self.u32(number));
                let padding = captured.len().next_multiple_of(4) - captured.len();
                // An option behind the packet: what the interface thought of it.
                let behind = [&self.u16(2)[..], &self.u16(4), &self.u32(0), &[0; 4]].concat();
                let content =
                    [&head.concat(), &kept[..], &all, captured, &vec![0; padding], &behind].concat();
                file.extend(self.block(6, &content));
            }
        }
    }
}

impl Link {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ethernet,
        Self::Vlan,
        Self::TwoVlans,
        Self::Cooked,
        Self::Cooked2,
        Self::Null,
        Self::Loop,
        Self::Raw,
    ];

    const fn number(self) -> u32 {
        match self {
            Self::Ethernet | Self::Vlan | Self::TwoVlans => 1,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::Null => 0,
            Self::Loop => 108,
            Self::Raw => 101,
        }
    }

    /// The packet as it goes over this link.
    pub(crate) fn frame(self, packet: &Packet) -> Vec<u8> {
        let (hardware, vlan) = ([2, 0, 0, 0, 0, 1], |number| VlanId::try_new(number).unwrap());
        let ethernet = || PacketBuilder::ethernet2(hardware, hardware);
        let (source, destination) = (packet.source.ip(), packet.destination.ip());
        // What PacketBuilder has no link for is put in front of the IP packet.
        let raw = |before: &[u8]| {
            let tcp = match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    tcp(PacketBuilder::ipv4(source.octets(), destination.octets(), 64), packet)
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    tcp(PacketBuilder::ipv6(source.octets(), destination.octets(), 64), packet)
                }
                _ => unreachable!("one family"),
            };
            [before, &tcp].concat()
        };
        let kind: [u8; 2] = if source.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        macro_rules! over {
            ($link:expr) => {
                match (source, destination) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => {
                        tcp($link.ipv4(source.octets(), destination.octets(), 64), packet)
                    }
                    (IpAddr::V6(source), IpAddr::V6(destination)) => {
                        tcp($link.ipv6(source.octets(), destination.octets(), 64), packet)
                    }
                    _ => unreachable!("one family"),
                }
            };
        }
        match self {
            Self::Ethernet => {
                let mut frame = over!(ethernet());
                // The shortest frame has 60 octets: behind a shorter packet stands what is no part of it.
                frame.resize(frame.len().max(60), 0x2b);
                frame
            }
            Self::Vlan => over!(ethernet().single_vlan(vlan(7))),
            Self::TwoVlans => over!(ethernet().double_vlan(vlan(7), vlan(8))),
            Self::Cooked => {
                over!(PacketBuilder::linux_sll(LinuxSllPacketType::OTHERHOST, 6, [2, 0, 0, 0, 0, 1, 0, 0]))
            }
            Self::Cooked2 => {
                raw(&[&kind[..], &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat())
            }
            Self::Null => raw(&if source.is_ipv4() { 2_u32 } else { 10 }.to_le_bytes()),
            Self::Loop => raw(&if source.is_ipv4() { 2_u32 } else { 24 }.to_be_bytes()),
            Self::Raw => raw(&[]),
        }
    }
}

fn tcp(step: PacketBuilderStep<etherparse::IpHeaders>, packet: &Packet) -> Vec<u8> {
    let mut header = TcpHeader::new(packet.source.port(), packet.destination.port(), packet.seq, 8192);
    for flag in packet.flags.chars() {
        match flag {
            'S' => header.syn = true,
            'A' => header.ack = true,
            'P' => header.psh = true,
            'F' => header.fin = true,
            'R' => header.rst = true,
            _ => unreachable!("a flag"),
        }
    }
    header.acknowledgment_number = packet.ack.unwrap_or(0);
    // Options as most systems send them: two NOPs and a time stamp.
    header.set_options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap();
    let step = step.tcp_header(header);
    let mut octets = Vec::with_capacity(step.size(packet.octets.len()));
    step.write(&mut octets, &packet.octets).unwrap();
    octets
}

pub(crate) fn options() -> Options {
    Options { ports: vec![2110], body_start_max_octets: 16, only: None }
}

/// What is heard of a file that is given at once.
pub(crate) fn hear(file: &[u8]) -> Vec<Heard> {
    try_hear(file, file.len(), options()).unwrap()
}

/// What is heard of a file that is given in pieces.
pub(crate) fn try_hear(file: &[u8], piece: usize, options: Options) -> Result<Vec<Heard>, CaptureError> {
    let (mut capture, mut heard) = (Capture::new(options), Vec::new());
    for piece in file.chunks(piece.max(1)) {
        capture.push(piece, &mut heard)?;
    }
    capture.end(&mut heard)?;
    check(&heard);
    Ok(heard)
}

/// What holds for everything that is heard: sessions begin and end once, in order; segments are counted from 1; spans name
/// segments that passed.
fn check(heard: &[Heard]) {
    let (mut begun, mut ended) = (0, std::collections::BTreeSet::new());
    let mut segments = std::collections::BTreeMap::new();
    for Heard { session, what } in heard {
        if let What::Begin(_) = what {
            assert!(*session > begun, "{heard:#?}");
            begun = *session;
            continue;
        }
        assert!(*session <= begun && !ended.contains(session), "{heard:#?}");
        let passed = segments.entry(*session).or_insert(0);
        let span = match what {
            What::Said { observed, span } => {
                *passed += u32::from(matches!(observed.event.kind, Kind::Tcp(_)));
                *span
            }
            What::Records(records) => records.span,
            What::Unplaced { span, .. } => *span,
            What::End(_) => {
                ended.insert(*session);
                continue;
            }
            What::Begin(_) | What::Missing { .. } => continue,
        };
        let span = span.unwrap();
        assert!(span.count >= 1 && (1..=*passed).contains(&span.first) && (1..=*passed).contains(&span.last));
    }
    assert_eq!(ended.len(), begun_count(heard), "{heard:#?}");
}

fn begun_count(heard: &[Heard]) -> usize {
    heard.iter().filter(|heard| matches!(heard.what, What::Begin(_))).count()
}

/// All that was heard in words, one line each: `C: QUIT <9>` for a line in segment 9.
pub(crate) fn told(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(tell).collect()
}

/// The same without TCP segments, and without spans.
pub(crate) fn lines(heard: &[Heard]) -> Vec<String> {
    let no_segment = |heard: &&Heard| match &heard.what {
        What::Said { observed, .. } => !matches!(observed.event.kind, Kind::Tcp(_)),
        _ => true,
    };
    let told = heard.iter().filter(no_segment).map(tell);
    told.map(|line| line.split(" <").next().unwrap().to_owned()).collect()
}

fn tell(heard: &Heard) -> String {
    let side = |side: &Side| if *side == Side::Client { "C" } else { "S" };
    let seg = |span: &Option<restante_diagram::heard::Span>| {
        span.map_or_else(String::new, |span| match span.count {
            1 => format!(" <{}>", span.first),
            count => format!(" <{}-{} {count} {}>", span.first, span.last, span.octets),
        })
    };
    match &heard.what {
        What::Begin(opening) => format!(
            "begin {} {}{}",
            opening.client.as_deref().unwrap_or("?"),
            opening.server.as_deref().unwrap_or("?"),
            if opening.joined { " joined" } else { "" }
        ),
        What::Said { observed, span } => {
            let mut event = observed.event.clone();
            event.at = None;
            match (&event.kind, &observed.body) {
                (Kind::Tcp(_), _) => event.to_string(),
                (Kind::Body { .. }, Some(body)) if !body.whole => format!("{event} broken off{}", seg(span)),
                (Kind::Body { .. }, Some(body)) if !body.seen => format!("{event} with holes{}", seg(span)),
                _ => format!("{event}{}", seg(span)),
            }
        }
        What::Records(records) => {
            let kind = match &records.kind {
                RecordKind::ClientHello(facts) | RecordKind::ServerHello(facts) => {
                    let words = [&facts.version, &facts.cipher, &facts.name, &facts.alpn];
                    let words: Vec<_> = words.into_iter().flatten().map(|word| word.as_str()).collect();
                    let name = if matches!(records.kind, RecordKind::ClientHello(_)) {
                        "ClientHello"
                    } else {
                        "ServerHello"
                    };
                    format!("{name} {}", words.join(" "))
                }
                other => format!("{other:?}"),
            };
            format!(
                "{} TLS {kind} {}x{}{}",
                side(&records.from),
                records.count,
                records.octets,
                seg(&records.span)
            )
        }
        What::Missing { from, octets, .. } => format!("{} missing {octets}", side(from)),
        What::Unplaced { from, octets, span, .. } => format!("{} unplaced {octets}{}", side(from), seg(span)),
        What::End(ending) => format!("end {ending:?}"),
    }
}
