//! `restante mail URL show N`: a message to read, or as its octets are.

use std::io::{self, Write};

use mail_parser::Message;
use restante_client::{Client, Error, MessageNumber};

use super::{
    header::{addresses, date, line, readable},
    mime::{content, fields, split},
};
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
    let header = readable(split(octets).0).into_owned();
    let header = fields(&header);
    let content = content(octets);
    let mut out = head(&header, colour);
    for text in &content.texts {
        let text = harmless_text(text);
        let text = text.trim_matches(['\n', ' ']);
        if !text.is_empty() {
            out.push('\n');
            out.push_str(text);
            out.push('\n');
        }
    }
    if !content.attached.is_empty() {
        out.push('\n');
    }
    for attached in &content.attached {
        let name = attached.name.as_deref().map_or_else(|| "without a name".to_owned(), line);
        let about = format!("{name} ({}, {})", line(&attached.kind), size(attached.octets));
        out.push_str(&named("Attachment", &about, colour));
    }
    out
}

fn head(message: &Message<'_>, colour: bool) -> String {
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

fn size(length: usize) -> String {
    match octets(length as u64) {
        short if short.ends_with(|c: char| c.is_ascii_digit()) => format!("{short} octets"),
        long => long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::mail::header::Summary;

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

    /// Numbers that look random and are the same each time (xorshift).
    fn numbers() -> impl FnMut() -> usize {
        let mut state: u64 = 0x2545_f491_4f6c_dd1d;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        }
    }

    #[test]
    fn damaged_mail_is_shown_without_panic_or_escape() {
        let html = "Content-Type: text/html\r\n\r\n<p>Gr\u{fc}\u{df}e &auml;&#x1F600;<br><!-- a --><style>b</style>&x;</p>";
        let odd = "Subject: =?utf-8?B?4pyF?= =?gb18030?q?=a=b?=\r\nFrom: \"a\" <b@c>, grp: x@y, =?q?= ;\r\n\
                   Date: Fri, 31 Dec 1999 23:59:60 +2500\r\nContent-Type: message/rfc822\r\n\r\n\
                   Content-Type: multipart/mixed; boundary*0=\"a\"; boundary*1*=utf-8''%62\r\n\r\n--ab\r\n\r\n--ab--\r\n";
        let mut next = numbers();
        for round in 0..3_000 {
            let mut octets = [MESSAGE, html, odd][round % 3].as_bytes().to_vec();
            for _ in 0..=next() % 8 {
                let at = next() % octets.len();
                match next() % 4 {
                    0 => octets[at] = next() as u8,
                    1 => octets.insert(at, b"\r\n=?;<>&\"-:"[next() % 11]),
                    2 => drop(octets.drain(at..at + next() % (octets.len() - at))),
                    _ => octets.extend_from_within(at..),
                }
                octets.push(b'\n');
            }
            assert!(!rendered(&octets, false).contains('\x1b'));
            assert!(!Summary::of(&octets).subject.contains('\x1b'));
        }
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
