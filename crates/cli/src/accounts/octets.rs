//! Sizes as people write and read them: `50MiB`, `1.2 GB`.

/// A number and B, kB, MB, GB, KiB, MiB or GiB.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return Err("write a size as 50MiB, 800kB or 1000000".into()),
    };
    let octets = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    octets.filter(|&octets| octets > 0).ok_or_else(|| "write a size as 50MiB, 800kB or 1000000".into())
}

/// A size in three digits or so.
pub(crate) fn shown(octets: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if octets < 1024 {
        return format!("{octets} B");
    }
    // Exact enough for eyes.
    #[allow(clippy::cast_precision_loss)]
    let mut value = octets as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        assert_eq!(parse("50MiB"), Ok(50 << 20));
        assert_eq!(parse("800 kB"), Ok(800_000));
        assert_eq!(parse("1317"), Ok(1317));
        for wrong in ["", "MiB", "-1", "0", "1.5MiB", "5 apples", "99999999999GiB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            [0, 1023, 1024, 1317, 10 << 20, 5 << 30].map(shown),
            ["0 B", "1023 B", "1.0 KiB", "1.3 KiB", "10 MiB", "5.0 GiB"]
        );
    }
}
