//! The one door to files, processes, sockets and the clock. Nothing else in the crate touches the system.
//! No policy may live here: what to write and when is decided by the callers.

#[doc(hidden)]
pub mod fake;
pub mod real;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What `lstat` says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    /// Permission bits, the file type left out.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// A program with its arguments; never a shell.
#[derive(Debug, Clone, Default)]
pub struct Command {
    pub argv: Vec<String>,
    pub stdin: Vec<u8>,
    /// Killed and reaped after this long.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The exit code; 128 + signal for a killed one.
    pub code: i32,
    /// At most 4 MiB; the rest is read and dropped.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A held lock; released when dropped, and by the kernel when the process dies.
pub trait Lock: Send {}

/// A connection with read and write deadlines.
pub trait Stream: Read + Write + Send {
    /// The longest any single read or write may take from now on. An expired one is `ErrorKind::TimedOut`.
    ///
    /// # Errors
    /// What the socket option call says.
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()>;
    /// The local and the peer's address, where the transport has them.
    fn peer(&self) -> Option<SocketAddr>;
    /// What `System::pause_on` waits for, where the transport has one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What a pause ended with; neither: its time was over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Woken {
    /// SIGTERM or SIGINT came.
    pub signalled: bool,
    /// The connections, by number, that ended or that something can be read from.
    pub spoke: Vec<usize>,
}

/// The node. Paths are absolute paths of the node; an implementation may place them below another root.
pub trait System: Sync {
    // Files. No call follows a symbolic link at the last component, except `read`.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether two files have the same bytes.
    fn same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        Ok(self.read(one)? == self.read(other)?)
    }
    /// `None` when there is nothing at the path.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// The names in a directory, sorted; empty when it is missing.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Writes a file that must not exist yet, with mode and owner, and syncs it to disk.
    fn create(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()>;
    /// Copies bytes, mode, owner and extended attributes of a file to a path that must not exist yet; synced.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Copies the extended attributes (SELinux label, ACL) of one file to another, where the file system has any;
    /// the other's mode stays, and so does what is bound to the content (IMA, EVM).
    fn copy_attributes(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and its missing parents; quiet when it exists.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Quiet when there is nothing at the path.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Where a symbolic link points to, unresolved: `/proc/PID/fd/N` tells which socket that is.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{}: links are not read here", path.display()),
        ))
    }
    /// Where a path really lies, for programs that open it themselves.
    fn place(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    /// Numeric ids of who this process works as: the owner of pgsvc's own files.
    fn whoami(&self) -> (u32, u32) {
        (0, 0)
    }
    /// Syncs a directory's entries to disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// An exclusive lock on a file (made when missing), waited for at most `wait`.
    ///
    /// # Errors
    /// `ErrorKind::TimedOut` when another process held it all the time.
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>>;

    // Processes.
    fn run(&self, command: &Command) -> io::Result<Output>;
    /// The path of a program, looked up in PATH and the sbin directories.
    fn find(&self, program: &str) -> Option<PathBuf>;
    fn signal(&self, pid: u32, signal: Signal) -> io::Result<()>;

    // Sockets.
    /// Connects; `addr` is an address, never a name.
    fn connect(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>>;
    /// Sends `request` to a Unix socket, half-closes, and reads the answer to its end (at most 64 MiB).
    fn ask_unix(&self, path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>>;
    /// Binds a listening TCP socket for a moment, to learn whether that is possible.
    fn try_bind(&self, addr: SocketAddr) -> io::Result<()>;
    /// The node's own addresses, sorted.
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut all: Vec<IpAddr> = self.interfaces()?.into_iter().map(|(_, address)| address).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }
    /// The node's own addresses with the names of their interfaces (getifaddrs(3)), in the kernel's order.
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>>;
    fn hostname(&self) -> io::Result<String>;
    /// A name's addresses by `getent ahosts`: libc's resolver would load the node's libraries into a static binary.
    fn resolve(&self, name: &str, timeout: Duration) -> io::Result<Vec<IpAddr>>;
    /// Numeric ids of a user and a group by /etc/passwd and /etc/group, else `getent`; `None` when unknown.
    fn user(&self, name: &str) -> Option<u32>;
    fn group(&self, name: &str) -> Option<u32>;

    // Clock.
    /// Monotonic time since the start of the process.
    fn now(&self) -> Duration;
    fn wall(&self) -> SystemTime;
    fn sleep(&self, time: Duration);
    /// Sleeps, but for SIGTERM and SIGINT, which from the first call on end nothing by themselves: whether one came.
    fn pause(&self, time: Duration) -> bool {
        self.pause_on(time, &[]).signalled
    }
    /// As `pause`, and over as soon as one of these connections ends or is spoken on.
    fn pause_on(&self, time: Duration, _: &[&dyn Stream]) -> Woken {
        self.sleep(time);
        Woken::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Hup,
    Term,
    Kill,
    Usr1,
    Usr2,
}
