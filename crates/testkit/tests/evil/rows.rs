//! For each misbehaviour what is said to the server, and what is heard, octet for octet. Those that take more than one
//! answer have a test of their own in `evil.rs`.

use restante_testkit::evil::{Mail, Misbehaviour as M, PASSWORD, USER};

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Listens,
    Closed,
    Silent,
    /// More and more comes, until the limit of the script.
    Endless,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Connecting,
    Greeted,
    LoggedIn,
}

/// A row.
pub(crate) struct Talk {
    pub(crate) from: From,
    pub(crate) says: String,
    pub(crate) hears: Vec<u8>,
    pub(crate) end: End,
}

fn talk(from: From, says: &str, hears: impl Into<Vec<u8>>, end: End) -> Option<Talk> {
    let says = if says.is_empty() { String::new() } else { format!("{says}\r\n") };
    Some(Talk { from, says, hears: hears.into(), end })
}

fn greets(hears: impl Into<Vec<u8>>, end: End) -> Option<Talk> {
    talk(From::Connecting, "", hears, end)
}

fn greeted(says: &str, hears: impl Into<Vec<u8>>, end: End) -> Option<Talk> {
    talk(From::Greeted, says, hears, end)
}

fn password(hears: &str, end: End) -> Option<Talk> {
    let login = format!("USER {USER}\r\nPASS {PASSWORD}");
    greeted(&login, format!("+OK and the password?\r\n{hears}\r\n"), end)
}

fn listens(says: &str, hears: impl Into<Vec<u8>>) -> Option<Talk> {
    talk(From::LoggedIn, says, hears, End::Listens)
}

fn good_capabilities() -> &'static str {
    "+OK capabilities\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nSTLS\r\n"
}

fn capa(hears: &str, end: End) -> Option<Talk> {
    greeted("CAPA", hears, end)
}

fn capa_without(words: &[&str]) -> Option<Talk> {
    let mut hears = good_capabilities().to_owned() + ".\r\n";
    words.iter().for_each(|word| hears = hears.replace(&format!("{word}\r\n"), ""));
    capa(&hears, End::Listens)
}

fn size(number: usize) -> usize {
    Mail::few().messages()[number - 1].octets.len()
}

fn all_sizes() -> usize {
    (1..=5).map(size).sum()
}

fn stat(hears: &str) -> Option<Talk> {
    listens("STAT", format!("{hears}\r\n"))
}

/// LIST and UIDL of a good server, changed.
fn lines(verb: &str, change: impl FnOnce(&mut Vec<String>), tail: &str, end: End) -> Option<Talk> {
    let good = |number| match verb {
        "LIST" => format!("{number} {}", size(number)),
        _ => format!("{number} few-{number}"),
    };
    let mut lines = (1..=5).map(good).collect();
    change(&mut lines);
    let lines: String = lines.into_iter().map(|line| line + "\r\n").collect();
    talk(From::LoggedIn, verb, format!("+OK they are\r\n{lines}{tail}"), end)
}

fn list(change: impl FnOnce(&mut Vec<String>)) -> Option<Talk> {
    lines("LIST", change, ".\r\n", End::Listens)
}

fn uidl(change: impl FnOnce(&mut Vec<String>)) -> Option<Talk> {
    lines("UIDL", change, ".\r\n", End::Listens)
}

/// The second message of `Mail::few`, as it is sent.
fn second() -> &'static str {
    "From: server@example.org\r\nSubject: dots\r\n\r\n..\r\n...\r\n..hidden\r\nlast\r\n..\r\n"
}

fn half() -> &'static str {
    &second()[..second().len() / 2]
}

fn retr(hears: &str, end: End) -> Option<Talk> {
    talk(From::LoggedIn, "RETR 2", hears, end)
}

fn retr_of(body: &str, end: End) -> Option<Talk> {
    retr(&format!("+OK {} octets\r\n{body}", size(2)), end)
}

/// The second message with more in it.
fn retr_more(stored: &str, sent: &str) -> Option<Talk> {
    let status = format!("+OK {} octets\r\n", size(2) + stored.len());
    retr(&(status + second() + sent + ".\r\n"), End::Listens)
}

