//! Transactions on a real keepalived, without systemd, in network namespaces of each test's own.
//!
//! A test makes its namespaces and runs itself again inside the first: whatever becomes of it there, the outer one
//! cleans up.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod director;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgsvc::daemon::interfaces::interface_of;
use pgsvc::daemon::keepalived::{Keepalived, Paths, dropin};
use pgsvc::host::real::RealSystem;
use pgsvc::host::{Signal, System};
use pgsvc::plan::keepalived::{Installed, Running, Wanted, plan};
use pgsvc::plan::{Action, InstalledFile, Plan, RenderedFile};
use pgsvc::transaction::{Daemon, Failure, Transaction};
use pgsvc::verify::vip::{Planned, Real, compare, holds, read};

/// Set inside: the directory of the test.
const INSIDE: &str = "PGSVC_TEST_INSIDE";
const VIP: &str = "192.0.2.10";

/// Two namespaces, a and b, joined by a pair of interfaces with 192.0.2.1 and 192.0.2.2; gone when dropped, with all
/// that runs in them.
struct Net {
    name: String,
    dir: tempfile::TempDir,
}

fn ip(args: &str) {
    let out = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {args}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Net {
    fn new() -> Self {
        // All tests of a process may run at once, and several processes.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("pgsvc-t{}-{count}", std::process::id());
        let net = Self { name, dir: tempfile::tempdir().unwrap() };
        let (a, b) = (net.side("a"), net.side("b"));
        ip(&format!("netns add {a}"));
        ip(&format!("netns add {b}"));
        ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"));
        for (side, address) in [(&a, "192.0.2.1"), (&b, "192.0.2.2")] {
            ip(&format!("-n {side} addr add {address}/24 dev eth0"));
            ip(&format!("-n {side} link set lo up"));
            ip(&format!("-n {side} link set eth0 up"));
        }
        net
    }

    fn side(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for side in ["a", "b"].map(|s| self.side(s)) {
            // Nobody but what a test started is in there.
            let pids = Command::new("ip").args(["netns", "pids", &side]).output();
            let pids = pids.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
            for pid in pids.lines().filter_map(|l| l.trim().parse().ok()) {
                let _ = RealSystem::new(None).signal(pid, Signal::Kill);
            }
            let _ = Command::new("ip").args(["netns", "del", &side]).output();
        }
    }
}

/// Runs a test's body in a namespace of its own.
fn isolated(test: &str, body: impl Fn(&Node)) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return body(&Node::new(Path::new(&dir)));
    }
    let sys = RealSystem::new(None);
    assert!(sys.find("keepalived").is_some(), "this needs a real keepalived: apt-get install keepalived");
    let net = Net::new();
    let tmp = net.dir.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &net.side("a")]).arg(std::env::current_exe().unwrap());
    inside.args(["--exact", test, "--nocapture"]).env(INSIDE, net.dir.path()).env("TMPDIR", &tmp);
    let out = inside.env("PGSVC_TEST_OTHER", net.side("b")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success() && said.contains("1 passed"), "inside:\n{said}");
    println!("{said}");
}

/// The node of namespace a.
struct Node {
    sys: RealSystem,
    dir: PathBuf,
    paths: Paths,
}

fn keepalived_paths(dir: &Path) -> Paths {
    let at = |name: &str| dir.join(name);
    Paths {
        config: at("pgsvc.conf"),
        conf_d: at("pgsvc.d"),
        own: at("keepalived.conf"),
        dropin: at("dropin/pgsvc.conf"),
        units: at("units"),
        pidfile: at("pid"),
    }
}

/// A VRRP instance of the cluster `pg-test`, seen from `me`.
fn instance(me: &str, peer: &str, priority: u8, check: Option<&Path>) -> String {
    let (script, track) = check.map_or((String::new(), ""), |file| {
        let script = format!(
            "vrrp_script pg-test {{\n    script \"/usr/bin/test -e {}\"\n    interval 1\n    rise 1\n    fall 1\n}}\n",
            file.display()
        );
        (script, "    track_script {\n        pg-test\n    }\n")
    });
    format!(
        "# Managed by pgsvc: cluster=pg-test service=@keepalived\n{script}vrrp_instance pg-test {{\n    version 3\n    \
         state BACKUP\n    interface eth0\n    virtual_router_id 7\n    priority {priority}\n    advert_int 0.2\n    \
         unicast_src_ip {me}\n    unicast_peer {{\n        {peer}\n    }}\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n{track}}}\n"
    )
}

