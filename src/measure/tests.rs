//! What counts as misrouted and as away, on samples made by hand: a target for writes, one for reads, two members.

use super::sums::{Sums, sums};
use super::*;
use crate::verify::postgres::More;

const WRITES: usize = 0;
const READS: usize = 1;
const ONE: usize = 2;
const TWO: usize = 3;

fn four() -> Vec<Target> {
    let target = |name: &str, promise, readers: &[&str]| Target {
        name: name.into(),
        addr: ([127, 0, 0, 1], 1).into(),
        promise,
        readers: readers.iter().map(|&r| r.into()).collect(),
        every: Duration::from_millis(10),
    };
    vec![
        target("5433", Promise::Write, &[]),
        target("5434", Promise::Read, &["one", "two"]),
        target("one", Promise::Member, &[]),
        target("two", Promise::Member, &[]),
    ]
}

/// Times in milliseconds; every session takes one.
fn served(to: usize, at: u64, start: i64, in_recovery: bool) -> Sample {
    let wrote = !in_recovery && to != READS;
    Sample {
        to,
        at: at * 1000,
        took: 1000,
        came: Came::Served(Brief { start, in_recovery, wrote, more: None }),
    }
}

fn failed(to: usize, at: u64) -> Sample {
    Sample { to, at: at * 1000, took: 1000, came: Came::Failed { error: "connection refused".into() } }
}

fn of(samples: &[Sample]) -> Sums {
    sums(&four(), samples)
}

#[test]
fn a_write_that_meets_a_replica_is_misrouted_and_an_error_is_not() {
    let s = of(&[served(WRITES, 0, 1, false), served(WRITES, 10, 2, true), failed(WRITES, 20)]);
    let sum = &s.targets[WRITES];
    assert_eq!((sum.sessions, sum.failed, sum.misrouted), (3, 1, 1));
    assert_eq!(sum.errors["connection refused"], 1);
}

#[test]
fn a_read_on_the_primary_is_misrouted_only_while_a_replica_of_its_tier_answers() {
    let read = served(READS, 10, 1, false);
    let with = |before: Sample, after: Sample| of(&[before, read.clone(), after]).targets[READS].misrouted;
    assert_eq!(with(served(TWO, 0, 2, true), served(TWO, 20, 2, true)), 1);
    // It died, or was promoted, in the meantime; or was not there before.
    assert_eq!(with(served(TWO, 0, 2, true), failed(TWO, 20)), 0);
    assert_eq!(with(served(TWO, 0, 2, true), served(TWO, 20, 2, false)), 0);
    assert_eq!(with(failed(TWO, 0), served(TWO, 20, 2, true)), 0);
    // Nobody was asked: nothing is known against the port.
    assert_eq!(of(&[read]).targets[READS].misrouted, 0);
    let replica = served(READS, 10, 2, true);
    assert_eq!(of(&[served(TWO, 0, 2, true), replica]).targets[READS].misrouted, 0);
}

#[test]
fn a_replica_outside_of_the_ports_active_tier_makes_nothing_misrouted() {
    let mut targets = four();
    targets[READS].readers = vec!["one".into()];
    let samples = [served(TWO, 0, 2, true), served(READS, 10, 1, false), served(TWO, 20, 2, true)];
    assert_eq!(sums(&targets, &samples).targets[READS].misrouted, 0);
}

#[test]
fn away_is_the_longest_time_between_two_kept_promises_however_it_was_spent() {
    let base = [served(WRITES, 0, 1, false), served(WRITES, 10, 1, false)];
    let with = |more: &[Sample]| {
        let s = of(&[&base[..], more].concat());
        (s.targets[WRITES].away, s.targets[WRITES].away_from)
    };
    let back = served(WRITES, 100, 2, false);
    // Refused, answered by a replica, answered without a commit, or simply late: all the same to a client.
    assert_eq!(with(&[failed(WRITES, 20), back.clone()]), (90_000, 11_000));
    assert_eq!(with(&[served(WRITES, 20, 2, true), back.clone()]), (90_000, 11_000));
    let mut read_only = served(WRITES, 20, 1, false);
    read_only.came = Came::Served(Brief { start: 1, ..Brief::default() });
    assert_eq!(with(&[read_only, back]), (90_000, 11_000));
    let late = Sample { took: 81_000, ..served(WRITES, 20, 1, false) };
    assert_eq!(with(&[late]), (90_000, 11_000));
    // Never back: until the end of the run.
    assert_eq!(with(&[failed(WRITES, 500)]), (490_000, 11_000));
}

