//! keepalived: what runs, whether it would take a candidate, and that it did. What the configuration says and when it is
//! put into effect is decided elsewhere.

mod check;
pub mod content;
mod control;
pub mod dump;
mod process;
pub mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemd;
use crate::error::{Error, Errors};
use crate::host::{Command, System};
use crate::plan::{Action, Plan};
use crate::transaction::{Daemon, Proof, Serving};

pub use dump::Instance;
pub use units::dropin;

/// Older ones do not let the master say what it runs.
const OLDEST: (u32, u32) = (2, 1);
const UNIT: &str = "keepalived";
const ASK: Duration = Duration::from_secs(10);
/// The kernel's table of virtual servers, there while IPVS is loaded.
pub const IPVS: &str = "/proc/net/ip_vs";

/// Where keepalived and pgsvc meet on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The main file, which includes the others.
    pub config: PathBuf,
    pub conf_d: PathBuf,
    /// The operator's own configuration.
    pub own: PathBuf,
    pub dropin: PathBuf,
    /// systemd's units of this node.
    pub units: PathBuf,
    /// Of the master, where no systemd runs it; the other processes' names begin with it.
    pub pidfile: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            config: "/etc/keepalived/pgsvc.conf".into(),
            conf_d: "/etc/keepalived/pgsvc.d".into(),
            own: "/etc/keepalived/keepalived.conf".into(),
            dropin: "/etc/systemd/system/keepalived.service.d/pgsvc.conf".into(),
            units: "/etc/systemd/system".into(),
            pidfile: "/run/keepalived.pid".into(),
        }
    }
}

impl Paths {
    /// Whether keepalived loads a file: `*.conf` of the directory, by glob(7) without those that begin with a dot.
    #[must_use]
    pub fn loads(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let included =
            path.parent() == Some(&self.conf_d) && name.ends_with(".conf") && !name.starts_with('.');
        path == self.config || path == self.own || included
    }

    /// The file of a cluster.
    #[must_use]
    pub fn cluster(&self, cluster: &str) -> PathBuf {
        self.conf_d.join(format!("{cluster}.conf"))
    }

