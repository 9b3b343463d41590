//! The process is really killed, with SIGKILL, before every effect of a transaction on real files: the tree is then
//! the old or the new set to the last attribute, and the next run completes to the new one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use pgsvc::error::{Error, Errors};
use pgsvc::host::real::RealSystem;
use pgsvc::host::{Command, Lock, Output, Signal, Stat, Stream, System};
use pgsvc::plan::{Action, FileChange, InstalledFile, Plan, RenderedFile};
use pgsvc::transaction::{Daemon, Proof, Recovered, Serving, Transaction, recover};

const STATE: &str = "/var/lib/pgsvc";
const CFG: &str = "/etc/haproxy/haproxy.cfg";
const GONE: &str = "/etc/haproxy/conf.d/gone.cfg";
const NEW: &str = "/etc/haproxy/conf.d/new.cfg";
const DROPIN: &str = "/etc/systemd/system/haproxy.service.d/pgsvc.conf";
const FOREIGN: &str = "/etc/haproxy/conf.d/foreign.cfg";

/// The real node, until the n-th effect.
struct Mortal {
    real: RealSystem,
    dies_at: usize,
    effects: AtomicUsize,
}

impl Mortal {
    fn effect(&self) {
        if self.effects.fetch_add(1, Ordering::SeqCst) + 1 == self.dies_at {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl System for Mortal {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.real.read(path)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.real.stat(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }
    fn create(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        self.effect();
        self.real.create(path, bytes, mode, owner)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.effect();
        self.real.copy(from, to)
    }
    fn copy_attributes(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.effect();
        self.real.copy_attributes(from, to)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.effect();
        self.real.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.effect();
        self.real.remove_file(path)
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.effect();
        self.real.create_dir(path, mode)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.effect();
        self.real.remove_dir_all(path)
    }
    fn whoami(&self) -> (u32, u32) {
        self.real.whoami()
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.effect();
        self.real.sync_dir(path)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>> {
        self.effect();
        self.real.lock(path, wait)
    }
    fn run(&self, command: &Command) -> io::Result<Output> {
        self.real.run(command)
    }
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.real.find(program)
    }
    fn signal(&self, pid: u32, signal: Signal) -> io::Result<()> {
        self.real.signal(pid, signal)
    }
    fn connect(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        self.real.connect(addr, timeout)
    }
    fn ask_unix(&self, path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        self.real.ask_unix(path, request, timeout)
    }
    fn try_bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.real.try_bind(addr)
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
        self.real.now()
    }
    fn wall(&self) -> SystemTime {
        self.real.wall()
    }
    fn sleep(&self, time: Duration) {
        self.real.sleep(time);
    }
}

/// A daemon whose reload is an effect, and whose unit runs the recovery within it, as ExecReload does.
struct Unit<'a> {
    sys: &'a Mortal,
    fails: bool,
}

impl Unit<'_> {
    fn reload(&self) {
        self.sys.effect();
        let within = recover(&self.sys.real, Path::new(STATE), Duration::from_secs(1));
        assert_eq!(within, Ok(Recovered::Busy), "the recovery within a live apply does nothing");
    }
}

impl Daemon for Unit<'_> {
    fn check(&self, staged: &Path) -> Result<(), Error> {
        assert_eq!(self.sys.read(&staged.join("etc/haproxy/haproxy.cfg")).unwrap(), b"global new\n");
        Ok(())
    }
    fn precheck(&self, _: &Plan) -> Result<(), Errors> {
        Ok(())
    }
    fn serving(&self) -> Result<Serving, Error> {
        Ok(Serving::default())
    }
    fn activate(&self, _: &Plan) -> Result<Proof, Error> {
        self.reload();
        if self.fails { Err(Error::new("haproxy", "does not come up")) } else { Ok(Proof::default()) }
    }
    fn revert(&self, _: &Plan, _: &Serving) -> Result<(), Error> {
        self.reload();
        Ok(())
    }
}

/// Everything below a root but pgsvc's own: kind, bytes, mode, owner, attributes.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.join("etc")];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            text += &format!(" {:?}", String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
        for name in xattr::list(&path).unwrap() {
            text += &format!(" {name:?}={:?}", xattr::get(&path, &name).unwrap());
        }
        all.insert(path.strip_prefix(root).unwrap().to_owned(), text);
    }
    all
}

/// A root with the old set; owners differ where the test may set them.
fn old_root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path.trim_start_matches('/'));
    std::fs::create_dir_all(at("/etc/haproxy/conf.d")).unwrap();
    std::fs::create_dir_all(at("/etc/systemd/system")).unwrap();
    for (path, text, mode, owner) in [
        (CFG, "global old\n", 0o640, 7),
        (GONE, "listen gone\n", 0o600, 8),
        (FOREIGN, "listen foreign\n", 0o644, 9),
    ] {
        std::fs::write(at(path), text).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(at(path), Some(owner), Some(owner + 10)).unwrap();
        }
        std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).unwrap();
        xattr::set(at(path), "user.label", path.as_bytes()).unwrap();
    }
    dir
}

