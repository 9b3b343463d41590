//! Health checks that do not ask what they seem to ask. What Patroni makes of a path is `patroni`'s matter.

use super::super::sink::Sink;
use super::super::view::View;
use super::super::{Rule, Severity};
use super::patroni::{Acts, Asked, PATHS, each, is_size};
use crate::error::nearest;
use crate::resolve::Tier;
use crate::value;

pub static UNKNOWN_PATH: Rule = Rule {
    code: "PGS043",
    name: "unknown-path",
    severity: Severity::Error,
    title: "A path that Patroni does not know",
    reason: "Patroni answers 503 to it for ever, whatever the member's state, and the port leads nowhere. Paths are case-sensitive.",
    fix: "Patroni's manual, \"REST API\", has the list",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /readonly}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only}",
    check: unknown,
};

pub static NEAR_PATH: Rule = Rule {
    code: "PGS044",
    name: "near-path",
    severity: Severity::Warning,
    title: "A path that acts as another one",
    reason: "Patroni looks for words inside of the path: /my-replica acts as /replica, /replicas-and-primary as /primary.",
    fix: "write the path that is meant",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only-pool}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only}",
    check: near,
};

pub static GET_ONLY: Rule = Rule {
    code: "PGS045",
    name: "get-only",
    severity: Severity::Error,
    title: "An endpoint that is no health check for a load balancer",
    reason: "Patroni has /liveness, /readiness, /patroni, /cluster and others for GET only; to HAProxy's OPTIONS they are 503 for ever.",
    fix: "/health asks whether PostgreSQL runs, /read-only whether it can be read",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /readiness}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /health}",
    check: get_only,
};

pub static NO_PATH: Rule = Rule {
    code: "PGS046",
    name: "no-path",
    severity: Severity::Warning,
    title: "A service without a check path",
    reason: "The default is /, which is /primary: a service meant for reads then leads to the primary alone.",
    fix: "say what is meant: /primary, /read-only, /replica",
    bad: "pg_services_extra:\n  - {name: standby, src_port: 5440, selector: '[]'}",
    good: "pg_services_extra:\n  - {name: standby, src_port: 5440, selector: '[]', check_url: /read-only-sync}",
    check: no_path,
};

pub static LAG_UNIT: Rule = Rule {
    code: "PGS040",
    name: "lag-unit",
    severity: Severity::Warning,
    title: "A lag that Patroni cannot read, and so no limit",
    reason: "Units are case-sensitive: B, kB, MB, GB, TB. What cannot be read counts as no limit at all.",
    fix: "write it as 16MB",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /replica?lag=10mb}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /replica?lag=10MB}",
    check: lag_unit,
};

pub static LAG_ZERO: Rule = Rule {
    code: "PGS041",
    name: "lag-zero",
    severity: Severity::Warning,
    title: "lag=0",
    reason: "The lag is measured against a position that the leader writes down every loop_wait seconds: under write load no replica has lag 0, and only the primary serves, where it may.",
    fix: "use a limit such as lag=1MB, or /read-only-sync",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only?lag=0}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only?lag=1MB}",
    check: lag_zero,
};

pub static QUERY_IGNORED: Rule = Rule {
    code: "PGS042",
    name: "query-ignored",
    severity: Severity::Warning,
    title: "A condition that Patroni does not look at on this path",
    reason: "The endpoints of the primary and the leader ignore lag, tags and replication_state; /health ignores lag and replication_state.",
    fix: "take it out, or use a path for replicas",
    bad: "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /primary?tag_zone=a}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /replica?tag_zone=a}",
    check: ignored,
};

pub static DEAD_BACKUP: Rule = Rule {
    code: "PGS047",
    name: "dead-backup",
    severity: Severity::Warning,
    title: "A primary as backup of a check that is false on it",
    reason: "/sync, /async, /quorum and /replica are 503 on the primary: the backup never serves.",
    fix: "/read-only-sync for /sync, /read-only for /replica: both include the primary",
    bad: "pg_services_extra:\n  - {name: sync, src_port: 5440, check_url: /sync, selector: '[]', selector_backup: '[? pg_role == `primary` ]'}",
    good: "pg_services_extra:\n  - {name: sync, src_port: 5440, check_url: /read-only-sync, selector: '[]', selector_backup: '[? pg_role == `primary` ]'}",
    check: dead_backup,
};

