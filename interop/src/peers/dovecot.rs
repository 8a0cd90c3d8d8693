//! Dovecot, 2.3 and 2.4: POP3, IMAP and LMTP on one Maildir. It runs without root, as the owner of the mail.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use super::{Kind, PASSWORD, Place, Security, Service, USER};
use crate::authority;

/// The program, where Debian has it.
const PROGRAM: &str = "/usr/sbin/dovecot";

/// Dovecot.
pub static DOVECOT: Kind = COMMON;

const COMMON: Kind = Kind {
    name: "Dovecot",
    packages: "dovecot-pop3d dovecot-imapd dovecot-lmtpd",
    programs: || {
        let folder = PathBuf::from("/usr/lib/dovecot");
        let mut programs = vec![PathBuf::from(PROGRAM)];
        programs.extend(["pop3", "imap", "lmtp"].map(|name| folder.join(name)));
        programs
    },
    services: &[Service::Pop3, Service::Pop3s, Service::Imap, Service::Imaps, Service::Lmtp],
    privileged: false,
    user: USER,
    maildir: "home/Maildir",
    configure,
    command: |place| {
        let mut command = Command::new(PROGRAM);
        command.args(["-F", "-c"]).arg(place.file("dovecot.conf"));
        command
    },
    ways: &Security::ALL,
    mechanisms: &["USER", "PLAIN", "LOGIN"],
    lacks: "APOP",
};

/// Dovecot with a log of every octet, once before the login and once behind it.
pub static DOVECOT_RAWLOG: Kind =
    Kind { name: "Dovecot with rawlogs", configure: configure_rawlog, ..COMMON };

/// Dovecot that takes tokens, where [`introspect_at`] has said whom it asks about them.
pub static DOVECOT_OAUTH: Kind = Kind {
    name: "Dovecot with tokens",
    configure: configure_oauth,
    mechanisms: &["XOAUTH2", "OAUTHBEARER"],
    ..COMMON
};

static INTROSPECTION: OnceLock<String> = OnceLock::new();

/// Where [`DOVECOT_OAUTH`] asks about tokens (RFC 7662); once a process.
pub fn introspect_at(url: String) {
    INTROSPECTION.get_or_init(|| url);
}

/// Of 2.3; 2.4 has other words for it.
fn configure_oauth(place: &Place) {
    let url = INTROSPECTION.get().expect("the test says whom to ask");
    let oauth = format!(
        "introspection_mode = post\nintrospection_url = {url}\nusername_attribute = email\nactive_attribute = active\nactive_value = true\n"
    );
    place.write_secret("oauth2.conf", &oauth);
    let passdb = format!(
        "passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n",
        place.show("oauth2.conf")
    );
    let settings = configuration(place)
        .replace("auth_mechanisms = plain login", "auth_mechanisms = xoauth2 oauthbearer");
    place.write("dovecot.conf", &(settings + &passdb));
}

/// Dovecot 2.3 with every mechanism that a password or a client certificate can be used with.
pub static DOVECOT_SASL: Kind = Kind {
    name: "Dovecot with SCRAM",
    configure: configure_sasl,
    mechanisms: &["USER", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"],
    lacks: "SCRAM-SHA-256-PLUS",
    ..COMMON
};

/// The certificate of [`USER`] and its key are `client.pem` and `client.key`.
fn configure_sasl(place: &Place) {
    authority::write_client(place.folder.path(), USER);
    // Our client reads them as whoever runs the test.
    place.give(&place.file("client.key"));
    let own = configuration(place).replace(
        "auth_mechanisms = plain login\n",
        "auth_mechanisms = plain login apop cram-md5 scram-sha-1 scram-sha-256 external\n",
    );
    let settings = format!(
        r#"{own}ssl_ca = <{authority}
ssl_require_crl = no
ssl_verify_client_cert = yes
ssl_cert_username_field = commonName
auth_ssl_username_from_cert = yes
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"#,
        authority = place.show("ca.pem"),
    );
    place.write("dovecot.conf", &settings);
}

/// Where the program behind the login writes its rawlogs.
pub const RAWLOG: &str = "rawlog";
/// Where the one before the login does.
pub const RAWLOG_LOGIN: &str = "rawlog-login";

fn configure_rawlog(place: &Place) {
    place.make_folder(RAWLOG);
    place.make_folder(RAWLOG_LOGIN);
    let settings = format!(
        "{}rawlog_dir = {}\nservice pop3-login {{\n  executable = pop3-login -R {}\n}}\n",
        configuration(place),
        place.show(RAWLOG),
        place.show(RAWLOG_LOGIN),
    );
    place.write("dovecot.conf", &settings);
}

fn configure(place: &Place) {
    let settings = configuration(place);
    place.write("dovecot.conf", &settings);
}

/// Makes the folders and the users, and gives what the configuration says.
fn configuration(place: &Place) -> String {
    for folder in ["run", "state"] {
        place.make_folder(folder);
    }
    place.write_secret("users", &format!("{USER}:{{PLAIN}}{PASSWORD}::::::\n"));
    let version = Command::new(PROGRAM).arg("--version").output().expect("it is there").stdout;
    let own = if version.starts_with(b"2.3.") { settings_2_3(place) } else { settings_2_4(place) };
    format!("{own}{}", settings(place))
}

/// What both versions read.
fn settings(place: &Place) -> String {
    format!(
        r#"listen = 127.0.0.1
hostname = mail.example.org
postmaster_address = postmaster@example.org
base_dir = {run}
state_dir = {state}
log_path = {log}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 1G
first_valid_uid = {uid}
last_valid_uid = {uid}
first_valid_gid = {gid}
last_valid_gid = {gid}
auth_failure_delay = 0
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  user = {user}
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"#,
        run = place.show("run"),
        state = place.show("state"),
        log = place.show("log"),
        user = place.owner.user,
        group = place.owner.group,
        uid = place.owner.uid,
        gid = place.owner.gid,
        pop3 = place.port(Service::Pop3),
        pop3s = place.port(Service::Pop3s),
        imap = place.port(Service::Imap),
        imaps = place.port(Service::Imaps),
        lmtp = place.port(Service::Lmtp),
    )
}

fn settings_2_3(place: &Place) -> String {
    format!(
        r#"protocols = pop3 imap lmtp
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Ln
mail_location = maildir:{home}/Maildir
passdb {{
  driver = passwd-file
  args = {users}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
"#,
        certificate = place.show("certificate.pem"),
        key = place.show("key.pem"),
        home = place.show("home"),
        users = place.show("users"),
        uid = place.owner.uid,
        gid = place.owner.gid,
    )
}

/// Since 2.4 the version comes first, and much has another name.
fn settings_2_4(place: &Place) -> String {
    format!(
        r#"dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = pop3 imap lmtp
ssl = yes
ssl_server_cert_file = {certificate}
ssl_server_key_file = {key}
auth_allow_cleartext = yes
auth_mechanisms = plain login
auth_username_format = %{{user | username | lower}}
mail_driver = maildir
mail_path = {home}/Maildir
mail_home = {home}
passdb passwd-file {{
  passwd_file_path = {users}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {home}
  }}
}}
"#,
        certificate = place.show("certificate.pem"),
        key = place.show("key.pem"),
        home = place.show("home"),
        users = place.show("users"),
        uid = place.owner.uid,
        gid = place.owner.gid,
    )
}
