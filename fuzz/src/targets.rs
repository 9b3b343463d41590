//! What pgsvc does with bytes that somebody else chose, target by target, and what must hold whatever they are: no
//! panic, no overflow, and where more is promised, that. `make fuzz` looks for bytes that break it; `cargo test` replays
//! the committed ones (tests/corpora.rs). Nothing here touches the system: the node is one in memory.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use pgsvc::daemon::haproxy::config::backends;
use pgsvc::daemon::haproxy::{Haproxy, state};
use pgsvc::daemon::keepalived::{self, Keepalived, content, dump::Dump};
use pgsvc::daemon::{self, Paths};
use pgsvc::explain::{Drawing, connect, dot, matrix, mermaid, svg};
use pgsvc::host::Output;
use pgsvc::host::fake::{FakeFile, FakeSystem};
use pgsvc::inventory::{self, Args, Inventory, Source, cluster, yaml};
use pgsvc::plan::RenderedFile;
use pgsvc::render::haproxy::known::Known;
use pgsvc::render::{BUILT_IN, haproxy::shape};
use pgsvc::request::{self, Identity, Model, Request};
use pgsvc::resolve::states;
use pgsvc::run::{self, Node};
use pgsvc::selector::{self, Candidate, Selector};
use pgsvc::service::{self, Target};
use pgsvc::transaction::{self, Daemon};
use pgsvc::verify::deadline::Deadline;
use pgsvc::verify::patroni::{self, Api, ClusterView, MemberHealth};
use pgsvc::verify::postgres::{self, Login, TlsMode, Write};
use pgsvc::verify::stray::parse_ss;
use pgsvc::verify::{check, http, stats, vip};
use pgsvc::{lint, metrics};
use serde_json::{Map, Value, json};

/// A target's name, which is that of its directory in `corpus`, and what is done with the bytes.
pub type Named = (&'static str, fn(&[u8]));

pub const TARGETS: [Named; 18] = [
    ("arguments", arguments),
    ("haproxy_answers", haproxy_answers),
    ("haproxy_config", haproxy_config),
    ("haproxy_stat", haproxy_stat),
    ("haproxy_state", haproxy_state),
    ("http", over_http),
    ("inventory_ini", inventory_ini),
    ("inventory_list", inventory_list),
    ("inventory_yaml", inventory_yaml),
    ("ipvs", ipvs),
    ("journal", journal),
    ("keepalived", of_keepalived),
    ("kept", kept),
    ("patroni", of_patroni),
    ("postgres", of_postgres),
    ("selector", selector),
    ("service", service),
    ("verify", verify),
];

/// A module's arguments, to the files and back: what a node keeps of them makes the same files again.
pub fn arguments(bytes: &[u8]) {
    let Ok(Value::Object(args)) = serde_json::from_slice(bytes) else { return };
    let Ok(request) = request::from_arguments(&args) else { return };
    let Ok(model) = request::model(plain(request)) else { return };
    let files = rendered(&model, false);
    let mut again = request::joined(model.kept.clusters.iter().map(|(_, args)| args.clone()));
    again.extend(model.kept.node.as_object().cloned().unwrap_or_default());
    if files.is_some() && args.get("clusters").is_none() {
        let request = request::from_arguments(&again).unwrap_or_else(|e| panic!("what was kept: {e}"));
        let model = request::model(plain(request)).unwrap_or_else(|e| panic!("what was kept: {e}"));
        assert_eq!(rendered(&model, false), files, "what was kept makes other files");
    }
}

pub fn inventory_yaml(bytes: &[u8]) {
    whole(inventory::load(&One("/hosts.yml", bytes), Path::new("/hosts.yml")).ok());
    if let Some(root) = yaml::parse("hosts.yml", bytes).ok().and_then(|d| d.root) {
        drop(root.to_value());
    }
}

pub fn inventory_ini(bytes: &[u8]) {
    whole(inventory::load(&One("/hosts.ini", bytes), Path::new("/hosts.ini")).ok());
    drop(inventory::load(&One("/hosts", bytes), Path::new("/hosts")));
}

pub fn inventory_list(bytes: &[u8]) {
    whole(inventory::from_bytes("stdin", bytes).ok());
}

pub fn selector(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let members = [("primary", 1), ("replica", 2), ("offline", 3)].map(|(role, seq)| {
        let member = json!({"pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role, "pg_offline_query": seq == 3,
            "pg_weight": 100, "ansible_host": "10.0.0.1", "tags": ["a", {"b": 1.5}], "none": null});
        member.as_object().cloned().unwrap_or_default()
    });
    let (_, _) = (selector::identifiers(&text), selector::variables(&text));
    let (_, _) = (selector::truths(&text), selector::needs_all_variables(&text));
    let Ok(compiled) = Selector::compile(&text) else { return };
    let one = |m: &Map<String, Value>| Candidate::new(m.iter().map(|(k, v)| (k.as_str(), v)), |_| true);
    if let Ok(found) = compiled.select(&members.iter().map(one).collect()) {
        assert!(found.iter().all(|place| *place < 3), "{found:?}");
    }
}

/// A service's definition, of either dialect: JSON is YAML too.
pub fn service(bytes: &[u8]) {
    let document = yaml::parse("service.yml", bytes).ok().and_then(|d| d.root);
    let Some(entry) = document.map(|root| root.to_value()) else { return };
    let _ = service::dialect_of(&entry);
    let Ok(s) = service::parse(&entry, 0, "pg-test", Target::Pgbouncer) else { return };
    for text in [&s.name, &s.check_url, &s.balance, &s.options.line()] {
        assert!(!text.contains(|c: char| c.is_control()), "{text:?} goes into a line");
    }
    assert!(!s.check_url.contains(' ') && s.check_url.starts_with('/'), "{:?}", s.check_url);
}

pub fn haproxy_stat(bytes: &[u8]) {
    if let Ok(rows) = stats::parse_stat(&String::from_utf8_lossy(bytes)) {
        drop(pgsvc::verify::stray::busy_places(&rows));
    }
}

pub fn haproxy_state(bytes: &[u8]) {
    let Ok(servers) = state::parse(&String::from_utf8_lossy(bytes)) else { return };
    // A file of no servers has only its head.
    assert_eq!(
        state::parse(&state::file(&servers)).ok(),
        Some(servers),
        "it is written otherwise than it is read"
    );
}

/// Whatever is asked on HAProxy's sockets, these bytes are the answer.
pub fn haproxy_answers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (_, _) = (stats::parse_info(&text), stats::parse_sessions(&text));
    let (_, _) = (stats::parse_proc(&text), stats::parse_ends(&text));
    drop(parse_ss(&text));
    let mut sys = running_haproxy();
    let answer = bytes.to_vec();
    sys.answers = Box::new(move |_, _| Ok(answer.clone()));
    let words = bytes.to_vec();
    sys.runs = Box::new(move |_| Ok(Output { code: 1, stdout: words.clone(), stderr: words.clone() }));
    let haproxy = Haproxy::without_systemd(&sys, Paths::default());
    if let Ok(running) = haproxy.running() {
        let _ = Haproxy::running_version(&running);
    }
    drop((haproxy.version(), haproxy.check(Path::new("/stage"))));
}

