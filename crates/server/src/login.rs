//! The login: what a client shows is handed to the directories, by PASS, APOP or a SASL exchange (RFC 5034), and their
//! verdict becomes an answer. How mechanisms work lives in `restante-sasl`; who users are, in `restante-auth`.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use restante_auth::{Account, Claim, Verdict};
use restante_proto::{
    Secret, UserName,
    reply::{Refusal, ResponseCode},
    server::Answer,
};
use restante_sasl::{Evidence, ServerContext, ServerExchange, Step};
use restante_store::Source;
use tracing::warn;

use crate::{
    ask::{Asker, temporary},
    happening::LoginResult,
    proxy::Via,
};

/// The length of a nonce in octets, before its base64.
const NONCE_OCTETS: usize = 18;

/// A SASL exchange that is under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    half: Box<dyn ServerExchange>,
    /// The user whose keys were looked up (SCRAM).
    claim: Option<Claim>,
    /// What is said once the client has answered the last challenge.
    settled: Option<Settled>,
}

#[derive(Debug)]
enum Settled {
    /// It is let in, if its answer is empty.
    Accepted(Account),
    /// This, whatever it says.
    Refused(Refusal),
}

impl Exchange {
    /// Whether the verdict is known, and only the client's last response is waited for.
    pub(crate) const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }
}

impl Asker {
    pub(crate) async fn begin_exchange(
        &mut self,
        mechanism: &'static str,
        initial: Option<&Secret<Vec<u8>>>,
    ) -> Answer<Source> {
        let Some(mechanism) = restante_sasl::find(mechanism) else {
            return Answer::Refused(Refusal::plain("no such mechanism"));
        };
        self.mechanism = mechanism.name;
        let mut nonce = [0; NONCE_OCTETS];
        if let Err(error) = getrandom::fill(&mut nonce) {
            warn!(session = %self.presence.id, %error, "no randomness for a login");
            return temporary("internal error");
        }
        let bindings = self.channel.bindings.clone();
        let plus_offered = !bindings.is_empty() && self.presence.live.offers_binding();
        let hostname = self.presence.live.settings.hostname.clone();
        let context = ServerContext { nonce: BASE64.encode(nonce), hostname, bindings, plus_offered };
        self.exchange = Some(Exchange { half: (mechanism.server)(&context), claim: None, settled: None });
        self.exchange_step(initial).await
    }

    pub(crate) async fn exchange_step(&mut self, response: Option<&Secret<Vec<u8>>>) -> Answer<Source> {
        let Some(mut exchange) = self.exchange.take() else {
            return Answer::Refused(Refusal::plain("no such mechanism"));
        };
        let response = response.map(|response| response.expose().as_slice());
        match exchange.settled.take() {
            // RFC 5034 §4: what the server proved with its success is answered by an empty line.
            Some(Settled::Accepted(account)) if response == Some(b"") => return self.accepted(account),
            Some(Settled::Accepted(_)) => return self.malformed(),
            Some(Settled::Refused(refusal)) => return Answer::Refused(refusal),
            None => {}
        }
        let mut step = exchange.half.step(response);
        loop {
            match step {
                Step::Challenge(challenge) => {
                    self.exchange = Some(exchange);
                    return Answer::Challenge(challenge);
                }
                Step::Keys { user, hash } => {
                    match self.presence.live.verifier.keys(&user, hash, self.presence.peer.ip()).await {
                        Ok(claim) => {
                            step = exchange.half.keys(&claim.keys);
                            exchange.claim = Some(claim);
                        }
                        Err(verdict) => return self.verdict(verdict, &user, "AUTH"),
                    }
                }
                Step::Verify(evidence) => return self.verify(exchange, evidence).await,
                Step::Malformed => return self.malformed(),
            }
        }
    }

