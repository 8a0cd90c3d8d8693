//! The sections of a manual page that are not about options: examples, files, signals, exit status, and what else to
//! read. Texts become roff here; what a page consists of is decided above.

use super::restante_toml;

const FILES: &str = "Files:
  /etc/restante/restante.toml  the configuration
  /etc/restante/users          the users file, unless [auth] users names another one
  /run/restante/admin.sock     the server's unix socket for `restante admin`, unless [listen] admin names another one
  restante-index               in each Maildir: sizes and unique-ids, made by the server
";

const FETCH_FILES: &str = "Files:
  ~/.config/restante/fetch.toml    the accounts
  ~/.local/state/restante/         a journal for each account: what was fetched; keep it
  ~/.netrc                         passwords, where an account names no other place
";

const FETCH_SIGNALS: &str = "Signals:
  SIGTERM, SIGINT  end as soon as that loses nothing; a second one does not wait
";

const SIGNALS: &str = "Signals:
  SIGTERM, SIGINT  stop in good order: sessions may reach QUIT for some seconds; a second one does not wait
  SIGHUP           read configuration, certificates and users file again
";

const EXIT_STATUS: &str = "Exit status:
  0  done
  1  failed
  2  wrong usage
";

/// What pages have in common, as far as this one needs it. `help` is what the command says itself.
pub(super) fn common(command: &clap::Command, help: &str, name: &str) -> String {
    let has = |option: &str| command.get_arguments().any(|arg| arg.get_id() == option);
    let mut texts = Vec::new();
    if name == "restante-serve" {
        texts.push(SIGNALS);
    }
    let fetches = name == "restante-fetch" || name.starts_with("restante-account");
    if name == "restante-fetch" {
        texts.push(FETCH_SIGNALS);
    }
    if fetches || command.get_name() == "restante" {
        texts.push(FETCH_FILES);
    }
    if !fetches && (has("config") || has("users") || command.get_name() == "restante") {
        texts.push(FILES);
    }
    if !help.lines().any(|line| line == "Exit status:") {
        texts.push(EXIT_STATUS);
    }
    texts.into_iter().map(of_text).collect()
}

/// The pages of the command above and of those below, and the configuration's.
pub(super) fn see_also(near: &[&str]) -> String {
    let pages = near.iter().map(|page| (*page, 1)).chain([(restante_toml::NAME, 5)]);
    let pages: Vec<_> =
        pages.map(|(page, section)| format!("\\fB{}\\fR({section})", escaped(page))).collect();
    format!(".SH SEE ALSO\n{}\n", pages.join(", "))
}

/// The text below the options: a line at the margin that ends in a colon is a heading, all others keep their line ends.
pub(super) fn of_text(text: &str) -> String {
    let mut roff = String::new();
    for line in text.lines() {
        let escaped = escaped(line);
        match line.strip_suffix(':') {
            _ if line.is_empty() => roff.push_str(".sp\n"),
            Some(_) if !line.starts_with(' ') => {
                roff += &format!(".fi\n.SH {}\n.nf\n", escaped.trim_end_matches(':').to_uppercase());
            }
            // `\&` keeps a dot at the start of a line from being a request.
            _ => roff += &format!("\\&{}\n", escaped.strip_prefix("  ").unwrap_or(&escaped)),
        }
    }
    match roff.is_empty() {
        true => roff,
        false => roff + ".fi\n",
    }
}

/// The text so that each character stands for itself.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_line_ends_and_nothing_is_taken_for_a_request() {
        let roff = of_text("Examples:\n  a --b '\\n'\n  .c");
        assert_eq!(roff, ".fi\n.SH EXAMPLES\n.nf\n\\&a \\-\\-b \\(aq\\en\\(aq\n\\&.c\n.fi\n");
        assert_eq!(of_text(""), "");
    }

    #[test]
    fn the_files_are_where_the_program_looks_for_them() {
        assert!(FILES.contains(crate::settings::DEFAULT_FILE));
        assert!(FILES.contains(&crate::settings::Settings::default().auth.users.display().to_string()));
    }
}
