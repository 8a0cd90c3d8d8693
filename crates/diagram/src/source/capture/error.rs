//! Why a capture cannot be read: what is wrong, at which octet of the file, and what to do about it.

use super::file::{BLOCK_MAX_OCTETS, INTERFACES_MAX, PACKET_MAX_OCTETS};

/// A capture that cannot be read, or not from some place on. What came before that place has been heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("octet {at} of the capture: {problem}")]
pub struct CaptureError {
    /// The octet of the file at which the trouble begins, from 0.
    pub at: u64,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong with a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing in it.
    #[error(
        "it is empty; was tcpdump stopped before it wrote anything? give it -U, which writes every packet at once"
    )]
    Empty,
    /// It is compressed.
    #[error("it is compressed with {0}; unpack it first, for example: {1} FILE | restante diagram -")]
    Compressed(&'static str, &'static str),
    /// It is something else.
    #[error("this is no packet capture; pcap and pcapng are read, as tcpdump -w and Wireshark write them")]
    NoCapture,
    /// It is of a version that nobody has written yet.
    #[error("version {0} of the format is not known; save the capture anew with Wireshark or editcap")]
    Version(u16),
    /// Its packets come from a kind of network that is not known.
    #[error(
        "its packets are of link type {0}, which is not read; Ethernet, Linux cooked, loopback and raw IP are: capture on another interface"
    )]
    LinkType(u32),
    /// A packet is longer than any packet.
    #[error(
        "a packet of {0} octets cannot be, since none has more than {PACKET_MAX_OCTETS}; the file is damaged from here on, and what comes before can be cut out: head -c {1}"
    )]
    PacketLength(u32, u64),
    /// A block is shorter than its own frame, longer than any, or not a multiple of four octets.
    #[error(
        "a block of {0} octets cannot be (12 to {BLOCK_MAX_OCTETS}, in steps of four); the file is damaged from here on, and what comes before can be cut out: head -c {1}"
    )]
    BlockLength(u32, u64),
    /// A block does not hold what its kind must hold.
    #[error("a block that is damaged inside; what comes before can be cut out: head -c {0}")]
    Block(u64),
    /// A packet belongs to an interface that was not described.
    #[error("a packet of interface {0}, which the file has not described before; the file is damaged")]
    Interface(u32),
    /// There are more interfaces than are kept.
    #[error(
        "more than {INTERFACES_MAX} interfaces in one section; save the part with POP3 alone: tshark -r FILE -Y pop -w NEW"
    )]
    Interfaces,
}
