//! [`Client`]: connects, lists, deletes, ends. The login is in `login.rs`, messages are in `messages.rs`.

use std::{io, sync::Arc};

use restante_proto::{
    MessageNumber, UniqueId,
    capability::Capability,
    client::{Window, WindowMax},
    command::Command,
    phase::Phase,
    reply::{ResponseCode, Status},
    verb::Verb,
};
use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use crate::{
    capabilities::{Capabilities, Offer},
    connection::{Connection, Step, answer},
    error::{Error, Refused, Waiting, printable},
    listing::{Gather, Listing, decimal},
    messages::Messages,
    options::Options,
    tls::TlsInfo,
    transport::{Peer, Stream, Transport},
    url::{Security, Url},
};

/// A session with a POP3 server. See the [crate] for an example.
pub struct Client {
    pub(crate) connection: Connection,
    capabilities: Capabilities,
    stamp: Option<String>,
    /// There was one, before TLS.
    stamp_in_clear: bool,
    greeting: String,
    peer: Option<Peer>,
    /// The server's name and port, as they were asked for.
    place: (String, u16),
    cleartext_passwords: bool,
    initial_response: bool,
    pipelining: bool,
    window: WindowMax,
    /// Sizes of the last listing, by number, for the window.
    sizes: Box<[(u32, u64)]>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

/// The answer to STAT (RFC 1939 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// How many messages there are.
    pub messages: u64,
    /// How many octets they have together.
    pub octets: u64,
}

