//! The options that name a server and log in to it, and the session that they open.

use std::{path::PathBuf, time::Duration};

use restante_client::{Client, Credentials, Options, Security, Timeouts, Url};

use crate::{accounts, duration, failure::Failure, password::PasswordArgs, trust::TrustArgs};

/// A server, who calls, and how.
#[derive(clap::Args)]
pub(crate) struct SessionArgs {
    // Not parsed by clap, which would repeat it, and a password that stands in it, in its error.
    /// The server
    url: String,

    #[command(flatten)]
    pub(crate) password: PasswordArgs,

    /// Logs in this way and no other: a SASL mechanism, USER or APOP
    #[arg(long, value_name = "NAME")]
    pub(crate) mechanism: Option<String>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    /// How long to wait for the server at each step: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,

    /// Writes the session to this file, with times and without secrets
    #[arg(long, value_name = "FILE")]
    pub(crate) transcript: Option<PathBuf>,
}

impl SessionArgs {
    pub(crate) fn url(&self) -> Result<Url, Failure> {
        Ok(Url::parse(&self.url)?)
    }

    /// How the connection is made and held.
    pub(crate) fn options(&self, url: &Url) -> Options {
        Options {
            timeouts: Timeouts { connect: self.timeout, handshake: self.timeout, answer: self.timeout },
            tls: self.trust.options(),
            // `?tls=none` is how a person asks for it.
            cleartext_passwords: url.security == Security::None,
            transcript: self.transcript.as_deref().map(accounts::transcript),
            ..Options::default()
        }
    }

    /// The user of the URL, and the password from where the options say.
    pub(crate) fn credentials(&self, url: &Url) -> Result<Credentials, Failure> {
        let Some(user) = url.user.as_deref() else {
            return Err(Failure::usage("the URL names no user").hint("name one: pop3s://user@host"));
        };
        if self.mechanism.as_deref().is_some_and(accounts::is_by_certificate) {
            return Ok(Credentials::certificate(user));
        }
        let password = self.password.read_known(&format!("Password of {user}"))?;
        Ok(Credentials::new(user, password.expose().clone()))
    }

    /// Logs in by the way that was asked for, else the strongest.
    pub(crate) async fn log_in(
        &self,
        client: &mut Client,
        credentials: &Credentials,
    ) -> Result<(), restante_client::Error> {
        match &self.mechanism {
            Some(way) => client.authenticate_with(way, credentials).await,
            None => client.authenticate(credentials).await,
        }
    }
}
