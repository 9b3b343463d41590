//! The leader, asked of the members themselves: when HAProxy has it wrong, HAProxy is told at once what its checks will
//! find out. What is told is `daemon::haproxy::follow`'s matter.
//!
//! What this costs: one question to each member's health endpoint a look, as every server's own check asks it anyway. When
//! a role moves, all checks are made for some seconds, and more often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::said::{Event, Voice};
use super::{ASK, Node};
use crate::daemon::haproxy::config::{Backend, Server};
use crate::daemon::haproxy::follow::{Asked, Mark, leaders, marks, moved};
use crate::run::seed::{self, names, probe};
use crate::transaction;
use crate::verify::deadline::Deadline;
use crate::verify::stats::ProxyRow;

/// All members answer within this time, or are silent.
const PROBES: Duration = Duration::from_secs(1);
/// Questions a second that one node asks at most: a thousand clusters are asked less often.
const RATE: u32 = 200;
/// How long a member whose part changed is looked after: a demoted one starts again within seconds.
const WINDOW: Duration = Duration::from_secs(20);
/// Between two looks while a role moves.
pub(super) const OFTEN: Duration = Duration::from_millis(250);
/// Where HAProxy and the members disagree and nothing is to be told (a leader without its pooler), all checks are made
/// no more often.
const AGAIN: Duration = Duration::from_secs(2);
/// Commands in one line: HAProxy reads at most 16 KiB.
const LINE: usize = 100;

#[derive(Default)]
pub(super) struct Follow {
    backends: Vec<Backend>,
    leaders: Vec<Backend>,
    addresses: BTreeMap<String, IpAddr>,
    /// Hosts whose part as leader changed lately, and when that was seen.
    moved: BTreeMap<String, Duration>,
    /// When leaders were asked, and when all checks were made without anything to tell.
    asked: Option<Duration>,
    idle: Option<Duration>,
}

impl Follow {
    /// Reads again what HAProxy loads, and what members' names mean.
    pub fn load(&mut self, node: &Node<'_>) {
        self.backends = seed::loaded(node).into_iter().filter(|b| b.stateful).collect();
        self.leaders = leaders(&self.backends);
        let end = Deadline::after(node.sys, PROBES);
        self.addresses = match self.leaders.is_empty() {
            true => BTreeMap::new(),
            false => names::addresses(node, &self.backends, end),
        };
    }

    /// Some member's part is changing.
    pub fn is_moving(&self) -> bool {
        !self.moved.is_empty()
    }

    /// One look; `rows` is HAProxy's view of this moment.
    pub fn look(&mut self, node: &Node<'_>, rows: &[ProxyRow], voice: &mut Voice<'_>) {
        let now = node.sys.now();
        self.moved.retain(|_, at| now.saturating_sub(*at) < WINDOW);
        if !self.is_due(now) {
            return;
        }
        self.asked = Some(now);
        if self.moved.is_empty() {
            if moved(&ask(node, &self.leaders, &self.addresses), rows).is_empty() {
                self.idle = None;
                return;
            }
            if self.idle.is_some_and(|at| now.saturating_sub(at) < AGAIN) {
                return;
            }
        }
        if transaction::unproven(node.sys, &node.paths.state_dir) {
            return voice.holds();
        }
        let all = ask(node, &self.backends, &self.addresses);
        self.moved.extend(moved(&all, rows).into_iter().map(|host| (host, now)));
        let marks = marks(&all, rows, &self.moved.keys().cloned().collect());
        self.idle = marks.is_empty().then_some(now);
        tell(node, &marks, voice);
    }

    fn is_due(&self, now: Duration) -> bool {
        let servers = self.leaders.iter().map(|b| b.servers.len()).max().unwrap_or(0);
        let hosts = self.addresses.len().max(servers);
        let pause = Duration::from_secs(1).saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX)) / RATE;
        !self.leaders.is_empty() && self.asked.is_none_or(|at| now.saturating_sub(at) >= pause)
    }
}

/// Makes the checks of all servers of these backends.
fn ask<'b>(node: &Node<'_>, backends: &'b [Backend], addresses: &BTreeMap<String, IpAddr>) -> Vec<Asked<'b>> {
    let seen = probe::ask_all(node, backends, addresses, Deadline::after(node.sys, PROBES));
    let servers = backends.iter().flat_map(|backend| backend.servers.iter().map(move |s| (backend, s)));
    let asked = |(backend, server): (&'b Backend, &'b Server)| {
        let address = addresses.get(&server.host).copied();
        Asked { backend, server, seen: probe::result(backends, backend, server, address, &seen) }
    };
    servers.map(asked).collect()
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
