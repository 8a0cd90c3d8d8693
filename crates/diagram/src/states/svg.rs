//! The states as SVG. Where boxes stand and how lines run is fixed here; which arrows there are and what they say comes from
//! the table, and a test fails where one has no place. The picture follows the reader's light or dark colours.

use std::fmt::Write;

use restante_proto::phase::Phase;

use super::{Answer, Arrow, arrows, is_last, stays, title};

/// The picture's size.
const SIZE: (i32, i32) = (990, 644);
/// The size of letters, of those in titles, and from line to line.
const FONT: i32 = 13;
const FONT_TITLE: i32 = 15;
const LINE: i32 = 19;
/// How wide a letter is, in hundredths of [`FONT`]: monospace fonts have 60, some a little more.
const LETTER_PERCENT: i32 = 62;

/// Where the box of a state stands.
struct Place {
    phase: Phase,
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

const PLACES: &[Place] = &[
    Place { phase: Phase::Authorization, x: 90, y: 110, width: 370, height: 112 },
    Place { phase: Phase::Named, x: 90, y: 360, width: 370, height: 112 },
    Place { phase: Phase::Transaction, x: 660, y: 110, width: 300, height: 112 },
    Place { phase: Phase::Update, x: 724, y: 382, width: 236, height: 68 },
    Place { phase: Phase::Closed, x: 165, y: 552, width: 220, height: 68 },
];

/// The box around the two states that share a name.
const GROUP: Place = Place { phase: Phase::Authorization, x: 62, y: 60, width: 426, height: 440 };

/// How the line of an arrow runs.
struct Route {
    from: Phase,
    to: Phase,
    answer: Answer,
    /// From the border of one box to that of the other.
    points: &'static [(i32, i32)],
    /// Where the label's first letter stands, on its first line.
    label: (i32, i32),
    /// How many letters a line of it may have.
    columns: usize,
}

const ROUTES: &[Route] = {
    use Phase::{Authorization, Closed, Named, Transaction, Update};
    &[
        Route {
            from: Authorization,
            to: Named,
            answer: Answer::Ok,
            points: &[(115, 222), (115, 360)],
            label: (126, 296),
            columns: 10,
        },
        Route {
            from: Named,
            to: Authorization,
            answer: Answer::Ok,
            points: &[(225, 360), (225, 222)],
            label: (236, 296),
            columns: 10,
        },
        Route {
            from: Named,
            to: Authorization,
            answer: Answer::Err,
            points: &[(335, 360), (335, 222)],
            label: (346, 286),
            columns: 13,
        },
        Route {
            from: Authorization,
            to: Transaction,
            answer: Answer::Ok,
            points: &[(460, 166), (660, 166)],
            label: (508, 154),
            columns: 20,
        },
        Route {
            from: Named,
            to: Transaction,
            answer: Answer::Ok,
            points: &[(460, 416), (705, 416), (705, 222)],
            label: (508, 404),
            columns: 24,
        },
        Route {
            from: Transaction,
            to: Update,
            answer: Answer::Any,
            points: &[(842, 222), (842, 382)],
            label: (853, 307),
            columns: 8,
        },
        Route {
            from: Named,
            to: Closed,
            answer: Answer::Any,
            points: &[(275, 472), (275, 552)],
            label: (286, 531),
            columns: 20,
        },
        Route {
            from: Authorization,
            to: Closed,
            answer: Answer::Any,
            points: &[(90, 166), (30, 166), (30, 586), (165, 586)],
            label: (44, 575),
            columns: 14,
        },
    ]
};

/// Light and dark; in both, text stands out by 4.5 to 1 or more (WCAG AA).
const STYLE: &str = "
svg { --ground: #ffffff; --box: #f6f8fa; --line: #57606a; --text: #1f2328; --faint: #57606a; --ok: #0550ae; --err: #b42318; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --box: #161b22; --line: #9198a1; --text: #e6edf3; --faint: #9da7b1; --ok: #79c0ff; --err: #ff9a8d; }
}
text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: var(--text); }
.ground { fill: var(--ground); }
.box { fill: var(--box); stroke: var(--line); stroke-width: 1.5; }
.group { fill: none; stroke: var(--line); stroke-width: 1.5; }
.last { fill: none; stroke: var(--line); stroke-width: 1.5; }
.title { font-weight: 600; }
.faint { fill: var(--faint); }
.arrow { fill: none; stroke-width: 1.75; }
.any { stroke: var(--line); }
.ok { stroke: var(--ok); }
.err { stroke: var(--err); stroke-dasharray: 6 4; }
.head-any, .start { fill: var(--line); }
.head-ok { fill: var(--ok); }
.head-err { fill: var(--err); }
.says-ok { fill: var(--ok); }
.says-err { fill: var(--err); }
";

