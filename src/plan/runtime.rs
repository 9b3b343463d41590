//! Files × running process → what can be done while HAProxy runs, what needs a reload, and what somebody set by hand.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Running;
use super::live::{Command, Hand, Live, LiveServer, What};
use crate::render::Contents;
use crate::render::haproxy::shape::{Section, Server, shape};

/// `add server` and `del server` want no experimental mode from here on.
const ADDS_SERVERS: (u32, u32) = (2, 6);

/// The way from what runs to what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// In the order they are given.
    pub commands: Vec<Command>,
    pub hands: Vec<Hand>,
    /// Why no commands will do.
    pub reload: Option<String>,
}

/// What is compared: one section as last applied and as wanted.
struct Pair<'a> {
    before: Option<&'a Section<'a>>,
    wanted: &'a Section<'a>,
}

pub(super) struct Compare<'a> {
    running: &'a Running,
    live: &'a Live,
    /// Backends whose servers are tracked, or track others: their members come and go with a reload.
    tracked: BTreeSet<String>,
    way: Way,
}

/// Compares the running process with our files, as they are and as they shall be.
pub(super) fn compare(before: &Contents<'_>, wanted: &Contents<'_>, running: &Running) -> Way {
    let (old, new) = (sections(before), sections(wanted));
    let Some(live) = &running.live else {
        let reload = (old != new).then(|| {
            "servers or limits change, and the running HAProxy does not say which it has".to_owned()
        });
        return Way { reload, ..Way::default() };
    };
    let tracked = old.values().chain(new.values()).flat_map(tracks).collect();
    let mut compare = Compare { running, live, tracked, way: Way::default() };
    for (name, wanted) in &new {
        let pair = Pair { before: old.get(name), wanted };
        compare.limit(&pair);
        if !wanted.frontend {
            compare.servers(&pair);
        }
    }
    let mut way = compare.way;
    // First what takes load on, last what gives it up.
    way.commands.sort_by_key(|c| match c {
        Command::Add { .. } => 0,
        Command::Remove { .. } => 2,
        _ => 1,
    });
    if way.reload.is_some() {
        way.commands.clear();
    }
    way
}

/// Sections by name; a frontend and a backend may have the same.
type Sections<'a> = BTreeMap<(&'a str, bool), Section<'a>>;

fn sections<'a>(files: &Contents<'a>) -> Sections<'a> {
    files.values().flat_map(|c| shape(c).sections).map(|s| ((s.name, s.frontend), s)).collect()
}

/// The section and those it tracks, where it tracks any.
fn tracks(section: &Section<'_>) -> Vec<String> {
    let targets = section.servers.iter().filter_map(Server::tracks).filter_map(|t| t.split('/').next());
    let mut all: Vec<String> = targets.map(str::to_owned).collect();
    if !all.is_empty() {
        all.push(section.name.to_owned());
    }
    all
}

