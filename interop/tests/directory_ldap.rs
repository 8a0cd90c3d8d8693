//! Users in OpenLDAP: StartTLS, LDAPS, and in clear. What is special there: an empty password binds as nobody and
//! succeeds (RFC 4513 §5.1.2), so that it must never be tried.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use restante_auth::{
    Directory,
    conformance::{self, Fixture, Style, User},
    directory::{
        Check, Lookup, LookupError, SecretText, Task,
        ldap::{LdapDirectory, Settings},
    },
};
use restante_interop::{
    Server,
    daemon::Daemon,
    directory::{
        ANN, JOERG, TIMEOUT_SECONDS, USERS, closed_port, is_down, is_up, next_is_asked, next_is_not_asked,
    },
};
use restante_proto::{Secret, UserName};

const SUFFIX: &str = "dc=example,dc=org";
const SEARCHER: &str = "cn=restante,dc=example,dc=org";
const PASSWORD: &str = "of the searcher";

struct Slapd(Daemon);

impl Slapd {
    /// With these users: name, password, and further attributes.
    fn new(users: &[(&str, &str, String)]) -> Self {
        let daemon = Daemon::new("slapd", "slapd");
        assert!(
            Path::new("/etc/ldap/schema").is_dir(),
            "slapd is not there\n  install it:  apt-get install slapd"
        );
        daemon.make_folder("db");
        let folder = daemon.show("");
        let folder = folder.trim_end_matches('/');
        daemon.write(
            "slapd.conf",
            &format!(
                "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
                 include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
                 allow bind_anon_cred bind_anon_dn\npidfile {folder}/pid\nargsfile {folder}/args\n\
                 TLSCACertificateFile {folder}/ca.pem\nTLSCertificateFile {folder}/certificate.pem\n\
                 TLSCertificateKeyFile {folder}/key.pem\nTLSVerifyClient never\n\n\
                 database mdb\nmaxsize 16777216\nsuffix \"{SUFFIX}\"\ndirectory {folder}/db\n\
                 access to attrs=userPassword by anonymous auth by * none\n\
                 access to * by dn.exact=\"{SEARCHER}\" read by * none\n"
            ),
        );
        let mut entries = format!(
            "dn: {SUFFIX}\nobjectClass: organization\nobjectClass: dcObject\no: Example\ndc: example\n\n\
             dn: {SEARCHER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: restante\n\
             userPassword: {PASSWORD}\n\n"
        );
        for (number, (name, password, more)) in users.iter().enumerate() {
            entries += &format!(
                "dn: cn={number},{SUFFIX}\nobjectClass: inetOrgPerson\ncn: {number}\nsn: User\nuid:: {}\n\
                 userPassword:: {}\n{more}\n",
                base64(name),
                base64(password)
            );
        }
        daemon.write("users.ldif", &entries);
        daemon.run(&["/usr/sbin/slapadd", "-f", "slapd.conf", "-l", "users.ldif"], &[], "");
        Self(daemon)
    }

    fn start(&mut self) {
        self.listen("ldap");
    }

    fn listen(&mut self, scheme: &str) {
        let url = format!("{scheme}://127.0.0.1:{}/", self.0.port());
        self.0.start(&["/usr/sbin/slapd", "-f", "slapd.conf", "-h", &url, "-d", "0"], |_| true);
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.0.port())
    }

    fn settings(&self) -> Settings {
        Settings {
            ca_file: Some(self.0.file("ca.pem")),
            bind_dn: Some(SEARCHER.to_owned()),
            bind_password: Some(SecretText::Here(Secret::new(PASSWORD.to_owned()))),
            maildir_attribute: Some("description".to_owned()),
            login_delay_attribute: Some("EMPLOYEENUMBER".to_owned()),
            name_attribute: Some("uid".to_owned()),
            ..Settings::new(&[&self.url("ldap")], SUFFIX, "(uid={user})")
        }
    }
}

/// A value that LDIF would take for something else, by the program that every one of these machines has.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let octet = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            let digit = DIGITS[usize::try_from(bits >> (18 - 6 * place) & 63).unwrap()];
            encoded.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    encoded
}

/// The result of a simple bind with a name and no password (RFC 4511 §4.2), by hand.
fn bind_without_password(port: u16, dn: &str) -> u8 {
    let length = |octets: usize| u8::try_from(octets).unwrap();
    let mut request = vec![0x02, 1, 3, 0x04, length(dn.len())];
    request.extend_from_slice(dn.as_bytes());
    request.extend_from_slice(&[0x80, 0]);
    let mut message = vec![0x30, length(request.len() + 5), 0x02, 1, 1, 0x60, length(request.len())];
    message.extend_from_slice(&request);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&message).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[5], 0x61, "a BindResponse");
    answer[9]
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

fn plain(users: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str, String)> {
    users.iter().map(|(name, password)| (*name, *password, String::new())).collect()
}

struct Law(Mutex<Option<Slapd>>);

impl Fixture for Law {
    fn style(&self) -> Style {
        Style::Compares
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let more = |user: &User| {
            let maildrop = user.maildrop.map_or(String::new(), |path| format!("description: {path}\n"));
            let delay = user.login_delay.map(|delay| format!("employeeNumber: {}\n", delay.as_secs()));
            maildrop + &delay.unwrap_or_default()
        };
        let users: Vec<_> = users.iter().map(|user| (user.name, user.password, more(user))).collect();
        let mut slapd = Slapd::new(&users);
        slapd.start();
        let directory = LdapDirectory::new(&slapd.settings()).unwrap();
        *self.0.lock().unwrap() = Some(slapd);
        Box::pin(async { Arc::new(directory) as Arc<dyn Directory> })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        let url = format!("ldap://127.0.0.1:{}", closed_port());
        let settings = Settings { tls: false, ..Settings::new(&[&url], SUFFIX, "(uid={user})") };
        let directory = LdapDirectory::new(&settings).unwrap();
        Box::pin(async { Some(Arc::new(directory) as Arc<dyn Directory>) })
    }

