//! What each step of a session is for, in words for people who want to understand one: beside the verbs, so that no verb
//! is without them. The diagram's remarks are rendered from here.
//!
//! A text may hold fields, which who shows it fills in from the step at hand: `{number}` (a message), `{octets}`,
//! `{messages}` (how many), `{id}` (a unique-id), `{name}` (a user or a mechanism), `{lines}`. Where a text needs what
//! the step does not say, the plain one is shown.

use crate::verb::Verb;

/// The explanation of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The command.
    pub verb: Verb,
    /// Whether this is the command with an argument, where that makes another command of it.
    pub argument: Option<bool>,
    /// Where it is defined.
    pub rfc: &'static str,
    /// What the client wants.
    pub command: Text,
    /// What `+OK` means.
    pub ok: Text,
    /// What `-ERR` means.
    pub err: &'static str,
    /// What the lines are that follow `+OK`, where some do.
    pub block: Option<Text>,
}

/// A text with fields, and the one for steps that do not say what belongs into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Without fields.
    pub plain: &'static str,
    /// With fields; empty where there is no such text.
    pub filled: &'static str,
}

const fn plain(text: &'static str) -> Text {
    Text { plain: text, filled: "" }
}

const fn text(plain: &'static str, filled: &'static str) -> Text {
    Text { plain, filled }
}

impl Verb {
    /// What a step with this verb is for, with or without an argument.
    ///
    /// ```
    /// use restante_proto::verb::Verb;
    /// assert_eq!(Verb::Dele.explanation(true).rfc, "RFC 1939 §5");
    /// ```
    pub fn explanation(self, has_argument: bool) -> &'static Explanation {
        let fits = |row: &&Explanation| {
            row.verb == self && row.argument.is_none_or(|argument| argument == has_argument)
        };
        // A test sees to it that every verb has its row.
        EXPLANATIONS.iter().find(fits).unwrap_or(&EXPLANATIONS[0])
    }
}

/// Commands of extensions that the session does not know: the word, what it is for, and where it is defined.
pub const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("UTF8", "The client takes messages and names in UTF-8 from here on.", "RFC 6856 §2.1"),
    ("LANG", "The client asks in which languages the server can speak, or chooses one.", "RFC 6856 §3.1"),
];

/// What a command of an extension is for, and where it is defined.
pub fn extension(word: &str) -> Option<(&'static str, &'static str)> {
    let row = EXTENSIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(word))?;
    Some((row.1, row.2))
}

/// What the server's first words mean (RFC 1939 §4).
pub const GREETING: Text = plain(
    "The server greets: it is ready, and the session is in the AUTHORIZATION state. Without a greeting that begins with +OK a client must not go on.",
);

