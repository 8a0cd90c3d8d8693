//! Chromium: the live page as an operator has it, beside a server with sessions of curl and of clients as plain as can be.
//! What is asserted is what a person sees, hears from a screen reader, and does with mouse or keys; `admin_chromium/check.js`
//! looks for what would disturb him. `RESTANTE_SCREENSHOTS=DIR` keeps pictures of what was looked at.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use restante_interop::{Browser, Letter, Look, PASSWORD, Security, Server, TOKEN, USER, corpus, until};
use serde_json::Value;

const SCROLL: &str = include_str!("admin_chromium/scroll.js");
const CHECK: &str = include_str!("admin_chromium/check.js");

/// The page's own way to ask its server, up to the arguments: with the token that this tab has.
const ASK: &str = "import(location.origin + '/door.js').then(door => door.ask";
/// What tells a page that it is seen, or not any more, as the browser does with its tabs.
const SEEN: &str = "(isHidden => { Object.defineProperty(document, 'hidden', {value: isHidden, configurable: true}); document.dispatchEvent(new Event('visibilitychange')); return true; })";

/// How long a peer may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many sessions the list has to bear.
const MANY: usize = 1000;
/// What half of all frames have to keep to, on a machine that is busy with other tests and draws without a graphics card.
const FRAME_MAX_MS: f64 = 100.0;

/// A server with its page in a browser.
struct Live {
    server: Server,
    browser: Browser,
}

impl Live {
    fn start(letters: &[Letter]) -> Self {
        let (server, browser) = (Server::watched(letters), Browser::start());
        let mut live = Self { server, browser };
        live.browser.open(&live.address(&format!("/#token={TOKEN}")));
        live.browser.wait_until("document.querySelector('#link').dataset.link === 'live'");
        live
    }

    fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.admin())
    }

    fn client(&self) -> Client {
        Client::open(self.server.port(Security::Plain))
    }

    /// A client that is logged in.
    fn signed_in(&self) -> Client {
        let mut client = self.client();
        client.sign_in();
        client
    }

    /// The session of a client, once it is listed.
    #[track_caller]
    fn session(&mut self, list: &str, client: &Client) -> String {
        let (row, address) = (row(list), client.address());
        let found = format!("{row}.find(row => row.innerText.includes('{address}'))?.dataset.session");
        self.browser.wait_until(&found).as_str().unwrap().to_owned()
    }

    /// Opens a session's diagram by a click in the list.
    #[track_caller]
    fn click(&mut self, session: &str) {
        self.browser.click(&format!("tr[data-session=\"{session}\"] .c-client"));
        self.browser.wait_until(&format!(
            "location.hash === '#{session}' && !document.querySelector('#detail').hidden"
        ));
    }

    #[track_caller]
    fn assert_fine(&mut self, what: &str) {
        let faults = self.browser.evaluate(CHECK);
        assert_eq!(faults, Value::Array(Vec::new()), "{what}");
    }

    fn keep(&mut self, name: &str) {
        if let Some(folder) = env::var_os("RESTANTE_SCREENSHOTS") {
            self.browser.screenshot(&Path::new(&folder).join(format!("page-{name}.png")));
        }
    }

    /// Nothing went wrong in the page, and it asked nobody but its own server.
    #[track_caller]
    fn assert_quiet(&self) {
        assert!(self.browser.complaints().is_empty(), "{:#?}", self.browser.complaints());
        let own = self.address("/");
        for request in self.browser.requests() {
            assert!(request.starts_with(&own) || request == "about:blank", "the page asked {request}");
        }
    }
}

/// The rows of a list, as a list of the script's.
fn row(list: &str) -> String {
    format!("[...document.querySelectorAll('#{list} tbody:not(.gap) tr')]")
}

/// A client on a bare socket, in clear.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        assert!(client.line().starts_with("+OK"));
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers in time");
        line
    }

    fn command(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("it listens");
        self.line()
    }

    fn sign_in(&mut self) {
        self.command(&format!("USER {USER}"));
        let answer = self.command(&format!("PASS {PASSWORD}"));
        assert!(answer.starts_with("+OK"), "{answer}");
    }

    fn address(&self) -> String {
        self.stream.get_ref().local_addr().unwrap().to_string()
    }
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends a request as it stands; gives the status and all that came.
fn asked(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers, and closes");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP: {answer:.200}")), answer)
}

