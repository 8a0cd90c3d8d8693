//! The users file: its lines, its bounds, and its changes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use restante_proto::Secret;
use restante_sasl::scram::KeysError;

use super::{
    edit::{Added, EditError, NewLogin, with_password, with_user, without_user},
    reading::Reading,
    *,
};

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn plain(password: &str) -> NewLogin {
    Secret::new(format!("{{PLAIN}}{password}")).into()
}

/// The names of a text, with the plain password of each.
fn users(text: &[u8]) -> Vec<(String, String)> {
    let (file, _) = UsersFile::parse(text);
    let plain =
        |stored: &StoredPassword| String::from_utf8_lossy(stored.plaintext().unwrap().expose()).into_owned();
    file.iter().map(|(name, stored, _)| (name.as_str().to_owned(), plain(stored))).collect()
}

fn errors(text: &[u8]) -> Vec<(usize, LineProblem)> {
    UsersFile::parse(text).1.into_iter().map(|error| (error.line, error.problem)).collect()
}

#[test]
fn names_fold_and_fields_after_the_second_colon_are_ignored() {
    let text = b"\xef\xbb\xbf# staff\r\n\r\n  \nAnn@Example.org:{PLAIN}a b\r\nbob:{plain}x:1000:1000::/home/bob::quota=1G\n  # end";
    assert_eq!(
        users(text),
        [("ann@example.org".to_owned(), "a b".to_owned()), ("bob".to_owned(), "x".to_owned())]
    );
    assert_eq!(errors(text), []);
    let (file, _) = UsersFile::parse(text);
    assert!(file.get(&name("ANN@example.ORG")).unwrap().verify(b"a b"));
    assert!(file.get(&name("ann")).is_none());
    assert_eq!(file.iter().map(|(.., line)| line).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_damaged_line_is_reported_and_the_rest_works() {
    let long = "x".repeat(LINE_MAX_OCTETS);
    let text = format!(
        "ann:{{PLAIN}}a\nhunter2\n../x:{{PLAIN}}hunter2\n:{{PLAIN}}hunter2\nbob:hunter2\ncarl:{{HUNTER2}}hunter2\nANN:{{PLAIN}}hunter2\n\
         dora:\n{long}:{{PLAIN}}hunter2\nb\u{7}b:{{PLAIN}}hunter2\nzoe:{{PLAIN}}z\n"
    );
    assert_eq!(
        users(text.as_bytes()).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["ann", "zoe"]
    );
    assert_eq!(
        errors(text.as_bytes()),
        [
            (2, LineProblem::NoColon),
            (3, LineProblem::Name(InvalidUserName::Character('/'))),
            (4, LineProblem::Name(InvalidUserName::Empty)),
            (5, LineProblem::Password(SchemeError::NoScheme { suggestion: "PLAIN" })),
            (6, LineProblem::Password(SchemeError::Unknown)),
            (7, LineProblem::Duplicate { first: 1 }),
            (8, LineProblem::Password(SchemeError::Empty)),
            (9, LineProblem::TooLong),
            (10, LineProblem::Name(InvalidUserName::Character('\u{7}'))),
        ]
    );
    for error in UsersFile::parse(text.as_bytes()).1 {
        assert!(!error.to_string().to_ascii_lowercase().contains("hunter2"), "{error}");
        assert!(!error.to_string().contains('\u{7}'), "{error}");
    }
    assert_eq!(errors(b"\xff:{PLAIN}x"), [(1, LineProblem::NameEncoding)]);
}

#[test]
fn a_line_of_the_greatest_length_is_read() {
    let line = |octets: usize| format!("ann:{{PLAIN}}x:{}", "y".repeat(octets - 13));
    assert_eq!(line(LINE_MAX_OCTETS).len(), LINE_MAX_OCTETS + "ann:{PLAIN}x:".len() - 13);
    assert_eq!(errors(line(LINE_MAX_OCTETS).as_bytes()), []);
    assert_eq!(errors(line(LINE_MAX_OCTETS + 1).as_bytes()), [(1, LineProblem::TooLong)]);
}

#[test]
fn a_file_of_nothing_but_damage_gives_a_bounded_report() {
    let errors = errors("x\n".repeat(LINE_ERRORS_MAX + 50).as_bytes());
    assert_eq!(errors.len(), LINE_ERRORS_MAX);
    assert_eq!(errors.last(), Some(&(LINE_ERRORS_MAX, LineProblem::AndOthers { others: 50 })));
}

/// `ann:!{…` is how people lock a user out for a while.
#[test]
fn a_damaged_line_is_not_undone_by_a_later_one() {
    let text = b"ann:!{PLAIN}x\nann:{PLAIN}y\nbob:{PLAIN}b\n";
    assert_eq!(users(text), [("bob".to_owned(), "b".to_owned())]);
    assert_eq!(errors(text).last(), Some(&(2, LineProblem::Duplicate { first: 1 })));
}

#[test]
fn a_name_is_known_by_its_line_however_damaged_the_rest_is() {
    let text = b"ann:{PLAIN}a\nbob:!{PLAIN}b\ncarl:{SSHA}xyz\ndora:\n";
    let knows = |text: &[u8], user: &str| UsersFile::parse(text).0.knows(&name(user));
    assert_eq!(knows(text, "Ann"), Knowledge::User);
    assert_eq!(knows(text, "bob"), Knowledge::LockedOut);
    assert_eq!(knows(text, "carl"), Knowledge::Damaged { line: 3 });
    assert_eq!(knows(text, "dora"), Knowledge::Damaged { line: 4 });
    assert_eq!(knows(text, "eve"), Knowledge::Stranger);
    for unreadable in
        [&b"eve {PLAIN}e\n"[..], b"e/ve:{PLAIN}e\n", b"\xff:{PLAIN}e\n", &[b'x'; LINE_MAX_OCTETS + 1]]
    {
        let text = [text, unreadable].concat();
        assert_eq!((knows(&text, "eve"), knows(&text, "ann")), (Knowledge::Unclear, Knowledge::User));
    }
}

#[test]
fn a_reading_is_settled_when_it_is_whole_and_old_or_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let read = |text: &str, age: i64| {
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let age_or_future = Duration::from_secs(age.unsigned_abs());
        let now = SystemTime::now();
        file.set_modified(if age < 0 { now + age_or_future } else { now - age_or_future }).unwrap();
        Reading::of(&path).unwrap()
    };
    assert!(read("ann:{PLAIN}a\n", 3).is_settled());
    for (text, age) in [("", 3), ("ann:{PLAIN}a", 3), ("ann:{PLAIN}a\n", 0), ("ann:{PLAIN}a\n", -9)] {
        let first = read(text, age);
        assert!(!first.is_settled(), "{text:?} {age}");
        let second = Reading::of(&path).unwrap();
        assert_eq!(second.is_settled_since(&first), second.is_whole(), "{text:?} {age}");
    }
    let first = read("ann:{PLAIN}a\n", 0);
    assert!(!read("ann:{PLAIN}a\nbob:{PLAIN}b\n", 0).is_settled_since(&first));
}

#[test]
fn changes_keep_comments_order_and_further_fields() {
    let text = b"# staff\nann:{PLAIN}a:1000:1000\n\nBob:{PLAIN}b\r\n#bob:{PLAIN}old";
    let added = with_user(text, &name("carl"), &plain("c")).unwrap();
    assert_eq!(added, [&text[..], b"\ncarl:{PLAIN}c\n"].concat());
    let changed = with_password(text, &name("ann"), &plain("new")).unwrap();
    assert_eq!(changed, b"# staff\nann:{PLAIN}new:1000:1000\n\nBob:{PLAIN}b\r\n#bob:{PLAIN}old");
    let changed = with_password(text, &name("bob"), &plain("new")).unwrap();
    assert_eq!(changed, b"# staff\nann:{PLAIN}a:1000:1000\n\nBob:{PLAIN}new\r\n#bob:{PLAIN}old");
    let removed = without_user(text, &name("ann")).unwrap();
    assert_eq!(removed, b"# staff\n\nBob:{PLAIN}b\r\n#bob:{PLAIN}old");
    assert!(matches!(with_user(text, &name("bob"), &plain("x")), Err(EditError::Exists(_))));
    assert!(matches!(with_password(text, &name("carl"), &plain("x")), Err(EditError::NotFound(_))));
    assert!(matches!(without_user(text, &name("carl")), Err(EditError::NotFound(_))));
    assert!(matches!(
        with_user(b"", &name("ann"), &plain(&"x".repeat(LINE_MAX_OCTETS))),
        Err(EditError::TooLong)
    ));
}

const SHA256: &str = "{SCRAM-SHA-256}4096,hs8pp7LjYByJlj1zKnkt4g==,x3gExjA+yEF8yYSjfWazfO0du7K5nvwHh0RwC50tsHs=,RUBl9OwMIhh+txkCqBlswjBS3MluNz7jzcYyWD0lZN0=";
const SHA1: &str =
    "{scram-sha-1}4096,G5dKrsM/cqOxczXxZJaScQ==,b/NfxCKUFebTF1ya7FVhkD/L3QQ=,MsmVCskppbAd+M0G66JED3WIVVs=";

#[test]
fn keys_places_and_delays_are_further_fields() {
    let text = format!(
        "ann:{{ARGON2ID}}$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA:1000:{SHA256}:maildir=/m/a b:{SHA1}:login_delay=60\n\
         bob:{SHA256}::home:{SHA1}:{SHA1}\ncarl:{{PLAIN}}c:maildirs=/x:xlogin_delay=7\n!dora:{{PLAIN}}d\neve:!x:maildir=/e\n"
    );
    let (file, errors) = UsersFile::parse(text.as_bytes());
    assert_eq!(errors.len(), 1, "{errors:?}");
    let hashes = |user: &str| {
        let entry = file.entry(&name(user)).unwrap();
        Hash::ALL.map(|hash| entry.keys_of(hash).map(|keys| keys.iterations()))
    };
    assert_eq!(hashes("ann"), [Some(4096); 2]);
    assert_eq!(hashes("bob"), [Some(4096); 2]);
    assert_eq!(hashes("carl"), [None; 2]);
    let ann = file.account(&name("Ann")).unwrap();
    assert_eq!(
        (ann.name.as_str(), ann.maildrop.as_deref(), ann.login_delay),
        ("ann", Some("/m/a b"), Some(Duration::from_secs(60)))
    );
    assert_eq!(file.account(&name("carl")), Some(Account::new(name("carl"))));
    assert_eq!(
        file.account(&name("eve")).unwrap().maildrop.as_deref(),
        Some("/e"),
        "locked out, and has mail"
    );
    assert!(file.get(&name("bob")).unwrap().verify(b"x"), "keys are as good as a hash");
    assert_eq!(file.lacking(Needs::Keys(Hash::Sha256)), 0);
    assert_eq!((file.lacking(Needs::Plaintext), file.lacking(Needs::Token)), (2, 4));
}

#[test]
fn a_damaged_field_is_left_out_and_the_user_logs_in() {
    for (field, problem, told) in [
        ("{SCRAM-SHA-256}hunter2", FieldProblem::Keys(KeysError::Malformed), "restante user passwd"),
        ("{SCRAM-SHA-1}1,AAAA,AAAA,AAAA", FieldProblem::Keys(KeysError::Iterations(1)), "4096"),
        ("{SCRAM-SHA-512}hunter2", FieldProblem::Hash, "SHA-256"),
        ("{SCRAM-hunter2", FieldProblem::Hash, "SHA-256"),
        ("maildir=hunter2", FieldProblem::Maildir, "absolute"),
        ("maildir=/a/../hunter2", FieldProblem::Maildir, "absolute"),
        ("maildir=/", FieldProblem::Maildir, "absolute"),
        ("maildir=", FieldProblem::Maildir, "absolute"),
        ("login_delay=hunter2", FieldProblem::LoginDelay, "86400"),
        ("login_delay=86401", FieldProblem::LoginDelay, "86400"),
        ("login_delay=", FieldProblem::LoginDelay, "86400"),
    ] {
        let text = format!("ann:{{PLAIN}}a:{field}:1000\n");
        assert_eq!(errors(text.as_bytes()), [(1, LineProblem::Field(problem))], "{field}");
        let (file, errors) = UsersFile::parse(text.as_bytes());
        let entry = file.entry(&name("ann")).unwrap();
        assert!(entry.password.unwrap().verify(b"a") && entry.keys.is_empty(), "{field}");
        assert!(errors[0].has_name() && errors[0].to_string().contains(told), "{}", errors[0]);
        assert!(!errors[0].to_string().contains("hunter2"), "{}", errors[0]);
        // Mail is not looked for at another place than the one that was meant.
        assert_eq!(entry.account.maildrop.is_some(), problem == FieldProblem::Maildir, "{field}");
    }
}

#[test]
fn keys_are_made_with_the_password_and_go_with_it() {
    let login =
        NewLogin::create(crate::scheme::find("SHA256-CRYPT").unwrap(), &b"new".to_vec().into(), &Hash::ALL);
    let login = login.unwrap();
    assert!(login.has_keys() && !format!("{login:?}").contains("$5$"));
    let text = format!("# staff\nann:{{PLAIN}}a:{SHA1}:1000::{SHA256}:{SHA256}:maildir=/m/ann\n");
    let new = with_password(text.as_bytes(), &name("ann"), &login).unwrap();
    let (file, errors) = UsersFile::parse(&new);
    assert_eq!(errors, []);
    let entry = file.entry(&name("ann")).unwrap();
    for hash in Hash::ALL {
        let keys = entry.keys_of(hash).unwrap();
        assert_eq!(Keys::derive(hash, b"new", keys.salt(), keys.iterations()).as_ref(), Some(&**keys));
        assert!(keys.iterations() >= 100_000, "a guess at stolen keys is not to be cheap");
    }
    let (head, rest) = new.split_at(new.iter().position(|&octet| octet == b'\n').unwrap() + 1);
    assert!(head.starts_with(b"#salt-key ") && file.salt_key().is_some());
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    let fields: Vec<_> = rest.lines().nth(1).unwrap().split(':').collect();
    assert_eq!(fields.len(), 7, "one of the three keys too many is gone: {rest}");
    assert!(fields[2].starts_with("{SCRAM-SHA-256}") && fields[5].starts_with("{SCRAM-SHA-1}"), "{rest}");
    assert_eq!((fields[3], fields[4], fields[6]), ("1000", "", "maildir=/m/ann"));

    // The key stays, whatever else changes; and the keys of a password go with it.
    let again = with_user(&new, &name("bob"), &login).unwrap();
    assert_eq!(UsersFile::parse(&again).0.salt_key(), file.salt_key());
    assert_eq!(again.windows(9).filter(|text| text == b"#salt-key").count(), 1);
    let without = with_password(&again, &name("ann"), &plain("old")).unwrap();
    assert!(UsersFile::parse(&without).0.entry(&name("ann")).unwrap().keys.is_empty());
    assert!(String::from_utf8(without).unwrap().contains("ann:{PLAIN}old:1000::maildir=/m/ann\n"));
}

#[test]
fn the_longest_name_has_room_for_hash_and_keys() {
    let longest = "a".repeat(restante_proto::user::USER_NAME_MAX_OCTETS);
    for scheme in ["ARGON2ID", "SHA512-CRYPT"] {
        let scheme = crate::scheme::find(scheme).unwrap();
        let login = NewLogin::create(scheme, &b"x".to_vec().into(), &Hash::ALL).unwrap();
        let text = with_user(b"", &name(&longest), &login).unwrap();
        assert!(text.split(|&octet| octet == b'\n').all(|line| line.len() < LINE_MAX_OCTETS / 4));
        assert_eq!(errors(&text), []);
    }
}

#[test]
fn no_keys_are_made_of_what_scram_cannot_carry_or_does_not_need() {
    let create = |scheme: &str, password: &[u8]| {
        NewLogin::create(crate::scheme::find(scheme).unwrap(), &password.to_vec().into(), &Hash::ALL).unwrap()
    };
    assert!(!create("PLAIN", b"a").has_keys(), "they are made at the login");
    let text = with_user(b"", &name("ann"), &create("SCRAM-SHA-256", b"a")).unwrap();
    let entry = UsersFile::parse(&text).0.entry(&name("ann")).unwrap();
    assert_eq!((entry.keys.len(), entry.can(Needs::Keys(Hash::Sha256))), (1, true));
    // Keys that are the hash itself need a salt key as much.
    let scheme = crate::scheme::find("SCRAM-SHA-256").unwrap();
    let alone = NewLogin::create(scheme, &b"a".to_vec().into(), &[]).unwrap();
    let file = UsersFile::parse(&with_user(b"", &name("ann"), &alone).unwrap()).0;
    assert!(file.has_keys() && file.salt_key().is_some());
    assert!(!UsersFile::parse(b"ann:{PLAIN}a\n").0.has_keys());
}

#[test]
fn the_salt_key_is_a_comment_that_counts() {
    let key = |text: &[u8]| UsersFile::parse(text).0.salt_key().map(|key| key.expose()[0]);
    let line = |octet: u8| extras::salt_key_line(&Secret::new([octet; 32]));
    assert_eq!(key(format!("# staff\n{}\r\n{}\n", line(1), line(2)).as_bytes()), Some(1));
    assert_eq!(key(b"# salt-key AAAA\n"), None);
    for damaged in ["#salt-key hunter2\n", "#salt-key \n", "#salt-key AAAA\n"] {
        assert_eq!(errors(damaged.as_bytes()), [(1, LineProblem::SaltKey)]);
        assert_eq!(key(format!("{damaged}{}", line(3)).as_bytes()), Some(3));
    }
}

#[test]
fn one_user_more_moves_few_stand_ins() {
    let lines = |count: usize| -> String {
        let keys =
            |number: usize| SHA256.replace("4096", if number.is_multiple_of(3) { "4096" } else { "10000" });
        (0..count).map(|number| format!("user{number}:{}\n", keys(number))).collect()
    };
    let (before, after) = (lines(100), lines(101));
    let (before, after) = (UsersFile::parse(before.as_bytes()).0, UsersFile::parse(after.as_bytes()).0);
    let points = (0..1000_u64).map(|number| number * (u64::MAX / 1000));
    let like = |file: &UsersFile, point| file.keys_like(point, Hash::Sha256);
    let moved = points.clone().filter(|point| like(&before, *point) != like(&after, *point)).count();
    assert!(moved <= 20, "{moved}");
    let small = points.filter(|point| like(&before, *point).unwrap().iterations == 4096).count();
    assert!((330..=350).contains(&small), "as often as users have it: {small}");
    assert_eq!(UsersFile::default().keys_like(0, Hash::Sha256), None);
}

#[test]
fn a_name_that_would_be_a_comment_is_refused() {
    assert!(matches!(with_user(b"", &name("#ann"), &plain("a")), Err(EditError::Comment)));
    assert_eq!(users(&with_user(b"", &name("a#nn"), &plain("a")).unwrap()).len(), 1);
}

#[test]
fn the_mark_that_editors_put_in_front_is_no_part_of_a_name() {
    let text = b"\xef\xbb\xbfann:{PLAIN}a:1000:1000\nbob:{PLAIN}b\n";
    let new = with_password(text, &name("ann"), &plain("new")).unwrap();
    assert_eq!(new, b"\xef\xbb\xbfann:{PLAIN}new:1000:1000\nbob:{PLAIN}b\n");
    assert_eq!(without_user(text, &name("ann")).unwrap(), b"bob:{PLAIN}b\n");
    // Two files were joined: the second one's mark is no reason to lock somebody out, nor to let somebody back in.
    let text = b"ann:oops\n\xef\xbb\xbfann:{PLAIN}a\n\xef\xbb\xbfbob:{PLAIN}b\n";
    assert_eq!(users(text), [("bob".to_owned(), "b".to_owned())]);
    assert_eq!(without_user(text, &name("ann")).unwrap(), b"\xef\xbb\xbfbob:{PLAIN}b\n");
}

#[test]
fn a_damaged_line_can_be_repaired_and_a_removed_user_stays_removed() {
    assert_eq!(with_password(b"ann:hunter2\n", &name("ann"), &plain("a")).unwrap(), b"ann:{PLAIN}a\n");
    assert_eq!(
        without_user(b"ann:{PLAIN}a\nbob:{PLAIN}b\nANN:{PLAIN}c\n", &name("ann")).unwrap(),
        b"bob:{PLAIN}b\n"
    );
    assert!(matches!(with_user(b"ann:hunter2\n", &name("ann"), &plain("a")), Err(EditError::Exists(_))));
}

#[test]
fn files_are_created_for_the_owner_alone_and_keep_their_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert!(matches!(edit::remove(&path, &name("ann")), Err(EditError::Io { .. })));
    assert!(!path.exists());
    edit::add(&path, &name("ann"), &plain("a")).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // A left-over of a crash is in nobody's way.
    fs::write(folder.path().join("users.restante-new"), "half").unwrap();
    edit::add(&path, &name("bob"), &plain("b")).unwrap();
    edit::set_password(&path, &name("ann"), &plain("new")).unwrap();
    assert_eq!(mode(), 0o640);
    assert_eq!(fs::read(&path).unwrap(), b"ann:{PLAIN}new\nbob:{PLAIN}b\n");
    edit::remove(&path, &name("ann")).unwrap();
    assert_eq!(edit::list(&path).unwrap().0.iter().count(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_no_file_takes_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    assert!(matches!(edit::add(&path, &name("#ann"), &plain("a")), Err(EditError::Comment)));
    let long = plain(&"x".repeat(LINE_MAX_OCTETS));
    assert!(matches!(edit::add(&path, &name("ann"), &long), Err(EditError::TooLong)));
    assert!(!path.exists());
}

/// Only root can give a folder away; whoever else makes a file reads it, too.
#[test]
fn a_file_that_root_makes_is_for_the_group_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    let of_nobody = chown(folder.path(), None, Some(65534)).is_ok();
    assert_eq!(edit::add(&path, &name("ann"), &plain("a")).unwrap(), Added::ToNewFile);
    let file = fs::metadata(&path).unwrap();
    if is_root && of_nobody {
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (0, 65534, 0o640));
    }
    assert_eq!(edit::add(&path, &name("bob"), &plain("b")).unwrap(), Added::ToOldFile);
    fs::remove_file(&path).unwrap();
    if is_root && of_nobody {
        chown(folder.path(), None, Some(0)).unwrap();
        assert_eq!(edit::add(&path, &name("ann"), &plain("a")).unwrap(), Added::ToNewFileOfRoot);
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (0, 0, 0o600));
    }
}

