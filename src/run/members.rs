//! Members that a plan drops, and whether Patroni still lists them. Nothing is refused for what nobody answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use crate::error::Error;
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;
use crate::plan::{Obstacles, Plan};
use crate::render::haproxy::{Owner, owner};
use crate::request::{Model, State};
use crate::verify::deadline::Deadline;
use crate::verify::patroni::{self, Api};
use crate::verify::tls::TlsConfig;

/// A member that Patroni still lists is not dropped because an inventory forgot it.
///
/// # Errors
/// Each such member, with its cluster.
pub fn kept(node: &Node<'_>, model: &Model, plan: &Plan) -> Result<(), Obstacles> {
    let mut found = Obstacles::default();
    if model.options.force || node.rooted || model.state == State::Absent {
        return Ok(());
    }
    for (name, served) in served(plan) {
        let Some(c) = model.clusters.get(&name) else { continue };
        let dropped =
            dropped(served, &c.cluster.members.iter().map(|m| m.address.as_str()).collect::<Vec<_>>());
        if dropped.is_empty() {
            continue;
        }
        let listed = patroni_lists(node, &c.cluster);
        for address in dropped.into_iter().filter(|a| listed.contains(a)) {
            let what = format!("{address} is no longer a member here, but Patroni still lists it");
            let error = Error::new(format!("cluster '{name}'"), what);
            found
                .push(Some(&name), error.hint("remove it from Patroni first, or pass --force (force: true)"));
        }
    }
    found.finish(())
}

/// The addresses that the files which change serve now, by cluster.
fn served(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let mut served: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for before in plan.changes.iter().filter_map(|c| c.before.as_ref()) {
        if let Some(Owner::Cluster { cluster, .. }) = owner(&before.content) {
            served.entry(cluster).or_default().extend(addresses(&before.content));
        }
    }
    served
}

/// Those that are no member's any more.
fn dropped(served: Vec<String>, members: &[&str]) -> Vec<String> {
    let mut gone: Vec<String> = served.into_iter().filter(|a| !members.contains(&a.as_str())).collect();
    gone.sort();
    gone.dedup();
    gone
}

/// The addresses of a configuration's `server` lines.
fn addresses(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let server = |l: &str| {
        let mut words = l.split_whitespace();
        (words.next() == Some("server")).then(|| words.nth(1)).flatten().map(str::to_owned)
    };
    let bare = |a: String| a.rsplit_once(':').map(|(ip, _)| ip.trim_matches(['[', ']']).to_owned());
    text.lines().filter_map(server).filter_map(bare).collect()
}

/// The addresses that Patroni lists as members, by the first member that answers; empty where none does.
fn patroni_lists(node: &Node<'_>, cluster: &Cluster) -> Vec<String> {
    let deadline = Deadline::after(node.sys, Duration::from_secs(3));
    let resolve = |name: &str| node.sys.resolve(name, Duration::from_secs(2)).ok()?.first().copied();
    let ask = |m: &Member| {
        let ip = m.address.parse().ok().or_else(|| resolve(&m.address))?;
        let tls = m.patroni_ssl.then(|| TlsConfig::from_files(node.sys, &cluster.patroni_tls));
        let tls = tls.transpose().ok()?;
        let api = Api { addr: SocketAddr::new(ip, m.patroni_port), host: m.address.clone(), tls };
        patroni::cluster(node.sys, &api, deadline.within(node.sys, Duration::from_secs(1))).ok()
    };
    let view = cluster.members.iter().find_map(ask);
    view.map(|v| v.members.into_iter().filter_map(|m| m.host).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, FileChange, InstalledFile};

    fn change(cluster: &str, servers: &[&str]) -> FileChange {
        let lines: String = servers.iter().map(|a| format!("    server x {a} check\n")).collect();
        let content =
            format!("# Managed by pgsvc: cluster={cluster} service=primary\n{lines}").into_bytes().into();
        FileChange {
            path: "/x".into(),
            before: Some(InstalledFile { content, mode: 0, uid: 0, gid: 0 }),
            after: None,
        }
    }

    #[test]
    fn a_member_that_an_inventory_forgot_is_noticed() {
        let changes = vec![change("a", &["10.0.0.1:6432", "[fd00::2]:6432"]), change("b", &["10.0.0.9:1"])];
        let p = Plan {
            changes,
            action: Action::Reload,
            reason: String::new(),
            hash: String::new(),
            whole: None,
            candidate: BTreeMap::new(),
            new_binds: Vec::new(),
            nonlocal_binds: false,
            commands: Vec::new(),
            hands: Vec::new(),
            daemon_reload: false,
        };
        let a = || served(&p).remove("a").unwrap();
        assert_eq!(dropped(a(), &["10.0.0.1"]), ["fd00::2"]);
        assert!(dropped(a(), &["10.0.0.1", "fd00::2"]).is_empty());
    }
}
