//! Members that are not there: on loopback addresses of their own, HTTP servers that answer as Patroni and an exporter
//! would in a given state, and ports that say whose they are. Opened and closed as the state has it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pgsvc::inventory::Vars;
use pgsvc::inventory::cluster::{Cluster, Overrides, build};
use pgsvc::resolve::states::{MemberState, Role};
use serde_json::{Value, json};

pub const POSTGRES: u16 = 15432;
pub const POOLER: u16 = 16432;
pub const PATRONI: u16 = 18008;
pub const EXPORTER: u16 = 19630;

/// An address of this process alone, of the loopback network.
pub fn ip(n: u8) -> Ipv4Addr {
    let pid = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + (pid[2] & 63), pid[3], n)
}

/// The members' ports are the same for all tests of a process.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A port that is free now.
pub fn free(ip: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Closed when dropped.
struct Door {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(addr: SocketAddr, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
        let (stop, handle) = (Arc::new(AtomicBool::new(false)), Arc::new(handle));
        let ends = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let handle = Arc::clone(&handle);
                std::thread::spawn(move || handle(peer));
            }
        });
        Self { addr, stop, thread: Some(thread) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub struct Member {
    pub name: String,
    pub ip: Ipv4Addr,
    state: Arc<Mutex<MemberState>>,
    doors: BTreeMap<u16, Door>,
}

impl Member {
    pub fn new(name: &str, n: u8) -> Self {
        let state = MemberState::new(Role::Replica);
        let shared = Arc::new(Mutex::new(state.clone()));
        let mut member = Self { name: name.to_owned(), ip: ip(n), state: shared, doors: BTreeMap::new() };
        member.set(state);
        member
    }

    pub fn set(&mut self, state: MemberState) {
        let open = |port: u16| state.on && !state.closed.contains(&port);
        let wanted = [
            (POSTGRES, open(POSTGRES)),
            (POOLER, open(POOLER)),
            (PATRONI, state.on && (state.api || state.silent)),
            (EXPORTER, open(EXPORTER)),
        ];
        *self.state.lock().unwrap() = state;
        for (port, open) in wanted {
            if !open {
                self.doors.remove(&port);
            } else if !self.doors.contains_key(&port) {
                self.doors.insert(port, self.door(port));
            }
        }
    }

    fn door(&self, port: u16) -> Door {
        let (name, state) = (self.name.clone(), Arc::clone(&self.state));
        let addr = SocketAddr::new(IpAddr::V4(self.ip), port);
        Door::open(addr, move |mut peer| {
            if port == POSTGRES || port == POOLER {
                let _ = peer.write_all(name.as_bytes());
                return;
            }
            let _ = peer.set_read_timeout(Some(Duration::from_secs(2)));
            let mut request = [0; 2048];
            let mut text = String::new();
            while !text.contains("\r\n\r\n") {
                let Ok(n @ 1..) = peer.read(&mut request) else { return };
                text += &String::from_utf8_lossy(&request[..n]);
            }
            let Some(path) = text.split_whitespace().nth(1) else { return };
            let state = state.lock().unwrap().clone();
            if state.silent && port == PATRONI {
                // Until the one who asks gives up.
                let _ = peer.read(&mut request);
                return;
            }
            let code = match port {
                PATRONI => state.answer(path),
                _ => state.other(port).unwrap_or(200),
            };
            let _ = peer.write_all(format!("HTTP/1.0 {code} X\r\n\r\n").as_bytes());
        })
    }
}

/// An inventory's members of `pg-test`, at the stand-ins' places: role, and what else is said of each.
pub fn cluster(roles: &[(&str, Value)], shared: &Value) -> Cluster {
    let hosts = hosts(roles, shared);
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    build("pg-test", &view, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The same members as hosts with their variables.
pub fn hosts(roles: &[(&str, Value)], shared: &Value) -> Vec<(String, Vars)> {
    let one = |(i, (role, own)): (usize, &(&str, Value))| {
        let n = u8::try_from(i + 1).unwrap();
        let mut vars = json!({"pg_cluster": "pg-test", "pg_seq": n, "pg_role": role, "ansible_host": ip(n).to_string(),
            "pg_port": POSTGRES, "pgbouncer_port": POOLER, "patroni_port": PATRONI, "pg_exporter_port": EXPORTER});
        for more in [shared, own] {
            vars.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        (format!("node-{n}"), vars.as_object().unwrap().into())
    };
    roles.iter().enumerate().map(one).collect()
}

/// HAProxy's checks as fast as a test needs them: only times change.
pub fn hurry(config: &str) -> String {
    let slow = "inter 3s fastinter 1s downinter 5s rise 3 fall 3";
    config.replace(slow, "inter 80ms fastinter 80ms downinter 80ms rise 1 fall 1")
}

/// What a connection hears until it ends; empty where nobody speaks.
pub fn hear(addr: SocketAddr) -> String {
    let mut text = String::new();
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_secs(2)) else { return text };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
    let _ = stream.read_to_string(&mut text);
    text
}
