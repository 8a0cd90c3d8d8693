//! Clients that come by a proxy: the header of the PROXY protocol, versions 1 and 2, by which it says who the client is
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>). Here it is read, in bounds of its own, and not an octet more; whose
//! headers are read at all, `server.rs` knows.
//!
//! Of version 2 the addresses count alone. What else it may carry, such as what the proxy agreed in TLS, is passed over: TLS that ends
//! at the proxy is clear text here.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::listen::canonical;

/// The longest header of version 1 in octets, its CRLF included (§2.1).
const LINE_MAX_OCTETS: usize = 107;
/// The longest header of version 2 in octets, with what it carries beside the addresses.
const BINARY_MAX_OCTETS: usize = 2048;
/// Where the length of version 2 has been read (§2.2).
const BINARY_HEAD_OCTETS: usize = 16;
/// As much as both versions have at least.
const BEGIN_OCTETS: usize = 12;
const LINE_BEGIN: &[u8] = b"PROXY ";
const BINARY_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// By whom a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// By itself.
    Nobody,
    /// By the proxy at this address.
    Proxy(IpAddr),
    /// It is a proxy, which looks whether the server is there or does not say for whom it comes.
    Itself,
}

impl Via {
    /// The proxy's address, where a client came by one.
    pub(crate) const fn proxy(self) -> Option<IpAddr> {
        match self {
            Self::Proxy(address) => Some(address),
            Self::Nobody | Self::Itself => None,
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The proxy comes for this client.
    Client(SocketAddr),
    /// It comes for itself (LOCAL), or for somebody who has no address (UNKNOWN, unix sockets).
    Itself,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The connection was closed before anything came: somebody looked whether the port is open.
    #[error("nothing came")]
    Nothing,
    #[error("it broke off")]
    BrokenOff,
    #[error("there is no header of the PROXY protocol")]
    Missing,
    #[error("it is too long")]
    TooLong,
    #[error("it is malformed")]
    Malformed,
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::BrokenOff,
            _ => Self::Io(error),
        }
    }
}

/// Reads a header, and nothing that comes behind it. The caller owns the clock.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Header, HeaderError> {
    let mut header = [0; BINARY_MAX_OCTETS];
    let mut held = 0;
    while held < BEGIN_OCTETS {
        held += match stream.read(&mut header[held..BEGIN_OCTETS]).await? {
            0 if held == 0 => return Err(HeaderError::Nothing),
            0 => return Err(HeaderError::BrokenOff),
            octets => octets,
        };
        let begins =
            |begin: &[u8]| header.iter().zip(begin).take(held).all(|(octet, expected)| octet == expected);
        if !begins(BINARY_BEGIN) && !begins(LINE_BEGIN) {
            return Err(HeaderError::Missing);
        }
    }
    if header.starts_with(BINARY_BEGIN) {
        stream.read_exact(&mut header[held..BINARY_HEAD_OCTETS]).await?;
        let more = usize::from(u16::from_be_bytes([header[14], header[15]]));
        let rest =
            header.get_mut(BINARY_HEAD_OCTETS..BINARY_HEAD_OCTETS + more).ok_or(HeaderError::TooLong)?;
        stream.read_exact(rest).await?;
        return binary(&header[..BINARY_HEAD_OCTETS + more]);
    }
    while !header[..held].ends_with(b"\n") {
        if held == LINE_MAX_OCTETS {
            return Err(HeaderError::TooLong);
        }
        let room = &mut header[held..LINE_MAX_OCTETS];
        let there = stream.peek(room).await?;
        let line = room.iter().take(there).position(|octet| *octet == b'\n').map_or(there, |end| end + 1);
        if line == 0 {
            return Err(HeaderError::BrokenOff);
        }
        stream.read_exact(&mut room[..line]).await?;
        held += line;
    }
    text(&header[..held])
}

fn text(header: &[u8]) -> Result<Header, HeaderError> {
    let parsed = v1::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
    // Whole, and not up to a first CR.
    if parsed.header.len() != header.len() {
        return Err(HeaderError::Malformed);
    }
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(at) => client(at.source_address.into(), at.source_port),
        v1::Addresses::Tcp6(at) => client(at.source_address.into(), at.source_port),
        v1::Addresses::Unknown => Header::Itself,
    })
}

