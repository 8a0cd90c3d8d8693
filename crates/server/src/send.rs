//! A body on its way from a store to a socket, in pieces: memory does not grow with the message, and a client that does
//! not read owns no buffer.
//!
//! Mail that is cached is read on the thread at hand, which never waits for a disk; the rest is read in tokio's pool.

use std::{
    cell::RefCell,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use restante_proto::{
    body::{Progress, Stuffer},
    server::{OUT_SOFT_MAX_OCTETS, Transfer},
};
use restante_store::{Cached, Source};

use crate::{
    pool::Output,
    wire::{Taken, Wire, WriteError},
};

/// How much is read at a time, in octets: it stays in the processor's cache. Half as much, and twice as much written at
/// a time, were measured to be no better.
const PIECE_MAX_OCTETS: usize = 32 * 1024;
/// Less than this much, in octets, is not read for what is left of a buffer: it is written first.
const PIECE_MIN_OCTETS: usize = 16 * 1024;
/// Line ends and dots make a message longer, in nearly all mail by less than one in so many octets: what is read then
/// fills a buffer and whole TLS records, and does not spill over.
const GROWTH: usize = 32;

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The store failed, or the message is shorter than it said.
    Store(io::Error),
    /// The connection failed.
    Wire(WriteError),
}

/// Sends the body behind what is in `out`, and counts in `sent` what goes to the socket. What is left in `out` is not
/// more than the soft limit, so that small messages leave in one write with what comes behind them.
pub(crate) async fn body(
    transfer: Transfer<Source>,
    wire: &mut Wire,
    out: &mut Output,
    sent: &AtomicU64,
    patience: Duration,
) -> Result<(), Broken> {
    let Transfer { source, octets, form, part } = transfer;
    let mut reader = Reader { source, waits: Waits::IfMissing };
    let mut made = Made { stuffer: Stuffer::new(form, part), at: octets.start };
    // Where what is in `out` began to be made, so that it can be made again; before that are so many octets that
    // cannot, and so many of what was made have left.
    let (mut begin, mut before, mut left) = (made.clone(), out.len(), 0);
    let mut skip = 0;
    while made.at < octets.end {
        let rest = usize::try_from(octets.end - made.at).unwrap_or(usize::MAX);
        let room = OUT_SOFT_MAX_OCTETS.saturating_sub(out.len());
        let want = rest.min(room - room / GROWTH).min(PIECE_MAX_OCTETS);
        if want < rest.min(PIECE_MIN_OCTETS) {
            match wire.write_unless_stalled(out, patience).await.map_err(Broken::Wire)? {
                Taken::All => {
                    sent.fetch_add(out.len() as u64, Ordering::Relaxed);
                    out.clear();
                    (begin, before, left) = (made.clone(), 0, 0);
                }
                Taken::Stalled(taken) if taken >= before => {
                    // Who does not read keeps no buffer: what did not leave is made again when there is room.
                    sent.fetch_add(taken as u64, Ordering::Relaxed);
                    if taken == out.len() {
                        (begin, left) = (made.clone(), 0);
                    } else {
                        left += taken - before;
                    }
                    *out = Output::none();
                    wire.room(patience).await.map_err(Broken::Wire)?;
                    *out = Output::lend();
                    (made, before, skip) = (begin.clone(), 0, left);
                }
                Taken::Stalled(taken) => {
                    wire.write(&out[taken..], patience).await.map_err(Broken::Wire)?;
                    sent.fetch_add(out.len() as u64, Ordering::Relaxed);
                    out.clear();
                    (begin, before, left) = (made.clone(), 0, 0);
                }
            }
            continue;
        }
        let progress = reader.push(&mut made, want, out).await.map_err(Broken::Store)?;
        if skip > 0 {
            let gone = skip.min(out.len());
            out.drain(..gone);
            skip -= gone;
            if out.is_empty() {
                // All of that has left: another stall need not go back to it.
                (begin, left) = (made.clone(), skip);
            }
        }
        if progress == Progress::Done {
            break;
        }
    }
    if skip > 0 {
        let error = io::Error::new(io::ErrorKind::InvalidData, "the message was changed while it was sent");
        return Err(Broken::Store(error));
    }
    made.stuffer.finish(out);
    Ok(())
}

