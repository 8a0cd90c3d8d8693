//! The playing itself: says the client's lines, and compares what the server says, until the first difference.

use std::{
    io,
    time::{Duration, Instant},
};

use restante_client::{Security, Url, tls::TlsOptions};
use restante_proto::dialogue::{
    Bodies, Difference, Event, Flag, Flags, Heard, Kind, Listener, Piece, Recorder, Segment, Side, TcpEvent,
    TlsEvent,
};

use super::{
    connection::Connection,
    report::Report,
    script::{Handshakes, Player, Script},
};
use crate::failure::Failure;

/// How much is read at a time, in octets.
const READ_OCTETS: usize = 16 << 10;
/// The longest line that is read before STLS, in octets (RFC 2449 §4 allows 512).
const STLS_LINE_MAX_OCTETS: usize = 4096;
/// How long the server may take to end the connection after QUIT, where the dialogue does not ask for it.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Where the server did otherwise.
pub(super) struct Different {
    /// The place of the event.
    pub(super) place: usize,
    /// In a few words.
    pub(super) problem: String,
    /// Line by line, where there are two lines to compare.
    pub(super) difference: Option<Difference>,
}

impl Different {
    /// Whether nothing came at all where a line was expected; that is not a line without its end.
    pub(super) fn is_nothing(&self) -> bool {
        self.difference.as_ref().is_some_and(|difference| difference.actual == "\\")
    }
}

/// Why playing ended before its end.
pub(super) enum Stop {
    Different(Different),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a look at the connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Octets,
    Silence,
    End(End),
}

/// How the server's octets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In order: a FIN, in TLS behind a close_notify.
    Closed,
    /// A FIN in TLS without a close_notify.
    Truncated,
    Reset,
}

pub(super) struct Game<'a> {
    script: &'a Script,
    player: &'a Player,
    trust: &'a TlsOptions,
    report: &'a mut Report,
    connection: Connection,
    timeout: Duration,
    start: Instant,
    recorder: Recorder,
    listener: Listener,
    /// What the server said and nobody has looked at yet.
    input: Vec<u8>,
    /// So much at its front was recorded already.
    recorded: usize,
    /// When it was read; zero before anything was.
    read_at: Duration,
    end: Option<End>,
}

