//! A node in memory whose HAProxy holds sessions, and members that say their roles.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use super::*;
use crate::daemon::Paths;
use crate::host::Output;
use crate::host::fake::FakeSystem;
use crate::request;
use crate::run::ports;

/// What HAProxy and the members say, and what HAProxy was told.
#[derive(Default)]
pub struct Daemon {
    /// `backend/server:status:sessions`, of the serving worker; up or down for 99 seconds.
    pub view: String,
    /// Old workers, and of every worker (0: the serving one) the sessions: `id@backend/server`.
    pub sessions: BTreeMap<u32, String>,
    /// Roles of members 1, 2 and 3: `LF-`, `-` for silence.
    pub roles: String,
    pub told: Vec<String>,
    /// How often HAProxy and Patroni were asked.
    pub asked: usize,
    pub patroni: usize,
    /// What `ss` says of the connection of the session with that number: sent, heard.
    pub talk: BTreeMap<u16, (u64, u64)>,
    /// Sessions with that number whose client has gone, and whose member has not heard of it.
    pub closing: BTreeSet<u16>,
}

impl Daemon {
    fn answer(&mut self, path: &Path, line: &str) -> io::Result<Vec<u8>> {
        self.asked += 1;
        let (worker, command) = match line.trim().strip_prefix("@!").and_then(|l| l.split_once(' ')) {
            Some((pid, command)) => (pid.parse().unwrap(), command),
            None => (0, line.trim()),
        };
        let master = path.ends_with("haproxy-master.sock");
        let text = match command {
            "show proc" if master => self.processes(),
            "show stat" if !master => self.stat(),
            "show sess" => self.list(worker, |id, backend, server| {
                format!(
                    "{id}: proto=tcpv4 src=10.9.9.9:1 fe={backend} be={backend} srv={server} age=5s exp=1m\n"
                )
            }),
            "show sess all" => self.list(worker, |id, backend, server| {
                let (n, m) = (id.trim_start_matches("0x"), server.trim_start_matches("pg-"));
                format!(
                    "{id}: [x] id=1 proto=tcpv4\n  backend={backend} (id=1) addr=10.9.9.1:{n}\n  \
                         server={server} (id=1) addr=10.0.0.{m}:5432\n"
                )
            }),
            c if c.contains("shutdown session ") || c.starts_with("set server ") => {
                self.told.push(line.trim().to_owned());
                "\n".into()
            }
            other => panic!("{path:?}: {other}"),
        };
        Ok(text.into_bytes())
    }

    fn processes(&self) -> String {
        let head = "#<PID>          <type>          <reloads>       <uptime>        <version>\n\
                    1 master 1 [failed: 0] 0d00h00m07s 2.6.12\n# workers\n2 worker 0 0d00h00m02s 2.6.12\n# old workers\n";
        let old = self.sessions.keys().filter(|pid| **pid > 0);
        old.fold(head.to_owned(), |text, pid| text + &format!("{pid} worker 1 0d00h00m07s 2.6.12\n"))
    }

    fn stat(&self) -> String {
        let row = |word: &str| {
            let parts: Vec<&str> = word.split([':', '/']).collect();
            let [backend, server, status, sessions] = parts[..] else { panic!("{word}") };
            format!("pg-{backend},pg-{server},{sessions},{status},0,99,2,tcp\n")
        };
        let head = "# pxname,svname,scur,status,bck,lastchg,type,mode\n".to_owned();
        self.view.split_whitespace().fold(head, |text, word| text + &row(word))
    }

    fn list(&self, worker: u32, line: impl Fn(&str, &str, &str) -> String) -> String {
        let all = self.sessions.get(&worker).map(String::as_str).unwrap_or_default();
        let one = |word: &str| {
            let (id, place) = word.split_once('@').unwrap();
            let (backend, server) = place.split_once('/').unwrap();
            line(id, &format!("pg-{backend}"), &format!("pg-{server}"))
        };
        all.split_whitespace().map(one).collect::<String>() + "\n"
    }

