//! A director's VRRP instance as it is rendered, without what needs IPVS, and something that it leads to.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pgsvc::daemon::systemd::STABLE_BINARY;
use pgsvc::inventory::Vars;
use pgsvc::inventory::cluster::{Overrides, build};
use pgsvc::render::Templates;
use pgsvc::render::keepalived::{self, Interfaces};
use pgsvc::resolve::{self, RoleSource};
use pgsvc::vip::duty::{self, Groups};
use pgsvc::vip::plane::plane;
use serde_json::{Value, json};

/// Set where a test runs itself again to be a HAProxy's port.
const LISTEN: &str = "PGSVC_TEST_LISTEN";

fn vars(of: &Value) -> Vars {
    of.as_object().unwrap().into()
}

/// The file of the only director, before HAProxy nodes at these addresses; `binary` is asked in the place of ours.
pub fn file(vip: &str, own: &str, haproxy: &[&str], binary: &Path) -> String {
    let member = json!({"pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary", "vip_mode": "l4", "vip_address": vip,
        "vip_cidrmask": 24, "vip_provider": "lvs", "pg_service_provider": "lbs", "vip_timing": "fast"});
    let built = build("pg-test", &[("192.0.2.77", &vars(&member))], &Overrides::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let hosts = |all: &[&str]| all.iter().map(|a| ((*a).to_owned(), Vars::default())).collect();
    let groups = Groups::from([("lvs".into(), hosts(&[own])), ("lbs".into(), hosts(haproxy))]);
    let duty = duty::resolve(&built, built.virtual_ip.as_ref().unwrap(), Some("lbs"), &groups, own)
        .unwrap_or_else(|e| panic!("{e}"));
    let services = resolve::cluster(&built, RoleSource::Patroni).unwrap();
    let servers = plane(&duty, &services).unwrap();
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    let file = keepalived::cluster(&templates, &built, &duty, &servers, &Interfaces::one("eth0")).unwrap();
    let text = file.unwrap().content;
    let (vrrp, _) = text.split_once("\n# pg-test-primary\n").unwrap();
    // The directory of a test is its own user's.
    vrrp.replace(STABLE_BINARY, &binary.display().to_string()).replace("user nobody", "user root")
}

/// Takes connections for ever, in a test that was run for that; else does nothing.
pub fn listen_if_told() {
    let Ok(at) = std::env::var(LISTEN) else { return };
    let listener = TcpListener::bind(at).unwrap();
    listener.incoming().for_each(drop);
}

/// This test once more, in another namespace, as a port that takes connections.
pub fn listener(test: &str, side: &str, at: &str) -> Child {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", side]).arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    command.env(LISTEN, at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
