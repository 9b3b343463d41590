//! `verify --watch`: looks at HAProxy's sessions again and again, and with `--fix` cuts what `verify::stray` says and tells
//! HAProxy of a new leader. Which session goes is not decided here, nor how it is asked for.
//!
//! A look is one `show stat` and one `show proc`; the sessions of an old worker are listed when it is first seen, and
//! members are asked only where HAProxy's view makes some of them doubtful. What is remembered is a matter of speed and of
//! how long a drained session has had: a watch that begins anew loses nothing else.

mod follow;
mod quiet;
mod said;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Node, kept, ports, sessions};
use crate::error::Errors;
use crate::inventory::Args;
use crate::parallel::beside;
use crate::request::{self, Model, State};
use crate::transaction;
use crate::verify::deadline::Deadline;
use crate::verify::error::ProbeError;
use crate::verify::stats::{self, Process, ProxyRow, Via};
use crate::verify::stray::{Place, Stray, Waiting, Worker, busy_places, groups, suspects};

use follow::{FAST, Follow};
pub use said::Event;
use said::Voice;

/// HAProxy answers within milliseconds, or is being reloaded.
const ASK: Duration = Duration::from_secs(2);
/// While HAProxy's view stays the same, Patroni is not asked more often.
const AGAIN: Duration = Duration::from_secs(2);
/// What the node keeps of its request changes with a reload, and seldom without.
const RELOAD: Duration = Duration::from_secs(60);
/// A node that nothing was applied on.
const NOTHING: Duration = Duration::from_secs(10);
/// Members that answer have said their roles by then: it is waited for, as nothing else needs to go on.
const SOON: Duration = Duration::from_millis(50);
/// Sessions of an old worker that waited for a server get one without being heard of.
const LIST: Duration = Duration::from_secs(60);

/// Whether new sessions may go to each server.
type View = Vec<(String, String, bool)>;

/// What is to be watched, and how.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// None named: all that the node keeps.
    pub clusters: Vec<String>,
    pub fix: bool,
    pub interval: Duration,
}

/// Watches until a signal comes, or another binary lies where this one did.
///
/// # Errors
/// When a cluster that was named is not one of the node's.
pub fn watch(node: &Node<'_>, wanted: Wanted, say: &mut dyn FnMut(&Event)) -> Result<(), Errors> {
    let own = binary(node);
    if !wanted.clusters.is_empty() {
        load(node, &wanted)?;
    }
    // From here on no signal ends it in the middle of a look.
    node.sys.pause(Duration::ZERO);
    let mut w = Watch::new(node, wanted, say);
    loop {
        w.tick();
        if binary(node) != own {
            w.voice.say(Event::Replaced);
            return Ok(());
        }
        let wait = match w.model {
            Some(_) => w.follow.patience(w.wanted.interval),
            None => NOTHING.max(w.wanted.interval),
        };
        if w.pause(wait) {
            w.voice.say(Event::Ended);
            return Ok(());
        }
    }
}

/// The kernel marks the link of a running program whose file was replaced.
fn binary(node: &Node<'_>) -> Option<PathBuf> {
    node.sys.read_link(Path::new("/proc/self/exe")).ok()
}

fn load(node: &Node<'_>, wanted: &Wanted) -> Result<Model, Errors> {
    kept::load(node, &wanted.clusters, &Args::new()).and_then(request::model)
}

struct Watch<'w, 'n> {
    node: &'w Node<'n>,
    wanted: Wanted,
    model: Option<Model>,
    loaded: Option<Duration>,
    /// The serving worker, as far as it was told.
    worker: Option<u32>,
    /// Old workers with where they hold sessions, and when that was asked.
    old: BTreeMap<u32, (Duration, BTreeSet<Place>)>,
    waiting: Waiting,
    follow: Follow,
    /// When Patroni was asked, and by which view.
    asked: Option<(Duration, View)>,
    /// A signal came.
    ends: bool,
    voice: Voice<'w>,
}

impl<'w, 'n> Watch<'w, 'n> {
    fn new(node: &'w Node<'n>, wanted: Wanted, say: &'w mut dyn FnMut(&Event)) -> Self {
        let voice = Voice::new(say);
        let (model, loaded, worker, asked) = (None, None, None, None);
        Self {
            node,
            wanted,
            model,
            loaded,
            worker,
            old: BTreeMap::new(),
            waiting: Waiting::default(),
            follow: Follow::default(),
            asked,
            ends: false,
            voice,
        }
    }

    fn tick(&mut self) {
        let (sys, master) = (self.node.sys, &self.node.paths.master_socket);
        if self.model.is_none() {
            self.refresh(None);
        }
        if self.model.is_none() {
            return;
        }
        // Away for a moment during a reload: then old workers are those that were known.
        let processes = stats::processes(sys, master, Deadline::after(sys, ASK)).ok();
        self.refresh(processes.as_ref().and_then(|p| p.workers.first()).map(|p| p.pid));
        let Some(model) = self.model.take() else { return };
        match self.rows() {
            Ok(rows) => {
                self.voice.answers();
                self.turn(&model, &rows);
                let old = processes.map(|p| p.old_workers);
                self.look(&model, &rows, old);
            }
            Err(e) => self.voice.silent(&e.to_string()),
        }
        self.model = Some(model);
    }

