use super::super::{Action, Installed, InstalledFile, Plan, RenderedFile, Wanted};
use super::*;
use crate::render::{Layout, Templates};

/// A two-tier service of three members.
const BASE: &str = "\
# Managed by pgsvc: cluster=a service=ro
frontend a-ro
    bind *:5434
    maxconn 3000
    use_backend a-ro-backup if { nbsrv(a-ro) eq 0 }
    default_backend a-ro

backend a-ro
    balance roundrobin
    default-server inter 3s maxconn 300
    server m1 10.0.0.1:6432 check port 8008 weight 100
    server m2 10.0.0.2:6432 check port 8008 weight 100

backend a-ro-backup
    balance roundrobin
    default-server inter 3s maxconn 300
    server m1 10.0.0.1:6432 check port 8008 weight 100
    server m2 10.0.0.2:6432 check port 8008 weight 100
";
const M3: &str = "    server m3 10.0.0.3:6432 check port 8008 weight 50\n";
const PATH: &str = "/etc/haproxy/conf.d/a-ro.cfg";

/// The first `from` becomes `to`.
fn with(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replacen(from, to, 1)
}

/// Below the last server of both tiers.
fn third(line: &str) -> String {
    let last = "    server m2 10.0.0.2:6432 check port 8008 weight 100\n";
    BASE.replace(last, &format!("{last}{line}"))
}

/// What runs where the files are loaded and nobody touched anything.
fn live(text: &str) -> Live {
    let mut live = Live::default();
    for s in shape(text.as_bytes()).sections {
        live.listeners.extend(s.maxconn.map(|n| (s.name.to_owned(), n)));
        for m in &s.servers {
            let server = LiveServer {
                address: m.host.to_owned(),
                port: m.port,
                weight: m.weight(),
                maxconn: m.maxconn(),
                ..LiveServer::default()
            };
            live.servers.insert((s.name.to_owned(), m.name.to_owned()), server);
        }
    }
    live
}

fn rendered(path: &str, content: &str, cluster: Option<&str>) -> RenderedFile {
    let owner = ("root".to_owned(), "haproxy".to_owned());
    RenderedFile {
        path: path.into(),
        content: content.into(),
        mode: 0o640,
        owner,
        cluster: cluster.map(str::to_owned),
    }
}

/// The plan on a node with the files `before`, where `change` was done to what runs.
fn plan(before: &str, wanted: &str, change: impl FnOnce(&mut Running)) -> Plan {
    let make = |text: &str, installed: &Installed| {
        let w = Wanted {
            node: Some(rendered("/etc/haproxy/haproxy.cfg", "# Managed by pgsvc: node\nglobal\n", None)),
            dropin: None,
            units: Vec::new(),
            services: vec![rendered(PATH, text, Some("a"))],
            scope: vec!["a".into()],
            adopt: false,
            nonlocal_binds: false,
        };
        let templates = Templates::new(&BTreeMap::new()).unwrap();
        super::super::plan(w, installed, &Layout::default(), &templates, Some(99)).unwrap()
    };
    let first = make(before, &Installed::default());
    let mut running = Running {
        description: Some(first.hash),
        takes_reload: true,
        version: (2, 6),
        live: Some(live(before)),
        interrupted: false,
    };
    change(&mut running);
    let file = |c: super::super::FileChange| {
        let content = c.after.unwrap().bytes();
        (c.path, InstalledFile { content, mode: 0o640, uid: 0, gid: 99 })
    };
    let files = first.changes.into_iter().map(file).collect();
    make(wanted, &Installed { files, running: Some(running), ..Installed::default() })
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.commands.iter().map(ToString::to_string).collect()
}

/// What somebody does to a server of the active tier.
fn hand<'a>(name: &'a str, change: impl Fn(&mut LiveServer) + 'a) -> impl Fn(&mut Running) + 'a {
    move |r| {
        let live = r.live.as_mut().unwrap();
        change(live.servers.get_mut(&("a-ro".to_owned(), name.to_owned())).unwrap());
    }
}

fn gone(name: &'static str) -> impl Fn(&mut Running) {
    move |r| drop(r.live.as_mut().unwrap().servers.remove(&("a-ro".to_owned(), name.to_owned())))
}

