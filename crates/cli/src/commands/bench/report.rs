//! The result of a run, for people and for programs.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use super::{
    connection::Secured,
    load::End,
    plan::Plan,
    process::Usage,
    tally::{Histogram, Tally},
};

/// All that a run gave.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) threads: usize,
    /// The CPU time of the load generator itself.
    pub(super) own_cpu: Option<Duration>,
    pub(super) secured: Option<Secured>,
    pub(super) took: Duration,
    pub(super) end: End,
    pub(super) tally: &'a Tally,
    pub(super) server: Option<Server>,
}

/// What the server's processes used.
pub(super) struct Server {
    pub(super) pids: Vec<u32>,
    pub(super) before: Usage,
    /// While idle sessions were held, and how many they were.
    pub(super) held: Option<(usize, Usage)>,
    pub(super) after: Usage,
}

impl Server {
    fn cpu(&self) -> Duration {
        self.after.cpu.saturating_sub(self.before.cpu)
    }

    /// Memory for each held session: all of the server's, and what came on top of what it had.
    fn kib_per_session(&self) -> Option<(f64, f64)> {
        let (sessions, usage) = self.held.filter(|(sessions, _)| *sessions > 0)?;
        let (held, before) = (usage.pss_kib? as f64, self.before.pss_kib? as f64);
        Some((held / sessions as f64, (held - before).max(0.0) / sessions as f64))
    }
}

