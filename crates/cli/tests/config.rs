//! `restante config`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

mod binary;

/// A folder with all that a sound configuration names, and the configuration.
struct World {
    folder: TempDir,
    /// As it is given to `--config`.
    file: String,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("mail")).unwrap();
        fs::write(path("users"), "ann@example.org:{PLAIN}abcxyz\n").unwrap();
        fs::set_permissions(path("users"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in ["one", "two"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(path(&format!("{name}.cert")), made.cert.pem()).unwrap();
            fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
            fs::set_permissions(path(&format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let file = path("restante.toml");
        fs::write(&file, text.replace("DIR", folder.path().to_str().unwrap())).unwrap();
        Self { file: file.to_str().unwrap().to_owned(), folder }
    }

    /// A file that only its owner can read.
    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn check(&self) -> binary::Ran {
        binary::restante(&["config", "check", "--config", &self.file])
    }

    /// The lines of errors, without label and file name.
    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let told = self.check().fails(1);
        let start = format!("error: {}:", self.file);
        told.lines().map(|line| line.strip_prefix(&start).unwrap_or(line).trim_start().to_owned()).collect()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

const SOUND: &str = "[tls]
certificate = \"DIR/one.cert\"
key = \"DIR/one.key\"
[auth]
users = \"DIR/users\"
[store]
maildir = \"DIR/mail/{user}\"
";

#[test]
fn help() {
    for command in [&["config"][..], &["config", "check"], &["config", "explain"], &["config", "default"]] {
        binary::help(command);
    }
}

#[test]
fn a_sound_configuration_has_no_errors() {
    let world = World::new(SOUND);
    assert_eq!(world.check().ok(), format!("{}: no errors\n", world.file));
    assert_eq!(
        binary::restante(&["config", "check", "--json", "--config", &world.file]).ok(),
        "{\"errors\":[],\"warnings\":[]}\n"
    );
    assert_eq!(world.check().stderr(), "");
}

/// The text without the section that is there only where the binary was built with the feature.
fn without_pam(text: &str, begin: &str, end: &str) -> String {
    match (text.find(begin), text.find(end)) {
        (Some(begin), Some(end)) if cfg!(feature = "pam") => format!("{}{}", &text[..begin], &text[end..]),
        _ => text.to_owned(),
    }
}

#[test]
fn the_default_configuration_is_sound_and_documented() {
    let text = binary::restante(&["config", "default"]).ok();
    binary::snapshot("config-default", &without_pam(&text, "# Users of PAM,", "# Every bound"));
    let moved = text.replace("/etc/restante", "DIR").replace("/var/vmail", "DIR/mail");
    let moved = moved.replace("/var/lib/restante/transcripts", "DIR/mail");
    World::new(&moved).check().ok();
    // With the examples taken in it is read, too; the files of the examples are not there.
    let is_example = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let taken_in = |line: &str| format!("{}\n", if is_example(&line) { &line[1..] } else { line });
    let examples: String = moved.lines().map(taken_in).collect();
    let errors = World::new(&examples).errors();
    let [certificate, token, salt_key] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(certificate.contains("cert.pem") && token.contains("admin-token"), "{errors:?}");
    assert!(salt_key.contains("salt-key"), "{errors:?}");
}

#[test]
fn everything_is_explained() {
    let text = binary::restante(&["config", "explain"]).ok();
    binary::snapshot("config-explain", &without_pam(&text, "[pam] Users of PAM,", "[limits] Every bound"));
    let one = binary::restante(&["config", "explain", "idle_seconds"]).ok();
    assert!(one.starts_with("[limits] idle_seconds\n") && one.contains("Default: 600\n"), "{one}");
    assert_eq!(one, binary::restante(&["config", "explain", "limits.idle_seconds"]).ok());
    assert_eq!(one, binary::restante(&["config", "explain", "[limits] idle_seconds"]).ok());
    let section = binary::restante(&["config", "explain", "tls"]).ok();
    assert!(section.contains("[tls] certificate\n") && section.contains("[tls] key\n"), "{section}");
    let told = binary::restante(&["config", "explain", "certificat"]).fails(2);
    assert!(told.contains("did you mean `restante config explain certificate`?"), "{told}");
    assert!(binary::restante(&["config", "explain", "zzzz"]).fails(2).contains("lists all keys"));
}

#[test]
fn errors_name_file_line_column_and_the_fix() {
    let world = World::new(
        "hostname = \"X1\"\n\n[tls]\nkey = \"/k\"\ncertificat = \"/c\"\n[log]\nlevel = \"loud\"\n",
    );
    assert_eq!(
        world.check().fails(1),
        format!(
            "error: {0}:5:1: unknown key \"certificat\" in [tls]; did you mean \"certificate\"?\n\
             error: {0}:7:9: level must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"\n",
            world.file
        )
    );
}

#[test]
fn errors_as_json_have_their_places() {
    let world = World::new("[tls]\nkey = \"k\"\n");
    let ran = binary::restante(&["config", "check", "--json", "--config", &world.file]);
    assert_eq!((ran.status(), ran.stderr()), (1, String::new()));
    let found: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    let error = &found["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &7.into()));
    assert_eq!(error["file"], world.file.as_str());
    assert!(error["message"].as_str().unwrap().contains("not an absolute path"));

    let world = World::new(SOUND);
    let users = world.path().join("users");
    fs::write(&users, "ann@example.org:{PLAIN}abcxyz\nbob:secret\n").unwrap();
    let ran = binary::restante(&["config", "check", "--json", "--config", &world.file]);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!(found["errors"][0]["file"], users.to_str().unwrap());
    assert_eq!((&found["errors"][0]["line"], found["errors"][0]["column"].is_null()), (&2.into(), true));
}

#[test]
fn files_that_are_missing_or_wrong_are_told_where_they_are_named() {
    let world = World::new(SOUND);
    fs::remove_dir(world.path().join("mail")).unwrap();
    fs::remove_file(world.path().join("users")).unwrap();
    fs::remove_file(world.path().join("one.key")).unwrap();
    let errors = world.errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("3:7:") && errors[0].contains("one.key"), "{errors:?}");
    assert!(errors[1].starts_with("5:9:") && errors[1].contains("restante user add"), "{errors:?}");
    assert!(errors[2].starts_with("7:11:") && errors[2].contains("/mail"), "{errors:?}");

    let world = World::new(&SOUND.replace("one.key", "two.key"));
    assert!(world.errors()[0].starts_with("3:7:"), "a key of another certificate: {:?}", world.errors());
    let world = World::new(&SOUND.replace("one.cert", "users"));
    assert!(world.errors()[0].starts_with("2:15:"), "no certificate in it: {:?}", world.errors());

    let world = World::new(SOUND);
    fs::write(world.path().join("users"), "ann@example.org:{PLAIN}abcxyz\nbob:secret\n").unwrap();
    let told = world.errors().join("\n");
    let place = format!("error: {}:2: ", world.path().join("users").display());
    assert!(told.starts_with(&place) && !told.contains("secret"), "{told}");
}

#[test]
fn a_salt_key_is_read_as_secrets_are() {
    let world = World::new(&SOUND.replace("[auth]\n", "[auth]\nsalt_key_file = \"DIR/salt-key\"\n"));
    let file = world.path().join("salt-key");
    let error = || world.errors().join("\n");
    assert!(error().starts_with("5:17:") && error().contains("openssl rand -base64 32"), "{}", error());
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    write(key, 0o640);
    assert!(error().contains("chmod go="), "{}", error());
    for wrong in ["", "hunter2\n", "AAAA\n", &"A".repeat(1000)] {
        write(wrong, 0o600);
        assert!(error().contains("salt key") && !error().contains("hunter2"), "{}", error());
    }
    write(key, 0o600);
    world.check().ok();
}

#[test]
fn a_directory_that_there_is_none_of_is_told() {
    let world = World::new(SOUND);
    let text = fs::read_to_string(&world.file).unwrap();
    fs::write(&world.file, text.replace("[auth]\n", "[auth]\ndirectories = [\"user\"]\n")).unwrap();
    assert!(world.errors()[0].starts_with("5:16: \"user\" is no directory; did you mean \"users\"?"));
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_told_in_words() {
    let world = World::new(SOUND);
    let (certificate, key) = (world.path().join("one.cert"), world.path().join("one.key"));
    let (good_certificate, good_key) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let other = fs::read(world.path().join("two.key")).unwrap();
    let der = |pem: &[u8]| {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        match CertificateDer::from_pem_slice(pem) {
            Ok(certificate) => certificate.to_vec(),
            Err(_) => PrivateKeyDer::from_pem_slice(pem).unwrap().secret_der().to_vec(),
        }
    };
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec();
    let old = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                -----END RSA PRIVATE KEY-----\n"
        .to_vec();
    for (certificate_text, key_text, place, words) in [
        (&good_certificate, &other, "3:7:", "the key is not that of the certificate"),
        (
            &good_key,
            &good_certificate,
            "2:15:",
            "this is a private key, and a certificate is expected; are the two swapped?",
        ),
        (
            &good_certificate,
            &good_certificate,
            "3:7:",
            "this is a certificate, and a private key is expected",
        ),
        (
            &good_certificate,
            &encrypted,
            "3:7:",
            "the key has a passphrase, which nobody is there to type; remove it with `openssl pkey",
        ),
        (&good_certificate, &old, "3:7:", "the key has a passphrase"),
        (
            &der(&good_certificate),
            &good_key,
            "2:15:",
            "this is DER, and PEM is expected; `openssl x509 -inform DER",
        ),
        (
            &good_certificate,
            &der(&good_key),
            "3:7:",
            "this is DER, and PEM is expected; `openssl pkey -inform DER",
        ),
        (&b"hello".to_vec(), &good_key, "2:15:", "a certificate is expected, PEM, and there is none in it"),
    ] {
        fs::write(&certificate, certificate_text).unwrap();
        fs::write(&key, key_text).unwrap();
        let errors = world.errors();
        assert!(errors.len() == 1 && errors[0].starts_with(place) && errors[0].contains(words), "{errors:?}");
    }
    fs::remove_file(&certificate).unwrap();
    assert!(world.errors()[0].contains("one.cert: cannot be read: No such file"), "{:?}", world.errors());
}

#[test]
fn defaults_that_do_not_fit_the_machine_are_told_by_their_key() {
    let world = World::new("[auth]\nusers = \"DIR/users\"\n");
    if Path::new("/var/vmail").exists() {
        return;
    }
    let errors = world.errors();
    assert!(errors[0].starts_with("the default of store.maildir: cannot look into /var/vmail"), "{errors:?}");
    assert!(errors[0].ends_with("`install -d -o vmail /var/vmail`"), "{errors:?}");
}

#[test]
fn a_folder_is_no_configuration() {
    let world = World::new("");
    let folder = world.path().to_str().unwrap();
    let told = binary::restante(&["config", "check", "--config", folder]).fails(1);
    assert!(told.contains(&format!("hint: name the file in it: {folder}/restante.toml")), "{told}");
}

#[test]
fn what_works_and_should_be_known_is_a_warning() {
    let day = |days: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(86_400 * u64::try_from(days).unwrap())
    };
    let today =
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400).unwrap();
    let text = format!("hostname = \"localhost\"\n{}", SOUND.replace("{user}", "{domain}/{local}"));
    let world = World::new(&text);
    let warnings = || -> Vec<String> {
        assert_eq!(world.check().ok(), format!("{}: no errors\n", world.file));
        world.check().stderr().lines().map(str::to_owned).collect()
    };
    assert!(warnings().is_empty(), "{:?}", warnings());

    let users = world.path().join("users");
    fs::write(&users, "ann@example.org:{PLAIN}abcxyz\nbob:{PLAIN}abcxyz\n").unwrap();
    let told = warnings();
    let start = format!("warning: {}:2: bob can never log in: store.maildir (", users.display());
    assert!(told.len() == 1 && told[0].starts_with(&start), "{told:?}");
    fs::write(&users, "ann@example.org:{PLAIN}abcxyz\n").unwrap();

    for (name, place) in [("one.key", "4:7:"), ("users", "6:9:")] {
        let path = world.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (told, start) = (warnings(), format!("warning: {}:{place} everybody", world.file));
        assert!(told.len() == 1 && told[0].starts_with(&start) && told[0].contains("chmod o-r"), "{told:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    for (from, to, host, words) in [
        (today - 20, today - 1, "localhost", "has expired"),
        (today - 20, today + 10, "localhost", "expires within 14 days"),
        (today + 2, today + 90, "localhost", "is not valid yet"),
        (today - 20, today + 90, "example.org", "is not for hostname, localhost"),
    ] {
        let mut made = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        (made.not_before, made.not_after) = (day(from), day(to));
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(world.path().join("one.cert"), made.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(world.path().join("one.key"), key.serialize_pem()).unwrap();
        let (told, start) = (warnings(), format!("warning: {}:3:15: the certificate ", world.file));
        assert!(
            told.len() == 1 && told[0].starts_with(&start) && told[0].ends_with(words),
            "{words}: {told:?}"
        );
    }
    let ran = binary::restante(&["config", "check", "--json", "--config", &world.file]);
    let found: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    assert!(found["warnings"][0]["message"].as_str().unwrap().contains("not for hostname"), "{found}");
}

/// Keys of a password, as another server made them: without a salt key.
const KEYS: &str = "{SCRAM-SHA-256}4096,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn salts_that_tell_who_is_a_user_are_a_warning() {
    let world = World::new(SOUND);
    let told = || world.check().stderr();
    let (users, text) = (world.path().join("users"), fs::read_to_string(&world.file).unwrap());
    assert_eq!(told(), "", "keys that are made at the login have no salt that stays");
    let keys = format!("ann@example.org:{KEYS}\n");
    fs::write(&users, &keys).unwrap();
    assert!(
        told().contains("who is a user") && told().contains("user passwd") && told().lines().count() == 1
    );
    fs::write(&world.file, text.replace("[auth]\n", "[auth]\nmechanisms = [\"PLAIN\"]\n")).unwrap();
    assert_eq!(told(), "", "nobody asks for a salt");
    fs::write(&world.file, &text).unwrap();
    fs::write(&users, format!("#salt-key AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n{keys}")).unwrap();
    assert_eq!(told(), "");

    // A database's keys; the users file's key serves them, too, where the file is asked.
    let database = world.path().join("database");
    fs::write(&database, "").unwrap();
    let sql = |directories: &str, columns: &str| {
        let auth = format!("[auth]\ndirectories = [{directories}]\n");
        let query = format!("SELECT password{columns} FROM users WHERE name = :user");
        let text = text.replace("[auth]\n", &auth).replace("users = ", "#users = ");
        let text = match directories.contains("users") {
            true => text.replace("#users = ", "users = "),
            false => text,
        };
        fs::write(
            &world.file,
            format!("{text}[sql]\nurl = \"sqlite://{}\"\nquery = \"{query}\"\n", database.display()),
        )
        .unwrap();
        told()
    };
    assert_eq!(sql("\"sql\"", ""), "");
    let warned = sql("\"sql\"", ", scram_sha_1");
    assert!(warned.contains("salt_key_file") && !warned.contains("user passwd"), "{warned}");
    assert_eq!(sql("\"sql\", \"users\"", ", scram_sha_256"), "");
    fs::write(&users, "").unwrap();
    assert!(sql("\"sql\", \"users\"", ", scram_sha_256").contains("salt_key_file"));
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let told = binary::restante(&["config", "check", "--config", "/nowhere/restante.toml"]).fails(1);
    assert!(told.contains("cannot read /nowhere/restante.toml") && told.contains("hint:"), "{told}");
    let world = World::new("");
    fs::write(&world.file, b"hostname = \"X1\"\n# \xff\n").unwrap();
    assert!(world.errors()[0].starts_with("2:3: this is not UTF-8"), "{:?}", world.errors());
    fs::write(&world.file, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(world.check().fails(1).contains("1048576 octets"));
    binary::restante(&["config", "check", "--config", "/dev/zero"]).fails(1);
}

/// [`SOUND`], with directories in place of its users file.
fn with_directories(directories: &str, sections: &str) -> World {
    let auth = format!("[auth]\ndirectories = {directories}\n");
    World::new(&format!("{}{sections}", SOUND.replace("[auth]\nusers = \"DIR/users\"\n", &auth)))
}

#[test]
fn ldap_in_clear_is_for_this_machine() {
    let ldap = |urls: &str| {
        let section = format!("[ldap]\nurls = {urls}\nbase = \"dc=example,dc=org\"\ntls = \"none\"\n");
        with_directories("[\"ldap\"]", &section)
    };
    for urls in [
        "[\"ldap://ldap.example.org\"]",
        "[\"ldap://127.0.0.1:389\", \"ldap://192.0.2.1:389/\"]",
        "[\"ldap://[2001:db8::1]\"]",
        "[\"ldap://localhost.example.org\"]",
    ] {
        let errors = ldap(urls).errors();
        let [error] = errors.as_slice() else { panic!("{urls}: {errors:?}") };
        assert!(error.starts_with("11:7: passwords would pass in clear to ldap://"), "{error}");
    }
    for urls in [
        "[\"ldap://127.0.0.1:389\", \"ldap://[::1]/\"]",
        "[\"ldap://LOCALHOST\"]",
        "[\"ldaps://ldap.example.org\"]",
    ] {
        ldap(urls).check().ok();
    }
}

#[test]
fn a_database_in_clear_is_warned_of() {
    let sql = |url: &str| {
        let query = "SELECT password FROM users WHERE name = :user";
        with_directories("[\"sql\"]", &format!("[sql]\nurl = \"{url}\"\nquery = \"{query}\"\n"))
    };
    let world = sql("postgres://u@db.example.org/x?sslmode=disable");
    let ran = world.check();
    let told = ran.stderr();
    ran.ok();
    assert!(
        told.starts_with(&format!("warning: {}:9:7: users' names and hashes pass in clear", world.file)),
        "{told}"
    );
    assert_eq!(sql("postgres://u@127.0.0.1/x?sslmode=disable").check().stderr(), "");
}

#[test]
fn a_query_that_can_find_nobody_is_an_error_and_a_file_that_is_not_there_a_warning() {
    let sql = |key: &str, query: &str| {
        with_directories("[\"sql\"]", &format!("[sql]\n{key} = \"DIR/users.db\"\nquery = \"{query}\"\n"))
            .with_file("users.db", "sqlite:///nowhere/users.db\n")
    };
    let url = "url = \"sqlite:///nowhere/users.db\" # ";
    for key in [url, "url_file"] {
        for (query, words) in [
            ("DELETE FROM users WHERE name = :user", "the query is no SELECT"),
            ("SELECT hash FROM users WHERE name = :user", "the query has no column named password"),
        ] {
            let errors = sql(key, query).errors();
            assert!(errors.iter().any(|error| error.starts_with(&format!("10:9: {words}"))), "{errors:?}");
        }
        let ran = sql(key, "SELECT * FROM users WHERE name = :user").check();
        let told = ran.stderr();
        ran.ok();
        assert!(told.contains(": there is no /nowhere/users.db; until"), "{told}");
    }
}

#[test]
fn a_directory_that_makes_deliver_take_everybody_is_warned_of() {
    let oauth = "[oauth]\nissuer = \"http://127.0.0.1:1\"\naudience = \"mail\"\n";
    let told = |directories: &str, sections: &str| {
        let world = with_directories(directories, sections);
        let ran = world.check();
        let told = ran.stderr();
        ran.ok();
        told
    };
    let all = told("[\"oauth\"]", oauth);
    assert!(all.contains(":5:15: \"oauth\" cannot tell who its users are"), "{all}");
    assert_eq!(told("[\"oauth\"]", &format!("{oauth}domains = [\"example.org\"]\n")), "");
    if cfg!(feature = "pam") {
        let all = told("[\"pam\"]", "[pam]\n");
        assert!(all.contains("\"pam\" cannot tell who its users are"), "{all}");
        assert_eq!(told("[\"pam\"]", "[pam]\ndomains = [\"example.org\"]\n"), "");
    }
}

#[test]
fn proxies_that_anybody_can_be_are_warned_of() {
    let listen = |proxies: &str| {
        World::new(&format!("[listen]\nproxied_pop3 = [\"127.0.0.1:0\"]\nproxies = {proxies}\n{SOUND}"))
    };
    let world = listen("[\"127.0.0.1\", \"0.0.0.0/0\"]");
    let ran = world.check();
    let told = ran.stderr();
    ran.ok();
    assert!(
        told.starts_with(&format!("warning: {}:3:11: whoever is in 0.0.0.0/0 may say", world.file)),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(listen("[\"127.0.0.1\", \"10.0.0.0/8\"]").check().stderr(), "");
}
