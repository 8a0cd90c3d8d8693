//! Channel bindings (RFC 5056): what both ends of a TLS connection know of it, and nobody between them.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What the TLS connection is known by.
///
/// ```
/// use restante_sasl::ChannelBindings;
/// let bindings = ChannelBindings { exporter: Some(vec![7; 32]), end_point: None };
/// assert_eq!(bindings.get("tls-exporter"), Some(&[7; 32][..]));
/// assert_eq!(bindings.preferred().map(|(name, _)| name), Some("tls-exporter"));
/// assert!(bindings.get("tls-unique").is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266), on TLS 1.3 only: with 1.2 it would need the extended master secret. 32 octets.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    pub end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// The data of the binding of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all().find(|(known, _)| *known == name).map(|(_, data)| data)
    }

    /// The binding that a client uses first.
    pub fn preferred(&self) -> Option<(&'static str, &[u8])> {
        self.all().next()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.end_point.is_none()
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let exporter = self.exporter.as_deref().map(|data| ("tls-exporter", data));
        exporter.into_iter().chain(self.end_point.as_deref().map(|data| ("tls-server-end-point", data)))
    }
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash, by the hash of its signature, where MD5 and SHA-1 give
/// way to SHA-256. Not defined for signatures without a hash of their own, such as Ed25519. The
/// certificate is DER.
///
/// ```
/// assert_eq!(restante_sasl::end_point(b"no certificate"), None);
/// ```
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    // RFC 3279, RFC 4055, RFC 5758; RSASSA-PSS names its hash in parameters, and is left out.
    match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}
