//! The file: octets in pieces of any size → packets. Framing and its bounds are here, and what is inside a block is read
//! by `pcap-parser`; a block of an unknown kind is read over without being held.

use std::time::Duration;

use pcap_parser::{
    InterfaceDescriptionBlock, OptionCode, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_pcap_frame,
    parse_pcap_frame_be, parse_pcap_header, parse_sectionheaderblock, parse_simplepacketblock_be,
    parse_simplepacketblock_le, traits::PcapNGPacketBlock as _,
};

use super::{
    error::{CaptureError, Problem},
    packet,
};

/// The longest packet, in octets. Wireshark's own bound is 256 KiB; kernels put up to 512 KiB together (BIG TCP).
pub(super) const PACKET_MAX_OCTETS: u32 = 1 << 20;
/// The longest block that is read, in octets: a packet with its options. Others may be longer: they are read over.
pub(super) const BLOCK_MAX_OCTETS: u32 = PACKET_MAX_OCTETS + (64 << 10);
/// The most interfaces of one section of a pcapng file.
pub(super) const INTERFACES_MAX: usize = 4096;

/// The length of a pcap file's header, and of the one of each packet, in octets.
const PCAP_HEADER_OCTETS: usize = 24;
const PCAP_PACKET_HEADER_OCTETS: usize = 16;
/// What must be known of a block before its length is: kind, length, and in a section's header the octet order.
const BLOCK_HEADER_OCTETS: usize = 8;
const SECTION_HEADER_OCTETS: usize = 12;
/// The frame of a block alone.
const BLOCK_MIN_OCTETS: u32 = 12;

const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const LITTLE_ENDIAN: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
const BIG_ENDIAN: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// The four beginnings of pcap: octet order, and whether times are in nanoseconds.
const PCAP: [([u8; 4], bool, bool); 4] = [
    ([0xd4, 0xc3, 0xb2, 0xa1], false, false),
    ([0xa1, 0xb2, 0xc3, 0xd4], true, false),
    ([0x4d, 0x3c, 0xb2, 0xa1], false, true),
    ([0xa1, 0xb2, 0x3c, 0x4d], true, true),
];
/// Beginnings of compressed files, and what unpacks them.
const COMPRESSED: [(&[u8], &str, &str); 3] = [
    (&[0x1f, 0x8b], "gzip", "gunzip -c"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstdcat"),
    (&[0xfd, b'7', b'z', b'X'], "xz", "xzcat"),
];

/// A packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// When, since 1970; blocks without a time have none.
    pub(super) at: Option<Duration>,
    /// What its first octets are.
    pub(super) link: u32,
    /// Its octets, as many as were kept.
    pub(super) octets: &'a [u8],
}

/// Whether a file that begins so is a capture, or one that is compressed; its first four octets decide.
pub(super) fn looks_like(first: &[u8]) -> bool {
    first.starts_with(&SECTION)
        || PCAP.iter().any(|(magic, ..)| first.starts_with(magic))
        || COMPRESSED.iter().any(|(magic, ..)| first.starts_with(magic))
}

/// Reads a capture as it comes.
#[derive(Default)]
pub(super) struct Reader {
    form: Form,
    /// The beginning of what is not whole yet.
    held: Vec<u8>,
    /// Where `held` begins in the file.
    at: u64,
    /// So many octets are read over before anything else.
    skip: u64,
}

#[derive(Default)]
enum Form {
    /// Nothing was read yet.
    #[default]
    Unknown,
    Pcap {
        big_endian: bool,
        nanoseconds: bool,
        link: u32,
    },
    Pcapng {
        big_endian: bool,
        interfaces: Vec<Interface>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap_octets: u32,
    /// Units of its clock in a second.
    per_second: u64,
    /// Seconds to add.
    offset: i64,
}

/// What stands at the front of the input.
enum Unit {
    /// It is known when there are so many octets.
    More(usize),
    /// Something of so many octets, which are there.
    Whole(usize),
    /// Something of so many octets that nobody reads.
    Over(u64),
}

impl Reader {
    /// Takes the next piece of the file, and hands on its packets.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        sink: &mut dyn FnMut(Packet<'_>),
    ) -> Result<(), CaptureError> {
        let mut rest = piece;
        loop {
            let over = self.skip.min(rest.len() as u64);
            self.skip -= over;
            self.at += over;
            rest = rest.get(usize::try_from(over).unwrap_or(usize::MAX)..).unwrap_or_default();
            if self.held.is_empty() {
                if rest.is_empty() {
                    return Ok(());
                }
                // Packets are read where they lie.
                match self.unit(rest)? {
                    Unit::More(_) => {
                        self.held.extend_from_slice(rest);
                        return Ok(());
                    }
                    Unit::Over(octets) => self.skip = octets,
                    Unit::Whole(octets) => {
                        let (unit, behind) = rest.split_at(octets);
                        self.read(unit, sink)?;
                        self.at += octets as u64;
                        rest = behind;
                    }
                }
                continue;
            }
            match self.unit(&self.held)? {
                Unit::More(_) if rest.is_empty() => return Ok(()),
                Unit::More(wanted) => {
                    let (next, behind) =
                        rest.split_at(wanted.saturating_sub(self.held.len()).min(rest.len()));
                    self.held.extend_from_slice(next);
                    rest = behind;
                }
                Unit::Over(octets) => {
                    let held = self.held.len() as u64;
                    self.held.clear();
                    self.at += held;
                    self.skip = octets.saturating_sub(held);
                }
                Unit::Whole(octets) => {
                    let mut held = std::mem::take(&mut self.held);
                    let read = self.read(&held, sink);
                    held.clear();
                    self.held = held;
                    read?;
                    self.at += octets as u64;
                }
            }
        }
    }

