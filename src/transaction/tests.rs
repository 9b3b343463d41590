//! On the node in memory: what a transaction does, refuses and undoes.

mod faults;
mod generations;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::host::fake::{Fail, FakeFile, FakeSystem};
use crate::plan::{FileChange, InstalledFile, RenderedFile};

type Set = BTreeMap<PathBuf, FakeFile>;

const STATE: &str = "/var/lib/pgsvc";
const CFG: &str = "/etc/haproxy/haproxy.cfg";
const GONE: &str = "/etc/haproxy/conf.d/gone.cfg";
const NEW: &str = "/etc/haproxy/conf.d/new.cfg";
const DROPIN: &str = "/etc/systemd/system/haproxy.service.d/pgsvc.conf";
const FOREIGN: &str = "/etc/haproxy/conf.d/foreign.cfg";

fn file(text: &str, mode: u32, owner: (u32, u32), label: &str) -> FakeFile {
    let attributes = match label {
        "" => BTreeMap::new(),
        _ => BTreeMap::from([("security.selinux".to_owned(), label.as_bytes().to_vec())]),
    };
    FakeFile { bytes: text.into(), mode, owner, attributes }
}

/// A daemon that remembers which set it loaded.
#[derive(Default)]
struct Loader<'a> {
    sys: Option<&'a FakeSystem>,
    loaded: Mutex<Set>,
    refuses: Option<&'static str>,
}

impl Loader<'_> {
    fn load(&self, what: &str) -> Result<(), Error> {
        let sys = self.sys.unwrap();
        sys.other_effect(what).map_err(|e| Error::new("haproxy", e.to_string()))?;
        *self.loaded.lock().unwrap() = set(sys);
        if self.refuses == Some(what) {
            Err(Error::new("haproxy", format!("{what} refused")))
        } else {
            Ok(())
        }
    }
}

impl Daemon for Loader<'_> {
    fn check(&self, staged: &Path) -> Result<(), Error> {
        let sys = self.sys.unwrap();
        assert_eq!(sys.read(&staged.join("etc/haproxy/conf.d/new.cfg")).unwrap(), b"listen new\n");
        if self.refuses == Some("check") { Err(Error::new(CFG, "bad")) } else { Ok(()) }
    }
    fn precheck(&self, _: &Plan) -> Result<(), Errors> {
        if self.refuses == Some("precheck") { Err(Error::new("port 1", "taken").into()) } else { Ok(()) }
    }
    fn serving(&self) -> Result<Serving, Error> {
        Ok(Serving { running: true, pid: Some(1), hash: Some("old".into()) })
    }
    fn activate(&self, plan: &Plan) -> Result<Proof, Error> {
        self.load("activate")?;
        Ok(Proof { pid: Some(2), hash: plan.hash.clone(), ..Proof::default() })
    }
    fn revert(&self, _: &Plan, before: &Serving) -> Result<(), Error> {
        assert_eq!(before.hash.as_deref(), Some("old"));
        self.load("revert")
    }
}

/// The node's files but for pgsvc's own.
fn set(sys: &FakeSystem) -> Set {
    sys.state()
        .files
        .iter()
        .filter(|(p, _)| !p.starts_with(STATE))
        .map(|(p, f)| (p.clone(), f.clone()))
        .collect()
}

fn node() -> FakeSystem {
    let sys = FakeSystem::default();
    sys.put(CFG, file("global old\n", 0o640, (0, 7), "etc_t"));
    sys.put(GONE, file("listen gone\n", 0o600, (3, 4), "gone_t"));
    sys.put(FOREIGN, file("listen foreign\n", 0o644, (0, 0), "x_t"));
    sys
}

fn rendered(path: &str, content: &str) -> RenderedFile {
    let owner = ("root".to_owned(), "haproxy".to_owned());
    RenderedFile { path: path.into(), content: content.into(), mode: 0o644, owner, cluster: None }
}

