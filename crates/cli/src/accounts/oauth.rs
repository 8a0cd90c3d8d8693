//! How an account signs in with OAuth, as its keys say. The flows, and the keeping of tokens, are `restante-oauth`'s.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use restante_client::tls::{TlsOptions, Trust};
use restante_fetch::{SignedInFuture, TokenError, TokenFuture, TokenSource};
use restante_oauth::{Client, Http, OauthError, Place, Provider, Source, Store, Unsaved, is_safe};
use restante_proto::Secret;
use tokio::sync::OnceCell;

use super::AccountKeys;
use crate::{failure::Failure, password, terminal::harmless_line};

/// The mechanisms that log in by a token (RFC 7628, and what came before it).
const TOKEN_MECHANISMS: [&str; 2] = ["OAUTHBEARER", "XOAUTH2"];

/// How an account signs in.
#[derive(Clone, Debug)]
pub(crate) struct Oauth {
    /// A name that is known, or a URL.
    pub(crate) provider: String,
    /// What is asked for, if not what the provider's kind of mail needs.
    pub(crate) scope: Option<String>,
    account: String,
    client_id: String,
    client_secret: Option<password::Source>,
    place: Option<Place>,
    file: PathBuf,
    tls: TlsOptions,
    /// Of all runs of this process, each of which reads its secrets anew.
    unsaved: Unsaved,
}

impl Oauth {
    /// As the keys say; `None` where they say nothing of it.
    pub(super) fn configure(
        keys: &AccountKeys,
        account: &str,
        journal: &Path,
        tls: &TlsOptions,
    ) -> Result<Option<Self>, Failure> {
        let secrets = [&keys.client_secret_command, &keys.client_secret_env];
        let client_secret = super::one("client_secret", secrets, keys.client_secret_file.as_deref())?;
        let Some(provider) = &keys.oauth else {
            let stray = [
                ("client_id", keys.client_id.is_some()),
                ("client_secret_…", client_secret.is_some()),
                ("scope", keys.scope.is_some()),
                ("tokens", keys.tokens.is_some()),
            ];
            return match stray.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(Failure::usage(format!("{key} goes with oauth"))),
                None => Ok(None),
            };
        };
        if keys.password_command.is_some() || keys.password_env.is_some() || keys.password_file.is_some() {
            return Err(Failure::usage("a password and oauth do not go together"));
        }
        if keys.minimum.is_some() {
            return Err(Failure::usage("minimum is for passwords, and does not go with oauth"));
        }
        if let Some(mechanism) = &keys.mechanism
            && !TOKEN_MECHANISMS.iter().any(|name| name.eq_ignore_ascii_case(mechanism))
        {
            return Err(Failure::usage(format!(
                "mechanism: {mechanism} takes no token; with oauth there are {}",
                TOKEN_MECHANISMS.join(" and ")
            )));
        }
        let known = Provider::known(provider);
        if known.is_none() && !is_safe(provider) {
            let names: Vec<&str> = restante_oauth::PROVIDERS.iter().map(|known| known.name).collect();
            return Err(Failure::usage(format!(
                "oauth is {}, or the https: URL of an authorization server",
                names.join(", ")
            )));
        }
        let Some(client_id) = keys.client_id.clone().filter(|id| !id.is_empty()) else {
            let hint = known.map_or("register a client at the authorization server", |known| known.hint);
            return Err(Failure::usage(format!(
                "client_id is missing: no client is registered for everybody; {hint}"
            )));
        };
        let place = match keys.tokens.as_deref() {
            None => None,
            Some("keyring") => Some(Place::Keyring),
            Some("file") => Some(Place::File),
            Some(_) => return Err(Failure::usage("tokens is keyring or file")),
        };
        // Its certificates say nothing of the authorization server, which has those of the world, usually.
        let trust = match &tls.trust {
            Trust::File(file) => Trust::SystemAnd(file.clone()),
            _ => Trust::System,
        };
        Ok(Some(Self {
            provider: provider.clone(),
            scope: keys.scope.clone(),
            account: account.to_owned(),
            client_id,
            client_secret,
            place,
            file: journal.with_extension("tokens"),
            tls: TlsOptions { trust, ..TlsOptions::default() },
            unsaved: Unsaved::default(),
        }))
    }

    /// What we are called there.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let secret = self.client_secret.as_ref().map(password::Source::read).transpose()?;
        let secret = secret.map(|octets| {
            let text = std::str::from_utf8(octets.expose()).map(str::to_owned);
            text.map(Secret::new).map_err(|_| Failure::failed("the client's secret is no text"))
        });
        Ok(Client { id: self.client_id.clone(), secret: secret.transpose()? })
    }

    /// How it is asked.
    pub(crate) fn http(&self) -> Result<Http, Failure> {
        let mut tls = self.tls.client_config()?;
        tls.alpn_protocols.clear();
        Http::new(tls).map_err(|error| Failure::failed(error.to_string()))
    }

    /// Whether the configuration says that the tokens are in the keyring.
    pub(crate) fn wants_keyring(&self) -> bool {
        self.place == Some(Place::Keyring)
    }

    /// Where the tokens are.
    pub(crate) async fn store(&self, place: Option<Place>) -> Store {
        match place.or(self.place) {
            Some(place) => Store::new(place, &self.account, &self.file),
            None => Store::usual(&self.account, &self.file).await,
        }
    }

    /// For runs.
    pub(super) fn tokens(&self) -> Result<Arc<dyn TokenSource>, Failure> {
        Ok(Arc::new(Kept {
            oauth: self.clone(),
            client: self.client()?,
            http: self.http()?,
            source: OnceCell::new(),
        }))
    }
}

/// What to say where there is no token, and what to do about it.
pub(crate) fn told(account: &str, error: &OauthError) -> Failure {
    let failure = Failure::failed(harmless_line(&error.to_string()));
    match error {
        OauthError::SignIn(_) => failure.hint(format!("restante account login {account}")),
        _ => failure,
    }
}

/// Tokens that are kept, and replaced.
struct Kept {
    oauth: Oauth,
    client: Client,
    http: Http,
    source: OnceCell<Source>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("oauth", &self.oauth).finish_non_exhaustive()
    }
}

impl Kept {
    async fn source(&self) -> &Source {
        let make = || async {
            let store = self.oauth.store(None).await;
            Source::new(&self.oauth.provider, self.client.clone(), self.http.clone(), store)
                .with_unsaved(self.oauth.unsaved.clone())
        };
        self.source.get_or_init(make).await
    }
}

impl TokenSource for Kept {
    fn signed_in_at(&self) -> SignedInFuture<'_> {
        Box::pin(async { self.source().await.signed_in_at().await })
    }

    fn trouble(&self) -> Option<String> {
        self.source.get().and_then(Source::trouble)
    }

    fn token<'a>(&'a self, refused: Option<&'a Secret<Vec<u8>>>) -> TokenFuture<'a> {
        Box::pin(async move {
            let source = self.source().await;
            let refused =
                refused.map(|token| Secret::new(String::from_utf8_lossy(token.expose()).into_owned()));
            match source.access(refused.as_ref()).await {
                Ok(token) => Ok(Secret::new(token.expose().clone().into_bytes())),
                Err(error) => Err(TokenError {
                    text: match &error {
                        OauthError::SignIn(_) => {
                            format!("{error}: restante account login {}", self.oauth.account)
                        }
                        _ => harmless_line(&error.to_string()),
                    },
                    is_temporary: error.is_temporary(),
                }),
            }
        })
    }
}
