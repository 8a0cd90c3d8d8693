//! Messages as they stream in: one or many, whole or their headers, as many under way as the server allows.

use std::collections::VecDeque;

use restante_proto::{
    MessageNumber,
    client::{Broken, Window},
    command::Command,
    verb::Verb,
};

use crate::{
    client::Client,
    connection::{Step, answer},
    error::{Error, Refused, Waiting},
    listing::decimal,
    top::Cut,
};

/// What a message is taken for whose length is not known, in octets.
const UNKNOWN_OCTETS: u64 = 64 * 1024;

/// A run of messages on their way, in the order in which they were asked for.
///
/// Dropped before its end it leaves answers unread, and the connection of no use; [`Self::finish`] reads them. The futures of
/// its calls may be dropped and called again: nothing is lost by that.
#[must_use]
pub struct Messages<'c> {
    client: &'c mut Client,
    /// Not asked for yet.
    wanted: VecDeque<MessageNumber>,
    /// How many lines behind the header; the whole message where there is no number.
    top: Option<u64>,
    window: Window,
    /// What each message under way is taken to have, in octets; the first is the one that is read.
    under_way: VecDeque<u64>,
    begun: bool,
    current: Current,
    /// How many octets of the current message were given.
    given: u64,
    /// What of the current answer to TOP belongs to it.
    cut: Option<Cut>,
    /// A message had another length than LIST and the answer to RETR told. Most often the server cannot count. But a line of
    /// one dot that was not stuffed ends a message too soon, and what is behind it looks like answers; and where the end is
    /// none, the next answer looks like mail. From then on each answer has to agree with LIST.
    doubted: bool,
}

/// Where the message is that is read.
#[derive(Debug)]
enum Current {
    None,
    Reading {
        number: MessageNumber,
        announced: Option<u64>,
    },
    Refused {
        number: MessageNumber,
        refused: Option<Refused>,
    },
    /// It is whole; its number is kept for its handle.
    Whole {
        number: MessageNumber,
        announced: Option<u64>,
    },
}

impl<'c> Messages<'c> {
    pub(crate) fn new(
        client: &'c mut Client,
        wanted: impl IntoIterator<Item = MessageNumber>,
        top: Option<u64>,
    ) -> Self {
        let window = Window::new(client.window());
        let wanted = wanted.into_iter().collect();
        Self {
            client,
            wanted,
            top,
            window,
            under_way: VecDeque::new(),
            begun: false,
            current: Current::None,
            given: 0,
            cut: None,
            doubted: false,
        }
    }

    /// The next message; what was not read of the one before it is skipped. `None` when all were given.
    pub async fn next(&mut self) -> Result<Option<Message<'_, 'c>>, Error> {
        let next = self.advance().await;
        match next {
            Ok(true) => Ok(Some(Message { messages: self })),
            // Behind the last answer there is nothing; if there is, some answer was none.
            Ok(false) => {
                let ended = self.client.connection.nothing_is_left();
                self.client.connection.finish(ended.map(|()| None))
            }
            Err(error) => self.client.connection.finish(Err(error)),
        }
    }

    /// Skips what was not read of the messages under way; those that were not asked for yet are not. Then the client can be
    /// used again.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.wanted.clear();
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Goes to the answer for the next message.
    async fn advance(&mut self) -> Result<bool, Error> {
        if !self.begun {
            self.client.connection.begin()?;
            self.begun = true;
        }
        while self.read().await? {}
        self.fill().await?;
        if self.under_way.is_empty() {
            self.current = Current::None;
            return Ok(false);
        }
        let step = self.client.connection.next(Waiting::Answer(self.verb())).await?;
        let Step::Reply { asked, status } = step else { return Err(out_of_step()) };
        let number = asked.number.ok_or_else(out_of_step)?;
        let answered = answer(asked, status);
        let announced = |text: &String| text.split_ascii_whitespace().next().and_then(decimal);
        let announced = answered.as_ref().ok().and_then(announced);
        let unlike = |octets| announced != Some(octets);
        // A message that is refused has no length to agree with LIST, and is no mail that was read as an answer.
        if self.doubted && answered.is_ok() && self.client.known_octets(number).is_some_and(unlike) {
            return Err(Error::Protocol(Broken::OutOfStep(asked)));
        }
        self.given = 0;
        self.cut = self.top.map(Cut::new);
        self.current = match answered {
            Ok(_) => Current::Reading { number, announced },
            Err(refused) => {
                self.answered();
                Current::Refused { number, refused: Some(refused) }
            }
        };
        Ok(true)
    }

