//! What services on one load balancer cannot have in common: a listener's name, a port on a common address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::error::{Error, Errors, Kind};

use super::ResolvedService;

/// Names of the node's own: the stats page, and the file with the hash.
const RESERVED: [&str; 2] = ["pgsvc-stats", "00-pgsvc"];

/// A listener's name that something else has or makes: HAProxy refuses two of one name.
pub(super) fn own_name<'a>(
    errors: &mut Errors,
    s: &ResolvedService,
    others: impl IntoIterator<Item = &'a ResolvedService>,
) {
    let place = || format!("service '{}' of {}", s.service, s.cluster);
    if RESERVED.contains(&s.listener.as_str()) {
        errors.push(
            Error::new(
                place(),
                format!("makes the listener '{}', which is a name of the node's own", s.listener),
            )
            .hint("rename the service")
            .kind(Kind::ListenerName),
        );
    }
    for other in others.into_iter().filter(|o| o.may_make(&s.listener)) {
        let what = format!(
            "makes the listener '{}', which is a backend of service '{}' of {}",
            s.listener, other.service, other.cluster
        );
        let error = Error::new(place(), what).hint("rename one of the two services");
        errors.push(error.kind(Kind::ListenerName));
    }
}

/// The listeners whose backends may have this name.
fn namesakes(name: &str) -> impl Iterator<Item = &str> {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let check = digits.strip_suffix("-check");
    [name.strip_suffix("-backup"), check, check.and_then(|c| c.strip_suffix("-backup"))].into_iter().flatten()
}

/// What two clusters on one node cannot have in common: a port on a common address, and a listener's name.
/// Returns the later cluster's name with the error.
pub fn collisions(services: &[&ResolvedService]) -> Vec<(String, Error)> {
    let mut found = Vec::new();
    let mut names: BTreeMap<&str, &ResolvedService> = BTreeMap::new();
    let mut taken = Taken::default();
    let listeners: BTreeMap<&str, &ResolvedService> =
        services.iter().map(|s| (s.listener.as_str(), *s)).collect();
    let distinct = listeners.len() == services.len();
    for s in services.iter().copied() {
        let mut errors = Errors::default();
        own_name(&mut errors, s, namesakes(&s.listener).filter_map(|n| listeners.get(n).copied()));
        found.extend(errors.0.into_iter().map(|e| (s.cluster.clone(), e)));
        let place = || format!("service '{}' of {}", s.service, s.cluster);
        let other = if distinct { None } else { names.insert(&s.listener, s) };
        if let Some(other) = other {
            let what = format!(
                "makes the listener '{}', and so does service '{}' of {}",
                s.listener, other.service, other.cluster
            );
            found.push((
                s.cluster.clone(),
                Error::new(place(), what)
                    .hint("rename one of the clusters or services")
                    .kind(Kind::ListenerName),
            ));
        }
        for bind in &s.binds {
            for (addr, other) in taken.meeting(*bind).into_iter().filter(|(_, o)| o.cluster != s.cluster) {
                let what = format!(
                    "listens on {bind}, and so does service '{}' of {} ({addr})",
                    other.service, other.cluster
                );
                found.push((
                    s.cluster.clone(),
                    Error::new(place(), what)
                        .hint(
                            "give each cluster on this load balancer ports, or an address (src_ip), of its own",
                        )
                        .kind(Kind::DuplicatePort),
                ));
            }
            taken.insert(*bind, s);
        }
    }
    found
}

/// Who listens where, so that a bind is compared with those it may meet only: a thousand clusters have one port on
/// addresses of their own.
#[derive(Default)]
struct Taken<'a> {
    /// By port, in the order they came.
    ports: BTreeMap<u16, Vec<(SocketAddr, &'a ResolvedService)>>,
    /// By address: places in the port's list.
    addresses: BTreeMap<SocketAddr, Vec<usize>>,
    /// Ports of which somebody has every address.
    whole: BTreeSet<u16>,
}

impl<'a> Taken<'a> {
    fn insert(&mut self, bind: SocketAddr, service: &'a ResolvedService) {
        let list = self.ports.entry(bind.port()).or_default();
        self.addresses.entry(bind).or_default().push(list.len());
        list.push((bind, service));
        if bind.ip().is_unspecified() {
            self.whole.insert(bind.port());
        }
    }

    /// Those that listen on an address of a bind, in the order they came.
    fn meeting(&self, bind: SocketAddr) -> Vec<(SocketAddr, &'a ResolvedService)> {
        let list = self.ports.get(&bind.port()).map(Vec::as_slice).unwrap_or_default();
        if bind.ip().is_unspecified() || self.whole.contains(&bind.port()) {
            let meets =
                |a: &SocketAddr| a.ip() == bind.ip() || a.ip().is_unspecified() || bind.ip().is_unspecified();
            return list.iter().filter(|(a, _)| meets(a)).copied().collect();
        }
        let same = self.addresses.get(&bind).into_iter().flatten();
        same.filter_map(|i| list.get(*i)).copied().collect()
    }
}
