//! Verification as the verbs use it: whom to look at, with which credentials, for how long, and what its outcome means.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Node, sessions};
use crate::inventory::cluster::Cluster;
use crate::inventory::tls::TlsFiles;
use crate::report::Report;
use crate::request::{Model, ResolvedCluster, State};
use crate::settings::{Options, SslMode, VerifyMode};
use crate::verify::deadline::Deadline;
use crate::verify::judge::{PortResult, Status, judge_held};
use crate::verify::observe::{Look, Seen, Target, until_right};
use crate::verify::postgres::{Login, TlsMode};
use crate::verify::tls::TlsConfig;

/// Looks at every port of the model: until all are right or `patience` is over.
///
/// # Errors
/// Credentials that cannot be used (a CA file that cannot be read).
pub fn verify(
    node: &Node<'_>,
    model: &Model,
    remote: Option<IpAddr>,
    patience: Duration,
) -> Result<Vec<PortResult>, crate::error::Error> {
    let l = look(node, model, remote)?;
    Ok(seen(&l, model, patience).ports)
}

/// How ports are looked at: with whose login, by which sockets and certificates.
///
/// # Errors
/// Credentials that cannot be used (a CA file that cannot be read).
pub fn look<'a>(
    node: &Node<'a>,
    model: &Model,
    remote: Option<IpAddr>,
) -> Result<Look<'a>, crate::error::Error> {
    let login = login(node, &model.options)?;
    let over_tls = |c: &&Cluster| c.members.iter().any(|m| m.patroni_ssl);
    let files: BTreeSet<_> =
        model.clusters.values().map(|c| &c.cluster).filter(over_tls).map(|c| &c.patroni_tls).collect();
    let read =
        |files: &TlsFiles| (files.clone(), TlsConfig::from_files(node.sys, files).map_err(|e| e.to_string()));
    let tls = files.into_iter().map(read).collect();
    let stats_socket = if remote.is_some() { None } else { stats_socket(node) };
    Ok(Look { sys: node.sys, login, remote, stats_socket, tls })
}

fn seen(l: &Look<'_>, model: &Model, patience: Duration) -> Seen {
    let targets: Vec<Target<'_>> = model
        .clusters
        .values()
        .filter(|c| c.proxy)
        .map(|c| Target { cluster: &c.cluster, services: c.services.iter().collect() })
        .collect();
    until_right(l, &targets, Deadline::after(l.sys, patience))
}

/// The stats socket: ours, or on a node that pgsvc never configured, the one its files name.
fn stats_socket(node: &Node<'_>) -> Option<std::path::PathBuf> {
    let ours = &node.paths.stats_socket;
    if node.sys.stat(ours).ok().flatten().is_some() {
        return Some(ours.clone());
    }
    let dir = node.paths.config.parent()?;
    let mut files: Vec<_> = node.sys.list(dir).unwrap_or_default().into_iter().map(|n| dir.join(n)).collect();
    files.extend(
        node.sys.list(&node.paths.conf_d).unwrap_or_default().into_iter().map(|n| node.paths.conf_d.join(n)),
    );
    files.retain(|p| p.extension().is_some_and(|e| e == "cfg"));
    let socket = |text: String| {
        let mut words = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        words.find_map(|w| match w.as_slice() {
            ["stats", "socket", path, ..] if path.starts_with('/') => Some(std::path::PathBuf::from(path)),
            _ => None,
        })
    };
    files
        .iter()
        .filter_map(|p| node.sys.read(p).ok())
        .find_map(|bytes| socket(String::from_utf8_lossy(&bytes).into_owned()))
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
            let wrong = |what: String| {
                crate::error::Error::new("verify_sslrootcert", what)
                    .hint("verify-full needs the CA's PEM file")
            };
            let path = o.ssl_root_cert.as_ref().ok_or_else(|| wrong("is not set".into()))?;
            let pem = node.sys.read(path).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
            TlsMode::VerifyFull(TlsConfig::verified(&pem, None).map_err(|e| wrong(e.to_string()))?)
        }
    };
    let password = (!o.password.0.is_empty()).then(|| o.password.0.clone());
    Ok(Some(Login {
        user,
        password,
        database: o.database.clone().unwrap_or_else(|| "postgres".into()),
        tls,
        cleartext: false,
    }))
}

/// What `verify` says: looked at, nothing touched but, with `fix`, sessions that are cut.
pub fn report(
    node: &Node<'_>,
    model: &Model,
    remote: Option<IpAddr>,
    patience: Duration,
    fix: bool,
) -> Report {
    let mut report = super::begin(model);
    if model.state == State::Absent {
        report.msg = "nothing to verify: the clusters are to be absent".into();
        return report;
    }
    if let Err(e) = prove(node, model, remote, patience, fix, &mut report) {
        report.fail([e]);
    }
    report
}

/// The same through each cluster's VIP.
pub fn through_vips(node: &Node<'_>, model: &Model, patience: Duration) -> Report {
    let mut report = super::begin(model);
    let mut results = Vec::new();
    for (name, c) in &model.clusters {
        let Some(vip) = &c.cluster.virtual_ip else {
            let error = crate::error::Error::new(format!("cluster '{name}'"), "has no VIP");
            report.fail([error.hint("set vip_mode and vip_address, or leave --vip away")]);
            continue;
        };
        let mut one = model.clone();
        one.clusters.retain(|n, _| n == name);
        for c in one.clusters.values_mut() {
            reach(Arc::make_mut(c), vip.address);
        }
        match verify(node, &one, Some(vip.address), patience) {
            Ok(found) => results.extend(found),
            Err(e) => report.fail([e]),
        }
    }
    conclude(&mut report, results, model.options.verify);
    report
}

