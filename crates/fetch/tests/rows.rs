//! Each misbehaviour of a server, and what the engine makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::{sync::Mutex, thread, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::Desk;
use restante_client::{
    Security,
    tls::{TlsOptions, Trust},
};
use restante_fetch::Keep;
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour as M, Script};
use support::Files;

/// What must become of the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of it is there once, and the server has none of it any more, unless it is kept.
    All,
    /// Message 2 cannot be had as long as the server behaves so; the others are there.
    Without2,
    /// Nothing is there, and the server has all of it.
    Nothing,
    /// As the row says; nothing is lost and nothing is there twice.
    Other,
}

/// What must become of the mail, and what must be told; nothing may be told where the text is empty.
fn row(misbehaviour: M) -> (End, &'static str) {
    use End::{All, Nothing, Other, Without2};
    match misbehaviour {
        M::Nothing => (All, ""),
        M::GreetingEndless => (Nothing, "a line without end"),
        M::GreetingAbsent => (Nothing, "in time (greeting)"),
        M::GreetingClosed => (Nothing, "without a greeting"),
        M::GreetingRefused => (Nothing, "go away"),
        M::GreetingRefusedSysTemp => (Nothing, "[SYS/TEMP]"),
        M::GreetingGarbage | M::GreetingOfSmtp => (Nothing, "does not greet as a POP3 server does"),
        // The client takes the second greeting for an answer, or does not: nothing may be lost or there twice.
        M::GreetingTwoLines | M::ReplyUnasked | M::ReplyTwice => (Other, ""),
        M::GreetingStampNoMessageId | M::GreetingStampEightBit => (All, ""),
        M::TlsStalls | M::StlsStalls => (Nothing, "in time (TLS handshake)"),
        M::TlsClearText | M::StlsClearText => (Nothing, "is not TLS"),
        M::TlsWrongName | M::StlsWrongName => (Nothing, "certificate is not for this host"),
        M::TlsEndsWithoutNotify => (All, "again:"),
        M::CapaRefused | M::CapaOddLines | M::CapaLiesTop | M::CapaHidesThem => (All, ""),
        M::CapaEndless => (Nothing, "CAPA"),
        M::CapaWithoutFinalDot => (Nothing, "in time (CAPA)"),
        // One session breaks, and the next does not pipeline.
        M::CapaLiesPipelining | M::CapaShrinksAfterLogin => (All, "again: the server did not answer in time"),
        M::CapaGrowsAfterLogin | M::CapaUnknownSaslOnly => (All, ""),
        M::CapaLiesUidl => (Other, "UIDL"),
        M::StlsInjection => (Nothing, "behind the answer to STLS"),
        M::StlsRefused | M::StlsNotOffered => (Nothing, "does not offer STLS"),
        M::StlsClosed => (Nothing, "the TLS handshake failed"),
        M::UserRefused => (All, ""),
        M::LoginRefused => (Nothing, "refused PASS"),
        M::LoginRefusedAuth => (Nothing, "[AUTH]"),
        M::LoginRefusedInUse => (Nothing, "[IN-USE]"),
        M::LoginRefusedSysTemp => (Nothing, "[SYS/TEMP]"),
        M::LoginRefusedSysPerm => (Nothing, "[SYS/PERM]"),
        M::LoginRefusedLoginDelay => (Nothing, "[LOGIN-DELAY]"),
        M::LoginUnanswered => (Nothing, "in time (AUTH)"),
        M::LoginPlusErr => (Nothing, "neither +OK nor -ERR"),
        M::ClosedAfterLogin => (Nothing, "ended"),
        M::AuthChallengeNoBase64 => (Nothing, "not base64"),
        M::AuthChallengeEndless => (Nothing, "a line without end"),
        M::AuthChallengesForEver => (Nothing, "error:"),
        M::StatRefused => (Nothing, "refused STAT"),
        M::StatNegative | M::StatHuge | M::StatWords | M::StatTooFewWords => (All, "STAT is not two numbers"),
        M::StatUnlikeList => (All, "leaves out 3 messages"),
        M::StatUnanswered => (Nothing, "in time (STAT)"),
        M::StatEndless => (Nothing, "a line without end"),
        M::ListRefused | M::ListOutOfOrder => (All, ""),
        M::ListLonger => (All, "LIST tells of message 6"),
        M::ListShorter => (All, "LIST leaves out 1"),
        M::ListRepeats => (All, "LIST tells of message 1 twice"),
        M::ListZero
        | M::ListHugeNumber
        | M::ListSizeMissing
        | M::ListSizeNegative
        | M::ListSizeHuge
        | M::ListGarbage => (All, "a line of LIST makes no sense"),
        M::ListSizesWrong => (All, "LIST says 1 octets, and 74 came, twice"),
        M::ListEndless => (Nothing, "LIST"),
        M::ListWithoutFinalDot => (Nothing, "in time (LIST)"),
        M::UidlRefused => (All, "no unique-ids"),
        M::UidlEmpty => (All, "empty unique-id"),
        M::UidlDuplicates => (All, "have the same unique-id"),
        M::UidlLong71 | M::UidlLong5000 | M::UidlControls | M::UidlSpaces => {
            (All, "the unique-id of message 2 is longer")
        }
        M::UidlOutOfOrder => (All, ""),
        // The last is left alone.
        M::UidlShorter => (Other, "UIDL leaves out 1"),
        M::UidlBeyondStat => (All, "UIDL tells of message 6"),
        M::UidlRepeats => (All, "UIDL tells of message 1 twice"),
        M::UidlZero => (All, "a line of UIDL makes no sense"),
        M::UidlEndless => (Nothing, "UIDL"),
        M::UidlWithoutFinalDot => (Nothing, "in time (UIDL)"),
        M::UidlAllChange => (All, "new unique-ids; they are not delivered again"),
        M::RenumbersAfterDele | M::DeletedStillListed | M::MailboxShrinks => (All, ""),
        M::RetrRefused => (Without2, "cannot be read"),
        M::RetrRefusedSysTemp => (Without2, "[SYS/TEMP]"),
        M::RetrRefusedSysPerm => (Without2, "[SYS/PERM]"),
        M::RetrWrongOctets => (All, ""),
        M::RetrSendsAnother => (Without2, "set aside: 2: the server sent another message in its place"),
        M::RetrEmpty => (Without2, "set aside: 2: the server sent nothing"),
        M::RetrUnanswered => (Without2, "set aside: 2: the server did not answer in time (RETR)"),
        M::MissingFinalDot | M::BodyClosed => (All, "ended in the middle of the answer to RETR 2"),
        M::FinalDotUnended | M::BodyStops => (All, "in time (RETR)"),
        M::BodyEndlessLine | M::BodyEndless => (Without2, "set aside: 2: it has more than"),
        M::BodyBareLf => (Without2, "set aside: 2:"),
        M::BodyUnstuffedDot | M::BodyUnstuffedDots => (Without2, "set aside: 2:"),
        M::BodyBareCr | M::BodyNul | M::BodyLongLines | M::TopSendsAll => (All, ""),
        M::DataAfterReply | M::ReplyGarbage => (Nothing, "neither +OK nor -ERR"),
        M::ReplyNul => (All, ""),
        M::ReplyLong => (Nothing, "a line without end"),
        M::OctetByOctet | M::BareLfReplies | M::LowerCaseOk | M::EveryReplyDelayed => (All, ""),
        M::AutologoutUnasked => (Nothing, "again:"),
        M::ByeUnasked => (Nothing, "neither +OK nor -ERR"),
        M::ConnectionCut => (All, "again:"),
        M::DeleRefused => (All, "the server refused to delete"),
        M::RsetRefused | M::DeletesAtOnce => (All, ""),
        M::RetrHides => (Other, ""),
        M::QuitRefusedKept | M::QuitRefusedDeleted | M::QuitRefusedHalf => (All, "[SYS/TEMP] not all"),
        M::QuitClosedDeleted | M::QuitClosedKept => (All, "it is not known whether the server removed"),
        M::QuitUnansweredDeleted | M::QuitUnansweredKept => (All, "in time (QUIT)"),
        M::QuitLies => (All, "messages that it said it had removed"),
    }
}

