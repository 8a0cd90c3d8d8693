//! A certificate authority for one test, and the server's certificate for `localhost` that it signs. Every client
//! verifies it: the test's trust is in this authority alone.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Writes `ca.pem`, `certificate.pem`, `key.pem`, and `stranger.pem`, an authority that signed nothing.
pub(crate) fn write(folder: &Path) {
    let (ca, issuer) = authority("Restante interop");
    let (stranger, _) = authority("Somebody else");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    for (name, text) in [
        ("ca.pem", ca),
        ("stranger.pem", stranger),
        ("certificate.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).expect("the test's folder is ours");
    }
}

/// An authority's certificate, and what signs with it.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}
