//! The table against the structs, and what a file with mistakes is told.

use super::{
    keys::{Fallback, SECTIONS, Takes},
    *,
};

fn good(text: &str) -> Settings {
    parse("t.toml", text)
        .unwrap_or_else(|(places, problems)| panic!("{:?}", fail(&places, &problems)))
        .settings
}

#[track_caller]
fn bad(text: &str) -> Vec<String> {
    match parse("t.toml", text) {
        Ok(_) => panic!("it is accepted: {text}"),
        Err((places, problems)) => problems.iter().map(|problem| places.tell(problem)).collect(),
    }
}

#[track_caller]
fn told(text: &str, expected: &str) {
    assert_eq!(bad(text), [expected]);
}

#[test]
fn nothing_written_and_all_defaults_written_are_the_same() {
    assert_eq!(good(""), Settings::default());
    assert_eq!(good(&render::default_file()), Settings::default());
}

#[test]
fn each_key_of_the_table_is_a_field_and_each_bound_is_accepted() {
    for section in SECTIONS {
        for key in section.keys {
            let example = match key.default {
                Fallback::Value(value) => value,
                Fallback::Words { example, .. } => example,
            };
            let mut values = vec![example.to_owned()];
            match key.takes {
                Takes::Number { least, most } => values.extend([least.to_string(), most.to_string()]),
                Takes::Word(words) => values.extend(words.iter().map(|word| format!("\"{word}\""))),
                Takes::Switch => values.extend(["true".to_owned(), "false".to_owned()]),
                Takes::Text { .. } | Takes::List { .. } | Takes::OneOrList { .. } => {}
            }
            for value in values {
                // The structs alone: what contradicts other keys is not the matter here.
                let mut text = match section.name {
                    "" => format!("{} = {value}\n", key.name),
                    name => format!("[{name}]\n{} = {value}\n", key.name),
                };
                if section.name == "tls" {
                    for other in ["certificate", "key"].into_iter().filter(|other| *other != key.name) {
                        text += &format!("{other} = \"/x\"\n");
                    }
                }
                toml::from_str::<Settings>(&text).unwrap_or_else(|error| panic!("{text}{error}"));
                assert_eq!(document::read("t.toml", &text).1, [], "{text}");
            }
        }
    }
}

#[test]
fn each_field_of_the_structs_is_in_the_table() {
    // An unknown field makes serde name all that there are.
    for section in SECTIONS {
        let text = match section.name {
            "" => "zzz = 1".to_owned(),
            name => format!("[{name}]\nzzz = 1"),
        };
        let error = toml::from_str::<Settings>(&text).unwrap_err().message().to_owned();
        let fields: Vec<_> = error.split('`').skip(3).step_by(2).collect();
        assert!(!fields.is_empty(), "{error}");
        for field in fields {
            let is_section = section.name.is_empty() && keys::section(field).is_some();
            assert!(
                section.key(field).is_some() || is_section,
                "[{}] {field} is not in the table",
                section.name
            );
        }
    }
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let settings = good(
        "hostname = \"mail.example.org\"\n[listen]\npop3 = [\"[::]:110\"]\npop3s = [\"[::]:995\"]\n\
         [tls]\ncertificate = \"/etc/restante/cert.pem\"\nkey = \"/etc/restante/key.pem\"\n\
         [auth]\nusers = \"/etc/restante/users\"\ncleartext = \"never\"\n\
         [store]\nmaildir = \"/var/vmail/{domain}/{local}\"\nunique_ids = \"own\"\n[limits]\nconnections = 7\n[log]\n",
    );
    assert_eq!(settings.hostname(), "mail.example.org");
    assert_eq!(settings.pop3s(), ["[::]:995".parse().unwrap()]);
    assert_eq!((settings.auth.cleartext, settings.limits.connections), (Cleartext::Never, 7));
    assert!(matches!(settings.store(), Store::Maildir(_)));
}

