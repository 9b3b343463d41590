//! Asks the load balancer's ports and gathers for each what `judge` wants to know. No member is asked here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::contact::contact;
use super::members::Seen;
use super::{Look, PROBE, Target};
use crate::inventory::cluster::Cluster;
use crate::parallel::parallel;
use crate::resolve::{ResolvedService, Server, Tier};
use crate::verify::deadline::Deadline;
use crate::verify::judge::{
    Candidate, Contact, Evidence, PortResult, View, enough, judge, judge_empty, reached,
};
use crate::verify::stats::{self, Kind, ProxyRow, Via};

/// Services at the same time.
const SERVICES: usize = 128;

/// HAProxy's own view, as far as there is one.
pub(super) struct Balancer {
    pub(super) rows: Vec<ProxyRow>,
    /// Why a view that there should be is missing: a witness less.
    missing: Option<String>,
}

impl Balancer {
    pub(super) fn ask(l: &Look<'_>) -> Self {
        let rows = match &l.stats_socket {
            // Another machine's socket is out of reach, which is no news.
            None if l.remote.is_some() => Ok(Vec::new()),
            None => Err("no stats socket".to_owned()),
            Some(path) => stats::stat(l.sys, Via::Stats(path), Deadline::after(l.sys, PROBE))
                .map_err(|e| format!("{}: {e}", path.display())),
        };
        match rows {
            Ok(rows) => Self { rows, missing: None },
            Err(why) => Self { rows: Vec::new(), missing: Some(why) },
        }
    }
}

/// Asks all ports. Binds of one service share a backend, whose turns they would take from each other: one after another.
pub(super) fn ask(
    l: &Look<'_>,
    targets: &[Target<'_>],
    seen: &BTreeMap<String, Seen>,
    balancer: &Balancer,
) -> Vec<PortResult> {
    let own = own_addresses(l, targets);
    let jobs: Vec<(&Cluster, &ResolvedService)> =
        targets.iter().flat_map(|t| t.services.iter().map(|s| (t.cluster, *s))).collect();
    let results = parallel(&jobs, SERVICES, |(cluster, service)| {
        let one = |bind: &SocketAddr| {
            let evidence = evidence(cluster, service, seen, balancer);
            port(l, place(l.remote, own.as_deref(), *bind), evidence, balancer)
        };
        service.binds.iter().map(one).collect::<Vec<_>>()
    });
    results.into_iter().flatten().collect()
}

/// Where a bind is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here(SocketAddr),
    /// On an address that another node has now (a virtual one, most often): an answer would be that node's.
    Elsewhere(SocketAddr),
}

/// The node's own addresses, where any bind's place depends on them.
fn own_addresses(l: &Look<'_>, targets: &[Target<'_>]) -> Option<Vec<IpAddr>> {
    let mut binds = targets.iter().flat_map(|t| &t.services).flat_map(|s| &s.binds);
    if l.remote.is_some() || !binds.any(|b| is_explicit(b.ip())) {
        return None;
    }
    // A node that cannot tell is asked as before: the connection will show.
    l.sys.addresses().ok()
}

/// All of the loopback network is the node's, whether or not an interface lists each address.
fn is_explicit(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback()
}

fn place(remote: Option<IpAddr>, own: Option<&[IpAddr]>, bind: SocketAddr) -> Place {
    if is_explicit(bind.ip()) && remote.is_none() && own.is_some_and(|own| !own.contains(&bind.ip())) {
        return Place::Elsewhere(bind);
    }
    Place::Here(reached_at(remote, bind))
}

/// Where a bind is connected to, on this node or on another one.
pub fn reached_at(remote: Option<IpAddr>, bind: SocketAddr) -> SocketAddr {
    let ip = match (bind.ip(), remote) {
        (ip, _) if !ip.is_unspecified() => ip,
        (_, Some(remote)) => remote,
        (IpAddr::V4(_), None) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (IpAddr::V6(_), None) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, bind.port())
}