fn main_file(paths: &Paths) -> String {
    format!(
        "# Managed by pgsvc: node\nglobal_defs {{\n    enable_script_security\n    script_user root\n}}\ninclude {}\ninclude {}/*.conf\n",
        paths.own.display(),
        paths.conf_d.display()
    )
}

/// Within `limit`, or not.
fn soon(limit: Duration, mut is: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

impl Node {
    fn new(dir: &Path) -> Self {
        let paths = keepalived_paths(dir);
        std::fs::create_dir(&paths.conf_d).unwrap();
        Self { sys: RealSystem::new(None), dir: dir.to_owned(), paths }
    }

    fn daemon(&self) -> Keepalived<'_> {
        Keepalived::without_systemd(&self.sys, self.paths.clone())
    }

    fn file(&self, path: PathBuf, content: String, cluster: Option<&str>) -> RenderedFile {
        let owner = ("root".into(), "root".into());
        RenderedFile {
            path,
            content: content.into(),
            mode: 0o640,
            owner,
            cluster: cluster.map(str::to_owned),
        }
    }

    fn wanted(&self, cluster: Option<String>) -> Wanted {
        let file = |text| self.file(self.paths.cluster("pg-test"), text, Some("pg-test"));
        let node =
            cluster.is_some().then(|| self.file(self.paths.config.clone(), main_file(&self.paths), None));
        let clusters = cluster.into_iter().map(file).collect();
        Wanted { node, dropin: None, clusters, scope: vec!["pg-test".into()], adopt: false }
    }

    /// The real planner against what is really there.
    fn plan(&self, cluster: Option<String>) -> Plan {
        let read = |path: &PathBuf| {
            let stat = self.sys.stat(path).unwrap().unwrap();
            let content = self.sys.read(path).unwrap();
            InstalledFile { content: content.into(), mode: stat.mode, uid: stat.uid, gid: stat.gid }
        };
        let files = self.paths.list(&self.sys).unwrap().into_iter().map(|p| (p.clone(), read(&p))).collect();
        let running = self.daemon().running().unwrap().map(|r| Running {
            hash: r.hash,
            reads_ours: r.reads_ours,
            serves: !r.children.is_empty(),
        });
        plan(&self.wanted(cluster), &Installed { files, running, idle_units: false }, &self.paths).unwrap()
    }

    fn begin(&self) -> Transaction<'_> {
        Transaction::begin(&self.sys, &self.dir.join("state"), Duration::from_secs(1)).unwrap()
    }

    fn install(&self, plan: &Plan) -> Result<(), Failure> {
        self.begin().install(&self.daemon(), plan)?.keep().unwrap();
        Ok(())
    }

    /// A node that holds the address.
    fn serving(&self) {
        let plan = self.plan(Some(instance("192.0.2.1", "192.0.2.2", 200, None)));
        assert_eq!(plan.action, Action::Start);
        self.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        assert!(soon(Duration::from_secs(3), || self.holds()), "nobody else is there");
    }

    fn holds(&self) -> bool {
        holds(&self.sys, vip()).unwrap()
    }

    /// Every byte of the configuration.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.paths
            .list(&self.sys)
            .unwrap()
            .into_iter()
            .map(|p| (p.clone(), std::fs::read(p).unwrap()))
            .collect()
    }
}

