//! HAProxy: what runs, whether it would take a candidate, and that it did. What the configuration says and when it is
//! put into effect is decided elsewhere.

mod answers;
mod check;
pub mod config;
mod control;
pub mod follow;
mod live;
mod runtime;
pub mod seed;
pub mod state;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Paths, ports, systemd};
use crate::error::{Error, Errors};
use crate::host::{Command, System};
use crate::plan::{Action, Live, Plan};
use crate::transaction::{Daemon, Proof, Serving};
use crate::verify::stats;

pub use answers::Info;

/// Older ones lack what the rendered configuration relies on.
const OLDEST: (u32, u32) = (2, 4);
const ASK: Duration = Duration::from_millis(500);
const EXEC: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
/// What reading of a process says that ended a moment ago.
const ESRCH: i32 = 3;

/// HAProxy on a node, under systemd or as a master process of its own.
pub struct Haproxy<'a> {
    sys: &'a dyn System,
    paths: Paths,
    /// systemd's unit; `None` where systemd does not run or does not know it.
    unit: Option<String>,
    /// How long a new worker may take to answer.
    pub deadline: Duration,
    /// Before and after a start or a reload that no unit of systemd's makes: what its ExecStartPre and the like do.
    pub hooks: Option<(Hook<'a>, Hook<'a>)>,
}

pub type Hook<'a> = Box<dyn Fn() + Sync + 'a>;

/// An installed HAProxy's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    /// As it says it: `2.6.12-1+deb12u4`.
    pub text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    None,
    Running,
}

/// What the planner must know of the process that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    pub state: State,
    /// Whether systemd started it.
    pub by_systemd: bool,
    pub master: Option<u32>,
    /// The worker that serves.
    pub pid: Option<u32>,
    /// `description` of the configuration it runs with.
    pub hash: Option<String>,
    pub version: Option<String>,
    /// Its servers and limits; `None` where it does not say.
    pub live: Option<Live>,
    /// Whether its command line loads `conf.d`: a reload keeps that command line.
    pub has_conf_d: bool,
    pub has_master_socket: bool,
    /// Where the worker listens; sorted.
    pub listeners: Vec<SocketAddr>,
}

impl<'a> Haproxy<'a> {
    /// HAProxy under systemd where that runs and knows the unit `haproxy`, else by its pidfile and master socket.
    pub fn detect(sys: &'a dyn System, paths: Paths) -> Self {
        Self::with_unit(sys, paths).0
    }

    fn with_unit(sys: &'a dyn System, paths: Paths) -> (Self, Option<systemd::Unit>) {
        let unit =
            if systemd::runs(sys) { systemd::unit(sys, "haproxy").ok().filter(|u| u.loaded) } else { None };
        let name = unit.as_ref().map(|_| "haproxy".to_owned());
        (Self { unit: name, ..Self::without_systemd(sys, paths) }, unit)
    }