    /// The file that gives the configuration its name. It is loaded after the main file and the operator's.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        self.conf_d.join("00-pgsvc.conf")
    }

    /// Every file that a planner must know, as far as it exists.
    ///
    /// # Errors
    /// A directory that cannot be listed, or a file that cannot be looked at, is none that is not there.
    pub fn list(&self, sys: &dyn System) -> Result<Vec<PathBuf>, Error> {
        let fail = |path: &Path, e| Error::new(path.display().to_string(), format!("cannot be read: {e}"));
        let below = |dir: &Path| -> Result<Vec<PathBuf>, Error> {
            let names = sys.list(dir).map_err(|e| fail(dir, e))?;
            Ok(names.into_iter().map(|n| dir.join(n)).collect())
        };
        let units = below(&self.units)?.into_iter().filter(|p| units::cluster_of(self, p).is_some());
        let included = below(&self.conf_d)?.into_iter().filter(|p| self.loads(p));
        let fixed = [&self.config, &self.own, &self.dropin].into_iter().cloned();
        let mut found = Vec::new();
        for path in fixed.chain(included).chain(units) {
            if sys.stat(&path).map_err(|e| fail(&path, e))?.is_some() {
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// keepalived on a node, under systemd or as a process of its own.
pub struct Keepalived<'a> {
    sys: &'a dyn System,
    paths: Paths,
    /// systemd's unit; `None` where systemd does not run or does not know it.
    unit: Option<String>,
    /// How long a new configuration may take to be in effect.
    pub deadline: Duration,
}

/// What the planner must know of the process that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Whether systemd started it.
    pub by_systemd: bool,
    pub master: u32,
    /// VRRP's process, the checkers', BFD's. Without any it serves nothing.
    pub children: Vec<u32>,
    /// Its command line reads our main file: a reload keeps that command line.
    pub reads_ours: bool,
    /// The name of the configuration that all its processes run; `None` where they do not say, or another.
    pub hash: Option<String>,
    /// The VRRP instances with their states, where it reads our main file and says.
    pub instances: Vec<Instance>,
}

impl<'a> Keepalived<'a> {
    /// keepalived under systemd where that runs and knows the unit, else by its pidfile. It need not be installed.
    pub fn detect(sys: &'a dyn System, paths: Paths) -> Self {
        let known = systemd::runs(sys) && systemd::unit(sys, UNIT).is_ok_and(|u| u.loaded);
        Self { unit: known.then(|| UNIT.to_owned()), ..Self::without_systemd(sys, paths) }
    }

    /// keepalived as a process that systemd does not know.
    pub fn without_systemd(sys: &'a dyn System, paths: Paths) -> Self {
        Self { sys, paths, unit: None, deadline: Duration::from_secs(10) }
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The installed binary.
    ///
    /// # Errors
    /// When there is none.
    pub fn binary(&self) -> Result<PathBuf, Error> {
        self.sys.find("keepalived").ok_or_else(missing)
    }

    /// The installed version, as it says it: `2.2.7`.
    ///
    /// # Errors
    /// When there is none, or it is older than 2.1.
    pub fn version(&self) -> Result<String, Error> {
        let argv = vec![self.binary()?.display().to_string(), "--version".to_owned()];
        let out = self.sys.run(&Command { argv, timeout: ASK, ..Command::default() });
        let out = out.map_err(|e| Error::new("keepalived --version", e.to_string()))?;
        let text = [out.stderr, out.stdout].concat();
        let version = version(&String::from_utf8_lossy(&text));
        let (numbers, text) = version
            .ok_or_else(|| Error::new("keepalived --version", "says no version").hint("is it keepalived?"))?;
        if numbers < OLDEST {
            let what = format!("version {text} is too old");
            return Err(Error::new("keepalived", what).hint("2.1 or newer is needed"));
        }
        Ok(text)
    }

    /// What runs now; `None` where nothing does. Asks its processes for their configuration by SIGUSR1.
    ///
    /// # Errors
    /// When systemd does not say.
    pub fn running(&self) -> Result<Option<Running>, Error> {
        let Some(master) = self.master()? else { return Ok(None) };
        let reads_ours = process::config(self.sys, master).as_ref() == Some(&self.paths.config);
        // Of a foreign configuration nothing is to be known, and its processes are left alone.
        let said = if reads_ours { self.ask(master).ok() } else { None };
        let hash = said.as_ref().and_then(|s| s.hash().ok().map(str::to_owned));
        let instances = said.as_ref().and_then(|s| s.vrrp().map(|d| d.instances.clone()));
        Ok(Some(Running {
            by_systemd: self.unit.is_some(),
            master,
            children: process::children(self.sys, master),
            reads_ours,
            hash,
            instances: instances.unwrap_or_default(),
        }))
    }

    /// The master process, if it lives.
    fn master(&self) -> Result<Option<u32>, Error> {
        let pid = match &self.unit {
            Some(unit) => systemd::unit(self.sys, unit)?.main_pid,
            None => {
                let text = self.sys.read(&self.paths.pidfile).unwrap_or_default();
                String::from_utf8_lossy(&text).trim().parse().ok()
            }
        };
        // The number may have gone to another program since.
        Ok(pid.filter(|pid| process::lives(self.sys, *pid)))
    }

    /// keepalived ends altogether, VRRP included, where it shall balance connections and the kernel cannot.
    fn balances(&self) -> Result<(), Error> {
        if self.sys.stat(Path::new(IPVS)).is_ok_and(|s| s.is_some()) {
            return Ok(());
        }
        let argv = ["modprobe", "-n", "-q", "ip_vs"].map(str::to_owned).to_vec();
        let out = self.sys.run(&Command { argv, timeout: ASK, ..Command::default() });
        if out.is_ok_and(|out| out.code == 0) {
            return Ok(());
        }
        Err(Error::new("IPVS", "this node's kernel has none, and a director balances connections by it")
            .hint("load the module ip_vs, or make another node the director"))
    }
}

/// What a node without keepalived is told.
#[must_use]
pub fn missing() -> Error {
    Error::new("keepalived", "is not installed on this node").hint("install the package keepalived")
}

/// `Keepalived v2.2.7 (01/16,2022)` → major and minor, and the whole.
fn version(text: &str) -> Option<((u32, u32), String)> {
    let word = text.lines().find_map(|l| l.strip_prefix("Keepalived v"))?.split_whitespace().next()?;
    let mut numbers = word.split('.').map_while(|n| n.parse().ok());
    Some(((numbers.next()?, numbers.next()?), word.to_owned()))
}

impl Daemon for Keepalived<'_> {
    fn check(&self, staged: &Path) -> Result<(), Error> {
        self.version()?;
        check::check(self.sys, &self.binary()?, &self.paths, staged)
    }

    fn precheck(&self, plan: &Plan) -> Result<(), Errors> {
        let idle = matches!(plan.action, Action::Nothing | Action::Runtime | Action::Stop);
        if idle || content::managed(&plan.candidate).virtual_servers.is_empty() {
            return Ok(());
        }
        self.balances().map_err(Errors::from)
    }

    fn serving(&self) -> Result<Serving, Error> {
        let Some(running) = self.running()? else { return Ok(Serving::default()) };
        Ok(Serving { running: true, pid: Some(running.master), hash: running.hash })
    }

    fn activate(&self, plan: &Plan) -> Result<Proof, Error> {
        self.put_into_effect(plan)
    }

    fn revert(&self, plan: &Plan, before: &Serving) -> Result<(), Error> {
        self.put_back(plan, before)
    }
}

#[cfg(test)]
mod tests;
