//! A link in the place of anything that pgsvc manages is never written through: it is refused by name, or replaced as a
//! link; what it leads to stays as it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod faulty;

use std::path::Path;

use faulty::case::{Case, node};
use faulty::hand::Fault;
use faulty::scene::{Scene, copy, room, tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The run does nothing, and names the path.
    Refused,
    /// The link gives way to what belongs there.
    Replaced,
    /// The run goes on without what would be there.
    Left,
}

use Then::{Left, Refused, Replaced};

/// What is replaced by a link; a directory ends with a slash.
const HAPROXYS: [(&str, Then); 29] = [
    ("/etc/haproxy/", Refused),
    ("/etc/haproxy/haproxy.cfg", Refused),
    ("/etc/haproxy/conf.d/", Refused),
    ("/etc/haproxy/conf.d/00-pgsvc.cfg", Refused),
    ("/etc/haproxy/conf.d/pg-test-primary.cfg", Refused),
    ("/etc/haproxy/conf.d/pg-test-gone.cfg", Refused),
    ("/etc/haproxy/conf.d/pg-test-more.cfg", Refused),
    ("/etc/haproxy/conf.d/.pgsvc-new.pg-test-more.cfg", Replaced),
    ("/var/lib/pgsvc/", Refused),
    ("/var/lib/pgsvc/lock", Refused),
    ("/var/lib/pgsvc/stage/", Replaced),
    ("/var/lib/pgsvc/tx/", Refused),
    ("/var/lib/pgsvc/previous/", Refused),
    ("/var/lib/pgsvc/previous/old/", Refused),
    ("/var/lib/pgsvc/set-aside/", Refused),
    ("/var/lib/pgsvc/clusters/", Refused),
    ("/var/lib/pgsvc/clusters.next/", Refused),
    ("/var/lib/pgsvc/clusters.previous/", Refused),
    ("/var/lib/pgsvc/clusters/pg-test.json", Replaced),
    ("/var/lib/pgsvc/clusters/pg-other.json", Replaced),
    ("/var/lib/pgsvc/original/", Refused),
    ("/var/lib/pgsvc/rendered", Replaced),
    ("/var/lib/pgsvc/waiting/", Refused),
    ("/etc/systemd/system/haproxy.service.d/", Refused),
    ("/usr/local/lib/pgsvc/", Left),
    ("/run/pgsvc/", Left),
    ("/usr/local/lib/pgsvc/pgsvc", Replaced),
    ("/run/pgsvc/servers", Replaced),
    ("/run/pgsvc/servers.new", Replaced),
];
const KEEPALIVEDS: [(&str, Then); 9] = [
    ("/etc/keepalived/", Refused),
    ("/etc/keepalived/pgsvc.conf", Refused),
    ("/etc/keepalived/pgsvc.d/", Refused),
    ("/etc/keepalived/pgsvc.d/00-pgsvc.conf", Refused),
    ("/etc/keepalived/pgsvc.d/pg-test.conf", Refused),
    ("/etc/systemd/system/", Refused),
    ("/etc/systemd/system/haproxy.service.d/", Refused),
    ("/etc/systemd/system/haproxy.service.d/pgsvc.conf", Refused),
    ("/etc/systemd/system/keepalived.service.d/", Refused),
];

/// Moves what is there elsewhere and puts a link in its place.
fn link(root: &Path, path: &str, elsewhere: &Path) {
    let (at, target) = (root.join(path.trim_matches('/')), elsewhere.join("target"));
    if at.symlink_metadata().is_ok() {
        copy(&at, &target);
        if at.is_dir() { std::fs::remove_dir_all(&at).unwrap() } else { std::fs::remove_file(&at).unwrap() }
    } else if path.ends_with('/') {
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("own"), "somebody's\n").unwrap();
    } else {
        std::fs::write(&target, "somebody's\n").unwrap();
    }
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&target, &at).unwrap();
}

fn tried(case: &Case, path: &str, then: Then) {
    let (root, elsewhere) = (room(), room());
    copy(case.template.path(), root.path());
    link(root.path(), path, elsewhere.path());
    // Where both daemons have a part, the first one's may be installed before the second one's is looked at.
    let etc = || {
        let kept = |p: &Path| !case.scene.rooted || !p.starts_with("haproxy");
        tree(&root.path().join("etc")).into_iter().filter(|(p, _)| kept(p)).collect::<Vec<_>>()
    };
    let (theirs, before) = (tree(elsewhere.path()), etc());
    let sys = node(root.path(), case.process.clone(), 0, Fault::None);
    let report = case.scene.run(&sys);
    assert_eq!(tree(elsewhere.path()), theirs, "{path}: written through");
    let name = path.trim_end_matches('/');
    let is_link = root.path().join(path.trim_matches('/')).is_symlink();
    match then {
        Refused => {
            assert!(report.failed && (case.scene.rooted || !report.changed), "{path}: {report:#?}");
            let named = |e: &pgsvc::error::Error| e.place == name && !e.hint.is_empty();
            assert!(
                report.errors.iter().any(named),
                "{path} is not named, or without a hint: {:#?}",
                report.errors
            );
            assert_eq!(etc(), before, "{path}: something was changed");
        }
        Replaced => {
            assert!(!report.failed, "{path}: {report:#?}");
            assert!(!is_link, "{path}: still a link");
        }
        Left => assert!(!report.failed && is_link, "{path}: {report:#?}"),
    }
}

fn case(name: &str) -> Case {
    Case::new(Scene::all().into_iter().find(|s| s.name == name).unwrap())
}

#[test]
fn no_link_is_followed_where_haproxy_is_managed() {
    let case = case("change");
    HAPROXYS.iter().for_each(|(path, then)| tried(&case, path, *then));
}

#[test]
fn no_link_is_followed_where_both_daemons_are_managed() {
    let case = case("a VIP moves");
    KEEPALIVEDS.iter().for_each(|(path, then)| tried(&case, path, *then));
}

/// The same words whatever is asked for, and before anything of the node is looked at more closely.
#[test]
fn a_linked_conf_d_is_refused_with_what_to_do() {
    let case = case("change");
    let (root, elsewhere) = (room(), room());
    copy(case.template.path(), root.path());
    link(root.path(), "/etc/haproxy/conf.d/", elsewhere.path());
    let report = case.scene.run(&node(root.path(), case.process.clone(), 0, Fault::None));
    let error = report.errors[0].to_string();
    let says = "/etc/haproxy/conf.d: is a symbolic link; pgsvc writes into real directories only";
    assert!(error.starts_with(says) && error.contains("mount --bind"), "{error}");
}
