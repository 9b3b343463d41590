//! Findings on services and members: what is allowed and yet rarely meant. Pure; nothing is looked up.

use std::fmt;

use serde::Serialize;

use crate::request::{Model, ResolvedCluster};
use crate::resolve::{Expectation, ResolvedService, Tier};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Error,
}

/// One finding, with a code that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub place: String,
    pub what: String,
    pub fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity} {}: {}", self.code, self.place)?;
        write!(f, ": {}", self.what)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; {}", self.fix) }
    }
}

/// Passwords that everybody knows from a documentation.
const KNOWN_PASSWORDS: [&str; 6] = ["pigsty", "admin", "password", "haproxy", "postgres", "changeme"];

/// Everything worth a second look, clusters in order.
pub fn lint(model: &Model) -> Vec<Finding> {
    let mut findings = Vec::new();
    for errors in model.failed.values() {
        for e in &errors.0 {
            findings.push(Finding {
                code: "invalid",
                severity: Severity::Error,
                place: e.place.clone(),
                what: if e.hint.is_empty() { e.what.clone() } else { format!("{}; {}", e.what, e.hint) },
                fix: "",
            });
        }
    }
    if model.node.auth && KNOWN_PASSWORDS.contains(&model.node.admin_password.0.as_str()) {
        findings.push(finding(
            "known-password",
            format!("node '{}'", model.node.name),
            "haproxy_admin_password is publicly known".into(),
            "choose one of your own",
        ));
    }
    for c in model.clusters.values() {
        members(c, &mut findings);
        for s in &c.services {
            service(c, s, &mut findings);
        }
    }
    findings
}

fn finding(code: &'static str, place: String, what: String, fix: &'static str) -> Finding {
    Finding { code, severity: Severity::Warning, place, what, fix }
}

fn members(c: &ResolvedCluster, findings: &mut Vec<Finding>) {
    let place = || format!("cluster '{}'", c.cluster.name);
    let primaries: Vec<&str> =
        c.cluster.members.iter().filter(|m| m.role == "primary").map(|m| m.host.as_str()).collect();
    match primaries.as_slice() {
        [_] => {}
        [] => findings.push(finding(
            "no-primary",
            place(),
            "no member has pg_role: primary".into(),
            "say which one is meant to begin as primary",
        )),
        many => findings.push(finding(
            "many-primaries",
            place(),
            format!("{} all have pg_role: primary", many.join(", ")),
            "one member is primary, the others replica",
        )),
    }
    if c.cluster.members.iter().all(|m| m.weight == Some(0)) {
        findings.push(finding(
            "all-drained",
            place(),
            "every member has pg_weight 0".into(),
            "give at least one a weight",
        ));
    }
}

fn service(c: &ResolvedCluster, s: &ResolvedService, findings: &mut Vec<Finding>) {
    let place = || format!("service '{}' of {}", s.service, s.cluster);
    if s.tier(Tier::Active).is_empty() {
        findings.push(finding(
            "nobody",
            place(),
            format!("its selector matches none of the {} members", c.cluster.members.len()),
            "see the matrix: pgsvc explain",
        ));
    }
    if s.expectation == Expectation::Primary && s.options.get("slowstart").is_some() {
        findings.push(finding(
            "slowstart-primary",
            place(),
            "slowstart throttles a freshly promoted primary: it scales maxconn too".into(),
            "leave slowstart out on primary services",
        ));
    }
    if s.check_is_patroni {
        path(s, &place(), findings);
    }
    if s.port() < 1024 {
        findings.push(finding(
            "privileged-port",
            place(),
            format!("port {} needs a privilege", s.port()),
            "use a port above 1023",
        ));
    }
}

/// Patroni's endpoints that answer a health check (Patroni manual, "REST API").
const PATHS: [&str; 18] = [
    "",
    "primary",
    "master",
    "read-write",
    "leader",
    "standby-leader",
    "standby_leader",
    "replica",
    "read-only",
    "sync",
    "synchronous",
    "async",
    "asynchronous",
    "read-only-sync",
    "read-only-quorum",
    "quorum",
    "health",
    "liveness",
];