fn plan(sys: &dyn System) -> Plan {
    let (uid, gid) = sys.whoami();
    let change = |path: &str, after: Option<&str>| {
        let before = sys.stat(Path::new(path)).unwrap().map(|stat| {
            let content = sys.read(Path::new(path)).unwrap();
            InstalledFile { content: content.into(), mode: stat.mode, uid: stat.uid, gid: stat.gid }
        });
        let rendered = |content: &str| RenderedFile {
            path: path.into(),
            content: content.into(),
            mode: 0o640,
            owner: (uid.to_string(), gid.to_string()),
            cluster: None,
        };
        FileChange { path: path.into(), before, after: after.map(rendered) }
    };
    let all = [
        change(GONE, None),
        change(NEW, Some("listen new\n")),
        change(CFG, Some("global new\n")),
        change(DROPIN, Some("[Service]\n")),
    ];
    let same = |c: &FileChange| {
        c.before.as_ref().map(|b| &b.content[..]) == c.after.as_ref().map(|a| a.content.as_bytes())
    };
    Plan {
        changes: all.into_iter().filter(|c| !same(c)).collect(),
        action: Action::Reload,
        reason: String::new(),
        hash: "new".into(),
        whole: None,
        candidate: BTreeMap::from([
            (CFG.into(), b"global new\n".to_vec().into()),
            (NEW.into(), b"listen new\n".to_vec().into()),
            (FOREIGN.into(), b"listen foreign\n".to_vec().into()),
        ]),
        new_binds: Vec::new(),
        nonlocal_binds: false,
        commands: Vec::new(),
        hands: Vec::new(),
        daemon_reload: false,
    }
}

/// One run as a process would make it; answers the number of effects.
fn apply(root: &Path, dies_at: usize, fails: bool) -> usize {
    let sys = Mortal { real: RealSystem::new(Some(root.to_owned())), dies_at, effects: AtomicUsize::new(0) };
    let tx = Transaction::begin(&sys, Path::new(STATE), Duration::from_secs(1)).unwrap();
    let plan = plan(&sys);
    match tx.install(&Unit { sys: &sys, fails }, &plan) {
        Ok(installed) => installed.keep().unwrap(),
        Err(failure) => assert!(fails && failure.rolled_back.is_ok(), "{failure}"),
    }
    sys.effects.load(Ordering::SeqCst)
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(root) = std::env::var("PGSVC_TEST_ROOT") else { return };
    let dies_at = std::env::var("PGSVC_TEST_DIES_AT").unwrap().parse().unwrap();
    apply(Path::new(&root), dies_at, std::env::var("PGSVC_TEST_FAILS").is_ok());
}

fn killed(root: &Path, dies_at: usize, fails: bool) {
    use std::os::unix::process::ExitStatusExt;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child"]).env("PGSVC_TEST_ROOT", root);
    command.env("PGSVC_TEST_DIES_AT", dies_at.to_string());
    if fails {
        command.env("PGSVC_TEST_FAILS", "1");
    }
    let out = command.output().unwrap();
    assert_eq!(out.status.signal(), Some(9), "{dies_at}: {}", String::from_utf8_lossy(&out.stdout));
}

/// The set after an undisturbed run, and its effects.
fn new_set(fails: bool) -> (BTreeMap<PathBuf, String>, usize) {
    let root = old_root();
    let effects = apply(root.path(), usize::MAX, fails);
    (tree(root.path()), effects)
}

fn own_files(root: &Path) -> Vec<String> {
    RealSystem::new(Some(root.to_owned())).list(Path::new(STATE)).unwrap()
}

fn kill_everywhere(fails: bool) {
    let (new, _) = new_set(false);
    let old = tree(old_root().path());
    let (_, effects) = new_set(fails);
    let mut outcomes = BTreeMap::from([("old", 0), ("new", 0)]);
    for n in 1..=effects {
        let root = old_root();
        killed(root.path(), n, fails);
        let sys = RealSystem::new(Some(root.path().to_owned()));
        let recovered = recover(&sys, Path::new(STATE), Duration::ZERO).unwrap();
        let now = tree(root.path());
        let outcome = if now == old { "old" } else { "new" };
        assert!(now == old || now == new, "killed before effect {n}, {recovered:?}: {now:#?}");
        *outcomes.get_mut(outcome).unwrap() += 1;
        assert!(own_files(root.path()).iter().all(|f| f == "lock" || f == "previous"), "{n}");
        // The next run, whatever was left to it, completes.
        apply(root.path(), usize::MAX, false);
        assert_eq!(tree(root.path()), new, "after being killed before effect {n}");
    }
    assert!(outcomes["old"] > 20, "{outcomes:?}");
    assert_eq!(outcomes["new"] > 0, !fails, "{outcomes:?}");
}

#[test]
fn killed_before_every_effect_the_old_or_the_new_set_is_there() {
    kill_everywhere(false);
}

#[test]
fn killed_before_every_effect_of_a_rollback_the_old_set_is_there() {
    kill_everywhere(true);
}

#[test]
fn the_new_set_carries_the_attributes_of_what_it_replaced() {
    let (new, _) = new_set(false);
    assert!(new[Path::new("etc/haproxy/haproxy.cfg")].contains("user.label"), "{new:#?}");
    assert!(!new.contains_key(Path::new("etc/haproxy/conf.d/gone.cfg")));
}

#[test]
fn a_run_that_recovers_by_itself_completes_too() {
    let (new, effects) = new_set(false);
    for n in (1..=effects).step_by(7) {
        let root = old_root();
        killed(root.path(), n, false);
        apply(root.path(), usize::MAX, false);
        assert_eq!(tree(root.path()), new, "{n}");
    }
}
