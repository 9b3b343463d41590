//! Services × members → who serves which port, in which tier, under which live role. Pure and ordered.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use crate::error::Errors;
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;
use crate::inventory::tls::TlsFiles;
use crate::service::{CheckPort, ServerOptions, Service, Source, Target};

mod names;
mod needs;
mod scenarios;
pub mod states;
pub mod why;
pub use names::collisions;
use names::own_name;
pub use needs::Need;
use scenarios::Scenarios;

/// Whose word counts for a member's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleSource {
    /// Patroni's, live: primary and replica of the inventory change places at a failover.
    #[default]
    Patroni,
    /// The inventory's `pg_role`, as upstream renders it.
    Inventory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Active,
    /// Serves when the active tier is empty.
    Backup,
}

/// The live role under which a member is in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    Always,
    Primary,
    Replica,
}

/// What the check path says of the member that a port leads to (Patroni manual, "Health check endpoints").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// The one primary: not in recovery.
    Primary,
    /// The leader; in a standby cluster it is in recovery.
    Leader,
    /// A member in recovery.
    Replica,
    /// A member of the active tier while one is healthy, else one of the backup tier.
    ReadOnly,
    /// A member whose own check passes; nothing is known of its role.
    Check,
}

/// A member as one service sees it.
#[derive(Debug, Clone, PartialEq, Hash, Serialize)]
pub struct Server {
    pub instance: String,
    pub address: String,
    /// The target port on the member.
    pub port: u16,
    pub check_port: u16,
    pub check_ssl: bool,
    pub weight: u16,
    /// Where it belongs while Patroni says primary, and while it says replica.
    pub as_primary: Option<Tier>,
    pub as_replica: Option<Tier>,
    pub patroni_port: u16,
    pub patroni_ssl: bool,
    pub pg_port: u16,
}

impl Server {
    /// The roles under which the load balancer must see the member in `tier`.
    ///
    /// A backup that is active under the other role needs no role check of its own: while it has that role and is well,
    /// the active tier is not empty and the backup tier is not asked.
    pub fn when(&self, tier: Tier) -> Option<When> {
        let is = |t: Option<Tier>| t == Some(tier);
        let other_active = |t: Option<Tier>| tier == Tier::Backup && t == Some(Tier::Active);
        match (is(self.as_primary), is(self.as_replica)) {
            (true, true) => Some(When::Always),
            (true, false) if other_active(self.as_replica) => Some(When::Always),
            (false, true) if other_active(self.as_primary) => Some(When::Always),
            (true, false) => Some(When::Primary),
            (false, true) => Some(When::Replica),
            (false, false) => None,
        }
    }

    /// The tier it belongs to under a live role.
    pub fn tier(&self, primary: bool) -> Option<Tier> {
        if primary { self.as_primary } else { self.as_replica }
    }

    pub fn conditional(&self) -> bool {
        self.as_primary != self.as_replica
    }
}

/// A service of a cluster with the members that may serve it.
#[derive(Debug, Clone, PartialEq, Hash, Serialize)]
pub struct ResolvedService {
    pub cluster: String,
    pub service: String,
    /// `<cluster>-<service>`: the listener's name.
    pub listener: String,
    pub binds: Vec<SocketAddr>,
    /// By `pg_seq`; members that serve in no tier under any role are left out.
    pub servers: Vec<Server>,
    pub expectation: Expectation,
    pub check_url: String,
    pub check_code: u16,
    /// The service's own check asks Patroni, so that its port and TLS are Patroni's.
    pub check_is_patroni: bool,
    pub maxconn: u32,
    pub balance: String,
    pub options: ServerOptions,
    /// Its addresses may be ones that the node does not have now.
    pub nonlocal: bool,
    /// Connections are refused while more than one of its members is up: two primaries, or a demoted one not yet noticed.
    pub guarded: bool,
    /// How its checks speak to Patroni where that speaks TLS.
    pub tls: TlsFiles,
}

impl ResolvedService {
    pub fn port(&self) -> u16 {
        self.binds.first().map_or(0, SocketAddr::port)
    }

    /// Whether it listens on an address: on it, or on every one.
    pub fn listens_on(&self, ip: IpAddr) -> bool {
        self.listens_anywhere() || self.binds.iter().any(|b| b.ip() == ip)
    }

    pub fn listens_anywhere(&self) -> bool {
        self.binds.iter().any(|b| b.ip().is_unspecified())
    }

    /// The members that may ever be in a tier.
    pub fn tier(&self, tier: Tier) -> Vec<(&Server, When)> {
        self.servers.iter().filter_map(|s| Some((s, s.when(tier)?))).collect()
    }

    /// Whether the load balancer must tell the tiers apart by the live role.
    pub fn follows_roles(&self) -> bool {
        self.servers.iter().any(Server::conditional)
    }

    /// Whether a backend of its own, `<listener>-backup`, takes over when the active one is empty.
    pub fn is_two_tier(&self) -> bool {
        self.follows_roles() && !self.tier(Tier::Backup).is_empty()
    }

    /// Whether a name may be that of a backend made for this service: `-backup` and, where members are checked in
    /// different ways, `-check1` and so on.
    fn may_make(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.listener) else { return false };
        let tier = rest.strip_prefix("-backup").filter(|_| self.is_two_tier());
        let check = tier.unwrap_or(rest).strip_prefix("-check").filter(|n| n.parse::<usize>().is_ok());
        tier == Some("") || check.is_some() && self.servers.len() > 1
    }
}

