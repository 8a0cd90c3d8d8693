//! Who may come in, and with what: the names under which the page may be asked for, the token that TCP needs, and the
//! headers of every answer. What is answered is the router's business.
//!
//! A browser does what any page tells it. So the `Host` must be one of ours (a page elsewhere may let its own name point
//! here), and what changes something must come from our own page. Nothing is let in by a cookie, which browsers would send
//! to other ports of the same host: the token comes with each request.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, http::request};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use restante_proto::Secret;
use subtle::ConstantTimeEq;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use crate::{page, serve::Guest};

/// What a request may bring besides its head, in octets.
const BODY_MAX_OCTETS: usize = 4096;
/// How long that may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// So long the answer to a wrong token takes, behind that to the one before from the same address.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// Where it would take longer, the answer is 429 at once.
const WRONG_TOKEN_DELAY_MAX: Duration = Duration::from_secs(10);
/// How many such answers wait at a time, from all addresses.
const DELAYED_MAX: usize = 64;
/// Of how many addresses it is known that they came with wrong tokens.
const WRONG_ADDRESSES_MAX: usize = 1024;
/// How often wrong tokens are told in the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What the operator decides about who may come in.
#[derive(Debug, Default)]
pub struct Access {
    /// What comers by TCP must know.
    pub token: Option<Secret<Vec<u8>>>,
    /// What opens the metrics, and nothing else.
    pub metrics_token: Option<Secret<Vec<u8>>>,
    /// Names under which the page may be asked for, besides the address and `localhost`.
    pub hosts: Vec<String>,
}

/// Who may come in, as it is now; can be replaced while doors are open.
#[derive(Debug)]
pub struct Keys {
    now: Mutex<Arc<Access>>,
    /// How often the tokens have changed: who was let in by those before goes.
    changes: watch::Sender<u64>,
    wrong: Arc<Mutex<Wrong>>,
    delayed: Semaphore,
}

/// Who came with a wrong token.
#[derive(Debug, Default)]
struct Wrong {
    /// Until when the answers to an address wait.
    waits: Vec<(IpAddr, Instant)>,
    /// When it was told last, how many came since, and from where the last.
    told: Option<Instant>,
    untold: Option<(u64, IpAddr)>,
    /// They will be told.
    is_telling: bool,
}

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    All,
    Metrics,
}

impl Keys {
    /// These, from now on.
    pub fn new(access: Access) -> Self {
        Self {
            now: Mutex::new(Arc::new(access)),
            changes: watch::Sender::new(0),
            wrong: Arc::default(),
            delayed: Semaphore::new(DELAYED_MAX),
        }
    }

