use super::sessions::MOST_CONTACTS;
use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use crate::resolve::{Expectation, RoleSource, Server, cluster};
use serde_json::{Value, json};

/// A three-node cluster (1 and 2 change roles, 3 is offline) with its services and what its members say.
struct World {
    services: Vec<ResolvedService>,
    states: Vec<MemberState>,
    checks: Vec<Result<(), String>>,
    targets: Vec<Contact>,
}

fn who(seq: i64, in_recovery: bool) -> Contact {
    Contact::Session(Who { start: seq, system: Some("s".into()), in_recovery })
}

fn member(seq: i64, leader: bool) -> MemberState {
    let role = if leader { "primary" } else { "replica" };
    let api = ApiState {
        role: role.into(),
        leader,
        state: "running".into(),
        system: Some("s".into()),
        ..ApiState::default()
    };
    MemberState { instance: format!("pg-test-{seq}"), api: Ok(api), postgres: who(seq, !leader) }
}

fn world(leader: i64) -> World {
    let hosts: Vec<(String, Vars)> = [(1, "primary"), (2, "replica"), (3, "offline")]
        .map(|(seq, role)| {
            let v = json!({"pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role});
            (format!("10.0.0.{seq}"), v.as_object().unwrap().into())
        })
        .to_vec();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let built =
        build("pg-test", &view, &Overrides { services: None::<Value>, ..Overrides::default() }).unwrap();
    World {
        services: cluster(&built, RoleSource::Patroni).unwrap(),
        states: (1..=3).map(|i| member(i, i == leader)).collect(),
        checks: vec![Ok(()); 3],
        targets: (1..=3).map(|i| who(i, i != leader)).collect(),
    }
}

impl World {
    fn service(&self, name: &str) -> &ResolvedService {
        self.services.iter().find(|s| s.service == name).unwrap()
    }

    /// The service's own check by the leader, unless a test said otherwise.
    fn check(&self, name: &str, i: usize) -> Result<(), String> {
        self.checks[i].clone()?;
        let leads = self.states[i].api.as_ref().is_ok_and(|a| a.leader);
        let passes = match self.service(name).expectation {
            Expectation::Primary => leads,
            Expectation::Replica => !leads,
            _ => true,
        };
        if passes { Ok(()) } else { Err("HTTP status 503".into()) }
    }

    fn judge(&self, name: &str, contacts: Vec<Contact>, views: &[(usize, Tier, bool)]) -> PortResult {
        let view = |(n, tier, up): &(usize, Tier, bool)| {
            (
                *n,
                View {
                    tier: *tier,
                    up: *up,
                    by_hand: false,
                    status: if *up { "UP" } else { "DOWN" }.into(),
                    weight: None,
                },
            )
        };
        self.judge_views(name, contacts, &views.iter().map(view).collect::<Vec<_>>())
    }

    fn judge_views(&self, name: &str, contacts: Vec<Contact>, views: &[(usize, View)]) -> PortResult {
        let service = self.service(name);
        let index = |s: &Server| self.states.iter().position(|m| m.instance == s.instance).unwrap();
        let members = service.servers.iter().map(|server| {
            let i = index(server);
            let view = views.iter().filter(|(n, _)| *n == i + 1).map(|(_, v)| v.clone()).collect();
            Candidate {
                server,
                state: &self.states[i],
                check: self.check(name, i),
                target: self.targets[i].clone(),
                view,
            }
        });
        let members = members.collect();
        let e = Evidence {
            service,
            address: "x".into(),
            members,
            contacts,
            outsiders: vec![("pg-test-9".into(), who(9, true))],
        };
        let mut result = judge(&e);
        judge_empty(&e, &mut result);
        result
    }
}

fn says(r: &PortResult, part: &str) -> bool {
    r.why.iter().chain(&r.notes).any(|w| w.contains(part))
}

#[test]
fn a_port_that_leads_to_every_active_member_is_right() {
    let w = world(1);
    let r = w.judge("primary", vec![who(1, false)], &[(1, Tier::Active, true), (2, Tier::Active, false)]);
    assert_eq!(
        (r.status, r.expected.clone(), r.found.clone()),
        (Status::Ok, vec!["pg-test-1".to_owned()], vec!["pg-test-1 (primary)".to_owned()]),
        "{r:?}"
    );
    assert_eq!(w.judge("replica", vec![who(2, true)], &[]).status, Status::Ok);
    assert_eq!(w.judge("offline", vec![who(3, true)], &[]).status, Status::Ok);
}

#[test]
fn a_write_that_reaches_a_replica_is_wrong() {
    let r = world(1).judge("primary", vec![who(1, false), who(2, true)], &[]);
    assert_eq!(r.status, Status::Wrong);
    assert!(says(&r, "leads to pg-test-2, which is a replica"), "{r:?}");
}

#[test]
fn reads_from_the_primary_while_a_replica_is_well_are_wrong() {
    let r = world(2).judge("replica", vec![who(2, false)], &[]);
    assert!(says(&r, "leads to pg-test-2 (the primary), a backup, while pg-test-1 can serve"), "{r:?}");
    assert!(says(&r, "pg-test-1 was not reached"), "{r:?}");
}

#[test]
fn the_backup_tier_serves_when_the_active_one_is_empty() {
    let mut w = world(1);
    w.targets[1] = Contact::Failed("connection refused".into());
    let r = w.judge("replica", vec![who(1, false), who(3, true)], &[]);
    assert_eq!((r.status, r.tier), (Status::Ok, Some(Tier::Backup)), "{r:?}");
    assert!(says(&r, "pooler on port 6432 is dead, PostgreSQL answers"), "{r:?}");
}

#[test]
fn the_cause_is_told_before_haproxy_has_noticed() {
    let mut w = world(1);
    w.targets[0] = Contact::Failed("connection refused".into());
    let r = w.judge("primary", vec![Contact::Closed], &[(1, Tier::Active, true)]);
    let cause = "pg-test-1: the pooler on port 6432 is dead, PostgreSQL answers (connection refused)";
    assert_eq!(r.status, Status::Wrong);
    assert!(r.why.iter().any(|w| w == cause), "{r:?}");
    assert!(says(&r, &format!("HAProxy has pg-test-1 UP, and it must not serve: {cause}")), "{r:?}");
}

#[test]
fn after_a_switchover_the_same_model_expects_the_new_roles() {
    let w = world(2);
    assert_eq!(w.judge("primary", vec![who(2, false)], &[]).status, Status::Ok);
    assert_eq!(w.judge("replica", vec![who(1, true)], &[]).status, Status::Ok);
    assert_eq!(w.judge("offline", vec![who(3, true)], &[]).status, Status::Ok);
}

#[test]
fn causes_are_told_apart() {
    let mut w = world(1);
    w.states[0].postgres = Contact::Failed("connection refused".into());
    w.targets[0] = Contact::Failed("connection refused".into());
    let r = w.judge("primary", vec![Contact::Closed], &[]);
    assert!(r.status == Status::Wrong && says(&r, "Patroni says primary, but PostgreSQL is dead"), "{r:?}");

    let mut w = world(1);
    w.states[0].api = Err("connection refused".into());
    w.checks[0] = Err("connection refused".into());
    let r = w.judge("primary", vec![Contact::Closed], &[]);
    assert!(r.status == Status::Wrong && says(&r, "API is dead, PostgreSQL answers"), "{r:?}");

    w.states[0].api = Err("speaks TLS, was asked in plain HTTP".into());
    assert!(says(&w.judge("primary", vec![Contact::Closed], &[]), "set patroni_ssl_enabled: true"));

    let w = world(0);
    let r = w.judge("primary", vec![Contact::Closed], &[]);
    assert!(r.status == Status::Wrong && says(&r, "no leader"), "{r:?}");

    let mut w = world(0);
    if let Ok(api) = &mut w.states[0].api {
        api.state = "stopped".into();
    }
    w.states[0].postgres = Contact::Failed("connection refused".into());
    w.targets[0] = Contact::Failed("connection refused".into());
    let r = w.judge("primary", vec![Contact::Closed], &[]);
    assert!(
        says(&r, "no leader") && says(&r, "pg-test-1: Patroni says it is stopped (connection refused)"),
        "{r:?}"
    );

    let mut w = world(1);
    w.targets[0] = Contact::Full("53300: too many connections".into());
    let r = w.judge("primary", vec![Contact::Full("53300".into())], &[]);
    assert!(r.status == Status::Wrong && says(&r, "full"), "{r:?}");

    let mut w = world(1);
    if let Ok(api) = &mut w.states[1].api {
        api.stale = Some("timeline 1, leader 2".into());
    }
    let r = w.judge("replica", vec![who(2, true)], &[]);
    assert!(r.status == Status::Ok && says(&r, "pg-test-2: stale replica"), "{r:?}");

    let mut w = world(1);
    w.states[1] = member(2, true);
    assert!(says(&w.judge("primary", vec![who(1, false)], &[]), "two primaries: pg-test-1 and pg-test-2"));
}

#[test]
fn strangers_are_named() {
    let w = world(1);
    assert!(says(
        &w.judge("offline", vec![who(3, true), who(9, true)], &[]),
        "pg-test-9, which is not a member"
    ));
    let foreign = Contact::Session(Who { start: 5, system: Some("other".into()), in_recovery: false });
    assert!(says(&w.judge("primary", vec![foreign], &[]), "foreign cluster (system identifier other)"));
}

#[test]
fn a_view_that_contradicts_the_members_is_wrong() {
    let w = world(1);
    let r = w.judge("primary", vec![who(1, false)], &[(1, Tier::Active, true), (2, Tier::Active, true)]);
    assert!(
        r.status == Status::Wrong && says(&r, "HAProxy has pg-test-2 UP, and it must not serve"),
        "{r:?}"
    );
    let r = w.judge("primary", vec![who(1, false)], &[(1, Tier::Active, false)]);
    assert!(says(&r, "HAProxy has pg-test-1 DOWN, and it is well"), "{r:?}");
    let backups_up =
        [(1, Tier::Backup, true), (2, Tier::Backup, true), (3, Tier::Backup, true), (2, Tier::Active, true)];
    assert_eq!(w.judge("replica", vec![who(2, true)], &backups_up).status, Status::Ok);
}

#[test]
fn without_credentials_a_port_is_called_unproven_and_a_refused_login_proves_nothing() {
    let w = world(1);
    assert_eq!(w.judge("primary", vec![Contact::Handshake], &[]).status, Status::Unproven);
    assert_eq!(w.judge("primary", vec![Contact::Login("28P01".into())], &[]).status, Status::Wrong);
}

#[test]
fn nobody_serving_is_right_only_where_nobody_is_meant_to() {
    let mut w = world(1);
    w.states.truncate(1);
    w.services.iter_mut().for_each(|s| s.servers.retain(|m| m.instance == "pg-test-1"));
    let r = w.judge("offline", vec![Contact::Closed], &[]);
    assert_eq!(r.status, Status::Empty, "{r:?}");
    let mut w = world(0);
    for s in &mut w.states {
        if let Ok(api) = &mut s.api {
            api.standby_cluster = true;
        }
    }
    assert_eq!(w.judge("primary", vec![Contact::Closed], &[]).status, Status::Empty);
    let mut w = world(1);
    w.targets[2] = Contact::Failed("refused".into());
    w.targets[1] = Contact::Failed("refused".into());
    assert_eq!(w.judge("offline", vec![Contact::Closed], &[]).status, Status::Wrong);
}

#[test]
fn an_answer_where_nobody_is_to_serve_is_wrong_without_a_login_too() {
    let mut w = world(1);
    w.states.truncate(1);
    w.services.iter_mut().for_each(|s| s.servers.retain(|m| m.instance == "pg-test-1"));
    let r = w.judge("offline", vec![Contact::Handshake], &[]);
    assert!(r.status == Status::Wrong && says(&r, "no member is to serve"), "{r:?}");
}

#[test]
fn a_member_of_little_weight_is_given_the_time_its_turn_takes() {
    let mut w = world(1);
    w.targets[1] = Contact::Failed("connection refused".into());
    let weigh = |w: &mut World, weight: u16| {
        let servers = w.services.iter_mut().flat_map(|s| &mut s.servers);
        servers.filter(|m| m.instance == "pg-test-3").for_each(|m| m.weight = weight);
    };
    weigh(&mut w, 10);
    let backups: Vec<&Server> =
        w.service("replica").servers.iter().filter(|m| m.instance != "pg-test-2").collect();
    assert_eq!((enough(&backups), enough(&backups[..1])), (24, 5));
    assert_eq!(w.judge("replica", vec![who(1, false); 11], &[]).status, Status::Wrong);
    weigh(&mut w, 1);
    let r = w.judge("replica", vec![who(1, false); MOST_CONTACTS - 28], &[]);
    assert!(r.status == Status::Ok && says(&r, "its weight is 1 of 101"), "{r:?}");
}

#[test]
fn a_drained_member_that_the_backup_tier_still_has_is_explained() {
    let w = world(1);
    let view =
        |tier, up, by_hand, status: &str| View { tier, up, by_hand, status: status.into(), weight: None };
    let drained = (2, view(Tier::Active, false, true, "DRAIN"));
    let others = [1, 3].map(|n| (n, view(Tier::Backup, true, false, "UP")));
    let mut views = vec![drained.clone(), (2, view(Tier::Backup, true, false, "UP"))];
    views.extend(others.clone());
    let r = w.judge_views("replica", vec![who(1, false), who(2, true), who(3, true)], &views);
    let text =
        "pg-test-2 (a replica), taken out by hand of the active tier, but the backup tier still has it";
    assert!(
        r.status == Status::Wrong && says(&r, text) && says(&r, "pg-test-2 is taken out by hand (DRAIN)"),
        "{r:?}"
    );
    assert!(!says(&r, "health check") && !says(&r, "must not serve"), "{r:?}");
    assert_eq!(r.expected, ["pg-test-1", "pg-test-3"]);
    // Drained in both tiers, it is out.
    views = vec![drained, (2, view(Tier::Backup, false, true, "DRAIN"))];
    views.extend(others);
    let r = w.judge_views("replica", vec![who(1, false), who(3, true)], &views);
    assert_eq!(r.status, Status::Ok, "{r:?}");
}

#[test]
fn a_weight_set_by_hand_is_shown_and_is_nothing_wrong() {
    let w = world(1);
    let view = |weight| View { tier: Tier::Active, up: true, by_hand: false, status: "UP".into(), weight };
    let backups = [1, 3].map(|n| (n, View { tier: Tier::Backup, ..view(None) }));
    let mut views = vec![(2, view(Some(40)))];
    views.extend(backups);
    let r = w.judge_views("replica", vec![who(2, true)], &views);
    assert_eq!(r.status, Status::Ok, "{r:?}");
    assert!(says(&r, "pg-test-2 has the weight 40, and 100 is wanted"), "{r:?}");
}
