//! What a session must show of each misbehaviour: the starts of its lines.

use restante_client::Security;
use restante_testkit::evil::Misbehaviour as M;

/// What must be shown.
pub(crate) struct Row {
    pub(crate) security: Security,
    /// The way to log in, if it is not the strongest.
    pub(crate) way: Option<&'static str>,
    /// Whether marks are taken away in the end.
    pub(crate) resets: bool,
    /// Which message is *k*.
    pub(crate) message: usize,
    pub(crate) story: Vec<String>,
}

impl Row {
    fn tls(self) -> Self {
        Self { security: Security::Implicit, ..self }
    }

    fn stls(self) -> Self {
        Self { security: Security::Stls, ..self }
    }

    /// Logs in by USER and PASS.
    fn user(self) -> Self {
        Self { way: Some("USER"), ..self }
    }

    /// This one has no lines of one dot of its own.
    fn at_message(self, message: usize) -> Self {
        Self { message, ..self }
    }

    fn and_resets(self) -> Self {
        Self { resets: true, ..self }
    }

    /// Whether it is about a silence.
    pub(crate) fn waits(&self) -> bool {
        self.story.iter().any(|line| line.contains(": TimedOut: "))
    }
}

/// It ends here.
fn ends(story: &[&str]) -> Row {
    let story = story.iter().map(|&line| line.to_owned()).collect();
    Row { security: Security::None, way: None, resets: false, message: 2, story }
}

/// It comes to its end, with this on the way.
fn comes(story: &[&str]) -> Row {
    ends(&[story, &["good-bye"]].concat())
}

/// All is as with a good server.
fn all() -> Row {
    comes(&[])
}

fn silent(at: &str, what: &str) -> Row {
    ends(&[&format!("{at}: TimedOut: the server did not answer in time ({what})")])
}

