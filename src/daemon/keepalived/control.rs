//! Reload, restart, start and stop, and the proof that all of keepalived's processes have the new configuration. A zero
//! exit code proves nothing: `systemctl reload` succeeds for garbage, which kills keepalived a moment later. What to do
//! is decided by the plan.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::dump::Dump;
use super::{Keepalived, content, process};
use crate::daemon::systemd;
use crate::error::Error;
use crate::host::{self, Signal};
use crate::plan::{Action, Files, Plan};
use crate::transaction::{Proof, Serving};

const POLL: Duration = Duration::from_millis(25);
/// keepalived forks and returns.
const START: Duration = Duration::from_secs(30);
/// How long the processes may take to write what they were asked for.
const ANSWER: Duration = Duration::from_millis(500);
/// A process that cannot do its work (no IPVS, an interface that is gone) ends within this time.
const SETTLE: Duration = Duration::from_millis(300);
/// How long no master may be there before that is an answer.
const DEAD: Duration = Duration::from_secs(1);

/// The master's, VRRP's, the checkers' and BFD's (keepalived.conf(5), "data_use_instance").
const PARENT: &str = "keepalived_parent.data";
const VRRP: &str = "keepalived.data";
const CHECKERS: &str = "keepalived_check.data";
const DUMPS: [&str; 4] = [PARENT, VRRP, CHECKERS, "keepalived_bfd.data"];

/// What every process of a keepalived said of its configuration.
pub(super) struct Said {
    parts: BTreeMap<&'static str, Dump>,
    children: usize,
}

impl Said {
    /// The configuration's name, if it is one that all processes have.
    pub(super) fn hash(&self) -> Result<&str, String> {
        if self.parts.len() != self.children.saturating_add(1) || !self.parts.contains_key(PARENT) {
            let n = self.parts.len();
            return Err(format!(
                "{n} of its {} processes say what they run",
                self.children.saturating_add(1)
            ));
        }
        let mut ids = self.parts.values().map(|d| d.router_id.as_deref().unwrap_or_default());
        let first = ids.next().unwrap_or_default();
        match ids.find(|id| *id != first) {
            Some(other) => Err(format!("its processes run different configurations ('{first}', '{other}')")),
            None => Ok(first),
        }
    }

    pub(super) fn vrrp(&self) -> Option<&Dump> {
        self.parts.get(VRRP).filter(|d| d.is_whole)
    }

    /// Whether the processes that the files need are there, with the instances that the files name.
    fn carries(&self, files: &Files) -> Result<(), String> {
        let wanted = content::managed(files);
        if !wanted.virtual_servers.is_empty() && !self.parts.contains_key(CHECKERS) {
            return Err("no process of it balances connections (IPVS)".into());
        }
        let has = |name: &String| self.vrrp().is_some_and(|d| d.instances.iter().any(|i| i.name == *name));
        match wanted.instances.iter().find(|name| !has(name)) {
            Some(name) => Err(format!("it does not have the VRRP instance {name}")),
            None => Ok(()),
        }
    }
}

