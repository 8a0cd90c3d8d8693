//! Curves: what a listing costs by the number of messages, and a small session by the number of other sessions. Each is
//! a table, and a plot with logarithmic axes, drawn here: an SVG of lines and words.

use std::fmt::Write;

use super::{Report, Row, number};
use crate::bench::{cells::Work, options::Options};

/// A curve: for each server the points that are known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) file: &'static str,
    title: &'static str,
    across: &'static str,
    up: &'static str,
    servers: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// The plot's size and margins, in its own units.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// They can be told apart by who sees few colours; read on white and on black.
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

/// How many messages the drop of a cell has, and which step it is.
fn messages(name: &str, options: &Options) -> Option<(u32, &'static str)> {
    let (drop, step) =
        name.strip_prefix("list-")?.split_once('-').unwrap_or((name.strip_prefix("list-")?, "cold"));
    let count = match drop {
        "ten" => 10,
        "thousand" => 1000,
        "large" => options.large_drop,
        "huge" => options.huge_drop,
        _ => return None,
    };
    let step = ["cold", "warm", "new"].into_iter().find(|known| *known == step)?;
    Some((count, step))
}

/// The step of a power of ten up or down that holds a number.
fn tens(value: f64, up: bool) -> f64 {
    let power = value.max(1e-9).log10();
    if up { (power - 1e-9).ceil() } else { (power + 1e-9).floor() }
}

impl Curve {
    /// A line has two points at least.
    pub(super) fn is_drawn(&self) -> bool {
        self.servers.iter().any(|(_, points)| points.len() > 1)
    }

    fn xs(&self) -> Vec<f64> {
        let mut xs: Vec<f64> =
            self.servers.iter().flat_map(|(_, points)| points).map(|point| point.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        xs
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let xs = self.xs();
        write!(out, "\n**{}**, {}\n\n| {} |", self.title, self.up, self.across)?;
        xs.iter().try_for_each(|x| write!(out, " {x:.0} |"))?;
        writeln!(out, "\n| --- |{}", " ---: |".repeat(xs.len()))?;
        for (name, points) in &self.servers {
            write!(out, "| {name} |")?;
            for x in &xs {
                let point = points.iter().find(|point| point.0 == *x);
                write!(out, " {} |", point.map_or_else(|| "–".into(), |point| number(point.1)))?;
            }
            writeln!(out)?;
        }
        if self.is_drawn() {
            writeln!(out, "\n![{}]({})", self.title, self.file)?;
        }
        Ok(())
    }

    pub(super) fn svg(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write_svg(&mut text).unwrap_or_default();
        text
    }

    fn write_svg(&self, out: &mut String) -> std::fmt::Result {
        let points = || self.servers.iter().flat_map(|(_, points)| points);
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let (x0, x1) = (tens(least(|point| point.0), false), tens(most(|point| point.0), true));
        let (y0, y1) = (tens(least(|point| point.1), false), tens(most(|point| point.1), true));
        let x = |power: f64| LEFT + (power - x0) / (x1 - x0).max(1.0) * (WIDTH - LEFT - RIGHT);
        let y = |power: f64| HEIGHT - BOTTOM - (power - y0) / (y1 - y0).max(1.0) * (HEIGHT - TOP - BOTTOM);
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
        )?;
        writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>")?;
        writeln!(out, "<text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}, {}</text>", self.title, self.up)?;
        let grid = |out: &mut String, from: (f64, f64), to: (f64, f64)| {
            let ((x1, y1), (x2, y2)) = (from, to);
            writeln!(
                out,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ccc\"/>"
            )
        };
        for power in x0 as i32..=x1.max(x0 + 1.0) as i32 {
            let at = x(f64::from(power));
            grid(out, (at, TOP), (at, HEIGHT - BOTTOM))?;
            let label = 10_f64.powi(power);
            let down = HEIGHT - BOTTOM + 16.0;
            writeln!(out, "<text x=\"{at:.1}\" y=\"{down:.1}\" text-anchor=\"middle\">{label}</text>")?;
        }
        for power in y0 as i32..=y1.max(y0 + 1.0) as i32 {
            let at = y(f64::from(power));
            grid(out, (LEFT, at), (WIDTH - RIGHT, at))?;
            let (left, down, label) = (LEFT - 6.0, at + 4.0, 10_f64.powi(power));
            writeln!(out, "<text x=\"{left:.1}\" y=\"{down:.1}\" text-anchor=\"end\">{label}</text>")?;
        }
        let (middle, down) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0);
        writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{down:.1}\" text-anchor=\"middle\">{}</text>",
            self.across
        )?;
        for ((name, points), colour) in self.servers.iter().zip(COLOURS.iter().cycle()) {
            let at: Vec<(f64, f64)> =
                points.iter().map(|point| (x(point.0.log10()), y(point.1.max(1e-9).log10()))).collect();
            let Some(last) = at.last() else { continue };
            let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let line = line.join(" ");
            writeln!(
                out,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            )?;
            for (x, y) in &at {
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>")?;
            }
            let (right, down) = (last.0 + 8.0, last.1 + 4.0);
            writeln!(out, "<text x=\"{right:.1}\" y=\"{down:.1}\" fill=\"{colour}\">{name}</text>")?;
        }
        writeln!(out, "</svg>")
    }
}

