//! Whether a director reaches anything of what it leads to. A cluster that is sick and answers is reached: what is wrong
//! there is found out by the checks of the real servers, and no reason to move the address.

use std::net::IpAddr;

use super::VirtualServer;
use super::check::{LINE, address};
use crate::daemon::systemd::STABLE_BINARY;
use crate::inventory::cluster::Cluster;
use crate::vip::{Duty, To};

/// A little less than the second that the question is asked in, milliseconds.
const WITHIN: &str = "900";

/// A program that ends with 0 while one of these ports takes connections; `None` where nothing is balanced. Of more ports
/// than a line of keepalived's takes, the first ones are asked.
#[must_use]
pub fn reach(cluster: &Cluster, duty: &Duty, servers: &[VirtualServer]) -> Option<Vec<String>> {
    let mut call = format!("{STABLE_BINARY} check");
    let mut word = " ";
    for (ip, port) in ports(cluster, duty, servers) {
        let one = format!("{word}tcp://{}", address(ip, port));
        if call.len().saturating_add(one.len()) > LINE.saturating_sub(20) {
            break;
        }
        call.push_str(&one);
        word = " --or ";
    }
    (word != " ").then(|| format!("{call} --within {WITHIN}").split(' ').map(str::to_owned).collect())
}

/// Of a HAProxy the port of its word, which is asked of it anyway; of a member every port that a check or a client asks.
fn ports(cluster: &Cluster, duty: &Duty, servers: &[VirtualServer]) -> Vec<(IpAddr, u16)> {
    let mut all: Vec<(IpAddr, u16)> = Vec::new();
    let mut add = |at: (IpAddr, u16)| {
        if !all.contains(&at) {
            all.push(at);
        }
    };
    let real = || servers.iter().flat_map(|v| &v.real);
    match duty.vip.to {
        To::Haproxy => real().for_each(|r| add((r.address, duty.vip.check_port))),
        To::Members => {
            for m in &cluster.members {
                for r in real().filter(|r| r.name == m.instance) {
                    // Behind TLS, a connection without a handshake is an error, which Patroni would log every second.
                    if !m.patroni_ssl {
                        add((r.address, m.patroni_port));
                    }
                    add((r.address, r.port));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verify::check;
    use crate::vip::fixture::{self, nat};
    use crate::vip::plane::plane;

    fn asked(over: Value) -> String {
        let c = fixture::case(&over, "lvs1");
        let call = reach(&c.cluster, &c.duty, &plane(&c.duty, &c.services).unwrap()).unwrap();
        call.join(" ")
    }

    #[test]
    fn a_director_asks_every_haproxy_for_the_port_of_its_word() {
        let over = json!({"vip_to": "haproxy", "pg_service_provider": "lbs", "vip_check_port": 9200});
        let call =
            "/usr/local/lib/pgsvc/pgsvc check tcp://10.0.0.21:9200 --or tcp://10.0.0.22:9200 --within 900";
        assert_eq!(asked(over), call);
    }

    #[test]
    fn a_director_asks_members_for_patroni_and_for_what_it_leads_to_each_once() {
        let all = asked(nat(&json!({})));
        for member in 11..14 {
            for port in [8008, 6432, 5432] {
                // The offline member serves no pgbouncer, and so on.
                let n = all.matches(&format!("tcp://10.0.0.{member}:{port} ")).count();
                assert!(n <= 1 && (port != 8008 || n == 1), "{member}:{port}: {all}");
            }
        }
        assert!(all.contains("check tcp://10.0.0.11:8008 --or tcp://10.0.0.11:6432 --or"), "{all}");
        let tls = asked(nat(&json!({"patroni_ssl_enabled": true})));
        assert!(!tls.contains(":8008") && tls.contains("check tcp://10.0.0.11:6432 --or"), "{tls}");
    }

    #[test]
    fn of_many_members_as_many_are_asked_as_keepalived_reads() {
        let one = fixture::hosts(&nat(&json!({}))).remove(1).1;
        let mut hosts = fixture::hosts(&nat(&json!({})));
        for n in 4..60 {
            let mut vars = one.clone();
            vars.insert("pg_seq", n.into());
            vars.insert("ansible_host", format!("10.0.1.{n}").into());
            hosts.push((format!("db{n}"), vars));
        }
        let c = fixture::of(&hosts, "lvs1");
        let call = reach(&c.cluster, &c.duty, &plane(&c.duty, &c.services).unwrap()).unwrap();
        let len = call.join(" ").len();
        assert!((900..=LINE).contains(&len), "{len}");
        let question = check::parse(&call[2..]).unwrap();
        assert!(question.alternatives.len() > 30 && question.within.as_millis() == 900);
        assert!(question.alternatives.iter().all(|a| a.needs.len() == 1 && a.unless.is_empty()));
    }

    #[test]
    fn a_director_that_balances_nothing_asks_nothing() {
        let c = fixture::case(&nat(&json!({})), "lvs1");
        assert_eq!(reach(&c.cluster, &c.duty, &[]), None);
    }
}
