//! A thousand clusters that answer: Patroni, PostgreSQL and pooler of every member, and a load balancer's ports, all of one
//! process in a network namespace where 10.0.0.0/8 is its own. Which member a connection is for, its own address says;
//! which one a port leads to, the port does (benches/scale/inventory.py has the order). For benches/scale/ports.py and
//! benches/peers/run.
//!
//!   standin CLUSTERS PASSWORD SLOW_CLUSTER SLOW_MS     an empty password: nobody is asked for one; prints "ready"

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use postgres_protocol::authentication::md5_hash;

const MEMBERS: usize = 5;
const FIRST_PORT: u16 = 20_000;
const PATRONI: u16 = 8008;
const SQL: [u16; 2] = [5432, 6432];
const USER: &str = "dbuser_monitor";
const SALT: [u8; 4] = *b"salt";
/// 2026-01-01, microseconds since the epoch; a member started so many later as its number says.
const STARTED: usize = 1_767_225_600_000_000;

struct World {
    password: String,
    slow: usize,
    delay: Duration,
    /// Of each cluster's port for reads.
    turns: Vec<AtomicUsize>,
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut word =
        || words.next().ok_or_else(|| io::Error::other("standin CLUSTERS PASSWORD SLOW_CLUSTER SLOW_MS"));
    let number = |text: String| text.parse::<usize>().map_err(io::Error::other);
    let (clusters, password) = (number(word()?)?, word()?);
    let (slow, delay) = (number(word()?)?, Duration::from_millis(number(word()?)? as u64));
    let world = Arc::new(World {
        password,
        slow,
        delay,
        turns: (0..clusters).map(|_| AtomicUsize::new(0)).collect(),
    });
    let any = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    let last = FIRST_PORT + u16::try_from(4 * clusters).map_err(io::Error::other)?;
    let doors = [PATRONI, SQL[0], SQL[1]]
        .into_iter()
        .chain(FIRST_PORT..last)
        .map(any)
        .collect::<io::Result<Vec<_>>>()?;
    for door in &doors {
        // The backlog of std is 128: a hundred clusters' ports are asked at once.
        nix::sys::socket::listen(door, nix::sys::socket::Backlog::new(4096)?)?;
        door.set_nonblocking(true)?;
    }
    let (send, receive) = channel::<TcpStream>();
    let receive = Arc::new(Mutex::new(receive));
    for _ in 0..16 {
        let (world, receive) = (Arc::clone(&world), Arc::clone(&receive));
        std::thread::spawn(move || {
            while let Some(stream) = next(&receive) {
                if speaks(&stream) {
                    answer(&world, stream)
                } else {
                    // A watch's connection, on which nothing is ever said, takes nobody's turn.
                    let world = Arc::clone(&world);
                    std::thread::spawn(move || answer(&world, stream));
                }
            }
        });
    }
    println!("ready");
    loop {
        let mut ready: Vec<PollFd<'_>> =
            doors.iter().map(|d| PollFd::new(d.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut ready, PollTimeout::NONE)?;
        for (door, _) in doors.iter().zip(&ready).filter(|(_, r)| r.any() == Some(true)) {
            while let Ok((stream, _)) = door.accept() {
                stream.set_nonblocking(false)?;
                if world.is_slow(&stream) {
                    let world = Arc::clone(&world);
                    std::thread::spawn(move || answer(&world, stream));
                } else if send.send(stream).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

fn next(receive: &Mutex<Receiver<TcpStream>>) -> Option<TcpStream> {
    receive.lock().ok()?.recv().ok()
}

fn speaks(stream: &TcpStream) -> bool {
    let mut one = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut one, PollTimeout::from(100_u8)).is_ok_and(|n| n > 0)
}

/// A member by its number among all, from 0.
fn member(ip: IpAddr) -> usize {
    let IpAddr::V4(ip) = ip else { return 0 };
    let [_, a, b, c] = ip.octets().map(usize::from);
    (a.saturating_sub(1) * 62_500 + b * 250 + c).saturating_sub(2)
}

fn place(k: usize) -> Ipv4Addr {
    let k = k + 1;
    let byte = |n: usize| u8::try_from(n).unwrap_or(255);
    Ipv4Addr::new(10, byte(1 + k / 62_500), byte(k / 250 % 250), byte(k % 250 + 1))
}

impl World {
    fn is_slow(&self, stream: &TcpStream) -> bool {
        stream.local_addr().is_ok_and(|a| {
            !a.ip().is_loopback() && a.port() < FIRST_PORT && member(a.ip()) == self.slow * MEMBERS + 1
        })
    }

    /// Who a connection reaches, and whether it speaks SQL.
    fn reached(&self, at: SocketAddr) -> (usize, bool) {
        if at.port() < FIRST_PORT {
            return (member(at.ip()), at.port() != PATRONI);
        }
        let port = usize::from(at.port() - FIRST_PORT);
        let of = match port % 4 {
            1 => 1 + self.turns.get(port / 4).map_or(0, |t| t.fetch_add(1, Ordering::Relaxed)) % 3,
            3 => 4,
            _ => 0,
        };
        (port / 4 * MEMBERS + of, true)
    }
}

fn answer(world: &World, mut stream: TcpStream) {
    let Ok(at) = stream.local_addr() else { return };
    let (k, sql) = world.reached(at);
    let slow = k == world.slow * MEMBERS + 1;
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok();
    stream.set_nodelay(true).ok();
    if slow {
        std::thread::sleep(world.delay);
    }
    // Whoever breaks off has what it wanted.
    drop(if sql { session(world, &mut stream, k) } else { http(&mut stream, k) });
}

fn http(stream: &mut TcpStream, k: usize) -> io::Result<()> {
    let (mut heard, mut more) = (Vec::new(), [0; 2048]);
    while !heard.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut more)?;
        if n == 0 || heard.len() > 8192 {
            return Ok(());
        }
        heard.extend_from_slice(more.get(..n).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&heard);
    let path = text.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/");
    let leads = k.is_multiple_of(MEMBERS);
    let (good, body) = match path {
        "/patroni" => (true, patroni(k)),
        "/cluster" => (true, cluster(k)),
        "/" | "/primary" | "/leader" => (leads, patroni(k)),
        "/replica" => (!leads, patroni(k)),
        _ => (true, patroni(k)),
    };
    let status = if good { "200 OK" } else { "503 Service Unavailable" };
    write!(
        stream,
        "HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn patroni(k: usize) -> String {
    let (leads, cluster, seq) = (k.is_multiple_of(MEMBERS), k / MEMBERS, k % MEMBERS + 1);
    let (role, xlog) = if leads {
        ("primary", r#"{"location": 83886080}"#)
    } else {
        (
            "replica",
            r#"{"received_location": 83886080, "replayed_location": 83886080, "replayed_timestamp": null, "paused": false}"#,
        )
    };
    format!(
        r#"{{"state": "running", "role": "{role}", "server_version": 150004, "timeline": 1, "postmaster_start_time": "2026-01-01 00:00:00.{k:06}+00:00", "xlog": {xlog}, "database_system_identifier": "{}", "patroni": {{"version": "3.0.2", "scope": "pg-{cluster:05}", "name": "pg-{cluster:05}-{seq}"}}}}"#,
        system(k)
    )
}

fn system(k: usize) -> usize {
    7_000_000_000_000_000_000 + k / MEMBERS
}

fn cluster(k: usize) -> String {
    let first = k / MEMBERS * MEMBERS;
    let one = |k: usize| {
        let (role, lag) =
            if k.is_multiple_of(MEMBERS) { ("leader", "") } else { ("replica", r#", "lag": 0"#) };
        let (address, name) = (place(k), format!("pg-{:05}-{}", k / MEMBERS, k % MEMBERS + 1));
        format!(
            r#"{{"name": "{name}", "host": "{address}", "port": 5432, "timeline": 1, "api_url": "http://{address}:8008/patroni", "role": "{role}", "state": "running"{lag}}}"#
        )
    };
    let all: Vec<String> = (first..first + MEMBERS).map(one).collect();
    format!(r#"{{"members": [{}], "scope": "pg-{:05}"}}"#, all.join(", "), k / MEMBERS)
}

/// PostgreSQL manual, "Message Formats".
fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(4).to_be_bytes());
    out.extend_from_slice(body);
}

fn session(world: &World, stream: &mut TcpStream, k: usize) -> io::Result<()> {
    loop {
        let body = packet(stream)?;
        if body.get(..4) != Some(&80_877_103_u32.to_be_bytes()) {
            break;
        }
        stream.write_all(b"N")?;
    }
    let mut out = Vec::new();
    if !world.password.is_empty() {
        message(&mut out, b'R', &[&5_u32.to_be_bytes()[..], &SALT].concat());
        stream.write_all(&out)?;
        out.clear();
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        let said = packet(stream)?;
        let right = md5_hash(USER.as_bytes(), world.password.as_bytes(), SALT);
        if kind != *b"p" || said.strip_suffix(b"\0") != Some(right.as_bytes()) {
            message(&mut out, b'E', b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0");
            return stream.write_all(&out);
        }
    }
    message(&mut out, b'R', &0_u32.to_be_bytes());
    message(&mut out, b'S', b"server_version\x0015.4\0");
    message(&mut out, b'Z', b"I");
    stream.write_all(&out)?;
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        let body = packet(stream)?;
        if kind != *b"Q" {
            return Ok(());
        }
        out.clear();
        row(&mut out, k, &String::from_utf8_lossy(&body));
        message(&mut out, b'Z', b"I");
        stream.write_all(&out)?;
    }
}

fn packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(0);
    if !(4..=65_536).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// What pgsvc asks: the server, its system, and how far a replica is.
fn row(out: &mut Vec<u8>, k: usize, sql: &str) {
    let leads = k.is_multiple_of(MEMBERS);
    let own = |text: &str| Some(text.to_owned());
    let start = own(&(STARTED + k).to_string());
    let columns: Vec<Option<String>> = if sql.contains("pg_control_system") {
        vec![start, own(&system(k).to_string()), own("1")]
    } else if sql.contains("pg_last_wal_receive_lsn") {
        let mut all = vec![start];
        let lsn = own("0/5000000");
        all.extend(match leads {
            true => [lsn, own("000000010000000000000005"), None, None, None, None, None, None, None],
            false => [None, None, lsn.clone(), lsn, None, None, own("streaming"), own("1"), None],
        });
        all
    } else if sql.contains("server_version_num") {
        let (recovery, read_only) = if leads { ("f", "off") } else { ("t", "on") };
        vec![start, own(recovery), own("150004"), own(read_only), own(&place(k).to_string()), own("5432")]
    } else {
        return message(out, b'E', b"SERROR\0VERROR\0C0A000\0Mnot known to this stand-in\0\0");
    };
    let count = u16::try_from(columns.len()).unwrap_or(0).to_be_bytes();
    let (mut head, mut data) = (count.to_vec(), count.to_vec());
    for value in &columns {
        head.extend_from_slice(b"c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
        data.extend_from_slice(
            &value.as_ref().map_or(u32::MAX, |v| u32::try_from(v.len()).unwrap_or(0)).to_be_bytes(),
        );
        data.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
    }
    message(out, b'T', &head);
    message(out, b'D', &data);
    message(out, b'C', b"SELECT 1\0");
}