#[test]
fn unknown_names_are_errors_with_the_place_and_the_fix() {
    told(
        "hostname = \"X1\"\n\n[tls]\nkey = \"/k\"\n        certificat = \"/c\"",
        "t.toml:5:9: unknown key \"certificat\" in [tls]; did you mean \"certificate\"?",
    );
    told(
        "certificate = \"/c\"",
        "t.toml:1:1: unknown key \"certificate\" at the top of the file; it belongs into [tls]",
    );
    told(
        "[auth]\nhostnam = 1",
        "t.toml:2:1: unknown key \"hostnam\" in [auth]; did you mean \"hostname\" in the top of the file?",
    );
    told(
        "[log]\nzzz = 1",
        "t.toml:2:1: unknown key \"zzz\" in [log]; the keys here are level, format, transcripts",
    );
    told("[limit]\n", "t.toml:1:2: unknown section [limit]; did you mean [limits]?");
    let pam = if cfg!(feature = "pam") { "[pam], " } else { "" };
    told(
        "[x]",
        &format!(
            "t.toml:1:2: unknown section [x]; the sections are [listen], [admin], [tls], [auth], [oauth], [store], [sql], \
             [ldap], {pam}[limits], [log]"
        ),
    );
    told("tls = true", "t.toml:1:1: tls is a section; write [tls] and its keys below");
    told("[[tls]]\nkey = 1", "t.toml:1:3: [tls] is one section; write it once, in single brackets");
    told(
        "[limits]\nidle-seconds = 700",
        "t.toml:2:1: unknown key \"idle-seconds\" in [limits]; did you mean \"idle_seconds\"?",
    );
    // Keys of what is not built yet are unknown like any other.
    assert!(bad("[listen]\nlmtp = [\"127.0.0.1:24\"]")[0].contains("unknown key \"lmtp\""));
}

#[test]
fn wrong_values_are_told_with_what_to_write() {
    told("[limits]\nidle_seconds = 60", "t.toml:2:16: idle_seconds must be a whole number from 600 to 86400");
    told(
        "[limits]\nidle_seconds = \"600\"",
        "t.toml:2:16: idle_seconds must be a whole number from 600 to 86400",
    );
    told("[limits]\nconnections = -1", "t.toml:2:15: connections must be a whole number from 1 to 1000000");
    told("[auth]\napop = \"yes\"", "t.toml:2:8: apop must be true or false");
    told(
        "[auth]\ncleartext = \"localhost\"",
        "t.toml:2:13: cleartext must be one of \"never\", \"loopback\", \"always\"",
    );
    told(
        "[log]\nlevel = \"warning\"",
        "t.toml:2:9: level must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"; did you mean \"warn\"?",
    );
    told("[listen]\npop3 = \"[::]:110\"", "t.toml:2:8: pop3 is a list; write it in brackets: [\"[::]:110\"]");
    assert!(
        bad("[listen]\npop3 = [\"[::]:110\",\n  \"localhost:110\"]")[0]
            .starts_with("t.toml:3:3: \"localhost:110\" is not")
    );
    assert!(bad("[store]\nmaildir = \"/m/{usr}\"")[0].contains("2:11: a Maildir path knows {user}"));
    assert!(
        bad("[store]\nmaildir = \"{user}/Maildir\"")[0]
            .contains("2:11: \"{user}/Maildir\" is not an absolute path")
    );
    assert!(
        bad("[tls]\ncertificate = \"cert.pem\"\nkey = \"/k\"")[0]
            .contains("2:15: \"cert.pem\" is not an absolute path")
    );
}

#[test]
fn directories_are_known_and_stand_there_once() {
    assert_eq!(
        bad("[auth]\ndirectories = []")[0],
        "t.toml:2:15: without a directory nobody can log in; write [\"users\"] for the users file"
    );
    told(
        "[auth]\ndirectories = [\"users\", \"users\"]",
        "t.toml:2:15: \"users\" is listed twice; remove one of them",
    );
    told(
        "[auth]\ndirectories = [\"user\"]",
        "t.toml:2:16: \"user\" is no directory; did you mean \"users\"?",
    );
    assert!(bad("[auth]\ndirectories = [\"zzz\"]")[0].contains("the directories are users"));
    told(
        "[auth]\ndirectories = \"users\"",
        "t.toml:2:15: directories is a list; write it in brackets: [\"users\"]",
    );
}

