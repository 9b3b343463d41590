//! `verify --watch`: a screen where a terminal is, else a line for every change. What is on the screen is `screen`'s matter,
//! what is looked at `run::ports`'; the unit's loop, which cuts sessions, is `run::watch`.

use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, UNIX_EPOCH};

use super::args::{Format, VerifyArgs};
use super::screen::board::{Board, When};
use super::screen::{Frame, draw};
use super::terminal::{self, Terminal};
use super::{GOOD, node, out, ports};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::inventory::Args;
use crate::report::Report;
use crate::request::{self, Model};
use crate::run;
use crate::run::watch::Event;

/// From drawing to drawing: a report is shown soon after it came, and the clock does not stumble.
const TICK: Duration = Duration::from_millis(200);
/// What the node keeps is read again after this time: an apply may have changed it.
const RELOAD: Duration = Duration::from_secs(10);

pub fn run(a: &VerifyArgs) -> Result<u8, Errors> {
    let elsewhere = a.source.inventory.is_some() || a.source.host.is_some();
    if a.fix && elsewhere {
        let error = Error::new("--watch --fix", "cuts this node's sessions, by what it keeps");
        return Err(error.hint("leave -i and --host away, and run it on that node").into());
    }
    let draws = terminal::is_there() && a.source.format == Format::Table && !a.fix;
    match (draws, elsewhere) {
        (true, _) => screen(a),
        (false, true) => lines(a),
        (false, false) => sessions(a),
    }
}

/// The unit's loop: until a signal ends it, or a new binary is to take over.
fn sessions(a: &VerifyArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let wanted = run::watch::Wanted {
        clusters: a.source.clusters.clone(),
        fix: a.fix,
        interval: Duration::from_secs(a.interval),
    };
    run::watch::watch(&node(&sys, false), wanted, &mut |event| say(event, a.source.format))?;
    Ok(GOOD)
}

fn say(event: &Event, format: Format) {
    match format {
        Format::Json => out::line(&serde_json::to_string(event).unwrap_or_default()),
        Format::Table => out::line(&event.text()),
    }
}

/// Another node's ports, or those of an inventory: a line for every change.
fn lines(a: &VerifyArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let mut looker = Looker::new(&sys, a)?;
    sys.pause(Duration::ZERO);
    let mut board = Board::default();
    loop {
        let report = looker.look(&sys);
        board.take(report, now(&sys)).iter().for_each(|e| say(e, a.source.format));
        if sys.pause(looker.interval) {
            return Ok(GOOD);
        }
    }
}

fn now(sys: &dyn System) -> When {
    let wall = sys.wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    When { at: sys.now(), wall }
}

/// Draws until a signal ends it. Looking is another thread's work: a silent host takes seconds, and the clock goes on.
fn screen(a: &VerifyArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let mut looker = Looker::new(&sys, a)?;
    // Before the thread, which inherits it: the signal is ours to take.
    sys.pause(Duration::ZERO);
    let (send, receive) = mpsc::sync_channel(1);
    // Not waited for at the end: it changes nothing, and the process takes it along.
    std::thread::spawn(move || {
        let sys = RealSystem::new(None);
        while send.send(looker.look(&sys)).is_ok() {
            sys.sleep(looker.interval);
        }
    });
    show(&sys, &receive);
    Ok(GOOD)
}

fn show(sys: &dyn System, reports: &Receiver<Report>) {
    let terminal = Terminal::enter();
    let (mut board, mut shown) = (Board::default(), String::new());
    loop {
        let when = now(sys);
        while let Ok(report) = reports.try_recv() {
            board.take(report, when);
        }
        let (width, height) = terminal::size();
        let frame = terminal::frame(&draw(&board, &Frame { now: when.at, wall: when.wall, width, height }));
        if frame != shown && !terminal.show(&frame) || sys.pause(TICK) {
            return;
        }
        shown = frame;
    }
}

/// Looks at the ports again and again.
struct Looker {
    model: Model,
    remote: Option<IpAddr>,
    interval: Duration,
    /// What the node keeps is read again with these; `None`: an inventory was named, and is what it was.
    kept: Option<(Vec<String>, Args)>,
    loaded: Duration,
}

impl Looker {
    fn new(sys: &RealSystem, a: &VerifyArgs) -> Result<Self, Errors> {
        let (request, remote, flags) = ports::request(sys, a)?;
        let from_kept = a.source.inventory.is_none();
        Ok(Self {
            model: request::model(request)?,
            remote,
            interval: Duration::from_secs(a.interval),
            kept: from_kept.then(|| (a.source.clusters.clone(), flags)),
            loaded: sys.now(),
        })
    }

    fn look(&mut self, sys: &RealSystem) -> Report {
        let node = node(sys, false);
        if let Some((clusters, flags)) = &self.kept
            && sys.now().saturating_sub(self.loaded) >= RELOAD
        {
            // Between an apply's two renames there is nothing to read: what was known holds on.
            if let Ok(model) = run::kept::load(&node, clusters, flags).and_then(request::model) {
                self.model = model;
            }
            self.loaded = sys.now();
        }
        run::ports::report(&node, &self.model, self.remote, Duration::ZERO, false)
    }
}
