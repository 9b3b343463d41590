//! Who serves a port in a given state of the members: the promise that every load balancer has to keep. By the resolved
//! tiers, and by Patroni's own rules for what an endpoint answers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Need, ResolvedService, Tier};

/// What a member is to Patroni. The first and the last hold the leader's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Primary,
    Replica,
    /// A synchronous standby.
    SyncStandby,
    /// The leader of a standby cluster.
    StandbyLeader,
}

/// A member as its load balancers would find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberState {
    pub role: Role,
    /// Patroni's API answers.
    pub api: bool,
    /// PostgreSQL runs, as Patroni sees it.
    pub running: bool,
    /// Bytes behind the leader.
    pub lag: u64,
    pub noloadbalance: bool,
    /// Patroni's tags, as text.
    pub tags: BTreeMap<String, String>,
    /// Ports that take no connections, the API's aside.
    pub closed: BTreeSet<u16>,
    /// What other endpoints than Patroni's answer, by port; one that is not named does not answer.
    pub others: BTreeMap<u16, u16>,
}

impl MemberState {
    /// A healthy member of this role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            api: true,
            running: true,
            lag: 0,
            noloadbalance: false,
            tags: BTreeMap::new(),
            closed: BTreeSet::new(),
            others: BTreeMap::new(),
        }
    }

    /// The code that Patroni answers to `OPTIONS`, as HAProxy asks, and to `GET` of every health endpoint. It looks for
    /// words in the path, in this order (Patroni 3.0.2, `RestApiHandler.do_GET`; manual, "Health check endpoints").
    ///
    /// Of the paths that mean more to `GET` (`/patroni`, `/cluster`, `/liveness` and their like), this is the answer to
    /// `OPTIONS` only.
    #[must_use]
    pub fn answer(&self, url: &str) -> u16 {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let has = |words: &[&str]| words.iter().any(|w| path.contains(w));
        let writable = self.role == Role::Primary;
        let standby_leader = self.role == Role::StandbyLeader;
        let replica = self.is_replica(query);
        let synchronous = self.role == Role::SyncStandby;
        // Tags do not count for who holds the lock.
        let (holds, tagged) = if path == "/" {
            (writable, false)
        } else if has(&["standby_leader", "standby-leader"]) {
            (standby_leader, false)
        } else if has(&["leader"]) {
            (writable || standby_leader, false)
        } else if has(&["master", "primary", "read-write"]) {
            (writable, false)
        } else if has(&["replica"]) {
            (replica, true)
        } else if has(&["read-only"]) && !has(&["sync"]) {
            (writable || standby_leader || replica, true)
        } else if has(&["health"]) {
            (self.running, true)
        } else {
            let holds = match path {
                "/sync" | "/synchronous" => synchronous && replica,
                "/async" | "/asynchronous" => !synchronous && replica,
                "/read-only-sync" | "/read-only-synchronous" => {
                    writable || standby_leader || synchronous && replica
                }
                _ => false,
            };
            (holds, true)
        };
        if holds && (!tagged || self.has_tags(query)) { 200 } else { 503 }
    }

    /// Running as a standby, not too far behind, and not taken out of balancing.
    fn is_replica(&self, query: &str) -> bool {
        let most = parameters(query).find(|(k, _)| *k == "lag").and_then(|(_, v)| bytes(v));
        let standby = matches!(self.role, Role::Replica | Role::SyncStandby);
        standby && self.running && !self.noloadbalance && most.is_none_or(|most| self.lag <= most)
    }

    fn has_tags(&self, query: &str) -> bool {
        let wanted = parameters(query).filter_map(|(k, v)| Some((k.strip_prefix("tag_")?, v)));
        wanted.into_iter().all(|(k, v)| self.tags.get(k).is_some_and(|own| own == v))
    }

    fn holds(&self, need: &Need, patroni_port: u16) -> bool {
        match need {
            Need::Http { port, path, code, .. } if *port == patroni_port => {
                self.api && self.answer(path) == *code
            }
            Need::Http { port, code, .. } => self.others.get(port) == Some(code),
            Need::Tcp { port } => !self.closed.contains(port),
        }
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|p| p.split_once('='))
}

