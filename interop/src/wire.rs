//! A POP3 session as plain as can be, on a bare socket: what a server has really sent, octet by octet. What our client
//! delivers is compared with it, so that a server's own way with a message is not held against the client.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
};

use crate::{PASSWORD, Peer, Security, poll};

/// A session in clear, signed in.
struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    fn open(peer: &Peer) -> Self {
        let port = peer.pop3_port(Security::Plain);
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.set_read_timeout(Some(poll::DEADLINE)).expect("it is a socket");
        let mut session = Self { stream: BufReader::new(stream) };
        session.read_status();
        session.command(&format!("USER {}", peer.user()));
        session.command(&format!("PASS {PASSWORD}"));
        session
    }

    fn command(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("it listens");
        self.read_status();
    }

    fn read_status(&mut self) {
        let line = self.read_line();
        assert!(line.starts_with(b"+OK"), "{}", line.escape_ascii());
    }

    /// A line ends in CRLF (RFC 1939 §3); a bare LF is an octet of it.
    fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let read = self.stream.read_until(b'\n', &mut line).expect("it answers in time");
            assert!(read > 0, "the server ended the connection behind {}", line.escape_ascii());
        }
        line
    }

    /// The lines up to the single dot, without the dots that were stuffed.
    fn read_block(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let mut line = self.read_line();
            if line == b".\r\n" {
                return lines;
            }
            if line.starts_with(b".") {
                line.remove(0);
            }
            lines.push(line);
        }
    }
}

/// Every message, as the server sends it to a client that has asked for unique-ids.
pub fn messages(peer: &Peer) -> Vec<Vec<u8>> {
    let mut session = Session::open(peer);
    session.command("UIDL");
    let count = session.read_block().len();
    let mut messages = Vec::new();
    for number in 1..=count {
        session.command(&format!("RETR {number}"));
        messages.push(session.read_block().concat());
    }
    session.command("QUIT");
    messages
}
