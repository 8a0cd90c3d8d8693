//! Known secrets are planted in every kind of input, in every place that they can stand in, and no output holds any.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "capture/talk.rs"]
#[allow(dead_code)] // only what makes a capture is needed here
mod talk;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_diagram::{
    drawing::{Choice, Drawing, Options},
    format::{self, Style, html::LiveRows},
};

const PASSWORD: &str = "Zitronenfalter-7";
const TOKEN: &str = "ya29.a0AfH6SMBx7Qw";
const DIGEST: &str = "c4c9334bac560ecc979e58001b3e22fb";

/// Sessions as who said what: `C` or `S` and a line.
fn sessions() -> Vec<Vec<(char, String)>> {
    let b64 = |text: String| BASE64.encode(text);
    let plain = b64(format!("\0john\0{PASSWORD}"));
    let bearer = b64(format!("n,a=john,\x01host=x\x01port=110\x01auth=Bearer {TOKEN}\x01\x01"));
    let xoauth2 = b64(format!("user=john\x01auth=Bearer {TOKEN}\x01\x01"));
    let logins: Vec<Vec<(char, String)>> = vec![
        vec![
            ('C', "USER john".into()),
            ('S', "+OK".into()),
            ('C', format!("PASS {PASSWORD}")),
            ('S', format!("-ERR wrong password {PASSWORD}")),
            ('C', format!("pass {PASSWORD} ")),
            ('S', "+OK".into()),
        ],
        vec![('C', format!("APOP john {DIGEST}")), ('S', "+OK".into())],
        vec![('C', format!("AUTH PLAIN {plain}")), ('S', "+OK".into())],
        vec![('C', "AUTH PLAIN".into()), ('S', "+ ".into()), ('C', plain.clone()), ('S', "+OK".into())],
        vec![('C', "AUTH PLAIN".into()), ('C', plain.clone()), ('S', "+ ".into()), ('S', "+OK".into())],
        vec![
            ('C', "AUTH LOGIN".into()),
            ('S', format!("+ {}", b64("Username:".into()))),
            ('C', b64("john".into())),
            ('S', format!("+ {}", b64("Password:".into()))),
            ('C', b64(PASSWORD.into())),
            ('S', "+OK".into()),
        ],
        vec![('C', format!("AUTH OAUTHBEARER {bearer}")), ('S', "+OK".into())],
        vec![
            ('C', "AUTH XOAUTH2".into()),
            ('S', "+".into()),
            ('C', xoauth2),
            ('S', format!("+ {}", b64(format!("{{\"status\":\"401\",\"t\":\"{TOKEN}\"}}")))),
            ('C', String::new()),
            ('S', "-ERR".into()),
        ],
        // In the wrong place.
        vec![('C', PASSWORD.into()), ('S', format!("-ERR unknown command {PASSWORD}"))],
        vec![('C', format!("NOOP {PASSWORD}")), ('S', "-ERR".into())],
        vec![('C', format!("USERjohn {PASSWORD}")), ('S', "-ERR".into())],
        vec![('C', format!("AUTH {PASSWORD}")), ('S', "-ERR".into())],
        // The server repeats it: late, unasked, in a list, in base64, cut short.
        vec![
            ('C', "USER john".into()),
            ('C', format!("PASS {PASSWORD}")),
            ('S', format!("-ERR what is {PASSWORD}")),
            ('S', "-ERR".into()),
        ],
        vec![
            ('C', format!("PASS {PASSWORD}")),
            ('S', "-ERR".into()),
            ('C', "NOOP".into()),
            ('S', format!("-ERR still {PASSWORD}")),
        ],
        vec![
            ('C', format!("PASS {PASSWORD}")),
            ('S', "-ERR".into()),
            ('S', format!("-ERR rejected: {PASSWORD}")),
        ],
        vec![
            ('C', format!("PASS {PASSWORD}")),
            ('S', "+OK".into()),
            ('C', "CAPA".into()),
            ('S', "+OK".into()),
            ('S', PASSWORD.into()),
            ('S', ".".into()),
        ],
        vec![('C', format!("PASS {PASSWORD}")), ('S', format!("-ERR {}", b64(PASSWORD.into())))],
        vec![
            ('C', format!("AUTH PLAIN {}", plain.trim_end_matches('='))),
            ('S', format!("-ERR no {PASSWORD}")),
        ],
        vec![('C', format!("PASS {PASSWORD}")), ('S', format!("-ERR bad: PASS {}...", &PASSWORD[..9]))],
        vec![('C', format!("CAPA \tPASS {PASSWORD}")), ('S', "-ERR".into())],
        // Nobody answers, or with what is no answer.
        vec![('C', format!("PASS {PASSWORD}"))],
        vec![
            ('C', "USER john".into()),
            ('C', format!("PASS {PASSWORD}")),
            ('S', format!("what? {PASSWORD}")),
        ],
    ];
    let whole = |login: Vec<(char, String)>| {
        let mut session = vec![('S', "+OK ready <1.2@x>".to_owned())];
        session.extend(login);
        session.extend([
            ('C', "STAT".to_owned()),
            ('S', "+OK 0 0".into()),
            ('C', "QUIT".into()),
            ('S', "+OK".into()),
        ]);
        session
    };
    logins.into_iter().map(whole).collect()
}

