//! What a run counted: how long each step took, what was received, and what went wrong. Numbers only; how they are
//! shown is `report.rs`.

use std::{collections::BTreeMap, fmt, time::Duration};

/// How many kinds of errors are told apart; a server may invent response codes without end.
const ERROR_KINDS_MAX: usize = 100;

/// The longest example of an error, in characters.
const EXAMPLE_MAX_CHARS: usize = 160;

/// What is timed, in the order of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// TCP.
    Connect,
    /// STLS, where it is said, and the handshake.
    Tls,
    /// From the connection, or in `pop3s` from the handshake, to the greeting's end.
    Greeting,
    /// USER and PASS.
    Login,
    Stat,
    Uidl,
    List,
    /// One message.
    Retr,
    /// An idle session is held.
    Hold,
    Quit,
    /// From TCP to the answer to QUIT.
    Session,
    /// The same from the time that the session was due.
    Due,
}

impl Step {
    pub(super) const ALL: [Self; 12] = [
        Self::Connect,
        Self::Tls,
        Self::Greeting,
        Self::Login,
        Self::Stat,
        Self::Uidl,
        Self::List,
        Self::Retr,
        Self::Hold,
        Self::Quit,
        Self::Session,
        Self::Due,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Stat => "stat",
            Self::Uidl => "uidl",
            Self::List => "list",
            Self::Retr => "retr",
            Self::Hold => "hold",
            Self::Quit => "quit",
            Self::Session => "session",
            Self::Due => "due",
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ErrorKind {
    /// No connection came about.
    Connect,
    /// The connection broke.
    Lost,
    /// The server ended the connection.
    Closed,
    /// No answer in time.
    Timeout,
    /// The TLS handshake failed.
    Handshake,
    /// `-ERR`, with its response code.
    Refused(Option<Box<str>>),
    /// The answer is none of POP3.
    Nonsense,
    /// Another number of messages, or other octets, than STAT said.
    Count,
    /// Another number of octets than was announced.
    Octets,
    /// The drop has fewer messages than are to be retrieved.
    TooFew,
    /// The run ended before the session did.
    CutOff,
    /// More kinds than are told apart.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Lost => "connection lost",
            Self::Closed => "closed by the server",
            Self::Timeout => "timeout",
            Self::Handshake => "handshake failed",
            Self::Refused(Some(code)) => return write!(f, "-ERR [{code}]"),
            Self::Refused(None) => "-ERR",
            Self::Nonsense => "not POP3",
            Self::Count => "count differs",
            Self::Octets => "octets differ",
            Self::TooFew => "too few messages",
            Self::CutOff => "cut off",
            Self::Other => "other",
        })
    }
}

/// An error with what it looked like.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: ErrorKind,
    /// For people; bounded, printable, and never what a server said to a password.
    pub(super) told: String,
}

impl Problem {
    pub(super) fn new(kind: ErrorKind, told: impl AsRef<str>) -> Self {
        let printable = |c: char| if c.is_control() { '?' } else { c };
        Self { kind, told: told.as_ref().chars().take(EXAMPLE_MAX_CHARS).map(printable).collect() }
    }
}

/// Errors, counted by step and kind, each with its first example.
#[derive(Debug, Default)]
pub(super) struct Errors(BTreeMap<(Step, ErrorKind), (u64, String)>);

impl Errors {
    pub(super) fn add(&mut self, step: Step, problem: Problem) {
        self.add_many(step, problem.kind, 1, problem.told);
    }

