//! Who serves a port in a given state of the members: the promise that every load balancer has to keep. By the resolved
//! tiers, and by Patroni's own rules for what an endpoint answers. Pure.

use super::Need;

mod lead;
mod size;
mod words;
pub use lead::{Lead, lead, serving};
pub use size::size;
pub use words::{States, WORDS, member, parse};

/// What a member is to Patroni. The first and the last hold the leader's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica,
    /// A synchronous standby.
    SyncStandby,
    /// The leader of a standby cluster.
    StandbyLeader,
}

/// A member as its load balancers would find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    pub role: Role,
    /// The node runs and can be reached.
    pub on: bool,
    /// Patroni's API answers.
    pub api: bool,
    /// It does not answer, and takes connections nevertheless.
    pub silent: bool,
    /// PostgreSQL runs, as Patroni sees it.
    pub running: bool,
    /// Bytes behind the leader.
    pub lag: u64,
    pub noloadbalance: bool,
    /// Patroni's tags, as text.
    pub tags: Vec<(String, String)>,
    /// Ports that take no connections, the API's aside.
    pub closed: Vec<u16>,
    /// What other endpoints than Patroni's answer, by port; one that is not named answers as is wanted.
    pub others: Vec<(u16, u16)>,
}

impl MemberState {
    /// A healthy member of this role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            on: true,
            api: true,
            silent: false,
            running: true,
            lag: 0,
            noloadbalance: false,
            tags: Vec::new(),
            closed: Vec::new(),
            others: Vec::new(),
        }
    }

    /// What one who asks Patroni hears; `None` where nobody answers.
    #[must_use]
    pub fn says(&self, url: &str) -> Option<u16> {
        (self.on && self.api).then(|| self.answer(url))
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
        let most = parameters(query).find(|(k, _)| *k == "lag").and_then(|(_, v)| size(v));
        let standby = matches!(self.role, Role::Replica | Role::SyncStandby);
        standby
            && self.running
            && !self.noloadbalance
            && most.is_none_or(|most| i64::try_from(self.lag).is_ok_and(|lag| lag <= most))
    }

    fn has_tags(&self, query: &str) -> bool {
        let wanted = parameters(query).filter_map(|(k, v)| Some((k.strip_prefix("tag_")?, v)));
        wanted.into_iter().all(|(k, v)| self.tags.iter().any(|(own, value)| own == k && value == v))
    }

    /// What another endpoint than Patroni's is said to answer.
    #[must_use]
    pub fn other(&self, port: u16) -> Option<u16> {
        self.others.iter().find(|(p, _)| *p == port).map(|(_, code)| *code)
    }

    /// Why a condition does not hold; `None` where it does.
    fn lacks(&self, need: &Need, patroni_port: u16) -> Option<String> {
        match need {
            _ if !self.on => Some("it is down".into()),
            Need::Http { port, path, code, .. } if *port == patroni_port => match self.answer(path) {
                _ if !self.api => Some("Patroni's API does not answer".into()),
                said if said == *code => None,
                said => Some(format!("Patroni answers {said} to {path}, and {code} is wanted")),
            },
            Need::Http { port, path, code, .. } => match self.other(*port).unwrap_or(*code) {
                _ if self.closed.contains(port) => Some(format!("nobody answers on port {port}")),
                said if said == *code => None,
                said => Some(format!("port {port} answers {said} to {path}, and {code} is wanted")),
            },
            Need::Tcp { port } => {
                self.closed.contains(port).then(|| format!("port {port} takes no connections"))
            }
        }
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|p| p.split_once('='))
}

#[cfg(test)]
mod tests;
