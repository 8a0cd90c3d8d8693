//! Courier's pop3d, under couriertcpd of its own, with users in a userdb. Its programs look for their files in places
//! that are compiled in, so they run in a mount namespace where these places are folders of the benchmark.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use super::{Kind, Leaf, MAIL_ID, Place, Stored};
use crate::run::{self, Failure};

pub(super) struct Courier;

const AUTHDAEMONRC: &str = "authmodulelist=\"authuserdb\"\nauthmodulelistorig=\"authuserdb\"\ndaemons=5\n\
    authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\"\"\nLOGGEROPTS=\"\"\n";

impl Kind for Courier {
    fn name(&self) -> &'static str {
        "courier"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["courier-base", "courier-authlib", "courier-authlib-userdb"]
    }

    fn leaf(&self) -> Option<Leaf> {
        Some(Leaf {
            package: "courier-pop",
            folder: "/usr/lib/courier/courier",
            programs: &["courierpop3d", "courierpop3login"],
        })
    }

    fn configured(&self) -> &'static str {
        "couriertcpd and authdaemond (5 processes) of its own, users in a userdb ({SHA} where no hash is asked for), \
         no name look-ups, TLS by couriertls (GnuTLS)"
    }

    /// It starts processes for each session.
    fn held_max(&self) -> u32 {
        4000
    }

    fn configure(&self, place: &Place<'_>) -> Result<(), Failure> {
        let common = place.common;
        if let Some(leaf) = self.leaf() {
            leaf.copy(place)?;
        }
        for folder in ["etc", "run/authdaemon"] {
            place.folder(folder)?;
        }
        let group = super::id_of("/etc/group", "courier").unwrap_or(0);
        let user = super::id_of("/etc/passwd", "courier").unwrap_or(0);
        let told = |error| Failure::Failed(format!("{}: {error}", place.show("run/authdaemon")));
        chown(place.file("run/authdaemon"), Some(user), Some(group)).map_err(told)?;
        place.write("etc/authdaemonrc", AUTHDAEMONRC, group)?;
        let pair = fs::read_to_string(&common.pair)
            .map_err(|error| Failure::Failed(format!("{}: {error}", common.pair.display())))?;
        place.write("etc/pair.pem", &pair, group)?;
        place.write("etc/userdb", &userdb(place)?, group)?;
        fs::set_permissions(place.file("etc/userdb"), fs::Permissions::from_mode(0o600)).map_err(told)?;
        run::run(Command::new("makeuserdb").arg("-f").arg(place.file("etc/userdb")))?;
        place.write("run.sh", &script(place), group)
    }

    fn commands(&self, place: &Place<'_>) -> Vec<Vec<String>> {
        vec![["unshare", "--mount", "sh", &place.show("run.sh")].map(str::to_owned).to_vec()]
    }
}

fn userdb(place: &Place<'_>) -> Result<String, Failure> {
    let common = place.common;
    let mut digest = Command::new("sh");
    digest.args(["-c", "printf %s \"$PASSWORD\" | openssl dgst -sha1 -binary | openssl base64"]);
    let cheap = run::output(digest.env("PASSWORD", &common.password))
        .filter(|digest| !digest.is_empty())
        .ok_or_else(|| Failure::Failed("openssl makes no SHA-1 of the password".into()))?;
    let mut text = String::new();
    for (name, stored) in &common.users {
        let password = match stored {
            Stored::Cheap => format!("{{SHA}}{cheap}"),
            Stored::Sha512Crypt => common.sha512_crypt.clone(),
            Stored::Argon2 => common.sha512_crypt_slow.clone(),
        };
        let home = place.file("mail").join(name);
        let home = home.display();
        text.push_str(&format!("{name}\thome={home}|uid={MAIL_ID}|gid={MAIL_ID}|systempw={password}\n"));
    }
    Ok(text)
}

fn script(place: &Place<'_>) -> String {
    let (etc, run) = (place.show("etc"), place.show("run"));
    let folder = place.folder.display();
    let (plain, tls) = (place.ports.plain, place.ports.tls);
    format!(
        r#"mount --make-rprivate / && mount --bind '{etc}' /etc/courier && mount --bind '{run}' /run/courier || exit 1
cd /usr
courier='{folder}'
set -- -address=127.0.0.1 -maxprocs=30000 -maxperip=30000 -nodnslookup -noidentlookup
/usr/lib/courier/courier-authlib/authdaemond & auth=$!
POP3AUTH="" POP3_PROXY=0 POP3_STARTTLS=YES TLS_CERTFILE=/etc/courier/pair.pem TLS_VERIFYPEER=NONE \
    TLS_PRIORITY=NORMAL COURIERTLS=/usr/bin/couriertls /usr/sbin/couriertcpd "$@" {plain} \
    "$courier/courierpop3login" "$courier/courierpop3d" Maildir & plain=$!
POP3AUTH="" POP3_PROXY=0 POP3_TLS=1 POP3_STARTTLS=NO TLS_CERTFILE=/etc/courier/pair.pem TLS_VERIFYPEER=NONE \
    TLS_PRIORITY=NORMAL COURIERTLS=/usr/bin/couriertls /usr/sbin/couriertcpd "$@" {tls} \
    /usr/bin/couriertls -server -tcpd -user=courier "$courier/courierpop3login" "$courier/courierpop3d" Maildir & tls=$!
trap 'kill $auth $plain $tls' TERM INT
wait
"#
    )
}
