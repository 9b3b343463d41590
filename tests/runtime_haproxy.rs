//! Changes of a running HAProxy, planned and carried out on a real one: no worker changes, no session is cut, and a
//! server that comes is led to only when its checks pass.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgsvc::daemon::Paths;
use pgsvc::daemon::haproxy::Haproxy;
use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::plan::{Action, Command, Installed, Plan, RenderedFile, Wanted, plan};
use pgsvc::render::{Layout, Templates};
use pgsvc::transaction::{Failure, Transaction};

/// A member: a port that says its name and keeps the session, and a health endpoint.
struct Member {
    name: &'static str,
    port: SocketAddr,
    health: SocketAddr,
    healthy: Arc<AtomicBool>,
    reached: Arc<AtomicUsize>,
}

fn member(name: &'static str, healthy: bool) -> Member {
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (port, health) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let (healthy, reached) = (Arc::new(AtomicBool::new(healthy)), Arc::new(AtomicUsize::new(0)));
    let (says, count) = (Arc::clone(&healthy), Arc::clone(&reached));
    std::thread::spawn(move || {
        for mut peer in one.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = peer.write_all(name.as_bytes());
                let _ = peer.read(&mut [0; 8]);
            });
        }
    });
    std::thread::spawn(move || {
        for mut peer in two.incoming().flatten() {
            let _ = peer.read(&mut [0; 512]);
            let status = if says.load(Ordering::SeqCst) { "200 OK" } else { "503 No" };
            let _ = peer.write_all(format!("HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    });
    Member { name, port, health, healthy, reached }
}

/// A service's file: each member with its weight.
fn service(bind: SocketAddr, members: &[(&Member, u32)]) -> String {
    let mut text = format!(
        "# Managed by pgsvc: cluster=a service=x\nlisten a-x\n    bind {bind}\n    maxconn 200\n    balance roundrobin\n    \
         option httpchk\n    http-check send meth OPTIONS uri /primary\n    http-check expect status 200\n    default-server \
         inter 100ms fastinter 50ms downinter 100ms rise 3 fall 3 on-marked-down shutdown-sessions maxconn 90\n"
    );
    for (m, weight) in members {
        text += &format!("    server {} {} check port {} weight {weight}\n", m.name, m.port, m.health.port());
    }
    text
}

struct Node {
    sys: RealSystem,
    _dir: tempfile::TempDir,
    paths: Paths,
    bind: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.paths.pidfile).ok().and_then(|t| t.trim().parse().ok());
        if let Some(pid) = pid {
            let _ = self.sys.signal(pid, pgsvc::host::Signal::Term);
        }
    }
}

impl Node {
    /// A node that serves the members.
    fn serving(members: &[(&Member, u32)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = common::paths(dir.path());
        std::fs::create_dir(&paths.conf_d).unwrap();
        let sys = RealSystem::new(None);
        assert!(sys.find("haproxy").is_some(), "these tests need a real haproxy: apt-get install haproxy");
        let bind = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let node = Self { sys, _dir: dir, paths, bind };
        let plan = node.plan(members);
        assert_eq!(plan.action, Action::Start);
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        let all: Vec<&str> = members.iter().map(|(m, _)| m.name).collect();
        within(10, "all members serve", || all.iter().all(|n| node.reaches(30).contains_key(*n)));
        node
    }

    fn haproxy(&self) -> Haproxy<'_> {
        Haproxy::without_systemd(&self.sys, self.paths.clone())
    }

    fn file(&self) -> PathBuf {
        self.paths.conf_d.join("a-x.cfg")
    }

    fn installed(&self) -> Installed {
        common::installed(&self.haproxy(), &self.sys, &self.paths)
    }

    fn plan(&self, members: &[(&Member, u32)]) -> Plan {
        self.plan_of(&service(self.bind, members))
    }

    fn plan_of(&self, text: &str) -> Plan {
        let own = self.sys.whoami();
        let owner = (own.0.to_string(), own.1.to_string());
        let file = |path: PathBuf, content: String, cluster: Option<&str>| RenderedFile {
            path,
            content: content.into(),
            mode: 0o640,
            owner: owner.clone(),
            cluster: cluster.map(str::to_owned),
        };
        let base = format!(
            "# Managed by pgsvc: node\nglobal\n    stats socket {} mode 600 level admin\ndefaults\n    mode tcp\n    \
             timeout connect 1s\n    timeout client 5m\n    timeout server 5m\n    timeout check 1s\n",
            self.paths.stats_socket.display()
        );
        let wanted = Wanted {
            node: Some(file(self.paths.config.clone(), base, None)),
            dropin: None,
            units: Vec::new(),
            services: vec![file(self.file(), text.to_owned(), Some("a"))],
            scope: vec!["a".into()],
            adopt: false,
            nonlocal_binds: false,
        };
        let layout = Layout {
            config: self.paths.config.clone(),
            conf_d: self.paths.conf_d.clone(),
            stats_socket: self.paths.stats_socket.clone(),
            server_state: self.paths.server_state.clone(),
        };
        let templates = Templates::new(&BTreeMap::new()).unwrap();
        let mut plan = plan(wanted, &self.installed(), &layout, &templates, None).unwrap();
        for c in &mut plan.changes {
            c.after.iter_mut().for_each(|f| f.owner = owner.clone());
        }
        plan
    }

    fn install(&self, plan: &Plan) -> Result<(), Failure> {
        let tx = Transaction::begin(&self.sys, &self.paths.state_dir, Duration::from_secs(1)).unwrap();
        tx.install(&self.haproxy(), plan)?.keep().unwrap();
        Ok(())
    }

    fn tell(&self, line: &str) {
        let answer = self.sys.ask_unix(
            &self.paths.stats_socket,
            format!("{line}\n").as_bytes(),
            Duration::from_secs(1),
        );
        assert_eq!(String::from_utf8(answer.unwrap()).unwrap().trim(), "", "{line}");
    }

    fn pid(&self) -> u32 {
        self.haproxy().info().unwrap().pid
    }

    /// A session that stays open, and whom it reached.
    fn session(&self) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.bind).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut name = [0; 2];
        let n = stream.read(&mut name).unwrap_or(0);
        (stream, String::from_utf8_lossy(&name[..n]).into_owned())
    }

    fn reaches(&self, n: usize) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for _ in 0..n {
            *all.entry(self.session().1).or_default() += 1;
        }
        all
    }
}

fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the session still lives: its member keeps it until it hears something.
fn alive(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0; 1]);
    stream.set_nonblocking(false).unwrap();
    matches!(seen, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn weights_and_limits_change_under_a_living_session() {
    let (m1, m2) = (member("m1", true), member("m2", true));
    let node = Node::serving(&[(&m1, 100), (&m2, 100)]);
    let (pid, session) = (node.pid(), node.session());
    let text = service(node.bind, &[(&m1, 100), (&m2, 0)])
        .replace("maxconn 200", "maxconn 77")
        .replace("maxconn 90", "maxconn 33");
    let plan = node.plan_of(&text);
    assert_eq!((&plan.action, plan.commands.len()), (&Action::Runtime, 4), "{}", plan.reason);
    node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!((node.pid(), std::fs::read_to_string(node.file()).unwrap()), (pid, text.clone()));
    assert!(alive(&session.0));
    assert_eq!(node.reaches(10), BTreeMap::from([("m1".to_owned(), 10)]));
    let live = node.haproxy().running().unwrap().live.unwrap();
    assert_eq!((live.listeners["a-x"], live.server("a-x", "m1").unwrap().maxconn), (77, 33));
    let again = node.plan_of(&text);
    assert_eq!((again.action, again.commands.len(), again.hands.len()), (Action::Nothing, 0, 0));
}

#[test]
fn a_member_that_comes_is_led_to_only_when_its_checks_pass() {
    let (m1, m2) = (member("m1", true), member("m2", false));
    let node = Node::serving(&[(&m1, 100)]);
    let (pid, session) = (node.pid(), node.session());
    let (stop, wrong) = (AtomicBool::new(false), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    *wrong.lock().unwrap() += usize::from(node.session().1 != "m1");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        // Several times: the danger is a moment.
        for _ in 0..3 {
            let plan = node.plan(&[(&m1, 100), (&m2, 50)]);
            assert_eq!(plan.action, Action::Runtime, "{}", plan.reason);
            node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
            std::thread::sleep(Duration::from_millis(100));
            let plan = node.plan(&[(&m1, 100)]);
            assert_eq!(plan.action, Action::Runtime, "{}", plan.reason);
            node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!((*wrong.lock().unwrap(), m2.reached.load(Ordering::SeqCst)), (0, 0));
    let both = [(&m1, 100), (&m2, 50)];
    node.install(&node.plan(&both)).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(node.plan(&both).action, Action::Nothing);
    m2.healthy.store(true, Ordering::SeqCst);
    within(5, "the new member serves", || node.reaches(9).contains_key("m2"));
    assert!(node.pid() == pid && alive(&session.0));
    // As it would be after a reload.
    let live = node.haproxy().running().unwrap().live.unwrap();
    let (old, new) = (live.server("a-x", "m1").unwrap(), live.server("a-x", "m2").unwrap());
    assert_eq!((new.weight, new.maxconn, new.port), (50, old.maxconn, m2.port.port()));
}

#[test]
fn a_member_with_sessions_leaves_by_a_reload_and_keeps_them() {
    let (m1, m2) = (member("m1", true), member("m2", true));
    let node = Node::serving(&[(&m1, 100), (&m2, 100)]);
    let sessions: Vec<_> = (0..4).map(|_| node.session()).collect();
    assert!(sessions.iter().any(|s| s.1 == "m2"));
    let pid = node.pid();
    let plan = node.plan(&[(&m1, 100)]);
    assert_eq!(plan.action, Action::Reload);
    assert!(plan.reason.starts_with("m2 leaves a-x with "), "{}", plan.reason);
    // The same hash, and still a new worker.
    assert_eq!(node.haproxy().info().unwrap().description, Some(plan.hash.clone()));
    node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
    assert_ne!(node.pid(), pid);
    assert!(sessions.iter().all(|s| alive(&s.0)));
    assert_eq!(node.plan(&[(&m1, 100)]).action, Action::Nothing);
}

#[test]
fn sessions_that_come_between_plan_and_command_make_it_a_reload() {
    let (m1, m2) = (member("m1", true), member("m2", true));
    let node = Node::serving(&[(&m1, 100), (&m2, 100)]);
    within(5, "no session is left", || node.plan(&[(&m1, 100)]).action == Action::Runtime);
    let plan = node.plan(&[(&m1, 100)]);
    let sessions: Vec<_> = (0..4).map(|_| node.session()).collect();
    let tx = Transaction::begin(&node.sys, &node.paths.state_dir, Duration::from_secs(1)).unwrap();
    let haproxy = node.haproxy();
    let put = tx.install(&haproxy, &plan).unwrap_or_else(|f| panic!("{f}"));
    let proof = put.proof.clone().unwrap();
    assert!(proof.reloaded.is_some_and(|why| why.starts_with("m2 leaves a-x with sessions")));
    put.keep().unwrap();
    assert!(sessions.iter().all(|s| alive(&s.0)));
}

#[test]
fn what_a_hand_set_stays_and_what_it_took_away_comes_back() {
    let (m1, m2, m3) = (member("m1", true), member("m2", true), member("m3", true));
    let all = [(&m1, 100), (&m2, 100), (&m3, 100)];
    let node = Node::serving(&all);
    node.tell("set server a-x/m1 weight 40");
    node.tell("set server a-x/m2 state drain");
    let plan = node.plan(&all);
    assert_eq!(plan.action, Action::Nothing);
    let hands: Vec<String> = plan.hands.iter().map(ToString::to_string).collect();
    let shown = [
        "weight of m1 in a-x is 40 by hand, the files say 100",
        "m2 in a-x is in drain by hand, and stays so",
    ];
    assert_eq!(hands, shown);
    node.install(&node.plan(&[(&m1, 100), (&m2, 100), (&m3, 60)])).unwrap_or_else(|f| panic!("{f}"));
    let live = node.haproxy().running().unwrap().live.unwrap();
    let seen = ["m1", "m2", "m3"].map(|n| live.server("a-x", n).map(|s| (s.weight, s.drain)).unwrap());
    assert_eq!(seen, [(40, false), (100, true), (60, false)]);
}

#[test]
fn a_refused_command_leaves_files_and_worker_as_they_were() {
    let (m1, m2, m3) = (member("m1", true), member("m2", true), member("m3", true));
    let node = Node::serving(&[(&m1, 100), (&m2, 100)]);
    let (pid, before) = (node.pid(), node.installed());
    let mut plan = node.plan(&[(&m1, 10), (&m2, 100), (&m3, 20)]);
    let nobody = Command::Weight { backend: "a-x".into(), server: "nobody".into(), from: 1, to: 2 };
    plan.commands.push(nobody);
    let failure = node.install(&plan).unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("weight of nobody in a-x: 1 → 2: HAProxy refuses it: No such server."), "{text}");
    assert!(
        failure.rolled_back.is_ok() && text.ends_with("the old configuration is back and serves"),
        "{text}"
    );
    let after = node.installed();
    assert_eq!((node.pid(), &after.files), (pid, &before.files));
    let weights = |i: &Installed| {
        i.running
            .clone()
            .unwrap()
            .live
            .unwrap()
            .servers
            .into_iter()
            .map(|(k, s)| (k, s.weight))
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(&after), weights(&before));
}