fn path(s: &ResolvedService, place: &str, findings: &mut Vec<Finding>) {
    let (path, query) = s.check_url.split_once('?').unwrap_or((&s.check_url, ""));
    let name = path.trim_start_matches('/');
    if !PATHS.contains(&name) && name != "readiness" && name != "patroni" {
        findings.push(finding(
            "unknown-path",
            place.to_owned(),
            format!("'{path}' is no endpoint of Patroni"),
            "a path it does not know is 503 for ever",
        ));
    }
    for lag in query.split('&').filter_map(|q| q.strip_prefix("lag=")) {
        let unit = lag.trim_start_matches(|c: char| c.is_ascii_digit());
        if lag == "0" {
            findings.push(finding(
                "lag-zero",
                place.to_owned(),
                "lag=0 keeps only the primary under write load: it is compared with a cached position".into(),
                "use a limit such as lag=1MB, or /read-only-sync",
            ));
        } else if !["", "B", "kB", "MB", "GB", "TB"].contains(&unit) {
            findings.push(finding(
                "lag-unit",
                place.to_owned(),
                format!("'{lag}' is no size to Patroni, and so no limit"),
                "units are case-sensitive: kB, MB, GB, TB",
            ));
        }
    }
    let to_primary = matches!(name, "sync" | "synchronous")
        && s.servers.iter().any(|m| m.as_primary == Some(Tier::Backup));
    if to_primary {
        findings.push(finding(
            "sync-primary",
            place.to_owned(),
            format!("'{path}' is false on the primary, which is a backup here"),
            "use /read-only-sync",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{from_arguments, model};
    use serde_json::{Value, json};

    fn codes(services: Value, member: Value) -> Vec<&'static str> {
        let mut m =
            json!({"inventory_hostname": "10.0.0.1", "pg_cluster": "a", "pg_seq": 1, "pg_role": "primary"});
        for (k, v) in member.as_object().unwrap() {
            m[k] = v.clone();
        }
        let args = json!({"members": [m], "services": services});
        let model = model(from_arguments(args.as_object().unwrap()).unwrap()).unwrap();
        lint(&model).iter().map(|f| f.code).collect()
    }

    fn one(extra: Value) -> Value {
        let mut s = json!({"name": "x", "src_port": 5440, "selector": "[]", "check_url": "/read-only"});
        for (k, v) in extra.as_object().unwrap() {
            s[k] = v.clone();
        }
        json!([s])
    }

    #[test]
    fn each_code_has_what_triggers_it_and_a_near_miss() {
        for (code, bad, good) in [
            ("unknown-path", json!({"check_url": "/readonly"}), json!({"check_url": "/read-only-sync"})),
            ("lag-zero", json!({"check_url": "/replica?lag=0"}), json!({"check_url": "/replica?lag=10"})),
            (
                "lag-unit",
                json!({"check_url": "/replica?lag=10mb"}),
                json!({"check_url": "/replica?lag=10MB"}),
            ),
            ("nobody", json!({"selector": "[?pg_seq == `2`]"}), json!({"selector": "[?pg_seq == `1`]"})),
            (
                "slowstart-primary",
                json!({"check_url": "/primary", "haproxy": {"default_server_options": "slowstart 30s"}}),
                json!({"haproxy": {"default_server_options": "slowstart 30s"}}),
            ),
            (
                "sync-primary",
                json!({"check_url": "/sync", "selector_backup": "[?pg_role == `primary`]"}),
                json!({"check_url": "/sync"}),
            ),
            ("privileged-port", json!({"src_port": 1023}), json!({"src_port": 1024})),
            ("invalid", json!({"src_port": 0}), json!({})),
        ] {
            assert!(codes(one(bad.clone()), json!({})).contains(&code), "{code}: {bad}");
            assert!(!codes(one(good.clone()), json!({})).contains(&code), "{code}: {good}");
        }
        assert_eq!(codes(one(json!({})), json!({"pg_role": "replica"})), ["no-primary"]);
        assert_eq!(codes(one(json!({})), json!({"pg_weight": 0})), ["all-drained"]);
    }

    #[test]
    fn the_default_services_deserve_no_finding() {
        assert_eq!(codes(Value::Null, json!({})), ["nobody"], "a cluster of one has no offline member");
    }
}