impl<'a> Game<'a> {
    /// Connects, with TLS from the first byte where the URL asks for it.
    pub(super) fn open(
        (script, player): (&'a Script, &'a Player),
        (url, trust, timeout): (&Url, &'a TlsOptions, Duration),
        report: &'a mut Report,
    ) -> Result<Self, Stop> {
        let start = Instant::now();
        let connection = Connection::open(url, timeout)?;
        report.connected(&connection, &script.head, player)?;
        let mut game = Self {
            script,
            player,
            trust,
            report,
            connection,
            timeout,
            start,
            recorder: Recorder::new(Bodies::Elided),
            listener: Listener::default(),
            input: Vec::new(),
            recorded: 0,
            read_at: Duration::ZERO,
            end: None,
        };
        game.tcp(TcpEvent::Connect)?;
        match (url.security, script.handshakes()) {
            (Security::Implicit, Handshakes::AtOnce) => {}
            (Security::Implicit, _) => game.handshake()?,
            (Security::Stls, Handshakes::Never) => game.upgrade()?,
            (Security::Stls | Security::None, _) => {}
        }
        Ok(game)
    }

    /// Plays all events, then says goodbye.
    pub(super) fn play(&mut self) -> Result<(), Stop> {
        let mut place = 0;
        while let Some(event) = self.script.events.get(place) {
            match &event.kind {
                Kind::Client(_) => {
                    self.nothing_left(place)?;
                    place = self.say(place)?;
                    continue;
                }
                Kind::Server(_) | Kind::Body { .. } | Kind::Lines => self.hear(place, &event.kind)?,
                Kind::Tls(event) => {
                    self.nothing_left(place)?;
                    self.tls(place, event)?;
                }
                Kind::Tcp(TcpEvent::Segment(segment)) => self.segment(place, *segment)?,
                Kind::Tcp(TcpEvent::Connect | TcpEvent::Timeout) => {}
            }
            place += 1;
        }
        self.nothing_left(place)?;
        if self.script.ends_with_quit() && self.end.is_none() {
            self.connection.wait_at_most(self.timeout.min(GOODBYE_MAX));
            while self.look()? == Read::Octets {}
            self.nothing_left(place)?;
        }
        Ok(())
    }

    /// Writes down what is left.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.end.is_none() && !self.connection.is_broken() {
            self.tcp(TcpEvent::Segment(fin(Side::Client)))?;
        }
        let mut events = Vec::new();
        self.recorder.flush(&mut events);
        self.report.events(&events)
    }

    /// How long it has taken.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The client's lines from this place on, as one segment for each cut.
    fn say(&mut self, place: usize) -> Result<usize, Stop> {
        let turn = self
            .script
            .turn(place, self.player)
            .map_err(|unsayable| different(unsayable.place, unsayable.why.to_owned()))?;
        for segment in &turn.segments {
            let at = self.start.elapsed();
            if let Err(error) = self.connection.send(segment.expose()) {
                let problem = match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        "the server does not take what is sent".into()
                    }
                    _ => format!("the server ended the connection before this was sent ({error})"),
                };
                return Err(different(place, problem));
            }
            self.recorder.segment(Side::Client);
            let mut events = Vec::new();
            self.recorder.octets(Side::Client, Some(at), segment.expose(), &mut events);
            self.report.events(&events)?;
        }
        Ok(turn.end)
    }

    /// Waits for an event of the server.
    fn hear(&mut self, place: usize, expected: &Kind) -> Result<(), Stop> {
        loop {
            match self.listener.hear(expected, &self.input) {
                Heard::Same { taken } => {
                    self.take(taken)?;
                    return Ok(());
                }
                Heard::Different { taken, difference } => {
                    let events = self.take(taken)?;
                    return Err(Stop::Different(Different {
                        place,
                        problem: "the server's answer differs".into(),
                        difference: Some(without_secrets(difference, &events)),
                    }));
                }
                Heard::More => {
                    self.take(self.input.len())?;
                }
            }
            let problem = match self.end.map_or_else(|| self.look(), |end| Ok(Read::End(end)))? {
                Read::Octets => continue,
                Read::Silence => {
                    let hint = self.no_tls_hint().map_or_else(String::new, |hint| format!("; {hint}"));
                    format!("the server says nothing for {} s{hint}", self.timeout.as_secs_f32())
                }
                Read::End(End::Reset) => "the server broke the connection off".into(),
                Read::End(_) => "the server ended the connection".into(),
            };
            return match self.listener.end(expected) {
                None => Ok(()),
                Some(difference) => {
                    let events = self.cut_off()?;
                    let difference = Some(without_secrets(difference, &events));
                    Err(Stop::Different(Different { place, problem, difference }))
                }
            };
        }
    }

    /// A server that waits for a TLS handshake says nothing before it.
    fn no_tls_hint(&self) -> Option<&'static str> {
        let nothing_came = self.read_at == Duration::ZERO;
        (nothing_came && !self.connection.is_tls())
            .then_some("is this a port for TLS from the first byte? then the URL begins with pop3s://")
    }

    fn tls(&mut self, place: usize, event: &TlsEvent) -> Result<(), Stop> {
        match event {
            TlsEvent::Handshake(_) => Ok(self.handshake()?),
            TlsEvent::Failed => match self.connection.secure(self.trust) {
                Err(_) => {
                    let mut events = Vec::new();
                    self.recorder.tls(Some(self.start.elapsed()), TlsEvent::Failed, &mut events);
                    Ok(self.report.events(&events)?)
                }
                Ok(_) => Err(different(place, "the TLS handshake did not fail".into())),
            },
            TlsEvent::Close(Side::Client) => match self.connection.close_notify() {
                Ok(()) => {
                    let mut events = Vec::new();
                    let at = Some(self.start.elapsed());
                    self.recorder.tls(at, TlsEvent::Close(Side::Client), &mut events);
                    Ok(self.report.events(&events)?)
                }
                Err(error) => Err(different(place, format!("TLS could not be closed ({error})"))),
            },
            TlsEvent::Close(Side::Server) => match self.wait_for_end(place)? {
                End::Closed => Ok(()),
                End::Truncated => {
                    Err(different(place, "the server ended the connection without closing TLS".into()))
                }
                End::Reset => Err(different(place, "the server broke the connection off".into())),
            },
        }
    }

    /// What a dialogue asks of the connection itself; what a program cannot see is read over.
    fn segment(&mut self, place: usize, segment: Segment) -> Result<(), Stop> {
        let has = |flag| segment.flags.has(flag);
        match segment.from {
            Side::Client if has(Flag::Fin) => {
                self.connection.shutdown().map_err(|error| {
                    different(place, format!("the client's side could not be closed ({error})"))
                })?;
                Ok(self.tcp(TcpEvent::Segment(fin(Side::Client)))?)
            }
            Side::Server if has(Flag::Fin) => match self.wait_for_end(place)? {
                End::Closed | End::Truncated => Ok(()),
                End::Reset => {
                    Err(different(place, "the server broke the connection off instead of ending it".into()))
                }
            },
            Side::Server if has(Flag::Rst) => match self.wait_for_end(place)? {
                End::Reset => Ok(()),
                End::Closed | End::Truncated => Err(different(
                    place,
                    "the server ended the connection in order, and did not break it off".into(),
                )),
            },
            _ => Ok(()),
        }
    }

    fn wait_for_end(&mut self, place: usize) -> Result<End, Stop> {
        self.nothing_left(place)?;
        if let Some(end) = self.end {
            return Ok(end);
        }
        match self.look()? {
            Read::End(end) => Ok(end),
            Read::Silence => Err(different(place, "the server does not end the connection".into())),
            Read::Octets => {
                self.nothing_left(place)?;
                Err(different(place, "the server does not end the connection".into()))
            }
        }
    }

    /// Nothing may have come that was not expected.
    fn nothing_left(&mut self, place: usize) -> Result<(), Stop> {
        if self.input.is_empty() {
            return Ok(());
        }
        let events = [self.take(self.input.len())?, self.cut_off()?].concat();
        let shown = events.iter().find(|event| !matches!(event.kind, Kind::Client(_)));
        let shown = shown.map_or_else(String::new, |event| format!(": {}", without_time(event)));
        Err(different(place, format!("before this the server says more{shown}")))
    }

    /// Reads once.
    fn look(&mut self) -> Result<Read, Failure> {
        let mut octets = vec![0; READ_OCTETS];
        let end = match self.connection.read(&mut octets) {
            Ok(0) => End::Closed,
            Ok(read) => {
                self.read_at = self.start.elapsed();
                self.input.extend_from_slice(&octets[..read]);
                return Ok(Read::Octets);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(Read::Silence),
                io::ErrorKind::Interrupted => return self.look(),
                io::ErrorKind::UnexpectedEof => End::Truncated,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => End::Reset,
                _ => return Err(Failure::failed(format!("the connection failed: {error}"))),
            },
        };
        self.end = Some(end);
        let at = Some(self.start.elapsed());
        let mut events = Vec::new();
        if end == End::Closed && self.connection.is_tls() {
            self.recorder.tls(at, TlsEvent::Close(Side::Server), &mut events);
        }
        let flag = if end == End::Reset { Flag::Rst } else { Flag::Fin };
        let segment = Segment { flags: Flags::default().with(flag), ..fin(Side::Server) };
        self.recorder.tcp(at, TcpEvent::Segment(segment), &mut events);
        self.report.events(&events)?;
        Ok(Read::End(end))
    }

    /// Takes what was looked at out of the input, and writes it down.
    fn take(&mut self, octets: usize) -> Result<Vec<Event>, Failure> {
        let known = self.recorded.min(octets);
        self.recorded -= known;
        let mut events = Vec::new();
        self.recorder.octets(Side::Server, Some(self.read_at), &self.input[known..octets], &mut events);
        self.input.drain(..octets);
        self.report.events(&events)?;
        Ok(events)
    }

    /// Writes down a line whose end did not come.
    fn cut_off(&mut self) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        self.recorder.flush(&mut events);
        self.report.events(&events)?;
        Ok(events)
    }

    fn tcp(&mut self, event: TcpEvent) -> Result<(), Failure> {
        let mut events = Vec::new();
        self.recorder.tcp(Some(self.start.elapsed()), event, &mut events);
        self.report.events(&events)
    }

    fn handshake(&mut self) -> Result<(), Failure> {
        let facts = self.connection.secure(self.trust)?;
        let mut events = Vec::new();
        self.recorder.tls(Some(self.start.elapsed()), TlsEvent::Handshake(facts), &mut events);
        self.report.events(&events)
    }

    /// STLS before a dialogue that says nothing of it: `pop3://` requires it (RFC 2595 §4). The greeting, which comes
    /// once only, is then compared with that of the dialogue.
    fn upgrade(&mut self) -> Result<(), Stop> {
        let greeting = self.line("greeting")?;
        if !greeting.starts_with(b"+OK") {
            self.input = greeting;
            self.recorded = self.input.len();
            return Ok(());
        }
        let at = self.start.elapsed();
        let stls = b"STLS\r\n";
        self.connection
            .send(stls)
            .map_err(|error| Failure::failed(format!("the connection failed: {error}")))?;
        let mut events = Vec::new();
        self.recorder.octets(Side::Client, Some(at), stls, &mut events);
        self.report.events(&events)?;
        let answer = self.line("answer to STLS")?;
        if !answer.starts_with(b"+OK") {
            return Err(Failure::failed("the server refuses STLS, which pop3:// requires")
                .hint("pop3s:// is TLS from the first byte; ?tls=none behind the host does without TLS")
                .into());
        }
        if !self.input.is_empty() {
            // An attacker's way to put words into the server's mouth (RFC 2595 §4).
            return Err(Failure::failed("the server says more before TLS begins").into());
        }
        self.handshake()?;
        self.recorded = greeting.len();
        self.input = greeting;
        Ok(())
    }

    /// One line, before the dialogue begins.
    fn line(&mut self, what: &str) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let line = self.input[..=end].to_vec();
                self.take(end + 1)?;
                return Ok(line);
            }
            if self.input.len() > STLS_LINE_MAX_OCTETS {
                return Err(Failure::failed(format!("the server's {what} has no end")));
            }
            match self.look()? {
                Read::Octets => {}
                Read::Silence => {
                    let failure = Failure::failed(format!("the server's {what} does not come"));
                    return Err(match self.no_tls_hint() {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    });
                }
                Read::End(_) => {
                    return Err(Failure::failed(format!("the connection ended before the server's {what}")));
                }
            }
        }
    }
}

fn different(place: usize, problem: String) -> Stop {
    Stop::Different(Different { place, problem, difference: None })
}

fn fin(from: Side) -> Segment {
    Segment { from, flags: Flags::default().with(Flag::Fin), seq: None, ack: None, octets: None }
}

fn without_time(event: &Event) -> Event {
    Event { at: None, kind: event.kind.clone() }
}

/// A line is shown as it is recorded, if that took something out.
fn without_secrets(difference: Difference, recorded: &[Event]) -> Difference {
    match recorded.last().map(|event| &event.kind) {
        Some(Kind::Server(line)) if line.pieces().contains(&Piece::Secret) => {
            Difference { actual: line.to_string(), same: 0, ..difference }
        }
        _ => difference,
    }
}