/// The session as a dialogue.
fn dialogue(head: &str, session: &[(char, String)]) -> Vec<u8> {
    let mut text = format!("{head}\n\n").into_bytes();
    for (side, line) in session {
        let line = line.replace('\\', "\\\\").replace('{', "\\{").replace('[', "\\[").replace('\t', "\\t");
        let line = line.strip_suffix(' ').map_or_else(|| line.clone(), |line| format!("{line}\\x20"));
        text.extend_from_slice(format!("{side}: {line}\n").as_bytes());
    }
    text
}

/// The session as a pair of rawlogs.
fn rawlogs(session: &[(char, String)]) -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    for (place, (side, line)) in session.iter().enumerate() {
        let line = format!("1795871330.{:06} {line}\r\n", place * 10);
        if *side == 'C' { &mut client } else { &mut server }.extend_from_slice(line.as_bytes());
    }
    (client, server)
}

#[track_caller]
fn holds_no_secret(out: &[u8], what: &str) {
    let text = String::from_utf8_lossy(out);
    assert!(!out.is_empty(), "{what}: nothing was drawn");
    for secret in [PASSWORD, &PASSWORD[..9], TOKEN, DIGEST] {
        assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
        // In base64 at each of the three places that it can begin at, without the characters that its neighbours share.
        for before in 0..3 {
            let encoded = BASE64.encode([&b"xx"[..before], secret.as_bytes()].concat());
            let shared = if before == 0 { 0 } else { before + 1 };
            let inner = &encoded[shared..encoded.trim_end_matches('=').len() - 1];
            assert!(!text.contains(inner), "{what} holds {secret} in base64:\n{text}");
        }
    }
}

/// Draws in every format, folded and not, short and whole.
fn everywhere(what: &str, draw: &dyn Fn(&mut Drawing, &mut Vec<u8>)) {
    for format in format::FORMATS {
        for (fold, whole_bodies) in [(true, false), (false, true)] {
            let options = Options { fold, whole_bodies, choice: Choice::All, ..Options::default() };
            let mut drawing = Drawing::new(options, format, &Style::default());
            let mut out = Vec::new();
            draw(&mut drawing, &mut out);
            drawing.end(&mut out).unwrap();
            holds_no_secret(&out, &format!("{} as {}", what, format.name));
        }
    }
    let live = Box::new(LiveRows::new(&Style::default()));
    let (mut drawing, mut out) = (Drawing::live_with(Options::default(), live), Vec::new());
    draw(&mut drawing, &mut out);
    drawing.end(&mut out).unwrap();
    holds_no_secret(&out, &format!("{what} while it grows"));
}

#[test]
fn no_drawing_of_a_dialogue_holds_a_secret() {
    for session in sessions() {
        let head = format!("title: secrets\nuser: john\npassword: {PASSWORD}");
        let text = dialogue(&head, &session);
        everywhere(&format!("dialogue {session:?}"), &|drawing, out| drawing.push(&text, out).unwrap());
        // Behind the greeting, whatever the head says of the state.
        for joined in ["AUTHORIZATION", "TRANSACTION"] {
            let text = dialogue(&format!("joined: {joined}"), &session[1..]);
            everywhere(&format!("dialogue in {joined} {session:?}"), &|drawing, out| {
                drawing.push(&text, out).unwrap();
            });
        }
    }
}

#[test]
fn no_drawing_of_a_rawlog_holds_a_secret() {
    for session in sessions() {
        let (client, server) = rawlogs(&session);
        everywhere(&format!("rawlog {session:?}"), &|drawing, out| {
            drawing.rawlog(&client[..], &server[..], out).unwrap();
        });
    }
}

#[test]
fn no_drawing_of_a_capture_holds_a_secret() {
    for session in sessions() {
        for (at_once, joins_at) in
            [(usize::MAX, 0), (7, 0), (usize::MAX, 3), (usize::MAX, 4), (usize::MAX, 6)]
        {
            let mut talk = talk::Talk::new();
            talk.open();
            for (side, line) in &session {
                let line = format!("{line}\r\n").into_bytes();
                for piece in line.chunks(at_once.min(line.len())) {
                    if *side == 'C' {
                        talk.c(piece)
                    } else {
                        talk.s(piece)
                    };
                }
            }
            talk.packets.drain(..joins_at);
            let file = talk.file();
            everywhere(&format!("capture {session:?} by {at_once} from {joins_at}"), &|drawing, out| {
                drawing.push(&file, out).unwrap();
            });
        }
    }
}
