//! Verification as the verbs use it: whom to look at, with which credentials, for how long, and what its outcome means.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Node;
use crate::report::Report;
use crate::request::{Model, State};
use crate::settings::{Options, SslMode, VerifyMode};
use crate::verify::deadline::Deadline;
use crate::verify::judge::{PortResult, Status};
use crate::verify::observe::{Look, Target, until_right};
use crate::verify::postgres::{Login, TlsMode};
use crate::verify::tls::TlsConfig;

/// Looks at every port of the model: until all are right or `patience` is over.
///
/// # Errors
/// Credentials that cannot be used (a CA file that cannot be read).
pub fn verify(node: &Node<'_>, model: &Model, remote: Option<IpAddr>, patience: Duration) -> Result<Vec<PortResult>, crate::error::Error> {
    let login = login(node, &model.options)?;
    let mut ca = BTreeMap::new();
    for path in model.clusters.values().filter_map(|c| c.cluster.patroni_ca.clone()) {
        let read = node.sys.read(std::path::Path::new(&path)).map_err(|e| format!("{path}: {e}"));
        let config = read.and_then(|pem| TlsConfig::verified(&pem, None).map_err(|e| format!("{path}: {e}")));
        ca.insert(path, config);
    }
    let stats_socket = if remote.is_some() { None } else { stats_socket(node) };
    let l = Look { sys: node.sys, login, remote, stats_socket, ca };
    let targets: Vec<Target<'_>> =
        model.clusters.values().map(|c| Target { cluster: &c.cluster, services: c.services.iter().collect() }).collect();
    Ok(until_right(&l, &targets, Deadline::after(node.sys, patience)))
}

/// The stats socket: ours, or on a node that pgsvc never configured, the one its files name.
fn stats_socket(node: &Node<'_>) -> Option<std::path::PathBuf> {
    let ours = &node.paths.stats_socket;
    if node.sys.stat(ours).ok().flatten().is_some() {
        return Some(ours.clone());
    }
    let dir = node.paths.config.parent()?;
    let mut files: Vec<_> = node.sys.list(dir).unwrap_or_default().into_iter().map(|n| dir.join(n)).collect();
    files.extend(node.sys.list(&node.paths.conf_d).unwrap_or_default().into_iter().map(|n| node.paths.conf_d.join(n)));
    files.retain(|p| p.extension().is_some_and(|e| e == "cfg"));
    let socket = |text: String| {
        let mut words = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        words.find_map(|w| match w.as_slice() {
            ["stats", "socket", path, ..] if path.starts_with('/') => Some(std::path::PathBuf::from(path)),
            _ => None,
        })
    };
    files.iter().filter_map(|p| node.sys.read(p).ok()).find_map(|bytes| socket(String::from_utf8_lossy(&bytes).into_owned()))
}

/// How to log in; `None` without a user.
///
/// # Errors
/// A CA file that is missing or unusable.
pub fn login(node: &Node<'_>, o: &Options) -> Result<Option<Login>, crate::error::Error> {
    let Some(user) = o.user.clone() else { return Ok(None) };
    let tls = match o.sslmode {
        SslMode::Disable => TlsMode::Disable,
        SslMode::Prefer => TlsMode::Prefer,
        SslMode::Require => TlsMode::Require,
        SslMode::VerifyFull => {
            let wrong = |what: String| crate::error::Error::new("verify_sslrootcert", what).hint("verify-full needs the CA's PEM file");
            let path = o.ssl_root_cert.as_ref().ok_or_else(|| wrong("is not set".into()))?;
            let pem = node.sys.read(path).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
            TlsMode::VerifyFull(TlsConfig::verified(&pem, None).map_err(|e| wrong(e.to_string()))?)
        }
    };
    let password = (!o.password.0.is_empty()).then(|| o.password.0.clone());
    Ok(Some(Login { user, password, database: o.database.clone().unwrap_or_else(|| "postgres".into()), tls, cleartext: false }))
}

/// What `verify` says: looked at, nothing touched.
pub fn report(node: &Node<'_>, model: &Model, remote: Option<IpAddr>, patience: Duration) -> Report {
    let mut report = super::begin(model);
    if model.state == State::Absent {
        report.msg = "nothing to verify: the clusters are to be absent".into();
        return report;
    }
    match verify(node, model, remote, patience) {
        Ok(results) => conclude(&mut report, results, model.options.verify),
        Err(e) => report.fail([e]),
    }
    report
}

/// Enters results into a report; a wrong port fails the run unless it is only to be reported.
pub fn conclude(report: &mut Report, results: Vec<PortResult>, mode: VerifyMode) {
    report.verify = results;
    let wrong = report.wrong().count();
    let all = report.verify.len();
    let unproven = report.verify.iter().filter(|r| r.status == Status::Unproven).count();
    if wrong > 0 {
        report.failed |= mode == VerifyMode::Fail;
        report.msg = join(&report.msg, &format!("{wrong} of {all} ports wrong"));
        if mode == VerifyMode::Report {
            let lines: Vec<String> = report.wrong().map(crate::report::wrong_line).collect();
            report.warnings.extend(lines);
        }
    } else if unproven > 0 {
        report.msg = join(&report.msg, &format!("{all} ports as expected, {unproven} of them unproven: no credentials"));
    } else {
        report.msg = join(&report.msg, &format!("{all} ports verified"));
    }
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.to_owned() } else { format!("{a}, {b}") }
}
