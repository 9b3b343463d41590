//! HAProxy's timeouts against those of the pooler behind it.

use super::super::sink::Sink;
use super::super::view::View;
use super::super::{Rule, Severity};
use crate::service::Target;
use crate::value;

pub static POOLER: Rule = Rule {
    code: "PGS052",
    name: "pooler-timeout",
    severity: Severity::Warning,
    title: "HAProxy cuts what the pooler still lets wait",
    reason: "A client that waits for a server connection (query_wait_timeout, 120 s by default), idles, or runs a query within the pooler's limits is silent: a shorter timeout of HAProxy's cuts it, and the pooler's own limit and message never come.",
    fix: "raise haproxy_client_timeout and haproxy_server_timeout above it, or lower the pooler's",
    bad: "haproxy_client_timeout: 90s\nhaproxy_server_timeout: 90s",
    good: "haproxy_client_timeout: 90s\nhaproxy_server_timeout: 90s\npgbouncer_query_wait_timeout: 60",
    check: pooler,
};

pub static DIFFERENT: Rule = Rule {
    code: "PGS053",
    name: "different-timeouts",
    severity: Severity::Note,
    title: "Client and server timeouts that differ",
    reason: "In TCP mode the shorter of the two ends every idle session, whichever side was meant (HAProxy's manual, \"timeout client\", wants them equal).",
    fix: "give both the same value",
    bad: "haproxy_client_timeout: 1h",
    good: "haproxy_client_timeout: 1h\nhaproxy_server_timeout: 60m",
    check: different,
};

/// PgBouncer's limits (its manual, "Connection sanity checks, timeouts"): seconds, and the default that counts.
const LIMITS: [(&str, Option<u64>); 4] = [
    ("pgbouncer_query_wait_timeout", Some(120)),
    ("pgbouncer_query_timeout", None),
    ("pgbouncer_client_idle_timeout", None),
    ("pgbouncer_idle_transaction_timeout", None),
];

const OURS: [&str; 2] = ["haproxy_client_timeout", "haproxy_server_timeout"];

fn pooler(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        if !c.cluster.services.iter().any(|s| s.target == Target::Pgbouncer) {
            continue;
        }
        for (name, default) in LIMITS {
            let said = c
                .vars(name)
                .into_iter()
                .filter_map(|(_, v)| value::integer(name, v, 0, 1_000_000).ok())
                .max();
            let Some(limit) = said.or(default).filter(|l| *l > 0) else { continue };
            for n in view.carriers(c) {
                let ours = [&n.settings.client_timeout, &n.settings.server_timeout];
                let ours = OURS.into_iter().zip(ours);
                let read = ours.filter_map(|(k, t)| Some((value::duration_ms(k, t).ok()?, k, t)));
                let Some((ms, key, text)) = read.min_by_key(|(ms, ..)| *ms) else { continue };
                if ms < limit.saturating_mul(1000) {
                    sink.host(n.host, key, format!("{key} {text} is shorter than {name}, {limit} s"));
                }
            }
        }
    }
}

fn different(view: &View<'_>, sink: &mut Sink) {
    for n in &view.nodes {
        let (client, server) = (&n.settings.client_timeout, &n.settings.server_timeout);
        let ms = |t: &str| value::duration_ms("", t).ok();
        if ms(client) != ms(server) {
            let key = if n.host.place(OURS[0]).is_some() { OURS[0] } else { OURS[1] };
            sink.host(n.host, key, format!("client timeout {client}, server timeout {server}"));
        }
    }
}