/// A number of bytes with PostgreSQL's units, as Patroni reads one; a fraction of a byte does not count.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "kB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Who serves the service: the active tier, and the backup tier while that is empty. A member without weight serves
/// nobody; one whose state is not known serves nobody. Of a guarded service, nobody serves while two would.
#[must_use]
pub fn serving(service: &ResolvedService, states: &BTreeMap<String, MemberState>) -> BTreeSet<String> {
    let tier = |tier: Tier| -> BTreeSet<String> {
        let members = service.tier(tier).into_iter().filter(|(m, when)| {
            let state = states.get(&m.instance);
            m.weight > 0
                && state
                    .is_some_and(|s| service.needs(m, *when).iter().all(|need| s.holds(need, m.patroni_port)))
        });
        members.map(|(m, _)| m.instance.clone()).collect()
    };
    let active = tier(Tier::Active);
    if service.guarded && active.len() > 1 {
        return BTreeSet::new();
    }
    if active.is_empty() { tier(Tier::Backup) } else { active }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_answers_by_role_as_patroni_does() {
        let of = |role| MemberState::new(role);
        // Primary, replica, synchronous standby, leader of a standby cluster.
        for (path, codes) in [
            ("/", [200, 503, 503, 503]),
            ("/primary", [200, 503, 503, 503]),
            ("/master", [200, 503, 503, 503]),
            ("/read-write", [200, 503, 503, 503]),
            ("/leader", [200, 503, 503, 200]),
            ("/standby-leader", [503, 503, 503, 200]),
            ("/standby_leader", [503, 503, 503, 200]),
            ("/replica", [503, 200, 200, 503]),
            ("/read-only", [200, 200, 200, 200]),
            ("/health", [200, 200, 200, 200]),
            ("/sync", [503, 503, 200, 503]),
            ("/synchronous", [503, 503, 200, 503]),
            ("/asynchronous", [503, 200, 503, 503]),
            ("/read-only-sync", [200, 503, 200, 200]),
            ("/metrics", [503, 503, 503, 503]),
        ] {
            let all = [Role::Primary, Role::Replica, Role::SyncStandby, Role::StandbyLeader];
            assert_eq!(all.map(|r| of(r).answer(path)), codes, "{path}");
        }
    }

    #[test]
    fn lag_tags_and_a_stopped_server_count_for_standbys_alone() {
        let mut standby = MemberState::new(Role::Replica);
        standby.lag = 16 << 20;
        let mut primary = MemberState::new(Role::Primary);
        primary.lag = 16 << 20;
        for (lag, code) in [("16MB", 200), ("16777215", 503), ("1GB", 200), ("16383kB", 503), ("soon", 200)] {
            let ask = |state: &MemberState, path: &str| state.answer(&format!("{path}?lag={lag}"));
            assert_eq!((ask(&standby, "/replica"), ask(&standby, "/read-only")), (code, code), "{lag}");
            assert_eq!((ask(&primary, "/read-only"), ask(&standby, "/health")), (200, 200));
        }
        assert_eq!(standby.answer("/replica?tag_rack=a"), 503);
        standby.tags.insert("rack".into(), "a".into());
        assert_eq!(
            (standby.answer("/replica?tag_rack=a"), standby.answer("/replica?tag_rack=b")),
            (200, 503)
        );
        assert_eq!(primary.answer("/primary?tag_rack=a"), 200);
        standby.noloadbalance = true;
        assert_eq!((standby.answer("/replica"), standby.answer("/read-only")), (503, 503));
        assert_eq!(standby.answer("/health"), 200);
        standby = MemberState { running: false, ..MemberState::new(Role::Replica) };
        assert_eq!((standby.answer("/replica"), standby.answer("/health")), (503, 503));
    }
}