/// Only root may give files away, and only root edits files of others.
#[test]
fn a_file_keeps_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    edit::add(&path, &name("ann"), &plain("a")).unwrap();
    let wanted = match chown(&path, Some(65534), Some(65534)) {
        Ok(()) => (65534, 65534),
        Err(_) => (fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().gid()),
    };
    edit::add(&path, &name("bob"), &plain("b")).unwrap();
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.uid(), file.gid()), wanted);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&path, "").unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    edit::add(&link, &name("ann"), &plain("a")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&path).unwrap(), b"ann:{PLAIN}a\n");
}

#[test]
fn a_link_that_leads_nowhere_is_an_error_and_not_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(matches!(edit::add(&link, &name("ann"), &plain("a")), Err(EditError::Io { .. })));
}

#[test]
fn a_file_that_another_program_holds_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    fs::write(&path, "").unwrap();
    let held = edit::lock(&path, Duration::ZERO).unwrap();
    let busy = edit::lock(&path, Duration::from_millis(1));
    assert!(matches!(busy, Err(EditError::Locked(_))));
    drop(held);
    edit::add(&path, &name("ann"), &plain("a")).unwrap();
}

#[test]
fn more_users_than_a_file_may_have_are_left_out() {
    let text: String = (0..USERS_MAX + 2).map(|number| format!("{number}:{{PLAIN}}x\n")).collect();
    let (file, errors) = UsersFile::parse(text.as_bytes());
    assert_eq!((file.len(), errors.len()), (USERS_MAX, 1));
    assert_eq!(errors[0], LineError { line: USERS_MAX + 1, problem: LineProblem::TooManyUsers });
}

