//! A connection to the PostgreSQL of every member that HAProxy takes for a leader, on which nothing is ever said. A server
//! that is demoted, stopped or killed closes it, and the watch wakes at that moment: HAProxy's checks need seconds, and a
//! demoted server is back as a replica before them. What that means is not decided here.
//!
//! To PostgreSQL such a connection is a client that has not said yet who it is: it takes no session, needs no login, and
//! leaves no line in the log, neither when the client goes nor when the server gives it up (authentication_timeout).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Node;
use crate::host::Stream;
use crate::parallel::parallel;
use crate::request::Model;

/// A server gives a silent client a minute (`authentication_timeout`); before that it is another connection.
const AGE: Duration = Duration::from_secs(45);
/// After one ended, or could not be had; twice as long each time that one does not live for half its age: where
/// `authentication_timeout` is a second, or something else than PostgreSQL listens, an end means nothing.
const AGAIN: Duration = Duration::from_secs(5);
const DOUBLINGS: u32 = 6;
/// A leader that answers HAProxy answers within this time.
const CONNECT: Duration = Duration::from_millis(500);
const AT_ONCE: usize = 64;

/// A member's address and PostgreSQL's port there. Two clusters may have an address in common.
type Place = (String, u16);

#[derive(Default)]
pub(super) struct Wires {
    /// PostgreSQL's ports by the member's address, as its clusters have them.
    ports: BTreeMap<String, BTreeSet<u16>>,
    held: BTreeMap<Place, Wire>,
    without: BTreeMap<Place, Pause>,
}

/// Until when there is none, and how many before it did not live long.
#[derive(Clone, Copy)]
struct Pause {
    until: Duration,
    short: u32,
}

struct Wire {
    stream: Box<dyn Stream>,
    since: Duration,
}

impl Wires {
    pub fn load(&mut self, model: &Model) {
        self.ports.clear();
        for m in model.clusters.values().flat_map(|c| &c.cluster.members) {
            self.ports.entry(m.address.clone()).or_default().insert(m.pg_port);
        }
    }

    /// Has a connection to each of these hosts, and to no other.
    pub fn keep(&mut self, node: &Node<'_>, leaders: &BTreeSet<&str>, addresses: &BTreeMap<String, IpAddr>) {
        let now = node.sys.now();
        let leads = |place: &Place| leaders.contains(place.0.as_str());
        self.held.retain(|place, wire| leads(place) && now.saturating_sub(wire.since) < AGE);
        self.without.retain(|place, _| leads(place));
        let mut wanted: Vec<(Place, SocketAddr)> = Vec::new();
        for (host, ip) in leaders.iter().filter_map(|host| Some((*host, addresses.get(*host)?))) {
            let ports = self.ports.get(host).into_iter().flatten();
            wanted.extend(ports.map(|port| ((host.to_owned(), *port), SocketAddr::new(*ip, *port))));
        }
        let waits = |place: &Place| self.without.get(place).is_some_and(|pause| now < pause.until);
        wanted.retain(|(place, _)| !self.held.contains_key(place) && !waits(place));
        let made = parallel(&wanted, AT_ONCE, |(_, addr)| node.sys.connect(*addr, CONNECT).ok());
        for ((place, _), stream) in wanted.into_iter().zip(made) {
            match stream {
                Some(stream) => drop(self.held.insert(place, Wire { stream, since: now })),
                None => self.pause(place, now, false),
            }
        }
    }

    /// In the order of their places.
    pub fn streams(&self) -> Vec<&dyn Stream> {
        self.held.values().map(|wire| wire.stream.as_ref()).collect()
    }

    /// The hosts of those that ended, by their numbers in `streams`.
    pub fn ended(&mut self, numbers: &[usize], now: Duration) -> BTreeSet<String> {
        let all = self.held.keys().enumerate().filter(|(n, _)| numbers.contains(n));
        let places: Vec<Place> = all.map(|(_, place)| place.clone()).collect();
        for place in &places {
            let lived = self.held.remove(place).map_or(AGE, |wire| now.saturating_sub(wire.since));
            self.pause(place.clone(), now, lived < AGE / 2);
        }
        places.into_iter().map(|(host, _)| host).collect()
    }

    fn pause(&mut self, place: Place, now: Duration, short: bool) {
        let before = self.without.get(&place).map_or(0, |pause| pause.short);
        let short = if short { before.saturating_add(1).min(DOUBLINGS) } else { 0 };
        let wait = AGAIN.saturating_mul(1 << short);
        self.without.insert(place, Pause { until: now.saturating_add(wait), short });
    }
}
