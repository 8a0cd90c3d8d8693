//! The least that a client can do: everything is asked for in one write, and what comes is thrown away. It shows what
//! the server, the proxy and the connection take; nobody can be faster.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use super::{Arrived, Job, Kind, words};
use crate::{bench::client::cells::What, run::Failure};

pub(super) struct Floor;

/// The one there is.
pub(in crate::bench::client) const FLOOR: &dyn Kind = &Floor;
/// The argument of this program by which it becomes this client.
pub(in crate::bench::client) const ARGUMENT: &str = "--floor";
/// What this program is called among those that every user can reach.
pub(in crate::bench::client) const PROGRAM: &str = "floor";

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER_OCTETS: usize = 256 << 10;

impl Kind for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    fn configured(&self) -> &'static str {
        "no client: asks for everything in one write and throws away what comes"
    }

    fn durable(&self) -> bool {
        false
    }

    fn prepare(&self, _: &Job<'_>) -> io::Result<()> {
        Ok(())
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let messages = if job.what == What::All { job.messages } else { 0 };
        let mut command = vec![job.programs.join(PROGRAM).display().to_string()];
        command.extend(words(["bench", super::super::NAME, ARGUMENT]));
        command.extend([job.port.to_string(), job.user.into(), job.password.into(), messages.to_string()]);
        command
    }

    fn arrived(&self, _: &Job<'_>) -> Arrived {
        Arrived::Nowhere
    }
}

/// The process of it: a port, a user, a password, and how many messages are fetched.
pub(in crate::bench::client) fn fetching(arguments: &[String]) -> Result<(), Failure> {
    let [port, user, password, messages] = arguments else {
        return Err(Failure::Usage(format!("{ARGUMENT} takes a port, a user, a password and a number")));
    };
    let (Ok(port), Ok(messages)) = (port.parse(), messages.parse()) else {
        return Err(Failure::Usage(format!("{ARGUMENT}: {port} and {messages} are to be numbers")));
    };
    fetch(port, user, password, messages).map_err(|error| Failure::Failed(error.to_string()))
}

fn fetch(port: u16, user: &str, password: &str, messages: u32) -> io::Result<()> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut writer = socket.try_clone()?;
    let mut reader = Answers { reader: BufReader::with_capacity(BUFFER_OCTETS, socket), line: Vec::new() };
    reader.status()?;
    writer.write_all(format!("USER {user}\r\nPASS {password}\r\nUIDL\r\n").as_bytes())?;
    reader.status()?;
    reader.status()?;
    reader.status()?;
    reader.block()?;
    let mut commands: String = (1..=messages).map(|number| format!("RETR {number}\r\n")).collect();
    commands.push_str("QUIT\r\n");
    // More than the server takes in at once, where there are many.
    let writing = thread::spawn(move || writer.write_all(commands.as_bytes()));
    for _ in 0..messages {
        reader.status()?;
        reader.block()?;
    }
    reader.status()?;
    writing.join().map_err(|_| io::Error::other("the thread that writes failed"))?
}

struct Answers {
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Answers {
    fn line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            return Err(io::Error::other("the server ended the connection"));
        }
        Ok(&self.line)
    }

    fn status(&mut self) -> io::Result<()> {
        let line = self.line()?;
        if line.starts_with(b"+OK") {
            return Ok(());
        }
        Err(io::Error::other(format!("the server says {}", line.escape_ascii())))
    }

    fn block(&mut self) -> io::Result<()> {
        while self.line()? != b".\r\n" {}
        Ok(())
    }
}
