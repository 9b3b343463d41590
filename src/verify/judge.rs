//! Expectation × observation → a verdict per port. Pure: no sockets, no clock.

use std::net::IpAddr;

use serde::Serialize;

use crate::resolve::{Expectation, ResolvedService, Server, Tier};

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
    /// PostgreSQL itself, not the pooler.
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

impl ApiState {
    /// Patroni knows itself that PostgreSQL does not run: stopped, starting, crashed, …
    fn down(&self) -> bool {
        !matches!(self.state.as_str(), "running" | "streaming" | "unknown")
    }
}

/// A member as one service's port sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub server: &'a Server,
    pub state: &'a MemberState,
    /// The service's own check, asked by ourselves.
    pub check: Result<(), String>,
    /// The target port on the member, asked directly.
    pub target: Contact,
    /// The load balancer's word: of the server in the active and in the backup backend.
    pub view: Vec<View>,
}

/// One row of HAProxy's own view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub tier: Tier,
    pub up: bool,
    /// Taken out by hand (MAINT, DRAIN), not by a check or by its weight.
    pub by_hand: bool,
    pub status: String,
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
    let mut result = PortResult {
        cluster: e.service.cluster.clone(),
        service: e.service.service.clone(),
        port: e.service.port(),
        address: e.address.clone(),
        status: Status::Ok,
        tier: None,
        expected: Vec::new(),
        found: Vec::new(),
        why: Vec::new(),
        notes: Vec::new(),
        misled: false,
    };
    let serving = |tier: Tier| -> Vec<&Candidate<'_>> { e.members.iter().filter(|m| m.serves(tier)).collect() };
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
    primaries(e, &mut result);
    found(e, &serving, &mut result);
    missing(e, &serving, tier, &mut result);
    views(e, &serving, tier, &mut result);
    member_notes(e, &mut result);
    result.status = status(e, tier, &result);
    let members_own = |c: &Contact| matches!(c, Contact::Full(_) | Contact::Login(_));
    result.misled = result.status == Status::Wrong && tier.is_some() && !e.contacts.iter().any(members_own);
    result
}

impl Candidate<'_> {
    /// Whether it must get connections in a tier now.
    fn serves(&self, tier: Tier) -> bool {
        self.tier_now() == Some(tier)
            && self.check.is_ok()
            && self.server.weight > 0
            && !self.view.iter().any(|v| v.tier == tier && v.by_hand)
            && !matches!(self.target, Contact::Failed(_) | Contact::Closed)
    }

    /// The tier by the live role: Patroni's word, else what PostgreSQL itself says.
    fn tier_now(&self) -> Option<Tier> {
        match self.leads() {
            Some(leads) => self.server.tier(leads),
            None if self.server.conditional() => None,
            None => self.server.as_primary,
        }
    }

    fn leads(&self) -> Option<bool> {
        match (&self.state.api, &self.state.postgres) {
            (Ok(api), _) => Some(api.leader),
            (Err(_), Contact::Session(who)) => Some(!who.in_recovery),
            _ => None,
        }
    }

    /// Why it does not serve, when that is no matter of its role.
    fn trouble(&self) -> Option<String> {
        let name = &self.server.instance;
        let dead = |what: &str, why: &str| Some(format!("{name}: {what} ({why})"));
        let postgres_lives = !matches!(self.state.postgres, Contact::Failed(_) | Contact::Closed);
        match (&self.state.api, &self.target) {
            (Err(why), _) if why.starts_with("speaks TLS") => {
                dead("Patroni's API wants TLS: set patroni_ssl_enabled: true", why)
            }
            (Err(why), _) if why.starts_with("speaks plain HTTP") => {
                dead("Patroni's API speaks no TLS: set patroni_ssl_enabled: false", why)
            }
            (Err(why), _) if why.starts_with("TLS failed") => {
                dead("Patroni's API is not trusted: look at its certificate and patroni_ca_file", why)
            }
            (Err(why), _) if postgres_lives => dead("Patroni's API is dead, PostgreSQL answers", why),
            (Err(why), _) => dead("does not answer, neither Patroni nor PostgreSQL", why),
            (Ok(api), Contact::Failed(why)) if api.down() => dead(&format!("Patroni says it is {}", api.state), why),
            (Ok(api), Contact::Failed(why)) if !postgres_lives => {
                dead(&format!("Patroni says {}, but PostgreSQL is dead", api.role), why)
            }
            (Ok(_), Contact::Failed(why)) if self.server.port != self.server.pg_port => {
                dead(&format!("the pooler on port {} is dead, PostgreSQL answers", self.server.port), why)
            }
            (Ok(_), Contact::Failed(why)) => dead("PostgreSQL is dead", why),
            (Ok(_), Contact::Closed) => dead(&format!("port {} closes every connection", self.server.port), "no answer"),
            (Ok(api), _) if api.down() || api.state == "unknown" => {
                Some(format!("{name}: Patroni says it is {}", api.state))
            }
            _ => None,
        }
    }

    /// Taken out by hand of the active tier alone: the backup tier asks for no role of a member that is active in the
    /// other one (`Server::when`), and serves from it once nobody else is active.
    fn lingers(&self) -> bool {
        let has = |tier: Tier, by_hand: bool| self.view.iter().any(|v| v.tier == tier && v.by_hand == by_hand && (by_hand || v.up));
        has(Tier::Active, true) && has(Tier::Backup, false)
    }

    fn role_word(&self) -> &str {
        match &self.state.api {
            Ok(api) => &api.role,
            Err(_) => "unknown role",
        }
    }
}

