//! Round trips, and the fast code against a naive loop, on arbitrary octets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use proptest::{collection::vec, prelude::*};
use restante_proto::{
    MessageNumber, Secret,
    body::{Form, Measure, Part, Progress, Stuffer, Unstuffed, Unstuffer},
    command::Command,
};

/// The canonical form by the letter of the rule.
fn canonical(message: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::new();
    for (at, &octet) in message.iter().enumerate() {
        if octet == b'\n' && (at == 0 || message[at - 1] != b'\r') {
            canonical.push(b'\r');
        }
        canonical.push(octet);
    }
    if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

/// Dot-stuffing by the letter of RFC 1939 §3.
fn stuffed(canonical: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (at, &octet) in canonical.iter().enumerate() {
        if octet == b'.' && (at == 0 || canonical[..at].ends_with(b"\r\n")) {
            wire.push(b'.');
        }
        wire.push(octet);
    }
    wire
}

/// TOP by the letter of RFC 1939 §7.
fn top(canonical: &[u8], lines: u64) -> Vec<u8> {
    let (mut top, mut in_body, mut left) = (Vec::new(), false, lines);
    for line in canonical.split_inclusive(|&octet| octet == b'\n') {
        if in_body {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        top.extend_from_slice(line);
        in_body |= line == b"\r\n";
        if in_body && left == 0 {
            break;
        }
    }
    top
}

fn stuff(message: &[u8], form: Form, part: Part, cuts: &[usize]) -> Vec<u8> {
    let (mut out, mut stuffer, mut rest) = (Vec::new(), Stuffer::new(form, part), message);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
        rest = behind;
        if stuffer.push(piece, &mut out) == Progress::Done {
            break;
        }
    }
    stuffer.finish(&mut out);
    out
}

/// Octets among which the ones that matter are frequent.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let octet =
        prop_oneof![4 => Just(b'\n'), 4 => Just(b'\r'), 4 => Just(b'.'), 4 => Just(b'a'), 1 => any::<u8>()];
    vec(octet, 0..200)
}

proptest! {
    #[test]
    fn stuffing_agrees_with_the_naive_loop(message in message(), cuts in vec(1usize..40, 1..5)) {
        let canonical = canonical(&message);
        prop_assert_eq!(stuff(&message, Form::Local, Part::Whole, &cuts), stuffed(&canonical));
        let mut measure = Measure::default();
        message.chunks(cuts[0]).for_each(|piece| measure.push(piece));
        let measured = measure.finish();
        prop_assert_eq!(measured.octets, canonical.len() as u64);
        // The form that was found may be relied on.
        prop_assert_eq!(stuff(&message, measured.form, Part::Whole, &cuts), stuffed(&canonical));
    }

    #[test]
    fn top_agrees_with_the_naive_loop(message in message(), lines in 0u64..6, cuts in vec(1usize..40, 1..5)) {
        let expected = stuffed(&top(&canonical(&message), lines));
        prop_assert_eq!(stuff(&message, Form::Local, Part::Top(lines), &cuts), expected);
    }

    #[test]
    fn what_was_stuffed_is_unstuffed(message in message(), cuts in vec(1usize..40, 1..5), behind in vec(any::<u8>(), 0..9)) {
        let mut wire = stuff(&message, Form::Local, Part::Whole, &cuts);
        wire.extend_from_slice(b".\r\n");
        let end = wire.len();
        wire.extend_from_slice(&behind);
        let (mut got, mut unstuffer, mut at, mut done) = (Vec::new(), Unstuffer::default(), 0, None);
        for cut in cuts.iter().cycle() {
            let piece = &wire[at..(at + cut).min(wire.len())];
            if piece.is_empty() || done.is_some() {
                break;
            }
            if let Unstuffed::Done(octets) = unstuffer.push(piece, &mut got) {
                done = Some(at + octets);
            }
            at += piece.len();
        }
        prop_assert_eq!(done, Some(end));
        prop_assert_eq!(got, canonical(&message));
    }

    #[test]
    fn commands_come_back(number in 1u32.., lines in any::<u64>(), name in "[!-~]{1,40}", password in vec(any::<u8>(), 0..60)) {
        let n = MessageNumber::new(number).unwrap();
        let password: Vec<u8> = password.into_iter().filter(|octet| !matches!(octet, 0 | 10 | 13)).collect();
        let commands = [
            Command::Apop(&name, [7; 16]), Command::AuthList, Command::Auth("PLAIN", None),
            Command::Auth("X-1_2", Some(b"=")), Command::Capa, Command::Dele(n), Command::List(None),
            Command::List(Some(n)), Command::Noop, Command::Pass(Secret::new(password)), Command::Quit,
            Command::Retr(n), Command::Rset, Command::Stat, Command::Stls, Command::Top(n, lines),
            Command::Uidl(None), Command::Uidl(Some(n)), Command::User(&name),
        ];
        for command in commands {
            let mut wire = Vec::new();
            command.write(&mut wire);
            let line = wire.strip_suffix(b"\r\n").unwrap();
            prop_assert_eq!(Command::parse(line), Ok(command));
        }
    }

    #[test]
    fn no_line_panics(line in vec(any::<u8>(), 0..600)) {
        // Either is right; what must not happen is a panic, or a secret in the error's words.
        let shown = Command::parse(&line).map_or_else(|error| error.to_string(), |command| format!("{:?}", command.verb()));
        prop_assert!(shown.len() < 100);
    }
}
