//! Users in an LDAP directory, as `[ldap]` says.

use std::{sync::Arc, time::Duration};

use restante_auth::{
    Route,
    directory::{
        SecretText,
        ldap::{LdapDirectory, Settings as LdapSettings, SettingsError},
    },
};

use super::{Opener, lower_case};
use crate::{
    failure::Failure,
    settings::{
        self, Settings,
        directories::LdapTls,
        document::{Places, Problem},
    },
};

pub(super) const OPENER: Opener =
    Opener { name: "ldap", open, is_same: |before, now| before.ldap == now.ldap, check };

fn directory(settings: &Settings, places: &Places) -> Result<LdapDirectory, Problem> {
    let ldap = &settings.ldap;
    let settings = LdapSettings {
        urls: ldap.urls.clone(),
        tls: ldap.tls == LdapTls::Required,
        ca_file: ldap.ca_file.clone(),
        bind_dn: ldap.bind_dn.clone(),
        bind_password: ldap.bind_password_file.clone().map(SecretText::File),
        base: ldap.base.clone().unwrap_or_default(),
        filter: ldap.filter.clone(),
        maildir_attribute: ldap.maildir_attribute.clone(),
        login_delay_attribute: ldap.login_delay_attribute.clone(),
        name_attribute: ldap.name_attribute.clone(),
        certificates: ldap.certificates,
        connections: ldap.connections,
        patience: Duration::from_secs(ldap.timeout_seconds.into()),
    };
    LdapDirectory::new(&settings).map_err(|error| {
        let key = match &error {
            SettingsError::Filter(_) => "ldap.filter",
            SettingsError::Secret(_) => "ldap.bind_password_file",
            SettingsError::Trust(_) if ldap.ca_file.is_some() => "ldap.ca_file",
            _ => "ldap.urls",
        };
        places.problem_of_value(key, error.to_string())
    })
}

fn open(settings: &Settings, places: &Places) -> Result<Route, Failure> {
    let directory = directory(settings, places).map_err(|problem| settings::fail(places, &[problem]))?;
    Ok(Route {
        domains: lower_case(&settings.ldap.domains),
        patience: Duration::from_secs(settings.ldap.timeout_seconds.into()),
        ..Route::new("ldap", Arc::new(directory))
    })
}

fn check(settings: &Settings, places: &Places) -> Vec<Problem> {
    directory(settings, places).err().into_iter().collect()
}
