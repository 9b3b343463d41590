//! Transactions on a real HAProxy as a master process, without systemd, on this machine's loopback.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgsvc::daemon::Paths;
use pgsvc::daemon::haproxy::{Haproxy, State};
use pgsvc::daemon::systemd::dropin;
use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::plan::{Action, FileChange, InstalledFile, Plan, RenderedFile};
use pgsvc::transaction::{Failure, Installed, Transaction};

struct Node {
    sys: RealSystem,
    dir: tempfile::TempDir,
    paths: Paths,
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.paths.pidfile).ok().and_then(|t| t.trim().parse().ok());
        if let Some(pid) = pid {
            let _ = self.sys.signal(pid, pgsvc::host::Signal::Term);
        }
    }
}

/// A port that is free now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that says its name.
fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let _ = peer.write_all(name.as_bytes());
        }
    });
    addr
}

fn ask(addr: SocketAddr) -> String {
    let mut text = String::new();
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(3));
    let _ = stream.map(|mut s| s.read_to_string(&mut text));
    text
}

fn listen(name: &str, bind: SocketAddr, to: SocketAddr) -> String {
    format!("listen {name}\n    bind {bind}\n    server s {to}\n")
}

fn keep(installed: Result<Installed<'_>, Failure>) {
    installed.unwrap_or_else(|f| panic!("{f}")).keep().unwrap();
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = common::paths(dir.path());
        std::fs::create_dir(&paths.conf_d).unwrap();
        let sys = RealSystem::new(None);
        assert!(sys.find("haproxy").is_some(), "these tests need a real haproxy: apt-get install haproxy");
        Self { sys, dir, paths }
    }

    fn haproxy(&self) -> Haproxy<'_> {
        Haproxy::without_systemd(&self.sys, self.paths.clone())
    }

    fn base(&self, hash: &str) -> String {
        let socket = self.paths.stats_socket.display();
        format!(
            "global\n    stats socket {socket} mode 600 level admin\n    description {hash}\n\
             defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n"
        )
    }

    fn installed(&self, path: &Path) -> Option<InstalledFile> {
        let stat = self.sys.stat(path).unwrap()?;
        let content = self.sys.read(path).unwrap();
        Some(InstalledFile { content: content.into(), mode: stat.mode, uid: stat.uid, gid: stat.gid })
    }

    /// What the planner would say of these services: name and configuration.
    fn plan(
        &self,
        hash: &str,
        services: &[(&str, String)],
        new_binds: &[SocketAddr],
        action: Action,
    ) -> Plan {
        let mut wanted: BTreeMap<PathBuf, String> = services
            .iter()
            .map(|(n, text)| (self.paths.conf_d.join(format!("{n}.cfg")), text.clone()))
            .collect();
        wanted.insert(self.paths.config.clone(), self.base(hash));
        let candidate = wanted.iter().map(|(p, t)| (p.clone(), t.clone().into_bytes().into())).collect();
        let here = self.sys.list(&self.paths.conf_d).unwrap().into_iter().map(|n| self.paths.conf_d.join(n));
        let mut paths: Vec<PathBuf> = here.chain(wanted.keys().cloned()).collect();
        paths.sort();
        paths.dedup();
        let owner = self.sys.whoami();
        let rendered = |path: &Path| {
            let content = wanted.get(path)?.clone();
            let owner = (owner.0.to_string(), owner.1.to_string());
            Some(RenderedFile {
                path: path.to_owned(),
                content: content.into(),
                mode: 0o640,
                owner,
                cluster: None,
            })
        };
        let change = |path: PathBuf| {
            let (before, after) = (self.installed(&path), rendered(&path));
            let same = before.as_ref().map(|b| (&b.content[..], b.mode))
                == after.as_ref().map(|a| (a.content.as_bytes(), a.mode));
            (!same).then_some(FileChange { path, before, after })
        };
        Plan {
            changes: paths.into_iter().filter_map(change).collect(),
            action,
            reason: "a test".into(),
            hash: hash.into(),
            whole: None,
            candidate,
            new_binds: new_binds.to_vec(),
            nonlocal_binds: false,
            commands: Vec::new(),
            hands: Vec::new(),
            daemon_reload: false,
        }
    }

    fn begin(&self) -> Transaction<'_> {
        Transaction::begin(&self.sys, &self.paths.state_dir, Duration::from_secs(1)).unwrap()
    }

    /// A node that starts to serve `to` as service `a`.
    fn serving(&self, bind: SocketAddr, to: SocketAddr) -> Vec<(&'static str, String)> {
        let services = vec![("a", listen("a", bind, to))];
        keep(self.begin().install(&self.haproxy(), &self.plan("hash-1", &services, &[bind], Action::Start)));
        services
    }

    /// Every byte of the configuration.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::from([("cfg".to_owned(), std::fs::read(&self.paths.config).unwrap())]);
        for name in self.sys.list(&self.paths.conf_d).unwrap() {
            let bytes = std::fs::read(self.paths.conf_d.join(&name)).unwrap();
            all.insert(name, bytes);
        }
        all
    }
}

