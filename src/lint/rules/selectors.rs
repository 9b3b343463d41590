//! Selectors: whom they match, for how long, and what they name.

use super::super::sink::Sink;
use super::super::view::{ClusterView, View};
use super::super::{Rule, Severity};
use crate::error::nearest;
use crate::inventory::cluster::Cluster;
use crate::inventory::member::KNOWN;
use crate::resolve::{self, Expectation, ResolvedService, RoleSource, Tier};
use crate::selector;
use crate::service::Service;

pub static NOBODY: Rule = Rule {
    code: "PGS030",
    name: "nobody",
    severity: Severity::Warning,
    title: "A selector that matches no member",
    reason: "The port refuses every connection; with a backup selector, only the backup serves.",
    fix: "see the matrix: pgsvc explain",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[? pg_seq == `9` ]'}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[? pg_seq == `2` ]'}",
    check: nobody,
};

pub static UNTIL_FAILOVER: Rule = Rule {
    code: "PGS031",
    name: "until-failover",
    severity: Severity::Warning,
    title: "A selector that is right until the first failover",
    reason: "With role_source: inventory, pg_role is what somebody wrote down once: after a switchover reads go to the new primary while a replica idles (measured on a real cluster).",
    fix: "leave role_source at patroni, or select by something that does not move",
    bad: "pgsvc_role_source: inventory",
    good: "pgsvc_role_source: inventory\npg_services:\n  - {name: rw, src_port: 5433, check_url: /primary, selector: '[]'}",
    check: until_failover,
};

pub static PRIMARY_LEFT_OUT: Rule = Rule {
    code: "PGS032",
    name: "primary-left-out",
    severity: Severity::Warning,
    title: "A service for the primary that not every candidate can serve",
    reason: "When a member outside of the selector is promoted, the port leads nowhere.",
    fix: "selector: \"[]\": the health check finds the primary",
    bad: "pg_services_extra:\n  - {name: rw, src_port: 5440, check_url: /primary, selector: '[? pg_seq == `1` ]'}",
    good: "pg_services_extra:\n  - {name: rw, src_port: 5440, check_url: /primary, selector: '[? pg_role != `offline` ]'}",
    check: left_out,
};

pub static BACKUP_IS_ACTIVE: Rule = Rule {
    code: "PGS033",
    name: "backup-is-active",
    severity: Severity::Warning,
    title: "A backup selector that takes every member of the active tier",
    reason: "Who is a backup is not active: the active tier is empty, and the backups serve always.",
    fix: "leave the backup selector away, or narrow it",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[]', selector_backup: '[]'}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[]', selector_backup: '[? pg_role == `primary` ]'}",
    check: nobody,
};

pub static UNKNOWN_VARIABLE: Rule = Rule {
    code: "PGS034",
    name: "unknown-variable",
    severity: Severity::Warning,
    title: "A selector that names a variable no member has",
    reason: "To JMESPath it is null, which is no error: the filter is true for nobody, or for everybody.",
    fix: "set it on the members, or mend the name",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[? !pg_offline_qury ]'}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[? !pg_offline_query ]'}",
    check: unknown,
};

pub static TRUTHY_TEXT: Rule = Rule {
    code: "PGS035",
    name: "truthy-text",
    severity: Severity::Warning,
    title: "A text such as \"false\" where a selector asks for true or false",
    reason: "Every text but the empty one is true to JMESPath. (Of pg_offline_query pgsvc makes a boolean itself.)",
    fix: "write it without quotes, or compare: == 'false'",
    bad: "fast_disk: 'false'\npg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: '[? fast_disk ]'}",
    good: "fast_disk: 'false'\npg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /read-only, selector: \"[? fast_disk == 'false' ]\"}",
    check: truthy,
};

const SELECTOR: [&str; 1] = ["selector"];
const BACKUP: [&str; 3] = ["selector_backup", "backup", "selector"];

/// Services of sound clusters.
fn each(view: &View<'_>, mut look: impl FnMut(&ClusterView<'_>, &ResolvedService)) {
    for c in view.clusters.iter().filter(|c| c.sound) {
        c.services.iter().for_each(|s| look(c, s));
    }
}

/// The service as it would be with another definition, or other roles.
fn variant(c: &ClusterView<'_>, service: Service, roles: RoleSource) -> Option<ResolvedService> {
    let cluster = Cluster { services: vec![service], ..c.cluster.clone() };
    resolve::cluster(&cluster, roles).ok()?.pop()
}

