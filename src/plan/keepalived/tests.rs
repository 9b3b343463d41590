use super::*;
use crate::error::Errors;

fn paths() -> Paths {
    Paths::default()
}

fn file(path: PathBuf, content: &str, cluster: Option<&str>) -> RenderedFile {
    let owner = ("root".to_owned(), "root".to_owned());
    RenderedFile { path, content: content.into(), mode: 0o644, owner, cluster: cluster.map(str::to_owned) }
}

fn of(cluster: &str, path: PathBuf, body: &str) -> RenderedFile {
    let text = format!("# Managed by pgsvc: cluster={cluster} service=@keepalived\n{body}");
    file(path, &text, Some(cluster))
}

fn conf(cluster: &str) -> RenderedFile {
    of(cluster, paths().cluster(cluster), &format!("vrrp_instance {cluster} {{\n}}\n"))
}

fn unit(cluster: &str) -> RenderedFile {
    of(cluster, paths().unit(cluster), "[Service]\n")
}

fn wanted(clusters: Vec<RenderedFile>, scope: &[&str]) -> Wanted {
    Wanted {
        node: Some(file(paths().config, "# Managed by pgsvc: node\ninclude x\n", None)),
        dropin: Some(file(paths().dropin, "# Managed by pgsvc: changes are overwritten.\n[Service]\n", None)),
        clusters,
        scope: scope.iter().map(|s| (*s).to_owned()).collect(),
        adopt: false,
    }
}

/// A run that only takes clusters away.
fn absent(scope: &[&str]) -> Wanted {
    Wanted { node: None, dropin: None, ..wanted(Vec::new(), scope) }
}

fn on_disk(content: &[u8]) -> InstalledFile {
    InstalledFile { content: content.into(), mode: 0o644, uid: 0, gid: 0 }
}

fn make(w: &Wanted, i: &Installed) -> Result<Plan, Errors> {
    plan(w, i, &paths()).map_err(Errors::from)
}

/// The node after a plan was carried out.
fn after(p: &Plan, before: &Installed) -> Installed {
    let mut i = before.clone();
    for c in &p.changes {
        match &c.after {
            Some(f) => drop(i.files.insert(c.path.clone(), on_disk(f.content.as_bytes()))),
            None => drop(i.files.remove(&c.path)),
        }
    }
    i.running = Some(Running { hash: Some(p.hash.clone()), reads_ours: true, serves: true });
    i
}

fn node(files: &[(PathBuf, &str)], running: Option<Running>) -> Installed {
    let files = files.iter().map(|(p, t)| (p.clone(), on_disk(t.as_bytes()))).collect();
    Installed { files, running, idle_units: false }
}

fn changed(p: &Plan) -> Vec<String> {
    let sign = |c: &FileChange| match (&c.before, &c.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    };
    let name = |c: &FileChange| c.path.file_name().unwrap().to_string_lossy().into_owned();
    p.changes.iter().map(|c| format!("{}{}", sign(c), name(c))).collect()
}

#[test]
fn a_second_run_changes_nothing_and_reloads_nothing() {
    let w = wanted(vec![conf("a"), unit("a")], &["a"]);
    let first = make(&w, &Installed::default()).unwrap();
    assert_eq!(
        changed(&first),
        ["+pgsvc.conf", "+00-pgsvc.conf", "+a.conf", "+pgsvc.conf", "+pgsvc-vip-a.service"]
    );
    assert_eq!((&first.action, first.daemon_reload, first.candidate.len()), (&Action::Start, true, 3));
    let second = make(&w, &after(&first, &Installed::default())).unwrap();
    assert!(second.is_empty() && !second.daemon_reload, "{second:?}");
    assert_eq!(second.hash, first.hash);
}

#[test]
fn the_name_of_the_configuration_changes_with_any_of_our_files_and_with_no_foreign_one() {
    let w = wanted(vec![conf("a")], &["a"]);
    let one = make(&w, &Installed::default()).unwrap();
    let own = node(&[(paths().own, "vrrp_instance x {\n}\n")], None);
    let with_own = make(&w, &own).unwrap();
    assert_eq!(with_own.hash, one.hash);
    assert_eq!(with_own.candidate.get(&paths().own).map(|c| c.len()), Some(20), "it is tested with ours");
    assert!(!with_own.changes.iter().any(|c| c.path == paths().own));
    let two = make(&wanted(vec![conf("a"), conf("b")], &["a", "b"]), &after(&one, &own)).unwrap();
    assert_ne!(two.hash, one.hash);
    assert_eq!(
        (changed(&two), two.action),
        (vec!["~00-pgsvc.conf".into(), "+b.conf".into()], Action::Reload)
    );
}

#[test]
fn stale_files_go_and_those_of_others_stay() {
    let all = wanted(vec![conf("a"), unit("a"), conf("b"), unit("b")], &["a", "b"]);
    let mut i = after(&make(&all, &Installed::default()).unwrap(), &Installed::default());
    // A copy that somebody made, and a file that is nobody's.
    i.files.insert(paths().cluster("a-copy"), on_disk(conf("a").content.as_bytes()));
    i.files.insert(paths().cluster("mine"), on_disk(b"vrrp_instance mine {\n}\n"));
    let p = make(&absent(&["a"]), &i).unwrap();
    assert_eq!(changed(&p), ["~00-pgsvc.conf", "-a.conf", "-pgsvc-vip-a.service"]);
    assert_eq!((&p.action, p.daemon_reload), (&Action::Reload, true));
    assert!(p.candidate.contains_key(&paths().cluster("mine")));
}

