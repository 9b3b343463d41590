//! The decision, table-driven: three members (1 and 2 change roles, 3 is offline), the four services, HAProxy's view as
//! `show stat` tells it.

use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use crate::resolve::{RoleSource, cluster};
use crate::verify::stats::parse_stat;
use serde_json::{Value, json};

fn world() -> Vec<ResolvedService> {
    let hosts: Vec<(String, Vars)> = [(1, "primary"), (2, "replica"), (3, "offline")]
        .map(|(seq, role)| {
            let v = json!({"pg_cluster": "pg", "pg_seq": seq, "pg_role": role});
            (format!("10.0.0.{seq}"), v.as_object().unwrap().into())
        })
        .to_vec();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let extra = json!([{"name": "standby", "src_port": 5435, "check_url": "/replica?lag=16MB", "selector": "[]",
        "selector_backup": "[? pg_role == `primary` ]"}]);
    let all: Vec<Value> =
        crate::service::defaults().into_iter().chain(extra.as_array().unwrap().clone()).collect();
    let overrides = Overrides { services: Some(all.into()), ..Overrides::default() };
    cluster(&build("pg", &view, &overrides).unwrap(), RoleSource::Patroni).unwrap()
}

/// `backend/server:status:seconds` words, as rows of one session each.
fn rows(view: &str) -> Vec<ProxyRow> {
    let mut text = "# pxname,svname,scur,status,bck,lastchg,type,mode\n".to_owned();
    for word in view.split_whitespace() {
        let (place, rest) = word.split_once(':').unwrap();
        let (backend, server) = place.split_once('/').unwrap();
        let (status, seconds) = rest.split_once(':').unwrap();
        text.push_str(&format!("pg-{backend},pg-{server},1,{status},0,{seconds},2,tcp\n"));
    }
    parse_stat(&text).unwrap()
}

/// Roles of the members 1, 2 and 3: `LFF`, `?` for unknown.
fn roles(text: &str) -> Roles {
    let role = |c: char| match c {
        'L' => Live::Leads,
        'F' => Live::Follows,
        _ => Live::Unknown,
    };
    let members = text.chars().zip(1..).map(|(c, n)| (format!("pg-{n}"), role(c))).collect();
    Roles::from([("pg".to_owned(), members)])
}

fn held(backend: &str, server: &str) -> Held {
    let session = Session {
        id: "0x1".into(),
        source: String::new(),
        frontend: String::new(),
        backend: format!("pg-{backend}"),
        server: format!("pg-{server}"),
        age: 1,
    };
    Held { worker: Worker::Old(7), session }
}

/// Roles, view, where the session is, and why it goes. `asks` is whether HAProxy's view alone makes it doubtful.
type Case = (&'static str, &'static str, (&'static str, &'static str), Option<Why>);

const LOST: Option<Why> = Some(Why::LostRole);
const BACKUP: Option<Why> = Some(Why::Backup);

