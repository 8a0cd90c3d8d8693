//! Logs: what the crates say by `tracing`, written to standard error as the settings ask.

use std::io;

use tracing_subscriber::{
    Layer, filter::LevelFilter, filter::Targets, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::{
    output,
    settings::{Level, Log, LogFormat},
};

/// Begins to log. The first call in a process counts.
pub(crate) fn start(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Other people's libraries speak up only when something is wrong; their details may hold what ours hide.
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("restante", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match log.format {
        LogFormat::Text => lines.with_ansi(output::stderr_takes_colour()).with_filter(targets).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).with_filter(targets).boxed(),
    };
    if let Err(error) = registry().with(layer).try_init() {
        output::warn(&[format!("the log goes on as before: {error}")]);
    }
}
