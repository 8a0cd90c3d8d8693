//! `restante mail URL save N…`: messages streamed into files, whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use restante_client::{Client, Entry, Error};
use tempfile::NamedTempFile;

use crate::{failure::Failure, output, terminal::harmless_line};

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// A message and its file.
struct Job<'e> {
    entry: &'e Entry,
    path: PathBuf,
}

/// Saves these messages, each into `N.eml` of a folder, or one into a file; and says which ones the server refused.
pub(super) async fn save(
    client: &mut Client,
    entries: &[&Entry],
    to: Option<&Path>,
    existing: Existing,
) -> Result<Vec<String>, Failure> {
    let jobs = jobs(entries, to, existing)?;
    let mut refused = Vec::new();
    let mut messages = client.messages(jobs.iter().map(|job| job.entry.number));
    for job in &jobs {
        let fail = |error| cannot_write(&job.path, &error);
        let Some(mut message) = messages.next().await? else { break };
        // Beside its place, so that it gets there in one step; dropped before that, it is removed.
        let mut file = NamedTempFile::new_in(folder_of(&job.path)).map_err(fail)?;
        let mut length: u64 = 0;
        let whole = loop {
            match message.chunk().await {
                Ok(Some(octets)) => {
                    length += octets.len() as u64;
                    file.write_all(octets).map_err(fail)?;
                }
                Ok(None) => break true,
                // That concerns this message alone.
                Err(Error::Refused(why)) => {
                    refused.push(harmless_line(&format!("message {}: {why}", job.entry.number)));
                    break false;
                }
                Err(error) => return Err(error.into()),
            }
        };
        if !whole {
            continue;
        }
        keep(file, &job.path, existing).map_err(fail)?;
        let path = job.path.display();
        output::print(&format!("{}: {length} octets in {path}\n", job.entry.number))?;
        if let Some(listed) = job.entry.octets.filter(|&listed| listed != length) {
            let number = job.entry.number;
            output::warn(&[format!(
                "the server listed message {number} with {listed} octets, and sent {length}"
            )]);
        }
    }
    messages.finish().await?;
    Ok(refused)
}

/// Which message goes where. What is there already is found before anything is asked for.
fn jobs<'e>(entries: &[&'e Entry], to: Option<&Path>, existing: Existing) -> Result<Vec<Job<'e>>, Failure> {
    let to = to.unwrap_or_else(|| Path::new("."));
    let is_folder = to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/");
    let jobs: Vec<Job<'e>> = match (is_folder, entries) {
        (true, entries) => {
            if !to.is_dir() {
                return Err(Failure::failed(format!("there is no folder {}", to.display())));
            }
            let path = |entry: &Entry| to.join(format!("{}.eml", entry.number));
            entries.iter().map(|&entry| Job { entry, path: path(entry) }).collect()
        }
        (false, [entry]) => vec![Job { entry, path: to.to_owned() }],
        (false, _) => {
            return Err(Failure::usage(format!("{} is no folder, and takes one message only", to.display())));
        }
    };
    match jobs.iter().find(|job| existing == Existing::Keep && job.path.symlink_metadata().is_ok()) {
        Some(job) => Err(there_already(&job.path)),
        None => Ok(jobs),
    }
}

fn there_already(path: &Path) -> Failure {
    Failure::failed(format!("{} is there already; nothing was written", path.display()))
        .hint("--overwrite replaces it, --to names another place")
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => there_already(path),
        _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
    }
}

/// On the disk, then in its place.
fn keep(mut file: NamedTempFile, path: &Path, existing: Existing) -> io::Result<()> {
    file.flush()?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Keep => file.persist_noclobber(path)?,
        Existing::Replace => file.persist(path)?,
    };
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => fs::canonicalize(".").unwrap_or_else(|_| PathBuf::from(".")),
    }
}
