//! The smallest client that measures one session step by step, without TLS: for what changes the drop, or can happen
//! only once after a change. It also compares messages octet by octet. Load is put on by `restante bench`.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest line that is taken, and the longest block, in octets.
const LINE_MAX_OCTETS: u64 = 4096;
const BLOCK_MAX_OCTETS: usize = 256 << 20;

/// A session.
pub(super) struct Session {
    reader: BufReader<TcpStream>,
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

impl Session {
    /// Connects and reads the greeting.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut session = Self { reader: BufReader::with_capacity(64 << 10, socket) };
        session.status()?;
        Ok(session)
    }

    /// Logs in and says STAT, so that the drop is open: how many messages, how many octets.
    pub(super) fn login(&mut self, user: &str, password: &str) -> io::Result<(u64, u64)> {
        self.ask(&format!("USER {user}"))?;
        self.ask(&format!("PASS {password}")).map_err(|_| wrong(format!("{user} could not log in")))?;
        let stat = self.ask("STAT")?;
        let mut numbers = stat.split_ascii_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(messages)), Some(Ok(octets))) => Ok((messages, octets)),
            _ => Err(wrong(format!("STAT says {stat:?}"))),
        }
    }

    /// Says a command and gives what stands behind `+OK`.
    pub(super) fn ask(&mut self, command: &str) -> io::Result<String> {
        self.reader.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.status()
    }

    fn status(&mut self) -> io::Result<String> {
        let line = self.line()?;
        let text = String::from_utf8_lossy(&line);
        match text.strip_prefix("+OK") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(wrong(format!("the server says {text:?}"))),
        }
    }

    /// A line without its CR LF.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        io::Read::take(&mut self.reader, LINE_MAX_OCTETS).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None if line.is_empty() => Err(wrong("the server ended the connection")),
            None => Err(wrong("a line is too long, or does not end in CR LF")),
        }
    }

    /// A block behind a command, without stuffed dots and without the last line.
    pub(super) fn block(&mut self, command: &str) -> io::Result<Vec<u8>> {
        self.ask(command)?;
        let mut block = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix(b".") {
                Some([]) => return Ok(block),
                Some(rest) => block.extend_from_slice(rest),
                None => block.extend_from_slice(&line),
            }
            block.extend_from_slice(b"\r\n");
            if block.len() > BLOCK_MAX_OCTETS {
                return Err(wrong("a block does not end"));
            }
        }
    }

    /// Marks the first messages as deleted, all commands sent before an answer is waited for.
    pub(super) fn delete(&mut self, messages: u64) -> io::Result<()> {
        let mut writer = self.reader.get_ref().try_clone()?;
        let commands: String = (1..=messages).map(|number| format!("DELE {number}\r\n")).collect();
        let writing = thread::spawn(move || writer.write_all(commands.as_bytes()));
        let answered = (0..messages).try_for_each(|_| self.status().map(|_| ()));
        let written = writing.join().map_err(|_| wrong("the thread that writes failed"))?;
        answered.and(written)
    }

    /// Takes leave and waits until the server has closed.
    pub(super) fn quit(mut self) -> io::Result<()> {
        self.ask("QUIT")?;
        self.reader.get_ref().set_read_timeout(Some(Duration::from_secs(2)))?;
        // How it closes is no matter of the measurement.
        drop(self.reader.fill_buf().map(<[u8]>::len));
        Ok(())
    }
}