    /// The file has ended; tells whether it did in the middle of something.
    pub(super) fn end(&self) -> Result<bool, CaptureError> {
        match (&self.form, self.at, self.held.len()) {
            (Form::Unknown, 0, 0) => Err(self.error(Problem::Empty)),
            (Form::Unknown, ..) => Err(self.error(Problem::NoCapture)),
            (_, _, held) => Ok(held > 0 || self.skip > 0),
        }
    }

    const fn error(&self, problem: Problem) -> CaptureError {
        CaptureError { at: self.at, problem }
    }

    fn unit(&self, front: &[u8]) -> Result<Unit, CaptureError> {
        let whole =
            |octets: usize| if front.len() < octets { Unit::More(octets) } else { Unit::Whole(octets) };
        match &self.form {
            Form::Unknown => {
                let Some(magic) = front.first_chunk::<4>() else { return Ok(Unit::More(4)) };
                if let Some((_, format, tool)) =
                    COMPRESSED.iter().find(|(magic, ..)| front.starts_with(magic))
                {
                    return Err(self.error(Problem::Compressed(format, tool)));
                }
                if *magic == SECTION {
                    return self.block(front, false);
                }
                if PCAP.iter().any(|(known, ..)| known == magic) {
                    return Ok(whole(PCAP_HEADER_OCTETS));
                }
                Err(self.error(Problem::NoCapture))
            }
            Form::Pcap { big_endian, .. } => {
                let Some(captured) = front.get(8..12).and_then(|octets| number(octets, *big_endian)) else {
                    return Ok(Unit::More(PCAP_PACKET_HEADER_OCTETS));
                };
                if captured > PACKET_MAX_OCTETS {
                    return Err(self.error(Problem::PacketLength(captured, self.at)));
                }
                Ok(whole(PCAP_PACKET_HEADER_OCTETS + captured as usize))
            }
            Form::Pcapng { big_endian, .. } => self.block(front, *big_endian),
        }
    }

    fn block(&self, front: &[u8], big_endian: bool) -> Result<Unit, CaptureError> {
        let Some(kind) = front.first_chunk::<4>() else { return Ok(Unit::More(BLOCK_HEADER_OCTETS)) };
        let big_endian = if *kind == SECTION {
            match front.get(8..12) {
                None => return Ok(Unit::More(SECTION_HEADER_OCTETS)),
                Some(order) if order == LITTLE_ENDIAN => false,
                Some(order) if order == BIG_ENDIAN => true,
                Some(_) => return Err(self.error(Problem::Block(self.at))),
            }
        } else {
            big_endian
        };
        let Some(octets) = front.get(4..8).and_then(|octets| number(octets, big_endian)) else {
            return Ok(Unit::More(BLOCK_HEADER_OCTETS));
        };
        if octets < BLOCK_MIN_OCTETS || !octets.is_multiple_of(4) {
            return Err(self.error(Problem::BlockLength(octets, self.at)));
        }
        if *kind != SECTION && Kind::of(*kind, big_endian) == Kind::Other {
            return Ok(Unit::Over(octets.into()));
        }
        if octets > BLOCK_MAX_OCTETS {
            return Err(self.error(Problem::BlockLength(octets, self.at)));
        }
        let octets = octets as usize;
        Ok(if front.len() < octets { Unit::More(octets) } else { Unit::Whole(octets) })
    }

