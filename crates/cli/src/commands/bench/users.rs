//! The users of a run: a name, or a pattern that stands for many, so that each session has a drop of its own.

/// How many users a pattern may stand for.
pub(super) const USERS_MAX: usize = 100_000;

/// The names that a pattern stands for: `user{1..3}@example.org` is three, `u{08..10}` is `u08`, `u09` and `u10`. A
/// pattern without braces is itself.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.is_empty() || pattern.chars().any(char::is_control) {
        return Err("a user's name is empty or holds control characters".into());
    }
    let Some((front, rest)) = pattern.split_once('{') else { return Ok(vec![pattern.to_owned()]) };
    let (range, back) = rest.split_once('}').ok_or("the brace of the pattern is not closed")?;
    if back.contains(['{', '}']) {
        return Err("a pattern of users holds one range: user{1..100}".into());
    }
    let (first, last) = range.split_once("..").ok_or("a range of users is written {1..100}")?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits).ok_or("the ends of a range are numbers: {1..100}")
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err("a range begins with its smaller number".into());
    }
    if (to - from) as usize >= USERS_MAX {
        return Err(format!("a pattern stands for {USERS_MAX} users at most"));
    }
    // A first number with zeros in front asks for them in all.
    let width = if first.starts_with('0') { first.len() } else { 0 };
    Ok((from..=to).map(|number| format!("{front}{number:0width$}{back}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_its_range() {
        assert_eq!(expand("john").unwrap(), ["john"]);
        assert_eq!(expand("u{1..3}@h").unwrap(), ["u1@h", "u2@h", "u3@h"]);
        assert_eq!(expand("{08..10}").unwrap(), ["08", "09", "10"]);
        assert_eq!(expand("u{7..7}").unwrap(), ["u7"]);
        assert_eq!(expand(&format!("{{1..{USERS_MAX}}}")).unwrap().len(), USERS_MAX);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in [
            "",
            "a\r\nQUIT",
            "u{1..3",
            "u{1-3}",
            "u{3..1}",
            "u{+1..3}",
            "{1..2}{1..2}",
            "{..3}",
            "{0..100000}",
        ] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }
}