fn plan(sys: &FakeSystem) -> Plan {
    let change = |path: &str, after: Option<&str>| FileChange {
        path: path.into(),
        before: sys.state().files.get(Path::new(path)).map(|f| InstalledFile {
            content: f.bytes.clone().into(),
            mode: f.mode,
            uid: f.owner.0,
            gid: f.owner.1,
        }),
        after: after.map(|content| rendered(path, content)),
    };
    Plan {
        changes: vec![
            change(GONE, None),
            change(NEW, Some("listen new\n")),
            change(CFG, Some("global new\n")),
            change(DROPIN, Some("[Service]\n")),
        ],
        action: Action::Reload,
        reason: String::new(),
        hash: "new".into(),
        whole: None,
        candidate: BTreeMap::from([
            (CFG.into(), b"global new\n".to_vec().into()),
            (FOREIGN.into(), b"listen foreign\n".to_vec().into()),
            (NEW.into(), b"listen new\n".to_vec().into()),
        ]),
        new_binds: Vec::new(),
        nonlocal_binds: false,
        commands: Vec::new(),
        hands: Vec::new(),
        daemon_reload: true,
    }
}

fn new_set() -> Set {
    BTreeMap::from([
        (CFG.into(), file("global new\n", 0o644, (0, 99), "etc_t")),
        (NEW.into(), file("listen new\n", 0o644, (0, 99), "")),
        (DROPIN.into(), file("[Service]\n", 0o644, (0, 99), "")),
        (FOREIGN.into(), file("listen foreign\n", 0o644, (0, 0), "x_t")),
    ])
}

fn begin(sys: &FakeSystem) -> Transaction<'_> {
    Transaction::begin(sys, Path::new(STATE), Duration::from_secs(1)).unwrap()
}

fn daemon(sys: &FakeSystem) -> Loader<'_> {
    Loader { sys: Some(sys), loaded: Mutex::new(set(sys)), refuses: None }
}

/// Installs and keeps; whether that went well.
fn apply(sys: &FakeSystem, daemon: &Loader<'_>, plan: &Plan) -> Result<(), Option<Failure>> {
    let tx = Transaction::begin(sys, Path::new(STATE), Duration::from_secs(1)).map_err(|_| None)?;
    tx.install(daemon, plan).map_err(Some)?.keep().map_err(|_| None)
}

fn nothing_left(sys: &FakeSystem) {
    let state = sys.state();
    let left: Vec<_> = state.files.keys().filter(|p| p.to_string_lossy().contains("/.pgsvc-")).collect();
    assert!(left.is_empty(), "{left:?}");
    for path in state.dirs.keys().chain(state.files.keys()) {
        assert!(
            !path.starts_with("/var/lib/pgsvc/tx") && !path.starts_with("/var/lib/pgsvc/stage"),
            "{path:?}"
        );
    }
}

#[test]
fn a_plan_is_installed_proven_and_the_old_set_kept() {
    let sys = node();
    let (old, plan) = (set(&sys), plan(&sys));
    let loader = daemon(&sys);
    apply(&sys, &loader, &plan).unwrap();
    assert_eq!(set(&sys), new_set());
    assert_eq!(*loader.loaded.lock().unwrap(), new_set());
    nothing_left(&sys);
    assert_eq!(sys.state().dirs.get(Path::new("/var/lib/pgsvc/previous")), Some(&0o700));
    // And back: the previous generation is a plan like any other.
    let changes = previous(&sys, Path::new(STATE)).unwrap().unwrap();
    assert_eq!(changes.len(), 4);
    apply(&sys, &loader, &Plan { changes, candidate: BTreeMap::new(), ..plan }).unwrap();
    let bytes = |set: Set| set.into_iter().map(|(p, f)| (p, f.bytes, f.mode, f.owner)).collect::<Vec<_>>();
    assert_eq!(bytes(set(&sys)), bytes(old));
}

#[test]
fn a_failed_verification_undoes_everything() {
    let sys = node();
    let (old, plan) = (set(&sys), plan(&sys));
    let loader = daemon(&sys);
    let tx = begin(&sys);
    let installed = tx.install(&loader, &plan).unwrap();
    assert_eq!(set(&sys), new_set());
    installed.undo(&loader).unwrap();
    assert_eq!(set(&sys), old);
    assert_eq!(*loader.loaded.lock().unwrap(), old);
    assert!(!sys.state().dirs.contains_key(Path::new("/etc/systemd/system/haproxy.service.d")));
    nothing_left(&sys);
}

