//! TLS towards a destination: the system's roots, and those of a file beside them. What is said over it is elsewhere.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::SpecError;

/// TLS for a client that trusts the system, and the certificates of this file.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, SpecError> {
    let fail = |why: String| SpecError::Place(format!("TLS cannot be set up: {why}"));
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Single certificates of the system that cannot be read are no reason to trust none.
    roots.add_parsable_certificates(found.certs);
    if let Some(file) = ca_file {
        let fail = |why: String| fail(format!("{}: {why}", file.display()));
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fail(format!("{error} (PEM is expected: CERTIFICATE)")))?;
        if certificates.is_empty() {
            return Err(fail("holds no certificate".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(fail("the system has no certificates that it trusts; install ca-certificates".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
