//! Which version of Patroni has which endpoint, by its release notes and the code of its tags.

use super::super::sink::Sink;
use super::super::view::{self, View};
use super::super::{Rule, Severity};
use super::check::URL;
use super::patroni::{self, Acts, Asked};

pub static TOO_NEW: Rule = Rule {
    code: "PGS049",
    name: "too-new",
    severity: Severity::Error,
    title: "A check that this Patroni does not know yet",
    reason: "An older Patroni answers 503 for ever, or takes the path for another: /read-only-sync is /read-only before 2.1.5. (Release notes: /sync 1.4, /read-only 1.6.0, lag 2.0.0, /read-only-sync 2.1.4 and its mend 2.1.5; tags 2.1.0, replication_state 3.0.4 and /quorum 4.0.0 by the code.)",
    fix: "use an older endpoint, or a newer Patroni",
    bad: "patroni_version: 3.3.2\npg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only-quorum}",
    good: "patroni_version: 4.0.4\npg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only-quorum}",
    check: too_new,
};

pub static TAKES_BACK: Rule = Rule {
    code: "PGS023",
    name: "takes-back",
    severity: Severity::Warning,
    title: "A Patroni that may take the leader's key back",
    reason: "A primary that was cut off, or whose Patroni hung, may lead again on its old timeline when it is back, although another one was promoted meanwhile; what that one acknowledged is lost, in synchronous mode too. Seen with 3.0.2 (Debian 12) and etcd's v3 API, not with 4.1.5 (docs/faults.md); 3.1.0's notes say that a stale primary must not win.",
    fix: "use Patroni 3.1 or newer",
    bad: "patroni_version: 3.0.2",
    good: "patroni_version: 3.3.2",
    check: takes_back,
};

const MENDED: Version = [3, 1, 0];

type Version = [u32; 3];

fn since(a: &Asked<'_>) -> impl Iterator<Item = (&'static str, Version)> {
    let path = match a.acts {
        Acts::Sync | Acts::Async => Some(("the path", [1, 4, 0])),
        Acts::StandbyLeader => Some(("the path", [1, 5, 0])),
        Acts::ReadOnly => Some(("the path", [1, 6, 0])),
        Acts::Primary if a.path.contains("read-write") => Some(("the path", [1, 6, 0])),
        Acts::ReadOnlySync => Some(("the path", [2, 1, 5])),
        Acts::Quorum | Acts::ReadOnlyQuorum => Some(("the path", [4, 0, 0])),
        _ => None,
    };
    let has = |word: &str| a.query.iter().any(|(k, _)| k.starts_with(word));
    let lag = has("lag").then_some(("lag", [2, 0, 0]));
    let tag = has("tag_").then_some(("a tag", [2, 1, 0]));
    let state = has("replication_state").then_some(("replication_state", [3, 0, 4]));
    [path, lag, tag, state].into_iter().flatten()
}

/// `3.2`, `v4.0.1`, `4.0.1-1.pgdg12+1`: what is not said is 0.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.trim().trim_start_matches('v').split(['.', '-', '+', '~', ' ']);
    let mut next = || parts.next().and_then(|p| p.parse().ok());
    Some([next()?, next().unwrap_or(0), next().unwrap_or(0)])
}

fn too_new(view: &View<'_>, sink: &mut Sink) {
    patroni::each(view, |c, s, a| {
        let of = |h: &&crate::inventory::Host| version(&view::text(&h.vars, "patroni_version")?);
        let Some(oldest) = c.hosts.iter().filter_map(of).min() else { return };
        for (who, [x, y, z]) in since(a).filter(|(_, v)| *v > oldest) {
            let [a, b, c0] = oldest;
            let what =
                format!("{who} of '{}' came with Patroni {x}.{y}.{z}, this is {a}.{b}.{c0}", s.check_url);
            sink.service(c, &s.service, &URL, what);
        }
    });
}

fn takes_back(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        let of = |h: &&crate::inventory::Host| version(&view::text(&h.vars, "patroni_version")?);
        if let Some([x, y, z]) = c.hosts.iter().filter_map(of).min().filter(|v| *v < MENDED) {
            sink.cluster(c, &["patroni_version"], format!("Patroni {x}.{y}.{z}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_packages_write_them() {
        for (text, v) in [("4", [4, 0, 0]), ("v3.2", [3, 2, 0]), ("4.0.4-1.pgdg12+1", [4, 0, 4])] {
            assert_eq!(version(text), Some(v), "{text}");
        }
        assert_eq!(version("latest"), None);
    }
}
