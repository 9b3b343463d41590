//! What must hold of a member before the directors send it connections, as checks that keepalived can do: its own where
//! they are enough, else our program.
//!
//! IPVS knows no backup. A member of the backup tier therefore asks for itself whether a member of the active tier is well.
//! So does, the other way round, a member of a service that one member alone may serve.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::daemon::systemd::STABLE_BINARY;
use crate::error::Error;
use crate::inventory::tls::TlsFiles;
use crate::resolve::{Need, ResolvedService, Server, Tier};

/// keepalived reads lines of 1023 bytes and crashes on longer ones (2.2.7); some room for the keyword and its quotes.
pub(super) const LINE: usize = 960;

/// One check of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A port that takes connections.
    Tcp { port: u16 },
    /// An answer with this code to a GET; of TLS nothing is verified. One path each: keepalived asks the paths of one check
    /// in turn, one per round.
    Http { port: u16, ssl: bool, path: String, code: u16 },
    /// A program that ends with 0.
    Program { argv: Vec<String> },
}

/// One way to be well: all needs hold.
struct Alternative {
    needs: Vec<String>,
    /// And no other member of the active tier is well.
    alone: bool,
}

/// `192.0.2.1:5432`, `[fd00::1]:5432`.
#[must_use]
pub fn address(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

/// A path in which nothing means anything to keepalived or to a list of needs: percent signs say the rest.
fn path(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"/._-?&=:;+%@".contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// A question over HTTP as `pgsvc check` reads it.
#[must_use]
pub fn url(ssl: bool, ip: IpAddr, port: u16, uri: &str, code: u16) -> String {
    let scheme = if ssl { "https" } else { "http" };
    let code = if code == 200 { String::new() } else { format!("#{code}") };
    format!("{scheme}://{}{}{code}", address(ip, port), path(uri))
}

fn word(m: &Server, need: &Need) -> String {
    let at = |port: u16| match m.address.parse() {
        Ok(ip) => address(ip, port),
        // Refused by name elsewhere.
        Err(_) => format!("{}:{port}", m.address),
    };
    match need {
        Need::Tcp { port } => format!("tcp://{}", at(*port)),
        Need::Http { ssl, port, path: uri, code } => match m.address.parse() {
            Ok(ip) => url(*ssl, ip, *port, uri, *code),
            Err(_) => at(*port),
        },
    }
}

fn words(m: &Server, needs: &[Need]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in needs.iter().map(|n| word(m, n)) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// The checks of one member of a service. `within`: milliseconds that the program takes at most.
pub(super) fn of(s: &ResolvedService, m: &Server, within: u32) -> Result<Vec<Check>, Error> {
    let needs = |tier: Tier| m.when(tier).map(|when| s.needs(m, when));
    // A member without a weight takes no connection, and so keeps no backup from serving.
    let active = s.tier(Tier::Active).into_iter().filter(|(o, _)| o.weight > 0 && o.instance != m.instance);
    let others: Vec<String> = active.map(|(o, when)| words(o, &s.needs(o, when)).join(",")).collect();
    let (first, backup) = (needs(Tier::Active), needs(Tier::Backup));
    let by_files =
        !s.tls.is_empty() && first.iter().flatten().any(|n| matches!(n, Need::Http { ssl: true, .. }));
    let guarded = s.guarded && !others.is_empty();
    if let Some(own) = &first
        && backup.is_none()
        && !guarded
        && !by_files
    {
        return native(m, own);
    }
    let ways = [first.map(|n| (n, guarded)), backup.map(|n| (n, true))];
    let ways = ways.into_iter().flatten().map(|(n, alone)| Alternative { needs: words(m, &n), alone });
    let tls = Some(&s.tls).filter(|_| s.servers.iter().any(|o| o.check_ssl || o.patroni_ssl));
    programs(&ways.collect::<Vec<_>>(), &others, tls, within).map_err(|e| e.within(&m.instance))
}

fn native(m: &Server, needs: &[Need]) -> Result<Vec<Check>, Error> {
    let mut checks: Vec<Check> = Vec::new();
    for need in needs {
        let check = match need {
            Need::Tcp { port } => Check::Tcp { port: *port },
            Need::Http { ssl, port, path: uri, code } => {
                let uri = path(uri);
                if uri.len() > LINE {
                    return Err(too_long(uri.len()).within(&m.instance));
                }
                Check::Http { ssl: *ssl, port: *port, path: uri, code: *code }
            }
        };
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    Ok(checks)
}

fn too_long(len: usize) -> Error {
    Error::new("", format!("its check makes a line of {len} characters, and keepalived reads 1023"))
        .hint("shorten check_url, or use vip_to: haproxy")
}

/// As few calls as keepalived's lines allow. All of them must pass, and so the others may be dealt out among them.
fn programs(
    ways: &[Alternative],
    others: &[String],
    tls: Option<&TlsFiles>,
    within: u32,
) -> Result<Vec<Check>, Error> {
    let length = |argv: &[String]| argv.iter().map(|a| a.len().saturating_add(1)).sum::<usize>();
    let others = if ways.iter().any(|w| w.alone) { others } else { &[] };
    let mut calls = Vec::new();
    let mut group: Vec<&str> = Vec::new();
    for other in others {
        group.push(other);
        if group.len() > 1 && length(&call(ways, &group, tls, within)) > LINE {
            group.pop();
            calls.push(call(ways, &group, tls, within));
            group = vec![other];
        }
    }
    calls.push(call(ways, &group, tls, within));
    match calls.iter().map(|c| length(c)).find(|n| *n > LINE) {
        Some(n) => Err(too_long(n)),
        None => Ok(calls.into_iter().map(|argv| Check::Program { argv }).collect()),
    }
}

/// `pgsvc check NEED… [--unless NEED,NEED]… [--or NEED… …] [--ca FILE] [--cert FILE] --within MILLISECONDS`
fn call(ways: &[Alternative], others: &[&str], tls: Option<&TlsFiles>, within: u32) -> Vec<String> {
    let mut argv = vec![STABLE_BINARY.to_owned(), "check".into()];
    for (i, way) in ways.iter().enumerate() {
        if i > 0 {
            argv.push("--or".into());
        }
        argv.extend(way.needs.iter().cloned());
        for other in others.iter().filter(|_| way.alone) {
            argv.extend(["--unless".into(), (*other).to_owned()]);
        }
    }
    argv.extend(tls.into_iter().flat_map(TlsFiles::options));
    argv.extend(["--within".into(), within.to_string()]);
    argv
}