impl Report<'_> {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn cpu_ms_per_session(&self, server: &Server) -> Option<f64> {
        let sessions = self.tally.counts.sessions_done;
        (sessions > 0).then(|| millis(server.cpu()) / sessions as f64)
    }

    fn cpu_seconds_per_gib(&self, server: &Server) -> Option<f64> {
        let octets = self.tally.counts.octets;
        (octets > 0).then(|| server.cpu().as_secs_f64() * GIB / octets as f64)
    }

    /// For programs. Keys are never renamed; new ones may come.
    pub(super) fn json(&self) -> Value {
        let counts = &self.tally.counts;
        let steps: serde_json::Map<_, _> = self
            .tally
            .steps()
            .map(|(step, times)| {
                let ms = |time: Duration| rounded(millis(time));
                let value = json!({
                    "count": times.count,
                    "mean_ms": ms(times.mean()),
                    "p50_ms": ms(times.percentile(50)),
                    "p90_ms": ms(times.percentile(90)),
                    "p99_ms": ms(times.percentile(99)),
                    "max_ms": ms(times.max()),
                });
                (step.name().to_owned(), value)
            })
            .collect();
        let errors: Vec<_> = self
            .tally
            .errors
            .iter()
            .map(|(step, kind, count, told)| {
                json!({ "step": step.name(), "kind": kind.to_string(), "count": count, "example": told })
            })
            .collect();
        json!({
            "server": self.plan.url.to_string(),
            "mode": self.plan.mode.name(),
            "clients": self.plan.clients,
            "users": self.plan.users.len(),
            "rate": self.plan.rate,
            "pipeline": self.plan.pipeline,
            "threads": self.threads,
            "own_cpu_seconds": self.own_cpu.map(|time| rounded(time.as_secs_f64())),
            "tls": self.secured.as_ref().map(|secured| json!({
                "version": secured.version,
                "cipher": secured.cipher,
                "full_handshakes": counts.handshakes_full,
                "resumed_handshakes": counts.handshakes_resumed,
            })),
            "ended_by": self.end.name(),
            "seconds": rounded(self.took.as_secs_f64()),
            "sessions": {
                "done": counts.sessions_done,
                "failed": counts.sessions_failed,
                "cut_short": counts.sessions_cut,
                "per_second": rounded(self.per_second(counts.sessions_done)),
            },
            "requests": {
                "count": counts.requests,
                "per_second": rounded(self.per_second(counts.requests)),
            },
            "messages": {
                "count": counts.messages,
                "octets": counts.octets,
                "mib_per_second": rounded(self.per_second(counts.octets) / MIB),
                "unannounced": counts.unannounced,
            },
            "listed_lines": {
                "count": counts.listed,
                "per_second": rounded(self.per_second(counts.listed)),
            },
            "steps": steps,
            "errors": errors,
            "processes": self.server.as_ref().map(|server| self.server_json(server)),
        })
    }

    fn server_json(&self, server: &Server) -> Value {
        let memory = server.kib_per_session();
        json!({
            "pids": server.pids,
            "processes": server.held.map_or(server.after, |(_, usage)| usage).processes,
            "cpu_seconds": rounded(server.cpu().as_secs_f64()),
            "cpu_ms_per_session": self.cpu_ms_per_session(server).map(rounded),
            "cpu_seconds_per_gib": self.cpu_seconds_per_gib(server).map(rounded),
            "pss_before_kib": server.before.pss_kib,
            "pss_held_kib": server.held.and_then(|(_, usage)| usage.pss_kib),
            "pss_after_kib": server.after.pss_kib,
            "held_sessions": server.held.map(|(sessions, _)| sessions),
            "pss_kib_per_session": memory.map(|(all, _)| rounded(all)),
            "pss_kib_added_per_session": memory.map(|(_, added)| rounded(added)),
        })
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (plan, counts) = (self.plan, &self.tally.counts);
        writeln!(out, "{}  {}", plan.url, plan.mode.name())?;
        let pipeline =
            if plan.pipeline > 1 { format!(", pipeline {}", plan.pipeline) } else { String::new() };
        let seconds = self.took.as_secs_f64();
        let (clients, users) = (some(plan.clients, "client"), some(plan.users.len(), "user"));
        let rate = plan.rate.map_or_else(String::new, |rate| format!(", {rate} sessions/s due"));
        writeln!(out, "{clients}, {users}{pipeline}{rate}, {seconds:.2} s, ended by {}", self.end.name())?;
        if let Some(secured) = &self.secured {
            let word = |word: &Option<String>| word.clone().unwrap_or_default();
            let (full, resumed) = (counts.handshakes_full, counts.handshakes_resumed);
            let (version, cipher) = (word(&secured.version), word(&secured.cipher));
            writeln!(out, "{version} {cipher}, handshakes: {full} full, {resumed} resumed")?;
        }
        self.write_steps(out)?;
        let rate = |count| self.per_second(count);
        writeln!(
            out,
            "\nsessions  {} done ({:.1}/s), {} failed{}",
            counts.sessions_done,
            rate(counts.sessions_done),
            counts.sessions_failed,
            if counts.sessions_cut > 0 {
                format!(", {} cut short", counts.sessions_cut)
            } else {
                String::new()
            },
        )?;
        writeln!(out, "requests  {} ({:.0}/s)", counts.requests, rate(counts.requests))?;
        if counts.listed > 0 {
            writeln!(out, "listed    {} lines ({:.0}/s)", counts.listed, rate(counts.listed))?;
        }
        if counts.messages > 0 {
            let (mib, rate) = (counts.octets as f64 / MIB, rate(counts.octets) / MIB);
            writeln!(out, "messages  {}, {mib:.2} MiB ({rate:.2} MiB/s)", counts.messages)?;
        }
        if counts.unannounced > 0 {
            writeln!(out, "          {} of them with no length announced: not checked", counts.unannounced)?;
        }
        if let Some(own) = self.own_cpu {
            let busy = own.as_secs_f64() / (seconds.max(1e-9) * self.threads as f64) * 100.0;
            let threads = some(self.threads, "thread");
            writeln!(out, "generator {:.2} s CPU, {threads} {busy:.0} % busy", own.as_secs_f64())?;
        }
        if let Some(server) = &self.server {
            self.write_server(out, server)?;
        }
        if self.tally.errors.count() > 0 {
            writeln!(out, "\nerrors")?;
        }
        for (step, kind, count, told) in self.tally.errors.iter() {
            writeln!(
                out,
                "{count:>9}  {}: {kind}{}{told}",
                step.name(),
                if told.is_empty() { "" } else { ": " }
            )?;
        }
        Ok(())
    }

    fn write_steps(&self, out: &mut String) -> std::fmt::Result {
        let head = ["step", "count", "p50 ms", "p90 ms", "p99 ms", "max ms"];
        writeln!(
            out,
            "\n{:<10}{:>9}{:>11}{:>11}{:>11}{:>11}",
            head[0], head[1], head[2], head[3], head[4], head[5]
        )?;
        for (step, times) in self.tally.steps() {
            write!(out, "{:<10}{:>9}", step.name(), times.count)?;
            let percentile = |hundredths| Histogram::percentile(times, hundredths);
            for time in [percentile(50), percentile(90), percentile(99), times.max()] {
                write!(out, "{:>11.3}", millis(time))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_server(&self, out: &mut String, server: &Server) -> std::fmt::Result {
        let processes = server.held.map_or(server.after, |(_, usage)| usage).processes;
        write!(out, "server    {}, ", some_of(processes, "process", "processes"))?;
        write!(out, "{:.2} s CPU", server.cpu().as_secs_f64())?;
        if let Some(each) = self.cpu_ms_per_session(server) {
            write!(out, ", {each:.3} ms a session")?;
        }
        if let Some(each) = self.cpu_seconds_per_gib(server).filter(|_| !self.plan.mode.holds()) {
            write!(out, ", {each:.2} s a GiB")?;
        }
        writeln!(out)?;
        let kib =
            |kib: Option<u64>| kib.map_or_else(|| "not readable".to_owned(), |kib| format!("{kib} KiB"));
        write!(out, "memory    PSS {} before, ", kib(server.before.pss_kib))?;
        if let Some((sessions, usage)) = server.held {
            write!(out, "{} with {}, ", kib(usage.pss_kib), some(sessions, "session"))?;
        }
        writeln!(out, "{} after", kib(server.after.pss_kib))?;
        if let Some((all, added)) = server.kib_per_session() {
            writeln!(out, "          {all:.1} KiB a session, {added:.1} of them added by it")?;
        }
        Ok(())
    }
}

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// To six places: nanoseconds of a millisecond, and no noise behind them.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn some(count: usize, what: &str) -> String {
    some_of(count, what, &format!("{what}s"))
}

fn some_of(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