#[test]
fn with_the_last_cluster_our_files_go_and_the_operators_own_configuration_runs_again() {
    let w = wanted(vec![conf("a")], &["a"]);
    let i = after(&make(&w, &Installed::default()).unwrap(), &Installed::default());
    let p = make(&absent(&["a"]), &i).unwrap();
    assert_eq!(changed(&p), ["-pgsvc.conf", "-00-pgsvc.conf", "-a.conf", "-pgsvc.conf"]);
    assert_eq!((&p.action, p.hash.as_str(), p.candidate.len()), (&Action::Stop, "", 0));
    let mut with_own = i.clone();
    with_own.files.insert(paths().own, on_disk(b"vrrp_instance x {\n}\n"));
    let p = make(&absent(&["a"]), &with_own).unwrap();
    assert_eq!((&p.action, p.candidate.keys().collect::<Vec<_>>()), (&Action::Restart, vec![&paths().own]));
    // What was stopped by hand, or never read ours, stays as it is.
    with_own.running = None;
    assert_eq!(make(&absent(&["a"]), &with_own).unwrap().action, Action::Nothing);
    with_own.running = Some(Running { reads_ours: false, serves: true, ..Running::default() });
    assert_eq!(make(&absent(&["a"]), &with_own).unwrap().action, Action::Nothing);
    assert!(make(&absent(&["a"]), &Installed::default()).unwrap().is_empty());
}

#[test]
fn a_node_that_is_only_prepared_gets_no_keepalived() {
    let p = make(&wanted(vec![unit("a")], &["a"]), &Installed::default()).unwrap();
    assert_eq!(changed(&p), ["+pgsvc-vip-a.service"]);
    assert_eq!((&p.action, p.daemon_reload, p.candidate.len()), (&Action::Nothing, true, 0));
}

#[test]
fn a_unit_that_does_not_run_is_seen_to_although_no_file_changes() {
    let w = wanted(vec![conf("a"), unit("a")], &["a"]);
    let mut i = after(&make(&w, &Installed::default()).unwrap(), &Installed::default());
    i.idle_units = true;
    let p = make(&w, &i).unwrap();
    assert!(p.is_empty() && p.daemon_reload, "{p:?}");
}

#[test]
fn a_foreign_file_in_the_way_is_an_obstacle_unless_adopted() {
    let mut w = wanted(vec![conf("a"), unit("a")], &["a"]);
    for (path, text) in [
        (paths().config, "vrrp_instance x {\n}\n"),
        (paths().cluster("a"), "mine\n"),
        (paths().name(), "mine\n"),
        (paths().unit("a"), "# Managed by pgsvc: cluster=b service=@keepalived\n"),
        (paths().dropin, "[Service]\n"),
    ] {
        let i = node(&[(path.clone(), text)], None);
        w.adopt = false;
        let error = make(&w, &i).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        w.adopt = true;
        assert!(make(&w, &i).is_ok());
    }
    let clash = make(&wanted(vec![conf("00-pgsvc")], &[]), &Installed::default()).unwrap_err();
    assert!(clash.to_string().contains("is pgsvc's own file; rename the cluster"), "{clash}");
}

#[test]
fn the_action_is_the_least_that_puts_the_files_into_effect() {
    let w = wanted(vec![conf("a")], &["a"]);
    let i = after(&make(&w, &Installed::default()).unwrap(), &Installed::default());
    let with = |hash: Option<&str>, reads_ours| {
        let running = Some(Running { hash: hash.map(str::to_owned), reads_ours, serves: true });
        make(&w, &Installed { running, ..i.clone() }).unwrap()
    };
    assert_eq!(with(None, true).action, Action::Reload);
    assert_eq!(with(Some("pgsvc-old"), true).action, Action::Reload);
    assert_eq!(with(None, false).action, Action::Restart);
    assert_eq!(make(&w, &Installed { running: None, ..i.clone() }).unwrap().action, Action::Start);
    let mut dropin = i.clone();
    dropin.files.insert(paths().dropin, on_disk(b"# Managed by pgsvc: changes are overwritten.\n[Old]\n"));
    let p = make(&w, &dropin).unwrap();
    assert_eq!(
        (changed(&p), &p.action, p.daemon_reload),
        (vec!["~pgsvc.conf".into()], &Action::Nothing, true)
    );
}

#[test]
fn a_virtual_server_that_two_files_have_is_named() {
    let server = "virtual_server 192.0.2.10 5433 {\n}\n";
    let both = |c: &str| of(c, paths().cluster(c), server);
    let error = make(&wanted(vec![both("a"), both("b")], &["a", "b"]), &Installed::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/etc/keepalived/pgsvc.d/b.conf: the virtual server 192.0.2.10 port 5433 is also in /etc/keepalived/pgsvc.d/a.conf"), "{text}");
    let own = node(&[(paths().own, server)], None);
    let text = make(&wanted(vec![both("a")], &["a"]), &own).unwrap_err().to_string();
    assert!(text.contains("is also in /etc/keepalived/keepalived.conf"), "{text}");
    // Two of the operator's own are his.
    let own = node(&[(paths().own, server), (paths().cluster("mine"), server)], None);
    assert!(make(&wanted(vec![conf("a")], &["a"]), &own).is_ok());
}
