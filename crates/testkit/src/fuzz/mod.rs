//! What is fuzzed: one function for each entry of octets, each with assertions that say more than «no panic».
//!
//! The functions are plain, so that `tests/corpus.rs` replays `fuzz/corpus/` on them with a stable compiler, and
//! `fuzz/fuzz_targets/` only calls them. Many inputs begin with a line that says *how* the rest is used: each of its
//! characters is a number, counted from `0`. A new target is a file, a row of [`TARGETS`], a file and four lines under
//! `fuzz/`, and a folder of seeds: `docs/fuzzing.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // fuzz targets: a panic is the report

mod capture;
mod client;
mod command;
mod dialogue;
mod line;
mod listener;
mod password_scheme;
mod rawlog;
mod recorder;
mod reply;
mod sasl;
mod session;
mod state_file;
mod stuffing;
mod users_file;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: &[Target] = &[
    ("capture", capture::run),
    ("client", client::run),
    ("command", command::run),
    ("dialogue", dialogue::run),
    ("line", line::run),
    ("listener", listener::run),
    ("password_scheme", password_scheme::run),
    ("rawlog", rawlog::run),
    ("recorder", recorder::run),
    ("reply", reply::run),
    ("sasl", sasl::run),
    ("session", session::run),
    ("state_file", state_file::run),
    ("stuffing", stuffing::run),
    ("users_file", users_file::run),
];

/// Runs the target of this name on an input.
///
/// # Panics
///
/// If there is no such target, and where the target finds a defect.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a row of TARGETS");
    target(data);
}

/// Splits an input into its first line and the rest.
fn split_how(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&octet| octet == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&[], data),
    }
}

/// The number that stands at this place of the first line; 0 where none does.
fn number(how: &[u8], place: usize) -> u8 {
    how.get(place).map_or(0, |octet| octet.wrapping_sub(b'0'))
}

/// Cuts octets into pieces whose lengths are the numbers in `cuts`, taken in turn; one by one where there are none.
fn pieces<'a>(octets: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut place) = (octets, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let wanted = if cuts.is_empty() { 1 } else { number(cuts, place % cuts.len()) };
        place += 1;
        let (piece, behind) = rest.split_at(usize::from(wanted).clamp(1, rest.len()));
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_long_as_the_first_line_says() {
        let (how, rest) = split_how(b"012\nabcdef");
        assert_eq!((number(how, 0), number(how, 2), number(how, 3)), (0, 2, 0));
        assert_eq!(pieces(rest, &how[1..]).collect::<Vec<_>>(), [&b"a"[..], b"bc", b"d", b"ef"]);
        assert_eq!(pieces(b"ab", b"").count(), 2);
        assert_eq!(split_how(b"no line end"), (&b""[..], &b"no line end"[..]));
    }
}