impl Compare<'_> {
    fn reload(&mut self, why: String) {
        self.way.reload.get_or_insert(why);
    }

    fn servers(&mut self, pair: &Pair<'_>) {
        let name = pair.wanted.name;
        let live = self.live;
        for server in &pair.wanted.servers {
            let before = pair.before.and_then(|b| b.servers.iter().find(|s| s.name == server.name));
            match live.server(name, server.name) {
                Some(live) => self.server(name, before, server, live),
                None => self.add(name, server),
            }
        }
        let unwanted =
            live.of(name).filter(|(server, _)| pair.wanted.servers.iter().all(|s| s.name != **server));
        for (server, live) in unwanted {
            let before = pair.before.and_then(|b| b.servers.iter().find(|s| s.name == *server));
            self.remove(name, server, before, live);
        }
    }

    /// A listener's `maxconn`.
    fn limit(&mut self, Pair { before, wanted }: &Pair<'_>) {
        let (Some(to), Some(from)) = (wanted.maxconn, self.live.listeners.get(wanted.name).copied()) else {
            return;
        };
        if from == to {
            return;
        }
        let listener = wanted.name.to_owned();
        // Somebody's hand, if the files already said so at the last apply.
        if before.and_then(|b| b.maxconn) == Some(to) {
            self.hand(&listener, None, What::Maxconn, from.to_string(), to.to_string());
        } else {
            self.way.commands.push(Command::Maxconn { listener, from, to });
        }
    }

    fn hand(&mut self, backend: &str, server: Option<&str>, what: What, running: String, files: String) {
        let (backend, server) = (backend.to_owned(), server.map(str::to_owned));
        self.way.hands.push(Hand { backend, server, what, running, files });
    }

    /// A server that runs and is wanted.
    fn server(&mut self, backend: &str, before: Option<&Server<'_>>, wanted: &Server<'_>, live: &LiveServer) {
        let name = wanted.name;
        if !same_place(wanted, live) {
            let (from, to) = (&live.address, wanted.address());
            return self.reload(format!("{name} in {backend} moves from {from}:{} to {to}", live.port));
        }
        if before.is_some_and(|b| b.fixed() != wanted.fixed() || b.address() != wanted.address()) {
            return self.reload(format!("the options of {name} in {backend} change"));
        }
        for (set, text) in [(live.maintenance, "maintenance"), (live.drain, "drain")] {
            if set {
                self.hand(backend, Some(name), What::State, text.to_owned(), "ready".to_owned());
            }
        }
        let (server, owner) = (name.to_owned(), backend.to_owned());
        let (from, to) = (live.weight, wanted.weight());
        if from != to && before.map(Server::weight) == Some(to) {
            self.hand(backend, Some(name), What::Weight, from.to_string(), to.to_string());
        } else if from != to {
            self.way.commands.push(Command::Weight {
                backend: owner.clone(),
                server: server.clone(),
                from,
                to,
            });
        }
        let (from, to) = (live.maxconn, wanted.maxconn());
        if from != to && before.map(Server::maxconn) == Some(to) {
            self.hand(backend, Some(name), What::Maxconn, from.to_string(), to.to_string());
        } else if from != to {
            self.way.commands.push(Command::ServerMaxconn { backend: owner, server, from, to });
        }
    }

    /// Why members of a backend cannot come and go while this HAProxy runs.
    fn fixed(&self, backend: &str) -> Option<String> {
        if self.running.version < ADDS_SERVERS {
            let (major, minor) = self.running.version;
            return Some(format!("HAProxy {major}.{minor} cannot do that while it runs"));
        }
        let tracked = self.tracked.contains(backend);
        tracked.then(|| "servers that track others come and go with a reload only".to_owned())
    }

    fn add(&mut self, backend: &str, server: &Server<'_>) {
        let name = server.name;
        if let Some(why) = self.fixed(backend) {
            return self.reload(format!("{name} comes to {backend}: {why}"));
        }
        match add(backend, server) {
            Some(command) => self.way.commands.push(command),
            None => self.reload(format!(
                "{name} comes to {backend} with an address or options that only a reload can bring"
            )),
        }
    }

    fn remove(&mut self, backend: &str, server: &str, before: Option<&Server<'_>>, live: &LiveServer) {
        if let Some(why) = self.fixed(backend) {
            return self.reload(format!("{server} leaves {backend}: {why}"));
        }
        if live.sessions > 0 {
            let n = live.sessions;
            let sessions = if n == 1 { "1 session".to_owned() } else { format!("{n} sessions") };
            return self
                .reload(format!("{server} leaves {backend} with {sessions}, which the old worker keeps"));
        }
        self.way.commands.push(Command::Remove {
            backend: backend.to_owned(),
            server: server.to_owned(),
            weight: live.weight,
            back: before.and_then(|s| add(backend, s)).map(Box::new),
        });
    }
}

fn add(backend: &str, server: &Server<'_>) -> Option<Command> {
    Some(Command::Add {
        backend: backend.to_owned(),
        server: server.name.to_owned(),
        address: server.address(),
        options: server.addable()?,
        weight: server.weight(),
        maxconn: server.maxconn(),
    })
}

/// A name is compared by itself: what it resolves to is HAProxy's matter.
fn same_place(wanted: &Server<'_>, live: &LiveServer) -> bool {
    let host = match (wanted.host.parse::<IpAddr>(), live.address.parse::<IpAddr>()) {
        (Ok(wanted), Ok(live)) => wanted == live,
        (Ok(_), Err(_)) => false,
        (Err(_), _) => live.fqdn.as_ref().is_none_or(|name| *name == wanted.host),
    };
    host && wanted.port == live.port
}

#[cfg(test)]
mod tests;
