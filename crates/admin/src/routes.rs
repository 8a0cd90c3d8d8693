//! What is asked and what is answered; who may ask is decided before (`door.rs`).

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;

use crate::{Running, door::By, draw, facts::Lock, list, metrics, page, stream, watch};

/// All routes.
pub(crate) fn router(running: Arc<Running>) -> Router {
    let page = page::FILES
        .iter()
        .fold(Router::new(), |router, file| router.route(file.path, get(|| async { *file })));
    page.route("/sessions", get(sessions))
        .route("/sessions/events", get(events))
        .route("/sessions/{session}", get(session))
        .route("/sessions/{session}/dialogue", get(dialogue))
        .route("/sessions/{session}/diagram", get(diagram))
        .route("/sessions/{session}/kick", post(kick))
        .route("/watch", get(watched))
        .route("/locks", get(locks))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(running)
}

/// The name of a session that cannot be.
fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "no session of this name is on, or ended lately\n").into_response()
}

async fn sessions(State(running): State<Arc<Running>>) -> Response {
    Json(list::all(&running).1).into_response()
}

async fn events(State(running): State<Arc<Running>>) -> Response {
    stream::events(|to| list::changes(running, to))
}

async fn session(State(running): State<Arc<Running>>, Path(session): Path<String>) -> Response {
    if let Some(facts) = running.handle.session(&session) {
        return Json(crate::facts::Session::from(&facts)).into_response();
    }
    running.hub.ended(&session).map_or_else(unknown, |ended| Json(ended).into_response())
}

async fn dialogue(State(running): State<Arc<Running>>, Path(session): Path<String>) -> Response {
    let Some(tape) = running.hub.tape(&session) else {
        return (StatusCode::NOT_FOUND, "nothing was heard of a session of this name\n").into_response();
    };
    // The name is one of ours: letters, digits and hyphens.
    let name = format!("attachment; filename=\"{}.pop3\"", tape.session());
    let kind = "text/plain; charset=utf-8".to_owned();
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], tape.text()).into_response()
}

async fn diagram(State(running): State<Arc<Running>>, Path(session): Path<String>) -> Response {
    stream::events(|to| draw::diagram(running, session, to))
}

async fn kick(
    State(running): State<Arc<Running>>,
    Path(session): Path<String>,
    by: Option<Extension<By>>,
) -> Response {
    if !running.handle.kick(&session) {
        return unknown();
    }
    let by = by.as_ref().map(|Extension(By(by))| by.as_str());
    tracing::info!(session, by, "ended by the operator");
    StatusCode::NO_CONTENT.into_response()
}

/// Which sessions are watched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Of this user.
    pub(crate) user: Option<String>,
    /// Of this name.
    pub(crate) session: Option<String>,
}

async fn watched(State(running): State<Arc<Running>>, Query(which): Query<Which>) -> Response {
    if let Some(session) = &which.session
        && running.handle.session(session).is_none()
        && running.hub.tape(session).is_none()
    {
        return unknown();
    }
    stream::lines(|to| watch::dialogues(running, which, to))
}

async fn locks(State(running): State<Arc<Running>>) -> Response {
    Json(running.handle.locks().iter().map(Lock::from).collect::<Vec<_>>()).into_response()
}

async fn metrics(State(running): State<Arc<Running>>) -> Response {
    let text = running.metrics.encode(running.handle.totals());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn ready(State(running): State<Arc<Running>>) -> Response {
    match running.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
