//! Buffers, lent by the worker's thread while they are needed: an idle connection owns none.
//!
//! What came from a client may be a password, and is wiped; what goes out is mail and replies, and is not.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicUsize, Ordering},
    thread::LocalKey,
};

use restante_proto::server::OUT_SOFT_MAX_OCTETS;
use zeroize::Zeroize;

/// The capacity of a buffer for what a client sends, in octets: a longer batch comes in several of them.
const INPUT_OCTETS: usize = 16 * 1024;
/// The capacity of a buffer for what is sent, in octets: what passes the soft limit by a line still fits.
const OUTPUT_OCTETS: usize = OUT_SOFT_MAX_OCTETS + 8 * 1024;
/// How many buffers of each kind a thread keeps.
const KEPT_MAX: usize = 8;
/// With more of them lent out at once memory is short, and who waits gives his back.
const OUTPUTS_MANY: usize = 128;

type Kept = RefCell<Vec<Vec<u8>>>;

thread_local! {
    static INPUTS: Kept = const { RefCell::new(Vec::new()) };
    static OUTPUTS: Kept = const { RefCell::new(Vec::new()) };
}

/// How many output buffers are lent out, in the whole process.
static OUTPUTS_LENT: AtomicUsize = AtomicUsize::new(0);

/// What came from a client. It is wiped when it is dropped, wherever that happens, and its buffer goes back.
#[derive(Debug)]
pub(crate) struct Input(Vec<u8>);

/// What goes to a client. Its buffer goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Output {
    octets: Vec<u8>,
    lent: bool,
}

impl Input {
    /// An empty buffer.
    pub(crate) fn lend() -> Self {
        Self(take(&INPUTS, INPUT_OCTETS))
    }

    /// An empty buffer that owns nothing.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }
}

impl Output {
    /// An empty buffer.
    pub(crate) fn lend() -> Self {
        OUTPUTS_LENT.fetch_add(1, Ordering::Relaxed);
        Self { octets: take(&OUTPUTS, OUTPUT_OCTETS), lent: true }
    }

    /// An empty buffer that owns nothing.
    pub(crate) const fn none() -> Self {
        Self { octets: Vec::new(), lent: false }
    }

    /// Whether so many are lent out that nobody should keep one while he waits.
    pub(crate) fn many() -> bool {
        OUTPUTS_LENT.load(Ordering::Relaxed) > OUTPUTS_MANY
    }
}

fn take(kept: &'static LocalKey<Kept>, octets: usize) -> Vec<u8> {
    kept.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(octets))
}

/// Takes a buffer back, unless it has grown, or never came from here.
fn give_back(kept: &'static LocalKey<Kept>, mut buffer: Vec<u8>, octets: usize) {
    if buffer.capacity() == octets {
        buffer.clear();
        // A thread that ends has no pool any more.
        let _ended = kept.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

impl Deref for Input {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Input {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Deref for Output {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.octets
    }
}

impl DerefMut for Output {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
        give_back(&INPUTS, std::mem::take(&mut self.0), INPUT_OCTETS);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.lent {
            OUTPUTS_LENT.fetch_sub(1, Ordering::Relaxed);
            give_back(&OUTPUTS, std::mem::take(&mut self.octets), OUTPUT_OCTETS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_a_client_is_wiped_and_its_buffer_comes_back() {
        let mut buffer = Input::lend();
        buffer.extend_from_slice(b"PASS abcxyz");
        let at = buffer.as_ptr();
        drop(buffer);
        let mut again = Input::lend();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (at, 0, INPUT_OCTETS));
        again.resize(11, 1);
        assert_eq!(**again, [1; 11]);
    }

    #[test]
    fn a_buffer_that_has_grown_is_not_kept() {
        let mut grown = Output::lend();
        grown.resize(OUTPUT_OCTETS + 1, 0);
        drop(grown);
        assert_eq!(Output::lend().capacity(), OUTPUT_OCTETS);
    }

    #[test]
    fn what_was_lent_is_counted() {
        let lent: Vec<_> = (0..=OUTPUTS_MANY).map(|_| Output::lend()).collect();
        assert!(Output::many());
        assert_eq!(lent.len(), OUTPUTS_MANY + 1);
    }
}
