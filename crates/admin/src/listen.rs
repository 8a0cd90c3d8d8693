//! Where the page is listened for: unix sockets that only their owner may open, and TCP addresses. Who may do what behind
//! them is the business of `door.rs`.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
        },
    },
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fchmod, flock, open},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
    },
};
use serde::{Deserialize, Deserializer, de};
use tokio::net::{TcpListener, UnixListener};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long the lock of a folder is waited for, and how often it is tried.
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(10);
const LOCK_TRIES_MAX: usize = 100;
/// The rights of a unix socket: its owner alone may open it.
const SOCKET_MODE: u32 = 0o600;
/// The longest path of a unix socket, in octets (unix(7)).
const SOCKET_PATH_MAX_OCTETS: usize = 107;

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A unix socket at this absolute path.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            let hint = || {
                format!(
                    "{text:?} is neither the absolute path of a unix socket nor address:port, such as \"127.0.0.1:1180\""
                )
            };
            return text.parse().map(Self::Tcp).map_err(|_| hint());
        }
        match text.len() <= SOCKET_PATH_MAX_OCTETS && !text.contains('\0') {
            true => Ok(Self::Unix(PathBuf::from(text))),
            false => Err(format!(
                "{text:?} is too long for a unix socket; a path may have {SOCKET_PATH_MAX_OCTETS} octets"
            )),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Why a place could not be listened at.
#[derive(Debug)]
pub struct ListenError {
    /// Where.
    pub place: Place,
    /// Why not.
    pub why: WhyNot,
}

/// Why not.
#[derive(Debug)]
#[non_exhaustive]
pub enum WhyNot {
    /// Somebody listens there already: a process, as far as it is known.
    Taken(Option<String>),
    /// Somebody listens there, and takes nobody.
    Silent,
    /// The folder of the socket is not there.
    NoFolder(PathBuf),
    /// There is something else at the path.
    NoSocket,
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, why } = self;
        write!(f, "cannot listen on {place}: ")?;
        match (why, place) {
            (WhyNot::Taken(Some(who)), _) => write!(f, "{who} listens there"),
            (WhyNot::Taken(None), Place::Tcp(_)) => {
                f.write_str("another program listens there (`ss -ltnp` names it)")
            }
            (WhyNot::Taken(None), Place::Unix(_)) => f.write_str("another program listens there"),
            (WhyNot::Silent, _) => f.write_str(
                "another server listens there and does not answer; `ss -lxp` names its process, which has to end first",
            ),
            (WhyNot::NoFolder(folder), _) => write!(
                f,
                "the folder {0} is not there (systemd: RuntimeDirectory=restante makes /run/restante; by hand: `install -d -m 0750 {0}`)",
                folder.display()
            ),
            (WhyNot::NoSocket, _) => {
                f.write_str("there is something else at this path; it is left alone, remove it by hand")
            }
            (WhyNot::Io(error), _) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

/// A listening unix socket; its file goes when this is dropped, if it is still the one that was made.
#[derive(Debug)]
pub(crate) struct UnixDoor {
    // Dropped first: while somebody listens nobody replaces the file.
    file: SocketFile,
    pub(crate) listener: UnixListener,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    made: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), made: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.made.is_some() && identity(&self.path) == self.made {
            // If it stays, whoever comes next finds a socket where nobody answers, and takes its place.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// Which file it is, without following a link.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

impl UnixDoor {
    /// Listens at a path. A socket where nobody answers any more is replaced. Needs a tokio runtime.
    pub(crate) fn open(path: &Path) -> Result<Self, ListenError> {
        let fail = |why| ListenError { place: Place::Unix(path.to_owned()), why };
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        // Until the file is known: else somebody could find it before it is listened at, and take it for a stale one.
        let lock = locked(folder).map_err(fail)?;
        let listener = match bound(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => match lock {
                Some(_) => replaced(path).map_err(fail)?,
                None => {
                    return Err(fail(WhyNot::Taken(Some(
                        "somebody who holds the lock of the folder".into(),
                    ))));
                }
            },
            other => other.map_err(|error| fail(WhyNot::Io(error)))?,
        };
        let file = SocketFile::new(path);
        drop(lock);
        let tokio = || {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        let listener = tokio().map_err(|error| fail(WhyNot::Io(error)))?;
        Ok(Self { file, listener })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// A new socket at a path where there is none. Its rights are set before it has a name: `bind` takes them over, and there
/// is no moment at which others could open it, whatever the umask.
fn bound(path: &Path) -> io::Result<StdUnixListener> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(StdUnixListener::from(socket))
}

/// The lock of a folder, so that of two who find the same stale socket only one removes it, and none the other's. Others
/// may hold it for ever: after a moment it is gone on without, and nothing is replaced.
fn locked(folder: &Path) -> Result<Option<OwnedFd>, WhyNot> {
    let opened = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|errno| match errno {
        Errno::NOENT => WhyNot::NoFolder(folder.to_owned()),
        errno => WhyNot::Io(errno.into()),
    })?;
    for _ in 0..LOCK_TRIES_MAX {
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_AGAIN_AFTER),
            locked => return locked.map(|()| Some(opened)).map_err(|errno| WhyNot::Io(errno.into())),
        }
    }
    Ok(None)
}

/// A new socket in place of one where nobody answers. The folder is locked meanwhile.
fn replaced(path: &Path) -> Result<StdUnixListener, WhyNot> {
    let found = fs::symlink_metadata(path).map_err(WhyNot::Io)?;
    if !found.file_type().is_socket() {
        return Err(WhyNot::NoSocket);
    }
    // One who hangs and has a full backlog would be waited for by a socket that blocks.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = || {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(StdUnixStream::from(socket))
    };
    match probe() {
        Ok(stream) => return Err(WhyNot::Taken(who(&stream))),
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::AGAIN) => return Err(WhyNot::Silent),
        Err(errno) => return Err(WhyNot::Io(errno.into())),
    }
    fs::remove_file(path).map_err(WhyNot::Io)?;
    bound(path).map_err(WhyNot::Io)
}

/// The process behind a socket.
fn who(stream: &StdUnixStream) -> Option<String> {
    let pid = sockopt::socket_peercred(stream).ok()?.pid.as_raw_nonzero();
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    Some(
        name.map_or_else(|_| format!("process {pid}"), |name| format!("{} (process {pid})", name.trim_end())),
    )
}

/// Listens at a TCP address. Needs a tokio runtime.
pub(crate) fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => WhyNot::Taken(None),
            _ => WhyNot::Io(error),
        };
        ListenError { place: Place::Tcp(address), why }
    })
}
