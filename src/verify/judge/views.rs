//! HAProxy's own view against the members' word. No connection is looked at here.

use super::member::{Candidate, LINGERS};
use super::{Evidence, PortResult};
use crate::resolve::Tier;

/// Where the load balancer believes something else than the members say.
pub(super) fn views(
    e: &Evidence<'_>,
    serving: &[&Candidate<'_>],
    tier: Option<Tier>,
    result: &mut PortResult,
) {
    for m in &e.members {
        let name = &m.server.instance;
        for v in &m.view {
            if v.by_hand {
                result.notes.push(format!("{name} is taken out by hand ({})", v.status));
            }
            if let Some(weight) = v.weight {
                result
                    .notes
                    .push(format!("{name} has the weight {weight}, and {} is wanted", m.server.weight));
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
