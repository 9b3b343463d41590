//! What the directors of an L4 VIP balance: a virtual server per service, its real servers, and what must hold of each.
//! How keepalived writes it down is `render::keepalived`'s matter.
//!
//! Two things of a service are not taken over: `balance`, for IPVS has schedulers of its own (`lb_algo`), and `maxconn`,
//! which limits a listener's sessions over all members, while IPVS can only limit each real server's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::{Duty, Kind, Mode, To};
use crate::error::{Error, Errors};
use crate::resolve::{ResolvedService, Server, Tier};

mod check;
mod reach;

pub use check::{Check, address, url};
pub use reach::reach;

/// A service's port on the VIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualServer {
    /// `<cluster>-<service>`.
    pub listener: String,
    pub address: IpAddr,
    pub port: u16,
    /// IPVS's scheduler.
    pub algorithm: String,
    pub kind: Kind,
    /// Weights, not members, make a quorum: 1 is any member with a weight.
    pub quorum: u16,
    pub real: Vec<RealServer>,
}

/// What a virtual server leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RealServer {
    /// A member's instance, or the host of a HAProxy.
    pub name: String,
    pub address: IpAddr,
    pub port: u16,
    /// 0 to 256; 0 takes no new connection.
    pub weight: u16,
    /// All of them must hold.
    pub checks: Vec<Check>,
}

/// The virtual servers of a cluster's L4 VIP, the same on every director; none for an L2 address. Services that listen on
/// other addresses only (`src_ip`) are not on the VIP and are left out, and so are services without members.
///
/// # Errors
/// What IPVS or `lb_kind` cannot do: names in place of addresses, other ports without address translation, one address
/// and port twice.
pub fn plane(duty: &Duty, services: &[ResolvedService]) -> Result<Vec<VirtualServer>, Errors> {
    let mut errors = Errors::default();
    let mut servers = Vec::new();
    let mut ports: BTreeMap<u16, &str> = BTreeMap::new();
    if duty.vip.mode != Mode::L4 {
        return Ok(servers);
    }
    for s in services.iter().filter(|s| s.listens_on(duty.vip.address) && !s.servers.is_empty()) {
        let place = format!("service '{}' of {}", s.service, s.cluster);
        if let Some(other) = ports.insert(s.port(), &s.service) {
            let what = format!("is on port {} of the VIP, and so is service '{other}'", s.port());
            errors.push(Error::new(&place, what).hint("give each service on the VIP a port of its own"));
        }
        let read = match duty.vip.to {
            To::Haproxy => proxies(duty, s, &place),
            To::Members => members(duty, s, &place),
        };
        let Some(real) = errors.take(read) else { continue };
        if real.iter().all(|r| r.weight == 0) {
            errors.push(
                Error::new(&place, "has no member with a weight, which keepalived refuses")
                    .hint("give one member a pg_weight above 0, or take the service away"),
            );
        }
        servers.push(VirtualServer {
            listener: s.listener.clone(),
            address: duty.vip.address,
            port: s.port(),
            algorithm: duty.vip.algorithm.clone(),
            kind: duty.vip.kind,
            quorum: 1,
            real,
        });
    }
    errors.finish(servers)
}

/// The HAProxy nodes, on the service's own port.
fn proxies(duty: &Duty, s: &ResolvedService, place: &str) -> Result<Vec<RealServer>, Errors> {
    let anywhere = s.listens_anywhere();
    if duty.vip.kind.maps_ports() && !anywhere {
        let what = format!(
            "listens on the VIP only, and with lb_kind: {} connections come to the nodes' own addresses",
            duty.vip.kind.word()
        );
        return Err(Error::new(place, what).hint("use src_ip: \"*\", or lb_kind: DR").into());
    }
    // Not the service's own port: HAProxy would open a session of PostgreSQL's for each of the directors' checks, a dozen new
    // processes a second that end at once. It binds all of its ports or does not run.
    let checks = vec![Check::Http { port: duty.vip.check_port, ssl: false, path: "/".into(), code: 200 }];
    let mut errors = Errors::default();
    let real = |p: &super::Peer| RealServer {
        name: p.host.clone(),
        address: p.address,
        port: s.port(),
        weight: 1,
        checks: checks.clone(),
    };
    let found: Vec<RealServer> = duty.proxies.iter().map(real).collect();
    usable(duty, &found, place, &mut errors);
    errors.finish(found)
}

/// The members that may serve, each once, whatever tiers it may be in.
fn members(duty: &Duty, s: &ResolvedService, place: &str) -> Result<Vec<RealServer>, Errors> {
    let mut errors = Errors::default();
    let mut real = Vec::new();
    for m in s.servers.iter().filter(|m| m.when(Tier::Active).or(m.when(Tier::Backup)).is_some()) {
        let Ok(address) = m.address.parse() else {
            let what =
                format!("{}: '{}' is no IP address, which IPVS needs", m.instance, m.address.escape_debug());
            errors.push(Error::new(place, what).hint("set ansible_host to the member's address"));
            continue;
        };
        let within = if duty.vip.fast { 900 } else { 2000 };
        let checks = errors.take(check::of(s, m, within).map_err(|e| e.within(place)));
        real.push(RealServer {
            name: m.instance.clone(),
            address,
            port: m.port,
            weight: m.weight,
            checks: checks.unwrap_or_default(),
        });
    }
    if let Some(what) = unmapped(duty, s) {
        errors.push(Error::new(place, what).hint(UNMAPPED));
    }
    usable(duty, &real, place, &mut errors);
    errors.finish(real)
}

/// What helps where `unmapped` says something.
pub const UNMAPPED: &str = "use lb_kind: NAT, vip_to: haproxy, or a dst_port that is the service's own port";

/// Members that are on other ports than the service's own, where addresses are not translated.
#[must_use]
pub fn unmapped(duty: &Duty, s: &ResolvedService) -> Option<String> {
    let direct = duty.vip.mode == Mode::L4 && duty.vip.to == To::Members && !duty.vip.kind.maps_ports();
    let others: Vec<&Server> = s.servers.iter().filter(|m| direct && m.port != s.port()).collect();
    let names: Vec<&str> = others.iter().map(|m| m.instance.as_str()).collect();
    Some(format!(
        "lb_kind: {} cannot lead port {} to port {} ({}): it passes packets on as they are",
        duty.vip.kind.word(),
        s.port(),
        others.first()?.port,
        names.join(", ")
    ))
}

/// What IPVS cannot hold, and keepalived would drop without a word.
fn usable(duty: &Duty, real: &[RealServer], place: &str, errors: &mut Errors) {
    let mut seen: BTreeMap<(IpAddr, u16), &str> = BTreeMap::new();
    for r in real {
        if r.address.is_ipv4() != duty.vip.address.is_ipv4() {
            let what =
                format!("{} ({}) is of another family than the VIP {}", r.name, r.address, duty.vip.address);
            errors.push(Error::new(place, what).hint("use addresses of one family"));
        }
        if let Some(other) = seen.insert((r.address, r.port), &r.name) {
            let at = address(r.address, r.port);
            let what = format!("{other} and {} are both {at}, which IPVS cannot hold twice", r.name);
            errors.push(
                Error::new(place, what).hint("every member needs a port of its own, or vip_to: haproxy"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
