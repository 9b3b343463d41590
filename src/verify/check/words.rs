//! The words of a check, as a unit or a tool gives them. Order matters, so that no command line library reads them. Pure.

use std::time::Duration;

use super::{Alternative, Need, Question, WITHIN};
use crate::error::{Error, Errors, nearest};
use crate::inventory::tls::TlsFiles;

const OPTIONS: [&str; 5] = ["--unless", "--or", "--ca", "--cert", "--within"];
const SCHEMES: [&str; 4] = ["http", "https", "tcp", "unix"];
const FORMS: &str = "http://ADDR:PORT/PATH, https://ADDR:PORT/PATH, tcp://ADDR:PORT or unix:SOCKET:/PATH";
/// A socket's path is shorter than this (unix(7), `sun_path`).
const SOCKET_PATH: usize = 108;
/// The longest a check may take, milliseconds.
const LONGEST: u64 = 60_000;

/// Reads the words.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse(words: &[String]) -> Result<Question, Errors> {
    let mut read = Reading::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, glued) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word.as_str(), None),
        };
        match name {
            "--or" if glued.is_none() => read.or(),
            "--unless" | "--ca" | "--cert" | "--within" => {
                match glued.or_else(|| words.next().map(String::as_str)) {
                    Some(value) => read.option(name, value),
                    None => read.errors.push(Error::new(name, "lacks its value").hint(meaning(name))),
                }
            }
            _ if word.starts_with('-') => read.errors.push(unknown(name)),
            _ => read.need(word),
        }
    }
    read.finish()
}

#[derive(Default)]
struct Reading {
    done: Vec<Alternative>,
    now: Alternative,
    tls: TlsFiles,
    within: Option<Duration>,
    errors: Errors,
}

impl Reading {
    fn need(&mut self, word: &str) {
        if !self.now.unless.is_empty() {
            let error = Error::new(word.escape_debug().to_string(), "stands after --unless");
            self.errors.push(error.hint(
                "an alternative's needs come first; the needs of one --unless are joined by commas, without spaces",
            ));
        }
        let read = need(word);
        self.now.needs.extend(self.errors.take(read));
    }

    fn option(&mut self, name: &str, value: &str) {
        match name {
            "--unless" => {
                let read: Vec<_> = group(value).into_iter().map(need).collect();
                let group: Vec<Need> = read.into_iter().filter_map(|n| self.errors.take(n)).collect();
                self.now.unless.push(group);
            }
            "--ca" | "--cert" => {
                let file = if name == "--ca" { &mut self.tls.ca } else { &mut self.tls.cert };
                if value.is_empty() || file.replace(value.into()).is_some() {
                    self.errors.push(Error::new(name, "names one file, once"));
                }
            }
            _ => {
                let millis = value.parse().ok().filter(|n| (1..=LONGEST).contains(n));
                let once = self.within.is_none();
                self.within = millis.map(Duration::from_millis);
                if millis.is_none() || !once {
                    let what = format!("'{}' is no time, or a second one", value.escape_debug());
                    self.errors.push(Error::new("--within", what).hint(meaning("--within")));
                }
            }
        }
    }

    fn or(&mut self) {
        let before = std::mem::take(&mut self.now);
        if before.needs.is_empty() {
            self.errors.push(Error::new("--or", "has no need before it").hint("NEED… --or NEED…"));
        }
        self.done.push(before);
    }

    fn finish(mut self) -> Result<Question, Errors> {
        if self.now.needs.is_empty() && self.errors.is_empty() {
            let what = "nothing is asked: without a need, a check would always pass";
            let place = if self.done.is_empty() { "check" } else { "--or" };
            self.errors.push(Error::new(place, what).hint(format!("a need is {FORMS}")));
        }
        self.done.push(self.now);
        let question =
            Question { alternatives: self.done, tls: self.tls, within: self.within.unwrap_or(WITHIN) };
        self.errors.finish(question)
    }
}

fn meaning(option: &str) -> String {
    match option {
        "--unless" => "--unless NEED,NEED".into(),
        "--ca" | "--cert" => format!("{option} FILE"),
        _ => format!("--within MILLISECONDS, 1 to {LONGEST}"),
    }
}

fn unknown(word: &str) -> Error {
    let error = Error::new(word.escape_debug().to_string(), "is not known");
    match nearest(word, OPTIONS) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("options: {}", OPTIONS.join(", "))),
    }
}

