//! The table of module arguments that must fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};

use crate::common::{arguments, member};

pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// What `msg` must hold.
    pub says: Vec<&'static str>,
}

fn raw(name: &'static str, bytes: impl Into<Vec<u8>>, says: &[&'static str]) -> Case {
    Case { name, bytes: bytes.into(), says: says.to_vec() }
}

/// Good arguments with one that is changed.
struct Change<'a>(&'a str);

impl Change<'_> {
    fn to(&self, name: &'static str, change: impl FnOnce(&mut Value), says: &[&'static str]) -> Case {
        raw(name, arguments(self.0, change), says)
    }

    fn argument(&self, name: &'static str, key: &str, v: Value, says: &[&'static str]) -> Case {
        self.to(name, |a| a[key] = v, says)
    }

    fn member(&self, name: &'static str, key: &str, v: Value, says: &[&'static str]) -> Case {
        self.to(name, |a| a["members"][1][key] = v, says)
    }

    fn service(&self, name: &'static str, key: &str, v: Value, says: &[&'static str]) -> Case {
        let change = |a: &mut Value| {
            let mut s = json!({"name": "x", "src_port": 5440, "selector": "[]"});
            s[key] = v;
            a["services"] = json!([s]);
        };
        self.to(name, change, says)
    }

    /// An operator's template, put beside the root's own directories: it is read from where it really lies.
    fn template(&self, name: &'static str, dir: &str, file: &str, text: &str, says: &[&'static str]) -> Case {
        let place = std::path::Path::new(self.0).join(dir);
        if std::path::Path::new(self.0).exists() {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(file), text).unwrap();
        }
        self.argument(name, "templates", json!(place), says)
    }
}

pub fn all(root: &str) -> Vec<Case> {
    let with = Change(root);
    let mut all = no_arguments();
    all.extend(arguments_of(&with));
    all.extend(members_of(&with));
    all.extend(services_of(&with));
    all.extend(templates_of(&with));
    all
}