    fn has_accounts(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn it_keeps_the_law() {
    conformance::check(&Law(Mutex::new(None))).await;
}

#[tokio::test]
async fn an_empty_password_never_binds() {
    let mut slapd = Slapd::new(&plain(&[ANN]));
    slapd.start();
    let result = bind_without_password(slapd.0.port(), &format!("cn=0,{SUFFIX}"));
    assert_eq!(result, 0, "this server takes empty passwords, or the test would prove nothing");
    let directory = LdapDirectory::new(&slapd.settings()).unwrap();
    for password in ["", "\0"] {
        let verdict = directory.check(&name(ANN.0), &secret(password)).await.unwrap();
        assert!(matches!(verdict, Check::Wrong), "{verdict:?}");
        let verdict = directory.check(&name("carl"), &secret(password)).await.unwrap();
        assert!(matches!(verdict, Check::Unknown), "{verdict:?}");
    }
    assert!(matches!(directory.check(&name(ANN.0), &secret(ANN.1)).await.unwrap(), Check::Right(_)));
}

#[tokio::test]
async fn more_than_one_entry_is_an_error_and_servers_are_tried_in_turn() {
    let twins = [("twin", "a"), ("twin", "b"), ANN];
    let mut slapd = Slapd::new(&plain(&twins));
    slapd.start();
    let gone = format!("ldap://localhost:{}", closed_port());
    let settings = Settings { urls: vec![gone, slapd.url("ldap")], ..slapd.settings() };
    let directory = LdapDirectory::new(&settings).unwrap();
    for _ in 0..3 {
        let error = directory.lookup(&name("twin")).await.unwrap_err();
        assert!(error.to_string().contains("more than one entry"), "{error}");
        assert!(matches!(directory.lookup(&name(ANN.0)).await.unwrap(), Lookup::Known(_)));
    }
    assert!(directory.check(&name("twin"), &secret("a")).await.is_err());
    // It is found again after a restart.
    slapd.0.stop();
    assert!(directory.lookup(&name(ANN.0)).await.is_err());
    slapd.start();
    assert!(matches!(directory.check(&name(ANN.0), &secret(ANN.1)).await.unwrap(), Check::Right(_)));
    slapd.0.stop();
    slapd.start();
    assert!(matches!(directory.check(&name(ANN.0), &secret(ANN.1)).await.unwrap(), Check::Right(_)), "stale");
}

#[tokio::test]
async fn nobody_is_trusted_who_was_not_named() {
    let mut slapd = Slapd::new(&plain(&[ANN]));
    slapd.start();
    let stranger = Settings { ca_file: Some(slapd.0.file("stranger.pem")), ..slapd.settings() };
    let directory = LdapDirectory::new(&stranger).unwrap();
    assert!(matches!(directory.lookup(&name(ANN.0)).await, Err(LookupError::Broken { .. })));
    let wrong = Settings {
        bind_password: Some(SecretText::Here(Secret::new("wrong".to_owned()))),
        ..slapd.settings()
    };
    let error = LdapDirectory::new(&wrong).unwrap().lookup(&name(ANN.0)).await.unwrap_err();
    assert!(error.to_string().contains("refuses the bind of bind_dn"), "{error}");
    let elsewhere = Settings { base: "ou=none,dc=example,dc=org".to_owned(), ..slapd.settings() };
    assert!(LdapDirectory::new(&elsewhere).unwrap().lookup(&name(ANN.0)).await.is_err());
    slapd.0.stop();
    slapd.listen("ldaps");
    let settings = Settings { urls: vec![slapd.url("ldaps")], ..slapd.settings() };
    let directory = LdapDirectory::new(&settings).unwrap();
    assert!(matches!(directory.check(&name(ANN.0), &secret(ANN.1)).await.unwrap(), Check::Right(_)));
}

/// However many ask.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let slapd = Slapd::new(&plain(&[ANN]));
    let _silence = slapd.0.silence();
    let settings = Settings { patience: Duration::from_millis(300), connections: 2, ..slapd.settings() };
    for tls in [true, false] {
        let directory = LdapDirectory::new(&Settings { tls, ..settings.clone() }).unwrap();
        let begin = Instant::now();
        for _ in 0..5 {
            assert!(directory.lookup(&name(ANN.0)).await.is_err());
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn the_server_asks_it() {
    let mut slapd = Slapd::new(&plain(&[ANN, JOERG]));
    let sections = format!(
        "[ldap]\nurls = [{:?}]\nca_file = {:?}\nbind_dn = \"{SEARCHER}\"\nbind_password_file = {:?}\nbase = \"{SUFFIX}\"\n\
         filter = \"(&(objectClass=inetOrgPerson)(uid={{user}}))\"\nname_attribute = \"uid\"\n\
         timeout_seconds = {TIMEOUT_SECONDS}\n",
        slapd.url("ldap"),
        slapd.0.file("ca.pem"),
        slapd.0.write("password", PASSWORD),
    );
    // It starts while the server is down.
    let server = Server::asking(&["ldap", "users"], &sections, USERS);
    is_down(&server);
    slapd.start();
    is_up(&server);
    next_is_asked(&server);
    slapd.0.stop();
    is_down(&server);
    next_is_not_asked(&server);
    let silence = slapd.0.silence();
    is_down(&server);
    drop(silence);
    slapd.start();
    is_up(&server);
    for secret in [PASSWORD, ANN.1] {
        assert!(!server.log().contains(secret), "a password is in the log");
    }
    server.stop();
}
