//! What is told in the log again and again: once in a while, and how often it happened meanwhile.
//!
//! Pure bookkeeping: the caller brings the time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often the same text is told, at most.
pub(crate) const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Of how many texts it is known when they were told; of more, the one that was told first is forgotten.
const TEXTS_MAX: usize = 32;

/// Texts that were told a short while ago.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Vec<Told>>);

#[derive(Debug)]
struct Told {
    text: String,
    at: Instant,
    /// How often it was not told since.
    kept: u64,
}

impl Repeats {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Whether a text is to be told now; and how often it was not since it was told last.
    pub(crate) fn ask(&self, text: &str, now: Instant) -> Option<u64> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = book.iter_mut().find(|told| told.text == text) {
            if now.saturating_duration_since(told.at) < TOLD_EVERY {
                told.kept = told.kept.saturating_add(1);
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.kept));
        }
        if book.len() >= TEXTS_MAX {
            let oldest = book.iter().enumerate().min_by_key(|(_, told)| told.at).map(|(index, _)| index);
            oldest.map(|index| book.swap_remove(index));
        }
        book.push(Told { text: text.to_owned(), at: now, kept: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_a_while_and_counted() {
        let (repeats, begin) = (Repeats::new(), Instant::now());
        assert_eq!(repeats.ask("a", begin), Some(0));
        for second in 1..10 {
            assert_eq!(repeats.ask("a", begin + Duration::from_secs(second)), None);
        }
        assert_eq!(repeats.ask("b", begin), Some(0), "another text");
        assert_eq!(repeats.ask("a", begin + TOLD_EVERY), Some(9));
        assert_eq!(repeats.ask("a", begin + TOLD_EVERY), None);
    }

    #[test]
    fn no_more_texts_are_kept_than_may_be() {
        let (repeats, begin) = (Repeats::new(), Instant::now());
        for number in 0..100 {
            let now = begin + Duration::from_millis(number);
            assert_eq!(repeats.ask(&number.to_string(), now), Some(0));
        }
        let now = begin + Duration::from_millis(100);
        assert_eq!(repeats.ask("99", now), None);
        assert_eq!(repeats.ask("0", now), Some(0), "it was forgotten");
        assert_eq!(repeats.0.lock().unwrap().len(), TEXTS_MAX);
    }
}