/// The needs of a group. A comma parts two of them where a scheme follows; any other stands in a path.
fn group(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|r| r.find(',')).map(|n| n.saturating_add(from)) {
        let Some((one, next)) = rest.split_at_checked(at).map(|(a, b)| (a, b.get(1..).unwrap_or_default()))
        else {
            break;
        };
        let scheme = next.split(':').next().unwrap_or_default();
        let named = scheme.len() < next.len() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
        // What is empty, or looks like a need that is misspelt, must not vanish in a path.
        if named || next.is_empty() || next.starts_with(',') || one.is_empty() {
            all.push(one);
            rest = next;
            from = 0;
        } else {
            from = at.saturating_add(1);
        }
    }
    all.push(rest);
    all
}

/// One need.
fn need(word: &str) -> Result<Need, Error> {
    let bad = |what: String| Error::new(format!("'{}'", word.escape_debug()), what);
    let Some((scheme, rest)) = word.split_once(':') else {
        return Err(bad("is no need".into()).hint(format!("a need is {FORMS}")));
    };
    if word.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(bad("has a space or a control character".into()).hint("write it as %20 in a path"));
    }
    if scheme == "unix" {
        return unix(rest)
            .map_err(bad)
            .map_err(|e| e.hint("unix:/run/x.sock:/PATH, the path after the second colon"));
    }
    let known = SCHEMES.contains(&scheme);
    let Some(rest) = rest.strip_prefix("//").filter(|_| known) else {
        let error = bad(if known {
            format!("lacks '//' after {scheme}:")
        } else {
            format!("'{scheme}' is not known")
        });
        let near = nearest(scheme, SCHEMES).filter(|_| !known);
        return Err(error.hint(match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("a need is {FORMS}"),
        }));
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    let form = if scheme == "tcp" {
        "tcp://ADDR:PORT".to_owned()
    } else {
        format!("{scheme}://ADDR:PORT/PATH#CODE")
    };
    let (host, port) =
        place(authority).map_err(bad).map_err(|e| e.hint(format!("{form}, IPv6 as [ADDR]:PORT")))?;
    if scheme == "tcp" {
        return if path.is_empty() {
            Ok(Need::Tcp { host, port })
        } else {
            Err(bad("has a path, which only HTTP has".into()).hint(form))
        };
    }
    let (path, code) = target(path).map_err(bad).map_err(|e| e.hint(form))?;
    Ok(Need::Http { ssl: scheme == "https", host, port, path, code })
}

/// `/run/x.sock:/path#CODE`.
fn unix(rest: &str) -> Result<Need, String> {
    let at = rest.find(":/").ok_or("has no HTTP path")?;
    let (socket, path) = rest.split_at_checked(at).ok_or("has no HTTP path")?;
    if !socket.starts_with('/') {
        return Err("names no absolute path of a socket".into());
    }
    if socket.len() >= SOCKET_PATH {
        return Err(format!("names a socket whose path is longer than {} bytes", SOCKET_PATH - 1));
    }
    let (path, code) = target(path.get(1..).unwrap_or_default())?;
    Ok(Need::Unix { socket: socket.into(), path, code })
}

/// `10.0.0.1:8008`, `[fd00::1]:8008`, `db1.example:8008`.
fn place(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port =
        port.parse().ok().filter(|p| digits && *p > 0).ok_or_else(|| format!("'{port}' is no port"))?;
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let ip: std::net::Ipv6Addr = inner.parse().map_err(|_| format!("'{inner}' is no IPv6 address"))?;
        return Ok((ip.to_string(), port));
    }
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if host.is_empty() || !named || host.starts_with('-') {
        return Err(format!("'{host}' is no address"));
    }
    Ok((host.to_owned(), port))
}

/// A path with the code that may follow it.
fn target(text: &str) -> Result<(String, u16), String> {
    let (path, code) = match text.split_once('#') {
        None => (text, 200),
        Some((path, code)) => {
            let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
            let read = code.parse().ok().filter(|c| digits && (100..600).contains(c));
            (path, read.ok_or_else(|| format!("'{code}' is no HTTP code"))?)
        }
    };
    Ok((if path.is_empty() { "/".to_owned() } else { path.to_owned() }, code))
}
