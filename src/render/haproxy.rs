//! HAProxy's files: `haproxy.cfg` of the node, `conf.d/00-pgsvc.cfg`, one file per service.

pub mod known;
pub mod shape;
mod vip;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Contents, Hash, Layout, Templates, view};
use crate::error::{Error, Errors};
use crate::parallel::computed;
use crate::plan::RenderedFile;
use crate::resolve::ResolvedService;
use crate::settings::NodeSettings;

use known::{Earlier, Known, Whole};
pub use vip::{SERVICE as VIP_SERVICE, frontend as vip_frontend, socket as vip_socket, vip};

/// Files whose fixed parts are held at the same time: all of a thousand clusters would be as much as their files.
const AT_ONCE: usize = 512;

/// The file that says which configuration HAProxy has.
pub const DESCRIPTION: &str = "00-pgsvc.cfg";

/// The first words of every file that is ours.
pub const MARK: &str = "# Managed by pgsvc: ";

/// Whose file a managed header says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Node,
    Cluster { cluster: String, service: String },
}

/// Reads the managed header; `None` for a file that is not ours.
pub fn owner(content: &[u8]) -> Option<Owner> {
    let line = content.split(|b| *b == b'\n').next()?;
    let said = std::str::from_utf8(line).ok()?.strip_prefix(MARK)?.trim_end();
    if said == "node" {
        return Some(Owner::Node);
    }
    let (cluster, service) = said.strip_prefix("cluster=")?.split_once(" service=")?;
    Some(Owner::Cluster { cluster: cluster.to_owned(), service: service.to_owned() })
}

#[derive(Serialize)]
struct NodeView {
    stats_socket: String,
    hard_stop_after: String,
    maxconn: Option<u64>,
    queue_timeout: String,
    connect_timeout: String,
    client_timeout: String,
    server_timeout: String,
    auth: bool,
    admin_user: String,
    admin_hash: String,
    exporter_port: u16,
}

#[derive(Serialize)]
struct DescriptionView {
    description: String,
    server_state: String,
    spread_ms: usize,
}

/// `haproxy.cfg`.
///
/// # Errors
/// A template that cannot be rendered.
pub fn node(templates: &Templates, layout: &Layout, s: &NodeSettings) -> Result<RenderedFile, Error> {
    let view = NodeView {
        stats_socket: layout.stats_socket.display().to_string(),
        // Never less than a client may be idle: an old worker's sessions end by themselves before it is stopped.
        hard_stop_after: s.client_timeout.clone(),
        maxconn: s.maxconn,
        queue_timeout: s.queue_timeout.clone(),
        connect_timeout: s.connect_timeout.clone(),
        client_timeout: s.client_timeout.clone(),
        server_timeout: s.server_timeout.clone(),
        auth: s.auth,
        admin_user: s.admin_user.clone(),
        admin_hash: if s.auth { crypt(&s.name, &s.admin_user, &s.admin_password.0)? } else { String::new() },
        exporter_port: s.exporter_port,
    };
    let content = templates.render("haproxy.cfg", &view)?;
    checked(file(layout.config.clone(), content, None))
}

/// The files of one cluster, by path.
///
/// # Errors
/// Templates that cannot be rendered, or whose result lacks the header that says whose file it is.
pub fn services(
    templates: &Templates,
    layout: &Layout,
    all: &[ResolvedService],
) -> Result<Vec<RenderedFile>, Errors> {
    services_since(templates, layout, all, None)
}

