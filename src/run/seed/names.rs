//! Addresses behind members' names. What a name meant last is remembered: at a boot without name service HAProxy would
//! wait for its own resolver, name after name, before it serves anybody.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{AT_ONCE, PROBES};
use crate::daemon::haproxy::config::Backend;
use crate::parallel::parallel;
use crate::run::{Node, kept};
use crate::transaction::real_directory;
use crate::verify::deadline::Deadline;

/// Every host's address, names asked all at once.
pub fn addresses(node: &Node<'_>, backends: &[Backend], end: Deadline) -> BTreeMap<String, IpAddr> {
    let mut hosts: Vec<&str> =
        backends.iter().flat_map(|b| b.servers.iter().map(|s| s.host.as_str())).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let found = parallel(&hosts, AT_ONCE, |host| {
        let left = end.left(node.sys)?.min(PROBES / 2);
        host.parse().ok().or_else(|| node.sys.resolve(host, left).ok()?.first().copied())
    });
    let path = node.paths.state_dir.join("addresses");
    let known = remembered(&String::from_utf8_lossy(&node.sys.read(&path).unwrap_or_default()));
    let all: BTreeMap<String, IpAddr> = hosts
        .into_iter()
        .zip(found)
        .filter_map(|(host, ip)| Some((host.to_owned(), ip.or_else(|| known.get(host).copied())?)))
        .collect();
    let names: BTreeMap<String, IpAddr> =
        all.iter().filter(|(h, _)| h.parse::<IpAddr>().is_err()).map(|(h, ip)| (h.clone(), *ip)).collect();
    if names != known {
        remember(node, &path, &names);
    }
    all
}

fn remembered(text: &str) -> BTreeMap<String, IpAddr> {
    let pair = |line: &str| {
        let (host, ip) = line.split_once(' ')?;
        Some((host.to_owned(), ip.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Failing to remember does no harm now.
fn remember(node: &Node<'_>, path: &std::path::Path, names: &BTreeMap<String, IpAddr>) {
    let text: String = names.iter().map(|(host, ip)| format!("{host} {ip}\n")).collect();
    if real_directory(node.sys, &node.paths.state_dir).is_ok() {
        drop(kept::replace(node, path, text.as_bytes(), 0o644));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::daemon::haproxy::config::backends;
    use crate::host::real::RealSystem;

    #[test]
    fn a_name_that_nobody_knows_now_is_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let sys = RealSystem::new(None);
        let paths = Paths { state_dir: dir.path().to_owned(), ..Paths::default() };
        let node = Node { sys: &sys, paths, rooted: false };
        let text = "backend a\n server x db1.invalid:1\n server y localhost:1\n server z 10.0.0.1:1\n";
        let ask = || addresses(&node, &backends(text), Deadline::after(&sys, PROBES));
        let first = ask();
        assert!(
            first.contains_key("localhost")
                && first.contains_key("10.0.0.1")
                && !first.contains_key("db1.invalid")
        );
        let kept = dir.path().join("addresses");
        let text = std::fs::read_to_string(&kept).unwrap();
        assert!(
            text.starts_with("localhost ") && text.lines().count() == 1,
            "addresses need no memory: {text}"
        );
        std::fs::write(&kept, format!("db1.invalid 10.0.0.7\n{text}")).unwrap();
        assert_eq!(ask().get("db1.invalid"), Some(&IpAddr::from([10, 0, 0, 7])));
    }
}