/// A configuration that pgsvc never wrote, as an audit, a plan and a start read it.
pub fn haproxy_config(bytes: &[u8]) {
    drop(backends(&String::from_utf8_lossy(bytes)));
    drop(shape::shape(bytes));
    drop(pgsvc::render::haproxy::owner(bytes));
    let sys = running_haproxy();
    put(&sys, "/etc/haproxy/haproxy.cfg", bytes);
    put(&sys, "/etc/haproxy/conf.d/other.cfg", bytes);
    let Some(model) = example() else { return };
    let node = Node { sys: &sys, paths: Paths::default(), rooted: true };
    let (Ok(templates), Ok(installed)) = (node.templates(&model), run::read::installed(&node)) else {
        return;
    };
    drop(run::plan(&node, &model, &templates, &installed));
}

/// An HTTP answer, over TCP and over a socket's file.
pub fn over_http(bytes: &[u8]) {
    let sys = peer(bytes);
    let end = Deadline::after(&sys, Duration::from_secs(1));
    let at = ([127, 0, 0, 1], 8008).into();
    for method in ["GET", "OPTIONS", "HEAD"] {
        let over_tcp = http::get(&sys, at, None, "db1", method, "/", end);
        let over_unix = http::get_unix(&sys, Path::new("/s"), "db1", method, "/", end);
        assert!(over_tcp.iter().all(|r| r.body.len() <= 1 << 20), "a body without bounds");
        assert_eq!(over_tcp, over_unix);
    }
}

pub fn of_patroni(bytes: &[u8]) {
    let (member, view) = (MemberHealth::parse(bytes), ClusterView::parse(bytes));
    if let Ok(m) = member {
        let (_, _) = (m.leads(), m.in_standby_cluster());
    }
    if let Ok(v) = view {
        let (_, _) = (v.leader(), v.is_standby_cluster());
    }
    let sys = peer(&[b"HTTP/1.0 200 OK\r\n\r\n", bytes].concat());
    let api = Api { addr: ([127, 0, 0, 1], 8008).into(), host: "db1".into(), tls: None };
    let end = Deadline::after(&sys, Duration::from_secs(1));
    drop((patroni::probe(&sys, &api, end), patroni::cluster(&sys, &api, end)));
}

