//! What an IMAP server says, as far as delivering needs it (RFC 3501 §7). Whatever else it says is passed over, however
//! odd: only what was asked for has to make sense. How octets come in, and how many, is `session`'s business.

use crate::destination::wire::printable;

/// How deep lists may lie in each other; none that is asked for goes deeper than two.
const DEPTH_MAX: usize = 16;

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `+`: go on, with this text.
    Continue(Vec<u8>),
    /// The end of the command with this tag.
    Done(Vec<u8>, Status),
    /// `* OK`, `* BYE` and the like.
    Status(Status),
    /// What the server can do, in capitals.
    Capability(Vec<String>),
    /// What STATUS was asked, names in capitals.
    Mailbox(Vec<(String, u64)>),
    /// Something of a message.
    Fetch(Fetch),
    /// Anything else.
    Other,
}

/// A status, and what the server says beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) kind: Kind,
    /// The words in brackets, in capitals: `UIDNEXT 12`.
    pub(super) code: String,
    /// The whole text, for people.
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ok,
    No,
    Bad,
    Preauth,
    Bye,
}

impl Status {
    /// Whether the code begins with this word.
    pub(super) fn has_code(&self, word: &str) -> bool {
        self.code.split(' ').next() == Some(word)
    }

    /// The number behind a code: `UIDNEXT`.
    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.code.strip_prefix(word)?.trim_start().parse().ok()
    }
}

/// What a FETCH response says of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) uid: Option<u32>,
    pub(super) octets: Option<u64>,
    pub(super) body: Option<Vec<u8>>,
}

impl Response {
    /// Reads a whole response: lines without their last line end, literals inside.
    pub(super) fn parse(whole: &[u8]) -> Self {
        if let Some(text) = whole.strip_prefix(b"+") {
            return Self::Continue(text.trim_ascii().to_vec());
        }
        let Some(rest) = whole.strip_prefix(b"* ") else {
            let (tag, rest) = word(whole);
            return Status::parse(rest).map_or(Self::Other, |status| Self::Done(tag.to_vec(), status));
        };
        if let Some(status) = Status::parse(rest) {
            return Self::Status(status);
        }
        let (first, behind) = word(rest);
        match upper(first).as_str() {
            "CAPABILITY" => Self::Capability(words(behind)),
            "STATUS" => mailbox(behind).map_or(Self::Other, Self::Mailbox),
            _ => fetch(behind).map_or(Self::Other, Self::Fetch),
        }
    }
}

impl Status {
    fn parse(rest: &[u8]) -> Option<Self> {
        let (first, text) = word(rest);
        let kind = match upper(first).as_str() {
            "OK" => Kind::Ok,
            "NO" => Kind::No,
            "BAD" => Kind::Bad,
            "PREAUTH" => Kind::Preauth,
            "BYE" => Kind::Bye,
            _ => return None,
        };
        let code = text
            .strip_prefix(b"[")
            .and_then(|inside| inside.split(|&octet| octet == b']').next())
            .map_or_else(String::new, upper);
        Some(Self { kind, code, text: printable(text) })
    }
}

/// The words of a line, in capitals.
pub(super) fn words(text: &[u8]) -> Vec<String> {
    text.split(|&octet| octet == b' ').filter(|word| !word.is_empty()).map(upper).collect()
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&octet| octet == b' ').unwrap_or(text.len());
    (&text[..end], text.get(end + 1..).unwrap_or(&[]))
}

fn upper(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_uppercase()
}

/// `"INBOX" (UIDNEXT 12 UIDVALIDITY 7)`.
fn mailbox(rest: &[u8]) -> Option<Vec<(String, u64)>> {
    let items = Items { rest }.list(0)?;
    let Some(Item::List(pairs)) = items.last() else { return None };
    let pair = |pair: &[Item]| match pair {
        [Item::Atom(name), Item::Atom(value)] => Some((upper(name), number(value)?)),
        _ => None,
    };
    Some(pairs.chunks(2).filter_map(pair).collect())
}

/// `FETCH (UID 3 RFC822.SIZE 44)`, behind the message's number.
fn fetch(rest: &[u8]) -> Option<Fetch> {
    let (verb, rest) = word(rest);
    if !verb.eq_ignore_ascii_case(b"FETCH") {
        return None;
    }
    let items = Items { rest }.list(0)?;
    let [Item::List(pairs)] = items.as_slice() else { return None };
    let mut fetch = Fetch::default();
    for pair in pairs.chunks(2) {
        let [Item::Atom(name), value] = pair else { continue };
        match (upper(name).as_str(), value) {
            ("UID", Item::Atom(value)) => fetch.uid = number(value).and_then(|uid| uid.try_into().ok()),
            ("RFC822.SIZE", Item::Atom(value)) => fetch.octets = number(value),
            (name, Item::Text(text)) if name.starts_with("BODY[]") => fetch.body = Some(text.clone()),
            _ => {}
        }
    }
    Some(fetch)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

enum Item {
    Atom(Vec<u8>),
    Text(Vec<u8>),
    List(Vec<Self>),
}

/// Takes the items of a response apart.
struct Items<'a> {
    rest: &'a [u8],
}

