//! AUTHORIZATION: greeting to login (RFC 1939 §4 and §7, RFC 2449 §5, RFC 2595 §4, RFC 5034).

use alloc::{string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Answer, Ask, Close, LoginDelay, Offer, Session, Unasked,
    session::{Cancelled, Owed, Step},
};
use crate::{
    Secret,
    capability::Capability,
    phase::Phase,
    reply::{self, Reply, ResponseCode},
};

/// How many logins that are refused for other reasons than wrong credentials end a connection.
const LOGINS_PUT_OFF_MAX: u8 = 20;

impl<S> Session<S> {
    pub(super) fn user(&mut self, user: &str, out: &mut Vec<u8>) {
        if !self.policy.passwords {
            return self.reply(&Reply::PasswordsOff, out);
        }
        if !self.may_show_password() {
            // Here already, before the password is sent.
            return self.reply(&Reply::CleartextRefused, out);
        }
        self.reply(&Reply::SendPassword, out);
        self.user = Some(user.into());
    }

    pub(super) fn pass(&mut self, password: Secret<Vec<u8>>, out: &mut Vec<u8>) {
        if self.draining {
            return self.refuse_login("USER", Unasked::Draining, &Reply::Draining, out);
        }
        let Some(user) = self.user.take() else {
            return self.reply(&Reply::PassFirst, out);
        };
        self.ask(Ask::Password { user: user.into_string(), password }, Owed::Login);
    }

    pub(super) fn apop(&mut self, user: &str, digest: [u8; 16], out: &mut Vec<u8>) {
        match &self.stamp {
            None => self.reply(&Reply::ApopOff, out),
            Some(_) if self.draining => {
                self.refuse_login("APOP", Unasked::Draining, &Reply::Draining, out);
            }
            Some(stamp) => {
                let ask = Ask::Apop { user: user.into(), stamp: String::from(&**stamp), digest };
                self.ask(ask, Owed::Login);
            }
        }
    }

    pub(super) fn auth(&mut self, name: &str, initial: Option<&[u8]>, out: &mut Vec<u8>) {
        let offer = self.policy.mechanisms.iter().find(|offer| offer.name.eq_ignore_ascii_case(name));
        if self.draining {
            let mechanism = offer.map_or("", |offer| offer.name);
            return self.refuse_login(mechanism, Unasked::Draining, &Reply::Draining, out);
        }
        let Some(offer) = offer else {
            return self.refuse_login("", Unasked::Malformed, &Reply::NoSuchMechanism, out);
        };
        let mechanism = offer.name;
        if offer.cleartext && !self.may_show_password() {
            return self.reply(&Reply::CleartextRefused, out);
        }
        if !self.is_offered(offer) {
            return self.refuse_login(mechanism, Unasked::Malformed, &Reply::NoSuchMechanism, out);
        }
        let initial = match initial {
            None => None,
            // RFC 5034 §4: an empty initial response.
            Some(b"=") => Some(Secret::new(Vec::new())),
            Some(base64) => match STANDARD.decode(base64) {
                Ok(initial) => Some(Secret::new(initial)),
                Err(_) => {
                    return self.refuse_login(mechanism, Unasked::Malformed, &Reply::NotBase64, out);
                }
            },
        };
        self.ask(Ask::SaslStart { mechanism, initial }, Owed::Login);
    }

    /// Refuses a login about which nobody was asked.
    fn refuse_login(&mut self, mechanism: &'static str, why: Unasked, reply: &Reply<'_>, out: &mut Vec<u8>) {
        self.tally().add_login(mechanism, why);
        self.reply(reply, out);
    }

    /// A line within an exchange: the client's response, or `*` (RFC 5034 §4).
    pub(super) fn response(&mut self, line: &[u8]) {
        if self.draining {
            return self.cancel(Cancelled::Draining);
        }
        if line == b"*" {
            return self.cancel(Cancelled::ByClient);
        }
        match STANDARD.decode(line) {
            Ok(response) => self.ask(Ask::SaslStep(Secret::new(response)), Owed::Login),
            Err(_) => self.cancel(Cancelled::NotBase64),
        }
    }

    pub(super) fn cancel(&mut self, why: Cancelled) {
        self.ask(Ask::SaslCancel, Owed::Cancelled(why));
    }