#[test]
fn a_session_that_curl_holds_open_is_listed_as_it_is() {
    // Of some 20 MB, taken by 50 kB a second.
    let mut letter = corpus().remove(0);
    letter.stored.extend(b"and so it goes on, line after line\n".repeat(600_000));
    let mut live = Live::start(&[letter]);
    let port = live.server.port(Security::Tls);
    let curl = Command::new("curl")
        .args(["--silent", "--limit-rate", "50k", "--cacert"])
        .arg(live.server.authority())
        .args(["--user", &format!("{USER}:{PASSWORD}"), &format!("pop3s://localhost:{port}/1")])
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .stdout(Stdio::null())
        .spawn()
        .expect("curl runs: apt-get install curl");
    let _curl = Running(curl);
    let all = live.browser.wait_until(&format!(
        "{}.map(row => row.innerText).find(text => text.includes('RETR for'))",
        row("on")
    ));
    let all = all.as_str().unwrap();
    for expected in [USER, "127.0.0.1:", "TLS 1.", "TRANSACTION", "RETR for "] {
        assert!(all.contains(expected), "no {expected} in {all}");
    }
    assert_eq!(live.browser.text("document.querySelector('#meter-on').textContent"), "1");
    assert!(live.browser.text("document.title").starts_with("1 on · mail.example.org"));
    let title = live.browser.text("document.querySelector('#on .c-tls[title]').title");
    assert!(title.contains("TLS_") || title.contains("TLS13_"), "the cipher is told: {title}");
    live.keep("one-1280");
    live.assert_fine("one session");
    live.assert_quiet();
}

#[test]
fn a_diagram_grows_while_its_session_runs() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    live.click(&session);
    let rows = "document.querySelectorAll('#paper .row').length";
    live.browser.wait_until(&format!("{rows} >= 5"));
    let shown = "document.querySelector('#detail').innerText";
    for expected in [USER, "TRANSACTION", client.address().as_str(), session.as_str(), "none"] {
        live.browser.wait_until(&format!("{shown}.includes('{expected}')"));
    }
    let before = live.browser.evaluate(rows).as_u64().unwrap();
    client.command("NOOP");
    live.browser.wait_until(&format!("{rows} >= {}", before + 2));
    // The newest row is in sight without that somebody scrolls.
    for number in 1..=14 {
        client.command("STAT");
        client.command(&format!("LIST {number}"));
    }
    let in_sight = "(() => { const [row, paper] = [[...document.querySelectorAll('#paper .row')].at(-1), document.querySelector('#paper')].map(one => one.getBoundingClientRect()); return row.bottom <= paper.bottom + 1 && row.top >= paper.top; })()";
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('LIST 14')");
    live.browser.wait_until(in_sight);
    assert_eq!(live.browser.evaluate("document.querySelector('#below').hidden"), true);
    live.keep("diagram-1280");
    live.assert_fine("a diagram");

    // Who reads further up is left in peace, and told.
    live.browser.evaluate("document.querySelector('#paper').scrollTop = 0");
    live.browser.wait_until(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
    );
    client.command("RSET");
    live.browser.wait_until("!document.querySelector('#below').hidden");
    assert_eq!(live.browser.evaluate("document.querySelector('#paper').scrollTop"), 0);
    let told = live.browser.text("document.querySelector('#below').textContent");
    assert!(told.contains("new row"), "{told}");
    live.browser.click("#below");
    live.browser.wait_until(in_sight);

    client.command("QUIT");
    live.browser.wait_until("document.querySelector('#paper .end') !== null");
    live.browser.wait_until("document.querySelector('#detail-phase').textContent === 'ended'");
    live.browser.wait_until("document.querySelector('#said').textContent.includes('ended')");
    live.keep("diagram-ended-1280");
    live.assert_quiet();
}

