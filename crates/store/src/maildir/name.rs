//! The name of a message's file: `base:2,FLAGS`, with `,S=` and `,W=` inside the base, and the unique-id made of it.
//!
//! Names are octets: not UTF-8, and anything but `/` and NUL may stand in them.

use std::{borrow::Cow, cmp::Ordering};

use memchr::{memchr, memchr2, memchr3};
use restante_proto::{UniqueId, maildrop::UNIQUE_ID_MAX_OCTETS};
use sha2::{Digest, Sha256};

/// How many octets of the SHA-256 make a unique-id: 128 bits, 32 hexadecimal digits.
const ID_DIGEST_OCTETS: usize = 16;

/// Splits a file name into its base, which a message keeps, and its suffix from the `:` on, which changes with the
/// flags. `None` for a name without a base, which is no message's.
pub(super) fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', name).unwrap_or(name.len());
    (colon > 0 && name[0] != b'.').then(|| name.split_at(colon))
}

/// Whether these octets can be the base of a message's file name.
pub(super) fn is_base(base: &[u8]) -> bool {
    !matches!(base.first(), None | Some(b'.')) && memchr3(b':', b'/', 0, base).is_none()
}

/// Whether these octets can be what follows the base of a file name.
pub(super) fn is_suffix(suffix: &[u8]) -> bool {
    matches!(suffix.first(), None | Some(b':')) && memchr2(b'/', 0, suffix).is_none()
}

/// Whether these octets are a legal unique-id (RFC 1939 §7, UIDL).
pub(super) fn is_unique_id(id: &[u8]) -> bool {
    matches!(id.len(), 1..=UNIQUE_ID_MAX_OCTETS) && id.iter().all(u8::is_ascii_graphic)
}

/// What every base of one stem begins with: its first field.
pub(super) fn first_field(base: &[u8]) -> &[u8] {
    &base[..memchr(b',', base).unwrap_or(base.len())]
}

/// Whether a suffix has the flag T: trashed, and not counted in Maildir++ quotas.
pub(super) fn is_trashed(suffix: &[u8]) -> bool {
    suffix.strip_prefix(b":2,").is_some_and(|flags| flags.contains(&b'T'))
}

/// The base without its `,S=` and `,W=` fields: what stays the same when another program adds them.
pub(super) fn stem(base: &[u8]) -> Cow<'_, [u8]> {
    let is_size = |field: &[u8]| field.starts_with(b"S=") || field.starts_with(b"W=");
    let first = first_field(base);
    let fields = || base[first.len()..].split(|&octet| octet == b',').skip(1);
    if fields().all(is_size) {
        return first.into();
    }
    let mut stem = first.to_vec();
    for field in fields().filter(|field| !is_size(field)) {
        stem.push(b',');
        stem.extend_from_slice(field);
    }
    stem.into()
}

/// The number of octets that the base's field of this letter claims, if it has one and it is a number.
fn claimed(base: &[u8], letter: u8) -> Option<u64> {
    let mut fields = base.split(|&octet| octet == b',').skip(1);
    let digits = fields.find_map(|field| field.strip_prefix(&[letter, b'=']))?;
    let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| decimal)?.parse().ok()
}

/// The canonical length that `,W=` claims, if it can be believed: `,S=` is there and tells the truth, and so many
/// octets can be the canonical form of that many.
pub(super) fn claimed_octets(base: &[u8], stored: u64) -> Option<u64> {
    let octets = claimed(base, b'W')?;
    let possible = stored..=stored.saturating_mul(2).saturating_add(2);
    (claimed(base, b'S') == Some(stored) && possible.contains(&octets)).then_some(octets)
}

/// The unique-id of a message: the stem of its base where that is a legal id and free, else a digest.
///
/// `taken` says which ids other messages of the drop have or had.
pub(super) fn unique_id(base: &[u8], taken: impl Fn(&UniqueId) -> bool) -> UniqueId {
    let stem = stem(base);
    let plain = UniqueId::new(&stem);
    // A stem that two messages share tells them apart by their whole bases.
    let candidates = plain.is_none().then(|| digest(&[&stem])).into_iter().chain(salted(base));
    plain.into_iter().chain(candidates).find(|id| !taken(id)).unwrap_or_else(|| digest(&[base]))
}

/// The unique-id of a message whose stem another message has too, and none of them was there before: a digest of the
/// whole base, for each of them. So names alone decide, and not which of them was looked at first.
pub(super) fn twins_unique_id(base: &[u8], taken: impl Fn(&UniqueId) -> bool) -> UniqueId {
    salted(base).find(|id| !taken(id)).unwrap_or_else(|| digest(&[base]))
}

/// Digests of the base without end: the first that is free is taken, and that is the first in all but contrived drops.
fn salted(base: &[u8]) -> impl Iterator<Item = UniqueId> + '_ {
    (0u32..).map(move |salt| match salt {
        0 => digest(&[base]),
        _ => digest(&[base, b":", &salt.to_le_bytes()]),
    })
}

fn digest(pieces: &[&[u8]]) -> UniqueId {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let hex: String =
        hash.finalize()[..ID_DIGEST_OCTETS].iter().map(|octet| format!("{octet:02x}")).collect();
    const { assert!(ID_DIGEST_OCTETS * 2 <= UNIQUE_ID_MAX_OCTETS && ID_DIGEST_OCTETS > 0) };
    UniqueId::new(hex.as_bytes()).unwrap_or_else(|| unreachable!("hexadecimal digits are a legal unique-id"))
}

