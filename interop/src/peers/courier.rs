//! Courier's pop3d under a couriertcpd and an authdaemond of its own. Its programs look for their files in places that
//! are compiled in, so they run in a mount namespace where these places are folders of the test: it takes root.
//!
//! Debian allows Courier's POP3 server no other beside it, so where it is not installed its package is unpacked:
//! `cargo xtask test packages` does it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Kind, Place, Security, Service, USER, crypted, packaged};

/// Courier.
pub static COURIER: Kind = Kind {
    name: "Courier",
    packages: "courier-base courier-authlib courier-authlib-userdb courier-pop",
    programs: || {
        let mut programs = PROGRAMS.map(program).to_vec();
        programs.extend(BASE.map(PathBuf::from));
        programs
    },
    services: &[Service::Pop3, Service::Pop3s],
    privileged: true,
    user: USER,
    maildir: "home/Maildir",
    configure,
    command: |place| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh"]).arg(place.file("run.sh"));
        command
    },
    ways: &Security::ALL,
    mechanisms: &["USER", "PLAIN", "LOGIN"],
    lacks: "APOP",
};

/// Its POP3 programs.
const PROGRAMS: [&str; 2] = ["courierpop3d", "courierpop3login"];

/// What all of Courier's servers stand on.
const BASE: [&str; 3] = ["/usr/sbin/couriertcpd", "/usr/bin/couriertls", "/usr/sbin/makeuserdb"];

const AUTHDAEMONRC: &str = "authmodulelist=\"authuserdb\"\nauthmodulelistorig=\"authuserdb\"\ndaemons=2\n\
    authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\"\"\nLOGGEROPTS=\"\"\n";

/// One of its POP3 programs.
fn program(name: &str) -> PathBuf {
    packaged("courier-pop", &format!("/usr/lib/courier/courier/{name}"))
}

fn configure(place: &Place) {
    for name in ["etc", "run/authdaemon", "programs"] {
        place.make_folder(name);
    }
    // The owner of the mail may not reach the folder of the build.
    for name in PROGRAMS {
        fs::copy(program(name), place.file("programs").join(name)).expect("it is there");
    }
    let owner = [id_of("/etc/passwd"), id_of("/etc/group")];
    chown(place.file("run/authdaemon"), owner[0], owner[1]).expect("root may");
    place.write("etc/authdaemonrc", AUTHDAEMONRC);
    let read = |name: &str| fs::read_to_string(place.file(name)).expect("it was written");
    place.write_secret("etc/pair.pem", &(read("key.pem") + &read("certificate.pem")));
    chown(place.file("etc/pair.pem"), owner[0], owner[1]).expect("root may");
    let (uid, gid, home) = (place.owner.uid, place.owner.gid, place.show("home"));
    let user = format!("{USER}\thome={home}|uid={uid}|gid={gid}|systempw={}\n", crypted());
    place.write_secret("etc/userdb", &user);
    chown(place.file("etc/userdb"), Some(0), Some(0)).expect("root may");
    let made =
        Command::new("makeuserdb").arg("-f").arg(place.file("etc/userdb")).output().expect("it is there");
    assert!(made.status.success(), "makeuserdb: {}", String::from_utf8_lossy(&made.stderr));
    for name in ["etc/userdb.dat", "etc/userdbshadow.dat"] {
        if Path::new(&place.file(name)).is_file() {
            fs::set_permissions(place.file(name), fs::Permissions::from_mode(0o644)).expect("it is ours");
        }
    }
    place.write("run.sh", &script(place));
}

/// The number of Courier's own user or group.
fn id_of(file: &str) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("courier:"))?;
    line.split(':').nth(1)?.parse().ok()
}

fn script(place: &Place) -> String {
    let (etc, run, programs) = (place.show("etc"), place.show("run"), place.show("programs"));
    let (plain, tls) = (place.port(Service::Pop3), place.port(Service::Pop3s));
    format!(
        r#"mount --make-rprivate / && mount --bind '{etc}' /etc/courier && mount --bind '{run}' /run/courier || exit 1
cd /usr
set -- -address=127.0.0.1 -maxprocs=100 -maxperip=100 -nodnslookup -noidentlookup
export POP3AUTH='PLAIN LOGIN' POP3AUTH_TLS='PLAIN LOGIN' POP3AUTH_ORIG='PLAIN LOGIN' POP3_PROXY=0
export TLS_CERTFILE=/etc/courier/pair.pem TLS_VERIFYPEER=NONE TLS_PRIORITY=NORMAL COURIERTLS=/usr/bin/couriertls
/usr/lib/courier/courier-authlib/authdaemond & auth=$!
POP3_STARTTLS=YES /usr/sbin/couriertcpd "$@" {plain} '{programs}/courierpop3login' '{programs}/courierpop3d' Maildir & plain=$!
POP3_TLS=1 POP3_STARTTLS=NO /usr/sbin/couriertcpd "$@" {tls} /usr/bin/couriertls -server -tcpd -user=courier \
    '{programs}/courierpop3login' '{programs}/courierpop3d' Maildir & tls=$!
trap 'kill $auth $plain $tls' TERM INT
wait
"#
    )
}
