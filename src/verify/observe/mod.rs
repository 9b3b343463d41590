//! Looks at members, HAProxy and ports, and lets `judge` speak. The order of a look and its repetition are here; how a
//! member or a port is asked is not, and no verdict is made.

mod contact;
mod health;
mod members;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::deadline::Deadline;
use super::judge::{PortResult, Status};
use super::postgres::Login;
use super::tls::TlsConfig;
use crate::host::System;
use crate::inventory::cluster::Cluster;
use crate::resolve::ResolvedService;

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
    /// Patroni's CA by the path it has on this node, where the cluster names one.
    pub ca: BTreeMap<String, Result<TlsConfig, String>>,
}

/// A cluster and those of its services that are to be looked at.
pub struct Target<'a> {
    pub cluster: &'a Cluster,
    pub services: Vec<&'a ResolvedService>,
}

/// One look at every port of every target: members first, then ports. Each member and each port has a time of its own,
/// counted from when it is asked: silent hosts, however many, take nothing from a port that is well.
pub fn look(l: &Look<'_>, targets: &[Target<'_>]) -> Vec<PortResult> {
    let seen = members::ask(l, targets);
    let balancer = ports::Balancer::ask(l);
    ports::ask(l, targets, &seen, &balancer)
}

/// Repeats the look at ports that are not right until they are, or patience ends.
pub fn until_right(l: &Look<'_>, targets: &[Target<'_>], patience: Deadline) -> Vec<PortResult> {
    let mut results = look(l, targets);
    loop {
        let wrong: BTreeSet<(String, String)> = results
            .iter()
            .filter(|r| r.status == Status::Wrong)
            .map(|r| (r.cluster.clone(), r.service.clone()))
            .collect();
        let left = patience.left(l.sys);
        if wrong.is_empty() || left.is_none_or(|t| t < Duration::from_millis(200)) {
            return results;
        }
        l.sys.sleep(Duration::from_millis(100));
        let again: Vec<Target<'_>> = targets
            .iter()
            .map(|t| {
                let is_wrong =
                    |s: &&&ResolvedService| wrong.contains(&(s.cluster.clone(), s.service.clone()));
                Target { cluster: t.cluster, services: t.services.iter().filter(is_wrong).copied().collect() }
            })
            .filter(|t| !t.services.is_empty())
            .collect();
        let fresh = look(l, &again);
        for r in &mut results {
            let same = |f: &&PortResult| {
                (&f.cluster, &f.service, &f.address) == (&r.cluster, &r.service, &r.address)
            };
            if let Some(f) = fresh.iter().find(same) {
                *r = f.clone();
            }
        }
    }
}