#[test]
fn values_that_contradict_each_other_are_told() {
    assert!(
        bad("[listen]\npop3s = [\"[::]:995\"]")[0]
            .starts_with("t.toml:2:9: pop3s needs a certificate; add [tls]")
    );
    assert!(bad("[auth]\ncleartext = \"never\"")[0].starts_with("t.toml:2:13: without TLS and"));
    assert!(bad("[listen]\npop3 = []")[0].starts_with("t.toml:2:8: the server would listen nowhere"));
    told("[tls]\nkey = \"/k\"", "t.toml:2:7: certificate = \"/…/cert.pem\" is missing in [tls]");
    told(
        "[tls]\ncertificate = \"/c\"",
        "t.toml:2:15: key = \"/…/key.pem\", its private key, is missing in [tls]",
    );
    told(
        "[listen]\npop3 = [\"127.0.0.1:110\", \"127.0.0.1:110\"]",
        "t.toml:2:8: 127.0.0.1:110 is listed twice; remove one of them",
    );
    told(
        "[store]\nmemory = true\nmaildir = \"/m/{user}\"",
        "t.toml:2:10: there is one store, and maildir is set too; remove one of the two",
    );
    assert_eq!(good("[store]\nmemory = true").store(), Store::Memory);
    assert_eq!(good("[limits]\nconnections = 10").limits.connections_per_address, 100);
    assert_eq!(bad("[limits]\nconnections = 10\nconnections_per_address = 11").len(), 1);
    told("[tls]\n", "t.toml:1:2: [tls] needs certificate and key; without TLS remove the section");
}

#[test]
fn the_page_has_one_place_or_several_and_addresses_need_a_token() {
    assert_eq!(good("").listen.admin, [Place::Unix("/run/restante/admin.sock".into())]);
    assert_eq!(good("[listen]\nadmin = []").listen.admin, []);
    assert_eq!(good("[listen]\nadmin = \"/x/y\"").listen.admin, [Place::Unix("/x/y".into())]);
    let token = "[admin]\ntoken_file = \"/t\"\nhosts = [\"a.example\"]";
    let both = format!("[listen]\nadmin = [\"/x\", \"192.0.2.1:1180\"]\n{token}");
    let settings = good(&both);
    assert_eq!(settings.listen.admin.len(), 2);
    let (places, _) = document::read("t.toml", &both);
    let warned = admin::warnings(&settings, &places);
    assert!(warned.len() == 1 && places.tell(&warned[0]).starts_with("t.toml:2:9: 192.0.2.1:1180 can be"));
    let inside = good(&both.replace("192.0.2.1", "127.0.0.1"));
    assert_eq!(admin::warnings(&inside, &places), []);
    assert!(
        bad("[listen]\nadmin = \"127.0.0.1:1180\"")[0].starts_with("t.toml:2:9: a TCP address needs a token")
    );
    told(
        "[listen]\nadmin = \"run/admin.sock\"",
        "t.toml:2:9: \"run/admin.sock\" is neither the absolute path of a unix socket nor address:port, such as \"127.0.0.1:1180\"",
    );
    assert!(
        bad("[listen]\nadmin = [\"/x\", 7]")[0].starts_with("t.toml:2:16: admin must be a unix socket's")
    );
    assert!(
        bad(&format!("[listen]\nadmin = \"/{}\"", "x".repeat(107)))[0].contains("too long for a unix socket")
    );
    assert!(bad("[admin]\nhosts = [\"a b\"]")[0].contains("is no host name"));
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    let found = bad("hostnam = 1\n[auth]\napop = 1\n[listen]\npop3 = [\"x\", 7]\n");
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["t.toml:1:1", "t.toml:3:8", "t.toml:5:9", "t.toml:5:14"]);
    assert_eq!(bad(&(0..100).map(|n| format!("zz{n} = 1\n")).collect::<String>()).len(), 20);
}