/// The same, where some of them may be as an earlier run left them.
///
/// # Errors
/// As of `services`.
pub fn services_since(
    templates: &Templates,
    layout: &Layout,
    all: &[ResolvedService],
    earlier: Option<Earlier<'_>>,
) -> Result<Vec<RenderedFile>, Errors> {
    let mut errors = Errors::default();
    let mut files = Vec::new();
    for s in all {
        let path = known::file_of(layout, s);
        let render = || templates.render("service.cfg", &view::service(s));
        let content = match earlier.and_then(|e| e.content(templates, s)) {
            Some(there) => {
                debug_assert_eq!(render().as_deref(), Ok(there), "{}", path.display());
                Ok(there.into())
            }
            None => render().map(Arc::from),
        };
        let rendered = content.and_then(|content| checked(file(path, content, Some(s.cluster.clone()))));
        if let Some(f) = errors.take(rendered) {
            files.push(f);
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    errors.finish(files)
}

/// `00-pgsvc.cfg`, over all managed files there will be: path → content. The hash covers what needs a reload.
///
/// # Errors
/// A template that cannot be rendered.
pub fn description(
    templates: &Templates,
    layout: &Layout,
    managed: &Contents<'_>,
    known: &Known,
) -> Result<(RenderedFile, Whole), Error> {
    let others = others(layout, managed);
    let whole = known.whole(&others).cloned().unwrap_or_else(|| read(&others));
    debug_assert!(whole.says(&read(&others)), "what is noted is not what the files say");
    let view = DescriptionView {
        description: whole.name(),
        server_state: layout.server_state.display().to_string(),
        // First checks are spread over this time: as short as possible at a start, longer than one per millisecond never.
        spread_ms: whole.servers.max(20),
    };
    let content = templates.render(DESCRIPTION, &view)?;
    Ok((checked(file(layout.conf_d.join(DESCRIPTION), content, None))?, whole))
}

/// The files that the name of the configuration is made of: ours, but for the one that says it.
#[must_use]
pub fn others<'a>(layout: &Layout, managed: &Contents<'a>) -> Vec<(&'a Path, &'a [u8])> {
    let own = layout.conf_d.join(DESCRIPTION);
    managed.iter().map(|(path, content)| (*path, *content)).filter(|(path, _)| *path != own).collect()
}

/// Reads all files.
fn read(others: &[(&Path, &[u8])]) -> Whole {
    let (mut hash, mut servers) = (Hash::default(), 0_usize);
    for some in others.chunks(AT_ONCE) {
        for ((path, _), file) in some.iter().zip(computed(some, |(_, c)| shape::fixed(c))) {
            hash.add(path, file.fixed.as_bytes());
            servers = servers.saturating_add(file.server_lines);
        }
    }
    Whole::new(hash.short(), servers)
}

/// An operator's template may say anything but whose file it is.
pub(super) fn checked(file: RenderedFile) -> Result<RenderedFile, Error> {
    let expected = match &file.cluster {
        None => matches!(owner(file.content.as_bytes()), Some(Owner::Node)),
        Some(c) => {
            matches!(owner(file.content.as_bytes()), Some(Owner::Cluster { cluster, .. }) if cluster == *c)
        }
    };
    if expected && file.content.ends_with('\n') {
        return Ok(file);
    }
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(Error::new(format!("template of {name}"), "lacks its managed header or its final newline")
        .hint(format!("keep the first line of the built-in template, which begins '{MARK}'")))
}

fn file(path: PathBuf, content: impl Into<Arc<str>>, cluster: Option<String>) -> RenderedFile {
    RenderedFile {
        path,
        content: content.into(),
        mode: 0o640,
        owner: ("root".into(), "haproxy".into()),
        cluster,
    }
}

/// SHA-512 crypt with a salt that is the node's and the user's own, so that a second run writes the same line.
fn crypt(node: &str, user: &str, password: &str) -> Result<String, Error> {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut sha = Sha256::new();
    sha.update(format!("pgsvc stats page\0{node}\0{user}"));
    let salt: String = sha
        .finalize()
        .iter()
        .take(16)
        .filter_map(|b| ALPHABET.get(usize::from(b & 63)).map(|c| char::from(*c)))
        .collect();
    let failed = |_| Error::new("haproxy_admin_password", "cannot be hashed");
    let params = sha_crypt::Sha512Params::new(5000).map_err(failed)?;
    let digest = sha_crypt::sha512_crypt(password.as_bytes(), salt.as_bytes(), &params).map_err(failed)?;
    Ok(format!("$6${salt}${}", base64(&digest, ALPHABET)))
}

/// crypt(3)'s own base 64 over its own byte order (Drepper, "Unix crypt using SHA-256 and SHA-512", step 22).
fn base64(d: &[u8; 64], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(86);
    let byte = |i: usize| u32::from(d.get(i).copied().unwrap_or(0));
    let mut put = |word: u32, n: usize| {
        for i in 0..n {
            let six = usize::try_from(word >> (6 * i) & 63).unwrap_or(0);
            out.push(alphabet.get(six).map_or('.', |c| char::from(*c)));
        }
    };
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        put(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    put(byte(63), 2);
    out
}

#[cfg(test)]
mod tests;
