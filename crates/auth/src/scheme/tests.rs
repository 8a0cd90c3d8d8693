//! Schemes against values that others computed: crypt(3) of the C library, Dovecot's own tool, and the vectors of the
//! reference implementation of Argon2.

use proptest::prelude::*;

use super::*;

const LONG: &str = "we have a short salt string but not a short password, and it goes past one hundred and twenty-eight octets of input to the digest, twice";

const VECTORS: &[(&str, &str)] = &[
    // Dovecot.
    (
        "abcxyz",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$hWENUpjApzT1TwfYr8Uv5g$2K40T1X7G1JV99us2v+Nxvg4QtR4qu5RGG8It1EoGrg",
    ),
    (
        "abcxyz",
        "{argon2i}$argon2i$v=19$m=32768,t=4,p=1$+YMNEU/vhtCyTASdURKrXQ$hPZ9rcQJIPUB+DT6df0m9GhFofG36HSXG2QPf7rJQG0",
    ),
    (
        "abcxyz",
        "{SHA512-CRYPT}$6$gbOlk9eVdEL9rSv3$XT9p05TAedjg7RaUSam3Sol9stvN4s7oycC94aIUfLoDQm2WcLT0pMfVQwbxRQVpV7iG/1E9NuG3W8GTcIhKk1",
    ),
    ("abcxyz", "{SHA256-CRYPT}$5$5FXtMOp0hvNPs7WQ$4u5xr8mqt5jDKC.cBCwlYa1U6RVsriEs4Ri03dyufB7"),
    ("abcxyz", "{PLAIN.B64}YWJjeHl6"),
    (
        "abcxyz",
        "{SHA512-CRYPT.HEX}2436245762323977762f375a542e42512f4f2e2470593870446942387545707368553855786c4d7a2f786136694959733867696d58306a335a7461777258585750364a4c3439746236646d54346e4f7a6d44344752474274475442687465524238486a30344456642e2e",
    ),
    // The reference implementation of Argon2.
    (
        "password",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ),
    (
        "password",
        "{ARGON2I}$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
    ),
    // The C library.
    (
        "abcxyz",
        "{CRYPT}$6$saltstring$EedWhOw6EwNPRiDsqdim009khKoKu6WCV71X6xueiWbTRw3B.3yJd3u6BlR9FwWHzvjn9kdEO75AL8mQjTu3b1",
    ),
    ("abcxyz", "{crypt}$5$saltstring$kbXUd3yBgVmQ0Prjgsimho5mVmPBCqeiCgpAeWDcZf."),
    (
        "Hello world!",
        "{SHA512-CRYPT}$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        "Hello world!",
        "{SHA256-CRYPT}$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
    ),
    (
        LONG,
        "{SHA512-CRYPT}$6$rounds=77777$short$RL0GgZ5fE8Vgj5Yq/Ccfj2LUdbvoUt/pMZ2W8xuR3pmPLQ1VZVljQi/JR.f6xvrMr8VShj7W65PKMBZWpWm4M/",
    ),
    (LONG, "{SHA256-CRYPT}$5$rounds=77777$short$nUyfwpXeobZMiPmjXensxQww/5EuHm83EDiqRcoI6i0"),
    (
        "pässwörd",
        "{SHA512-CRYPT}$6$rounds=1000$./$FNWGFkzXwCLfylaXpnF2r4az6hAnrIRHnkRg05VCS3iXTIT90CYgNl0YvoOFu1V7aZVt71JLSsP5jWdvhQVtk0",
    ),
    ("pässwörd", "{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC"),
    (
        "x",
        "{SHA512-CRYPT}$6$$KvRrc0bxRLyTUhO8OJOmRczh7oCol5BACiR8rmdfVzvuGgm8JmLDumsL/ah.jFtT.DswxoP9Nv3ByfU4j5hm/0",
    ),
    ("x", "{SHA256-CRYPT}$5$$0Uor7kq6CTPY0DtjOiw.I2DuJSUfiZxCqkrafMVjNc8"),
    ("a:b{c}", "{ClearText}a:b{c}"),
    // Dovecot.
    ("correct horse", "{BLF-CRYPT}$2y$05$HGfvrscgUQqc2HG4LCcNsevwgk.RgE58bkxjJBm902kto.e43..Pi"),
    ("p\u{e4}ssw\u{f6}rd", "{crypt}$2y$04$.XGH8G1e5NEXrMuVm3NNTedNVp1SYHu33XOQX1pko5iqu3N6Xs9SG"),
    ("correct horse", "{PBKDF2}$1$rAfH/9pm4NeXLDG9$5000$e6db869764dd6d1add2a904bbcacdb5ea986c19b"),
    ("p\u{e4}ssw\u{f6}rd", "{PBKDF2}$1$7cw.oBG725N0n1/O$1000$b555d814c13323d536db6ded62f9f1136437b973"),
    (
        "correct horse",
        "{SCRAM-SHA-1}4096,G5dKrsM/cqOxczXxZJaScQ==,b/NfxCKUFebTF1ya7FVhkD/L3QQ=,MsmVCskppbAd+M0G66JED3WIVVs=",
    ),
    (
        "correct horse",
        "{SCRAM-SHA-256}4096,ZCWa5lMSeYuSWDlDviWN5g==,uCD2QopxpLHNINFLpuvAs1e7RluhDl4AO2OeWZiWda8=,3pv9T/DQPUmEdXcBpYPYuZR1jkddfM3vdDAtfEtizeA=",
    ),
];

