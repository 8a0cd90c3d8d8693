//! HTTPS to authorization servers: bounded in time and length, without redirects, in clear text on loopback alone.

use std::{pin::Pin, time::Duration};

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use rustls::ClientConfig;

use crate::error::OauthError;

/// The longest answer, in octets.
const BODY_MAX_OCTETS: usize = 1 << 20;

/// How long an answer may take, if nobody says otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Asks authorization servers.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The URL would show secrets to whoever listens.
    #[error("{0} is no https: URL")]
    Unsafe(String),
    /// No connection, or one that broke.
    #[error("{0} {1}")]
    Failed(String, &'static str),
}

impl Http {
    /// Trusts whom this configuration trusts.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(tls: ClientConfig) -> Result<Self, OauthError> {
        Self::with_timeout(tls, TIMEOUT_DEFAULT)
    }

    /// The same with a time of one's own for each answer.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn with_timeout(mut tls: ClientConfig, timeout: Duration) -> Result<Self, OauthError> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .user_agent("restante")
            .build();
        let client = client.map_err(|_| OauthError::Setup("HTTPS cannot be set up".into()))?;
        Ok(Self { client })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.uri().to_string();
        // Its query is nobody's business.
        let shown = url.split('?').next().unwrap_or_default().to_owned();
        if !is_safe(&url) {
            return Err(HttpError::Unsafe(shown));
        }
        let fail = |why| HttpError::Failed(shown.clone(), why);
        // The library's error holds the request: of it goes out what kind it is.
        let told = |error: reqwest::Error| fail(words(&error));
        let request = reqwest::Request::try_from(request).map_err(told)?;
        let mut response = self.client.execute(request).await.map_err(told)?;
        let mut answer = oauth2::http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(told)? {
            if body.len() + piece.len() > BODY_MAX_OCTETS {
                return Err(fail("answered too much"));
            }
            body.extend_from_slice(&piece);
        }
        answer.body(body).map_err(|_| fail("answered what is no HTTP"))
    }

    /// Asks for JSON.
    pub(crate) async fn get(&self, url: &str) -> Result<serde_json::Value, OauthError> {
        let request = oauth2::http::Request::get(url).header("accept", "application/json").body(Vec::new());
        let request = request.map_err(|_| OauthError::Setup(format!("{url} is no URL")))?;
        let answer = self.send(request).await.map_err(|error| OauthError::Away(error.to_string()))?;
        let fail = |why: &str| OauthError::Away(format!("{url} {why}"));
        if answer.status() != 200 {
            return Err(fail(&format!("answered {}", answer.status().as_u16())));
        }
        serde_json::from_slice(answer.body()).map_err(|_| fail("answered no JSON"))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

fn words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "did not answer in time"
    } else if error.is_connect() {
        "cannot be reached, or its certificate is not trusted"
    } else {
        "broke off, or speaks no HTTP"
    }
}

/// Whether nobody on the way can read what is sent there: `https:`, or `http:` on this machine.
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    match url.scheme() {
        "https" => url.host_str().is_some_and(|host| !host.is_empty()),
        "http" => matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")),
        _ => false,
    }
}
