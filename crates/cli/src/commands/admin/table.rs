//! Sessions and locks in columns for people, or as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use restante_admin::facts::{Lock, Session};
use serde::Serialize;

use super::More;
use crate::{
    failure::Failure,
    output,
    terminal::{self, fit, harmless_json, harmless_line, octets, width},
};

/// The narrowest.
const NAME_MIN_COLUMNS: usize = 12;
/// Between two columns.
const GAP: &str = "  ";
/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// One object a line.
pub(super) fn as_json(facts: &[&impl Serialize]) -> Result<(), Failure> {
    let mut text = String::new();
    for fact in facts {
        let line = serde_json::to_string(fact)
            .map_err(|error| Failure::failed(format!("this cannot be told as JSON: {error}")))?;
        text += &harmless_json(&line);
        text.push('\n');
    }
    output::print(&text)
}

/// This machine's clock, which is the server's.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A state in a word of the page's width: as it is where there is room.
fn state(phase: &str, is_short: bool) -> String {
    match (is_short, phase) {
        (true, "AUTHORIZATION") => "AUTH".to_owned(),
        (true, "TRANSACTION") => "TRANS".to_owned(),
        _ => harmless_line(phase),
    }
}

/// The narrowest terminal on which states have their whole names.
const WHOLE_STATES_COLUMNS: usize = 100;

/// The sessions, one a line.
pub(super) fn sessions(on: &[(&Session, &More)], now_ms: u64) -> Result<(), Failure> {
    let head = [
        Column::left("SESSION"),
        Column::name("USER"),
        Column::name("ADDRESS"),
        Column::left("TLS"),
        Column::left("STATE"),
        Column::left("DOES"),
        Column::right("FOR"),
        Column::right("RETR"),
        Column::spare("DELE"),
        Column::spare("IN"),
        Column::spare("OUT"),
        Column::right("ON"),
    ];
    let columns = terminal::columns_or_told();
    let is_short = columns.is_some_and(|columns| columns < WHOLE_STATES_COLUMNS);
    let row = |&(session, more): &(&Session, &More)| {
        [
            harmless_line(&session.session),
            user(session, more),
            harmless_line(&session.client),
            session.tls.as_ref().map_or_else(|| NOTHING.to_owned(), |tls| harmless_line(&tls.version)),
            state(&session.phase, is_short),
            harmless_line(&session.doing),
            since(session.doing_since_ms, now_ms),
            session.retrieved.to_string(),
            session.deleted.max(more.marked).to_string(),
            octets(session.received_octets),
            octets(session.sent_octets),
            since(session.began_ms, now_ms),
        ]
    };
    let rows: Vec<_> = on.iter().map(row).collect();
    output::print(&drawn(&head, &rows, columns, output::stdout_takes_colour()))
}

/// The locks, one a line.
pub(super) fn locks(locks: &[&Lock], now_ms: u64) -> Result<(), Failure> {
    let head = [
        Column::name("USER"),
        Column::left("SESSION"),
        Column::name("ADDRESS"),
        Column::right("HELD"),
        Column::right("IDLE"),
    ];
    let row = |lock: &&Lock| {
        [
            harmless_line(&lock.user),
            harmless_line(&lock.session),
            harmless_line(&lock.client),
            since(lock.held_since_ms, now_ms),
            lock.idle_since_ms.map_or_else(|| "busy".to_owned(), |idle| since(idle, now_ms)),
        ]
    };
    let rows: Vec<_> = locks.iter().map(row).collect();
    output::print(&drawn(&head, &rows, terminal::columns_or_told(), output::stdout_takes_colour()))
}

/// Who logged in, or whose login failed, and how often.
fn user(session: &Session, more: &More) -> String {
    match (&session.user, &more.tried, more.failed_logins) {
        (Some(user), ..) => harmless_line(user),
        (None, Some(tried), 0 | 1) => format!("{}?", harmless_line(tried)),
        (None, Some(tried), times) => format!("{}? ({times})", harmless_line(tried)),
        (None, None, 0) => NOTHING.to_owned(),
        (None, None, times) => format!("? ({times})"),
    }
}

/// A column: its heading, and how it is set.
struct Column {
    heading: &'static str,
    is_name: bool,
    is_right: bool,
    /// It is left out where there is no room.
    may_go: bool,
}

impl Column {
    const fn left(heading: &'static str) -> Self {
        Self { heading, is_name: false, is_right: false, may_go: false }
    }

