//! Reload, restart, start and stop, and the proof that a new worker serves. A zero exit code proves nothing: HAProxy
//! 2.6's unit reports success when a port could not be bound. What to do is decided by the plan.

use std::time::Duration;

use super::answers::Processes;
use super::{ASK, Haproxy, check};
use crate::daemon::{ports, systemd};
use crate::error::Error;
use crate::host::{self, Signal};
use crate::plan::{Action, Command, Plan};
use crate::transaction::{Proof, Serving};

const POLL: Duration = Duration::from_millis(25);
/// The master's own reload waits for the new worker on 2.7 and later.
const RELOAD: Duration = Duration::from_secs(30);
/// A master that retries to bind is away for two seconds.
const SETTLE: Duration = Duration::from_secs(5);
/// A live master takes a reload up within milliseconds.
const NOTICE: Duration = Duration::from_secs(1);
const TRIES: usize = 3;
/// `-W -D` returns when the master has forked.
const START: Duration = Duration::from_secs(30);

/// What must differ afterwards.
#[derive(Debug, Clone, Default)]
struct Old {
    pid: Option<u32>,
    failed: u32,
}

/// Which hash a new worker must, or must not, answer with.
#[derive(Debug, Clone, Copy)]
enum Want<'h> {
    Hash(&'h str),
    AnyBut(Option<&'h str>),
}

impl Haproxy<'_> {
    pub(super) fn put_into_effect(&self, plan: &Plan) -> Result<Proof, Error> {
        if plan.daemon_reload && self.unit.is_some() {
            systemd::daemon_reload(self.sys)?;
        }
        let old = self.old();
        match plan.action {
            Action::Nothing => return Ok(Proof { hash: plan.hash.clone(), ..Proof::default() }),
            Action::Runtime => return self.commanded(plan, &old),
            Action::Reload => self.reload()?,
            Action::Restart => self.restart()?,
            Action::Start => self.start()?,
            Action::Stop => return self.stop().map(|()| Proof::default()),
        }
        let proven = self.prove(Want::Hash(&plan.hash), &old);
        self.after();
        proven
    }

    pub(super) fn put_back(&self, plan: &Plan, before: &Serving) -> Result<(), Error> {
        if plan.daemon_reload && self.unit.is_some() {
            systemd::daemon_reload(self.sys)?;
        }
        let old = self.old();
        match plan.action {
            Action::Nothing => return Ok(()),
            _ if !before.running => return self.stop(),
            Action::Runtime if self.commands_undone(plan) => return Ok(()),
            Action::Runtime | Action::Reload => self.reload()?,
            Action::Restart | Action::Start | Action::Stop => self.restart()?,
        }
        // The hash of the old files may never have been loaded; the new one's must be gone.
        let unwanted = Some(plan.hash.as_str()).filter(|h| before.hash.as_deref() != Some(*h));
        let proven = self.prove(Want::AnyBut(unwanted), &old).map(drop);
        self.after();
        proven
    }

    fn before(&self) {
        if let Some((before, _)) = &self.hooks {
            before();
        }
    }

    fn after(&self) {
        if let (None, Some((_, after))) = (&self.unit, &self.hooks) {
            after();
        }
    }

    /// Commands in the place of a reload: what runs is the plan's configuration as soon as they hold.
    fn commanded(&self, plan: &Plan, old: &Old) -> Result<Proof, Error> {
        let start = self.sys.now();
        let Some(why) = self.carry_out(&plan.commands)? else {
            let info = self.info()?;
            let (hash, pid) = (info.description.unwrap_or_default(), Some(info.pid));
            if pid != old.pid || hash != plan.hash {
                let what = format!("was reloaded by somebody meanwhile, and runs '{hash}'");
                return Err(Error::new("haproxy", what).hint("try again"));
            }
            return Ok(Proof { pid, hash, took: self.sys.now().saturating_sub(start), reloaded: None });
        };
        self.reload()?;
        let proof = self.prove(Want::Hash(&plan.hash), old)?;
        Ok(Proof { reloaded: Some(why), ..proof })
    }

    fn commands_undone(&self, plan: &Plan) -> bool {
        let Ok(live) = self.live() else { return false };
        let given = plan.commands.iter().rev().filter(|c| c.shows(&live));
        let back: Option<Vec<_>> = given.map(Command::inverse).collect();
        back.is_some_and(|back| self.carry_out(&back).is_ok_and(|busy| busy.is_none()))
    }

    fn old(&self) -> Old {
        let master = self.master().ok().flatten();
        // Settled: a count that is missed now would look like a new failure later.
        let failed = master.and_then(|_| self.settled()?.failed).unwrap_or(0);
        Old { pid: self.info().ok().map(|i| i.pid), failed }
    }

    fn processes(&self) -> Option<Processes> {
        let answer = self.sys.ask_unix(&self.paths.master_socket, b"show proc\n", ASK).ok()?;
        Processes::parse(&String::from_utf8_lossy(&answer))
    }

    /// A master that is just executing itself anew loses signals and requests (2.6: within some 10 ms after the new
    /// worker answers): wait until it listens, look whether it took notice, and say it again.
    fn reload(&self) -> Result<(), Error> {
        for _ in 0..TRIES {
            let before = self.settled();
            self.ask_for_reload(before.is_some())?;
            if before.is_none() || self.noticed(before.as_ref()) {
                break;
            }
        }
        Ok(())
    }

    fn ask_for_reload(&self, socket: bool) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell(self.sys, "reload", unit).map_err(|e| self.explained(e));
        }
        self.before();
        if socket {
            let answer =
                self.sys.ask_unix(&self.paths.master_socket, b"reload\n", RELOAD).unwrap_or_default();
            return refused(&String::from_utf8_lossy(&answer));
        }
        let none = || Error::new("haproxy", "is not running").hint("start it");
        let master = self.master()?.ok_or_else(none)?;
        let fail = |e| Error::new(format!("haproxy's master {master}"), format!("cannot be signalled: {e}"));
        self.sys.signal(master, Signal::Usr2).map_err(fail)
    }

    /// Whether the master went away, or came back with another count of reloads or other workers.
    fn noticed(&self, before: Option<&Processes>) -> bool {
        let start = self.sys.now();
        while self.processes().as_ref() == before {
            if self.sys.now().saturating_sub(start) > NOTICE {
                return false;
            }
            self.sys.sleep(POLL);
        }
        true
    }

    /// The master's processes, once it answers: during a reload it does not for a while.
    fn settled(&self) -> Option<Processes> {
        let start = self.sys.now();
        while self.sys.stat(&self.paths.master_socket).is_ok_and(|s| s.is_some()) {
            if let Some(processes) = self.processes() {
                return Some(processes);
            }
            if self.sys.now().saturating_sub(start) > SETTLE {
                break;
            }
            self.sys.sleep(POLL);
        }
        None
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
        self.before();
        let paths = &self.paths;
        let text = |path: &std::path::Path| path.display().to_string();
        let mut argv =
            vec![text(&self.binary()?), "-W".into(), "-D".into(), "-f".into(), text(&paths.config)];
        if self.sys.stat(&paths.conf_d).is_ok_and(|s| s.is_some()) {
            argv.extend(["-f".to_owned(), text(&paths.conf_d)]);
        }
        let master = systemd::master_socket(paths, self.sys.group("haproxy").is_some());
        argv.extend(["-p".to_owned(), text(&paths.pidfile), "-S".to_owned(), master]);
        let out = self.sys.run(&host::Command { argv, timeout: START, ..host::Command::default() });
        let out = out.map_err(|e| Error::new("haproxy", format!("cannot be started: {e}")))?;
        if out.code == 0 {
            return Ok(());
        }
        let said = check::alerts(&String::from_utf8_lossy(&out.stderr)).join("; ");
        Err(Error::new("haproxy", format!("does not start, exit code {}: {said}", out.code)))
    }

    fn stop(&self) -> Result<(), Error> {
        if let Some(unit) = &self.unit {
            return systemd::tell(self.sys, "stop", unit);
        }
        let Some(master) = self.master()? else { return Ok(()) };
        let fail = |what: String| Error::new(format!("haproxy's master {master}"), what);
        self.sys.signal(master, Signal::Term).map_err(|e| fail(format!("cannot be stopped: {e}")))?;
        let start = self.sys.now();
        while ports::name(self.sys, master) == "haproxy" {
            if self.sys.now().saturating_sub(start) > self.deadline {
                return Err(fail("does not stop".to_owned()));
            }
            self.sys.sleep(POLL);
        }
        Ok(())
    }

    /// Polls until a new worker answers as wanted. The master socket is away for a while during a reload.
    fn prove(&self, want: Want<'_>, old: &Old) -> Result<Proof, Error> {
        let start = self.sys.now();
        let mut seen = String::from("its stats socket does not answer");
        loop {
            match self.info() {
                Ok(info) if info.stopping => "only a stopping worker answers".clone_into(&mut seen),
                Ok(info) if Some(info.pid) == old.pid => {
                    seen = format!("the old worker {} still serves", info.pid);
                }
                Ok(info) => {
                    let hash = info.description.unwrap_or_default();
                    let right = match want {
                        Want::Hash(wanted) => hash == wanted,
                        Want::AnyBut(unwanted) => unwanted != Some(hash.as_str()),
                    };
                    if right {
                        let took = self.sys.now().saturating_sub(start);
                        return Ok(Proof { pid: Some(info.pid), hash, took, reloaded: None });
                    }
                    seen = format!("the new worker {} runs another configuration ('{hash}')", info.pid);
                }
                Err(_) if self.unasked(want) => return Ok(Proof::default()),
                Err(e) => seen = e.to_string(),
            }
            // Known at once where the master counts failures, else by the deadline.
            if self.processes().and_then(|p| p.failed).is_some_and(|failed| failed > old.failed) {
                let what = format!("the new worker did not come up: {seen}");
                return Err(self.explained(Error::new("haproxy", what)));
            }
            if self.sys.now().saturating_sub(start) > self.deadline {
                let what = format!("no new worker within {} s: {seen}", self.deadline.as_secs());
                return Err(self.explained(Error::new("haproxy", what)));
            }
            self.sys.sleep(POLL);
        }
    }

    /// The way back leads to a foreign configuration without our stats socket: then a live master must do.
    fn unasked(&self, want: Want<'_>) -> bool {
        let silent = !self.sys.stat(&self.paths.stats_socket).is_ok_and(|s| s.is_some());
        matches!(want, Want::AnyBut(_)) && silent && self.master().is_ok_and(|m| m.is_some())
    }

    /// HAProxy's own reason, where a journal has it.
    fn explained(&self, error: Error) -> Error {
        let Some(unit) = &self.unit else {
            return error.hint("HAProxy's own log has the reason");
        };
        // The journal takes in what HAProxy says some milliseconds late.
        let start = self.sys.now();
        let mut alerts = check::latest(&systemd::last_words(self.sys, unit));
        while alerts.is_empty() && self.sys.now().saturating_sub(start) < NOTICE {
            self.sys.sleep(POLL);
            alerts = check::latest(&systemd::last_words(self.sys, unit));
        }
        let last: Vec<_> = alerts.iter().rev().take(3).rev().cloned().collect();
        if last.is_empty() {
            return error.hint(format!("see journalctl -u {unit}"));
        }
        Error { what: format!("{}: {}", error.what, last.join("; ")), ..error }
    }
}

/// 2.7 and later answer `Success=0` and why; 2.6 says nothing.
fn refused(answer: &str) -> Result<(), Error> {
    if !answer.contains("Success=0") {
        return Ok(());
    }
    Err(Error::new("haproxy", format!("the reload failed: {}", check::alerts(answer).join("; "))))
}
