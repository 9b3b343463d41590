//! Sessions that are where no new one would go: on a member that lost the role its service needs, or in the backup tier
//! while the active one is up. Pure: who asks HAProxy and Patroni, and who cuts, is elsewhere.

mod roles;
mod talk;
mod tell;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::stats::{Kind, ProxyRow, Session};
use crate::resolve::{Expectation, ResolvedService, Server, Tier};

pub use roles::{Live, live};
pub use talk::{GRACE, Talk, Waiting, filter, parse_ss};
pub use tell::{Busy, Count, Group, OldWorker, busy, groups, old_worker};

/// The active tier must have been up for this long, seconds, before the backup tier is drained: a tier that flaps takes
/// nobody back, and servers of a new worker are up until their first check.
pub const SETTLE: u64 = 10;

/// The process that holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Worker {
    Current,
    /// One of a configuration before, by its process id.
    Old(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub worker: Worker,
    pub session: Session,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// By its live role the member belongs to no tier of the service: it is cut.
    LostRole,
    /// The member is a backup now, and the active tier is up: it is drained.
    Backup,
}

/// A session that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    pub cluster: String,
    pub service: String,
    pub instance: String,
    pub live: Live,
    pub why: Why,
    pub worker: Worker,
    /// HAProxy's name of the session.
    pub id: String,
}

/// The backend and the server of a session, as HAProxy calls them.
pub type Place = (String, String);

/// Live roles by cluster and instance.
pub type Roles = BTreeMap<String, BTreeMap<String, Live>>;

/// The service whose backend has that name.
fn owner<'a>(services: &[&'a ResolvedService], backend: &str) -> Option<&'a ResolvedService> {
    let is = |s: &&&ResolvedService| {
        backend
            .strip_prefix(s.listener.as_str())
            .is_some_and(|rest| rest.is_empty() || rest == "-backup" && s.is_two_tier())
    };
    services.iter().find(is).copied()
}

/// What the serving worker says of a service's servers, those that only check left out.
fn rows_of<'a>(service: &'a ResolvedService, rows: &'a [ProxyRow]) -> impl Iterator<Item = &'a ProxyRow> {
    let one = [service];
    rows.iter().filter(move |r| r.kind == Kind::Server && owner(&one, &r.proxy).is_some())
}

fn is_backup(row: &ProxyRow, service: &ResolvedService) -> bool {
    row.proxy != service.listener || row.backup == Some(1)
}

/// Whether the active tier has been up for a while.
fn settled(service: &ResolvedService, rows: &[ProxyRow]) -> bool {
    let long = |r: &ProxyRow| r.status.serves() && r.lastchg.is_some_and(|s| s >= SETTLE);
    rows_of(service, rows).any(|r| !is_backup(r, service) && long(r))
}

/// Whether new sessions of a service may go to a member.
fn takes_new(service: &ResolvedService, rows: &[ProxyRow], instance: &str) -> bool {
    rows_of(service, rows).any(|r| r.server == instance && r.status.serves())
}

/// Where the serving worker holds sessions.
pub fn busy_places(rows: &[ProxyRow]) -> BTreeSet<Place> {
    let held = rows.iter().filter(|r| r.kind == Kind::Server && r.scur > 0);
    held.map(|r| (r.proxy.clone(), r.server.clone())).collect()
}

/// The clusters whose live roles decide about sessions at these places: HAProxy says of each that no new session would
/// go there, or that it is a backup while the active tier is up. Where it says so of none, nobody is asked.
pub fn suspects(
    services: &[&ResolvedService],
    rows: &[ProxyRow],
    places: &BTreeSet<Place>,
) -> BTreeSet<String> {
    let doubtful = |s: &ResolvedService, (backend, server): &Place| {
        let mut here = rows_of(s, rows).filter(|r| r.proxy == *backend && r.server == *server).peekable();
        let known = s.servers.iter().any(|x| x.instance == *server);
        known
            && (here.peek().is_none()
                || here.any(|r| !r.status.serves() || is_backup(r, s) && settled(s, rows)))
    };
    let of =
        |place: &Place| owner(services, &place.0).filter(|s| doubtful(s, place)).map(|s| s.cluster.clone());
    places.iter().filter_map(of).collect()
}

/// The sessions that are to go, by the live roles. What no role is known of stays, and so does whatever would come back
/// to the same member by HAProxy's own view: a check decides there first, and a lag decides nothing here.
pub fn strays(services: &[&ResolvedService], rows: &[ProxyRow], roles: &Roles, held: &[Held]) -> Vec<Stray> {
    let one = |h: &Held| {
        let service = owner(services, &h.session.backend)?;
        let server = service.servers.iter().find(|s| s.instance == h.session.server)?;
        let live = roles.get(&service.cluster)?.get(&server.instance).copied().unwrap_or(Live::Unknown);
        let why = verdict(service, server, live, rows)?;
        Some(Stray {
            cluster: service.cluster.clone(),
            service: service.service.clone(),
            instance: server.instance.clone(),
            live,
            why,
            worker: h.worker,
            id: h.session.id.clone(),
        })
    };
    held.iter().filter_map(one).collect()
}

fn verdict(service: &ResolvedService, server: &Server, live: Live, rows: &[ProxyRow]) -> Option<Why> {
    let tier = match live {
        Live::Unknown if server.conditional() => return None,
        Live::Unknown => server.as_primary,
        known => server.tier(known == Live::Leads),
    };
    let other_role = match service.expectation {
        Expectation::Primary | Expectation::Leader => live == Live::Follows,
        Expectation::Replica => live == Live::Leads,
        Expectation::ReadOnly | Expectation::Check => false,
    };
    if other_role || tier.is_none() {
        return (!takes_new(service, rows, &server.instance)).then_some(Why::LostRole);
    }
    (tier == Some(Tier::Backup) && settled(service, rows)).then_some(Why::Backup)
}

#[cfg(test)]
mod tests;
