//! Dialogues and transcripts (`docs/dialogue.md`) as a source: what is written there goes through the recorder once more, so
//! that no secret of a hand-written dialogue passes, and so that every line comes with what it is.

use std::time::Duration;

use restante_proto::{
    command::Command,
    dialogue::{
        Bodies, Event, Flag, Joined, Kind, Line, Mark, Observed, ParseError, Piece, Reader, Recorder, Role,
        Side, TcpEvent, TlsEvent, TlsMode, events_left_out,
    },
    phase::{Phase, TRANSITIONS},
    verb::Verb,
};

use crate::heard::{Ending, Heard, Opening, What};

/// The one session of a dialogue.
const SESSION: u32 = 1;

/// Reads one dialogue, in pieces of any size.
///
/// ```
/// use restante_diagram::source::dialogue::Source;
/// let (mut source, mut heard) = (Source::new(256), Vec::new());
/// source.push(b"S: +OK ready\nC: PASS ab", &mut heard)?;
/// source.push(b"c\n", &mut heard)?;
/// source.end(&mut heard)?;
/// assert_eq!(heard.len(), 4, "begin, two lines, end");
/// # Ok::<(), restante_proto::dialogue::ParseError>(())
/// ```
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    recorder: Recorder,
    partial: Vec<u8>,
    begun: bool,
    over: bool,
    /// Events were left out, and nothing can be told until the next command.
    gap: bool,
    /// It begins in the middle of a session, and no command came yet: what the server says answers one that nobody heard.
    unheard: bool,
    start_max_octets: usize,
    seen: Vec<Observed>,
}

impl Source {
    /// A source at the start of a text. Of each message so many octets are kept to be shown.
    pub fn new(start_max_octets: usize) -> Self {
        Self {
            reader: Reader::new(),
            recorder: Recorder::new(Bodies::Elided).with_starts(start_max_octets),
            partial: Vec::new(),
            begun: false,
            over: false,
            gap: false,
            unheard: false,
            start_max_octets,
            seen: Vec::new(),
        }
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, text: &[u8], heard: &mut Vec<Heard>) -> Result<(), ParseError> {
        let mut rest = text;
        while let Some(end) = rest.iter().position(|&octet| octet == b'\n') {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            if self.partial.is_empty() {
                self.line(line, heard)?;
            } else {
                self.partial.extend_from_slice(line);
                let line = std::mem::take(&mut self.partial);
                self.line(&line, heard)?;
            }
            rest = behind;
        }
        self.partial.extend_from_slice(rest);
        // The reader says what is too long about it.
        if self.partial.len() > restante_proto::dialogue::TEXT_LINE_MAX_OCTETS {
            let line = std::mem::take(&mut self.partial);
            self.line(&line, heard)?;
        }
        Ok(())
    }

