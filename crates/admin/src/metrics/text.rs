//! The text that Prometheus reads, in the form that every version of it and of its tools takes (text format 0.0.4). The
//! lines are made by `prometheus-client`, which writes OpenMetrics; where that differs they are put right here.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode_registry},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use restante_proto::verb::Verb;
use restante_server::{EndReason, LockResult, LoginResult, Totals};

use super::{LIMITS, MECHANISMS, Metrics, OTHER, PORTS, VERSIONS, histogram::Histogram};

/// The type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of all metrics.
pub(super) fn encode(metrics: &Metrics, totals: Totals) -> String {
    let mut registry = Registry::default();
    let families = families(metrics, totals);
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    match encode_registry(&mut text, &registry) {
        Ok(()) => plain(&text),
        // A string takes all that is written to it.
        Err(fmt::Error) => String::new(),
    }
}

/// Metrics of one name.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

/// Values by their labels.
#[derive(Debug)]
enum Samples {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, super::histogram::Snapshot)>),
}

/// Names and values.
type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, samples } in &self.0 {
            let kind = match samples {
                Samples::Counters(_) => MetricType::Counter,
                Samples::Gauges(_) => MetricType::Gauge,
                Samples::Histograms(_) => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            match samples {
                Samples::Counters(samples) => samples.iter().try_for_each(|(labels, count)| {
                    ConstCounter::new(*count).encode(labelled(&mut family, labels)?)
                })?,
                Samples::Gauges(samples) => samples.iter().try_for_each(|(labels, value)| {
                    ConstGauge::new(*value).encode(labelled(&mut family, labels)?)
                })?,
                Samples::Histograms(samples) => samples.iter().try_for_each(|(labels, snapshot)| {
                    labelled(&mut family, labels)?.encode_histogram::<Labels>(
                        snapshot.sum_seconds,
                        snapshot.count,
                        &snapshot.buckets,
                        None,
                    )
                })?,
            }
        }
        Ok(())
    }
}

/// What encodes a sample with its labels.
fn labelled<'a>(
    family: &'a mut MetricEncoder<'_>,
    labels: &'a Labels,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    family.encode_family(labels)
}

/// OpenMetrics as older text: a counter is described by the name that its samples have, with `_total`; the line that says
/// that this is all is a comment.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + text.len() / 16);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let counter = |line: &str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.to_owned());
        let described = line.strip_prefix("# HELP ").and_then(|described| described.split_once(' '));
        let of_counter = lines.peek().and_then(|next| counter(next));
        // Writing to a string never fails.
        let _written = match (described, of_counter, counter(line)) {
            (Some((name, help)), Some(of), _) if of == name => writeln!(plain, "# HELP {name}_total {help}"),
            (_, _, Some(name)) => writeln!(plain, "# TYPE {name}_total counter"),
            _ if line.starts_with('#') => writeln!(plain, "{line}"),
            // A sample without labels.
            _ => writeln!(plain, "{}", line.replacen("{} ", " ", 1)),
        };
    }
    plain
}

fn families(metrics: &Metrics, totals: Totals) -> Vec<Family> {
    let one = |value: u64| Samples::Counters(vec![(Vec::new(), value)]);
    let gauge = |value: f64| Samples::Gauges(vec![(Vec::new(), value)]);
    let reasons = EndReason::ALL.map(EndReason::name);
    let Totals { on, ended: _, received_octets, sent_octets } = totals;
    vec![
        Family {
            name: "process_start_time_seconds",
            help: "When the server began, in seconds since 1970.",
            samples: gauge(metrics.began_seconds()),
        },
        Family {
            name: "restante_build_info",
            help: "The version of the program that runs; the value is always 1.",
            samples: Samples::Gauges(vec![(vec![("version", metrics.version.clone())], 1.0)]),
        },
        Family { name: "restante_sessions", help: "How many sessions are on.", samples: gauge(on as f64) },
        Family {
            name: "restante_connections",
            help: "Connections that were let in, by what is spoken where they came in.",
            samples: counters("port", &PORTS, &metrics.connections),
        },
        Family {
            name: "restante_connections_refused",
            help: "Connections that were not let in, by the setting whose limit they would have crossed.",
            samples: counters("limit", &LIMITS, &metrics.refused),
        },
        Family {
            name: "restante_sessions_ended",
            help: "Sessions that are over, by the reason.",
            samples: counters("reason", &reasons, &metrics.ended),
        },
        Family {
            name: "restante_logins",
            help: "Logins, by how the client logged in (USER is with PASS, other is no mechanism of this server) and what came of it.",
            samples: logins(metrics),
        },
        Family {
            name: "restante_command_duration_seconds",
            help: "How long commands took to answer, by verb and status. RETR and TOP include the sending; PASS and AUTH that fail include the deliberate delay.",
            samples: commands(metrics),
        },
        Family {
            name: "restante_lock_wait_duration_seconds",
            help: "How long sessions waited for the lock of a maildrop, by what came of it.",
            samples: Samples::Histograms(
                LockResult::ALL
                    .iter()
                    .zip(&metrics.locks)
                    .map(|(result, waits)| (vec![("result", result.name().to_owned())], waits.snapshot()))
                    .collect(),
            ),
        },
        Family {
            name: "restante_tls_handshakes",
            help: "TLS handshakes that were done, by the version that was agreed.",
            samples: counters("version", &VERSIONS, &metrics.handshakes),
        },
        Family {
            name: "restante_tls_handshakes_failed",
            help: "TLS handshakes that failed or were cut off, or for which a client sent something else.",
            samples: one(load(&metrics.failed_handshakes)),
        },
        Family {
            name: "restante_received_bytes",
            help: "What clients sent, inside of TLS.",
            samples: one(received_octets),
        },
        Family {
            name: "restante_sent_bytes",
            help: "What was sent to clients, inside of TLS.",
            samples: one(sent_octets),
        },
        Family {
            name: "restante_unique_id_changes",
            help: "Messages that came back under other names, so that clients fetch them again.",
            samples: one(load(&metrics.changed_unique_ids)),
        },
    ]
}

fn counters(label: &'static str, names: &[&str], counts: &[AtomicU64]) -> Samples {
    let samples = names.iter().zip(counts);
    Samples::Counters(samples.map(|(name, count)| (vec![(label, (*name).to_owned())], load(count))).collect())
}

/// A line for each mechanism and result, so that the first failure is seen as one.
fn logins(metrics: &Metrics) -> Samples {
    let mut samples = Vec::new();
    for (mechanism, results) in MECHANISMS.iter().zip(&metrics.logins) {
        for (result, count) in LoginResult::ALL.iter().zip(results) {
            let labels = vec![("mechanism", (*mechanism).to_owned()), ("result", result.name().to_owned())];
            samples.push((labels, load(count)));
        }
    }
    Samples::Counters(samples)
}

/// What was never said has no lines: each would be twenty.
fn commands(metrics: &Metrics) -> Samples {
    let verbs = Verb::ALL.iter().map(|verb| verb.word()).chain([OTHER]);
    let mut samples = Vec::new();
    for (verb, statuses) in verbs.zip(&metrics.commands) {
        for (status, histogram) in ["ok", "err"].iter().zip(statuses) {
            let snapshot = Histogram::snapshot(histogram);
            if snapshot.count > 0 {
                samples.push((vec![("verb", verb.to_owned()), ("status", (*status).to_owned())], snapshot));
            }
        }
    }
    Samples::Histograms(samples)
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
