//! What a change of leaders means for the servers of a running HAProxy, whose own checks learn of it seconds later: three
//! failures of a check every three seconds on a member that was demoted, three passes on the one that was promoted. Pure:
//! who was asked, and how HAProxy is told, is not known here.
//!
//! Only members whose part as leader HAProxy has wrong are touched. A lag, a pooler that is away, a member that went
//! silent alone are HAProxy's own matter, with its `rise` and `fall`.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Backend, Server};
use super::seed::Seen;
use crate::verify::stats::{Kind, ProxyRow, Status};

/// A server with what its own check said, made just now.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub backend: &'a Backend,
    pub server: &'a Server,
    pub seen: Seen,
}

/// A server that is to be taken for up or for down until its next checks. Those that go down come first: two leaders at
/// once are none to the frontend's guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub up: bool,
    pub backend: String,
    pub server: String,
}

impl Mark {
    /// For the admin socket (management guide, "set server").
    #[must_use]
    pub fn command(&self) -> String {
        let word = if self.up { "up" } else { "down" };
        format!("set server {}/{} health {word}", self.backend, self.server)
    }
}

/// How HAProxy has its servers, by backend and name: those that its checks decide about.
#[derive(Debug)]
pub struct View<'r>(BTreeMap<(&'r str, &'r str), Status>);

impl<'r> View<'r> {
    /// Of a table of statistics. What was set by hand, and what has no check, is left out: it stays as it is.
    #[must_use]
    pub fn new(rows: &'r [ProxyRow]) -> Self {
        let decided = [Status::Up, Status::GoingDown, Status::Down, Status::GoingUp];
        let servers = rows.iter().filter(|r| r.kind == Kind::Server && decided.contains(&r.status));
        Self(servers.map(|r| ((r.proxy.as_str(), r.server.as_str()), r.status)).collect())
    }

    fn of(&self, backend: &Backend, server: &Server) -> Option<Status> {
        self.0.get(&(backend.name.as_str(), server.name.as_str())).copied()
    }
}

/// Why members are to be asked who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// A backend for the leader has none, or more than one.
    Leaderless,
    /// Some check of HAProxy's began to say otherwise than before: the first of all that ask the same member.
    Turning,
}

/// The hosts that HAProxy takes for leaders.
#[must_use]
pub fn leading<'b>(backends: &'b [Backend], view: &View<'_>) -> BTreeSet<&'b str> {
    let serving = |b: &'b Backend| {
        b.servers.iter().filter(move |s| view.of(b, s).is_some_and(Status::serves)).map(|s| s.host.as_str())
    };
    backends.iter().filter(|b| b.asks_for_leader()).flat_map(serving).collect()
}

/// The backends whose checks ask for the leader, where HAProxy's view gives reason to ask; without the rest of what they
/// check, and `None` where everything is at rest. So a cluster at rest costs no question at all.
#[must_use]
pub fn doubtful<'b>(
    backends: impl Iterator<Item = &'b Backend> + Clone,
    view: &View<'_>,
) -> Option<(Hint, Vec<Backend>)> {
    let turning =
        |b: &Backend, s: &Server| matches!(view.of(b, s), Some(Status::GoingUp | Status::GoingDown));
    let servers = backends.clone().flat_map(|b| b.servers.iter().map(move |s| (b, s)));
    let hosts: BTreeSet<&str> =
        servers.filter(|(b, s)| turning(b, s)).map(|(_, s)| s.host.as_str()).collect();
    let hint = |b: &Backend| {
        let up = b.servers.iter().filter(|s| view.of(b, s).is_some_and(Status::serves)).count();
        let turns = b.servers.iter().any(|s| hosts.contains(s.host.as_str()));
        if turns { Some(Hint::Turning) } else { (up != 1).then_some(Hint::Leaderless) }
    };
    let leading = backends.filter(|b| b.asks_for_leader());
    let mut found: Vec<(Hint, Backend)> = leading.filter_map(|b| Some((hint(b)?, b.clone()))).collect();
    found.iter_mut().for_each(|(_, b)| b.check.retain(|step| step.ask.is_some()));
    let strongest = found.iter().map(|(hint, _)| *hint).max()?;
    Some((strongest, found.into_iter().map(|(_, b)| b).collect()))
}

