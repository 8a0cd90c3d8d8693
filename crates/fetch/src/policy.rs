//! What an account wants: what to keep on the server, how large a message may be, when to try again.

use std::{fmt, str::FromStr, time::Duration};

/// How long a message stays on the server behind its delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// It is never deleted.
    #[default]
    Always,
    /// It is deleted as soon as it is delivered.
    No,
    /// It is deleted once it has been delivered for this long.
    For(Duration),
}

/// A text that is no [`Keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write true (keep mail on the server), false (delete it once delivered), or a time such as 30d or 12h"
)]
pub struct InvalidKeep;

impl FromStr for Keep {
    type Err = InvalidKeep;

    /// ```
    /// use std::time::Duration;
    /// use restante_fetch::Keep;
    /// assert_eq!("30d".parse(), Ok(Keep::For(Duration::from_secs(30 * 86_400))));
    /// assert_eq!("true".parse(), Ok(Keep::Always));
    /// assert!("thirty days".parse::<Keep>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidKeep> {
        match text {
            "true" => return Ok(Self::Always),
            "false" => return Ok(Self::No),
            _ => {}
        }
        let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let seconds = match unit {
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return Err(InvalidKeep),
        };
        let seconds =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or(InvalidKeep)?;
        Ok(if seconds == 0 { Self::No } else { Self::For(Duration::from_secs(seconds)) })
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("true"),
            Self::No => f.write_str("false"),
            Self::For(time) => match time.as_secs() {
                seconds if seconds % 86_400 == 0 => write!(f, "{}d", seconds / 86_400),
                seconds => write!(f, "{}h", seconds / 3600),
            },
        }
    }
}

impl Keep {
    /// Whether a message that was delivered at `at` is to be deleted `now` (seconds since 1970).
    pub const fn is_over(self, at: u64, now: u64) -> bool {
        match self {
            Self::Always => false,
            Self::No => true,
            Self::For(time) => now.saturating_sub(at) >= time.as_secs(),
        }
    }
}

/// What an account wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What stays on the server.
    pub keep: Keep,
    /// Longer messages are left where they are, in octets.
    pub max_octets: Option<u64>,
}

/// How long a message that failed so often is left alone, in seconds: not at all the first time, then ten minutes, twice as
/// long each time, up to a day.
pub(crate) const fn rest_of_message(attempts: u32) -> u64 {
    match attempts {
        0 | 1 => 0,
        2..=9 => 600 << (attempts - 2),
        _ => 86_400,
    }
}

/// How long a login is not tried again after the server refused the credentials so often in a row, in seconds: a wrong
/// password that is tried every few minutes locks an account.
pub(crate) const fn rest_of_login(refusals: u32) -> u64 {
    match refusals {
        0 | 1 => 0,
        2 => 600,
        3 => 3600,
        4..=6 => 6 * 3600,
        _ => 86_400,
    }
}

/// How many seconds are left of a rest that began at `since`. A time that has not come yet says nothing: a clock was wrong,
/// and nobody is to wait for that.
pub(crate) const fn rest_left(since: u64, rest: u64, now: u64) -> u64 {
    if since > now { 0 } else { since.saturating_add(rest).saturating_sub(now) }
}

/// How long a server that wants so many seconds between two logins is left alone. The moments are kept in whole seconds, so
/// that what seems to be 5 s may be hardly more than 4 s: one is added.
pub(crate) fn rest_of_delay(seconds: u32) -> u64 {
    u64::from(seconds) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written() {
        for (text, keep) in [
            ("true", Keep::Always),
            ("false", Keep::No),
            ("12h", Keep::For(Duration::from_secs(43_200))),
            ("30d", Keep::For(Duration::from_secs(2_592_000))),
        ] {
            assert_eq!(text.parse(), Ok(keep));
            assert_eq!(keep.to_string(), text);
        }
        assert_eq!("2w".parse(), Ok(Keep::For(Duration::from_secs(14 * 86_400))));
        assert_eq!("0d".parse(), Ok(Keep::No));
        for wrong in
            ["", "d", "30", "30m", "-1d", "1 d", "yes", "99999999999999999999d", "9999999999999999999w"]
        {
            assert_eq!(wrong.parse::<Keep>(), Err(InvalidKeep), "{wrong}");
        }
    }

    #[test]
    fn days_are_counted_from_the_delivery() {
        let keep = Keep::For(Duration::from_secs(100));
        assert!(!keep.is_over(1000, 1099) && keep.is_over(1000, 1100));
        assert!(!keep.is_over(1000, 5), "a clock that went back deletes nothing");
        assert!(Keep::No.is_over(9, 9) && !Keep::Always.is_over(0, u64::MAX));
    }

    #[test]
    fn a_rest_that_begins_in_the_future_is_none() {
        for (since, left) in [(100, 10), (95, 5), (90, 0), (0, 0), (101, 0), (u64::MAX, 0)] {
            assert_eq!(rest_left(since, 10, 100), left, "since {since}");
        }
        assert_eq!(rest_left(5, u64::MAX, 5), u64::MAX - 5);
    }

    #[test]
    fn patience_grows_and_has_an_end() {
        assert_eq!([0, 1, 2, 3, 9, 10, 1000].map(rest_of_message), [0, 0, 600, 1200, 76_800, 86_400, 86_400]);
        assert!((0..20).all(|times| rest_of_login(times) <= rest_of_login(times + 1)));
    }

    #[test]
    fn a_server_is_left_alone_for_the_whole_delay() {
        // The login was at 100.9 s, and now it is 105.1 s.
        let seconds = rest_left(100, rest_of_delay(5), 105);
        assert!(1051 + seconds * 10 - 1009 >= 50, "{seconds} s more");
        assert_eq!(rest_left(100, rest_of_delay(5), 106), 0);
    }
}
