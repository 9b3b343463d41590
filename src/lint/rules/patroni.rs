//! Patroni's own rules of health checks (patroni/api.py, `do_GET`): paths go by substring, in an order, and only some of
//! them exactly; what is none of them is 503 for ever. HAProxy asks with OPTIONS here, as it does upstream. No rule of lint
//! may live here.

use crate::lint::view::{ClusterView, View};
use crate::resolve::ResolvedService;

/// What a path is to Patroni.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    Primary,
    Leader,
    StandbyLeader,
    Replica,
    ReadOnly,
    Health,
    Sync,
    Async,
    Quorum,
    ReadOnlySync,
    ReadOnlyQuorum,
    GetOnly,
    Nothing,
}

/// The paths of the manual, the one to name first.
pub const PATHS: [(&str, Acts); 18] = [
    ("/", Acts::Primary),
    ("/primary", Acts::Primary),
    ("/master", Acts::Primary),
    ("/read-write", Acts::Primary),
    ("/leader", Acts::Leader),
    ("/standby-leader", Acts::StandbyLeader),
    ("/standby_leader", Acts::StandbyLeader),
    ("/replica", Acts::Replica),
    ("/read-only", Acts::ReadOnly),
    ("/health", Acts::Health),
    ("/sync", Acts::Sync),
    ("/synchronous", Acts::Sync),
    ("/async", Acts::Async),
    ("/asynchronous", Acts::Async),
    ("/quorum", Acts::Quorum),
    ("/read-only-sync", Acts::ReadOnlySync),
    ("/read-only-synchronous", Acts::ReadOnlySync),
    ("/read-only-quorum", Acts::ReadOnlyQuorum),
];
const GET: [&str; 7] = ["liveness", "readiness", "patroni", "cluster", "history", "config", "metrics"];

/// As `do_GET` of Patroni 4.1 decides, in its order.
pub fn acts(path: &str) -> Acts {
    if let Some((_, acts)) = PATHS.iter().find(|(p, _)| *p == path) {
        return *acts;
    }
    let has = |word: &str| path.contains(word);
    if has("standby_leader") || has("standby-leader") {
        Acts::StandbyLeader
    } else if has("leader") {
        Acts::Leader
    } else if has("master") || has("primary") || has("read-write") {
        Acts::Primary
    } else if has("replica") {
        Acts::Replica
    } else if has("read-only") && !has("sync") && !has("quorum") {
        Acts::ReadOnly
    } else if has("health") {
        Acts::Health
    } else if GET.contains(&path.split('/').nth(1).unwrap_or_default()) {
        Acts::GetOnly
    } else {
        Acts::Nothing
    }
}

/// Checks that ask Patroni for 200: the path and what it is, and the conditions behind it.
pub struct Asked<'a> {
    pub path: &'a str,
    pub acts: Acts,
    pub query: Vec<(&'a str, &'a str)>,
}

pub fn each(view: &View<'_>, mut look: impl FnMut(&ClusterView<'_>, &ResolvedService, &Asked<'_>)) {
    for c in &view.clusters {
        for s in c.services.iter().filter(|s| s.check_is_patroni && s.check_code == 200) {
            let (path, query) = s.check_url.split_once('?').unwrap_or((&s.check_url, ""));
            let query = query.split('&').filter_map(|q| q.split_once('=')).collect();
            look(c, s, &Asked { path, acts: acts(path), query });
        }
    }
}

/// Whether Patroni reads it: a number as C reads one, perhaps a fraction, and a unit.
pub fn is_size(text: &str) -> bool {
    let text = text.trim().trim_start_matches(['+', '-']);
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (number, is): (&str, fn(char) -> bool) = match hex {
        Some(rest) => (rest, |c| c.is_ascii_hexdigit()),
        None => (text, |c| c.is_ascii_digit() || c == '.'),
    };
    let unit = number.trim_start_matches(is);
    number.len() > unit.len() && ["", "B", "kB", "MB", "GB", "TB"].contains(&unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_act_as_patronis_own_code_decides() {
        for (path, as_what) in [
            ("/", Acts::Primary),
            ("/x-replica", Acts::Replica),
            ("/replica/", Acts::Replica),
            ("/sync/", Acts::Nothing),
            ("/readonly", Acts::Nothing),
            ("/Primary", Acts::Nothing),
            ("/healthz", Acts::Health),
            ("/read-only-async", Acts::Nothing),
            ("/read-only2", Acts::ReadOnly),
            ("/replicas-and-primary", Acts::Primary),
            ("/the-leader", Acts::Leader),
            ("/liveness", Acts::GetOnly),
        ] {
            assert!(acts(path) == as_what, "{path}");
        }
    }

    #[test]
    fn sizes_are_read_as_patroni_reads_them() {
        for good in ["0", "10", "10MB", "10 MB", "1.5GB", "0x400kB", "16777216B"] {
            assert!(is_size(good), "{good}");
        }
        for bad in ["10mb", "10KB", "10M", "MB", "", "10MiB", "1PB"] {
            assert!(!is_size(bad), "{bad}");
        }
    }
}
