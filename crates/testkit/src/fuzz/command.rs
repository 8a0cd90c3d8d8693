//! `Command::parse`: what is understood is written and understood again, and means what its octets say.

use restante_proto::command::Command;

pub(super) fn run(line: &[u8]) {
    let parsed = Command::parse(line);
    if !line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"PASS")) {
        let spaces = [line, b"   "].concat();
        let bare = &line[..line.len() - line.iter().rev().take_while(|&&octet| octet == b' ').count()];
        assert_eq!(Command::parse(&spaces), parsed, "trailing spaces are ignored");
        assert_eq!(Command::parse(bare), parsed, "trailing spaces are ignored");
    }
    let command = match parsed {
        Ok(command) => command,
        Err(error) => {
            // Fixed words: nothing of the line is in them.
            let text = error.to_string();
            assert!(text.len() < 100 && text.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{text}");
            return;
        }
    };
    says_what_it_means(line, &command);
    let mut wire = Vec::new();
    command.write(&mut wire);
    let written = wire.strip_suffix(b"\r\n").expect("a command ends in CRLF");
    assert!(!written.contains(&b'\n'), "one command, one line");
    assert!(written.starts_with(command.verb().word().as_bytes()));
    let again = Command::parse(written).expect("what was written is a command");
    assert_eq!(again, command);
    let mut wire_again = Vec::new();
    again.write(&mut wire_again);
    assert_eq!(wire_again, wire);
}

/// The parser against the letter of the rules.
fn says_what_it_means(line: &[u8], command: &Command<'_>) {
    let (word, rest) = match line.iter().position(|&octet| octet == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &line[..0]),
    };
    assert!(word.eq_ignore_ascii_case(command.verb().word().as_bytes()));
    if let Command::Pass(password) = command {
        assert_eq!(password.expose(), rest, "PASS takes every octet behind its space");
        assert!(!rest.iter().any(|octet| matches!(octet, b'\0' | b'\r' | b'\n')));
        assert_eq!(format!("{command:?}"), "PASS …");
        return;
    }
    assert!(line.iter().all(|&octet| octet >= b' ' && octet != 0x7f), "control octets are refused");
    let rest = String::from_utf8_lossy(rest);
    let mut words: Vec<&str> = rest.trim_end_matches(' ').split(' ').collect();
    words.retain(|word| !word.is_empty());
    match command {
        Command::Dele(number)
        | Command::Retr(number)
        | Command::List(Some(number))
        | Command::Uidl(Some(number)) => {
            assert_eq!(words.len(), 1);
            assert_eq!(decimal(words[0]), u128::from(number.get()));
        }
        Command::Top(number, lines) => {
            assert_eq!(words.len(), 2);
            assert_eq!(decimal(words[0]), u128::from(number.get()));
            assert_eq!(decimal(words[1]).min(u128::from(u64::MAX)), u128::from(*lines));
        }
        Command::User(name) => assert_eq!(words, [*name]),
        Command::Apop(name, digest) => {
            let hexadecimal: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(words, [*name, words[1]]);
            assert_eq!(words[1].to_ascii_lowercase(), hexadecimal);
        }
        Command::Auth(mechanism, initial) => {
            assert_eq!(words[0], *mechanism);
            assert_eq!(words.len(), 1 + usize::from(initial.is_some_and(|initial| !initial.is_empty())));
        }
        _ => assert!(words.is_empty(), "an argument too many: {words:?}"),
    }
}

/// Decimal digits and nothing else, however many.
fn decimal(word: &str) -> u128 {
    assert!(!word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit()), "{word}");
    word.bytes().fold(0u128, |value, digit| value.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
}