/// Two members that both claim to be the primary.
fn primaries(e: &Evidence<'_>, result: &mut PortResult) {
    let claims = |m: &&Candidate<'_>| {
        matches!(&m.state.api, Ok(api) if api.leader) || matches!(&m.state.postgres, Contact::Session(w) if !w.in_recovery)
    };
    let names: Vec<&str> = e.members.iter().filter(claims).map(|m| m.server.instance.as_str()).collect();
    let matters = matches!(e.service.expectation, Expectation::Primary | Expectation::Leader);
    if names.len() > 1 && matters {
        result.why.push(format!("two primaries: {}", names.join(" and ")));
    }
}

/// Who was reached, and whether it may be.
fn found(e: &Evidence<'_>, serving: &[&Candidate<'_>], result: &mut PortResult) {
    let mut seen: Vec<String> = Vec::new();
    for contact in &e.contacts {
        match contact {
            Contact::Session(who) => {
                let (name, known) = name_of(e, who);
                let role = if who.in_recovery { "replica" } else { "primary" };
                let label = format!("{name} ({role})");
                if seen.contains(&label) {
                    continue;
                }
                if let Some(why) = objection(e, serving, &name, known, who) {
                    result.why.push(why);
                }
                seen.push(label);
            }
            Contact::Full(why) => result.why.push(format!("a member is reached but full ({why})")),
            Contact::Login(why) => result.why.push(format!("login refused ({why}): nothing is proven")),
            Contact::Failed(why) if !serving.is_empty() => result.why.push(format!("connection failed: {why}")),
            Contact::Closed if !serving.is_empty() => {
                result.why.push("closed at once: the load balancer has no server for it".into());
            }
            Contact::Handshake if serving.is_empty() => {
                result.why.push("a server answers, and no member is to serve it".into());
            }
            Contact::Handshake | Contact::Failed(_) | Contact::Closed => {}
        }
    }
    result.why.sort();
    result.why.dedup();
    result.notes.dedup();
    seen.sort();
    result.found = seen;
}

/// The member a session is on, and whether it is one of the service's.
fn name_of(e: &Evidence<'_>, who: &Who) -> (String, bool) {
    let same = |c: &Contact| matches!(c, Contact::Session(w) if w.start == who.start && w.system == who.system);
    let direct = e.members.iter().find(|m| same(&m.target) || same(&m.state.postgres));
    if let Some(m) = direct {
        return (m.server.instance.clone(), true);
    }
    match e.outsiders.iter().find(|(_, c)| same(c)) {
        Some((name, _)) => (name.clone(), false),
        None => ("an unknown server".into(), false),
    }
}

fn objection(e: &Evidence<'_>, serving: &[&Candidate<'_>], name: &str, known: bool, who: &Who) -> Option<String> {
    let systems: Vec<&String> = e.members.iter().filter_map(|m| m.state.api.as_ref().ok()?.system.as_ref()).collect();
    if let Some(system) = who.system.as_ref().filter(|s| !systems.is_empty() && !systems.contains(s)) {
        return Some(format!("leads to a foreign cluster (system identifier {system})"));
    }
    if !known {
        return Some(format!("leads to {name}, which is not a member of the service"));
    }
    match (e.service.expectation, who.in_recovery) {
        (Expectation::Primary, true) => return Some(format!("leads to {name}, which is a replica")),
        (Expectation::Replica, false) => return Some(format!("leads to {name}, which is the primary")),
        _ => {}
    }
    if serving.iter().any(|m| m.server.instance == name) {
        return None;
    }
    let member = e.members.iter().find(|m| m.server.instance == name);
    let tier = member.and_then(Candidate::tier_now);
    let role = if who.in_recovery { "a replica" } else { "the primary" };
    Some(match (serving.is_empty(), tier) {
        (false, Some(Tier::Backup)) => {
            let names: Vec<_> = serving.iter().map(|m| m.server.instance.as_str()).collect();
            format!("leads to {name} ({role}), a backup, while {} can serve", names.join(", "))
        }
        _ if member.is_some_and(Candidate::lingers) => format!("leads to {name} ({role}), {LINGERS}"),
        (_, None) => format!("leads to {name} ({role}), which does not belong to it in that role"),
        _ => format!("leads to {name} ({role}), whose health check fails"),
    })
}

const LINGERS: &str = "taken out by hand of the active tier, but the backup tier still has it";

/// More connections than this prove little more.
const MOST_CONTACTS: usize = 128;

