//! Who leads a cluster, from what its members say of themselves. Silence is no word, and two leaders are none.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::verify::patroni::{MemberHealth, Role};

/// A member's role now, as far as it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Live {
    Leads,
    Follows,
    Unknown,
}

impl Live {
    pub fn word(self) -> &'static str {
        match self {
            Self::Leads => "primary",
            Self::Follows => "replica",
            Self::Unknown => "of an unknown role",
        }
    }
}

/// The roles of one cluster's members. A silent member is no leader where another one provably leads.
pub fn live(said: &BTreeMap<String, Option<MemberHealth>>) -> BTreeMap<String, Live> {
    // One that was stopped may call itself primary still.
    let leads = |h: &MemberHealth| h.leads() && h.is_running();
    let leaders = said.values().flatten().filter(|h| leads(h)).count();
    let follows =
        |h: &MemberHealth| matches!(h.role, Some(Role::Replica | Role::SyncStandby | Role::QuorumStandby));
    let of = |h: &Option<MemberHealth>| match h {
        Some(h) if leads(h) && leaders == 1 => Live::Leads,
        Some(h) if leads(h) => Live::Unknown,
        Some(h) if follows(h) => Live::Follows,
        _ if leaders == 1 => Live::Follows,
        _ => Live::Unknown,
    };
    said.iter().map(|(name, h)| (name.clone(), of(h))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(json: &str) -> Option<MemberHealth> {
        (!json.is_empty()).then(|| MemberHealth::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn a_role_is_certain_or_unknown() {
        const PRIMARY: &str = r#"{"state":"running","role":"primary"}"#;
        const REPLICA: &str = r#"{"state":"running","role":"replica"}"#;
        const STOPPED: &str = r#"{"state":"stopped","role":"primary"}"#;
        const UNLOCKED: &str = r#"{"state":"running","role":"primary","cluster_unlocked":true}"#;
        const RESTARTING: &str = r#"{"state":"restarting","role":"master"}"#;
        const DEMOTED: &str = r#"{"state":"stopping","role":"demoted"}"#;
        use Live::{Follows, Leads, Unknown};
        for (one, other, of_one, of_other) in [
            (PRIMARY, REPLICA, Leads, Follows),
            ("", PRIMARY, Follows, Leads),
            ("", REPLICA, Unknown, Follows),
            ("", "", Unknown, Unknown),
            (PRIMARY, PRIMARY, Unknown, Unknown),
            (STOPPED, PRIMARY, Follows, Leads),
            (STOPPED, REPLICA, Unknown, Follows),
            (UNLOCKED, REPLICA, Unknown, Follows),
            (RESTARTING, REPLICA, Unknown, Follows),
            (DEMOTED, PRIMARY, Follows, Leads),
            (DEMOTED, REPLICA, Unknown, Follows),
        ] {
            let said = BTreeMap::from([("a".to_owned(), says(one)), ("b".to_owned(), says(other))]);
            let found = live(&said);
            assert_eq!((found["a"], found["b"]), (of_one, of_other), "{one} {other}");
        }
    }
}