#[test]
fn what_is_refused_beforehand_touches_nothing() {
    for refuses in ["check", "precheck"] {
        let sys = node();
        let (old, plan) = (set(&sys), plan(&sys));
        let loader = Loader { refuses: Some(refuses), ..daemon(&sys) };
        let failure = begin(&sys).install(&loader, &plan).err().unwrap();
        assert!(!failure.touched && failure.rolled_back.is_ok(), "{failure}");
        assert!(failure.to_string().contains("nothing was changed"));
        assert_eq!(set(&sys), old);
        nothing_left(&sys);
    }
}

#[test]
fn a_refused_activation_restores_and_reverts_and_says_both() {
    let sys = node();
    let (old, plan) = (set(&sys), plan(&sys));
    let loader = Loader { refuses: Some("activate"), ..daemon(&sys) };
    let failure = begin(&sys).install(&loader, &plan).err().unwrap();
    assert!(failure.touched && failure.rolled_back.is_ok());
    assert_eq!(failure.to_string(), "haproxy: activate refused\nthe old configuration is back and serves");
    assert_eq!((set(&sys), loader.loaded.lock().unwrap().clone()), (old.clone(), old));
    nothing_left(&sys);
}

#[test]
fn changes_by_others_since_the_plan_are_refused() {
    for path in [CFG, GONE, NEW, FOREIGN] {
        let sys = node();
        let plan = plan(&sys);
        sys.put(path, file("by hand\n", 0o644, (0, 0), ""));
        let failure = begin(&sys).install(&daemon(&sys), &plan).err().unwrap();
        assert!(failure.error.to_string().contains(&format!("{path}: was changed since")), "{failure}");
        nothing_left(&sys);
    }
    let sys = node();
    let plan = plan(&sys);
    sys.state().dirs.remove(Path::new("/etc/haproxy/conf.d"));
    sys.state().links.insert("/etc/haproxy/conf.d".into(), "/tmp".into());
    let failure = begin(&sys).install(&daemon(&sys), &plan).err().unwrap();
    assert!(failure.error.to_string().contains("/etc/haproxy/conf.d: is a symbolic link"), "{failure}");
}

#[test]
fn one_run_at_a_time_and_a_start_within_a_run_touches_nothing() {
    let sys = node();
    let plan = plan(&sys);
    let tx = begin(&sys);
    let e = Transaction::begin(&sys, Path::new(STATE), Duration::from_secs(7)).err().unwrap();
    assert!(e.to_string().contains("another run is at work") && e.to_string().contains("process 1"), "{e}");
    let installed = tx.install(&daemon(&sys), &plan).unwrap();
    assert_eq!(recover(&sys, Path::new(STATE), Duration::from_secs(1)).unwrap(), Recovered::Busy);
    assert_eq!(set(&sys), new_set());
    installed.keep().unwrap();
    drop(tx);
    assert_eq!(recover(&sys, Path::new(STATE), Duration::ZERO).unwrap(), Recovered::Nothing);
    assert_eq!(recover(&sys, Path::new("/var/lib/none"), Duration::ZERO).unwrap(), Recovered::Nothing);
}

#[test]
fn a_start_waits_while_a_live_run_has_mixed_files() {
    let sys = node();
    let plan = plan(&sys);
    let tx = begin(&sys);
    let mut journal = Journal::of(&sys, &plan, false).unwrap();
    sys.create_dir(Path::new("/var/lib/pgsvc/tx"), 0o700).unwrap();
    journal.enter(&sys, &tx.layout, Phase::Swap).unwrap();
    let e = recover(&sys, Path::new(STATE), Duration::from_secs(1)).unwrap_err();
    assert!(e.to_string().contains("in the middle of swapping"), "{e}");
    assert!(sys.now() >= Duration::from_secs(1));
}