/// How far the message was read, and what the next piece becomes.
#[derive(Clone, Debug)]
struct Made {
    stuffer: Stuffer,
    at: u64,
}

impl Made {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<Progress> {
        if piece.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the message is shorter than it was"));
        }
        self.at += piece.len() as u64;
        #[cfg(test)]
        tests::MADE_OCTETS.with(|made| made.set(made.get() + piece.len()));
        Ok(self.stuffer.push(piece, out))
    }
}

/// Reads a message.
struct Reader {
    source: Source,
    waits: Waits,
}

/// When a piece is read in the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    IfMissing,
    /// The file system cannot say what is cached.
    Always,
}

thread_local! {
    /// A piece of cached mail, between a file and a stuffer: it stays in the processor's cache, and is never zeroed.
    static PIECE: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_MAX_OCTETS].into());
}

impl Reader {
    /// Takes a piece of `want` octets at most.
    async fn push(&mut self, made: &mut Made, want: usize, out: &mut Vec<u8>) -> io::Result<Progress> {
        if self.waits == Waits::IfMissing
            && let Some(progress) = self.push_cached(made, want, out)?
        {
            return Ok(progress);
        }
        let (at, source) = (made.at, std::mem::replace(&mut self.source, Source::Bytes(Default::default())));
        let read = move || {
            let mut piece = Vec::with_capacity(want);
            let read = source.append_at(at, &mut piece);
            (source, read.map(|_| piece))
        };
        let (source, piece) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
        self.source = source;
        made.push(&piece?, out)
    }

