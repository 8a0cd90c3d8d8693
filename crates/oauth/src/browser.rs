//! Signing in by a browser on this machine (RFC 8252): the authorization code comes back to a port of loopback, and is
//! worth nothing without what was kept here (PKCE, RFC 7636).

use std::{net::Ipv4Addr, time::Duration};

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenUrl, basic::BasicClient,
};
use restante_proto::Secret;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    error::{OauthError, shown, told},
    http::Http,
    provider::{Client, Provider},
    tokens::{Tokens, now},
};

/// How long a person has.
const PERSON_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a connection may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest request, in octets.
const REQUEST_MAX_OCTETS: usize = 16 << 10;

/// How many answers to other questions may come before the right one: somebody else may try, and be in the way.
const STRANGERS_MAX: usize = 16;

/// How many connections are held at once; browsers open some for nothing.
const CONNECTIONS_MAX: usize = 16;

type Oauth = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A question that is open: the person's browser has to go to [`Browser::url`].
pub struct Browser {
    url: String,
    listener: TcpListener,
    oauth: Oauth,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    issuer: Option<String>,
    owner: String,
}

/// What came back.
struct Answer {
    state: String,
    issuer: Option<String>,
    outcome: Result<Secret<String>, String>,
}

impl Browser {
    /// Listens on loopback, and makes the question.
    ///
    /// # Errors
    /// If the server has no such way, or there is no port.
    pub async fn open(provider: &Provider, client: &Client, scope: &str) -> Result<Self, OauthError> {
        let Some(authorization) = &provider.authorization else {
            let text = format!("{} cannot be signed in with by a browser", provider.name);
            return Err(OauthError::Setup(text));
        };
        let no_port = |error| OauthError::Setup(format!("cannot listen on 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let port = listener.local_addr().map_err(no_port)?.port();
        let invalid = |_| OauthError::Setup("the authorization server's addresses are no URLs".into());
        let back = format!("http://{}:{port}/", provider.loopback);
        let mut oauth = BasicClient::new(ClientId::new(client.id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_redirect_uri(RedirectUrl::new(back).map_err(invalid)?)
            .set_auth_uri(AuthUrl::new(authorization.clone()).map_err(invalid)?)
            .set_token_uri(TokenUrl::new(provider.token.clone()).map_err(invalid)?);
        if let Some(secret) = &client.secret {
            oauth = oauth.set_client_secret(ClientSecret::new(secret.expose().clone()));
        }
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = scope.split_ascii_whitespace().map(|word| Scope::new(word.to_owned()));
        let mut question = oauth.authorize_url(CsrfToken::new_random).add_scopes(scopes);
        for (name, value) in &provider.parameters {
            question = question.add_extra_param(name.as_str(), value.as_str());
        }
        let (url, state) = question.set_pkce_challenge(challenge).url();
        Ok(Self {
            url: url.into(),
            listener,
            oauth,
            state,
            verifier,
            issuer: provider.issuer.clone(),
            owner: Tokens::owner(&provider.name, &client.id),
        })
    }

    /// Where the browser has to go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the browser to come back, and takes the tokens.
    ///
    /// # Errors
    /// If the person says no or nothing, the answer is somebody else's, or the server does not work.
    pub async fn finish(self, http: &Http) -> Result<Tokens, OauthError> {
        let answer = timeout(PERSON_MAX, listen(&self.listener, self.state.secret())).await;
        let answer = answer.map_err(|_| OauthError::TooLate)?;
        // RFC 9207: another server could have sent it.
        let other = match (&answer.issuer, &self.issuer) {
            (Some(named), Some(issuer)) => named != issuer,
            _ => false,
        };
        if other || answer.state != *self.state.secret() {
            return Err(OauthError::State);
        }
        let code = match answer.outcome {
            Ok(code) => code,
            Err(word) if word == "access_denied" => return Err(OauthError::Denied),
            Err(word) => return Err(OauthError::Refused(shown(&word))),
        };
        let asked = self
            .oauth
            .exchange_code(AuthorizationCode::new(code.expose().clone()))
            .set_pkce_verifier(self.verifier)
            .request_async(http)
            .await;
        Tokens::of(&asked.map_err(|error| told(error, false))?, &self.owner, now())
    }
}

/// The first answer to this question that comes; what else browsers ask for is not here. Others are turned away, but not
/// without end: then the last of them comes back.
async fn listen(listener: &TcpListener, state: &str) -> Answer {
    let mut open = JoinSet::new();
    let mut strangers = 0;
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((socket, _)) => drop(open.spawn(serve(socket, state.to_owned()))),
                // No descriptors left, usually.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(served) = open.join_next() => {
                if let Ok(Some(answer)) = served {
                    strangers += usize::from(answer.state != state);
                    if answer.state == state || strangers >= STRANGERS_MAX {
                        return answer;
                    }
                }
            }
        }
    }
}

/// Serves one connection; `None` if it brought no answer.
async fn serve(mut socket: TcpStream, state: String) -> Option<Answer> {
    let served = async {
        let target = read_target(&mut socket).await?;
        let answer = parse(&target);
        let (status, text) = match &answer {
            None => ("404 Not Found", "There is nothing here."),
            Some(answer) if answer.state != state => {
                ("400 Bad Request", "This is no answer to the question that was asked. Nothing was kept.")
            }
            Some(Answer { outcome: Ok(_), .. }) => {
                ("200 OK", "Thank you. You can close this window and go back to the terminal.")
            }
            Some(_) => {
                ("200 OK", "It was not allowed. You can close this window and go back to the terminal.")
            }
        };
        let page = format!("<!doctype html><meta charset=utf-8><title>Restante</title><p>{text}\n");
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n",
            page.len()
        );
        // A browser that went away has answered all the same.
        let said = async {
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(page.as_bytes()).await?;
            socket.shutdown().await
        };
        drop(said.await);
        answer
    };
    timeout(REQUEST_TIMEOUT, served).await.ok().flatten()
}