fn no_arguments() -> Vec<Case> {
    let deep = format!("{{\"members\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let nonsense: Vec<u8> = (0..10 << 20).map(|i: u32| u8::try_from(i % 251).unwrap()).collect();
    vec![
        raw("nothing", "", &["no JSON", "pgsvc apply -i INVENTORY"]),
        raw("a list", "[]", &["no JSON object"]),
        raw("YAML", "members: []\n", &["no JSON"]),
        raw("NaN", "{\"members\": [{\"pg_weight\": NaN}]}", &["no JSON", "column"]),
        raw("JSON that breaks off", "{\"members\": [", &["no JSON", "EOF"]),
        raw("not UTF-8", b"{\"members\": \"\xff\xfe\"}".to_vec(), &["no JSON"]),
        raw("a NUL", b"{\"members\": \0}".to_vec(), &["no JSON"]),
        raw("deep nesting", deep, &["no JSON", "recursion limit"]),
        raw("ten megabytes of nonsense", nonsense, &["no JSON"]),
        raw("a number too large", "{\"verify_timeout\": 1e400}", &["no JSON"]),
    ]
}

fn arguments_of(with: &Change<'_>) -> Vec<Case> {
    vec![
        with.argument("an unknown argument", "membres", json!([]), &["'membres'", "did you mean 'members'"]),
        with.argument("a far argument", "zzzz", json!(1), &["'zzzz'", "ansible-doc pgsvc"]),
        with.argument("an argument with a newline", "a\nb", json!(1), &["a\\nb"]),
        with.argument("a state that is none", "state", json!("gone"), &["state", "present", "absent"]),
        with.argument("a state that is a list", "state", json!(["present"]), &["state"]),
        with.argument("members that are a text", "members", json!("all"), &["members: 'all' is no list"]),
        with.argument("members that are numbers", "members", json!([1]), &["members[0]: 1 is no map"]),
        with.argument("no members", "members", json!([]), &["carries no cluster"]),
        with.argument("no members, said by nothing", "members", Value::Null, &["carries no cluster"]),
        with.argument("a node that is a text", "node", json!("lb1"), &["node: 'lb1' is no map"]),
        with.argument("clusters with a slash", "clusters", json!(["../x"]), &["clusters", "'/'"]),
        with.argument(
            "a cluster without members",
            "clusters",
            json!(["pg-other"]),
            &["cluster 'pg-other'", "no members"],
        ),
        with.argument(
            "role_source that is none",
            "role_source",
            json!("etcd"),
            &["role_source", "'etcd'", "patroni, inventory"],
        ),
        with.argument("verify that is none", "verify", json!("perhaps"), &["verify", "'perhaps'", "report"]),
        with.argument("a timeout of nothing", "verify_timeout", json!(0), &["verify_timeout", "3600"]),
        with.argument(
            "a timeout that is a word",
            "verify_timeout",
            json!("soon"),
            &["verify_timeout", "'soon'"],
        ),
        with.argument(
            "an sslmode that is none",
            "verify_sslmode",
            json!("allow"),
            &["verify_sslmode", "'allow'"],
        ),
        with.argument("a flag that is none", "force", json!("please"), &["force: 'please' is no boolean"]),
        with.argument("a flag that is a map", "adopt", json!({}), &["adopt"]),
        with.argument("a user that is a list", "verify_user", json!(["a"]), &["verify_user"]),
        with.to(
            "an admin password with a newline",
            |a| a["node"]["haproxy_admin_password"] = json!("a\nb"),
            &["haproxy_admin_password", "control character"],
        ),
        with.to(
            "a timeout with a line",
            |a| a["node"]["haproxy_client_timeout"] = json!("1h\nlisten x"),
            &["haproxy_client_timeout", "\\n"],
        ),
        with.to("maxconn of nothing", |a| a["node"]["haproxy_maxconn"] = json!(0), &["haproxy_maxconn", "0"]),
    ]
}

fn members_of(with: &Change<'_>) -> Vec<Case> {
    vec![
        with.to(
            "a member without a name",
            |a| drop(a["members"][1].as_object_mut().unwrap().remove("inventory_hostname")),
            &["members[1]", "inventory_hostname"],
        ),
        with.to(
            "a member without a number",
            |a| drop(a["members"][1].as_object_mut().unwrap().remove("pg_seq")),
            &["10.10.10.12", "has no pg_seq"],
        ),
        with.to("one number twice", |a| a["members"][1] = member(1, "replica"), &["pg_seq 1 is both"]),
        with.member("a name with a newline", "inventory_hostname", json!("db\n2"), &["db\\n2"]),
        with.member("an address that is a list", "inventory_hostname", json!(["a"]), &["members[1]"]),
        with.member("a port as a text", "pg_port", json!("5432x"), &["10.10.10.12", "pg_port: '5432x'"]),
        with.member("a port as a boolean", "pg_port", json!(true), &["pg_port: true"]),
        with.member("a port with a fraction", "pg_port", json!(5432.5), &["pg_port: 5432.5"]),
        with.member("a port below zero", "patroni_port", json!(-1), &["patroni_port: -1"]),
        with.member("a weight below zero", "pg_weight", json!("-1"), &["pg_weight: '-1'"]),
        with.member(
            "a role in another case",
            "pg_role",
            json!("Primary"),
            &["'Primary'", "did you mean 'primary'"],
        ),
        with.member(
            "a vaulted port",
            "pg_port",
            json!({"__ansible_vault": "$ANSIBLE_VAULT"}),
            &["'pg_port'", "10.10.10.12", "ansible-vault"],
        ),
        with.member(
            "a template for a port",
            "pg_port",
            json!("{{ port }}"),
            &["'pg_port'", "10.10.10.12", "Jinja"],
        ),
        with.member("an empty cluster name", "pg_seq", json!(""), &["has no pg_seq"]),
    ]
}

fn services_of(with: &Change<'_>) -> Vec<Case> {
    let same = |name: &str, port: u16| json!({"name": name, "src_port": port, "selector": "[]"});
    vec![
        with.argument(
            "services that are a map",
            "services",
            json!({"name": "x"}),
            &["pg_services", "no list"],
        ),
        with.argument(
            "services that are numbers",
            "services",
            json!([1]),
            &["service 1 of pg-test: 1 is no service"],
        ),
        with.argument(
            "a name twice",
            "services",
            json!([same("x", 5440), same("x", 5441)]),
            &["'x'", "defined twice"],
        ),
        with.argument(
            "a port twice",
            "services",
            json!([same("x", 5440), same("y", 5440)]),
            &["port 5440", "'x'"],
        ),
        with.argument(
            "a port of an extra service",
            "services_extra",
            json!([same("y", 5433)]),
            &["port 5433", "'primary'"],
        ),
        with.argument(
            "an extra service in another shape",
            "services_extra",
            json!("y"),
            &["pg_services_extra: 'y'"],
        ),
        with.service("a name that is a list", "name", json!(["x"]), &["name", "no text"]),
        with.service("a name with a quote", "name", json!("x\"y"), &["name", "'\"'"]),
        with.service("a name with a carriage return", "name", json!("x\ry"), &["name", "\\r"]),
        with.service("a name beyond ASCII", "name", json!("größe"), &["name", "'ö'"]),
        with.service("a near field", "src_prot", json!(1), &["'src_prot'", "did you mean 'src_port'"]),
        with.service("both dialects", "port", json!(5440), &["mixes two dialects"]),
        with.service("a source that is a map", "src_ip", json!({}), &["src_ip", "no address"]),
        with.service("a source with a line", "src_ip", json!("10.0.0.1\n bind :1"), &["src_ip", "\\n"]),
        with.service(
            "a target with a keyword",
            "dst_port",
            json!("5432 backup"),
            &["dst_port", "'5432 backup'"],
        ),
        with.service(
            "a check code with a keyword",
            "check_code",
            json!("200 or status 500"),
            &["check_code"],
        ),
        with.service(
            "a check path with an expression",
            "check_url",
            json!("/%[env(HOME)]"),
            &["check_url", "'%'"],
        ),
        with.service("a check path with a variable", "check_url", json!("/$HOME"), &["check_url", "'$'"]),
        with.service(
            "a check path too long",
            "check_url",
            json!(format!("/{}", "x".repeat(1024))),
            &["check_url", "1024"],
        ),
        with.service(
            "options that are a map",
            "haproxy",
            json!({"default_server_options": {}}),
            &["default_server_options"],
        ),
        with.service(
            "an option twice",
            "haproxy",
            json!({"default_server_options": "rise 2 rise 3"}),
            &["'rise' stands twice"],
        ),
        with.service(
            "an option out of range",
            "haproxy",
            json!({"default_server_options": "weight 300"}),
            &["weight", "256"],
        ),
        with.service(
            "an option of TLS",
            "haproxy",
            json!({"default_server_options": "ssl verify none"}),
            &["'ssl'"],
        ),
        with.service(
            "a balance with a line",
            "haproxy",
            json!({"balance": "first\n server e 6.6.6.6:1"}),
            &["balance", "\\n"],
        ),
        with.service("a selector that is a number", "selector", json!(5), &["selector", "5 is no selector"]),
        with.service(
            "a selector that is no expression",
            "selector",
            json!("[? pg_role = `primary`]"),
            &["service 'x' of pg-test: selector", "column"],
        ),
        with.service(
            "a selector with a quote that never ends",
            "selector",
            json!("[? pg_role == `primary ]"),
            &["selector", "column"],
        ),
        with.service(
            "a selector of a function without list",
            "selector",
            json!("[? length(pg_seq) ]"),
            &["service 'x' of pg-test: selector"],
        ),
        with.to(
            "a selector that needs all variables",
            |a| {
                a["services"] =
                    json!([{"name": "x", "src_port": 5440, "selector": "[? contains(keys(@), 'a') ]"}]);
                a["collected"] = json!(true);
            },
            &["needs every variable"],
        ),
    ]
}

fn templates_of(with: &Change<'_>) -> Vec<Case> {
    vec![
        with.argument(
            "templates that are not there",
            "templates",
            json!("/nowhere"),
            &["/nowhere", "no directory"],
        ),
        with.template(
            "a template with an unknown name",
            "t1",
            "sevice.cfg.hbs",
            "x",
            &["sevice.cfg.hbs", "did you mean service.cfg.hbs"],
        ),
        with.template(
            "a template that does not compile",
            "t2",
            "service.cfg.hbs",
            "# x\n{{#if",
            &["service.cfg.hbs", "line 2"],
        ),
        with.template(
            "a template with an unknown value",
            "t3",
            "service.cfg.hbs",
            "# Managed by pgsvc: cluster={{cluster}} service={{service}}\n{{nobody}}\n",
            &["service.cfg.hbs", "nobody", "line 2"],
        ),
        with.template(
            "a template with an unknown helper",
            "t4",
            "backend.hbs",
            "{{shout name}}\n",
            &["shout"],
        ),
        with.template(
            "a template without its header",
            "t5",
            "service.cfg.hbs",
            "listen x\n",
            &["managed header", "first line"],
        ),
        with.template(
            "a template with another's header",
            "t6",
            "service.cfg.hbs",
            "# Managed by pgsvc: cluster=other service=x\n",
            &["managed header"],
        ),
        with.template(
            "a template without its final newline",
            "t7",
            "haproxy.cfg.hbs",
            "# Managed by pgsvc: node\nglobal",
            &["final newline"],
        ),
    ]
}