fn error(field: &str) -> SchemeError {
    StoredPassword::parse(field.as_bytes()).unwrap_err()
}

#[test]
fn hashes_that_others_made() {
    for (password, field) in VECTORS {
        let stored =
            StoredPassword::parse(field.as_bytes()).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert!(stored.verify(password.as_bytes()), "{field}");
        for wrong in [format!("{password} "), password[1..].to_owned(), password.to_uppercase()] {
            assert!(!stored.verify(wrong.as_bytes()), "{field} takes {wrong:?}");
        }
    }
}

#[test]
fn the_default_is_argon2id_with_19_mib_and_two_passes() {
    let field = create(&SCHEMES[0], &b"tan staaf".to_vec().into()).unwrap();
    assert!(field.expose().starts_with("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"), "{}", field.expose());
    let stored = StoredPassword::parse(field.expose().as_bytes()).unwrap();
    assert!(stored.verify(b"tan staaf") && !stored.verify(b"tan_staaf"));
    let stand_in = StoredPassword::stand_in();
    assert_eq!((stored.scheme(), stored.cost()), (stand_in.scheme(), stand_in.cost()));
    assert!(!stand_in.verify(b"") && !stand_in.verify(b"tan staaf"));
}

#[test]
fn what_is_created_is_read_again_with_another_salt_each_time() {
    for scheme in SCHEMES.iter().filter(|scheme| scheme.create.is_some()) {
        let password = Secret::new(b"pass: w\xc3\xb6rd".to_vec());
        let (first, second) = (create(scheme, &password).unwrap(), create(scheme, &password).unwrap());
        for field in [&first, &second] {
            assert!(!field.expose().contains([':', '\n', ' ']), "{}", field.expose());
            let stored = StoredPassword::parse(field.expose().as_bytes()).unwrap();
            assert_eq!(stored.scheme(), scheme.name);
            assert!(stored.verify(password.expose()) && !stored.verify(b"pass"));
        }
        assert_eq!(first == second, scheme.name == "PLAIN");
    }
    let create = |name: &str, password: &[u8]| create(find(name).unwrap(), &password.to_vec().into());
    assert_eq!(create("plain", b"abc").unwrap().expose(), "{PLAIN}abc");
    assert!(matches!(create("argon2i", b"abc"), Err(CreateError::VerifyOnly { .. })));
    assert!(matches!(create("plain", b""), Err(CreateError::Empty)));
    assert!(matches!(create("plain", b"a\nb"), Err(CreateError::Unsendable)));
    assert!(matches!(create("plain", &[b'a'; PASSWORD_MAX_OCTETS + 1]), Err(CreateError::TooLong)));
    assert!(create("plain", &[b'a'; PASSWORD_MAX_OCTETS]).is_ok());
}

#[test]
fn a_field_without_a_scheme_is_told_which_one_to_write() {
    for (field, suggestion) in [
        ("$6$salt$digest", "SHA512-CRYPT"),
        ("$5$salt$digest", "SHA256-CRYPT"),
        ("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$x", "ARGON2ID"),
        ("$argon2i$", "ARGON2I"),
        ("$2y$05$x", "BLF-CRYPT"),
        ("$1$salt$x", "CRYPT"),
        ("hunter2", "PLAIN"),
    ] {
        assert_eq!(error(field), SchemeError::NoScheme { suggestion });
        assert!(error(field).to_string().contains(&format!("write {{{suggestion}}} in front of it")));
    }
}

