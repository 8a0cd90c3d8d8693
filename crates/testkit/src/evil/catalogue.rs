//! The misbehaviours by name: what each does, and what a client must show. How each is done stands in `greeting.rs`,
//! `login.rs`, `listing.rs`, `body.rs` and `ending.rs`; those that concern single octets are in `wire.rs`.

/// Which sessions of a server misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// The first only: who comes back is served well.
    First,
    /// All but the first.
    Later,
    /// Each of them.
    Every,
}

/// Writes the enum, and the words of each row beside it.
macro_rules! catalogue {
    ($($name:ident, $sessions:ident: $about:literal => $outcome:literal;)*) => {
        /// What a server does wrong.
        #[allow(rustdoc::broken_intra_doc_links)] // response codes in brackets are no links
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Misbehaviour {
            $(#[doc = $about] $name,)*
        }

        impl Misbehaviour {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What the server does, in one line.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }

            /// What the client must show.
            #[must_use]
            pub fn outcome(self) -> &'static str {
                match self { $(Self::$name => $outcome,)* }
            }

            /// Which sessions it concerns, if a test does not say otherwise.
            #[must_use]
            pub fn sessions(self) -> Sessions {
                match self { $(Self::$name => Sessions::$sessions,)* }
            }
        }
    };
}