/// What sorts like [`by_arrival`] where it differs, and is quicker to compare: how many digits the number in front has,
/// and the first of them.
pub(super) fn arrival_number(base: &[u8]) -> (usize, u64) {
    let digits = base.iter().take_while(|octet| octet.is_ascii_digit());
    let digits = digits.skip_while(|&&octet| octet == b'0');
    digits.fold((0, 0), |(count, number), &digit| {
        // So many fit.
        let first = if count < 19 { number * 10 + u64::from(digit - b'0') } else { number };
        (count + 1, first)
    })
}

/// The order of messages that are seen for the first time together: by the number in front, which is the time of
/// delivery, then octet by octet.
pub(super) fn by_arrival(a: &[u8], b: &[u8]) -> Ordering {
    let number = |name: &[u8]| {
        let digits = name.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let zeros = name[..digits].iter().take_while(|&&octet| octet == b'0').count();
        zeros..digits
    };
    let (a_digits, b_digits) = (number(a), number(b));
    let by_number =
        a_digits.len().cmp(&b_digits.len()).then_with(|| a[a_digits.clone()].cmp(&b[b_digits.clone()]));
    by_number.then_with(|| a[a_digits.end..].cmp(&b[b_digits.end..])).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(base: &[u8]) -> String {
        unique_id(base, |_| false).to_string()
    }

    #[test]
    fn the_unique_id_is_the_base_without_sizes() {
        assert_eq!(id(b"390953946"), "390953946", "the seed's own");
        assert_eq!(id(b"1.M2P3.host,S=12,W=13"), "1.M2P3.host");
        assert_eq!(id(b"1.M2P3.host,W=13,S=12,x=y"), "1.M2P3.host,x=y");
        assert_eq!(id(b"1.M2P3.host,S"), "1.M2P3.host,S");
        assert_eq!(id(&[b'x'; 70]), "x".repeat(70));
    }

    #[test]
    fn a_name_that_is_no_unique_id_is_digested() {
        for odd in [&b"two words"[..], b"new\nline", b"\xff", b"\x7f", &[b'x'; 71], b",S=5"] {
            let id = id(odd);
            assert!(id.len() == 32 && id.bytes().all(|octet| octet.is_ascii_hexdigit()), "{id}");
        }
        assert_eq!(id(b"two words,S=5"), id(b"two words"), "also without sizes");
        assert_ne!(id(b"two words"), id(b"two  words"));
    }

    #[test]
    fn an_id_that_is_taken_is_not_given_again() {
        let first = unique_id(b"1,S=5", |_| false);
        let second = unique_id(b"1,S=6", |id| *id == first);
        assert_ne!(first, second);
        assert_eq!(second, unique_id(b"1,S=6", |id| *id == first), "the same every time");
        let third = unique_id(b"1,S=6", |id| *id == first || *id == second);
        assert!(third != first && third != second);
    }

    #[test]
    fn sizes_in_names_are_believed_only_where_they_can_be_true() {
        assert_eq!(claimed_octets(b"1,S=10,W=12", 10), Some(12));
        assert_eq!(claimed_octets(b"1,W=12,S=10", 10), Some(12));
        assert_eq!(claimed_octets(b"1,S=10,W=12", 11), None, "another size than S says");
        assert_eq!(claimed_octets(b"1,W=12", 10), None, "no S");
        assert_eq!(claimed_octets(b"1,S=10", 10), None, "no W");
        assert_eq!(claimed_octets(b"1,S=10,W=9", 10), None, "the canonical form is never shorter");
        assert_eq!(claimed_octets(b"1,S=10,W=23", 10), None, "nor more than two octets for one");
        assert_eq!(claimed_octets(b"1,S=10,W=+12", 10), None);
        assert_eq!(claimed_octets(b"1,S=10,W=99999999999999999999", 10), None);
        assert_eq!(claimed_octets(b"S=10,W=12", 10), None, "the first field is the name");
    }

    #[test]
    fn names_split_at_the_first_colon() {
        assert_eq!(split(b"a:2,S"), Some((&b"a"[..], &b":2,S"[..])));
        assert_eq!(split(b"a"), Some((&b"a"[..], &b""[..])));
        assert_eq!(split(b"a:b:2,"), Some((&b"a"[..], &b":b:2,"[..])));
        assert_eq!((split(b":2,S"), split(b".a"), split(b"")), (None, None, None));
        assert!(is_trashed(b":2,ST") && !is_trashed(b":2,S") && !is_trashed(b"") && !is_trashed(b":1,T"));
    }

    #[test]
    fn older_deliveries_come_first() {
        let mut names =
            [&b"10.a"[..], b"9.b", b"9.a", b"x", b"390953946", b"1700000000.M2", b"09.a", &[b'9'; 30]];
        names.sort_by(|a, b| by_arrival(a, b));
        assert!(names.is_sorted_by_key(|name| arrival_number(name)), "{names:?}");
        assert_eq!(
            names,
            [&b"x"[..], b"09.a", b"9.a", b"9.b", b"10.a", b"390953946", b"1700000000.M2", &[b'9'; 30]]
        );
    }
}
