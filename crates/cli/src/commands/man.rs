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
    let mut roff = Vec::new();
    Man::new(command.clone()).title(name.to_uppercase()).render(&mut roff).map_err(Failure::from_output)?;
    pages.push(Page { name: name.to_owned(), roff });
    command.get_subcommands().try_for_each(|sub| add(sub, &format!("{name}-{}", sub.get_name()), pages))
}
