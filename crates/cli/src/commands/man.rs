//! `restante man`: the manual pages, from the table that `--help` prints.

use std::{fs, path::PathBuf};

use clap_mangen::Man;

use crate::{commands, failure::Failure, output};

/// Prints a manual page, or writes all of them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante man | man -l -
  restante man user-add | man -l -
  restante man --out /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// The page: a subcommand such as `serve` or `user-add`; without it the page of restante itself
    #[arg(conflicts_with = "out")]
    page: Option<String>,

    /// Writes all pages into this directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One manual page.
struct Page {
    /// Without the section: `restante-user-add`.
    name: String,
    roff: Vec<u8>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let pages = pages()?;
    let Some(folder) = args.out else {
        let name = args.page.map_or_else(|| "restante".to_owned(), |page| format!("restante-{page}"));
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
        let file = folder.join(format!("{}.1", page.name));
        fs::write(&file, &page.roff)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", file.display())))?;
    }
    Ok(())
}

fn pages() -> Result<Vec<Page>, Failure> {
    // `build` passes version and names down to the subcommands, as it does before `--help`.
    let mut table = commands::table();
    table.build();
    let mut pages = Vec::new();
    add(&table, "restante", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<Page>) -> Result<(), Failure> {
    let man = Man::new(command.clone())
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
    if let Some(text) = command.get_after_help() {
        roff.extend_from_slice(sections(&text.to_string()).as_bytes());
    }
    pages.push(Page { name: name.to_owned(), roff });
    command.get_subcommands().try_for_each(|sub| add(sub, &format!("{name}-{}", sub.get_name()), pages))
}

/// The text below the options: a line at the margin that ends in a colon is a heading, all others keep their line ends.
fn sections(text: &str) -> String {
    let mut roff = String::new();
    for line in text.lines() {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        match line.strip_suffix(':') {
            _ if line.is_empty() => roff.push_str(".sp\n"),
            Some(_) if !line.starts_with(' ') => {
                roff += &format!(".fi\n.SH {}\n.nf\n", escaped.trim_end_matches(':').to_uppercase());
            }
            // `\&` keeps a dot at the start of a line from being a request.
            _ => roff += &format!("\\&{}\n", escaped.strip_prefix("  ").unwrap_or(&escaped)),
        }
    }
    roff + ".fi\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_line_ends_and_nothing_is_taken_for_a_request() {
        let roff = sections("Examples:\n  a --b '\\n'\n  .c");
        assert_eq!(roff, ".fi\n.SH EXAMPLES\n.nf\n\\&a \\-\\-b \\(aq\\en\\(aq\n\\&.c\n.fi\n");
    }
}
