//! HAProxy's word on itself, for a VIP that asks it, on a real HAProxy with the node's own rendered configuration: what it
//! says, to whom, over a reload, and that nothing else changes by it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod standin;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgsvc::daemon::Paths;
use pgsvc::daemon::haproxy::Haproxy;
use pgsvc::error::Errors;
use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::plan::{Action, Installed, Plan, RenderedFile, Wanted, plan};
use pgsvc::render::{Layout, Templates, haproxy};
use pgsvc::resolve::states::{MemberState, Role};
use pgsvc::resolve::{ResolvedService, RoleSource};
use pgsvc::transaction::Transaction;
use pgsvc::vip::Duty;
use pgsvc::vip::duty::{self, Groups};
use serde_json::json;
use standin::Member;

const NOBODY: u32 = 65534;

struct Node {
    sys: RealSystem,
    _dir: tempfile::TempDir,
    paths: Paths,
    /// A copy of the binary where anybody may run it.
    binary: PathBuf,
    word: SocketAddr,
    stats: u16,
    ports: BTreeMap<String, SocketAddr>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.paths.pidfile).ok().and_then(|t| t.trim().parse().ok());
        if let Some(pid) = pid {
            let _ = self.sys.signal(pid, pgsvc::host::Signal::Term);
        }
    }
}

fn members(n: u8, role: impl Fn(u8) -> Role) -> Vec<Member> {
    let mut all: Vec<Member> = (1..=n).map(|i| Member::new(&format!("pg-test-{i}"), i)).collect();
    for (i, m) in (1..).zip(&mut all) {
        m.set(MemberState::new(role(i)));
    }
    all
}

fn first_leads(i: u8) -> Role {
    if i == 1 { Role::Primary } else { Role::Replica }
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // As Debian's /run/haproxy: anybody may enter.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let paths = common::paths(dir.path());
        std::fs::create_dir(&paths.conf_d).unwrap();
        let sys = RealSystem::new(None);
        assert!(sys.find("haproxy").is_some(), "these tests need a real haproxy: apt-get install haproxy");
        let binary = dir.path().join("pgsvc");
        std::fs::copy(assert_cmd::cargo::cargo_bin("pgsvc"), &binary).unwrap();
        let free = || standin::free(standin::ip(200));
        let names = ["primary", "replica", "default", "offline"];
        let ports = names.map(|n| (n.to_owned(), free())).into();
        Self { sys, _dir: dir, paths, binary, word: free(), stats: free().port(), ports }
    }

    fn haproxy(&self) -> Haproxy<'_> {
        Haproxy::without_systemd(&self.sys, self.paths.clone())
    }

    fn layout(&self) -> Layout {
        Layout {
            config: self.paths.config.clone(),
            conf_d: self.paths.conf_d.clone(),
            stats_socket: self.paths.stats_socket.clone(),
            server_state: self.paths.server_state.clone(),
        }
    }

    fn socket(&self) -> PathBuf {
        haproxy::vip_socket(&self.layout(), "pg-test")
    }

    fn installed(&self) -> Installed {
        common::installed(&self.haproxy(), &self.sys, &self.paths)
    }

    /// The duty of one node behind two directors, and the services on ports of the test.
    fn model(&self, weights: &[u64]) -> (Duty, Vec<ResolvedService>) {
        let vip = json!({"vip_mode": "l4", "vip_address": "192.0.2.9", "vip_to": "haproxy", "lb_kind": "DR",
            "vip_provider": "directors", "vip_check_port": self.word.port()});
        let own =
            |(i, w): (usize, &u64)| (if i == 0 { "primary" } else { "replica" }, json!({"pg_weight": w}));
        let all: Vec<_> = weights.iter().enumerate().map(own).collect();
        let built = standin::cluster(&all, &vip);
        let groups =
            Groups::from([("directors".to_owned(), vec![("192.0.2.1".to_owned(), Default::default())])]);
        let duty =
            duty::resolve(&built, built.virtual_ip.as_ref().unwrap(), None, &groups, "node-1").unwrap();
        let mut services = pgsvc::resolve::cluster(&built, RoleSource::Patroni).unwrap();
        for s in &mut services {
            s.binds = vec![self.ports[&s.service]];
        }
        (duty, services)
    }

    fn plan(&self, weights: &[u64], with_word: bool) -> Plan {
        let own = self.sys.whoami();
        let owner = (own.0.to_string(), own.1.to_string());
        let (templates, layout) = (Templates::new(&BTreeMap::new()).unwrap(), self.layout());
        let (duty, services) = self.model(weights);
        let vars = json!({"haproxy_exporter_port": self.stats, "haproxy_auth_enabled": false});
        let settings = pgsvc::settings::node("n", &vars.as_object().unwrap().into(), &mut Errors::default());
        let mut files = haproxy::services(&templates, &layout, &services).unwrap();
        files.extend(haproxy::vip(&templates, &layout, &duty, &services).unwrap().filter(|_| with_word));
        for f in &mut files {
            f.content = standin::hurry(&f.content).into();
        }
        let wanted = Wanted {
            node: Some(haproxy::node(&templates, &layout, &settings).unwrap()),
            dropin: None,
            units: Vec::new(),
            services: files,
            scope: vec!["pg-test".into()],
            adopt: false,
            nonlocal_binds: false,
        };
        let mut plan = plan(wanted, &self.installed(), &layout, &templates, None).unwrap();
        let files = plan.changes.iter_mut().filter_map(|c| c.after.as_mut());
        files.for_each(|f: &mut RenderedFile| f.owner = owner.clone());
        plan
    }

    fn install(&self, plan: &Plan) {
        let tx = Transaction::begin(&self.sys, &self.paths.state_dir, Duration::from_secs(1)).unwrap();
        let haproxy = self.haproxy();
        tx.install(&haproxy, plan).unwrap_or_else(|f| panic!("{f}")).keep().unwrap();
    }

    fn pid(&self) -> u32 {
        self.haproxy().info().unwrap().pid
    }

    /// As keepalived runs it: exit code, and what it says.
    fn check(&self, need: &str) -> (i32, String) {
        let mut command = std::process::Command::new(&self.binary);
        command.args(["check", need]).current_dir("/");
        if self.sys.whoami().0 == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn asked(&self) -> [i32; 2] {
        [format!("unix:{}:/", self.socket().display()), format!("http://{}/", self.word)]
            .map(|n| self.check(&n).0)
    }
}

fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_says_what_its_servers_are_to_nobody_and_to_directors_and_over_a_reload() {
    let _alone = standin::alone();
    let mut all = members(2, first_leads);
    let node = Node::new();
    node.install(&node.plan(&[100, 100], true));
    within(10, "it serves", || node.asked() == [0, 0]);
    let mode = std::fs::metadata(node.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o666);
    // Cut off from all members: the VIP is given up; one service with one server is enough to take it.
    let dead = |role| MemberState { api: false, ..MemberState::new(role) };
    all[0].set(dead(Role::Primary));
    within(10, "the primary is down", || standin::hear(node.ports["primary"]).is_empty());
    assert_eq!(node.asked(), [0, 0]);
    all[1].set(dead(Role::Replica));
    within(10, "it says that it does not serve", || node.asked() == [1, 1]);
    let said = node.check(&format!("http://{}/", node.word)).1;
    assert_eq!(said, format!("pgsvc check: http://{}/: HTTP status 503, expected 200\n", node.word));
    all[1].set(MemberState::new(Role::Replica));
    within(10, "it serves again", || node.asked() == [0, 0]);
    // Reloads while it is asked: the old worker's last word and the new one's first are both good.
    let (stop, pid) = (AtomicBool::new(false), node.pid());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                answers.push(node.asked());
            }
            answers
        });
        for weights in [&[100, 100, 100][..], &[100, 100], &[100, 100, 100]] {
            let mut plan = node.plan(weights, true);
            plan.action = Action::Reload;
            plan.commands.clear();
            node.install(&plan);
            std::thread::sleep(Duration::from_millis(300));
        }
        stop.store(true, Ordering::SeqCst);
        let answers = asking.join().unwrap();
        let bad = answers.iter().filter(|a| **a != [0, 0]).count();
        assert!(bad == 0 && answers.len() > 20, "{bad} of {} answers", answers.len());
    });
    assert_ne!(node.pid(), pid);
    assert_eq!(node.asked(), [0, 0]);
}

