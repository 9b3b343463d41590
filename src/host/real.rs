//! The real node: std, nix and xattr behind [`System`]. No policy, and no NSS: the binary is static glibc, and
//! getpwnam or getaddrinfo would load the node's libraries into it.

mod files;
mod names;
mod process;
mod sockets;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{Command, Lock, Output, Signal, Stat, Stream, System, Woken};

/// The node this process runs on; files lie below `root` where one is given, everything else is the node's own.
#[derive(Debug)]
pub struct RealSystem {
    root: Option<PathBuf>,
    start: Instant,
}

impl RealSystem {
    /// The node itself, or an image of one below `root`.
    #[must_use]
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root, start: Instant::now() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        match &self.root {
            None => path.to_owned(),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// The number of a name in `/etc/passwd` or `/etc/group`.
    fn id(&self, database: &str, name: &str) -> Option<u32> {
        let file = self.at(&Path::new("/etc").join(database));
        if self.root.is_some() && !file.exists() {
            // A root without users is no system yet: what is put into it is root's.
            return Some(0);
        }
        names::id(&file, self.root.is_none().then_some(database), name)
    }
}

impl System for RealSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(self.at(path))
    }
    fn same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        files::same(&self.at(one), &self.at(other))
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        files::stat(&self.at(path))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        files::list(&self.at(dir))
    }
    fn create(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        files::create(&self.at(path), bytes, mode, owner)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::copy(&self.at(from), &self.at(to))
    }
    fn copy_attributes(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::copy_attributes(&self.at(from), &self.at(to))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(self.at(from), self.at(to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(self.at(path))
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        files::create_dir(&self.at(path), mode)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        files::remove_dir_all(&self.at(path))
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(self.at(path))
    }
    fn place(&self, path: &Path) -> PathBuf {
        self.at(path)
    }
    fn whoami(&self) -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        files::sync_dir(&self.at(path))
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>> {
        files::lock(&self.at(path), wait)
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        process::run(command)
    }
    fn find(&self, program: &str) -> Option<PathBuf> {
        process::find(program)
    }
    fn signal(&self, pid: u32, signal: Signal) -> io::Result<()> {
        process::signal(pid, signal)
    }

    fn connect(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        sockets::connect(addr, timeout)
    }
    fn ask_unix(&self, path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        sockets::ask_unix(&self.at(path), request, timeout)
    }
    fn try_bind(&self, addr: SocketAddr) -> io::Result<()> {
        sockets::try_bind(addr)
    }
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        sockets::interfaces()
    }
    fn hostname(&self) -> io::Result<String> {
        let name = nix::unistd::gethostname()?;
        name.into_string()
            .map_err(|n| io::Error::new(io::ErrorKind::InvalidData, format!("host name {n:?} is not UTF-8")))
    }
    fn resolve(&self, name: &str, timeout: Duration) -> io::Result<Vec<IpAddr>> {
        names::resolve(name, timeout)
    }
    fn user(&self, name: &str) -> Option<u32> {
        self.id("passwd", name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.id("group", name)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
    fn pause_on(&self, time: Duration, wires: &[&dyn Stream]) -> Woken {
        process::pause(time, wires).unwrap_or_else(|_| {
            std::thread::sleep(time);
            Woken::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_root_and_an_empty_root_has_only_roots() {
        let dir = tempfile::TempDir::new().unwrap();
        let sys = RealSystem::new(Some(dir.path().to_owned()));
        assert_eq!((sys.user("root"), sys.group("haproxy")), (Some(0), Some(0)));
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/group"), "root:x:0:\nhaproxy:x:99:\n").unwrap();
        assert_eq!((sys.group("haproxy"), sys.group("nobody")), (Some(99), None));
    }
}