/// All that a PostgreSQL server or a pooler says, whatever is asked.
pub fn of_postgres(bytes: &[u8]) {
    let sys = peer(bytes);
    let end = Deadline::after(&sys, Duration::from_secs(1));
    let at = ([127, 0, 0, 1], 5432).into();
    drop(postgres::handshake(&sys, at, "u", "d", end));
    let password = Some("sesame".to_owned());
    let login =
        Login { user: "u".into(), password, database: "d".into(), tls: TlsMode::Disable, cleartext: true };
    if let Ok(mut session) = postgres::Session::open(&sys, at, &login, end) {
        let (_, _) = (session.brief(Write::Message, true), session.identity());
    }
    drop(postgres::session(&sys, at, &login, end));
}

pub fn ipvs(bytes: &[u8]) {
    let table = vip::table::parse(bytes);
    let planned = [vip::Planned { address: [192, 0, 2, 10].into(), port: 5433, real: Vec::new() }];
    for finding in vip::compare(&planned, &table) {
        assert!(!finding.contains(|c: char| c.is_control()), "{finding:?} is one line");
    }
    let sys = FakeSystem::default();
    put(&sys, keepalived::IPVS, bytes);
    drop(vip::read(&sys));
}

/// keepalived's dump, its configuration, and what its programs print.
pub fn of_keepalived(bytes: &[u8]) {
    drop((Dump::parse(bytes), content::read(bytes)));
    let mut sys = FakeSystem::default();
    put(&sys, "/stage/etc/keepalived/pgsvc.conf", bytes);
    let words = bytes.to_vec();
    sys.runs = Box::new(move |_| Ok(Output { code: 1, stdout: words.clone(), stderr: words.clone() }));
    let daemon = Keepalived::without_systemd(&sys, daemon::keepalived::Paths::default());
    drop((daemon.version(), daemon.check(Path::new("/stage"))));
}

/// What an interrupted apply left, read by the next one and by HAProxy's unit.
pub fn journal(bytes: &[u8]) {
    let dir = Path::new("/var/lib/pgsvc");
    for name in ["tx/journal.json", "tx/manifest.json", "previous/manifest.json"] {
        let sys = FakeSystem::default();
        put(&sys, "/var/lib/pgsvc/tx/old/0-haproxy.cfg", b"old");
        put(&sys, "/var/lib/pgsvc/previous/old/0-haproxy.cfg", b"old");
        put(&sys, &format!("/var/lib/pgsvc/{name}"), bytes);
        drop((transaction::unproven(&sys, dir), transaction::replaced(&sys, dir)));
        drop(transaction::previous(&sys, dir));
        drop(transaction::recover(&sys, dir, Duration::from_secs(1)));
    }
}

/// A request that a node has kept, of a cluster and of the node; what it has noted of renderings.
pub fn kept(bytes: &[u8]) {
    let noted = Known::parse(&String::from_utf8_lossy(bytes));
    assert_eq!(Known::parse(&noted.text()), noted);
    for other in [bytes, b"{}"] {
        let sys = FakeSystem::default();
        put(&sys, "/var/lib/pgsvc/clusters/pg-test.json", bytes);
        put(&sys, "/var/lib/pgsvc/clusters/@node.json", other);
        let node = Node { sys: &sys, paths: Paths::default(), rooted: true };
        let Ok(request) = run::kept::load(&node, &[], &Args::new()) else { continue };
        if let Ok(model) = request::model(plain(request)) {
            drop(rendered(&model, false));
        }
    }
}

/// A whole verification: Patroni's JSON, HAProxy's table and what PostgreSQL says, apart by a byte that no text has.
pub fn verify(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |b| *b == 0xff).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let (json, table, wire) = (part(), part(), part());
    let mut sys = running_haproxy();
    let said = [b"HTTP/1.0 200 OK\r\n\r\n", &json[..]].concat();
    sys.peers = Box::new(move |at| Ok(if at.port() == 8008 { said.clone() } else { wire.clone() }));
    sys.answers = Box::new(move |_, _| Ok(table.clone()));
    let Some(model) = example() else { return };
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    let report = run::ports::report(&node, &model, None, Duration::from_millis(300), false);
    drop(report.ansible(true));
    drop(metrics::text(&metrics::Run { report: &report, drift: None, ended: 0, took: 1.0 }));
    let words: Vec<String> = String::from_utf8_lossy(bytes).split(' ').map(str::to_owned).collect();
    drop(check::parse(&words));
}