#[test]
fn damaged_fields() {
    for (field, expected) in [
        ("", SchemeError::Empty),
        ("{PLAIN}", SchemeError::Empty),
        ("{PLAIN.b64}", SchemeError::Empty),
        ("!{PLAIN}x", SchemeError::LockedOut { mark: '!' }),
        ("*", SchemeError::LockedOut { mark: '*' }),
        ("{PLAIN", SchemeError::Unclosed),
        ("{}x", SchemeError::Unknown),
        ("{hunter2}x", SchemeError::Unknown),
        ("{md5-crypt}$1$x", SchemeError::Unsupported { name: "MD5-CRYPT" }),
        ("{CRYPT}$1$x", SchemeError::UnsupportedCrypt),
        ("{CRYPT}$2y$05$x", SchemeError::Malformed { scheme: "BLF-CRYPT" }),
        (
            "{BLF-CRYPT}$2x$05$HGfvrscgUQqc2HG4LCcNsevwgk.RgE58bkxjJBm902kto.e43..Pi",
            SchemeError::Malformed { scheme: "BLF-CRYPT" },
        ),
        ("{PBKDF2}$1$a$5000", SchemeError::Malformed { scheme: "PBKDF2" }),
        (
            "{PBKDF2}$2$a$5000$e6db869764dd6d1add2a904bbcacdb5ea986c19b",
            SchemeError::Malformed { scheme: "PBKDF2" },
        ),
        ("{PBKDF2}$1$a$5000$e6db", SchemeError::Malformed { scheme: "PBKDF2" }),
        ("{SCRAM-SHA-1}4096,AAAA,AAAA,AAAA", SchemeError::Malformed { scheme: "SCRAM-SHA-1" }),
        ("{CRYPT}", SchemeError::UnsupportedCrypt),
        ("{PLAIN.b64}*", SchemeError::Encoding),
        ("{PLAIN.hex}abc", SchemeError::Encoding),
        ("{PLAIN.hex}zz", SchemeError::Encoding),
        ("{SHA512-CRYPT}$5$salt$x", SchemeError::Malformed { scheme: "SHA512-CRYPT" }),
        ("{SHA512-CRYPT}$6$salt$short", SchemeError::Malformed { scheme: "SHA512-CRYPT" }),
        ("{SHA256-CRYPT}$5$rounds=$salt$x", SchemeError::Malformed { scheme: "SHA256-CRYPT" }),
        ("{SHA256-CRYPT}$5$rounds=+5000$salt$x", SchemeError::Malformed { scheme: "SHA256-CRYPT" }),
        (
            "{ARGON2ID}$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            SchemeError::Malformed { scheme: "ARGON2ID" },
        ),
        (
            "{ARGON2ID}$argon2id$v=20$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            SchemeError::Malformed { scheme: "ARGON2ID" },
        ),
        (
            "{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1,data=AAAA$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            SchemeError::Malformed { scheme: "ARGON2ID" },
        ),
        (
            "{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$c29tZQ$AAAAAAAAAAAAAAAAAAAAAA",
            SchemeError::Malformed { scheme: "ARGON2ID" },
        ),
        ("{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", SchemeError::Malformed { scheme: "ARGON2ID" }),
        ("{ARGON2ID}x", SchemeError::Malformed { scheme: "ARGON2ID" }),
    ] {
        assert_eq!(error(field), expected, "{field}");
    }
    assert_eq!(error(&format!("{{PLAIN}}{}", "x".repeat(STORED_MAX_OCTETS))), SchemeError::TooLong);
}

#[test]
fn what_a_file_may_ask_of_the_machine_is_bounded() {
    let argon2 = |m: u32, t: u32, p: u32| {
        let field =
            format!("{{ARGON2ID}}$argon2id$v=19$m={m},t={t},p={p}$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA");
        StoredPassword::parse(field.as_bytes()).map(|stored| stored.cost())
    };
    assert_eq!(argon2(ARGON2_MEMORY_MAX_KIB, ARGON2_PASSES_MAX, 1).as_deref(), Ok("m=262144,t=16,p=1"));
    for (m, t, p) in [
        (ARGON2_MEMORY_MAX_KIB + 1, 1, 1),
        (64, ARGON2_PASSES_MAX + 1, 1),
        (64, 0, 1),
        (1024, 1, ARGON2_PARALLELISM_MAX + 1),
        (1024, 1, u32::MAX),
        (64, 1, 0),
        (7, 1, 1),
        (31, 1, 4),
        (u32::MAX, u32::MAX, 1),
    ] {
        assert!(matches!(argon2(m, t, p), Err(SchemeError::Cost { .. })), "m={m},t={t},p={p}");
    }
    let crypt = |rounds: &str| {
        let field = format!("{{SHA512-CRYPT}}$6$rounds={rounds}$salt${}", "a".repeat(86));
        StoredPassword::parse(field.as_bytes()).map(|stored| stored.cost())
    };
    assert_eq!(crypt("1000000").as_deref(), Ok("rounds=1000000"));
    for rounds in ["999", "0", "1000001", "99999999999999999999"] {
        assert!(matches!(crypt(rounds), Err(SchemeError::Cost { .. })), "{rounds}");
    }
}

