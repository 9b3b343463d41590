//! A member's state in `judge`'s words, from Patroni's own. Nothing is asked here.

use crate::inventory::member::Member;
use crate::verify::judge::ApiState;
use crate::verify::patroni::{self, ClusterView, Lag, MemberHealth, Role};

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

/// What a running member's own check of a path must answer, by Patroni's rules for its plain paths (Patroni manual,
/// "Health check endpoints"); `None` where more than role and state decides: a lag, a tag, a release's own ways.
pub(super) fn foretold(h: &MemberHealth, url: &str) -> Option<Result<(), String>> {
    let leads = match h.role.as_ref()? {
        _ if !h.is_running() => return None,
        Role::Primary if h.leads() => true,
        Role::Replica | Role::SyncStandby | Role::QuorumStandby => false,
        _ => return None,
    };
    let passes = match url {
        "/" | "/primary" | "/master" | "/read-write" | "/leader" => leads,
        "/replica" | "/read-only" if !leads && h.tags.noloadbalance => return None,
        "/replica" => !leads,
        "/read-only" => true,
        // With a lag or a tag more is asked, but never less than the role.
        _ if leads && url.starts_with("/replica?") => false,
        _ => return None,
    };
    Some(if passes { Ok(()) } else { Err("it has the other role".into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(role: &str, more: &str) -> MemberHealth {
        let json = format!(r#"{{"state":"running","role":"{role}"{more}}}"#);
        MemberHealth::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_plain_check_of_a_running_member_follows_from_its_role() {
        let told = |h: &MemberHealth, url: &str| foretold(h, url).map(|r| r.is_ok());
        let (primary, replica) = (health("primary", ""), health("replica", ""));
        for (url, of_primary, of_replica) in [
            ("/primary", Some(true), Some(false)),
            ("/", Some(true), Some(false)),
            ("/replica", Some(false), Some(true)),
            ("/read-only", Some(true), Some(true)),
            ("/replica?lag=1MB", Some(false), None),
            ("/read-only?lag=0", None, None),
            ("/sync", None, None),
        ] {
            assert_eq!((told(&primary, url), told(&replica, url)), (of_primary, of_replica), "{url}");
        }
    }

    #[test]
    fn where_more_than_the_role_decides_the_check_is_asked() {
        let tagged = health("replica", r#","tags":{"noloadbalance":true}"#);
        assert_eq!(foretold(&tagged, "/replica"), None);
        assert_eq!(foretold(&health("standby_leader", ""), "/replica"), None);
        assert_eq!(foretold(&health("demoted", ""), "/primary"), None);
        assert_eq!(foretold(&health("primary", r#","cluster_unlocked":true"#), "/primary"), None);
        let starting = MemberHealth::parse(br#"{"state":"starting","role":"replica"}"#).unwrap();
        assert_eq!(foretold(&starting, "/replica"), None);
    }
}
