//! The states that servers begin with in a starting or reloading HAProxy, which would otherwise take every server for up
//! until its first check: a replica for a primary. Pure: who was asked, and how, is not known here.

use std::net::IpAddr;

use super::config::{Backend, Server};
use super::state::{Op, ServerState, admin};

/// What a server's own check says when pgsvc makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Passes,
    /// Answered with another status: the member has another role, or is unwell by its own word.
    Refuses,
    /// No answer in time, or none at all.
    Silent,
}

/// A server with what is known of it.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    pub backend: &'a Backend,
    pub server: &'a Server,
    /// The address behind its name, where it has one.
    pub address: Option<IpAddr>,
    pub seen: Seen,
}

/// HAProxy's codes for a check (`check.h`): answered well, and answered with another status.
const WELL: (u32, u32) = (15, 3);
const UNWELL: (u32, u32) = (17, 2);
/// A check that is configured and enabled.
const CHECKED: u32 = 6;

/// A state for every server. `running`: of the process that is to be replaced; empty at a cold start.
///
/// What an operator's hand did (MAINT, DRAIN, a weight) stays. A member that answers decides for itself. One that is
/// silent stays what the running process takes it for, but is never up in place of a leader that answers; at a cold
/// start it is down, and the first checks of HAProxy decide.
#[must_use]
pub fn compose(servers: &[Known<'_>], running: &[ServerState]) -> Vec<ServerState> {
    let old = |k: &Known<'_>| running.iter().find(|r| same(r, k));
    let leader_answers = |b: &Backend| {
        servers.iter().any(|k| k.backend.name == b.name && k.seen == Seen::Passes && b.asks_for_leader())
    };
    let up = |k: &Known<'_>| match k.seen {
        Seen::Passes => true,
        Seen::Refuses => false,
        Seen::Silent => {
            let was_up = old(k).is_some_and(|r| matches!(r.op, Op::Running | Op::Starting));
            was_up && !leader_answers(k.backend)
        }
    };
    servers.iter().map(|k| row(k, old(k), up(k))).collect()
}

/// The same server, by name and by where it is: the state of another host's is none of its own.
fn same(r: &ServerState, k: &Known<'_>) -> bool {
    let ip = r.address.parse::<IpAddr>().ok();
    let there = match k.server.host.parse::<IpAddr>() {
        Ok(own) => ip == Some(own),
        Err(_) => r.fqdn.as_deref() == Some(&k.server.host),
    };
    r.backend == k.backend.name && r.name == k.server.name && r.port == k.server.port && there
}

fn row(k: &Known<'_>, old: Option<&ServerState>, up: bool) -> ServerState {
    let named = k.server.host.parse::<IpAddr>().is_err();
    // Without an address HAProxy keeps to its own way of finding one.
    let address = k.address.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    // By hand only: what comes of a tracked server, of DNS or of the configuration is found out anew.
    let by_hand = old.map_or(0, |r| r.admin & admin::BY_HAND);
    // One that comes out of maintenance must not come up before a check says so.
    let up = up && by_hand & admin::MAINT == 0;
    let (check_status, check_result) = if up { WELL } else { UNWELL };
    ServerState {
        backend: k.backend.name.clone(),
        name: k.server.name.clone(),
        address: old.filter(|_| k.address.is_none()).map_or(address, |r| r.address.clone()),
        port: k.server.port,
        check_port: k.server.check_port,
        op: if up { Op::Running } else { Op::Stopped },
        admin: by_hand,
        // HAProxy takes the first where the second is what its configuration says.
        weight: old.map_or(k.server.weight, |r| r.weight),
        initial_weight: old.map_or(k.server.weight, |r| r.initial_weight),
        since: old.filter(|r| r.is_up() == up).map_or(0, |r| r.since),
        check_status,
        check_result,
        health: if up { 5 } else { 0 },
        check_state: CHECKED,
        agent_state: 0,
        fqdn: named.then(|| k.server.host.clone()),
        use_ssl: false,
        agent_port: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::haproxy::config::backends;

    const TEXT: &str = "listen a-primary
    http-check send meth OPTIONS uri /primary
    http-check expect status 200
    server a-1 10.0.0.1:6432 check port 8008 weight 100
    server a-2 10.0.0.2:6432 check port 8008 weight 100
listen a-replica
    http-check send meth OPTIONS uri /read-only?lag=1MB
    http-check expect status 200
    server a-1 10.0.0.1:6432 check port 8008 weight 100
    server a-2 10.0.0.2:6432 check port 8008 weight 100
";

    fn running(backend: &str, name: &str, op: Op) -> ServerState {
        ServerState {
            backend: backend.into(),
            name: name.into(),
            address: format!("10.0.0.{}", &name[2..]),
            port: 6432,
            check_port: 8008,
            op,
            weight: 100,
            initial_weight: 100,
            ..ServerState::default()
        }
    }

    /// Which servers begin up, in file order.
    fn begun(seen: [Seen; 4], running: &[ServerState]) -> Vec<bool> {
        let all = backends(TEXT);
        let mut servers: Vec<Known<'_>> = Vec::new();
        for backend in &all {
            for server in &backend.servers {
                let seen = seen[servers.len()];
                servers.push(Known { backend, server, address: server.host.parse().ok(), seen });
            }
        }
        compose(&servers, running).iter().map(ServerState::is_up).collect()
    }

    use Seen::{Passes as P, Refuses as R, Silent as S};

    #[test]
    fn at_a_cold_start_only_who_passes_is_up() {
        assert_eq!(begun([P, R, R, P], &[]), [true, false, false, true]);
        assert_eq!(begun([S, S, S, S], &[]), [false; 4]);
    }

    #[test]
    fn a_member_that_answers_decides_whatever_the_old_process_believed() {
        let old = [
            running("a-primary", "a-1", Op::Running),
            running("a-primary", "a-2", Op::Stopped),
            running("a-replica", "a-1", Op::Stopped),
            running("a-replica", "a-2", Op::Running),
        ];
        assert_eq!(begun([R, P, P, R], &old), [false, true, true, false], "right after a switchover");
    }

    #[test]
    fn who_is_silent_stays_what_it_was_but_never_beside_a_leader_that_answers() {
        let old = [
            running("a-primary", "a-1", Op::Running),
            running("a-primary", "a-2", Op::Stopped),
            running("a-replica", "a-1", Op::Running),
            running("a-replica", "a-2", Op::Running),
        ];
        assert_eq!(begun([S, S, S, P], &old), [true, false, true, true]);
        assert_eq!(begun([S, P, S, S], &old), [false, true, true, true]);
    }

    #[test]
    fn a_state_of_another_address_or_port_is_not_taken_over() {
        let moved = ServerState { address: "10.0.0.9".into(), ..running("a-primary", "a-1", Op::Running) };
        assert!(!begun([S, S, S, S], &[moved])[0]);
        let other = ServerState { port: 5432, ..running("a-primary", "a-1", Op::Running) };
        assert!(!begun([S, S, S, S], &[other])[0]);
    }

    #[test]
    fn an_operators_hand_stays() {
        let all = backends(TEXT);
        let (backend, server) = (&all[1], &all[1].servers[1]);
        let mut old = running("a-replica", "a-2", Op::Running);
        (old.admin, old.weight) = (admin::DRAIN | 0x20, 40);
        let known = Known { backend, server, address: server.host.parse().ok(), seen: P };
        let row = compose(std::slice::from_ref(&known), &[old]).remove(0);
        assert_eq!((row.admin, row.weight, row.initial_weight), (admin::DRAIN, 40, 100));
        assert_eq!(row.op, Op::Running, "it is up, and drained");
    }
}
