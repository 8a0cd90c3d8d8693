//! Users in a database, as `[sql]` says.

use std::{path::PathBuf, sync::Arc, time::Duration};

use restante_auth::{
    Route,
    directory::{
        SecretText,
        sql::{Settings as SqlSettings, SettingsError, SqlDirectory},
    },
};
use restante_proto::Secret;

use super::{Opener, lower_case};
use crate::{
    failure::Failure,
    settings::{
        self, Settings,
        directories::Sql,
        document::{Places, Problem},
    },
};

pub(super) const OPENER: Opener =
    Opener { name: "sql", open, is_same: |before, now| before.sql == now.sql, check };

/// The section as the directory takes it; `None` without a URL.
fn section(sql: &Sql) -> Option<SqlSettings> {
    let file = |path: &PathBuf| SecretText::File(path.clone());
    let url = sql.url.clone().map(|url| SecretText::Here(Secret::new(url)));
    let url = url.or_else(|| sql.url_file.as_ref().map(file))?;
    Some(SqlSettings {
        url,
        password: sql.password_file.as_ref().map(file),
        ca_file: sql.ca_file.clone(),
        query: sql.query.clone().unwrap_or_default(),
        plaintext: sql.plaintext,
        connections: sql.connections,
        patience: Duration::from_secs(sql.timeout_seconds.into()),
    })
}

fn directory(settings: &Settings, places: &Places) -> Result<SqlDirectory, Problem> {
    let sql = &settings.sql;
    let Some(settings) = section(sql) else {
        return Err(places.problem("sql", "[sql] needs url or url_file"));
    };
    SqlDirectory::new(&settings).map_err(|error| {
        let url = if sql.url_file.is_some() { "sql.url_file" } else { "sql.url" };
        let key = match &error {
            SettingsError::Query(_) => "sql.query",
            SettingsError::Trust(_) if sql.ca_file.is_some() => "sql.ca_file",
            SettingsError::Secret(error) if sql.password_file.as_deref() == Some(error.path()) => {
                "sql.password_file"
            }
            _ => url,
        };
        places.problem_of_value(key, error.to_string())
    })
}

/// What works, and should be known all the same.
pub(super) fn cautions(settings: &Settings, places: &Places) -> Vec<Problem> {
    let sql = &settings.sql;
    let key = if sql.url_file.is_some() { "sql.url_file" } else { "sql.url" };
    let cautions = section(sql).map(|section| section.cautions()).unwrap_or_default();
    cautions.iter().map(|caution| places.problem(key, caution.to_string())).collect()
}

fn open(settings: &Settings, places: &Places) -> Result<Route, Failure> {
    let directory = directory(settings, places).map_err(|problem| settings::fail(places, &[problem]))?;
    Ok(Route {
        domains: lower_case(&settings.sql.domains),
        patience: Duration::from_secs(settings.sql.timeout_seconds.into()),
        ..Route::new("sql", Arc::new(directory))
    })
}

fn check(settings: &Settings, places: &Places) -> Vec<Problem> {
    directory(settings, places).err().into_iter().collect()
}
