//! A port that nobody is to serve now: right, or why somebody should. Ports with an expected member are not judged here.

use super::member::Candidate;
use super::{Evidence, PortResult, Status};
use crate::resolve::Expectation;

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
        let why = m.trouble().or_else(|| {
            m.check.as_ref().err().map(|w| format!("{}: its check fails ({w})", m.server.instance))
        });
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