    pub(super) fn cancelled(&mut self, why: Cancelled, out: &mut Vec<u8>) {
        let reply = match why {
            Cancelled::ByClient => Reply::ExchangeCancelled,
            Cancelled::NotBase64 => Reply::NotBase64,
            Cancelled::TooLong => Reply::TooLong,
            Cancelled::Draining => Reply::Draining,
        };
        self.reply(&reply, out);
        // Cancelled exchanges are attempts too: without a bound they would be a way to stay for ever.
        self.login_failed();
    }

    pub(super) fn login_answered(&mut self, answer: Answer<S>, out: &mut Vec<u8>) {
        match answer {
            Answer::Accepted if self.draining => self.reply(&Reply::Draining, out),
            Answer::Accepted => self.ask(Ask::Open, Owed::Opened),
            Answer::Challenge(challenge) => {
                reply::write_challenge(&STANDARD.encode(challenge), out);
                self.step = Step::Exchange;
            }
            Answer::Refused(refusal) => {
                self.reply(&Reply::Refused(&refusal), out);
                if refusal.code == Some(ResponseCode::Auth) {
                    self.login_failed();
                } else {
                    self.login_put_off();
                }
            }
            _ => self.misuse(out),
        }
    }

    /// A login that was refused, though the password may be right (RFC 3206 §4, RFC 2449 §8.1): the client may come again, but
    /// not for ever, since each costs what a login costs.
    fn login_put_off(&mut self) {
        self.logins_put_off = self.logins_put_off.saturating_add(1);
        if self.logins_put_off >= LOGINS_PUT_OFF_MAX {
            self.step = Step::Close(Close::LoginFailures);
        }
    }

    fn login_failed(&mut self) {
        self.login_failures = self.login_failures.saturating_add(1);
        if self.login_failures >= self.policy.login_failures_max {
            self.step = Step::Close(Close::LoginFailures);
        }
    }

    pub(super) fn stls(&mut self, out: &mut Vec<u8>) {
        if self.link.tls.is_some() {
            return self.reply(&Reply::TlsAlready, out);
        }
        if !self.policy.stls {
            return self.reply(&Reply::TlsUnavailable, out);
        }
        self.reply(&Reply::BeginTls, out);
        self.step = Step::StartTls;
    }

    /// RFC 2449 §5: what is offered before login is announced in both states; STLS only where it would work, and
    /// IMPLEMENTATION only to those who are logged in.
    pub(super) fn capa(&mut self, out: &mut Vec<u8>) {
        self.reply(&Reply::Capabilities, out);
        let before_login = self.phase() != Phase::Transaction;
        let mechanisms: Vec<String> = self.offered().map(|offer| offer.name.into()).collect();
        let list = [
            Some(Capability::Top),
            Some(Capability::Uidl),
            Some(Capability::RespCodes),
            Some(Capability::AuthRespCode),
            Some(Capability::Pipelining),
            (self.policy.passwords && self.may_show_password()).then_some(Capability::User),
            (!mechanisms.is_empty()).then_some(Capability::Sasl(mechanisms)),
            (before_login && self.policy.stls && self.link.tls.is_none()).then_some(Capability::Stls),
            self.login_delay.map(|LoginDelay { seconds, per_user }| {
                // RFC 2449 §6.5: once it is known who it is, it is known how long.
                Capability::LoginDelay { seconds, per_user: per_user && before_login }
            }),
            (!before_login).then(|| Capability::Implementation("Restante".into())),
        ];
        list.iter().flatten().for_each(|capability| capability.write(out));
        reply::write_end_of_block(out);
    }

    /// `AUTH` alone: a question that old clients ask. It logs nobody in, so the state stays.
    pub(super) fn list_mechanisms(&mut self, out: &mut Vec<u8>) {
        self.reply_in_place(&Reply::Mechanisms, out);
        for offer in self.offered() {
            out.extend_from_slice(offer.name.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        reply::write_end_of_block(out);
    }

    fn offered(&self) -> impl Iterator<Item = &Offer> {
        self.policy.mechanisms.iter().filter(|offer| self.is_offered(offer))
    }

    fn is_offered(&self, offer: &Offer) -> bool {
        let tls = self.link.tls.as_deref();
        (!offer.cleartext || self.may_show_password())
            && (!offer.binding || tls.is_some_and(|tls| tls.binding))
            && (!offer.certificate || tls.is_some_and(|tls| tls.certificate))
    }
}
