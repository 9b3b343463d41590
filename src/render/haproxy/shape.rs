//! HAProxy's configuration read back: what of it can change while HAProxy runs, and what needs a reload. Pure; what is
//! done about a difference is decided by the planner.
//!
//! Servers, their weights and the values of `maxconn` can change. What is not surely one of these counts as the rest:
//! a line that does not look like ours (an operator's template) makes its section one that needs a reload.

use std::collections::BTreeSet;

/// First words that begin a section (HAProxy manual, chapters 2 to 12).
pub const SECTIONS: [&str; 20] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "userlist",
    "peers",
    "resolvers",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "fcgi-app",
    "crt-store",
    "traces",
    "log-profile",
    "acme",
    "crt-list",
];
/// Algorithms whose servers and weights may change at runtime; `source` and `static-rr` are computed at the start.
const DYNAMIC: [&str; 3] = ["roundrobin", "leastconn", "random"];
const FLAGS: [&str; 6] = ["check", "check-ssl", "backup", "send-proxy", "send-proxy-v2", "check-send-proxy"];
const VALUED: [&str; 23] = [
    "port",
    "verify",
    "ca-file",
    "verifyhost",
    "check-sni",
    "weight",
    "maxconn",
    "track",
    "inter",
    "fastinter",
    "downinter",
    "rise",
    "fall",
    "slowstart",
    "maxqueue",
    "on-marked-down",
    "on-marked-up",
    "on-error",
    "observe",
    "error-limit",
    "agent-inter",
    "tcp-ut",
    "init-addr",
];
/// `add server` of 2.6 refuses these; a server that tracks a dynamic one is refused too, so tracking is left to a reload.
const NOT_ADDED: [&str; 3] = ["tcp-ut", "init-addr", "track"];

/// A server keyword with its value, if it takes one.
pub type Word = (String, Option<String>);

/// A `frontend`, `backend` or `listen` whose changing parts are understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    /// A frontend and a backend may have one name.
    pub frontend: bool,
    /// Of a listener; `None` where it says none.
    pub maxconn: Option<u32>,
    defaults: Vec<Word>,
    pub servers: Vec<Server>,
}

/// A `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    /// An IP address or a name.
    pub host: String,
    pub port: u16,
    /// Its own words and those of the section's `default-server`.
    words: Vec<Word>,
}

impl Server {
    fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find(|(k, _)| k == key).and_then(|(_, v)| v.as_deref())
    }

    /// HAProxy's own default is 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.value("weight").and_then(|w| w.parse().ok()).unwrap_or(1)
    }

    /// 0: no limit.
    #[must_use]
    pub fn maxconn(&self) -> u32 {
        self.value("maxconn").and_then(|w| w.parse().ok()).unwrap_or(0)
    }

    /// `backend/server` that it tracks.
    #[must_use]
    pub fn tracks(&self) -> Option<&str> {
        self.value("track")
    }

    /// What of the line cannot change at runtime.
    #[must_use]
    pub fn fixed(&self) -> Vec<&Word> {
        self.words.iter().filter(|(k, _)| k != "weight" && k != "maxconn").collect()
    }

    /// The words for `add server`, which knows no `default-server`. `None` where a reload has to bring the server: it
    /// would resolve no name, and one that is not checked would serve at once.
    #[must_use]
    pub fn addable(&self) -> Option<String> {
        let refused = self.words.iter().any(|(k, _)| NOT_ADDED.contains(&k.as_str()));
        let checked = self.words.iter().any(|(k, _)| k == "check");
        if refused || !checked || self.host.parse::<std::net::IpAddr>().is_err() {
            return None;
        }
        Some(self.words.iter().map(text).collect::<Vec<_>>().join(" "))
    }

    /// Address and port as a line has them.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

/// Host and port out of a line's address; the brackets of IPv6 go.
#[must_use]
pub fn place(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

/// Address and port as a line has them.
#[must_use]
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn text((key, value): &Word) -> String {
    value.as_ref().map_or_else(|| key.clone(), |v| format!("{key} {v}"))
}

/// A file as HAProxy must load it anew when it changes, and its sections that can change at runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Equal for two files that differ only in what can change at runtime, or in comments.
    pub fixed: String,
    pub sections: Vec<Section>,
}

/// Reads a file.
#[must_use]
pub fn shape(content: &[u8]) -> Shape {
    let content = String::from_utf8_lossy(content);
    let mut shape = Shape::default();
    // `fullconn` and `minconn` make a server's limit depend on its listener's.
    let linked = content.split_whitespace().any(|w| w == "minconn" || w == "fullconn");
    for lines in split(&content) {
        match (!linked).then(|| section(&lines)).flatten() {
            Some((fixed, section)) => {
                shape.fixed.push_str(&fixed);
                shape.sections.push(section);
            }
            None => lines.iter().for_each(|l| line(&mut shape.fixed, l)),
        }
    }
    shape
}

