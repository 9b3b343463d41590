use super::view::{Line, Part, Port, TierBox};
use super::*;
use crate::inventory::cluster::{Overrides, build};
use crate::request::ResolvedCluster;
use crate::resolve::{self, RoleSource};
use crate::vip::duty::Groups;
use serde_json::{Value, json};

fn cluster(shared: Value) -> ResolvedCluster {
    let one = |(i, role): (usize, &str)| {
        let mut vars = json!({"pg_cluster": "pg-test", "pg_seq": i + 1, "pg_role": role});
        vars.as_object_mut().unwrap().extend(shared.as_object().unwrap().clone());
        (format!("10.0.0.{}", i + 1), vars.as_object().unwrap().into())
    };
    let hosts: Vec<_> = ["primary", "replica", "offline"].into_iter().enumerate().map(one).collect();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = build("pg-test", &view, &Overrides::default()).unwrap();
    let services = resolve::cluster(&cluster, RoleSource::Patroni).unwrap();
    ResolvedCluster { cluster, services, proxy: true, duty: None, virtual_servers: Vec::new() }
}

fn way(c: &ResolvedCluster, service: &str, groups: &Groups) -> [connect::Way; 2] {
    connect::ways(c, why::find(c, service).unwrap(), groups)
}

/// A drawing whose every text is `text`.
fn all(text: &str) -> Drawing {
    let text = text.to_owned();
    let line = |note: &str| Line { member: 0, name: text.clone(), note: note.to_owned() };
    let tier = |backup| TierBox { backup, label: text.clone(), lines: vec![line(&text), line("")] };
    let port = Port { label: text.clone(), tiers: vec![tier(false), tier(true)] };
    Drawing {
        clusters: vec![Part {
            name: text.clone(),
            members: vec![vec![text.clone(), text.clone()]],
            ports: vec![port],
        }],
    }
}