#[test]
fn a_session_that_began_before_is_drawn_from_its_next_command_on() {
    let server = Server::watched(&corpus());
    let mut client = Client::open(server.port(Security::Plain));
    client.sign_in();
    let mut live = Live { server, browser: Browser::start() };
    live.browser.open(&live.address(&format!("/#token={TOKEN}")));
    let session = live.session("on", &client);
    live.click(&session);
    live.browser.wait_until("document.querySelector('#paper .notice')?.innerText.includes('next command')");
    live.keep("waiting-1280");
    client.command("STAT");
    client.command("NOOP");
    live.browser.wait_until("document.querySelectorAll('#paper .row').length >= 2");
    let paper = live.browser.text("document.querySelector('#paper').innerText");
    assert!(paper.contains("beginning was not heard") && !paper.contains("next command on"), "{paper}");
    live.assert_quiet();
}

#[test]
fn no_password_is_anywhere() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    live.click(&session);
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('PASS')");
    client.command("NOOP");
    let dialogue = format!("{ASK}('/sessions/{session}/dialogue')).then(answer => answer.text())");
    let dialogue = live.browser.text(&dialogue);
    assert!(dialogue.contains("C: PASS [secret]"), "{dialogue}");
    let page = live.browser.text("document.documentElement.outerHTML + document.body.innerText");
    for text in [dialogue, page] {
        assert!(text.contains("PASS") && text.contains("[secret]"));
        assert!(!text.contains(PASSWORD) && !text.contains(TOKEN), "a secret is there");
    }
    let address = live.browser.text("location.href");
    assert!(!address.contains(TOKEN), "the token stays in the address: {address}");
}

#[test]
fn who_ends_is_told_with_why() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    client.command("QUIT");
    assert_eq!(live.session("ended", &client), session);
    let ended = format!("document.querySelector('#ended [data-session=\"{session}\"]')");
    let why = live.browser.text(&format!("{ended}.querySelector('.c-why').innerText"));
    assert!(why.contains("quit"), "{why}");
    live.browser.wait_until(&format!("{ended}.querySelector('.heard') !== null"));
    live.browser.wait_until(&format!("!document.querySelector('#on [data-session=\"{session}\"]')"));
    assert_eq!(live.browser.text("document.querySelector('#meter-on').textContent"), "0");
    // With nobody on, it is told what to do.
    live.browser.wait_until("document.querySelector('#on .empty').innerText.includes('curl pop3://')");
    live.keep("none-on-1280");
    live.click(&session);
    live.browser.wait_until("document.querySelector('#paper .end') !== null");
    assert_eq!(live.browser.evaluate("document.querySelector('#kick').hidden"), true);
    live.assert_quiet();
    // A link to one that is long forgotten says so, and shows nothing else.
    live.browser.evaluate("location.hash = 'nobody-1'");
    live.browser.wait_until(
        "document.querySelector('#detail-title').innerText.includes('No session of this name is on')",
    );
    assert_eq!(live.browser.evaluate("document.querySelector('.known').checkVisibility()"), false);
    assert_eq!(live.browser.text("document.querySelector('#said').textContent"), "");
    live.keep("unknown-1280");
    live.assert_fine("an unknown session");
}

#[test]
fn an_operator_ends_a_session() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    live.click(&session);
    live.browser.wait_until("!document.querySelector('#kick').hidden");
    live.browser.click("#kick");
    live.browser.wait_until("document.querySelector('#kick-dialog').open");
    let whose = live.browser.text("document.querySelector('#kick-whose').textContent");
    assert!(whose.contains(USER) && whose.contains(&client.address()), "{whose}");
    live.keep("kick-1280");
    // Nothing happens to it before it is confirmed.
    live.browser.press("Escape");
    live.browser.wait_until("!document.querySelector('#kick-dialog').open");
    assert!(client.command("NOOP").starts_with("+OK"));
    live.browser.click("#kick");
    live.browser.click("#kick-sure");
    live.browser.wait_until("!document.querySelector('#kick-dialog').open");
    assert_eq!(live.session("ended", &client), session);
    assert_eq!(client.line(), "", "the connection is over");
    // Why it is over stands at the end of its diagram too.
    live.browser.wait_until(
        "document.querySelector('#paper .over')?.innerText === 'The session is over: ended by the operator.'",
    );
    live.keep("kicked-1280");
    live.assert_quiet();
}

