//! The leader, asked of the members themselves: when HAProxy has it wrong, HAProxy is told at once what its checks will
//! find out. What is told, and what gives reason to ask, is `daemon::haproxy::follow`'s matter.
//!
//! What this costs: a silent connection to each leader, and no question while HAProxy's checks say what they said before.
//! Patroni's API is a slow one, and a failover is no time to press it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::quiet::Quiet;
use super::said::{Event, Voice};
use super::wires::Wires;
use super::{ASK, Node};
use crate::daemon::haproxy::config::{Backend, Server};
use crate::daemon::haproxy::follow::{Asked, Hint, Mark, View, doubtful, leading, marks, moved};
use crate::host::Stream;
use crate::request::Model;
use crate::run::seed::{self, names, probe};
use crate::transaction;
use crate::verify::deadline::Deadline;
use crate::verify::stats::ProxyRow;

/// What members' names mean is known within this time, or is what it was.
const NAMES: Duration = Duration::from_secs(1);
/// Members a second that one node asks at most: when a thousand clusters turn at once, each is asked less often.
const RATE: u32 = 200;
/// How long a member whose part changed is looked after: a demoted one starts again within seconds.
const WINDOW: Duration = Duration::from_secs(10);
/// And one whose server closed a connection, which need not mean anything.
const TRIPPED: Duration = Duration::from_secs(3);
/// From look to look meanwhile.
pub(super) const FAST: Duration = Duration::from_millis(250);
/// Where no check turns (a cluster without a leader, or whose leader's pooler is dead), it is asked no more often; and
/// once it has been so for a while.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_LATER: Duration = Duration::from_secs(3);
const WHILE: Duration = Duration::from_secs(60);
/// Commands in one line: HAProxy reads at most 16 KiB.
const LINE: usize = 100;

#[derive(Default)]
pub(super) struct Follow {
    backends: Vec<Backend>,
    addresses: BTreeMap<String, IpAddr>,
    wires: Wires,
    quiet: Quiet,
    /// Hosts whose part as leader changed lately or may have, and until when they are looked after.
    moved: BTreeMap<String, Duration>,
    /// When members were asked last, and how many.
    asked: Option<(Duration, usize)>,
    idle: Option<Idle>,
}

/// Members were asked, and HAProxy had it right.
#[derive(Clone, Copy)]
struct Idle {
    since: Duration,
    last: Duration,
}

impl Follow {
    /// Reads again what HAProxy loads, and what members' names mean.
    pub fn load(&mut self, node: &Node<'_>, model: &Model) {
        self.wires.load(model);
        self.backends = seed::loaded(node).into_iter().filter(|b| b.stateful).collect();
        self.addresses = match self.backends.iter().any(Backend::asks_for_leader) {
            true => names::addresses(node, &self.backends, Deadline::after(node.sys, NAMES)),
            false => BTreeMap::new(),
        };
    }

    /// What the pause until the next look is to hear of.
    pub fn wires(&self) -> Vec<&dyn Stream> {
        self.wires.streams()
    }

    /// Servers closed their connections, by their numbers in `wires`.
    pub fn ended(&mut self, numbers: &[usize], now: Duration) {
        for host in self.wires.ended(numbers, now) {
            let until = now.saturating_add(TRIPPED);
            self.moved.entry(host).and_modify(|at| *at = until.max(*at)).or_insert(until);
        }
    }

    /// How long the next look may wait.
    pub fn patience(&self, interval: Duration) -> Duration {
        if self.moved.is_empty() { interval } else { interval.min(FAST) }
    }

    /// One look; `rows` is HAProxy's view of this moment.
    pub fn look(&mut self, node: &Node<'_>, rows: &[ProxyRow], voice: &mut Voice<'_>) {
        let now = node.sys.now();
        self.moved.retain(|_, until| now < *until);
        let view = View::new(rows);
        self.wires.keep(node, &leading(&self.backends, &view), &self.addresses);
        if self.is_full(now) {
            return;
        }
        let mut hosts: BTreeSet<String> = self.moved.keys().cloned().collect();
        hosts.extend(self.doubted(node, &view, now));
        if hosts.is_empty() {
            return;
        }
        if transaction::unproven(node.sys, &node.paths.state_dir) {
            return voice.holds();
        }
        let some = self.concerned(&hosts);
        self.asked = Some((now, members(&some)));
        let all = self.ask(node, &some);
        let until = now.saturating_add(WINDOW);
        self.moved.extend(moved(&all, &view).into_iter().map(|host| (host, until)));
        let marks = marks(&all, &view, &self.moved.keys().cloned().collect());
        if !marks.is_empty() {
            self.idle = None;
        }
        tell(node, &marks, voice);
    }

