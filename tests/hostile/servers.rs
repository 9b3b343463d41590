//! Servers that nobody should meet: they never answer, never end, lie, and break off. Each lives as long as the test's
//! process; none keeps more than a few KB.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::Linger};

/// What a server says once it has been asked.
#[derive(Clone)]
pub enum Says {
    /// Nothing, for ever.
    Nothing,
    /// This, and then one byte of the second every second.
    Drips(Vec<u8>, u8),
    /// The first, and then the second over and over.
    Endless(Vec<u8>, Vec<u8>),
    /// This, and holds the connection.
    Holds(Vec<u8>),
    /// This, and closes.
    Ends(Vec<u8>),
    /// This, and a reset in the middle of the connection.
    Resets(Vec<u8>),
    /// Ends its own side before a word is said, and goes on reading.
    HalfCloses,
}

impl Says {
    pub fn endless(first: impl Into<Vec<u8>>, then: impl Into<Vec<u8>>) -> Self {
        let then: Vec<u8> = then.into();
        // Whole pieces of some KB: what is looked at is the one who reads.
        let times = (16_384 / then.len().max(1)).max(1);
        Self::Endless(first.into(), then.repeat(times))
    }

    pub fn ends(what: impl Into<Vec<u8>>) -> Self {
        Self::Ends(what.into())
    }

    fn to(&self, mut peer: impl Read + Write, asked: bool, shut: impl Fn(&Self)) {
        if asked {
            let _ = peer.read(&mut [0; 4096]);
        }
        match self {
            Self::Nothing => {}
            Self::Drips(first, byte) => {
                let mut alive = peer.write_all(first).is_ok();
                while alive {
                    std::thread::sleep(Duration::from_secs(1));
                    alive = peer.write_all(&[*byte]).is_ok();
                }
            }
            Self::Endless(first, then) => {
                let mut alive = peer.write_all(first).is_ok();
                while alive {
                    alive = peer.write_all(then).is_ok();
                }
            }
            Self::Holds(what) => drop(peer.write_all(what)),
            Self::Ends(what) | Self::Resets(what) => {
                let _ = peer.write_all(what);
                shut(self);
                return;
            }
            Self::HalfCloses => shut(self),
        }
        // Until the one who asks gives up.
        while matches!(peer.read(&mut [0; 4096]), Ok(1..)) {}
    }
}

/// A server at an address that does so to everybody.
pub fn serve(ip: IpAddr, says: Says) -> SocketAddr {
    listen(ip, move |peer| {
        let asked = !matches!(says, Says::HalfCloses);
        says.to(&peer, asked, |how| shut(&peer, how));
    })
}

/// The same of PostgreSQL's protocol: TLS is refused first, as it ought to be.
pub fn serve_postgres(ip: IpAddr, says: Says) -> SocketAddr {
    listen(ip, move |mut peer| {
        greet(&mut peer);
        says.to(&peer, false, |how| shut(&peer, how));
    })
}

/// Reads the wish for TLS, says no, and reads the startup message.
pub fn greet(peer: &mut TcpStream) {
    let mut length = [0; 4];
    for _ in 0..2 {
        if peer.read_exact(&mut length).is_err() {
            return;
        }
        let rest = usize::try_from(u32::from_be_bytes(length)).unwrap_or(0).clamp(4, 4096) - 4;
        if peer.read_exact(&mut vec![0; rest]).is_err() || rest > 4 {
            return;
        }
        let _ = peer.write_all(b"N");
    }
}

/// Handles every connection in a thread of its own.
pub fn listen(ip: IpAddr, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap_or_else(|e| panic!("{ip}: {e}"));
    let (addr, handle) = (listener.local_addr().unwrap(), Arc::new(handle));
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(peer));
        }
    });
    addr
}

fn shut(peer: &TcpStream, how: &Says) {
    if matches!(how, Says::Resets(_)) {
        // What was said may arrive first.
        std::thread::sleep(Duration::from_millis(50));
        setsockopt(peer, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    } else {
        let _ = peer.shutdown(Shutdown::Write);
    }
}

/// A server at a socket's file.
pub fn serve_unix(path: &Path, says: Says) {
    let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let says = says.clone();
            std::thread::spawn(move || {
                says.to(&peer, true, |_| drop(peer.shutdown(Shutdown::Write)));
            });
        }
    });
}

/// A PostgreSQL message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// Lets anybody in, and is ready for a query.
pub fn welcome() -> Vec<u8> {
    [message(b'R', &[0, 0, 0, 0]), message(b'Z', b"I")].concat()
}
