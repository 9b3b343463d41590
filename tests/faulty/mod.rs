//! The real node with a hand in every effect: a test counts, refuses, cuts short, records, or kills. What holds
//! afterwards is asserted by the tests; nothing here may decide it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// A test for each kind of run, by its scene's name, and one that no kind is left out.
#[allow(unused_macros)]
macro_rules! scenes {
    ($run:ident; $($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            $run(Scene::all().into_iter().find(|s| s.name == $name).unwrap());
        })*

        #[test]
        fn every_kind_of_run_is_tried() {
            let tried = [$($name),*];
            assert_eq!(Scene::all().iter().map(|s| s.name).collect::<Vec<_>>(), tried);
        }
    };
}

pub mod case;
pub mod disk;
pub mod hand;
pub mod haproxy;
pub mod scene;
pub mod truth;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pgsvc::host::real::RealSystem;
use pgsvc::host::{Command, Lock, Output, Signal, Stat, Stream, System};

/// One call of the one door, before it is made.
#[derive(Debug, Clone, Copy)]
pub enum Effect<'e> {
    Read(&'e Path),
    Stat(&'e Path),
    List(&'e Path),
    Create {
        path: &'e Path,
        bytes: &'e [u8],
        mode: u32,
        owner: (u32, u32),
    },
    Copy {
        from: &'e Path,
        to: &'e Path,
    },
    Attributes {
        from: &'e Path,
        to: &'e Path,
    },
    Rename {
        from: &'e Path,
        to: &'e Path,
    },
    Remove(&'e Path),
    MakeDir {
        path: &'e Path,
        mode: u32,
    },
    RemoveDir(&'e Path),
    SyncDir(&'e Path),
    Lock(&'e Path),
    Run(&'e Command),
    Signal(u32),
    Socket(&'e Path, &'e [u8]),
    Bind(SocketAddr),
    /// The monotonic clock is read.
    Clock,
    /// What a test's own daemon does.
    Daemon(&'e str),
}

impl Effect<'_> {
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Stat(_) => "stat",
            Self::List(_) => "list",
            Self::Create { .. } => "create",
            Self::Copy { .. } => "copy",
            Self::Attributes { .. } => "attributes",
            Self::Rename { .. } => "rename",
            Self::Remove(_) => "remove",
            Self::MakeDir { .. } => "mkdir",
            Self::RemoveDir(_) => "rmdir",
            Self::SyncDir(_) => "sync",
            Self::Lock(_) => "lock",
            Self::Run(_) => "run",
            Self::Signal(_) => "signal",
            Self::Socket(..) => "socket",
            Self::Bind(_) => "bind",
            Self::Clock => "clock",
            Self::Daemon(_) => "daemon",
        }
    }

    /// For a message: the verb and what it is about.
    pub fn text(&self) -> String {
        let about = match self {
            Self::Read(p) | Self::Stat(p) | Self::List(p) | Self::Remove(p) | Self::RemoveDir(p) => {
                p.display().to_string()
            }
            Self::SyncDir(p) | Self::Lock(p) => p.display().to_string(),
            Self::Create { path, .. } | Self::MakeDir { path, .. } => path.display().to_string(),
            Self::Copy { to, .. } | Self::Attributes { to, .. } | Self::Rename { to, .. } => {
                to.display().to_string()
            }
            Self::Run(c) => c.argv.join(" "),
            Self::Signal(pid) => pid.to_string(),
            Self::Socket(p, said) => format!("{} '{}'", p.display(), String::from_utf8_lossy(said).trim()),
            Self::Bind(addr) => addr.to_string(),
            Self::Clock => String::new(),
            Self::Daemon(what) => (*what).to_owned(),
        };
        format!("{} {about}", self.verb())
    }

    /// Whether it leaves something on the disk.
    pub fn writes(&self) -> bool {
        matches!(
            self.verb(),
            "create" | "copy" | "attributes" | "rename" | "remove" | "mkdir" | "rmdir" | "sync"
        )
    }
}

/// What becomes of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Goes,
    /// Refused, nothing was done.
    Fails(i32),
    /// Refused when a part of it was done: a file has half of its bytes, a directory half of its entries.
    Half(i32),
    /// Done, and an error all the same: of a late sync, or of an answer that is lost.
    After(i32),
}

/// Who decides.
pub trait Hand: Sync {
    fn turn(&self, effect: &Effect<'_>) -> Turn;
    /// An effect on files was done, or not.
    fn done(&self, _: &Effect<'_>, _: &io::Result<()>) {}
    /// Programs, where the test has its own.
    fn run(&self, real: &RealSystem, command: &Command) -> io::Result<Output> {
        real.run(command)
    }
    fn signal(&self, real: &RealSystem, pid: u32, signal: Signal) -> io::Result<()> {
        real.signal(pid, signal)
    }
    fn socket(&self, real: &RealSystem, path: &Path, said: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        real.ask_unix(path, said, timeout)
    }
    fn connect(&self, real: &RealSystem, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        real.connect(addr, timeout)
    }
    fn bind(&self, real: &RealSystem, addr: SocketAddr) -> io::Result<()> {
        real.try_bind(addr)
    }
    fn find(&self, real: &RealSystem, program: &str) -> Option<PathBuf> {
        real.find(program)
    }
    fn now(&self, real: &RealSystem) -> Duration {
        real.now()
    }
    fn wall(&self, real: &RealSystem) -> SystemTime {
        real.wall()
    }
    fn sleep(&self, real: &RealSystem, time: Duration) {
        real.sleep(time);
    }
}

/// The node of a test: real files, and the hand in every effect on them.
pub struct Through<H> {
    pub real: RealSystem,
    pub hand: H,
}

impl<H: Hand> Through<H> {
    pub fn new(root: &Path, hand: H) -> Self {
        Self { real: RealSystem::new(Some(root.to_owned())), hand }
    }

    /// An effect that is a test's daemon's own.
    pub fn daemon(&self, what: &str) -> io::Result<()> {
        self.pass(&Effect::Daemon(what), || Ok(()), || ())
    }

    fn pass<T>(
        &self,
        effect: &Effect<'_>,
        whole: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce(),
    ) -> io::Result<T> {
        let error = io::Error::from_raw_os_error;
        match self.hand.turn(effect) {
            Turn::Goes => whole(),
            Turn::Fails(errno) => Err(error(errno)),
            Turn::Half(errno) => {
                half();
                Err(error(errno))
            }
            Turn::After(errno) => whole().and_then(|_| Err(error(errno))),
        }
    }

    /// An effect on files.
    fn file(
        &self,
        effect: Effect<'_>,
        whole: impl Fn() -> io::Result<()>,
        half: impl FnOnce(),
    ) -> io::Result<()> {
        let done = || {
            let result = whole();
            self.hand.done(&effect, &result);
            result
        };
        self.pass(&effect, done, half)
    }

    /// Half of a file's bytes, as a write leaves them that meets a full disk and whose file cannot be removed again.
    fn cut(&self, path: &Path, bytes: &[u8]) {
        let new =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.real.place(path));
        let _ = new.and_then(|mut file| file.write_all(&bytes[..bytes.len() / 2]));
    }

    /// Half of a directory's entries, the first ones.
    fn thin(&self, path: &Path) {
        let names = self.real.list(path).unwrap_or_default();
        for name in &names[..names.len().div_ceil(2)] {
            let path = path.join(name);
            let _ = self.real.remove_file(&path).or_else(|_| self.real.remove_dir_all(&path));
        }
    }
}

fn nothing() {}

impl<H: Hand> System for Through<H> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.pass(&Effect::Read(path), || self.real.read(path), nothing)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.pass(&Effect::Stat(path), || self.real.stat(path), nothing)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.pass(&Effect::List(dir), || self.real.list(dir), nothing)
    }
    fn create(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let effect = Effect::Create { path, bytes, mode, owner };
        self.file(effect, || self.real.create(path, bytes, mode, owner), || self.cut(path, bytes))
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let half = || self.cut(to, &self.real.read(from).unwrap_or_default());
        self.file(Effect::Copy { from, to }, || self.real.copy(from, to), half)
    }
    fn copy_attributes(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.file(Effect::Attributes { from, to }, || self.real.copy_attributes(from, to), nothing)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.file(Effect::Rename { from, to }, || self.real.rename(from, to), nothing)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.file(Effect::Remove(path), || self.real.remove_file(path), nothing)
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let half = || drop(path.parent().map(|parent| self.real.create_dir(parent, mode)));
        self.file(Effect::MakeDir { path, mode }, || self.real.create_dir(path, mode), half)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.file(Effect::RemoveDir(path), || self.real.remove_dir_all(path), || self.thin(path))
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.real.read_link(path)
    }
    fn place(&self, path: &Path) -> PathBuf {
        self.real.place(path)
    }
    fn whoami(&self) -> (u32, u32) {
        self.real.whoami()
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.file(Effect::SyncDir(path), || self.real.sync_dir(path), nothing)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>> {
        self.pass(&Effect::Lock(path), || self.real.lock(path, wait), nothing)
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        self.pass(&Effect::Run(command), || self.hand.run(&self.real, command), nothing)
    }
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.hand.find(&self.real, program)
    }
    fn signal(&self, pid: u32, signal: Signal) -> io::Result<()> {
        self.pass(&Effect::Signal(pid), || self.hand.signal(&self.real, pid, signal), nothing)
    }

    fn connect(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        self.hand.connect(&self.real, addr, timeout)
    }
    fn ask_unix(&self, path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        let asked = || self.hand.socket(&self.real, path, request, timeout);
        self.pass(&Effect::Socket(path, request), asked, nothing)
    }
    fn try_bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.pass(&Effect::Bind(addr), || self.hand.bind(&self.real, addr), nothing)
    }
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        self.real.interfaces()
    }
    fn hostname(&self) -> io::Result<String> {
        self.real.hostname()
    }
    fn resolve(&self, name: &str, timeout: Duration) -> io::Result<Vec<IpAddr>> {
        self.real.resolve(name, timeout)
    }
    fn user(&self, name: &str) -> Option<u32> {
        self.real.user(name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.real.group(name)
    }

    fn now(&self) -> Duration {
        let _ = self.hand.turn(&Effect::Clock);
        self.hand.now(&self.real)
    }
    fn wall(&self) -> SystemTime {
        self.hand.wall(&self.real)
    }
    fn sleep(&self, time: Duration) {
        self.hand.sleep(&self.real, time);
    }
}
