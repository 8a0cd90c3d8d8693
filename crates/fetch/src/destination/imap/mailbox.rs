//! The names of mailboxes as IMAP writes them: modified UTF-7 (RFC 3501 §5.1.3), quoted.

use base64::{Engine, alphabet::Alphabet, engine::GeneralPurpose};

/// A name as people write it, ready for a command. It holds no control characters. The hierarchy's separator is the
/// server's own, and stays as it is.
pub(super) fn quoted(name: &str) -> String {
    let mut quoted = String::from("\"");
    for c in encode(name).chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Modified UTF-7: what is not printable ASCII becomes `&`, UTF-16 in base64 with a comma for the slash, and `-`.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            shift_back(&mut shifted, &mut encoded);
            encoded.push(c);
            if c == '&' {
                encoded.push('-');
            }
        } else {
            shifted.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    shift_back(&mut shifted, &mut encoded);
    encoded
}

fn shift_back(shifted: &mut Vec<u8>, encoded: &mut String) {
    if shifted.is_empty() {
        return;
    }
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    // The alphabet is a good one, which the test shows.
    if let Ok(alphabet) = Alphabet::new(ALPHABET) {
        encoded.push('&');
        encoded.push_str(
            &GeneralPurpose::new(&alphabet, base64::engine::general_purpose::NO_PAD).encode(&*shifted),
        );
        encoded.push('-');
    }
    shifted.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_the_rfc_has_them() {
        assert_eq!(encode("INBOX"), "INBOX");
        assert_eq!(encode("Tom & Jerry"), "Tom &- Jerry");
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-"); // RFC 3501 §5.1.3
        assert_eq!(encode("[Gmail]/Entwürfe"), "[Gmail]/Entw&APw-rfe");
        assert_eq!(encode("📫"), "&2D3c6w-", "a pair of surrogates");
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }
}