/// From an inventory to everything that is made of it.
fn whole(inventory: Option<Inventory>) {
    let Some(inventory) = inventory else { return };
    let names = cluster::names(inventory.hosts.iter().map(|h| &h.vars));
    let found = lint::lint(&inventory, &names, None);
    drop((lint::human::lines(&found, true), lint::sarif::sarif(&found, "hosts.yml")));
    let request =
        request::from_inventory(inventory, None, &Identity::default(), &names, &Args::new()).map(plain);
    let Ok(request) = request else { return };
    let groups = request.groups.clone();
    let Ok(model) = request::model_apart(request) else { return };
    drop(rendered(&model, true));
    let drawing = Drawing::new(model.clusters.values().map(|c| &**c));
    drop((mermaid::mermaid(&drawing), dot::dot(&drawing), svg::svg(&drawing)));
    for c in model.clusters.values() {
        drop(matrix::rows(c));
        drop(states::parse("primary=2,down=1,lag:3=64MB", &c.cluster));
        c.services.iter().for_each(|s| drop(connect::text(c, s, &groups, "postgres")));
    }
}

/// A request that reads no directory of this machine's.
fn plain(mut request: Request) -> Request {
    request.options.templates = None;
    request.options.root = None;
    // A check keeps nothing.
    request.check = false;
    request
}

/// A model's files; `None` where it has none or they are refused. No value makes a line or a keyword of its own.
fn rendered(model: &Model, apart: bool) -> Option<Vec<RenderedFile>> {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: true };
    let files = run::render(&node, model, apart).ok()?;
    for f in &files {
        assert!(
            !f.content.contains(|c: char| c.is_control() && c != '\n'),
            "{}: {:?}",
            f.path.display(),
            f.content
        );
        // Units are not made of templates alone.
        if f.path.extension().is_some_and(|e| e == "cfg" || e == "conf")
            && !f.path.starts_with("/etc/systemd")
        {
            let strange = f.content.lines().find(|l| !is_of_a_template(l));
            assert_eq!(strange, None, "{}: a line that no template has", f.path.display());
        }
    }
    Some(files).filter(|f| !f.is_empty())
}

/// Whether a line begins as some template's line does.
fn is_of_a_template(line: &str) -> bool {
    static WORDS: OnceLock<BTreeSet<&str>> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        let all =
            BUILT_IN.iter().flat_map(|(_, text)| text.split(|c: char| c.is_whitespace() || "{}".contains(c)));
        // A check's lines, and the name of a configuration, are no template's.
        all.chain(["http-check", "option", "router_id"]).collect()
    });
    // A list of addresses in keepalived's blocks has one in every line.
    let first = line.split_whitespace().next().unwrap_or_default();
    let address = first.split('/').next().unwrap_or_default();
    first.is_empty()
        || words.contains(first)
        || first.starts_with("pgsvc-")
        || first == "{"
        || first == "}"
        || address.parse::<std::net::IpAddr>().is_ok()
}

/// Three members and their four services.
fn example() -> Option<Model> {
    let member = |seq: u8, role: &str| {
        json!({"inventory_hostname": format!("127.0.0.{seq}"), "pg_cluster": "pg-test",
        "pg_seq": seq, "pg_role": role})
    };
    let args = json!({"members": [member(1, "primary"), member(2, "replica"), member(3, "offline")],
        "verify_user": "u", "verify_password": "sesame", "node": {"inventory_hostname": "lb1"}});
    let request = request::from_arguments(args.as_object()?).ok()?;
    request::model(request).ok()
}

/// A node whose HAProxy runs without systemd.
fn running_haproxy() -> FakeSystem {
    let sys = FakeSystem::default();
    put(&sys, "/run/haproxy.pid", b"42\n");
    put(&sys, "/run/haproxy/admin.sock", b"");
    put(&sys, "/proc/42/comm", b"haproxy\n");
    put(
        &sys,
        "/proc/42/cmdline",
        b"haproxy\0-W\0-f\0/etc/haproxy/haproxy.cfg\0-S\0/run/haproxy-master.sock\0",
    );
    sys
}

fn peer(bytes: &[u8]) -> FakeSystem {
    let mut sys = FakeSystem::default();
    let (said, answered) = (bytes.to_vec(), bytes.to_vec());
    sys.peers = Box::new(move |_| Ok(said.clone()));
    sys.answers = Box::new(move |_, _| Ok(answered.clone()));
    sys
}

fn put(sys: &FakeSystem, path: &str, bytes: &[u8]) {
    sys.put(path, FakeFile { bytes: bytes.to_vec(), mode: 0o600, ..FakeFile::default() });
}

/// One file and nothing beside it.
struct One<'b>(&'static str, &'b [u8]);

impl Source for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new(self.0) { Ok(self.1.to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        if path == Path::new(self.0) { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