/// What is left of a text when everything between quotes is gone, by the format's own escape.
fn skeleton(text: &str, escape: Option<char>) -> String {
    let (mut out, mut inside, mut chars) = (String::new(), false, text.chars());
    while let Some(c) = chars.next() {
        match c {
            c if inside && Some(c) == escape => drop(chars.next()),
            '"' => inside = !inside,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    assert!(!inside, "an open quote: {text}");
    out
}

const HOSTILE: [&str; 9] = [
    "\"]; click c0p0 \"javascript:alert(1)\"",
    "</text><script>alert(1)</script>",
    "a\nb\r\n  end\n",
    "#quot;&quot;&#34;",
    "`**bold**` 1. one",
    "\\\" ]\\N\\",
    "--> c0m0 |x| %% {}",
    "]]>\u{0}\u{7}\u{ffff}",
    "größe 数据库 style: x#y;",
];

#[test]
fn no_name_breaks_a_drawing() {
    let harmless = all("x");
    for name in HOSTILE {
        let drawing = all(name);
        assert_eq!(
            skeleton(&mermaid::mermaid(&drawing), None),
            skeleton(&mermaid::mermaid(&harmless), None),
            "{name}"
        );
        let dots = [&drawing, &harmless].map(|d| skeleton(&dot::dot(d), Some('\\')));
        assert_eq!(dots[0], dots[1], "{name}");
        let found = texts(&svg::svg(&drawing));
        let wanted: String =
            name.chars().map(|c| if c.is_control() || c == '\u{ffff}' { ' ' } else { c }).collect();
        // The title, and every label: cluster, port, two tiers with two lines each, two lines of the member.
        assert_eq!(found.len(), 11, "{name}");
        assert!(found.iter().all(|t| t.contains(&wanted)), "{name}: {found:?}");
    }
}

#[test]
fn what_mermaid_could_read_is_an_entity() {
    assert!(!mermaid::mermaid(&all("")).contains("\"\""), "an empty text is a syntax error to it");
    for name in HOSTILE {
        let text = mermaid::mermaid(&all(name));
        for quoted in text.split('"').skip(1).step_by(2) {
            let plain = quoted.replace("<br/>", "");
            let safe = |c: char| c.is_alphanumeric() || " ._-/,#;".contains(c);
            assert!(plain.chars().all(safe), "{plain}");
            for part in plain.split('#').skip(1) {
                let (number, _) = part.split_once(';').unwrap();
                assert!(number.parse::<u32>().is_ok_and(|n| char::from_u32(n).is_some()), "{part}");
            }
        }
    }
}

/// The texts of an XML document; panics where it is not well-formed: every tag closed, no stray sign, known entities.
fn texts(xml: &str) -> Vec<String> {
    let (mut open, mut found, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        let end = tag.find('>').unwrap();
        let inner = &tag[1..end];
        assert!(!text.contains('>') && inner.matches('"').count() % 2 == 0, "{text}<{inner}>");
        if let Some(name) = inner.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()));
            if name == "text" || name == "title" {
                found.push(unescaped(text));
            }
        } else {
            assert!(text.trim().is_empty(), "text between elements: {text}");
            let name = inner.split_whitespace().next().unwrap().to_owned();
            assert!(name.chars().all(|c| c.is_ascii_lowercase()), "{name}");
            if !inner.ends_with('/') {
                open.push(name);
            }
        }
        rest = &tag[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    found
}

fn unescaped(text: &str) -> String {
    assert!(text.chars().all(|c| !c.is_control() && c != '\u{ffff}'));
    for part in text.split('&').skip(1) {
        let entity = part.split_once(';').unwrap().0;
        assert!(["amp", "lt", "gt", "quot"].contains(&entity), "{entity}");
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn a_picture_holds_its_boxes() {
    let many = json!({"pg_services_extra": [{"name": "reports-of-the-night-with-a-long-name", "src_port": 5440,
        "selector": "[]", "check_url": "/replica?lag=16MB"}]});
    let c = cluster(many);
    let text = svg::svg(&Drawing::new([&c, &c]));
    let number = |tag: &str, name: &str| -> usize {
        let from = tag.split_once(&format!(" {name}=\"")).unwrap().1;
        from.split_once('"').unwrap().0.parse().unwrap()
    };
    let head = text.lines().next().unwrap();
    let boxes: Vec<[usize; 4]> = text
        .lines()
        .filter(|l| l.starts_with("<rect"))
        .map(|l| ["x", "y", "width", "height"].map(|name| number(l, name)))
        .collect();
    // Twice five ports, seven tiers and three members.
    assert_eq!(boxes.len(), 30);
    for [x, y, w, h] in &boxes {
        assert!(x + w <= number(head, "width") && y + h <= number(head, "height"), "{x} {y} {w} {h}: {head}");
    }
    for (i, a) in boxes.iter().enumerate() {
        for b in &boxes[i + 1..] {
            let apart =
                a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1];
            assert!(apart, "{a:?} and {b:?}");
        }
    }
    assert!(texts(&text).contains(&"5440 reports-of-the-night-with-a-long-name".to_owned()));
}

#[test]
fn a_line_says_when_a_member_serves() {
    let drawing = Drawing::new([&cluster(json!({"pg_weight": 40}))]);
    let replica = &drawing.clusters[0].ports[1];
    assert_eq!(replica.label, "5434 replica");
    let notes: Vec<(bool, &str, &str)> = replica
        .tiers
        .iter()
        .flat_map(|t| t.lines.iter().map(|l| (t.backup, l.name.as_str(), l.note.as_str())))
        .collect();
    assert_eq!(
        notes,
        [
            (false, "pg-test-1", "while replica, weight 40"),
            (false, "pg-test-2", "while replica, weight 40"),
            (true, "pg-test-1", "while primary, weight 40"),
            (true, "pg-test-2", "while primary, weight 40"),
            (true, "pg-test-3", "weight 40"),
        ]
    );
    assert_eq!(drawing.clusters[0].members[2], ["pg-test-3", "10.0.0.3, offline"]);
}

#[test]
fn a_client_goes_to_the_vip_where_there_is_one_and_else_to_every_load_balancer() {
    let none = Groups::new();
    let c = cluster(json!({}));
    let [through, direct] = way(&c, "primary", &none);
    assert_eq!(
        through.url("db"),
        "postgres://10.0.0.1:5433,10.0.0.2:5433,10.0.0.3:5433/db?target_session_attrs=read-write"
    );
    assert_eq!(
        direct.jdbc("db"),
        "jdbc:postgresql://10.0.0.1:6432,10.0.0.2:6432,10.0.0.3:6432/db?targetServerType=primary"
    );
    let c = cluster(json!({"vip_address": "fd00::9", "pg_services_extra": [
        {"name": "own", "src_ip": "10.0.0.77", "src_port": 5440, "selector": "[]", "check_url": "/read-only"}]}));
    assert_eq!(way(&c, "replica", &none)[0].url("db"), "postgres://[fd00::9]:5434/db");
    assert_eq!(way(&c, "replica", &none)[0].dsn("db"), "host=fd00::9 port=5434 dbname=db");
    assert_eq!(way(&c, "own", &none)[0].url("db"), "postgres://10.0.0.77:5440/db", "it listens nowhere else");
    let c = cluster(json!({"pg_service_provider": "lb"}));
    let vars = json!({"ansible_host": "10.0.0.21"}).as_object().unwrap().into();
    let lb = Groups::from([(
        "lb".to_owned(),
        vec![("lb1".to_owned(), vars), ("lb2".to_owned(), Default::default())],
    )]);
    assert_eq!(
        way(&c, "default", &lb)[0].dsn("db"),
        "host=10.0.0.21,lb2 port=5436 dbname=db target_session_attrs=read-write"
    );
}

#[test]
fn a_driver_past_the_load_balancers_asks_for_the_role_that_the_service_means() {
    let extra = json!({"pg_services_extra": [
        {"name": "up", "src_port": 5440, "selector": "[]", "check_port": "pg_exporter", "check_url": "/up"},
        {"name": "own", "src_port": 5441, "selector": "[? pg_role == `replica`]", "check_url": "/read-only"},
        {"name": "lead", "src_port": 5442, "selector": "[]", "check_url": "/leader"}]});
    let c = cluster(extra);
    for (service, session, jdbc) in [
        ("primary", "read-write", "targetServerType=primary"),
        ("replica", "prefer-standby", "targetServerType=preferSecondary&loadBalanceHosts=true"),
        ("offline", "standby", "targetServerType=secondary&loadBalanceHosts=true"),
        ("up", "", "loadBalanceHosts=true"),
        ("own", "standby", "targetServerType=secondary&loadBalanceHosts=true"),
        ("lead", "read-write", "targetServerType=primary"),
    ] {
        let [through, direct] = way(&c, service, &Groups::new());
        assert_eq!((direct.session, direct.jdbc), (session, jdbc), "{service}");
        let sure = if service == "primary" { "read-write" } else { "" };
        assert_eq!(through.session, sure, "{service}: the load balancer chooses");
    }
    let [_, direct] = way(&c, "offline", &Groups::new());
    assert_eq!(direct.places[0].0, "10.0.0.3", "who is backup under every role comes last");
}

#[test]
fn a_databases_name_is_quoted_as_each_form_wants() {
    let place = [("h".to_owned(), 1)];
    assert_eq!(connect::url("postgres", &place, "a b/?'ü"), "postgres://h:1/a%20b%2F%3F%27%C3%BC");
    assert_eq!(connect::dsn(&place, "a b\\'"), "host=h port=1 dbname='a b\\\\\\''");
    assert_eq!(connect::dsn(&place, ""), "host=h port=1 dbname=''");
    assert_eq!(connect::dsn(&[("a".into(), 1), ("b".into(), 2)], "d"), "host=a,b port=1,2 dbname=d");
}

#[test]
fn every_cell_has_its_reason() {
    let c = cluster(json!({}));
    let no_lines = |_: &crate::resolve::ResolvedService| Ok(String::new());
    let of = |service: &str, member: &str, roles| {
        let found = why::why(&c, service, member, roles, &no_lines).unwrap();
        let rows = found.rows.iter().map(|(name, text)| format!("{name}: {text}\n"));
        format!("{}\n{}", found.title, rows.collect::<String>())
    };
    let live = of("replica", "pg-test-1", RoleSource::Patroni);
    for part in [
        "pg-test-1 in service 'replica' of pg-test (port 5434): active, backup as primary\n",
        "as primary: backup: selector_backup \"[? pg_role == `primary` || pg_role == `offline` ]\" selects it, which goes",
        "as replica: active: selector \"[]\" selects it, and selector_backup",
        "active if: 200 to /read-only on port 8008, 200 to /replica on port 8008, port 6432 takes connections\n",
        "backup if: 200 to /read-only on port 8008, port 6432 takes connections\n",
    ] {
        assert!(live.contains(part), "{part} is not in\n{live}");
    }
    let fixed = of("offline", "3", RoleSource::Patroni);
    assert!(fixed.contains("role: offline, which no failover changes\nalways: active: selector"), "{fixed}");
    let written = of("offline", "1", RoleSource::Inventory);
    assert!(
        written.contains("pgsvc_role_source is inventory\nalways: not a member: neither selector"),
        "{written}"
    );
}