    /// Takes what is cached; `None` where nothing is.
    fn push_cached(
        &mut self,
        made: &mut Made,
        want: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<Option<Progress>> {
        PIECE.with_borrow_mut(|piece| match self.source.cached_at(made.at, &mut piece[..want])? {
            // Kernels before 5.11 may say that this is the end where it is not: the pool's read knows.
            Cached::Octets([]) | Cached::Missing => Ok(None),
            Cached::Octets(octets) => made.push(octets, out).map(Some),
            Cached::Unsupported => {
                self.waits = Waits::Always;
                Ok(None)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use restante_proto::body::{Form, Part};
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    thread_local! {
        /// How many octets of mail this thread has made wire form of.
        pub(super) static MADE_OCTETS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Lines of all lengths, some of dots, so that a piece may end anywhere.
    fn mail(octets: usize) -> Vec<u8> {
        let mut mail = b"Subject: a\n\n".to_vec();
        for line in 0.. {
            if mail.len() >= octets {
                return mail;
            }
            mail.resize(mail.len() + line % 90, b".x"[line % 2]);
            mail.push(b'\n');
        }
        mail
    }

    fn wire_form(mail: &[u8]) -> Vec<u8> {
        let (mut wire, mut stuffer) = (Vec::new(), Stuffer::new(Form::Local, Part::Whole));
        assert_eq!(stuffer.push(mail, &mut wire), Progress::More);
        stuffer.finish(&mut wire);
        wire
    }

    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let server = accepted.unwrap().0;
        let client = client.unwrap();
        // The kernel would let them grow to megabytes.
        socket2::SockRef::from(&server).set_send_buffer_size(50_000).unwrap();
        socket2::SockRef::from(&client).set_recv_buffer_size(50_000).unwrap();
        (Wire::plain(server, crate::observe::Recording::default()), client)
    }

    fn transfer(source: Source, octets: usize) -> Transfer<Source> {
        Transfer { source, octets: 0..octets as u64, form: Form::Local, part: Part::Whole }
    }

    #[tokio::test]
    async fn who_does_not_read_owns_no_buffer_and_misses_nothing() {
        let mail = mail(20_000_000);
        let (mut wire, mut client) = pair().await;
        let transfer = transfer(Source::Bytes(mail.clone().into()), mail.len());
        let sending = async {
            let (mut out, sent) = (Output::lend(), AtomicU64::new(0));
            out.extend_from_slice(b"+OK\r\n");
            body(transfer, &mut wire, &mut out, &sent, PATIENCE).await.unwrap();
            wire.write(&out, PATIENCE).await.unwrap();
            sent.into_inner() + out.len() as u64
        };
        let mut sending = Box::pin(sending);
        let mut received = Vec::new();
        // Three stalls, each longer than a buffer is kept for.
        for _ in 0..3 {
            let stalled = tokio::time::timeout(Duration::from_millis(1500), &mut sending).await;
            assert!(stalled.is_err(), "the sockets' buffers hold far less");
            let mut piece = vec![0; 5_000_000];
            let reading = async { client.read_exact(&mut piece).await.map(|_| ()) };
            tokio::select! {
                read = reading => read.unwrap(),
                _ = &mut sending => panic!("not all was read"),
            }
            received.extend_from_slice(&piece);
        }
        let mut piece = Vec::new();
        let reading = async {
            let rest = 5 + wire_form(&mail).len() - received.len();
            client.take(rest as u64).read_to_end(&mut piece).await
        };
        let (sent, read) = tokio::join!(sending, reading);
        read.unwrap();
        received.extend_from_slice(&piece);
        assert_eq!(sent, received.len() as u64);
        assert!(received == [b"+OK\r\n".as_slice(), &wire_form(&mail)].concat(), "octet for octet");
    }

    #[tokio::test]
    async fn who_stalls_all_the_time_costs_little_more_than_others() {
        // So many are lent out that each wait for room is a stall.
        let lent: Vec<_> = (0..200).map(|_| Output::lend()).collect();
        assert!(Output::many());
        let mail = mail(4_000_000);
        let (mut wire, mut client) = pair().await;
        let transfer = transfer(Source::Bytes(mail.clone().into()), mail.len());
        let sending = async {
            let (mut out, sent) = (Output::lend(), AtomicU64::new(0));
            body(transfer, &mut wire, &mut out, &sent, PATIENCE).await.unwrap();
            wire.write(&out, PATIENCE).await.unwrap();
            wire
        };
        let reading = async {
            let (mut received, mut piece) = (Vec::new(), vec![0; 7_000]);
            while received.len() < wire_form(&mail).len() {
                let octets = client.read(&mut piece).await.unwrap();
                assert!(octets > 0);
                received.extend_from_slice(&piece[..octets]);
                tokio::task::yield_now().await;
            }
            received
        };
        MADE_OCTETS.set(0);
        let (_wire, received) = tokio::join!(sending, reading);
        assert!(received == wire_form(&mail), "octet for octet");
        let made = MADE_OCTETS.get();
        assert!(made > mail.len() * 11 / 10, "there were stalls: {made}");
        assert!(made < mail.len() * 4, "what has left is not made again and again: {made}");
        drop(lent);
    }

    #[tokio::test]
    async fn a_file_that_cannot_say_what_is_cached_is_read_in_the_pool() {
        // procfs refuses RWF_NOWAIT.
        let path = "/proc/self/maps";
        let mut reader =
            Reader { source: Source::File(std::fs::File::open(path).unwrap()), waits: Waits::IfMissing };
        let (mut made, mut out) =
            (Made { stuffer: Stuffer::new(Form::Wire, Part::Whole), at: 0 }, Vec::new());
        assert_eq!(reader.push(&mut made, 100, &mut out).await.unwrap(), Progress::More);
        assert!(reader.waits == Waits::Always && !out.is_empty() && made.at == out.len() as u64);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_breaks_off() {
        let (mut wire, _client) = pair().await;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\n").unwrap();
        let (mut out, sent) = (Output::lend(), AtomicU64::new(0));
        let sending = body(transfer(Source::File(file), 3), &mut wire, &mut out, &sent, PATIENCE);
        assert!(matches!(sending.await, Err(Broken::Store(_))));
    }
}