    /// The text ends.
    pub fn end(&mut self, heard: &mut Vec<Heard>) -> Result<(), ParseError> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line, heard)?;
        }
        if !self.begun {
            return Ok(());
        }
        self.recorder.observe_end(&mut self.seen);
        self.say(heard);
        let ending = if self.over { Ending::Closed } else { Ending::Source };
        heard.push(Heard { session: SESSION, what: What::End(ending) });
        Ok(())
    }

    fn line(&mut self, text: &[u8], heard: &mut Vec<Heard>) -> Result<(), ParseError> {
        if self.begun && events_left_out(text.trim_ascii()).is_some() {
            self.recorder.observe_end(&mut self.seen);
            self.say(heard);
            self.gap = true;
            let what = What::Missing { at: None, from: Side::Server, octets: 0 };
            heard.push(Heard { session: SESSION, what });
        }
        if let Some(event) = self.reader.line(text)? {
            self.begin(heard);
            self.event(event, heard);
            self.say(heard);
        }
        Ok(())
    }

    fn begin(&mut self, heard: &mut Vec<Heard>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let head = self.reader.head();
        let repeats = |text: &str| {
            let password = head.password.as_ref().map(|password| String::from_utf8_lossy(password.expose()));
            password.is_some_and(|password| !password.is_empty() && text.contains(&*password))
        };
        let joined = head.joined.map(Joined::phase);
        let opening = Opening {
            title: head.title.clone().filter(|title| !repeats(title)),
            client: head.client.clone(),
            server: head.server.clone(),
            started: head.started.clone(),
            joined: joined.is_some(),
            phase: joined,
            inside_tls: match head.tls {
                Some(TlsMode::Implicit) => true,
                Some(TlsMode::Off) => false,
                // Its handshake may have been before anybody heard.
                Some(TlsMode::Stls) | None => joined.is_some(),
            },
        };
        self.unheard = joined.is_some();
        self.recorder = self.recorder(joined.map(|phase| phase == Phase::Transaction));
        heard.push(Heard { session: SESSION, what: What::Begin(opening) });
    }

    /// A recorder of a session from its start, or of one that is resumed, and then behind the login or not.
    fn recorder(&self, resumed: Option<bool>) -> Recorder {
        let recorder = match resumed {
            None => Recorder::new(Bodies::Elided),
            Some(logged_in) => Recorder::resumed(Bodies::Elided, logged_in),
        };
        let mut recorder = recorder.with_starts(self.start_max_octets);
        if let Some(password) = &self.reader.head().password {
            recorder.knows(password.expose());
        }
        recorder
    }

    fn event(&mut self, event: Event, heard: &mut Vec<Heard>) {
        let at = event.at;
        match &event.kind {
            Kind::Client(line) => {
                self.unheard = false;
                let octets = octets(line);
                self.pick_up(&octets);
                if !self.gap {
                    self.recorder.observe(Side::Client, at, &octets, &mut self.seen);
                }
            }
            // What it answers was left out.
            Kind::Server(_) | Kind::Body { .. } | Kind::Lines if self.gap => {}
            Kind::Server(line) if self.unheard => unplaced(at, octets(line).len() as u64, heard),
            Kind::Body { octets } if self.unheard => unplaced(at, *octets, heard),
            Kind::Server(line) => self.recorder.observe(Side::Server, at, &octets(line), &mut self.seen),
            Kind::Body { octets } => self.recorder.left_out(at, *octets),
            Kind::Lines => self.as_it_is(event),
            Kind::Tls(tls) => {
                self.over |= matches!(tls, TlsEvent::Failed);
                // What was left of lines before it never ends.
                self.recorder.observe_end(&mut self.seen);
                self.as_it_is(event);
            }
            Kind::Tcp(tcp) => {
                if let TcpEvent::Segment(segment) = tcp
                    && (segment.flags.has(Flag::Fin) || segment.flags.has(Flag::Rst))
                {
                    self.over = true;
                    if segment.octets.unwrap_or(0) == 0 {
                        self.recorder.observe_end(&mut self.seen);
                    }
                }
                self.as_it_is(event);
            }
        }
    }

    /// Behind events that were left out, the session is followed again from the next command on.
    fn pick_up(&mut self, line: &[u8]) {
        if !self.gap {
            return;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let Ok(command) = Command::parse(line.strip_suffix(b"\r").unwrap_or(line)) else { return };
        let logged_in = TRANSITIONS
            .iter()
            .filter(|row| row.verb == command.verb())
            .all(|row| row.from == Phase::Transaction);
        self.recorder = self.recorder(Some(logged_in));
        self.gap = false;
    }

    fn as_it_is(&mut self, event: Event) {
        self.seen.push(Observed { event, role: None, body: None });
    }

    fn say(&mut self, heard: &mut Vec<Heard>) {
        for observed in self.seen.drain(..) {
            self.over |= matches!(observed.role, Some(Role::Reply { to: Some(Verb::Quit), .. }));
            heard.push(Heard { session: SESSION, what: What::Said { observed, span: None } });
        }
    }
}

/// The server says what answers something that nobody heard.
fn unplaced(at: Option<Duration>, octets: u64, heard: &mut Vec<Heard>) {
    heard.push(Heard {
        session: SESSION,
        what: What::Unplaced { at, from: Side::Server, octets, span: None },
    });
}

/// The octets of a line; what is open or was taken out is written as its mark.
fn octets<M: Mark>(line: &Line<M>) -> Vec<u8> {
    let mut octets = Vec::new();
    for piece in line.pieces() {
        match piece {
            Piece::Octets(piece) => octets.extend_from_slice(piece),
            Piece::Cut => {}
            Piece::Secret => octets.extend_from_slice(crate::words::SECRET.as_bytes()),
            Piece::Mark(mark) => octets.extend_from_slice(format!("{{{}}}", mark.name()).as_bytes()),
        }
    }
    octets
}
