//! A POP3 server that is good, but for what a test has it say instead.

use std::io;

use super::{Peer, Server};

/// What a test has it say.
pub(crate) enum Say {
    /// What a good server says.
    Good,
    /// This, as it stands.
    This(String),
    /// Nothing any more.
    HangUp,
}

/// The mail of a server and what it offers.
pub(crate) struct Pop {
    pub(crate) capabilities: &'static str,
    /// Unique-ids, what LIST says more than there is, and messages.
    pub(crate) mail: Vec<(&'static str, u64, String)>,
}

impl Pop {
    /// Two messages that the server tells the right lengths of.
    pub(crate) fn new(capabilities: &'static str) -> Self {
        let message =
            |name: &str| format!("Received: from there id {name}\r\nSubject: {name}\r\n\r\nyes\r\n");
        Self { capabilities, mail: vec![("a", 0, message("one")), ("b", 0, message("second"))] }
    }

    /// Sessions count from 1.
    pub(crate) fn start(self, say: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> Server {
        let sessions = std::sync::atomic::AtomicUsize::new(0);
        Server::start(move |peer| {
            let session = 1 + sessions.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.serve(peer, |line| say(session, line))
        })
    }

    fn serve(&self, peer: &mut Peer, say: impl Fn(&str) -> Say) -> io::Result<()> {
        peer.say("+OK here")?;
        loop {
            let line = peer.line()?;
            match say(&line) {
                Say::Good => peer.say(&self.good(&line))?,
                Say::This(text) => peer.say(&text)?,
                Say::HangUp => return Ok(()),
            }
        }
    }

    fn good(&self, line: &str) -> String {
        let number: usize = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let block = |lines: Vec<String>| format!("+OK\r\n{}.", lines.join(""));
        let octets = |more: &u64, message: &String| message.len() as u64 + more;
        let each = |line: fn(&(&'static str, u64, String)) -> String| {
            let lines = self.mail.iter().enumerate();
            block(lines.map(|(at, mail)| format!("{} {}\r\n", at + 1, line(mail))).collect())
        };
        match line.split(' ').next().unwrap_or_default() {
            "CAPA" => block(self.capabilities.lines().map(|line| format!("{line}\r\n")).collect()),
            "STAT" => {
                let all: u64 = self.mail.iter().map(|(_, more, message)| octets(more, message)).sum();
                format!("+OK {} {all}", self.mail.len())
            }
            "LIST" => each(|(_, more, message)| (message.len() as u64 + more).to_string()),
            "UIDL" if number > 0 => format!("+OK {number} {}", self.mail[number - 1].0),
            "UIDL" => each(|(id, _, _)| (*id).to_owned()),
            "RETR" => block(vec![self.mail[number - 1].2.clone()]),
            "TOP" => {
                block(vec![self.mail[number - 1].2.split("\r\n\r\n").next().unwrap().to_owned() + "\r\n\r\n"])
            }
            "USER" | "PASS" | "DELE" | "QUIT" | "NOOP" | "RSET" => "+OK".to_owned(),
            _ => "-ERR what?".to_owned(),
        }
    }
}
