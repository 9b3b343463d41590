//! The L4 plane: the checks of an L4 VIP's directors, carried out as keepalived does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgsvc::inventory::cluster::Cluster;
use pgsvc::parallel::parallel;
use pgsvc::resolve::ResolvedService;
use pgsvc::vip::duty::{self, Groups};
use pgsvc::vip::plane::{Check, VirtualServer, plane};

use crate::Names;

const DIRECTOR: &str = "192.0.2.1";

/// What a director of the cluster's VIP balances.
pub struct Directors {
    servers: Vec<VirtualServer>,
    binary: PathBuf,
}

impl Directors {
    pub fn new(cluster: &Cluster, services: &[ResolvedService]) -> Self {
        let groups =
            Groups::from([("directors".to_owned(), vec![(DIRECTOR.to_owned(), Default::default())])]);
        let vip = cluster.virtual_ip.as_ref().unwrap();
        let duty = duty::resolve(cluster, vip, None, &groups, DIRECTOR).unwrap_or_else(|e| panic!("{e}"));
        let servers = plane(&duty, services).unwrap_or_else(|e| panic!("{e}"));
        Self { servers, binary: assert_cmd::cargo::cargo_bin("pgsvc") }
    }

    /// Who would get connections of each virtual server now: its checks carried out as keepalived does.
    pub fn directed(&self) -> BTreeMap<String, Names> {
        let all: Vec<(&str, &str, IpAddr, &Check)> = self
            .servers
            .iter()
            .flat_map(|v| v.real.iter().map(move |r| (v, r)))
            .flat_map(|(v, r)| {
                r.checks.iter().map(move |c| (v.listener.as_str(), r.name.as_str(), r.address, c))
            })
            .collect();
        let passed = parallel(&all, 64, |(_, _, ip, check)| passes(*ip, check, &self.binary));
        let failed: BTreeSet<(&str, &str)> =
            all.iter().zip(passed).filter(|(_, ok)| !ok).map(|((v, r, _, _), _)| (*v, *r)).collect();
        let one = |v: &VirtualServer| {
            let up = v
                .real
                .iter()
                .filter(|r| r.weight > 0 && !failed.contains(&(v.listener.as_str(), r.name.as_str())));
            (v.listener.clone(), up.map(|r| r.name.clone()).collect())
        };
        self.servers.iter().map(one).collect()
    }
}

fn passes(ip: IpAddr, check: &Check, binary: &Path) -> bool {
    match check {
        Check::Tcp { port } => {
            TcpStream::connect_timeout(&SocketAddr::new(ip, *port), Duration::from_secs(1)).is_ok()
        }
        Check::Http { port, ssl, path, code } => {
            assert!(!ssl, "the stand-ins speak no TLS");
            got(SocketAddr::new(ip, *port), path) == Some(*code)
        }
        Check::Program { argv } => {
            assert_eq!((argv[0].as_str(), argv[1].as_str()), ("/usr/local/lib/pgsvc/pgsvc", "check"));
            let output = std::process::Command::new(binary).args(&argv[1..]).output().unwrap();
            let code = output.status.code().unwrap();
            assert!(code == 0 || code == 1, "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
            code == 0
        }
    }
}

/// keepalived's HTTP_GET: the status of a GET.
fn got(addr: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}