/// What a proof must show.
#[derive(Clone, Copy)]
enum Want<'p> {
    /// This configuration, in all processes.
    Planned(&'p Plan),
    /// Any but this one; a file that is not ours says nothing of itself.
    AnyBut(Option<&'p str>),
}

impl Keepalived<'_> {
    pub(super) fn put_into_effect(&self, plan: &Plan) -> Result<Proof, Error> {
        self.settle_units(plan, false)?;
        match plan.action {
            Action::Nothing | Action::Runtime => {
                return Ok(Proof { hash: plan.hash.clone(), ..Proof::default() });
            }
            Action::Reload => self.reload()?,
            Action::Restart => self.restart()?,
            Action::Start => self.start()?,
            Action::Stop => return self.stop().map(|()| Proof::default()),
        }
        // Without a name of ours it is the operator's own configuration that runs again.
        self.prove(if plan.hash.is_empty() { Want::AnyBut(None) } else { Want::Planned(plan) })
    }

    pub(super) fn put_back(&self, plan: &Plan, before: &Serving) -> Result<(), Error> {
        self.settle_units(plan, true)?;
        match plan.action {
            Action::Nothing | Action::Runtime => return Ok(()),
            _ if !before.running => return self.stop(),
            // A reload with what it could not take may have killed it.
            Action::Reload if self.master()?.is_some() => self.reload()?,
            _ => self.restart()?,
        }
        // The name of the old files may never have been loaded; the new one's must be gone.
        let new = Some(plan.hash.as_str()).filter(|h| !h.is_empty() && before.hash.as_deref() != Some(*h));
        self.prove(Want::AnyBut(new)).map(drop)
    }

    fn reload(&self) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell(self.sys, "reload", unit).map_err(|e| self.explained(e));
        }
        let none = || Error::new("keepalived", "is not running").hint("start it");
        let master = self.master()?.ok_or_else(none)?;
        let fail = |e| Error::new(format!("keepalived {master}"), format!("cannot be signalled: {e}"));
        self.sys.signal(master, Signal::Hup).map_err(fail)
    }

    fn restart(&self) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell_anew(self.sys, "restart", unit).map_err(|e| self.explained(e));
        }
        self.stop()?;
        self.start()
    }

    fn start(&self) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell_anew(self.sys, "start", unit).map_err(|e| self.explained(e));
        }
        let paths = &self.paths;
        let is_ours = self.sys.stat(&paths.config).is_ok_and(|s| s.is_some());
        let file = if is_ours { &paths.config } else { &paths.own };
        let mut argv = vec![self.binary()?.display().to_string(), "-f".into(), file.display().to_string()];
        for (option, suffix) in [("-p", ""), ("-r", "_vrrp"), ("-c", "_checkers"), ("-b", "_bfd")] {
            let pidfile = format!("{}{suffix}", paths.pidfile.display());
            self.forget(Path::new(&pidfile))?;
            argv.extend([option.to_owned(), pidfile]);
        }
        let out = self.sys.run(&host::Command { argv, timeout: START, ..host::Command::default() });
        let out = out.map_err(|e| Error::new("keepalived", format!("cannot be started: {e}")))?;
        if out.code == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr).trim().replace('\n', "; ");
        Err(Error::new("keepalived", format!("does not start, exit code {}: {said}", out.code)))
    }

    /// A number that was left by a killed one, and belongs to any process by now, would keep keepalived from starting.
    fn forget(&self, pidfile: &Path) -> Result<(), Error> {
        let Ok(text) = self.sys.read(pidfile) else { return Ok(()) };
        let pid = String::from_utf8_lossy(&text).trim().parse().ok();
        if pid.is_some_and(|pid| process::lives(self.sys, pid)) {
            return Ok(());
        }
        let fail = |e| Error::new(pidfile.display().to_string(), format!("cannot be removed: {e}"));
        self.sys.remove_file(pidfile).map_err(fail)
    }

    fn stop(&self) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell(self.sys, "stop", unit);
        }
        let Some(master) = self.master()? else { return Ok(()) };
        let all: Vec<u32> = process::children(self.sys, master).into_iter().chain([master]).collect();
        let fail = |what: String| Error::new(format!("keepalived {master}"), what);
        self.sys.signal(master, Signal::Term).map_err(|e| fail(format!("cannot be stopped: {e}")))?;
        let start = self.sys.now();
        while all.iter().any(|pid| process::lives(self.sys, *pid)) {
            if self.sys.now().saturating_sub(start) > self.deadline {
                return Err(fail("does not stop".to_owned()));
            }
            self.sys.sleep(POLL);
        }
        Ok(())
    }

    /// Asks until what is said is what is wanted, and it stays alive with it.
    fn prove(&self, want: Want<'_>) -> Result<Proof, Error> {
        let start = self.sys.now();
        let mut alive = start;
        loop {
            let seen = match self.look(want) {
                Ok((master, hash)) => {
                    let children = process::children(self.sys, master);
                    self.sys.sleep(SETTLE);
                    if self.master()? == Some(master) && process::children(self.sys, master) == children {
                        let took = self.sys.now().saturating_sub(start);
                        return Ok(Proof { pid: Some(master), hash, took, reloaded: None });
                    }
                    "it came up and ended again".to_owned()
                }
                Err(seen) => seen,
            };
            let now = self.sys.now();
            if self.master()?.is_some() {
                alive = now;
            }
            if now.saturating_sub(alive) > DEAD {
                let what = format!("ended with the new configuration: {seen}");
                return Err(self.explained(Error::new("keepalived", what)));
            }
            if now.saturating_sub(start) > self.deadline {
                let what = format!("is not proven to run it within {} s: {seen}", self.deadline.as_secs());
                return Err(self.explained(Error::new("keepalived", what)));
            }
            self.sys.sleep(POLL);
        }
    }

    /// The master and the name of what it runs, or why that is not what is wanted.
    fn look(&self, want: Want<'_>) -> Result<(u32, String), String> {
        let master = self.master().map_err(|e| e.to_string())?.ok_or("it does not run")?;
        let reads_ours = process::config(self.sys, master).as_ref() == Some(&self.paths.config);
        if let (Want::AnyBut(_), false) = (want, reads_ours) {
            return Ok((master, String::new()));
        }
        if !reads_ours {
            return Err(format!("its command line does not read {}", self.paths.config.display()));
        }
        let said = self.ask(master)?;
        let hash = said.hash()?;
        match want {
            Want::Planned(plan) if hash != plan.hash => {
                return Err(format!("it runs another configuration ('{hash}')"));
            }
            Want::Planned(plan) => said.carries(&plan.candidate)?,
            Want::AnyBut(unwanted) if unwanted == Some(hash) => {
                return Err(format!("it still runs '{hash}'"));
            }
            Want::AnyBut(_) => {}
        }
        Ok((master, hash.to_owned()))
    }

    /// Lets every process write down what it runs (keepalived(8), SIGUSR1), and reads it. Nothing of it stays: it may
    /// hold VRRP's passwords.
    pub(super) fn ask(&self, master: u32) -> Result<Said, String> {
        let sys = self.sys;
        let children = process::children(sys, master);
        if let Some(pid) = children.iter().chain([&master]).find(|pid| !process::takes_usr1(sys, **pid)) {
            return Err(format!("its process {pid} has only just started"));
        }
        let dir = process::dump_dir(sys, master);
        let files = DUMPS.map(|name| (name, dir.join(name)));
        for (_, path) in &files {
            remove(sys, path)?;
        }
        sys.signal(master, Signal::Usr1).map_err(|e| format!("process {master} cannot be asked: {e}"))?;
        let start = sys.now();
        let owner = sys.whoami().0;
        let mut parts = BTreeMap::new();
        loop {
            for (name, path) in &files {
                let dump = read(sys, path, owner).unwrap_or_default();
                if dump.router_id.is_some() && (*name != VRRP || dump.is_whole) {
                    parts.insert(*name, dump);
                }
            }
            if parts.len() > children.len() || sys.now().saturating_sub(start) > ANSWER {
                break;
            }
            sys.sleep(POLL);
        }
        for (_, path) in &files {
            remove(sys, path)?;
        }
        Ok(Said { parts, children: children.len() })
    }

    fn explained(&self, error: Error) -> Error {
        match &self.unit {
            Some(unit) => error.hint(format!("see journalctl -u {unit}")),
            None => error.hint("keepalived's own log has the reason"),
        }
    }
}

/// In a directory that others can write to, a file may be theirs.
fn read(sys: &dyn host::System, path: &Path, owner: u32) -> Option<Dump> {
    let stat = sys.stat(path).ok()??;
    (stat.kind == host::Kind::File && stat.uid == owner)
        .then(|| sys.read(path).ok().map(|bytes| Dump::parse(&bytes)))?
}

fn remove(sys: &dyn host::System, path: &Path) -> Result<(), String> {
    match sys.stat(path) {
        Ok(None) => Ok(()),
        _ => sys.remove_file(path).map_err(|e| format!("{} cannot be removed: {e}", path.display())),
    }
}