#[test]
fn the_members_share_is_counted_over_all_of_them() {
    let s = of(&[
        served(ONE, 0, 1, false),
        served(ONE, 10, 1, false),
        failed(ONE, 20),
        served(TWO, 20, 2, true),
        served(TWO, 30, 2, false),
        served(WRITES, 60, 2, false),
    ]);
    assert_eq!(s.members_away, 30_000, "from the last write's end at 31 to the run's end at 61");
    assert_eq!(s.targets[WRITES].reached["two"], 1);
}

#[test]
fn percentiles_are_of_sessions_that_got_an_answer() {
    let mut samples: Vec<Sample> =
        (1..=100).map(|n| Sample { took: n * 1000, ..served(WRITES, n, 1, false) }).collect();
    samples.push(Sample { took: 9_000_000, ..failed(WRITES, 101) });
    let sum = of(&samples).targets[WRITES].clone();
    assert_eq!((sum.p50, sum.p99), (50_000, 99_000));
    assert_eq!(sum.reached["unknown"], 100);
}

#[test]
fn a_sample_reads_back_as_it_was_written() {
    let refused = Some("cannot execute INSERT in a read-only transaction (25006)".into());
    let more = More { timeline: Some(3), system: Some("7".into()), id: Some(3_000_000), refused };
    let mut entered = served(WRITES, 3, 5, true);
    entered.came = Came::Served(Brief { start: 5, in_recovery: true, wrote: false, more: Some(more) });
    for sample in [served(WRITES, 3, 5, false), failed(READS, 4), entered] {
        let text = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample, "{text}");
    }
}

#[test]
fn ports_promise_what_their_tiers_do() {
    use crate::inventory::Vars;
    let member = |seq: u64, role: &str| {
        let vars = serde_json::json!({"pg_cluster": "c", "pg_seq": seq, "pg_role": role, "ansible_host": format!("10.0.0.{seq}")});
        (format!("n{seq}"), serde_json::from_value::<Vars>(vars).unwrap())
    };
    let hosts = [member(1, "primary"), member(2, "replica"), member(3, "offline")];
    let refs: Vec<(&str, &Vars)> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = crate::inventory::cluster::build("c", &refs, &Default::default()).unwrap();
    let services = crate::resolve::cluster(&cluster, Default::default()).unwrap();
    let c = ResolvedCluster { cluster, services, proxy: true, duty: None, virtual_servers: Vec::new() };
    let direct = [("c-1".to_owned(), SocketAddr::from(([10, 0, 0, 1], 5432)))];
    let every = Duration::from_millis(50);
    let all = targets(&c, &[], Some([10, 9, 9, 9].into()), &direct, every, every * 2);
    let of = |name: &str| all.iter().find(|t| t.name == name).unwrap();
    assert_eq!((of("5433").promise, of("5433").addr.to_string().as_str()), (Promise::Write, "10.9.9.9:5433"));
    assert_eq!((of("5434").promise, of("5434").readers.join(" ").as_str()), (Promise::Read, "c-1 c-2"));
    assert_eq!((of("c-1").promise, of("c-1").every), (Promise::Member, Duration::from_millis(100)));
    let one = targets(&c, &[5434], None, &[], every, every);
    assert_eq!(one.iter().map(|t| t.addr.to_string()).collect::<Vec<_>>(), ["127.0.0.1:5434"]);
}
