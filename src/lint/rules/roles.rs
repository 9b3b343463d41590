//! What the inventory says of the members' roles and weights.

use super::super::sink::Sink;
use super::super::view::View;
use super::super::{Rule, Severity};
use crate::resolve::Tier;

pub static NO_PRIMARY: Rule = Rule {
    code: "PGS020",
    name: "no-primary",
    severity: Severity::Warning,
    title: "No member is the primary",
    reason: "A cluster begins with the member that the inventory calls primary; selectors that name the role find nobody.",
    fix: "say which one is meant to begin: pg_role: primary",
    bad: "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: replica}\n  10.10.10.12: {pg_seq: 2, pg_role: replica}",
    good: "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 2, pg_role: replica}",
    check: primaries,
};

pub static MANY_PRIMARIES: Rule = Rule {
    code: "PGS021",
    name: "many-primaries",
    severity: Severity::Warning,
    title: "More than one member is the primary",
    reason: "There is one. The others begin as something that the inventory does not say.",
    fix: "one member is primary, the others replica",
    bad: "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 2, pg_role: primary}",
    good: "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 2}",
    check: many,
};

pub static ALL_DRAINED: Rule = Rule {
    code: "PGS022",
    name: "all-drained",
    severity: Severity::Warning,
    title: "Every member that may serve has weight 0",
    reason: "Weight 0 drains: no new connection is given to any of them.",
    fix: "give at least one member a weight",
    bad: "pg_weight: 0",
    good: "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary, pg_weight: 0}\n  10.10.10.12: {pg_seq: 2, pg_role: replica}",
    check: weights,
};

fn primaries(view: &View<'_>, sink: &mut Sink) {
    for c in view.clusters.iter().filter(|c| c.sound) {
        if !c.cluster.members.iter().any(|m| m.role == "primary") {
            sink.cluster(c, &["pg_role"], "no member has pg_role: primary");
        }
    }
}

fn many(view: &View<'_>, sink: &mut Sink) {
    for c in view.clusters.iter().filter(|c| c.sound) {
        let all: Vec<&str> =
            c.cluster.members.iter().filter(|m| m.role == "primary").map(|m| m.host.as_str()).collect();
        if let [_, second, ..] = all.as_slice() {
            let what = format!("{} all have pg_role: primary", all.join(", "));
            let place = c.hosts.iter().find(|h| h.name == *second).and_then(|h| h.place("pg_role"));
            if let Some(raw) = sink.cluster(c, &["pg_role"], what) {
                raw.place = place.cloned().or_else(|| raw.place.take());
            }
        }
    }
}

fn weights(view: &View<'_>, sink: &mut Sink) {
    for c in view.clusters.iter().filter(|c| c.sound) {
        if c.cluster.members.iter().all(|m| m.weight == Some(0)) {
            sink.cluster(c, &["pg_weight"], "every member has pg_weight 0");
            continue;
        }
        for s in &c.services {
            let all: Vec<_> = [Tier::Active, Tier::Backup].iter().flat_map(|t| s.tier(*t)).collect();
            if !all.is_empty() && all.iter().all(|(m, _)| m.weight == 0) {
                let fields = ["haproxy.default_server_options", "options", "selector"];
                sink.service(c, &s.service, &fields, "all members that may serve it have weight 0");
            }
        }
    }
}
