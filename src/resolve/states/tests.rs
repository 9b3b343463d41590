use super::*;

#[test]
fn an_endpoint_answers_by_role_as_patroni_does() {
    let of = |role| MemberState::new(role);
    // Primary, replica, synchronous standby, leader of a standby cluster.
    for (path, codes) in [
        ("/", [200, 503, 503, 503]),
        ("/primary", [200, 503, 503, 503]),
        ("/master", [200, 503, 503, 503]),
        ("/read-write", [200, 503, 503, 503]),
        ("/leader", [200, 503, 503, 200]),
        ("/standby-leader", [503, 503, 503, 200]),
        ("/standby_leader", [503, 503, 503, 200]),
        ("/replica", [503, 200, 200, 503]),
        ("/read-only", [200, 200, 200, 200]),
        ("/health", [200, 200, 200, 200]),
        ("/sync", [503, 503, 200, 503]),
        ("/synchronous", [503, 503, 200, 503]),
        ("/asynchronous", [503, 200, 503, 503]),
        ("/read-only-sync", [200, 503, 200, 200]),
        ("/metrics", [503, 503, 503, 503]),
    ] {
        let all = [Role::Primary, Role::Replica, Role::SyncStandby, Role::StandbyLeader];
        assert_eq!(all.map(|r| of(r).answer(path)), codes, "{path}");
    }
}

#[test]
fn lag_tags_and_a_stopped_server_count_for_standbys_alone() {
    let mut standby = MemberState::new(Role::Replica);
    standby.lag = 16 << 20;
    let mut primary = MemberState::new(Role::Primary);
    primary.lag = 16 << 20;
    for (lag, code) in [("16MB", 200), ("16777215", 503), ("1GB", 200), ("16383kB", 503), ("soon", 200)] {
        let ask = |state: &MemberState, path: &str| state.answer(&format!("{path}?lag={lag}"));
        assert_eq!((ask(&standby, "/replica"), ask(&standby, "/read-only")), (code, code), "{lag}");
        assert_eq!((ask(&primary, "/read-only"), ask(&standby, "/health")), (200, 200));
    }
    assert_eq!(standby.answer("/replica?tag_rack=a"), 503);
    standby.tags.push(("rack".into(), "a".into()));
    assert_eq!((standby.answer("/replica?tag_rack=a"), standby.answer("/replica?tag_rack=b")), (200, 503));
    assert_eq!(primary.answer("/primary?tag_rack=a"), 200);
    standby.noloadbalance = true;
    assert_eq!((standby.answer("/replica"), standby.answer("/read-only")), (503, 503));
    assert_eq!(standby.answer("/health"), 200);
    standby = MemberState { running: false, ..MemberState::new(Role::Replica) };
    assert_eq!((standby.answer("/replica"), standby.answer("/health")), (503, 503));
}

/// The four default services of a primary, two replicas and an offline member.
fn defaults() -> (crate::inventory::cluster::Cluster, Vec<crate::resolve::ResolvedService>) {
    use crate::inventory::cluster::{Overrides, build};
    let one = |(i, role): (usize, &str)| {
        let vars = serde_json::json!({"pg_cluster": "pg-test", "pg_seq": i + 1, "pg_role": role});
        (format!("10.0.0.{}", i + 1), vars.as_object().unwrap().into())
    };
    let hosts: Vec<_> =
        ["primary", "replica", "replica", "offline"].into_iter().enumerate().map(one).collect();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = build("pg-test", &view, &Overrides::default()).unwrap();
    let services = crate::resolve::cluster(&cluster, crate::resolve::RoleSource::Patroni).unwrap();
    (cluster, services)
}

#[test]
fn the_one_that_does_not_serve_says_why() {
    use crate::resolve::Tier;
    let (cluster, mut services) = defaults();
    services[0].guarded = true;
    let lead = |service: usize, words: &str| lead(&services[service], &parse(words, &cluster).unwrap());
    let why = |l: &Lead, member: &str| l.others.iter().find(|(m, _)| m == member).unwrap().1.clone();

    let l = lead(1, "primary=3,down=1,lag:2=64MB,pooler:4=down");
    assert_eq!((l.tier, l.members.as_slice()), (Some(Tier::Active), &["pg-test-2".to_owned()][..]));
    assert_eq!(why(&l, "pg-test-1"), "it is down");
    assert_eq!(why(&l, "pg-test-3"), "Patroni answers 503 to /replica, and 200 is wanted");
    assert_eq!(why(&l, "pg-test-4"), "port 6432 takes no connections");

    let l = lead(1, "api:2+3=down");
    assert_eq!((l.tier, l.members.len()), (Some(Tier::Backup), 2), "{l:?}");
    assert_eq!(why(&l, "pg-test-2"), "Patroni's API does not answer");
    assert_eq!(why(&lead(1, ""), "pg-test-4"), "it is backup, and the active tier serves");

    let l = lead(0, "primary=1+2");
    assert!(l.refused && l.members.is_empty() && l.tier.is_none());
    assert_eq!(why(&l, "pg-test-1"), "it is not the only one that would serve");
    let l = lead(0, "primary=none");
    assert!(!l.refused && l.members.is_empty() && l.others.len() == 4);
}
