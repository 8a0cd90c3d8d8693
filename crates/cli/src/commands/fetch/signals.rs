//! SIGTERM and Ctrl-C: the runs end as soon as that loses nothing; a second one ends the process.

use restante_fetch::Stop;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a process that was interrupted.
const INTERRUPTED: i32 = 130;

pub(super) async fn watch(stop: Stop) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Then they end the process at once, which the journal bears.
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.is_stopped() {
            std::process::exit(INTERRUPTED);
        }
        stop.now();
    }
}
