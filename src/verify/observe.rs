//! Looks at members, HAProxy and ports, all at the same time, and lets `judge` speak. No verdict is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::deadline::Deadline;
use super::judge::{ApiState, Candidate, Contact, Evidence, MemberState, PortResult, Status, View, Who, enough, judge, judge_empty};
use super::parallel::parallel;
use super::patroni::{self, Api, ClusterView, Lag, MemberHealth};
use super::postgres::{self, Answer, Login, PgError};
use super::stats::{self, Kind, ProxyRow, Via};
use super::tls::TlsConfig;
use crate::host::System;
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;
use crate::resolve::{ResolvedService, Server, Tier};

/// The longest a single probe may take.
const PROBE: Duration = Duration::from_secs(3);
/// A replica further behind than this is worth a note, bytes.
const FAR_BEHIND: u64 = 64 << 20;
/// Probes at the same time.
const WORKERS: usize = 64;

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

/// Everything seen of one member.
struct Seen {
    state: MemberState,
    targets: BTreeMap<u16, Contact>,
    checks: BTreeMap<CheckKey, Result<(), String>>,
}

type CheckKey = (u16, bool, String, u16);

enum Job<'a> {
    Api(&'a Cluster, &'a Member),
    Overview(&'a Cluster),
    Target(&'a Member, u16),
    Check(&'a Cluster, &'a Member, CheckKey),
}

enum Answered {
    Api(Result<MemberHealth, String>),
    Overview(Option<ClusterView>),
    Target(Contact),
    Check(Result<(), String>),
}

/// One look at every port of every target: members first, then ports, at most three probes' time in all.
pub fn look(l: &Look<'_>, targets: &[Target<'_>]) -> Vec<PortResult> {
    let deadline = Deadline::after(l.sys, PROBE.saturating_mul(3));
    let (seen, rows) = members(l, targets, deadline);
    let own = own_addresses(l, targets);
    let mut jobs = Vec::new();
    for t in targets {
        for s in &t.services {
            for bind in &s.binds {
                jobs.push((t.cluster, *s, place(l.remote, own.as_deref(), *bind)));
            }
        }
    }
    parallel(&jobs, WORKERS, |(cluster, service, place)| port(l, cluster, service, *place, &seen, &rows, deadline))
}

/// Repeats the look at ports that are not right until they are, or patience ends.
pub fn until_right(l: &Look<'_>, targets: &[Target<'_>], patience: Deadline) -> Vec<PortResult> {
    let mut results = look(l, targets);
    loop {
        let wrong: BTreeSet<(String, String)> =
            results.iter().filter(|r| r.status == Status::Wrong).map(|r| (r.cluster.clone(), r.service.clone())).collect();
        let left = patience.left(l.sys);
        if wrong.is_empty() || left.is_none_or(|t| t < Duration::from_millis(200)) {
            return results;
        }
        l.sys.sleep(Duration::from_millis(100));
        let again: Vec<Target<'_>> = targets
            .iter()
            .map(|t| {
                let is_wrong = |s: &&&ResolvedService| wrong.contains(&(s.cluster.clone(), s.service.clone()));
                Target { cluster: t.cluster, services: t.services.iter().filter(is_wrong).copied().collect() }
            })
            .filter(|t| !t.services.is_empty())
            .collect();
        let fresh = look(l, &again);
        for r in &mut results {
            let same = |f: &&PortResult| (&f.cluster, &f.service, &f.address) == (&r.cluster, &r.service, &r.address);
            if let Some(f) = fresh.iter().find(same) {
                *r = f.clone();
            }
        }
    }
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

/// Asks every member everything that any of its ports needs to know, each thing once.
fn members(l: &Look<'_>, targets: &[Target<'_>], deadline: Deadline) -> (BTreeMap<String, Seen>, Result<Vec<ProxyRow>, String>) {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for t in targets {
        jobs.push(Job::Overview(t.cluster));
        for m in &t.cluster.members {
            jobs.push(Job::Api(t.cluster, m));
            let servers = t.services.iter().flat_map(|s| s.servers.iter().map(move |x| (*s, x)));
            let mine: Vec<_> = servers.filter(|(_, x)| x.instance == m.instance).collect();
            let mut ports: BTreeSet<u16> = mine.iter().map(|(_, x)| x.port).collect();
            ports.insert(m.pg_port);
            jobs.extend(ports.into_iter().map(|p| Job::Target(m, p)));
            let checks: BTreeSet<CheckKey> = mine.iter().map(|(s, x)| check_key(s, x)).collect();
            jobs.extend(checks.into_iter().map(|c| Job::Check(t.cluster, m, c)));
        }
    }
    let answers = parallel(&jobs, WORKERS, |job| answer(l, job, deadline));
    let rows = match &l.stats_socket {
        None => Err(String::new()),
        Some(path) => stats::stat(l.sys, Via::Stats(path), deadline.within(l.sys, PROBE)).map_err(|e| format!("{}: {e}", path.display())),
    };
    (gather(&jobs, answers), rows)
}

