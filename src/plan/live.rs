//! What the running HAProxy says of its servers and limits, as the planner needs it, and what is done to them while it
//! runs. Pure: asks nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

/// The servers and limits of the running process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// By backend and name.
    pub servers: BTreeMap<(String, String), LiveServer>,
    /// `maxconn` of frontends and listens.
    pub listeners: BTreeMap<String, u32>,
}

impl Live {
    /// Names of a backend's servers, with what they are.
    pub fn of<'a>(&'a self, backend: &'a str) -> impl Iterator<Item = (&'a String, &'a LiveServer)> {
        let first = (backend.to_owned(), String::new());
        let all = self.servers.range(first..).take_while(move |((b, _), _)| b == backend);
        all.map(|((_, name), server)| (name, server))
    }

    #[must_use]
    pub fn server(&self, backend: &str, name: &str) -> Option<&LiveServer> {
        self.servers.get(&(backend.to_owned(), name.to_owned()))
    }
}

/// A server as the running process has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveServer {
    /// An IP address; `-` where its name never resolved.
    pub address: String,
    pub port: u16,
    /// The name it was configured by.
    pub fqdn: Option<String>,
    pub weight: u32,
    /// 0: no limit.
    pub maxconn: u32,
    pub maintenance: bool,
    pub drain: bool,
    /// Sessions it has now, those that wait for it included.
    pub sessions: u64,
}

/// One change of the running process, by its admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A server that the files name. It is down until its checks pass.
    Add {
        backend: String,
        server: String,
        address: String,
        /// All its words, those of `default-server` included.
        options: String,
        weight: u32,
        maxconn: u32,
    },
    Weight {
        backend: String,
        server: String,
        from: u32,
        to: u32,
    },
    /// A server's `maxconn`.
    ServerMaxconn {
        backend: String,
        server: String,
        from: u32,
        to: u32,
    },
    /// A frontend's or a listen's `maxconn`.
    Maxconn {
        listener: String,
        from: u32,
        to: u32,
    },
    /// A server without sessions.
    Remove {
        backend: String,
        server: String,
        weight: u32,
        /// What brings it back; `None` where a reload has to.
        back: Option<Box<Command>>,
    },
}

impl Command {
    /// What undoes it; `None` where only a reload does.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        let mut back = self.clone();
        match &mut back {
            Self::Weight { from, to, .. }
            | Self::ServerMaxconn { from, to, .. }
            | Self::Maxconn { from, to, .. } => {
                std::mem::swap(from, to);
            }
            Self::Add { backend, server, weight, .. } => {
                let (backend, server) = (std::mem::take(backend), std::mem::take(server));
                back = Self::Remove { backend, server, weight: *weight, back: Some(Box::new(self.clone())) };
            }
            Self::Remove { back, .. } => return back.take().map(|b| *b),
        }
        Some(back)
    }

    /// Whether it was given, if only in part, and has to be undone.
    #[must_use]
    pub fn shows(&self, live: &Live) -> bool {
        match self {
            Self::Add { backend, server, .. } => live.server(backend, server).is_some(),
            _ => self.holds(live),
        }
    }

    /// Whether the running process is as this command leaves it.
    #[must_use]
    pub fn holds(&self, live: &Live) -> bool {
        match self {
            Self::Add { backend, server, address, weight, maxconn, .. } => {
                live.server(backend, server).is_some_and(|s| {
                    let there = crate::render::haproxy::shape::address(&s.address, s.port);
                    there == *address && s.weight == *weight && s.maxconn == *maxconn && !s.maintenance
                })
            }
            Self::Weight { backend, server, to, .. } => {
                live.server(backend, server).is_some_and(|s| s.weight == *to)
            }
            Self::ServerMaxconn { backend, server, to, .. } => {
                live.server(backend, server).is_some_and(|s| s.maxconn == *to)
            }
            Self::Maxconn { listener, to, .. } => live.listeners.get(listener) == Some(to),
            Self::Remove { backend, server, .. } => live.server(backend, server).is_none(),
        }
    }
}

fn limit(n: u32) -> String {
    if n == 0 { "no limit".into() } else { n.to_string() }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { backend, server, address, weight, .. } => {
                write!(
                    f,
                    "add {server} ({address}, weight {weight}) to {backend}, down until its checks pass"
                )
            }
            Self::Weight { backend, server, from, to } => {
                write!(f, "weight of {server} in {backend}: {from} → {to}")
            }
            Self::ServerMaxconn { backend, server, from, to } => {
                write!(f, "maxconn of {server} in {backend}: {} → {}", limit(*from), limit(*to))
            }
            Self::Maxconn { listener, from, to } => write!(f, "maxconn of {listener}: {from} → {to}"),
            Self::Remove { backend, server, .. } => {
                write!(f, "remove {server}, which has no sessions, from {backend}")
            }
        }
    }
}

impl Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_string();
        let value: Value = match self {
            Self::Add { backend, server, address, weight, .. } => {
                json!({"do": "add", "backend": backend, "server": server, "address": address, "to": weight, "text": text})
            }
            Self::Weight { backend, server, from, to } => {
                json!({"do": "weight", "backend": backend, "server": server, "from": from, "to": to, "text": text})
            }
            Self::ServerMaxconn { backend, server, from, to } => {
                json!({"do": "maxconn", "backend": backend, "server": server, "from": from, "to": to, "text": text})
            }
            Self::Maxconn { listener, from, to } => {
                json!({"do": "maxconn", "listener": listener, "from": from, "to": to, "text": text})
            }
            Self::Remove { backend, server, .. } => {
                json!({"do": "remove", "backend": backend, "server": server, "text": text})
            }
        };
        value.serialize(serializer)
    }
}

/// What somebody set on the running process by hand. It is kept, and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hand {
    pub backend: String,
    /// `None`: of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub what: What,
    /// The running value, and that of the files.
    pub running: String,
    pub files: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Weight,
    Maxconn,
    State,
}

impl fmt::Display for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, running, files, .. } = self;
        let place = self.server.as_ref().map_or(backend.clone(), |s| format!("{s} in {backend}"));
        match self.what {
            What::State => write!(f, "{place} is in {running} by hand, and stays so"),
            What::Weight => write!(f, "weight of {place} is {running} by hand, the files say {files}"),
            What::Maxconn => write!(f, "maxconn of {place} is {running} by hand, the files say {files}"),
        }
    }
}