/// How many connections must have reached each of these members by their weights, with others' in between.
pub fn enough(servers: &[&Server]) -> usize {
    let turns = |rounds: usize, per_round: usize| rounds.saturating_mul(per_round).saturating_add(2);
    let total: usize = servers.iter().map(|s| usize::from(s.weight)).sum();
    let least = servers.iter().map(|s| usize::from(s.weight)).min().unwrap_or(1).max(1);
    turns(3, servers.len()).max(turns(2, total.div_ceil(least))).min(MOST_CONTACTS)
}

/// Members that must be reached and were not.
fn missing(e: &Evidence<'_>, serving: &[&Candidate<'_>], tier: Option<Tier>, result: &mut PortResult) {
    let sessions = e.contacts.iter().any(|c| matches!(c, Contact::Session(_)));
    let spreads = matches!(e.service.balance.as_str(), "roundrobin" | "static-rr" | "leastconn" | "random");
    if tier.is_none() || !sessions {
        return;
    }
    let total: usize = serving.iter().map(|m| usize::from(m.server.weight)).sum();
    for m in serving {
        let name = &m.server.instance;
        let share = usize::from(m.server.weight);
        let due = e.contacts.len().saturating_mul(share) >= total;
        if !result.found.iter().any(|f| f.starts_with(&format!("{name} ("))) {
            let text = format!("{name} was not reached in {} connections", e.contacts.len());
            match (spreads, due) {
                (true, true) => result.why.push(text),
                (true, false) => result.notes.push(format!("{text}: its weight is {share} of {total}")),
                (false, _) => result.notes.push(format!("{text} (balance {})", e.service.balance)),
            }
        }
    }
}

/// Where the load balancer believes something else than the members say.
fn views(e: &Evidence<'_>, serving: &[&Candidate<'_>], tier: Option<Tier>, result: &mut PortResult) {
    for m in &e.members {
        let name = &m.server.instance;
        for v in &m.view {
            if v.by_hand {
                result.notes.push(format!("{name} is taken out by hand ({})", v.status));
            }
            let must = tier == Some(v.tier) && serving.iter().any(|s| s.server.instance == *name);
            if must && !v.up && !v.by_hand {
                result.why.push(format!("HAProxy has {name} {}, and it is well", v.status));
            }
            let may = m.serves(v.tier) || v.tier == Tier::Backup && tier == Some(Tier::Active);
            if v.up && !may && v.tier == Tier::Backup && m.lingers() {
                result.why.push(format!("{name} is {LINGERS}"));
            } else if v.up && !may && m.server.weight > 0 {
                let by_check = || m.check.as_ref().err().cloned();
                let why = m.trouble().or_else(by_check).unwrap_or_else(|| format!("it is {}", m.role_word()));
                result.why.push(format!("HAProxy has {name} {}, and it must not serve: {why}", v.status));
            }
        }
    }
}

/// What is worth knowing of members beside this port's verdict.
fn member_notes(e: &Evidence<'_>, result: &mut PortResult) {
    for m in &e.members {
        if let Some(trouble) = m.trouble() {
            result.notes.push(trouble);
        }
        if let Contact::Full(why) = &m.target {
            result.notes.push(format!("{}: full ({why})", m.server.instance));
        }
        if let Ok(ApiState { stale: Some(why), .. }) = &m.state.api
            && m.tier_now().is_some()
        {
            result.notes.push(format!("{}: stale replica ({why})", m.server.instance));
        }
    }
    if e.members.iter().any(|m| matches!(&m.state.api, Ok(a) if a.paused)) {
        result.notes.push("Patroni is paused: no failover happens by itself".into());
    }
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

/// Adds what makes an empty port wrong: somebody should serve and cannot. A port that nobody is meant to serve is right.
/// One that is wrong already, because HAProxy has not noticed yet, needs the members' reasons all the more.
pub fn judge_empty(e: &Evidence<'_>, result: &mut PortResult) {
    if result.tier.is_some() {
        return;
    }
    let standby = e.members.iter().any(|m| matches!(&m.state.api, Ok(a) if a.standby_cluster));
    let wants_primary = e.service.expectation == Expectation::Primary;
    if wants_primary && standby {
        result.notes.push("a standby cluster has no primary: /leader finds its leader".into());
        return;
    }
    let leader = e.members.iter().any(|m| m.leads() == Some(true));
    if matches!(e.service.expectation, Expectation::Primary | Expectation::Leader) && !leader {
        result.why.push("no leader".into());
    }
    for m in e.members.iter().filter(|m| m.tier_now().is_some() || m.leads().is_none()) {
        let why = m.trouble().or_else(|| m.check.as_ref().err().map(|w| format!("{}: its check fails ({w})", m.server.instance)));
        let by_role = m.state.api.is_ok() && m.trouble().is_none() && role_refuses(e.service.expectation, m);
        if let Some(why) = why.filter(|_| !by_role) {
            result.why.push(why);
        }
    }
    if result.why.is_empty() {
        result.notes.push("no member is meant to serve it now".into());
    } else {
        result.status = Status::Wrong;
    }
}

/// A check that fails because of the role alone is no trouble.
fn role_refuses(expectation: Expectation, m: &Candidate<'_>) -> bool {
    match expectation {
        Expectation::Primary | Expectation::Leader => m.leads() == Some(false),
        Expectation::Replica => m.leads() == Some(true),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