fn check_key(s: &ResolvedService, x: &Server) -> CheckKey {
    (x.check_port, x.check_ssl, s.check_url.clone(), s.check_code)
}

fn answer(l: &Look<'_>, job: &Job<'_>, deadline: Deadline) -> Answered {
    let deadline = deadline.within(l.sys, PROBE);
    match job {
        Job::Api(c, m) => {
            Answered::Api(api(l, c, m, m.patroni_port, m.patroni_ssl).and_then(|a| patroni::probe(l.sys, &a, deadline).map_err(|e| e.to_string())))
        }
        Job::Overview(c) => {
            let ask = |m: &Member| patroni::cluster(l.sys, &api(l, c, m, m.patroni_port, m.patroni_ssl).ok()?, deadline.within(l.sys, PROBE / 3)).ok();
            Answered::Overview(c.members.iter().find_map(ask))
        }
        Job::Target(m, port) => Answered::Target(match resolve(l.sys, &m.address) {
            Ok(ip) => contact(l, SocketAddr::new(ip, *port), deadline),
            Err(why) => Contact::Failed(why),
        }),
        Job::Check(c, m, (port, ssl, url, code)) => Answered::Check(
            api(l, c, m, *port, *ssl).and_then(|a| patroni::check(l.sys, &a, "OPTIONS", url, *code, deadline).map_err(|e| e.to_string())),
        ),
    }
}

fn api(l: &Look<'_>, c: &Cluster, m: &Member, port: u16, ssl: bool) -> Result<Api, String> {
    let tls = if ssl {
        Some(match c.patroni_ca.as_ref().and_then(|p| l.ca.get(p)) {
            Some(config) => config.clone()?,
            None => TlsConfig::insecure(None).map_err(|e| e.to_string())?,
        })
    } else {
        None
    };
    Ok(Api { addr: SocketAddr::new(resolve(l.sys, &m.address)?, port), host: m.address.clone(), tls })
}

fn resolve(sys: &dyn System, address: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = address.parse() {
        return Ok(ip);
    }
    let found = sys.resolve(address, PROBE).map_err(|e| format!("{address} does not resolve: {e}"))?;
    found.first().copied().ok_or_else(|| format!("{address} does not resolve"))
}

/// A session where there are credentials, else the handshake.
fn contact(l: &Look<'_>, addr: SocketAddr, deadline: Deadline) -> Contact {
    match &l.login {
        Some(login) => match postgres::session(l.sys, addr, login, deadline) {
            Ok(id) => Contact::Session(Who { start: id.postmaster_start, system: id.system_identifier, in_recovery: id.in_recovery }),
            Err(e) => failed(&e),
        },
        None => match postgres::handshake(l.sys, addr, "pgsvc", "postgres", deadline) {
            Ok(h) => match h.answer {
                Answer::Refuses(e @ (PgError::Full(_) | PgError::StartingUp(_) | PgError::Pooler(_))) => failed(&e),
                _ => Contact::Handshake,
            },
            Err(e) => failed(&e),
        },
    }
}

