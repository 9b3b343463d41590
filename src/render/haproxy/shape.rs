//! HAProxy's configuration read back: what of it can change while HAProxy runs, and what needs a reload. Pure; what is
//! done about a difference is decided by the planner.
//!
//! Servers, their weights and the values of `maxconn` can change. What is not surely one of these counts as the rest:
//! a line that does not look like ours (an operator's template) makes its section one that needs a reload.

mod read;

use read::read;

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
    /// Lines that say a server, wherever they stand.
    pub server_lines: usize,
}

/// Reads a file. What is no text counts to the last byte.
#[must_use]
pub fn shape(content: &[u8]) -> Shape<'_> {
    read(content, true)
}

/// The same without the sections, for those who only tell whether a reload is needed: of a thousand clusters it is read
/// in every plan.
#[must_use]
pub fn fixed(content: &[u8]) -> Shape<'_> {
    read(content, false)
}

#[cfg(test)]
mod tests;
