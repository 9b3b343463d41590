//! The hand that refuses at its turn and has the stand-in for HAProxy; it notes every effect.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nix::libc::{EIO, EROFS};
use pgsvc::host::real::RealSystem;
use pgsvc::host::{Command, Output, Signal, Stream, System};

use super::disk::Done;
use super::haproxy::Process;
use super::{Effect, Hand, Turn};

/// What happens to the n-th effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    Once(Turn),
    /// This one and all later ones on files, reading and writing: the disk is gone.
    Gone,
    /// This one and all later ones that write: the file system went read-only.
    ReadOnly,
    /// The monotonic clock, read for the n-th time, is an hour later, and the wall clock a day earlier.
    Jump,
    /// Something is done to the node first, and the effect goes on.
    Call,
}

/// The hand of this test: refuses at its turn, and has the stand-in for HAProxy.
pub struct Faults {
    at: usize,
    fault: Fault,
    count: AtomicUsize,
    pub clocks: AtomicUsize,
    /// The verbs of all effects, and what the fault met.
    pub verbs: Mutex<Vec<&'static str>>,
    pub met: Arc<Mutex<Option<String>>>,
    pub process: Mutex<Process>,
    clock: Mutex<Duration>,
    /// What was done to files, in order.
    pub log: Mutex<Vec<Done>>,
    /// What `Fault::Call` does.
    pub call: Option<Box<dyn Fn() + Sync>>,
}

impl Faults {
    pub fn new(process: Process, at: usize, fault: Fault) -> Self {
        Self {
            at,
            fault,
            count: AtomicUsize::new(0),
            clocks: AtomicUsize::new(0),
            verbs: Mutex::default(),
            met: Arc::default(),
            process: Mutex::new(process),
            clock: Mutex::default(),
            log: Mutex::default(),
            call: None,
        }
    }

    fn meets(&self, effect: &Effect<'_>) {
        self.met.lock().unwrap().get_or_insert_with(|| effect.text());
    }

    fn time_passes(&self, time: Duration) -> Duration {
        let mut clock = self.clock.lock().unwrap();
        *clock += time;
        *clock
    }
}

impl Hand for Faults {
    fn turn(&self, effect: &Effect<'_>) -> Turn {
        if let Effect::Clock = effect {
            if self.clocks.fetch_add(1, Ordering::SeqCst) + 1 == self.at && self.fault == Fault::Jump {
                self.meets(effect);
                self.time_passes(Duration::from_secs(3600));
            }
            return Turn::Goes;
        }
        self.verbs.lock().unwrap().push(effect.verb());
        let n = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let on_files = effect.writes() || matches!(effect.verb(), "read" | "stat" | "list" | "lock");
        let turn = match self.fault {
            Fault::Once(turn) if n == self.at => turn,
            Fault::Call if n == self.at => {
                self.call.as_ref().unwrap()();
                Turn::Goes
            }
            Fault::Gone if n >= self.at && on_files => Turn::Fails(EIO),
            Fault::ReadOnly if n >= self.at && effect.writes() => Turn::Fails(EROFS),
            _ => Turn::Goes,
        };
        if turn != Turn::Goes {
            self.meets(effect);
        }
        turn
    }

    fn done(&self, effect: &Effect<'_>, result: &io::Result<()>) {
        if result.is_ok() {
            self.log.lock().unwrap().push(Done::of(effect));
        }
    }

    fn run(&self, real: &RealSystem, command: &Command) -> io::Result<Output> {
        self.process.lock().unwrap().run(real, command)
    }
    fn signal(&self, real: &RealSystem, _: u32, signal: Signal) -> io::Result<()> {
        let mut process = self.process.lock().unwrap();
        match signal {
            Signal::Term => process.stop(real),
            Signal::Usr2 => process.reload(real),
            other => panic!("{other:?} is not sent to HAProxy"),
        }
        Ok(())
    }
    fn socket(&self, real: &RealSystem, path: &Path, said: &[u8], _: Duration) -> io::Result<Vec<u8>> {
        self.process.lock().unwrap().socket(real, path, said)
    }
    /// No member is there.
    fn connect(&self, _: &RealSystem, _: SocketAddr, _: Duration) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
    fn bind(&self, _: &RealSystem, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    fn find(&self, _: &RealSystem, program: &str) -> Option<PathBuf> {
        (program == "haproxy").then(|| "/usr/sbin/haproxy".into())
    }
    fn now(&self, _: &RealSystem) -> Duration {
        self.time_passes(Duration::from_micros(1))
    }
    fn wall(&self, real: &RealSystem) -> SystemTime {
        let earlier = if self.fault == Fault::Jump { Duration::from_secs(86_400) } else { Duration::ZERO };
        real.wall() - earlier
    }
    fn sleep(&self, _: &RealSystem, time: Duration) {
        self.time_passes(time);
    }
}
