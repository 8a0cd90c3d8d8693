//! Answers that grow while somebody reads them: a task makes pieces, and waits where they are not taken, so that a page that
//! does not read costs nobody anything.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

/// How many pieces wait to be taken.
const PIECES_MAX: usize = 4;
/// How often a comment is sent where there is nothing to say: proxies and dead clients are noticed by it.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Where a task puts pieces.
pub(crate) type Pieces<T> = mpsc::Sender<T>;

/// What comes out of a channel, as a stream.
struct Coming<T>(mpsc::Receiver<T>);

impl<T> Stream for Coming<T> {
    type Item = Result<T, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

/// Server-sent events, made by a task that ends when they are not taken any more.
pub(crate) fn events<F>(make: impl FnOnce(Pieces<Event>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (to, from) = mpsc::channel(PIECES_MAX);
    tokio::spawn(make(to));
    Sse::new(Coming(from)).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response()
}

/// Lines of JSON, made in the same way. An empty line is sent now and then where there is nothing to say.
pub(crate) fn lines<F>(make: impl FnOnce(Pieces<String>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (to, from) = mpsc::channel(PIECES_MAX);
    tokio::spawn(make(to));
    ([("content-type", "application/x-ndjson")], Body::from_stream(Coming(from))).into_response()
}

/// An event of this name, with this as JSON.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Event {
    // What is told here always can be: texts, numbers, lists.
    let json = serde_json::to_string(data).unwrap_or_else(|error| format!("\"{error}\""));
    Event::default().event(name).data(json)
}
