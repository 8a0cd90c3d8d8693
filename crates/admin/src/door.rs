//! Who may come in, and with what: the names under which the page may be asked for, the token that TCP needs, and the
//! headers of every answer. What is answered is the router's business.
//!
//! A browser does what any page tells it. So the `Host` must be one of ours (a page elsewhere may let its own name point
//! here), what changes something must come from our own page, and the cookie is sent by our own page alone.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use restante_proto::Secret;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

/// What a request may bring besides its head, in octets.
const BODY_MAX_OCTETS: usize = 4096;
/// How long that may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// So long a wrong token delays the next one from the same address.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// The longest that it waits after many.
const WRONG_TOKEN_DELAY_MAX: Duration = Duration::from_secs(10);
/// Of how many addresses it is known that they came with wrong tokens.
const WRONG_ADDRESSES_MAX: usize = 1024;
/// How often wrong tokens are told in the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What the operator decides about who may come in.
#[derive(Debug, Default)]
pub struct Access {
    /// What comers by TCP must know.
    pub token: Option<Secret<Vec<u8>>>,
    /// Names under which the page may be asked for, besides the address and `localhost`.
    pub hosts: Vec<String>,
}

/// Who may come in, as it is now; can be replaced while doors are open.
#[derive(Debug)]
pub struct Keys {
    now: Mutex<Arc<Known>>,
    wrong: Mutex<Wrong>,
}

#[derive(Debug)]
struct Known {
    access: Access,
    /// What browsers show instead of the token. It is gone with the process.
    cookie: Secret<Vec<u8>>,
}

/// Who came with a wrong token.
#[derive(Debug, Default)]
struct Wrong {
    /// Until when the next one of an address waits.
    waits: Vec<(IpAddr, Instant)>,
    /// When it was told last, and how many came since.
    told: Option<Instant>,
    untold: u64,
}

impl Keys {
    /// These, from now on. It fails where the system has no randomness for the cookie.
    pub fn new(access: Access) -> Result<Self, getrandom::Error> {
        let known = Arc::new(Known { access, cookie: random()? });
        Ok(Self { now: Mutex::new(known), wrong: Mutex::default() })
    }

    /// Others, from now on. With another token browsers have to log in again.
    pub fn replace(&self, access: Access) -> Result<(), getrandom::Error> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let token = |access: &Access| access.token.as_ref().map(|token| token.expose().clone());
        let cookie = match token(&now.access) == token(&access) {
            true => Secret::new(now.cookie.expose().clone()),
            false => random()?,
        };
        *now = Arc::new(Known { access, cookie });
        Ok(())
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this is the token. After a wrong one from the same address it takes its time.
    async fn is_token(&self, said: &[u8], from: IpAddr) -> bool {
        let wait = self.wrong().wait(from, Instant::now());
        if let Some(until) = wait {
            sleep_until(until).await;
        }
        let known = self.known();
        let is_right =
            known.access.token.as_ref().is_some_and(|token| bool::from(token.expose().ct_eq(said)));
        if !is_right {
            let mut wrong = self.wrong();
            wrong.came(from, Instant::now());
            if let Some(times) = wrong.untold(Instant::now()) {
                warn!(address = %from, times, "somebody came to the admin address with a wrong token");
            }
        }
        is_right
    }

