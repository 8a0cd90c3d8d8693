//! SCRAM keys: their text in a directory, and bounds.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_sasl::scram::{Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, Keys, KeysError};

/// What RFC 5802 §5 and RFC 7677 §3 have of `pencil`, as Dovecot writes it.
const TEXTS: [(Hash, &[u8], &str); 2] = [
    (
        Hash::Sha1,
        b"\x41\x25\xc2\x47\xe4\x3a\xb1\xe9\x3c\x6d\xff\x76",
        "4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=",
    ),
    (
        Hash::Sha256,
        b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81",
        "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    ),
];

#[test]
fn texts_are_read_and_written() {
    for (hash, salt, text) in TEXTS {
        let keys = Keys::derive(hash, b"pencil", salt, 4096).unwrap();
        assert_eq!(keys.text().expose(), text);
        assert!(Keys::parse(hash, text.as_bytes()).unwrap() == keys);
        assert_eq!((keys.hash(), keys.iterations(), keys.salt()), (hash, 4096, salt));
        assert!(
            Keys::parse(hash, Keys::derive(hash, b"x", salt, 5000).unwrap().text().expose().as_bytes())
                .is_ok()
        );
    }
    assert!(Keys::parse(Hash::Sha1, TEXTS[1].2.as_bytes()).is_err(), "keys of another hash");
}

#[test]
fn texts_that_are_none() {
    let (_, _, good) = TEXTS[0];
    let fields: Vec<&str> = good.split(',').collect();
    let with = |at: usize, field: &str| {
        let mut fields = fields.clone();
        fields[at] = field;
        fields.join(",")
    };
    for bad in [
        String::new(),
        fields[..3].join(","),
        format!("{good},"),
        format!("{good},more"),
        with(0, ""),
        with(0, "+4096"),
        with(0, "-1"),
        with(0, "99999999999"),
        with(1, ""),
        with(1, "*"),
        with(1, &"QUFB".repeat(100)),
        with(2, ""),
        with(2, "QUFB"),
        with(3, "D+CSWLOshSulAsxiupA+qs2/fTE"),
    ] {
        assert_eq!(Keys::parse(Hash::Sha1, bad.as_bytes()).err(), Some(KeysError::Malformed), "{bad:?}");
    }
    assert!(Keys::parse(Hash::Sha1, b"\xff").is_err());
}

#[test]
fn bounds_of_iterations_and_salts() {
    let (_, _, text) = TEXTS[0];
    for (iterations, good) in [
        (1, false),
        (ITERATIONS_MIN - 1, false),
        (ITERATIONS_MIN, true),
        (ITERATIONS_MAX, true),
        (ITERATIONS_MAX + 1, false),
    ] {
        let read = Keys::parse(Hash::Sha1, text.replacen("4096", &iterations.to_string(), 1).as_bytes());
        assert_eq!(read.err(), (!good).then_some(KeysError::Iterations(iterations)));
    }
    for (salt, iterations) in
        [(&[][..], ITERATIONS_MIN), (&[1; 257], ITERATIONS_MIN), (&[1], 1), (&[1], ITERATIONS_MAX + 1)]
    {
        assert!(Keys::derive(Hash::Sha1, b"pencil", salt, iterations).is_none());
    }
    assert_eq!(Keys::stand_in(Hash::Sha1, &[1; 32], vec![1], 1).iterations(), ITERATIONS_MIN);
    assert_eq!(Keys::stand_in(Hash::Sha1, &[1; 32], vec![1], u32::MAX).iterations(), ITERATIONS_MAX);
}

/// RFC 7677 §4.
#[test]
fn new_keys_have_more_iterations_than_the_least() {
    const { assert!(ITERATIONS_DEFAULT > ITERATIONS_MIN && ITERATIONS_DEFAULT < ITERATIONS_MAX) }
}

#[test]
fn nothing_shows_a_key() {
    for (hash, _, text) in TEXTS {
        let keys = Keys::parse(hash, text.as_bytes()).unwrap();
        let seen = format!("{keys:?} {:?}", keys.text());
        assert!(text.split(',').skip(1).all(|field| !seen.contains(field)), "{seen}");
    }
}
