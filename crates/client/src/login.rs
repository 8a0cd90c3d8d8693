//! The login: which way is taken, and the exchange of octets for each.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use restante_proto::{Secret, client::Broken, command::Command, verb::Verb};
use restante_sasl::{ClientContext, Credentials, MECHANISMS, Mechanism};

use crate::{
    capabilities::Offer,
    client::Client,
    connection::{Step, answer},
    error::{Error, Refused, Waiting, printable},
};

/// The longest AUTH line with an initial response, in octets, its line end included (RFC 5034 §4).
const INITIAL_LINE_MAX_OCTETS: usize = 255;

/// A way to log in.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// AUTH with this mechanism.
    Sasl(&'static Mechanism),
    /// USER and PASS.
    User,
    /// APOP.
    Apop,
}

impl Client {
    /// Logs in by the strongest way that the server offers: AUTH with a mechanism, or USER and PASS. A password is never sent
    /// in clear over a connection that is not encrypted, unless the options allow it.
    ///
    /// Fails with [`Error::Refused`] where the server does not like it; [`crate::ResponseCode::Auth`] says that the
    /// credentials are to blame.
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let way = self.strongest();
        let entered = self.login(way, credentials).await;
        match &entered {
            // Some servers offer AUTH and do not have it. A wrong password is not tried twice.
            Err(Error::Refused(refused))
                if is_not_understood(refused)
                    && matches!(way, Way::Sasl(_))
                    && self.capabilities().user() == Offer::Yes =>
            {
                self.login(Way::User, credentials).await
            }
            _ => entered,
        }
    }

    /// Logs in this way, and no other: a SASL mechanism by its name, `USER`, or `APOP`, which has to be asked for since it
    /// rests on MD5.
    pub async fn authenticate_with(&mut self, way: &str, credentials: &Credentials) -> Result<(), Error> {
        let way = match way.to_ascii_uppercase().as_str() {
            "USER" => Way::User,
            "APOP" => Way::Apop,
            name => match restante_sasl::find(name) {
                None => return Err(Error::NotOffered(format!("{name}, which this client does not know"))),
                Some(mechanism) => {
                    let offered: Vec<&str> = self.capabilities().mechanisms().collect();
                    if self.capabilities().are_known() && !offered.contains(&mechanism.name) {
                        let mut text = format!("AUTH {}", mechanism.name);
                        if !offered.is_empty() {
                            text.push_str("; it offers ");
                            text.push_str(&printable(&offered.join(", ")));
                        }
                        return Err(Error::NotOffered(text));
                    }
                    Way::Sasl(mechanism)
                }
            },
        };
        self.login(way, credentials).await
    }

    /// The ways that [`Self::authenticate_with`] knows.
    pub fn ways_to_log_in() -> impl Iterator<Item = &'static str> {
        MECHANISMS.iter().map(|mechanism| mechanism.name).chain(["USER", "APOP"])
    }

    fn strongest(&self) -> Way {
        let offered =
            |mechanism: &&Mechanism| self.capabilities().mechanisms().any(|name| name == mechanism.name);
        let best = MECHANISMS.iter().find(offered);
        match (best, self.capabilities().user()) {
            (Some(mechanism), _) if mechanism.name != "LOGIN" => Way::Sasl(mechanism),
            // LOGIN is USER and PASS in other words, and asks for one more round trip.
            (Some(mechanism), Offer::No) => Way::Sasl(mechanism),
            // Some servers forget to say that they know USER.
            (_, Offer::Yes | Offer::Unknown) | (None, Offer::No) => Way::User,
        }
    }

    async fn login(&mut self, way: Way, credentials: &Credentials) -> Result<(), Error> {
        let cleartext = match way {
            Way::Sasl(mechanism) => mechanism.cleartext,
            Way::User => true,
            Way::Apop => false,
        };
        if cleartext && !self.may_show_passwords() {
            return Err(Error::Cleartext);
        }
        self.connection.begin()?;
        let done = match way {
            Way::Sasl(mechanism) => self.sasl(mechanism, credentials).await,
            Way::User => self.user_and_pass(credentials).await,
            Way::Apop => self.apop(credentials).await,
        };
        self.connection.finish(done.map_err(|error| conceal(error, credentials)))
    }

    async fn user_and_pass(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let (user, password) = (credentials.user.as_str(), credentials.password.expose());
        let name = !user.is_empty() && !user.bytes().any(|octet| octet <= b' ' || octet == 0x7f);
        if !name || password.is_empty() || password.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
            return Err(Error::Credentials("USER and PASS"));
        }
        let pass = Command::Pass(credentials.password.clone());
        self.connection.send(&Command::User(user)).await?;
        if self.pipelines() {
            // Both answers are taken before either counts, so that the session stays in step.
            self.connection.send(&pass).await?;
            let user = self.connection.reply(Waiting::Answer(Verb::User)).await?;
            let pass = self.connection.reply(Waiting::Answer(Verb::Pass)).await?;
            user?;
            pass?;
        } else {
            self.connection.reply(Waiting::Answer(Verb::User)).await??;
            self.connection.send(&pass).await?;
            self.connection.reply(Waiting::Answer(Verb::Pass)).await??;
        }
        Ok(())
    }

    async fn apop(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let user = credentials.user.as_str();
        if user.is_empty() || user.bytes().any(|octet| octet <= b' ' || octet == 0x7f) {
            return Err(Error::Credentials("APOP"));
        }
        let Some(stamp) = self.stamp() else {
            return Err(Error::NotOffered("APOP: its greeting has no time stamp".into()));
        };
        let digest = Md5::new().chain_update(stamp).chain_update(credentials.password.expose()).finalize();
        self.connection.send(&Command::Apop(user, digest.into())).await?;
        self.connection.reply(Waiting::Answer(Verb::Apop)).await??;
        Ok(())
    }

    async fn sasl(&mut self, mechanism: &Mechanism, credentials: &Credentials) -> Result<(), Error> {
        // No mechanism can carry these.
        if credentials.user.is_empty()
            || credentials.user.contains('\0')
            || credentials.password.expose().contains(&0)
        {
            return Err(Error::Credentials(mechanism.name));
        }
        let mut exchange = (mechanism.client)(credentials.clone(), &ClientContext::default());
        let initial = exchange.initial().map(|initial| encode(&initial));
        let fits = |initial: &Secret<String>| {
            "AUTH  \r\n".len() + mechanism.name.len() + initial.expose().len() <= INITIAL_LINE_MAX_OCTETS
        };
        // A longer one waits for the challenge, which is empty then; so does one for a server that has not announced SASL
        // (RFC 5034 §3).
        let announced = self.capabilities().are_known();
        let sent = initial.as_ref().filter(|initial| announced && fits(initial));
        let begun = Command::Auth(mechanism.name, sent.map(|initial| initial.expose().as_bytes()));
        self.connection.send(&begun).await?;
        let mut cancelled = false;
        loop {
            match self.connection.next(Waiting::Answer(Verb::Auth)).await? {
                Step::Challenge(challenge) => {
                    let response = exchange.respond(&challenge).ok();
                    cancelled |= response.is_none();
                    self.connection.respond(response.as_ref())?;
                }
                // Whatever it says: a server that challenges so is not the one that was meant.
                Step::Reply { .. } if cancelled => return Err(Error::Protocol(Broken::SenselessChallenge)),
                Step::Reply { asked, status } => {
                    answer(asked, status)?;
                    return Ok(());
                }
                _ => return Err(Error::Interrupted("answers are out of step")),
            }
        }
    }
}