#[test]
fn what_changes_at_runtime_needs_no_reload() {
    for (wanted, commands) in [
        (with("weight 100", "weight 40"), vec!["weight of m1 in a-ro: 100 → 40"]),
        (with("maxconn 3000", "maxconn 10"), vec!["maxconn of a-ro: 3000 → 10"]),
        (
            with("maxconn 300\n", "maxconn 10\n"),
            vec!["maxconn of m1 in a-ro: 300 → 10", "maxconn of m2 in a-ro: 300 → 10"],
        ),
        (
            third(M3),
            vec![
                "add m3 (10.0.0.3:6432, weight 50) to a-ro, down until its checks pass",
                "add m3 (10.0.0.3:6432, weight 50) to a-ro-backup, down until its checks pass",
            ],
        ),
        (
            with("    server m2 10.0.0.2:6432 check port 8008 weight 100\n", ""),
            vec!["remove m2, which has no sessions, from a-ro"],
        ),
    ] {
        let p = plan(BASE, &wanted, |_| {});
        assert_eq!(
            (&p.action, texts(&p)),
            (&Action::Runtime, commands.iter().map(|c| (*c).to_owned()).collect())
        );
        assert!(p.changes.iter().any(|c| c.path.ends_with("a-ro.cfg")), "{wanted}");
        assert!(p.hands.is_empty() && p.new_binds.is_empty());
    }
    let p = plan(BASE, BASE, |_| {});
    assert!(p.is_empty() && p.hands.is_empty(), "{p:?}");
    let comment = plan(BASE, &with("frontend", "# note\nfrontend"), |_| {});
    assert_eq!((comment.action, comment.changes.len()), (Action::Nothing, 1));
}

#[test]
fn the_added_server_brings_its_defaults_along() {
    let p = plan(BASE, &third(M3), |_| {});
    let Command::Add { options, maxconn, .. } = &p.commands[0] else { panic!("{:?}", p.commands) };
    assert_eq!((options.as_str(), *maxconn), ("check port 8008 weight 50 inter 3s maxconn 300", 300));
}

