//! What a screen knows: report after report, since when each port is as it is, and what changed. Pure: the time comes with
//! each report.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::report::Report;
use crate::run::watch::Event;
use crate::verify::judge::{PortResult, Status};

/// Events that are kept for the screen.
const EVENTS: usize = 100;

/// When a look ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct When {
    /// Monotonic.
    pub at: Duration,
    /// Seconds since 1970.
    pub wall: u64,
}

/// What makes a port the same as at the last look: verdict, expected, found.
type Face = (Status, BTreeSet<String>, BTreeSet<String>);
type Key = (String, String, String);

/// Since when a port is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    face: Face,
    pub at: Duration,
    /// It was so at the first look already: it may be so for longer.
    pub from_first: bool,
}

#[derive(Default)]
pub struct Board {
    pub report: Report,
    pub seen: Option<When>,
    /// With the wall clock's time; the last one is the newest.
    pub events: VecDeque<(u64, String)>,
    since: BTreeMap<Key, Since>,
    old: BTreeSet<u32>,
}

fn key(r: &PortResult) -> Key {
    (r.cluster.clone(), r.service.clone(), r.address.clone())
}

fn face(r: &PortResult) -> Face {
    (r.status, r.expected.iter().cloned().collect(), r.found.iter().cloned().collect())
}

impl Board {
    pub fn since(&self, r: &PortResult) -> Option<&Since> {
        self.since.get(&key(r))
    }

    /// Takes in a report: what is new, in an order that does not depend on how it was found.
    pub fn take(&mut self, report: Report, when: When) -> Vec<Event> {
        let first = self.seen.is_none();
        let mut events = self.leaders(&report);
        events.extend(self.ports(&report, when, first));
        events.extend(self.old_workers(&report));
        let before: BTreeSet<String> = self.report.errors.iter().map(ToString::to_string).collect();
        let errors = report.errors.iter().map(ToString::to_string).filter(|e| !before.contains(e));
        events.extend(errors.map(|why| Event::Failed { why }));
        // What was so from the beginning is on the screen, and no event of the screen's.
        if !first {
            self.events.extend(events.iter().map(|e| (when.wall, e.text())));
            let surplus = self.events.len().saturating_sub(EVENTS);
            self.events.drain(..surplus);
        }
        (self.report, self.seen) = (report, Some(when));
        events
    }

    fn leaders(&self, report: &Report) -> Vec<Event> {
        let is_new = |(c, m): &(&String, &Vec<String>)| self.report.leaders.get(*c) != Some(*m);
        let event =
            |(c, m): (&String, &Vec<String>)| Event::Leader { cluster: c.clone(), members: m.clone() };
        report.leaders.iter().filter(is_new).map(event).collect()
    }

    fn ports(&mut self, report: &Report, when: When, first: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let mut now = BTreeMap::new();
        for r in &report.verify {
            let since = match self.since.remove(&key(r)) {
                Some(since) if since.face == face(r) => since,
                _ => {
                    events.push(Event::Port(r.clone()));
                    Since { face: face(r), at: when.at, from_first: first }
                }
            };
            now.insert(key(r), since);
        }
        // A look that could not be made says nothing about ports.
        if !report.verify.is_empty() || report.errors.is_empty() {
            self.since = now;
        }
        events
    }

    fn old_workers(&mut self, report: &Report) -> Vec<Event> {
        let now: BTreeSet<u32> = report.old_workers.iter().map(|w| w.pid).collect();
        let came = report.old_workers.iter().filter(|w| !self.old.contains(&w.pid));
        let mut events: Vec<Event> = came.map(|w| Event::OldWorker(w.clone())).collect();
        events.extend(self.old.difference(&now).map(|pid| Event::OldWorkerGone { pid: *pid }));
        self.old = now;
        events
    }
}
