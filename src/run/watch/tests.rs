//! The loop on a node in memory; what a look finds is tested with `sessions`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::*;
use crate::run::sessions::tests::World;

const WELL: &str = "primary/1:UP:1 primary/2:DOWN:0 replica/2:UP:0";
const SWITCHED: &str = "primary/1:DOWN:0 primary/2:UP:1 replica/1:UP:0 replica/2:DOWN:0";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Watches a node for some seconds: what is said, and what HAProxy is told. `then` is done whenever something is said.
fn watched(w: &World, fix: bool, ends: u64, then: &dyn Fn()) -> (Vec<String>, Vec<String>) {
    let node = w.node();
    w.sys.state().ends = Some(seconds(ends));
    let mut said = Vec::new();
    let wanted = Wanted { clusters: Vec::new(), fix, interval: seconds(1) };
    let mut say = |e: &Event| {
        said.push(e.text());
        then();
    };
    watch(&node, wanted, &mut say).unwrap();
    (said, std::mem::take(&mut w.daemon().told))
}

fn applied(w: &World) {
    kept::request(&w.node(), &World::model()).unwrap();
}

#[test]
fn a_well_node_costs_two_questions_a_look_and_patroni_none() {
    let w = World::new(WELL, &[(0, "0x1@primary/1")], "LFF");
    applied(&w);
    let (said, told) = watched(&w, true, 10, &|| {});
    assert_eq!((w.asked(), told.len()), ((20, 0), 0));
    let wanted =
        ["watching pg, cutting sessions", "pg-primary leads to pg-1", "pg-replica leads to pg-2", "ending"];
    let told: Vec<&str> = said.iter().map(String::as_str).filter(|l| !l.ends_with("nobody")).collect();
    assert_eq!(told, wanted);
}

#[test]
fn an_old_workers_sessions_are_listed_once_and_cut_when_the_role_moves() {
    let w = World::new(SWITCHED, &[(7, "0x2@primary/1")], "FLF");
    applied(&w);
    let (said, told) = watched(&w, true, 1, &|| {});
    assert_eq!(told, ["@!7 shutdown session 0x2"]);
    assert!(said.contains(&"old worker 7: 1 session on pg-1".to_owned()), "{said:?}");
    assert!(
        said.contains(&"pg-primary: 1 session in old worker 7 on pg-1, which is replica now: cut".to_owned()),
        "{said:?}"
    );
}

#[test]
fn without_fix_a_stray_is_said_once_and_nothing_is_cut() {
    let w = World::new(SWITCHED, &[(7, "0x2@primary/1")], "FLF");
    applied(&w);
    let (said, told) = watched(&w, false, 9, &|| {});
    let strays = said.iter().filter(|l| l.ends_with("cut them: pgsvc verify --fix")).count();
    assert_eq!((told.len(), strays), (0, 1), "{said:?}");
    let asked = w.asked().1;
    assert!(asked <= 15, "Patroni is asked now and then only: {asked}");
}

#[test]
fn a_busy_session_of_the_backup_tier_is_cut_after_the_grace_and_an_idle_one_at_once() {
    let view = "replica/2:UP:0 replica-backup/1:UP:2";
    let w = World::new(view, &[(0, "0x1@replica-backup/1")], "LFF");
    applied(&w);
    w.daemon().talk = [(1, (4000, 5000))].into();
    assert_eq!(watched(&w, true, 290, &|| {}).1, [] as [String; 0]);
    w.sys.state().clock = Duration::ZERO;
    let told = watched(&w, true, 303, &|| {}).1;
    assert_eq!(told.first().map(String::as_str), Some("shutdown session 0x1"));
    w.sys.state().clock = Duration::ZERO;
    w.daemon().talk = [(1, (5000, 4000))].into();
    assert_eq!(watched(&w, true, 1, &|| {}).1, ["shutdown session 0x1"]);
}

#[test]
fn nothing_is_cut_while_an_apply_is_between_swap_and_proof() {
    let w = World::new(SWITCHED, &[(7, "0x2@primary/1")], "FLF");
    applied(&w);
    let journal = br#"{"version":1,"phase":"activate","hash":"","extends":false,"entries":[],"dirs":[]}"#;
    let file = crate::host::fake::FakeFile { bytes: journal.to_vec(), ..Default::default() };
    w.sys.put("/var/lib/pgsvc/tx/journal.json", file);
    let lock = w.node().sys.lock(Path::new("/var/lib/pgsvc/lock"), Duration::ZERO).unwrap();
    let (said, told) = watched(&w, true, 5, &|| {});
    let holds = said.iter().filter(|l| l.starts_with("an apply is at work")).count();
    assert_eq!((told.len(), holds), (0, 1), "{said:?}");
    drop(lock);
    w.sys.state().clock = Duration::ZERO;
    assert_eq!(watched(&w, true, 1, &|| {}).1, ["@!7 shutdown session 0x2"], "a dead run holds nobody up");
}

#[test]
fn a_node_without_anything_applied_is_waited_on_quietly() {
    let w = World::new(WELL, &[], "LFF");
    let (said, _) = watched(&w, true, 60, &|| {});
    assert_eq!(said, ["nothing is applied on this node: waiting", "ending"]);
    assert_eq!(w.asked().0, 0);
}

