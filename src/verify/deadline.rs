//! The moment by which a probe ends, and a stream that keeps to it. No protocol may live here.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::host::{Stream, System};

/// A moment on the monotonic clock of [`System::now`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Duration);

impl Deadline {
    /// `at` as [`System::now`] counts.
    pub fn at(at: Duration) -> Self {
        Self(at)
    }

    /// The moment `wait` from now.
    pub fn after(sys: &dyn System, wait: Duration) -> Self {
        Self(sys.now().saturating_add(wait))
    }

    /// What is left; `None` when it has passed.
    pub fn left(self, sys: &dyn System) -> Option<Duration> {
        self.0.checked_sub(sys.now()).filter(|left| !left.is_zero())
    }

    /// The earlier of this moment and `wait` from now: for one step of many.
    #[must_use]
    pub fn within(self, sys: &dyn System, wait: Duration) -> Self {
        self.min(Self::after(sys, wait))
    }
}

/// A stream whose every read and write fails with `TimedOut` once the deadline has passed: a peer that drips one byte
/// per timeout gains nothing.
pub(crate) struct Bounded<'a> {
    sys: &'a dyn System,
    inner: Box<dyn Stream>,
    deadline: Deadline,
}

impl<'a> Bounded<'a> {
    /// Connects by the deadline.
    ///
    /// # Errors
    /// What the connect call says; `TimedOut` once the deadline has passed.
    pub(crate) fn connect(sys: &'a dyn System, addr: SocketAddr, deadline: Deadline) -> io::Result<Self> {
        let left = deadline.left(sys).ok_or(io::ErrorKind::TimedOut)?;
        let inner = sys.connect(addr, left).map_err(plain)?;
        Ok(Self { sys, inner, deadline })
    }

    fn arm(&mut self) -> io::Result<()> {
        let left = self.deadline.left(self.sys).ok_or(io::ErrorKind::TimedOut)?;
        // A socket option of zero means "for ever", and the kernel rounds to its own ticks.
        self.inner.set_timeout(left.max(Duration::from_millis(1)))
    }
}

/// Linux says `WouldBlock` for an expired socket timeout; every caller wants to hear `TimedOut`.
fn plain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        self.inner.read(buf).map_err(plain)
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.arm()?;
        self.inner.write(buf).map_err(plain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Stream for Bounded<'_> {
    /// The deadline rules; a shorter wait is not asked for anywhere.
    fn set_timeout(&mut self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.inner.peer()
    }
}
