//! Expectation × observation → a verdict per port. Pure: no sockets, no clock.
//!
//! The words of evidence and verdict, and the order of judging, are here; each kind of witness is heard in a file of its
//! own.

mod empty;
mod held;
mod member;
mod sessions;
mod views;

use std::net::IpAddr;

use serde::Serialize;

use crate::resolve::{ResolvedService, Tier};

pub use empty::judge_empty;
pub use held::judge_held;
pub use member::Candidate;
pub use sessions::{enough, reached};

/// A PostgreSQL server by what it says of itself over a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Postmaster start, microseconds since 1970: the same through a pooler as directly.
    pub start: i64,
    pub system: Option<String>,
    pub in_recovery: bool,
}

/// What came of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// A session answered a query.
    Session(Who),
    /// PostgreSQL or a pooler answered, but nobody logged in.
    Handshake,
    /// Reached, but it takes no more sessions (SQLSTATE 53300).
    Full(String),
    /// Connected and closed without a word: HAProxy with no server.
    Closed,
    /// Not reached, or no session.
    Failed(String),
    /// Reached, and the login was refused: the operator's credentials, not the port.
    Login(String),
}

/// What is known of a member, from itself.
#[derive(Debug, Clone)]
pub struct MemberState {
    pub instance: String,
    /// Patroni's answer, or why there is none.
    pub api: Result<ApiState, String>,
    /// PostgreSQL itself, not the pooler: by a session, or answering, with the identity that Patroni tells.
    pub postgres: Contact,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiState {
    pub role: String,
    /// Holds the leader lock: primary, or leader of a standby cluster.
    pub leader: bool,
    pub standby_cluster: bool,
    pub state: String,
    pub timeline: Option<u32>,
    pub system: Option<String>,
    /// A replica that does not follow: why.
    pub stale: Option<String>,
    pub paused: bool,
}

/// One row of HAProxy's own view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub tier: Tier,
    pub up: bool,
    /// Taken out by hand (MAINT, DRAIN), not by a check or by its weight.
    pub by_hand: bool,
    pub status: String,
    /// The weight it runs with, where that is not the one that is wanted.
    pub weight: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Proven by a session on every member it must lead to.
    Ok,
    /// As it should be as far as a handshake tells.
    Unproven,
    /// Nobody is to serve, and nobody does.
    Empty,
    Wrong,
}

/// The verdict on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortResult {
    pub cluster: String,
    pub service: String,
    pub port: u16,
    pub address: String,
    pub status: Status,
    /// The tier that must serve now.
    pub tier: Option<Tier>,
    /// The members that must be reached now.
    pub expected: Vec<String>,
    /// The members that were, with their role: `pg-test-2 (replica)`.
    pub found: Vec<String>,
    /// Why it is wrong.
    pub why: Vec<String>,
    /// What an operator may want to know of a port that is right.
    pub notes: Vec<String>,
    /// Wrong by where the port leads, not by the members' own trouble.
    #[serde(skip)]
    pub misled: bool,
}

const ELSEWHERE: &str = "this node does not have ";

impl PortResult {
    /// A port of which nothing is known yet: right until a witness says otherwise.
    pub fn new(cluster: &str, service: &str, port: u16, address: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            service: service.to_owned(),
            port,
            address: address.to_owned(),
            status: Status::Ok,
            tier: None,
            expected: Vec::new(),
            found: Vec::new(),
            why: Vec::new(),
            notes: Vec::new(),
            misled: false,
        }
    }

    /// Nobody connected: another node has the address. What is wrong without a connection stays wrong.
    pub fn not_asked(&mut self, address: IpAddr) {
        if self.status != Status::Wrong {
            self.status = Status::Unproven;
        }
        self.notes.push(format!("{ELSEWHERE}{address} now; whoever has it must be asked"));
    }

    /// Whether it is another node's to answer for this port now.
    pub fn is_elsewhere(&self) -> bool {
        self.notes.iter().any(|n| n.starts_with(ELSEWHERE))
    }
}

/// One port with everything seen of it.
pub struct Evidence<'a> {
    pub service: &'a ResolvedService,
    pub address: String,
    pub members: Vec<Candidate<'a>>,
    pub contacts: Vec<Contact>,
    /// Names of other members of the cluster, which the service does not have: (instance, what it is).
    pub outsiders: Vec<(String, Contact)>,
}

/// Judges a port.
pub fn judge(e: &Evidence<'_>) -> PortResult {
    let mut result = PortResult::new(&e.service.cluster, &e.service.service, e.service.port(), &e.address);
    let serving =
        |tier: Tier| -> Vec<&Candidate<'_>> { e.members.iter().filter(|m| m.serves(tier)).collect() };
    let (tier, serving) = match serving(Tier::Active) {
        active if !active.is_empty() => (Some(Tier::Active), active),
        _ => match serving(Tier::Backup) {
            backup if !backup.is_empty() => (Some(Tier::Backup), backup),
            none => (None, none),
        },
    };
    result.tier = tier;
    result.expected = serving.iter().map(|m| m.server.instance.clone()).collect();
    if tier == Some(Tier::Backup) {
        result.notes.push("the active tier is empty, the backup tier serves".into());
    }
    sessions::primaries(e, &mut result);
    sessions::found(e, &serving, &mut result);
    sessions::missing(e, &serving, tier, &mut result);
    views::views(e, &serving, tier, &mut result);
    member::notes(e, &mut result);
    result.status = status(e, tier, &result);
    let members_own = |c: &Contact| matches!(c, Contact::Full(_) | Contact::Login(_));
    result.misled = result.status == Status::Wrong && tier.is_some() && !e.contacts.iter().any(members_own);
    result
}

fn status(e: &Evidence<'_>, tier: Option<Tier>, result: &PortResult) -> Status {
    if !result.why.is_empty() {
        return Status::Wrong;
    }
    if tier.is_none() {
        return Status::Empty;
    }
    let proven = e.contacts.iter().any(|c| matches!(c, Contact::Session(_)));
    if proven { Status::Ok } else { Status::Unproven }
}

#[cfg(test)]
mod tests;
