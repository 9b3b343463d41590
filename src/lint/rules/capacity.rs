//! How many connections a service lets in, against those that its members take.

use super::super::sink::Sink;
use super::super::view::View;
use super::super::{Rule, Severity};
use crate::resolve::Expectation;
use crate::service::Target;
use crate::value;

pub static SLOWSTART: Rule = Rule {
    code: "PGS050",
    name: "slowstart-primary",
    severity: Severity::Warning,
    title: "slowstart on a service for the primary",
    reason: "slowstart scales maxconn too: a freshly promoted primary admits a handful of connections, and the others wait in a queue that times out first (measured: 55 of 400 served).",
    fix: "leave slowstart out of services for the primary",
    bad: "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /primary, haproxy: {default_server_options: inter 3s slowstart 30s maxconn 3000}}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /replica, haproxy: {default_server_options: inter 3s slowstart 30s maxconn 3000}}",
    check: slowstart,
};

pub static MAXCONN: Rule = Rule {
    code: "PGS051",
    name: "maxconn",
    severity: Severity::Warning,
    title: "More connections than the members take",
    reason: "HAProxy queues what is above its maxconn; what is above the member's is refused there: \"too many clients already\".",
    fix: "set maxconn (and that of the server options) below the member's limit",
    bad: "pg_max_conn: 200\npg_services:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /primary, dst_port: postgres, haproxy: {maxconn: 1000}}",
    good: "pg_max_conn: 200\npg_services:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /primary, dst_port: postgres, haproxy: {maxconn: 150}}",
    check: maxconn,
};

const OPTIONS: [&str; 2] = ["haproxy.default_server_options", "options"];

fn slowstart(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        let queue = view.carriers(c).iter().map(|n| n.settings.queue_timeout.clone()).min_by_key(|t| ms(t));
        let Some(queue) = queue else { continue };
        for s in &c.services {
            let Some(slow) = s.options.get("slowstart") else { continue };
            let to_primary = matches!(s.expectation, Expectation::Primary | Expectation::Leader);
            if !to_primary || ms(slow) <= ms(&queue) {
                continue;
            }
            let most: u64 = s.options.get("maxconn").and_then(|m| m.parse().ok()).unwrap_or(0);
            let share = most.saturating_mul(ms(&queue)).checked_div(ms(slow)).unwrap_or(0);
            let what = match most {
                0 => format!("slowstart {slow} is longer than the queue waits ({queue})"),
                _ => format!(
                    "slowstart {slow} admits {share} of {most} connections before the queue times out ({queue})"
                ),
            };
            sink.service(c, &s.service, &OPTIONS, what);
        }
    }
}

fn ms(text: &str) -> u64 {
    value::duration_ms("", text).unwrap_or(0)
}

/// The variables that may name a limit.
const POSTGRES: [&str; 2] = ["pg_max_conn", "pg_max_connections"];
const POOLER: [&str; 2] = ["pgbouncer_max_client_conn", "pgbouncer_max_conn"];

fn maxconn(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        for s in &c.services {
            let names = match c.service(&s.service).map(|d| d.target) {
                Some(Target::Postgres) => POSTGRES,
                Some(Target::Pgbouncer) => POOLER,
                _ => continue,
            };
            let limits = names.iter().flat_map(|n| c.vars(n).into_iter().map(move |(h, v)| (h, *n, v)));
            let read = limits.filter_map(|(h, n, v)| Some((value::integer(n, v, 1, 10_000_000).ok()?, n, h)));
            let Some((limit, name, host)) = read.min_by_key(|(l, ..)| *l) else { continue };
            let server: u64 = s.options.get("maxconn").and_then(|m| m.parse().ok()).unwrap_or(0);
            let server = if server == 0 { u64::MAX } else { server };
            let most = server.min(u64::from(s.maxconn));
            if most <= limit {
                continue;
            }
            let fields = ["haproxy.maxconn", "maxconn", OPTIONS[0], OPTIONS[1]];
            let said = c.says(&s.service, &fields);
            let what = format!("lets {most} connections through, and {} takes {limit} ({name})", host.name);
            if let Some(raw) = sink.service(c, &s.service, &fields, what)
                && !said
            {
                raw.severity = Severity::Note;
            }
        }
    }
}
