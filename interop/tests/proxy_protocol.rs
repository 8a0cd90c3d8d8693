//! HAProxy and nginx in front: by the PROXY protocol they say who the client is, and the server believes those that are
//! listed. HAProxy sends both versions; nginx sends version 1, from its stream module and from its mail module, which logs in
//! at the server itself.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use restante_interop::{Extra, Letter, PASSWORD, Program, Security, Server, USER, corpus, until};
use tempfile::TempDir;

/// From where the client comes; it is this machine too, so that it may send a password in clear.
const CLIENT: &str = "127.0.0.9";

const LISTEN: &str =
    "proxied_pop3 = [\"127.0.0.1:0\"]\nproxied_pop3s = [\"127.0.0.1:0\"]\nproxies = [\"127.0.0.1\"]\n";

/// How often a proxy is started on other ports, where somebody was quicker to take one of them.
const STARTS_MAX: usize = 3;

/// A proxy that runs until it is dropped.
struct Front {
    child: Child,
    folder: TempDir,
    ports: Vec<u16>,
}

impl Front {
    /// Starts a program on free ports: its configuration and arguments are made for a folder and for these.
    fn start(
        program: &str,
        ports: usize,
        configure: impl Fn(&Path, &[u16]) -> String,
        arguments: impl Fn(&Path) -> Vec<String>,
    ) -> Self {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            let folder = tempfile::Builder::new().prefix("restante-front-").tempdir().unwrap();
            let held: Vec<_> =
                (0..ports).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
            let ports: Vec<_> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
            fs::write(folder.path().join("front.conf"), configure(folder.path(), &ports)).unwrap();
            let output = File::create(folder.path().join("output")).unwrap();
            drop(held);
            let child = Command::new(program)
                .args(arguments(folder.path()))
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output)
                .spawn()
                .unwrap_or_else(|error| {
                    panic!("{program} does not run ({error})\n  as root:  cargo xtask test packages")
                });
            let mut front = Self { child, folder, ports };
            let ready = until(|| {
                let open = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
                let ended = front.child.try_wait().unwrap().is_some();
                (ended || front.ports.iter().all(open)).then_some(!ended)
            });
            if ready == Some(true) {
                return front;
            }
            said = fs::read_to_string(front.folder.path().join("output")).unwrap_or_default();
        }
        panic!("{program} does not start:\n{said}");
    }

    fn haproxy(server: &Server) -> Self {
        let (plain, tls) = (server.proxied(Security::Plain), server.proxied(Security::Tls));
        let backends = [
            format!("server s 127.0.0.1:{plain} send-proxy"),
            format!("server s 127.0.0.1:{plain} send-proxy-v2"),
            format!("server s 127.0.0.1:{tls} send-proxy-v2"),
            // An address of this machine that is not listed.
            format!("server s 127.0.0.1:{plain} send-proxy source 127.0.0.5"),
        ];
        let configure = |_: &Path, ports: &[u16]| {
            let mut text =
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n"
                    .to_owned();
            for (number, (port, backend)) in ports.iter().zip(&backends).enumerate() {
                text += &format!("listen l{number}\n bind 127.0.0.1:{port}\n {backend}\n");
            }
            text
        };
        let arguments =
            |folder: &Path| vec!["-db".into(), "-f".into(), folder.join("front.conf").display().to_string()];
        Self::start("/usr/sbin/haproxy", backends.len(), configure, arguments)
    }

    fn nginx(server: &Server) -> Self {
        let plain = server.proxied(Security::Plain);
        let configure = |folder: &Path, ports: &[u16]| {
            let here = folder.display();
            let [stream, mail, http] = ports[..] else { panic!("three ports") };
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nload_module /usr/lib/nginx/modules/ngx_mail_module.so;\n\
                 daemon off;\npid {here}/pid;\nerror_log stderr;\nworker_processes 1;\nevents {{ worker_connections 64; }}\n\
                 stream {{ server {{ listen 127.0.0.1:{stream}; proxy_pass 127.0.0.1:{plain}; proxy_protocol on; }} }}\n\
                 mail {{ server_name localhost; auth_http 127.0.0.1:{http}/; pop3_auth plain;\n\
                 server {{ listen 127.0.0.1:{mail}; protocol pop3; proxy_protocol on; }} }}\n\
                 http {{ access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;\n\
                 fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
                 server {{ listen 127.0.0.1:{http}; location / {{ add_header Auth-Status OK;\n\
                 add_header Auth-Server 127.0.0.1; add_header Auth-Port {plain}; return 204; }} }} }}\n"
            )
        };
        let arguments = |folder: &Path| {
            let file = folder.join("front.conf").display().to_string();
            vec!["-p".into(), folder.display().to_string(), "-e".into(), "stderr".into(), "-c".into(), file]
        };
        Self::start("/usr/sbin/nginx", 3, configure, arguments)
    }

    fn says(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // SIGTERM: nginx's master ends its workers.
            let _asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if until(|| self.child.try_wait().ok()?).is_none() {
            let _killed = self.child.kill();
            let _status = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the proxy says\n{}---", self.says());
        }
    }
}

fn curl(server: &Server, folder: &Path, scheme: &str, port: u16, password: &str) -> Program {
    Program::new("curl", "curl", folder)
        .args(["--disable", "--silent", "--show-error", "--interface", CLIENT, "--cacert"])
        .arg(server.authority())
        .arg("--user")
        .arg(format!("{USER}:{password}"))
        // 127.0.0.9 reaches no IPv6.
        .args(["--ipv4", "--max-time", "60"])
        .arg(format!("{scheme}://localhost:{port}/1"))
}

fn letter() -> Letter {
    corpus().into_iter().next().expect("there is one")
}

/// Logs in rightly and wrongly; both are told by the client's address.
fn comes_through(server: &Server, folder: &Path, scheme: &str, port: u16, wrong: &str) {
    let (before, ended) = (server.log().len(), format!("address={CLIENT} client_port="));
    curl(server, folder, scheme, port, PASSWORD).run().succeeded();
    let new = || server.log().split_off(before);
    until(|| new().contains(&ended).then_some(())).expect("the session is logged with the client's address");
    assert!(new().contains("proxy=127.0.0.1") && new().contains("retr=1"), "{}", new());
    curl(server, folder, scheme, port, wrong).run().failed();
    let failed = format!("address={CLIENT} user=\"{USER}\"");
    until(|| new().contains(&failed).then_some(()))
        .expect("the failed login is logged with the client's address");
}

#[test]
fn haproxy_says_who_the_client_is_in_both_versions_and_before_tls() {
    let server = Server::with(&Extra { listen: LISTEN, ..Extra::default() }, &[letter()]);
    let folder = server.client_folder("curl");
    let front = Front::haproxy(&server);
    for (place, scheme) in [(0, "pop3"), (1, "pop3"), (2, "pop3s")] {
        comes_through(&server, &folder, scheme, front.ports[place], "wrong");
    }
    curl(&server, &folder, "pop3", front.ports[3], PASSWORD).run().failed();
    assert!(server.log().contains("not from a proxy address=127.0.0.5"), "{}", server.log());
    drop(front);
    server.stop();
}

#[test]
fn nginx_says_who_the_client_is_from_its_stream_and_from_its_mail_module() {
    let server = Server::with(&Extra { listen: LISTEN, ..Extra::default() }, &[letter()]);
    let folder = server.client_folder("curl");
    let front = Front::nginx(&server);
    for place in [0, 1] {
        comes_through(&server, &folder, "pop3", front.ports[place], "wrong");
    }
    drop(front);
    server.stop();
}
