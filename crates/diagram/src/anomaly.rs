//! Everything that a diagram points at as wrong or slow, once: its name, its heading, and what it means.

macro_rules! anomalies {
    ($($(#[$doc:meta])* $variant:ident: $name:literal, $title:literal, $severity:ident, $advice:literal;)*) => {
        /// Something in a session that is wrong, or slower than it had to be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Anomaly {
            $($(#[$doc])* $variant,)*
        }

        impl Anomaly {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in JSON, in links, and in the documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its heading.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What follows from it, and what to do.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

/// How bad an [`Anomaly`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Time is lost.
    Slow,
    /// Somebody does what the RFCs forbid, or the network failed.
    Wrong,
    /// A secret was shown, or mail may be lost or altered.
    Grave,
}

impl Severity {
    /// Its name in JSON and in classes of HTML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Wrong => "wrong",
            Self::Grave => "grave",
        }
    }
}

anomalies! {
    /// A password, or what is as good as one, went over the connection without TLS.
    PasswordInClear: "password-in-clear", "Password in clear", Grave,
        "Everybody on the way can read it. Use the TLS port (995), or STLS before the login.";
    /// A message has not the length that the server announced.
    OctetCount: "octet-count", "Octet count does not match", Wrong,
        "Clients that trust the number cut the message or wait for ever. Either the server counts by another rule than RFC 1939 §11, or the message was cut or altered.";
    /// A line of a message begins with a dot that was not stuffed.
    UnstuffedDot: "unstuffed-dot", "Unstuffed dot", Grave,
        "The client takes the dot away, and a line of one dot ends the message: the server alters mail.";
    /// A block did not come to its final `.` line.
    MissingFinalDot: "missing-final-dot", "Missing final dot", Grave,
        "What came is not the whole. A client must not take it for the message, and must not delete it.";
    /// Lines end in LF without CR.
    BareLf: "bare-lf", "LF without CR", Wrong,
        "RFC 1939 §3 ends lines in CRLF. Strict clients see one long line, or never see the end.";
    /// The server says what nobody asked for.
    UnaskedReply: "unasked-reply", "Reply without a command", Wrong,
        "A client takes it for the answer to its next command, and every answer after that for another one.";
    /// Messages were marked as deleted, and the session ended without QUIT.
    DeletionWithoutQuit: "deletion-without-quit", "Deletion without QUIT", Wrong,
        "Marks count only with QUIT (RFC 1939 §6): nothing was deleted, and the messages come again.";
    /// The server answered QUIT with -ERR.
    QuitRefused: "quit-refused", "QUIT refused", Grave,
        "Not all messages that were marked have been removed (RFC 1939 §6).";
    /// STLS was refused or hidden, and the login went on in clear.
    StlsStripped: "stls-stripped", "STLS stripped", Grave,
        "Somebody on the way may have taken STLS away to read the password. A client should require TLS.";
    /// Octets stood behind STLS, or behind its answer, before TLS began.
    StlsInjection: "stls-injection", "Octets after STLS", Grave,
        "What was said in clear must not count inside TLS (RFC 2595 §4): somebody on the way could put commands or answers into the session.";
    /// A step took long.
    SlowStep: "slow-step", "Slow step", Slow,
        "See whether the time went with the server, with the client, or on the network.";
    /// Time was lost because one side waited for an acknowledgement that the other one delayed.
    DelayedAckStall: "delayed-ack-stall", "Delayed-ACK stall", Slow,
        "The sender waits for an ACK before its next small segment (Nagle), the receiver delays the ACK (RFC 1122 §4.2.3.2). Write what belongs together at once, or set TCP_NODELAY.";
    /// Octets were sent again.
    Retransmission: "retransmission", "Retransmission", Slow,
        "A segment or its acknowledgement was lost on the way, or came too late.";
    /// A segment came before one that was sent earlier.
    OutOfOrder: "out-of-order", "Out of order", Slow,
        "Segments overtook each other, or one before it was lost.";
    /// The capture lacks octets.
    NotCaptured: "not-captured", "Octets not captured", Wrong,
        "Something passed that the capture does not hold: it cannot be explained. Capture with a larger buffer (tcpdump -B) and whole packets (-s 0).";
    /// The connection was broken off.
    Reset: "reset", "Reset", Wrong,
        "What was under way is lost. Marks of deletion count only where QUIT was said before.";
    /// One side closed its direction, and the other went on.
    HalfClose: "half-close", "Half-close", Wrong,
        "One side sends no more and still reads. TCP allows that; servers and firewalls often take it for the end.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_none_stands_twice() {
        for (place, anomaly) in Anomaly::ALL.iter().enumerate() {
            let name = anomaly.name();
            assert!(
                name.bytes()
                    .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
            );
            assert!(Anomaly::ALL[..place].iter().all(|other| other.name() != name), "{name}");
            assert!(anomaly.advice().ends_with('.'), "{name}");
        }
    }
}
