//! Who listens where, by /proc, and whether new listeners can be bound. Binds for a moment only; stops nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::{Error, Errors};
use crate::host::System;

/// Listening sockets by inode.
type Listening = BTreeMap<String, SocketAddr>;

/// Whether every address can be bound by a daemon whose master is `own`: its processes hand their sockets on.
///
/// # Errors
/// Each port that is taken, with the process that has it where that can be known, and each address the node lacks.
pub fn free(sys: &dyn System, binds: &[SocketAddr], nonlocal: bool, own: Option<u32>) -> Result<(), Errors> {
    let mut errors = Errors::default();
    for addr in binds {
        match sys.try_bind(*addr).map_err(|e| e.kind()) {
            Ok(()) => {}
            Err(ErrorKind::AddrInUse) => taken(sys, *addr, own, true, &mut errors),
            // Bound all the same, by `transparent`: then only who else has the port can be known.
            Err(ErrorKind::AddrNotAvailable) if nonlocal => taken(sys, *addr, own, false, &mut errors),
            Err(ErrorKind::AddrNotAvailable) => errors.push(
                Error::new(place(*addr), format!("the address {} is not on this node", addr.ip())).hint(
                    "bring the address up, bind to another one, or allow non-local binds (sysctl net.ipv4.ip_nonlocal_bind=1)",
                ),
            ),
            Err(kind) => errors.push(Error::new(place(*addr), format!("cannot be bound: {kind}"))),
        }
    }
    errors.finish(())
}

fn place(addr: SocketAddr) -> String {
    format!("port {} on {}", addr.port(), addr.ip())
}

/// `certain`: the kernel refused the address, whether or not the holder is seen.
fn taken(sys: &dyn System, addr: SocketAddr, own: Option<u32>, certain: bool, errors: &mut Errors) {
    let pids = holders(sys, addr);
    let strangers: Vec<u32> = pids.iter().copied().filter(|pid| !belongs(sys, *pid, own)).collect();
    if strangers.is_empty() && (!certain || !pids.is_empty()) {
        return;
    }
    let who = match strangers.first() {
        Some(pid) => format!("{} (process {pid})", name(sys, *pid)),
        None => "another process".to_owned(),
    };
    errors.push(
        Error::new(place(addr), format!("is taken by {who}"))
            .hint("stop it, or give the service another port or address"),
    );
}

/// The processes that listen on an address, or on one that covers it; sorted.
pub fn holders(sys: &dyn System, addr: SocketAddr) -> Vec<u32> {
    let listening = listening(sys);
    let inodes: BTreeSet<&str> =
        listening.iter().filter(|(_, at)| clash(**at, addr)).map(|(inode, _)| inode.as_str()).collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let all = sys.list(Path::new("/proc")).unwrap_or_default();
    let pids = all.iter().filter_map(|name| name.parse::<u32>().ok());
    let mut found: Vec<u32> =
        pids.filter(|pid| sockets(sys, *pid).iter().any(|i| inodes.contains(i.as_str()))).collect();
    found.sort_unstable();
    found
}

/// Where a process listens; sorted.
pub fn listeners(sys: &dyn System, pid: u32) -> Vec<SocketAddr> {
    let listening = listening(sys);
    let mut found: Vec<_> = sockets(sys, pid).iter().filter_map(|i| listening.get(i).copied()).collect();
    found.sort();
    found.dedup();
    found
}

fn clash(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (a, b) = (held.ip(), wanted.ip());
    // `::` covers IPv4 as well unless it is said not to; `0.0.0.0` never covers IPv6.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V6(v6) => v6.is_unspecified(),
        IpAddr::V4(v4) => v4.is_unspecified() && narrow.is_ipv4(),
    };
    held.port() == wanted.port() && (a == b || covers(a, b) || covers(b, a))
}

/// A process of the daemon: its master, or a child of it.
fn belongs(sys: &dyn System, pid: u32, own: Option<u32>) -> bool {
    let Some(own) = own else { return false };
    pid == own || parent(sys, pid) == Some(own)
}

fn parent(sys: &dyn System, pid: u32) -> Option<u32> {
    let status = sys.read(Path::new(&format!("/proc/{pid}/status"))).ok()?;
    String::from_utf8_lossy(&status).lines().find_map(|l| l.strip_prefix("PPid:")?.trim().parse().ok())
}

/// A process's short name.
pub fn name(sys: &dyn System, pid: u32) -> String {
    let comm = sys.read(Path::new(&format!("/proc/{pid}/comm"))).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim().to_owned()
}

/// The inodes of a process's sockets.
fn sockets(sys: &dyn System, pid: u32) -> Vec<String> {
    let dir = PathBuf::from(format!("/proc/{pid}/fd"));
    let fds = sys.list(&dir).unwrap_or_default();
    let links = fds.iter().filter_map(|fd| sys.read_link(&dir.join(fd)).ok());
    links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

fn listening(sys: &dyn System) -> Listening {
    let mut all = Listening::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = sys.read(Path::new(table)).unwrap_or_default();
        all.extend(String::from_utf8_lossy(&text).lines().skip(1).filter_map(listener));
    }
    all
}

/// `0: 0100007F:1F90 00000000:0000 0A … uid timeout inode …`, where 0A is LISTEN.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    Some(((*fields.get(9)?).to_owned(), address(fields.get(1)?)?))
}

/// The kernel prints addresses as 32-bit words in the machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for i in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(i..i.checked_add(8)?)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}
