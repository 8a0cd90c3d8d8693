//! How many commands a session has answered, by verb and status, and which logins it refused without a question: for
//! whoever counts. Nothing is said here.

use alloc::vec::Vec;

use crate::verb::Verb;

/// Verbs, and one place for what is none.
const PLACES: usize = Verb::ALL.len() + 1;

/// The commands that were answered since the tally was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [Count; PLACES],
    any: bool,
    /// One for each mechanism and reason, of which there are few.
    logins: Vec<UnaskedLogin>,
}

/// A login that was refused before anybody was asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnaskedLogin {
    /// `USER` (with PASS), `APOP`, or the name of the SASL mechanism; empty where none of that name is known.
    pub mechanism: &'static str,
    /// Why it was refused.
    pub why: Unasked,
    /// How often.
    pub count: u32,
}

/// Why nobody was asked about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unasked {
    /// Nobody logs in any more.
    Draining,
    /// There is no such mechanism, or the initial response is no base64.
    Malformed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    ok: u16,
    err: u16,
}

impl Tally {
    /// One more command was answered; `None` where it begins with no verb that is known.
    pub(super) fn add(&mut self, verb: Option<Verb>, ok: bool) {
        let Some(count) = self.counts.get_mut(verb.map_or(PLACES - 1, |verb| verb as usize)) else { return };
        let count = if ok { &mut count.ok } else { &mut count.err };
        // A session pauses long before that.
        *count = count.saturating_add(1);
        self.any = true;
    }

    /// One more login was refused without a question.
    pub(super) fn add_login(&mut self, mechanism: &'static str, why: Unasked) {
        let known = self.logins.iter_mut().find(|login| login.mechanism == mechanism && login.why == why);
        match known {
            Some(login) => login.count = login.count.saturating_add(1),
            None => self.logins.push(UnaskedLogin { mechanism, why, count: 1 }),
        }
    }

    /// Hands out the logins that were refused without a question, and begins anew.
    pub fn take_logins(&mut self) -> Vec<UnaskedLogin> {
        core::mem::take(&mut self.logins)
    }

    /// Whether no command was answered.
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// How many commands were answered.
    pub fn commands(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(count.ok) + u32::from(count.err)).sum()
    }

    /// Hands out how many there were of each kind, with their verb and whether the answer was `+OK`, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(Option<Verb>, bool, u32)) {
        if !core::mem::take(&mut self.any) {
            return;
        }
        for (place, count) in self.counts.iter_mut().enumerate() {
            let Count { ok, err } = core::mem::take(count);
            for (ok, commands) in [(true, ok), (false, err)] {
                if commands > 0 {
                    each(Verb::ALL.get(place).copied(), ok, commands.into());
                }
            }
        }
    }
}
