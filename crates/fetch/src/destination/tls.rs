//! TLS towards a destination: whom to trust. What is said over it is elsewhere.

use std::{path::Path, sync::Arc};

use restante_client::tls::{TlsOptions, Trust};
use rustls::ClientConfig;

use super::SpecError;

/// TLS for a client that trusts the certificates of this file, or those of the system.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, SpecError> {
    let trust = ca_file.map_or(Trust::System, |file| Trust::File(file.to_owned()));
    let options = TlsOptions { trust, ..TlsOptions::default() };
    let mut config = options.client_config().map_err(|error| SpecError::Place(error.to_string()))?;
    // It is not POP3 that is spoken here.
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}
