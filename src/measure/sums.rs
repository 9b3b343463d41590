//! Samples → what clients saw, target by target. Pure.
//!
//! *Misrouted* is a session that got an answer from the wrong role: on a port for writes a server in recovery, on a port
//! for reads a primary although a replica of its active tier answered, asked directly, before and after. *Away* is the
//! longest time from one kept promise to the next, so a stall counts as much as an error.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Came, Promise, Sample, Target};

/// What came of all sessions to one target. Times are microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub name: String,
    pub promise: Promise,
    pub sessions: usize,
    pub failed: usize,
    pub misrouted: usize,
    pub away: u64,
    /// When the longest time away began.
    pub away_from: u64,
    /// Of sessions that got an answer, from when they should have begun.
    pub p50: u64,
    pub p99: u64,
    /// Sessions by member, as far as members were asked directly too.
    pub reached: BTreeMap<String, usize>,
    pub errors: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sums {
    pub targets: Vec<Sum>,
    /// The longest time in which no member, asked directly, took a write: what Patroni and PostgreSQL took themselves.
    pub members_away: u64,
}

/// Sums up; samples may come in any order.
pub fn sums(targets: &[Target], samples: &[Sample]) -> Sums {
    let mut samples: Vec<&Sample> = samples.iter().collect();
    samples.sort_by_key(|s| (s.at, s.to));
    let end = samples.iter().map(|s| s.end()).max().unwrap_or(0);
    let truth = Truth::new(targets, &samples);
    let of = |to: usize| samples.iter().copied().filter(move |s| s.to == to);
    let sums = targets.iter().enumerate().map(|(to, t)| one(t, &of(to).collect::<Vec<_>>(), &truth, end));
    let is_member = |s: &&&Sample| targets.get(s.to).is_some_and(|t| t.promise == Promise::Member);
    let written = samples.iter().filter(is_member).filter(|s| wrote(s)).map(|s| s.end());
    Sums { targets: sums.collect(), members_away: away(written, end).0 }
}

fn one(target: &Target, samples: &[&Sample], truth: &Truth<'_>, end: u64) -> Sum {
    let mut sum = Sum {
        name: target.name.clone(),
        promise: target.promise,
        sessions: samples.len(),
        failed: 0,
        misrouted: 0,
        away: 0,
        away_from: 0,
        p50: 0,
        p99: 0,
        reached: BTreeMap::new(),
        errors: BTreeMap::new(),
    };
    let (mut times, mut kept) = (Vec::new(), Vec::new());
    for sample in samples {
        match &sample.came {
            Came::Failed { error } => {
                sum.failed = sum.failed.saturating_add(1);
                count(&mut sum.errors, error);
            }
            Came::Served(brief) => {
                times.push(sample.took);
                count(&mut sum.reached, truth.name(brief.start));
                let wrong = misrouted(target, sample, truth);
                sum.misrouted = sum.misrouted.saturating_add(usize::from(wrong));
                let needs_write = matches!(target.promise, Promise::Write | Promise::Member);
                if !wrong && (!needs_write || brief.wrote) {
                    kept.push(sample.end());
                }
            }
        }
    }
    times.sort_unstable();
    sum.p50 = at(&times, 50);
    sum.p99 = at(&times, 99);
    (sum.away, sum.away_from) = away(kept.into_iter(), end);
    sum
}

fn misrouted(target: &Target, sample: &Sample, truth: &Truth<'_>) -> bool {
    let Came::Served(brief) = &sample.came else { return false };
    match target.promise {
        Promise::Write => brief.in_recovery,
        Promise::Read => !brief.in_recovery && target.readers.iter().any(|m| truth.is_replica(m, sample)),
        Promise::Answer | Promise::Member => false,
    }
}

fn wrote(sample: &Sample) -> bool {
    matches!(&sample.came, Came::Served(b) if b.wrote)
}

/// What members said of themselves, asked directly.
struct Truth<'a> {
    names: BTreeMap<i64, &'a str>,
    said: BTreeMap<&'a str, Vec<Said>>,
}

/// Begin and end of an answer, and whether it was in recovery; `None` where there was no answer.
type Said = (u64, u64, Option<bool>);

impl<'a> Truth<'a> {
    fn new(targets: &'a [Target], samples: &[&Sample]) -> Self {
        let mut truth = Self { names: BTreeMap::new(), said: BTreeMap::new() };
        for sample in samples {
            let Some(target) = targets.get(sample.to).filter(|t| t.promise == Promise::Member) else {
                continue;
            };
            let role = match &sample.came {
                Came::Served(brief) => {
                    truth.names.insert(brief.start, &target.name);
                    Some(brief.in_recovery)
                }
                Came::Failed { .. } => None,
            };
            truth.said.entry(&target.name).or_default().push((sample.at, sample.end(), role));
        }
        truth
    }

    fn name(&self, start: i64) -> &'a str {
        self.names.get(&start).copied().unwrap_or("unknown")
    }

    /// Whether the member was a replica all through a session: its last answer before and its first one after say so.
    fn is_replica(&self, member: &str, sample: &Sample) -> bool {
        let said = self.said.get(member).map(Vec::as_slice).unwrap_or_default();
        let before = said.iter().rev().find(|(_, end, _)| *end <= sample.at);
        let after = said.iter().find(|(at, _, _)| *at >= sample.end());
        // At the ends of a run one neighbour has to do.
        let replica = |one: Option<&Said>| one.map(|(_, _, role)| *role == Some(true));
        match (replica(before), replica(after)) {
            (Some(a), Some(b)) => a && b,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => false,
        }
    }
}

/// The longest time between two moments, the run's beginning and end included, and when it began.
fn away(moments: impl Iterator<Item = u64>, end: u64) -> (u64, u64) {
    let moments: BTreeSet<u64> = moments.chain([end]).collect();
    let mut last = 0;
    let mut longest = (0, 0);
    for moment in moments {
        let gap = moment.saturating_sub(last);
        if gap > longest.0 {
            longest = (gap, last);
        }
        last = moment;
    }
    longest
}

/// The nearest-rank percentile of sorted values.
fn at(sorted: &[u64], percent: usize) -> u64 {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn count(counts: &mut BTreeMap<String, usize>, what: &str) {
    let n = counts.entry(what.to_owned()).or_default();
    *n = n.saturating_add(1);
}