    /// Others, from now on. With another token those who were let in by the one before are cut off.
    pub fn replace(&self, access: Access) {
        let tokens = |access: &Access| {
            let octets = |token: &Secret<Vec<u8>>| token.expose().clone();
            (access.token.as_ref().map(octets), access.metrics_token.as_ref().map(octets))
        };
        let is_same = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            let is_same = tokens(&now) == tokens(&access);
            *now = Arc::new(access);
            is_same
        };
        if !is_same {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// What hears when the tokens change, from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What this token opens. Each is compared with both, so that the time it takes tells nothing.
    fn opens(&self, said: &[u8]) -> Option<Opens> {
        let access = self.access();
        let is = |token: &Option<Secret<Vec<u8>>>| {
            token.as_ref().is_some_and(|token| bool::from(token.expose().ct_eq(said)))
        };
        match (is(&access.token), is(&access.metrics_token)) {
            (true, _) => Some(Opens::All),
            (false, true) => Some(Opens::Metrics),
            (false, false) => None,
        }
    }

    /// The answer to a wrong token, which takes its time. A right one never waits for it.
    async fn refusal(&self, from: IpAddr) -> Response<Body> {
        let now = Instant::now();
        let until = {
            let mut wrong = self.wrong();
            let until = wrong.came(from, now);
            if let Some(wait) = wrong.tell(now) {
                tell_later(Arc::clone(&self.wrong), wait);
            }
            until
        };
        match (until, self.delayed.try_acquire()) {
            (Some(until), Ok(_place)) => {
                sleep_until(until).await;
                unauthorized("this is not the token\n")
            }
            _ => plain(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again later\n"),
        }
    }

    /// Tells what was not told yet, at the end.
    pub(crate) fn tell(&self) {
        self.wrong().tell_now(Instant::now());
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the rest of a burst.
fn tell_later(wrong: Arc<Mutex<Wrong>>, when: Instant) {
    tokio::spawn(async move {
        sleep_until(when).await;
        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.is_telling = false;
        wrong.tell_now(Instant::now());
    });
}

impl Wrong {
    /// Until when the answer waits; nothing where that would be too long.
    fn came(&mut self, from: IpAddr, now: Instant) -> Option<Instant> {
        self.untold = Some((self.untold.map_or(0, |(times, _)| times) + 1, from));
        self.waits.retain(|(_, until)| *until > now);
        let from = net(from);
        if let Some((_, until)) = self.waits.iter_mut().find(|(address, _)| *address == from) {
            let next = *until + WRONG_TOKEN_DELAY;
            if next > now + WRONG_TOKEN_DELAY_MAX {
                return None;
            }
            *until = next;
            return Some(next);
        }
        if self.waits.len() == WRONG_ADDRESSES_MAX {
            self.waits.remove(0);
        }
        self.waits.push((from, now + WRONG_TOKEN_DELAY));
        Some(now + WRONG_TOKEN_DELAY)
    }

    /// Tells it, or when it is to be told if nobody does so yet.
    fn tell(&mut self, now: Instant) -> Option<Instant> {
        match self.told.map(|told| told + TOLD_EVERY).filter(|next| now < *next) {
            None => {
                self.tell_now(now);
                None
            }
            Some(_) if self.is_telling => None,
            next => {
                self.is_telling = true;
                next
            }
        }
    }

    fn tell_now(&mut self, now: Instant) {
        if let Some((times, address)) = self.untold.take() {
            self.told = Some(now);
            warn!(%address, times, "somebody came to the admin address with a wrong token");
        }
    }
}

/// The address, or the net where one host has many: a /64 of IPv6, and 127.0.0.0/8.
pub(crate) fn net(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(four) if four.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// How somebody came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// By a unix socket: the system has looked who it is.
    Unix { uid: u32 },
    /// By TCP, from one address to another.
    Tcp { from: SocketAddr, to: SocketAddr },
}

/// By whom something is asked: for the log.
#[derive(Clone, Debug)]
pub(crate) struct By(pub(crate) String);

/// One way in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) way: Way,
    pub(crate) keys: Arc<Keys>,
    pub(crate) router: Router,
    /// Who came by TCP, and is counted.
    pub(crate) guest: Option<Arc<Guest>>,
}

/// Who may have what is asked for.
enum Pass {
    /// Everybody who came in here.
    Full,
    /// Somebody without a token, who is told no reasons.
    Stranger,
    /// Nobody.
    No(Response<Body>),
}

impl Door {
    /// Answers a request, by the router if it may come in.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let pass = match self.refused(&head.method, &head.uri, &head.headers) {
            Some(refusal) => Pass::No(refusal),
            None => self.pass(&head.method, &head.uri, &head.headers).await,
        };
        let mut answer = match pass {
            Pass::No(refusal) => refusal,
            Pass::Full => self.routed(head, body).await,
            Pass::Stranger => {
                let answer = self.routed(head, body).await;
                match answer.status() {
                    StatusCode::SERVICE_UNAVAILABLE => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
                    _ => answer,
                }
            }
        };
        guard(answer.headers_mut());
        answer
    }

    async fn routed<B>(&self, head: request::Parts, body: B) -> Response<Body>
    where
        B: body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match timeout(BODY_PATIENCE, Limited::new(body, BODY_MAX_OCTETS).collect()).await {
            Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "that took too long\n"),
            Ok(Err(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE, "that is too much\n"),
            Ok(Ok(body)) => {
                let mut request = Request::from_parts(head, Body::from(body.to_bytes()));
                request.extensions_mut().insert(By(match self.way {
                    Way::Unix { uid } => format!("uid {uid}"),
                    Way::Tcp { from, .. } => from.to_string(),
                }));
                match TowerToHyperService::new(self.router.clone()).call(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                }
            }
        }
    }