#[test]
fn what_is_not_toml_is_told_with_its_place() {
    let found = bad("[listen]\npop3 = [\"[::]:110\"\n[tls]\nä = = 1\n");
    assert!(found[0].starts_with("t.toml:") && found[0].contains("not TOML"), "{found:?}");
    assert!(
        bad("a = 1\na = 2")[0].starts_with("t.toml:2:1: this is not TOML: duplicate key"),
        "{:?}",
        bad("a = 1\na = 2")
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(document::position("ä = 1", 3).to_string(), "1:3");
    assert_eq!(document::position("a\r\nbc", 4).to_string(), "2:2");
    assert_eq!(document::position("a\n", 99).to_string(), "2:1");
}

#[test]
fn zero_means_never_and_nothing_means_the_machine() {
    let settings = good("[limits]\ntakeover_idle_seconds = 0\nverification_threads = 3");
    assert_eq!(settings.limits.takeover_idle_seconds(), None);
    assert_eq!(settings.limits.verification_threads(), 3);
    let settings = good("");
    assert_eq!(settings.limits.takeover_idle_seconds(), Some(60));
    assert!(settings.limits.verification_threads() >= 1);
    assert!(keys::host_name(&settings.hostname()).is_ok());
    assert!(settings.pop3s().is_empty());
    let tls = good("[tls]\ncertificate = \"/c\"\nkey = \"/k\"");
    assert_eq!(tls.pop3s(), ["[::]:995".parse().unwrap()]);
}

#[test]
fn the_defaults_are_those_of_the_crates_that_they_are_handed_to() {
    let (ours, server, auth) =
        (Limits::default(), restante_server::Limits::default(), restante_auth::Settings::default());
    let seconds = |seconds: u32| std::time::Duration::from_secs(seconds.into());
    assert_eq!(ours.connections as usize, server.connections);
    assert_eq!(ours.connections_per_address as usize, server.connections_per_address);
    assert_eq!(seconds(ours.login_seconds), server.login);
    assert_eq!(seconds(ours.idle_seconds), server.idle);
    assert_eq!(seconds(ours.tls_handshake_seconds), server.tls_handshake);
    assert_eq!(seconds(ours.write_seconds), server.write);
    assert_eq!(seconds(ours.drain_seconds), server.drain);
    assert_eq!(ours.takeover_idle_seconds().map(seconds), Some(server.takeover_idle));
    assert_eq!((ours.login_failures, ours.bad_commands), (server.login_failures, server.bad_commands));
    assert_eq!(ours.verification_threads(), auth.threads);
    assert_eq!(
        (ours.verification_queue, ours.delayed_answers_per_address),
        (auth.queue, auth.waiting_per_address)
    );
    assert_eq!(seconds(ours.failure_delay_seconds), auth.failure_delay_first);
    assert_eq!(seconds(ours.failure_delay_max_seconds), auth.failure_delay_max);
    assert_eq!(seconds(ours.failure_memory_seconds), auth.failures_forgotten_after);
    assert_eq!(seconds(Auth::default().cache_seconds), auth.cache);
}

#[test]
fn no_text_makes_the_reader_panic() {
    let text = render::default_file();
    let check = |text: &str| {
        if let Err((places, problems)) = parse("t.toml", text) {
            assert!(!problems.is_empty(), "{text}");
            assert!(problems.iter().all(|problem| places.tell(problem).starts_with("t.toml:")));
        }
    };
    for (at, _) in text.char_indices() {
        check(&text[..at]);
        check(&text[at..]);
    }
    for deep in
        ["a = [", "a = {a=", "[a.", "a.", "[[a]]\n", "\u{feff}", "\"", "\u{27}\u{27}\u{27}", "\r", "[["]
    {
        check(&deep.repeat(10_000));
    }
}

#[test]
fn every_back_end_of_the_registry_has_its_key() {
    let store = keys::section("store").unwrap();
    for backend in restante_store::registry::BACKENDS {
        assert!(store.key(backend.name).is_some(), "[store] has no key {}", backend.name);
        assert_eq!(
            document::read("t.toml", &format!("[store]\n{}", backend.example)).1,
            [],
            "{}",
            backend.name
        );
    }
}

#[test]
fn places_for_proxies_need_proxies() {
    told(
        "[listen]\nproxied_pop3 = [\"127.0.0.1:1110\"]",
        "t.toml:2:16: nobody could come in here; write from where the proxies come: proxies = [\"127.0.0.1\"]",
    );
    let good =
        good("[listen]\npop3 = []\nproxied_pop3 = [\"127.0.0.1:1110\"]\nproxies = [\"10.0.0.0/8\", \"::1\"]");
    assert_eq!(good.listen.proxies.len(), 2);
    let [wrong] = &bad("[listen]\nproxies = [\"proxy.example.org\"]")[..] else { panic!("one problem") };
    assert!(wrong.contains("\"proxy.example.org\" is no network: names are not looked up"), "{wrong}");
    let [tls] = &bad("[listen]\nproxied_pop3s = [\"127.0.0.1:1995\"]\nproxies = [\"::1\"]")[..] else {
        panic!("one problem")
    };
    assert!(tls.contains("needs a certificate"), "{tls}");
}
