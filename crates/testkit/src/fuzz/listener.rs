//! What a server says against what a dialogue expects, at every cut the same: the way of `restante play`, where the
//! octets come from a stranger.
//!
//! The first line holds the lengths of pieces; then comes a dialogue; what the server says stands behind a line `%%`.

use restante_proto::dialogue::{Dialogue, Event, Heard, Listener};

use super::{pieces, split_how};

pub(super) fn run(data: &[u8]) {
    let (cuts, rest) = split_how(data);
    let Some(at) = rest.windows(3).position(|line| line == b"%%\n") else { return };
    let (text, said) = (&rest[..at], &rest[at + 3..]);
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