    /// What is asked while roles move: who leads, of all that could; the rest, of those whose part changed.
    fn concerned(&self, hosts: &BTreeSet<String>) -> Vec<Backend> {
        let moves = |s: &Server| hosts.contains(&s.host);
        let mut some: Vec<Backend> =
            self.backends.iter().filter(|b| b.servers.iter().any(moves)).cloned().collect();
        some.iter_mut().filter(|b| !b.asks_for_leader()).for_each(|b| b.servers.retain(moves));
        some
    }

    fn is_full(&self, now: Duration) -> bool {
        let pause = |members: usize| {
            Duration::from_secs(1).saturating_mul(u32::try_from(members).unwrap_or(u32::MAX)) / RATE
        };
        self.asked.is_some_and(|(at, members)| now.saturating_sub(at) < pause(members))
    }

    /// Hosts that HAProxy has wrong as leaders, by the members' word; asked only where HAProxy's view gives reason to, and
    /// not where hosts are looked after anyway.
    fn doubted(&mut self, node: &Node<'_>, view: &View<'_>, now: Duration) -> BTreeSet<String> {
        let looked_after = |b: &&Backend| b.servers.iter().any(|s| self.moved.contains_key(&s.host));
        let Some((hint, some)) = doubtful(self.backends.iter().filter(|b| !looked_after(b)), view) else {
            self.idle = None;
            return BTreeSet::new();
        };
        if hint == Hint::Leaderless && self.idle.is_some_and(|idle| idle.is_enough(now)) {
            return BTreeSet::new();
        }
        self.asked = Some((now, members(&some)));
        let wrong = moved(&self.ask(node, &some), view);
        let since = self.idle.map_or(now, |idle| idle.since);
        self.idle = wrong.is_empty().then_some(Idle { since, last: now });
        wrong
    }

    /// Makes the checks of all servers of these backends.
    fn ask<'b>(&mut self, node: &Node<'_>, backends: &'b [Backend]) -> Vec<Asked<'b>> {
        let now = node.sys.now();
        let end = |host: &str| Deadline::at(now.saturating_add(self.quiet.patience(host, now)));
        let seen = probe::ask_all(node, backends, &self.addresses, end);
        self.quiet.heard(probe::heard(&seen), now);
        let servers = backends.iter().flat_map(|backend| backend.servers.iter().map(move |s| (backend, s)));
        let asked = |(backend, server): (&'b Backend, &'b Server)| {
            let address = self.addresses.get(&server.host).copied();
            Asked { backend, server, seen: probe::result(backends, backend, server, address, &seen) }
        };
        servers.map(asked).collect()
    }
}

impl Idle {
    fn is_enough(self, now: Duration) -> bool {
        let pause = if self.last.saturating_sub(self.since) < WHILE { AGAIN } else { AGAIN_LATER };
        now.saturating_sub(self.last) < pause
    }
}

fn members(backends: &[Backend]) -> usize {
    backends.iter().flat_map(|b| &b.servers).map(|s| s.host.as_str()).collect::<BTreeSet<_>>().len()
}

/// Tells HAProxy, and says so member by member.
fn tell(node: &Node<'_>, marks: &[Mark], voice: &mut Voice<'_>) {
    for some in marks.chunks(LINE) {
        let commands: Vec<String> = some.iter().map(Mark::command).collect();
        let line = format!("{}\n", commands.join(";"));
        if let Err(e) = node.sys.ask_unix(&node.paths.stats_socket, line.as_bytes(), ASK) {
            return voice.silent(&e.to_string());
        }
    }
    let members: BTreeSet<&str> = marks.iter().map(|m| m.server.as_str()).collect();
    for member in members {
        let of = |up: bool| {
            let mine = marks.iter().filter(|m| m.server == member && m.up == up);
            mine.map(|m| m.backend.clone()).collect::<Vec<_>>()
        };
        voice.say(Event::Moved { member: member.to_owned(), up: of(true), down: of(false) });
    }
}