    /// HAProxy as a master process that systemd does not know.
    pub fn without_systemd(sys: &'a dyn System, paths: Paths) -> Self {
        Self { sys, paths, unit: None, deadline: Duration::from_secs(10), hooks: None }
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether systemd runs it.
    #[must_use]
    pub fn by_systemd(&self) -> bool {
        self.unit.is_some()
    }

    /// The installed binary.
    ///
    /// # Errors
    /// When there is none.
    pub fn binary(&self) -> Result<PathBuf, Error> {
        self.sys.find("haproxy").ok_or_else(missing)
    }

    /// The installed version.
    ///
    /// # Errors
    /// When there is none, or it is older than 2.4.
    pub fn version(&self) -> Result<Version, Error> {
        let argv = vec![self.binary()?.display().to_string(), "-v".to_owned()];
        let out = self.sys.run(&Command { argv, timeout: Duration::from_secs(10), ..Command::default() });
        let text = out.map_err(|e| Error::new("haproxy -v", e.to_string()))?.stdout;
        let text = String::from_utf8_lossy(&text);
        let version = answers::version(&text)
            .ok_or_else(|| Error::new("haproxy -v", "says no version").hint("is it HAProxy?"))?;
        if (version.major, version.minor) < OLDEST {
            let what = format!("version {} is too old", version.text);
            return Err(Error::new("haproxy", what).hint("2.4 or newer is needed"));
        }
        Ok(version)
    }

    /// What runs now. Nothing is an answer, not an error.
    ///
    /// # Errors
    /// When systemd does not say.
    pub fn running(&self) -> Result<Running, Error> {
        Ok(self.running_as(self.master()?))
    }

    /// HAProxy and what runs now, systemd being asked once for both.
    ///
    /// # Errors
    /// When the pidfile's process cannot be told.
    pub fn look(sys: &'a dyn System, paths: Paths) -> Result<(Self, Running), Error> {
        let (haproxy, unit) = Self::with_unit(sys, paths);
        let master = unit.map_or_else(|| haproxy.master(), |u| Ok(u.main_pid))?;
        let running = haproxy.running_as(master);
        Ok((haproxy, running))
    }

    /// What the process of a master is.
    fn running_as(&self, master: Option<u32>) -> Running {
        let Some(master) = master else { return Running::default() };
        let args = self.command_line(master);
        let is = |arg: &String, path: &Path| Path::new(arg.split(',').next().unwrap_or_default()) == path;
        let follows = |flag: &str, path: &Path| {
            args.iter().zip(args.iter().skip(1)).any(|(f, value)| f == flag && is(value, path))
        };
        // What a node with very many servers cannot say in time does not hide what it runs.
        let (info, live) = self.worker().or_else(|_| self.info().map(|i| (i, None))).ok().unzip();
        let pid = info.as_ref().map(|i| i.pid);
        Running {
            state: State::Running,
            by_systemd: self.by_systemd(),
            master: Some(master),
            pid,
            hash: info.as_ref().and_then(|i| i.description.clone()),
            version: info.map(|i| i.version),
            live: live.flatten(),
            has_conf_d: follows("-f", &self.paths.conf_d),
            has_master_socket: follows("-S", &self.paths.master_socket),
            listeners: pid.map(|pid| ports::listeners(self.sys, pid)).unwrap_or_default(),
        }
    }

    /// Major and minor of the one that runs.
    #[must_use]
    pub fn running_version(running: &Running) -> (u32, u32) {
        running.version.as_deref().and_then(answers::numbers).unwrap_or_default()
    }

    /// What the serving worker says of itself.
    ///
    /// # Errors
    /// When the stats socket does not answer.
    pub fn info(&self) -> Result<Info, Error> {
        Info::parse(&self.ask("show info")?).ok_or_else(|| self.strange())
    }

    /// One line on the admin socket, and all that is answered.
    fn ask(&self, line: &str) -> Result<String, Error> {
        let socket = &self.paths.stats_socket;
        let answer = self.sys.ask_unix(socket, format!("{line}\n").as_bytes(), ASK);
        let answer =
            answer.map_err(|e| Error::new(socket.display().to_string(), format!("does not answer: {e}")))?;
        Ok(stats::text(answer))
    }

    fn strange(&self) -> Error {
        Error::new(self.paths.stats_socket.display().to_string(), "is no HAProxy's socket")
    }

    /// The master process, if it lives.
    fn master(&self) -> Result<Option<u32>, Error> {
        if let Some(unit) = &self.unit {
            return Ok(systemd::unit(self.sys, unit)?.main_pid);
        }
        let text = self.text(&self.paths.pidfile)?;
        let pid: Option<u32> = text.lines().next().and_then(|l| l.trim().parse().ok());
        let Some(pid) = pid else { return Ok(None) };
        // The number may have gone to another program since.
        let name = self.text(Path::new(&format!("/proc/{pid}/comm")))?;
        Ok((name.trim() == "haproxy").then_some(pid))
    }

    /// What a file of a process says, nothing where there is none. One that cannot be read is not "nothing runs": on its
    /// word a way back would stop what serves.
    fn text(&self, path: &Path) -> Result<String, Error> {
        match self.sys.read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(ESRCH) => Ok(String::new()),
            Err(e) => Err(Error::new(path.display().to_string(), format!("cannot be read: {e}"))),
        }
    }

    /// While a master executes itself anew for a reload, the kernel shows none for some milliseconds.
    fn command_line(&self, pid: u32) -> Vec<String> {
        let read = || self.sys.read(Path::new(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        let start = self.sys.now();
        let mut bytes = read();
        while bytes.is_empty() && self.sys.now().saturating_sub(start) < EXEC {
            self.sys.sleep(POLL);
            bytes = read();
        }
        bytes.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }
}

/// What a node without HAProxy is told.
#[must_use]
pub fn missing() -> Error {
    Error::new("haproxy", "is not installed on this node").hint("install the package haproxy")
}

impl Daemon for Haproxy<'_> {
    fn check(&self, staged: &Path) -> Result<(), Error> {
        self.version()?;
        check::check(self.sys, &self.binary()?, &self.paths, staged)
    }

    fn precheck(&self, plan: &Plan) -> Result<(), Errors> {
        if matches!(plan.action, Action::Nothing | Action::Runtime) {
            return Ok(());
        }
        let own = self.master()?;
        ports::free(self.sys, &plan.new_binds, plan.nonlocal_binds, own)
    }

    fn serving(&self) -> Result<Serving, Error> {
        let running = self.running()?;
        Ok(Serving { running: running.state == State::Running, pid: running.pid, hash: running.hash })
    }

    fn activate(&self, plan: &Plan) -> Result<Proof, Error> {
        self.put_into_effect(plan)
    }

    fn revert(&self, plan: &Plan, before: &Serving) -> Result<(), Error> {
        self.put_back(plan, before)
    }
}