fn binary(header: &[u8]) -> Result<Header, HeaderError> {
    // Version 2, LOCAL: whatever addresses follow, they are passed over.
    if header.get(BINARY_BEGIN.len()) == Some(&0x20) {
        return Ok(Header::Itself);
    }
    let parsed = v2::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
    Ok(match parsed.addresses {
        v2::Addresses::IPv4(_) | v2::Addresses::IPv6(_) if parsed.protocol == v2::Protocol::Datagram => {
            return Err(HeaderError::Malformed);
        }
        v2::Addresses::IPv4(at) => client(at.source_address.into(), at.source_port),
        v2::Addresses::IPv6(at) => client(at.source_address.into(), at.source_port),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Header::Itself,
    })
}

fn client(address: IpAddr, port: u16) -> Header {
    Header::Client(canonical(SocketAddr::new(address, port)))
}

/// Addresses that begin alike, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    #[error(
        "names are not looked up; write an address or a network, such as \"127.0.0.1\" or \"10.0.0.0/8\""
    )]
    Address,
    /// What stands behind it is no length.
    #[error("behind the slash stands how many bits count, up to 32 (IPv4) or 128 (IPv6)")]
    Bits,
    /// Bits are set that do not count.
    #[error("bits are set behind those that count; is the length right?")]
    HostBits,
}

impl Network {
    /// Whether this address is in it. IPv4 addresses in IPv6 form are IPv4 addresses.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((here, width), (there, other)) = (number(self.address), number(address.to_canonical()));
        width == other && (here ^ there).leading_zeros() >= u32::from(self.bits)
    }
}

impl Network {
    /// Whether it is so large that it holds machines of people who have nothing to do with each other: more than any network of
    /// one's own (10.0.0.0/8, fc00::/7).
    pub const fn is_vast(&self) -> bool {
        let least = if self.address.is_ipv4() { 8 } else { 7 };
        self.bits < least
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let (number, width) = number(address);
        let bits = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|octet| octet.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= width).ok_or(NetworkError::Bits)?
            }
            Some(_) => return Err(NetworkError::Bits),
        };
        match number.checked_shl(bits.into()).unwrap_or(0) {
            0 => Ok(Self { address, bits }),
            _ => Err(NetworkError::HostBits),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// An address as a number whose first bit is the address's, and how many bits it has.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_alike() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let holds = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "::1"), "one family is not the other");
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("::/0", "::1"));
        assert_eq!(network("10.0.0.0/8").to_string(), "10.0.0.0/8");
        for (text, wrong) in [
            ("proxy.example.org", NetworkError::Address),
            ("", NetworkError::Address),
            ("10.0.0.0/33", NetworkError::Bits),
            ("10.0.0.0/+8", NetworkError::Bits),
            ("10.0.0.0/", NetworkError::Bits),
            ("10.0.0.1/8", NetworkError::HostBits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(wrong), "{text}");
        }
    }

    #[test]
    fn a_network_of_ones_own_is_not_vast() {
        let is_vast = |text: &str| text.parse::<Network>().unwrap().is_vast();
        assert!(["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3"].into_iter().all(is_vast));
        assert!(!["10.0.0.0/8", "fc00::/7", "192.0.2.1", "::1"].into_iter().any(is_vast));
    }

    #[test]
    fn any_octets_are_a_header_or_none() {
        // Each octet of good headers, changed to each other one.
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 50312 110\r\n".to_vec();
        let mut octets = BINARY_BEGIN.to_vec();
        octets.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0xc4, 0x88, 0, 110]);
        assert_eq!(text(&line).unwrap(), Header::Client("[2001:db8::1]:50312".parse().unwrap()));
        assert_eq!(binary(&octets).unwrap(), Header::Client("192.0.2.1:50312".parse().unwrap()));
        for (good, parse) in [(line, text as fn(&[u8]) -> _), (octets, binary)] {
            for place in 0..good.len() {
                for octet in 0..=u8::MAX {
                    let mut changed = good.clone();
                    changed[place] = octet;
                    let _any: Result<Header, HeaderError> = parse(&changed);
                }
                let _cut: Result<Header, HeaderError> = parse(&good[..place]);
            }
        }
    }
}
