//! The head of a client's first message (RFC 5801 §4), which SCRAM and OAUTHBEARER share: what the client says of channel
//! bindings, whom it wants to be, and how names are written there.

use crate::read_name;

/// What the client says of channel bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag<'a> {
    /// `n`: it has none.
    No,
    /// `y`: it has, and saw that the server does not offer it.
    NotOffered,
    /// `p=`: it uses the one of this name.
    Used(&'a str),
}

/// The head of a message.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) flag: Flag<'a>,
    /// Whom the client wants to be, where it says so.
    pub(crate) authzid: Option<String>,
    /// The head as it came, its commas included.
    pub(crate) text: &'a str,
}

/// Takes the head off a message.
pub(crate) fn read(message: &str) -> Option<(Header<'_>, &str)> {
    let (flag, rest) = message.split_once(',')?;
    let (authzid, rest) = rest.split_once(',')?;
    let flag = match flag {
        "n" => Flag::No,
        "y" => Flag::NotOffered,
        named => Flag::Used(named.strip_prefix("p=").filter(|name| is_binding_name(name))?),
    };
    let authzid = match authzid {
        "" => None,
        named => Some(unescape(named.strip_prefix("a=")?)?),
    };
    let text = message.strip_suffix(rest)?;
    Some((Header { flag, authzid, text }, rest))
}

fn is_binding_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

/// A name as it is written in a message (`saslname`): without commas and equals signs.
pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname`; `None` where it is none, or is no name that [`read_name`] takes.
pub(crate) fn unescape(written: &str) -> Option<String> {
    let mut pieces = written.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', piece.strip_prefix("3D")?),
        };
        name.push(sign);
        name.push_str(rest);
    }
    read_name(name.as_bytes())?;
    (!written.contains(',')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_off() {
        let (header, rest) = read("p=tls-exporter,a=a=2Cb=3D,n=x,y").unwrap();
        assert_eq!((header.flag, header.authzid.as_deref()), (Flag::Used("tls-exporter"), Some("a,b=")));
        assert_eq!((header.text, rest), ("p=tls-exporter,a=a=2Cb=3D,", "n=x,y"));
        let (header, rest) = read("n,,").unwrap();
        assert_eq!((header.flag, header.authzid, header.text, rest), (Flag::No, None, "n,,", ""));
        assert_eq!(read("y,,rest").unwrap().0.flag, Flag::NotOffered);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for message in
            ["", "n", "n,", "N,,", "p,,", "p=,,", "p=a b,,", "n,x,", "n,a=,", "n,a=a=b,", "n,a=a\0,", "z,,"]
        {
            assert!(read(message).is_none(), "{message:?}");
        }
    }

    #[test]
    fn names_come_back() {
        for name in ["tim", "a,b", "=", "=2C", ",=,=3D", "j\u{f6}rg"] {
            assert_eq!(unescape(&escape(name)).as_deref(), Some(name));
        }
        for written in ["a=2c", "a=", "=3", "a,b", ""] {
            assert_eq!(unescape(written), None, "{written:?}");
        }
    }
}
