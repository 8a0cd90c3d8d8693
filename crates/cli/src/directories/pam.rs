//! Users of PAM, as `[pam]` says.

use std::{sync::Arc, time::Duration};

use restante_auth::{
    Route,
    directory::pam::{PamDirectory, Settings as PamSettings},
};

use super::{Opener, lower_case};
use crate::{
    failure::Failure,
    settings::{
        self, Settings,
        document::{Places, Problem},
    },
};

pub(super) const OPENER: Opener =
    Opener { name: "pam", open, is_same: |before, now| before.pam == now.pam, check };

fn directory(settings: &Settings, places: &Places) -> Result<PamDirectory, Problem> {
    let pam = &settings.pam;
    let settings = PamSettings {
        service: pam.service.clone(),
        threads: pam.threads,
        patience: Duration::from_secs(pam.timeout_seconds.into()),
    };
    PamDirectory::new(&settings).map_err(|error| places.problem_of_value("pam.service", error.to_string()))
}

fn open(settings: &Settings, places: &Places) -> Result<Route, Failure> {
    let directory = directory(settings, places).map_err(|problem| settings::fail(places, &[problem]))?;
    Ok(Route {
        domains: lower_case(&settings.pam.domains),
        patience: Duration::from_secs(settings.pam.timeout_seconds.into()),
        ..Route::new("pam", Arc::new(directory))
    })
}

fn check(settings: &Settings, places: &Places) -> Vec<Problem> {
    directory(settings, places).err().into_iter().collect()
}
