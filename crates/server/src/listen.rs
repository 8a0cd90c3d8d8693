//! Listening sockets, and what is set on every connection: no waiting for full segments, and a dead peer found out
//! within two minutes ([`DEAD_AFTER`]), so that its lock is not held for longer.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tracing::warn;

use crate::settings::Settings;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;
/// After so long a peer that answers nothing is given up.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(120);
/// After so long without a segment a peer is asked whether it is there, four times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// What is spoken on a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Clear text that can be upgraded with STLS (RFC 2595).
    Pop3,
    /// TLS from the first octet (RFC 8314).
    Pop3s,
    /// As [`Self::Pop3`], behind a header of the PROXY protocol. Only places have it, no session does.
    ProxiedPop3,
    /// As [`Self::Pop3s`], likewise.
    ProxiedPop3s,
}

impl Port {
    /// What is spoken behind the header of a proxy, if there is to be one.
    pub const fn spoken(self) -> Self {
        match self {
            Self::Pop3 | Self::ProxiedPop3 => Self::Pop3,
            Self::Pop3s | Self::ProxiedPop3s => Self::Pop3s,
        }
    }

    /// Whether a header of the PROXY protocol comes first.
    pub const fn is_proxied(self) -> bool {
        matches!(self, Self::ProxiedPop3 | Self::ProxiedPop3s)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
            Self::ProxiedPop3 => "proxied pop3",
            Self::ProxiedPop3s => "proxied pop3s",
        })
    }
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What failed.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or CAP_NET_BIND_SERVICE; under systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::AddrInUse => " (another program listens there: `ss -ltnp` names it)",
        _ => "",
    }
}

/// A socket to listen on: what is spoken there, and where.
pub(crate) type Place = (Port, SocketAddr);

/// The places of a configuration, each once. `[::]` means IPv4 too, which gets a socket of its own, so that no place
/// depends on which others there are; but for port 0, where the system would choose two ports.
pub(crate) fn places(settings: &Settings) -> BTreeSet<Place> {
    let lists = [
        (Port::Pop3, &settings.pop3),
        (Port::Pop3s, &settings.pop3s),
        (Port::ProxiedPop3, &settings.proxied_pop3),
        (Port::ProxiedPop3s, &settings.proxied_pop3s),
    ];
    let all = lists.into_iter().flat_map(|(port, list)| list.iter().map(move |address| (port, *address)));
    all.flat_map(|(port, address)| {
        let both = address.ip() == Ipv6Addr::UNSPECIFIED && address.port() != 0;
        let v4 = both.then(|| (port, SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))));
        [Some((port, address)), v4].into_iter().flatten()
    })
    .collect()
}

/// Listens at a place; `None` where it is `[::]` on a machine without IPv6.
pub(crate) fn bind((_, address): Place) -> Result<Option<TcpListener>, BindError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(address.port() != 0)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    match listen() {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && address.port() != 0 && no_ipv6(&error) => {
            warn!(%address, "this machine has no IPv6: listening for IPv4 only");
            Ok(None)
        }
        Err(source) => Err(BindError { address, source }),
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// «Address family not supported», which has no kind of its own. Linux.
const EAFNOSUPPORT: i32 = 97;

/// Sets what every connection has. Linux hands it down from the listening socket, which saves each connection six calls.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))
}

/// The one form of an address: `::ffff:127.0.0.1` is 127.0.0.1.
pub(crate) const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn every_connection_has_what_the_listening_socket_has() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = bind((Port::Pop3, any)).unwrap().unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(DEAD_AFTER));
    }

    #[test]
    fn no_place_depends_on_the_others() {
        let plan = |pop3: &[&str], pop3s: &[&str]| {
            let parse = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
            let settings = Settings { pop3: parse(pop3), pop3s: parse(pop3s), ..Settings::default() };
            places(&settings).iter().map(|(port, address)| format!("{port} {address}")).collect::<Vec<_>>()
        };
        let both = ["pop3 0.0.0.0:110", "pop3 [::]:110"];
        assert_eq!(plan(&["[::]:110"], &[]), both);
        assert_eq!(plan(&["0.0.0.0:110", "[::]:110", "[::]:110"], &[]), both);
        assert_eq!(plan(&["[::1]:110"], &["[::]:0"]), ["pop3 [::1]:110", "pop3s [::]:0"]);
    }
}