impl Items<'_> {
    /// The items up to the closing parenthesis, or to the end.
    fn list(&mut self, depth: usize) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        while let Some((&octet, behind)) = self.rest.split_first() {
            match octet {
                b' ' => self.rest = behind,
                b')' => {
                    self.rest = behind;
                    return (depth > 0).then_some(items);
                }
                b'(' if depth < DEPTH_MAX => {
                    self.rest = behind;
                    items.push(Item::List(self.list(depth + 1)?));
                }
                b'(' => return None,
                b'"' => items.push(Item::Text(self.quoted()?)),
                b'{' => items.push(Item::Text(self.literal()?)),
                _ => items.push(Item::Atom(self.atom())),
            }
        }
        (depth == 0).then_some(items)
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut octets = self.rest.iter().enumerate().skip(1);
        while let Some((at, &octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                b'\\' => text.push(*octets.next()?.1),
                _ => text.push(octet),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.windows(3).position(|end| end == b"}\r\n")?;
        let octets: usize = number(&self.rest[1..end])?.try_into().ok()?;
        let (text, rest) = self.rest[end + 3..].split_at_checked(octets)?;
        self.rest = rest;
        Some(text.to_vec())
    }

    /// Brackets hold anything: `BODY[HEADER.FIELDS (DATE)]`.
    fn atom(&mut self) -> Vec<u8> {
        let mut brackets = 0_usize;
        let ends = |&octet: &u8| {
            match octet {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            brackets == 0 && matches!(octet, b' ' | b'(' | b')')
        };
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(end);
        self.rest = rest;
        atom.to_vec()
    }
}

/// The length of the literal that a line announces at its end: `{12}`.
pub(super) fn literal_octets(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let at = inside.iter().rposition(|&octet| octet == b'{')?;
    // Anything but digits is text that happens to end so.
    let digits = &inside[at + 1..];
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) { number(digits) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(uid: u32, octets: Option<u64>, body: Option<&[u8]>) -> Response {
        Response::Fetch(Fetch { uid: Some(uid), octets, body: body.map(<[u8]>::to_vec) })
    }

    #[test]
    fn what_is_needed_is_read() {
        let parse = Response::parse;
        assert_eq!(parse(b"* 2 FETCH (UID 3 RFC822.SIZE 44)"), fetch(3, Some(44), None));
        assert_eq!(
            parse(b"* 2 fetch (FLAGS (\\Seen) BODY[HEADER.FIELDS (DATE)] NIL BODY[]<0> {3}\r\na)b UID 3)"),
            fetch(3, None, Some(b"a)b"))
        );
        assert_eq!(parse(b"* 2 FETCH (UID 3 BODY[]<0> \"a\\\"b\")"), fetch(3, None, Some(b"a\"b")));
        assert_eq!(
            parse(b"* STATUS {5}\r\nINBOX (UIDNEXT 12 X (1) UIDVALIDITY 7 )"),
            Response::Mailbox(vec![("UIDNEXT".into(), 12), ("UIDVALIDITY".into(), 7)])
        );
        assert_eq!(
            parse(b"* capability imap4rev1 LITERAL+"),
            Response::Capability(vec!["IMAP4REV1".into(), "LITERAL+".into()])
        );
        let Response::Done(tag, status) = parse(b"r1 NO [overquota] full") else { panic!() };
        assert_eq!((tag.as_slice(), status.kind, status.has_code("OVERQUOTA")), (&b"r1"[..], Kind::No, true));
        let Response::Status(status) = parse(b"* OK [UIDNEXT 12] so") else { panic!() };
        assert_eq!((status.number("UIDNEXT"), status.number("UIDVALIDITY")), (Some(12), None));
        assert_eq!(parse(b"+"), Response::Continue(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        for odd in [
            &b""[..],
            b"*",
            b"* ",
            b"r1",
            b"r1 MAYBE",
            b"* 1 FETCH",
            b"* 1 FETCH (",
            b"* 1 FETCH (UID",
            b"* 1 FETCH (\"a",
            b"* 1 FETCH ({9}\r\na)",
            b"* 1 FETCH ())",
            b"* STATUS",
            b"* STATUS INBOX",
            b"* 1 FETCH (INTERNALDATE NIL",
            b"* 1 FETCH ({99999999999999999999}\r\n)",
            b"* \xff\xfe",
            b"* 1 FETCH (\"\\",
        ] {
            assert_eq!(Response::parse(odd), Response::Other, "{}", printable(odd));
        }
        let deep = [&b"* 1 FETCH "[..], &vec![b'('; 100_000]].concat();
        assert_eq!(Response::parse(&deep), Response::Other);
        let Response::Fetch(fetch) = Response::parse(b"* 1 FETCH (UID 99999999999 RFC822.SIZE -1)") else {
            panic!()
        };
        assert_eq!(fetch, Fetch::default());
    }

    #[test]
    fn no_octet_makes_it_stumble() {
        let whole: &[u8] = b"* 2 FETCH (UID 3 BODY[X (Y)]<0> \"a\\\"\" X {3}\r\na)b RFC822.SIZE 44)";
        for at in 0..whole.len() {
            Response::parse(&whole[..at]);
            for octet in [
                0, b' ', b'"', b'(', b')', b'*', b'+', b'0', b'[', b'\\', b']', b'{', b'}', b'\r', b'\n',
                0xff,
            ] {
                let mut odd = whole.to_vec();
                odd[at] = octet;
                Response::parse(&odd);
            }
        }
    }

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line() {
        assert_eq!(literal_octets(b"* 1 FETCH (BODY[] {12}"), Some(12));
        for line in [&b"{12} "[..], b"{}", b"{+1}", b"{1a}", b"12}", b"{99999999999999999999}", b"{1+}"] {
            assert_eq!(literal_octets(line), None, "{}", printable(line));
        }
    }
}
