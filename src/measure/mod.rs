//! What clients see of a change: many short sessions at fixed times, to a cluster's ports and to its members directly.
//!
//! Here is what is asked and what it would have to show; [`load`] asks, [`sums`] counts. A verdict on the cluster is
//! `verify`'s matter.

pub mod load;
pub mod sums;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::request::ResolvedCluster;
use crate::resolve::{Expectation, ResolvedService, Tier};
use crate::verify::postgres::Brief;

/// What every session through a port is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// The primary, which commits a write.
    Write,
    /// A replica, while one of the active tier lives.
    Read,
    /// An answer: nothing is known of the role.
    Answer,
    /// No port: a member, asked directly. What it says is the truth that ports are measured by.
    Member,
}

/// Where sessions go, and what they must find there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The port's number, or the member's name.
    pub name: String,
    pub addr: SocketAddr,
    pub promise: Promise,
    /// Members that carry the port's reads as replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readers: Vec<String>,
    /// Between two sessions.
    pub every: Duration,
}

/// What came of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The target, by its place in the list.
    pub to: usize,
    /// When the schedule wanted it, and how long after that it was over: microseconds, from the beginning.
    pub at: u64,
    pub took: u64,
    #[serde(flatten)]
    pub came: Came,
}

impl Sample {
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.took)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Came {
    Served(Brief),
    Failed { error: String },
}

/// The ports of a cluster (all, or those named) and its members. A service with several addresses is measured at the
/// first one.
pub fn targets(
    c: &ResolvedCluster,
    only: &[u16],
    remote: Option<IpAddr>,
    members: &[(String, SocketAddr)],
    every: Duration,
    directly: Duration,
) -> Vec<Target> {
    let wanted = |s: &&ResolvedService| only.is_empty() || only.contains(&s.port());
    let ports = c.services.iter().filter(wanted).filter_map(|s| port(s, remote, every));
    let direct = members.iter().map(|(name, addr)| Target {
        name: name.clone(),
        addr: *addr,
        promise: Promise::Member,
        readers: Vec::new(),
        every: directly,
    });
    ports.chain(direct).collect()
}

fn port(s: &ResolvedService, remote: Option<IpAddr>, every: Duration) -> Option<Target> {
    let reads = |x: &&crate::resolve::Server| x.as_replica == Some(Tier::Active);
    let readers: Vec<String> = s.servers.iter().filter(reads).map(|x| x.instance.clone()).collect();
    // Where the primary is one of the active members, reads may go there at any time.
    let mixed = s.servers.iter().any(|x| x.as_primary == Some(Tier::Active));
    let promise = match s.expectation {
        Expectation::Primary => Promise::Write,
        Expectation::Replica | Expectation::ReadOnly if !mixed => Promise::Read,
        _ => Promise::Answer,
    };
    let addr = crate::verify::observe::reached_at(remote, *s.binds.first()?);
    let readers = if promise == Promise::Read { readers } else { Vec::new() };
    Some(Target { name: s.port().to_string(), addr, promise, readers, every })
}

#[cfg(test)]
mod tests;
