//! The lines of a configuration taken apart. What a difference means is decided elsewhere.

use super::{Section, Server, Shape, Word, is_section, place, text};

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

/// Reads a file; `sections`: whether they are wanted.
pub(super) fn read(content: &[u8], sections: bool) -> Shape<'_> {
    let mut shape = Shape::default();
    let Ok(content) = std::str::from_utf8(content) else {
        shape.fixed = String::from_utf8_lossy(content).into_owned();
        return shape;
    };
    shape.fixed.reserve(content.len());
    // `fullconn` and `minconn` make a server's limit depend on its listener's.
    let linked = ["minconn", "fullconn"].iter().any(|w| content.contains(w))
        && content.split_whitespace().any(|w| w == "minconn" || w == "fullconn");
    let mut reader = Reader { shape, sections, linked, lines: Vec::with_capacity(LINES) };
    for text in content.split('\n') {
        let text = text.strip_suffix('\r').unwrap_or(text);
        let first = text.split_ascii_whitespace().next().unwrap_or("#");
        if first.starts_with('#') {
            continue;
        }
        if is_section(first) {
            reader.close();
        }
        reader.lines.push(Line { first, text });
    }
    reader.close();
    reader.shape
}

/// Of a section; most have fewer.
const LINES: usize = 32;

/// A line and its first word.
#[derive(Clone, Copy)]
struct Line<'a> {
    first: &'a str,
    text: &'a str,
}

/// What is read of a file so far.
struct Reader<'a> {
    shape: Shape<'a>,
    /// Whether sections are wanted.
    sections: bool,
    linked: bool,
    /// The lines of the section that is read, without comments; what stands before the first section is one by itself.
    lines: Vec<Line<'a>>,
}

impl Reader<'_> {
    /// Ends a section.
    fn close(&mut self) {
        let fixed = &mut self.shape.fixed;
        let before = fixed.len();
        match (!self.linked).then(|| section(&self.lines, fixed, self.sections)).flatten() {
            Some(section) if self.sections => self.shape.sections.push(section),
            Some(_) => {}
            None => {
                fixed.truncate(before);
                self.lines.iter().for_each(|l| line(fixed, l.text));
            }
        }
        let servers = self.lines.iter().filter(|l| l.first == "server").count();
        self.shape.server_lines = self.shape.server_lines.saturating_add(servers);
        self.lines.clear();
    }
}

fn line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A section's changing parts, its fixed text behind `fixed`; `None` where it is not surely understood. Without `servers`
/// they are looked at and not kept.
fn section<'a>(lines: &[Line<'a>], fixed: &mut String, servers: bool) -> Option<Section<'a>> {
    let (head, body) = lines.split_first()?;
    let mut head = head.text.split_ascii_whitespace();
    let (Some(kind @ ("frontend" | "backend" | "listen")), Some(name), None) =
        (head.next(), head.next(), head.next())
    else {
        return None;
    };
    let mut section = Section { name, frontend: kind == "frontend", ..Section::default() };
    line(fixed, &[kind, " ", name].concat());
    let mut kinds = Kinds::default();
    let mut own: Vec<(Server<'a>, Vec<Word<'a>>)> = Vec::new();
    let mut balance = None;
    let (mut words, mut options): (Vec<&str>, Vec<Word<'_>>) =
        (Vec::with_capacity(16), Vec::with_capacity(8));
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
                read_options(text, rest, &mut section.defaults)?;
                fixed.push_str("default-server ");
                line(fixed, &without_maxconn(&section.defaults));
            }
            ["server", name, address, rest @ ..] => {
                let server = server(name, address)?;
                read_options(text, rest, &mut options)?;
                kinds.add(&options);
                if servers {
                    own.push((server, options.clone()));
                }
            }
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
    line(fixed, &kinds.text());
    section.servers = own.into_iter().map(|(s, words)| merged(s, words, &section.defaults)).collect();
    Some(section)
}

/// The distinct words of all servers, without what is each member's own. They are few and mostly the same: looked for one
/// by one sooner than sorted.
#[derive(Default)]
struct Kinds<'a> {
    any: bool,
    all: Vec<Word<'a>>,
}

impl<'a> Kinds<'a> {
    fn add(&mut self, words: &[Word<'a>]) {
        self.any = true;
        for (key, value) in words.iter().copied() {
            let kind = match (key, value) {
                ("weight" | "maxconn", _) => continue,
                ("port" | "verifyhost" | "check-sni", _) => (key, None),
                ("track", Some(target)) => (key, target.split('/').next()),
                _ => (key, value),
            };
            if !self.all.contains(&kind) {
                self.all.push(kind);
            }
        }
    }

    fn text(&self) -> String {
        let any = if self.any { "servers: " } else { "no servers: " };
        // By the words as a line has them: a shorter key comes first with its value, not before it.
        let mut all: Vec<String> = self.all.iter().map(text).collect();
        all.sort_unstable();
        all.dedup();
        [any, &all.join(", ")].concat()
    }
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

fn server<'a>(name: &'a str, address: &'a str) -> Option<Server<'a>> {
    let (host, port) = place(address)?;
    if host.is_empty() || host.contains(['@', '/', '[', ']', ',']) || name.contains('/') {
        return None;
    }
    Some(Server { name, host, port, words: Vec::new() })
}

/// Known keywords, each once, in the place of what `all` holds. A `;` would end a command on the admin socket.
fn read_options<'a>(line: &str, words: &[&'a str], all: &mut Vec<Word<'a>>) -> Option<()> {
    // All of these stand before the small letters, which most bytes are.
    if line.bytes().any(|b| b < b'a' && matches!(b, b'"' | b'\'' | b'\\' | b'#' | b'$' | b';')) {
        return None;
    }
    all.clear();
    let mut words = words.iter();
    while let Some(key) = words.next() {
        let value = match *key {
            flag if is_flag(flag) => None,
            valued if is_valued(valued) => Some(*words.next()?),
            _ => return None,
        };
        if all.iter().any(|(k, _)| k == key) {
            return None;
        }
        if matches!(*key, "weight" | "maxconn" | "port") {
            value?.parse::<u32>().ok()?;
        }
        all.push((*key, value));
    }
    Some(())
}