#[test]
fn who_fails_to_log_in_is_told() {
    let mut live = Live::start(&corpus());
    let mut client = live.client();
    let session = live.session("on", &client);
    for _ in 0..2 {
        client.command(&format!("USER {USER}"));
        assert!(client.command("PASS not-this-one").starts_with("-ERR"));
    }
    let cell = |list: &str| {
        format!("document.querySelector('#{list} [data-session=\"{session}\"] .c-user')?.innerText")
    };
    live.browser.wait_until(&format!("/^{USER}\\?\\s+wrong password ×2$/.test({})", cell("on")));
    live.keep("failed-1280");
    live.assert_fine("failed logins");
    // The filter finds both, and the diagram's head tells it.
    for words in ["wrong password", USER] {
        live.browser.press("/");
        live.browser.type_in(words);
        live.browser.wait_until("document.querySelector('#on .count').textContent === '1 of 1'");
        live.browser.press("Escape");
    }
    // A name that nobody has is not shown: it may be a password.
    let mut other = live.client();
    other.command("USER secret");
    other.command("PASS not-this-one");
    live.browser.wait_until("document.querySelector('#on .count').textContent === '2'");
    live.browser.press("/");
    live.browser.type_in("not logged in");
    live.browser
        .wait_until(&format!("{}.map(row => row.innerText).join().includes('wrong password')", row("on")));
    assert!(!live.browser.text("document.body.innerText").contains("secret"));
    live.browser.press("Escape");
    live.browser.wait_until(&format!("{}.length === 2", row("on")));
    live.click(&session);
    live.browser.wait_until(&format!("document.querySelector('#detail-title').innerText === '{USER}?'"));
    live.browser.wait_until("document.querySelector('#detail-wrong').innerText === 'wrong password ×2'");
    client.command("QUIT");
    live.browser.wait_until(&format!("/^{USER}\\?\\s+wrong password ×2$/.test({})", cell("ended")));
    live.assert_quiet();
}

#[test]
fn what_is_marked_is_told_apart_from_what_is_removed() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    live.click(&session);
    client.command("DELE 1");
    client.command("DELE 2");
    live.browser.press("d");
    let fact = |name: &str, number: u32| {
        format!("/(^|\\s){name}\\s+{number}(\\s|$)/.test(document.querySelector('#readings').innerText)")
    };
    live.browser.wait_until(&fact("Marked", 2));
    client.command("QUIT");
    live.browser.wait_until(&fact("Removed", 2));
    live.assert_quiet();
}

#[test]
fn everything_is_done_by_keys() {
    let mut live = Live::start(&corpus());
    let (_first, mut second, _third) = (live.client(), live.signed_in(), live.client());
    live.browser.wait_until(&format!("{}.length === 3", row("on")));
    let session = live.session("on", &second);

    live.browser.press("/");
    live.browser.wait_until("document.activeElement.id === 'filter'");
    live.browser.type_in(USER);
    live.browser.wait_until(&format!("{}.length === 1", row("on")));
    let count = live.browser.text("document.querySelector('#on .count').textContent");
    assert_eq!(count, "1 of 3");
    live.browser.press("Enter");
    let focused = "document.activeElement.closest('tr')?.dataset.session ?? ''";
    assert_eq!(live.browser.text(focused), session);
    live.browser.press("Enter");
    live.browser.wait_until("document.activeElement.id === 'detail-title'");
    live.browser.wait_until("document.querySelectorAll('#paper .row').length >= 5");
    second.command("NOOP");

    live.browser.press("Escape");
    live.browser.wait_until("document.querySelector('#detail').hidden && location.hash === ''");
    assert_eq!(live.browser.text(focused), session, "the focus is back");
    // History leads back to it, and away again.
    live.browser.evaluate("history.back()");
    live.browser.wait_until("!document.querySelector('#detail').hidden");
    live.browser.press("Escape");

    live.browser.press("/");
    live.browser.press("Escape");
    live.browser.wait_until(&format!("{}.length === 3", row("on")));
    live.browser.press("g");
    let first = live.browser.text(focused);
    live.browser.press("j");
    let next = live.browser.text(focused);
    live.browser.press("ArrowDown");
    let last = live.browser.text(focused);
    assert!(first != next && next != last && !last.is_empty(), "{first} {next} {last}");
    live.browser.press("k");
    assert_eq!(live.browser.text(focused), next);
    live.browser.press("End");
    assert_eq!(live.browser.text(focused), last);

    live.browser.press("?");
    live.browser.wait_until("document.querySelector('#keys').open");
    live.keep("keys-1280");
    live.browser.press("Escape");
    live.browser.wait_until("!document.querySelector('#keys').open");
    // By Tab: the names of the columns can be reached, and sort.
    live.browser.evaluate("document.querySelector('#on .c-user button').focus()");
    live.browser.press("Enter");
    live.browser.wait_until("document.querySelector('#on th.c-user').ariaSort === 'ascending'");
    live.browser.press("Enter");
    live.browser.wait_until("document.querySelector('#on th.c-user').ariaSort === 'descending'");
    live.assert_quiet();
}