/// What is told only where mail is deleted, or only where it is kept.
fn is_told(misbehaviour: M, keep: Keep) -> bool {
    let name = misbehaviour.name();
    match keep {
        Keep::No => !matches!(misbehaviour, M::UidlAllChange | M::UidlRefused),
        _ => !name.starts_with("Quit") && misbehaviour != M::DeleRefused,
    }
}

fn server(misbehaviour: M) -> EvilServer {
    // An endless message ends soon after the engine has given it up.
    let endless_octets = if misbehaviour.name().starts_with("Body") { 12 << 20 } else { 1 << 20 };
    let script = Script::from(misbehaviour).late_by(Duration::from_millis(1)).endless_octets(endless_octets);
    EvilServer::start(script, Mail::few())
}

fn desk(misbehaviour: M, server: &EvilServer, keep: Keep) -> Desk {
    let mut desk = Desk::new(server.address(), Files::Eml, keep);
    let authority = desk.world.folder.path().join("ca.pem");
    let text = BASE64_STANDARD.encode(server.certificate());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(&authority, pem).unwrap();
    let (_, told) = row(misbehaviour);
    let options = &mut desk.account.options;
    options.tls = TlsOptions { trust: Trust::File(authority), ..TlsOptions::default() };
    desk.account.url.security = match misbehaviour.name() {
        name if name.starts_with("Tls") => Security::Implicit,
        name if name.starts_with("Stls") => Security::Stls,
        _ => Security::None,
    };
    desk.account.policy.max_octets = Some(1 << 20);
    // Where nothing is to be waited for in vain, a slow machine must not matter.
    let in_vain = told.contains("in time") || matches!(misbehaviour, M::BodyBareLf);
    let limit = if in_vain { Duration::from_millis(250) } else { Duration::from_secs(60) };
    (options.timeouts.answer, options.timeouts.handshake) = (limit, limit);
    desk
}