fn line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// The lines of each section, without comments; what stands before the first section is one by itself.
fn split(content: &str) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for line in content.lines() {
        let first = line.split_whitespace().next().unwrap_or("#");
        if first.starts_with('#') {
            continue;
        }
        if SECTIONS.contains(&first) {
            all.push(Vec::new());
        }
        if let Some(last) = all.last_mut() {
            last.push(line);
        }
    }
    all
}

/// A section's fixed text and its changing parts; `None` where it is not surely understood.
fn section(lines: &[&str]) -> Option<(String, Section)> {
    let (head, body) = lines.split_first()?;
    let head: Vec<&str> = head.split_whitespace().collect();
    let [kind @ ("frontend" | "backend" | "listen"), name] = head.as_slice() else { return None };
    let mut section =
        Section { name: (*name).to_owned(), frontend: *kind == "frontend", ..Section::default() };
    let mut fixed = format!("{kind} {name}\n");
    let mut own: Vec<(Server, Vec<Word>)> = Vec::new();
    let mut balance = None;
    for text in body {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["maxconn", n] if *kind != "backend" && section.maxconn.is_none() => {
                section.maxconn = Some(n.parse().ok()?);
                line(&mut fixed, "maxconn");
            }
            ["default-server", rest @ ..] if section.defaults.is_empty() => {
                section.defaults = options(text, rest)?;
                line(&mut fixed, &format!("default-server {}", without_maxconn(&section.defaults)));
            }
            ["server", name, address, rest @ ..] => own.push(server(text, name, address, rest)?),
            ["maxconn" | "default-server" | "server" | "server-template" | "use-server" | "dispatch", ..] => {
                return None;
            }
            [".if" | ".elif" | ".else" | ".endif", ..] => return None,
            ["balance", how, ..] => {
                balance = Some((*how).to_owned());
                line(&mut fixed, text);
            }
            _ => line(&mut fixed, text),
        }
    }
    let movable = |b: &String| DYNAMIC.iter().any(|d| b.split('(').next() == Some(d));
    if *kind != "frontend" && !balance.as_ref().is_some_and(movable) {
        return None;
    }
    line(&mut fixed, &kinds(&own));
    section.servers = own.into_iter().map(|(s, words)| merged(s, words, &section.defaults)).collect();
    Some((fixed, section))
}

/// The distinct words of all servers, without what is each member's own.
fn kinds(servers: &[(Server, Vec<Word>)]) -> String {
    let kind = |(key, value): &Word| match (key.as_str(), value) {
        ("weight" | "maxconn", _) => None,
        ("port" | "verifyhost" | "check-sni", _) => Some(key.clone()),
        ("track", Some(target)) => Some(format!("track {}", target.split('/').next().unwrap_or_default())),
        _ => Some(text(&(key.clone(), value.clone()))),
    };
    let all: BTreeSet<String> = servers.iter().flat_map(|(_, words)| words).filter_map(kind).collect();
    let any = if servers.is_empty() { "no servers" } else { "servers" };
    format!("{any}: {}", all.into_iter().collect::<Vec<_>>().join(", "))
}

fn without_maxconn(words: &[Word]) -> String {
    let one = |w: &Word| if w.0 == "maxconn" { w.0.clone() } else { text(w) };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn merged(mut server: Server, own: Vec<Word>, defaults: &[Word]) -> Server {
    let more = defaults.iter().filter(|(k, _)| own.iter().all(|(o, _)| o != k)).cloned();
    server.words = own.iter().cloned().chain(more).collect();
    server
}

fn server(line: &str, name: &str, address: &str, rest: &[&str]) -> Option<(Server, Vec<Word>)> {
    let (host, port) = place(address)?;
    if host.is_empty() || host.contains(['@', '/', '[', ']', ',']) || name.contains('/') {
        return None;
    }
    let server = Server { name: name.to_owned(), host: host.to_owned(), port, words: Vec::new() };
    Some((server, options(line, rest)?))
}

/// Known keywords, each once. A `;` would end a command on the admin socket.
fn options(line: &str, words: &[&str]) -> Option<Vec<Word>> {
    if line.contains(['"', '\'', '\\', '#', '$', ';']) {
        return None;
    }
    let mut all: Vec<Word> = Vec::new();
    let mut words = words.iter();
    while let Some(key) = words.next() {
        let value = if VALUED.contains(key) { Some((*words.next()?).to_owned()) } else { None };
        if value.is_none() && !FLAGS.contains(key) || all.iter().any(|(k, _)| k == key) {
            return None;
        }
        if matches!(*key, "weight" | "maxconn" | "port") {
            value.as_ref()?.parse::<u32>().ok()?;
        }
        all.push(((*key).to_owned(), value));
    }
    Some(all)
}

#[cfg(test)]
mod tests;