#[test]
fn a_start_a_reload_and_an_undo_are_proven() {
    let node = Node::new();
    let (bind, second) = (free_port(), free_port());
    let (one, two) = (server("one"), server("two"));
    assert_eq!(node.haproxy().running().unwrap().state, State::None);
    let mut services = node.serving(bind, one);
    assert_eq!(ask(bind), "one");
    let running = node.haproxy().running().unwrap();
    assert_eq!((running.state, running.hash.as_deref()), (State::Running, Some("hash-1")));
    assert!(running.has_conf_d && running.has_master_socket && !running.by_systemd, "{running:?}");
    assert!(running.listeners.contains(&bind), "{running:?}");

    services.push(("b", listen("b", second, two)));
    let before = node.files();
    let plan = node.plan("hash-2", &services, &[second], Action::Reload);
    let tx = node.begin();
    let installed = tx.install(&node.haproxy(), &plan).unwrap_or_else(|f| panic!("{f}"));
    let proof = installed.proof.clone().unwrap();
    assert!(proof.pid.is_some() && proof.pid != running.pid && proof.hash == "hash-2", "{proof:?}");
    assert_eq!((ask(bind).as_str(), ask(second).as_str()), ("one", "two"));
    // A verification that fails.
    installed.undo(&node.haproxy()).unwrap();
    assert_eq!(node.files(), before);
    assert_eq!(node.haproxy().info().unwrap().description.as_deref(), Some("hash-1"));
    assert_eq!((ask(bind).as_str(), ask(second).as_str()), ("one", ""));
    drop(tx);

    // And once more, to stay; the second run does nothing.
    keep(node.begin().install(&node.haproxy(), &plan));
    let again = node.plan("hash-2", &services, &[], Action::Nothing);
    assert!(again.is_empty(), "{again:?}");
    let pid = node.haproxy().info().unwrap().pid;
    let tx = node.begin();
    let nothing = tx.install(&node.haproxy(), &again).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(nothing.proof, None);
    nothing.keep().unwrap();
    assert_eq!(node.haproxy().info().unwrap().pid, pid);
}

#[test]
fn a_configuration_that_haproxy_refuses_touches_nothing() {
    let node = Node::new();
    let bind = free_port();
    let mut services = node.serving(bind, server("one"));
    let (before, info) = (node.files(), node.haproxy().info().unwrap());
    services.push(("b", "listen b\n    bind 127.0.0.1:1\n    blance roundrobin\n".to_owned()));
    let plan = node.plan("hash-2", &services, &[], Action::Reload);
    let failure = node.begin().install(&node.haproxy(), &plan).err().unwrap();
    let real = node.paths.conf_d.join("b.cfg");
    let text = failure.to_string();
    assert!(text.starts_with(&format!("{}:3: unknown keyword 'blance'", real.display())), "{text}");
    assert!(!text.contains("/stage/") && text.ends_with("nothing was changed"), "{text}");
    assert_eq!((node.files(), node.haproxy().info().unwrap()), (before, info));
    assert_eq!(ask(bind), "one");
}

