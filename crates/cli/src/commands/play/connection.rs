//! One connection to a server: TCP, and TLS by rustls on top of it where it is asked for.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use restante_client::{
    Security, Url,
    tls::{Reason, ReasonKind, TlsInfo, TlsOptions},
};
use restante_proto::dialogue::TlsFacts;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{failure::Failure, trust};

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    host: String,
    security: Security,
    /// The addresses of both ends.
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A handshake failed.
    Broken,
}

impl Connection {
    /// Connects to the first address of the host that answers.
    pub(super) fn open(url: &Url, timeout: Duration) -> Result<Self, Failure> {
        let place = format!("{}:{}", url.host, url.port);
        let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .map_err(|error| Failure::failed(format!("cannot find {}: {error}", url.host)))?
            .collect();
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => {
                    return Self::over(socket, url, timeout).map_err(|error| {
                        Failure::failed(format!("the connection to {place} failed: {error}"))
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => Failure::failed(format!("cannot connect to {place}: {error}")),
            None => Failure::failed(format!("{} has no address", url.host)),
        })
    }

    fn over(socket: TcpStream, url: &Url, timeout: Duration) -> io::Result<Self> {
        // A segment of the dialogue is one write, and is to leave as one.
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        let (client, server) = (socket.local_addr()?, socket.peer_addr()?);
        Ok(Self {
            stream: Stream::Plain(socket),
            host: url.host.clone(),
            security: url.security,
            client,
            server,
        })
    }

    /// Shakes hands, and gives what was settled.
    pub(super) fn secure(&mut self, options: &TlsOptions) -> Result<TlsFacts, Failure> {
        let config = options.client_config()?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| Failure::failed("the host's name cannot stand in a certificate"))?;
        let Stream::Plain(mut socket) = std::mem::replace(&mut self.stream, Stream::Broken) else {
            return Err(Failure::failed("TLS is on already"));
        };
        let mut tls = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| Failure::failed(format!("TLS cannot begin: {error}")))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|error| {
                let reason = Reason::of(&error);
                let failure = Failure::failed(format!("the TLS handshake failed: {reason}"));
                match (self.security, reason.kind()) {
                    (Security::Implicit, ReasonKind::ClearText) => failure.hint(trust::CLEAR_TEXT_HINT),
                    (_, ReasonKind::Mistrust) => failure.hint(trust::HINT),
                    _ => failure,
                }
            })?;
        }
        let facts = TlsInfo::of(&tls).facts(&self.host);
        self.stream = Stream::Tls(Box::new(StreamOwned::new(tls, socket)));
        Ok(facts)
    }

    /// Waits no longer than this from now on. Where that cannot be set the time-out of the command holds.
    pub(super) fn wait_at_most(&self, time: Duration) {
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.sock,
            Stream::Broken => return,
        };
        socket.set_read_timeout(Some(time)).unwrap_or_default();
    }

    /// Whether a handshake failed, which ends a connection.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.stream, Stream::Broken)
    }

    /// Whether TLS is on.
    pub(super) const fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Sends one segment.
    pub(super) fn send(&mut self, segment: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(segment),
            Stream::Tls(tls) => tls.write_all(segment).and_then(|()| tls.flush()),
            Stream::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what is there, or waits for it; 0 where the server's octets ended, in TLS with a close_notify.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
            Stream::Broken => Ok(0),
        }
    }

    /// Says in TLS that no more will be sent.
    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        Ok(())
    }

    /// Closes the client's side.
    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        self.close_notify()?;
        match &self.stream {
            Stream::Plain(socket) => socket.shutdown(Shutdown::Write),
            Stream::Tls(tls) => tls.sock.shutdown(Shutdown::Write),
            Stream::Broken => Ok(()),
        }
    }
}