    /// What a browser may be made to do by other pages is refused, before anything else.
    fn refused(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) if self.is_ours(host) => host,
            _ => return Some(empty(StatusCode::MISDIRECTED_REQUEST)),
        };
        // It would count more than the header (RFC 9112 §3.2.2).
        if uri.authority().is_some_and(|authority| !self.is_ours(authority.as_str())) {
            return Some(empty(StatusCode::MISDIRECTED_REQUEST));
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if !is_read(method)
            && let Some(origin) = headers.get(header::ORIGIN)
        {
            let origin = origin.to_str().unwrap_or_default();
            let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_same = from.is_some_and(|from| from.eq_ignore_ascii_case(host));
            // A page without a referrer may send no origin.
            let may_be = origin == "null" && site == Some(b"same-origin");
            if !is_same && !may_be {
                return Some(plain(StatusCode::FORBIDDEN, "this comes from another page\n"));
            }
        }
        match site {
            Some(b"cross-site" | b"same-site") if !is_file(method, uri.path()) => {
                Some(plain(StatusCode::FORBIDDEN, "this comes from another page\n"))
            }
            _ => None,
        }
    }

    /// Whether the page may be asked for under this name. A name that means this machine to every browser is safe with any
    /// port, and has another one where `ssh -L` leads here.
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let address: Option<IpAddr> = address.parse().ok();
        name.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback())
            || self.keys.access().hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
            || match self.way {
                Way::Unix { .. } => false,
                Way::Tcp { to, .. } => {
                    address == Some(to.ip()) && (host == to.to_string() || to.port() == 80 && host == name)
                }
            }
    }

    /// Who comes by TCP needs the token, but for the files of the page, which hold nothing of this server, and for health.
    async fn pass(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Pass {
        let Way::Tcp { from, .. } = self.way else { return Pass::Full };
        let path = uri.path();
        if is_file(method, path) || is_read(method) && path == "/livez" {
            return Pass::Stranger;
        }
        let is_ready = is_read(method) && path == "/readyz";
        let Some(said) = headers.get(header::AUTHORIZATION) else {
            return match is_ready {
                true => Pass::Stranger,
                false => Pass::No(unauthorized("the token is needed\n")),
            };
        };
        if self.keys.access().token.is_none() {
            return Pass::No(plain(
                StatusCode::FORBIDDEN,
                "this address is closed: no token is configured for it any more\n",
            ));
        }
        let said = said.as_bytes();
        let is_bearer = said.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let token = said.get(7..).filter(|_| is_bearer).unwrap_or_default().trim_ascii();
        let Some(opens) = self.keys.opens(token) else {
            return Pass::No(self.keys.refusal(from.ip()).await);
        };
        if self.guest.as_ref().is_some_and(|guest| !guest.is_let_in()) {
            return Pass::No(plain(StatusCode::SERVICE_UNAVAILABLE, "too many connections\n"));
        }
        match opens {
            Opens::All => Pass::Full,
            Opens::Metrics if is_read(method) && path == "/metrics" => Pass::Full,
            Opens::Metrics if is_ready => Pass::Stranger,
            Opens::Metrics => Pass::No(plain(StatusCode::FORBIDDEN, "this token is for /metrics alone\n")),
        }
    }
}

/// Whether it only asks.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether it asks for a file of the page.
fn is_file(method: &Method, path: &str) -> bool {
    is_read(method) && page::FILES.iter().any(|file| file.path == path)
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn unauthorized(text: &'static str) -> Response<Body> {
    let mut answer = plain(StatusCode::UNAUTHORIZED, text);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// What every answer says to browsers, if it does not say so itself.
fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