#[test]
fn everything_else_is_reloaded_and_says_why() {
    let add = |line: &str| third(line);
    let leaves = with("    server m2 10.0.0.2:6432 check port 8008 weight 100\n", "");
    let old = |r: &mut Running| r.version = (2, 5);
    let silent = |r: &mut Running| r.live = None;
    let none = |_: &mut Running| {};
    type Change<'a> = &'a dyn Fn(&mut Running);
    let busy = hand("m2", |s| s.sessions = 3);
    let cases: [(String, Change<'_>, &str); 10] = [
        (
            with("10.0.0.2:6432", "10.0.0.9:6432"),
            &none,
            "m2 in a-ro moves from 10.0.0.2:6432 to 10.0.0.9:6432",
        ),
        (
            with("m2 10.0.0.2:6432 check port 8008", "m2 10.0.0.2:6432 check port 9000"),
            &none,
            "the options of m2 in a-ro change",
        ),
        (with("inter 3s", "inter 2s"), &none, "1 file of the configuration changes"),
        (with("bind *:5434", "bind *:5444"), &none, "1 file of the configuration changes"),
        (
            add("    server m3 db3:6432 check port 8008 weight 50\n"),
            &none,
            "m3 comes to a-ro with an address or options",
        ),
        (add(M3), &old, "HAProxy 2.5 cannot do that while it runs"),
        (add(M3), &silent, "does not say which it has"),
        (leaves.clone(), &busy, "m2 leaves a-ro with 3 sessions, which the old worker keeps"),
        (BASE.to_owned(), &|r: &mut Running| r.interrupted = true, "an earlier run ended halfway"),
        (
            BASE.to_owned(),
            &|r: &mut Running| r.description = Some("x".into()),
            "the running configuration is x",
        ),
    ];
    for (wanted, change, why) in cases {
        let p = plan(BASE, &wanted, change);
        assert_eq!((&p.action, p.commands.len()), (&Action::Reload, 0), "{}", p.reason);
        assert!(p.reason.contains(why), "'{}' is not '{why}'", p.reason);
    }
    assert_eq!(plan(BASE, BASE, |r| r.live = None).action, Action::Nothing);
}

#[test]
fn members_that_are_tracked_come_and_go_with_a_reload_and_change_their_weights_without() {
    let tracking = "# Managed by pgsvc: cluster=a service=ro\nlisten a-ro\n    bind *:1\n    balance roundrobin\n    \
        server m1 10.0.0.1:1 track a-ro-check1/m1 weight 100\n\nbackend a-ro-check1\n    balance roundrobin\n    \
        server m1 10.0.0.1:1 check port 2 weight 100\n";
    let more = tracking.to_owned() + "    server m2 10.0.0.2:1 check port 2 weight 100\n";
    let p = plan(tracking, &more, |_| {});
    assert_eq!(p.action, Action::Reload);
    assert_eq!(p.reason, "m2 comes to a-ro-check1: servers that track others come and go with a reload only");
    assert_eq!(plan(&more, tracking, |_| {}).action, Action::Reload);
    let p = plan(tracking, &tracking.replacen("weight 100", "weight 7", 1), |_| {});
    assert_eq!(texts(&p), ["weight of m1 in a-ro: 100 → 7"]);
}

#[test]
fn what_runs_is_brought_to_the_files() {
    let p = plan(BASE, BASE, gone("m1"));
    assert_eq!((p.action, p.changes.len(), p.commands.len()), (Action::Runtime, 0, 1));
    let p = plan(BASE, BASE, |r| {
        let extra = LiveServer { address: "10.0.0.9".into(), weight: 3, ..LiveServer::default() };
        r.live.as_mut().unwrap().servers.insert(("a-ro".into(), "x".into()), extra.clone());
        // A stranger's backend is nobody's business here.
        r.live.as_mut().unwrap().servers.insert(("strange".into(), "x".into()), extra);
    });
    assert_eq!(texts(&p), ["remove x, which has no sessions, from a-ro"]);
    // Nothing can bring it back but a reload, which would not have it either.
    assert_eq!(p.commands[0].inverse(), None);
}

#[test]
fn a_hand_is_kept_and_shown_until_the_files_say_something_new() {
    let forty = || hand("m2", |s| s.weight = 40);
    let p = plan(BASE, BASE, forty());
    assert!(p.is_empty());
    assert_eq!(p.hands[0].to_string(), "weight of m2 in a-ro is 40 by hand, the files say 100");
    // A change elsewhere leaves it alone.
    let p = plan(BASE, &with("maxconn 3000", "maxconn 10"), forty());
    assert_eq!((texts(&p).len(), p.hands.len()), (1, 1));
    let new =
        with("m2 10.0.0.2:6432 check port 8008 weight 100", "m2 10.0.0.2:6432 check port 8008 weight 60");
    let p = plan(BASE, &new, forty());
    assert_eq!((texts(&p), p.hands.len()), (vec!["weight of m2 in a-ro: 40 → 60".to_owned()], 0));
    // The files catch up with the hand: nothing to do.
    let p = plan(BASE, &with("weight 100", "weight 40"), hand("m1", |s| s.weight = 40));
    assert_eq!((p.action, p.changes.len(), p.hands.len()), (Action::Nothing, 1, 0));
}

#[test]
fn maintenance_and_drain_are_never_undone() {
    let p = plan(BASE, BASE, hand("m2", |s| s.maintenance = true));
    assert_eq!(p.hands[0].to_string(), "m2 in a-ro is in maintenance by hand, and stays so");
    assert!(p.is_empty());
    let new = BASE.replace("weight 100", "weight 60");
    let p = plan(BASE, &new, hand("m2", |s| s.drain = true));
    assert_eq!((p.commands.len(), p.hands.len()), (4, 1));
    assert_eq!(serde_json::to_value(&p.hands[0]).unwrap()["what"], "state");
    let limits = plan(BASE, BASE, |r| r.live.as_mut().unwrap().listeners.extend([("a-ro".to_owned(), 5)]));
    assert_eq!(limits.hands[0].to_string(), "maxconn of a-ro is 5 by hand, the files say 3000");
}

#[test]
fn every_command_is_undone_by_its_inverse() {
    let p =
        plan(BASE, &third(M3).replace("weight 100", "weight 9").replace("maxconn 3000", "maxconn 5"), |_| {});
    assert_eq!(p.commands.len(), 7);
    for c in &p.commands {
        let back = c.inverse().unwrap();
        assert_ne!(back, *c);
        assert_eq!(back.inverse().as_ref(), Some(c));
        assert!(serde_json::to_value(c).unwrap()["text"].is_string());
    }
}

#[test]
fn a_template_that_is_not_ours_is_reloaded_for_every_letter() {
    let own = |text: &str| text.replace("weight", "id 7 weight");
    let p = plan(&own(BASE), &own(&with("weight 100", "weight 40")), |_| {});
    assert_eq!((p.action, p.hands.len()), (Action::Reload, 0));
}
