//! The checks of a door before the login: can it be reached, how does it greet, what about TLS. A door is a port that
//! speaks TLS from the first byte, or clear text with STLS.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use restante_client::{
    Capability, Security,
    tls::{Identity, ReasonKind, TlsInfo, Version},
};
use rustls::ClientConfig;
use tokio::{net::lookup_host, time::timeout};

use super::{
    certificate::{self, Known, any_version, certificate},
    check::{Finding, Report, Verdict, time},
    raw::{Trouble, Wire, is_err, is_ok},
};
use crate::failure::Failure;

/// How many addresses of a host are tried.
const ADDRESSES_MAX: usize = 8;

/// A greeting that takes longer is told.
const GREETING_SLOW: Duration = Duration::from_secs(2);

/// A user whom no server has.
const NOBODY: &str = "restante-doctor-asks-for-nobody";

/// A port of the server.
pub(super) struct Door<'d> {
    pub(super) host: &'d str,
    pub(super) port: u16,
    pub(super) security: Security,
    /// Whether the user asked for it; the other ones may be closed.
    pub(super) asked_for: bool,
    /// TLS with the trust of the options; none where the URL does without.
    pub(super) trust: Option<Arc<ClientConfig>>,
    /// With what to identify, where the server asks for it.
    pub(super) identity: Option<&'d Identity>,
    pub(super) wait: Duration,
}

/// Why a password may not be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    NoConnection,
    NoGreeting,
    NoTls,
    NotTrusted,
}