/// What a check path expects, by Patroni's own rules. Another code than 200 asks for the opposite of what a path says,
/// or for something that is no role.
pub fn expectation(check_url: &str, check_code: u16, is_patroni: bool) -> Expectation {
    if !is_patroni || check_code != 200 {
        return Expectation::Check;
    }
    let path = check_url.split('?').next().unwrap_or_default().trim_matches('/');
    match path {
        "" | "primary" | "master" | "read-write" => Expectation::Primary,
        "leader" | "standby-leader" | "standby_leader" => Expectation::Leader,
        "replica" | "sync" | "synchronous" | "async" | "asynchronous" | "quorum" => Expectation::Replica,
        p if p.starts_with("read-only") => Expectation::ReadOnly,
        _ => Expectation::Check,
    }
}

/// Resolves all services of a cluster.
///
/// # Errors
/// Selectors that select something else than members.
pub fn cluster(cluster: &Cluster, roles: RoleSource) -> Result<Vec<ResolvedService>, Errors> {
    let mut errors = Errors::default();
    let resolved = each(cluster, roles, &mut errors);
    errors.finish(resolved)
}

/// The services that can be resolved, for those who look at all of a cluster that is not whole.
///
/// # Errors
/// Into `errors`: what is wrong with the others.
pub fn each(cluster: &Cluster, roles: RoleSource, errors: &mut Errors) -> Vec<ResolvedService> {
    let scenarios = Scenarios::new(&cluster.members, &cluster.services, roles);
    let mut resolved = Vec::new();
    for service in &cluster.services {
        if let Some(r) = errors.take(one(cluster, service, &scenarios)) {
            resolved.push(r);
        }
    }
    for s in &resolved {
        own_name(errors, s, &resolved);
    }
    resolved
}

fn one(cluster: &Cluster, service: &Service, scenarios: &Scenarios) -> Result<ResolvedService, Errors> {
    let place = format!("service '{}' of {}", service.name, cluster.name);
    let mut errors = Errors::default();
    let chosen = |field: &str, text: &str, errors: &mut Errors| {
        let read = scenarios.choose(text);
        errors.take(read.map_err(|e| e.within(&format!("{place}: {field}"))))
    };
    let active = chosen("selector", &service.selector, &mut errors);
    let none = || Some(vec![(false, false); cluster.members.len()]);
    let backup = match &service.selector_backup {
        None => none(),
        Some(text) => chosen("selector_backup", text, &mut errors),
    };
    let (Some(active), Some(backup)) = (active, backup) else { return Err(errors) };
    let tier = |a: bool, b: bool| match (a, b) {
        (_, true) => Some(Tier::Backup),
        (true, false) => Some(Tier::Active),
        (false, false) => None,
    };
    let mut servers = Vec::new();
    for ((m, a), b) in cluster.members.iter().zip(active).zip(backup) {
        let (as_primary, as_replica) = (tier(a.0, b.0), tier(a.1, b.1));
        if as_primary.is_some() || as_replica.is_some() {
            servers.push(server(m, service, as_primary, as_replica));
        }
    }
    let check_is_patroni = service.check_port == CheckPort::Patroni;
    errors.finish(ResolvedService {
        cluster: cluster.name.clone(),
        service: service.name.clone(),
        listener: format!("{}-{}", cluster.name, service.name),
        binds: service.sources.iter().filter_map(|s| bind(s, cluster.vip, service.port)).collect(),
        servers,
        expectation: expectation(&service.check_url, service.check_code, check_is_patroni),
        check_url: service.check_url.clone(),
        check_code: service.check_code,
        check_is_patroni,
        maxconn: service.maxconn,
        balance: service.balance.clone(),
        options: service.options.clone(),
        nonlocal: false,
        guarded: false,
        tls: cluster.patroni_tls.clone(),
    })
}

fn bind(source: &Source, vip: Option<IpAddr>, port: u16) -> Option<SocketAddr> {
    let ip = match source {
        Source::Any => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Source::Vip => vip?,
        Source::Address(ip) => *ip,
    };
    Some(SocketAddr::new(ip, port))
}

fn server(m: &Member, service: &Service, as_primary: Option<Tier>, as_replica: Option<Tier>) -> Server {
    let port = match service.target {
        Target::Postgres => m.pg_port,
        Target::Pgbouncer => m.pgbouncer_port,
        Target::Port(p) => p,
    };
    let (check_port, check_ssl) = match service.check_port {
        CheckPort::Patroni => (m.patroni_port, m.patroni_ssl),
        CheckPort::PgExporter => (m.pg_exporter_port, false),
        CheckPort::Port(p) => (p, false),
    };
    Server {
        instance: m.instance.clone(),
        address: m.address.clone(),
        port,
        check_port,
        check_ssl,
        weight: m.weight.or_else(|| service.options.weight()).unwrap_or(100),
        as_primary,
        as_replica,
        patroni_port: m.patroni_port,
        patroni_ssl: m.patroni_ssl,
        pg_port: m.pg_port,
    }
}

#[cfg(test)]
mod tests;
