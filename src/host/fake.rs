//! A node in memory, for fault tests: it notes every effect and can refuse the n-th. Nothing here may reach the real
//! system, and no policy may live here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Command, Kind, Lock, Output, Signal, Stat, Stream, System, Woken};

/// A file with all that must survive a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeFile {
    pub bytes: Vec<u8>,
    pub mode: u32,
    pub owner: (u32, u32),
    pub attributes: BTreeMap<String, Vec<u8>>,
}

/// Which effects fail, counted from 1 over the life of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fail {
    #[default]
    Never,
    /// The n-th alone: a passing fault.
    At(usize),
    /// The n-th and all later ones: the process died, or the disk is gone.
    From(usize),
}

type Runner = dyn Fn(&Command) -> io::Result<Output> + Send + Sync;
type Answerer = dyn Fn(&Path, &[u8]) -> io::Result<Vec<u8>> + Send + Sync;
type Connected = dyn Fn(SocketAddr, Duration) + Send + Sync;
type Peer = dyn Fn(SocketAddr) -> io::Result<Vec<u8>> + Send + Sync;

/// All of the node that changes.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<PathBuf, FakeFile>,
    pub dirs: BTreeMap<PathBuf, u32>,
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// `verb path`, in order.
    pub effects: Vec<String>,
    pub fail: Fail,
    pub clock: Duration,
    /// When somebody ends this process.
    pub ends: Option<Duration>,
    /// Peers that close every connection of this moment, which the next pause notices; and those that always do.
    pub hung_up: BTreeSet<SocketAddr>,
    pub hangs_up: BTreeSet<SocketAddr>,
    pub taken: BTreeMap<SocketAddr, io::ErrorKind>,
    locked: BTreeSet<PathBuf>,
}

/// The node. Programs and sockets answer by the given functions.
pub struct FakeSystem {
    state: Arc<Mutex<State>>,
    pub runs: Box<Runner>,
    pub answers: Box<Answerer>,
    /// What a TCP peer says to whatever it is asked.
    pub peers: Box<Peer>,
    /// Done before that, with the time that the caller has: somewhere to wait.
    pub connects: Box<Connected>,
}

impl Default for FakeSystem {
    fn default() -> Self {
        let state = State { dirs: BTreeMap::from([(PathBuf::from("/"), 0o755)]), ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            runs: Box::new(|c| Err(absent(Path::new(c.argv.first().map_or("", String::as_str))))),
            answers: Box::new(|path, _| Err(absent(path))),
            connects: Box::new(|_, _| {}),
            peers: Box::new(|_| Err(io::ErrorKind::ConnectionRefused.into())),
        }
    }
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} (fake)", path.display()))
}

impl FakeSystem {
    /// What the node is, to be looked at and changed by a test.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a file there, with its directories, as no effect.
    pub fn put(&self, path: &str, file: FakeFile) {
        let mut state = self.state();
        for dir in Path::new(path).ancestors().skip(1) {
            state.dirs.entry(dir.to_owned()).or_insert(0o755);
        }
        state.files.insert(path.into(), file);
    }

    /// Notes an effect, or fails it.
    fn effect(&self, verb: &str, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let text = format!("{verb} {}", path.display());
        state.effects.push(text.clone());
        let n = state.effects.len();
        let fails = match state.fail {
            Fail::Never => false,
            Fail::At(at) => n == at,
            Fail::From(from) => n >= from,
        };
        if fails { Err(io::Error::other(format!("refused: {text}"))) } else { Ok(state) }
    }

    /// An effect that is none of a file's: a daemon's, in a test.
    ///
    /// # Errors
    /// When it is this one's turn to fail.
    pub fn other_effect(&self, what: &str) -> io::Result<()> {
        self.effect(what, Path::new("")).map(drop)
    }
}

/// A connection whose peer has said all already.
struct Peered(io::Cursor<Vec<u8>>, SocketAddr);

impl io::Read for Peered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl io::Write for Peered {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Peered {
    fn set_timeout(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
    fn peer(&self) -> Option<SocketAddr> {
        Some(self.1)
    }
}

struct Held {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).locked.remove(&self.path);
    }
}

impl State {
    fn file(&self, path: &Path) -> io::Result<&FakeFile> {
        self.files.get(path).ok_or_else(|| absent(path))
    }

    fn insert(&mut self, path: &Path, file: FakeFile) -> io::Result<()> {
        let parent = path.parent().unwrap_or(path);
        if !self.dirs.contains_key(parent) {
            return Err(absent(parent));
        }
        if self.files.contains_key(path) || self.dirs.contains_key(path) || self.links.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.files.insert(path.to_owned(), file);
        Ok(())
    }
}