impl Door<'_> {
    /// Makes the checks; `Ok` if a password may be sent here.
    pub(super) async fn examine(&self, report: &mut Report) -> Result<Result<(), Closed>, Failure> {
        let Some(address) = self.reach(report).await? else { return Ok(Err(Closed::NoConnection)) };
        match self.security {
            Security::Implicit => self.implicit(address, report).await,
            Security::Stls | Security::None => self.clear(address, report).await,
        }
    }

    /// Addresses, and how long each takes to connect.
    async fn reach(&self, report: &mut Report) -> Result<Option<SocketAddr>, Failure> {
        const ADVICE: &str = "look at the host's name, its firewall, and whether the server listens there";
        let begun = Instant::now();
        let failed = |words: String| match self.asked_for {
            true => Finding::fail(words, ADVICE),
            false => Finding::note(words),
        };
        let found = match timeout(self.wait, lookup_host((self.host, self.port))).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                report.tell("connect", begun, &failed(format!("the host's name has no address: {error}")))?;
                return Ok(None);
            }
            Err(_) => {
                report.tell("connect", begun, &failed("the name server does not answer".into()))?;
                return Ok(None);
            }
        };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        found.for_each(|address| {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        });
        let (mut good, mut told, mut bad) = (None, Vec::new(), 0);
        for &address in addresses.iter().take(ADDRESSES_MAX) {
            let begun = Instant::now();
            match Wire::connect(address, self.wait).await {
                Ok(_) => {
                    told.push(format!("{} in {}", address.ip(), time(begun.elapsed())));
                    good = good.or(Some(address));
                }
                Err(trouble) => {
                    told.push(format!("{}: {trouble}", address.ip()));
                    bad += 1;
                }
            }
        }
        let words = told.join(", ");
        let finding = match (good, bad) {
            (Some(_), 0) => Finding::ok(words),
            (Some(_), _) => Finding::warning(
                words,
                "clients lose time on addresses that do not answer: mend them, or take them out of the DNS",
            ),
            (None, _) => failed(words),
        };
        report.tell("connect", begun, &finding)?;
        Ok(good)
    }

    /// TLS from the first byte.
    async fn implicit(
        &self,
        address: SocketAddr,
        report: &mut Report,
    ) -> Result<Result<(), Closed>, Failure> {
        let begun = Instant::now();
        let (opened, trusted) = self.trusted(address).await?;
        let (mut wire, info) = match opened {
            Ok((wire, info, took)) => {
                report.tell("tls", begun, &handshake(&info, took, trusted.as_ref()))?;
                (wire, info)
            }
            Err(trouble) => {
                report.tell("tls", begun, &no_tls(&trouble))?;
                return Ok(Err(Closed::NoTls));
            }
        };
        self.versions(address, report).await?;
        let begun = Instant::now();
        report.tell("certificate", begun, &self.certificate(&info, trusted.is_none()))?;
        if !greeting(&mut wire, report).await? {
            return Ok(Err(Closed::NoGreeting));
        }
        let begun = Instant::now();
        report.tell("capa", begun, &capa(&wire.capabilities().await, "within TLS"))?;
        wire.quit().await;
        Ok(if trusted.is_some() { Err(Closed::NotTrusted) } else { Ok(()) })
    }

    /// Clear text, and what STLS makes of it.
    async fn clear(&self, address: SocketAddr, report: &mut Report) -> Result<Result<(), Closed>, Failure> {
        let begun = Instant::now();
        let mut wire = match Wire::connect(address, self.wait).await {
            Ok(wire) => wire,
            Err(trouble) => {
                report.tell("greeting", begun, &Finding::fail(trouble.to_string(), "try again"))?;
                return Ok(Err(Closed::NoConnection));
            }
        };
        if !greeting(&mut wire, report).await? {
            return Ok(Err(Closed::NoGreeting));
        }
        let begun = Instant::now();
        let said = wire.capabilities().await;
        report.tell("capa", begun, &capa(&said, "before TLS"))?;
        let known = matches!(said, Ok(Some(_)));
        let lines = said.as_ref().ok().cloned().flatten().unwrap_or_default();
        let passwords = match said {
            Ok(list) => self.clear_passwords(&mut wire, address, list.as_deref()).await,
            Err(trouble) => Finding::note(format!("not known: {trouble}")),
        };
        report.tell("clear-password", begun, &passwords)?;
        wire.quit().await;
        let needed = self.asked_for && self.security != Security::None;
        let worst = if needed { Verdict::Fail } else { Verdict::Warning };
        let offered = lines.iter().any(|line| Capability::parse(line) == Capability::Stls);
        let begun = Instant::now();
        let (opened, trusted) = self.trusted(address).await?;
        let (mut wire, info) = match opened {
            Ok((wire, info, took)) => {
                let mut finding = handshake(&info, took, trusted.as_ref());
                if known && !offered {
                    finding = finding.and(Finding::warning(
                        "not among the capabilities",
                        "offer STLS in CAPA: clients look there",
                    ));
                }
                report.tell("stls", begun, &finding.at_worst(worst))?;
                (wire, info)
            }
            Err(Trouble::Refused(text)) => {
                let words = match offered {
                    true => format!("offered, and then the server says «{text}»"),
                    false => format!("not offered; the server says «{text}»"),
                };
                let finding = Finding::fail(words, "give this port a certificate, or close it and use 995");
                report.tell("stls", begun, &finding.at_worst(worst))?;
                return Ok(if self.security == Security::None { Ok(()) } else { Err(Closed::NoTls) });
            }
            Err(trouble) => {
                report.tell("stls", begun, &no_tls(&trouble).at_worst(worst))?;
                return Ok(if self.security == Security::None { Ok(()) } else { Err(Closed::NoTls) });
            }
        };
        self.versions(address, report).await?;
        let begun = Instant::now();
        report.tell("certificate", begun, &self.certificate(&info, trusted.is_none()).at_worst(worst))?;
        let begun = Instant::now();
        let said = wire.capabilities().await;
        report.tell("capa-within", begun, &within(&said, &lines))?;
        wire.quit().await;
        let begun = Instant::now();
        report.tell("stls-injection", begun, &self.injection(address).await?)?;
        Ok(match trusted {
            Some(_) if self.security != Security::None => Err(Closed::NotTrusted),
            _ => Ok(()),
        })
    }

    /// TLS with the trust of the options. Where that fails for the certificate alone, TLS with whoever answers, and why.
    async fn trusted(
        &self,
        address: SocketAddr,
    ) -> Result<(Result<Opened, Trouble>, Option<Trouble>), Failure> {
        let anybody = any_version(self.identity)?;
        let Some(trust) = &self.trust else { return Ok((self.open(address, anybody).await, None)) };
        match self.open(address, Arc::clone(trust)).await {
            Err(Trouble::Tls(reason)) if reason.kind() == ReasonKind::Mistrust => {
                Ok((self.open(address, anybody).await, Some(Trouble::Tls(reason))))
            }
            opened => Ok((opened, None)),
        }
    }

    /// A new connection up to its TLS.
    async fn open(&self, address: SocketAddr, config: Arc<ClientConfig>) -> Result<Opened, Trouble> {
        let mut wire = Wire::connect(address, self.wait).await?;
        if self.security != Security::Implicit {
            wire.line().await?;
            let answer = wire.ask("STLS").await?;
            if !is_ok(&answer) {
                return Err(Trouble::Refused(answer));
            }
            if wire.unread() > 0 {
                return Err(Trouble::Injected);
            }
        }
        let begun = Instant::now();
        let (wire, info) = wire.secure(config, self.host).await?;
        Ok((wire, info, begun.elapsed()))
    }

    async fn versions(&self, address: SocketAddr, report: &mut Report) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut taken = Vec::new();
        for (name, version) in [("1.2", Version::Tls12), ("1.3", Version::Tls13)] {
            if let Ok((wire, ..)) = self.open(address, certificate::only(version, self.identity)?).await {
                taken.push(name);
                drop(wire);
            }
        }
        let finding = match taken[..] {
            ["1.2", "1.3"] => Finding::ok("1.2 and 1.3; older ones are not tried"),
            ["1.3"] => Finding::note("1.3, and not 1.2: old clients stay outside; older ones are not tried"),
            ["1.2"] => Finding::warning(
                "1.2, and not 1.3; older ones are not tried",
                "bring the server's TLS library up to date",
            ),
            _ => Finding::fail("neither 1.2 nor 1.3 by itself", "bring the server's TLS library up to date"),
        };
        report.tell("tls-versions", begun, &finding)
    }

    fn certificate(&self, info: &TlsInfo, trusted: bool) -> Finding {
        certificate(info, self.host, if trusted && self.trust.is_some() { Known::Yes } else { Known::No })
    }

    /// Whether a client that does without TLS could send its password, which others can read. Where USER is not offered, it
    /// is tried with a name that nobody has; no PASS follows.
    async fn clear_passwords(
        &self,
        wire: &mut Wire,
        address: SocketAddr,
        capabilities: Option<&[String]>,
    ) -> Finding {
        let mut ways = Vec::new();
        for line in capabilities.unwrap_or_default() {
            match Capability::parse(line) {
                Capability::User => ways.push("USER".to_owned()),
                Capability::Sasl(mechanisms) => ways
                    .extend(mechanisms.into_iter().filter(|name| matches!(name.as_str(), "PLAIN" | "LOGIN"))),
                _ => {}
            }
        }
        let words = match ways.is_empty() {
            false => format!("{} offered without TLS", ways.join(", ")),
            true => match (wire.ask(&format!("USER {NOBODY}")).await, capabilities) {
                (Ok(answer), Some(_)) if is_ok(&answer) => {
                    "USER is taken without TLS, though not offered".into()
                }
                (Ok(answer), None) if is_ok(&answer) => "USER is taken without TLS".into(),
                (Ok(answer), Some(_)) if is_err(&answer) => {
                    return Finding::ok("no password is asked for without TLS");
                }
                // The name may be the reason, or TLS.
                (Ok(answer), _) => {
                    return Finding::note(format!("not known: USER without TLS is answered with «{answer}»"));
                }
                (Err(trouble), _) => return Finding::note(format!("not known: USER without TLS: {trouble}")),
            },
        };
        match address.ip().to_canonical().is_loopback() {
            true => Finding::note(format!("{words}, on this machine")),
            false => {
                Finding::warning(words, "let the server take passwords within TLS only: others can read them")
            }
        }
    }

    /// Whether a command that is said in clear behind STLS is obeyed within TLS, where nobody can see who said it
    /// (CVE-2011-0411 and its like).
    async fn injection(&self, address: SocketAddr) -> Result<Finding, Failure> {
        let config = any_version(self.identity)?;
        let words = match self.injected(address, Arc::clone(&config)).await {
            Ok(true) => return Ok(Finding::ok("what is said in clear behind STLS is dropped")),
            Ok(false) => {
                return Ok(Finding::fail(
                    "a command that is said in clear behind STLS is obeyed within TLS",
                    "bring the server up to date: anybody on the way can put commands into a session",
                ));
            }
            // Whoever takes it for TLS breaks the handshake off, which is as good.
            Err(Trouble::Tls(_)) => "what is said in clear behind STLS breaks the handshake",
            Err(Trouble::Ended | Trouble::Broken(_)) => {
                "what is said in clear behind STLS ends the connection"
            }
            Err(trouble) => return Ok(Finding::note(format!("could not be tried: {trouble}"))),
        };
        // If it is not that which broke it, the same breaks without.
        let without = async { self.open(address, config).await?.0.ask("QUIT").await };
        Ok(match without.await {
            Ok(_) => Finding::ok(words),
            Err(trouble) => Finding::note(format!("could not be tried: {trouble}")),
        })
    }

    /// Says a command in clear behind STLS; whether it was not obeyed.
    async fn injected(&self, address: SocketAddr, config: Arc<ClientConfig>) -> Result<bool, Trouble> {
        let mut wire = Wire::connect(address, self.wait).await?;
        wire.line().await?;
        wire.say(b"STLS\r\nNOOP\r\n").await?;
        let answer = wire.line().await?;
        if !is_ok(&answer) {
            return Err(Trouble::Refused(answer));
        }
        let (mut wire, _) = wire.secure(config, self.host).await?;
        wire.say(b"QUIT\r\n").await?;
        wire.line().await?;
        // The goodbye was the answer to QUIT, or there is one more.
        Ok(wire.line_soon().await.is_none())
    }
}