#[test]
fn a_session_goes_by_its_members_live_role_alone() {
    let cases: [Case; 24] = [
        // Primary services: whoever does not lead, once HAProxy sends nobody back there.
        ("FLF", "primary/1:DOWN:9 primary/2:UP:2", ("primary", "1"), LOST),
        ("FLF", "primary/1:UP:9 primary/2:UP:2", ("primary", "1"), None),
        ("FLF", "default/1:DOWN:0 default/2:DOWN:2", ("default", "1"), LOST),
        ("LFF", "primary/1:DOWN:99", ("primary", "1"), None),
        ("LFF", "primary/1:UP:99", ("primary", "1"), None),
        // Silence is no role.
        ("?FF", "primary/1:DOWN:99", ("primary", "1"), None),
        ("???", "primary/1:DOWN:99", ("primary", "1"), None),
        // A member that lags, or whose check flaps, keeps its sessions.
        ("LFF", "replica/2:DOWN:99 replica-backup/1:UP:99", ("replica", "2"), None),
        ("LFF", "standby/2:DOWN:99 standby/3:UP:99", ("standby", "2"), None),
        ("LFF", "offline/3:DOWN:99", ("offline", "3"), None),
        // No tier has it in its role now.
        ("FLF", "offline/3:UP:99 offline-backup/2:DOWN:9", ("offline-backup", "2"), LOST),
        ("FLF", "offline/3:DOWN:99 offline-backup/2:DOWN:9", ("offline-backup", "2"), LOST),
        ("F?F", "offline/3:UP:99 offline-backup/2:DOWN:9", ("offline-backup", "2"), None),
        // The check wants a replica, and no primary ever passes it.
        ("FLF", "standby/2:DOWN:9 standby/1:UP:1", ("standby", "2"), LOST),
        // The replicas came back: the backup tier is drained, once they stay.
        ("LFF", "replica/2:UP:10 replica-backup/1:UP:99", ("replica-backup", "1"), BACKUP),
        ("LFF", "replica/2:UP:9 replica-backup/1:UP:99", ("replica-backup", "1"), None),
        ("LFF", "replica/2:DOWN:99 replica-backup/1:UP:99", ("replica-backup", "1"), None),
        ("LFF", "replica/2:UP:99 replica-backup/3:UP:99", ("replica-backup", "3"), BACKUP),
        // After a promotion: the new primary is a backup of the readers, whichever backend they came by.
        ("FLF", "replica/1:UP:10 replica/2:DOWN:9 replica-backup/2:UP:99", ("replica", "2"), BACKUP),
        ("FLF", "replica/1:UP:9 replica/2:DOWN:9 replica-backup/2:UP:99", ("replica", "2"), None),
        // One that came by the backup tier and is active now is right where it is.
        ("FLF", "replica/1:UP:99 replica-backup/1:UP:99", ("replica-backup", "1"), None),
        ("?LF", "replica/2:UP:99 replica-backup/1:UP:99", ("replica-backup", "1"), None),
        // Nobody knows the server or the backend.
        ("FLF", "primary/1:DOWN:9", ("primary", "9"), None),
        ("FLF", "primary/1:DOWN:9", ("primary-check1", "1"), None),
    ];
    let all = world();
    let services: Vec<&ResolvedService> = all.iter().collect();
    for (who, view, (backend, server), why) in cases {
        let (rows, held) = (rows(view), held(backend, server));
        let found = strays(&services, &rows, &roles(who), std::slice::from_ref(&held));
        assert_eq!(found.first().map(|s| s.why), why, "{who} {view} {backend}/{server}");
        // What goes was doubtful before anybody was asked for a role.
        let place = BTreeSet::from([(held.session.backend, held.session.server)]);
        assert!(why.is_none() || !suspects(&services, &rows, &place).is_empty(), "{view}");
    }
}

#[test]
fn nobody_is_asked_while_haproxys_view_shows_nothing_doubtful() {
    let all = world();
    let services: Vec<&ResolvedService> = all.iter().collect();
    let asks = |view: &str| {
        let rows = rows(view);
        !suspects(&services, &rows, &busy_places(&rows)).is_empty()
    };
    assert!(!asks("primary/1:UP:9 replica/2:UP:99 offline/3:UP:1"));
    assert!(!asks("replica-backup/1:UP:99"), "the backup tier serves, as it should");
    assert!(!asks("stranger/1:DOWN:99"), "somebody else's backend");
    assert!(asks("primary/1:DOWN:1"));
    assert!(asks("replica/2:UP:10 replica-backup/1:UP:99"));
}

#[test]
fn a_service_of_the_inventorys_roles_is_drained_by_its_backup_servers() {
    let mut all = world();
    all.retain(|s| s.service == "replica");
    for s in all.iter_mut().flat_map(|s| &mut s.servers) {
        s.as_replica = if s.instance == "pg-2" { Some(Tier::Active) } else { Some(Tier::Backup) };
        s.as_primary = s.as_replica;
    }
    let services: Vec<&ResolvedService> = all.iter().collect();
    let mut view = rows("replica/1:UP:99 replica/2:UP:10");
    view[0].backup = Some(1);
    let why = |view: &[ProxyRow], server| {
        strays(&services, view, &roles("???"), &[held("replica", server)]).first().map(|s| s.why)
    };
    assert_eq!((why(&view, "1"), why(&view, "2")), (BACKUP, None));
    view[1].lastchg = Some(9);
    assert_eq!(why(&view, "1"), None);
}

#[test]
fn sessions_are_counted_by_what_they_have_in_common() {
    let mut two = [held("primary", "1"), held("primary", "1")];
    two[1].session.age = 90;
    for h in &mut two {
        h.session.frontend = "pg-primary".into();
    }
    let process = super::super::stats::Process { pid: 7, reloads: 1, uptime: 100, version: String::new() };
    let told = serde_json::to_value(old_worker(&process, &two)).unwrap();
    let count = json!({"service": "pg-primary", "server": "pg-1", "count": 2, "oldest": 90});
    assert_eq!(told, json!({"pid": 7, "age": 100, "sessions": [count]}));
    let all = world();
    let services: Vec<&ResolvedService> = all.iter().collect();
    let found = strays(&services, &rows("primary/1:DOWN:9"), &roles("FLF"), &two);
    let texts: Vec<String> = groups(&found).iter().map(Group::text).collect();
    assert_eq!(texts, ["2 sessions in old worker 7 on pg-1, which is replica now"]);
}
