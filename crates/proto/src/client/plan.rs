//! What may be under way: how many commands, and how many octets of answers, before the first of them came.

use super::session::ASKED_MAX;

/// The bounds of a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowMax {
    /// Commands whose answers are owed.
    pub commands: u32,
    /// Octets that these answers will have, as far as that is known.
    pub octets: u64,
}

impl WindowMax {
    /// One command at a time, for servers without PIPELINING.
    pub const ONE: Self = Self { commands: 1, octets: 0 };
}

impl Default for WindowMax {
    /// As much as a fast link holds over a long way (1 Gbit/s and 250 ms), and no more commands than fit the buffers that
    /// every system has for a socket: a server that writes before it reads must not block for a client that does so too.
    fn default() -> Self {
        Self { commands: 1000, octets: 32 << 20 }
    }
}

/// How much is under way, and whether more may be sent.
///
/// Commands are best sent many at once: [`Window::admits`] says no from the moment that the window is full until half of it
/// has been answered.
///
/// ```
/// use restante_proto::client::{Window, WindowMax};
/// let mut window = Window::new(WindowMax { commands: 2, octets: 1000 });
/// window.sent(10);
/// assert!(window.admits());
/// window.sent(10);
/// assert!(!window.admits(), "two are under way");
/// window.answered(10);
/// assert!(window.admits());
/// window.sent(5000);
/// window.answered(10);
/// assert!(!window.admits(), "one is, but its answer is long");
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    max: WindowMax,
    commands: u32,
    octets: u64,
    /// It was full, and is not half empty yet.
    full: bool,
}

impl Window {
    /// Nothing is under way. There are never more commands than a session can keep.
    pub const fn new(max: WindowMax) -> Self {
        let commands = if max.commands < ASKED_MAX { max.commands } else { ASKED_MAX };
        Self { max: WindowMax { commands, ..max }, commands: 0, octets: 0, full: false }
    }

    /// Whether a command may be sent now. One always may when none is under way.
    pub const fn admits(&self) -> bool {
        self.commands == 0
            || (!self.full && self.commands < self.max.commands && self.octets < self.max.octets)
    }

    /// A command was sent whose answer has about so many octets.
    pub const fn sent(&mut self, octets: u64) {
        self.commands = self.commands.saturating_add(1);
        self.octets = self.octets.saturating_add(octets);
        self.full = self.commands >= self.max.commands || self.octets >= self.max.octets;
    }

    /// The answer came whole; `octets` is what was said when its command was sent.
    pub const fn answered(&mut self, octets: u64) {
        self.commands = self.commands.saturating_sub(1);
        self.octets = self.octets.saturating_sub(octets);
        if self.commands <= self.max.commands / 2 && self.octets <= self.max.octets / 2 {
            self.full = false;
        }
    }

    /// Whether nothing is under way.
    pub const fn is_empty(&self) -> bool {
        self.commands == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_opens_when_half_of_it_was_answered() {
        let mut window = Window::new(WindowMax { commands: 4, octets: 1 << 20 });
        (0..4).for_each(|_| window.sent(1));
        assert!(!window.admits());
        window.answered(1);
        assert!(!window.admits());
        window.answered(1);
        assert!(window.admits());
    }

    #[test]
    fn a_window_never_has_more_than_a_session_keeps() {
        let mut window = Window::new(WindowMax { commands: u32::MAX, octets: u64::MAX });
        let sent = core::iter::from_fn(|| window.admits().then(|| window.sent(1))).take(10_000).count();
        assert_eq!(sent, 4096);
    }

    #[test]
    fn one_at_a_time_is_one_at_a_time_however_long_it_is() {
        let mut window = Window::new(WindowMax::ONE);
        for octets in [0, u64::MAX, 7] {
            assert!(window.admits());
            window.sent(octets);
            assert!(!window.admits());
            window.answered(octets);
            assert!(window.is_empty());
        }
    }
}
