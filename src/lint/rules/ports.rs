//! Ports: of services among each other, of the node itself, and those that need a privilege.

use std::collections::BTreeSet;

use super::super::sink::Sink;
use super::super::view::{ClusterView, Node, View};
use super::super::{Rule, Severity};
use super::definition::refused;
use crate::resolve::{self, ResolvedService};
use crate::value;

pub static DUPLICATE_PORT: Rule = Rule {
    code: "PGS011",
    name: "duplicate-port",
    severity: Severity::Error,
    title: "Two services on one port of one load balancer",
    reason: "`haproxy -c` accepts it, and the kernel then shares the connections half and half between the two services (measured on HAProxy 2.6).",
    fix: "give each service a port, or an address, of its own",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5433, selector: '[]', check_url: /read-only}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5443, selector: '[]', check_url: /read-only}",
    check: across,
};

pub static NODE_PORT: Rule = Rule {
    code: "PGS012",
    name: "node-port",
    severity: Severity::Error,
    title: "A service on a port that the node needs itself",
    reason: "Where a member is its own load balancer, PostgreSQL, the pooler, Patroni and exporters have their ports already: HAProxy does not start, or they do not.",
    fix: "give the service another port, or an address of its own",
    bad: "pg_services_extra:\n  - {name: direct, src_port: 5432, selector: '[]', check_url: /primary}",
    good: "pg_port: 5442\npg_services_extra:\n  - {name: direct, src_port: 5432, selector: '[]', check_url: /primary}",
    check: nodes,
};

pub static PRIVILEGED_PORT: Rule = Rule {
    code: "PGS014",
    name: "privileged-port",
    severity: Severity::Warning,
    title: "A port below 1024",
    reason: "Only root or CAP_NET_BIND_SERVICE may listen there. HAProxy's own unit starts as root; a hardened one, or a container, does not.",
    fix: "use a port above 1023, or ignore this where the unit has the capability",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 543, selector: '[]', check_url: /read-only}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 1024, selector: '[]', check_url: /read-only}",
    check: privileged,
};

pub const PORT: [&str; 2] = ["src_port", "port"];

/// Clusters that meet on a load balancer. Nodes that carry the same ones are looked at once.
fn across(view: &View<'_>, sink: &mut Sink) {
    let mut seen: BTreeSet<Vec<&str>> = BTreeSet::new();
    for node in 0..view.nodes.len() {
        let mine: Vec<&ClusterView<'_>> =
            view.clusters.iter().filter(|c| c.carriers.contains(&node)).collect();
        let names = mine.iter().map(|c| c.cluster.name.as_str()).collect();
        if mine.len() < 2 || !seen.insert(names) {
            continue;
        }
        let services: Vec<&ResolvedService> = mine.iter().flat_map(|c| &c.services).collect();
        for (name, error) in resolve::collisions(&services) {
            refused(view, mine.iter().find(|c| c.cluster.name == name).copied(), &error, sink);
        }
    }
}

/// What a node listens on itself: who, the variable, the port. `true`: an apply refuses it.
fn own_ports(c: &ClusterView<'_>, n: &Node<'_>) -> Vec<(&'static str, &'static str, u16, bool)> {
    let mut own = vec![("the stats page", "haproxy_exporter_port", n.settings.exporter_port, true)];
    if let Some(d) = c.duty.as_ref().filter(|d| d.asks_haproxy()) {
        own.push(("HAProxy's word on itself", "vip_check_port", d.vip.check_port, false));
    }
    if value::given(n.host.vars.get("pg_cluster")).is_none() {
        return own;
    }
    for (who, name, default) in [
        ("PostgreSQL", "pg_port", 5432),
        ("the pooler", "pgbouncer_port", 6432),
        ("Patroni", "patroni_port", 8008),
        ("pg_exporter", "pg_exporter_port", 9630),
        ("the pooler's exporter", "pgbouncer_exporter_port", 9631),
    ] {
        let said = value::given(n.host.vars.get(name)).and_then(|v| value::port(name, v).ok());
        own.push((who, name, said.unwrap_or(default), false));
    }
    own
}

fn nodes(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        for n in view.carriers(c) {
            let own = own_ports(c, n);
            for s in &c.services {
                for (who, name, port, refused) in own.iter().filter(|o| o.2 == s.port()) {
                    let what = format!("port {port} is also that of {who} on the node ({name})");
                    let anywhere = s.binds.iter().any(|b| b.ip().is_unspecified());
                    if let Some(raw) = sink.service(c, &s.service, &PORT, what) {
                        raw.refused = *refused;
                        // Whether two addresses are in each other's way depends on where the other one listens.
                        if !anywhere && !refused {
                            raw.severity = Severity::Warning;
                        }
                    }
                }
            }
        }
    }
}

fn privileged(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        for s in c.services.iter().filter(|s| s.port() < 1024) {
            sink.service(c, &s.service, &PORT, format!("port {} needs a privilege", s.port()));
        }
    }
}
