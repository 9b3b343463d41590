//! A member's state in `judge`'s words, from Patroni's own. Nothing is asked here.

use crate::inventory::member::Member;
use crate::verify::judge::ApiState;
use crate::verify::patroni::{self, ClusterView, Lag, MemberHealth};

/// A replica further behind than this is worth a note, bytes.
const FAR_BEHIND: u64 = 64 << 20;

pub(super) fn api_state(h: &MemberHealth, m: &Member, overview: Option<&ClusterView>) -> ApiState {
    let role = h.role.as_ref();
    ApiState {
        role: role.map_or("unknown", |r| r.name()).to_owned(),
        leader: h.leads(),
        standby_cluster: h.in_standby_cluster() || overview.is_some_and(ClusterView::is_standby_cluster),
        state: h.state.clone().unwrap_or_default(),
        timeline: h.timeline,
        system: h.system_identifier.clone(),
        stale: overview.and_then(|v| stale(h, m, v)),
        paused: h.pause || overview.is_some_and(|v| v.pause),
    }
}

/// A replica that runs but does not follow.
fn stale(h: &MemberHealth, m: &Member, view: &ClusterView) -> Option<String> {
    let leader = view.leader()?;
    let is_leader = matches!(h.role, Some(patroni::Role::Primary | patroni::Role::StandbyLeader));
    let mine = view.members.iter().find(|x| {
        Some(&x.name) == h.name.as_ref() || x.host.as_ref() == Some(&m.address) && x.name != leader.name
    })?;
    if is_leader || mine.name == leader.name {
        return None;
    }
    match (&mine.lag, mine.timeline, leader.timeline) {
        (_, Some(own), Some(lead)) if own < lead => Some(format!("on timeline {own}, the leader on {lead}")),
        (Some(Lag::Unknown), _, _) => Some("its lag is unknown".into()),
        (Some(Lag::Bytes(n)), _, _) if *n > FAR_BEHIND => Some(format!("{} MB behind", n >> 20)),
        _ => None,
    }
}
