//! The two things that a destination on the network wants to know of a message's header: when it arrived, and who sent
//! it. Reading a header for people is elsewhere.

use jiff::{Timestamp, ZonedDateTime, fmt::rfc2822::DateTimeParser};

/// How much of a message is searched for its header fields, in octets.
pub(crate) const HEADER_MAX_OCTETS: u64 = 64 * 1024;

/// The longest field that is looked at, in octets, unfolded.
const FIELD_MAX_OCTETS: usize = 8 * 1024;

/// The longest address of a sender, in octets (RFC 5321 §4.5.3.1.3).
const PATH_MAX_OCTETS: usize = 256;

/// How far from now a date may be and still make sense: computers had no mail before, and a day is for clocks that are
/// wrong.
const FIRST_YEAR: i16 = 1970;
const AHEAD_MAX_SECONDS: i64 = 24 * 60 * 60;

/// The body of the first field of this name, unfolded; `None` if the header (or `head`) ends before it.
pub(crate) fn field(head: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut lines = head.split_inclusive(|&octet| octet == b'\n').map(trim_end).peekable();
    loop {
        let line = lines.next().filter(|line| !line.is_empty())?;
        let Some(body) = body(line, name) else { continue };
        let mut unfolded = body.to_vec();
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            if unfolded.len() + more.len() > FIELD_MAX_OCTETS {
                return None;
            }
            unfolded.extend_from_slice(more);
        }
        return Some(unfolded);
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn body<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name.as_bytes()).then_some(())?;
    // White space before the colon is obsolete, and still seen (RFC 5322 §4.5).
    rest.trim_ascii_start().strip_prefix(b":")
}

/// When a message arrived, as IMAP writes dates: by its topmost Received field, else by its Date, else now.
pub(crate) fn arrival(head: &[u8], now: Timestamp) -> String {
    let received = field(head, "received").and_then(|body| {
        // The date stands behind the last semicolon (RFC 5321 §4.4).
        let at = body.iter().rposition(|&octet| octet == b';')?;
        date(&body[at + 1..], now)
    });
    let when = received
        .or_else(|| field(head, "date").and_then(|body| date(&body, now)))
        .unwrap_or_else(|| now.to_zoned_datetime(jiff::tz::TimeZone::UTC));
    when.strftime("%d-%b-%Y %H:%M:%S %z").to_string()
}

/// A date that makes sense.
fn date(text: &[u8], now: Timestamp) -> Option<ZonedDateTime> {
    // A weekday that is wrong says nothing against the rest.
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let date = PARSER.parse_zoned_datetime(text.trim_ascii()).ok()?;
    let ahead = date.timestamp().as_second().saturating_sub(now.as_second());
    (date.year() >= FIRST_YEAR && ahead <= AHEAD_MAX_SECONDS).then_some(date)
}

/// Who sent a message: the address of its Return-Path field, empty for `<>`; `None` if there is none that can stand in
/// an envelope as it is.
pub(crate) fn return_path(head: &[u8]) -> Option<String> {
    let body = field(head, "return-path")?;
    let text = std::str::from_utf8(body.trim_ascii()).ok()?;
    let address = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    (address.is_empty() && text == "<>" || is_address(address)).then(|| address.to_owned())
}

/// Whether a text can stand between the angle brackets of an envelope.
pub(crate) fn is_address(text: &str) -> bool {
    let legal = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>');
    matches!(text.len(), 1..=PATH_MAX_OCTETS) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "10-Nov-2025 12:00:00 +0000";

    fn arrival(head: &str) -> String {
        super::arrival(head.as_bytes(), "2025-11-10T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_topmost_received_field_says_when() {
        let head = "Return-Path: <a@b>\r\nReceived: from x (HELO; y) by z;\r\n\tThu, 6 Nov 2025 01:02:03 +0100 (CET)\r\n\
                    Received: by w; Fri, 7 Nov 2025 00:00:00 +0000\r\nDate: Mon, 3 Nov 2025 00:00:00 +0000\r\n\r\n";
        assert_eq!(arrival(head), "06-Nov-2025 01:02:03 +0100");
        assert_eq!(arrival("date : 3 Nov 2025 04:05 EST\n\nx"), "03-Nov-2025 04:05:00 -0500");
        assert_eq!(
            arrival("Date: Fri, 3 Nov 2025 04:05:06 -0000\n"),
            "03-Nov-2025 04:05:06 +0000",
            "a wrong weekday"
        );
    }

    #[test]
    fn a_date_without_sense_is_passed_over() {
        let date = "Date: Mon, 3 Nov 2025 00:00:00 +0000\r\n\r\n";
        for received in
            ["by z", "by z; yesterday", "by z; 6 Nov 2125 00:00:00 +0000", "by z; 6 Nov 1925 00:00:00 +0000"]
        {
            assert_eq!(arrival(&format!("Received: {received}\r\n{date}")), "03-Nov-2025 00:00:00 +0000");
        }
        for head in [
            "",
            "\r\n",
            "Subject: a\r\n\r\nDate: Mon, 3 Nov 2025 00:00:00 +0000",
            "Date: 31 Feb 2025 0:0:0 +0\r\n",
        ] {
            assert_eq!(arrival(head), NOW, "{head}");
        }
        assert_eq!(arrival(&format!("Date: 3 Nov 2025\r\n {}\r\n", "a".repeat(9000))), NOW);
    }

    #[test]
    fn the_return_path_is_an_address_or_nothing() {
        let path = |text: &str| return_path(format!("Return-Path: {text}\r\n\r\n").as_bytes());
        assert_eq!(path("<john@example.org>").as_deref(), Some("john@example.org"));
        assert_eq!(path("john@example.org").as_deref(), Some("john@example.org"));
        assert_eq!(path("<>").as_deref(), Some(""));
        for odd in ["", "<a b@c>", "<a@b>\r\n <c@d>", "<a@b> SIZE=1", "<j\u{f6}rg@b>", "<<a@b>>"] {
            assert_eq!(path(odd), None, "{odd}");
        }
        assert_eq!(return_path(b"Subject: a\r\n\r\nReturn-Path: <a@b>"), None);
    }
}