fn check(misbehaviour: M, keep: Keep) {
    let (end, expected) = row(misbehaviour);
    let server = server(misbehaviour);
    let desk = desk(misbehaviour, &server, keep);
    let case = format!("{}, keep {keep}", misbehaviour.name());
    let mut told = String::new();
    let runs = if end == End::Nothing { 2 } else { 3 };
    for _ in 0..runs {
        told += &desk.run().told();
        desk.assert_nothing_lost(&server, &case);
    }
    let wanted = desk.wanted(server.mail());
    for (message, times) in desk.there() {
        assert!(wanted.contains_key(&message), "{case}: what is that? {message}\n{told}");
        assert_eq!(times, 1, "{case}: {message}\n{told}");
    }
    assert_eq!(desk.leftovers(), ["ca.pem"; 0], "{case}");
    let all: Vec<String> = server.mail().messages().iter().map(|message| message.id.clone()).collect();
    let emptied = if keep == Keep::No { Vec::new() } else { all.clone() };
    match end {
        End::All => {
            desk.assert_exactly(server.mail(), &format!("{case}\n{told}"));
            assert_eq!(server.left(), emptied, "{case}\n{told}");
        }
        // When the others are gone it is the first, and can be had.
        End::Without2 if keep == Keep::No => {
            desk.assert_exactly(server.mail(), &format!("{case}\n{told}"));
            assert_eq!(server.left(), emptied, "{case}\n{told}");
        }
        End::Without2 => {
            assert_eq!(desk.there().len(), 4, "{case}\n{told}");
            assert_eq!(server.left(), all, "{case}\n{told}");
        }
        End::Nothing => {
            assert_eq!((desk.there().len(), server.left()), (0, all), "{case}\n{told}");
            assert_eq!(server.deleted(), Vec::<String>::new(), "{case}");
        }
        End::Other => {}
    }
    match expected {
        "" if end == End::Other => {}
        "" => assert_eq!(told, "", "{case}"),
        _ if !is_told(misbehaviour, keep) => {}
        _ => assert!(told.contains(expected), "{case}: «{expected}» is not told:\n{told}"),
    }
    assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{case}: {told:?}");
}

#[test]
fn each_misbehaviour_has_its_end() {
    let rows: Vec<(M, Keep)> =
        M::ALL.iter().flat_map(|&row| [(row, Keep::No), (row, Keep::Always)]).collect();
    let rows = Mutex::new(rows.into_iter());
    // Most of the time they wait.
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let row = rows.lock().unwrap().next();
                    let Some((misbehaviour, keep)) = row else { break };
                    check(misbehaviour, keep);
                }
            });
        }
    });
}