/// What is said and heard; none where a test of its own does it.
pub(crate) fn of(evil: M) -> Option<Talk> {
    let quit = |hears: &str, end| talk(From::LoggedIn, "QUIT", hears, end);
    match evil {
        M::GreetingEndless => greets("+OK xxxxxxxx", End::Endless),
        M::GreetingAbsent => greets("", End::Silent),
        M::GreetingClosed => greets("", End::Closed),
        M::GreetingRefused => greets("-ERR go away\r\n", End::Closed),
        M::GreetingRefusedSysTemp => greets("-ERR [SYS/TEMP] too many connections\r\n", End::Closed),
        M::GreetingGarbage => greets(b"\x00\xff\x1b[2J*/?\r\n", End::Listens),
        M::GreetingOfSmtp => greets("220 mail.example.org ESMTP\r\n", End::Listens),
        M::GreetingTwoLines => greets("+OK the first\r\n+OK the second\r\n", End::Listens),
        M::GreetingStampNoMessageId => greets("+OK ready <no message id>\r\n", End::Listens),
        M::GreetingStampEightBit => greets(b"+OK ready <\xe9\x80\xff@\xc3\x28>\r\n", End::Listens),
        M::TlsStalls => greets("", End::Silent),
        M::TlsClearText => greets("+OK POP3 at your service\r\n", End::Listens),

        M::CapaRefused => capa("-ERR what is that?\r\n", End::Listens),
        M::CapaEndless => capa("+OK capabilities\r\nX-ENDLESS-0\r\nX-ENDLESS-1\r\n", End::Endless),
        M::CapaWithoutFinalDot => capa(good_capabilities(), End::Silent),
        M::CapaOddLines => {
            let odd = b"\r\n \r\ncaf\xe9 \x01\r\nlogin-delay soon\r\nEXPIRE -1\r\nLOGIN-DELAY 99999999999999999999\r\n.\r\n";
            greeted("CAPA", [good_capabilities().as_bytes(), odd].concat(), End::Listens)
        }
        M::CapaLiesTop => listens("TOP 1 0", "-ERR what is that?\r\n"),
        M::CapaLiesUidl | M::UidlRefused => listens("UIDL", "-ERR what is that?\r\n"),
        M::CapaHidesThem => capa_without(&["TOP", "UIDL", "USER"]),
        M::CapaUnknownSaslOnly => {
            let hears = good_capabilities().replace("SASL PLAIN", "SASL X-NOBODY-KNOWS") + ".\r\n";
            capa(&hears, End::Listens)
        }
        M::StlsNotOffered => capa_without(&["STLS"]),
        M::StlsRefused => greeted("STLS", "-ERR no TLS today\r\n", End::Listens),
        M::StlsStalls => greeted("STLS", "+OK begin TLS\r\n", End::Silent),
        M::StlsClosed => greeted("STLS", "+OK begin TLS\r\n", End::Closed),
        M::StlsClearText => {
            let hello = "STLS\r\nclient hello";
            greeted(hello, "+OK begin TLS\r\n+OK this is clear text\r\n", End::Closed)
        }

        M::UserRefused => greeted("USER mara", "-ERR no such user\r\n", End::Listens),
        M::LoginRefused => password("-ERR no", End::Listens),
        M::LoginRefusedAuth => password("-ERR [AUTH] wrong user or password", End::Listens),
        M::LoginRefusedInUse => password("-ERR [IN-USE] another session has the maildrop", End::Listens),
        M::LoginRefusedSysTemp => password("-ERR [SYS/TEMP] the directory is down", End::Listens),
        M::LoginRefusedSysPerm => {
            password("-ERR [SYS/PERM] the maildrop is damaged: call your administrator", End::Listens)
        }
        M::LoginRefusedLoginDelay => password("-ERR [LOGIN-DELAY] not so often", End::Listens),
        M::LoginUnanswered => {
            let login = format!("USER {USER}\r\nPASS {PASSWORD}");
            greeted(&login, "+OK and the password?\r\n", End::Silent)
        }
        M::LoginPlusErr => password("+ERR wrong password", End::Listens),
        M::ClosedAfterLogin => password("+OK 5 messages", End::Closed),
        M::ReplyUnasked => password("+OK 5 messages\r\n+OK and by the way", End::Listens),
        M::AuthChallengeNoBase64 => {
            greeted("AUTH PLAIN\r\n*", "+ *** no base64 ***\r\n-ERR cancelled\r\n", End::Listens)
        }
        M::AuthChallengeEndless => greeted("AUTH PLAIN", "+ xxxxxxxx", End::Endless),
        M::AuthChallengesForEver => {
            let more = "+ bW9yZQ==\r\n";
            let refused = "-ERR that is no base64, or the exchange is cancelled\r\n";
            greeted("AUTH PLAIN AGEAYg==\r\nYQ==\r\n\r\n*", more.repeat(3) + refused, End::Listens)
        }

        M::StatRefused => stat("-ERR not counted"),
        M::StatNegative => stat("+OK -1 -320"),
        M::StatHuge => stat("+OK 18446744073709551616 18446744073709551616"),
        M::StatWords => stat("+OK some messages"),
        M::StatTooFewWords => stat("+OK 5"),
        M::StatUnlikeList => stat(&format!("+OK 8 {}", 2 * all_sizes())),
        M::StatUnanswered => talk(From::LoggedIn, "STAT", "", End::Silent),
        M::StatEndless => talk(From::LoggedIn, "STAT", "+OK xxxxxxxx", End::Endless),
        M::ReplyGarbage => stat("\u{1b}[31mOK? 1 2"),
        M::ReplyNul => stat(&format!("+OK 5 {} \0\u{1b}[2J\0", all_sizes())),
        M::ReplyLong => stat(&format!("+OK 5 {} {}", all_sizes(), "long ".repeat(20 * 1024))),
        M::DataAfterReply => stat(&format!("+OK 5 {}\r\nthis is no reply", all_sizes())),
        M::AutologoutUnasked => {
            let hears = format!("+OK 5 {}\r\n-ERR autologout; idle for too long\r\n", all_sizes());
            talk(From::LoggedIn, "STAT", hears, End::Closed)
        }
        M::ByeUnasked => {
            talk(From::LoggedIn, "STAT", format!("+OK 5 {}\r\n* BYE\r\n", all_sizes()), End::Closed)
        }

        M::ListRefused => listens("LIST", "-ERR not listed\r\n"),
        M::ListLonger => list(|lines| lines.push("6 100".into())),
        M::ListShorter => list(|lines| drop(lines.pop())),
        M::ListRepeats => list(|lines| lines.push("1 77777".into())),
        M::ListZero => list(|lines| lines.insert(0, "0 100".into())),
        M::ListHugeNumber => list(|lines| lines.push("1180591620717411303424 100".into())),
        M::ListOutOfOrder => list(|lines| lines.reverse()),
        M::ListSizeMissing => list(|lines| lines[1] = "2".into()),
        M::ListSizeNegative => list(|lines| lines[1] = "2 -100".into()),
        M::ListSizeHuge => list(|lines| lines[1] = "2 1180591620717411303424".into()),
        M::ListSizesWrong => list(|lines| *lines = (1..=5).map(|number| format!("{number} 1")).collect()),
        M::ListGarbage => list(|lines| lines.insert(1, "this is no line of a list".into())),
        M::ListEndless => lines("LIST", |_| {}, "1000 1000\r\n1001 1001\r\n", End::Endless),
        M::ListWithoutFinalDot => lines("LIST", |_| {}, "", End::Silent),

        M::UidlEmpty => uidl(|lines| lines[1] = "2 ".into()),
        M::UidlDuplicates => uidl(|lines| lines[2] = "3 few-2".into()),
        M::UidlLong71 => uidl(|lines| lines[1] = format!("2 {}", "l".repeat(71))),
        M::UidlLong5000 => uidl(|lines| lines[1] = format!("2 {}", "l".repeat(5_000))),
        M::UidlSpaces => uidl(|lines| lines[1] = "2 an id with spaces".into()),
        M::UidlControls => uidl(|lines| lines[1] = "2 id\u{1b}[2J\u{7}\tid".into()),
        M::UidlShorter => uidl(|lines| drop(lines.pop())),
        M::UidlBeyondStat => uidl(|lines| lines.push("6 beyond".into())),
        M::UidlRepeats => uidl(|lines| lines.push("1 once-more".into())),
        M::UidlZero => uidl(|lines| lines.insert(0, "0 zero".into())),
        M::UidlOutOfOrder => uidl(|lines| lines.reverse()),
        M::UidlEndless => lines("UIDL", |_| {}, "1000 1000\r\n1001 1001\r\n", End::Endless),
        M::UidlWithoutFinalDot => lines("UIDL", |_| {}, "", End::Silent),

        M::RetrRefused => retr("-ERR cannot be read\r\n", End::Listens),
        M::RetrRefusedSysTemp => retr("-ERR [SYS/TEMP] cannot be read now\r\n", End::Listens),
        M::RetrRefusedSysPerm => retr("-ERR [SYS/PERM] cannot be read\r\n", End::Listens),
        M::RetrWrongOctets => retr(&format!("+OK 99999999999 octets\r\n{}.\r\n", second()), End::Listens),
        M::RetrSendsAnother => {
            let third = "From: server@example.org\r\nSubject: empty\r\n\r\n.\r\n";
            retr(&format!("+OK this is it\r\n{third}"), End::Listens)
        }
        M::RetrEmpty => retr_of(".\r\n", End::Listens),
        M::RetrUnanswered => retr("", End::Silent),
        M::MissingFinalDot => retr_of(second(), End::Closed),
        M::FinalDotUnended => retr_of(&format!("{}.", second()), End::Silent),
        M::BodyStops => retr_of(half(), End::Silent),
        M::BodyClosed => retr_of(half(), End::Closed),
        M::BodyEndlessLine => retr_of(&format!("{}xxxxxxxx", half()), End::Endless),
        M::BodyEndless => retr_of(&format!("{}This goes on and on", half()), End::Endless),
        M::BodyBareLf => retr_of(&(second().replace("\r\n", "\n") + ".\n"), End::Listens),
        M::BodyBareCr => retr_more("one\rtwo\r\rthree\r.\r\r\n", "one\rtwo\r\rthree\r.\r\r\n"),
        M::BodyUnstuffedDot => {
            let more = "before\r\n.\r\n+OK 77 octets\r\n-ERR [AUTH] go away\r\nafter\r\n";
            retr_more(more, more).map(unstuffed)
        }
        M::BodyUnstuffedDots => retr_more(".hidden\r\n..two\r\n", ".hidden\r\n..two\r\n").map(unstuffed),
        M::BodyNul => retr_more("\0\0nul\0\r\n\0\r\n", "\0\0nul\0\r\n\0\r\n"),
        M::BodyLongLines => {
            let (long, dots) = ("l".repeat(100 * 1024), ".".repeat(100 * 1024));
            retr_more(&format!("{long}\r\n.{dots}\r\n"), &format!("{long}\r\n..{dots}\r\n"))
        }
        M::TopSendsAll => listens("TOP 2 0", format!("+OK the top\r\n{}.\r\n", second())),

        M::ReplyTwice => listens("DELE 1", "+OK marked\r\n+OK marked\r\n"),
        M::BareLfReplies => listens("UIDL", "+OK they are\n1 few-1\n2 few-2\n3 few-3\n4 few-4\n5 few-5\n.\n"),
        M::LowerCaseOk => listens("DELE 1\r\nDELE 1", "+ok marked\r\n-err no such message\r\n"),
        M::DeleRefused => listens("DELE 1\r\nDELE 2", "+OK marked\r\n-ERR that message stays\r\n"),
        M::RsetRefused => listens("RSET", "-ERR the marks stay\r\n"),
        M::QuitRefusedKept | M::QuitRefusedDeleted | M::QuitRefusedHalf => {
            quit("-ERR [SYS/TEMP] not all messages were deleted\r\n", End::Closed)
        }
        M::QuitClosedDeleted | M::QuitClosedKept => quit("", End::Closed),
        M::QuitUnansweredDeleted | M::QuitUnansweredKept => quit("", End::Silent),
        M::QuitLies => quit("+OK bye\r\n", End::Closed),

        M::Nothing
        | M::TlsWrongName
        | M::TlsEndsWithoutNotify
        | M::CapaLiesPipelining
        | M::CapaShrinksAfterLogin
        | M::CapaGrowsAfterLogin
        | M::StlsInjection
        | M::StlsWrongName
        | M::UidlAllChange
        | M::RenumbersAfterDele
        | M::DeletedStillListed
        | M::MailboxShrinks
        | M::OctetByOctet
        | M::EveryReplyDelayed
        | M::ConnectionCut
        | M::DeletesAtOnce
        | M::RetrHides => None,
    }
}

/// The same with the dots of the message as they are stored.
fn unstuffed(mut talk: Talk) -> Talk {
    let hears = String::from_utf8(talk.hears).unwrap();
    let plain = second().replace("\r\n.", "\r\n");
    talk.hears = hears.replace(second(), &plain).into_bytes();
    talk
}