#[test]
fn a_start_a_reload_and_an_undo_are_proven() {
    isolated("a_start_a_reload_and_an_undo_are_proven", |node| {
        assert_eq!(node.daemon().running().unwrap(), None);
        node.serving();
        let first = node.daemon().running().unwrap().unwrap();
        assert!(first.reads_ours && !first.by_systemd && first.children.len() == 1, "{first:?}");
        assert!(soon(Duration::from_secs(3), || {
            let running = node.daemon().running().unwrap().unwrap();
            running.instances.iter().any(|i| i.name == "pg-test" && i.state == "MASTER")
        }));
        assert_eq!(interface_of(&node.sys.interfaces().unwrap(), vip()), Some("eth0"));
        let same = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 200, None)));
        assert!(same.is_empty(), "{same:?}");

        let before = node.files();
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 199, None)));
        assert_eq!(plan.action, Action::Reload);
        let tx = node.begin();
        let installed = tx.install(&node.daemon(), &plan).unwrap_or_else(|f| panic!("{f}"));
        let proof = installed.proof.clone().unwrap();
        assert_eq!((proof.pid, &proof.hash), (Some(first.master), &plan.hash), "a reload, no restart");
        let now = node.daemon().running().unwrap().unwrap();
        assert_eq!((now.hash.as_ref(), &now.children), (Some(&plan.hash), &first.children));
        assert!(node.holds());
        // A verification that fails.
        installed.undo(&node.daemon()).unwrap();
        assert_eq!(node.files(), before);
        assert_eq!(node.daemon().running().unwrap().unwrap().hash, first.hash);
        assert!(node.holds());
        // The dumps may hold passwords.
        assert_eq!(std::fs::read_dir(node.dir.join("tmp")).unwrap().count(), 0);
    });
}

#[test]
fn garbage_is_refused_with_its_line_and_nothing_is_touched() {
    isolated("garbage_is_refused_with_its_line_and_nothing_is_touched", |node| {
        node.serving();
        let (before, running) = (node.files(), node.daemon().running().unwrap());
        let good = instance("192.0.2.1", "192.0.2.2", 200, None);
        let real = node.paths.cluster("pg-test");
        let crash = format!(
            "{good}virtual_server {VIP} 5433 {{\n    real_server 192.0.2.2 5432 {{\n        HTTP_GET {{\n            connect_port 8008\n        }}\n    }}\n}}\n"
        );
        for (bad, said) in [
            (good.replace("interface eth0", "interfoce eth0"), "Unknown keyword 'interfoce'"),
            (good.replace("eth0", "eth7"), "eth7 for vrrp_instance pg-test doesn't exist"),
            (crash, "keepalived crashes on it (exit code 139, signal 11)"),
        ] {
            let failure = node.install(&node.plan(Some(bad))).unwrap_err();
            let text = failure.to_string();
            assert!(text.starts_with(&format!("{}:", real.display())) && text.contains(said), "{text}");
            assert!(!text.contains("/stage/") && text.ends_with("nothing was changed"), "{text}");
        }
        // What is tested with ours is the operator's own: an include that is relative to it, too.
        std::fs::write(&node.paths.own, "include more/*.conf\n").unwrap();
        std::fs::create_dir(node.dir.join("more")).unwrap();
        std::fs::write(node.dir.join("more/x.conf"), "vrrp_instance x {\n    nonsense 1\n}\n").unwrap();
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 199, None)));
        let text = node.install(&plan).unwrap_err().to_string();
        let place = node.dir.join("more/x.conf");
        assert!(text.starts_with(&format!("{}:2: Unknown keyword 'nonsense'", place.display())), "{text}");
        std::fs::remove_file(&node.paths.own).unwrap();
        assert_eq!((node.files(), node.daemon().running().unwrap()), (before, running));
        assert!(node.holds());
    });
}

#[test]
fn a_reload_that_kills_keepalived_is_noticed_and_rolled_back() {
    isolated("a_reload_that_kills_keepalived_is_noticed_and_rolled_back", |node| {
        node.serving();
        let before = node.files();
        let hash = node.daemon().running().unwrap().unwrap().hash;
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 199, None)));
        let blind = Blind(node.daemon(), &node.paths);
        let failure = node.begin().install(&blind, &plan).err().unwrap();
        assert!(failure.touched && failure.rolled_back.is_ok(), "{failure}");
        assert!(failure.to_string().contains("ended with the new configuration"), "{failure}");
        assert_eq!(node.files(), before);
        assert_eq!(node.daemon().running().unwrap().unwrap().hash, hash);
        assert!(soon(Duration::from_secs(3), || node.holds()));
    });
}

