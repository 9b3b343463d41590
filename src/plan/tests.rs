use std::path::{Path, PathBuf};

use super::*;
use crate::render::{Layout, Templates};

fn layout() -> Layout {
    Layout::default()
}

fn file(name: &str, content: &str, cluster: Option<&str>) -> RenderedFile {
    let path = if name.starts_with('/') { name.into() } else { layout().conf_d.join(name) };
    RenderedFile {
        path,
        content: content.into(),
        mode: 0o640,
        owner: ("root".into(), "haproxy".into()),
        cluster: cluster.map(str::to_owned),
    }
}

fn on_disk(f: &RenderedFile) -> (PathBuf, InstalledFile) {
    (f.path.clone(), InstalledFile { content: f.bytes(), mode: f.mode, uid: 0, gid: 99 })
}

fn service(cluster: &str, name: &str, port: u16) -> RenderedFile {
    let content = format!(
        "# Managed by pgsvc: cluster={cluster} service={name}\nlisten {cluster}-{name}\n    bind *:{port}\n    server a 1.2.3.4:1\n"
    );
    file(&format!("{cluster}-{name}.cfg"), &content, Some(cluster))
}

fn wanted(services: Vec<RenderedFile>, scope: &[&str]) -> Wanted {
    Wanted {
        node: Some(file("/etc/haproxy/haproxy.cfg", "# Managed by pgsvc: node\nglobal\n", None)),
        dropin: None,
        units: Vec::new(),
        services,
        scope: scope.iter().map(|s| (*s).to_owned()).collect(),
        adopt: false,
        nonlocal_binds: false,
    }
}

fn make(w: &Wanted, i: &Installed) -> Result<Plan, Errors> {
    plan(w.clone(), i, &layout(), &Templates::new(&BTreeMap::new()).unwrap(), Some(99)).map_err(Errors::from)
}

/// The node after a plan was carried out.
fn after(p: &Plan, before: &Installed) -> Installed {
    let mut i = before.clone();
    for c in &p.changes {
        match &c.after {
            Some(f) => i.files.extend([on_disk(f)]),
            None => drop(i.files.remove(&c.path)),
        }
    }
    i.running = Some(Running { description: Some(p.hash.clone()), takes_reload: true, ..Running::default() });
    i
}

fn running() -> Option<Running> {
    Some(Running { description: None, takes_reload: true, ..Running::default() })
}

#[test]
fn a_second_run_changes_nothing_and_reloads_nothing() {
    let w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    let empty = Installed { running: running(), ..Installed::default() };
    let first = make(&w, &empty).unwrap();
    assert_eq!((first.changes.len(), &first.action), (3, &Action::Reload));
    assert_eq!(first.new_binds, ["0.0.0.0:5433".parse().unwrap()]);
    assert!(make(&w, &after(&first, &empty)).unwrap().is_empty());
}

#[test]
fn stale_files_go_foreign_files_and_other_clusters_stay() {
    let mut i = Installed { running: running(), ..Installed::default() };
    for f in [
        service("pg-test", "old", 5440),
        service("pg-test-2", "primary", 5533),
        file("pg-test-ro.cfg", "listen pg-test-ro\n    bind *:6000\n", None),
        file("pg-test-copy.cfg", "# Managed by pgsvc: cluster=pg-test service=old\n", None),
    ] {
        i.files.extend([on_disk(&f)]);
    }
    let p = make(&wanted(vec![service("pg-test", "primary", 5433)], &["pg-test"]), &i).unwrap();
    let removed: Vec<_> = p.changes.iter().filter(|c| c.after.is_none()).map(|c| c.path.clone()).collect();
    assert_eq!(removed, [layout().conf_d.join("pg-test-old.cfg")]);
    assert_eq!(p.candidate.len(), 6);
}

#[test]
fn somebody_elses_file_is_never_replaced_unasked() {
    let mut i = Installed { running: running(), ..Installed::default() };
    i.files.extend([
        on_disk(&file("/etc/haproxy/haproxy.cfg", "global\n", None)),
        on_disk(&file("a-primary.cfg", "listen x\n", None)),
    ]);
    let mut w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    let e = make(&w, &i).unwrap_err();
    assert_eq!(e.0.len(), 2, "{e}");
    i.pristine = true;
    assert_eq!(make(&w, &i).unwrap_err().0.len(), 1);
    w.adopt = true;
    assert!(make(&w, &i).is_ok());
}

#[test]
fn an_earlier_pgsvcs_drop_in_is_replaced_and_a_strangers_is_not() {
    let path = "/etc/systemd/system/haproxy.service.d/pgsvc.conf";
    let mut w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    w.dropin =
        Some(file(path, "# Managed by pgsvc: changes are overwritten.\n[Service]\nExecStart=new\n", None));
    let with = |content: &str| {
        let mut i = Installed { running: running(), ..Installed::default() };
        i.files.extend([on_disk(&file(path, content, None))]);
        make(&w, &i)
    };
    assert!(
        with("# Managed by pgsvc: changes are overwritten.\n[Service]\nExecStart=old\n")
            .unwrap()
            .daemon_reload
    );
    assert!(with("[Service]\nExecStart=mine\n").is_err());
}

