//! One session: its head with what was found in it, and its rows, phase by phase.

use restante_proto::phase::Phase;

use super::{drawn_icon, row};
use crate::{
    format::{
        Picture, Style,
        facts::is_drawn,
        markup::{Clock, escaped, figures, found, heading, icon, id, put, shortened},
    },
    heard::Opening,
    row::Row,
    words::thousands,
};

/// The most places of one kind that the head links to; the rest is reached from finding to finding.
const PLACES_MAX: usize = 60;

/// The most characters of an address above a lifeline.
const ADDRESS_MAX_CHARS: usize = 100;

/// Draws it.
pub(super) fn draw(page: &mut String, picture: Picture<'_>, style: &Style) {
    let Picture { summary, rows } = picture;
    let number = summary.number;
    put!(page, "<section class=\"session\" id=\"s{number}\" aria-labelledby=\"s{number}-heading\">\n");
    put!(page, "<h2 id=\"s{number}-heading\">{}</h2>\n", escaped(&heading(summary)));
    head(page, picture);
    let clock = Clock::of(rows);
    put!(page, "<div class=\"diagram{}\">\n", if clock.runs { "" } else { " untimed" });
    heads(page, &summary.opening, clock);

    let rows: Vec<&Row> = rows.iter().filter(|row| is_drawn(row, style)).collect();
    let places: Vec<u64> = rows.iter().filter(|row| !row.findings.is_empty()).map(|row| row.number).collect();
    let name = |row: &Row| row.phase.map(Phase::name);
    for stretch in rows.chunk_by(|one, next| name(one) == name(next)) {
        open_phase(page, stretch.first().and_then(|row| row.phase));
        for row in stretch {
            row::draw(page, row, row::Around { session: number, clock, places: &places, style });
        }
        page.push_str("</ol></section>\n");
    }
    end(page, &summary.ending);
    page.push_str("</div>\n</section>\n");
}

fn open_phase(page: &mut String, phase: Option<Phase>) {
    let Some(phase) = phase else {
        page.push_str("<section class=\"phase\"><h3 class=\"hidden\">Outside of the session's states</h3><ol class=\"rows\">\n");
        return;
    };
    put!(
        page,
        "<section class=\"phase {}\"><h3 class=\"band\"><span>{}</span></h3><ol class=\"rows\">\n",
        class(phase),
        phase.name()
    );
}

/// A state's class, which has its colours.
pub(super) const fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Authorization | Phase::Named => "p0",
        Phase::Transaction => "p1",
        Phase::Update => "p2",
        Phase::Closed => "p3",
    }
}

fn head(page: &mut String, picture: Picture<'_>) {
    let Picture { summary, rows } = picture;
    let opening = &summary.opening;
    if let (Some(client), Some(server)) = (&opening.client, &opening.server) {
        put!(page, "<p class=\"lead\">{} → {}</p>\n", escaped(client), escaped(server));
    }
    if opening.joined {
        page.push_str(
            "<p class=\"lead\">Its beginning was not heard: the source begins in the middle of it.</p>\n",
        );
    }
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in figures(summary) {
        put!(page, "<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value));
    }
    page.push_str("</dl>\n");
    let found = found(picture);
    if found.is_empty() {
        page.push_str("<p class=\"none-found\">Nothing wrong was found in it.</p>\n");
    } else {
        page.push_str("<h3 class=\"title\">What was found</h3>\n<ul class=\"found-list\">\n");
    }
    for kind in &found {
        let (severity, places) = (kind.anomaly.severity(), &kind.places);
        put!(
            page,
            "<li class=\"{name}\">{}<strong>{}</strong> <span class=\"severity\">{name}</span><p>{}</p><p>",
            drawn_icon(icon(severity)),
            kind.title(),
            escaped(kind.anomaly.advice()),
            name = severity.name()
        );
        for place in places.iter().take(PLACES_MAX) {
            put!(page, "<a href=\"#{}\">row {place}</a> ", id(summary.number, *place));
        }
        if let Some(more) = places.len().checked_sub(PLACES_MAX).filter(|more| *more > 0) {
            put!(page, "and {} more", thousands(more as u64));
        }
        if kind.folded > 0 {
            put!(page, " {} in folded rows", thousands(kind.folded));
        }
        page.push_str("</p></li>\n");
    }
    if !found.is_empty() {
        page.push_str("</ul>\n");
    }
    if rows.iter().any(|row| row.share.is_some()) {
        page.push_str("<p class=\"legend\"><span><i class=\"network\"></i>on the network</span><span><i class=\"peer\"></i>with who answered</span><span><i class=\"unknown\"></i>not known where</span></p>\n");
    }
}

/// The names above the lifelines.
pub(super) fn heads(page: &mut String, opening: &Opening, clock: Clock) {
    page.push_str("<div class=\"heads\">");
    if clock.runs {
        page.push_str("<div class=\"when\" aria-hidden=\"true\"><span></span><span class=\"at\">time, s</span><span>step</span></div>");
    }
    page.push_str("<div class=\"lane\">");
    for (class, name, address) in
        [("client", "Mail client", &opening.client), ("server", "POP3 server", &opening.server)]
    {
        put!(page, "<div class=\"actor {class}\"><b>{name}</b>");
        if let Some(address) = address {
            put!(page, "<span>{}</span>", escaped(&shortened(address, ADDRESS_MAX_CHARS)));
        }
        page.push_str("</div>");
    }
    page.push_str("</div></div>\n");
}

/// The end of the lifelines.
pub(super) fn end(page: &mut String, ending: &str) {
    put!(page, "<div class=\"end\"><div class=\"lane\"><span>{}</span></div></div>\n", escaped(ending));
}