#[test]
fn who_may_not_come_in_gets_nothing() {
    let live = Live::start(&corpus());
    let client = live.signed_in();
    let port = live.server.admin();
    let secrets = [USER.to_owned(), client.address(), "TRANSACTION".to_owned()];
    let ours = format!("127.0.0.1:{port}");
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let get = |path: &str, host: &str, more: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        let (status, answer) = asked(port, &request);
        if status != 200 {
            for secret in &secrets {
                assert!(!answer.contains(secret), "{secret} in the answer to {request}: {answer}");
            }
        }
        (status, answer)
    };
    let listed = until(|| {
        let (status, answer) = get("/sessions", &ours, &right);
        (status == 200 && secrets.iter().all(|secret| answer.contains(secret))).then_some(())
    });
    assert!(listed.is_some(), "the right token opens it");
    let session = get("/sessions", &ours, &right).1;
    let session = session.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let of = |what: &str| format!("/sessions/{session}{what}");
    let data = ["/sessions", "/sessions/events", "/watch", "/locks", "/metrics"].map(str::to_owned);
    for path in data.into_iter().chain([of(""), of("/dialogue"), of("/diagram")]) {
        assert_eq!(get(&path, &ours, "").0, 401, "{path} without a token");
        assert_eq!(get(&path, &ours, "Authorization: Bearer a-token-of-nobody\r\n").0, 401, "{path}");
        assert_eq!(get(&path, "mail.example.com", &right).0, 421, "{path} for a foreign host");
    }
    // The page itself is the same for everybody, and knows nothing.
    for path in ["/", "/page.js", "/detail.js", "/door.js", "/page.css", "/diagram.css", "/icon.svg"] {
        let (status, answer) = get(path, &ours, "");
        assert_eq!(status, 200, "{path}");
        for secret in secrets[..2].iter().map(String::as_str).chain([TOKEN, "mail.example.org", session]) {
            let is_word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            assert!(!answer.split(secret).skip(1).any(is_word), "{secret} in {path}");
        }
        assert_eq!(get(path, "mail.example.com", "").0, 421, "{path} for a foreign host");
    }
    assert_eq!(get(&format!("/sessions?token={TOKEN}"), &ours, "").0, 401, "no token in an address");
    let kick = format!(
        "POST /sessions/1/kick HTTP/1.1\r\nHost: {ours}\r\n{right}Origin: http://mail.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(asked(port, &kick).0, 403, "from another page");
    let (_, page) = get("/", &ours, &right);
    let policy = page.lines().find(|line| line.to_lowercase().starts_with("content-security-policy:"));
    assert!(
        policy.is_some_and(|policy| policy.contains("default-src 'none'; script-src 'self'")),
        "{policy:?}"
    );
}