fn port(l: &Look<'_>, place: Place, mut evidence: Evidence<'_>, balancer: &Balancer) -> PortResult {
    let (Place::Here(addr) | Place::Elsewhere(addr)) = place;
    evidence.address = addr.to_string();
    if place == Place::Here(addr) {
        connect(l, addr, &mut evidence);
    }
    let mut result = judge(&evidence);
    judge_empty(&evidence, &mut result);
    if place == Place::Elsewhere(addr) {
        result.not_asked(addr.ip());
    }
    if let Some(why) = &balancer.missing {
        result.notes.push(format!("HAProxy's own view is missing ({why})"));
    }
    result
}

/// Connects until every member that must be reached was, or had its turns. Each connection has a whole probe's time:
/// what ends all of them is no fault of the last one's.
fn connect(l: &Look<'_>, addr: SocketAddr, evidence: &mut Evidence<'_>) {
    let end = Deadline::after(l.sys, PROBE.saturating_mul(3));
    let names = judge(evidence).expected;
    let expected = names.len();
    let servers: Vec<&Server> =
        evidence.service.servers.iter().filter(|s| names.contains(&s.instance)).collect();
    // Another machine's HAProxy does not say which tier serves: then the backup tier's turns must show themselves.
    let turns = if l.stats_socket.is_none() && !evidence.service.tier(Tier::Backup).is_empty() {
        evidence.service.servers.len().saturating_add(1)
    } else {
        expected
    };
    for _ in 0..enough(&servers).max(turns) {
        let one = contact(l, addr, Deadline::after(l.sys, PROBE));
        let session = matches!(one, Contact::Session(_));
        evidence.contacts.push(one);
        let done = reached(evidence) >= expected.max(1) && evidence.contacts.len() >= turns;
        // Without a session, a second connection tells nothing new.
        if !session || done || end.left(l.sys).is_none() {
            break;
        }
    }
}

/// What is known of a port before anybody connects.
fn evidence<'a>(
    cluster: &Cluster,
    service: &'a ResolvedService,
    seen: &'a BTreeMap<String, Seen>,
    balancer: &Balancer,
) -> Evidence<'a> {
    let others = cluster.members.iter().filter(|m| service.servers.iter().all(|s| s.instance != m.instance));
    let outsiders =
        others.filter_map(|m| Some((m.instance.clone(), seen.get(&m.instance)?.state.postgres.clone())));
    Evidence {
        service,
        address: String::new(),
        members: candidates(service, seen, &balancer.rows),
        contacts: Vec::new(),
        outsiders: outsiders.collect(),
    }
}

fn candidates<'a>(
    service: &'a ResolvedService,
    seen: &'a BTreeMap<String, Seen>,
    rows: &[ProxyRow],
) -> Vec<Candidate<'a>> {
    let one = |server: &'a Server| {
        let s = seen.get(&server.instance)?;
        Some(Candidate {
            server,
            state: &s.state,
            check: s.check(service, server),
            target: s.target(server.port),
            view: view(service, server, rows),
        })
    };
    service.servers.iter().filter_map(one).collect()
}

fn view(service: &ResolvedService, server: &Server, rows: &[ProxyRow]) -> Vec<View> {
    let backup = format!("{}-backup", service.listener);
    let mine = rows.iter().filter(|r| r.kind == Kind::Server && r.server == server.instance);
    mine.filter(|r| r.proxy == service.listener || r.proxy == backup)
        .map(|r| View {
            tier: if r.proxy == backup || r.backup == Some(1) { Tier::Backup } else { Tier::Active },
            up: r.status.serves(),
            by_hand: by_hand(r, server),
            status: r.status_text.clone(),
            weight: other_weight(service, server, r),
        })
        .collect()
}

/// Another weight than the wanted one. Only of one that serves, and where no `slowstart` lets it grow by itself.
fn other_weight(service: &ResolvedService, server: &Server, r: &ProxyRow) -> Option<u32> {
    let steady = r.status.serves() && service.options.get("slowstart").is_none();
    r.weight.filter(|w| steady && *w != u32::from(server.weight))
}

/// MAINT and DRAIN are an operator's, but for a weight of 0 in the file and a name that does not resolve.
fn by_hand(r: &ProxyRow, server: &Server) -> bool {
    match r.status {
        stats::Status::Maint => !r.status_text.contains("resolution"),
        stats::Status::Drain => server.weight > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
