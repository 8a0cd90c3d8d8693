//! What only the kernel knows of a TCP connection: how much of what was sent has arrived, and when the peer was heard.
//!
//! This leaf crate exists because both facts need an `unsafe` call each; every other crate forbids it. Linux only.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

/// How a connection stands, as its kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Octets that were written and not yet acknowledged, sent or not.
    pub outstanding_octets: u64,
    /// Segments that were sent and not yet acknowledged: while there are some, a peer that is there is heard.
    pub in_flight_segments: u32,
    /// How long ago the peer last acknowledged anything.
    pub heard_ago: Duration,
}

/// How a connection stands.
///
/// ```
/// use std::{io::Write, net::{TcpListener, TcpStream}};
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// assert_eq!(restante_tcp::flow(&stream)?.outstanding_octets, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn flow(socket: &impl AsFd) -> io::Result<Flow> {
    let fd = socket.as_fd().as_raw_fd();
    let mut outstanding: libc::c_int = 0;
    // SAFETY: `fd` is open while `socket` is borrowed, and SIOCOUTQ (the number of TIOCOUTQ, tcp(7)) writes one int.
    if unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut outstanding) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `tcp_info` is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `fd` is open, and the kernel writes at most `length` octets, which are the size of `info`.
    let got = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Flow {
        outstanding_octets: u64::try_from(outstanding).unwrap_or(0),
        in_flight_segments: info.tcpi_unacked,
        heard_ago: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn what_the_peer_has_not_read_is_outstanding() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let piece = vec![0; 1 << 20];
        let mut written = 0;
        while let Ok(octets) = stream.write(&piece) {
            written += octets;
        }
        let before = flow(&stream).unwrap().outstanding_octets;
        assert!(before > 0 && before <= written as u64, "{before} of {written}");
        let mut buffer = vec![0; written];
        peer.read_exact(&mut buffer).unwrap();
        assert!(flow(&stream).unwrap().outstanding_octets < before);
    }

    #[test]
    fn what_is_no_tcp_socket_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(flow(&file).is_err());
    }
}
