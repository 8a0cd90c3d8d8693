//! Dates in UTC, as mbox separators and file names want them.

use std::time::{SystemTime, UNIX_EPOCH};

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second of a day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Utc {
    seconds: u64,
}

/// The microseconds since 1970.
pub(super) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0)
}

impl Utc {
    /// The moment so many seconds after the beginning of 1970.
    pub(super) const fn new(seconds: u64) -> Self {
        Self { seconds }
    }

    /// Year, month (0 is January), day of the month.
    fn date(self) -> (u64, usize, u64) {
        let (mut day, mut year) = (self.seconds / 86_400, 1970);
        // 400 years always have as many days.
        year += day / 146_097 * 400;
        day %= 146_097;
        let leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        while day >= 365 + u64::from(leap(year)) {
            day -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        (year, month, day + 1)
    }

    const fn time(self) -> (u64, u64, u64) {
        let second = self.seconds % 86_400;
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// As C's asctime writes it: `Sat Nov 28 09:52:27 2026`.
    pub(super) fn asctime(self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        let weekday = WEEKDAYS[usize::try_from(self.seconds / 86_400 % 7).unwrap_or(0)];
        format!("{weekday} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", MONTHS[month])
    }

    /// As names of files want it, which sort by it: `20261128T095227`.
    pub(super) fn compact(self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}", month + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(Utc::new(0).asctime(), "Thu Jan  1 00:00:00 1970");
        assert_eq!(Utc::new(951_782_400).asctime(), "Tue Feb 29 00:00:00 2000");
        assert_eq!(Utc::new(951_868_799).compact(), "20000229T235959");
        assert_eq!(Utc::new(4_107_542_399).compact(), "21000228T235959");
        assert_eq!(Utc::new(4_107_542_400).asctime(), "Mon Mar  1 00:00:00 2100");
        assert_eq!(Utc::new(1_795_859_547).asctime(), "Sat Nov 28 09:52:27 2026");
    }
}