impl Client {
    /// Connects to the server of the URL, with TLS as the URL asks for it (RFC 8314, RFC 2595): where it says STLS and the
    /// server does not offer that, this fails with [`Error::NotOffered`]. Addresses of the host are tried in turn.
    ///
    /// Fails with [`Error::Connect`] where there is no connection, [`Error::Tls`] where there is no trust, and
    /// [`Error::Refused`] where the server greets with `-ERR`.
    ///
    /// ```no_run
    /// use restante_client::{Client, Error, Options, Url};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = Url::parse("pop3s://mail.example.org")?;
    /// let client = match Client::connect(&url, &Options::default()).await {
    ///     Ok(client) => client,
    ///     Err(Error::Tls(error)) => return Err(format!("is this the right server? {error}").into()),
    ///     Err(error) => return Err(error.into()),
    /// };
    /// println!("{}, over {:?}", client.greeting(), client.tls().and_then(|tls| tls.version.as_deref()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &Url, options: &Options) -> Result<Self, Error> {
        // What is wrong with the certificates of the configuration is told before anything is said.
        let tls = if url.security == Security::None { None } else { Some(options.client_config()?) };
        let socket = connect(url, options).await?;
        // What is sent is sent in one go, and not held back.
        let prepared = socket
            .set_nodelay(true)
            .and_then(|()| Ok(Peer { client: socket.local_addr()?, server: socket.peer_addr()? }));
        let peer = prepared.map_err(|source| Error::Connect { place: place(url), source })?;
        let place = (url.host.as_str(), url.port);
        Self::begin(Stream::Tcp(socket), Some(peer), (url.security, place, tls), options).await
    }

    /// A session over any byte stream: a socket of the caller's, a tunnel, a test. `host` is the name that the server's
    /// certificate must have; it is not looked up.
    ///
    /// ```no_run
    /// use restante_client::{Client, Options, Security};
    /// # async fn example(socket: tokio::net::TcpStream) -> Result<(), restante_client::Error> {
    /// let client = Client::over(socket, "mail.example.org", Security::Stls, &Options::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn over(
        stream: impl Transport + 'static,
        host: &str,
        security: Security,
        options: &Options,
    ) -> Result<Self, Error> {
        let tls = if security == Security::None { None } else { Some(options.client_config()?) };
        let place = (host, security.usual_port());
        Self::begin(Stream::Other(Box::new(stream)), None, (security, place, tls), options).await
    }

    async fn begin(
        stream: Stream,
        peer: Option<Peer>,
        (security, (host, port), tls): (Security, (&str, u16), Option<Arc<ClientConfig>>),
        options: &Options,
    ) -> Result<Self, Error> {
        let mut client = Self {
            connection: Connection::new(stream, peer, options)?,
            capabilities: Capabilities::default(),
            stamp: None,
            stamp_in_clear: false,
            greeting: String::new(),
            peer,
            place: (host.to_owned(), port),
            cleartext_passwords: options.cleartext_passwords,
            initial_response: options.initial_response,
            pipelining: options.pipelining,
            window: options.window,
            sizes: Box::default(),
        };
        if let (Security::Implicit, Some(config)) = (security, &tls) {
            client.connection.secure(Arc::clone(config), host).await?;
        }
        client.greeted().await?;
        if let (Security::Stls, Some(config)) = (security, tls) {
            client.stls(config, host).await?;
        }
        let asked = client.ask_capabilities().await;
        client.connection.finish(asked)?;
        Ok(client)
    }

    async fn greeted(&mut self) -> Result<(), Error> {
        match self.connection.next(Waiting::Greeting).await? {
            Step::Greeting { status: Status::Ok { text }, stamp } => {
                self.stamp = stamp;
                self.greeting = text;
                Ok(())
            }
            Step::Greeting { status: Status::Err { code, text }, .. } => {
                Err(Refused::new(None, code, &text).into())
            }
            _ => Err(Error::Interrupted("answers are out of step")),
        }
    }

    async fn stls(&mut self, config: Arc<ClientConfig>, host: &str) -> Result<(), Error> {
        self.connection.send(&Command::Stls).await?;
        match self.connection.next(Waiting::Answer(Verb::Stls)).await? {
            Step::StartTls => {
                self.connection.secure(config, host).await?;
                // RFC 2595 §4: what was heard in clear is not known any more.
                self.stamp_in_clear = self.stamp.take().is_some();
                Ok(())
            }
            Step::Reply { asked, status } => match answer(asked, status) {
                Err(refused) if refused.code == Some(ResponseCode::SysTemp) => Err(refused.into()),
                Err(refused) => Err(Error::NotOffered(format!(
                    "STLS, so the connection would not be encrypted ({})",
                    refused.text
                ))),
                Ok(_) => Err(Error::Interrupted("answers are out of step")),
            },
            _ => Err(Error::Interrupted("answers are out of step")),
        }
    }

    /// CAPA; what was known before stays where the server does not answer it.
    async fn ask_capabilities(&mut self) -> Result<(), Error> {
        self.connection.send(&Command::Capa).await?;
        self.read_capabilities().await
    }

    async fn read_capabilities(&mut self) -> Result<(), Error> {
        let mut list = Vec::new();
        let answered = self.lines(Verb::Capa, |line| {
            list.push(Capability::parse(&String::from_utf8_lossy(line)));
        });
        if answered.await?.is_ok() {
            self.capabilities = Capabilities::new(list);
        }
        Ok(())
    }

    /// Reads the answer to a command whose answer has several lines.
    async fn lines(
        &mut self,
        verb: Verb,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Result<String, Refused>, Error> {
        let waiting = Waiting::Answer(verb);
        let answered = self.connection.reply(waiting).await?;
        if answered.is_ok() {
            while let Step::Line = self.connection.next(waiting).await? {
                each(&self.connection.line);
            }
        }
        Ok(answered)
    }

    /// What the server said it can do, before the login or behind it, whichever was asked last.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Asks for the capabilities anew.
    pub async fn refresh_capabilities(&mut self) -> Result<&Capabilities, Error> {
        self.connection.begin()?;
        let asked = self.ask_capabilities().await;
        self.connection.finish(asked)?;
        Ok(&self.capabilities)
    }

    /// The text of the greeting.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The state of the session (RFC 1939 §3).
    pub const fn phase(&self) -> Phase {
        self.connection.phase()
    }

    /// What TLS settled; `None` where it is off.
    pub const fn tls(&self) -> Option<&TlsInfo> {
        self.connection.tls.as_ref()
    }

    /// The two ends of the connection, where it is TCP of our own making.
    pub const fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// STAT: how many messages there are, and how many octets they have. Fails with [`Error::Unclear`] where the server says
    /// something else.
    pub async fn stat(&mut self) -> Result<Stat, Error> {
        let text = self.one(&Command::Stat).await?;
        let mut words = text.split_ascii_whitespace().map(decimal);
        match (words.next().flatten(), words.next().flatten()) {
            (Some(messages), Some(octets)) => Ok(Stat { messages, octets }),
            _ => Err(Error::Unclear { verb: Verb::Stat, said: printable(&text) }),
        }
    }

    /// STAT, LIST and UIDL made one list, in one round trip where the server allows it.
    ///
    /// Where the server does not offer UIDL and refuses it, [`Listing::has_unique_ids`] is false; where it refuses LIST, sizes
    /// are unknown. What contradicts itself is in [`Listing::doubts`], and no error. The capabilities are asked for again on
    /// the way, since more may be offered behind the login.
    ///
    /// ```no_run
    /// # async fn example(client: &mut restante_client::Client) -> Result<(), restante_client::Error> {
    /// let listing = client.listing().await?;
    /// for entry in listing.entries() {
    ///     println!("{} has {:?} octets, and is always called {:?}", entry.number, entry.octets, entry.id);
    /// }
    /// for doubt in &listing.doubts {
    ///     println!("the server contradicts itself: {doubt}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listing(&mut self) -> Result<Listing, Error> {
        self.connection.begin()?;
        let listing = self.gather().await;
        let listing = listing.and_then(|listing| self.connection.nothing_is_left().map(|()| listing));
        let listing = self.connection.finish(listing)?;
        let known = |entry: &crate::Entry| Some((entry.number.get(), entry.octets?));
        self.sizes = listing.entries().iter().filter_map(known).collect();
        Ok(listing)
    }

    async fn gather(&mut self) -> Result<Listing, Error> {
        let commands = [Command::Capa, Command::Stat, Command::List(None), Command::Uidl(None)];
        let at_once = self.pipelines();
        if at_once {
            for command in &commands {
                self.connection.send(command).await?;
            }
        }
        let (mut gather, mut refused) = (Gather::default(), None);
        for command in &commands {
            if !at_once {
                self.connection.send(command).await?;
            }
            let answered = match command.verb() {
                Verb::Capa => {
                    self.read_capabilities().await?;
                    continue;
                }
                Verb::List => {
                    self.lines(Verb::List, |line| gather.size(line)).await?.map(|_| gather.begin_sizes())
                }
                Verb::Uidl => {
                    self.lines(Verb::Uidl, |line| gather.id(line)).await?.map(|_| gather.begin_ids())
                }
                _ => self.connection.reply(Waiting::Answer(Verb::Stat)).await?.map(|text| {
                    gather.stat(&text);
                    self.connection.limit_listings(gather.lines_max());
                }),
            };
            // An empty maildrop has nothing to list, say some servers; and what is not offered is not there.
            let fine = |refused: &Refused| {
                let absent = match refused.verb {
                    Some(Verb::Uidl) => self.capabilities.uidl() != Offer::Yes && refused.code.is_none(),
                    Some(Verb::List) => refused.code.is_none(),
                    _ => false,
                };
                absent || (gather.is_empty() && refused.verb != Some(Verb::Stat))
            };
            refused = refused.or_else(|| answered.err().filter(|refused| !fine(refused)));
        }
        match refused {
            Some(refused) => Err(refused.into()),
            None => Ok(gather.finish()),
        }
    }

    /// UIDL of one message.
    pub async fn unique_id(&mut self, number: MessageNumber) -> Result<Option<UniqueId>, Error> {
        let text = self.one(&Command::Uidl(Some(number))).await?;
        let mut gather = Gather::default();
        gather.id(text.as_bytes());
        let listing = gather.finish();
        Ok(listing.entries().iter().find(|entry| entry.number == number).and_then(|entry| entry.id.clone()))
    }

    /// LIST of one message: its length in octets.
    pub async fn size(&mut self, number: MessageNumber) -> Result<Option<u64>, Error> {
        let text = self.one(&Command::List(Some(number))).await?;
        Ok(text.split_ascii_whitespace().nth(1).and_then(decimal))
    }

    /// RETR of one message.
    pub fn message(&mut self, number: MessageNumber) -> Messages<'_> {
        Messages::new(self, [number], None)
    }

    /// RETR of many messages (RFC 1939 §5), pipelined where the server allows it. Each comes in the order asked for, in pieces
    /// of up to 64 KiB; one that is refused fails in [`crate::Message::chunk`], and the others follow all the same.
    ///
    /// ```no_run
    /// use restante_client::{Client, Error};
    /// # async fn example(client: &mut Client, mut file: impl std::io::Write) -> Result<(), Box<dyn std::error::Error>> {
    /// let listing = client.listing().await?;
    /// let mut messages = client.messages(listing.numbers());
    /// while let Some(mut message) = messages.next().await? {
    ///     loop {
    ///         match message.chunk().await {
    ///             Ok(Some(octets)) => file.write_all(octets)?,
    ///             Ok(None) => break,
    ///             Err(Error::Refused(refused)) => {
    ///                 println!("message {}: {refused}", message.number());
    ///                 break;
    ///             }
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn messages(&mut self, numbers: impl IntoIterator<Item = MessageNumber>) -> Messages<'_> {
        Messages::new(self, numbers, None)
    }

    /// TOP of many messages (RFC 1939 §7): the header, the empty line, and this many lines of the body at most; what a server
    /// sends beyond that is left out.
    pub fn tops(&mut self, numbers: impl IntoIterator<Item = MessageNumber>, lines: u64) -> Messages<'_> {
        Messages::new(self, numbers, Some(lines))
    }

    /// Marks a message as deleted; it goes at QUIT (RFC 1939 §5).
    pub async fn delete(&mut self, number: MessageNumber) -> Result<(), Error> {
        self.one(&Command::Dele(number)).await.map(drop)
    }

    /// Marks messages as deleted (RFC 1939 §5), pipelined where the server allows it: each with how it went, in the order
    /// given. Only [`Self::quit`] deletes them; a session that ends otherwise deletes nothing.
    ///
    /// ```no_run
    /// # async fn example(mut client: restante_client::Client) -> Result<(), restante_client::Error> {
    /// let numbers: Vec<_> = client.listing().await?.numbers().collect();
    /// for (number, marked) in client.delete_all(numbers).await? {
    ///     if let Err(refused) = marked {
    ///         println!("message {number} stays: {refused}");
    ///     }
    /// }
    /// client.quit().await
    /// # }
    /// ```
    pub async fn delete_all(
        &mut self,
        numbers: impl IntoIterator<Item = MessageNumber>,
    ) -> Result<Vec<(MessageNumber, Result<(), Refused>)>, Error> {
        let numbers: Vec<MessageNumber> = numbers.into_iter().collect();
        self.connection.begin()?;
        let deleted = self.delete_numbers(&numbers).await;
        let deleted = deleted.and_then(|deleted| self.connection.nothing_is_left().map(|()| deleted));
        self.connection.finish(deleted)
    }

    async fn delete_numbers(
        &mut self,
        numbers: &[MessageNumber],
    ) -> Result<Vec<(MessageNumber, Result<(), Refused>)>, Error> {
        let (mut window, mut unsent) = (Window::new(self.window()), numbers.iter());
        let mut deleted = Vec::with_capacity(numbers.len());
        for &number in numbers {
            while window.admits() {
                let Some(&next) = unsent.next() else { break };
                self.connection.send(&Command::Dele(next)).await?;
                window.sent(0);
            }
            let answered = self.connection.reply(Waiting::Answer(Verb::Dele)).await?;
            window.answered(0);
            deleted.push((number, answered.map(drop)));
        }
        Ok(deleted)
    }

    /// Takes all marks away (RSET).
    pub async fn reset(&mut self) -> Result<(), Error> {
        self.one(&Command::Rset).await.map(drop)
    }

    /// Does nothing (NOOP), so that the server does not log us out.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.one(&Command::Noop).await.map(drop)
    }

    /// Ends the session. Only now the server removes what is marked; with [`Error::Refused`] it says that it did not, or not
    /// all of it (RFC 1939 §6), and with [`Error::Lost`] nobody knows.
    pub async fn quit(mut self) -> Result<(), Error> {
        let said = self.one(&Command::Quit).await;
        if !said.as_ref().is_err_and(Error::is_fatal) {
            self.connection.close().await;
        }
        said.map(drop)
    }

    /// A command whose answer is one line.
    async fn one(&mut self, command: &Command<'_>) -> Result<String, Error> {
        self.connection.begin()?;
        let answered = self.ask(command).await;
        self.connection.finish(answered)
    }

    async fn ask(&mut self, command: &Command<'_>) -> Result<String, Error> {
        self.connection.send(command).await?;
        Ok(self.connection.reply(Waiting::Answer(command.verb())).await??)
    }

    /// Whether commands may be sent ahead.
    pub(crate) fn pipelines(&self) -> bool {
        self.pipelining && self.capabilities.pipelining()
    }

    pub(crate) fn window(&self) -> WindowMax {
        if self.pipelines() { self.window } else { WindowMax::ONE }
    }

    pub(crate) fn stamp(&self) -> Option<&str> {
        self.stamp.as_deref()
    }

    pub(crate) const fn is_stamp_in_clear(&self) -> bool {
        self.stamp_in_clear
    }

    /// The server's name and port, as they were asked for.
    pub(crate) fn place(&self) -> (&str, u16) {
        (&self.place.0, self.place.1)
    }

    pub(crate) const fn sends_initial_responses(&self) -> bool {
        self.initial_response
    }

    pub(crate) const fn may_show_passwords(&self) -> bool {
        self.cleartext_passwords || self.connection.tls.is_some()
    }

    /// How long the last listing said that a message is, in octets.
    pub(crate) fn known_octets(&self, number: MessageNumber) -> Option<u64> {
        let at = self.sizes.binary_search_by_key(&number.get(), |&(number, _)| number).ok()?;
        Some(self.sizes[at].1)
    }
}

fn place(url: &Url) -> String {
    if url.host.contains(':') {
        format!("[{}]:{}", url.host, url.port)
    } else {
        format!("{}:{}", url.host, url.port)
    }
}

/// The first address that answers.
async fn connect(url: &Url, options: &Options) -> Result<TcpStream, Error> {
    let deadline = Instant::now() + options.timeouts.connect;
    let failed = |source| Error::Connect { place: place(url), source };
    let found = timeout_at(deadline, lookup_host((url.host.as_str(), url.port))).await;
    let addresses: Vec<_> = found.map_err(|_| Error::TimedOut(Waiting::Connect))?.map_err(failed)?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (place, address) in addresses.iter().enumerate() {
        // One that does not answer must not use up the time of the others.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now)
            / u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    match last.kind() {
        io::ErrorKind::TimedOut => Err(Error::TimedOut(Waiting::Connect)),
        _ => Err(failed(last)),
    }
}