/// A keepalived whose file somebody spoils between the swap and the reload.
struct Blind<'a>(Keepalived<'a>, &'a Paths);

impl Daemon for Blind<'_> {
    fn check(&self, staged: &Path) -> Result<(), pgsvc::error::Error> {
        self.0.check(staged)
    }
    fn precheck(&self, plan: &Plan) -> Result<(), pgsvc::error::Errors> {
        self.0.precheck(plan)
    }
    fn serving(&self) -> Result<pgsvc::transaction::Serving, pgsvc::error::Error> {
        self.0.serving()
    }
    fn activate(&self, plan: &Plan) -> Result<pgsvc::transaction::Proof, pgsvc::error::Error> {
        std::fs::write(self.1.cluster("pg-test"), "vrrp_instance pg-test {\n    interfoce eth0\n").unwrap();
        self.0.activate(plan)
    }
    fn revert(&self, plan: &Plan, before: &pgsvc::transaction::Serving) -> Result<(), pgsvc::error::Error> {
        self.0.revert(plan, before)
    }
}

#[test]
fn a_killed_keepalived_is_noticed_and_what_stands_still_is_not_proven() {
    isolated("a_killed_keepalived_is_noticed_and_what_stands_still_is_not_proven", |node| {
        node.serving();
        let running = node.daemon().running().unwrap().unwrap();
        // A master that is stopped takes no reload: the files alone prove nothing.
        let stop = |signal: &str| {
            assert!(
                Command::new("kill").args([signal, &running.master.to_string()]).status().unwrap().success()
            );
        };
        stop("-STOP");
        let mut daemon = node.daemon();
        daemon.deadline = Duration::from_secs(2);
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 199, None)));
        let text = daemon.activate(&plan).unwrap_err().to_string();
        assert!(text.contains("is not proven to run it within 2 s: 0 of its 2 processes say"), "{text}");
        stop("-CONT");
        assert!(
            soon(Duration::from_secs(3), || node.daemon().running().unwrap().unwrap().hash == running.hash)
        );

        for pid in running.children.iter().chain([&running.master]) {
            let _ = node.sys.signal(*pid, Signal::Kill);
        }
        assert!(soon(Duration::from_secs(3), || node.daemon().running().unwrap().is_none()));
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 200, None)));
        assert_eq!((plan.changes.len(), &plan.action), (0, &Action::Start));
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        assert_ne!(node.daemon().running().unwrap().unwrap().master, running.master);
    });
}

#[test]
fn with_the_last_cluster_keepalived_goes_back_to_the_operators_own_configuration() {
    isolated("with_the_last_cluster_keepalived_goes_back_to_the_operators_own_configuration", |node| {
        let own =
            instance("192.0.2.1", "192.0.2.2", 50, None).replace("pg-test", "own").replace(VIP, "192.0.2.77");
        let own =
            own.replace("virtual_router_id 7", "virtual_router_id 8").replace("# Managed by pgsvc: ", "# ");
        std::fs::write(&node.paths.own, format!("global_defs {{\n    router_id mine\n}}\n{own}")).unwrap();
        let theirs = || holds(&node.sys, "192.0.2.77".parse().unwrap()).unwrap();
        node.serving();
        assert!(soon(Duration::from_secs(3), theirs), "both are served");
        let plan = node.plan(None);
        assert_eq!(plan.action, Action::Restart);
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        let running = node.daemon().running().unwrap().unwrap();
        assert!(!running.reads_ours && running.hash.is_none(), "{running:?}");
        assert!(soon(Duration::from_secs(3), || theirs() && !node.holds()));
        assert_eq!(node.files().keys().collect::<Vec<_>>(), [&node.paths.own]);

        // And ours again: its command line must change, which is a restart; then away without anything of his.
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 200, None)));
        assert_eq!(plan.action, Action::Restart);
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        std::fs::remove_file(&node.paths.own).unwrap();
        let plan = node.plan(None);
        assert_eq!(plan.action, Action::Stop);
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(node.daemon().running().unwrap(), None);
        assert!(!node.holds() && node.files().is_empty());
    });
}