#[test]
fn a_taken_port_is_named_before_anything_is_touched() {
    let node = Node::new();
    let bind = free_port();
    let mut services = node.serving(bind, server("one"));
    let (before, info) = (node.files(), node.haproxy().info().unwrap());
    let holder = server("holder");
    services.push(("b", listen("b", holder, bind)));
    let plan = node.plan("hash-2", &services, &[holder, "192.0.2.9:5433".parse().unwrap()], Action::Reload);
    let failure = node.begin().install(&node.haproxy(), &plan).err().unwrap();
    let text = failure.to_string();
    let who = format!("port {} on 127.0.0.1: is taken by", holder.port());
    assert!(text.contains(&who) && text.contains(&format!("(process {})", std::process::id())), "{text}");
    assert!(text.contains("the address 192.0.2.9 is not on this node"), "{text}");
    assert!(!failure.touched);
    assert_eq!((node.files(), node.haproxy().info().unwrap()), (before, info));
}

#[test]
fn a_reload_that_fails_is_noticed_and_rolled_back() {
    let node = Node::new();
    let bind = free_port();
    let mut services = node.serving(bind, server("one"));
    let before = node.files();
    let holder = server("holder");
    services.push(("b", listen("b", holder, bind)));
    // As if taken between the look and the reload: the plan does not name it.
    let plan = node.plan("hash-2", &services, &[], Action::Reload);
    let start = Instant::now();
    let failure = node.begin().install(&node.haproxy(), &plan).err().unwrap();
    let text = failure.to_string();
    assert!(failure.touched && failure.rolled_back.is_ok(), "{text}");
    assert!(text.contains("still serves"), "{text}");
    // Seen by the master's count, not by the deadline.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(node.files(), before);
    assert_eq!(node.haproxy().info().unwrap().description.as_deref(), Some("hash-1"));
    assert_eq!((ask(bind).as_str(), ask(holder).as_str()), ("one", "holder"));
    // The next one works.
    let second = free_port();
    services.pop();
    services.push(("b", listen("b", second, server("two"))));
    keep(node.begin().install(&node.haproxy(), &node.plan("hash-3", &services, &[second], Action::Reload)));
    assert_eq!(ask(second), "two");
}

#[test]
fn a_port_of_its_own_may_be_bound_more_narrowly_and_a_restart_is_proven() {
    let node = Node::new();
    let bind = free_port();
    let wide: SocketAddr = format!("0.0.0.0:{}", bind.port()).parse().unwrap();
    let one = server("one");
    node.serving(wide, one);
    let services = [("a", listen("a", bind, one))];
    keep(node.begin().install(&node.haproxy(), &node.plan("hash-2", &services, &[bind], Action::Reload)));
    assert_eq!(ask(bind), "one");
    let master = node.haproxy().running().unwrap().master;
    let services = [("a", listen("a", bind, server("again")))];
    keep(node.begin().install(&node.haproxy(), &node.plan("hash-3", &services, &[], Action::Restart)));
    let running = node.haproxy().running().unwrap();
    assert_eq!(running.hash.as_deref(), Some("hash-3"));
    assert_ne!(running.master, master);
    assert_eq!(ask(bind), "again");
}

#[test]
fn a_start_that_fails_leaves_nothing_running() {
    let node = Node::new();
    let holder = server("holder");
    let services = [("a", listen("a", holder, holder))];
    let plan = node.plan("h", &services, &[], Action::Start);
    let failure = node.begin().install(&node.haproxy(), &plan).err().unwrap();
    assert!(failure.touched && failure.rolled_back.is_ok(), "{failure}");
    assert!(failure.to_string().contains("cannot bind socket"), "{failure}");
    assert!(!node.paths.config.exists());
    assert_eq!(node.haproxy().running().unwrap().state, State::None);
}

#[test]
fn systemd_accepts_the_dropin() {
    let node = Node::new();
    let analyze = node.sys.find("systemd-analyze").unwrap();
    let unit = node.dir.path().join("haproxy.service");
    let text = dropin(&node.paths, &node.sys.find("haproxy").unwrap());
    let text = text.replace("/usr/local/lib/pgsvc/pgsvc", "/bin/true");
    std::fs::write(&unit, format!("[Unit]\nDescription=x\n{text}")).unwrap();
    let argv = vec![analyze.display().to_string(), "verify".into(), unit.display().to_string()];
    let command = pgsvc::host::Command { argv, timeout: Duration::from_secs(20), ..Default::default() };
    let out = node.sys.run(&command).unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!said.contains("haproxy.service:"), "{said}");
}
