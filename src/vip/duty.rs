//! Which node does what for a cluster's VIP: who may hold it, who runs the HAProxy behind it, and what this node is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::{Follow, INTERFACE, Mode, To, Vip};
use crate::error::{Error, Errors, Kind as Wrong};
use crate::inventory::Vars;
use crate::inventory::cluster::Cluster;
use crate::value;

/// Hosts of the groups that a cluster names (`pg_service_provider`, `vip_provider`), with their variables.
pub type Groups = BTreeMap<String, Vec<(String, Vars)>>;

/// The variables that name such groups.
pub const PROVIDERS: [&str; 2] = ["pg_service_provider", "vip_provider"];

/// A node that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// The inventory hostname.
    pub host: String,
    pub address: IpAddr,
    /// `vip_interface`; `None` is `auto`: the one that has the node's address.
    pub interface: Option<String>,
}

/// A cluster's VIP with everybody's part in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duty {
    pub cluster: String,
    pub vip: Vip,
    /// The nodes that may hold the address, the most wanted first: VRRP peers, and the directors of an L4 address.
    pub holders: Vec<Peer>,
    /// The nodes whose HAProxy carries the cluster.
    pub proxies: Vec<Peer>,
    /// This node among the holders.
    pub holder: Option<usize>,
    /// This node's HAProxy carries the cluster.
    pub proxy: bool,
    /// Connections to the address may be passed on to this node.
    pub real_server: bool,
}

impl Duty {
    /// VRRP's priority of a holder, 1 to 200: no two alike while there are fewer than 200.
    #[must_use]
    pub fn priority(index: usize) -> u8 {
        u8::try_from(200_usize.saturating_sub(index)).unwrap_or(1).max(1)
    }

    /// Whether this node balances connections itself.
    #[must_use]
    pub fn directs(&self) -> bool {
        self.holder.is_some() && self.vip.mode == Mode::L4
    }

    /// Whether a HAProxy says over the network or a socket that it serves.
    #[must_use]
    pub fn asks_haproxy(&self) -> bool {
        match self.vip.mode {
            Mode::L2 => self.vip.follow == Follow::Haproxy,
            Mode::L4 => self.vip.to == To::Haproxy,
        }
    }
}

/// Everybody's part in a cluster's VIP, seen from the host called `node`.
///
/// # Errors
/// Groups that are missing or empty, addresses that are names, nodes that cannot do what is asked of them.
pub fn resolve(
    cluster: &Cluster,
    vip: &Vip,
    provider: Option<&str>,
    groups: &Groups,
    node: &str,
) -> Result<Duty, Errors> {
    let mut errors = Errors::default();
    let place = format!("cluster '{}'", cluster.name);
    let own: Vec<(String, Vars)> = cluster
        .members
        .iter()
        .map(|m| {
            let mut vars = m.vars.clone();
            vars.insert("ansible_host", m.address.clone().into());
            (m.host.clone(), vars)
        })
        .collect();
    let mut group = |variable: &str, name: Option<&str>, otherwise: &[(String, Vars)]| {
        let Some(name) = name else { return peers(otherwise, &place, &mut errors) };
        let hosts = groups.get(name).map(Vec::as_slice).unwrap_or_default();
        if hosts.is_empty() {
            let what = format!("{variable}: there is no host in a group '{name}'");
            errors.push(Error::new(place.clone(), what).hint("put the nodes that carry the address into it"));
        }
        peers(hosts, &place, &mut errors)
    };
    let proxies = group("pg_service_provider", provider, &own);
    let carriers: Vec<(String, Vars)> = match provider {
        Some(name) => groups.get(name).cloned().unwrap_or_default(),
        None => own.clone(),
    };
    let holders = group("vip_provider", vip.provider.as_deref(), &carriers);
    let is = |list: &[Peer]| list.iter().position(|p| p.host == node);
    let member = cluster.members.iter().any(|m| m.host == node);
    let duty = Duty {
        cluster: cluster.name.clone(),
        vip: vip.clone(),
        holder: is(&holders),
        proxy: is(&proxies).is_some(),
        real_server: vip.mode == Mode::L4
            && if vip.to == To::Members { member } else { is(&proxies).is_some() },
        holders,
        proxies,
    };
    able(cluster, &duty, &place, &mut errors);
    errors.finish(duty)
}

