//! What must hold of a member before a load balancer sends it connections, whichever load balancer that is.

use serde::Serialize;

use super::{ResolvedService, Server, When};

/// Patroni's endpoint for "is the leader": `/leader` is true for a primary and for a standby cluster's leader.
const LEADER: &str = "/leader";
const REPLICA: &str = "/replica";

/// One condition on a member. All of them must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// An HTTP answer with this code.
    Http { ssl: bool, port: u16, path: String, code: u16 },
    /// A port that takes connections.
    Tcp { port: u16 },
}

impl ResolvedService {
    /// The role's own check beside the service's check; `None` where that one says it already.
    #[must_use]
    pub fn role_path(&self, when: When) -> Option<&'static str> {
        let path = self.check_url.split('?').next().unwrap_or_default();
        let own_is =
            |known: &[&str]| self.check_is_patroni && self.check_code == 200 && known.contains(&path);
        match when {
            When::Always => None,
            When::Primary if own_is(&["/", "/primary", "/master", "/read-write", LEADER]) => None,
            When::Replica if own_is(&[REPLICA]) => None,
            When::Primary => Some(LEADER),
            When::Replica => Some(REPLICA),
        }
    }

    /// What must hold of a member that serves under a live role: the service's check, the role's, and the target itself,
    /// for Patroni may be well while the pooler is dead.
    #[must_use]
    pub fn needs(&self, m: &Server, when: When) -> Vec<Need> {
        let own = Need::Http {
            ssl: m.check_ssl,
            port: m.check_port,
            path: self.check_url.clone(),
            code: self.check_code,
        };
        let role = self.role_path(when).map(|path| {
            // The role is asked where the service's own check goes, unless that is not Patroni.
            let (ssl, port) = if self.check_is_patroni {
                (m.check_ssl, m.check_port)
            } else {
                (m.patroni_ssl, m.patroni_port)
            };
            Need::Http { ssl, port, path: path.into(), code: 200 }
        });
        std::iter::once(own).chain(role).chain([Need::Tcp { port: m.port }]).collect()
    }
}
