//! HAProxy's configuration read back: what of it can change while HAProxy runs, and what needs a reload. Pure; what is
//! done about a difference is decided by the planner.
//!
//! Servers, their weights and the values of `maxconn` can change. What is not surely one of these counts as the rest:
//! a line that does not look like ours (an operator's template) makes its section one that needs a reload.

/// Whether a first word begins a section (HAProxy manual, chapters 2 to 12).
#[must_use]
pub fn is_section(word: &str) -> bool {
    matches!(
        word,
        "global"
            | "defaults"
            | "frontend"
            | "backend"
            | "listen"
            | "userlist"
            | "peers"
            | "resolvers"
            | "mailers"
            | "cache"
            | "program"
            | "http-errors"
            | "ring"
            | "log-forward"
            | "fcgi-app"
            | "crt-store"
            | "traces"
            | "log-profile"
            | "acme"
            | "crt-list"
    )
}

/// Algorithms whose servers and weights may change at runtime; `source` and `static-rr` are computed at the start.
const DYNAMIC: [&str; 3] = ["roundrobin", "leastconn", "random"];
/// Keywords of a server line that take no value.
fn is_flag(word: &str) -> bool {
    matches!(word, "check" | "check-ssl" | "backup" | "send-proxy" | "send-proxy-v2" | "check-send-proxy")
}

/// Those that take one.
fn is_valued(word: &str) -> bool {
    matches!(
        word,
        "port"
            | "verify"
            | "ca-file"
            | "crt"
            | "verifyhost"
            | "check-sni"
            | "weight"
            | "maxconn"
            | "track"
            | "inter"
            | "fastinter"
            | "downinter"
            | "rise"
            | "fall"
            | "slowstart"
            | "maxqueue"
            | "on-marked-down"
            | "on-marked-up"
            | "on-error"
            | "observe"
            | "error-limit"
            | "agent-inter"
            | "tcp-ut"
            | "init-addr"
    )
}

/// `add server` of 2.6 refuses these; a server that tracks a dynamic one is refused too, so tracking is left to a reload.
const NOT_ADDED: [&str; 3] = ["tcp-ut", "init-addr", "track"];

/// A server keyword with its value, if it takes one.
pub type Word<'a> = (&'a str, Option<&'a str>);

/// A `frontend`, `backend` or `listen` whose changing parts are understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section<'a> {
    pub name: &'a str,
    /// A frontend and a backend may have one name.
    pub frontend: bool,
    /// Of a listener; `None` where it says none.
    pub maxconn: Option<u32>,
    defaults: Vec<Word<'a>>,
    pub servers: Vec<Server<'a>>,
}

/// A `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server<'a> {
    pub name: &'a str,
    /// An IP address or a name.
    pub host: &'a str,
    pub port: u16,
    /// Its own words and those of the section's `default-server`.
    words: Vec<Word<'a>>,
}

impl<'a> Server<'a> {
    fn value(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find(|(k, _)| *k == key).and_then(|(_, v)| *v)
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
    pub fn tracks(&self) -> Option<&'a str> {
        self.value("track")
    }

    /// What of the line cannot change at runtime.
    #[must_use]
    pub fn fixed(&self) -> Vec<&Word<'a>> {
        self.words.iter().filter(|(k, _)| *k != "weight" && *k != "maxconn").collect()
    }

    /// The words for `add server`, which knows no `default-server`. `None` where a reload has to bring the server: it
    /// would resolve no name, and one that is not checked would serve at once.
    #[must_use]
    pub fn addable(&self) -> Option<String> {
        let refused = self.words.iter().any(|(k, _)| NOT_ADDED.contains(k));
        let checked = self.words.iter().any(|(k, _)| *k == "check");
        if refused || !checked || self.host.parse::<std::net::IpAddr>().is_err() {
            return None;
        }
        Some(self.words.iter().map(text).collect::<Vec<_>>().join(" "))
    }

    /// Address and port as a line has them.
    #[must_use]
    pub fn address(&self) -> String {
        address(self.host, self.port)
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

fn text((key, value): &Word<'_>) -> String {
    value.map_or_else(|| (*key).to_owned(), |v| [key, " ", v].concat())
}

/// A file as HAProxy must load it anew when it changes, and its sections that can change at runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape<'a> {
    /// Equal for two files that differ only in what can change at runtime, or in comments.
    pub fixed: String,
    pub sections: Vec<Section<'a>>,
}

/// Reads a file. What is no text counts to the last byte.
#[must_use]
pub fn shape(content: &[u8]) -> Shape<'_> {
    let mut shape = Shape::default();
    let Ok(content) = std::str::from_utf8(content) else {
        shape.fixed = String::from_utf8_lossy(content).into_owned();
        return shape;
    };
    shape.fixed.reserve(content.len());
    // `fullconn` and `minconn` make a server's limit depend on its listener's.
    let linked = ["minconn", "fullconn"].iter().any(|w| content.contains(w))
        && content.split_whitespace().any(|w| w == "minconn" || w == "fullconn");
    let mut lines: Vec<Line<'_>> = Vec::new();
    for text in content.split('\n') {
        let text = text.strip_suffix('\r').unwrap_or(text);
        let first = text.split_ascii_whitespace().next().unwrap_or("#");
        if first.starts_with('#') {
            continue;
        }
        if is_section(first) {
            shape.close(&mut lines, linked);
        }
        lines.push(Line { first, text });
    }
    shape.close(&mut lines, linked);
    shape
}