impl System for FakeSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state().file(path)?.bytes.clone())
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.state();
        let plain = |kind, mode| Stat { kind, mode, uid: 0, gid: 0, size: 0 };
        if let Some(file) = state.files.get(path) {
            let (uid, gid) = file.owner;
            let size = u64::try_from(file.bytes.len()).unwrap_or(u64::MAX);
            return Ok(Some(Stat { kind: Kind::File, mode: file.mode, uid, gid, size }));
        }
        if state.links.contains_key(path) {
            return Ok(Some(plain(Kind::Symlink, 0o777)));
        }
        Ok(state.dirs.get(path).map(|mode| plain(Kind::Directory, *mode)))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let all = state.files.keys().chain(state.dirs.keys()).chain(state.links.keys());
        let mut names: Vec<_> = all
            .filter(|p| p.parent() == Some(dir))
            .filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }
    fn create(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let file = FakeFile { bytes: bytes.to_vec(), mode, owner, attributes: BTreeMap::new() };
        self.effect("create", path)?.insert(path, file)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.effect("copy", to)?;
        let file = state.file(from)?.clone();
        state.insert(to, file)
    }
    fn copy_attributes(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.effect("attributes", to)?;
        let attributes = state.file(from)?.attributes.clone();
        let file = state.files.get_mut(to).ok_or_else(|| absent(to))?;
        file.attributes = attributes;
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.effect("rename", to)?;
        if let Some(file) = state.files.remove(from) {
            state.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !state.dirs.contains_key(from) {
            return Err(absent(from));
        }
        let moved =
            |p: &Path| p.strip_prefix(from).map(|rest| to.join(rest)).unwrap_or_else(|_| p.to_owned());
        // Joining nothing would add a slash, which compares equal: harmless.
        state.files = std::mem::take(&mut state.files).into_iter().map(|(p, f)| (moved(&p), f)).collect();
        state.dirs = std::mem::take(&mut state.dirs).into_iter().map(|(p, m)| (moved(&p), m)).collect();
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.effect("remove", path)?.files.remove(path).map(drop).ok_or_else(|| absent(path))
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.effect("mkdir", path)?;
        for dir in path.ancestors() {
            if state.files.contains_key(dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.dirs.entry(dir.to_owned()).or_insert(mode);
        }
        Ok(())
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.effect("rmdir", path)?;
        state.files.retain(|p, _| !p.starts_with(path));
        state.dirs.retain(|p, _| !p.starts_with(path));
        Ok(())
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.state().links.get(path).cloned().ok_or_else(|| absent(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let state = self.effect("sync", path)?;
        if state.dirs.contains_key(path) { Ok(()) } else { Err(absent(path)) }
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        if !state.locked.insert(path.to_owned()) {
            state.clock = state.clock.saturating_add(wait);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "held by process 1 (fake)"));
        }
        Ok(Box::new(Held { path: path.to_owned(), state: Arc::clone(&self.state) }))
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        drop(self.effect("run", Path::new(&command.argv.join(" ")))?);
        (self.runs)(command)
    }
    fn find(&self, program: &str) -> Option<PathBuf> {
        Some(Path::new("/usr/sbin").join(program))
    }
    fn signal(&self, pid: u32, signal: Signal) -> io::Result<()> {
        self.other_effect(&format!("signal {pid} {signal:?}"))
    }

    fn connect(&self, addr: SocketAddr, wait: Duration) -> io::Result<Box<dyn Stream>> {
        (self.connects)(addr, wait);
        Ok(Box::new(Peered(io::Cursor::new((self.peers)(addr)?), addr)))
    }
    fn ask_unix(&self, path: &Path, request: &[u8], _: Duration) -> io::Result<Vec<u8>> {
        (self.answers)(path, request)
    }
    fn try_bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.state().taken.get(&addr).map_or(Ok(()), |kind| Err((*kind).into()))
    }
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        Ok(vec![("lo".to_owned(), IpAddr::from([127, 0, 0, 1]))])
    }
    fn hostname(&self) -> io::Result<String> {
        Ok("fake".to_owned())
    }
    fn resolve(&self, name: &str, _: Duration) -> io::Result<Vec<IpAddr>> {
        name.parse().map(|a| vec![a]).map_err(|_| absent(Path::new(name)))
    }
    fn user(&self, name: &str) -> Option<u32> {
        self.group(name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        match name {
            "root" => Some(0),
            "haproxy" => Some(99),
            _ => None,
        }
    }

    fn now(&self) -> Duration {
        self.state().clock
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    fn sleep(&self, time: Duration) {
        let mut state = self.state();
        state.clock = state.clock.saturating_add(time);
    }
    fn pause_on(&self, time: Duration, wires: &[&dyn Stream]) -> Woken {
        self.sleep(time);
        let mut state = self.state();
        let gone = |peer: SocketAddr| state.hung_up.contains(&peer) || state.hangs_up.contains(&peer);
        let here = |wire: &&dyn Stream| wire.peer().is_some_and(gone);
        let spoke = wires.iter().enumerate().filter(|(_, w)| here(w)).map(|(n, _)| n).collect();
        state.hung_up.clear();
        Woken { signalled: state.ends.is_some_and(|at| state.clock >= at), spoke }
    }
}