    fn patroni(&mut self, addr: SocketAddr) -> io::Result<Vec<u8>> {
        let IpAddr::V4(ip) = addr.ip() else { panic!("{addr}") };
        if addr.port() == 5432 {
            return Ok(Vec::new());
        }
        self.patroni += 1;
        let role = match self.roles.as_bytes().get(usize::from(ip.octets()[3]) - 1) {
            Some(b'L') => "primary",
            Some(b'F') => "replica",
            _ => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let body = json!({"state": "running", "role": role}).to_string();
        Ok(format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    fn ss(&self, argv: &[String]) -> String {
        let line = |n: &u16, (sent, heard): (u64, u64)| {
            format!("0 0 10.9.9.1:{n} 10.0.0.1:5432\n\t bbr lastsnd:{sent} lastrcv:{heard} lastack:{heard}\n")
        };
        match argv.get(3).map(String::as_str) {
            Some("established") => self.talk.iter().map(|(n, talk)| line(n, *talk)).collect(),
            // Of more than one state `ss` says which it is.
            Some("fin-wait-1") => {
                self.closing.iter().map(|n| format!("FIN-WAIT-1 {}", line(n, (9, 9)))).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The node, and its daemon to be looked at and changed by a test.
pub struct World {
    pub sys: FakeSystem,
    daemon: Arc<Mutex<Daemon>>,
}

impl World {
    pub fn new(view: &str, sessions: &[(u32, &str)], roles: &str) -> Self {
        let sessions = sessions.iter().map(|(pid, text)| (*pid, (*text).to_owned())).collect();
        let daemon = Daemon { view: view.into(), sessions, roles: roles.into(), ..Daemon::default() };
        let daemon = Arc::new(Mutex::new(daemon));
        let mut sys = FakeSystem::default();
        let (one, two, three) = (Arc::clone(&daemon), Arc::clone(&daemon), Arc::clone(&daemon));
        sys.answers =
            Box::new(move |path, line| one.lock().unwrap().answer(path, std::str::from_utf8(line).unwrap()));
        sys.peers = Box::new(move |addr| two.lock().unwrap().patroni(addr));
        sys.runs = Box::new(move |c| {
            assert_eq!(c.argv[..3], ["ss", "-tinH", "state"]);
            let stdout = three.lock().unwrap().ss(&c.argv).into_bytes();
            Ok(Output { code: 0, stdout, stderr: Vec::new() })
        });
        for socket in [Paths::default().stats_socket, Paths::default().master_socket] {
            sys.put(&socket.display().to_string(), Default::default());
        }
        Self { sys, daemon }
    }

    /// For what is done by the system's hooks.
    pub fn shared(&self) -> Arc<Mutex<Daemon>> {
        Arc::clone(&self.daemon)
    }

    pub fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap()
    }

    /// How often HAProxy and Patroni were asked.
    pub fn asked(&self) -> (usize, usize) {
        let daemon = self.daemon();
        (daemon.asked, daemon.patroni)
    }

    pub fn node(&self) -> Node<'_> {
        Node { sys: &self.sys, paths: Paths::default(), rooted: false }
    }

    pub fn model() -> Model {
        let member = |(seq, role): (u8, &str)| json!({"inventory_hostname": format!("10.0.0.{seq}"), "pg_cluster": "pg", "pg_seq": seq, "pg_role": role});
        let members: Vec<_> = [(1, "primary"), (2, "replica"), (3, "offline")].map(member).to_vec();
        let args = json!({"members": members});
        request::model(request::from_arguments(args.as_object().unwrap()).unwrap()).unwrap()
    }

    fn fix(&self, all: bool) -> (Vec<String>, Vec<String>) {
        let (node, model) = (self.node(), Self::model());
        let l = ports::look(&node, &model, None).unwrap();
        let cut = fix(&node, &l, &model, all).unwrap();
        (said(&cut), std::mem::take(&mut self.daemon().told))
    }
}

const SWITCHED: &str =
    "primary/1:DOWN:0 primary/2:UP:1 default/1:DOWN:0 default/2:UP:0 replica/1:UP:0 replica/2:DOWN:0";

#[test]
fn fix_cuts_exactly_the_sessions_of_the_member_that_lost_its_role() {
    let w = World::new(
        SWITCHED,
        &[
            (0, "0x1@primary/2"),
            (7, "0x2@primary/1 0x3@default/1 0x4@primary/1 0x5@replica/3"),
            (8, "0x6@primary/2"),
        ],
        "FLF",
    );
    let (said, told) = w.fix(true);
    assert_eq!(told, ["@!7 shutdown session 0x2;@!7 shutdown session 0x3;@!7 shutdown session 0x4"]);
    assert_eq!(
        said,
        [
            "pg-primary: 2 sessions in old worker 7 on pg-1, which is replica now: cut",
            "pg-default: 1 session in old worker 7 on pg-1, which is replica now: cut"
        ]
    );
}

#[test]
fn a_serving_workers_session_is_cut_over_its_own_socket_and_not_by_an_apply() {
    let view = "offline/3:UP:0 offline-backup/2:DOWN:1";
    let w = World::new(view, &[(0, "0x1@offline-backup/2")], "FLF");
    assert_eq!(w.fix(false).1, [] as [String; 0]);
    assert_eq!(w.fix(true).1, ["shutdown session 0x1"]);
}

#[test]
fn nothing_is_cut_on_silence_or_before_haproxy_has_noticed() {
    let w = World::new(SWITCHED, &[(7, "0x2@primary/1")], "-FF");
    assert_eq!(w.fix(true).1, [] as [String; 0], "nobody leads");
    w.daemon().roles = "-LF".into();
    assert_eq!(w.fix(true).1, ["@!7 shutdown session 0x2"], "another one provably leads");
    w.daemon().view = "primary/1:UP:0 primary/2:DOWN:0".into();
    assert_eq!(w.fix(true).1, [] as [String; 0], "it would come back to the same member");
}

#[test]
fn of_a_backup_tier_only_the_idle_are_cut_at_once() {
    let view = "replica/2:UP:0 replica-backup/1:UP:2";
    let w = World::new(view, &[(0, "0x1@replica-backup/1 0x2@replica-backup/1")], "LFF");
    assert_eq!(w.fix(true).1, [] as [String; 0], "nothing is known of who works");
    w.daemon().talk = BTreeMap::from([(1, (5000, 4000)), (2, (4000, 5000))]);
    assert_eq!(w.fix(false).1, [] as [String; 0]);
    assert_eq!(w.fix(true).1, ["shutdown session 0x1"]);
}

#[test]
fn a_session_that_is_closing_towards_a_dead_member_is_no_stray() {
    let w = World::new(SWITCHED, &[(7, "0x2@primary/1 0x3@primary/1"), (0, "0x4@default/1")], "-LF");
    w.daemon().closing = [2, 4].into();
    assert_eq!(w.fix(true).1, ["@!7 shutdown session 0x3"]);
}

#[test]
fn a_node_without_old_workers_and_doubts_is_asked_one_thing() {
    let w = World::new("primary/1:UP:5 replica/2:UP:5 offline/3:UP:1", &[(0, "0x1@primary/1")], "LFF");
    let (node, model) = (w.node(), World::model());
    let l = ports::look(&node, &model, None).unwrap();
    let rows =
        stats::stat(&w.sys, Via::Stats(&node.paths.stats_socket), Deadline::after(&w.sys, ASK)).unwrap();
    w.daemon().asked = 0;
    let found = look(&node, &l, &model, &rows);
    assert!(found.old.is_empty() && found.strays.is_empty());
    assert_eq!(w.asked(), (1, 0));
}

#[test]
fn an_old_worker_is_listed_though_all_its_sessions_are_right() {
    let w = World::new("primary/1:UP:0", &[(7, "0x2@primary/1 0x3@primary/1")], "LFF");
    let (node, model) = (w.node(), World::model());
    let l = ports::look(&node, &model, None).unwrap();
    let rows =
        stats::stat(&w.sys, Via::Stats(&node.paths.stats_socket), Deadline::after(&w.sys, ASK)).unwrap();
    let found = look(&node, &l, &model, &rows);
    let told: Vec<_> =
        found.old.iter().map(|o| (o.pid, o.sessions[0].count, o.sessions[0].server.as_str())).collect();
    assert_eq!((told, found.strays.len(), w.asked().1), (vec![(7, 2, "pg-1")], 0, 0));
}
