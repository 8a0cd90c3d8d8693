//! What a list tells of a message: sender, subject and date out of its header, decoded (RFC 5322, 2047). Headers come by
//! TOP, or as the beginning of RETR where the server has no TOP.

use std::{borrow::Cow, time::Duration};

use mail_parser::{Address, DateTime, MessageParser};
use restante_client::{Client, Error, Message, MessageNumber, Offer};
use tokio::time::timeout;

use crate::{
    failure::Failure,
    output,
    terminal::{harmless_line, octets},
};

/// How much of a header is kept, in octets; what lies beyond is not looked at.
const HEADER_MAX_OCTETS: usize = 256 * 1024;

/// A server that sends more for one header will hardly ever come to an end, in octets. Those without TOP, and those whose
/// TOP sends all, send whole messages.
const ANSWER_MAX_OCTETS: u64 = 256 * 1024 * 1024;

/// When it is first looked how much a TOP has sent that is no header, of which nothing comes here.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// How long a decoded line may be, in characters.
const LINE_MAX_CHARS: usize = 1000;

/// Out of a header; empty where it does not say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// The sender's name, else the address.
    pub(super) sender: String,
    /// Name and address.
    pub(super) from: String,
    pub(super) subject: String,
    /// RFC 3339, with the sender's offset.
    pub(super) date: Option<String>,
}

impl Summary {
    pub(super) fn of(header: &[u8]) -> Self {
        let header = readable(header);
        let Some(message) = MessageParser::default().parse_headers(header.as_ref()) else {
            return Self::default();
        };
        let sender = message.from().and_then(Address::first).map(|from| {
            let name = from.name().filter(|name| !name.trim().is_empty());
            line(name.or_else(|| from.address()).unwrap_or_default())
        });
        Self {
            sender: sender.unwrap_or_default(),
            from: message.from().map(addresses).unwrap_or_default(),
            subject: message.subject().map(line).unwrap_or_default(),
            date: message.date().and_then(date),
        }
    }

    /// The day and the minute, as the sender wrote them.
    pub(super) fn minute(&self) -> String {
        self.date.as_deref().and_then(|date| date.get(..16)).unwrap_or("-").replace('T', " ")
    }
}

/// A date of this world.
pub(super) fn date(date: &DateTime) -> Option<String> {
    date.is_valid().then(|| date.to_rfc3339())
}

/// A decoded line, for a terminal.
pub(super) fn line(text: &str) -> String {
    harmless_line(&text.chars().take(LINE_MAX_CHARS).collect::<String>())
}

/// Names and addresses in a line.
pub(super) fn addresses(list: &Address<'_>) -> String {
    /// How many are told.
    const ADDRESSES_MAX: usize = 20;
    let told: Vec<String> = list
        .iter()
        .take(ADDRESSES_MAX)
        .filter_map(|one| match (one.name().map(line).filter(|name| !name.is_empty()), one.address()) {
            (Some(name), Some(address)) => Some(format!("{name} <{}>", line(address))),
            (Some(name), None) => Some(name),
            (None, address) => address.map(line),
        })
        .collect();
    let more = list.iter().skip(ADDRESSES_MAX).count();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    told.join(", ") + &and_more
}

/// Lines of a header that are no UTF-8, against the rules, are taken for Latin-1, which most of them are.
pub(super) fn readable(header: &[u8]) -> Cow<'_, [u8]> {
    if str::from_utf8(header).is_ok() {
        return Cow::Borrowed(header);
    }
    let lines = header.split_inclusive(|&octet| octet == b'\n').map(|line| match str::from_utf8(line) {
        Ok(line) => Cow::Borrowed(line),
        Err(_) => line.iter().map(|&octet| char::from(octet)).collect(),
    });
    Cow::Owned(lines.collect::<String>().into_bytes())
}

/// The header that a message begins with, with the empty line behind it.
#[derive(Debug, Default)]
struct Header {
    octets: Vec<u8>,
    whole: bool,
}