#[test]
fn a_director_is_proven_or_refused_where_the_kernel_has_no_ipvs() {
    isolated("a_director_is_proven_or_refused_where_the_kernel_has_no_ipvs", |node| {
        if node.sys.stat(Path::new("/proc/net/ip_vs")).unwrap().is_some() {
            return a_director_balances(node);
        }
        node.serving();
        let before = node.files();
        let failure = node.install(&node.plan(Some(director()))).unwrap_err();
        assert!(
            !failure.touched && failure.to_string().starts_with("IPVS: this node's kernel has none"),
            "{failure}"
        );
        assert_eq!(node.files(), before);
        assert!(node.holds());
    });
}

fn director() -> String {
    let good = instance("192.0.2.1", "192.0.2.2", 200, None);
    format!(
        "{good}virtual_server {VIP} 5433 {{\n    delay_loop 1\n    lvs_sched wlc\n    lvs_method NAT\n    protocol TCP\n    \
         real_server 192.0.2.2 5432 {{\n        weight 7\n    }}\n}}\n"
    )
}

/// Where the kernel has it: two processes, both proven, and the table read back.
fn a_director_balances(node: &Node) {
    node.install(&node.plan(Some(director()))).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(node.daemon().running().unwrap().unwrap().children.len(), 2);
    let address = "192.0.2.2".parse().unwrap();
    let real = vec![Real { address, port: 5432, weight: 7, kind: pgsvc::vip::Kind::Nat }];
    let planned = [Planned { address: vip(), port: 5433, real }];
    assert_eq!(compare(&planned, &read(&node.sys).unwrap()), [""; 0]);
}

/// keepalived of namespace b, by hand; the outer test ends it with its namespace.
fn other(node: &Node, check: &Path) -> PathBuf {
    let dir = node.dir.join("other");
    let paths = keepalived_paths(&dir);
    std::fs::create_dir_all(&paths.conf_d).unwrap();
    std::fs::create_dir(dir.join("tmp")).unwrap();
    std::fs::write(&paths.config, main_file(&paths)).unwrap();
    std::fs::write(paths.cluster("pg-test"), instance("192.0.2.2", "192.0.2.1", 199, Some(check))).unwrap();
    let side = std::env::var("PGSVC_TEST_OTHER").unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &side, "keepalived", "-f"]).arg(&paths.config);
    for (option, name) in [("-p", "pid"), ("-r", "pid_vrrp"), ("-c", "pid_checkers"), ("-b", "pid_bfd")] {
        command.arg(option).arg(dir.join(name));
    }
    assert!(command.env("TMPDIR", dir.join("tmp")).status().unwrap().success());
    dir
}

fn other_holds() -> bool {
    let side = std::env::var("PGSVC_TEST_OTHER").unwrap();
    let out =
        Command::new("ip").args(["-n", &side, "-o", "-4", "addr", "show", "dev", "eth0"]).output().unwrap();
    assert!(out.status.success());
    String::from_utf8_lossy(&out.stdout).contains(&format!("inet {VIP}/"))
}