pub static STANDBY_CLUSTER: Rule = Rule {
    code: "PGS048",
    name: "standby-cluster",
    severity: Severity::Warning,
    title: "/primary in a standby cluster",
    reason: "No member of a standby cluster is a primary: the path is 503 on all of them (patroni#1917).",
    fix: "/leader, which is right before and after the cluster is promoted",
    bad: "pg_services:\n  - {name: rw, src_port: 5433, selector: '[]', check_url: /primary}\nhosts:\n  10.10.10.21: {pg_seq: 1, pg_role: primary, pg_upstream: 10.10.10.11}",
    good: "pg_services:\n  - {name: rw, src_port: 5433, selector: '[]', check_url: /leader}\nhosts:\n  10.10.10.21: {pg_seq: 1, pg_role: primary, pg_upstream: 10.10.10.11}",
    check: standby,
};

pub const URL: [&str; 2] = ["check_url", "check"];

fn unknown(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        if a.acts != Acts::Nothing {
            return;
        }
        let near = nearest(a.path, PATHS.iter().map(|(p, _)| *p)).filter(|p| *p != "/");
        let raw = sink.service(c, &s.service, &URL, format!("'{}' is no endpoint of Patroni", a.path));
        if let (Some(raw), Some(near)) = (raw, near) {
            raw.fix = format!("did you mean '{near}'?");
        }
    });
}

fn near(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        if matches!(a.acts, Acts::Nothing | Acts::GetOnly) || PATHS.iter().any(|(p, _)| *p == a.path) {
            return;
        }
        let as_what = PATHS.iter().find(|(p, acts)| *acts == a.acts && *p != "/").map_or("", |(p, _)| *p);
        let what = format!("Patroni takes '{}' for {as_what}", a.path);
        sink.service(c, &s.service, &URL, what);
    });
}

fn get_only(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        if a.acts == Acts::GetOnly {
            sink.service(c, &s.service, &URL, format!("'{}' is 503 for every load balancer", a.path));
        }
    });
}

fn no_path(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        let ours = c.entry(&s.service).is_none_or(|e| e.from.is_none());
        if a.path == "/" && !ours && !c.says(&s.service, &URL) {
            sink.service(c, &s.service, &["name"], "has no check path, and leads to the primary");
        }
    });
}

fn lags<'a>(a: &'a Asked<'_>) -> impl Iterator<Item = &'a str> {
    a.query.iter().filter(|(k, _)| *k == "lag").map(|(_, v)| *v)
}

fn lag_unit(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        for lag in lags(a).filter(|l| !is_size(l)) {
            let what = format!("'{lag}' is no size to Patroni, and so no limit");
            sink.service(c, &s.service, &URL, what);
        }
    });
}

fn lag_zero(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        let zero = |l: &&str| is_size(l) && l.trim_end_matches(char::is_alphabetic).chars().all(|c| c == '0');
        if let Some(lag) = lags(a).find(zero) {
            let what = format!("lag={lag} is met by no replica while anything is written");
            sink.service(c, &s.service, &URL, what);
        }
    });
}

fn ignored(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        let all = matches!(a.acts, Acts::Primary | Acts::Leader | Acts::StandbyLeader);
        let most = a.acts == Acts::Health;
        for (key, _) in &a.query {
            let state = *key == "lag" || *key == "replication_state";
            if all && (state || key.starts_with("tag_")) || most && state {
                let what = format!("'{key}' does nothing on {}", a.path);
                sink.service(c, &s.service, &URL, what);
            }
        }
    });
}

fn dead_backup(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        let off = matches!(a.acts, Acts::Sync | Acts::Async | Acts::Quorum | Acts::Replica);
        let primary = s.servers.iter().any(|m| m.as_primary == Some(Tier::Backup));
        // Members of a fixed role are in one tier whatever happens, and are no primary.
        let can = c.cluster.members.iter().any(|m| {
            m.changes_role()
                && s.servers.iter().any(|x| x.instance == m.instance && x.as_primary == Some(Tier::Backup))
        });
        if off && primary && can {
            let what = format!("'{}' is false on the primary, which is a backup here", a.path);
            sink.service(c, &s.service, &URL, what);
        }
    });
}

fn standby(view: &View<'_>, sink: &mut Sink) {
    each(view, |c, s, a| {
        let upstream = |h: &crate::inventory::Host| value::given(h.vars.get("pg_upstream")).is_some();
        let primary = |name: &str| c.cluster.members.iter().any(|m| m.host == name && m.role == "primary");
        let leader = c.hosts.iter().find(|h| upstream(h) && primary(&h.name));
        if let Some(leader) = leader.filter(|_| a.acts == Acts::Primary) {
            let what = format!("'{}' is 503 on every member: {} has a pg_upstream", a.path, leader.name);
            sink.service(c, &s.service, &URL, what);
        }
    });
}