fn failed(e: &PgError) -> Contact {
    match e {
        PgError::ClosedAtOnce => Contact::Closed,
        PgError::Full(_) => Contact::Full(e.to_string()),
        PgError::Login(_) | PgError::Authentication(_) => Contact::Login(e.to_string()),
        _ => Contact::Failed(e.to_string()),
    }
}

fn gather(jobs: &[Job<'_>], answers: Vec<Answered>) -> BTreeMap<String, Seen> {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut health: BTreeMap<String, Result<MemberHealth, String>> = BTreeMap::new();
    let mut overviews: BTreeMap<String, ClusterView> = BTreeMap::new();
    let fresh = |m: &Member| Seen {
        state: MemberState { instance: m.instance.clone(), api: Err("not asked".into()), postgres: Contact::Failed("not asked".into()) },
        targets: BTreeMap::new(),
        checks: BTreeMap::new(),
    };
    for (job, answer) in jobs.iter().zip(answers) {
        match (job, answer) {
            (Job::Api(_, m), Answered::Api(a)) => drop(health.insert(m.instance.clone(), a)),
            (Job::Overview(c), Answered::Overview(Some(view))) => drop(overviews.insert(c.name.clone(), view)),
            (Job::Target(m, port), Answered::Target(contact)) => {
                let s = seen.entry(m.instance.clone()).or_insert_with(|| fresh(m));
                if *port == m.pg_port {
                    s.state.postgres = contact.clone();
                }
                s.targets.insert(*port, contact);
            }
            (Job::Check(_, m, key), Answered::Check(result)) => {
                seen.entry(m.instance.clone()).or_insert_with(|| fresh(m)).checks.insert(key.clone(), result);
            }
            _ => {}
        }
    }
    for job in jobs {
        if let Job::Api(c, m) = job
            && let Some(s) = seen.get_mut(&m.instance)
        {
            let said = health.get(&m.instance).cloned().unwrap_or_else(|| Err("not asked".into()));
            s.state.api = said.map(|h| api_state(&h, m, overviews.get(&c.name)));
        }
    }
    seen
}

fn api_state(h: &MemberHealth, m: &Member, overview: Option<&ClusterView>) -> ApiState {
    let role = h.role.as_ref();
    ApiState {
        role: role.map_or("unknown", |r| r.name()).to_owned(),
        leader: h.leads(),
        standby_cluster: h.in_standby_cluster() || overview.is_some_and(ClusterView::is_standby_cluster),
        state: h.state.clone().unwrap_or_default(),
        timeline: h.timeline,
        system: h.system_identifier.clone(),
        stale: overview.and_then(|v| stale(h, m, v)),
        paused: h.pause || overview.is_some_and(|v| v.pause),
    }
}

/// A replica that runs but does not follow.
fn stale(h: &MemberHealth, m: &Member, view: &ClusterView) -> Option<String> {
    let leader = view.leader()?;
    let is_leader = matches!(h.role, Some(patroni::Role::Primary | patroni::Role::StandbyLeader));
    let mine = view.members.iter().find(|x| Some(&x.name) == h.name.as_ref() || x.host.as_ref() == Some(&m.address) && x.name != leader.name)?;
    if is_leader || mine.name == leader.name {
        return None;
    }
    match (&mine.lag, mine.timeline, leader.timeline) {
        (_, Some(own), Some(lead)) if own < lead => Some(format!("on timeline {own}, the leader on {lead}")),
        (Some(Lag::Unknown), _, _) => Some("its lag is unknown".into()),
        (Some(Lag::Bytes(n)), _, _) if *n > FAR_BEHIND => Some(format!("{} MB behind", n >> 20)),
        _ => None,
    }
}

fn port(
    l: &Look<'_>,
    cluster: &Cluster,
    service: &ResolvedService,
    place: Place,
    seen: &BTreeMap<String, Seen>,
    rows: &Result<Vec<ProxyRow>, String>,
    deadline: Deadline,
) -> PortResult {
    let (Place::Here(addr) | Place::Elsewhere(addr)) = place;
    let mut evidence = Evidence { service, address: addr.to_string(), members: candidates(service, seen, rows), contacts: Vec::new(), outsiders: Vec::new() };
    for m in cluster.members.iter().filter(|m| service.servers.iter().all(|s| s.instance != m.instance)) {
        if let Some(s) = seen.get(&m.instance) {
            evidence.outsiders.push((m.instance.clone(), s.state.postgres.clone()));
        }
    }
    if place == Place::Here(addr) {
        connect(l, addr, &mut evidence, deadline);
    }
    let mut result = judge(&evidence);
    judge_empty(&evidence, &mut result);
    if place == Place::Elsewhere(addr) {
        result.not_asked(addr.ip());
    }
    if let Err(why) = rows
        && !why.is_empty()
    {
        result.notes.push(format!("HAProxy's own view is missing ({why})"));
    }
    result
}

/// Connects until every member that must be reached was, or had its turns.
fn connect(l: &Look<'_>, addr: SocketAddr, evidence: &mut Evidence<'_>, deadline: Deadline) {
    let names = judge(evidence).expected;
    let expected = names.len();
    for _ in 0..enough(&evidence.service.servers.iter().filter(|s| names.contains(&s.instance)).collect::<Vec<_>>()) {
        let one = contact(l, addr, deadline.within(l.sys, PROBE));
        let session = matches!(one, Contact::Session(_));
        evidence.contacts.push(one);
        let reached = judge(evidence).found.len();
        // Without a session, a second connection tells nothing new.
        if !session || reached >= expected.max(1) && evidence.contacts.len() >= expected {
            break;
        }
    }
}

fn candidates<'a>(service: &'a ResolvedService, seen: &'a BTreeMap<String, Seen>, rows: &Result<Vec<ProxyRow>, String>) -> Vec<Candidate<'a>> {
    let mut list = Vec::new();
    for server in &service.servers {
        let Some(s) = seen.get(&server.instance) else { continue };
        list.push(Candidate {
            server,
            state: &s.state,
            check: s.checks.get(&check_key(service, server)).cloned().unwrap_or_else(|| Err("not asked".into())),
            target: s.targets.get(&server.port).cloned().unwrap_or_else(|| Contact::Failed("not asked".into())),
            view: rows.as_deref().map(|rows| view(service, server, rows)).unwrap_or_default(),
        });
    }
    list
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
    use serde_json::{Value, json};

    fn pg_test() -> Cluster {
        let vars: Vars = json!({"pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary"}).as_object().unwrap().clone();
        build("pg-test", &[("127.0.0.1", &vars)], &Overrides { services: None::<Value>, ..Overrides::default() }).unwrap()
    }

    fn looking(sys: &FakeSystem) -> Look<'_> {
        Look { sys, login: None, remote: None, stats_socket: None, ca: BTreeMap::new() }
    }

    #[test]
    fn an_address_of_another_node_is_not_asked_from_here() {
        let at = |a: &str| a.parse::<SocketAddr>().unwrap();
        let own: [IpAddr; 1] = ["10.0.0.1".parse().unwrap()];
        let here = |remote: Option<IpAddr>, bind| place(remote, remote.is_none().then_some(&own[..]), at(bind));
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
        assert!(r.is_elsewhere() && r.notes.iter().any(|n| n == "this node does not have 10.0.0.9 now; whoever has it must be asked"), "{r:?}");
    }
}
