//! One connection from accept to close: what is spoken on it, its session, and what can end it from outside.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use getrandom::fill;
use restante_proto::server::{Link, Session};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout_at},
};

use crate::{
    ask::Asker,
    drive::{self, Driver, Ended, Stage},
    gate::Place,
    listen::{self, Port},
    outcome::{Outcome, SessionId, Why},
    server::{Live, Shared},
    settings::Cleartext,
    tls,
    wire::Wire,
};

/// How long what the client still sends is read after the last word.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that was let in.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) port: Port,
    pub(crate) id: SessionId,
    pub(crate) live: Arc<Live>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) alive: mpsc::Sender<()>,
    pub(crate) place: Place,
}

impl Connection {
    /// Serves it to its end.
    pub(crate) async fn run(self) {
        let Self { stream, peer, port, id, live, shared, stage, alive, place } = self;
        let mut outcome = Outcome {
            session: id,
            port,
            peer,
            user: None,
            tls: None,
            retrieved: 0,
            tops: 0,
            deleted: 0,
            received_octets: 0,
            sent_octets: 0,
            begun: std::time::Instant::now(),
            why: Why::Stopped,
        };
        let kick = Arc::new(Notify::new());
        let asker = Asker {
            session: id,
            address: peer.ip(),
            limits: live.settings.limits.clone(),
            store: Arc::clone(&live.store),
            verifier: Arc::clone(&live.verifier),
            registry: Arc::clone(&shared.registry),
            kick: Arc::clone(&kick),
            alive: alive.clone(),
            user: None,
            deleted: 0,
            exchange: None,
            open: None,
        };
        let mut ending = stage.clone();
        let ended = tokio::select! {
            biased;
            () = kick.notified() => (Why::TakenOver, None),
            _ = ending.wait_for(|stage| *stage == Stage::Ending) => (Why::Stopped, None),
            ended = serve(stream, asker, &live, stage, port, &mut outcome) => ended,
        };
        outcome.why = ended.0;
        drop(outcome);
        if let Some(wire) = ended.1 {
            wire.linger(LINGER).await;
        }
        drop((place, alive));
    }
}

async fn serve(
    stream: TcpStream,
    asker: Asker,
    live: &Live,
    stage: watch::Receiver<Stage>,
    port: Port,
    outcome: &mut Outcome,
) -> Ended {
    let limits = live.settings.limits.clone();
    let login_by = Instant::now() + limits.login;
    if let Err(error) = listen::prepare(&stream) {
        return (Why::Connection(error.to_string()), None);
    }
    let cleartext = match live.settings.cleartext {
        Cleartext::Never => false,
        Cleartext::Loopback => asker.address.is_loopback(),
        Cleartext::Always => true,
    };
    let mut link = Link { tls: None, cleartext };
    let wire = match port {
        Port::Pop3 => Wire::Plain(stream),
        Port::Pop3s => {
            let Some(config) = &live.tls else {
                return (Why::Handshake("TLS is not configured".into()), None);
            };
            let by = Instant::now() + limits.tls_handshake;
            if let Some(why) = not_tls(&stream, by).await {
                return (why, None);
            }
            match drive::handshake(config, stream, limits.tls_handshake).await {
                Err(why) => return (why, None),
                Ok(stream) => {
                    let facts = tls::facts(stream.get_ref().1);
                    outcome.tls = Some(format!("{} {}", facts.version, facts.cipher));
                    link.tls = Some(Box::new(facts));
                    Wire::Tls(Box::new(stream))
                }
            }
        }
    };
    let stamp = match live.settings.apop.then(|| stamp(&live.settings.hostname, outcome.session)).transpose()
    {
        Ok(stamp) => stamp,
        Err(error) => return (Why::Connection(format!("no randomness for APOP: {error}")), None),
    };
    let session = Session::new(Arc::clone(&live.policy), link, stamp);
    Driver { session, asker, outcome, limits, tls: live.tls.clone(), stage, login_by }.drive(wire).await
}

/// Looks at the first octets without taking them: a TLS handshake begins with 0x16 (RFC 8446 §5.1).
async fn not_tls(stream: &TcpStream, by: Instant) -> Option<Why> {
    let mut first = [0; 8];
    match timeout_at(by, stream.peek(&mut first)).await {
        Err(_) => Some(Why::Handshake("the client sent nothing".into())),
        Ok(Err(error)) => Some(Why::Connection(error.to_string())),
        Ok(Ok(0)) => Some(Why::Handshake("the client went away".into())),
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
