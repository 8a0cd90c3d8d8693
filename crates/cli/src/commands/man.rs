//! `restante man`: the manual pages, from the tables that `--help` and `restante config explain` print.

use std::{fs, path::PathBuf};

use clap::builder::StyledStr;
use clap_mangen::Man;

use crate::{commands, failure::Failure, output};

mod restante_toml;
mod sections;

/// Prints a manual page, or writes all of them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante man | man -l -
  restante man user add | man -l -
  restante man restante.toml | man -l -
  restante man --out man && install -m 644 man/*.1 /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// The page: a subcommand such as `serve` or `user add`, or restante.toml; without it the page of restante itself
    #[arg(conflicts_with = "out")]
    page: Vec<String>,

    /// Writes all pages into this directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One manual page.
struct Page {
    /// Without the section: `restante-user-add`.
    name: String,
    section: u8,
    roff: Vec<u8>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let pages = pages()?;
    let Some(folder) = args.out else {
        let name = full_name(&args.page);
        let page = pages.iter().find(|page| page.name == name).ok_or_else(|| {
            Failure::usage(format!("there is no page {name}")).hint(format!(
                "the pages are {}",
                pages.iter().map(|page| &*page.name).collect::<Vec<_>>().join(", ")
            ))
        })?;
        return output::print(&String::from_utf8_lossy(&page.roff));
    };
    fs::create_dir_all(&folder)
        .map_err(|e| Failure::failed(format!("cannot make {}: {e}", folder.display())))?;
    for page in &pages {
        let file = folder.join(format!("{}.{}", page.name, page.section));
        fs::write(&file, &page.roff)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", file.display())))?;
    }
    Ok(())
}

/// The page that somebody means who writes `user add`, `user-add` or `restante-user-add`.
fn full_name(words: &[String]) -> String {
    let name = words.join("-");
    match &*name {
        "" | "restante" => "restante".to_owned(),
        restante_toml::NAME => name,
        _ if name.starts_with("restante-") => name,
        _ => format!("restante-{name}"),
    }
}

/// The names of all pages, as they are written behind `restante man`.
pub(crate) fn names() -> Vec<String> {
    fn add(command: &clap::Command, above: &str, names: &mut Vec<String>) {
        for sub in command.get_subcommands().filter(is_ours) {
            let name = format!("{above}{}", sub.get_name());
            add(sub, &format!("{name}-"), names);
            names.push(name);
        }
    }
    let mut names = vec![restante_toml::NAME.to_owned()];
    add(&commands::table(), "", &mut names);
    names
}

/// `help` is clap's, and says what the pages say.
fn is_ours(command: &&clap::Command) -> bool {
    command.get_name() != "help"
}

fn pages() -> Result<Vec<Page>, Failure> {
    // `build` passes version and names down to the subcommands, as it does before `--help`.
    let mut table = commands::table();
    table.build();
    let mut pages = Vec::new();
    add(&table, ("restante", None), &mut pages)?;
    pages.push(Page {
        name: restante_toml::NAME.to_owned(),
        section: 5,
        roff: restante_toml::page().into_bytes(),
    });
    Ok(pages)
}

fn add(
    command: &clap::Command,
    (name, parent): (&str, Option<&str>),
    pages: &mut Vec<Page>,
) -> Result<(), Failure> {
    let man = Man::new(command.clone().override_usage(synopsis(command)))
        .title(name.to_uppercase())
        .source(format!("restante {}", env!("CARGO_PKG_VERSION")))
        .manual("Restante");
    let mut roff = Vec::new();
    let rendered = man
        .render_title(&mut roff)
        .and_then(|()| man.render_name_section(&mut roff))
        .and_then(|()| man.render_synopsis_section(&mut roff))
        .and_then(|()| man.render_description_section(&mut roff))
        .and_then(|()| man.render_options_section(&mut roff))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(&mut roff),
            false => Ok(()),
        });
    rendered.map_err(Failure::from_output)?;
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let children: Vec<_> =
        command.get_subcommands().filter(is_ours).map(|sub| format!("{name}-{}", sub.get_name())).collect();
    roff.extend_from_slice(sections::of_text(&help).as_bytes());
    roff.extend_from_slice(sections::common(command, &help, name).as_bytes());
    let near: Vec<_> = parent.into_iter().chain(children.iter().map(String::as_str)).collect();
    roff.extend_from_slice(sections::see_also(&near).as_bytes());
    pages.push(Page { name: name.to_owned(), section: 1, roff });
    command
        .get_subcommands()
        .filter(is_ours)
        .zip(&children)
        .try_for_each(|(sub, child)| add(sub, (child, Some(name)), pages))
}

/// The options with what they take, which the page's generator leaves out.
fn synopsis(command: &clap::Command) -> StyledStr {
    let mut words = vec![command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()];
    let shown = |arg: &&clap::Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let (positional, options): (Vec<_>, Vec<_>) =
        command.get_arguments().filter(shown).partition(|arg| arg.is_positional());
    for arg in options.into_iter().chain(positional) {
        let values = match arg.get_num_args().is_some_and(|number| number.takes_values()) {
            true => arg.get_value_names().map(|names| names.join(" ")),
            false => None,
        };
        let word = match (arg.get_long(), values) {
            (Some(long), Some(values)) => format!("--{long} {values}"),
            (Some(long), None) => format!("--{long}"),
            (None, Some(values)) => values,
            (None, None) => arg.get_id().as_str().to_uppercase(),
        };
        words.push(if arg.is_required_set() { word } else { format!("[{word}]") });
    }
    if command.has_subcommands() {
        words.push("COMMAND".to_owned());
    }
    words.join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_names_that_people_write() {
        let meant =
            |words: &[&str]| full_name(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(meant(&[]), "restante");
        assert_eq!(meant(&["restante"]), "restante");
        for words in
            [&["user", "add"][..], &["user-add"], &["restante-user-add"], &["restante", "user", "add"]]
        {
            assert_eq!(meant(words), "restante-user-add");
        }
        assert_eq!(meant(&["restante.toml"]), "restante.toml");
        for name in names() {
            let name = full_name(&[name]);
            assert!(pages().unwrap().iter().any(|page| page.name == name), "{name}");
        }
    }
}