/// What is asked for, once the head of the request is here.
async fn read_target(socket: &mut TcpStream) -> Option<Secret<String>> {
    // All room at once. The code in it is worth nothing once it was used, nor without what is kept here.
    let mut octets = vec![0; REQUEST_MAX_OCTETS];
    let mut length = 0;
    loop {
        let some = socket.read(octets.get_mut(length..)?).await.ok()?;
        length += some;
        let said = octets.get(..length)?;
        if said.windows(4).any(|four| four == b"\r\n\r\n") {
            let line = said.split(|octet| *octet == b'\r').next()?;
            let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
            return Some(Secret::new(target.to_owned()));
        }
        if some == 0 {
            return None;
        }
    }
}

/// What an address that the browser was sent back to says (RFC 6749 §4.1.2).
fn parse(target: &Secret<String>) -> Option<Answer> {
    let url = reqwest::Url::parse(&format!("http://localhost{}", target.expose())).ok()?;
    let part =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if url.path() != "/" {
        return None;
    }
    let outcome = match (part("code"), part("error")) {
        (_, Some(error)) => Err(error),
        (Some(code), None) => Ok(Secret::new(code)),
        (None, None) => return None,
    };
    Some(Answer { state: part("state").unwrap_or_default(), issuer: part("iss"), outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_are_answers() {
        let parse = |target: &str| parse(&Secret::new(target.to_owned()));
        let answer = parse("/?code=a%2Fb&state=s&iss=https%3A%2F%2Fx").unwrap();
        assert_eq!((answer.state.as_str(), answer.issuer.as_deref()), ("s", Some("https://x")));
        assert_eq!(answer.outcome.unwrap().expose(), "a/b");
        assert_eq!(
            parse("/?error=access_denied&state=s&code=x").unwrap().outcome.unwrap_err(),
            "access_denied"
        );
        for nothing in ["/", "/favicon.ico?code=x", "/?state=s", "", "//?"] {
            assert!(parse(nothing).is_none(), "{nothing}");
        }
    }
}
