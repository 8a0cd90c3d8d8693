//! What an evil server greets with.

use super::{
    Misbehaviour,
    reply::{Reply, Then, endless_line},
};

/// The greeting, if it is not a good one.
pub(super) fn play(evil: Misbehaviour) -> Option<Reply> {
    use Misbehaviour as M;
    Some(match evil {
        M::GreetingEndless => Reply { octets: b"+OK ".to_vec(), then: Then::Repeat(endless_line) },
        M::GreetingAbsent => Reply::silence(),
        M::GreetingClosed => Reply::closed(),
        M::GreetingRefused => Reply::refused("go away").then(Then::HangUp),
        M::GreetingRefusedSysTemp => Reply::refused("[SYS/TEMP] too many connections").then(Then::HangUp),
        M::GreetingGarbage => Reply { octets: b"\x00\xff\x1b[2J*/?\r\n".to_vec(), then: Then::Listen },
        M::GreetingOfSmtp => Reply::line("220 mail.example.org ESMTP"),
        M::GreetingTwoLines => Reply::ok("the first").and(b"+OK the second\r\n"),
        M::GreetingStampNoMessageId => Reply::ok("ready <no message id>"),
        M::GreetingStampEightBit => {
            Reply { octets: b"+OK ready <\xe9\x80\xff@\xc3\x28>\r\n".to_vec(), then: Then::Listen }
        }
        _ => return None,
    })
}
