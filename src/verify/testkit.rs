//! A system of plain std sockets for the probes' tests, and servers that say what they are told to.
//! Files and processes are no business of a probe: asking for them fails the test.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::host::{Command, Lock, Output, Signal, Stat, Stream, System};
use crate::verify::deadline::Deadline;

pub struct Sockets;

struct Tcp(TcpStream);

impl Read for Tcp {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Tcp {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Tcp {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(timeout))?;
        self.0.set_write_timeout(Some(timeout))
    }
    fn peer(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[rustfmt::skip]
impl System for Sockets {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> { unimplemented!() }
    fn stat(&self, _: &Path) -> io::Result<Option<Stat>> { unimplemented!() }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> { unimplemented!() }
    fn create(&self, _: &Path, _: &[u8], _: u32, _: (u32, u32)) -> io::Result<()> { unimplemented!() }
    fn copy(&self, _: &Path, _: &Path) -> io::Result<()> { unimplemented!() }
    fn copy_attributes(&self, _: &Path, _: &Path) -> io::Result<()> { unimplemented!() }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> { unimplemented!() }
    fn remove_file(&self, _: &Path) -> io::Result<()> { unimplemented!() }
    fn create_dir(&self, _: &Path, _: u32) -> io::Result<()> { unimplemented!() }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> { unimplemented!() }
    fn sync_dir(&self, _: &Path) -> io::Result<()> { unimplemented!() }
    fn lock(&self, _: &Path, _: Duration) -> io::Result<Box<dyn Lock>> { unimplemented!() }
    fn run(&self, _: &Command) -> io::Result<Output> { unimplemented!() }
    fn find(&self, _: &str) -> Option<PathBuf> { unimplemented!() }
    fn signal(&self, _: u32, _: Signal) -> io::Result<()> { unimplemented!() }
    fn try_bind(&self, _: SocketAddr) -> io::Result<()> { unimplemented!() }
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> { unimplemented!() }
    fn hostname(&self) -> io::Result<String> { unimplemented!() }
    fn resolve(&self, _: &str, _: Duration) -> io::Result<Vec<IpAddr>> { unimplemented!() }
    fn user(&self, _: &str) -> Option<u32> { unimplemented!() }
    fn group(&self, _: &str) -> Option<u32> { unimplemented!() }

    fn connect(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(Tcp(stream)))
    }
    fn ask_unix(&self, path: &Path, request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(request)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
    fn now(&self) -> Duration { start().elapsed() }
    fn wall(&self) -> SystemTime { SystemTime::now() }
    fn sleep(&self, time: Duration) { std::thread::sleep(time); }
}

/// A server on a free port that handles each connection with `handle`, for as long as the test process lives.
#[allow(dead_code)]
pub fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let handle = std::sync::Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = std::sync::Arc::clone(&handle);
            std::thread::spawn(move || handle(stream));
        }
    });
    addr
}

/// A server that reads once, answers `bytes`, and closes.
#[allow(dead_code)]
pub fn answer(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&bytes);
    })
}

/// A server that answers `first`, then `drip` for ever: one at a time after each pause.
#[allow(dead_code)]
pub fn endless(first: &'static [u8], drip: &'static [u8], pause: Duration) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let mut alive = stream.write_all(first).is_ok();
        while alive {
            std::thread::sleep(pause);
            alive = stream.write_all(drip).is_ok();
        }
    })
}

/// An address of this machine that refuses: a free port might be taken by the next test.
#[allow(dead_code)]
pub fn refusing() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// A deadline this many milliseconds from now.
#[allow(dead_code)]
pub fn soon(millis: u64) -> Deadline {
    Deadline::after(&Sockets, Duration::from_millis(millis))
}