/// A connection within TLS, what was settled, and how long the handshake took.
type Opened = (Wire, TlsInfo, Duration);

fn handshake(info: &TlsInfo, took: Duration, untrusted: Option<&Trouble>) -> Finding {
    let settled = [info.version.as_deref(), info.cipher.as_deref()];
    let settled: Vec<&str> = settled.into_iter().flatten().collect();
    let words = format!("{} in {}", settled.join(", "), time(took));
    match untrusted {
        None => Finding::ok(words),
        Some(why) => {
            Finding::fail(words, "no password is sent here: --ca-file trusts a certificate, --pin a key").and(
                Finding::note(match why {
                    Trouble::Tls(reason) => reason.to_string(),
                    other => other.to_string(),
                }),
            )
        }
    }
}

fn no_tls(trouble: &Trouble) -> Finding {
    let advice = match trouble {
        Trouble::Tls(reason) if reason.kind() == ReasonKind::ClearText => {
            "this port is not for TLS from the first byte: pop3:// is STLS"
        }
        Trouble::Injected => {
            "somebody on the way may put text into the connection; else the server is broken"
        }
        _ => "look at the server's log: its certificate, its key, its TLS library",
    };
    Finding::fail(trouble.to_string(), advice)
}

/// Reads the greeting; whether it is one.
async fn greeting(wire: &mut Wire, report: &mut Report) -> Result<bool, Failure> {
    let begun = Instant::now();
    let said = wire.line().await;
    let took = begun.elapsed();
    let finding = match &said {
        Ok(line) if is_ok(line) && wire.unread() > 0 => Finding::fail(
            format!("«{line}», and {} octets more that nobody asked for", wire.unread()),
            "one line is the greeting (RFC 1939 §3): what follows is taken for the answer to a command",
        ),
        Ok(line) if is_ok(line) && took > GREETING_SLOW => Finding::warning(
            format!("«{line}» after {}", time(took)),
            "clients give up: look for look-ups of the client's name, and for delays against spam",
        ),
        Ok(line) if is_ok(line) => Finding::ok(format!("«{line}» after {}", time(took))),
        Ok(line) if is_err(line) => {
            Finding::fail(format!("refused: «{line}»"), "the server says why; try again later")
        }
        Ok(line) => Finding::fail(format!("«{line}» is none"), "this port speaks another protocol than POP3"),
        Err(Trouble::Silent(wait)) => Finding::fail(
            format!("nothing was said in {}", time(*wait)),
            "if this port is for TLS from the first byte, the URL begins with pop3s://",
        ),
        Err(trouble) => Finding::fail(trouble.to_string(), "look at the server's log"),
    };
    let good = matches!(&said, Ok(line) if is_ok(line));
    report.tell("greeting", begun, &finding)?;
    Ok(good)
}