    /// Reads a unit that is whole.
    fn read(&mut self, unit: &[u8], sink: &mut dyn FnMut(Packet<'_>)) -> Result<(), CaptureError> {
        let damaged = self.error(Problem::Block(self.at));
        match &mut self.form {
            Form::Unknown if !unit.starts_with(&SECTION) => {
                let (_, header) = parse_pcap_header(unit).map_err(|_| self.error(Problem::NoCapture))?;
                if header.version_major != 2 {
                    return Err(self.error(Problem::Version(header.version_major)));
                }
                // The upper half tells how long the checksums are.
                let link = header.network.0.cast_unsigned() & 0xffff;
                if !packet::is_known(link) {
                    return Err(self.error(Problem::LinkType(link)));
                }
                let (big_endian, nanoseconds) = (header.is_bigendian(), header.is_nanosecond_precision());
                self.form = Form::Pcap { big_endian, nanoseconds, link };
                Ok(())
            }
            Form::Unknown => self.section(unit),
            Form::Pcapng { .. } if unit.starts_with(&SECTION) => self.section(unit),
            Form::Pcap { big_endian, nanoseconds, link } => {
                let frame = if *big_endian { parse_pcap_frame_be(unit) } else { parse_pcap_frame(unit) };
                let (_, frame) = frame.map_err(|_| damaged)?;
                let unit_nanoseconds = if *nanoseconds { 1 } else { 1000 };
                let fraction = Duration::from_nanos(u64::from(frame.ts_usec) * unit_nanoseconds);
                let at = Duration::from_secs(frame.ts_sec.into()) + fraction;
                sink(Packet { at: Some(at), link: *link, octets: frame.data });
                Ok(())
            }
            Form::Pcapng { big_endian, interfaces } => {
                let big_endian = *big_endian;
                let kind = unit.first_chunk::<4>().map_or(Kind::Other, |kind| Kind::of(*kind, big_endian));
                match kind {
                    Kind::Interface => {
                        let parse = if big_endian {
                            parse_interfacedescriptionblock_be
                        } else {
                            parse_interfacedescriptionblock_le
                        };
                        let (_, block) = parse(unit).map_err(|_| damaged)?;
                        if interfaces.len() == INTERFACES_MAX {
                            return Err(self.error(Problem::Interfaces));
                        }
                        interfaces.push(Interface::of(&block, big_endian).ok_or(damaged)?);
                    }
                    Kind::Enhanced => {
                        let parse = if big_endian {
                            parse_enhancedpacketblock_be
                        } else {
                            parse_enhancedpacketblock_le
                        };
                        let (_, block) = parse(unit).map_err(|_| damaged)?;
                        let interface = interfaces.get(block.if_id as usize);
                        let Some(interface) = interface else {
                            return Err(self.error(Problem::Interface(block.if_id)));
                        };
                        let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                        let at = Some(interface.time(ticks));
                        sink(Packet { at, link: interface.link, octets: block.packet_data() });
                    }
                    Kind::Simple => {
                        let parse =
                            if big_endian { parse_simplepacketblock_be } else { parse_simplepacketblock_le };
                        let (_, block) = parse(unit).map_err(|_| damaged)?;
                        let Some(interface) = interfaces.first() else {
                            return Err(self.error(Problem::Interface(0)));
                        };
                        let captured = block.origlen.min(interface.snap_octets) as usize;
                        let octets = block.data.get(..captured).unwrap_or(block.data);
                        sink(Packet { at: None, link: interface.link, octets });
                    }
                    Kind::Other => {}
                }
                Ok(())
            }
        }
    }

    fn section(&mut self, unit: &[u8]) -> Result<(), CaptureError> {
        let (_, block) = parse_sectionheaderblock(unit).map_err(|_| self.error(Problem::Block(self.at)))?;
        if block.major_version != 1 {
            return Err(self.error(Problem::Version(block.major_version)));
        }
        self.form = Form::Pcapng { big_endian: block.big_endian(), interfaces: Vec::new() };
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Interface,
    Simple,
    Enhanced,
    Other,
}

impl Kind {
    fn of(kind: [u8; 4], big_endian: bool) -> Self {
        match number(&kind, big_endian) {
            Some(1) => Self::Interface,
            Some(3) => Self::Simple,
            Some(6) => Self::Enhanced,
            _ => Self::Other,
        }
    }
}

impl Interface {
    /// `None` where the resolution of its clock is none.
    fn of(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Option<Self> {
        let option = |code| block.options.iter().find(|option| option.code == code);
        // `pcap-parser` takes every power of two for illegal, and reads the offset as little-endian alone.
        let per_second = match option(OptionCode::IfTsresol).and_then(|option| option.value().first()) {
            None => 1_000_000,
            Some(power @ 0..=0x7f) => 10_u64.checked_pow((*power).into())?,
            Some(power) => 1_u64.checked_shl((power & 0x7f).into())?,
        };
        let offset = option(OptionCode::IfTsoffset).and_then(|option| option.value().first_chunk::<8>());
        let offset = offset.map_or(0, |octets| {
            if big_endian { i64::from_be_bytes(*octets) } else { i64::from_le_bytes(*octets) }
        });
        let link = u32::from(u16::try_from(block.linktype.0).unwrap_or(u16::MAX));
        let snap_octets = if block.snaplen == 0 { u32::MAX } else { block.snaplen };
        Some(Self { link, snap_octets, per_second, offset })
    }

    fn time(&self, ticks: u64) -> Duration {
        let seconds = (ticks / self.per_second).saturating_add_signed(self.offset);
        let fraction = u128::from(ticks % self.per_second) * 1_000_000_000 / u128::from(self.per_second);
        Duration::new(seconds, u32::try_from(fraction).unwrap_or(0))
    }
}

fn number(octets: &[u8], big_endian: bool) -> Option<u32> {
    let octets = *octets.first_chunk::<4>()?;
    Some(if big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
}
