//! Answers as releases give them, and as nobody should.

use super::*;
use crate::verify::testkit::{Sockets, answer, refusing, serve, soon};
use std::io::{Read, Write};
use std::time::Duration;

const PRIMARY_4: &str = r#"{"state": "running", "postmaster_start_time": "2024-08-28 19:39:26.352526+00:00",
 "role": "primary", "server_version": 160004, "xlog": {"location": 67395656}, "timeline": 1,
 "replication": [{"usename": "replicator", "application_name": "patroni2", "client_addr": "10.89.0.6",
 "state": "streaming", "sync_state": "async", "sync_priority": 0}], "dcs_last_seen": 1692356718,
 "tags": {"clonefrom": true, "noloadbalance": "on"}, "database_system_identifier": "7268616322854375442",
 "pending_restart": true, "patroni": {"version": "4.0.0", "scope": "demo", "name": "patroni1"}}"#;
const REPLICA_2: &str = r#"{"state":"running","postmaster_start_time":"2021-03-02 09:00:01.5+01:00","role":"replica",
 "server_version":120006,"cluster_unlocked":false,"xlog":{"received_location":100,"replayed_location":90,
 "replayed_timestamp":null,"paused":false},"timeline":7,"pause":true,
 "database_system_identifier":6934840483012345678,"patroni":{"version":"2.0.2","scope":"pg-test"}}"#;

fn json(body: &str) -> SocketAddr {
    answer(format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}"))
}

fn api(addr: SocketAddr) -> Api {
    Api { addr, host: "pg-test-1".to_owned(), tls: None }
}

fn ask(addr: SocketAddr) -> Result<MemberHealth, ProbeError> {
    probe(&Sockets, &api(addr), soon(2000))
}

