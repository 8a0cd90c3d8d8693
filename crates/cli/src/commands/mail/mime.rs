//! A message taken apart for a reader (RFC 2045, 2046): its readable texts, and what is attached. Depth and number of parts
//! are bounded, and a message within a message is attached, not entered; decoders and header fields are `mail-parser`'s.

use std::borrow::Cow;

use mail_parser::{
    ContentType, Message, MessageParser, MessagePart, MimeHeaders,
    decoders::{
        base64::base64_decode, charsets::map::charset_decoder, html::html_to_text,
        quoted_printable::quoted_printable_decode,
    },
};

use super::header::readable;

/// How deep parts may lie in parts; deeper ones are attached as they are.
const DEPTH_MAX: usize = 16;

/// How many parts are looked at.
const PARTS_MAX: usize = 1000;

/// A message for a reader.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) texts: Vec<String>,
    pub(super) attached: Vec<Attached>,
    /// Whether a text is plain by itself, and not made so.
    plain: bool,
}

/// Something that is attached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// Its name, or the subject of a message; not made harmless.
    pub(super) name: Option<String>,
    /// Its type, such as `application/pdf`, likewise.
    pub(super) kind: String,
    pub(super) octets: usize,
}

/// Takes a message apart.
pub(super) fn content(octets: &[u8]) -> Content {
    let (mut content, mut parts) = (Content::default(), PARTS_MAX);
    walk(octets, DEPTH_MAX, &mut parts, &mut content);
    content
}

/// A header with the empty line behind it, and what follows.
pub(super) fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    if octets.starts_with(b"\r\n") {
        return octets.split_at(2);
    }
    let end = memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |end| end + 4);
    octets.split_at(end)
}

/// The fields of a header; none, where there are none.
pub(super) fn fields(header: &[u8]) -> Message<'_> {
    // `Message::default()` has no part, and its methods ask the first one.
    let none = || Message { parts: vec![MessagePart::default()], ..Message::default() };
    MessageParser::default().parse_headers(header).unwrap_or_else(none)
}

fn walk(octets: &[u8], depth: usize, parts: &mut usize, content: &mut Content) {
    let Some(left) = parts.checked_sub(1) else { return };
    *parts = left;
    let (header, body) = split(octets);
    let header = readable(header);
    let header = fields(&header);
    let kind = header.content_type();
    let is = |ctype: &str| kind.is_some_and(|kind| kind.ctype().eq_ignore_ascii_case(ctype));
    let subtype = kind.and_then(ContentType::subtype).unwrap_or("plain").to_ascii_lowercase();
    let boundary = kind.and_then(|kind| kind.attribute("boundary"));
    match boundary {
        Some(boundary) if is("multipart") && depth > 0 => {
            let children = children(body, boundary.as_bytes());
            match subtype.as_str() {
                "alternative" => best(children, depth - 1, parts, content),
                _ => children.for_each(|child| walk(child, depth - 1, parts, content)),
            }
        }
        _ if is_text(&header, kind, &subtype) => {
            let body = decoded(&header, body);
            let text = text(&body, kind.and_then(|kind| kind.attribute("charset")));
            match subtype.as_str() {
                "html" => content.texts.push(html_to_text(&text)),
                _ => {
                    content.texts.push(text);
                    content.plain = true;
                }
            }
        }
        _ => content.attached.push(attached(&header, kind, body)),
    }
}

/// Plain text or HTML that is not meant as a file; whatever has no type is plain text (RFC 2045 §5.2).
fn is_text(header: &Message<'_>, kind: Option<&ContentType<'_>>, subtype: &str) -> bool {
    let text = kind.is_none_or(|kind| kind.ctype().eq_ignore_ascii_case("text"));
    let file = header.content_disposition().is_some_and(ContentType::is_attachment);
    text && matches!(subtype, "plain" | "html") && !file
}

/// Of parts that say the same (RFC 2046 §5.1.4) the first that has plain text, else the first that has text; what is
/// attached to any of them stays.
fn best<'m>(
    children: impl Iterator<Item = &'m [u8]>,
    depth: usize,
    parts: &mut usize,
    content: &mut Content,
) {
    let mut best = Content::default();
    for child in children {
        let mut one = Content::default();
        walk(child, depth, parts, &mut one);
        content.attached.append(&mut one.attached);
        let better = (one.plain && !best.plain) || (best.texts.is_empty() && !one.texts.is_empty());
        if better {
            best = one;
        }
    }
    content.plain |= best.plain;
    content.texts.append(&mut best.texts);
}

/// The parts between the lines of a boundary (RFC 2046 §5.1.1); the last one may lack its end.
fn children<'m>(body: &'m [u8], boundary: &[u8]) -> impl Iterator<Item = &'m [u8]> {
    let dashes = [b"--", boundary].concat();
    let mut rest = next_boundary(body, &dashes).and_then(|(_, behind)| behind);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        Some(match next_boundary(here, &dashes) {
            Some((part, behind)) => {
                rest = behind;
                part
            }
            None => here,
        })
    })
}

/// What lies before the next line of the boundary, and behind it, unless it is the last one.
fn next_boundary<'m>(octets: &'m [u8], dashes: &[u8]) -> Option<(&'m [u8], Option<&'m [u8]>)> {
    for at in memchr::memmem::find_iter(octets, dashes) {
        if at > 0 && octets[at - 1] != b'\n' {
            continue;
        }
        let behind = &octets[at + dashes.len()..];
        let end = memchr::memchr(b'\n', behind).map_or(behind.len(), |end| end + 1);
        let (line, behind) = behind.split_at(end);
        let last = line.starts_with(b"--");
        if !last && !line.trim_ascii().is_empty() {
            continue;
        }
        let part = &octets[..at];
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        return Some((part, (!last).then_some(behind)));
    }
    None
}