/// The row of this misbehaviour, where the client pipelines and where it does not.
pub(crate) fn row(evil: M, pipelined: bool) -> Row {
    match evil {
        M::Nothing => all(),

        // The greeting and TLS from the first octet.
        M::GreetingEndless => ends(&["connect: Protocol: the server sends a line without end"]),
        M::GreetingAbsent => silent("connect", "greeting"),
        M::GreetingClosed => ends(&["connect: Lost: the server ended the connection without a greeting"]),
        M::GreetingRefused => ends(&["connect: Refused: the server refused the connection: go away"]),
        M::GreetingRefusedSysTemp => {
            ends(&["connect: Refused: the server refused the connection: [SYS/TEMP] too many connections"])
        }
        M::GreetingGarbage => ends(&["connect: Protocol: the server does not greet as a POP3 server does: «?"]),
        M::GreetingOfSmtp => ends(&["connect: Protocol: the server does not greet as a POP3 server does: «220 "]),
        M::GreetingTwoLines => ends(&["connect: Protocol: the server said without being asked: «+OK the second»"]),
        M::GreetingStampNoMessageId | M::GreetingStampEightBit => all(),
        M::TlsStalls => silent("connect", "TLS handshake").tls(),
        M::TlsClearText => {
            ends(&["connect: Tls: the TLS handshake failed: what the server says is not TLS"]).tls()
        }
        M::TlsWrongName => wrong_name().tls(),
        M::TlsEndsWithoutNotify => cut_in_message_2().tls(),

        // CAPA.
        M::CapaRefused => all(),
        M::CapaEndless => ends(&["connect: Protocol: the answer to CAPA has no end"]),
        M::CapaWithoutFinalDot => silent("connect", "CAPA"),
        M::CapaOddLines => all(),
        // It hears CAPA, the first of four.
        M::CapaLiesPipelining | M::CapaShrinksAfterLogin if pipelined => silent("listing", "STAT"),
        M::CapaLiesPipelining => all(),
        M::CapaShrinksAfterLogin | M::CapaLiesTop => comes(&[
            "top 1: Refused: the server refused TOP: what is that?",
            "top 2: Refused: the server refused TOP: what is that?",
            "top 3: Refused: the server refused TOP: what is that?",
            "top 4: Refused: the server refused TOP: what is that?",
            "top 5: Refused: the server refused TOP: what is that?",
        ]),
        M::CapaLiesUidl => ends(&["listing: Refused: the server refused UIDL: what is that?"]),
        M::CapaHidesThem | M::CapaGrowsAfterLogin | M::CapaUnknownSaslOnly => all(),

        // STLS.
        M::StlsInjection => ends(&["connect: Protocol: octets came behind the answer to STLS, before TLS"]).stls(),
        M::StlsRefused | M::StlsNotOffered => ends(&[
            "connect: NotOffered: the server does not offer STLS, so the connection would not be encrypted (no TLS today)",
        ])
        .stls(),
        M::StlsClearText => {
            ends(&["connect: Tls: the TLS handshake failed: what the server says is not TLS"]).stls()
        }
        M::StlsStalls => silent("connect", "TLS handshake").stls(),
        M::StlsClosed => {
            ends(&["connect: Tls: the TLS handshake failed: the server ended the connection"]).stls()
        }
        M::StlsWrongName => wrong_name().stls(),

        // Logging in.
        M::UserRefused => ends(&["login: Refused: the server refused USER: no such user"]).user(),
        M::LoginRefused => ends(&["login: Refused: the server refused AUTH: no"]),
        M::LoginRefusedAuth => ends(&["login: Refused: the server refused AUTH: [AUTH] wrong user or password"]),
        M::LoginRefusedInUse => ends(&["login: Refused: the server refused AUTH: [IN-USE] another session"]),
        M::LoginRefusedSysTemp => ends(&["login: Refused: the server refused AUTH: [SYS/TEMP] the directory is down"]),
        M::LoginRefusedSysPerm => ends(&["login: Refused: the server refused AUTH: [SYS/PERM] the maildrop is damaged"]),
        M::LoginRefusedLoginDelay => ends(&["login: Refused: the server refused AUTH: [LOGIN-DELAY] not so often"]),
        M::LoginUnanswered => silent("login", "AUTH"),
        M::LoginPlusErr => {
            ends(&["login: Protocol: the answer to AUTH is neither +OK nor -ERR: «+ERR wrong password»"])
        }
        // It is noticed before anything is said, or when the answer does not come.
        M::ClosedAfterLogin => ends(&["listing: Lost: the "]),
        M::AuthChallengeNoBase64 => ends(&["login: Protocol: a challenge of the server is not base64"]),
        M::AuthChallengeEndless => ends(&["login: Protocol: the server sends a line without end"]),
        M::AuthChallengesForEver => {
            ends(&["login: Protocol: a challenge of the server makes no sense in its mechanism"])
        }

        // STAT.
        M::StatRefused => ends(&["listing: Refused: the server refused STAT: not counted"]),
        M::StatNegative => comes(&["doubt: the answer to STAT is not two numbers: «-1 -320»"]),
        M::StatHuge => comes(&["doubt: the answer to STAT is not two numbers: «18446744073709551616 "]),
        M::StatWords => comes(&["doubt: the answer to STAT is not two numbers: «some messages»"]),
        M::StatTooFewWords => comes(&["doubt: the answer to STAT is not two numbers: «5»"]),
        M::StatUnlikeList => comes(&[
            "doubt: LIST leaves out 3 messages that STAT counts",
            "doubt: UIDL leaves out 3 messages that STAT counts",
        ]),
        M::StatUnanswered => silent("listing", "STAT"),
        M::StatEndless => ends(&["listing: Protocol: the server sends a line without end"]),

        // LIST.
        M::ListRefused => all(),
        M::ListLonger => comes(&["doubt: LIST tells of message 6, which STAT does not count"]),
        M::ListShorter => comes(&["doubt: LIST leaves out 1 messages that STAT counts"]),
        M::ListRepeats => comes(&["doubt: LIST tells of message 1 twice"]),
        M::ListZero => comes(&["doubt: a line of LIST makes no sense: «0 100»"]),
        M::ListHugeNumber => comes(&["doubt: a line of LIST makes no sense: «1180591620717411303424 100»"]),
        M::ListOutOfOrder | M::ListSizesWrong => all(),
        M::ListSizeMissing => comes(&["doubt: a line of LIST makes no sense: «2»"]),
        M::ListSizeNegative => comes(&["doubt: a line of LIST makes no sense: «2 -100»"]),
        M::ListSizeHuge => comes(&["doubt: a line of LIST makes no sense: «2 1180591620717411303424»"]),
        M::ListGarbage => comes(&["doubt: a line of LIST makes no sense: «this is no line of a list»"]),
        M::ListEndless => ends(&["listing: Protocol: the answer to LIST has no end"]),
        M::ListWithoutFinalDot => silent("listing", "LIST"),

        // UIDL.
        M::UidlRefused => comes(&["no unique-ids"]),
        M::UidlEmpty => comes(&["doubt: message 2 has an empty unique-id"]),
        M::UidlDuplicates => comes(&["doubt: messages 2 and 3 have the same unique-id"]),
        M::UidlLong71 | M::UidlLong5000 | M::UidlSpaces | M::UidlControls => {
            comes(&["doubt: the unique-id of message 2 is longer than 70 octets, or holds illegal ones"])
        }
        M::UidlShorter => comes(&["doubt: UIDL leaves out 1 messages that STAT counts"]),
        M::UidlBeyondStat => comes(&["doubt: UIDL tells of message 6, which STAT does not count"]),
        M::UidlRepeats => comes(&["doubt: UIDL tells of message 1 twice"]),
        M::UidlZero => comes(&["doubt: a line of UIDL makes no sense: «0 zero»"]),
        M::UidlOutOfOrder => all(),
        M::UidlEndless => ends(&["listing: Protocol: the answer to UIDL has no end"]),
        M::UidlWithoutFinalDot => silent("listing", "UIDL"),
        // They show in later sessions, or in a second listing.
        M::UidlAllChange | M::RenumbersAfterDele | M::DeletedStillListed | M::MailboxShrinks => all(),

        // RETR and TOP.
        M::RetrRefused => comes(&["message 2: Refused: the server refused RETR: cannot be read"]),
        M::RetrRefusedSysTemp => {
            comes(&["message 2: Refused: the server refused RETR: [SYS/TEMP] cannot be read now"])
        }
        M::RetrRefusedSysPerm => {
            comes(&["message 2: Refused: the server refused RETR: [SYS/PERM] cannot be read"])
        }
        M::RetrWrongOctets => all(),
        M::RetrSendsAnother => comes(&["message 2: other octets ("]),
        M::RetrEmpty => comes(&["message 2: other octets (0 for "]),
        M::RetrUnanswered | M::FinalDotUnended | M::BodyStops => silent("fetch", "RETR"),
        M::MissingFinalDot | M::BodyClosed => cut_in_message_2(),
        M::BodyEndlessLine | M::BodyEndless => ends(&["message 2: over its limit", "fetch: Interrupted: "]),
        // The end is none, so the next answer is taken for mail, up to its end; then the answers do not fit any more.
        M::BodyBareLf if pipelined => ends(&[
            "message 2: other octets (",
            "fetch: Protocol: what the server says is no answer to RETR 3: its answers are out of step",
        ]),
        M::BodyBareLf => silent("fetch", "RETR"),
        M::BodyBareCr | M::BodyNul | M::BodyLongLines => all(),
        M::BodyUnstuffedDot if pipelined => ends(&[
            "message 1: other octets (",
            "fetch: Protocol: what the server says is no answer to RETR 2: its answers are out of step",
        ])
        .at_message(1),
        M::BodyUnstuffedDot => ends(&[
            "message 1: other octets (",
            "fetch: Protocol: the server said without being asked: «+OK 77 octets»",
        ])
        .at_message(1),
        M::BodyUnstuffedDots => comes(&["message 1: other octets ("]).at_message(1),
        M::TopSendsAll => all(),

        // Replies in general.
        M::ReplyTwice if pipelined => {
            ends(&["listing: Protocol: what the server says is no answer to LIST: its answers are out of step"])
        }
        M::ReplyTwice => ends(&["listing: Protocol: the server said without being asked: «+OK 5 "]),
        M::DataAfterReply if pipelined => {
            ends(&["listing: Protocol: the answer to LIST is neither +OK nor -ERR: «this is no reply»"])
        }
        M::DataAfterReply => ends(&["listing: Protocol: the server said without being asked: «this is no reply»"]),
        M::ReplyUnasked => ends(&["listing: Protocol: the server said without being asked: «+OK and by the way»"]),
        M::ReplyGarbage => ends(&["listing: Protocol: the answer to STAT is neither +OK nor -ERR: «?[31mOK? 1 2»"]),
        M::ReplyNul => all(),
        M::ReplyLong => ends(&["listing: Protocol: the server sends a line without end"]),
        M::OctetByOctet | M::BareLfReplies | M::LowerCaseOk | M::EveryReplyDelayed => all(),
        M::AutologoutUnasked if pipelined => ends(&[
            "listing: Lost: the connection ended before the answer to UIDL; before, it said «autologout; idle for too long»",
        ]),
        M::AutologoutUnasked => {
            ends(&["listing: Lost: the server gave the session up: «autologout; idle for too long»"])
        }
        M::ByeUnasked if pipelined => {
            ends(&["listing: Protocol: the answer to LIST is neither +OK nor -ERR: «* BYE»"])
        }
        M::ByeUnasked => ends(&["listing: Protocol: the server said without being asked: «* BYE»"]),
        // In the list of capabilities; `cuts.rs` cuts everywhere.
        M::ConnectionCut => ends(&["connect: Lost: the connection ended in the middle of the answer to CAPA"]),

        // DELE, RSET, QUIT.
        M::DeleRefused => comes(&["delete 2: Refused: the server refused DELE: that message stays"]),
        M::RsetRefused => ends(&["reset: Refused: the server refused RSET: the marks stay"]).and_resets(),
        M::DeletesAtOnce | M::RetrHides | M::QuitLies => all(),
        M::QuitRefusedKept | M::QuitRefusedDeleted | M::QuitRefusedHalf => {
            ends(&["quit: Refused: the server refused QUIT: [SYS/TEMP] not all messages were deleted"])
        }
        M::QuitClosedDeleted | M::QuitClosedKept => {
            ends(&["quit: Lost: the connection ended before the answer to QUIT"])
        }
        M::QuitUnansweredDeleted | M::QuitUnansweredKept => silent("quit", "QUIT"),
    }
}

fn wrong_name() -> Row {
    ends(&[
        "connect: Tls: the TLS handshake failed: the server's certificate is not for this host's name (127.0.0.1), but for \
         elsewhere.invalid",
    ])
}

fn cut_in_message_2() -> Row {
    ends(&["fetch: Lost: the connection ended in the middle of the answer to RETR 2"])
}
