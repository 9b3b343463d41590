//! Sockets with deadlines. Names are never resolved here.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};

use crate::host::Stream;

/// An answer beyond this is no answer of a load balancer.
const MAX_ANSWER: usize = 64 << 20;

struct Tcp(TcpStream);

impl Stream for Tcp {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        // A zero timeout would mean none at all.
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        self.0.set_read_timeout(timeout)?;
        self.0.set_write_timeout(timeout)
    }
    fn peer(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

impl Read for Tcp {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(expired)
    }
}

impl Write for Tcp {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf).map_err(expired)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The kernel calls an expired timeout EAGAIN.
fn expired(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { e }
}

pub(super) fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    let timeout = timeout.max(Duration::from_millis(1));
    let stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_nodelay(true)?;
    let mut stream = Tcp(stream);
    stream.set_timeout(timeout)?;
    Ok(Box::new(stream))
}

/// As HAProxy binds: SO_REUSEADDR, which std sets, and the node's own default for IPv6-only. Not SO_REUSEPORT, with
/// which two processes would share the port unnoticed.
pub(super) fn try_bind(addr: SocketAddr) -> io::Result<()> {
    TcpListener::bind(addr).map(drop)
}

pub(super) fn interfaces() -> io::Result<Vec<(String, IpAddr)>> {
    let all = nix::ifaddrs::getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let address = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
        Some((interface.interface_name, address))
    });
    Ok(all.collect())
}

pub(super) fn ask_unix(path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect_unix(path, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request).map_err(expired)?;
    // HAProxy's master waits for more without it.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let n = match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(expired(e)),
        };
        answer.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if answer.len() > MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is longer than 64 MiB"));
        }
    }
}

/// Non-blocking: a listener whose queue is full would block for ever.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    loop {
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        match nix::sys::socket::connect(fd.as_raw_fd(), &address) {
            Ok(()) => {
                let stream = UnixStream::from(fd);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                std::thread::sleep(left(deadline)?.min(Duration::from_millis(10)));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_unix_socket_answers_and_a_silent_one_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = String::new();
            peer.read_to_string(&mut request).unwrap();
            peer.write_all(format!("got {request}").as_bytes()).unwrap();
            listener
        });
        assert_eq!(ask_unix(&path, b"show info", Duration::from_secs(5)).unwrap(), b"got show info");
        let _listener = server.join().unwrap();
        let e = ask_unix(&path, b"x", Duration::from_millis(50)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            ask_unix(&dir.path().join("none"), b"x", Duration::from_secs(1)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_taken_port_and_a_foreign_address_cannot_be_bound() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        assert_eq!(try_bind(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        try_bind(addr).unwrap();
        let foreign = try_bind("192.0.2.1:5433".parse().unwrap()).unwrap_err();
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_silent_peer_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = connect(listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
        stream.set_timeout(Duration::from_millis(30)).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(stream.peer(), listener.local_addr().ok());
    }

    #[test]
    fn the_loopback_address_is_ours() {
        assert!(interfaces().unwrap().contains(&("lo".to_owned(), "127.0.0.1".parse().unwrap())));
    }
}
