//! `restante serve` on a Maildir with three messages, for the tests of clients.
#![allow(dead_code)] // each file of tests uses its part

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::binary;

pub(crate) const LETTER: &str = "Date: Fri, 1 Apr 2005 07:56:00 +0200\nFrom: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\n\
    To: john.doe@anydomain.com\nSubject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= and\x1b[31m red\n\nHello John.\n.hidden\n";

pub(crate) const PARCEL: &str = "Date: Sat, 2 Apr 2005 08:00:00 +0000\nFrom: parcel@example.org\nSubject: a parcel\n\
    MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html; charset=utf-8\n\n\
    <p>See <b>below</b>.</p>\n--x\nContent-Type: application/pdf; name=bill.pdf\n\
    Content-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nAAAA\n--x--\n";

/// `restante serve` with a letter, a parcel, and a message without a header.
pub(crate) struct Served {
    child: Child,
    pub(crate) folder: TempDir,
    /// For clear text and STLS.
    pub(crate) plain: SocketAddr,
    /// For TLS from the first byte.
    pub(crate) tls: SocketAddr,
}

impl Served {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(path("cert.pem"), key.cert.pem()).unwrap();
        fs::write(path("key.pem"), key.signing_key.serialize_pem()).unwrap();
        fs::write(path("users"), "john.doe@anydomain.com:{PLAIN}abcxyz\n").unwrap();
        for name in ["cur", "new", "tmp"] {
            fs::create_dir_all(path("mail/john.doe").join(name)).unwrap();
        }
        for (name, text) in [("1", LETTER), ("2", PARCEL), ("3", "\nonly a body\n")] {
            fs::write(path("mail/john.doe/cur").join(format!("{name}:2,")), text).unwrap();
        }
        let here = folder.path().display();
        let configuration = format!(
            "hostname = \"X1\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\nadmin = []\n\
             [tls]\ncertificate = \"{here}/cert.pem\"\nkey = \"{here}/key.pem\"\n\
             [auth]\nusers = \"{here}/users\"\n[store]\nmaildir = \"{here}/mail/{{local}}\"\n"
        );
        fs::write(path("restante.toml"), configuration).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["serve", "--config", path("restante.toml").to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut plain, mut tls, mut seen) = (None, None, String::new());
        while plain.is_none() || tls.is_none() {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended: {seen}");
            seen.push_str(&line);
            let Some((_, place)) = line.split_once("listening on ") else { continue };
            let (address, port) = place.split_once(' ').unwrap();
            let found = if port.starts_with("(pop3s)") { &mut tls } else { &mut plain };
            *found = Some(address.parse().unwrap());
        }
        // Whoever does not read the log makes the server wait.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, folder, plain: plain.unwrap(), tls: tls.unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `restante mail` in the folder, with STLS and the password.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let url = format!("pop3://john.doe@anydomain.com@{}", self.plain);
        let authority = self.path("cert.pem");
        let given = ["--ca-file", authority.to_str().unwrap(), "--password-env", "P"];
        let mut command = binary::command(&[&["mail", &url][..], args, &given].concat());
        command.env("P", "abcxyz").current_dir(self.folder.path());
        command
    }

    pub(crate) fn mail(&self, args: &[&str]) -> binary::Ran {
        binary::feed(self.command(args), b"")
    }

    pub(crate) fn left(&self) -> usize {
        fs::read_dir(self.path("mail/john.doe/cur")).unwrap().count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
