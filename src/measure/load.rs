//! Opens the sessions, each at its time. A session that is late or hangs delays no other one as long as a thread is free,
//! and its time is counted from when it should have begun: a stall shows in full. Nothing is summed up here.

use std::time::Duration;

use super::{Came, Promise, Sample, Target};
use crate::host::System;
use crate::parallel::parallel;
use crate::verify::deadline::Deadline;
use crate::verify::postgres::{Login, PgError, Session, Write};

/// How long, and with how much patience.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub time: Duration,
    /// The longest a session may take.
    pub limit: Duration,
    /// Sessions at the same time, all targets together.
    pub most: usize,
    /// Where sessions on ports for writes leave a row each. Without one they write a message.
    pub ledger: Option<&'a str>,
}

impl Plan<'_> {
    /// Threads for every session that may be open at once, within reason.
    pub fn new(targets: &[Target], time: Duration, limit: Duration) -> Self {
        let at_once = |t: &Target| limit.as_secs_f64() / t.every.as_secs_f64().max(0.001);
        let most = targets.iter().map(at_once).sum::<f64>().ceil();
        // Saturates, as casts from floating point do.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let most = (most as usize).clamp(targets.len().max(1), 1024);
        Self { time, limit, most, ledger: None }
    }
}

/// Runs the plan and gives every session's outcome to `say`, as it comes.
pub fn run(
    sys: &dyn System,
    targets: &[Target],
    login: &Login,
    plan: Plan<'_>,
    say: &(dyn Fn(&Sample) + Sync),
) {
    let schedule = schedule(targets, plan.time);
    let began = sys.now();
    parallel(&schedule, plan.most, |(at, to)| {
        let Some(target) = targets.get(*to) else { return };
        let due = began.saturating_add(*at);
        if let Some(wait) = due.checked_sub(sys.now()) {
            sys.sleep(wait);
        }
        let came = one(sys, target, login, plan, id(*at, *to));
        let took = micros(sys.now().saturating_sub(due));
        say(&Sample { to: *to, at: micros(*at), took, came });
    });
}

fn one(sys: &dyn System, target: &Target, login: &Login, plan: Plan<'_>, id: u64) -> Came {
    let write = match (target.promise, plan.ledger) {
        (Promise::Write, Some(table)) => Write::Row { table, id },
        // A member that leads commits a write as well: that is the moment which a port's is measured by.
        (Promise::Write | Promise::Member, _) => Write::Message,
        (Promise::Read | Promise::Answer, _) => Write::Nothing,
    };
    let deadline = Deadline::after(sys, plan.limit);
    match Session::open(sys, target.addr, login, deadline)
        .and_then(|mut s| s.brief(write, plan.ledger.is_some()))
    {
        Ok(brief) => Came::Served(brief),
        Err(e) => Came::Failed { error: text(&e) },
    }
}

/// A row's name: one of its own for every session of a run.
fn id(at: Duration, to: usize) -> u64 {
    micros(at).saturating_mul(1000).saturating_add(u64::try_from(to % 1000).unwrap_or(0))
}

fn text(e: &PgError) -> String {
    e.to_string()
}

/// Who is asked when, in the order of time; targets of one pace take turns within it.
fn schedule(targets: &[Target], time: Duration) -> Vec<(Duration, usize)> {
    let count = u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
    let mut all = Vec::new();
    for (to, target) in targets.iter().enumerate() {
        let every = target.every.max(Duration::from_millis(1));
        let offset = (every / count).saturating_mul(u32::try_from(to).unwrap_or(0));
        let mut at = offset;
        while at < time {
            all.push((at, to));
            at = at.saturating_add(every);
        }
    }
    all.sort_unstable();
    all
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(every: u64) -> Target {
        Target {
            name: String::new(),
            addr: ([127, 0, 0, 1], 1).into(),
            promise: Promise::Write,
            readers: Vec::new(),
            every: Duration::from_millis(every),
        }
    }

    #[test]
    fn every_target_keeps_its_own_pace_and_nobody_begins_together() {
        let all = schedule(&[target(10), target(10), target(50)], Duration::from_millis(100));
        let of = |n: usize| all.iter().filter(|(_, to)| *to == n).count();
        assert_eq!((of(0), of(1), of(2)), (10, 10, 2));
        assert!(all.is_sorted());
        let mut times: Vec<_> = all.iter().map(|(at, _)| *at).collect();
        times.dedup();
        assert_eq!(times.len(), all.len());
    }

    #[test]
    fn there_are_threads_for_what_may_hang_at_once_and_no_more_than_a_machine_bears() {
        let most = |every, limit| {
            Plan::new(&[target(every), target(every)], Duration::ZERO, Duration::from_secs(limit)).most
        };
        assert_eq!(most(100, 5), 100);
        assert_eq!(most(1, 60), 1024);
        assert_eq!(most(60_000, 1), 2);
    }

    #[test]
    fn every_session_of_a_schedule_has_a_name_of_its_own() {
        let all = schedule(&[target(10), target(10), target(7)], Duration::from_secs(2));
        let mut ids: Vec<_> = all.iter().map(|(at, to)| id(*at, *to)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn a_port_that_nobody_serves_is_a_failed_session_for_each_turn() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets = [Target { addr: port, ..target(10) }];
        let login = Login {
            user: "x".into(),
            password: None,
            database: "x".into(),
            tls: crate::verify::postgres::TlsMode::Disable,
            cleartext: false,
        };
        let plan = Plan::new(&targets, Duration::from_millis(50), Duration::from_secs(1));
        let seen = std::sync::Mutex::new(Vec::new());
        run(&crate::verify::testkit::Sockets, &targets, &login, plan, &|s| {
            seen.lock().unwrap().push(s.clone());
        });
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 5);
        assert!(
            seen.iter().all(|s| s.came == Came::Failed { error: "connection refused".into() }),
            "{seen:?}"
        );
        // Begun when the schedule said, not before.
        assert!(seen.iter().any(|s| s.at == 40_000));
    }
}