#[test]
fn rounds_of_other_schemes_are_bounded() {
    let cost = |field: &str| matches!(error(field), SchemeError::Cost { .. });
    for bcrypt_cost in ["03", "16", "31"] {
        let rest = "HGfvrscgUQqc2HG4LCcNsevwgk.RgE58bkxjJBm902kto.e43..Pi";
        assert!(cost(&format!("{{BLF-CRYPT}}$2y${bcrypt_cost}${rest}")), "{bcrypt_cost}");
    }
    for rounds in ["0", "1000001", "99999999999999999999"] {
        assert!(cost(&format!("{{PBKDF2}}$1$salt${rounds}$e6db869764dd6d1add2a904bbcacdb5ea986c19b")));
    }
    for iterations in ["0", "4095", "1000001"] {
        assert!(cost(&format!(
            "{{SCRAM-SHA-1}}{iterations},G5dKrsM/cqOxczXxZJaScQ==,b/NfxCKUFebTF1ya7FVhkD/L3QQ=,MsmVCskppbAd+M0G66JED3WIVVs="
        )));
    }
}

/// Dovecot verifies it so, too: `doveadm pw -t` takes the first 72 octets of this password, and all 80 with more behind.
#[test]
fn bcrypt_hashes_of_long_passwords_are_verified_and_not_made() {
    let stored =
        StoredPassword::parse(b"{BLF-CRYPT}$2y$04$LKRKLJZza2XLlb4LvvsiDuBR7julyREF6XjtvlrVkmKFmxusJMgb2");
    let stored = stored.unwrap();
    assert!(stored.verify(&[b'a'; 72]) && stored.verify(&[b'a'; 80]) && !stored.verify(&[b'a'; 71]));
    assert!(!stored.verify(&[&[b'a'; 80][..], b"\0"].concat()));
    let create = |octets| create(find("BLF-CRYPT").unwrap(), &Secret::new(vec![b'a'; octets]));
    assert!(create(BCRYPT_PASSWORD_MAX_OCTETS).is_ok());
    assert!(matches!(create(BCRYPT_PASSWORD_MAX_OCTETS + 1), Err(CreateError::TooLongFor { .. })));
}

#[test]
fn nothing_shows_a_password_or_a_hash() {
    let stored = StoredPassword::parse(b"{PLAIN}hunter2").unwrap();
    assert_eq!(format!("{stored:?}"), "StoredPassword({PLAIN}…)");
    for field in [
        "hunter2",
        "{hunter2}hunter2",
        "{CRYPT}hunter2",
        "{ARGON2ID}hunter2",
        "{SHA512-CRYPT}$6$rounds=hunter2$a$b",
    ] {
        let text = format!("{} {:?}", error(field), error(field));
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn names_are_unique() {
    let names: Vec<_> = SCHEMES.iter().flat_map(|scheme| [&[scheme.name], scheme.aliases].concat()).collect();
    for (index, name) in names.iter().enumerate() {
        assert_eq!(*name, name.to_ascii_uppercase());
        assert!(!names[..index].contains(name) && !UNSUPPORTED.contains(name) && *name != "CRYPT");
    }
}

proptest! {
    #[test]
    fn any_field_is_read_or_refused(
        scheme in prop::sample::select(vec!["", "{ARGON2ID}$argon2id$", "{CRYPT}$6$", "{crypt}$5$rounds=", "{PLAIN.hex}", "{plain.B64}", "{", "{CRYPT}$2y$04$", "{PBKDF2}$1$", "{SCRAM-SHA-1}4096,"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let field = [scheme.as_bytes(), &rest].concat();
        if let Err(error) = StoredPassword::parse(&field) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

/// Each round hashes the password as well: with a long one a guess would cost seconds.
#[test]
fn crypt_takes_passwords_of_a_bounded_length_and_cost() {
    let longest = [b'a'; CRYPT_PASSWORD_MAX_OCTETS];
    let too_long = [b'a'; CRYPT_PASSWORD_MAX_OCTETS + 1];
    let create = |scheme, password: &[u8]| create(find(scheme).unwrap(), &Secret::new(password.to_vec()));
    for scheme in ["SHA256-CRYPT", "SHA512-CRYPT"] {
        let stored = create(scheme, &longest).unwrap();
        let stored = StoredPassword::parse(stored.expose().as_bytes()).unwrap();
        assert!(stored.verify(&longest));
        assert!(!stored.verify(&too_long), "it is not cut to what fits");
        assert!(matches!(create(scheme, &too_long), Err(CreateError::TooLongFor { .. })));
    }
    // A hash that others made of a longer password: refused here, at the cost of the longest that is taken.
    let salt = "saltsalt";
    let params = sha_crypt::Sha512Params::new(1_000).unwrap();
    let digest = sha_crypt::sha512_crypt_b64(&too_long, salt.as_bytes(), &params).unwrap();
    let stored = format!("{{SHA512-CRYPT}}$6$rounds=1000${salt}${digest}");
    assert!(!StoredPassword::parse(stored.as_bytes()).unwrap().verify(&too_long));
}
