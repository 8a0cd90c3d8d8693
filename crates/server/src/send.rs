//! A body on its way from a store to a socket, in pieces: memory does not grow with the message.

use std::{io, sync::Arc, time::Duration};

use restante_proto::{
    body::{Progress, Stuffer},
    server::{OUT_SOFT_MAX_OCTETS, Transfer},
};
use restante_store::Source;

use crate::{
    pool::{self, Buffer},
    wire::{Wire, WriteError},
};

/// How much is read from a store at a time, in octets.
const PIECE_OCTETS: usize = 64 * 1024;

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The store failed, or the message is shorter than it said.
    Store(io::Error),
    /// The connection failed.
    Wire(WriteError),
}

/// Sends the body behind what is in `out`, and counts in `sent` what goes to the socket. What is left in `out` is less
/// than a piece, so that a small message and the final `.` line leave in one write.
pub(crate) async fn body(
    transfer: Transfer<Source>,
    wire: &mut Wire,
    out: &mut Vec<u8>,
    sent: &mut u64,
    patience: Duration,
) -> Result<(), Broken> {
    let mut stuffer = Stuffer::new(transfer.form, transfer.part);
    let source = Arc::new(transfer.source);
    let (mut at, end) = (transfer.octets.start, transfer.octets.end);
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(PIECE_OCTETS).min(PIECE_OCTETS);
        let piece = read(&source, at, want).await.map_err(Broken::Store)?;
        at += piece.len() as u64;
        let progress = stuffer.push(&piece, out);
        drop(piece);
        if out.len() >= OUT_SOFT_MAX_OCTETS {
            wire.write(out, patience).await.map_err(Broken::Wire)?;
            *sent += out.len() as u64;
            out.clear();
        }
        if progress == Progress::Done {
            break;
        }
    }
    stuffer.finish(out);
    Ok(())
}

/// Reads up to `want` octets, at least one; files are read off the I/O threads.
async fn read(source: &Arc<Source>, at: u64, want: usize) -> io::Result<Buffer> {
    let mut piece = pool::lend();
    piece.resize(want, 0);
    let read = move |source: &Source, mut piece: Buffer| {
        let octets = loop {
            match source.read_at(at, &mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if octets == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the message is shorter than it was"));
        }
        piece.truncate(octets);
        Ok(piece)
    };
    if matches!(**source, Source::Bytes(_)) {
        return read(source, piece);
    }
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || read(&source, piece)).await.map_err(io::Error::other)?
}