    pub(super) fn add_many(&mut self, step: Step, kind: ErrorKind, count: u64, told: String) {
        let kind = match self.0.len() < ERROR_KINDS_MAX || self.0.contains_key(&(step, kind.clone())) {
            true => kind,
            false => ErrorKind::Other,
        };
        self.0.entry((step, kind)).or_insert((0, told)).0 += count;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for ((step, kind), (count, told)) in other.0 {
            self.add_many(step, kind, count, told);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Step, &ErrorKind, u64, &str)> {
        self.0.iter().map(|((step, kind), (count, told))| (*step, kind, *count, told.as_str()))
    }
}

/// The buckets of a power of two: a percentile is at most 1/128 too large.
const BUCKETS_BITS: u32 = 7;

/// Times, as counts of buckets that grow with their size.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    pub(super) count: u64,
    max_nanos: u64,
    sum_nanos: u128,
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = bucket(nanos);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.count += 1;
        self.max_nanos = self.max_nanos.max(nanos);
        self.sum_nanos += u128::from(nanos);
    }

    /// The time that so many hundredths of all did not exceed.
    pub(super) fn percentile(&self, hundredths: u64) -> Duration {
        let rank = (self.count * hundredths).div_ceil(100).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(at).min(self.max_nanos));
            }
        }
        self.max()
    }

    pub(super) const fn max(&self) -> Duration {
        Duration::from_nanos(self.max_nanos)
    }

    pub(super) fn mean(&self) -> Duration {
        let mean = self.sum_nanos.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

/// Up to 2^7 each number has its bucket; above, each power of two has 2^7 of them.
const fn bucket(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(BUCKETS_BITS + 1);
    (shift as usize) * (1 << BUCKETS_BITS) + (nanos >> shift) as usize
}

/// The largest number of a bucket.
const fn upper(bucket: usize) -> u64 {
    let half = 1_usize << BUCKETS_BITS;
    let shift = (bucket / half).saturating_sub(1);
    let top = (bucket - shift * half) as u64;
    (top << shift) + ((1_u64 << shift) - 1)
}

/// Plain numbers of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Sessions that ended with the answer to QUIT.
    pub(super) sessions_done: u64,
    /// Sessions that did not.
    pub(super) sessions_failed: u64,
    /// Of those done, the ones that left messages out since the run ended.
    pub(super) sessions_cut: u64,
    /// Commands that were answered.
    pub(super) requests: u64,
    /// Messages retrieved.
    pub(super) messages: u64,
    /// Their octets, without the dots that were stuffed.
    pub(super) octets: u64,
    /// Those whose length was announced nowhere, so that nothing was checked.
    pub(super) unannounced: u64,
    /// Lines of UIDL and LIST.
    pub(super) listed: u64,
    pub(super) handshakes_full: u64,
    pub(super) handshakes_resumed: u64,
}

impl Counts {
    const fn merge(&mut self, other: &Self) {
        self.sessions_done += other.sessions_done;
        self.sessions_failed += other.sessions_failed;
        self.sessions_cut += other.sessions_cut;
        self.requests += other.requests;
        self.messages += other.messages;
        self.octets += other.octets;
        self.unannounced += other.unannounced;
        self.listed += other.listed;
        self.handshakes_full += other.handshakes_full;
        self.handshakes_resumed += other.handshakes_resumed;
    }
}

/// What one client counted since it last told.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) times: Vec<(Step, Duration)>,
    pub(super) errors: Errors,
    pub(super) counts: Counts,
}

/// What all clients counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    times: BTreeMap<Step, Histogram>,
    pub(super) errors: Errors,
    pub(super) counts: Counts,
}

impl Tally {
    /// Takes what a client counted, which counts from zero again.
    pub(super) fn take(&mut self, record: &mut Record) {
        for (step, time) in record.times.drain(..) {
            self.times.entry(step).or_default().add(time);
        }
        self.errors.merge(std::mem::take(&mut record.errors));
        self.counts.merge(&std::mem::take(&mut record.counts));
    }

    /// The steps that were taken.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Step, &Histogram)> {
        Step::ALL.into_iter().filter_map(|step| Some((step, self.times.get(&step)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_gaps_and_stay_narrow() {
        for at in 0..bucket(u64::MAX) {
            assert_eq!(bucket(upper(at)), at);
            assert_eq!(bucket(upper(at) + 1), at + 1);
        }
        assert_eq!(upper(bucket(u64::MAX)), u64::MAX);
        for nanos in [0, 1, 127, 128, 255, 256, 1_000_000, 123_456_789, u64::MAX / 3] {
            let upper = upper(bucket(nanos));
            assert!(upper >= nanos && upper - nanos <= nanos / 128, "{nanos} {upper}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50), histogram.mean()), (Duration::ZERO, Duration::ZERO));
        for millis in (1..=1000).rev() {
            histogram.add(Duration::from_millis(millis));
        }
        for (hundredths, millis) in [(50, 500), (90, 900), (99, 990), (100, 1000)] {
            let (found, expected) = (histogram.percentile(hundredths), Duration::from_millis(millis));
            assert!(found >= expected && found <= expected + expected / 128, "{hundredths}: {found:?}");
        }
        assert_eq!(histogram.max(), Duration::from_secs(1));
        assert_eq!(histogram.mean(), Duration::from_micros(500_500));
    }

    #[test]
    fn kinds_of_errors_are_bounded_and_examples_printable() {
        let mut errors = Errors::default();
        for code in 0..ERROR_KINDS_MAX + 50 {
            let kind = ErrorKind::Refused(Some(format!("X{code}").into()));
            errors.add(Step::Login, Problem::new(kind, "a\x1b[31m\r\n".repeat(100)));
        }
        assert_eq!(errors.count(), ERROR_KINDS_MAX as u64 + 50);
        assert_eq!(errors.iter().count(), ERROR_KINDS_MAX + 1);
        assert!(errors.iter().all(|(.., told)| told.len() == 160 && !told.contains(char::is_control)));
    }
}
