//! promtool and Prometheus: what `/metrics` says is text that they take, and it is true.
//!
//! curl fetches mail meanwhile, so that it is known what has to be counted. promtool's lint also knows the conventions for
//! names, units and help, and says nothing where they are kept.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use restante_interop::{Letter, Outcome, PASSWORD, Program, Security, Server, TOKEN, USER, corpus, until};

/// What a server says of itself over its unix socket, to us: who runs the test runs the server.
fn scrape(server: &Server) -> String {
    let folder = server.authority();
    let socket = folder.parent().unwrap().join("admin.sock");
    let curl = Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--fail", "--include", "--unix-socket"])
        .arg(socket)
        .arg("http://localhost/metrics")
        .stdin(Stdio::null())
        .output()
        .expect("curl (Debian: curl) is missing");
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    let answer = String::from_utf8(curl.stdout).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    text.to_owned()
}

/// The samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The sum of all samples whose name and labels begin so.
fn sum(samples: &BTreeMap<String, f64>, start: &str) -> f64 {
    samples.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value).sum()
}

fn curl(server: &Server, security: Security, password: &str, path: &str) -> Outcome {
    let authority = server.authority();
    let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
    let program = Program::new("curl", "curl", authority.parent().unwrap());
    let program = program.args(["--disable", "--silent", "--show-error", "--cacert"]).arg(&authority);
    let program = if security == Security::Stls { program.arg("--ssl-reqd") } else { program };
    program
        .arg("--user")
        .arg(format!("{USER}:{password}"))
        .arg(format!("{scheme}://localhost:{}/{path}", server.port(security)))
        .run()
}

fn checked(server: &Server, text: &str) {
    let authority = server.authority();
    let promtool = Program::new("promtool", "prometheus", authority.parent().unwrap());
    let outcome = promtool.args(["check", "metrics"]).input(text).run().succeeded();
    assert_eq!(outcome.words(), "", "promtool finds fault with\n{text}");
}

#[test]
fn promtool_takes_what_is_said_and_it_is_what_curl_did() {
    let letters = corpus();
    let server = Server::watched(&letters);
    checked(&server, &scrape(&server));
    let mut received = 0;
    for security in Security::ALL {
        for number in 1..=letters.len() {
            received += curl(&server, security, PASSWORD, &number.to_string()).succeeded().stdout.len();
        }
        curl(&server, security, "wrong", "1").failed();
    }
    let sessions = 3 * (letters.len() + 1);
    let over =
        |samples: &BTreeMap<String, f64>| sum(samples, "restante_sessions_ended_total") as usize == sessions;
    let text = until(|| Some(scrape(&server)).filter(|text| over(&samples(text)))).expect("all sessions end");
    checked(&server, &text);
    let samples = samples(&text);
    let is =
        |start: &str, expected: usize| assert_eq!(sum(&samples, start) as usize, expected, "{start}\n{text}");
    is("restante_sessions ", 0);
    is("restante_sessions_ended_total{reason=\"quit\"}", 3 * letters.len());
    // It goes without a word where it is not let in.
    is("restante_sessions_ended_total{reason=\"disconnected\"}", 3);
    is("restante_connections_total{port=\"pop3\"}", sessions - letters.len() - 1);
    is("restante_connections_total{port=\"pop3s\"}", letters.len() + 1);
    is("restante_tls_handshakes_total", 2 * (letters.len() + 1));
    is("restante_tls_handshakes_failed_total", 0);
    let accepted =
        samples.iter().filter(|(name, _)| name.contains("result=\"accepted\"")).map(|(_, value)| value);
    assert_eq!(accepted.sum::<f64>() as usize, 3 * letters.len(), "{text}");
    let refused =
        samples.iter().filter(|(name, _)| name.contains("result=\"credentials\"")).map(|(_, value)| value);
    assert_eq!(refused.sum::<f64>() as usize, 3, "{text}");
    is("restante_command_duration_seconds_count{verb=\"RETR\",status=\"ok\"}", 3 * letters.len());
    is("restante_command_duration_seconds_count{verb=\"QUIT\",status=\"ok\"}", 3 * letters.len());
    is("restante_lock_wait_duration_seconds_count{result=\"free\"}", 3 * letters.len());
    // Dots are stuffed, lines of answers are said.
    let sent = sum(&samples, "restante_sent_bytes_total") as usize;
    assert!(sent > received && sent < received * 2 + sessions * 1000, "{sent} octets, curl had {received}");
    server.stop();
}

#[test]
fn no_counter_goes_back_while_sessions_run() {
    let letters: Vec<Letter> = corpus().into_iter().take(3).collect();
    let server = Server::watched(&letters);
    thread::scope(|threads| {
        let fetching = threads.spawn(|| {
            for turn in 0..30 {
                curl(&server, Security::ALL[turn % 3], PASSWORD, "1").succeeded();
            }
        });
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        while !fetching.is_finished() {
            let now = samples(&scrape(&server));
            for (name, value) in &before {
                let counts = name.contains("_total") || name.contains("_duration_seconds_");
                assert!(
                    !counts || now.get(name).is_some_and(|now| now >= value),
                    "{name} was {value}: {now:#?}"
                );
            }
            before = now;
        }
        assert!(!before.is_empty());
    });
    server.stop();
}

/// A Prometheus of ours, which ends with its test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn prometheus(folder: &Path, target: u16) -> (Prometheus, String) {
    let configuration = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: restante\n    authorization:\n      credentials: {TOKEN}\n    static_configs:\n      - targets: [\"127.0.0.1:{target}\"]\n"
    );
    fs::write(folder.join("prometheus.yml"), configuration).unwrap();
    let log = fs::File::create(folder.join("prometheus.log")).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("prometheus (Debian: prometheus) is missing");
    let child = Prometheus(child);
    let address = until(|| {
        let log = fs::read_to_string(folder.join("prometheus.log")).unwrap();
        let line = log.lines().find(|line| line.contains("Listening on"))?;
        let address = line.split("address=").nth(1)?.split_whitespace().next()?.trim_matches('"').to_owned();
        (!address.ends_with(":0")).then_some(address)
    });
    (
        child,
        address.unwrap_or_else(|| panic!("{}", fs::read_to_string(folder.join("prometheus.log")).unwrap())),
    )
}

#[test]
fn a_prometheus_scrapes_by_address_and_token() {
    let server = Server::watched(&corpus());
    curl(&server, Security::Tls, PASSWORD, "1").succeeded();
    let authority = server.authority();
    let folder = authority.parent().unwrap();
    let (_prometheus, address) = prometheus(folder, server.admin());
    let ask = |query: &str| {
        let url = format!("http://{address}/api/v1/query?query={query}");
        let answer =
            Command::new("curl").args(["--disable", "--silent", &url]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(answer.stdout).unwrap()
    };
    let scraped =
        until(|| Some(ask("restante_connections_total")).filter(|answer| answer.contains("\"pop3s\"")));
    let scraped = scraped.unwrap_or_else(|| panic!("{}\n{}", ask("up"), server.log()));
    assert!(scraped.contains("\"status\":\"success\""), "{scraped}");
    assert!(ask("up").contains(",\"1\"]"), "{}", ask("up"));
    server.stop();
}
