//! What a token that is genuine must say, and whom it names.

use std::time::{SystemTime, UNIX_EPOCH};

use restante_proto::UserName;
use serde_json::Value;

use super::{EmailVerified, LEEWAY_SECONDS};
use crate::Account;

/// What tokens must say.
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: Vec<String>,
    pub(super) user_claim: String,
    pub(super) email_verified: EmailVerified,
    pub(super) scope: Vec<String>,
}

/// Why a genuine token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Issuer,
    Audience,
    Expired,
    Early,
    Scope,
    NoUser,
    Unverified,
    NotSaidVerified,
    SomebodyElse,
}

impl Refusal {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Issuer => "it is of another authorization server (iss)",
            Self::Audience => "it is meant for somebody else (aud)",
            Self::Expired => "it has expired",
            Self::Early => "it is not valid yet",
            Self::Scope => "its scope does not have what is asked for",
            Self::NoUser => "the claim that names the user is missing, or is no user name",
            Self::Unverified => "its email address is not verified",
            Self::NotSaidVerified => "it does not say whether its email address is verified",
            Self::SomebodyElse => "it names another user than the client does",
        }
    }
}

impl Rules {
    /// Whose token it is. What is checked in a JWT already is checked in what introspection says as well.
    pub(super) fn account(&self, claims: &Value, claimed: Option<&UserName>) -> Result<Account, Refusal> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if claims.get("iss").is_some_and(|issuer| issuer.as_str() != Some(&self.issuer)) {
            return Err(Refusal::Issuer);
        }
        if !self.audience.is_empty() {
            let meant =
                |name: &Value| name.as_str().is_some_and(|name| self.audience.iter().any(|us| us == name));
            let is_for_us = match claims.get("aud") {
                Some(Value::Array(names)) => names.iter().any(meant),
                Some(name) => meant(name),
                None => false,
            };
            if !is_for_us {
                return Err(Refusal::Audience);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(expires) = claims.get("exp")
            && seconds(expires).is_none_or(|expires| expires.saturating_add(LEEWAY_SECONDS) <= now)
        {
            return Err(Refusal::Expired);
        }
        if let Some(begins) = claims.get("nbf")
            && seconds(begins).is_none_or(|begins| begins > now.saturating_add(LEEWAY_SECONDS))
        {
            return Err(Refusal::Early);
        }
        let has = scope_of(claims);
        if !self.scope.iter().all(|word| has.contains(&word.as_str())) {
            return Err(Refusal::Scope);
        }
        let name = text(&self.user_claim).and_then(|name| UserName::new(name).ok()).ok_or(Refusal::NoUser)?;
        // OpenID Connect Core §5.1; some servers say it as text. Who says nothing may have let its user write the address.
        if self.user_claim == "email" {
            match (claims.get("email_verified"), self.email_verified) {
                (Some(Value::Bool(true)), _) | (None, EmailVerified::Trusted) => {}
                (Some(verified), _) if verified.as_str() == Some("true") => {}
                (Some(_), _) => return Err(Refusal::Unverified),
                (None, EmailVerified::Required) => return Err(Refusal::NotSaidVerified),
            }
        }
        match claimed {
            Some(claimed) if *claimed != name => Err(Refusal::SomebodyElse),
            _ => Ok(Account::new(name)),
        }
    }
}

/// NumericDate (RFC 7519 §2), which may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    // A cast of a float stays within the bounds of its type.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rounded = |number: f64| number as u64;
    value.as_u64().or_else(|| value.as_f64().filter(|number| *number >= 0.0).map(rounded))
}

/// The words of the scope (RFC 8693 §4.2); some servers call it `scp`, or make a list of it.
fn scope_of(claims: &Value) -> Vec<&str> {
    let mut words = Vec::new();
    for name in ["scope", "scp"] {
        match claims.get(name) {
            Some(Value::String(text)) => words.extend(text.split_ascii_whitespace()),
            Some(Value::Array(list)) => words.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules {
            issuer: "https://id.example.org".into(),
            audience: vec!["mail".into(), "imap".into()],
            user_claim: "email".into(),
            email_verified: EmailVerified::Required,
            scope: vec!["mail".into()],
        }
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = json!({
            "iss": "https://id.example.org", "aud": ["web", "mail"], "exp": 4_102_444_800_u64, "scope": "openid mail",
            "email": "Ann@Example.Org", "email_verified": true,
        });
        claims[name] = value;
        claims
    }

    #[test]
    fn each_claim_counts() {
        let ann = UserName::new("ann@example.org").unwrap();
        let told = |name: &str, value: Value| rules().account(&with(name, value), Some(&ann)).map(|_| ());
        assert_eq!(told("iat", json!(0)), Ok(()));
        assert_eq!(told("iss", json!("https://id.example.org/")), Err(Refusal::Issuer));
        assert_eq!(told("aud", json!("imap")), Ok(()));
        for wrong in [json!("web"), json!([]), json!(null), json!({"mail": 1}), json!("MAIL")] {
            assert_eq!(told("aud", wrong), Err(Refusal::Audience));
        }
        for wrong in [json!(1), json!("4102444800"), json!(-1), json!(null)] {
            assert_eq!(told("exp", wrong), Err(Refusal::Expired));
        }
        assert_eq!(told("exp", json!(4_102_444_800.5)), Ok(()));
        assert_eq!(told("nbf", json!(4_102_444_800_u64)), Err(Refusal::Early));
        assert_eq!(told("scope", json!(["mail"])), Ok(()));
        assert_eq!(told("scope", json!("mailer openid")), Err(Refusal::Scope));
        assert_eq!(told("email", json!("bob@example.org")), Err(Refusal::SomebodyElse));
        assert_eq!(told("email", json!("../ann")), Err(Refusal::NoUser));
        for wrong in [json!(false), json!("false"), json!(null), json!(1)] {
            assert_eq!(told("email_verified", wrong), Err(Refusal::Unverified));
        }
        assert_eq!(told("email_verified", json!("true")), Ok(()));
    }

    #[test]
    fn an_address_counts_where_it_is_said_to_be_verified_or_the_issuer_is_trusted() {
        let mut silent = with("iat", json!(0));
        silent.as_object_mut().unwrap().remove("email_verified");
        let told = |rules: &Rules, claims: &Value| rules.account(claims, None).map(|_| ());
        assert_eq!(told(&rules(), &silent), Err(Refusal::NotSaidVerified));
        let trusting = Rules { email_verified: EmailVerified::Trusted, ..rules() };
        assert_eq!(told(&trusting, &silent), Ok(()));
        assert_eq!(told(&trusting, &with("email_verified", json!(false))), Err(Refusal::Unverified));
        // It is about addresses alone.
        let by_subject = Rules { user_claim: "sub".into(), ..rules() };
        silent["sub"] = json!("ann");
        assert_eq!(told(&by_subject, &silent), Ok(()));
    }

    #[test]
    fn without_a_claimed_name_the_token_names_its_user() {
        let account = rules().account(&with("iat", json!(0)), None).unwrap();
        assert_eq!(account.name.as_str(), "ann@example.org");
    }
}
