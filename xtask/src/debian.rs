//! Debian's packages, brought without a trace in how the machine works: no service is started, and what Debian does not
//! allow side by side is unpacked in a folder of ours. Which packages, and what for, is the chores' business.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{self, Failure};

/// The script that Debian's packages ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether this is a Debian.
pub(crate) fn here() -> bool {
    run::output(Command::new("dpkg-query").arg("--version")).is_some()
}

/// Brings a package's files into a folder, and beside them a file that says its version.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", folder.display()));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) | Ok(()) => fs::create_dir_all(folder).map_err(failed)?,
    }
    run::run(Command::new("apt-get").current_dir(folder).args(["download", "-qq", package]))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let mut entries = fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path());
    let file = entries.find(is_package).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let version = run::output(Command::new("dpkg-deb").arg("-f").arg(&file).arg("Version"));
    run::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder))?;
    fs::write(folder.join("version"), version.unwrap_or_default()).map_err(failed)?;
    fs::remove_file(file).map_err(failed)
}

/// While it lives no package starts a service: invoke-rc.d asks the script, and 101 forbids. A script that is there
/// already is moved aside and put back.
pub(crate) struct NoServices {
    aside: Option<PathBuf>,
}

impl NoServices {
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::forbid().map_err(|error| Failure::Failed(format!("{POLICY}: {error}")))
    }

    fn forbid() -> io::Result<Self> {
        let policy = Path::new(POLICY);
        let aside = policy.with_extension("d.restante");
        let aside = policy.exists().then_some(aside);
        if let Some(aside) = &aside {
            fs::rename(policy, aside)?;
        }
        let forbidding = Self { aside };
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(forbidding)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let put_back = match &self.aside {
            Some(aside) => fs::rename(aside, POLICY),
            None => fs::remove_file(POLICY),
        };
        if let Err(error) = put_back {
            eprintln!("{POLICY} could not be put back: {error}");
        }
    }
}