/// Hosts that HAProxy takes for a leader and that are none, or the other way round.
#[must_use]
pub fn moved(all: &[Asked<'_>], view: &View<'_>) -> BTreeSet<String> {
    let leading = all.iter().filter(|a| a.backend.asks_for_leader());
    leading.filter(|a| wrong(a, all, view).is_some()).map(|a| a.server.host.clone()).collect()
}

/// What HAProxy is to be told of the servers on these hosts.
#[must_use]
pub fn marks(all: &[Asked<'_>], view: &View<'_>, hosts: &BTreeSet<String>) -> Vec<Mark> {
    let on = all.iter().filter(|a| hosts.contains(&a.server.host));
    let mark = |a: &Asked<'_>| {
        let up = wrong(a, all, view)?;
        Some(Mark { up, backend: a.backend.name.clone(), server: a.server.name.clone() })
    };
    let mut marks: Vec<Mark> = on.filter_map(mark).collect();
    marks.sort();
    marks
}

/// What a server is, where HAProxy has it otherwise.
fn wrong(a: &Asked<'_>, all: &[Asked<'_>], view: &View<'_>) -> Option<bool> {
    let is_up = view.of(a.backend, a.server)?.serves();
    // One that tracks another follows it by itself.
    let checked = a.server.track.is_none() && !a.backend.check.is_empty();
    verdict(a, all).filter(|up| checked && *up != is_up)
}

