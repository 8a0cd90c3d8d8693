//! What is counted, and the text of it.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use restante_proto::server::TlsFacts;

use super::*;

const TOTALS: Totals = Totals { on: 3, ended: 4, received_octets: 1000, sent_octets: 20_000 };

/// The samples by name and labels. Each line is one, or describes one of its name.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut described, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(description) = line.strip_prefix("# TYPE ") {
            let (name, kind) = description.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert_eq!(described.insert(name.to_owned(), kind), None, "{line}");
        } else if line.starts_with('#') {
            let words = line.strip_prefix("# HELP ").unwrap_or_else(|| panic!("{line}: a comment"));
            assert!(words.split(' ').count() > 3 && words.ends_with('.'), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = family.filter(|family| described.contains_key(*family)).unwrap_or(name);
            assert!(described.contains_key(family), "{line}: nothing is said of it before");
            assert_eq!(samples.insert(sample.to_owned(), value.parse().unwrap()), None, "{line}: twice");
        }
    }
    samples
}

#[test]
fn everything_that_happens_is_counted_under_its_labels() {
    let metrics = Metrics::new("0.1.0");
    let known = TlsFacts { version: "TLSv1.3".into(), cipher: "a".into(), ..TlsFacts::default() };
    let strange = TlsFacts { version: "SSLv2\"} 1".into(), cipher: "a".into(), ..TlsFacts::default() };
    let waited = Duration::from_millis(30);
    let happenings = [
        Happening::Connected { port: Port::Pop3s },
        Happening::Connected { port: Port::Pop3s },
        Happening::Refused { limit: "connections_per_address" },
        Happening::Refused { limit: "one of tomorrow" },
        Happening::Secured { tls: &known },
        Happening::Secured { tls: &strange },
        Happening::NotSecured,
        Happening::Login { mechanism: "PLAIN", result: LoginResult::InUse },
        Happening::Login { mechanism: "", result: LoginResult::Accepted },
        Happening::Lock { result: LockResult::TakenOver, waited },
        Happening::Answered {
            verb: Some(Verb::Noop),
            ok: true,
            commands: 1000,
            each: Duration::from_micros(2),
        },
        Happening::Answered { verb: Some(Verb::Retr), ok: true, commands: 1, each: Duration::from_secs(61) },
        Happening::Answered { verb: None, ok: false, commands: 2, each: Duration::from_micros(2) },
        Happening::UniqueIdsChanged { messages: 7 },
    ];
    happenings.iter().for_each(|happening| metrics.happened(happening));
    let samples = samples(&metrics.encode(TOTALS));
    let expected = [
        ("restante_build_info{version=\"0.1.0\"}", 1.0),
        ("restante_sessions", 3.0),
        ("restante_received_bytes_total", 1000.0),
        ("restante_sent_bytes_total", 20_000.0),
        ("restante_connections_total{port=\"pop3\"}", 0.0),
        ("restante_connections_total{port=\"pop3s\"}", 2.0),
        ("restante_connections_refused_total{limit=\"connections_per_address\"}", 1.0),
        ("restante_connections_refused_total{limit=\"other\"}", 1.0),
        ("restante_tls_handshakes_total{version=\"TLSv1.3\"}", 1.0),
        ("restante_tls_handshakes_total{version=\"other\"}", 1.0),
        ("restante_tls_handshakes_failed_total", 1.0),
        ("restante_logins_total{mechanism=\"PLAIN\",result=\"in-use\"}", 1.0),
        ("restante_logins_total{mechanism=\"other\",result=\"accepted\"}", 1.0),
        ("restante_lock_wait_duration_seconds_bucket{le=\"0.01\",result=\"taken-over\"}", 0.0),
        ("restante_lock_wait_duration_seconds_bucket{le=\"0.05\",result=\"taken-over\"}", 1.0),
        ("restante_command_duration_seconds_count{verb=\"NOOP\",status=\"ok\"}", 1000.0),
        ("restante_command_duration_seconds_sum{verb=\"NOOP\",status=\"ok\"}", 0.002),
        ("restante_command_duration_seconds_bucket{le=\"0.0001\",verb=\"NOOP\",status=\"ok\"}", 1000.0),
        ("restante_command_duration_seconds_bucket{le=\"60.0\",verb=\"RETR\",status=\"ok\"}", 0.0),
        ("restante_command_duration_seconds_bucket{le=\"+Inf\",verb=\"RETR\",status=\"ok\"}", 1.0),
        ("restante_command_duration_seconds_count{verb=\"other\",status=\"err\"}", 2.0),
        ("restante_unique_id_changes_total", 7.0),
    ];
    for (sample, value) in expected {
        assert_eq!(samples.get(sample), Some(&value), "{sample}\n{samples:#?}");
    }
    assert!(samples["process_start_time_seconds"] > 1.6e9);
}

#[test]
fn what_stands_in_an_enum_has_its_place_in_the_lists() {
    for (place, result) in LoginResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, place, "{result:?}");
    }
    for (place, result) in LockResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, place, "{result:?}");
    }
    for (place, reason) in EndReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place, "{reason:?}");
    }
    for (place, verb) in Verb::ALL.into_iter().enumerate() {
        assert_eq!(verb as usize, place, "{verb:?}");
    }
    for port in [Port::Pop3, Port::Pop3s] {
        assert_eq!(PORTS[port_place(port)], port.to_string());
    }
}

#[test]
fn every_way_to_log_in_has_its_place() {
    let sasl = restante_sasl::MECHANISMS.iter().map(|mechanism| mechanism.name);
    let ways: Vec<_> = ["USER", "APOP"].into_iter().chain(sasl).chain([OTHER]).collect();
    assert_eq!(MECHANISMS[..], ways);
}

#[test]
fn durations_say_what_is_in_them() {
    let text = Metrics::new("0.1.0").encode(TOTALS);
    let help = |name: &str| text.lines().find(|line| line.starts_with(&format!("# HELP {name} "))).unwrap();
    let commands = help("restante_command_duration_seconds");
    for word in ["RETR and TOP include the sending", "PASS and AUTH that fail include the deliberate delay"] {
        assert!(commands.contains(word), "{commands}");
    }
}

#[test]
fn no_count_is_lost_between_threads_and_none_goes_back() {
    let metrics = Arc::new(Metrics::new("0.1.0"));
    let serving: Vec<_> = (0..4)
        .map(|_| {
            let metrics = Arc::clone(&metrics);
            let each = Duration::from_micros(300);
            thread::spawn(move || {
                for _ in 0..10_000 {
                    metrics.happened(&Happening::Answered {
                        verb: Some(Verb::Stat),
                        ok: true,
                        commands: 2,
                        each,
                    });
                }
            })
        })
        .collect();
    let count = "restante_command_duration_seconds_count{verb=\"STAT\",status=\"ok\"}";
    let now = || samples(&metrics.encode(TOTALS)).get(count).copied().unwrap_or_default();
    let mut before = 0.0;
    while serving.iter().any(|thread| !thread.is_finished()) {
        let seen = now();
        assert!(seen >= before);
        before = seen;
    }
    serving.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(now(), 80_000.0);
}