impl Report<'_> {
    /// The points of rows that have a place on a curve.
    fn curve(
        &self,
        (file, title, across, up): (&'static str, &'static str, &'static str, &'static str),
        place: impl Fn(&Row, usize) -> Option<(f64, f64)>,
    ) -> Curve {
        let points = |server: usize| {
            let mut points: Vec<(f64, f64)> = self.rows.iter().filter_map(|row| place(row, server)).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points
        };
        let servers = self.subjects.iter().enumerate().map(|(at, subject)| (subject.name, points(at)));
        Curve { file, title, across, up, servers: servers.collect() }
    }

    pub(super) fn curves(&self) -> Vec<Curve> {
        let listing = |step: &'static str| {
            move |row: &Row, server: usize| {
                let (count, _) = messages(&row.cell.name, self.options).filter(|(_, of)| *of == step)?;
                Some((f64::from(count), row.outcomes.get(server)?.spread()?.median))
            }
        };
        // Idle sessions of the one kind: TLS and slow ones are no points of the same curve.
        let crowd = |of: &'static str| {
            move |row: &Row, server: usize| {
                let one = row.cell.name.starts_with("crowd-") || row.cell.name.starts_with("many-idle-plain");
                if !one || !matches!(row.cell.work, Work::Crowd { .. }) {
                    return None;
                }
                let outcome = row.outcomes.get(server)?;
                Some((outcome.further("sessions")?.median, outcome.further(of)?.median))
            }
        };
        let (by_messages, cpu) = ("messages of the drop", "CPU-ms");
        let (by_sessions, time) = ("other sessions that are open, idle", "ms from when it was due");
        let curves = vec![
            self.curve(("list-warm.svg", "PASS STAT UIDL LIST, warm", by_messages, cpu), listing("warm")),
            self.curve(
                ("list-new.svg", "PASS STAT UIDL LIST, one new message", by_messages, cpu),
                listing("new"),
            ),
            self.curve(("list-cold.svg", "PASS STAT UIDL LIST, cold", by_messages, cpu), listing("cold")),
            self.curve(("crowd-cpu.svg", "a small session", by_sessions, cpu), crowd("newcomer_ms")),
            self.curve(
                ("crowd-p50.svg", "a small session, p50", by_sessions, time),
                crowd("newcomer_p50_ms"),
            ),
            self.curve(
                ("crowd-p99.svg", "a small session, p99", by_sessions, time),
                crowd("newcomer_p99_ms"),
            ),
        ];
        curves.into_iter().filter(|curve| !curve.xs().is_empty()).collect()
    }

    pub(super) fn write_curves(&self, out: &mut String) -> std::fmt::Result {
        let curves = self.curves();
        if curves.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Curves\n\nMedians. The huge drop is one for all servers, moved from one to the next, and its messages are \
             names of a few files (hard links): whoever opens files or asks for their sizes finds them all in the caches."
        )?;
        curves.iter().try_for_each(|curve| curve.write_table(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_listings_have_their_places() {
        let options = Options::parse(&[]).ok().flatten().expect("no arguments are right");
        let of = |name| messages(name, &options);
        assert_eq!(of("list-ten"), Some((10, "cold")));
        assert_eq!(of("list-huge-new"), Some((1_000_000, "new")));
        assert_eq!(of("list-large-warm"), Some((100_000, "warm")));
        for none in ["list-large-flagged", "list-small-warm", "retr-50k-plain"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn points_lie_within_the_plot_and_powers_of_ten_on_its_lines() {
        let servers = vec![("a", vec![(10.0, 0.02), (1000.0, 3.0)]), ("b", vec![(100.0, 10.0)])];
        let curve = Curve { file: "f", title: "t", across: "x", up: "y", servers };
        let svg = curve.svg();
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 3));
        let (left, right) = (LEFT, WIDTH - RIGHT);
        assert!(
            svg.contains(&format!("cx=\"{left:.1}\"")) && svg.contains(&format!("cx=\"{right:.1}\"")),
            "{svg}"
        );
        // 10 is the highest line, 0.01 the lowest.
        assert!(svg.contains(&format!("cy=\"{TOP:.1}\"")) && svg.contains(">0.01</text>"), "{svg}");
        assert!(curve.is_drawn() && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
