//! What a verification found, in Prometheus's text format (version 0.0.4), for the node exporter's textfile collector.
//! Pure: nothing is asked or written here. docs/metrics.md explains each metric.
//!
//! Labels are names that stay: what changes with the state of a port is a value, never a label, or an alert would begin
//! anew with every change. The one exception is a set of states, where each state is a series of its own.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::report::Report;
use crate::verify::judge::{PortResult, Status};

/// What a verification came to, and when.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    pub report: &'a Report,
    /// Whether an apply of what the node keeps would change anything; `None` where nobody looked, or a plan cannot be made.
    pub drift: Option<bool>,
    /// When it ended, seconds since 1970.
    pub ended: u64,
    /// Seconds that it took.
    pub took: f64,
}

/// What a port can be; `elsewhere`: another node has its address now, and nobody asked.
const STATES: [&str; 5] = ["ok", "unproven", "empty", "elsewhere", "wrong"];

fn state(r: &PortResult) -> &'static str {
    match r.status {
        Status::Wrong => "wrong",
        _ if r.is_elsewhere() => "elsewhere",
        Status::Ok => "ok",
        Status::Unproven => "unproven",
        Status::Empty => "empty",
    }
}

/// The exposition.
#[must_use]
pub fn text(run: &Run<'_>) -> String {
    let mut page = Page::default();
    let report = run.report;
    page.gauge("pgsvc_port_ok", "1 while the port leads where it must lead now, 0 while it does not.");
    ports(&mut page, report, |r, labels, page| page.value(labels, u8::from(r.status != Status::Wrong)));
    page.gauge("pgsvc_port_status", "1 for the state that the port is in, 0 for the others.");
    ports(&mut page, report, |r, labels, page| {
        for one in STATES {
            let mut labels = labels.to_vec();
            labels.push(("status", one));
            page.value(&labels, u8::from(state(r) == one));
        }
    });
    page.gauge("pgsvc_port_members_expected", "Members that the port must lead to now.");
    ports(&mut page, report, |r, labels, page| page.value(labels, r.expected.len()));
    page.gauge(
        "pgsvc_port_members_found",
        "Members that it leads to; missing where nobody logged in to see.",
    );
    ports(&mut page, report, |r, labels, page| {
        if r.status != Status::Unproven {
            page.value(labels, r.found.len());
        }
    });
    sessions(&mut page, report);
    if let Some(drift) = run.drift {
        page.gauge("pgsvc_drift", "1 while an apply of what this node keeps would change something.");
        page.value(&[], u8::from(drift));
    }
    page.gauge(
        "pgsvc_verify_errors",
        "What kept the verification from looking, or was found beside the ports.",
    );
    page.value(&[], report.errors.len());
    page.gauge("pgsvc_verify_timestamp_seconds", "When the last verification ended.");
    page.value(&[], run.ended);
    page.gauge("pgsvc_verify_duration_seconds", "How long it took.");
    page.value(&[], format_args!("{:.3}", run.took));
    page.0
}

fn ports(page: &mut Page, report: &Report, each: impl Fn(&PortResult, &[(&str, &str)], &mut Page)) {
    for r in &report.verify {
        let port = r.port.to_string();
        let address = r.address.strip_suffix(&format!(":{port}")).unwrap_or(&r.address);
        let labels =
            [("cluster", &*r.cluster), ("service", &*r.service), ("address", address), ("port", &*port)];
        each(r, &labels, page);
    }
}

fn sessions(page: &mut Page, report: &Report) {
    page.gauge("pgsvc_old_workers", "HAProxy's workers of earlier configurations.");
    page.value(&[], report.old_workers.len());
    let mut held: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for count in report.old_workers.iter().flat_map(|w| &w.sessions) {
        let sum = held.entry((&count.service, &count.server)).or_default();
        *sum = sum.saturating_add(count.count);
    }
    if !held.is_empty() {
        page.gauge("pgsvc_old_worker_sessions", "Sessions that they hold.");
    }
    for ((listener, member), count) in held {
        page.value(&[("listener", listener), ("member", member)], count);
    }
}

/// A text in the making: a metric's name and its help come first, then its values.
#[derive(Default)]
struct Page(String, &'static str);

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        self.1 = name;
    }

    fn value(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(self.1);
        let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        if !pairs.is_empty() {
            self.0.push_str(&format!("{{{}}}", pairs.join(",")));
        }
        self.0.push_str(&format!(" {value}\n"));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
