//! What a server would start with, and what somebody should know all the same: files that others can read, users whom
//! the Maildir's path leaves out, certificates that clients refuse.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use restante_auth::users::edit;
use rustls::{
    CertificateError, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use super::{
    Settings, Store, Tls,
    document::{Places, Problem},
};
use crate::directories;

/// How long before its end a certificate is warned of.
const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How many users of a kind are named.
const USERS_MAX: usize = 20;

/// What should be known about the files that the settings name, as this user sees them. Files that are not there, or
/// wrong, are told elsewhere.
pub(crate) fn warnings(settings: &Settings, places: &Places) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(Tls { certificate, key, .. }) = &settings.tls {
        found.extend(readable(key).map(|text| places.problem_of_value("tls.key", text)));
        let texts = certificate_texts(settings, certificate);
        found.extend(texts.into_iter().map(|text| places.problem_of_value("tls.certificate", text)));
    }
    let text = settings.users_file().and_then(readable);
    found.extend(text.map(|text| places.problem_of_value("auth.users", text)));
    if settings.users_file().is_none() && places.has("auth.users") {
        let text = "the users file is not asked; add \"users\" to directories, or remove the key";
        found.push(places.problem("auth.users", text));
    }
    found.extend(without_maildrop(settings, places));
    found.extend(directories::warning(settings, places));
    found.extend(super::admin::warnings(settings, places));
    found.extend(risks(settings, places));
    found
}

/// Those that a server tells in its log, too, when it starts or reads its configuration again.
pub(crate) fn risks(settings: &Settings, places: &Places) -> Vec<Problem> {
    let mut found = directories::cautions(settings, places);
    let vast = settings.listen.proxies.iter().filter(|network| network.is_vast());
    found.extend(vast.map(|network| {
        let text = format!(
            "whoever is in {network} may say for which client he comes: neither the limits of an address nor the addresses in the \
             log mean anything then; write the proxies' own addresses"
        );
        places.problem("listen.proxies", text)
    }));
    found
}

fn readable(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o004 != 0).then(|| format!("everybody on this machine can read {path}; `chmod o-r {path}`"))
}

/// Users who could never log in: the path needs a domain, and their name has none.
fn without_maildrop(settings: &Settings, places: &Places) -> Vec<Problem> {
    let (Store::Maildir(template), Some(path)) = (settings.store(), settings.users_file()) else {
        return Vec::new();
    };
    let Ok((users, _)) = edit::list(path) else { return Vec::new() };
    let file = path.display().to_string();
    let told = |name: &str, line: usize, more: &str| {
        Problem {
        elsewhere: Some((file.clone(), line)),
        ..places.problem(
            "auth.users",
            format!(
                "{name}{more} can never log in: store.maildir ({template}) needs {{domain}}, and the name has none; \
                 add the domain, or use {{user}} or {{local}} alone"
            ),
        )
    }
    };
    let mut left_out: Vec<_> = users
        .iter()
        .filter(|(name, ..)| template.path(name).is_none())
        .map(|(name, _, line)| (line, name.as_str()))
        .collect();
    left_out.sort_unstable();
    let others = left_out.len().saturating_sub(USERS_MAX);
    let named = left_out.iter().take(USERS_MAX).enumerate();
    named
        .map(|(at, (line, name))| match others {
            others if others > 0 && at + 1 == USERS_MAX => {
                told(name, *line, &format!(" (and {others} more below)"))
            }
            _ => told(name, *line, ""),
        })
        .collect()
}

/// What clients will not like about a certificate.
fn certificate_texts(settings: &Settings, path: &Path) -> Vec<String> {
    let first = CertificateDer::pem_file_iter(path).ok().and_then(|mut all| all.next()).and_then(Result::ok);
    let Some(first) = first else { return Vec::new() };
    let Ok(parsed) = ParsedCertificate::try_from(&first) else { return Vec::new() };
    let shown = path.display();
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + CERTIFICATE_ENDS_SOON);
    let validity = match (validity(&parsed, now), validity(&parsed, soon)) {
        (Validity::Over, _) => Some(format!("the certificate {shown} has expired")),
        (Validity::Future, _) => Some(format!("the certificate {shown} is not valid yet")),
        (Validity::Now, Validity::Over) => Some(format!("the certificate {shown} expires within 14 days")),
        _ => None,
    };
    // The machine's own name is often not the one that clients know; one that was written down is.
    let name = settings.hostname.as_ref().and_then(|hostname| {
        let name = ServerName::try_from(hostname.as_str()).ok()?;
        let wrong = verify_server_name(&parsed, &name).is_err();
        wrong.then(|| format!("the certificate {shown} is not for hostname, {hostname}"))
    });
    validity.into_iter().chain(name).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Now,
    Over,
    Future,
}

/// Whether a certificate's time is this one. Nobody is trusted, so that the check always fails; but of all that it
/// looks at the time comes first.
fn validity(parsed: &ParsedCertificate<'_>, time: UnixTime) -> Validity {
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(parsed, &RootCertStore::empty(), &[], time, algorithms) {
        Err(rustls::Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Validity::Over,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Validity::Future,
            _ => Validity::Now,
        },
        _ => Validity::Now,
    }
}