impl<'a> Shape<'a> {
    /// Takes the lines of a section, without comments; what stands before the first section is one by itself.
    fn close(&mut self, lines: &mut Vec<Line<'a>>, linked: bool) {
        let before = self.fixed.len();
        match (!linked).then(|| section(lines, &mut self.fixed)).flatten() {
            Some(section) => self.sections.push(section),
            None => {
                self.fixed.truncate(before);
                lines.iter().for_each(|l| line(&mut self.fixed, l.text));
            }
        }
        lines.clear();
    }
}

fn line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A line and its first word.
#[derive(Clone, Copy)]
struct Line<'a> {
    first: &'a str,
    text: &'a str,
}

/// A section's changing parts, its fixed text behind `fixed`; `None` where it is not surely understood.
fn section<'a>(lines: &[Line<'a>], fixed: &mut String) -> Option<Section<'a>> {
    let (head, body) = lines.split_first()?;
    let mut head = head.text.split_ascii_whitespace();
    let (Some(kind @ ("frontend" | "backend" | "listen")), Some(name), None) =
        (head.next(), head.next(), head.next())
    else {
        return None;
    };
    let mut section = Section { name, frontend: kind == "frontend", ..Section::default() };
    line(fixed, &[kind, " ", name].concat());
    let mut own: Vec<(Server<'a>, Vec<Word<'a>>)> = Vec::new();
    let mut balance = None;
    let mut words: Vec<&str> = Vec::new();
    for Line { first, text } in body {
        // Most lines are what they are: their other words are not looked for.
        if !matches!(*first, "maxconn" | "default-server" | "server" | "balance") {
            if matches!(*first, "server-template" | "use-server" | "dispatch") || first.starts_with('.') {
                return None;
            }
            line(fixed, text);
            continue;
        }
        words.clear();
        words.extend(text.split_ascii_whitespace());
        match words.as_slice() {
            ["maxconn", n] if kind != "backend" && section.maxconn.is_none() => {
                section.maxconn = Some(n.parse().ok()?);
                line(fixed, "maxconn");
            }
            ["default-server", rest @ ..] if section.defaults.is_empty() => {
                section.defaults = options(text, rest)?;
                line(fixed, &format!("default-server {}", without_maxconn(&section.defaults)));
            }
            ["server", name, address, rest @ ..] => own.push(server(text, name, address, rest)?),
            ["balance", how, ..] => {
                balance = Some(*how);
                line(fixed, text);
            }
            _ => return None,
        }
    }
    let movable = |b: &str| DYNAMIC.iter().any(|d| b.split('(').next() == Some(*d));
    if kind != "frontend" && !balance.is_some_and(movable) {
        return None;
    }
    line(fixed, &kinds(&own));
    section.servers = own.into_iter().map(|(s, words)| merged(s, words, &section.defaults)).collect();
    Some(section)
}

/// The distinct words of all servers, without what is each member's own.
fn kinds(servers: &[(Server<'_>, Vec<Word<'_>>)]) -> String {
    fn kind<'a>((key, value): &Word<'a>) -> Option<Word<'a>> {
        match (*key, *value) {
            ("weight" | "maxconn", _) => None,
            ("port" | "verifyhost" | "check-sni", _) => Some((key, None)),
            ("track", Some(target)) => Some((key, target.split('/').next())),
            (key, value) => Some((key, value)),
        }
    }
    // Few and mostly the same: looked for one by one sooner than sorted.
    let mut all: Vec<Word<'_>> = Vec::new();
    for word in servers.iter().flat_map(|(_, words)| words).filter_map(kind) {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    let any = if servers.is_empty() { "no servers" } else { "servers" };
    // By the words as a line has them: a shorter key comes first with its value, not before it.
    let mut all: Vec<String> = all.iter().map(text).collect();
    all.sort_unstable();
    all.dedup();
    format!("{any}: {}", all.join(", "))
}

fn without_maxconn(words: &[Word<'_>]) -> String {
    let one = |w: &Word<'_>| if w.0 == "maxconn" { w.0.to_owned() } else { text(w) };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn merged<'a>(mut server: Server<'a>, own: Vec<Word<'a>>, defaults: &[Word<'a>]) -> Server<'a> {
    let more = defaults.iter().filter(|(k, _)| own.iter().all(|(o, _)| o != k));
    server.words = own.iter().chain(more).copied().collect();
    server
}

fn server<'a>(
    line: &str,
    name: &'a str,
    address: &'a str,
    rest: &[&'a str],
) -> Option<(Server<'a>, Vec<Word<'a>>)> {
    let (host, port) = place(address)?;
    if host.is_empty() || host.contains(['@', '/', '[', ']', ',']) || name.contains('/') {
        return None;
    }
    let server = Server { name, host, port, words: Vec::new() };
    Some((server, options(line, rest)?))
}

/// Known keywords, each once. A `;` would end a command on the admin socket.
fn options<'a>(line: &str, words: &[&'a str]) -> Option<Vec<Word<'a>>> {
    // All of these stand before the small letters, which most bytes are.
    if line.bytes().any(|b| b < b'a' && matches!(b, b'"' | b'\'' | b'\\' | b'#' | b'$' | b';')) {
        return None;
    }
    let mut all: Vec<Word<'a>> = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(key) = words.next() {
        let value = if is_valued(key) { Some(*words.next()?) } else { None };
        if value.is_none() && !is_flag(key) || all.iter().any(|(k, _)| k == key) {
            return None;
        }
        if matches!(*key, "weight" | "maxconn" | "port") {
            value?.parse::<u32>().ok()?;
        }
        all.push((*key, value));
    }
    Some(all)
}

#[cfg(test)]
mod tests;