/// The table.
pub const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        verb: Verb::Capa,
        argument: None,
        rfc: "RFC 2449 §5",
        command: plain("The client asks what the server can do beyond the minimum."),
        ok: plain("The list of capabilities follows."),
        err: "The server does not know CAPA: a client then tries each command that it would like to use.",
        block: Some(plain(
            "One capability a line: commands such as TOP, UIDL and STLS, and behaviour such as PIPELINING. The dot on a line of its own ends the list.",
        )),
    },
    Explanation {
        verb: Verb::User,
        argument: None,
        rfc: "RFC 1939 §7",
        command: text(
            "The client says whose mailbox it wants.",
            "The client says whose mailbox it wants: {name}.",
        ),
        ok: plain(
            "The server has heard the name and asks for the password. It does not say whether there is such a user.",
        ),
        err: "The server does not take this name, or takes no name at all without TLS.",
        block: None,
    },
    Explanation {
        verb: Verb::Pass,
        argument: None,
        rfc: "RFC 1939 §7",
        command: plain("The client sends the password, as it is."),
        ok: plain(
            "Name and password are right. The server has locked the maildrop for this session alone and taken a snapshot of it: the TRANSACTION state begins.",
        ),
        err: "The login failed: name or password is wrong, or the maildrop cannot be opened now. The session stays in the AUTHORIZATION state.",
        block: None,
    },
    Explanation {
        verb: Verb::Apop,
        argument: None,
        rfc: "RFC 1939 §7",
        command: plain(
            "The client logs in with a digest (MD5) of the greeting's time stamp and the password, so that the password itself is not sent.",
        ),
        ok: plain("The digest is right. The maildrop is locked, and the TRANSACTION state begins."),
        err: "The digest is wrong, or the maildrop cannot be opened now.",
        block: None,
    },
    Explanation {
        verb: Verb::Auth,
        argument: Some(false),
        rfc: "RFC 5034 §3",
        command: plain(
            "The client asks which SASL mechanisms there are. That is an old custom, and in no RFC; the line SASL of CAPA says it.",
        ),
        ok: plain("The list of mechanisms follows."),
        err: "The server does not list its mechanisms in this way.",
        block: Some(plain("One mechanism a line. The dot on a line of its own ends the list.")),
    },
    Explanation {
        verb: Verb::Auth,
        argument: Some(true),
        rfc: "RFC 5034 §4",
        command: text(
            "The client logs in by a SASL mechanism.",
            "The client logs in by the SASL mechanism {name}.",
        ),
        ok: plain(
            "The client has proved who it is. The maildrop is locked, and the TRANSACTION state begins.",
        ),
        err: "The login failed, or the server does not offer this mechanism. The session stays in the AUTHORIZATION state.",
        block: None,
    },
    Explanation {
        verb: Verb::Stls,
        argument: None,
        rfc: "RFC 2595 §4",
        command: plain("The client asks for TLS on this connection, before it shows any secret."),
        ok: plain(
            "The next octet of the client begins the TLS handshake. What was learnt in clear is forgotten.",
        ),
        err: "There is no TLS on this connection. A careful client ends the session here instead of sending its password.",
        block: None,
    },
    Explanation {
        verb: Verb::Stat,
        argument: None,
        rfc: "RFC 1939 §5",
        command: plain("The client asks how much mail there is."),
        ok: text(
            "The server says how many messages there are, and how many octets they have in all.",
            "The maildrop holds {messages}, {octets} in all. Messages that are marked as deleted do not count.",
        ),
        err: "The server cannot say how much mail there is.",
        block: None,
    },
    Explanation {
        verb: Verb::List,
        argument: Some(false),
        rfc: "RFC 1939 §5",
        command: plain("The client asks for the size of every message."),
        ok: text("The list follows.", "The list follows: {messages}."),
        err: "The server cannot list the messages.",
        block: Some(plain(
            "A line for each message: its number in this session, and its size in octets. The dot on a line of its own ends the list.",
        )),
    },
    Explanation {
        verb: Verb::List,
        argument: Some(true),
        rfc: "RFC 1939 §5",
        command: text(
            "The client asks for the size of one message.",
            "The client asks for the size of message {number}.",
        ),
        ok: text("The message's size.", "Message {number} has {octets}."),
        err: "There is no such message, or it is marked as deleted.",
        block: None,
    },
    Explanation {
        verb: Verb::Uidl,
        argument: Some(false),
        rfc: "RFC 1939 §7",
        command: plain(
            "The client asks for the unique-id of every message: numbers are new in each session, unique-ids stay. So it knows which messages it has already.",
        ),
        ok: text("The list follows.", "The list follows: {messages}."),
        err: "The server has no unique-ids: a client that keeps mail on the server cannot know what is new.",
        block: Some(plain(
            "A line for each message: its number in this session, and its unique-id. The dot on a line of its own ends the list.",
        )),
    },
    Explanation {
        verb: Verb::Uidl,
        argument: Some(true),
        rfc: "RFC 1939 §7",
        command: text(
            "The client asks for the unique-id of one message.",
            "The client asks for the unique-id of message {number}.",
        ),
        ok: text(
            "The message's unique-id.",
            "Message {number} has the unique-id {id}, in this session and in later ones.",
        ),
        err: "There is no such message, or it is marked as deleted.",
        block: None,
    },
    Explanation {
        verb: Verb::Retr,
        argument: None,
        rfc: "RFC 1939 §5",
        command: text(
            "The client asks for a message.",
            "The client asks for message {number}, the whole of it.",
        ),
        ok: text("The message follows.", "The message follows: {octets}."),
        err: "There is no such message, or it is marked as deleted, or it cannot be read.",
        block: Some(plain(
            "The message, header and body. A line of it that begins with a dot gets a second one on the way (dot-stuffing); the dot on a line of its own ends it.",
        )),
    },
    Explanation {
        verb: Verb::Top,
        argument: None,
        rfc: "RFC 1939 §7",
        command: text(
            "The client asks for the header and the first lines of a message.",
            "The client asks for the header of message {number} and {lines} of its body.",
        ),
        ok: plain("They follow, up to the final dot."),
        err: "There is no such message, or it is marked as deleted.",
        block: Some(plain(
            "The header, an empty line, and as many lines of the body as were asked for. The dot on a line of its own ends them.",
        )),
    },
    Explanation {
        verb: Verb::Dele,
        argument: None,
        rfc: "RFC 1939 §5",
        command: text(
            "The client has the message, and marks it as deleted.",
            "The client has message {number}, and marks it as deleted.",
        ),
        ok: text(
            "The message is marked. It is removed in the UPDATE state, after QUIT, and not before.",
            "Message {number} is marked. It is removed in the UPDATE state, after QUIT, and not before.",
        ),
        err: "There is no such message, or it is marked already.",
        block: None,
    },
    Explanation {
        verb: Verb::Rset,
        argument: None,
        rfc: "RFC 1939 §5",
        command: plain("The client removes all marks of deletion."),
        ok: plain("No message is marked any more."),
        err: "The marks could not be removed.",
        block: None,
    },
    Explanation {
        verb: Verb::Noop,
        argument: None,
        rfc: "RFC 1939 §5",
        command: plain("The client asks for nothing: it keeps the session from being closed for idleness."),
        ok: plain("The server is there."),
        err: "The server does not take NOOP now.",
        block: None,
    },
    Explanation {
        verb: Verb::Quit,
        argument: None,
        rfc: "RFC 1939 §6",
        command: text(
            "The client ends the session.",
            "The client ends the session: the server enters the UPDATE state, and removes what is marked as deleted: {messages}.",
        ),
        ok: text(
            "The server releases the maildrop, says good-bye, and closes the connection.",
            "The server has removed what was marked as deleted ({messages}), and released the maildrop. It says good-bye, and closes the connection.",
        ),
        err: "Some of the messages that were marked as deleted were not removed.",
        block: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::ReplyShape;

    #[test]
    fn every_verb_is_explained_and_a_block_where_there_is_one() {
        for verb in Verb::ALL {
            for has_argument in [false, true] {
                let row = verb.explanation(has_argument);
                assert_eq!(row.verb, verb);
                // Which replies may be long depends on the argument only where there are two rows.
                if row.argument.is_some() || verb.reply_shape(true) == verb.reply_shape(false) {
                    let block = verb.reply_shape(has_argument) == ReplyShape::Block;
                    assert_eq!(row.block.is_some(), block, "{verb:?}");
                }
            }
        }
    }

    #[test]
    fn texts_are_sentences_and_name_only_known_fields() {
        const FIELDS: [&str; 6] = ["number", "octets", "messages", "id", "name", "lines"];
        for row in EXPLANATIONS {
            let texts = [Some(row.command), Some(row.ok), row.block].into_iter().flatten();
            for text in texts.flat_map(|text| [text.plain, text.filled]).chain([row.err]) {
                assert!(text.is_empty() || text.ends_with('.'), "{text}");
                for field in text.split('{').skip(1) {
                    let name = field.split('}').next().unwrap_or_default();
                    assert!(FIELDS.contains(&name), "{text}");
                }
            }
            assert!(row.rfc.starts_with("RFC ") && row.rfc.contains('§'), "{}", row.rfc);
            assert!(!row.command.plain.contains('{') && !row.ok.plain.contains('{'));
        }
    }
}
