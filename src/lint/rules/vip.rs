//! Virtual addresses: what is missing, what is said twice, what the nodes and IPVS cannot do.

use super::super::sink::{self, Sink};
use super::super::view::View;
use super::super::{Rule, Severity};
use super::definition::{none, refused};
use crate::value;
use crate::vip::duty::{self, Duty};
use crate::vip::plane::{UNMAPPED, unmapped};

pub static NO_VIP: Rule = Rule {
    code: "PGS070",
    name: "no-vip",
    severity: Severity::Error,
    title: "src_ip: vip, and the cluster has no VIP",
    reason: "There is no address to listen on.",
    fix: "set vip_address, or src_ip: \"*\"",
    bad: "pg_services_extra:\n  - {name: rw, src_ip: vip, src_port: 5440, selector: '[]', check_url: /primary}",
    good: "vip_address: 10.10.10.3/24\npg_services_extra:\n  - {name: rw, src_ip: vip, src_port: 5440, selector: '[]', check_url: /primary}",
    check: none,
};

pub static VIP_UNABLE: Rule = Rule {
    code: "PGS071",
    name: "vip-unable",
    severity: Severity::Error,
    title: "What VRRP, IPVS or the nodes cannot do",
    reason: "NAT needs answers to come back through the director; DR and TUN pass packets on as they are, the port included; a director is no real server of its own.",
    fix: "docs/vip.md says what each lb_kind needs",
    bad: "vip_mode: l4\nvip_address: 10.10.10.3/24\nvip_provider: directors\nvip_to: members\nlb_kind: NAT",
    good: "vip_mode: l2\nvip_address: 10.10.10.3/24",
    check: ports,
};

pub static VIP_TWICE: Rule = Rule {
    code: "PGS072",
    name: "vip-twice",
    severity: Severity::Error,
    title: "Two clusters with one virtual address, or one router id or check port on the same nodes",
    reason: "Both would carry it, and take it from each other.",
    fix: "an address, a vip_vrid and a vip_check_port of its own for every cluster",
    bad: "all:\n  children:\n    a:\n      vars: {pg_cluster: a, vip_mode: l2, vip_address: 10.0.0.9}\n      hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}\n    b:\n      vars: {pg_cluster: b, vip_mode: l2, vip_address: 10.0.0.9}\n      hosts: {10.0.0.2: {pg_seq: 1, pg_role: primary}}",
    good: "all:\n  children:\n    a:\n      vars: {pg_cluster: a, vip_mode: l2, vip_address: 10.0.0.9}\n      hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}\n    b:\n      vars: {pg_cluster: b, vip_mode: l2, vip_address: 10.0.0.8}\n      hosts: {10.0.0.2: {pg_seq: 1, pg_role: primary}}",
    check: twice,
};

pub static TWO_HOLDERS: Rule = Rule {
    code: "PGS073",
    name: "two-holders",
    severity: Severity::Error,
    title: "vip_mode and pg_vip_enabled together",
    reason: "keepalived and vip-manager would both carry the address: two nodes answer for it.",
    fix: "pg_vip_enabled: false, or vip_mode: none",
    bad: "vip_mode: l2\nvip_address: 10.10.10.3/24\npg_vip_enabled: true",
    good: "vip_mode: none\nvip_address: 10.10.10.3/24\npg_vip_enabled: true",
    check: holders,
};

/// Ports that cannot be mapped where packets are passed on as they are.
fn ports(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        let Some(duty) = &c.duty else { continue };
        for s in c.services.iter().filter(|s| s.listens_on(duty.vip.address)) {
            let Some(what) = unmapped(duty, s) else { continue };
            if let Some(raw) = sink.service(c, &s.service, &["dst_port", "dest", "src_port"], what) {
                raw.fix = UNMAPPED.into();
            }
        }
    }
}

fn twice(view: &View<'_>, sink: &mut Sink) {
    let duties: Vec<&Duty> = view.clusters.iter().filter_map(|c| c.duty.as_ref()).collect();
    for (name, error) in duty::collisions(&duties) {
        refused(view, view.clusters.iter().find(|c| c.cluster.name == name), &error, sink);
    }
}

fn holders(view: &View<'_>, sink: &mut Sink) {
    for c in view.clusters.iter().filter(|c| c.cluster.virtual_ip.is_some()) {
        let on = |v: &serde_json::Value| value::boolean("", v).unwrap_or(false);
        if let Some((host, _)) = c.vars("pg_vip_enabled").into_iter().find(|(_, v)| on(v)) {
            let what = "vip-manager (pg_vip_enabled) and pgsvc (vip_mode) would both hold the address";
            sink.add(sink::of_cluster(c), host.place("pg_vip_enabled").cloned(), what.into());
        }
    }
}
