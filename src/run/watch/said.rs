//! What a watch says: a line for every change, for people or as JSON, and nothing twice. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::resolve::ResolvedService;
use crate::verify::judge::{PortResult, Status};
use crate::verify::stats::{Kind, Process, ProxyRow};
use crate::verify::stray::{Group, Held, OldWorker, old_worker};

/// Looks without an answer before it is said: a reload or a restart is no news.
const SILENT: u32 = 5;

/// A change. As JSON an object with `event`; fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Watches {
        clusters: Vec<String>,
        fix: bool,
    },
    /// Nothing was applied on the node.
    Nothing,
    Silent {
        why: String,
    },
    Answers,
    /// The members that new sessions of a service go to.
    Leads {
        service: String,
        servers: Vec<String>,
    },
    /// A member's part as leader changed, and HAProxy was told of it: the backends that it is up and down in now.
    Moved {
        member: String,
        up: Vec<String>,
        down: Vec<String>,
    },
    OldWorker(OldWorker),
    OldWorkerGone {
        pid: u32,
    },
    /// Strays that nobody cuts.
    Stray(Group),
    Cut(Group),
    /// A port's verdict, or where it must lead or leads, is another one now.
    Port(PortResult),
    /// Who holds the leader lock of a cluster, by the members' own word.
    Leader {
        cluster: String,
        members: Vec<String>,
    },
    /// What is wrong beside the ports.
    Failed {
        why: String,
    },
    /// An apply is between its swap and its proof.
    Holds,
    Replaced,
    Ended,
}

impl Event {
    /// For people.
    pub fn text(&self) -> String {
        let names = |list: &[String]| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
        match self {
            Self::Watches { clusters, fix: true } => {
                format!("watching {}, cutting sessions", clusters.join(", "))
            }
            Self::Watches { clusters, fix: false } => format!("watching {}", clusters.join(", ")),
            Self::Nothing => "nothing is applied on this node: waiting".to_owned(),
            Self::Silent { why } => format!("HAProxy does not answer: {why}"),
            Self::Answers => "HAProxy answers again".to_owned(),
            Self::Leads { service, servers } => format!("{service} leads to {}", names(servers)),
            Self::Moved { member, up, down } => {
                let part = |word: &str, list: &[String]| match list {
                    [] => String::new(),
                    list => format!("; {word} in {}", list.join(", ")),
                };
                format!("{member}: its role changed{}{}", part("down", down), part("up", up))
            }
            Self::OldWorker(w) => {
                let count: usize = w.sessions.iter().map(|c| c.count).sum();
                let places: BTreeSet<&str> =
                    w.sessions.iter().map(|c| c.server.as_str()).filter(|s| !s.is_empty()).collect();
                let on = places.into_iter().collect::<Vec<_>>().join(", ");
                match count {
                    0 => format!("old worker {}: no sessions", w.pid),
                    n => {
                        format!("old worker {}: {n} session{} on {on}", w.pid, if n == 1 { "" } else { "s" })
                    }
                }
            }
            Self::OldWorkerGone { pid } => format!("old worker {pid} is gone"),
            Self::Stray(g) => {
                format!("{}-{}: {}; cut them: pgsvc verify --fix", g.cluster, g.service, g.text())
            }
            Self::Cut(g) => format!("{}-{}: {}: cut", g.cluster, g.service, g.text()),
            Self::Port(r) => port(r),
            Self::Leader { cluster, members } => format!("{cluster}: the leader is {}", names(members)),
            Self::Failed { why } => why.clone(),
            Self::Holds => "an apply is at work: nothing is cut until it ends".to_owned(),
            Self::Replaced => "another binary lies here now: ending, so that it can take over".to_owned(),
            Self::Ended => "ending".to_owned(),
        }
    }
}

