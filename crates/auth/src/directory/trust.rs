//! Whose certificates are trusted where a directory is reached by TLS: those of one file, or the system's.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// The longest file of certificates that is read, in octets.
const FILE_MAX_OCTETS: u64 = 4 << 20;

/// Why nobody could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate is in the file, or a damaged one.
    #[error("{} holds no certificates in PEM", .0.display())]
    NoCertificates(PathBuf),
    /// The system trusts nobody, or does not tell.
    #[error("the system has no certificates to trust; install ca-certificates, or name a file")]
    NoSystem,
}

/// The certificates of `file`, or the system's. Blocking.
pub(super) fn authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let Some(path) = file else {
        let certificates = rustls_native_certs::load_native_certs().certs;
        return if certificates.is_empty() { Err(TrustError::NoSystem) } else { Ok(certificates) };
    };
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let open = std::fs::File::open(path).map_err(failed)?;
    io::Read::read_to_end(&mut io::Read::take(open, FILE_MAX_OCTETS), &mut text).map_err(failed)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TrustError::NoCertificates(path.to_owned()))
}
