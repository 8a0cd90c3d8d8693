//! What a server says against what a dialogue expects, at every cut the same: the way of `restante play`, where the
//! octets come from a stranger.
//!
//! The first line holds the lengths of pieces; then comes a dialogue; what the server says stands behind a line `%%`.
//! It is also taken for what was expected, line by line and as a body: then nothing is different.

use restante_proto::dialogue::{Dialogue, Event, Heard, Kind, Line, Listener};

use super::{pieces, split_how, stuffing::naive_unstuff};

pub(super) fn run(data: &[u8]) {
    let (cuts, rest) = split_how(data);
    let Some(at) = rest.windows(3).position(|line| line == b"%%\n") else { return };
    let (text, said) = (&rest[..at], &rest[at + 3..]);
    is_as_expected(said, cuts);
    let Ok(dialogue) = Dialogue::parse(text) else { return };
    let whole = hear(&dialogue.events, said.chunks(said.len().max(1)));
    assert_eq!(hear(&dialogue.events, pieces(said, cuts)), whole);
    assert_eq!(hear(&dialogue.events, said.chunks(1)), whole);
}

/// What came of each event, in words. How much was taken is counted over all pieces.
fn hear<'a>(events: &[Event], pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut listener, mut heard, mut taken_before) = (Listener::default(), Vec::new(), 0);
    let mut events = events.iter();
    let mut expected = events.next();
    for mut piece in pieces {
        while let Some(event) = expected {
            let (taken, said) = match listener.hear(&event.kind, piece) {
                Heard::More => {
                    taken_before += piece.len();
                    break;
                }
                Heard::Same { taken } => (taken, "same".to_owned()),
                Heard::Different { taken, difference } => {
                    assert!(difference.same <= difference.actual.chars().count() + 1);
                    (taken, difference.to_string())
                }
            };
            assert!(taken <= piece.len());
            taken_before += taken;
            piece = &piece[taken..];
            heard.push(format!("{taken_before}: {said}"));
            expected = events.next();
        }
    }
    // What takes no octets needs none to come; the rest ends here.
    while let Some(event) = expected {
        match listener.hear(&event.kind, b"") {
            Heard::Same { taken: 0 } => heard.push(format!("{taken_before}: same")),
            Heard::Same { .. } => panic!("something out of nothing"),
            Heard::Different { taken, difference } => {
                assert_eq!(taken, 0);
                heard.push(format!("{taken_before}: {difference}"));
            }
            Heard::More => {
                heard.push(
                    listener.end(&event.kind).map_or_else(|| "ended".to_owned(), |end| end.to_string()),
                );
                break;
            }
        }
        expected = events.next();
    }
    heard
}

fn is_as_expected(said: &[u8], cuts: &[u8]) {
    let server = |octets: &[u8]| Event::new(Kind::Server(Line::of(octets)));
    let lines: Vec<Event> = said.split_inclusive(|&octet| octet == b'\n').map(server).collect();
    let mut taken = 0;
    for (heard, line) in
        hear(&lines, pieces(said, cuts)).iter().zip(said.split_inclusive(|&octet| octet == b'\n'))
    {
        taken += line.len();
        let same = format!("{taken}: same");
        assert!(*heard == same || (*heard == "ended" && taken == said.len()), "{heard}");
    }
    if let (message, Some(end)) = naive_unstuff(said) {
        let octets = message.len() as u64;
        let block = [Event::new(Kind::Body { octets }), server(b".\r\n")];
        let same = format!("{end}: same");
        assert_eq!(hear(&block, pieces(said, cuts)), [same.clone(), same.clone()]);
        let block = [Event::new(Kind::Lines), server(b".\r\n")];
        assert_eq!(hear(&block, pieces(said, cuts)), [same.clone(), same]);
        let block = [Event::new(Kind::Body { octets: octets + 1 }), server(b".\r\n")];
        assert!(!hear(&block, pieces(said, cuts))[0].ends_with("same"), "another length");
    }
}
