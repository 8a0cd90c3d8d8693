//! Of a server's TLS: which versions it takes, and what its certificate says.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use restante_client::tls::{Identity, TlsError, TlsInfo, TlsOptions, Trust, Version};
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry, prelude::FromDer as _,
    public_key::PublicKey,
};

use super::check::Finding;

/// A certificate that expires sooner should have been renewed, in days; a short-lived one in the last third of its time.
const RENEWED_BEFORE_DAYS: i64 = 14;

/// RSA keys that are shorter can be broken, in bits.
const RSA_MIN_BITS: usize = 2048;

/// How many of its names are told.
const NAMES_MAX: usize = 4;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// TLS of this version only, with whoever answers: what is learnt is not trusted, and no password goes over it. Servers that
/// ask for an identity get it.
pub(super) fn only(version: Version, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let options = TlsOptions { min_version: version, max_version: Some(version), ..TlsOptions::default() };
    anybody(options, identity)
}

/// TLS with whoever answers, likewise.
pub(super) fn any_version(identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    anybody(TlsOptions::default(), identity)
}

fn anybody(options: TlsOptions, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    TlsOptions { trust: Trust::Anybody, identity: identity.cloned(), ..options }.client_config().map(Arc::new)
}

/// Makes the first random number, which takes its time once in a process, and is not to be seen in a handshake.
pub(super) fn warm_up() {
    aws_lc_rs::default_provider().secure_random.fill(&mut [0; 32]).unwrap_or_default();
}

/// Whether the options say whom to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// They do, and it is this one.
    Yes,
    No,
}

/// What the server's certificate says; whether it is trusted is another check.
pub(super) fn certificate(tls: &TlsInfo, host: &str, known: Known) -> Finding {
    let Some(der) = tls.peer.first() else {
        return Finding::fail("the server sent no certificate", "give the server a certificate");
    };
    let Ok((_, parsed)) = X509Certificate::from_der(der.as_ref()) else {
        return Finding::fail("it cannot be read", "give the server a certificate of X.509 version 3");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    name(der, &parsed, host, known)
        .and(validity(&parsed, now))
        .and(signer(&parsed, tls, known))
        .and(key(&parsed))
}

fn name(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>, host: &str, known: Known) -> Finding {
    let matches = webpki::EndEntityCert::try_from(der)
        .ok()
        .zip(ServerName::try_from(host).ok())
        .is_some_and(|(certificate, name)| certificate.verify_is_valid_for_subject_name(&name).is_ok());
    if matches {
        return Finding::ok(format!("for {host}"));
    }
    let names: Vec<String> = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().filter_map(written).take(NAMES_MAX).collect())
        .unwrap_or_default();
    let names = if names.is_empty() { "no host at all".to_owned() } else { names.join(", ") };
    let words = format!("for {names}, and not for {host}");
    if known == Known::Yes {
        return Finding::note(words);
    }
    Finding::fail(words, "get a certificate with the name that clients use, or connect by a name that it has")
}

fn written(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets))
        {
            (Ok(v4), _) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            (_, Ok(v6)) => Some(std::net::Ipv6Addr::from(v6).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn validity(parsed: &X509Certificate<'_>, now: i64) -> Finding {
    let validity = parsed.validity();
    if validity.not_before.timestamp() > now {
        return Finding::fail("not valid yet", "look at the clocks of both machines");
    }
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    expiry(until.saturating_sub(now), until.saturating_sub(from))
}

/// What is left of a lifetime, both in seconds.
fn expiry(left: i64, lifetime: i64) -> Finding {
    const RENEW: &str = "renew it, and look why that did not happen by itself";
    let days_left = left / DAY_SECONDS;
    if left < 0 {
        return Finding::fail(format!("expired {} {} ago", -days_left, days(-days_left)), RENEW);
    }
    match left < (RENEWED_BEFORE_DAYS * DAY_SECONDS).min(lifetime / 3) {
        true => Finding::warning(format!("expires in {days_left} {}", days(days_left)), RENEW),
        false => Finding::ok(format!("valid for {days_left} more {}", days(days_left))),
    }
}

const fn days(days: i64) -> &'static str {
    if days == 1 { "day" } else { "days" }
}

fn signer(parsed: &X509Certificate<'_>, tls: &TlsInfo, known: Known) -> Finding {
    let pin = tls.pin().map(|pin| pin.to_string()).unwrap_or_default();
    if parsed.issuer() == parsed.subject() && known == Known::Yes {
        return Finding::note(format!("self-signed, with the key {pin}"));
    }
    if parsed.issuer() == parsed.subject() {
        return Finding::warning(
            format!("self-signed, with the key {pin}"),
            "clients have to be told: --pin with that key, or --ca-file with the certificate",
        );
    }
    let by = parsed
        .issuer()
        .iter_organization()
        .chain(parsed.issuer().iter_common_name())
        .filter_map(|name| name.as_str().ok())
        .next()
        .unwrap_or("somebody without a name");
    let chain = match tls.peer.len() {
        // An authority of one's own may sign without intermediates, so it is no fault.
        1 => "alone".to_owned(),
        many => format!("in a chain of {many}"),
    };
    Finding::ok(format!("signed by {by}, sent {chain}"))
}

fn key(parsed: &X509Certificate<'_>) -> Finding {
    let sha1 = parsed.signature_algorithm.algorithm == oid_registry::OID_PKCS1_SHA1WITHRSA;
    let found = match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => {
            let bits = key.modulus.iter().skip_while(|&&octet| octet == 0).count() * 8;
            match bits < RSA_MIN_BITS {
                true => Finding::warning(
                    format!("RSA of {bits} bits"),
                    "make a key of 2,048 bits or more, or P-256",
                ),
                false => Finding::ok(format!("RSA of {bits} bits")),
            }
        }
        Ok(PublicKey::EC(key)) => Finding::ok(format!("elliptic curve of {} bits", key.key_size())),
        _ if parsed.public_key().algorithm.algorithm == oid_registry::OID_SIG_ED25519 => {
            Finding::ok("Ed25519")
        }
        _ => Finding::ok("a key of another kind"),
    };
    match sha1 {
        true => {
            found.and(Finding::warning("signed with SHA-1", "get a certificate that is signed with SHA-256"))
        }
        false => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn what_should_have_been_renewed_is_told() {
        let verdict = |left: i64, lifetime: i64| expiry(left * DAY_SECONDS, lifetime * DAY_SECONDS).verdict;
        assert_eq!(verdict(80, 90), Verdict::Ok);
        assert_eq!(verdict(14, 90), Verdict::Ok);
        assert_eq!(verdict(13, 90), Verdict::Warning);
        assert_eq!(verdict(5, 6), Verdict::Ok, "short-lived certificates are renewed late");
        assert_eq!(verdict(1, 6), Verdict::Warning);
        assert_eq!(verdict(-1, 90), Verdict::Fail);
        assert_eq!(expiry(-1, 90).verdict, Verdict::Fail);
    }
}