/// Whether a server should be up; `None` where HAProxy's own checks are to say it.
fn verdict(a: &Asked<'_>, all: &[Asked<'_>]) -> Option<bool> {
    let leaders = match a.backend.asks_for_leader() {
        true => all.iter().filter(|b| b.backend.name == a.backend.name && b.seen == Seen::Passes).count(),
        false => 0,
    };
    match (a.seen, leaders) {
        (Seen::Refuses, _) => Some(false),
        // A member that says nothing while another one leads is none.
        (Seen::Silent, 1..) => Some(false),
        (Seen::Silent, 0) => None,
        // Two that say so: neither is told up by us.
        (Seen::Passes, 2..) => None,
        (Seen::Passes, _) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::haproxy::config::backends;
    use crate::verify::stats::parse_stat;

    const TEXT: &str = "listen a-primary
    http-check send meth OPTIONS uri /primary
    http-check expect status 200
    http-check connect port 6432
    server a-1 10.0.0.1:6432 check port 8008
    server a-2 10.0.0.2:6432 check port 8008
backend a-replica
    http-check send meth OPTIONS uri /replica
    http-check expect status 200
    server a-1 10.0.0.1:6432 check port 8008
    server a-2 10.0.0.2:6432 check port 8008
";

    use Seen::{Passes as P, Refuses as R, Silent as S};

    /// What is told when the four servers' checks say this, and HAProxy has them so (`U`, `D`, `M` for maintenance).
    fn told(seen: [Seen; 4], haproxy: &str) -> Vec<String> {
        let all = backends(TEXT);
        let servers = all.iter().flat_map(|backend| backend.servers.iter().map(move |s| (backend, s)));
        let asked: Vec<Asked<'_>> =
            servers.zip(seen).map(|((backend, server), seen)| Asked { backend, server, seen }).collect();
        let row = |(a, c): (&Asked<'_>, char)| {
            let status = match c {
                'U' => "UP 1/3",
                'D' => "DOWN",
                _ => "MAINT",
            };
            format!("{},{},0,{status},2\n", a.backend.name, a.server.name)
        };
        let rows: String = asked.iter().zip(haproxy.chars()).map(row).collect();
        let rows = parse_stat(&format!("# pxname,svname,scur,status,type\n{rows}")).unwrap();
        let view = View::new(&rows);
        marks(&asked, &view, &moved(&asked, &view)).iter().map(Mark::command).collect()
    }

    #[test]
    fn after_a_switchover_the_old_leader_goes_first_and_both_tiers_follow() {
        let wanted = [
            "set server a-primary/a-1 health down",
            "set server a-replica/a-2 health down",
            "set server a-primary/a-2 health up",
            "set server a-replica/a-1 health up",
        ];
        assert_eq!(told([R, P, P, R], "UDDU"), wanted);
    }

    #[test]
    fn where_haproxy_has_the_leader_right_nothing_is_told() {
        assert_eq!(told([P, R, R, P], "UDDU"), [""; 0]);
        assert_eq!(told([P, R, R, R], "UDDU"), [""; 0], "a replica that lags is HAProxy's own matter");
        assert_eq!(told([P, R, R, S], "UDDU"), [""; 0]);
    }

    #[test]
    fn a_demoted_member_is_down_before_anybody_else_leads() {
        assert_eq!(told([R, R, R, P], "UDDU"), ["set server a-primary/a-1 health down"]);
    }

    #[test]
    fn a_silent_leader_is_down_only_when_another_one_leads() {
        assert_eq!(told([S, R, S, P], "UDDU"), [""; 0]);
        let wanted = [
            "set server a-primary/a-1 health down",
            "set server a-replica/a-2 health down",
            "set server a-primary/a-2 health up",
        ];
        assert_eq!(told([S, P, S, R], "UDDU"), wanted);
    }

    #[test]
    fn of_two_that_say_they_lead_neither_is_told_up() {
        assert_eq!(told([P, P, R, R], "UDDU"), [""; 0]);
        assert_eq!(told([P, P, R, R], "DDUU"), [""; 0]);
    }

    #[test]
    fn what_a_hand_has_set_stays() {
        assert_eq!(
            told([R, P, P, R], "MDDU"),
            ["set server a-replica/a-2 health down", "set server a-primary/a-2 health up",]
        );
    }

    /// Whom HAProxy's view of the four servers gives reason to ask.
    fn asked_for(haproxy: [&str; 4]) -> Option<(Hint, Vec<(String, usize)>)> {
        let all = backends(TEXT);
        let servers = all.iter().flat_map(|b| b.servers.iter().map(move |s| (b, s)));
        let row =
            |((b, s), status): ((&Backend, &Server), &str)| format!("{},{},0,{status},2\n", b.name, s.name);
        let rows: String = servers.zip(haproxy).map(row).collect();
        let rows = parse_stat(&format!("# pxname,svname,scur,status,type\n{rows}")).unwrap();
        let (hint, backends) = doubtful(all.iter(), &View::new(&rows))?;
        Some((hint, backends.into_iter().map(|b| (b.name, b.check.len())).collect()))
    }

    #[test]
    fn a_cluster_at_rest_is_asked_nothing() {
        assert_eq!(asked_for(["UP", "DOWN", "DOWN", "UP"]), None);
    }

    #[test]
    fn the_first_check_that_turns_anywhere_is_reason_to_ask_and_no_port_is_tried() {
        let primary = || vec![("a-primary".to_owned(), 1)];
        assert_eq!(asked_for(["UP", "DOWN", "DOWN 1/3", "UP"]), Some((Hint::Turning, primary())));
        assert_eq!(asked_for(["UP 2/3", "DOWN", "DOWN", "UP"]), Some((Hint::Turning, primary())));
        assert_eq!(asked_for(["DOWN", "DOWN", "DOWN", "UP"]), Some((Hint::Leaderless, primary())));
        assert_eq!(asked_for(["UP", "UP", "DOWN", "UP"]), Some((Hint::Leaderless, primary())));
    }
}
