//! One connection from accept to close: what is spoken on it, its session, and what can end it from outside.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use getrandom::fill;
use restante_proto::{
    dialogue::TlsEvent,
    server::{Link, Session},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::server::TlsStream;

use crate::{
    ask::Asker,
    drive::{self, Driver, Stage},
    gate::Place,
    listen::Port,
    observe::Recording,
    outcome::{Outcome, SessionId, Why},
    proxy::Via,
    server::{Live, Shared},
    sessions::{Doing, Present},
    settings::Cleartext,
    tls::{self, Channel},
    wire::Wire,
};

/// How long what the client still sends is read after the last word.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that was let in.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) present: Present,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) alive: mpsc::Sender<()>,
    pub(crate) place: Place,
}

impl Connection {
    /// Serves it to its end.
    pub(crate) async fn run(self) {
        let Self { stream, present, shared, stage, alive, place } = self;
        let presence = Arc::clone(present.presence());
        let mut outcome = Outcome { present, watched_octets: 0, why: Why::Stopped };
        let recording = Recording::begin(&presence);
        let logged_in = Arc::new(AtomicBool::new(false));
        let login_by = sleep(presence.live.settings.limits.login);
        let asker = Asker {
            presence: Arc::clone(&presence),
            registry: Arc::clone(&shared.registry),
            login_delays: Arc::clone(&shared.login_delays),
            logged_in: Arc::clone(&logged_in),
            alive: alive.clone(),
            mechanism: "",
            exchange: None,
            channel: Channel::default(),
            account: None,
            open: None,
        };
        let mut ending = stage.clone();
        let mut wire = None;
        let too_late = async {
            login_by.await;
            if logged_in.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        // However it ends, what the session holds is dropped here, and then the socket is closed.
        outcome.why = tokio::select! {
            biased;
            why = presence.told_to_end() => why,
            _ = ending.wait_for(|stage| *stage == Stage::Ending) => Why::Stopped,
            () = too_late => Why::LoginTimeout,
            why = serve(stream, asker, stage, &mut outcome, &mut wire, &recording) => why,
        };
        recording.over(&outcome.why);
        let polite = outcome.why.is_polite();
        drop(outcome);
        if let Some(wire) = wire
            && polite
        {
            wire.linger(LINGER).await;
        }
        recording.end();
        drop((place, alive));
    }
}

async fn serve(
    stream: TcpStream,
    mut asker: Asker,
    stage: watch::Receiver<Stage>,
    outcome: &mut Outcome,
    slot: &mut Option<Wire>,
    recording: &Recording,
) -> Why {
    let presence = Arc::clone(&asker.presence);
    let live = Arc::clone(&presence.live);
    let cleartext = match live.settings.cleartext {
        Cleartext::Never => false,
        Cleartext::Loopback => is_here(presence.peer.ip(), presence.via),
        Cleartext::Always => true,
    };
    let mut link = Link { tls: None, cleartext };
    match presence.port {
        Port::Pop3 | Port::ProxiedPop3 => *slot = Some(Wire::plain(stream, recording.clone())),
        Port::Pop3s | Port::ProxiedPop3s => {
            presence.does(Doing::Handshake, presence.begun);
            match Box::pin(implicit_tls(stream, &live, recording)).await {
                Err(why) => return why,
                Ok(stream) => {
                    if let Some(config) = &live.tls {
                        let (facts, channel) = tls::settled(stream.get_ref().1, config);
                        presence.secured(facts.clone());
                        link.tls = Some(Box::new(facts));
                        asker.channel = channel;
                    }
                    *slot = Some(Wire::tls(stream, recording.clone()));
                }
            }
        }
    }
    let stamp = match live.settings.apop.then(|| stamp(&live.settings.hostname, presence.id)).transpose() {
        Ok(stamp) => stamp,
        Err(error) => return Why::Connection(format!("no randomness for APOP: {error}")),
    };
    let mut session = Session::new(live.policy(), link, stamp);
    session.set_login_delay(asker.login_delays.announced(live.settings.limits.login_delay));
    // Boxed: moved around, it would have its place in each future that it passes.
    let recording = recording.clone();
    let mut driver = Box::new(Driver::new(session, asker, outcome, stage, recording));
    driver.drive(slot).await
}

/// Whether what a client sends never leaves this machine. A proxy may come for anybody where it does not say for whom; and one
/// on another machine may say what it likes, but its connection is not of this one.
const fn is_here(client: IpAddr, via: Via) -> bool {
    match via {
        Via::Nobody => client.is_loopback(),
        Via::Proxy(proxy) => proxy.to_canonical().is_loopback() && client.is_loopback(),
        Via::Itself => false,
    }
}

/// TLS from the first octet.
async fn implicit_tls(
    stream: TcpStream,
    live: &Live,
    recording: &Recording,
) -> Result<TlsStream<TcpStream>, Why> {
    let Some(config) = &live.tls else {
        return Err(Why::Handshake("TLS is not configured".into()));
    };
    let by = Instant::now() + live.settings.limits.tls_handshake;
    match not_tls(&stream, by, recording).await {
        Some(why) => {
            if !matches!(why, Why::NothingSaid) {
                recording.tls(|| TlsEvent::Failed);
            }
            Err(why)
        }
        None => drive::handshake(&config.rustls, stream, by, recording).await,
    }
}

/// Looks at the first octets without taking them: a TLS handshake begins with 0x16 (RFC 8446 §5.1).
async fn not_tls(stream: &TcpStream, by: Instant, recording: &Recording) -> Option<Why> {
    let mut first = [0; 8];
    match timeout_at(by, stream.peek(&mut first)).await {
        Err(_) => {
            recording.timed_out();
            Some(Why::Handshake("the client sent nothing".into()))
        }
        Ok(Err(error)) => {
            recording.failed(&error);
            match error.kind() {
                io::ErrorKind::ConnectionReset => Some(Why::NothingSaid),
                _ => Some(Why::Connection(error.to_string())),
            }
        }
        Ok(Ok(0)) => {
            recording.heard(b"", false, false);
            Some(Why::NothingSaid)
        }
        Ok(Ok(_)) if first[0] == 0x16 => None,
        Ok(Ok(octets)) if is_http(&first[..octets]) => Some(Why::HttpOnTlsPort),
        Ok(Ok(_)) => Some(Why::ClearTextOnTlsPort),
    }
}

fn is_http(first: &[u8]) -> bool {
    [b"GET /".as_slice(), b"HEAD /", b"POST /", b"PUT /", b"OPTIONS ", b"CONNECT ", b"PRI * "]
        .iter()
        .any(|start| first.starts_with(start))
}

/// The time stamp of RFC 1939 §7: never the same twice; letters, digits and dots only.
fn stamp(hostname: &str, id: SessionId) -> Result<Box<str>, getrandom::Error> {
    let mut random = [0; 8];
    fill(&mut random)?;
    let host: String = hostname.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    Ok(format!("<{}.{}.{:x}@{host}>", id.number, id.server, u64::from_ne_bytes(random)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_proxy_elsewhere_makes_nobody_a_client_of_this_machine() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (here, elsewhere) = (address("127.0.0.1"), address("192.0.2.1"));
        assert!(is_here(here, Via::Nobody) && is_here(address("::1"), Via::Proxy(here)));
        assert!(is_here(here, Via::Proxy(address("::ffff:127.0.0.1"))));
        assert!(!is_here(elsewhere, Via::Nobody) && !is_here(elsewhere, Via::Proxy(here)));
        assert!(!is_here(here, Via::Proxy(elsewhere)));
        assert!(!is_here(here, Via::Itself));
    }

    #[test]
    fn the_task_of_a_connection_stays_small() {
        let size = octets(Connection::run) + size_of::<Driver<'_>>();
        assert!(size <= 4096, "{size} octets for each idle connection");
    }
}
