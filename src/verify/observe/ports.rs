//! Asks the load balancer's ports and gathers for each what `judge` wants to know. No member is asked here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::contact::contact;
use super::members::Seen;
use super::{Look, PROBE, Target};
use crate::inventory::cluster::Cluster;
use crate::resolve::{ResolvedService, Server, Tier};
use crate::verify::deadline::Deadline;
use crate::verify::judge::{Candidate, Contact, Evidence, PortResult, View, enough, judge, judge_empty};
use crate::verify::parallel::parallel;
use crate::verify::stats::{self, Kind, ProxyRow, Via};

/// Services at the same time.
const SERVICES: usize = 64;

/// HAProxy's own view, as far as there is one.
pub(super) struct Balancer {
    rows: Vec<ProxyRow>,
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
    let ip = match (bind.ip(), remote) {
        (ip, _) if !ip.is_unspecified() => ip,
        (_, Some(remote)) => remote,
        (IpAddr::V4(_), None) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (IpAddr::V6(_), None) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    Place::Here(SocketAddr::new(ip, bind.port()))
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
    for _ in 0..enough(&servers) {
        let one = contact(l, addr, Deadline::after(l.sys, PROBE));
        let session = matches!(one, Contact::Session(_));
        evidence.contacts.push(one);
        let reached = judge(evidence).found.len();
        let done = reached >= expected.max(1) && evidence.contacts.len() >= expected;
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
        })
        .collect()
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
mod tests {
    use super::*;
    use crate::host::fake::FakeSystem;
    use crate::inventory::Vars;
    use crate::inventory::cluster::{Overrides, build};
    use crate::resolve::{RoleSource, cluster};
    use crate::verify::judge::Status;
    use crate::verify::observe::look;
    use serde_json::{Value, json};

    fn pg_test() -> Cluster {
        let vars: Vars =
            json!({"pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary"}).as_object().unwrap().clone();
        build(
            "pg-test",
            &[("127.0.0.1", &vars)],
            &Overrides { services: None::<Value>, ..Overrides::default() },
        )
        .unwrap()
    }

    fn looking(sys: &FakeSystem) -> Look<'_> {
        Look { sys, login: None, remote: None, stats_socket: None, ca: BTreeMap::new() }
    }

    #[test]
    fn an_address_of_another_node_is_not_asked_from_here() {
        let at = |a: &str| a.parse::<SocketAddr>().unwrap();
        let own: [IpAddr; 1] = ["10.0.0.1".parse().unwrap()];
        let here =
            |remote: Option<IpAddr>, bind| place(remote, remote.is_none().then_some(&own[..]), at(bind));
        let lb = Some("10.0.0.7".parse().unwrap());
        assert_eq!(here(None, "10.0.0.9:1"), Place::Elsewhere(at("10.0.0.9:1")));
        assert_eq!(here(None, "10.0.0.1:1"), Place::Here(at("10.0.0.1:1")));
        assert_eq!(here(None, "127.0.0.2:1"), Place::Here(at("127.0.0.2:1")));
        assert_eq!(here(None, "[::]:1"), Place::Here(at("[::1]:1")));
        assert_eq!(here(lb, "10.0.0.9:1"), Place::Here(at("10.0.0.9:1")));
        assert_eq!(here(lb, "0.0.0.0:1"), Place::Here(at("10.0.0.7:1")));
        assert_eq!(place(None, None, at("10.0.0.9:1")), Place::Here(at("10.0.0.9:1")));
    }

    #[test]
    fn a_port_on_a_virtual_address_that_is_away_is_unproven_unless_it_is_known_to_be_wrong() {
        let (sys, c) = (FakeSystem::default(), pg_test());
        let mut services = cluster(&c, RoleSource::Patroni).unwrap();
        services.retain(|s| s.service == "offline");
        services.iter_mut().for_each(|s| {
            s.binds = vec!["10.0.0.9:5438".parse().unwrap()];
            s.servers.clear();
        });
        let results = look(&looking(&sys), &[Target { cluster: &c, services: services.iter().collect() }]);
        let r = results.first().unwrap();
        assert_eq!(r.status, Status::Unproven, "{r:?}");
        assert!(
            r.is_elsewhere()
                && r.notes
                    .iter()
                    .any(|n| n == "this node does not have 10.0.0.9 now; whoever has it must be asked"),
            "{r:?}"
        );
    }

    #[test]
    fn a_missing_witness_is_named_where_there_should_be_one() {
        let (sys, c) = (FakeSystem::default(), pg_test());
        let services = cluster(&c, RoleSource::Patroni).unwrap();
        let notes = |l: &Look<'_>| -> Vec<bool> {
            let results = look(l, &[Target { cluster: &c, services: services.iter().collect() }]);
            results
                .iter()
                .map(|r| r.notes.iter().any(|n| n == "HAProxy's own view is missing (no stats socket)"))
                .collect()
        };
        assert_eq!(notes(&looking(&sys)), [true; 4]);
        assert_eq!(notes(&Look { remote: Some("10.0.0.7".parse().unwrap()), ..looking(&sys) }), [false; 4]);
    }
}
