//! Sessions counted, and in words for people. Nothing is decided here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Held, Live, Stray, Why, Worker, owner};
use crate::resolve::ResolvedService;
use crate::verify::stats::{Kind, Process, ProxyRow};

/// A worker of an earlier configuration, which runs no health checks and lives until its last session ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldWorker {
    pub pid: u32,
    /// Seconds since it was started.
    pub age: u64,
    pub sessions: Vec<Count>,
}

/// Sessions at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The listener: `pg-test-primary`.
    pub service: String,
    /// The member; empty for a session that waits for one.
    pub server: String,
    pub count: usize,
    /// Seconds since the oldest of them began.
    pub oldest: u64,
}

/// An old worker with its sessions by service and server.
pub fn old_worker(process: &Process, held: &[Held]) -> OldWorker {
    let mut counts: BTreeMap<(String, String), (usize, u64)> = BTreeMap::new();
    for h in held.iter().filter(|h| h.worker == Worker::Old(process.pid)) {
        let at = (h.session.frontend.clone(), h.session.server.clone());
        let (count, oldest) = counts.entry(at).or_default();
        *count = count.saturating_add(1);
        *oldest = h.session.age.max(*oldest);
    }
    let one = |((service, server), (count, oldest))| Count { service, server, count, oldest };
    OldWorker { pid: process.pid, age: process.uptime, sessions: counts.into_iter().map(one).collect() }
}

/// Sessions of the serving worker at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Busy {
    /// The listener: `pg-test-primary`; both of its tiers.
    pub service: String,
    pub server: String,
    pub count: u64,
}

/// The places of these services that hold sessions, by what the serving worker says.
pub fn busy(services: &[&ResolvedService], rows: &[ProxyRow]) -> Vec<Busy> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.kind == Kind::Server && r.scur > 0) {
        let Some(service) = owner(services, &row.proxy) else { continue };
        let count = counts.entry((&service.listener, &row.server)).or_default();
        *count = count.saturating_add(row.scur);
    }
    let one = |((service, server), count): ((&str, &str), u64)| Busy {
        service: service.to_owned(),
        server: server.to_owned(),
        count,
    };
    counts.into_iter().map(one).collect()
}

/// Strays that have all in common but themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub cluster: String,
    pub service: String,
    pub server: String,
    pub role: Live,
    pub why: Why,
    pub worker: Worker,
    pub sessions: usize,
}

/// Counts strays.
pub fn groups<'s>(strays: impl IntoIterator<Item = &'s Stray>) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    for s in strays {
        let same = |g: &&mut Group| {
            (&g.cluster, &g.service, &g.server, g.why, g.worker)
                == (&s.cluster, &s.service, &s.instance, s.why, s.worker)
        };
        match all.iter_mut().find(same) {
            Some(g) => g.sessions = g.sessions.saturating_add(1),
            None => all.push(Group {
                cluster: s.cluster.clone(),
                service: s.service.clone(),
                server: s.instance.clone(),
                role: s.live,
                why: s.why,
                worker: s.worker,
                sessions: 1,
            }),
        }
    }
    all
}

impl Group {
    /// `2 sessions in old worker 123 on pg-test-1, which is replica now`.
    pub fn text(&self) -> String {
        let sessions = if self.sessions == 1 { "session" } else { "sessions" };
        let place = match self.worker {
            Worker::Current => String::new(),
            Worker::Old(pid) => format!(" in old worker {pid}"),
        };
        let what = match self.why {
            Why::LostRole => format!("which is {} now", self.role.word()),
            Why::Backup => "a backup, while the active tier is up".to_owned(),
        };
        format!("{} {sessions}{place} on {}, {what}", self.sessions, self.server)
    }
}
