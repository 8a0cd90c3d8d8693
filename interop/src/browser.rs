//! A real Chromium with one page, led through its pipe for debuggers (the Chrome DevTools Protocol): a test opens a page,
//! presses keys, asks what is there, and hears what went wrong in it. As root it is run as nobody, as all of other people's
//! programs are.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{poll, program};

/// The protocol is spoken on the descriptors 3 and 4; the shell puts standard input and output there.
const START: &str = "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null";

/// What keeps it from talking to anybody by itself, and lets it run in a container.
const ARGUMENTS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "about:blank",
];

/// A browser; it is ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    /// Where it lives; it goes with it.
    _folder: TempDir,
    to: ChildStdin,
    from: Receiver<Value>,
    /// The page that it shows.
    session: Option<String>,
    calls: u64,
    requests: Vec<String>,
    complaints: Vec<String>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The width of the window in CSS pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether the reader prefers dark.
    pub dark: bool,
    /// Whether the reader wants nothing to move.
    pub still: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 1280, height: 800, dark: false, still: false }
    }
}

impl Browser {
    /// Starts one that has never run, with an empty page.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("restante-chromium-").tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mut command = Command::new("sh");
        command
            .args(["-c", START, "sh"])
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if program::is_root() {
            command.uid(program::NOBODY).gid(program::NOBODY);
        }
        let mut child = command.spawn().expect("there is a shell");
        let to = child.stdin.take().expect("it is piped");
        let out = child.stdout.take().expect("it is piped");
        let (told, from) = channel();
        thread::spawn(move || {
            let mut out = BufReader::new(out);
            loop {
                let mut message = Vec::new();
                if out.read_until(0, &mut message).is_err() || message.pop() != Some(0) {
                    return;
                }
                let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
                if told.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            _folder: folder,
            to,
            from,
            session: None,
            calls: 0,
            requests: Vec::new(),
            complaints: Vec::new(),
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().expect("a list").iter();
        let page = pages.clone().find(|target| target["type"] == "page").expect("there is a page");
        let target = page["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.look(Look::default());
    }

    /// Asks for something in the browser's own protocol, and waits for the answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let mut octets = serde_json::to_vec(&call).expect("it is JSON");
        octets.push(0);
        if let Err(error) = self.to.write_all(&octets) {
            self.has_gone(&format!("it does not read ({error})"));
        }
        let deadline = Instant::now() + poll::DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok(message) if message["id"] == id => {
                    assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                    return message["result"].clone();
                }
                Ok(message) => self.note(&message),
                Err(RecvTimeoutError::Timeout) => panic!("{method}: the browser does not answer"),
                Err(RecvTimeoutError::Disconnected) => self.has_gone("it has ended"),
            }
        }
    }

    #[track_caller]
    fn has_gone(&mut self, how: &str) -> ! {
        let status = self.child.wait();
        panic!(
            "chromium does not run: {how}, {status:?}\n  install it:  apt-get install chromium\n  or as root:  cargo xtask test packages"
        )
    }

    /// Keeps what a test may want to know of what happened.
    fn note(&mut self, message: &Value) {
        let facts = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(facts["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Runtime.exceptionThrown" => self.complaints.push(facts["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled"
                if matches!(facts["type"].as_str(), Some("error" | "warning" | "assert")) =>
            {
                self.complaints.push(facts["args"].to_string());
            }
            "Log.entryAdded" if facts["entry"]["level"] == "error" => {
                self.complaints.push(facts["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Opens a page, and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", json!({"url": address}));
        assert!(opened["errorText"].is_null(), "{address}: {}", opened["errorText"]);
        self.wait_until("document.readyState === 'complete'");
    }

    /// What an expression gives; a promise is waited for.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters);
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}\n{failed}");
        answer["result"]["value"].clone()
    }

    /// A text that the page has.
    #[track_caller]
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is no text: {value}")).to_owned()
    }

    /// Waits until an expression is true, and gives what it is then.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) -> Value {
        let is_so =
            |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != "";
        let seen = poll::until(|| Some(self.evaluate(expression)).filter(is_so));
        seen.unwrap_or_else(|| {
            let page = self.evaluate("document.body?.innerText.slice(0, 4000)");
            panic!(
                "it does not come true: {expression}\n--- complaints\n{}\n--- the page\n{}",
                self.complaints.join("\n"),
                page.as_str().unwrap_or_default()
            )
        })
    }

    /// Presses a key and lets it go: a letter, or one by its name.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            letter => (0, letter),
        };
        let down = json!({"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types a text, letter by letter.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        for letter in text.chars() {
            self.press(&letter.to_string());
        }
    }

    /// Clicks in the middle of the first element that a selector finds, once it stands still there.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let place = json!(selector);
        let middle = format!(
            "(() => {{ const found = document.querySelector({place}); if (!found) return null; found.scrollIntoView({{block: 'nearest'}}); \
             const box = found.getBoundingClientRect(); const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
             return found.contains(document.elementFromPoint(x, y)) && {{x, y}} }})()"
        );
        let at = self.wait_until(&middle);
        for (kind, count) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 1)] {
            let button = if count == 0 { "none" } else { "left" };
            let event =
                json!({"type": kind, "x": at["x"], "y": at["y"], "button": button, "clickCount": count});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Sets the window, and what the reader prefers.
    pub fn look(&mut self, look: Look) {
        let Look { width, height, dark, still } = look;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([
            {"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": if still { "reduce" } else { "no-preference" }},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Writes a picture of the window (PNG).
    pub fn screenshot(&mut self, file: &Path) {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let base64 = taken["data"].as_str().expect("a picture");
        fs::write(file, STANDARD.decode(base64).expect("it is base64")).expect("it can be written");
    }

    /// What a screen reader is told: the role and the name of each part that is not ignored.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a list").iter();
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .filter(|node| node["ignored"] == false)
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// The addresses that pages have asked for so far.
    pub fn requests(&self) -> &[String] {
        &self.requests
    }

    /// Exceptions, errors and warnings of the console so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Forgets what there was to complain of.
    pub fn forget(&mut self) {
        self.complaints.clear();
        self.requests.clear();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In good order, so that none of its processes is left; by force where that takes too long.
        let mut call = json!({"id": self.calls + 1, "method": "Browser.close"}).to_string().into_bytes();
        call.push(0);
        let asked = self.to.write_all(&call).is_ok();
        if !asked || poll::until(|| self.child.try_wait().ok()?).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("--- what the page complained of\n{}---", self.complaints.join("\n"));
        }
    }
}
