//! `pop3s://user@host:port` and `pop3://…`: where a server is, who calls, and what protects the connection. A password
//! never stands in a URL.

use std::fmt;

/// The longest URL, in octets.
const URL_MAX_OCTETS: usize = 2048;

/// A POP3 server by URL.
///
/// ```
/// use restante_client::{Security, Url};
/// let url = Url::parse("pop3s://john@anydomain.com@mail.example.org")?;
/// assert_eq!(url.user.as_deref(), Some("john@anydomain.com"));
/// assert_eq!((url.host.as_str(), url.port, url.security), ("mail.example.org", 995, Security::Implicit));
/// # Ok::<(), restante_client::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The user's name, as it is sent.
    pub user: Option<String>,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, or that of the scheme: 995 and 110.
    pub port: u16,
    /// What protects the connection.
    pub security: Security,
}

/// What protects the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// `pop3s://`: TLS from the first byte (RFC 8314).
    Implicit,
    /// `pop3://`: STLS, required (RFC 2595).
    Stls,
    /// `pop3://…?tls=none`: nothing. It has to be asked for.
    None,
}

impl Security {
    /// The port that is registered for it.
    pub(crate) const fn usual_port(self) -> u16 {
        match self {
            Self::Implicit => 995,
            Self::Stls | Self::None => 110,
        }
    }
}

/// Why a text is no URL of a POP3 server. Nothing of the text is repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It begins with another scheme.
    Scheme,
    /// There is a password in it.
    Password,
    /// The user's name is none.
    User,
    /// There is no host.
    NoHost,
    /// The host's name is none.
    Host,
    /// An IPv6 address stands without its brackets, or with other text in them.
    Brackets,
    /// The port is none.
    Port,
    /// There is a path.
    Path,
    /// The query is another than `tls=none`, or stands behind `pop3s`.
    Query,
    /// It is too long.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL begins with pop3s:// (TLS from the first byte) or pop3:// (STLS)",
            Self::Password => "a password never stands in a URL: others can read it",
            Self::User => {
                "the user's name in the URL is empty, holds control characters, or a % without two digits"
            }
            Self::NoHost => "the URL names no host",
            Self::Host => {
                "a host's name has letters, digits, dots and hyphens; write other letters in their xn-- form"
            }
            Self::Brackets => "write an IPv6 address in brackets: pop3s://[2001:db8::1]:995",
            Self::Port => "a port is a number from 1 to 65535",
            Self::Path => "nothing stands behind the host and its port, unless it is ?tls=none",
            Self::Query => "behind the ? stands tls=none, in a URL that begins with pop3://",
            Self::TooLong => "the URL is longer than 2,048 octets",
        })
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads a URL. It is split at the last `@`, so that `pop3s://user@domain@host` works.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_MAX_OCTETS {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "pop3s" => Security::Implicit,
            "pop3" => Security::Stls,
            _ => return Err(UrlError::Scheme),
        };
        // A name may hold a question mark, a host may not.
        let (user, place) = split_user(rest);
        let (place, query) = match place.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (place, None),
        };
        let security = match (query, security) {
            (None, security) => security,
            (Some("tls=none"), Security::Stls) => Security::None,
            (Some(_), _) => return Err(UrlError::Query),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '#']) {
            return Err(UrlError::Path);
        }
        let Authority { user, host, port } = Authority::of(user, place)?;
        let default_port = security.usual_port();
        Ok(Self { user, host, port: port.unwrap_or(default_port), security })
    }
}

/// Who and where: `user@host:port`, the middle part of a URL of any scheme.
///
/// ```
/// use restante_client::Authority;
/// let authority = Authority::parse("john@a.org@[2001:db8::1]:993")?;
/// assert_eq!(authority.user.as_deref(), Some("john@a.org"));
/// assert_eq!((authority.host.as_str(), authority.port), ("2001:db8::1", Some(993)));
/// # Ok::<(), restante_client::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The user's name, decoded.
    pub user: Option<String>,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, where there is one.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads it; it is split at the last `@`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (user, place) = split_user(text);
        Self::of(user, place)
    }

    fn of(user: Option<&str>, place: &str) -> Result<Self, UrlError> {
        let user = user.map(read_user).transpose()?;
        let (host, port) = split_port(place)?;
        Ok(Self { user, host: host.to_owned(), port: port.map(read_port).transpose()? })
    }
}

fn split_user(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('@').map_or((None, text), |(user, place)| (Some(user), place))
}

impl fmt::Display for Url {
    /// Without the user, for logs and recordings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.security == Security::Implicit { "pop3s" } else { "pop3" };
        let query = if self.security == Security::None { "?tls=none" } else { "" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}{query}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}{query}", self.host, self.port),
        }
    }
}

