//! Resolved services and a node's settings → files. Views carry the logic, templates only the words.
//! Nothing here reads or writes anything: an operator's templates come in as text.

pub mod haproxy;
pub mod keepalived;
mod lines;
pub mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use handlebars::Handlebars;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Errors, nearest};

/// The templates by name, as they come with the binary.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("haproxy.cfg.hbs", include_str!("templates/haproxy.cfg.hbs")),
    ("00-pgsvc.cfg.hbs", include_str!("templates/00-pgsvc.cfg.hbs")),
    ("service.cfg.hbs", include_str!("templates/service.cfg.hbs")),
    ("vip.cfg.hbs", include_str!("templates/vip.cfg.hbs")),
    ("backend.hbs", include_str!("templates/backend.hbs")),
    ("pgsvc.conf.hbs", include_str!("templates/pgsvc.conf.hbs")),
    ("vip.conf.hbs", include_str!("templates/vip.conf.hbs")),
    ("vip.service.hbs", include_str!("templates/vip.service.hbs")),
];

/// Where things are on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub config: PathBuf,
    pub conf_d: PathBuf,
    pub stats_socket: PathBuf,
    /// States that servers begin with.
    pub server_state: PathBuf,
}

impl Layout {
    /// HAProxy manual, "-f": of a directory, the files that end in .cfg and do not begin with a dot.
    #[must_use]
    pub fn loads(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        path == self.config
            || path.parent() == Some(&self.conf_d) && name.ends_with(".cfg") && !name.starts_with('.')
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            config: "/etc/haproxy/haproxy.cfg".into(),
            conf_d: "/etc/haproxy/conf.d".into(),
            stats_socket: "/run/haproxy/admin.sock".into(),
            server_state: "/run/pgsvc/servers".into(),
        }
    }
}

/// Compiled templates.
pub struct Templates {
    engine: Handlebars<'static>,
    digest: [u8; 32],
}

impl Templates {
    /// The built-in ones, with an operator's in their place: file name → text.
    ///
    /// # Errors
    /// A file that is no known template, or does not compile, with its line and column.
    pub fn new(own: &BTreeMap<String, String>) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        engine.register_escape_fn(handlebars::no_escape);
        engine.register_helper("lines", Box::new(lines::Lines));
        let known = BUILT_IN.map(|(name, _)| name);
        for name in own.keys().filter(|n| n.ends_with(".hbs") && !known.contains(&n.as_str())) {
            let error = Error::new(format!("template {name}"), "is not known");
            errors.push(match nearest(name, known) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint(format!("templates: {}", known.join(", "))),
            });
        }
        for (name, text) in BUILT_IN {
            let text = own.get(name).map_or(text, String::as_str);
            if let Err(e) = engine.register_template_string(name.trim_end_matches(".hbs"), text) {
                let at = e.pos().map_or(String::new(), |(l, c)| format!(" at line {l}, column {c}"));
                errors.push(Error::new(
                    format!("template {name}"),
                    format!("does not compile{at}: {}", e.reason()),
                ));
            }
        }
        let texts = BUILT_IN.iter().map(|(name, text)| (name, own.get(*name).map_or(*text, String::as_str)));
        let digest = texts.fold(Sha256::new(), |sha, (name, text)| {
            sha.chain_update(name).chain_update([0]).chain_update(text).chain_update([0])
        });
        errors.finish(Self { engine, digest: digest.finalize().into() })
    }

    /// What the texts in force are known by.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    fn render(&self, name: &str, view: &impl Serialize) -> Result<String, Error> {
        self.engine.render(name, view).map_err(|e| {
            let at = e.line_no.map_or(String::new(), |l| format!(" at line {l}"));
            Error::new(format!("template {name}.hbs"), format!("cannot be rendered{at}: {}", e.reason()))
                .hint("compare it with the built-in one: pgsvc render --show-templates")
        })
    }
}

/// What files hold, by path.
pub type Contents<'a> = BTreeMap<&'a Path, &'a [u8]>;

/// A short hash of files, in the order of their paths.
pub fn hash<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> String {
    let sorted: BTreeMap<&Path, &[u8]> = files.into_iter().collect();
    let mut hash = Hash::default();
    sorted.into_iter().for_each(|(path, content)| hash.add(path, content));
    hash.short()
}

/// The same of files that come one by one, in that order.
#[derive(Default)]
struct Hash(Sha256);

impl Hash {
    fn add(&mut self, path: &Path, content: &[u8]) {
        self.0.update(path.as_os_str().as_encoded_bytes());
        self.0.update([0]);
        self.0.update(content.len().to_le_bytes());
        self.0.update(content);
    }

    fn short(self) -> String {
        self.0.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}
