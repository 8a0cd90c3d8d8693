//! `restante mail URL show N`: a message to read, or as its octets are.

use std::io::{self, Write};

use mail_parser::{Message as Parsed, MessageParser, MessagePart, MimeHeaders, PartType};
use restante_client::{Client, Error, MessageNumber};

use super::header::{addresses, date, line, readable};
use crate::{
    failure::Failure,
    output,
    terminal::{harmless_text, octets},
};

/// The longest message that is taken apart for display, in octets.
const SHOWN_MAX_OCTETS: usize = 32 * 1024 * 1024;

/// Streams the octets as they are.
pub(super) async fn raw(client: &mut Client, number: MessageNumber) -> Result<(), Failure> {
    let mut messages = client.message(number);
    let mut out = io::stdout();
    while let Some(mut message) = messages.next().await? {
        while let Some(octets) = message.chunk().await? {
            out.write_all(octets).map_err(Failure::from_output)?;
        }
    }
    out.flush().map_err(Failure::from_output)
}

/// Shows who wrote what, and what is attached.
pub(super) async fn show(client: &mut Client, number: MessageNumber) -> Result<(), Failure> {
    let octets = read(client, number).await?;
    output::print(&rendered(&octets, output::stdout_takes_colour()))
}

async fn read(client: &mut Client, number: MessageNumber) -> Result<Vec<u8>, Failure> {
    let too_long = || {
        let max = octets(SHOWN_MAX_OCTETS as u64);
        Failure::failed(format!("message {number} has more than {max}, too much to be shown"))
            .hint(format!("`save {number}` writes it to a file, `show {number} --raw` streams it"))
    };
    // Before a length of gigabytes is read for nothing; servers that do not tell it are read and stopped.
    let listed = match client.size(number).await {
        Ok(listed) => listed,
        Err(Error::Refused(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if listed.is_some_and(|listed| listed > SHOWN_MAX_OCTETS as u64) {
        return Err(too_long());
    }
    let mut all = Vec::new();
    let mut messages = client.message(number);
    while let Some(mut message) = messages.next().await? {
        while let Some(octets) = message.chunk().await? {
            if octets.len() > SHOWN_MAX_OCTETS - all.len() {
                return Err(too_long());
            }
            all.extend_from_slice(octets);
        }
    }
    Ok(all)
}

fn rendered(octets: &[u8], colour: bool) -> String {
    let end = memchr::memmem::find(octets, b"\r\n\r\n").unwrap_or(octets.len());
    let (header, body) = octets.split_at(end);
    let readable = [readable(header).as_ref(), body].concat();
    let Some(message) = MessageParser::default().parse(&readable) else {
        return harmless_text(&String::from_utf8_lossy(octets));
    };
    let mut out = head(&message, colour);
    out.push('\n');
    for text in texts(&message) {
        out.push_str(text.trim_end());
        out.push_str("\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    let attached: Vec<String> = message.attachments().map(attachment).collect();
    if !attached.is_empty() {
        out.push('\n');
        for line in attached {
            out.push_str(&named("Attachment", &line, colour));
        }
    }
    out
}

fn head(message: &Parsed<'_>, colour: bool) -> String {
    let date = message.date().and_then(date).map(|date| date.replace('T', " "));
    [
        ("Date", date),
        ("From", message.from().map(addresses)),
        ("To", message.to().map(addresses)),
        ("Cc", message.cc().map(addresses)),
        ("Subject", message.subject().map(line)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(named(name, &value?, colour)))
    .collect()
}

fn named(name: &str, value: &str, colour: bool) -> String {
    match colour {
        true => format!("\x1b[1m{name}:\x1b[0m {value}\n"),
        false => format!("{name}: {value}\n"),
    }
}

/// The readable parts: plain text, else HTML made plain.
fn texts(message: &Parsed<'_>) -> Vec<String> {
    (0..message.text_body_count())
        .filter_map(|place| message.body_text(place))
        .map(|text| harmless_text(&text))
        .filter(|text| !text.trim().is_empty())
        .collect()
}

fn attachment(part: &MessagePart<'_>) -> String {
    let kind = part.content_type().map_or_else(
        || "no type".to_owned(),
        |kind| line(&format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*"))),
    );
    let name = match &part.body {
        PartType::Message(inner) => inner.subject().map(line),
        _ => part.attachment_name().map(line),
    };
    format!("{} ({kind}, {})", name.unwrap_or_else(|| "without a name".to_owned()), size(part.len()))
}

fn size(length: usize) -> String {
    match octets(length as u64) {
        short if short.ends_with(|c: char| c.is_ascii_digit()) => format!("{short} octets"),
        long => long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Date: Fri, 1 Apr 2005 07:56:00 +0200\r\nFrom: A <a@example.org>\r\nTo: b@example.org\r\n\
        Subject: =?utf-8?q?caf=C3=A9?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
        --x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n\
        --y\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=FC=DFe \x1b[31m\r\n--y\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n--y--\r\n\
        --x\r\nContent-Type: application/pdf; name=\"a\x07.pdf\"\r\nContent-Disposition: attachment\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x--\r\n";

    #[test]
    fn plain_text_is_preferred_and_attachments_are_named() {
        assert_eq!(
            rendered(MESSAGE.as_bytes(), false),
            "Date: 2005-04-01 07:56:00+02:00\nFrom: A <a@example.org>\nTo: b@example.org\nSubject: café\n\n\
             Grüße \u{fffd}[31m\n\nAttachment: a\u{fffd}.pdf (application/pdf, 3 octets)\n"
        );
    }

    #[test]
    fn html_alone_is_made_plain() {
        let message = "Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
                       <style>p{}</style><p>Gr&uuml;&szlig;e,<br>J&#27;[1m</p>\r\n";
        assert_eq!(rendered(message.as_bytes(), false), "Subject: x\n\nGrüße,\nJ\u{fffd}[1m\n");
    }

    #[test]
    fn what_is_no_mail_is_shown_all_the_same() {
        for octets in
            [&b""[..], b"\r\n", b"\r\n\r\n", b"hello\r\n", b"\xff\xfe\x1b[2J\r\n\r\n\xe9", b": :\r\n :"]
        {
            assert!(!rendered(octets, false).contains('\x1b'));
        }
    }
}