    fn wrong(&self) -> std::sync::MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wrong {
    fn wait(&self, from: IpAddr, now: Instant) -> Option<Instant> {
        let (_, until) = self.waits.iter().find(|(address, _)| *address == net(from))?;
        (*until > now).then_some(*until)
    }

    fn came(&mut self, from: IpAddr, now: Instant) {
        self.waits.retain(|(_, until)| *until > now);
        let from = net(from);
        match self.waits.iter_mut().find(|(address, _)| *address == from) {
            Some((_, until)) => *until = (*until + WRONG_TOKEN_DELAY).min(now + WRONG_TOKEN_DELAY_MAX),
            None => {
                if self.waits.len() == WRONG_ADDRESSES_MAX {
                    self.waits.remove(0);
                }
                self.waits.push((from, now + WRONG_TOKEN_DELAY));
            }
        }
        self.untold += 1;
    }

    /// How many are to be told now.
    fn untold(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The address, or the net where one host has many: a /64 of IPv6.
fn net(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

fn random() -> Result<Secret<Vec<u8>>, getrandom::Error> {
    let mut octets = [0; 24];
    getrandom::fill(&mut octets)?;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Secret::new(hex.into_bytes()))
}

/// How somebody came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// By a unix socket: the system has looked who it is.
    Unix,
    /// By TCP, from one address to another.
    Tcp { from: SocketAddr, to: SocketAddr },
}

/// One way in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) way: Way,
    pub(crate) keys: Arc<Keys>,
    pub(crate) router: Router,
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
        let mut answer = match self.refused(&head.method, &head.uri, &head.headers) {
            Some(refusal) => refusal,
            None => match timeout(BODY_PATIENCE, Limited::new(body, BODY_MAX_OCTETS).collect()).await {
                Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "that took too long\n"),
                Ok(Err(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE, "that is too much\n"),
                Ok(Ok(body)) => {
                    let body = body.to_bytes();
                    match self.asked_for_token(&head.method, &head.uri, &head.headers, &body).await {
                        Some(answer) => answer,
                        None => {
                            let request = Request::from_parts(head, Body::from(body));
                            match TowerToHyperService::new(self.router.clone()).call(request).await {
                                Ok(answer) => answer,
                                Err(never) => match never {},
                            }
                        }
                    }
                }
            },
        };
        guard(answer.headers_mut());
        answer
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
        if !matches!(*method, Method::GET | Method::HEAD)
            && let Some(origin) = headers.get(header::ORIGIN)
        {
            let origin = origin.to_str().unwrap_or_default();
            let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_same = from.is_some_and(|from| from.eq_ignore_ascii_case(host));
            // A page without a referrer sends a form with no origin.
            let may_be = origin == "null" && site == Some(b"same-origin");
            if !is_same && !may_be {
                return Some(plain(StatusCode::FORBIDDEN, "this comes from another page\n"));
            }
        }
        let visits = *method == Method::GET
            && uri.path() == "/"
            && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        match site {
            Some(b"cross-site" | b"same-site") if !visits => {
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
            || self.keys.known().access.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
            || match self.way {
                Way::Unix => false,
                Way::Tcp { to, .. } => {
                    address == Some(to.ip()) && (host == to.to_string() || to.port() == 80 && host == name)
                }
            }
    }

    /// Who comes by TCP without the token gets this instead of an answer.
    async fn asked_for_token(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Response<Body>> {
        let Way::Tcp { from, to } = self.way else { return None };
        let cookie = format!("restante-{}", to.port());
        let known = self.keys.known();
        let (is_get, path) = (*method == Method::GET, uri.path());
        let form = match (path, is_get, *method == Method::POST) {
            ("/", true, _) => uri.query().and_then(|query| field(query.as_bytes(), "token")),
            ("/login", _, true) => Some(field(body, "token").unwrap_or_default()),
            _ => None,
        };
        if let Some(token) = form {
            if !self.keys.is_token(&token, from.ip()).await {
                return Some(login(Some("This is not the token.")));
            }
            let value = String::from_utf8_lossy(known.cookie.expose()).into_owned();
            let cookie = format!("{cookie}={value}; Path=/; HttpOnly; SameSite=Strict");
            let mut answer = empty(StatusCode::SEE_OTHER);
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
            if let Ok(mut value) = HeaderValue::from_str(&cookie) {
                value.set_sensitive(true);
                answer.headers_mut().insert(header::SET_COOKIE, value);
            }
            return Some(answer);
        }
        if let Some(said) = headers.get(header::AUTHORIZATION) {
            let said = said.as_bytes();
            let is_bearer = said.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
            let token = said.get(7..).filter(|_| is_bearer).unwrap_or_default().trim_ascii();
            if self.keys.is_token(token, from.ip()).await {
                return None;
            }
        } else if cookies(headers)
            .any(|(name, value)| name == cookie.as_bytes() && bool::from(known.cookie.expose().ct_eq(value)))
        {
            return None;
        }
        Some(match is_get && path == "/" {
            true => login(None),
            false => {
                let mut answer = plain(StatusCode::UNAUTHORIZED, "the token is needed\n");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                answer
            }
        })
    }
}

/// The cookies of a request.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let all = headers.get_all(header::COOKIE).into_iter();
    all.flat_map(|line| line.as_bytes().split(|c| *c == b';')).filter_map(|cookie| {
        let at = cookie.iter().position(|c| *c == b'=')?;
        let (name, value) = cookie.split_at(at);
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// A field of a form (application/x-www-form-urlencoded).
fn field(form: &[u8], name: &str) -> Option<Vec<u8>> {
    form.split(|c| *c == b'&').find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let (mut value, mut plain) = (value.iter(), Vec::new());
        while let Some(c) = value.next() {
            plain.push(match c {
                b'+' => b' ',
                b'%' => {
                    let mut digit = || char::from(*value.next()?).to_digit(16);
                    let (high, low) = (digit()?, digit()?);
                    (high << 4 | low) as u8
                }
                c => *c,
            });
        }
        Some(plain)
    })
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

/// The page that asks for the token, and shows nothing.
fn login(told: Option<&'static str>) -> Response<Body> {
    let told = told
        .unwrap_or("The server's token opens this page: it is in the file that [admin] token_file names.");
    let mut answer = Response::new(Body::from(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>Restante</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:28rem;margin:15vh auto;padding:0 1rem}}\
         input,button{{font:inherit;padding:.4rem .6rem}}input{{width:100%;box-sizing:border-box;margin:.3rem 0 1rem}}</style>\
         <h1>Restante</h1><p>{told}</p><form method=post action=/login><label>Token\
         <input type=password name=token autocomplete=current-password required autofocus></label>\
         <button>Open</button></form></html>\n"
    )));
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Else its form would be sent without an origin.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
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
