//! Logs: what the crates say by `tracing`, written to standard error as the settings ask.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

use crate::{
    output,
    settings::{Level, Log, LogFormat},
};

/// Begins to log. The first call in a process counts.
pub(crate) fn start(log: &Log) {
    if let Err(error) = subscriber(log, output::stderr_takes_colour(), io::stderr).try_init() {
        output::warn(&[format!("the log goes on as before: {error}")]);
    }
}

fn subscriber<W>(log: &Log, colour: bool, writer: W) -> impl Subscriber
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Other people's libraries speak up only when something is wrong; their details may hold what ours hide.
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("restante", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    let layer = match log.format {
        // For people: which module speaks is of no use to them.
        LogFormat::Text => lines.with_target(false).with_filter(targets).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).with_filter(targets).boxed(),
    };
    registry().with(layer)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(
            subscriber(&Log { level, format, ..Log::default() }, false, move || writer.clone()),
            || {
                tracing::info!(target: "restante_server::session", user = "ann", octets = 7, "session ended");
                tracing::debug!(target: "restante_server::session", "a detail");
                tracing::debug!(target: "rustls::server", "another's detail");
                tracing::warn!(target: "rustls::server", "another's warning");
            },
        );
        let octets = lines.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn the_level_is_that_of_our_own_words_and_of_others_only_warnings() {
        let text = logged(Level::Info, LogFormat::Text);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("session ended user=\"ann\" octets=7") && text.contains("another's warning"),
            "{text}"
        );
        assert!(!text.contains('\x1b'));
        assert_eq!(logged(Level::Trace, LogFormat::Text).lines().count(), 3);
        assert_eq!(logged(Level::Error, LogFormat::Text), "");
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_its_top() {
        let text = logged(Level::Info, LogFormat::Json);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&first["level"], &first["message"]), (&"INFO".into(), &"session ended".into()));
        assert_eq!((&first["user"], &first["octets"]), (&"ann".into(), &7.into()));
    }
}