    /// Asks for as many as the window admits, in one go.
    async fn fill(&mut self) -> Result<(), Error> {
        while self.window.admits() {
            let Some(number) = self.wanted.pop_front() else { break };
            let octets = match self.top {
                None => self.client.known_octets(number).unwrap_or(UNKNOWN_OCTETS),
                Some(_) => UNKNOWN_OCTETS,
            };
            let command = match self.top {
                None => Command::Retr(number),
                Some(lines) => Command::Top(number, lines),
            };
            self.client.connection.send(&command).await?;
            self.window.sent(octets);
            self.under_way.push_back(octets);
        }
        Ok(())
    }

    /// Reads on in the current message: whether there are octets, which are then in the connection's body.
    async fn read(&mut self) -> Result<bool, Error> {
        let Current::Reading { number, announced } = self.current else { return Ok(false) };
        loop {
            let waiting = Waiting::Answer(self.verb());
            let connection = &mut self.client.connection;
            connection.body.clear();
            match connection.next(waiting).await? {
                Step::Octets => {
                    let body = &mut self.client.connection.body;
                    self.given += body.len() as u64;
                    self.cut.iter_mut().for_each(|cut| cut.apply(body));
                    if !body.is_empty() {
                        return Ok(true);
                    }
                }
                Step::End => {
                    let listed = self.client.known_octets(number).filter(|_| self.top.is_none());
                    let agreed = announced.filter(|_| announced == listed);
                    self.doubted |= agreed.is_some_and(|octets| self.given != octets);
                    self.answered();
                    self.current = Current::Whole { number, announced };
                    return Ok(false);
                }
                _ => return Err(out_of_step()),
            }
        }
    }

    fn answered(&mut self) {
        if let Some(octets) = self.under_way.pop_front() {
            self.window.answered(octets);
        }
    }

    const fn verb(&self) -> Verb {
        if self.top.is_some() { Verb::Top } else { Verb::Retr }
    }
}

const fn out_of_step() -> Error {
    Error::Interrupted("answers are out of step")
}

/// One message on its way.
pub struct Message<'m, 'c> {
    messages: &'m mut Messages<'c>,
}

impl Message<'_, '_> {
    /// Its number.
    pub const fn number(&self) -> MessageNumber {
        match &self.messages.current {
            Current::Reading { number, .. }
            | Current::Refused { number, .. }
            | Current::Whole { number, .. } => *number,
            // A handle is made for a message only.
            Current::None => MessageNumber::FIRST,
        }
    }

    /// How many octets the server has sent so far beyond what TOP asked for; they are taken away.
    pub fn surplus_octets(&self) -> u64 {
        self.messages.cut.as_ref().map_or(0, Cut::surplus)
    }

    /// How many octets the server says that it has; `None` where its answer has no number.
    pub const fn announced(&self) -> Option<u64> {
        match &self.messages.current {
            Current::Reading { announced, .. } | Current::Whole { announced, .. } => *announced,
            Current::Refused { .. } | Current::None => None,
        }
    }

    /// The next octets, `None` behind the last. Lines end in CRLF; stuffed dots are removed (RFC 1939 §3).
    ///
    /// A message that the server refuses fails here with [`Error::Refused`]; the others follow all the same.
    pub async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        if let Current::Refused { refused, .. } = &mut self.messages.current {
            return match refused.take() {
                Some(refused) => Err(refused.into()),
                None => Ok(None),
            };
        }
        match self.messages.read().await {
            Ok(true) => Ok(Some(&self.messages.client.connection.body)),
            Ok(false) => Ok(None),
            Err(error) => self.messages.client.connection.finish(Err(error)),
        }
    }

    /// All of it, for messages that are known to be short; `None` where it has more octets than `max_octets`, and the rest is
    /// skipped.
    pub async fn read_to_end(&mut self, max_octets: usize) -> Result<Option<Vec<u8>>, Error> {
        let (mut all, mut fits) = (Vec::new(), true);
        while let Some(octets) = self.chunk().await? {
            fits &= octets.len() <= max_octets - all.len();
            if fits {
                all.extend_from_slice(octets);
            }
        }
        Ok(fits.then_some(all))
    }
}
