//! Looks at members, HAProxy and ports, and lets `judge` speak. The order of a look and its repetition are here; how a
//! member or a port is asked is not, and no verdict is made.

mod contact;
mod health;
mod members;
mod ports;
mod roles;

pub use members::resolve;
pub use ports::reached_at;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::deadline::Deadline;
use super::judge::{PortResult, Status};
use super::postgres::Login;
use super::stats::ProxyRow;
use super::tls::TlsConfig;
use crate::host::System;
use crate::inventory::cluster::Cluster;
use crate::inventory::tls::TlsFiles;
use crate::resolve::ResolvedService;

pub use roles::roles;

/// The longest a single probe may take.
const PROBE: Duration = Duration::from_secs(3);

/// How ports are looked at.
pub struct Look<'a> {
    pub sys: &'a dyn System,
    /// `None`: the protocol's handshake only.
    pub login: Option<Login>,
    /// Another machine's ports: its address. `None`: this node's own.
    pub remote: Option<IpAddr>,
    /// HAProxy's stats socket; `None` where there is no way to it.
    pub stats_socket: Option<PathBuf>,
    /// How Patroni's API is spoken to over TLS, by the files that clusters name.
    pub tls: BTreeMap<TlsFiles, Result<TlsConfig, String>>,
}

/// A cluster and those of its services that are to be looked at.
pub struct Target<'a> {
    pub cluster: &'a Cluster,
    pub services: Vec<&'a ResolvedService>,
}

/// How much is asked of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Patroni only. Enough for a port that sessions then prove; for any other the full look follows.
    Brief,
    Full,
}

/// One look at every port of every target: members first, then ports. Each member and each port has a time of its own,
/// counted from when it is asked: silent hosts, however many, take nothing from a port that is well.
fn look(l: &Look<'_>, targets: &[Target<'_>], depth: Depth) -> Seen {
    let seen = members::ask(l, targets, depth);
    let balancer = ports::Balancer::ask(l);
    let leaders =
        targets.iter().map(|t| (t.cluster.name.clone(), members::leaders(t.cluster, &seen))).collect();
    Seen { ports: ports::ask(l, targets, &seen, &balancer), rows: balancer.rows, leaders }
}

/// What a look came to, and HAProxy's view that it was made with.
#[derive(Debug, Default)]
pub struct Seen {
    pub ports: Vec<PortResult>,
    pub rows: Vec<ProxyRow>,
    /// By cluster, the members that hold the leader lock by their own word: one, where all is well.
    pub leaders: BTreeMap<String, Vec<String>>,
}

/// Looks, and repeats the look at ports that are not right until they are, or patience ends.
pub fn until_right(l: &Look<'_>, targets: &[Target<'_>], patience: Deadline) -> Seen {
    // Without a login nothing is proven by a session, and so nothing can be taken for granted.
    let mut results = if l.login.is_some() {
        let mut brief = look(l, targets, Depth::Brief);
        again(l, targets, &mut brief, |s| s != Status::Ok);
        brief
    } else {
        look(l, targets, Depth::Full)
    };
    loop {
        let wrong = results.ports.iter().any(|r| r.status == Status::Wrong);
        if !wrong || patience.left(l.sys).is_none_or(|t| t < Duration::from_millis(200)) {
            return results;
        }
        l.sys.sleep(Duration::from_millis(100));
        again(l, targets, &mut results, |s| s == Status::Wrong);
    }
}

/// Looks in full at the services that have a port of a certain status, and enters what is seen now.
fn again(l: &Look<'_>, targets: &[Target<'_>], seen: &mut Seen, which: impl Fn(Status) -> bool) {
    let chosen: BTreeSet<(String, String)> = seen
        .ports
        .iter()
        .filter(|r| which(r.status))
        .map(|r| (r.cluster.clone(), r.service.clone()))
        .collect();
    let is_chosen = |s: &&&ResolvedService| chosen.contains(&(s.cluster.clone(), s.service.clone()));
    let some: Vec<Target<'_>> = targets
        .iter()
        .map(|t| (t, t.services.iter().filter(is_chosen).copied().collect::<Vec<_>>()))
        .filter(|(_, services)| !services.is_empty())
        .map(|(t, services)| Target { cluster: t.cluster, services })
        .collect();
    if some.is_empty() {
        return;
    }
    let fresh = look(l, &some, Depth::Full);
    let place = |r: &PortResult| (r.cluster.clone(), r.service.clone(), r.address.clone());
    let now: BTreeMap<_, _> = fresh.ports.into_iter().map(|f| (place(&f), f)).collect();
    for r in &mut seen.ports {
        if let Some(f) = now.get(&place(r)) {
            *r = f.clone();
        }
    }
    seen.rows = fresh.rows;
    seen.leaders.extend(fresh.leaders);
}
