//! `restante config`: the server's configuration, checked and explained, without starting anything.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    failure::Failure,
    output,
    settings::{
        self, DEFAULT_FILE, Loaded, check,
        document::{self, Places, Problem},
        keys::{self, SECTIONS},
        render,
    },
};

/// Checks or explains the server's configuration
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante config default > /etc/restante/restante.toml
  restante config check
  restante config explain tls.certificate")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Check(Check),
    Explain(Explain),
    Default(DefaultFile),
}

/// Checks a configuration and the files that it names
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante config check
  restante config check --config restante.toml --json")]
struct Check {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,

    /// Prints what is wrong as JSON: `errors` and `warnings`, lists of objects with file, line, column and message
    #[arg(long)]
    json: bool,
}

/// Explains all keys, a section, or one key
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante config explain
  restante config explain limits
  restante config explain idle_seconds")]
struct Explain {
    /// A key such as `idle_seconds` or `tls.key`, or a section such as `limits`
    key: Option<String>,
}

/// Prints a configuration with every key at its default
#[derive(clap::Args)]
#[command(after_help = "Example:
  restante config default > /etc/restante/restante.toml")]
struct DefaultFile;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Check(check) => check_file(check),
        Action::Explain(Explain { key: None }) => output::print(&render::explain_all()),
        Action::Explain(Explain { key: Some(key) }) => explain(&key),
        Action::Default(DefaultFile) => output::print(&render::default_file()),
    }
}

fn check_file(args: Check) -> Result<(), Failure> {
    let file = args.config.display().to_string();
    let text = settings::read_text(&args.config)?;
    let (places, problems, warnings) = match settings::parse(&file, &text) {
        Ok(Loaded { settings, places }) => {
            let problems = check::files(&settings, &places);
            let warnings = check::warnings(&settings, &places);
            (places, problems, warnings)
        }
        Err((places, problems)) => (places, problems, Vec::new()),
    };
    match args.json {
        true => output::print(&as_json(&places, &problems, &warnings))?,
        false => output::warn(&warnings.iter().map(|warning| places.tell(warning)).collect::<Vec<_>>()),
    }
    match (problems.is_empty(), args.json) {
        (true, true) => Ok(()),
        (true, false) => output::print(&format!("{file}: no errors\n")),
        (false, true) => Err(Failure::silent(crate::failure::Kind::Failed)),
        (false, false) => Err(settings::fail(&places, &problems)),
    }
}

fn as_json(places: &Places, problems: &[Problem], warnings: &[Problem]) -> String {
    let object = |problem: &Problem| {
        let (line, column) = problem.position.map(|at| (at.line, at.column)).unzip();
        match &problem.elsewhere {
            Some((file, line)) => {
                json!({ "file": file, "line": line, "column": null, "message": problem.message })
            }
            None => {
                json!({ "file": places.file(), "line": line, "column": column, "message": problem.message })
            }
        }
    };
    let list = |problems: &[Problem]| problems.iter().map(object).collect::<Vec<_>>();
    format!("{}\n", json!({ "errors": list(problems), "warnings": list(warnings) }))
}

fn explain(name: &str) -> Result<(), Failure> {
    let name = name.trim_start_matches('[').trim_end_matches(']').replace("] ", ".");
    if let Some(section) = keys::section(&name).filter(|section| !section.name.is_empty()) {
        return output::print(&render::explain_section(section));
    }
    let all = || SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
    let found: Vec<_> = all()
        .filter(|(section, key)| name == key.name || name == keys::path(section.name, key.name))
        .map(|(section, key)| render::explain(section, key))
        .collect();
    if !found.is_empty() {
        return output::print(&found.join("\n"));
    }
    let names: Vec<_> = all().map(|(section, key)| keys::path(section.name, key.name)).collect();
    let known = names.iter().map(String::as_str).chain(all().map(|(_, key)| key.name));
    let known = known.chain(SECTIONS.iter().map(|section| section.name));
    let failure = Failure::usage(format!("there is no key or section {name:?}"));
    Err(match document::similar(&name, known) {
        Some(meant) => failure.hint(format!("did you mean `restante config explain {meant}`?")),
        None => failure.hint("`restante config explain` lists all keys"),
    })
}
