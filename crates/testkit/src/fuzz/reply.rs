//! What a client makes of a server's lines: status lines and capabilities, and the bound of every status line that the
//! server writes.

use restante_proto::{
    capability::Capability,
    reply::{Refusal, ResponseCode, STATUS_LINE_MAX_OCTETS, Status},
};

pub(super) fn run(data: &[u8]) {
    for line in data.split(|&octet| octet == b'\n') {
        status(line);
        capability(&String::from_utf8_lossy(line));
    }
    refusal(&String::from_utf8_lossy(data));
}

fn status(line: &[u8]) {
    let is = |word: &[u8]| {
        line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && matches!(line.get(word.len()), None | Some(b' '))
    };
    let Some(status) = Status::parse(line) else {
        assert!(!(is(b"+OK") || is(b"-ERR") || is(b"+")), "a status line");
        return;
    };
    let written = match &status {
        Status::Ok { text } => {
            assert!(is(b"+OK"));
            format!("+OK {text}")
        }
        Status::Err { code: Some(code), text } => {
            assert!(is(b"-ERR"));
            assert_eq!(ResponseCode::parse(code.as_str()), *code);
            assert!(!code.as_str().contains(']'));
            format!("-ERR [{}] {text}", code.as_str())
        }
        Status::Err { code: None, text } => {
            assert!(is(b"-ERR"));
            format!("-ERR {text}")
        }
        Status::Challenge { base64 } => {
            assert!(is(b"+"));
            format!("+ {base64}")
        }
    };
    assert_eq!(Status::parse(written.as_bytes()), Some(status));
}

fn capability(line: &str) {
    let capability = Capability::parse(line);
    match &capability {
        Capability::Other(other) => assert_eq!(other, line, "as it came"),
        Capability::LoginDelay { .. } | Capability::Expire { .. } => {
            let number = line.split_ascii_whitespace().nth(1).unwrap();
            assert!(
                number.eq_ignore_ascii_case("NEVER") || number.bytes().all(|octet| octet.is_ascii_digit()),
                "numbers are decimal digits: {line:?}"
            );
        }
        _ => {}
    }
    let mut wire = Vec::new();
    capability.write(&mut wire);
    let written = std::str::from_utf8(&wire).unwrap().strip_suffix("\r\n").expect("a line ends in CRLF");
    assert_eq!(Capability::parse(written), capability);
}

/// Whatever a store or a directory puts into a refusal, it is one short printable line, which a client reads.
fn refusal(text: &str) {
    let (code, text) = match text.split_once(' ') {
        Some((code, text)) => (Some(ResponseCode::parse(code)), text),
        None => (None, text),
    };
    let refusal = Refusal { code: code.clone(), text: text.to_owned().into() };
    let mut wire = Vec::new();
    refusal.write(&mut wire);
    assert!(wire.len() <= STATUS_LINE_MAX_OCTETS);
    let line = wire.strip_suffix(b"\r\n").expect("a status line ends in CRLF");
    assert!(line.starts_with(b"-ERR ") && line.iter().all(|octet| matches!(octet, b' '..=b'~')));
    let read = Status::parse(line).expect("a status line");
    let plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'/');
    let short = text.len() < STATUS_LINE_MAX_OCTETS / 2 && plain(text);
    if short && code.as_ref().is_none_or(|code| matches!(code.as_str().len(), 1..=64) && plain(code.as_str()))
    {
        assert_eq!(read, Status::Err { code, text: text.to_owned() });
    }
}
