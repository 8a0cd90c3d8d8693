//! Asking an authorization server: JSON over HTTPS, bounded in time and length, without redirects.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde_json::Value;

use super::{LookupError, OauthError, broken};
use crate::directory::trust::authorities;

/// The longest answer, in octets.
const BODY_MAX_OCTETS: usize = 1 << 20;

/// How long a connection is kept that nobody uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Http {
    client: RwLock<Client>,
}

/// A client that trusts the certificates of this file, or the system's. Blocking.
pub(super) fn client(ca_file: Option<&Path>, timeout: Duration) -> Result<Client, OauthError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities(ca_file).map_err(OauthError::Trust)?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut tls = tls.map_err(|_| OauthError::Https)?.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .timeout(timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(4)
        .user_agent("restante")
        .build()
        .map_err(|_| OauthError::Https)
}

impl Http {
    pub(super) const fn new(client: Client) -> Self {
        Self { client: RwLock::new(client) }
    }

    /// From now on it is asked by this one.
    pub(super) fn replace(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for an object.
    pub(super) async fn get(&self, url: &str) -> Result<Value, LookupError> {
        self.send(url, self.client().get(url)).await
    }

    /// Sends a form as somebody (RFC 6749 §2.3.1), and takes an object.
    pub(super) async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        (user, password): (&str, &str),
    ) -> Result<Value, LookupError> {
        let request = self.client().post(url).form(form);
        self.send(url, request.basic_auth(form_encoded(user), Some(form_encoded(password)))).await
    }

    async fn send(&self, url: &str, request: RequestBuilder) -> Result<Value, LookupError> {
        let fail = |why: String| broken(format!("asking {url}"), why);
        // The error names its kind alone: the request holds a token.
        let told = |error: reqwest::Error| fail(words(&error).to_owned());
        let request = request.header("accept", "application/json");
        let mut response = request.send().await.map_err(told)?;
        if response.status() != 200 {
            return Err(fail(format!("it answered {}", response.status().as_u16())));
        }
        let body = read(&mut response).await.map_err(told)?;
        let body = body.ok_or_else(|| fail(format!("it answered more than {BODY_MAX_OCTETS} octets")))?;
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        value.filter(Value::is_object).ok_or_else(|| fail("it answered no JSON object".into()))
    }
}

/// The body; `None` if it is too long.
async fn read(response: &mut Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > BODY_MAX_OCTETS {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

fn words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached, or its certificate is not trusted"
    } else {
        "the connection failed, or what it says is no HTTP"
    }
}

/// A name or a secret as HTTP's Basic authentication carries it (RFC 6749 §2.3.1).
fn form_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(octet.into()),
            octet => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// Whether nobody on the way can read what is sent there.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => url.host_str().is_some_and(|host| !host.is_empty()),
        "http" => loopback,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_for_loopback_alone() {
        for url in
            ["https://id.example.org", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost:8080"]
        {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://id.example.org",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "ftp://127.0.0.1",
            "id.example.org",
            "",
            "file:///etc/passwd",
        ] {
            assert!(!is_safe(url), "{url}");
        }
        assert_eq!(form_encoded("a b:c\u{e4}"), "a%20b%3Ac%C3%A4");
    }
}
