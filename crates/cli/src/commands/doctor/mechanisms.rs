//! Which ways to log in a server offers, which of them a login took, and whether the others work too.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use restante_client::{Client, ClientError, Error, Offer, Transcript};

use super::check::Finding;
use crate::accounts;

/// How much of a line of a session is kept in search of a command, in octets.
const LINE_MAX_OCTETS: usize = 256;

/// Hears which way to log in was taken last, whichever the client chose. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Ear(Arc<Mutex<Option<String>>>);

impl Ear {
    /// The sessions are written to the file too, if there is one.
    pub(super) fn transcript(&self, file: Option<&Path>) -> Transcript {
        let (ear, begin) = (self.clone(), file.map(accounts::sessions));
        Transcript::new(move || {
            let to = begin.as_ref().map(|begin| begin()).transpose()?;
            Ok(Box::new(Listener { ear: ear.clone(), line: Vec::new(), to }))
        })
    }

    /// `PLAIN`, `USER`, `APOP`, …
    pub(super) fn way(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A line of a session as `docs/dialogue.md` has it.
    fn hear(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        // A time may stand in front of who speaks.
        let mut words =
            line.split_whitespace().skip_while(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        if words.next() != Some("C:") {
            return;
        }
        let way = match words.next() {
            Some("AUTH") => words.next(),
            Some(verb @ ("USER" | "APOP")) => Some(verb),
            _ => None,
        };
        if let Some(way) = way {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(way.trim_end_matches("\\|").to_owned());
        }
    }
}

/// One session as it is written down.
struct Listener {
    ear: Ear,
    line: Vec<u8>,
    to: Option<Box<dyn Write + Send>>,
}

impl Write for Listener {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = match &mut self.to {
            Some(to) => to.write(octets)?,
            None => octets.len(),
        };
        for &octet in octets.get(..written).unwrap_or(octets) {
            if octet == b'\n' {
                self.ear.hear(&self.line);
                self.line.clear();
            } else if self.line.len() < LINE_MAX_OCTETS {
                self.line.push(octet);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// What a server offers before the login, within TLS if there is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// There is no CAPA, so nobody knows.
    unknown: bool,
    /// SASL mechanisms, `USER`, `APOP`.
    ways: Vec<String>,
}

impl Offered {
    pub(super) fn of(client: &Client) -> Self {
        let capabilities = client.capabilities();
        let mut ways: Vec<String> = capabilities.mechanisms().map(str::to_owned).collect();
        if capabilities.user() == Offer::Yes {
            ways.push("USER".to_owned());
        }
        // A time stamp in the greeting is the offer (RFC 1939 §7).
        let stamp = client.greeting().split_once('<').and_then(|(_, behind)| behind.split_once('>'));
        if stamp.is_some_and(|(stamp, _)| stamp.contains('@')) {
            ways.push("APOP".to_owned());
        }
        Self { unknown: !capabilities.are_known(), ways }
    }

    /// What the login that took this way leaves to be tried.
    pub(super) fn others(&self, used: Option<&str>) -> Vec<&'static str> {
        let offered = |way: &&str| self.ways.iter().any(|one| one == way);
        Client::ways_to_log_in().filter(|way| offered(way) && Some(*way) != used).collect()
    }

    /// What is told before the others are tried.
    pub(super) fn told(&self, used: Option<&str>) -> Finding {
        let mut words = match (self.ways.is_empty(), self.unknown) {
            (false, _) => format!("{} offered", self.ways.join(", ")),
            (true, true) => "nobody knows what is offered, since there is no CAPA".to_owned(),
            (true, false) => "none is offered".to_owned(),
        };
        if let Some(used) = used {
            // Writing to a string does not fail.
            write!(words, "; the login took {used}").unwrap_or_default();
        }
        let surprises =
            self.ways.is_empty() || used.is_some_and(|used| !self.ways.iter().any(|way| way == used));
        let found = if surprises { Finding::note(words) } else { Finding::ok(words) };
        let strange: Vec<&str> = self
            .ways
            .iter()
            .map(String::as_str)
            .filter(|way| !Client::ways_to_log_in().any(|known| known == *way))
            .collect();
        match strange.is_empty() {
            true => found,
            false => found.and(Finding::note(format!(
                "{} not tried, since this client does not know it",
                strange.join(", ")
            ))),
        }
    }
}

/// What came of a login by a way that is offered.
pub(super) fn tried(way: &str, done: &Result<(), Error>) -> Finding {
    match done {
        Ok(()) => Finding::ok(format!("{way} works too")),
        Err(
            error @ (Error::Cleartext
            | Error::NotOffered(_)
            | Error::Credentials(_)
            | Error::Unsuitable(_)
            | Error::Exchange { why: ClientError::NoBinding, .. }),
        ) => Finding::note(format!("{way} not tried: {error}")),
        // A server may greet with a stamp, and hold no password that a digest could be made of.
        Err(error) if way == "APOP" => Finding::warning(
            format!("the greeting has a time stamp, and APOP fails: {error}"),
            "leave the time stamp out of the greeting: it offers APOP (RFC 1939 §7)",
        ),
        Err(error) => Finding::fail(
            format!("{way} is offered, but {error}"),
            "mend it, or do not offer it: each client takes the way that it likes best",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn the_way_of_a_login_is_heard_however_it_is_written() {
        let ear = Ear::default();
        assert_eq!(ear.way(), None);
        for (text, way) in [
            ("0.1 S: +OK C: APOP x\n0.2 C: USER john\n0.2 C: PASS [secret]\n", "USER"),
            ("0.1 C: AUTH PLAIN [secret]\n0.2 S: +OK\n", "PLAIN"),
            ("0.1 C: AUTH LOGIN\\|\n", "LOGIN"),
        ] {
            let mut listener = Listener { ear: ear.clone(), line: Vec::new(), to: None };
            text.as_bytes().chunks(3).for_each(|piece| listener.write_all(piece).unwrap());
            assert_eq!(ear.way().as_deref(), Some(way), "{text}");
        }
    }

    #[test]
    fn what_is_offered_is_told_with_what_cannot_be_tried() {
        let of = |ways: &[&str], unknown| Offered {
            unknown,
            ways: ways.iter().map(ToString::to_string).collect(),
        };
        let some = of(&["PLAIN", "NTLM", "USER"], false);
        assert_eq!(some.others(Some("PLAIN")), ["USER"]);
        assert_eq!(some.told(Some("PLAIN")).verdict, Verdict::Note);
        assert_eq!(
            of(&["PLAIN"], false).told(Some("PLAIN")),
            Finding::ok("PLAIN offered; the login took PLAIN")
        );
        assert_eq!(of(&["PLAIN"], false).told(Some("USER")).verdict, Verdict::Note);
        assert_eq!(of(&[], true).told(Some("USER")).verdict, Verdict::Note);
        assert_eq!(tried("USER", &Ok(())).verdict, Verdict::Ok);
        assert_eq!(tried("USER", &Err(Error::Cleartext)).verdict, Verdict::Note);
        assert_eq!(tried("LOGIN", &Err(Error::Lost("x".into()))).verdict, Verdict::Fail);
    }
}