#[test]
fn nothing_of_a_service_changes_by_it_and_servers_still_change_at_runtime() {
    let _alone = standin::alone();
    let _all = members(3, first_leads);
    let node = Node::new();
    node.install(&node.plan(&[100, 100], false));
    let mut before = node.installed().running.unwrap().live.unwrap();
    // It comes by a reload, as any new file.
    let plan = node.plan(&[100, 100], true);
    let changed: Vec<String> =
        plan.changes.iter().map(|c| c.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(changed, ["00-pgsvc.cfg", "pg-test-@vip.cfg"]);
    assert_eq!((plan.action.clone(), plan.new_binds.len()), (Action::Reload, 1));
    node.install(&plan);
    let mut after = node.installed().running.unwrap().live.unwrap();
    assert_eq!(after.listeners.remove("pg-test:vip"), Some(100));
    // The stats page has the limit that HAProxy finds by its file descriptors.
    let stats = [&mut before, &mut after].map(|l| l.listeners.remove("pgsvc-stats"));
    assert!(stats.iter().all(Option::is_some));
    assert_eq!(
        (&after.servers.keys().collect::<Vec<_>>(), &after.listeners),
        (&before.servers.keys().collect(), &before.listeners)
    );
    let again = node.plan(&[100, 100], true);
    assert!(again.is_empty() && again.hands.is_empty(), "{}: {:?}", again.reason, again.hands);
    // A weight and a member, with the worker that there is.
    let pid = node.pid();
    for weights in [&[100, 40][..], &[100, 40, 100], &[100, 100]] {
        let plan = node.plan(weights, true);
        assert_eq!(plan.action, Action::Runtime, "{weights:?}: {}", plan.reason);
        node.install(&plan);
        let again = node.plan(weights, true);
        assert!(again.is_empty() && again.hands.is_empty(), "{weights:?}: {}", again.reason);
    }
    assert_eq!(node.pid(), pid);
    within(10, "it serves", || node.asked() == [0, 0]);
    // It goes by name and header, when its VIP goes.
    let plan = node.plan(&[100, 100], false);
    let gone: Vec<_> = plan.changes.iter().filter(|c| c.after.is_none()).map(|c| c.path.clone()).collect();
    assert_eq!(gone, [node.paths.conf_d.join("pg-test-@vip.cfg")]);
    node.install(&plan);
    assert_eq!(node.asked(), [1, 1]);
}

#[test]
fn haproxy_reads_it_without_a_warning() {
    let node = Node::new();
    let plan = node.plan(&[100, 100], true);
    for (path, content) in &plan.candidate {
        std::fs::write(path, content).unwrap();
    }
    // What the unit makes before a start.
    std::fs::write(&node.paths.server_state, "1\n").unwrap();
    let (config, conf_d) = (node.paths.config.display(), node.paths.conf_d.display());
    let argv = format!("haproxy -c -dW -f {config} -f {conf_d}");
    let command = pgsvc::host::Command {
        argv: argv.split(' ').map(str::to_owned).collect(),
        timeout: Duration::from_secs(20),
        ..Default::default()
    };
    let out = node.sys.run(&command).unwrap();
    assert_eq!(out.code, 0, "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn an_apply_brings_it_a_second_one_changes_nothing_and_it_goes_with_its_vip() {
    let with = common::HOSTS.replace(
        "pg_cluster: pg-test,",
        "pg_cluster: pg-test, vip_mode: l2, vip_follow: haproxy, vip_address: 10.10.10.9,",
    );
    let root = common::Root::with(&with);
    assert!(root.conf("pg-test-@vip").contains("bind unix@/run/haproxy/pgsvc-pg-test.sock mode 666"));
    let before = root.tree();
    let again = root.apply(&with, &[]);
    assert_eq!(common::code(&again), 0, "{}", common::err(&again));
    let differs = common::difference(&before, &root.tree());
    assert!(differs.iter().all(|p| !p.to_string_lossy().contains("haproxy")), "{differs:?}");
    let without = root.plan(common::HOSTS, &["--format", "json"]);
    assert!(
        common::code(&without) == 2 && common::out(&without).contains("pg-test-@vip.cfg"),
        "{}",
        common::out(&without)
    );
    let gone = root.apply(common::HOSTS, &[]);
    assert_eq!(common::code(&gone), 0, "{}", common::err(&gone));
    assert!(!root.has("pg-test-@vip") && root.has("pg-test-primary"));
}
