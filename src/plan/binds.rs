//! What configurations listen on, and whether two of them meet. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::make::Ends;
use super::{Files, Obstacles};
use crate::error::Error;
use crate::parallel::computed;
use crate::render::haproxy::{Owner, VIP_SERVICE, owner};
use crate::vip::duty::CHECK_PORT;

/// The TCP addresses of a configuration's `bind` lines; what is no plain address and port is left out.
pub fn binds(content: &[u8]) -> Vec<SocketAddr> {
    let content = String::from_utf8_lossy(content);
    // Looked for as a word, not line by line: a file has one or two among fifty.
    let words = content.match_indices(BIND).filter_map(|(at, _)| {
        let before = content.get(..at)?.trim_end_matches([' ', '\t']);
        let rest = content.get(at.checked_add(BIND.len())?..)?.split('\n').next()?;
        let is_first = before.is_empty() || before.ends_with('\n');
        (is_first && rest.starts_with([' ', '\t'])).then(|| rest.split_whitespace().next()).flatten()
    });
    words.flat_map(|a| a.split(',')).filter_map(bind_address).collect()
}

const BIND: &str = "bind";

fn bind_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match ip.trim_start_matches("ipv4@").trim_start_matches("ipv6@") {
        "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ip => ip.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// The addresses of each file of a candidate, in their order.
pub(super) fn bound(candidate: &Files) -> Vec<Vec<SocketAddr>> {
    let contents: Vec<_> = candidate.values().collect();
    computed(&contents, |content| binds(content))
}

/// Whose a file of the candidate is.
#[derive(Clone, PartialEq, Eq)]
enum Side {
    /// A cluster's in scope.
    Cluster(String),
    /// The node's own, where it is wanted.
    Node,
    /// Somebody else's: what it shares with a third file was so before, and is no matter of this plan.
    Other,
}

fn side(content: &[u8], wanted: &Ends) -> Side {
    match owner(content) {
        Some(Owner::Cluster { cluster, .. }) if wanted.scope.contains(&cluster) => Side::Cluster(cluster),
        Some(Owner::Node) if wanted.node => Side::Node,
        _ => Side::Other,
    }
}

/// The cluster whose HAProxy's word on itself a file is.
fn word_of(content: &[u8]) -> Option<String> {
    match owner(content)? {
        Owner::Cluster { cluster, service } if service == VIP_SERVICE => Some(cluster),
        _ => None,
    }
}

/// A bind that was seen, with its file and whose that is.
struct Bind<'a> {
    address: SocketAddr,
    by: &'a PathBuf,
    side: Side,
}

/// What was seen so far. A bind is compared with those that it may meet: a thousand clusters have one port on addresses
/// of their own.
#[derive(Default)]
struct Seen<'a> {
    all: Vec<Bind<'a>>,
    ports: BTreeMap<(u16, bool), Vec<usize>>,
    addresses: BTreeMap<SocketAddr, Vec<usize>>,
    /// Ports and families of which somebody has every address.
    whole: BTreeSet<(u16, bool)>,
}

impl<'a> Seen<'a> {
    fn insert(&mut self, bind: Bind<'a>) {
        let (address, place) = (bind.address, self.all.len());
        let port = (address.port(), address.is_ipv4());
        self.ports.entry(port).or_default().push(place);
        self.addresses.entry(address).or_default().push(place);
        if address.ip().is_unspecified() {
            self.whole.insert(port);
        }
        self.all.push(bind);
    }

    /// The first that a bind meets, and that counts.
    fn met(&self, bind: SocketAddr, counts: impl Fn(&Side) -> bool) -> Option<&Bind<'a>> {
        let port = (bind.port(), bind.is_ipv4());
        let wide = bind.ip().is_unspecified() || self.whole.contains(&port);
        let places = if wide { self.ports.get(&port) } else { self.addresses.get(&bind) };
        let mut near = places.into_iter().flatten().filter_map(|i| self.all.get(*i));
        near.find(|b| meet(b.address, bind) && counts(&b.side))
    }
}

/// `haproxy -c` accepts two listeners on one port, and the kernel then shares the connections between them.
pub(super) fn shared(found: &mut Obstacles, candidate: &Files, bound: &[Vec<SocketAddr>], wanted: &Ends) {
    let mut seen = Seen::default();
    for ((path, content), binds) in candidate.iter().zip(bound) {
        let side = side(content, wanted);
        for &bind in binds {
            let counts = |other: &Side| side != Side::Other || *other != Side::Other;
            if let Some(Bind { address: addr, by, side: other }) = seen.met(bind, counts) {
                let blamed = match (&side, other) {
                    (Side::Cluster(name), _) | (_, Side::Cluster(name)) => Some(name.as_str()),
                    _ => None,
                };
                let words = [content, candidate.get(*by).unwrap_or(content)].map(|c| word_of(c));
                let error = match words {
                    // Of clusters that are installed one by one: no file of ours is what an operator would change.
                    [Some(a), Some(b)] => {
                        let (own, other) = if blamed == Some(b.as_str()) { (b, a) } else { (a, b) };
                        let port = bind.port();
                        let what =
                            format!("vip_check_port {port} is also that of cluster '{other}' on this node");
                        Error::new(format!("cluster '{own}'"), what).hint(CHECK_PORT)
                    }
                    _ => Error::new(
                        path.display().to_string(),
                        format!("binds {bind}, and {} binds {addr}", by.display()),
                    )
                    .hint("two listeners on one port would share its connections; change one of them"),
                };
                found.push(blamed, error);
            }
            seen.insert(Bind { address: bind, by: path, side: side.clone() });
        }
    }
}

fn meet(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (a.ip() == b.ip() || any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wanted;

    #[test]
    fn a_bind_is_the_first_word_of_its_line() {
        let found = |text: &str| binds(text.as_bytes()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            found("bind *:1\n\t bind\t10.0.0.1:2,ipv6@[::1]:3 v6only\n"),
            ["0.0.0.0:1", "10.0.0.1:2", "[::1]:3"]
        );
        for none in [
            "bind",
            "bind\n*:1",
            "bind-process 1:1\n",
            "  # bind *:1",
            "rebind *:1",
            "bind /run/x.sock",
            "bind :x",
        ] {
            assert_eq!(found(none), [] as [String; 0], "{none}");
        }
        assert_eq!(binds(b"\xff\n  bind :7 \xff\n").len(), 1);
    }

    #[test]
    fn two_clusters_that_are_asked_at_one_port_are_told_its_variable() {
        let word = |cluster: &str| {
            let text = format!(
                "# Managed by pgsvc: cluster={cluster} service=@vip\nfrontend {cluster}:vip\n    bind *:9102\n"
            );
            (PathBuf::from(format!("/etc/haproxy/conf.d/{cluster}-@vip.cfg")), text.into_bytes().into())
        };
        for (own, other) in [("a", "b"), ("b", "a")] {
            let mut found = Obstacles::default();
            let wanted = Wanted {
                node: None,
                dropin: None,
                units: Vec::new(),
                services: Vec::new(),
                scope: vec![own.into()],
                adopt: false,
                nonlocal_binds: false,
            };
            let files = [word("a"), word("b")].into();
            shared(&mut found, &files, &bound(&files), &Ends::of(&wanted));
            let said = found.clusters.get(own).map(ToString::to_string);
            let what = format!(
                "cluster '{own}': vip_check_port 9102 is also that of cluster '{other}' on this node; set vip_check_port for one of them"
            );
            assert_eq!(said, Some(what));
        }
    }
}