impl Answer {
    /// The name of the kind of arrow in classes.
    const fn class(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// The diagram as SVG.
pub fn svg() -> String {
    let mut out = String::new();
    // Into a String nothing fails.
    let _written = draw(&mut out);
    out
}

fn draw(out: &mut String) -> std::fmt::Result {
    let (width, height) = SIZE;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title desc">"#
    )?;
    writeln!(out, r#"<title id="title">The states of a POP3 session</title>"#)?;
    writeln!(out, r#"<desc id="desc">{}</desc>"#, described())?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(out, "<defs>")?;
    for answer in [Answer::Any, Answer::Ok, Answer::Err] {
        let class = answer.class();
        writeln!(
            out,
            r#"<marker id="{class}" viewBox="0 0 10 10" refX="9.5" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto"><path class="head-{class}" d="M0 0.5 10 5 0 9.5z"/></marker>"#
        )?;
    }
    writeln!(out, "</defs>")?;
    writeln!(out, r#"<rect class="ground" width="{width}" height="{height}"/>"#)?;
    rect(out, "group", &GROUP, 0)?;
    text(out, "title", FONT_TITLE, (GROUP.x + 28, GROUP.y + 31), GROUP.phase.name())?;
    begin(out)?;
    for place in PLACES {
        state(out, place)?;
    }
    for arrow in arrows().iter().filter(|arrow| !arrow.stays()) {
        if let Some(route) = route(arrow) {
            line(out, arrow, route)?;
        }
    }
    legend(out)?;
    writeln!(out, "</svg>")
}

/// The picture in words, for who does not see it.
fn described() -> String {
    let mut words = String::new();
    for arrow in arrows() {
        let _written = if arrow.stays() {
            write!(words, "{} stays after {arrow}. ", said(arrow.from))
        } else {
            write!(words, "{} leads to {} after {arrow}. ", said(arrow.from), said(arrow.to))
        };
    }
    words.trim_end().to_owned()
}

/// A state's whole name.
fn said(phase: Phase) -> String {
    if title(phase) == phase.name() {
        phase.name().to_owned()
    } else {
        format!("{} ({})", phase.name(), title(phase))
    }
}

/// Where a session begins.
fn begin(out: &mut String) -> std::fmt::Result {
    let x = GROUP.x + GROUP.width / 2;
    writeln!(out, r#"<circle class="start" cx="{x}" cy="24" r="8"/>"#)?;
    writeln!(out, r#"<path class="arrow any" marker-end="url(#any)" d="M{x} 32V110"/>"#)?;
    text(out, "faint", FONT, (x + 16, 29), "connection, greeting")
}

fn state(out: &mut String, place: &Place) -> std::fmt::Result {
    rect(out, "box", place, 0)?;
    if is_last(place.phase) {
        rect(out, "last", place, 4)?;
        let (x, y) = (place.x + place.width / 2, place.y + place.height / 2);
        centred(out, "title", FONT_TITLE, (x, y - 3), title(place.phase))?;
        return centred(out, "faint", FONT, (x, y + 17), about(place.phase));
    }
    let x = place.x + 18;
    text(out, "title", FONT_TITLE, (x, place.y + 28), title(place.phase))?;
    for (at, words) in inside(place).iter().enumerate() {
        text(out, "faint", FONT, (x, place.y + 52 + LINE * line_number(at)), words)?;
    }
    Ok(())
}

/// The lines in a box, broken where it ends.
fn inside(place: &Place) -> Vec<String> {
    let columns = usize::try_from(100 * (place.width - 36) / (FONT * LETTER_PERCENT)).unwrap_or(0);
    let words = [about(place.phase).to_owned()].into_iter().filter(|words| !words.is_empty());
    words.chain(stays(place.phase)).flat_map(|words| broken(&words, columns)).collect()
}

/// What a state is for, where its name does not say it (RFC 1939 §3).
const fn about(phase: Phase) -> &'static str {
    match phase {
        Phase::Authorization | Phase::Named => "",
        Phase::Transaction => "the maildrop is open and locked",
        Phase::Update => "marked mail is removed",
        Phase::Closed => "nothing is removed",
    }
}

/// A text in lines of so many letters, broken at spaces.
fn broken(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn line_number(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(0)
}

/// The place of an arrow, if it has one.
fn route(arrow: &Arrow) -> Option<&'static Route> {
    ROUTES.iter().find(|route| (route.from, route.to, route.answer) == (arrow.from, arrow.to, arrow.answer))
}

fn line(out: &mut String, arrow: &Arrow, route: &Route) -> std::fmt::Result {
    let class = arrow.answer.class();
    write!(out, r#"<path class="arrow {class}" marker-end="url(#{class})" d=""#)?;
    for (place, (x, y)) in route.points.iter().enumerate() {
        write!(out, "{}{x} {y}", if place == 0 { "M" } else { "L" })?;
    }
    writeln!(out, r#""/>"#)?;
    let says = if arrow.answer == Answer::Any { String::new() } else { format!("says-{class}") };
    let (x, y) = route.label;
    for (at, words) in broken(&arrow.to_string(), route.columns).iter().enumerate() {
        text(out, &says, FONT, (x, y + LINE * line_number(at)), words)?;
    }
    Ok(())
}

fn legend(out: &mut String) -> std::fmt::Result {
    let (x, mut y) = (568, 544);
    for (answer, words) in
        [(Answer::Ok, "after +OK"), (Answer::Err, "after -ERR"), (Answer::Any, "after either answer")]
    {
        let class = answer.class();
        writeln!(out, r#"<path class="arrow {class}" marker-end="url(#{class})" d="M{x} {}h44"/>"#, y - 4)?;
        text(out, "faint", FONT, (x + 58, y), words)?;
        y += LINE;
    }
    text(out, "faint", FONT, (x, y + 6), "What a state does not name it refuses, and stays.")
}

fn rect(out: &mut String, class: &str, place: &Place, inset: i32) -> std::fmt::Result {
    let Place { x, y, width, height, .. } = place;
    let (x, y, width, height) = (x + inset, y + inset, width - 2 * inset, height - 2 * inset);
    let radius = 10 - inset;
    writeln!(
        out,
        r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>"#
    )
}

fn centred(out: &mut String, class: &str, size: i32, (x, y): (i32, i32), words: &str) -> std::fmt::Result {
    writeln!(
        out,
        r#"<text class="{class}" font-size="{size}" text-anchor="middle" x="{x}" y="{y}">{words}</text>"#
    )
}

fn text(out: &mut String, class: &str, size: i32, (x, y): (i32, i32), words: &str) -> std::fmt::Result {
    let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
    writeln!(out, r#"<text{class} font-size="{size}" x="{x}" y="{y}">{words}</text>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left, top, right, bottom.
    type Area = (i32, i32, i32, i32);

    const fn area(place: &Place) -> Area {
        (place.x, place.y, place.x + place.width, place.y + place.height)
    }

    /// The area of lines of text whose first one stands at this place.
    fn written((x, y): (i32, i32), lines: &[String]) -> Area {
        let columns = lines.iter().map(String::len).max().unwrap_or(0);
        let width = i32::try_from(columns).unwrap() * FONT * LETTER_PERCENT / 100;
        (x, y - FONT, x + width, y + 4 + LINE * line_number(lines.len() - 1))
    }

    const fn overlap(one: Area, other: Area) -> bool {
        one.0 < other.2 && other.0 < one.2 && one.1 < other.3 && other.1 < one.3
    }

    fn drawn() -> Vec<(Arrow, &'static Route)> {
        let drawn = arrows().into_iter().filter(|arrow| !arrow.stays());
        drawn
            .map(|arrow| (arrow.clone(), route(&arrow).unwrap_or_else(|| panic!("no place for {arrow:?}"))))
            .collect()
    }

    fn label(arrow: &Arrow, route: &Route) -> Area {
        written(route.label, &broken(&arrow.to_string(), route.columns))
    }

    fn segments(route: &Route) -> Vec<Area> {
        let ends = route.points.windows(2).map(|ends| (ends[0], ends[1]));
        ends.map(|((a, b), (c, d))| (a.min(c), b.min(d), a.max(c), b.max(d))).collect()
    }

    #[test]
    fn every_arrow_of_the_table_has_its_place_and_no_place_is_left_over() {
        let drawn = drawn();
        for route in ROUTES {
            let key = (route.from, route.to, route.answer);
            let with = drawn.iter().filter(|(arrow, _)| (arrow.from, arrow.to, arrow.answer) == key).count();
            assert_eq!(with, 1, "{:?} to {:?} after {:?}", route.from, route.to, route.answer);
        }
        for phase in Phase::ALL {
            assert_eq!(PLACES.iter().filter(|place| place.phase == phase).count(), 1, "{phase:?}");
        }
    }

    #[test]
    fn lines_run_straight_from_border_to_border() {
        let on_border = |phase: Phase, (x, y): (i32, i32)| {
            let place = PLACES.iter().find(|place| place.phase == phase).unwrap();
            let (left, top, right, bottom) = area(place);
            // Not where the corner is round.
            ((x == left || x == right) && (top + 10..=bottom - 10).contains(&y))
                || ((y == top || y == bottom) && (left + 10..=right - 10).contains(&x))
        };
        for (arrow, route) in drawn() {
            assert!(on_border(arrow.from, *route.points.first().unwrap()), "{arrow:?}");
            assert!(on_border(arrow.to, *route.points.last().unwrap()), "{arrow:?}");
            for segment in segments(route) {
                assert!(segment.0 == segment.2 || segment.1 == segment.3, "{arrow:?}: {segment:?}");
                for place in PLACES {
                    assert!(!overlap(segment, area(place)), "{arrow:?} goes through {:?}", place.phase);
                }
            }
        }
    }

    #[test]
    fn what_is_written_covers_nothing_and_is_not_cut() {
        let drawn = drawn();
        let labels: Vec<Area> = drawn.iter().map(|(arrow, route)| label(arrow, route)).collect();
        let mut solid: Vec<Area> = PLACES.iter().map(area).collect();
        solid.extend(drawn.iter().flat_map(|(_, route)| segments(route)));
        // The borders of the group.
        let (left, top, right, bottom) = area(&GROUP);
        solid.extend([(left, top, left, bottom), (right, top, right, bottom)]);
        solid.extend([(left, top, right, top), (left, bottom, right, bottom)]);
        for (place, one) in labels.iter().enumerate() {
            let others =
                labels.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, other)| other);
            for other in solid.iter().chain(others) {
                assert!(!overlap(*one, *other), "{} covers {other:?}", drawn[place].0);
            }
            assert!(one.2 < SIZE.0 && one.3 < SIZE.1);
        }
        for place in PLACES {
            let lines = inside(place);
            let (_, _, right, bottom) = written((place.x + 18, place.y + 52), &lines);
            let (_, _, right_border, bottom_border) = area(place);
            let fits = if is_last(place.phase) {
                lines.len() == 1
            } else {
                right <= right_border && bottom <= bottom_border
            };
            assert!(fits, "{:?}: {lines:?}", place.phase);
        }
    }

    #[test]
    fn colours_can_be_told_from_what_is_behind_them() {
        let luminance = |colour: &str| {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.0722f64.mul_add(part(4), 0.2126f64.mul_add(part(0), 0.7152 * part(2)))
        };
        let rows: Vec<&str> = STYLE.lines().filter(|line| line.contains("--ground: #")).collect();
        assert_eq!(rows.len(), 2, "light and dark");
        for row in rows {
            let colour = |name: &str| {
                let (_, behind) = row.split_once(&format!("--{name}: #")).unwrap();
                luminance(&behind[..6])
            };
            for (name, least) in [("text", 7.0), ("faint", 4.5), ("ok", 4.5), ("err", 4.5), ("line", 3.0)] {
                for behind in ["ground", "box"] {
                    let (one, other) = (colour(name), colour(behind));
                    let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(contrast >= least, "{name} on {behind}: {contrast:.2} in {row}");
                }
            }
        }
    }

    #[test]
    fn words_are_broken_at_spaces() {
        assert_eq!(broken("USER, PASS, APOP -ERR", 13), ["USER, PASS,", "APOP -ERR"]);
        assert_eq!(broken("QUIT", 2), ["QUIT"]);
    }
}
