//! A server for SMTP and LMTP that follows a script, and remembers what it was told.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use rustls::ServerConfig;

use super::{Peer, Server};

/// What the server does for a while.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// Answers the command that begins so with these octets.
    Say(&'static str, Vec<u8>),
    /// Loses the connection at a command that begins so.
    Lose(&'static str),
    /// Goes on listening at a command that begins so, without a word.
    Hang(&'static str),
    /// Answers the message with these words.
    End(&'static str),
    /// Loses the connection behind the message's final dot.
    LoseEnd,
    /// Never answers the message.
    HangEnd,
    /// Says so and hangs up in the middle of the message.
    Interrupt(&'static str),
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) script: VecDeque<Next>,
    pub(crate) said: Vec<String>,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) connections: usize,
}

pub(crate) type Shared = Arc<Mutex<Book>>;

pub(crate) fn book(script: &[Next]) -> Shared {
    Arc::new(Mutex::new(Book { script: script.iter().cloned().collect(), ..Book::default() }))
}

/// What a server offers.
#[derive(Clone, Default)]
pub(crate) struct Ways {
    pub(crate) extensions: &'static [&'static str],
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

pub(crate) fn server(book: &Shared, ways: Ways) -> Server {
    let book = Arc::clone(book);
    Server::start(move |peer| serve(peer, &book, &ways))
}

pub(crate) fn serve(peer: &mut Peer, book: &Shared, ways: &Ways) -> io::Result<()> {
    book.lock().unwrap().connections += 1;
    if let Some(ended) = scripted(peer, book, "greeting")? {
        return ended;
    }
    peer.say("220 here")?;
    loop {
        let line = peer.line()?;
        book.lock().unwrap().said.push(line.clone());
        match scripted(peer, book, &line)? {
            None => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Some(ended) => return ended,
        }
        let word = line.split(' ').next().unwrap();
        match word {
            "EHLO" | "LHLO" => {
                let mut lines = vec!["here"];
                lines.extend(ways.extensions);
                if ways.tls.is_some() && !peer.is_tls() {
                    lines.push("STARTTLS");
                }
                let (last, lines) = lines.split_last().unwrap();
                for line in lines {
                    peer.say(&format!("250-{line}"))?;
                }
                peer.say(&format!("250 {last}"))?;
            }
            "STARTTLS" => {
                peer.say("220 begin")?;
                peer.start_tls(ways.tls.as_ref().unwrap())?;
            }
            "AUTH" if line == "AUTH LOGIN" => {
                for prompt in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                    peer.say(prompt)?;
                    let line = peer.line()?;
                    book.lock().unwrap().said.push(line);
                }
                peer.say("235 welcome")?;
            }
            "AUTH" => peer.say("235 welcome")?,
            "DATA" => {
                peer.say("354 go on")?;
                if !data(peer, book)? {
                    return Ok(());
                }
            }
            "QUIT" => return peer.say("221 bye"),
            _ => peer.say("250 fine")?,
        }
    }
}

/// What the script has for this command: `Interrupted` if it was answered, any other end if the connection ends.
fn scripted(peer: &mut Peer, book: &Shared, line: &str) -> io::Result<Option<io::Result<()>>> {
    let mut open = book.lock().unwrap();
    let starts = |next: &Next| match next {
        Next::Say(start, _) | Next::Lose(start) | Next::Hang(start) => line.starts_with(start),
        _ => false,
    };
    let Some(next) = open.script.front().cloned().filter(starts) else { return Ok(None) };
    open.script.pop_front();
    drop(open);
    match next {
        Next::Say(_, said) => {
            peer.send(&said)?;
            Ok(Some(Err(io::ErrorKind::Interrupted.into())))
        }
        Next::Hang(_) => Ok(Some(peer.listen())),
        _ => Ok(Some(Ok(()))),
    }
}

/// Reads a message up to its final dot, and removes what was stuffed; `false` if the connection ends.
fn data(peer: &mut Peer, book: &Shared) -> io::Result<bool> {
    let next = {
        let mut book = book.lock().unwrap();
        let behind = matches!(
            book.script.front(),
            Some(Next::End(_) | Next::LoseEnd | Next::HangEnd | Next::Interrupt(_))
        );
        if behind { book.script.pop_front() } else { None }
    };
    if let Some(Next::Interrupt(said)) = next {
        peer.raw_line()?;
        peer.say(said)?;
        peer.listen()?;
    }
    let mut message = Vec::new();
    loop {
        let line = peer.raw_line()?;
        if line == b".\r\n" {
            break;
        }
        // RFC 5321 §4.1.1.4: what is smuggled in by a bare LF would end the message elsewhere.
        assert!(!line[..line.len() - 2].contains(&b'\n'), "a bare LF");
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
    book.lock().unwrap().messages.push(message);
    match next {
        Some(Next::End(said)) => {
            if !said.starts_with('2') {
                book.lock().unwrap().messages.pop();
            }
            peer.say(said).map(|()| true)
        }
        Some(Next::HangEnd) => peer.listen().map(|()| false),
        Some(Next::LoseEnd) => Ok(false),
        _ => peer.say("250 queued").map(|()| true),
    }
}

/// A message as it arrives: bare LFs are CRLF, and the last line has its end.
pub(crate) fn arrived(message: &[u8]) -> Vec<u8> {
    let mut arrived = Vec::new();
    for &octet in message {
        if octet == b'\n' && arrived.last() != Some(&b'\r') {
            arrived.push(b'\r');
        }
        arrived.push(octet);
    }
    if !arrived.is_empty() && !arrived.ends_with(b"\r\n") {
        arrived.extend_from_slice(b"\r\n");
    }
    arrived
}