#[test]
fn a_silent_haproxy_is_said_once_and_survived() {
    let mut w = World::new(WELL, &[], "LFF");
    applied(&w);
    w.sys.answers = Box::new(|_, _| Err(std::io::ErrorKind::ConnectionRefused.into()));
    let (said, _) = watched(&w, true, 60, &|| {});
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].starts_with("HAProxy does not answer: "), "{said:?}");
}

#[test]
fn it_ends_for_a_new_binary() {
    let w = World::new(WELL, &[], "LFF");
    let exe = || std::path::PathBuf::from("/proc/self/exe");
    w.sys.state().links.insert(exe(), "/usr/local/lib/pgsvc/pgsvc".into());
    let replaced = || drop(w.sys.state().links.insert(exe(), "/usr/local/lib/pgsvc/pgsvc (deleted)".into()));
    let (said, _) = watched(&w, true, 60, &replaced);
    assert_eq!(
        said.last().map(String::as_str),
        Some("another binary lies here now: ending, so that it can take over")
    );
}

/// A node whose HAProxy loads a service for the primary over two members, both checks told by Patroni.
fn followed(roles: &str) -> World {
    let w = World::new("primary/1:UP:0 primary/2:DOWN:0", &[], roles);
    applied(&w);
    let text = "listen pg-primary\n    load-server-state-from-file global\n    http-check send meth OPTIONS uri /primary\n    \
                http-check expect status 200\n    server pg-1 10.0.0.1:5432 check port 8008\n    \
                server pg-2 10.0.0.2:5432 check port 8008\n";
    let file = crate::host::fake::FakeFile { bytes: text.into(), ..Default::default() };
    w.sys.put("/etc/haproxy/conf.d/pg-primary.cfg", file);
    w
}

fn demoted(w: &World, hangs_up: bool) {
    w.daemon().roles = "FFF".into();
    if hangs_up {
        w.sys.state().hung_up.extend([SocketAddr::from(([10, 0, 0, 1], 5432))]);
    }
}

#[test]
fn a_leader_that_hangs_up_is_asked_at_once_and_taken_down_where_it_leads_no_more() {
    let w = followed("LFF");
    let (said, told) = watched(&w, true, 2, &|| demoted(&w, true));
    assert_eq!(told.first().map(String::as_str), Some("set server pg-primary/pg-1 health down"), "{said:?}");
    assert!(said.contains(&"pg-1: its role changed; down in pg-primary".to_owned()), "{said:?}");
}

#[test]
fn a_leader_that_hangs_up_and_still_leads_is_left_alone_and_asked_no_more_after_a_while() {
    let w = followed("LFF");
    let hang_up = || w.sys.state().hung_up.extend([SocketAddr::from(([10, 0, 0, 1], 5432))]);
    let (_, told) = watched(&w, true, 3, &hang_up);
    let asked = w.asked().1;
    assert!(told.is_empty() && asked > 0, "{told:?}, asked {asked}");
    w.sys.state().clock = Duration::ZERO;
    w.daemon().patroni = 0;
    watched(&w, true, 60, &|| {});
    assert_eq!(w.asked().1, 0);
}

#[test]
fn a_server_that_hangs_up_on_everybody_silent_is_connected_to_less_and_less() {
    let w = followed("LFF");
    w.sys.state().hangs_up.insert(SocketAddr::from(([10, 0, 0, 1], 5432)));
    watched(&w, true, 600, &|| {});
    let asked = w.asked().1;
    assert!((20..=300).contains(&asked), "asked {asked} times in ten minutes");
}

#[test]
fn while_no_check_turns_and_nobody_hangs_up_nobody_is_asked() {
    let w = followed("LFF");
    let (_, told) = watched(&w, true, 5, &|| demoted(&w, false));
    assert_eq!((told.len(), w.asked().1), (0, 0));
}

#[test]
fn a_cluster_without_a_leader_is_asked_once_a_second_and_less_often_after_a_minute() {
    let asked_in = |seconds: u64| {
        let w = followed("FFF");
        w.daemon().view = "primary/1:DOWN:0 primary/2:DOWN:0".into();
        watched(&w, true, seconds, &|| {});
        w.asked().1
    };
    let (minute, two) = (asked_in(60), asked_in(120));
    assert!((110..=130).contains(&minute) && (30..=50).contains(&(two - minute)), "{minute}, {two}");
}

#[test]
fn a_new_leader_is_told_while_a_member_that_is_cut_off_is_still_asked_for_its_sessions() {
    let mut w = followed("-FF");
    w.daemon().view = "primary/1:DOWN:0 primary/2:DOWN:0 replica/1:UP:0".into();
    w.daemon().sessions = [(7, "0x2@primary/1".to_owned())].into();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, daemon) = (Arc::clone(&told), w.shared());
    // The look for sessions waits three seconds for a member, the one for the leader a second at most.
    w.sys.connects = Box::new(move |addr, wait| {
        if addr != SocketAddr::from(([10, 0, 0, 1], 8008)) || wait < seconds(2) {
            return;
        }
        daemon.lock().unwrap().roles = "-LF".into();
        let began = std::time::Instant::now();
        while daemon.lock().unwrap().told.is_empty() && began.elapsed() < seconds(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
        seen.lock().unwrap().extend(daemon.lock().unwrap().told.first().cloned());
    });
    watched(&w, true, 30, &|| {});
    assert_eq!(
        told.lock().unwrap().first().map(String::as_str),
        Some("set server pg-primary/pg-2 health up")
    );
}