#[test]
fn two_listeners_on_one_port_are_refused_whoever_wrote_them() {
    let mut i = Installed { running: running(), ..Installed::default() };
    i.files.extend([on_disk(&file("hand.cfg", "listen x\n  bind 10.0.0.1:5433 name y\n", None))]);
    let e = make(&wanted(vec![service("a", "primary", 5433)], &["a"]), &i).unwrap_err().to_string();
    assert!(e.contains("hand.cfg") && e.contains("5433"), "{e}");
}

#[test]
fn an_obstacle_is_that_of_the_cluster_that_meets_it() {
    let mut i = Installed { running: running(), ..Installed::default() };
    for f in [
        file("hand.cfg", "listen x\n  bind *:5433\n", None),
        file("more.cfg", "listen y\n  bind *:5433\n", None),
        file("c-primary.cfg", "listen z\n", None),
    ] {
        i.files.extend([on_disk(&f)]);
    }
    let services =
        [service("a", "primary", 5433), service("b", "primary", 6433), service("c", "primary", 7433)];
    let plan = |scope: &[&str]| {
        let services =
            services.iter().filter(|f| f.cluster.as_deref().is_some_and(|c| scope.contains(&c))).cloned();
        let w = wanted(services.collect(), scope);
        super::plan(w, &i, &layout(), &Templates::new(&BTreeMap::new()).unwrap(), Some(99))
    };
    let found = plan(&["a", "b", "c"]).unwrap_err();
    assert!(found.node.is_empty(), "{found:?}");
    assert_eq!(found.clusters.keys().collect::<Vec<_>>(), ["a", "c"]);
    // Two strangers that share a port did so before: no matter of b's.
    assert!(plan(&["b"]).is_ok());
}

#[test]
fn the_action_is_the_least_that_works() {
    let w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    let first = make(&w, &Installed { running: running(), ..Installed::default() }).unwrap();
    let mut i = after(&first, &Installed::default());
    i.running = None;
    assert_eq!(make(&w, &i).unwrap().action, Action::Start);
    i.running =
        Some(Running { description: Some("pgsvc-0".into()), takes_reload: true, ..Running::default() });
    assert_eq!(make(&w, &i).unwrap().action, Action::Reload);
    let mut with_dropin = w.clone();
    with_dropin.dropin = Some(file("/etc/systemd/system/haproxy.service.d/pgsvc.conf", "[Service]\n", None));
    i.running = Some(Running { description: None, takes_reload: false, ..Running::default() });
    let p = make(&with_dropin, &i).unwrap();
    assert_eq!((&p.action, p.daemon_reload), (&Action::Restart, true));
}

#[test]
fn a_wrong_mode_or_owner_is_mended_without_a_reload() {
    let w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    let first = make(&w, &Installed { running: running(), ..Installed::default() }).unwrap();
    let mut i = after(&first, &Installed::default());
    i.files.get_mut(&layout().conf_d.join("a-primary.cfg")).unwrap().mode = 0o644;
    let p = make(&w, &i).unwrap();
    assert_eq!((p.changes.len(), &p.action), (1, &Action::Nothing));
}

#[test]
fn bind_lines_are_read_as_haproxy_reads_them() {
    let text = b"  bind *:80\n\tbind :81,127.0.0.1:82 ssl\n bind [::1]:83\n bind :::84 v6only\n bind unix@/x\n bindx *:85\n# bind *:86\n";
    let got: Vec<String> = binds(text).iter().map(ToString::to_string).collect();
    assert_eq!(got, ["0.0.0.0:80", "0.0.0.0:81", "127.0.0.1:82", "[::1]:83", "[::]:84"]);
}

#[test]
fn our_units_come_with_the_node_and_go_with_the_last_cluster() {
    crate::daemon::own_unit::PATHS.into_iter().for_each(comes_and_goes);
}

fn comes_and_goes(path: &str) {
    let unit = || file(path, "# Managed by pgsvc: changes are overwritten.\n", None);
    let mut w = wanted(vec![service("a", "primary", 5433)], &["a"]);
    w.units = vec![unit()];
    let empty = Installed { running: running(), ..Installed::default() };
    let first = make(&w, &empty).unwrap();
    assert!(first.daemon_reload && first.changes.iter().any(|c| c.path == Path::new(path)));
    let mut i = after(&first, &empty);
    let said = Running { description: Some(first.hash.clone()), takes_reload: true, ..Running::default() };
    i.running = Some(said);
    assert!(make(&w, &i).unwrap().is_empty());
    let gone = |w: &Wanted, i: &Installed| {
        let p = make(w, i).unwrap();
        (p.changes.iter().any(|c| c.path == Path::new(path) && c.after.is_none()), p.action)
    };
    w.units.clear();
    assert_eq!(gone(&w, &i), (true, Action::Nothing), "the option is off");
    let mut absent = wanted(Vec::new(), &["a"]);
    absent.node = None;
    assert!(gone(&absent, &i).0, "the last cluster goes");
    i.files.extend([on_disk(&service("b", "primary", 5533))]);
    assert!(!gone(&absent, &i).0, "another one stays");
}
