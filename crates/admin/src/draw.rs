//! One session's diagram as it grows: what was heard of it is drawn here, by the task of who looks at it.

use std::{sync::Arc, time::Duration};

use axum::response::sse::Event;
use restante_diagram::{
    drawing::{Drawing, Options},
    format::{Style, html::LiveRows},
};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    Running,
    stream::{Pieces, event},
    tape::{Found, Place, Tape},
};

/// How long nothing has to come until what is held back, to be folded, is drawn.
const IDLE: Duration = Duration::from_millis(200);
/// How often it is looked whether a session that is waited for is still on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much text is drawn at a time, in octets.
const PIECE_MAX_OCTETS: usize = 32 << 10;

/// Why nothing is drawn.
#[derive(Serialize)]
struct Reason<'a> {
    why: &'a str,
}

/// Draws a session from what is known of it on, until it is over or nobody looks any more.
pub(crate) async fn diagram(running: Arc<Running>, session: String, to: Pieces<Event>) {
    let _watching = running.hub.watch();
    let Some(tape) = find(&running, &session, &to).await else { return };
    // It fails where nobody looks any more.
    let _gone = draw(&tape, &to).await;
}

/// What is heard of it, once something is; a session that is on already is heard from its next command on.
async fn find(running: &Running, session: &str, to: &Pieces<Event>) -> Option<Arc<Tape>> {
    let mut turned = running.hub.turned();
    let mut told = false;
    loop {
        if let Some(tape) = running.hub.tape(session) {
            return Some(tape);
        }
        let (name, why) = if running.handle.session(session).is_none() {
            match running.hub.ended(session) {
                Some(_) => ("gone", "Nobody heard this session while it was on: it cannot be drawn."),
                None => ("gone", "No session of this name is on, or ended lately."),
            }
        } else if told {
            ("", "")
        } else {
            running.attach(session);
            told = true;
            ("waiting", "This session began before anybody watched. It is drawn from its next command on.")
        };
        if !name.is_empty() && (to.send(event(name, &Reason { why })).await.is_err() || name == "gone") {
            return None;
        }
        tokio::select! {
            _ = timeout(LOOK_EVERY, turned.changed()) => {}
            () = to.closed() => return None,
        }
    }
}

/// Nobody takes what is drawn.
struct Gone;

async fn draw(tape: &Tape, to: &Pieces<Event>) -> Result<(), Gone> {
    let rows = LiveRows::new(&Style::default());
    let mut drawing =
        Drawing::live_with(Options { slow_client: false, ..Options::default() }, Box::new(rows));
    let (mut place, mut out) = (Place::default(), Vec::new());
    let mut idle = false;
    loop {
        let next = async {
            if idle {
                return Some(tape.next(&mut place, PIECE_MAX_OCTETS).await);
            }
            timeout(IDLE, tape.next(&mut place, PIECE_MAX_OCTETS)).await.ok()
        };
        let found = tokio::select! {
            found = next => found,
            () = to.closed() => return Err(Gone),
        };
        let drawn = match &found {
            Some(Found::Text(text)) => drawing.push(text.as_bytes(), &mut out),
            Some(Found::Nothing) => Ok(()),
            Some(Found::Over(_)) => drawing.end(&mut out),
            None => {
                drawing.idle(&mut out);
                Ok(())
            }
        };
        idle = found.is_none();
        send(&mut out, to).await?;
        if let Err(error) = drawn {
            let why = format!("It cannot be drawn on: {error}.");
            return to.send(event("gone", &Reason { why: &why })).await.map_err(|_| Gone);
        }
        if let Some(Found::Over(why)) = &found {
            return to.send(event("over", &Reason { why })).await.map_err(|_| Gone);
        }
    }
}

/// Each line is an object of one member: the event's name, and its data.
async fn send(out: &mut Vec<u8>, to: &Pieces<Event>) -> Result<(), Gone> {
    for line in out.split(|&octet| octet == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((name, data)) = line
            .strip_prefix("{\"")
            .and_then(|line| line.strip_suffix('}'))
            .and_then(|line| line.split_once("\":"))
        else {
            continue;
        };
        to.send(Event::default().event(name).data(data)).await.map_err(|_| Gone)?;
    }
    out.clear();
    Ok(())
}