/// What a client reaches: whoever carries the cluster, and of its services those that the address has.
fn reach(c: &mut ResolvedCluster, vip: IpAddr) {
    c.proxy = true;
    c.services.retain(|s| s.listens_on(vip));
}

fn prove(
    node: &Node<'_>,
    model: &Model,
    remote: Option<IpAddr>,
    patience: Duration,
    fix: bool,
    report: &mut Report,
) -> Result<(), crate::error::Error> {
    let end = Deadline::after(node.sys, patience);
    let l = look(node, model, remote)?;
    if fix {
        sessions::settled(node)?;
        let cut = sessions::fix(node, &l, model, true)?;
        report.msg =
            if cut.is_empty() { "no session is to be cut".into() } else { sessions::said(&cut).join(", ") };
    }
    let mut seen = seen(&l, model, patience);
    if l.stats_socket.is_some() {
        let found = sessions::look(node, &l, model, &seen.rows);
        judge_held(&mut seen.ports, &found.groups());
        report.old_workers = found.old;
        report.sessions = crate::verify::stray::busy(&sessions::services(model), &seen.rows);
    }
    report.leaders = std::mem::take(&mut seen.leaders);
    conclude(report, seen.ports, model.options.verify);
    if remote.is_none() {
        super::vip::look(node, model, None, report, end.left(node.sys).unwrap_or_default());
    }
    Ok(())
}

/// Enters results into a report; a wrong port fails the run unless it is only to be reported.
pub fn conclude(report: &mut Report, results: Vec<PortResult>, mode: VerifyMode) {
    report.verify = results;
    let wrong = report.wrong().count();
    if wrong > 0 {
        report.failed |= mode == VerifyMode::Fail;
        report.msg = join(&report.msg, &format!("{wrong} of {} ports wrong", report.verify.len()));
        if mode == VerifyMode::Report {
            let lines: Vec<String> = report.wrong().map(crate::report::wrong_line).collect();
            report.warnings.extend(lines);
        }
    } else {
        report.msg = join(&report.msg, &tally(&report.verify));
    }
}

/// Ports none of which is wrong, counted by what is proven of them: an empty or unasked one is not "verified".
fn tally(results: &[PortResult]) -> String {
    let count = |what: &dyn Fn(&PortResult) -> bool| results.iter().filter(|r| what(r)).count();
    let all = results.len();
    let elsewhere = count(&PortResult::is_elsewhere);
    let unproven = count(&|r| r.status == Status::Unproven && !r.is_elsewhere());
    let empty = count(&|r| r.status == Status::Empty);
    let of_all = |n: usize| match (n == all, n) {
        (true, 1) => "1 port".to_owned(),
        (true, _) => format!("{n} ports"),
        (false, _) => format!("{n} of {all} ports"),
    };
    let mut text = if unproven > 0 {
        let n = of_all(count(&|r| !r.is_elsewhere()));
        format!("{n} as expected, {unproven} of them unproven: no credentials")
    } else {
        format!("{} verified", of_all(count(&|r| r.status == Status::Ok)))
    };
    if elsewhere > 0 {
        text.push_str(&format!(", {elsewhere} not asked (another node has the address)"));
    }
    if empty > 0 {
        text.push_str(&format!(", {empty} empty (nobody is meant to serve it)"));
    }
    text
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.to_owned() } else { format!("{a}, {b}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(status: Status) -> PortResult {
        PortResult { status, ..PortResult::new("a", "b", 1, "x") }
    }

    fn away() -> PortResult {
        let mut r = port(Status::Ok);
        r.not_asked(IpAddr::from([10, 0, 0, 9]));
        r
    }

    #[test]
    fn only_what_is_proven_counts_as_verified() {
        use Status::{Empty, Ok, Unproven};
        let of = |statuses: &[Status]| statuses.iter().copied().map(port).collect::<Vec<_>>();
        assert_eq!(tally(&of(&[Ok; 4])), "4 ports verified");
        assert_eq!(tally(&of(&[Ok])), "1 port verified");
        let empty = "1 empty (nobody is meant to serve it)";
        assert_eq!(tally(&of(&[Ok, Ok, Ok, Empty])), format!("3 of 4 ports verified, {empty}"));
        let unproven = "2 ports as expected, 1 of them unproven: no credentials";
        assert_eq!(tally(&of(&[Unproven, Empty])), format!("{unproven}, {empty}"));
        let elsewhere = "1 not asked (another node has the address)";
        assert_eq!(tally(&[port(Ok), away()]), format!("1 of 2 ports verified, {elsewhere}"));
        let some = [port(Unproven), port(Ok), away()];
        assert_eq!(
            tally(&some),
            format!("2 of 3 ports as expected, 1 of them unproven: no credentials, {elsewhere}")
        );
    }

    #[test]
    fn a_wrong_port_fails_the_run_unless_it_is_only_to_be_reported() {
        let mut r = Report::default();
        conclude(&mut r, vec![port(Status::Wrong), port(Status::Ok)], VerifyMode::Fail);
        assert!(r.failed && r.msg == "1 of 2 ports wrong" && r.warnings.is_empty(), "{r:?}");
        let mut r = Report::default();
        conclude(&mut r, vec![port(Status::Wrong)], VerifyMode::Report);
        assert!(!r.failed && r.warnings.len() == 1, "{r:?}");
    }
}
