//! What the client said of late, for sessions of which something was not heard: there nobody knows which reply answers
//! which command, so that the recorder may look for a secret in the wrong reply. Servers like to repeat what they did not
//! understand.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use restante_proto::{Secret, dialogue::Recorder, verb::Verb};

/// How much is kept, in octets: more than the longest command, and than most SASL responses.
const SAID_MAX_OCTETS: usize = 2048;
/// A word that is odd enough to be looked for everywhere has so many octets.
const ODD_MIN_OCTETS: usize = 6;
/// A word shorter than this is not looked for: it would be found everywhere.
const WORD_MIN_OCTETS: usize = 3;

/// The last octets that a client said.
pub(super) struct Said(Secret<Vec<u8>>);

impl Default for Said {
    fn default() -> Self {
        Self(Secret::new(Vec::new()))
    }
}

impl Said {
    /// The client says this too.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let tail = |octets: &[u8], room: usize| octets.len().saturating_sub(room);
        let octets = octets.get(tail(octets, SAID_MAX_OCTETS)..).unwrap_or_default();
        let before = self.0.expose();
        let before = before.get(tail(before, SAID_MAX_OCTETS - octets.len())..).unwrap_or_default();
        let mut both = Vec::with_capacity(SAID_MAX_OCTETS);
        both.extend_from_slice(before);
        both.extend_from_slice(octets);
        self.0 = Secret::new(both);
    }

    /// Its words are told to a recorder that did not hear them: each may be a secret.
    pub(super) fn tell(&self, recorder: &mut Recorder) {
        let words = self.0.expose().split(|octet| *octet <= b' ' || *octet == 0x7f);
        words.filter(|word| !word.iter().all(u8::is_ascii_digit)).for_each(|word| recorder.knows(word));
    }

    /// Whether a line of the server holds a word of it that no answer holds by itself: letters and something else.
    pub(super) fn is_plainly_in(&self, line: &[u8]) -> bool {
        let line = line.to_ascii_lowercase();
        let words = self.0.expose().split(|octet| *octet <= b' ' || *octet == 0x7f);
        let mut odd = words.filter(|word| {
            word.len() >= ODD_MIN_OCTETS
                && word.iter().any(u8::is_ascii_alphabetic)
                && !word.iter().all(u8::is_ascii_alphabetic)
        });
        odd.any(|word| memchr::memmem::find(&line, &word.to_ascii_lowercase()).is_some())
    }

    /// Whether a line of the server holds a word of it, or what a word says in base64.
    pub(super) fn is_in(&self, line: &[u8]) -> bool {
        let line = line.to_ascii_lowercase();
        let holds = |word: &[u8]| {
            word.len() >= WORD_MIN_OCTETS
                && Verb::from_word(word).is_none()
                && memchr::memmem::find(&line, &word.to_ascii_lowercase()).is_some()
        };
        let words = |text: &[u8]| text.split(|octet| *octet <= b' ' || *octet == 0x7f).any(holds);
        let said = self.0.expose();
        words(said)
            || said.split(u8::is_ascii_whitespace).any(|word| {
                // `PASSsecret`, as some clients have it, is looked for without its first four letters too.
                word.get(4..).is_some_and(holds)
                    || BASE64
                        .decode(word.split(|octet| *octet == b'=').next().unwrap_or(word))
                        .is_ok_and(|plain| words(&Secret::new(plain).expose()[..]))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(octets: &[u8], line: &[u8]) -> bool {
        let mut said = Said::default();
        octets.chunks(3).for_each(|part| said.push(part));
        said.is_in(line)
    }

    #[test]
    fn words_are_found_whole_in_base64_and_behind_a_verb() {
        assert!(said(b"PASS abc xyz\r\n", b"-ERR what is ABC?"));
        assert!(said(b"PASSabcxyz\r\n", b"-ERR what is abcxyz?"));
        assert!(said(b"AGpvaG4AYWJjeHl6\r\n", b"-ERR john and abcxyz do not match"));
        assert!(said(&[&[b'x'; 4000][..], b" abcxyz\r\n"].concat(), b"-ERR abcxyz"));
        assert!(!said(b"PASS abcxyz\r\n", b"-ERR no such user"));
        assert!(!said(b"DELE 1\r\n", b"+OK 1 deleted, what DELE is for"));
    }
}
