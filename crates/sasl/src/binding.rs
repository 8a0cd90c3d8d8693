//! Channel bindings (RFC 5056): what both ends of a TLS connection know of it, and nobody between them.

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
