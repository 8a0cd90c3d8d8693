//! A certificate authority for one test, and the server's certificate for `localhost` that it signs. Every client
//! verifies it: the test's trust is in this authority alone. Made by the `openssl` program, which is one of the clients.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// What the certificates say; the system's own configuration of openssl has no part in it.
const CONFIGURATION: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = localhost
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

/// Writes `ca.pem`, `certificate.pem`, `key.pem`, and `stranger.pem`, an authority that signed nothing.
pub(crate) fn write(folder: &Path) {
    fs::write(folder.join("openssl.cnf"), CONFIGURATION).expect("the test's folder is ours");
    let authority = ["-extensions", "authority"];
    issue(folder, "ca.pem", "ca.key", "/CN=Restante interop", &authority);
    issue(folder, "stranger.pem", "stranger.key", "/CN=Somebody else", &authority);
    let signed = ["-extensions", "server", "-CA", "ca.pem", "-CAkey", "ca.key"];
    issue(folder, "certificate.pem", "key.pem", "/CN=localhost", &signed);
}

/// Writes `client.pem` and `client.key`: a certificate of this user, signed by the same authority.
pub(crate) fn write_client(folder: &Path, user: &str) {
    let signed = ["-extensions", "client", "-CA", "ca.pem", "-CAkey", "ca.key"];
    issue(folder, "client.pem", "client.key", &format!("/CN={user}"), &signed);
}

fn issue(folder: &Path, certificate: &str, key: &str, subject: &str, more: &[&str]) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-config", "openssl.cnf", "-days", "2", "-nodes", "-sha256"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-out", certificate, "-keyout", key, "-subj", subject])
        .args(more)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("openssl does not run ({error})\n  install it:  apt-get install openssl")
        });
    assert!(output.status.success(), "{certificate}: {}", String::from_utf8_lossy(&output.stderr));
}