catalogue! {
    Nothing, Every: "Nothing: the server behaves well." => "All mail is fetched.";

    // The greeting and TLS from the first octet.
    GreetingEndless, Every: "The greeting is a line that never ends." => "Protocol error at the limit of a line; memory stays small.";
    GreetingAbsent, Every: "The connection is accepted, and nothing is said." => "Timeout that names the greeting.";
    GreetingClosed, Every: "The connection is closed before the greeting." => "Connection lost before the greeting.";
    GreetingRefused, Every: "The greeting is -ERR." => "Refused, with the server's text; nothing is sent.";
    GreetingRefusedSysTemp, Every: "The greeting is -ERR [SYS/TEMP]." => "Refused for now: tried again later, the password is not doubted.";
    GreetingGarbage, Every: "The greeting is a line of odd octets, NUL among them." => "Protocol error: this is no POP3 server.";
    GreetingOfSmtp, Every: "The greeting is that of an SMTP server." => "Protocol error: this is no POP3 server.";
    GreetingTwoLines, Every: "Two greetings come at once." => "Protocol error before a secret is sent: the second is no answer to any command.";
    GreetingStampNoMessageId, Every: "The greeting has an APOP time stamp without @, with blanks in it." => "APOP is not used; another way to log in is.";
    GreetingStampEightBit, Every: "The greeting has an APOP time stamp of octets that are no ASCII." => "APOP is not used; another way to log in is.";
    TlsStalls, Every: "TLS is due from the first octet, and the server is silent." => "Timeout that names the TLS handshake.";
    TlsClearText, Every: "TLS is due from the first octet, and the server greets in clear text." => "TLS error: the port speaks clear text; nothing is sent.";
    TlsWrongName, Every: "The certificate, from the first octet, is for another name." => "TLS error that tells both names; nothing is sent.";
    TlsEndsWithoutNotify, First: "A TLS connection is closed in the middle of message k without TLS's own farewell." => "Connection lost; the message is not delivered, and comes whole next time.";

    // CAPA.
    CapaRefused, Every: "CAPA is refused, though TOP and UIDL are there." => "TOP and UIDL are tried; all mail is fetched.";
    CapaEndless, Every: "The list of capabilities never ends." => "Protocol error at the limit of lines.";
    CapaWithoutFinalDot, Every: "The list of capabilities has no end; then silence." => "Timeout that names CAPA.";
    CapaOddLines, Every: "The list has empty lines, octets that are no ASCII, lower case, numbers that are none." => "What is not understood is skipped; all mail is fetched.";
    CapaLiesPipelining, Every: "PIPELINING is offered, but what lies behind a command is dropped." => "Timeout that names the first command that is not answered; no reply is taken for that of another command; fetched when tried again one by one.";
    CapaLiesTop, Every: "TOP is offered and refused." => "Refused; the connection goes on.";
    CapaLiesUidl, Every: "UIDL is offered and refused." => "Refused, unlike where UIDL is not offered: mail is kept and not fetched again and again.";
    CapaHidesThem, Every: "TOP, UIDL and USER are there but not offered." => "UIDL is tried; all mail is fetched.";
    CapaShrinksAfterLogin, Every: "PIPELINING and TOP are offered before login only; afterwards what lies behind a command is dropped." => "Timeout that names the first command that is not answered, since PIPELINING holds before and behind the login (RFC 2449 §6.6); fetched when tried again one by one.";
    CapaGrowsAfterLogin, Every: "TOP, UIDL and PIPELINING are offered after login only." => "Capabilities are asked for again after login; all mail is fetched.";
    CapaUnknownSaslOnly, Every: "SASL offers only a mechanism that nobody knows." => "USER and PASS are used where the link allows it.";

    // STLS.
    StlsInjection, Every: "Octets in clear text lie behind STLS's +OK." => "Protocol error: what came before TLS is never taken for an answer within it; nothing is sent.";
    StlsRefused, Every: "STLS is offered and refused." => "Not offered: the connection would not be encrypted; no password in clear text.";
    StlsNotOffered, Every: "STLS is not offered, and refused." => "Not offered: the connection would not be encrypted; no password in clear text.";
    StlsClearText, Every: "After STLS's +OK the server goes on in clear text." => "TLS error; no password is sent.";
    StlsStalls, Every: "After STLS's +OK the server is silent." => "Timeout that names the TLS handshake.";
    StlsClosed, Every: "After STLS's +OK the connection is closed." => "TLS error: the server ended the connection in the handshake.";
    StlsWrongName, Every: "The certificate after STLS is for another name." => "TLS error that tells both names; no password is sent.";

    // Logging in.
    UserRefused, Every: "USER is refused." => "Refused; PASS is not sent, unless it is under way already by PIPELINING.";
    LoginRefused, Every: "The login is refused without a code." => "Refused, perhaps a wrong password: not tried again at once.";
    LoginRefusedAuth, Every: "The login is refused with [AUTH]." => "Wrong password: not tried again before it is changed.";
    LoginRefusedInUse, Every: "The login is refused with [IN-USE]." => "Busy: tried again later, the password is not doubted.";
    LoginRefusedSysTemp, Every: "The login is refused with [SYS/TEMP]." => "Server trouble: tried again later, the password is not doubted.";
    LoginRefusedSysPerm, Every: "The login is refused with [SYS/PERM]." => "Server trouble that needs a person; the password is not doubted.";
    LoginRefusedLoginDelay, Every: "The login is refused with [LOGIN-DELAY]." => "Tried again after the delay that CAPA tells.";
    LoginUnanswered, Every: "The password is never answered." => "Timeout that names the login.";
    LoginPlusErr, Every: "The login is refused with +ERR." => "Protocol error; never taken for a success.";
    ClosedAfterLogin, Every: "The connection is closed right after the login's +OK." => "Connection lost; nothing is delivered.";
    AuthChallengeNoBase64, Every: "AUTH is answered with a challenge that is no base64." => "Protocol error; nothing more is said.";
    AuthChallengeEndless, Every: "AUTH is answered with a challenge that never ends." => "Protocol error at the limit of a line.";
    AuthChallengesForEver, Every: "AUTH is answered with challenge after challenge." => "The exchange is cancelled with * after as many steps as the mechanism has; protocol error.";

    // STAT.
    StatRefused, Every: "STAT is refused." => "Refused; nothing is deleted.";
    StatNegative, Every: "STAT tells negative numbers." => "Doubted, and counted by LIST and UIDL; all mail is fetched.";
    StatHuge, Every: "STAT tells numbers of 2^64." => "Doubted, and counted by LIST and UIDL; no memory is reserved for it.";
    StatWords, Every: "STAT tells words." => "Doubted, and counted by LIST and UIDL.";
    StatTooFewWords, Every: "STAT tells one number." => "Doubted, and counted by LIST and UIDL.";
    StatUnlikeList, Every: "STAT tells more messages than there are." => "Doubted; what LIST and UIDL tell is fetched.";
    StatUnanswered, Every: "STAT is never answered." => "Timeout that names STAT.";
    StatEndless, Every: "STAT's reply is a line that never ends." => "Protocol error at the limit of a line.";

    // LIST.
    ListRefused, Every: "LIST is refused." => "Sizes are unknown; all mail is fetched.";
    ListLonger, Every: "LIST has more messages than STAT." => "Doubted; no message number beyond STAT is used.";
    ListShorter, Every: "LIST leaves the last message out." => "Doubted; all mail is fetched, the last without a known size.";
    ListRepeats, Every: "LIST has a message number twice." => "Doubted; the first size counts.";
    ListZero, Every: "LIST has message number 0." => "Doubted, and the line is skipped; 0 is never sent.";
    ListHugeNumber, Every: "LIST has a message number of 2^70." => "Doubted, and the line is skipped.";
    ListOutOfOrder, Every: "LIST goes backwards." => "Sizes belong to their numbers; all mail is fetched.";
    ListSizeMissing, Every: "LIST has a line without a size." => "Doubted; that size is unknown.";
    ListSizeNegative, Every: "LIST has a negative size." => "Doubted; that size is unknown.";
    ListSizeHuge, Every: "LIST has a size of 2^70." => "Doubted; that size is unknown; no memory is reserved for it.";
    ListSizesWrong, Every: "LIST tells that each message has one octet." => "All mail is fetched whole: sizes are a hint.";
    ListGarbage, Every: "LIST has a line of words." => "Doubted, and the line is skipped.";
    ListEndless, Every: "LIST never ends." => "Protocol error soon behind what STAT counts.";
    ListWithoutFinalDot, Every: "LIST has no end; then silence." => "Timeout that names LIST.";

    // UIDL.
    UidlRefused, Every: "UIDL is refused and not offered." => "Mail is kept and not fetched again and again: the missing unique-ids are explained.";
    UidlEmpty, Every: "UIDL has an empty unique-id for message k." => "Doubted; that message is set aside with its reason; the rest is fetched.";
    UidlDuplicates, Every: "UIDL has the same unique-id for message k and the next." => "Both are fetched and neither deleted unseen, or both set aside with their reason.";
    UidlLong71, Every: "UIDL has a unique-id of 71 octets for message k." => "Doubted; a digest of it stands in for it; all mail is fetched.";
    UidlLong5000, Every: "UIDL has a unique-id of 5,000 octets for message k." => "Doubted; a digest of it stands in for it; all mail is fetched.";
    UidlSpaces, Every: "UIDL has a unique-id with spaces for message k." => "Doubted; a digest of all its words stands in for it: never two messages under one id.";
    UidlControls, Every: "UIDL has a unique-id with control octets for message k." => "Doubted; a digest of it stands in for it: nothing reaches a terminal or the journal raw.";
    UidlShorter, Every: "UIDL leaves the last message out." => "Doubted; the last is there without a unique-id: what it holds tells whether it is new.";
    UidlBeyondStat, Every: "UIDL has one message more than STAT." => "Doubted; no message number beyond STAT is used.";
    UidlRepeats, Every: "UIDL has a message number twice, with two unique-ids." => "Doubted; the first unique-id counts.";
    UidlZero, Every: "UIDL has message number 0." => "Doubted, and the line is skipped; 0 is never sent.";
    UidlOutOfOrder, Every: "UIDL goes backwards." => "Unique-ids belong to their numbers; all mail is fetched once.";
    UidlEndless, Every: "UIDL never ends." => "Protocol error soon behind what STAT counts.";
    UidlWithoutFinalDot, Every: "UIDL has no end; then silence." => "Timeout that names UIDL.";
    UidlAllChange, Later: "All unique-ids are others at the next login." => "Noticed and explained; no second delivery without consent.";
    RenumbersAfterDele, Every: "After DELE, LIST and UIDL count anew, while RETR and DELE keep the numbers." => "Numbers of the first list are used to the end: each message once, and none deleted unfetched.";
    DeletedStillListed, Every: "What DELE marked stays in STAT, LIST and UIDL, and can be retrieved." => "Nothing is delivered twice.";
    MailboxShrinks, Later: "The first message is gone at the next login: another client deleted it." => "The rest is found by its unique-ids.";

    // RETR and TOP.
    RetrRefused, Every: "RETR of message k is refused." => "Message k is set aside with the server's text; the rest is fetched.";
    RetrRefusedSysTemp, Every: "RETR of message k is refused with [SYS/TEMP]." => "Message k is tried again later; the rest is fetched.";
    RetrRefusedSysPerm, Every: "RETR of message k is refused with [SYS/PERM]." => "Message k is set aside; the rest is fetched.";
    RetrWrongOctets, Every: "RETR announces far more octets than come." => "The body counts, not the announcement; no memory is reserved for it.";
    RetrSendsAnother, Every: "RETR of message k sends the next one." => "If the size is unlike LIST's: not deleted, and told.";
    RetrEmpty, Every: "RETR of message k is +OK with an empty body." => "Unlike LIST's size: set aside and never deleted.";
    RetrUnanswered, Every: "RETR of message k is never answered." => "Timeout that names RETR.";
    MissingFinalDot, First: "Message k has no final dot; the connection is closed." => "Not delivered; it comes whole next time.";
    FinalDotUnended, First: "Message k ends in a dot without its line end; then silence." => "Timeout; not delivered; it comes whole next time.";
    BodyStops, First: "Message k stops in the middle for ever." => "Timeout; not delivered; it comes whole next time.";
    BodyClosed, First: "The connection is closed in the middle of message k." => "Not delivered; it comes whole next time.";
    BodyEndlessLine, Every: "Message k has a line that never ends." => "Stopped at the limit of a message's size; memory stays small; the rest is fetched.";
    BodyEndless, Every: "Message k has lines without end." => "Stopped at the limit of a message's size; memory and disk stay small; the rest is fetched.";
    BodyBareLf, Every: "Message k comes with lines that end in LF, its final dot too." => "The end is none: timeout that names RETR. Where more is under way the next answers are taken for mail, and then: unlike LIST's size, protocol error, not deleted.";
    BodyBareCr, Every: "Message k has CR in the middle of its lines." => "Fetched, octet for octet.";
    BodyUnstuffedDot, Every: "Message k has a line of one dot that was not stuffed: the rest looks like replies." => "Unlike LIST's size; what follows is never taken for a reply: protocol error, not deleted.";
    BodyUnstuffedDots, Every: "Message k has lines beginning with a dot that were not stuffed." => "Fetched; the octets that cannot be known are told by the size.";
    BodyNul, Every: "Message k has NUL octets." => "Fetched, octet for octet.";
    BodyLongLines, Every: "Message k has lines of 100 KiB." => "Fetched, octet for octet.";
    TopSendsAll, Every: "TOP sends the whole message." => "Fetched; what is behind the header is cut off by the client.";

    // Replies in general.
    ReplyTwice, Every: "Each reply of one line comes twice once the client is logged in." => "Protocol error: no reply is taken for that of another command; nothing is deleted that was not fetched.";
    DataAfterReply, Every: "A line that is no reply lies behind STAT's." => "Protocol error.";
    ReplyUnasked, Every: "A second +OK lies behind the login's." => "Protocol error: no reply is taken for that of another command.";
    ReplyGarbage, Every: "STAT's reply is neither +OK nor -ERR." => "Protocol error with the line, made harmless.";
    ReplyNul, Every: "STAT's reply has NUL and ESC in its text." => "Fetched; none reaches a terminal raw.";
    ReplyLong, Every: "STAT's reply has a text of 100 KiB." => "Protocol error at the limit of a line.";
    OctetByOctet, Every: "Each octet comes in a segment of its own." => "All mail is fetched.";
    BareLfReplies, Every: "Replies end in LF without CR." => "All mail is fetched.";
    LowerCaseOk, Every: "Replies begin with +ok and -err." => "All mail is fetched.";
    EveryReplyDelayed, Every: "Each reply comes late." => "All mail is fetched if within the limits.";
    AutologoutUnasked, Every: "After STAT the server says -ERR autologout, unasked, and closes." => "Connection lost, with the server's words; nothing is delivered.";
    ByeUnasked, Every: "After STAT the server says * BYE, as in IMAP, and closes." => "Protocol error; nothing is delivered.";
    ConnectionCut, First: "The connection is cut after N octets." => "Exactly once in the end, for every N.";

    // DELE, RSET, QUIT.
    DeleRefused, Every: "DELE of message k is refused." => "Told; message k is not delivered again.";
    RsetRefused, Every: "RSET is refused." => "Refused; who wanted to undo ends without QUIT.";
    DeletesAtOnce, Every: "DELE deletes at once, without QUIT." => "Exactly once in the end.";
    RetrHides, Every: "What was retrieved is gone after QUIT, without DELE." => "Exactly once in the end.";
    QuitRefusedKept, First: "QUIT is -ERR, and nothing is deleted." => "Told; deleted next time, not delivered again.";
    QuitRefusedDeleted, First: "QUIT is -ERR, though all is deleted." => "Told; not delivered again.";
    QuitRefusedHalf, First: "QUIT is -ERR, and half is deleted." => "Told; the rest is deleted next time, nothing is delivered again.";
    QuitClosedDeleted, First: "QUIT deletes, and the connection is closed without an answer." => "Not taken for confirmed; not delivered again.";
    QuitClosedKept, First: "QUIT deletes nothing, and the connection is closed without an answer." => "Deleted next time, not delivered again.";
    QuitUnansweredDeleted, First: "QUIT deletes, and is never answered." => "Timeout; not taken for confirmed; not delivered again.";
    QuitUnansweredKept, First: "QUIT deletes nothing, and is never answered." => "Timeout; deleted next time, not delivered again.";
    QuitLies, First: "QUIT is +OK, and nothing is deleted." => "Noticed next time; deleted then, not delivered again.";
}
