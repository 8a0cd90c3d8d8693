//! Every command word there is, and the shape of the reply that each one gets.

/// A command word (RFC 1939, 2449, 2595, 5034).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// RFC 1939 §7: login by a digest of the greeting's time stamp and a shared secret.
    Apop,
    /// RFC 5034: login by a SASL mechanism.
    Auth,
    /// RFC 2449 §5: what the server can do.
    Capa,
    /// RFC 1939 §5: marks a message as deleted.
    Dele,
    /// RFC 1939 §5: the sizes of messages.
    List,
    /// RFC 1939 §5: nothing.
    Noop,
    /// RFC 1939 §7: the password.
    Pass,
    /// RFC 1939 §4–6: the end, and after a login the removal of what was marked.
    Quit,
    /// RFC 1939 §5: a message.
    Retr,
    /// RFC 1939 §5: takes the deletion marks away.
    Rset,
    /// RFC 1939 §5: how many messages and octets there are.
    Stat,
    /// RFC 2595 §4: TLS on this connection.
    Stls,
    /// RFC 1939 §7: the header and some lines of a message.
    Top,
    /// RFC 1939 §7: the unique-ids of messages.
    Uidl,
    /// RFC 1939 §7: the user's name.
    User,
}

/// How a positive reply goes on after its status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyShape {
    /// It does not.
    Line,
    /// Lines follow, up to the final `.` line.
    Block,
    /// `+ ` challenges may come first, each answered by the client; then a status line.
    Exchange,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Apop,
        Self::Auth,
        Self::Capa,
        Self::Dele,
        Self::List,
        Self::Noop,
        Self::Pass,
        Self::Quit,
        Self::Retr,
        Self::Rset,
        Self::Stat,
        Self::Stls,
        Self::Top,
        Self::Uidl,
        Self::User,
    ];

    /// The word as it goes over the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Apop => "APOP",
            Self::Auth => "AUTH",
            Self::Capa => "CAPA",
            Self::Dele => "DELE",
            Self::List => "LIST",
            Self::Noop => "NOOP",
            Self::Pass => "PASS",
            Self::Quit => "QUIT",
            Self::Retr => "RETR",
            Self::Rset => "RSET",
            Self::Stat => "STAT",
            Self::Stls => "STLS",
            Self::Top => "TOP",
            Self::Uidl => "UIDL",
            Self::User => "USER",
        }
    }

    /// The verb of this word, in capitals or not (RFC 1939 §3: keywords are case-insensitive).
    ///
    /// ```
    /// use restante_proto::verb::Verb;
    /// assert_eq!(Verb::from_word(b"Retr"), Some(Verb::Retr));
    /// assert_eq!(Verb::from_word(b"XTND"), None);
    /// ```
    pub fn from_word(word: &[u8]) -> Option<Self> {
        let folded = fold(word)?;
        let known = FOLDED.iter().position(|&known| known == folded)?;
        Some(Self::ALL[known])
    }

    /// The shape of the positive reply to this verb, with or without an argument.
    ///
    /// ```
    /// use restante_proto::verb::{ReplyShape, Verb};
    /// assert_eq!(Verb::List.reply_shape(false), ReplyShape::Block);
    /// assert_eq!(Verb::List.reply_shape(true), ReplyShape::Line);
    /// ```
    pub const fn reply_shape(self, has_argument: bool) -> ReplyShape {
        match (self, has_argument) {
            (Self::Capa | Self::Retr | Self::Top, _) | (Self::List | Self::Uidl | Self::Auth, false) => {
                ReplyShape::Block
            }
            (Self::Auth, true) => ReplyShape::Exchange,
            _ => ReplyShape::Line,
        }
    }
}

/// The words of [`Verb::ALL`], each folded into a number.
const FOLDED: [u32; Verb::ALL.len()] = {
    let (mut folded, mut at) = ([0; Verb::ALL.len()], 0);
    while at < folded.len() {
        folded[at] = match fold(Verb::ALL[at].word().as_bytes()) {
            Some(word) => word,
            None => panic!("a word of another length: fold it into more octets"),
        };
        at += 1;
    }
    folded
};

/// A word of three or four octets as a number, letters as capitals: an octet without its sixth bit is a capital letter if
/// it is that letter in either case, and only then. `None` for words of other lengths, of which no verb has one.
const fn fold(word: &[u8]) -> Option<u32> {
    match *word {
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d]) & 0xdfdf_dfdf),
        // What fills it up is no folded octet.
        [a, b, c] => Some((u32::from_le_bytes([a, b, c, 0]) & 0xdfdf_dfdf) | 0x2000_0000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_verb_in_any_case_and_nothing_else_is() {
        for verb in Verb::ALL {
            let word = verb.word().as_bytes();
            assert_eq!(Verb::from_word(&word.to_ascii_lowercase()), Some(verb));
            for at in 0..word.len() {
                for octet in 0..=255 {
                    let mut other = word.to_vec();
                    other[at] = octet;
                    let expected = Verb::ALL
                        .into_iter()
                        .find(|verb| verb.word().as_bytes().eq_ignore_ascii_case(&other));
                    assert_eq!(Verb::from_word(&other), expected, "{other:?}");
                }
            }
        }
        for word in [&b""[..], b"TO", b"TOP\0", b"TOP ", b"STATS", b"\0\0\0"] {
            assert_eq!(Verb::from_word(word), None, "{word:?}");
        }
    }
}