fn port(r: &PortResult) -> String {
    let names = |list: &[String]| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
    let (expected, found) = (names(&r.expected), names(&r.found));
    let said = match r.status {
        Status::Ok => format!("leads to {found}"),
        Status::Empty => "nobody is to serve it".to_owned(),
        Status::Unproven if r.is_elsewhere() => "another node has the address".to_owned(),
        Status::Unproven => format!("must lead to {expected}, nobody logged in to see"),
        Status::Wrong => {
            let why = r.why.first().map(|w| format!(": {w}")).unwrap_or_default();
            format!("WRONG: must lead to {expected}, leads to {found}{why}")
        }
    };
    format!("{}-{} ({}) {said}", r.cluster, r.service, r.address)
}

/// Says what is new.
pub(super) struct Voice<'v> {
    out: &'v mut dyn FnMut(&Event),
    watched: Option<(Vec<String>, bool)>,
    unanswered: u32,
    leads: BTreeMap<String, Vec<String>>,
    old: BTreeSet<u32>,
    strays: Vec<Group>,
    holds: bool,
}

impl<'v> Voice<'v> {
    pub fn new(out: &'v mut dyn FnMut(&Event)) -> Self {
        let (watched, unanswered, holds) = (None, 0, false);
        Self {
            out,
            watched,
            unanswered,
            leads: BTreeMap::new(),
            old: BTreeSet::new(),
            strays: Vec::new(),
            holds,
        }
    }

    pub fn say(&mut self, event: Event) {
        (self.out)(&event);
    }

    pub fn watches(&mut self, clusters: Vec<String>, fix: bool) {
        let now = Some((clusters.clone(), fix));
        if self.watched != now {
            self.watched = now;
            self.say(if clusters.is_empty() { Event::Nothing } else { Event::Watches { clusters, fix } });
        }
    }

    pub fn silent(&mut self, why: &str) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered == SILENT {
            self.say(Event::Silent { why: why.to_owned() });
        }
    }

    pub fn answers(&mut self) {
        if self.unanswered >= SILENT {
            self.say(Event::Answers);
        }
        self.unanswered = 0;
    }

    /// Where new sessions go: to the active tier, and when that is empty to the other one.
    pub fn view(&mut self, services: &[&ResolvedService], rows: &[ProxyRow]) {
        let serving = |backend: &str, backup: bool| -> Vec<String> {
            let is = |r: &&ProxyRow| {
                r.kind == Kind::Server
                    && r.proxy == backend
                    && r.status.serves()
                    && (r.backup == Some(1)) == backup
            };
            rows.iter().filter(is).map(|r| r.server.clone()).collect()
        };
        for s in services {
            let tiers = [
                (s.listener.clone(), false),
                (s.listener.clone(), true),
                (format!("{}-backup", s.listener), false),
            ];
            let servers = tiers
                .iter()
                .map(|(b, backup)| serving(b, *backup))
                .find(|l| !l.is_empty())
                .unwrap_or_default();
            if self.leads.get(&s.listener) != Some(&servers) {
                self.leads.insert(s.listener.clone(), servers.clone());
                self.say(Event::Leads { service: s.listener.clone(), servers });
            }
        }
    }

    pub fn old(&mut self, process: &Process, held: &[Held]) {
        if self.old.insert(process.pid) {
            self.say(Event::OldWorker(old_worker(process, held)));
        }
    }

    /// The old workers that ended.
    pub fn old_gone(&mut self, now: &[Process]) -> Vec<u32> {
        let gone: Vec<u32> =
            self.old.iter().copied().filter(|pid| now.iter().all(|p| p.pid != *pid)).collect();
        for pid in &gone {
            self.old.remove(pid);
            self.say(Event::OldWorkerGone { pid: *pid });
        }
        gone
    }

    /// Strays that are not cut, when they change.
    pub fn found(&mut self, groups: Vec<Group>) {
        for g in groups.iter().filter(|g| !self.strays.contains(g)).cloned().collect::<Vec<_>>() {
            self.say(Event::Stray(g));
        }
        self.strays = groups;
    }

    pub fn holds(&mut self) {
        if !std::mem::replace(&mut self.holds, true) {
            self.say(Event::Holds);
        }
    }

    pub fn acts(&mut self) {
        self.holds = false;
    }
}