/// Both rules that an empty active tier may be of.
fn nobody(view: &View<'_>, sink: &mut Sink) {
    let backup = sink.rule.is_some_and(|r| r.code == BACKUP_IS_ACTIVE.code);
    each(view, |c, s| {
        if !s.tier(Tier::Active).is_empty() {
            return;
        }
        let alone = c.service(&s.service).cloned().map(|d| Service { selector_backup: None, ..d });
        let without = alone.and_then(|d| variant(c, d, c.roles));
        let hidden = without.is_some_and(|w| !w.tier(Tier::Active).is_empty());
        let count = c.cluster.members.len();
        let backups = s.tier(Tier::Backup).len();
        let raw = match (hidden, backup) {
            // One member alone is its own backup in the text's own definitions.
            (true, true) if count > 1 => {
                sink.service(c, &s.service, &BACKUP, "all that its selector matches are backups too")
            }
            (false, false) => {
                let what = match backups {
                    0 => format!("its selector matches none of the {count} members"),
                    _ => format!("its selector matches none of the {count} members: only backups serve"),
                };
                sink.service(c, &s.service, &SELECTOR, what)
            }
            _ => None,
        };
        if let Some(raw) = raw.filter(|_| !backup && backups > 0) {
            raw.severity = Severity::Note;
        }
    });
}

fn until_failover(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s| {
        if c.roles != RoleSource::Inventory {
            return;
        }
        let live = c.service(&s.service).cloned().and_then(|d| variant(c, d, RoleSource::Patroni));
        let moves: Vec<String> = live
            .iter()
            .flat_map(|l| &l.servers)
            .filter(|m| m.conditional())
            .map(|m| m.instance.clone())
            .collect();
        if !moves.is_empty() {
            let what = format!(
                "the place of {} in it changes with the role, and here it does not",
                moves.join(", ")
            );
            sink.service(c, &s.service, &BACKUP, what);
        }
    });
}

fn left_out(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s| {
        if !matches!(s.expectation, Expectation::Primary | Expectation::Leader) || s.servers.is_empty() {
            return;
        }
        let serves =
            |instance: &str| s.servers.iter().any(|m| m.instance == instance && m.as_primary.is_some());
        let out: Vec<&str> = c
            .cluster
            .members
            .iter()
            .filter(|m| m.changes_role() && !serves(&m.instance))
            .map(|m| m.instance.as_str())
            .collect();
        if !out.is_empty() {
            let what = format!("leads nowhere when {} is the primary", out.join(" or "));
            sink.service(c, &s.service, &SELECTOR, what);
        }
    });
}

/// The selectors of a definition, each with the fields it may stand in.
fn texts(d: &Service) -> impl Iterator<Item = (&str, &'static [&'static str])> {
    let backup = d.selector_backup.as_deref().map(|t| (t, &BACKUP[..]));
    std::iter::once((d.selector.as_str(), &SELECTOR[..])).chain(backup)
}

fn unknown(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s| {
        let Some(d) = c.service(&s.service) else { return };
        for (text, fields) in texts(d) {
            for name in selector::variables(text) {
                let known = |n: &str| KNOWN.contains(&n) || n == "instance";
                if known(&name) || c.cluster.members.iter().any(|m| m.vars.contains_key(&name)) {
                    continue;
                }
                let all = c.cluster.members.iter().flat_map(|m| m.vars.keys());
                let near = nearest(&name, all.chain(KNOWN)).map(|n| format!("did you mean '{n}'?"));
                let raw = sink.service(c, &s.service, fields, format!("no member has '{name}'"));
                if let (Some(raw), Some(near)) = (raw, near) {
                    raw.fix = near;
                }
            }
        }
    });
}

/// Variables that pgsvc itself makes booleans of.
const TYPED: [&str; 2] = ["pg_offline_query", "patroni_ssl_enabled"];

fn truthy(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s| {
        let Some(d) = c.service(&s.service) else { return };
        for (text, fields) in texts(d) {
            for name in selector::truths(text).into_iter().filter(|n| !TYPED.contains(&n.as_str())) {
                let says_no = |v: &serde_json::Value| {
                    v.as_str().is_some_and(|t| {
                        ["false", "no", "off", "0"].contains(&t.to_ascii_lowercase().as_str())
                    })
                };
                let said = c.cluster.members.iter().find_map(|m| m.vars.get(&name).filter(|v| says_no(v)));
                if let Some(v) = said {
                    let what = format!("'{name}' is the text {v}, which counts as true");
                    sink.service(c, &s.service, fields, what);
                }
            }
        }
    });
}
