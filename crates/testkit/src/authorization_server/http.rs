//! As much of HTTP/1.1 as the authorization server needs: one request a connection, and a browser that follows redirects.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::{Fault, World};
use crate::loopback::Stop;

/// The longest request, in octets.
const REQUEST_MAX_OCTETS: usize = 64 << 10;

/// The longest page that [`visit`] reads, in octets.
const PAGE_MAX_OCTETS: u64 = 1 << 20;

/// How long a socket is waited for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long an endpoint that hangs does.
const HANGS_FOR: Duration = Duration::from_secs(60);

/// How many redirects a browser follows.
const REDIRECTS_MAX: usize = 5;

/// A request.
pub(super) struct Asked {
    pub(super) path: String,
    /// Of the query and of the form; `Authorization: Basic` is among them as `basic_user` and `basic_password`.
    pub(super) parameters: BTreeMap<String, String>,
}

/// What is answered.
pub(super) enum Answer {
    Json(u16, Value),
    Redirect(String),
    Page(u16, String),
    Late(Duration, Box<Self>),
    Fault(Fault),
}

/// Serves one connection.
pub(super) fn serve(world: &World, mut socket: TcpStream, stop: &Stop) {
    let Ok(second) = socket.try_clone() else { return };
    let _at_end = stop.at_end(move || drop(second.shutdown(Shutdown::Both)));
    let timeouts =
        socket.set_read_timeout(Some(TIMEOUT)).and_then(|()| socket.set_write_timeout(Some(TIMEOUT)));
    if timeouts.is_err() {
        return;
    }
    let Ok(Some(asked)) = read(&mut socket) else { return };
    let answer = super::answer(world, &asked);
    // A client that went away, or reads no more, is no failure of the server.
    drop(say(&mut socket, answer, stop));
}

fn say(socket: &mut TcpStream, answer: Answer, stop: &Stop) -> io::Result<()> {
    let (status, kind, more, body) = match answer {
        Answer::Json(status, value) => (status, "application/json", String::new(), value.to_string()),
        Answer::Page(status, text) => (status, "text/html", String::new(), text),
        Answer::Redirect(to) => (302, "text/plain", format!("Location: {to}\r\n"), String::new()),
        Answer::Late(time, answer) => {
            return if stop.wait(time) { say(socket, *answer, stop) } else { Ok(()) };
        }
        Answer::Fault(fault) => match fault {
            Fault::Hangs => {
                stop.wait(HANGS_FOR);
                return Ok(());
            }
            Fault::Garbage => return socket.write_all(b"\x00\xff+OK this is POP3\r\n"),
            Fault::Closes => return Ok(()),
            Fault::NoJson => (200, "application/json", String::new(), "{\"access_token\": tr".to_owned()),
            Fault::Huge(octets) => {
                (200, "application/json", String::new(), format!("\"{}\"", "x".repeat(octets)))
            }
            Fault::Status500 => (500, "text/html", String::new(), "<h1>Oops</h1>".to_owned()),
            Fault::Unavailable => {
                let body = "{\"error\": \"temporarily_unavailable\"}".to_owned();
                (503, "application/json", String::new(), body)
            }
            Fault::Slow(_) => return Ok(()),
        },
    };
    let head = format!(
        "HTTP/1.1 {status} As it is\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())
}

/// Reads a request; `None` if it is none.
fn read(socket: &mut TcpStream) -> io::Result<Option<Asked>> {
    let (mut octets, mut piece) = (Vec::new(), [0; 4096]);
    let mut needs = None;
    loop {
        if needs.is_none()
            && let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(octets.get(..end).unwrap_or_default()).into_owned();
            let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            needs = Some((head, end + 4, end + 4 + length));
        }
        if let Some((head, body, end)) = &needs
            && octets.len() >= *end
        {
            let body = String::from_utf8_lossy(octets.get(*body..*end).unwrap_or_default()).into_owned();
            return Ok(parse(head, &body));
        }
        let some = socket.read(&mut piece)?;
        if some == 0 || octets.len() > REQUEST_MAX_OCTETS {
            return Ok(None);
        }
        octets.extend_from_slice(piece.get(..some).unwrap_or_default());
    }
}

fn parse(head: &str, body: &str) -> Option<Asked> {
    let target = head.lines().next()?.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.insert(decode(name), decode(value));
    }
    if let Some(basic) = header(head, "authorization").and_then(|text| text.strip_prefix("Basic ")) {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let pair = BASE64_STANDARD.decode(basic.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (user, password) = pair.split_once(':')?;
        parameters.insert("basic_user".into(), decode(user));
        parameters.insert("basic_password".into(), decode(password));
    }
    Some(Asked { path: path.to_owned(), parameters })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A piece of a form (`application/x-www-form-urlencoded`).
fn decode(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let number =
                    std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                number.unwrap_or(b'?')
            }
            octet => octet,
        });
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// A piece of a URL's query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(octet.into());
            }
            octet => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// What a person's browser does with a link: asks for the page, follows redirects, and gives the status and the last page.
///
/// # Errors
/// As sockets have them, or if it is no `http:` URL.
pub fn visit(url: &str) -> io::Result<(u16, String)> {
    let mut url = url.to_owned();
    for _ in 0..REDIRECTS_MAX {
        let no_url = || io::Error::other(format!("{url} is no http: URL"));
        let rest = url.strip_prefix("http://").ok_or_else(no_url)?;
        let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut socket = TcpStream::connect(host)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let target = if target.is_empty() { "/" } else { target };
        write!(socket, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut octets = Vec::new();
        socket.take(PAGE_MAX_OCTETS).read_to_end(&mut octets)?;
        let text = String::from_utf8_lossy(&octets).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        match header(head, "location") {
            Some(to) if (300..400).contains(&status) => url = to.to_owned(),
            _ => return Ok((status, body.to_owned())),
        }
    }
    Err(io::Error::other("too many redirects"))
}
