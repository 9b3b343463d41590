//! Backends and their health checks, read back from configuration files: what a starting HAProxy would check, and
//! whom. Understands what pgsvc's templates write; a line that it does not know makes no check. Pure.

use crate::inventory::tls::TlsFiles;
use crate::render::haproxy::shape::{is_section, place};

/// A section that has servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backend {
    pub name: String,
    /// In their order; empty where the servers track others.
    pub check: Vec<Step>,
    pub servers: Vec<Server>,
    /// `load-server-state-from-file global`: it begins with the states that it is given.
    pub stateful: bool,
}

/// One step of a health check (HAProxy manual, "http-check connect", "http-check send", "http-check expect").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub to: To,
    /// `None`: that the port is open is enough.
    pub ask: Option<Ask>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The server's check port, with TLS where it has `check-ssl`.
    Default,
    Port {
        port: u16,
        ssl: bool,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    pub method: String,
    pub uri: String,
    /// 0 until an `expect` says it.
    pub status: u16,
}

/// A `server` line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    /// An IP address or a name.
    pub host: String,
    pub port: u16,
    /// 0: none of its own, HAProxy checks the port itself.
    pub check_port: u16,
    pub check_ssl: bool,
    /// `ca-file` and `crt`.
    pub tls: TlsFiles,
    pub weight: u32,
    /// Backend and server whose check counts for this one.
    pub track: Option<(String, String)>,
    pub disabled: bool,
}

impl Backend {
    /// Whether its servers are checked for being the leader: there must be one at most.
    #[must_use]
    pub fn asks_for_leader(&self) -> bool {
        self.check.iter().filter_map(|s| s.ask.as_ref()).any(|a| a.wants_writes() || a.is(&["/leader"]))
    }
}

impl Ask {
    /// Whether only a member that takes writes may pass (Patroni manual, "Health check endpoints").
    #[must_use]
    pub fn wants_writes(&self) -> bool {
        self.is(&["/", "/primary", "/master", "/read-write"])
    }

    fn is(&self, paths: &[&str]) -> bool {
        self.status == 200 && paths.contains(&self.uri.split('?').next().unwrap_or_default())
    }
}

/// The backends of one file.
#[must_use]
pub fn backends(text: &str) -> Vec<Backend> {
    let mut all: Vec<Backend> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().take_while(|w| !w.starts_with('#')).collect();
        match words.as_slice() {
            ["backend" | "listen", name, ..] => {
                inside = true;
                all.push(Backend { name: (*name).to_owned(), ..Backend::default() });
            }
            [other, ..] if is_section(other) => inside = false,
            _ => {
                if let Some(backend) = all.last_mut().filter(|_| inside) {
                    directive(backend, &words);
                }
            }
        }
    }
    all.retain(|b| !b.servers.is_empty());
    all
}

fn directive(backend: &mut Backend, words: &[&str]) {
    match words {
        ["http-check", "connect", rest @ ..] => backend.check.push(Step { to: to(rest), ask: None }),
        ["http-check", "send", rest @ ..] => {
            let ask = Ask {
                method: value(rest, "meth").unwrap_or("OPTIONS").to_owned(),
                uri: value(rest, "uri").unwrap_or("/").to_owned(),
                status: 0,
            };
            match backend.check.last_mut().filter(|s| s.ask.is_none()) {
                Some(step) => step.ask = Some(ask),
                None => backend.check.push(Step { to: To::Default, ask: Some(ask) }),
            }
        }
        ["http-check", "expect", "status", status, ..] => {
            if let Some(ask) = backend.check.last_mut().and_then(|s| s.ask.as_mut()) {
                ask.status = status.parse().unwrap_or(0);
            }
        }
        ["load-server-state-from-file", "global"] => backend.stateful = true,
        ["server", name, address, options @ ..] => backend.servers.extend(server(name, address, options)),
        _ => {}
    }
}

