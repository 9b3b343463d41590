//! Where a port leads while its members are in given states: the promise that every load balancer has to keep.

use std::collections::BTreeSet;

use super::{MemberState, States};
use crate::resolve::{ResolvedService, Server, Tier, When};

/// Where a port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The tier that serves; `None` where nobody does.
    pub tier: Option<Tier>,
    /// Who serves, by `pg_seq`.
    pub members: Vec<String>,
    /// More than one member would serve where one may: connections are refused.
    pub refused: bool,
    /// Why each of the service's other members does not serve, by `pg_seq`.
    pub others: Vec<(String, String)>,
}

/// The active tier serves, and the backup tier while that is empty. A member without weight serves nobody; one whose
/// state is not known serves nobody. Of a guarded service, nobody serves while two would.
#[must_use]
pub fn lead(service: &ResolvedService, states: &States) -> Lead {
    let up = |tier: Tier| -> Vec<String> {
        let members = service.tier(tier).into_iter();
        let up = members.filter(|(m, when)| trouble(service, m, *when, states.get(&m.instance)).is_none());
        up.map(|(m, _)| m.instance.clone()).collect()
    };
    let active = up(Tier::Active);
    let refused = service.guarded && active.len() > 1;
    let (tier, members) = match (refused, active.is_empty()) {
        (true, _) => (None, Vec::new()),
        (false, false) => (Some(Tier::Active), active),
        (false, true) => (Some(Tier::Backup), up(Tier::Backup)),
    };
    let tier = tier.filter(|_| !members.is_empty());
    let others = service.servers.iter().filter(|m| !members.contains(&m.instance));
    let others = others
        .map(|m| {
            let why = why_not(service, m, states.get(&m.instance), tier);
            (m.instance.clone(), why)
        })
        .collect();
    Lead { tier, members, refused, others }
}

/// Who serves, without the reasons.
#[must_use]
pub fn serving(service: &ResolvedService, states: &States) -> BTreeSet<String> {
    lead(service, states).members.into_iter().collect()
}

/// What keeps a member from serving under a live role.
fn trouble(s: &ResolvedService, m: &Server, when: When, state: Option<&MemberState>) -> Option<String> {
    let Some(state) = state else { return Some("nothing is known of it".into()) };
    if m.weight == 0 {
        return Some("it has no weight".into());
    }
    s.needs(m, when).iter().find_map(|need| state.lacks(need, m.patroni_port))
}

/// Why a member does not serve while `serves` does.
fn why_not(s: &ResolvedService, m: &Server, state: Option<&MemberState>, serves: Option<Tier>) -> String {
    let of = |tier: Tier| m.when(tier).map(|when| trouble(s, m, when, state));
    let why = match (of(Tier::Active), of(Tier::Backup)) {
        // It would serve: another one would, too.
        (Some(None), _) => Some("it is not the only one that would serve".into()),
        (Some(active), Some(backup)) if serves.is_none() && active != backup => {
            let text = |t: Option<String>| t.unwrap_or_default();
            Some(format!("{}; as backup: {}", text(active), text(backup)))
        }
        (Some(active), _) => active,
        (None, Some(None)) => Some("it is backup, and the active tier serves".into()),
        (None, Some(backup)) => backup,
        (None, None) => None,
    };
    why.unwrap_or_else(|| "it is in no tier".into())
}