#[test]
fn the_address_moves_when_its_holders_check_fails_and_exactly_one_has_it() {
    isolated("the_address_moves_when_its_holders_check_fails_and_exactly_one_has_it", |node| {
        let (mine, theirs) = (node.dir.join("mine"), node.dir.join("theirs"));
        std::fs::write(&mine, "").unwrap();
        std::fs::write(&theirs, "").unwrap();
        let plan = node.plan(Some(instance("192.0.2.1", "192.0.2.2", 200, Some(&mine))));
        node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        assert!(soon(Duration::from_secs(5), || node.holds()));
        other(node, &theirs);
        let settled =
            |mine: bool| soon(Duration::from_secs(5), || node.holds() == mine && other_holds() != mine);
        assert!(settled(true), "the other one has less priority");
        for (gone, back, holder) in [(&mine, &theirs, false), (&theirs, &mine, true)] {
            std::fs::write(back, "").unwrap();
            std::thread::sleep(Duration::from_millis(1500));
            std::fs::remove_file(gone).unwrap();
            let start = Instant::now();
            assert!(settled(holder), "the address did not move: {} {}", node.holds(), other_holds());
            println!("moved in {} ms", start.elapsed().as_millis());
            for _ in 0..40 {
                assert_eq!((node.holds(), other_holds()), (holder, !holder), "exactly one");
                std::thread::sleep(Duration::from_millis(50));
            }
            let state = node.daemon().running().unwrap().unwrap().instances[0].state.clone();
            assert_eq!(state, if holder { "MASTER" } else { "FAULT" });
        }
    });
}

#[test]
fn a_director_gives_the_address_up_when_it_is_cut_off_and_not_by_a_reload() {
    director::listen_if_told();
    let test = "a_director_gives_the_address_up_when_it_is_cut_off_and_not_by_a_reload";
    isolated(test, |node| {
        let side = std::env::var("PGSVC_TEST_OTHER").unwrap();
        let mut haproxy = director::listener(test, &side, "192.0.2.2:9102");
        let binary = node.dir.join("pgsvc");
        std::fs::copy(assert_cmd::cargo::cargo_bin("pgsvc"), &binary).unwrap();
        let install = |nodes: &[&str]| {
            let plan = node.plan(Some(director::file(VIP, "192.0.2.1", nodes, &binary)));
            node.install(&plan).unwrap_or_else(|f| panic!("{f}"));
        };
        install(&["192.0.2.2"]);
        assert!(soon(Duration::from_secs(8), || node.holds()), "what it leads to is reached");
        // Another question in the place of the first: the answer to that one counts until there is a new one.
        install(&["192.0.2.2", "192.0.2.3"]);
        let gone = soon(Duration::from_secs(4), || !node.holds());
        assert!(!gone, "a reload let go of the address");
        // One of two is not reached, which is enough; then none is.
        ip(&format!("-n {side} addr del 192.0.2.2/24 dev eth0"));
        let start = Instant::now();
        assert!(soon(Duration::from_secs(8), || !node.holds()), "nothing is reached");
        println!("given up in {} ms", start.elapsed().as_millis());
        let state = || node.daemon().running().unwrap().unwrap().instances[0].state.clone();
        assert_eq!(state(), "FAULT");
        ip(&format!("-n {side} addr add 192.0.2.2/24 dev eth0"));
        let start = Instant::now();
        assert!(soon(Duration::from_secs(10), || node.holds()), "it is reached again");
        println!("taken again in {} ms", start.elapsed().as_millis());
        haproxy.kill().unwrap();
        haproxy.wait().unwrap();
    });
}

#[test]
fn systemd_accepts_the_dropin() {
    let sys = RealSystem::new(None);
    let analyze = sys.find("systemd-analyze").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("keepalived.service");
    let text = dropin(&Paths::default(), &sys.find("keepalived").unwrap());
    let text = text.replace("/usr/local/lib/pgsvc/pgsvc", "/bin/true");
    // Debian's unit (2.2.7) with the drop-in behind it, as systemd reads the two.
    let debian = "[Unit]\nDescription=x\nConditionFileNotEmpty=/etc/keepalived/keepalived.conf\n[Service]\nType=notify\n\
        EnvironmentFile=-/etc/default/keepalived\nExecStart=/usr/sbin/keepalived --dont-fork $DAEMON_ARGS\n\
        ExecReload=/bin/kill -HUP $MAINPID\n";
    std::fs::write(&unit, format!("{debian}{text}")).unwrap();
    let argv = vec![analyze.display().to_string(), "verify".into(), unit.display().to_string()];
    let command = pgsvc::host::Command { argv, timeout: Duration::from_secs(20), ..Default::default() };
    let said = String::from_utf8_lossy(&sys.run(&command).unwrap().stderr).into_owned();
    assert!(!said.contains("keepalived.service"), "{said}");
}