fn to(words: &[&str]) -> To {
    match value(words, "port").and_then(|p| p.parse().ok()) {
        Some(port) => To::Port { port, ssl: words.contains(&"ssl") },
        None => To::Default,
    }
}

fn value<'w>(words: &[&'w str], key: &str) -> Option<&'w str> {
    words.iter().zip(words.iter().skip(1)).find(|(k, _)| **k == key).map(|(_, v)| *v)
}

fn server(name: &str, address: &str, options: &[&str]) -> Option<Server> {
    let (host, port) = place(address)?;
    let number = |key: &str| value(options, key).and_then(|v| v.parse().ok());
    let text = |key: &str| value(options, key).map(str::to_owned);
    let track = value(options, "track").and_then(|t| t.split_once('/'));
    Some(Server {
        name: name.to_owned(),
        host: host.to_owned(),
        port,
        check_port: number("port").and_then(|p| u16::try_from(p).ok()).unwrap_or(0),
        check_ssl: options.contains(&"check-ssl"),
        tls: TlsFiles { ca: text("ca-file"), cert: text("crt") },
        weight: number("weight").unwrap_or(1),
        track: track.map(|(b, s)| (b.to_owned(), s.to_owned())),
        disabled: options.contains(&"disabled"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Managed by pgsvc: cluster=a service=b
global
    server not 10.0.0.9:1
frontend a-b
    bind *:5434
    use_backend a-b-backup if { nbsrv(a-b) eq 0 }

backend a-b
    load-server-state-from-file global
    option httpchk
    http-check connect default
    http-check send meth OPTIONS uri /read-only?lag=1MB
    http-check expect status 200
    http-check connect port 8008 ssl
    http-check send meth OPTIONS uri /replica
    http-check expect status 200
    http-check connect port 6432
    default-server inter 3s rise 3 fall 3
    server a-1 10.0.0.1:6432 check port 8008 weight 100
    server a-2 [fd00::2]:6432 check port 8009 check-ssl verify required ca-file /ca.pem weight 40 backup

ring r
    server not 10.0.0.9:1

backend a-b-backup
    server a-1 db1.example:6432 track a-b/a-1 weight 7
    server broken nonsense
";

    #[test]
    fn the_check_and_the_servers_of_a_backend_are_read_back() {
        let all = backends(TEXT);
        assert_eq!(all.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["a-b", "a-b-backup"]);
        let ask = |uri: &str| Some(Ask { method: "OPTIONS".into(), uri: uri.into(), status: 200 });
        assert_eq!(
            all[0].check,
            [
                Step { to: To::Default, ask: ask("/read-only?lag=1MB") },
                Step { to: To::Port { port: 8008, ssl: true }, ask: ask("/replica") },
                Step { to: To::Port { port: 6432, ssl: false }, ask: None },
            ]
        );
        let second = &all[0].servers[1];
        assert_eq!((second.host.as_str(), second.port, second.check_port), ("fd00::2", 6432, 8009));
        assert_eq!((second.check_ssl, second.tls.ca.as_deref(), second.weight), (true, Some("/ca.pem"), 40));
        assert_eq!(all[1].servers.len(), 1);
        assert_eq!(all[1].servers[0].track, Some(("a-b".into(), "a-1".into())));
        assert!(!all[0].asks_for_leader() && all[0].stateful && !all[1].stateful);
    }

    #[test]
    fn a_backend_that_asks_for_the_leader_is_known_by_its_check() {
        let of = |uri: &str| {
            let text = format!(
                "listen x\n http-check send meth OPTIONS uri {uri}\n http-check expect status 200\n server a 10.0.0.1:1\n"
            );
            backends(&text).first().is_some_and(Backend::asks_for_leader)
        };
        assert!(of("/primary") && of("/") && of("/leader"));
        assert!(!of("/replica") && !of("/read-only") && !of("/metrics"));
    }
}