#[test]
fn changes_at_the_same_time_do_not_undo_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || edit::add(path, &name(&format!("user{number}")), &plain("x")).unwrap());
        }
    });
    assert_eq!(edit::list(&path).unwrap().0.iter().count(), 8);
}

#[test]
fn what_is_no_regular_file_or_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(edit::list(folder.path()), Err(EditError::NotReadable(_))));
    assert!(matches!(edit::add(folder.path(), &name("a"), &plain("x")), Err(EditError::NotReadable(_))));
    let path = folder.path().join("users");
    fs::File::create(&path).unwrap().set_len(FILE_MAX_OCTETS + 1).unwrap();
    assert!(matches!(edit::list(&path), Err(EditError::NotReadable(_))));
}

proptest! {
    #[test]
    fn any_octets_are_read(text in prop::collection::vec(any::<u8>(), 0..500)) {
        let (file, errors) = UsersFile::parse(&text);
        prop_assert!(file.len() + errors.len() <= text.split(|&octet| octet == b'\n').count());
    }

    #[test]
    fn a_change_is_seen_and_touches_nobody_else(
        text in "(([ab]{1,2}(@x)?|#|\u{e9}):?(\\{PLAIN\\}|\\{)?[a-z:]{0,4}\r?\n){0,8}",
        user in "[ab]{1,2}(@x)?",
    ) {
        let others = |text: &[u8]| users(text).into_iter().filter(|(name, _)| *name != user).collect::<Vec<_>>();
        let mine = |text: &[u8]| users(text).into_iter().find(|(name, _)| *name == user).map(|(_, password)| password);
        let (text, user_name) = (text.as_bytes(), name(&user));
        for (changed, password) in [
            (with_user(text, &user_name, &plain("new")), Some("new")),
            (with_password(text, &user_name, &plain("new")), Some("new")),
            (without_user(text, &user_name), None),
        ] {
            if let Ok(changed) = changed {
                prop_assert_eq!(others(&changed), others(text));
                prop_assert_eq!(mine(&changed), password.map(str::to_owned));
            }
        }
        prop_assert!(with_user(text, &user_name, &plain("new")).is_ok() != with_password(text, &user_name, &plain("new")).is_ok());
    }
}