    /// Has the directories judge, and tells the mechanism, which may have a last word.
    async fn verify(&mut self, mut exchange: Exchange, evidence: Evidence) -> Answer<Source> {
        let (verifier, peer) = (&self.presence.live.verifier, self.presence.peer.ip());
        let (verdict, user) = match evidence {
            Evidence::Password(credentials) => {
                (verifier.password(&credentials.user, &credentials.password, peer).await, credentials.user)
            }
            Evidence::Token { user, token } => {
                (verifier.token(user.as_deref(), &token, peer).await, user.unwrap_or_default())
            }
            Evidence::Digest { user, challenge, digest } => {
                (verifier.digest(&user, &challenge, &digest, peer).await, user)
            }
            Evidence::Proof { right } => {
                let Some(claim) = exchange.claim.take() else { return self.malformed() };
                let user = claim.user().to_owned();
                (verifier.proof(claim, right, peer).await, user)
            }
            Evidence::Certificate { user } => {
                let certified = &self.channel.certified;
                let names = |user: &String| certified.iter().any(|name| name.eq_ignore_ascii_case(user));
                match user.or_else(|| certified.first().cloned()) {
                    Some(user) if names(&user) => (verifier.certificate(&user, peer).await, user),
                    _ => (Verdict::Refused { known: false }, String::new()),
                }
            }
        };
        let accepted = matches!(verdict, Verdict::Accepted(_));
        let last = match &verdict {
            Verdict::Accepted(_) | Verdict::Refused { .. } | Verdict::Expired { .. } => {
                exchange.half.verified(accepted)
            }
            _ => None,
        };
        match (verdict, last) {
            (Verdict::Accepted(account), Some(last)) => {
                exchange.settled = Some(Settled::Accepted(account));
                self.exchange = Some(exchange);
                Answer::Challenge(last)
            }
            (verdict, last) => match (self.verdict(verdict, &user, "AUTH"), last) {
                (Answer::Refused(refusal), Some(last)) => {
                    exchange.settled = Some(Settled::Refused(refusal));
                    self.exchange = Some(exchange);
                    Answer::Challenge(last)
                }
                (answer, _) => answer,
            },
        }
    }

    pub(crate) async fn password(
        &mut self,
        user: &str,
        password: &Secret<Vec<u8>>,
        by: &'static str,
    ) -> Answer<Source> {
        let verdict = self.presence.live.verifier.password(user, password, self.presence.peer.ip()).await;
        self.verdict(verdict, user, by)
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict, user: &str, by: &'static str) -> Answer<Source> {
        let why = if matches!(verdict, Verdict::Expired { .. }) { "expired" } else { "credentials" };
        match verdict {
            Verdict::Accepted(account) => self.accepted(account),
            Verdict::Refused { known } | Verdict::Expired { known } => {
                // A name that nobody has may be a password typed in the wrong place.
                let name = UserName::new(user).ok().filter(|_| known);
                if let Some(name) = &name {
                    self.presence.set_tried(name);
                }
                let user = name.as_ref().map_or("(unknown user)", UserName::as_str);
                let mechanism = self.mechanism;
                // The address is the proxy's then, and who bans it bans all who come by it.
                let via = (self.presence.via == Via::Itself).then_some("proxy");
                // Programs such as fail2ban read this line: docs/operating.md says what is in it.
                warn!(
                    session = %self.presence.id,
                    address = %self.presence.peer.ip(),
                    user,
                    by,
                    mechanism,
                    why,
                    via,
                    "login failed"
                );
                self.login(LoginResult::Credentials);
                Answer::Refused(Refusal::credentials())
            }
            Verdict::Busy => {
                self.login(LoginResult::Busy);
                temporary("too many logins at once, try again later")
            }
            Verdict::TooMany { told } => {
                self.login(LoginResult::TooMany);
                if let Some(refused) = told {
                    let (address, why) = (self.presence.peer.ip(), "too many");
                    warn!(session = %self.presence.id, %address, refused, why, "logins refused");
                }
                temporary("too many logins, try again later")
            }
            Verdict::Failed => {
                self.login(LoginResult::Directory);
                temporary("users cannot be looked up now, try again later")
            }
        }
    }

    fn accepted(&mut self, account: Account) -> Answer<Source> {
        self.account = Some(account);
        Answer::Accepted
    }

    fn malformed(&self) -> Answer<Source> {
        self.login(LoginResult::Malformed);
        Answer::Refused(Refusal::coded(ResponseCode::Auth, "the response is malformed"))
    }
}
