use serde_json::{Value, json};

use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use crate::render::Layout;
use crate::render::haproxy::{services, services_since};
use crate::resolve::{RoleSource, cluster};

fn templates(own: &[(&str, &str)]) -> Templates {
    Templates::new(&own.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect()).unwrap()
}

/// The default services of two members, each of whom has these variables too.
fn resolved(extra: &Value) -> Vec<ResolvedService> {
    let member = |seq: u64, role: &str| {
        let mut m = json!({"inventory_hostname": format!("10.0.0.{seq}"), "pg_cluster": "a", "pg_seq": seq, "pg_role": role});
        m.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        (format!("10.0.0.{seq}"), Vars::from(m.as_object().unwrap()))
    };
    let hosts = [member(1, "primary"), member(2, "replica")];
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    cluster(&build("a", &view, &Overrides::default()).unwrap(), RoleSource::Patroni).unwrap()
}

type Files = BTreeMap<PathBuf, InstalledFile>;

/// What a run leaves that rendered these services.
fn left(templates: &Templates, all: &[ResolvedService]) -> (Known, Files) {
    let (mut known, mut files) = (Known::default(), Files::new());
    for f in services(templates, &Layout::default(), all).unwrap() {
        let s = all.iter().find(|s| f.path.ends_with(name(s))).unwrap();
        known.note(templates, s, f.content.as_bytes());
        files.insert(f.path.clone(), InstalledFile { content: f.bytes(), mode: f.mode, uid: 0, gid: 0 });
    }
    (known, files)
}

/// How many of the services need not be rendered.
fn found(known: &Known, files: &Files, templates: &Templates, all: &[ResolvedService]) -> usize {
    let layout = Layout::default();
    let earlier = Earlier { known, files: &by_name(&layout, files) };
    let again = services_since(templates, &layout, all, Some(earlier)).unwrap();
    assert_eq!(again, services(templates, &layout, all).unwrap());
    all.iter().filter(|s| earlier.content(templates, s).is_some()).count()
}

#[test]
fn a_service_that_is_what_it_was_is_not_rendered_again() {
    let (templates, all) = (templates(&[]), resolved(&json!({})));
    let (known, files) = left(&templates, &all);
    assert_eq!(found(&known, &files, &templates, &all), 4);
    assert_eq!(found(&Known::parse(&known.text()), &files, &templates, &all), 4);
    assert_eq!(found(&Known::default(), &files, &templates, &all), 0);
    assert_eq!(found(&known, &Files::new(), &templates, &all), 0);
}

#[test]
fn whatever_is_different_is_rendered() {
    let (built_in, all) = (templates(&[]), resolved(&json!({})));
    let (known, files) = left(&built_in, &all);
    for extra in [
        json!({"pg_weight": 99}),
        json!({"pg_port": 5439, "pgbouncer_port": 6439}),
        json!({"patroni_port": 8009}),
        json!({"patroni_ssl_enabled": true}),
        json!({"pg_rto": "fast"}),
        json!({"pg_default_service_dest": "postgres", "patroni_cert_file": "/x.pem", "patroni_ssl_enabled": true}),
    ] {
        let now = resolved(&extra);
        let same = now.iter().filter(|s| all.contains(s)).count();
        assert!(same < 4, "{extra}");
        assert_eq!(found(&known, &files, &built_in, &now), same, "{extra}");
    }
    let text = crate::render::BUILT_IN.iter().find(|(n, _)| *n == "backend.hbs").unwrap().1;
    let own = templates(&[("backend.hbs", &format!("{text}    # own\n"))]);
    assert_eq!(found(&known, &files, &own, &all), 0, "another template");
    let mut by_hand = files.clone();
    let file = by_hand.values_mut().next().unwrap();
    file.content = [&file.content[..], b"    # by hand\n"].concat().into();
    assert_eq!(found(&known, &by_hand, &built_in, &all), 3, "a line more in one file");
}

#[test]
fn what_is_no_line_of_ours_is_left_out() {
    let (templates, all) = (templates(&[]), resolved(&json!({})));
    let (known, _) = left(&templates, &all);
    let text = known.text();
    let short = text.replacen(|c: char| c.is_ascii_hexdigit(), "", 1);
    assert_eq!(Known::parse(&short).files.len(), 3);
    assert_eq!(Known::parse(&format!("\nx\n{text}\u{0}{text}")).text(), text);
    let mut some = known.clone();
    some.retain(|name| name == "a-replica.cfg");
    assert_eq!(some.files.len(), 1);
}

#[test]
fn what_was_read_of_all_files_holds_for_those_files_alone() {
    let (a, b, text) = (Path::new("/a.cfg"), Path::new("/b.cfg"), &b"server x"[..]);
    let files = [(a, text), (b, text)];
    let mut known = Known::default();
    assert_eq!(known.whole(&files), None);
    known.note_whole(Some(&Whole::new("0123456789abcdef".into(), 2)), &files);
    let whole = known.whole.clone().unwrap();
    for known in [Known::parse(&known.text()), known.clone()] {
        assert_eq!(known.whole(&files), Some(&whole));
        let others: [&[(&Path, &[u8])]; 5] = [
            &[(a, text)],
            &[(a, text), (b, b"server y")],
            &[(b, text), (a, text)],
            &[(a, text), (Path::new("/c.cfg"), text)],
            &[(a, text), (b, text), (Path::new("/c.cfg"), b"")],
        ];
        assert!(others.iter().all(|files| known.whole(files).is_none()));
    }
    for other in [("0123456789abcdef", "0123456789abcdee"), (" 2 ", " 3 ")] {
        assert_eq!(Known::parse(&known.text().replace(other.0, other.1)).whole(&files), None, "{other:?}");
    }
    for wrong in [("all ", "al "), ("0123456789abcdef", "0123456789abcdeg"), (" 2 ", " x "), (" 2 ", " ")] {
        assert_eq!(Known::parse(&known.text().replace(wrong.0, wrong.1)).whole, None, "{wrong:?}");
    }
}
