//! Buffers, lent by the worker's thread while they are needed: an idle connection owns none.

use std::cell::RefCell;

/// The capacity of a buffer in octets; a larger one is not kept.
pub(crate) const BUFFER_OCTETS: usize = 16 * 1024;
/// How many buffers a thread keeps.
const KEPT_MAX: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(crate) fn lend() -> Vec<u8> {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_OCTETS))
}

/// Takes a buffer back. What it held is wiped, since it may have been a password.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > 16 * BUFFER_OCTETS {
        return;
    }
    buffer.fill(0);
    buffer.clear();
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}
