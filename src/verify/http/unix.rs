//! The same question over a Unix socket: the whole answer is read first, for it is a load balancer's, and short.

use std::io::{self, Cursor, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Reader, Response, request};
use crate::host::{Stream, System};
use crate::verify::deadline::Deadline;
use crate::verify::error::ProbeError;

/// Asks once over a Unix socket. The sending side is closed after the request.
///
/// # Errors
/// Why there is no answer; a status is never an error here.
pub fn get_unix(
    sys: &dyn System,
    socket: &Path,
    host: &str,
    method: &str,
    path: &str,
    deadline: Deadline,
) -> Result<Response, ProbeError> {
    let request = request(host, method, path)?;
    let left = deadline.left(sys).ok_or(ProbeError::TimedOut("connecting"))?;
    let said = sys.ask_unix(socket, request.as_bytes(), left);
    let said = said.map_err(|e| ProbeError::from_io(&e, "waiting for the answer"))?;
    Reader::new(Box::new(Said(Cursor::new(said)))).response(method)
}

/// An answer that is there already.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Said {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Said {
    fn set_timeout(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}
