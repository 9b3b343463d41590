//! One member against one service: whether it must serve, in which tier, and its own trouble. What a port's connections
//! showed is not looked at here.

use super::{ApiState, Contact, Evidence, MemberState, PortResult, View};
use crate::resolve::{Server, Tier};

pub(super) const LINGERS: &str = "taken out by hand of the active tier, but the backup tier still has it";

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

impl ApiState {
    /// Patroni knows itself that PostgreSQL does not run: stopped, starting, crashed, …
    fn down(&self) -> bool {
        !matches!(self.state.as_str(), "running" | "streaming" | "unknown")
    }
}

impl Candidate<'_> {
    /// Whether it must get connections in a tier now.
    pub(super) fn serves(&self, tier: Tier) -> bool {
        self.tier_now() == Some(tier)
            && self.check.is_ok()
            && self.server.weight > 0
            && !self.view.iter().any(|v| v.tier == tier && v.by_hand)
            && !matches!(self.target, Contact::Failed(_) | Contact::Closed)
    }

    /// The tier by the live role: Patroni's word, else what PostgreSQL itself says.
    pub(super) fn tier_now(&self) -> Option<Tier> {
        match self.leads() {
            Some(leads) => self.server.tier(leads),
            None if self.server.conditional() => None,
            None => self.server.as_primary,
        }
    }

    pub(super) fn leads(&self) -> Option<bool> {
        match (&self.state.api, &self.state.postgres) {
            (Ok(api), _) => Some(api.leader),
            (Err(_), Contact::Session(who)) => Some(!who.in_recovery),
            _ => None,
        }
    }

    /// Why it does not serve, when that is no matter of its role.
    pub(super) fn trouble(&self) -> Option<String> {
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
            (Err(why), _) if why.contains("CertificateRequired") => {
                dead("Patroni's API wants a client's certificate: set patroni_cert_file", why)
            }
            (Err(why), _) if why.starts_with("TLS failed") => {
                dead("Patroni's API is not trusted: look at its certificate and patroni_ca_file", why)
            }
            (Err(why), _) if postgres_lives => dead("Patroni's API is dead, PostgreSQL answers", why),
            (Err(why), _) => dead("does not answer, neither Patroni nor PostgreSQL", why),
            (Ok(api), Contact::Failed(why)) if api.down() => {
                dead(&format!("Patroni says it is {}", api.state), why)
            }
            (Ok(api), Contact::Failed(why)) if !postgres_lives => {
                dead(&format!("Patroni says {}, but PostgreSQL is dead", api.role), why)
            }
            (Ok(_), Contact::Failed(why)) if self.server.port != self.server.pg_port => {
                dead(&format!("the pooler on port {} is dead, PostgreSQL answers", self.server.port), why)
            }
            (Ok(_), Contact::Failed(why)) => dead("PostgreSQL is dead", why),
            (Ok(_), Contact::Closed) => {
                dead(&format!("port {} closes every connection", self.server.port), "no answer")
            }
            (Ok(api), _) if api.down() || api.state == "unknown" => {
                Some(format!("{name}: Patroni says it is {}", api.state))
            }
            _ => None,
        }
    }

    /// Taken out by hand of the active tier alone: the backup tier asks for no role of a member that is active in the
    /// other one (`Server::when`), and serves from it once nobody else is active.
    pub(super) fn lingers(&self) -> bool {
        let has = |tier: Tier, by_hand: bool| {
            self.view.iter().any(|v| v.tier == tier && v.by_hand == by_hand && (by_hand || v.up))
        };
        has(Tier::Active, true) && has(Tier::Backup, false)
    }

    pub(super) fn role_word(&self) -> &str {
        match &self.state.api {
            Ok(api) => &api.role,
            Err(_) => "unknown role",
        }
    }
}

/// What is worth knowing of members beside this port's verdict.
pub(super) fn notes(e: &Evidence<'_>, result: &mut PortResult) {
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
