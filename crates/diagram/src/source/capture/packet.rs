//! A packet taken apart, down to its TCP segment: link layer, VLAN tags, IPv4 or IPv6, TCP (RFC 9293 §3.1). `etherparse`
//! does the layers below TCP; link types that it does not have are a few octets to step over.

use std::net::SocketAddr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, ip_number};
use restante_proto::dialogue::{Flag, Flags};

/// The link types that are read, by their numbers in files (<https://www.tcpdump.org/linktypes.html>).
const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW_DLT: u32 = 12;
const RAW_DLT_BSD: u32 = 14;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const LINUX_COOKED: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_COOKED_2: u32 = 276;

/// The extension headers of IPv6, by their numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// The length of a TCP header without options, in octets.
const TCP_HEADER_OCTETS: usize = 20;

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    /// Counts only with the flag ACK.
    pub(super) ack: u32,
    pub(super) flags: Flags,
    /// What it carries, as far as that was captured.
    pub(super) octets: &'a [u8],
    /// How many octets more it carried.
    pub(super) lacking: u32,
}

impl Segment<'_> {
    /// How many octets it carried.
    pub(super) fn carried(&self) -> u32 {
        u32::try_from(self.octets.len()).unwrap_or(u32::MAX).saturating_add(self.lacking)
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A piece of an IP packet that does not hold the beginning of a segment. IP is not put together again: TCP keeps
    /// its segments from being cut up (RFC 9293 §3.7.5), and octets that lack are seen as such.
    Fragment,
    /// Something else, or not enough of it to tell.
    Other,
}

/// Whether packets of this link type are read.
pub(super) const fn is_known(link: u32) -> bool {
    matches!(
        link,
        NULL | ETHERNET | RAW_DLT | RAW_DLT_BSD | RAW | LOOP | LINUX_COOKED | IPV4 | IPV6 | LINUX_COOKED_2
    )
}

/// Takes a packet apart.
pub(super) fn take_apart(link: u32, octets: &[u8]) -> Content<'_> {
    let cooked = |kind: usize, header: usize| {
        let kind = octets.get(kind..)?.first_chunk::<2>()?;
        Some(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(*kind)), octets.get(header..)?))
    };
    let sliced = match link {
        ETHERNET => LaxSlicedPacket::from_ethernet(octets).ok(),
        // Which IP it is stands in its first octet too.
        NULL | LOOP => octets.get(4..).and_then(|packet| LaxSlicedPacket::from_ip(packet).ok()),
        RAW_DLT | RAW_DLT_BSD | RAW | IPV4 | IPV6 => LaxSlicedPacket::from_ip(octets).ok(),
        LINUX_COOKED => cooked(14, 16),
        LINUX_COOKED_2 => cooked(0, 20),
        _ => None,
    };
    sliced.as_ref().and_then(ip).unwrap_or(Content::Other)
}

fn ip<'a>(sliced: &LaxSlicedPacket<'a>) -> Option<Content<'a>> {
    let payload = sliced.ip_payload()?;
    let held = payload.payload.len();
    // How long the packet was says IP itself; where it does not (0: the network card was to fill it in), what was
    // captured is all there is.
    let (source, destination, whole, held) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let authentication = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
            if header.fragments_offset().value() > 0 {
                return Some(Content::Fragment);
            }
            let held = header.slice().len() + authentication + held;
            (header.source_addr().into(), header.destination_addr().into(), header.total_len().into(), held)
        }
        LaxNetSlice::Ipv6(ip) => {
            let (header, extensions) = (ip.header(), ip.extensions().slice());
            if payload.fragmented && is_later_fragment(header.next_header().0, extensions) {
                return Some(Content::Fragment);
            }
            let whole = usize::from(header.payload_length());
            let held = extensions.len() + held;
            (header.source_addr().into(), header.destination_addr().into(), whole, held)
        }
        LaxNetSlice::Arp(_) => return None,
    };
    if payload.ip_number != ip_number::TCP {
        return None;
    }
    // The rest of a fragment that was cut off is found to lack when it is acknowledged.
    let lacking = whole.saturating_sub(held);
    tcp(payload.payload, lacking, |source_port, destination_port| {
        (SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port))
    })
    .map(Content::Tcp)
}

/// Whether extension headers (RFC 8200 §4) say that this is no first fragment. They are walked through here, because the
/// iterator of `etherparse` 0.21 reads past their end where the packet is damaged.
fn is_later_fragment(first: u8, extensions: &[u8]) -> bool {
    let (mut kind, mut rest) = (first, extensions);
    while let [next, length, o0, o1, ..] = *rest {
        let octets = match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(length) + 1) * 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            FRAGMENT if u16::from_be_bytes([o0, o1]) >> 3 > 0 => return true,
            FRAGMENT => 8,
            _ => break,
        };
        kind = next;
        rest = rest.get(octets..).unwrap_or_default();
    }
    false
}

/// Reads the header itself: `etherparse` gives up where the capture cut the options off, which nobody needs here.
fn tcp(
    payload: &[u8],
    lacking: usize,
    addresses: impl FnOnce(u16, u16) -> (SocketAddr, SocketAddr),
) -> Option<Segment<'_>> {
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, bits, ..] = *payload else { return None };
    let header = usize::from(offset >> 4) * 4;
    let carried = (payload.len() + lacking).checked_sub(header)?;
    if header < TCP_HEADER_OCTETS {
        return None;
    }
    let octets = payload.get(header..).unwrap_or_default();
    let lacking = u32::try_from(carried - octets.len()).ok()?;
    let mut flags = Flags::default();
    for (bit, flag) in
        [(0x01, Flag::Fin), (0x02, Flag::Syn), (0x04, Flag::Rst), (0x08, Flag::Psh), (0x10, Flag::Ack)]
    {
        if bits & bit != 0 {
            flags = flags.with(flag);
        }
    }
    let (source, destination) = addresses(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let (seq, ack) = (u32::from_be_bytes([q0, q1, q2, q3]), u32::from_be_bytes([a0, a1, a2, a3]));
    Some(Segment { source, destination, seq, ack, flags, octets, lacking })
}