#[test]
fn a_browser_without_the_token_is_asked_for_it() {
    let (server, browser) = (Server::watched(&corpus()), Browser::start());
    let mut live = Live { server, browser };
    let client = live.signed_in();
    live.browser.open(&live.address("/"));
    live.browser.wait_until("document.activeElement.id === 'token'");
    let page = live.browser.text("document.body.innerText");
    assert!(page.contains("[admin] token_file") && !page.contains("Sessions on"), "{page}");
    assert!(!page.contains(USER) && !page.contains(&client.address()), "{page}");
    live.keep("token-1280");
    live.assert_fine("the token's form");
    live.browser.type_in("not-this-one-at-all");
    live.browser.press("Enter");
    let said = "document.querySelector('#door-said:not([hidden])')?.textContent";
    live.browser.wait_until(&format!("{said} === 'This is not the token.'"));
    live.keep("token-wrong-1280");
    live.browser.wait_until("document.activeElement.id === 'token' && document.activeElement.value === ''");
    live.browser.type_in(TOKEN);
    live.browser.press("Enter");
    live.browser.wait_until("document.querySelector('#link').dataset.link === 'live'");
    let session = live.session("on", &client);
    // This tab keeps it, and nothing else does.
    assert_eq!(live.browser.text("document.cookie"), "");
    live.browser.open(&live.address(&format!("/?again#{session}")));
    live.browser.wait_until("document.querySelector('#detail-phase').textContent === 'TRANSACTION'");
    // It can be forgotten; what was looked at is there again with the next one.
    live.browser.press("?");
    live.browser.click("#forget");
    live.browser.wait_until("!document.querySelector('#door').hidden");
    let page = live.browser.text("document.body.innerText");
    assert!(!page.contains(USER) && !page.contains(&client.address()), "{page}");
    assert_eq!(live.browser.evaluate("sessionStorage.length"), 0);
    live.browser.evaluate(&format!("location.hash = '#token={TOKEN}&{session}'"));
    live.browser.wait_until("document.querySelector('#detail-phase').textContent === 'TRANSACTION'");
    assert_eq!(live.browser.text("location.hash"), format!("#{session}"));
}

#[test]
fn a_wrong_token_in_the_address_opens_nothing() {
    let (server, browser) = (Server::watched(&[]), Browser::start());
    let mut live = Live { server, browser };
    live.browser.open(&live.address("/#token=a-token-of-nobody"));
    live.browser.wait_until("document.querySelector('#door-said:not([hidden])') !== null");
    let address = live.browser.text("location.href");
    assert!(!address.contains("token"), "{address}");
    assert!(!live.browser.text("document.body.innerText").contains("mail.example.org"));
}

#[test]
fn a_server_that_is_gone_is_told_of() {
    let mut live = Live::start(&[]);
    live.browser
        .wait_until("document.querySelector('#ended .empty')?.innerText.includes('No session has ended')");
    let command = live.browser.text("document.querySelector('#on .empty code').innerText");
    let port = live.server.port(Security::Plain);
    assert_eq!(command, format!("curl pop3://127.0.0.1:{port}/ --user USER"));
    live.keep("empty-1280");
    live.assert_fine("no sessions");
    live.assert_quiet();
    // The page goes on by itself, and claims nothing.
    let Live { server, browser } = live;
    server.stop();
    let mut browser = browser;
    browser.wait_until("/^lost at .*, trying again$/.test(document.querySelector('#link').innerText)");
    assert!(browser.text("document.title").starts_with("Lost"));
    let page = browser.text("document.body.innerText");
    assert!(!page.contains("No session") && page.contains("is not known"), "{page}");
}

#[test]
fn a_tab_that_nobody_sees_leaves_its_connections() {
    let mut live = Live::start(&corpus());
    let mut client = live.signed_in();
    let session = live.session("on", &client);
    live.click(&session);
    live.browser.wait_until("document.querySelectorAll('#paper .row').length >= 5");
    live.browser.evaluate(&format!("{SEEN}(true)"));
    live.browser.wait_until("document.querySelector('#detail').dataset.link === 'paused'");
    client.command("NOOP");
    client.command("RSET");
    let paper = "document.querySelector('#paper').innerText";
    assert_eq!(live.browser.evaluate(&format!("{paper}.includes('RSET')")), false);
    live.browser.evaluate(&format!("{SEEN}(false)"));
    live.browser.wait_until(&format!("{paper}.includes('RSET')"));
    let rows = "[...document.querySelectorAll('#paper .row')].map(row => row.id)";
    let is_once = format!("new Set({rows}).size === {rows}.length");
    assert_eq!(live.browser.evaluate(&is_once), true, "no row is there twice");
    live.assert_quiet();
}

