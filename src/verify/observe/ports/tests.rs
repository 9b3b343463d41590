use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::Depth;
use super::*;
use crate::host::System;
use crate::host::fake::FakeSystem;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use crate::resolve::{RoleSource, cluster};
use crate::verify::judge::Status;
use crate::verify::observe::look;
use crate::verify::testkit::{Sockets, serve};
use serde_json::{Value, json};

fn pg_test() -> Cluster {
    let vars: Vars =
        json!({"pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary"}).as_object().unwrap().into();
    build("pg-test", &[("127.0.0.1", &vars)], &Overrides { services: None::<Value>, ..Overrides::default() })
        .unwrap()
}

fn looking(sys: &dyn System) -> Look<'_> {
    Look { sys, login: None, remote: None, stats_socket: None, tls: BTreeMap::new() }
}

#[test]
fn an_address_of_another_node_is_not_asked_from_here() {
    let at = |a: &str| a.parse::<SocketAddr>().unwrap();
    let own: [IpAddr; 1] = ["10.0.0.1".parse().unwrap()];
    let here = |remote: Option<IpAddr>, bind| place(remote, remote.is_none().then_some(&own[..]), at(bind));
    let lb = Some("10.0.0.7".parse().unwrap());
    assert_eq!(here(None, "10.0.0.9:1"), Place::Elsewhere(at("10.0.0.9:1")));
    assert_eq!(here(None, "10.0.0.1:1"), Place::Here(at("10.0.0.1:1")));
    assert_eq!(here(None, "127.0.0.2:1"), Place::Here(at("127.0.0.2:1")));
    assert_eq!(here(None, "[::]:1"), Place::Here(at("[::1]:1")));
    assert_eq!(here(lb, "10.0.0.9:1"), Place::Here(at("10.0.0.9:1")));
    assert_eq!(here(lb, "0.0.0.0:1"), Place::Here(at("10.0.0.7:1")));
    assert_eq!(place(None, None, at("10.0.0.9:1")), Place::Here(at("10.0.0.9:1")));
}

#[test]
fn a_port_on_a_virtual_address_that_is_away_is_unproven_unless_it_is_known_to_be_wrong() {
    let (sys, c) = (FakeSystem::default(), pg_test());
    let mut services = cluster(&c, RoleSource::Patroni).unwrap();
    services.retain(|s| s.service == "offline");
    services.iter_mut().for_each(|s| {
        s.binds = vec!["10.0.0.9:5438".parse().unwrap()];
        s.servers.clear();
    });
    let results =
        look(&looking(&sys), &[Target { cluster: &c, services: services.iter().collect() }], Depth::Full)
            .ports;
    let r = results.first().unwrap();
    assert_eq!(r.status, Status::Unproven, "{r:?}");
    assert!(
        r.is_elsewhere()
            && r.notes
                .iter()
                .any(|n| n == "this node does not have 10.0.0.9 now; whoever has it must be asked"),
        "{r:?}"
    );
}

#[test]
fn a_missing_witness_is_named_where_there_should_be_one() {
    let (sys, c) = (FakeSystem::default(), pg_test());
    let services = cluster(&c, RoleSource::Patroni).unwrap();
    let notes = |l: &Look<'_>| -> Vec<bool> {
        let results =
            look(l, &[Target { cluster: &c, services: services.iter().collect() }], Depth::Full).ports;
        results
            .iter()
            .map(|r| r.notes.iter().any(|n| n == "HAProxy's own view is missing (no stats socket)"))
            .collect()
    };
    assert_eq!(notes(&looking(&sys)), [true; 4]);
    assert_eq!(notes(&Look { remote: Some("10.0.0.7".parse().unwrap()), ..looking(&sys) }), [false; 4]);
}

#[test]
fn binds_of_one_service_are_asked_one_after_another() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let port = || {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        serve(move |mut stream| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 64]);
            std::thread::sleep(Duration::from_millis(50));
            now.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let c = pg_test();
    let mut services = cluster(&c, RoleSource::Patroni).unwrap();
    services.truncate(1);
    services[0].binds = vec![port(), port(), port()];
    let results =
        look(&looking(&Sockets), &[Target { cluster: &c, services: services.iter().collect() }], Depth::Full)
            .ports;
    assert_eq!(results.len(), 3);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