impl Header {
    /// Memory does not grow with the message: what lies behind the header is not kept.
    fn take(&mut self, octets: &[u8]) {
        if self.whole {
            return;
        }
        let looked_at = self.octets.len().saturating_sub(3);
        let room = HEADER_MAX_OCTETS.saturating_sub(self.octets.len());
        self.octets.extend_from_slice(octets.get(..room).unwrap_or(octets));
        if self.octets.starts_with(b"\r\n") {
            (self.octets, self.whole) = (Vec::new(), true);
        } else if let Some(end) = memchr::memmem::find(&self.octets[looked_at..], b"\r\n\r\n") {
            self.octets.truncate(looked_at + end + 4);
            self.whole = true;
        } else if self.octets.len() >= HEADER_MAX_OCTETS {
            // A line that is cut off would be read as a whole one.
            let end = memchr::memrchr(b'\n', &self.octets).map_or(0, |end| end + 1);
            self.octets.truncate(end);
            self.whole = true;
        }
    }
}

/// Asks for the headers of these messages, and gives each to `tell` as it comes, in order; a message that the server refuses
/// comes without one, and with its words.
pub(super) async fn summaries(
    client: &mut Client,
    numbers: &[MessageNumber],
    mut tell: impl FnMut(MessageNumber, Result<Summary, String>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if client.capabilities().top() != Offer::No && has_top(client, numbers).await? {
        let mut messages = client.tops(numbers.iter().copied(), 0);
        while let Some(mut message) = messages.next().await? {
            tell(message.number(), summary(&mut message, ANSWER_MAX_OCTETS).await?)?;
        }
        return Ok(());
    }
    output::warn(&["the server has no TOP, so messages are read whole for their headers".to_owned()]);
    let mut messages = client.messages(numbers.iter().copied());
    while let Some(mut message) = messages.next().await? {
        tell(message.number(), summary(&mut message, ANSWER_MAX_OCTETS).await?)?;
    }
    Ok(())
}

/// Whether TOP works, which its offer alone does not say; tried with a message at either end, since one may be gone.
async fn has_top(client: &mut Client, numbers: &[MessageNumber]) -> Result<bool, Failure> {
    let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Ok(true) };
    for number in [first, last] {
        let mut messages = client.tops([number], 0);
        let answered = match messages.next().await? {
            Some(mut message) => summary(&mut message, ANSWER_MAX_OCTETS).await?.is_ok(),
            None => false,
        };
        messages.finish().await?;
        if answered {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn summary(message: &mut Message<'_, '_>, max_octets: u64) -> Result<Result<Summary, String>, Error> {
    let (mut header, mut came, mut look) = (Header::default(), 0, LOOK_AFTER);
    loop {
        match timeout(look, message.chunk()).await {
            Ok(Ok(Some(octets))) => {
                came += octets.len() as u64;
                header.take(octets);
                look = LOOK_AFTER;
            }
            Ok(Ok(None)) => return Ok(Ok(Summary::of(&header.octets))),
            Ok(Err(Error::Refused(refused))) => return Ok(Err(refused.to_string())),
            Ok(Err(error)) => return Err(error),
            // Ever later, since each look begins the wait for a silent server anew.
            Err(_) => look = look.saturating_mul(2),
        }
        let all = came.saturating_add(message.surplus_octets());
        if all > max_octets {
            return Err(Error::Lost(format!(
                "the server's answer for the header of message {} does not end: {} octets came, and the connection \
                 was given up",
                message.number(),
                octets(all)
            )));
        }
    }
}

/// Numbers and lengths in words: `3 messages, 4.1M`.
pub(super) fn count(messages: usize, sum: Option<u64>) -> String {
    let messages = match messages {
        0 => "no messages".to_owned(),
        1 => "1 message".to_owned(),
        many => format!("{many} messages"),
    };
    match sum {
        Some(sum) if sum < 10_000 => format!("{messages}, {sum} octets"),
        Some(sum) => format!("{messages}, {}", octets(sum)),
        None => messages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_decoded_whatever_their_charset() {
        let summary = Summary::of(
            b"Date: Fri, 1 Apr 2005 07:56:00 +0200\r\nFrom: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= <a@example.org>\r\n\
              Subject: =?koi8-r?Q?=F0=D2=C9?=\r\n =?koi8-r?Q?=D7=C5=D4?= =?utf-8?q?_=F0=9F=9A=80?=\r\n\r\n",
        );
        assert_eq!((summary.sender.as_str(), summary.from.as_str()), ("日本", "日本 <a@example.org>"));
        assert_eq!(summary.subject, "Привет 🚀");
        assert_eq!(summary.date.as_deref(), Some("2005-04-01T07:56:00+02:00"));
        assert_eq!(summary.minute(), "2005-04-01 07:56");
    }

    /// A server whose every TOP goes on for ever: behind the header, or within it.
    async fn endless(stream: tokio::io::DuplexStream, header: &'static str) {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let mut stream = BufReader::new(stream);
        stream.write_all(b"+OK\r\n").await.unwrap();
        let mut line = String::new();
        while !line.starts_with("TOP") {
            let answer: &[u8] = match line.trim_end() {
                "CAPA" => b"+OK\r\nUSER\r\nTOP\r\n.\r\n",
                "" => b"",
                _ => b"+OK\r\n",
            };
            stream.write_all(answer).await.unwrap();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        stream.write_all(format!("+OK\r\n{header}").as_bytes()).await.unwrap();
        while stream.write_all(b"X-More: of this\r\n").await.is_ok() {}
    }

    #[test]
    fn a_header_without_end_is_given_up() {
        use restante_client::{Credentials, Options, Security};
        for header in ["Subject: x\r\n\r\n", "Subject: x\r\n"] {
            let (ours, theirs) = tokio::io::duplex(4096);
            let work = async {
                tokio::spawn(endless(theirs, header));
                let options = Options { cleartext_passwords: true, ..Options::default() };
                let mut client = Client::over(ours, "h", Security::None, &options).await?;
                client.authenticate(&Credentials::new("john", b"abcxyz".to_vec())).await?;
                let mut messages = client.tops([MessageNumber::FIRST], 0);
                let mut message = messages.next().await?.unwrap();
                summary(&mut message, 10_000).await
            };
            let failed = crate::runtime::block_on(crate::runtime::Threads::One, work).unwrap();
            let error = failed.unwrap_err();
            assert!(error.is_fatal() && error.to_string().contains("does not end"), "{error}");
        }
    }

    #[test]
    fn broken_headers_are_shown_as_good_as_they_can_be() {
        let summary = Summary::of(
            b"Date: yesterday\r\nFrom: caf\xe9 <b@example.org>\r\nSubject: =?utf-8?q?a=1b[31m=ff?= =?x?y?\r\n\r\n",
        );
        assert_eq!(
            (summary.sender.as_str(), summary.date, summary.subject.contains('\x1b')),
            ("café", None, false)
        );
        assert_eq!(Summary::of(b""), Summary::default());
        assert_eq!(Summary::of(b"no header at all"), Summary::default());
        assert_eq!(Summary::of(b"Subject: a\r\n").minute(), "-");
        let long = Summary::of(format!("Subject: {}\r\n\r\n", "x".repeat(100_000)).as_bytes());
        assert_eq!(long.subject.len(), LINE_MAX_CHARS);
    }

    #[test]
    fn a_header_ends_where_it_ends_however_it_is_cut() {
        let text = b"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore";
        for cut in 0..text.len() {
            let mut header = Header::default();
            header.take(&text[..cut]);
            header.take(&text[cut..]);
            assert_eq!(header.octets, b"A: b\r\nC: d\r\n\r\n", "{cut}");
        }
        let mut header = Header::default();
        (0..HEADER_MAX_OCTETS).for_each(|_| header.take(b"X: y\r\n"));
        assert!(header.octets.len() <= HEADER_MAX_OCTETS && header.octets.ends_with(b"\r\n"));
        let mut header = Header::default();
        header.take(b"\r\nbody\r\n\r\n");
        assert_eq!(header.octets, b"");
    }
}
