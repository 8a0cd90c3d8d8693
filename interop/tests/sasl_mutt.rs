//! mutt: SCRAM-SHA-256 and SCRAM-SHA-1 of GNU SASL, PLAIN and LOGIN, each where nothing else is offered.
//!
//! mutt has no way to fetch without its screen: it is given one by `script`, and keys to press. It copies what it shows into
//! a Maildir. What it changes in a message: it removes and adds status fields, and ends lines in LF; only their number is
//! compared here.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, corpus, maildir, with_security,
};

const WAYS: [&str; 4] = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

/// Copies everything, and says how many came.
fn copy(server: &Server, security: Security, way: &str, password: &str) -> (Outcome, usize) {
    let name = format!("{security:?}-{way}-{}", password.len());
    let folder = server.client_folder(&name);
    let mail = server.client_maildir(&format!("{name}/mail"));
    let scheme = if security == Security::Tls { "pops" } else { "pop" };
    let settings = format!(
        "set pop_user=\"{USER}\"\nset pop_pass=\"{password}\"\nset pop_authenticators=\"{way}\"\n\
         set ssl_starttls={} ssl_force_tls={}\nset ssl_ca_certificates_file=\"{}\"\n\
         set mbox_type=Maildir\nset confirmappend=no confirmcreate=no pop_delete=no wait_key=no\n\
         set quit=yes move=no mark_old=no pop_reconnect=no\nset header_cache=\"\"\nset folder=\"{}\"\n\
         push \"<tag-pattern>~A<enter><tag-prefix-cond><copy-message>{}<enter><end-cond><exit>\"\n",
        if security == Security::Stls { "yes" } else { "no" },
        if security == Security::Plain { "no" } else { "yes" },
        server.authority().display(),
        folder.display(),
        mail.display(),
    );
    let file = folder.join("muttrc");
    server.client_file(&file, &settings);
    let command =
        format!("mutt -n -F {} -f {scheme}://{USER}@localhost:{}/", file.display(), server.port(security));
    let outcome = Program::new("script", "bsdutils", &folder)
        .env("TERM", "vt100")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .run();
    let copied = maildir::take(&mail).len();
    (outcome, copied)
}

/// What mutt can show: a message of no octets is none to it.
fn letters() -> Vec<Letter> {
    corpus().into_iter().filter(|letter| !letter.stored.is_empty()).collect()
}

#[test]
fn logs_in_by_each_way_alone() {
    let letters = letters();
    for way in WAYS {
        eprintln!("by {way}");
        let server = Server::offering(&[way], &letters);
        with_security(&Security::ALL, |security| {
            let (outcome, copied) = copy(&server, security, way, PASSWORD);
            assert_eq!(copied, letters.len(), "{outcome}");
        });
        assert_eq!(server.left().len(), letters.len());
        server.stop();
    }
}