fn capa(said: &Result<Option<Vec<String>>, Trouble>, when: &str) -> Finding {
    match said {
        Ok(Some(lines)) if lines.is_empty() => Finding::note(format!("{when}: an empty list")),
        Ok(Some(lines)) => Finding::ok(format!("{when}: {}", lines.join(", "))),
        Ok(None) => Finding::note(format!("{when}: refused, so clients have to try what is there")),
        Err(trouble) => Finding::fail(format!("{when}: {trouble}"), "mend the server's CAPA (RFC 2449)"),
    }
}

/// CAPA within TLS: STLS has to be gone (RFC 2595 §4), and the server should be the same one.
fn within(said: &Result<Option<Vec<String>>, Trouble>, before: &[String]) -> Finding {
    let found = capa(said, "within TLS");
    let Ok(Some(lines)) = said else { return found };
    if lines.iter().any(|line| Capability::parse(line) == Capability::Stls) {
        return found
            .and(Finding::warning("STLS is offered again", "offer STLS in clear text only (RFC 2595 §4)"));
    }
    let gained = lines.iter().filter(|line| !before.contains(line)).cloned().collect::<Vec<_>>();
    match gained.is_empty() {
        true => Finding::ok("as before, without STLS"),
        false => Finding::ok(format!("more than before: {}", gained.join(", "))),
    }
}
