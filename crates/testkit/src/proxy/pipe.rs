//! One direction of a proxied connection: what was read waits here until it is due, and is written then. Bounded: a sender
//! that is too fast for the other side is not read from.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::Way;

/// How much is read at once.
const CHUNK_OCTETS: usize = 256 * 1024;

/// How much may wait in a pipe: 1.2 GB/s at 50 ms.
const PIPE_MAX_OCTETS: usize = 64 * 1024 * 1024;

/// How many empty buffers are kept for the next read.
const SPARE_MAX: usize = 32;

/// On a narrow link so much time's worth of octets is written at once.
const SLICES_A_SECOND: u64 = 200;

#[derive(Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Instant, Piece)>,
    /// Octets of memory that the queue holds.
    held: usize,
    spare: Vec<Box<[u8]>>,
    over: bool,
}

enum Piece {
    Octets {
        buffer: Box<[u8]>,
        filled: usize,
    },
    /// The sender says no more.
    End,
    /// The sender's connection is lost.
    Lost,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing goes in or out any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.queue.clear();
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().over
    }

    /// A buffer to read into, as soon as there is room for what is read.
    fn room(&self) -> Option<Box<[u8]>> {
        let mut state = self.state();
        while !state.over && state.held >= PIPE_MAX_OCTETS {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.over {
            return None;
        }
        let spare = state.spare.pop();
        drop(state);
        Some(spare.unwrap_or_else(|| vec![0; CHUNK_OCTETS].into_boxed_slice()))
    }

    fn push(&self, due: Instant, piece: Piece) {
        let mut state = self.state();
        if state.over {
            return;
        }
        let (due, piece) = match piece {
            // A few octets are not worth a whole buffer.
            Piece::Octets { buffer, filled } if filled < CHUNK_OCTETS / 8 => {
                let small = buffer[..filled].into();
                state.keep(buffer);
                (due, Piece::Octets { buffer: small, filled })
            }
            other => (due, other),
        };
        if let Piece::Octets { buffer, .. } = &piece {
            state.held += buffer.len();
        }
        state.queue.push_back((due, piece));
        drop(state);
        self.changed.notify_all();
    }

    /// The next piece, when it is due.
    fn pop(&self) -> Option<Piece> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            let due = state.queue.front().map(|(due, _)| *due);
            state = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return state.queue.pop_front().map(|(_, piece)| piece),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A piece was written: there is room again.
    fn written(&self, buffer: Box<[u8]>) {
        let mut state = self.state();
        let was_full = state.held >= PIPE_MAX_OCTETS;
        state.held = state.held.saturating_sub(buffer.len());
        state.keep(buffer);
        drop(state);
        if was_full {
            self.changed.notify_all();
        }
    }

    /// Waits until then; false when the pipe is over.
    fn wait_until(&self, time: Instant) -> bool {
        let mut state = self.state();
        while !state.over {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn wait_for_the_end(&self) {
        let mut state = self.state();
        while !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn keep(&mut self, buffer: Box<[u8]>) {
        if buffer.len() == CHUNK_OCTETS && self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }
}

/// Reads to the end.
pub(super) fn take_in(mut from: &TcpStream, way: &Way<'_>) {
    while let Some(mut buffer) = way.pipe.room() {
        let read = from.read(&mut buffer);
        let due = Instant::now() + way.delay;
        match read {
            Ok(0) => return way.pipe.push(due, Piece::End),
            Ok(filled) => way.pipe.push(due, Piece::Octets { buffer, filled }),
            Err(_) => return way.pipe.push(due, Piece::Lost),
        }
    }
}

/// Writes what is due, until the end comes through or the link is cut.
pub(super) fn give_out(to: &TcpStream, way: &Way<'_>) {
    let mut passed = Passed { octets: 0, free_at: Instant::now() };
    if !passed.on(to, way, &[]) {
        return;
    }
    while let Some(piece) = way.pipe.pop() {
        match piece {
            Piece::Octets { buffer, filled } => {
                if !passed.on(to, way, &buffer[..filled]) {
                    return;
                }
                way.pipe.written(buffer);
            }
            Piece::End if way.is_silent() => return way.pipe.wait_for_the_end(),
            Piece::End => {
                // The other half may go on.
                drop(to.shutdown(Shutdown::Write));
                return;
            }
            Piece::Lost => return way.link.end(),
        }
    }
}

struct Passed {
    octets: u64,
    /// When a narrow link has sent what it was given.
    free_at: Instant,
}

impl Passed {
    /// Passes octets on; false if that was all that this direction will ever see.
    fn on(&mut self, mut to: &TcpStream, way: &Way<'_>, mut octets: &[u8]) -> bool {
        loop {
            if way.cut_after.is_some_and(|limit| self.octets >= limit) {
                way.link.end();
                return false;
            }
            self.fall_silent_at(way, 0);
            if way.is_silent() {
                way.pipe.wait_for_the_end();
                return false;
            }
            if octets.is_empty() {
                return true;
            }
            let (slice, rest) = octets.split_at(self.slice(way, octets.len()));
            if way.octets_per_second.is_some() && !way.pipe.wait_until(self.free_at) {
                return false;
            }
            // Before it is seen: who has seen the last octet is not heard any more.
            self.fall_silent_at(way, slice.len());
            if to.write_all(slice).is_err() {
                way.link.end();
                return false;
            }
            self.count(way, slice.len());
            octets = rest;
        }
    }

    /// Silences the link if so many more octets are its last ones.
    fn fall_silent_at(&self, way: &Way<'_>, more: usize) {
        if way.stall_after.is_some_and(|limit| self.octets + more as u64 >= limit) {
            way.link.silent.store(true, Ordering::SeqCst);
        }
    }

    /// How much may be written at once.
    fn slice(&self, way: &Way<'_>, len: usize) -> usize {
        let mut most = len as u64;
        for limit in [way.cut_after, way.stall_after].into_iter().flatten() {
            most = most.min(limit.saturating_sub(self.octets));
        }
        if let Some(rate) = way.octets_per_second {
            most = most.min((rate / SLICES_A_SECOND).max(1));
        }
        usize::try_from(most).unwrap_or(len)
    }

    fn count(&mut self, way: &Way<'_>, written: usize) {
        let written = written as u64;
        self.octets += written;
        way.passed_on.fetch_add(written, Ordering::SeqCst);
        if let Some(rate) = way.octets_per_second {
            let takes = Duration::from_nanos(written.saturating_mul(1_000_000_000) / rate.max(1));
            self.free_at = self.free_at.max(Instant::now()) + takes;
        }
    }
}

impl Way<'_> {
    fn is_silent(&self) -> bool {
        self.link.silent.load(Ordering::SeqCst)
    }
}