#[test]
fn the_newest_is_followed_names_are_hidden_and_a_diagram_has_all_the_room() {
    let mut live = Live::start(&corpus());
    live.browser.press("f");
    live.browser.wait_until("document.querySelector('#newest').checked");
    let mut client = live.signed_in();
    let opened = format!("document.querySelector('#detail').textContent.includes('{}')", client.address());
    live.browser.wait_until(&opened);
    let _second = live.client();
    live.browser.wait_until(&format!("!{opened} && !document.querySelector('#detail').hidden"));
    live.browser.press("f");

    let session = live.session("on", &client);
    live.click(&session);
    client.command("STAT");
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('STAT')");
    live.browser.press("h");
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('USER user-1')");
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('STAT')");
    let page = live.browser.text("document.body.innerText + document.body.innerHTML");
    assert!(!page.contains(USER) && !page.contains(&client.address()), "{page}");
    live.keep("hidden-1280");
    live.assert_fine("names that are hidden");
    live.browser.press("h");
    live.browser.wait_until(&format!("document.querySelector('#paper').innerText.includes('USER {USER}')"));

    live.browser.press("l");
    live.browser.wait_until("document.querySelector('#detail').getBoundingClientRect().width === innerWidth");
    live.browser.wait_until("document.querySelector('#paper').innerText.includes('STAT')");
    live.keep("large-1280");
    live.assert_fine("a diagram in the whole window");
    live.browser.press("Escape");
    assert_eq!(live.browser.evaluate("document.querySelector('#detail').hidden"), false);
    live.browser.press("d");
    live.browser.wait_until("document.querySelector('#readings').innerText.includes('Commands')");
    live.keep("details-1280");
    live.assert_fine("details of a session");
    live.assert_quiet();
}

#[test]
fn a_thousand_sessions_scroll_smoothly() {
    let mut live = Live::start(&corpus());
    let mut clients: Vec<Client> = (0..MANY - 1).map(|_| live.client()).collect();
    clients.push(live.signed_in());
    live.browser.wait_until(&format!("document.querySelector('#meter-on').textContent === '{}'", "1,000"));
    assert_eq!(live.browser.text("document.querySelector('#on table').ariaRowCount ?? document.querySelector('#on table').getAttribute('aria-rowcount')"), "1001");
    let said = live.browser.evaluate(SCROLL);
    let figure = |name: &str| said[name].as_f64().unwrap();
    eprintln!("{MANY} sessions: {said}");
    assert_eq!(said["sessions"], MANY, "not every session was seen: {said}");
    assert_eq!(said["isAtEnd"], true, "{said}");
    assert_eq!(said["empty"], 0, "there were holes in the list: {said}");
    assert!(figure("drawn") < 200.0, "all rows are in the document: {said}");
    assert!(figure("median") < FRAME_MAX_MS, "half of the frames took longer: {said}");

    // A place in the list is kept while sessions come and go.
    let box_of = |session: &str| {
        format!("document.querySelector('#on tr[data-session=\"{session}\"]').getBoundingClientRect().top")
    };
    live.browser.evaluate("document.querySelector('#on .scroll').scrollTop = 9000");
    let middle = "document.elementFromPoint(200, document.querySelector('#on .scroll').getBoundingClientRect().top + 200)?.closest('tr')?.dataset.session";
    let session = live.browser.wait_until(middle).as_str().unwrap().to_owned();
    let before = live.browser.evaluate(&box_of(&session)).as_f64().unwrap();
    let more: Vec<Client> = (0..20).map(|_| live.client()).collect();
    live.browser.wait_until("document.querySelector('#meter-on').textContent === '1,020'");
    let after = live.browser.evaluate(&box_of(&session)).as_f64().unwrap();
    assert!((after - before).abs() <= 1.0, "the list has jumped from {before} to {after}");
    live.keep("many-1280");
    live.assert_fine("many sessions");
    live.browser.press("/");
    live.browser.type_in(USER);
    live.browser.wait_until(&format!("{}.length === 1", row("on")));
    live.keep("filtered-1280");
    live.assert_quiet();
    drop((clients, more));
    live.browser.press("Escape");
    live.browser.wait_until("document.querySelector('#meter-on').textContent === '0'");
}

