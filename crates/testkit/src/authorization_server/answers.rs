//! The endpoints of the authorization server.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    CLIENT_ID, CLIENT_SECRET, Device, State, World, claims,
    http::{Answer, Asked, encode},
    keys::Signature,
    with,
};

/// What the device flow's grant is called (RFC 8628 §3.4).
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(super) fn answer(world: &World, state: &mut State, asked: &Asked) -> Answer {
    let parameter = |name: &str| asked.parameters.get(name).map(String::as_str).unwrap_or_default();
    match asked.path.as_str() {
        "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => metadata(state),
        "/jwks" => Answer::Json(200, world.keys().public()),
        "/device" => {
            if parameter("client_id") != CLIENT_ID {
                return error(401, "invalid_client");
            }
            let code = state.new_word("device");
            state.devices.insert(code.clone(), 0);
            let issuer = &state.issuer;
            Answer::Json(
                200,
                json!({
                    "device_code": code, "user_code": "WDJB-MJHT", "expires_in": 600, "interval": 1,
                    "verification_uri": format!("{issuer}/activate"),
                    "verification_uri_complete": format!("{issuer}/activate?user_code=WDJB-MJHT"),
                }),
            )
        }
        "/authorize" => authorize(state, &parameter),
        "/token" => token(world, state, asked, &parameter),
        "/introspect" => {
            if (parameter("basic_user"), parameter("basic_password")) != (CLIENT_ID, CLIENT_SECRET) {
                return error(401, "invalid_client");
            }
            Answer::Json(200, introspect(state, parameter("token")))
        }
        _ => Answer::Page(404, "<h1>Not here</h1>".into()),
    }
}

fn error(status: u16, code: &str) -> Answer {
    Answer::Json(status, json!({"error": code, "error_description": "as the test wants it"}))
}

fn metadata(state: &State) -> Answer {
    let issuer = &state.issuer;
    Answer::Json(
        200,
        json!({
            "issuer": state.script.issuer.as_ref().unwrap_or(issuer),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "device_authorization_endpoint": format!("{issuer}/device"),
            "introspection_endpoint": format!("{issuer}/introspect"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "email", "mail", "offline_access"],
        }),
    )
}

/// RFC 6749 §4.1.1, with the challenge of RFC 7636 §4.3.
fn authorize<'a>(state: &mut State, parameter: &impl Fn(&str) -> &'a str) -> Answer {
    let back = parameter("redirect_uri");
    if parameter("client_id") != CLIENT_ID || !back.starts_with("http://127.0.0.1:") {
        return Answer::Page(400, "<h1>Who are you?</h1>".into());
    }
    let sent = if state.script.wrong_state { "another-state" } else { parameter("state") };
    if let Some(code) = state.script.refuses {
        return Answer::Redirect(format!("{back}?error={code}&state={}", encode(sent)));
    }
    if parameter("code_challenge_method") != "S256" || parameter("response_type") != "code" {
        return Answer::Redirect(format!("{back}?error=invalid_request&state={}", encode(sent)));
    }
    let code = state.new_word("code");
    state.codes.insert(code.clone(), (parameter("code_challenge").into(), back.into()));
    Answer::Redirect(format!("{back}?code={}&state={}", encode(&code), encode(sent)))
}

/// RFC 6749 §4.1.3, RFC 8628 §3.4, RFC 6749 §6.
fn token<'a>(
    world: &World,
    state: &mut State,
    asked: &Asked,
    parameter: &impl Fn(&str) -> &'a str,
) -> Answer {
    let basic = asked.parameters.contains_key("basic_user");
    let (id, secret) = match basic {
        true => (parameter("basic_user"), parameter("basic_password")),
        false => (parameter("client_id"), parameter("client_secret")),
    };
    let proven = secret == CLIENT_SECRET || (secret.is_empty() && !state.script.needs_client_secret);
    if id != CLIENT_ID || !proven {
        return error(401, "invalid_client");
    }
    match parameter("grant_type") {
        "authorization_code" => {
            let Some((challenge, back)) = state.codes.remove(parameter("code")) else {
                return error(400, "invalid_grant");
            };
            let hashed = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(parameter("code_verifier")));
            if hashed != challenge || back != parameter("redirect_uri") {
                return error(400, "invalid_grant");
            }
            grant(world, state, true)
        }
        DEVICE_GRANT => {
            let (device, code) = (state.script.device, parameter("device_code"));
            let Some(times) = state.devices.get_mut(code) else { return error(400, "invalid_grant") };
            *times += 1;
            match device {
                Device::Pending(waits) if *times <= waits => error(400, "authorization_pending"),
                Device::SlowDown(waits) if *times <= waits => error(400, "slow_down"),
                Device::Pending(_) | Device::SlowDown(_) => {
                    state.devices.remove(code);
                    grant(world, state, true)
                }
                Device::Denied => error(400, "access_denied"),
                Device::Expired => error(400, "expired_token"),
            }
        }
        "refresh_token" => {
            let known = state.refresh_tokens.iter().position(|known| known == parameter("refresh_token"));
            let Some(place) = known.filter(|_| !state.script.refuses_refresh) else {
                return error(400, "invalid_grant");
            };
            let rotates = state.script.rotates;
            if rotates {
                state.refresh_tokens.swap_remove(place);
            }
            grant(world, state, rotates)
        }
        _ => error(400, "unsupported_grant_type"),
    }
}

fn grant(world: &World, state: &mut State, with_refresh: bool) -> Answer {
    let lifetime = state.script.lifetime_seconds;
    state.serial += 1;
    let usual = claims(&state.issuer, i64::try_from(lifetime).unwrap_or(i64::MAX), state.serial);
    let mut claims = with(usual, &state.script.claims);
    let access = if state.script.jwt {
        let bare = world.keys().sign(&claims, Signature::Es256).len();
        if let Some(missing) = state.script.token_octets.checked_sub(bare) {
            claims["padding"] = json!("x".repeat(missing));
        }
        world.keys().sign(&claims, Signature::Es256)
    } else {
        let word = state.new_word("access");
        let missing = state.script.token_octets.saturating_sub(word.len());
        word + &"x".repeat(missing)
    };
    state.tokens.insert(access.clone(), claims.clone());
    let mut answer = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": lifetime, "scope": claims["scope"],
    });
    if with_refresh {
        let refresh = state.new_word("refresh");
        answer["refresh_token"] = json!(refresh);
        state.refresh_tokens.push(refresh);
    }
    Answer::Json(200, answer)
}

/// RFC 7662 §2.2.
fn introspect(state: &State, token: &str) -> Value {
    let now = claims("", 0, 0)["exp"].as_u64().unwrap_or(0);
    match state.tokens.get(token) {
        Some(claims) if claims["exp"].as_u64().is_some_and(|exp| exp > now) => with(
            claims.clone(),
            &json!({"active": true, "client_id": CLIENT_ID, "username": claims["email"]}),
        ),
        _ => json!({"active": false}),
    }
}