/// The name, with `%40` and the like decoded.
fn read_user(text: &str) -> Result<String, UrlError> {
    // No user's name holds a colon, so what is behind one is meant as a password.
    if text.contains(':') {
        return Err(UrlError::Password);
    }
    let name = percent_decode(text).ok_or(UrlError::User)?;
    if name.contains(':') {
        return Err(UrlError::Password);
    }
    if name.is_empty() || name.chars().any(char::is_control) { Err(UrlError::User) } else { Ok(name) }
}

/// A part of a URL with `%40` and the like decoded; `None` if a % has no two digits behind it, or if it is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, behind)) = rest.split_first() {
        if octet != b'%' {
            octets.push(octet);
            rest = behind;
            continue;
        }
        let digit = |at: usize| behind.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        octets.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &behind[2..];
    }
    String::from_utf8(octets).ok()
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (address, behind) = rest.split_once(']').ok_or(UrlError::Brackets)?;
        // A zone (`fe80::1%eth0`) names an interface, and is nothing to check.
        let number = address.split_once('%').map_or(address, |(number, _)| number);
        number.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Brackets)?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if behind.is_empty() => Ok((address, None)),
            None => Err(UrlError::Port),
        };
    }
    let (host, port) = match place.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(UrlError::Brackets),
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(legal) { Ok((host, port)) } else { Err(UrlError::Host) }
}

fn read_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0).ok_or(UrlError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> (Option<String>, String, u16, Security) {
        let Url { user, host, port, security } =
            Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (user, host, port, security)
    }

    fn expected(
        user: &str,
        host: &str,
        port: u16,
        security: Security,
    ) -> (Option<String>, String, u16, Security) {
        ((!user.is_empty()).then(|| user.to_owned()), host.to_owned(), port, security)
    }

    #[test]
    fn every_form_is_read() {
        use Security::{Implicit, None, Stls};
        assert_eq!(url("pop3s://john@example.org"), expected("john", "example.org", 995, Implicit));
        assert_eq!(url("POP3://example.org/"), expected("", "example.org", 110, Stls));
        assert_eq!(url("pop3://127.0.0.1:1110?tls=none"), expected("", "127.0.0.1", 1110, None));
        assert_eq!(url("pop3://h/?tls=none"), expected("", "h", 110, None));
        assert_eq!(url("pop3s://john@a.org@h:1995"), expected("john@a.org", "h", 1995, Implicit));
        assert_eq!(url("pop3s://john%40a.org@h"), expected("john@a.org", "h", 995, Implicit));
        assert_eq!(url("pop3s://a?b/c@h"), expected("a?b/c", "h", 995, Implicit));
        assert_eq!(url("pop3s://j@[::1]"), expected("j", "::1", 995, Implicit));
        assert_eq!(url("pop3://[2001:db8::1]:110"), expected("", "2001:db8::1", 110, Stls));
        assert_eq!(url("pop3://[fe80::1%eth0]:110"), expected("", "fe80::1%eth0", 110, Stls));
    }

    #[test]
    fn passwords_are_refused_and_not_repeated() {
        for text in
            ["pop3s://john:hunter2@h", "pop3s://john:@h", "pop3s://a@b:hunter2@h", "pop3s://a%3ahunter2@h"]
        {
            let error = Url::parse(text).unwrap_err();
            assert_eq!(error, UrlError::Password, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_url_says_what_to_write() {
        for (text, error) in [
            ("example.org", UrlError::Scheme),
            ("imap://h", UrlError::Scheme),
            ("pop3s://", UrlError::NoHost),
            ("pop3s://@h", UrlError::User),
            ("pop3s://a%4@h", UrlError::User),
            ("pop3s://a%00b@h", UrlError::User),
            ("pop3s://::1", UrlError::Brackets),
            ("pop3s://[::1", UrlError::Brackets),
            ("pop3s://[h]", UrlError::Brackets),
            ("pop3s://[::1]x", UrlError::Port),
            ("pop3s://h:", UrlError::Port),
            ("pop3s://h:0", UrlError::Port),
            ("pop3s://h:+1", UrlError::Port),
            ("pop3s://h:65536", UrlError::Port),
            ("pop3s://h/inbox", UrlError::Path),
            ("pop3s://h?tls=none", UrlError::Query),
            ("pop3://h?tls=off", UrlError::Query),
            ("pop3://b\u{fc}ro", UrlError::Host),
            ("pop3://a b", UrlError::Host),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
        assert_eq!(Url::parse(&format!("pop3://{}", "a".repeat(3000))), Err(UrlError::TooLong));
    }

    #[test]
    fn what_is_shown_has_no_user() {
        assert_eq!(Url::parse("pop3s://john@[::1]").unwrap().to_string(), "pop3s://[::1]:995");
        assert_eq!(Url::parse("pop3://john@h?tls=none").unwrap().to_string(), "pop3://h:110?tls=none");
    }
}
