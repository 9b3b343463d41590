//! Passwords that everybody knows. None is ever shown.

use super::super::sink::Sink;
use super::super::view::View;
use super::super::{Rule, Severity};
use crate::inventory::{Host, needed};

pub static KNOWN_PASSWORD: Rule = Rule {
    code: "PGS060",
    name: "known-password",
    severity: Severity::Warning,
    title: "A password from a public manual",
    reason: "Defaults of Pigsty's, HAProxy's and Patroni's documentation are the first that anybody tries; Patroni's API can fail the cluster over.",
    fix: "choose one of your own",
    bad: "haproxy_admin_password: pigsty",
    good: "haproxy_admin_password: a-long-one-of-our-own",
    check: known,
};

/// Passwords of manuals, and those that are none.
const KNOWN: [&str; 22] = [
    "pigsty",
    "DBUser.DBA",
    "DBUser.Monitor",
    "DBUser.Replicator",
    "DBUser.Meta",
    "DBUser.Viewer",
    "Patroni.API",
    "Etcd.Root",
    "vagrant",
    "zalando",
    "rep-pass",
    "admin",
    "admin123",
    "password",
    "secret",
    "haproxy",
    "patroni",
    "pgbouncer",
    "postgres",
    "changeme",
    "123456",
    "1111",
];

/// The variables that hold one, of pgsvc's and of Pigsty's.
const VARIABLES: [&str; 9] = [
    "haproxy_admin_password",
    "patroni_password",
    "pg_admin_password",
    "pg_monitor_password",
    "pg_replication_password",
    "pg_dbsu_password",
    "pgbouncer_password",
    "pgsvc_verify_password",
    "vip_auth_pass",
];

fn known(view: &View<'_>, sink: &mut Sink) {
    let mut hosts: Vec<&Host> = view.nodes.iter().map(|n| n.host).collect();
    for h in view.clusters.iter().flat_map(|c| &c.hosts) {
        if !hosts.iter().any(|x| x.name == h.name) {
            hosts.push(h);
        }
    }
    for h in hosts {
        for name in VARIABLES {
            let Ok(Some(v)) = needed(&h.vars, name, &h.name) else { continue };
            let text = v.as_str().map(str::to_owned).unwrap_or_else(|| v.to_string());
            if KNOWN.contains(&text.as_str()) {
                sink.host(h, name, format!("{name} is publicly known"));
            }
        }
    }
}