#[test]
fn it_is_fine_at_every_width_in_light_and_dark() {
    let mut live = Live::start(&corpus());
    let mut clients: Vec<Client> = (0..6).map(|_| live.client()).collect();
    let mut client = live.signed_in();
    for command in ["STAT", "LIST", "UIDL", "DELE 2", "RSET"] {
        client.command(command);
    }
    clients.pop().unwrap().command("QUIT");
    live.browser.wait_until(&format!("{}.length === 1", row("ended")));
    let session = live.session("on", &client);
    let mut grounds = Vec::new();
    // The third is 1280 by 800 at twice the size.
    for (width, height) in [(360, 760), (768, 1024), (640, 400), (1280, 800), (1920, 1080)] {
        for dark in [false, true] {
            let colours = if dark { "dark" } else { "light" };
            live.browser.look(Look { width, height, dark, still: true });
            live.browser.wait_until(&format!("innerWidth === {width}"));
            live.keep(&format!("list-{width}-{colours}"));
            live.assert_fine(&format!("the lists at {width}, {colours}"));
            grounds.push(live.browser.text("getComputedStyle(document.body).backgroundColor"));
            live.browser.evaluate(&format!("location.hash = '{session}'"));
            live.browser.wait_until("document.querySelectorAll('#paper .row').length >= 8");
            live.browser.wait_until("document.querySelector('#detail-phase').textContent === 'TRANSACTION'");
            live.keep(&format!("open-{width}-{colours}"));
            live.assert_fine(&format!("a diagram at {width}, {colours}"));
            live.browser.press("Escape");
            live.browser.wait_until("document.querySelector('#detail').hidden");
        }
    }
    assert_ne!(grounds[0], grounds[1], "dark is light");
    // Nothing moves for who wants that.
    let moving = live.browser.evaluate("document.getAnimations().length");
    assert_eq!(moving, 0);
    live.assert_quiet();
}

#[test]
fn a_screen_reader_is_told_what_there_is() {
    let mut live = Live::start(&corpus());
    let client = live.signed_in();
    let session = live.session("on", &client);
    live.browser.wait_until("document.querySelector('#on .c-phase .pill').innerText === 'TRANSACTION'");
    let parts = live.browser.accessible();
    let has = |role: &str, name: &str| parts.iter().any(|part| part.0 == role && part.1.contains(name));
    for (role, name) in [
        ("heading", "mail.example.org"),
        ("table", "On"),
        ("columnheader", "User"),
        ("columnheader", "Phase"),
        ("row", ""),
        ("cell", "TRANSACTION"),
        ("link", USER),
        ("searchbox", "Filter by user, address or session"),
        ("button", "Keys"),
        ("status", ""),
        ("main", ""),
    ] {
        assert!(has(role, name), "no {role} {name}: {parts:#?}");
    }
    live.click(&session);
    live.browser.wait_until("document.querySelectorAll('#paper .row').length >= 5");
    let parts = live.browser.accessible();
    let has = |role: &str, name: &str| parts.iter().any(|part| part.0 == role && part.1.contains(name));
    for (role, name) in [
        ("region", USER),
        ("heading", USER),
        ("heading", "AUTHORIZATION"),
        ("listitem", ""),
        ("button", "Close, back to the list"),
        ("button", "End session"),
        ("button", "Dialogue"),
        ("link", "Row 1"),
    ] {
        assert!(has(role, name), "no {role} {name}: {parts:#?}");
    }
}

#[test]
fn the_check_finds_what_is_broken() {
    let mut live = Live::start(&corpus());
    let client = live.signed_in();
    live.session("on", &client);
    live.assert_fine("at first");
    let breaks = [
        ("document.querySelector('#on .c-user button').style.color = '#bbb'", "contrast"),
        ("document.querySelector('#on .c-phase .pill').style.marginLeft = '-9rem'", "texts overlap"),
        ("document.querySelector('.meters').style.minWidth = '2000px'", "the page is"),
        ("document.querySelector('#filter').previousElementSibling.remove()", "no name"),
        ("document.querySelector('#spark').id = 'filter'", "an id stands twice"),
    ];
    for (script, expected) in breaks {
        live.browser.evaluate(script);
        let faults = live.browser.evaluate(CHECK).to_string();
        assert!(faults.contains(expected), "{script}: {faults}");
    }
    // And a complaint of the console is heard.
    live.browser.evaluate("console.error('something')");
    assert!(until(|| live.browser.complaints().first().cloned()).is_some());
}