#[test]
fn a_member_is_read_whatever_its_release() {
    let primary = ask(json(PRIMARY_4)).unwrap();
    assert_eq!(primary.role, Some(Role::Primary));
    assert!(
        primary.is_running() && primary.pending_restart && !primary.pause && !primary.in_standby_cluster()
    );
    assert_eq!(primary.postmaster_start, Some(StartTime::exact(1_724_873_966_352_526)));
    assert_eq!(primary.xlog.location, Some(67_395_656));
    assert!(primary.tags.noloadbalance && primary.tags.clonefrom && !primary.tags.nofailover);
    assert_eq!((primary.timeline, primary.server_version), (Some(1), Some(160_004)));
    assert_eq!(primary.dcs_last_seen, Some(1_692_356_718));
    assert_eq!(primary.system_identifier.as_deref(), Some("7268616322854375442"));
    assert_eq!(
        (primary.version.as_deref(), primary.scope.as_deref(), primary.name.as_deref()),
        (Some("4.0.0"), Some("demo"), Some("patroni1"))
    );

    let replica = ask(json(REPLICA_2)).unwrap();
    assert_eq!(replica.role, Some(Role::Replica));
    assert_eq!((replica.xlog.received, replica.xlog.replayed), (Some(100), Some(90)));
    assert!(replica.pause && !replica.cluster_unlocked);
    assert_eq!(replica.system_identifier.as_deref(), Some("6934840483012345678"));
    assert_eq!((replica.name, replica.dcs_last_seen, replica.replication_state), (None, None, None));

    let old =
        ask(json(r#"{"role": "master", "postmaster_start_time": "2019-09-24 08:05:32.445 UTC"}"#)).unwrap();
    assert_eq!(old.role.unwrap().in_recovery(), Some(false));
    assert_eq!(old.postmaster_start.unwrap().resolution, 1000);
    let standby =
        ask(json(r#"{"state":"running","role":"standby_leader","replication_state":"streaming"}"#)).unwrap();
    assert!(standby.in_standby_cluster());
    assert_eq!(standby.role.unwrap().in_recovery(), Some(true));
}

#[test]
fn a_stopped_primary_without_the_lock_does_not_lead() {
    let stopped = r#"{"state": "stopped", "role": "master", "cluster_unlocked": true, "pause": true,
        "patroni": {"version": "3.0.2", "scope": "pg-test"}}"#;
    assert!(!ask(json(stopped)).unwrap().leads());
    assert!(ask(json(PRIMARY_4)).unwrap().leads());
    assert!(!ask(json(REPLICA_2)).unwrap().leads());
    let failsafe = r#"{"state": "running", "role": "primary", "cluster_unlocked": true, "failsafe_mode_is_active": true}"#;
    assert!(ask(json(failsafe)).unwrap().leads());
}

#[test]
fn wrong_types_and_missing_fields_are_no_error() {
    let odd = r#"{"state":7,"role":["x"],"timeline":"3","xlog":"none","tags":[1],"patroni":"2","server_version":-1}"#;
    let odd = ask(json(odd)).unwrap();
    assert_eq!((odd.role, odd.timeline, odd.server_version, odd.scope), (None, Some(3), None, None));
    assert_eq!(ask(json("{}")).unwrap(), MemberHealth::default());
    assert_eq!(ask(json(r#"{"role":"demoted"}"#)).unwrap().role.unwrap().name(), "demoted");
}

#[test]
fn what_is_no_answer_is_told_apart() {
    assert!(matches!(ask(json("<html>")), Err(ProbeError::BadJson(_))));
    assert!(matches!(ask(json("[]")), Err(ProbeError::BadJson(_))));
    assert!(matches!(ask(json(&"[".repeat(100_000))), Err(ProbeError::BadJson(_))), "deep nesting");
    assert!(matches!(ask(answer("SSH-2.0\r\n")), Err(ProbeError::NotHttp(_))));
    assert_eq!(ask(answer("HTTP/1.0 503 No\r\n\r\n{}")), Err(ProbeError::Status { got: 503, wanted: 200 }));
    assert_eq!(ask(answer("")), Err(ProbeError::Closed));
    assert_eq!(ask(refusing()), Err(ProbeError::Refused));
}

#[test]
fn a_check_asks_as_the_load_balancer_does() {
    let addr = serve(|mut stream| {
        let mut seen = [0; 500];
        let n = stream.read(&mut seen).unwrap();
        let good = seen[..n].starts_with(b"OPTIONS /read-only?lag=1MB HTTP/1.1\r\n");
        let _ = stream.write_all(if good { b"HTTP/1.0 200 OK\r\n\r\n" } else { b"HTTP/1.0 503 No\r\n\r\n" });
    });
    let asked = |method, path, code| check(&Sockets, &api(addr), method, path, code, soon(2000));
    assert_eq!(asked("OPTIONS", "/read-only?lag=1MB", 200), Ok(()));
    assert_eq!(asked("GET", "/replica", 200), Err(ProbeError::Status { got: 503, wanted: 200 }));
    assert_eq!(asked("GET", "/replica", 503), Ok(()));
}

#[test]
fn a_wrong_scheme_is_named() {
    // As Python's plain server does on a ClientHello, and properly otherwise.
    let plain = serve(|mut stream| {
        let mut seen = [0; 2000];
        let n = stream.read(&mut seen).unwrap();
        let good = seen[..n].starts_with(b"GET ");
        let _ = stream.write_all(if good { b"HTTP/1.0 503 No\r\n\r\n" } else { b"<!DOCTYPE HTML PUBLIC>" });
    });
    let over_tls = Api { tls: Some(TlsConfig::insecure(None).unwrap()), ..api(plain) };
    assert_eq!(probe(&Sockets, &over_tls, soon(2000)), Err(ProbeError::SpeaksPlainHttp));
    let garbage = Api { tls: Some(TlsConfig::insecure(None).unwrap()), ..api(answer("nonsense")) };
    assert_eq!(probe(&Sockets, &garbage, soon(2000)), Err(ProbeError::NoTls));
    // A TLS server that drops what is no ClientHello, and alerts otherwise.
    let tls = serve(|mut stream| {
        let mut seen = [0; 2000];
        let n = stream.read(&mut seen).unwrap();
        if seen[..n].starts_with(&[0x16, 3]) {
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(ask(tls), Err(ProbeError::SpeaksTls));
}

#[test]
fn the_cluster_is_read_with_lags_and_leaders() {
    let body = r#"{"members": [
      {"name": "pg-3", "role": "replica", "state": "streaming", "api_url": "http://10.0.0.3:8008/patroni",
       "host": "10.0.0.3", "port": 5432, "timeline": 2, "tags": {"nofailover": true}, "lag": 42},
      {"name": "pg-1", "role": "leader", "state": "running", "host": "10.0.0.1", "port": "5432", "timeline": 2},
      {"name": "pg-2", "role": "sync_standby", "state": "stopped", "host": "10.0.0.2", "port": 70000,
       "lag": "unknown"}, {"role": "nameless"}, 7], "scope": "pg-test", "pause": true}"#;
    let view = cluster(&Sockets, &api(json(body)), soon(2000)).unwrap();
    let names: Vec<_> = view.members.iter().map(|m| (m.name.as_str(), m.port, m.lag)).collect();
    assert_eq!(
        names,
        [
            ("pg-1", Some(5432), None),
            ("pg-2", None, Some(Lag::Unknown)),
            ("pg-3", Some(5432), Some(Lag::Bytes(42))),
        ]
    );
    assert_eq!(view.leader().unwrap().name, "pg-1");
    assert!(view.pause && !view.is_standby_cluster());
    let standby = ClusterView::parse(br#"{"members":[{"name":"a","role":"standby_leader"}]}"#).unwrap();
    assert!(standby.is_standby_cluster() && standby.leader().is_some());
    assert!(matches!(ClusterView::parse(b"{}"), Err(ProbeError::BadJson(_))));
}

#[test]
fn an_answer_of_very_many_values_is_refused_before_it_is_built() {
    let members = |n: usize| format!(r#"{{"members":[{{"name":"a"}}{}]}}"#, r#",{"name":"b"}"#.repeat(n));
    assert_eq!(ClusterView::parse(members(5000).as_bytes()).unwrap().members.len(), 5001);
    let said = ClusterView::parse(members(50_000).as_bytes()).unwrap_err().to_string();
    assert_eq!(said, "bad JSON: more than 20000 values");
}

#[test]
fn a_member_that_is_being_promoted_takes_no_writes_yet_though_its_check_passes() {
    let takes = |addr| takes_writes(&Sockets, &api(addr), "/primary", soon(2000));
    assert!(takes(json(PRIMARY_4)).unwrap());
    assert!(!takes(json(REPLICA_2)).unwrap(), "Patroni passes whoever has the lock");
    assert!(takes(json("")).unwrap(), "another program's answer counts by its status");
    let away = answer("HTTP/1.0 503 X\r\n\r\n");
    assert!(matches!(takes(away), Err(ProbeError::Status { got: 503, wanted: 200 })));
}