fn peers(hosts: &[(String, Vars)], place: &str, errors: &mut Errors) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (host, vars) in hosts {
        let said = value::given(vars.get("ansible_host")).and_then(|v| value::text("ansible_host", v).ok());
        let text = said.unwrap_or_else(|| host.clone());
        let Ok(address) = text.parse() else {
            let what = format!(
                "host '{host}': '{}' is no IP address, which VRRP and IPVS need",
                text.escape_debug()
            );
            errors.push(Error::new(place, what).hint("set ansible_host to the host's address"));
            continue;
        };
        let name = INTERFACE.iter().find_map(|n| Some((*n, value::given(vars.get(n))?)));
        let interface =
            name.and_then(|(n, v)| errors.take(value::word(n, v, "-_.@:", 15).map_err(|e| e.within(place))));
        let interface = interface.filter(|i| i != "auto");
        peers.push(Peer { host: host.clone(), address, interface });
    }
    peers
}

/// What the nodes cannot do.
fn able(cluster: &Cluster, duty: &Duty, place: &str, errors: &mut Errors) {
    let vip = &duty.vip;
    let mut refuse = |what: String, hint: &str| {
        errors.push(Error::new(place, what).hint(hint).kind(Wrong::VipUnable));
    };
    if duty.holders.iter().any(|p| p.address == vip.address) {
        refuse(format!("vip_address {} is a node's own address", vip.address), "an address that no node has");
    }
    if let Some(p) = duty.holders.iter().find(|p| p.address.is_ipv4() != vip.address.is_ipv4()) {
        let what =
            format!("vip_address {} is of another family than {} ({})", vip.address, p.host, p.address);
        refuse(what, "use addresses of one family");
    }
    let stranger = |p: &&Peer| !cluster.members.iter().any(|m| m.host == p.host);
    if vip.mode == Mode::L2
        && vip.follow == Follow::Primary
        && let Some(p) = duty.holders.iter().find(stranger)
    {
        let what = format!("vip_follow: primary, and '{}' is no member of the cluster", p.host);
        refuse(what, "only a member can be the primary: use vip_follow: haproxy, or leave vip_provider away");
    }
    if vip.mode == Mode::L4 {
        if vip.provider.is_none() {
            refuse(
                "vip_mode: l4 needs vip_provider".into(),
                "a group of two nodes of their own, the directors",
            );
            return;
        }
        let real = |host: &str| match vip.to {
            To::Haproxy => duty.proxies.iter().any(|p| p.host == host),
            To::Members => cluster.members.iter().any(|m| m.host == host),
        };
        if let Some(p) = duty.holders.iter().find(|p| real(&p.host)) {
            let what = format!("'{}' is a director and also what it would lead to", p.host);
            refuse(
                what,
                "a standby director that is a real server passes packets back: use nodes of their own",
            );
        }
    }
}

/// What helps where two clusters' directors would ask one port.
pub const CHECK_PORT: &str = "set vip_check_port for one of them";

/// Two VIPs that cannot be carried side by side: `(cluster, why)`.
#[must_use]
pub fn collisions(duties: &[&Duty]) -> Vec<(String, Error)> {
    let mut found = Vec::new();
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    let mut routers: BTreeMap<(IpAddr, u8), &str> = BTreeMap::new();
    let mut words: BTreeMap<(IpAddr, u16), &str> = BTreeMap::new();
    for d in duties {
        let place = format!("cluster '{}'", d.cluster);
        let mut twice = |what: String, hint: &str| {
            let error = Error::new(place.clone(), what).hint(hint).kind(Wrong::VipTwice);
            found.push((d.cluster.clone(), error));
        };
        if let Some(other) = addresses.insert(d.vip.address, &d.cluster) {
            twice(
                format!("vip_address {} is also that of cluster '{other}'", d.vip.address),
                "every cluster needs an address of its own",
            );
        }
        let others = d.holders.iter().filter_map(|p| routers.insert((p.address, d.vip.vrid), &d.cluster));
        if let Some(other) = others.last() {
            twice(
                format!("VRID {} is also that of cluster '{other}' on the same nodes", d.vip.vrid),
                "set vip_vrid for one of them, 1 to 255",
            );
        }
        let port = d.vip.check_port;
        let asked = d.proxies.iter().filter(|_| d.vip.mode == Mode::L4 && d.asks_haproxy());
        if let Some(other) = asked.filter_map(|p| words.insert((p.address, port), &d.cluster)).last() {
            twice(
                format!("vip_check_port {port} is also that of cluster '{other}' on the same HAProxy nodes"),
                CHECK_PORT,
            );
        }
    }
    found
}

#[cfg(test)]
mod tests;
