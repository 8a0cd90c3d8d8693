//! Numbers on their way out, without the formatting machinery: a listing of a large maildrop is made of little else.

use alloc::vec::Vec;

/// How many digits a `u64` has at most.
const DIGITS_MAX: usize = 20;

/// Appends the decimal digits of a number.
pub(crate) fn push_decimal(value: u64, out: &mut Vec<u8>) {
    push_decimal_and(value, *b"", out);
}

/// Appends the decimal digits of a number and a few octets behind them.
#[inline]
pub(crate) fn push_decimal_and<const MORE: usize>(value: u64, more: [u8; MORE], out: &mut Vec<u8>) {
    match short(value) {
        // Put together in a register, and written at once.
        Some((digits, len)) if len + MORE <= 8 => {
            let behind = more.iter().rev().fold(0, |octets, &octet| (octets << 8) | u64::from(octet));
            let text = if MORE == 0 { digits } else { digits | (behind << (8 * len)) };
            push_head::<8>(&text.to_le_bytes(), len + MORE, out);
        }
        _ => {
            push_long(value, out);
            out.extend_from_slice(&more);
        }
    }
}

/// The digits of a number that has eight at most, the first one in the lowest octet, and how many they are. All at once,
/// in the lanes of one word: halves, then pairs, then single digits. A division by a constant is a multiplication here:
/// `x * 10486 >> 20` is x / 100 below 10,000, and `x * 103 >> 10` is x / 10 below 100.
#[inline]
const fn short(value: u64) -> Option<(u64, usize)> {
    if value >= 100_000_000 {
        return None;
    }
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | ((pairs - 10 * tens) << 8);
    // Leading zeros are left out, but for the last digit.
    let skipped = (digits | 1 << 56).trailing_zeros() / 8;
    Some(((digits | 0x3030_3030_3030_3030) >> (8 * skipped), 8 - skipped as usize))
}

#[cold]
fn push_long(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Appends the first `len` octets. Where `CHUNK` of them are there they are all copied, and what is too much is taken
/// back: to copy a fixed number of octets is a few instructions, with no length to branch on.
#[inline]
pub(crate) fn push_head<const CHUNK: usize>(octets: &[u8], len: usize, out: &mut Vec<u8>) {
    match octets.first_chunk::<CHUNK>() {
        Some(chunk) if len <= CHUNK => {
            let end = out.len() + len;
            out.extend_from_slice(chunk);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&octets[..len]),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    fn text(value: u64) -> Vec<u8> {
        let mut out = b"before".to_vec();
        push_decimal(value, &mut out);
        out.split_off(6)
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for value in (0..200_000).chain((0..100_000_000).step_by(997)) {
            assert_eq!(text(value), value.to_string().as_bytes());
        }
        for power in 0..20 {
            let value = 10_u64.pow(power);
            for value in [value - 1, value, value + 1, u64::MAX / value] {
                assert_eq!(text(value), value.to_string().as_bytes());
            }
        }
    }

    #[test]
    fn what_follows_stands_behind_the_digits() {
        for value in [0, 7, 123_456, 1_234_567, 12_345_678, 100_000_000, u64::MAX] {
            let (mut space, mut line_end) = (b"before".to_vec(), b"before".to_vec());
            push_decimal_and(value, *b" ", &mut space);
            push_decimal_and(value, *b"\r\n", &mut line_end);
            assert_eq!(space[6..], *alloc::format!("{value} ").as_bytes());
            assert_eq!(line_end[6..], *alloc::format!("{value}\r\n").as_bytes());
        }
    }

    #[test]
    fn no_more_is_appended_than_was_asked_for() {
        let octets: Vec<u8> = (0..=255).collect();
        for from in [0, 100, 175, 176, 177, 250] {
            for len in (0..=256 - from).filter(|len| [0, 1, 6, 79, 80, 81, 156].contains(len)) {
                let mut out = b"before".to_vec();
                push_head::<80>(&octets[from..], len, &mut out);
                assert_eq!(out[6..], octets[from..from + len]);
            }
        }
    }
}