/// The body without its transfer encoding; where that is broken, what can be read.
fn decoded<'m>(header: &Message<'_>, body: &'m [u8]) -> Cow<'m, [u8]> {
    match header.content_transfer_encoding().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "base64" => {
            let alphabet = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
            let octets: Vec<u8> = body.iter().copied().filter(alphabet).collect();
            base64_decode(&octets).map_or(Cow::Borrowed(body), Cow::Owned)
        }
        "quoted-printable" => {
            let mut all = Vec::with_capacity(body.len());
            // A line that is broken stays as it is, and no other.
            for line in body.split_inclusive(|&octet| octet == b'\n') {
                match quoted_printable_decode(line) {
                    Some(line) => all.extend_from_slice(&line),
                    None => all.extend_from_slice(line),
                }
            }
            Cow::Owned(all)
        }
        _ => Cow::Borrowed(body),
    }
}

fn text(octets: &[u8], charset: Option<&str>) -> String {
    match (charset.and_then(|charset| charset_decoder(charset.trim().as_bytes())), str::from_utf8(octets)) {
        // Many say another charset, and send UTF-8; the other way round is rare.
        (_, Ok(text)) if !text.is_ascii() => text.to_owned(),
        (Some(decode), _) => decode(octets),
        (None, Ok(text)) => text.to_owned(),
        (None, Err(_)) => octets.iter().map(|&octet| char::from(octet)).collect(),
    }
}

fn attached(header: &Message<'_>, kind: Option<&ContentType<'_>>, body: &[u8]) -> Attached {
    let written = |kind: &ContentType<'_>| match kind.subtype() {
        Some(subtype) => format!("{}/{subtype}", kind.ctype()),
        None => kind.ctype().to_owned(),
    };
    let body = decoded(header, body);
    let subject = || {
        kind.filter(|kind| kind.ctype().eq_ignore_ascii_case("message"))?;
        let inner = readable(split(&body).0).into_owned();
        fields(&inner).subject().map(str::to_owned)
    };
    Attached {
        name: header.attachment_name().map(str::to_owned).or_else(subject),
        kind: kind.map_or_else(|| "text/plain".to_owned(), written),
        octets: body.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(subtype: &str, parts: &[&str]) -> String {
        let parts: String = parts.iter().map(|part| format!("--x y\r\n{part}\r\n")).collect();
        format!(
            "Content-Type: multipart/{subtype}; boundary=\"x y\"\r\n\r\npreamble\r\n{parts}--x y--\r\nepilogue\r\n"
        )
    }

    #[test]
    fn the_plain_alternative_is_taken_wherever_it_stands() {
        let html = "Content-Type: text/html\r\n\r\n<b>one</b>";
        let plain = "Content-Type: text/plain; charset=koi8-r\r\n\r\none";
        for parts in [[html, plain], [plain, html]] {
            assert_eq!(content(multipart("alternative", &parts).as_bytes()).texts, ["one"]);
        }
        assert_eq!(content(multipart("alternative", &[html, html]).as_bytes()).texts, ["one"]);
        assert_eq!(content(multipart("mixed", &[plain, html]).as_bytes()).texts, ["one", "one"]);
    }

    #[test]
    fn a_message_in_a_message_is_attached_and_not_entered() {
        let inner = "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhidden";
        let found = content(multipart("mixed", &["\r\nouter", inner]).as_bytes());
        assert_eq!(found.texts, ["outer"]);
        assert_eq!(
            found.attached,
            [Attached { name: Some("inner".into()), kind: "message/rfc822".into(), octets: 24 }]
        );
    }

    #[test]
    fn broken_encodings_cost_no_more_than_their_line() {
        let message = "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =\r\n=zz\r\n50=25\r\n";
        assert_eq!(content(message.as_bytes()).texts, ["café =zz\r\n50%\r\n"]);
        let message = "Content-Transfer-Encoding: BASE64\r\n\r\naGVs!\r\nbG8=\r\n";
        assert_eq!(content(message.as_bytes()).texts, ["hello"]);
        let message = b"Content-Type: text/plain; charset=us-ascii\r\n\r\ncaf\xc3\xa9";
        assert_eq!(content(message).texts, ["café"]);
        assert_eq!(content(b"\r\ncaf\xe9").texts, ["café"]);
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let deep: String = (0..200_000)
            .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"))
            .collect();
        assert_eq!(content(deep.as_bytes()).attached.len(), 1);
        let many = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}",
            "--x\r\n\r\na\r\n".repeat(100_000)
        );
        assert_eq!(content(many.as_bytes()).texts.len(), PARTS_MAX - 1);
        let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(200_000);
        assert_eq!(content(nested.as_bytes()).attached.len(), 1);
    }

    #[test]
    fn boundaries_are_whole_lines() {
        let message = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--ab\r\nx --a\r\n--a \r\n\r\ntwo";
        assert_eq!(content(message.as_bytes()).texts, ["one\r\n--ab\r\nx --a", "two"]);
        assert_eq!(content(b"Content-Type: multipart/mixed; boundary=a\r\n\r\nno parts").texts.len(), 0);
    }
}