    /// HAProxy's view of this moment.
    fn rows(&self) -> Result<Vec<ProxyRow>, ProbeError> {
        let sys = self.node.sys;
        stats::stat(sys, Via::Stats(&self.node.paths.stats_socket), Deadline::after(sys, ASK))
    }

    /// Follows the leaders, and says where sessions go now.
    fn turn(&mut self, model: &Model, rows: &[ProxyRow]) {
        self.voice.view(&sessions::services(model), rows);
        if self.wanted.fix {
            self.follow.look(self.node, rows, &mut self.voice);
        }
    }

    /// Waits, no longer than until a leader hangs up; whether it is to end.
    fn pause(&mut self, wait: Duration) -> bool {
        let woken = self.node.sys.pause_on(wait, &self.follow.wires());
        self.follow.ended(&woken.spoke, self.node.sys.now());
        self.ends |= woken.signalled;
        self.ends
    }

    /// One round of what goes on while members are asked for sessions' sake; no more is to come when it says no. One that
    /// is cut off is given up after seconds, and those are the seconds in which another one is promoted.
    fn meanwhile(&mut self, model: &Model) -> bool {
        if !self.wanted.fix || self.pause(FAST) {
            return false;
        }
        if let Ok(rows) = self.rows() {
            self.turn(model, &rows);
        }
        true
    }

    /// What the node keeps, read again when a reload may have changed it.
    fn refresh(&mut self, worker: Option<u32>) {
        let now = self.node.sys.now();
        let due = self.loaded.is_none_or(|at| now.saturating_sub(at) >= RELOAD);
        let reloaded = self.worker.is_some() && worker.is_some() && worker != self.worker;
        self.worker = worker.or(self.worker);
        if self.model.is_some() && !due && !reloaded {
            return;
        }
        self.loaded = Some(now);
        let model = load(self.node, &self.wanted).ok();
        self.model = model.filter(|m| m.state == State::Present && !m.clusters.is_empty());
        match self.model.as_ref().filter(|_| self.wanted.fix) {
            Some(model) => self.follow.load(self.node, model),
            None => self.follow = Follow::default(),
        }
        let names = self.model.iter().flat_map(|m| m.clusters.keys().cloned()).collect();
        self.voice.watches(names, self.wanted.fix);
    }

    fn look(&mut self, model: &Model, rows: &[ProxyRow], old: Option<Vec<Process>>) {
        if let Some(old) = &old {
            self.list(old);
        }
        let mut places = busy_places(rows);
        places.extend(self.old.values().flat_map(|(_, places)| places.iter().cloned()));
        let clusters = suspects(&sessions::services(model), rows, &places);
        if clusters.is_empty() {
            self.waiting = Waiting::default();
            self.asked = None;
            return;
        }
        if !self.is_due(rows) {
            return;
        }
        if transaction::unproven(self.node.sys, &self.node.paths.state_dir) {
            self.asked = None;
            return self.voice.holds();
        }
        self.voice.acts();
        let Ok(l) = ports::look(self.node, &without_login(model), None) else { return };
        let old: Vec<Process> = old.unwrap_or_default();
        let node = self.node;
        let found = || sessions::found(node, &l, model, rows, &clusters, &old);
        let Some(strays) = beside(SOON, found, || self.meanwhile(model)) else { return };
        if self.wanted.fix {
            self.fix(model, &strays)
        } else {
            self.voice.found(groups(&strays))
        }
        // What was cut is gone, and what went by itself too.
        for pid in
            strays.iter().filter_map(|s| if let Worker::Old(pid) = s.worker { Some(pid) } else { None })
        {
            self.old.remove(&pid);
        }
    }

    /// Learns where the old workers hold sessions: of each once, and then now and again.
    fn list(&mut self, old: &[Process]) {
        let now = self.node.sys.now();
        for gone in self.voice.old_gone(old) {
            self.old.remove(&gone);
        }
        for p in old {
            if self.old.get(&p.pid).is_none_or(|(at, _)| now.saturating_sub(*at) >= LIST) {
                let held = sessions::held(self.node, Worker::Old(p.pid));
                self.voice.old(p, &held);
                self.old.insert(p.pid, (now, sessions::places(&held)));
            }
        }
    }

    /// Whether Patroni is to be asked: HAProxy's view changed, or the last answer is some time ago.
    fn is_due(&mut self, rows: &[ProxyRow]) -> bool {
        let now = self.node.sys.now();
        let view: View =
            rows.iter().map(|r| (r.proxy.clone(), r.server.clone(), r.status.serves())).collect();
        let due =
            self.asked.as_ref().is_none_or(|(at, seen)| now.saturating_sub(*at) >= AGAIN || *seen != view);
        if due {
            self.asked = Some((now, view));
        }
        due
    }

    fn fix(&mut self, model: &Model, strays: &[Stray]) {
        let talk = sessions::talk(self.node, strays);
        let due = self.waiting.due(strays, &talk, self.node.sys.now(), model.options.watch_grace);
        let cut = groups(due.iter().copied());
        match sessions::cut(self.node, &due) {
            Ok(()) => cut.into_iter().for_each(|g| self.voice.say(Event::Cut(g))),
            Err(e) => self.voice.silent(&e.to_string()),
        }
    }
}

/// Roles are asked of Patroni's API, which wants no login.
fn without_login(model: &Model) -> Model {
    let mut model = model.clone();
    model.options.user = None;
    model
}

#[cfg(test)]
mod tests;