/// Whether a server says that it does not know AUTH, rather than that the credentials are wrong.
fn is_not_understood(refused: &Refused) -> bool {
    const WORDS: [&str; 9] = [
        "unknown",
        "unrecogni",
        "not recogni",
        "unsupported",
        "not supported",
        "implement",
        "syntax",
        "invalid command",
        "bad command",
    ];
    let text = refused.text.to_ascii_lowercase();
    refused.code.is_none() && WORDS.iter().any(|word| text.contains(word))
}

/// How much of a secret gives it away, in octets: a server may repeat a command and cut it off.
const GIVEN_AWAY_OCTETS: usize = 12;

/// A password that is shorter is not looked for in what a server says.
const GIVEN_AWAY_MIN_OCTETS: usize = 4;

/// The error without what the server repeats of the password: some say which command they did not understand.
fn conceal(error: Error, credentials: &Credentials) -> Error {
    let (user, password) = (credentials.user.as_bytes(), credentials.password.expose().as_slice());
    let plain = Secret::new([b"\0", user, b"\0", password].concat());
    let secrets = [
        Secret::new(String::from_utf8_lossy(password).into_owned()),
        Secret::new(BASE64.encode(password)),
        Secret::new(BASE64.encode(plain.expose())),
    ];
    // What stands in front of the password in PLAIN is no secret, but its base64 may begin with the name and end in it.
    let known = BASE64.encode([b"\0", user, b"\0"].concat()).len().saturating_sub(4);
    let said = Secret::new(error.to_string());
    let repeats = secrets.iter().enumerate().any(|(which, secret)| {
        let skipped = if which == 2 { known } else { 0 };
        let secret = secret.expose().get(skipped..).unwrap_or_default();
        let start = secret.char_indices().nth(GIVEN_AWAY_OCTETS).map_or(secret, |(end, _)| &secret[..end]);
        // A shorter one would be found in every text.
        start.len() >= GIVEN_AWAY_MIN_OCTETS && said.expose().contains(start)
    });
    match error {
        error if !repeats => error,
        Error::Refused(Refused { verb, code, .. }) => {
            Error::Refused(Refused::new(verb, code, "(its answer repeats what is secret)"))
        }
        _ => Error::Lost("the server repeats what is secret, and the session is over".into()),
    }
}

/// In base64, an empty response as `=` (RFC 5034 §4).
fn encode(response: &Secret<Vec<u8>>) -> Secret<String> {
    if response.expose().is_empty() {
        return Secret::new("=".into());
    }
    let mut text = String::with_capacity(response.expose().len().div_ceil(3) * 4);
    BASE64.encode_string(response.expose(), &mut text);
    Secret::new(text)
}
