//! Times as they are written on the command line: a number with its unit, bounded.

use std::time::Duration;

/// A number and `ms`, `s` or `m`; between a millisecond and an hour.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("write a number and its unit: 10s, 500ms, 2m".into()),
    };
    let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match milliseconds.filter(|time| (1..=3_600_000).contains(time)) {
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        None => Err("a time between 1ms and 60m is needed".into()),
    }
}

/// A number and `s`, `m`, `h` or `d`; between a second and a year: for what goes on by itself.
pub(crate) fn parse_long(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and its unit: 30s, 5m, 1h".into()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds.filter(|seconds| (1..=366 * 86_400).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("a time between 1s and 366d is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "s", "0s", "-1s", "61m", "99999999999999999999m", "1h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_long("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_long("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["5", "0s", "500ms", "367d", "99999999999999999999d"] {
            assert!(parse_long(wrong).is_err(), "{wrong}");
        }
    }
}
