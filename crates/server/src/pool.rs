//! Buffers, lent by the worker's thread while they are needed: an idle connection owns none.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

use zeroize::Zeroize;

/// The usual capacity of a buffer in octets.
pub(crate) const BUFFER_OCTETS: usize = 16 * 1024;
/// A buffer that has grown beyond this is not kept, in octets.
const KEPT_CAPACITY_MAX_OCTETS: usize = 16 * BUFFER_OCTETS;
/// How many buffers a thread keeps.
const KEPT_MAX: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that goes back to its pool when it is dropped, wherever that happens. What it holds then is wiped, since
/// it may be a password.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

/// An empty buffer.
pub(crate) fn lend() -> Buffer {
    Buffer(KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_OCTETS)))
}

impl Buffer {
    /// An empty buffer that owns nothing.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() == 0 {
            return;
        }
        self.0.as_mut_slice().zeroize();
        if self.0.capacity() <= KEPT_CAPACITY_MAX_OCTETS {
            self.0.clear();
            let buffer = std::mem::take(&mut self.0);
            // A thread that ends has no pool any more.
            let _ended = KEPT.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() < KEPT_MAX {
                    kept.push(buffer);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_wiped() {
        let mut buffer = lend();
        buffer.extend_from_slice(b"PASS abcxyz");
        let at = buffer.as_ptr();
        drop(buffer);
        let mut again = lend();
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        again.resize(11, 1);
        assert_eq!(**again, [1; 11]);
    }
}