    /// What may be long, and is cut where there is no room.
    const fn name(heading: &'static str) -> Self {
        Self { heading, is_name: true, is_right: false, may_go: false }
    }

    const fn right(heading: &'static str) -> Self {
        Self { heading, is_name: false, is_right: true, may_go: false }
    }

    const fn spare(heading: &'static str) -> Self {
        Self { heading, is_name: false, is_right: true, may_go: true }
    }
}

fn drawn<const N: usize>(
    head: &[Column; N],
    rows: &[[String; N]],
    columns: Option<usize>,
    colour: bool,
) -> String {
    let mut widths = head.each_ref().map(|column| column.heading.len());
    for row in rows {
        for (widest, text) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(text));
        }
    }
    let mut is_shown = [true; N];
    if let Some(columns) = columns {
        let over = |widths: &[usize; N], is_shown: &[bool; N]| {
            let shown = widths.iter().zip(is_shown).filter(|(_, shown)| **shown);
            (shown.map(|(width, _)| width + GAP.len()).sum::<usize>()).saturating_sub(columns + GAP.len())
        };
        // What is easily missed goes first, then addresses and names give way.
        for at in 0..N {
            if head.get(at).is_some_and(|column| column.may_go)
                && over(&widths, &is_shown) > 0
                && let Some(shown) = is_shown.get_mut(at)
            {
                *shown = false;
            }
        }
        let mut over = over(&widths, &is_shown);
        for (widest, _) in widths.iter_mut().zip(head).filter(|(_, column)| column.is_name) {
            let less = over.min(widest.saturating_sub(NAME_MIN_COLUMNS));
            *widest -= less;
            over -= less;
        }
    }
    let line = |cells: [&str; N]| {
        let shown = cells.iter().zip(head).zip(widths).zip(is_shown).filter(|(_, shown)| *shown);
        let cells = shown.map(|(((text, column), columns), _)| match column.is_right {
            true => format!("{text:>columns$}"),
            false => fit(text, columns),
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let heading = line(head.each_ref().map(|column| column.heading));
    let mut text = match colour {
        true => format!("\x1b[2m{heading}\x1b[0m\n"),
        false => heading + "\n",
    };
    for row in rows {
        text += &line(row.each_ref().map(String::as_str));
        text.push('\n');
    }
    text
}

/// How long ago that is, in two units at most.
fn since(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3_599, "59m59s"),
            (3_600, "1h00m"),
            (86_399, "23h59m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(since(5, 5 + seconds * 1000), text);
        }
        assert_eq!(since(7, 5), "0s", "clocks differ");
    }

    #[test]
    fn spare_columns_go_before_addresses_are_cut() {
        let head = [Column::name("ADDRESS"), Column::spare("IN"), Column::spare("OUT"), Column::right("ON")];
        let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:50312";
        let rows = [[address.to_owned(), "12K".to_owned(), "3.4M".to_owned(), "3m00s".to_owned()]];
        let text = drawn(&head, &rows, Some(60), false);
        assert!(text.contains(address) && !text.contains("12K") && text.contains("3.4M  3m00s"), "{text}");
        let text = drawn(&head, &rows, Some(54), false);
        assert!(text.contains(address) && !text.contains("3.4M") && text.contains("3m00s"), "{text}");
        let text = drawn(&head, &rows, Some(40), false);
        assert!(text.contains('…') && text.lines().all(|line| width(line) <= 40), "{text}");
        assert!(drawn(&head, &rows, None, false).contains("12K"));
    }

    #[test]
    fn names_give_way_where_there_is_no_room() {
        let head = [Column::left("SESSION"), Column::name("USER"), Column::right("ON")];
        let rows = [[
            "6b0afa0a-17".to_owned(),
            "john.doe.of.the.long.name@example.org".to_owned(),
            "3m00s".to_owned(),
        ]];
        let narrow = drawn(&head, &rows, Some(40), false);
        assert_eq!(
            narrow,
            "SESSION      USER                     ON\n6b0afa0a-17  john.doe.of.the.lon…  3m00s\n"
        );
        assert!(narrow.lines().all(|line| width(line) <= 40), "{narrow}");
        let wide = drawn(&head, &rows, None, true);
        assert!(wide.starts_with("\x1b[2mSESSION ") && wide.contains("name@example.org  3m00s\n"), "{wide}");
    }
}
