//! A POP3 server as a byte stream without sockets: it answers while it is written to, and gives its answers out as they are
//! read, octet by octet with a pause before each if wished. Long messages are made while they are read.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The lines of a long message, each.
pub(crate) const LINE: &[u8] = b"All work and no play makes Jack a dull boy, all work and no play.\r\n";

/// A server of one session.
pub(crate) struct Fake {
    pub(crate) messages: Vec<Vec<u8>>,
    /// How many lines of [`LINE`] message 1 has behind what stands in `messages`.
    pub(crate) more_lines: u64,
    /// How many messages there are, where they need not be retrieved.
    pub(crate) count: usize,
    /// Each octet comes alone, and lets itself be waited for.
    pub(crate) drips: bool,
    pub(crate) capabilities: &'static str,
    /// What was said to it, line by line.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
    /// The most commands that waited for the end of their answers at a time.
    pub(crate) most_ahead: Arc<Mutex<usize>>,
    read_paused: bool,
    write_paused: bool,
    said: Vec<u8>,
    out: VecDeque<Part>,
}

enum Part {
    Octets(Vec<u8>, usize),
    Lines(u64),
    /// The answer is given out.
    End,
}

impl Fake {
    pub(crate) fn new(messages: Vec<Vec<u8>>) -> Self {
        let count = messages.len();
        Self {
            messages,
            more_lines: 0,
            count,
            drips: false,
            capabilities: "TOP\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN\r\nPIPELINING\r\n",
            heard: Arc::default(),
            most_ahead: Arc::default(),
            read_paused: false,
            write_paused: false,
            said: Vec::new(),
            out: VecDeque::from([Part::Octets(b"+OK ready <1.2@fake>\r\n".to_vec(), 0)]),
        }
    }

    fn say(&mut self, text: impl Into<Vec<u8>>) {
        self.out.push_back(Part::Octets(text.into(), 0));
    }

    fn hear(&mut self, line: &str) {
        self.heard.lock().unwrap().push(line.to_owned());
        // What was given out to its end is not under way any more.
        while matches!(self.out.front(), Some(Part::End | Part::Lines(0)))
            || matches!(self.out.front(), Some(Part::Octets(octets, given)) if *given == octets.len())
        {
            self.out.pop_front();
        }
        let ends = self.out.iter().filter(|part| matches!(part, Part::End)).count();
        let mut most = self.most_ahead.lock().unwrap();
        *most = (*most).max(ends + 1);
        drop(most);
        self.answer(line);
        self.out.push_back(Part::End);
    }

    fn answer(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number: Option<usize> = rest.split(' ').next().and_then(|word| word.parse().ok());
        let sizes = || self.messages.iter().map(Vec::len).chain(std::iter::repeat(7));
        match (verb, number) {
            ("CAPA", _) => self.say(format!("+OK\r\n{}.\r\n", self.capabilities)),
            ("AUTH", _) if rest == "LOGIN" || rest == "PLAIN" => self.say("+ \r\n"),
            ("STAT", _) => {
                self.say(format!("+OK {} {}\r\n", self.count, sizes().take(self.count).sum::<usize>()));
            }
            ("LIST" | "UIDL", None) => {
                let line = |(at, size): (usize, usize)| match verb {
                    "LIST" => format!("{} {size}\r\n", at + 1),
                    _ => format!("{} unique-id-of-message-{}\r\n", at + 1, at + 1),
                };
                let lines: String = sizes().take(self.count).enumerate().map(line).collect();
                self.say(format!("+OK\r\n{lines}.\r\n"));
            }
            ("LIST", Some(number)) => {
                self.say(format!("+OK {number} {}\r\n", self.messages[number - 1].len()));
            }
            ("UIDL", Some(number)) => self.say(format!("+OK {number} unique-id-of-message-{number}\r\n")),
            ("RETR" | "TOP", Some(number)) => {
                let octets = self.messages[number - 1].clone();
                self.say(format!("+OK {} octets\r\n", octets.len()));
                self.say(octets);
                if number == 1 && verb == "RETR" {
                    self.out.push_back(Part::Lines(self.more_lines));
                }
                self.say(".\r\n");
            }
            // A challenge of LOGIN is answered once more.
            _ if self
                .heard
                .lock()
                .unwrap()
                .iter()
                .rev()
                .nth(1)
                .is_some_and(|before| before == "AUTH LOGIN") =>
            {
                self.say("+ \r\n");
            }
            _ => self.say("+OK\r\n"),
        }
    }
}

impl AsyncRead for Fake {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.drips {
            this.read_paused = !this.read_paused;
            if this.read_paused {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        loop {
            let drips = this.drips;
            match this.out.front_mut() {
                // Who waits for more has to say something first.
                None => return Poll::Pending,
                Some(Part::Octets(octets, given)) if *given < octets.len() => {
                    let most = if drips { 1 } else { buf.remaining() };
                    let end = octets.len().min(*given + most);
                    buf.put_slice(&octets[*given..end]);
                    *given = end;
                    return Poll::Ready(Ok(()));
                }
                Some(Part::Lines(left)) if *left > 0 => {
                    while *left > 0 && buf.remaining() >= LINE.len() {
                        buf.put_slice(LINE);
                        *left -= 1;
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(_) => drop(this.out.pop_front()),
            }
        }
    }
}

impl AsyncWrite for Fake {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let most = if self.drips { 3.min(octets.len()) } else { octets.len() };
        if self.drips {
            self.write_paused = !self.write_paused;
            if self.write_paused {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.said.extend_from_slice(&octets[..most]);
        while let Some(end) = self.said.iter().position(|&octet| octet == b'\n') {
            let line: Vec<u8> = self.said.drain(..=end).collect();
            self.hear(String::from_utf8(line).unwrap().trim_end_matches(['\r', '\n']));
        }
        Poll::Ready(Ok(most))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
