//! The session of `restante-proto` over a blocking socket: no tokio, no threads, no TLS.
//!
//! ```text
//! POP3_PASSWORD=… cargo run -p restante-client --example blocking -- localhost:110 john
//! ```
//!
//! It shows the contract of [`Session`]: commands go in and octets come out of it, octets go in and events come out of it, and
//! whatever the server says, the session keeps in step and within bounds. Reading, writing, time limits and what an event
//! means to the program are the driver's part, in `next` below.
//!
//! The password goes over the connection in clear text: this is for servers on the same machine.
#![allow(clippy::print_stdout)]

use std::{
    env,
    error::Error,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use restante_proto::{
    MessageNumber, Secret,
    client::{Event, Session},
    command::Command,
    reply::Status,
};

/// How long the server may say nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is read at a time, in octets.
const INPUT_OCTETS: usize = 16 * 1024;

struct Driver {
    socket: TcpStream,
    session: Session,
    input: Vec<u8>,
    /// How much of the input was consumed.
    taken: usize,
    out: Vec<u8>,
    /// What came of a message.
    body: Vec<u8>,
}

/// What this program wants to know of an event.
enum Said {
    Answer(Status),
    Octets,
    End,
}

impl Driver {
    fn connect(place: &str) -> Result<Self, Box<dyn Error>> {
        let socket = TcpStream::connect(place)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            session: Session::new(),
            input: Vec::new(),
            taken: 0,
            out: Vec::new(),
            body: Vec::new(),
        })
    }

    /// What the server says next.
    fn next(&mut self) -> Result<Said, Box<dyn Error>> {
        loop {
            let mut input = &self.input[self.taken..];
            let before = input.len();
            let event = self.session.advance(&mut input, &mut self.body)?;
            let said = match event {
                Event::Greeting { status, .. } | Event::Reply { status, .. } => Some(Said::Answer(status)),
                Event::Octets => Some(Said::Octets),
                Event::End { .. } => Some(Said::End),
                Event::Line(_) => None,
                Event::Challenge(_) | Event::StartTls => return Err("neither AUTH nor STLS was said".into()),
                Event::Input => {
                    self.read()?;
                    continue;
                }
            };
            self.taken += before - input.len();
            if let Some(said) = said {
                return Ok(said);
            }
        }
    }

    fn read(&mut self) -> Result<(), Box<dyn Error>> {
        self.socket.write_all(&self.out)?;
        self.out.clear();
        self.input.resize(INPUT_OCTETS, 0);
        let octets = self.socket.read(&mut self.input)?;
        self.input.truncate(octets);
        self.taken = 0;
        if octets == 0 {
            self.session.eof()?;
            return Err("the server ended the connection".into());
        }
        Ok(())
    }

    /// Says a command, and takes its `+OK`.
    fn ask(&mut self, command: &Command<'_>) -> Result<String, Box<dyn Error>> {
        // What nobody asked for must not become the answer to this.
        self.session.unasked(&self.input[self.taken..])?;
        self.session.send(command, &mut self.out)?;
        self.ok()
    }

    fn ok(&mut self) -> Result<String, Box<dyn Error>> {
        match self.next()? {
            Said::Answer(Status::Ok { text }) => Ok(text),
            Said::Answer(Status::Err { text, .. }) => Err(format!("the server refused: {text}").into()),
            _ => Err("that is no answer".into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let place = arguments.next().ok_or("HOST:PORT, please")?;
    let user = arguments.next().ok_or("a user, please")?;
    let password = env::var("POP3_PASSWORD")?;

    let mut driver = Driver::connect(&place)?;
    println!("{}", driver.ok()?);
    driver.ask(&Command::User(&user))?;
    driver.ask(&Command::Pass(Secret::new(password.into_bytes())))?;
    let stat = driver.ask(&Command::Stat)?;
    let count: u32 = stat.split(' ').next().unwrap_or_default().parse()?;
    for number in (1..=count).filter_map(MessageNumber::new) {
        driver.ask(&Command::Retr(number))?;
        let mut octets = 0;
        while let Said::Octets = driver.next()? {
            octets += driver.body.len();
            // The driver takes them away before it goes on.
            driver.body.clear();
        }
        println!("message {number} has {octets} octets");
    }
    driver.ask(&Command::Quit)?;
    Ok(())
}
