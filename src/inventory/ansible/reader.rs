//! Which files of an inventory are read, in which order, and as what. How they are read is the other files' matter.

use std::path::{Path, PathBuf};

use super::graph::Graph;
use super::source::Source;
use super::yaml_file::Target;
use super::{ini, list, yaml_file};
use crate::error::{Error, Errors};
use crate::inventory::yaml;

/// What Ansible skips in an inventory directory.
const SKIPPED: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];
/// Directories of variables, not of inventories.
const VARIABLES: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];
const PIPE: &str = "`ansible-inventory -i THIS --list | pgsvc … -i -`";

pub struct Reader<'a> {
    source: &'a dyn Source,
    pub graph: Graph,
    pub errors: Errors,
    pub warnings: Vec<String>,
    /// Whether all that was read is a finished list, which has its neighbours in it already.
    complete: bool,
    directory: bool,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            graph: Graph::new(),
            errors: Errors::default(),
            warnings: Vec::new(),
            complete: false,
            directory: false,
        }
    }

    /// Reads a file, or a directory's files in the order of their names.
    pub fn read(&mut self, path: &Path) {
        self.directory = matches!(self.source.list(path), Ok(Some(_)));
        self.enter(path, 0);
    }

    fn enter(&mut self, path: &Path, depth: usize) {
        let name = path.display().to_string();
        if depth > 16 {
            let error = Error::new(name, "directories nested too deep for an inventory");
            return self.errors.push(error.hint("is a link pointing back up?"));
        }
        match self.source.list(path) {
            Ok(Some(mut names)) => {
                names.sort();
                for child in names.iter().filter(|name| !skipped(name)) {
                    self.enter(&path.join(child), depth.saturating_add(1));
                }
            }
            // Named by itself a pipe is meant (`-i <(…)`), among files it would be waited for for ever.
            Ok(None) if depth > 0 && self.source.endless(path) => {
                self.errors.push(
                    Error::new(name, "is no regular file").hint("take it out of the inventory's directory"),
                );
            }
            Ok(None) => match self.source.read(path) {
                Ok(bytes) => self.bytes(&name, path, &bytes),
                Err(error) => self.errors.push(unreadable(&name, &error)),
            },
            Err(error) => self.errors.push(unreadable(&name, &error)),
        }
    }

    /// Reads one file's content; `path` lends its extension.
    pub fn bytes(&mut self, name: &str, path: &Path, bytes: &[u8]) {
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned());
        let yamlish = matches!(extension.as_deref(), None | Some("yml" | "yaml" | "json"));
        let error = |what: &str, hint: &str| Error::new(name, what).hint(hint);
        if let Some(error) = encrypted(name, bytes) {
            return self.errors.push(error);
        }
        if extension.as_deref() == Some("toml") {
            return self.errors.push(error("a TOML inventory, which is not read here", PIPE));
        }
        if bytes.starts_with(b"\x7fELF")
            || bytes.starts_with(b"#!") && !matches!(extension.as_deref(), Some("yml" | "yaml" | "json"))
        {
            return self.errors.push(error("a dynamic inventory, which only Ansible can run", PIPE));
        }
        if !yamlish {
            return self.ini(name, bytes);
        }
        match yaml::parse(name, bytes) {
            Err(error) if extension.is_none() && looks_ini(bytes) => {
                let _ = error;
                self.ini(name, bytes);
            }
            Err(error) => self.errors.push(error),
            Ok(document) => self.document(name, bytes, document, extension.is_none()),
        }
    }

    fn document(&mut self, name: &str, bytes: &[u8], document: yaml::Document, bare: bool) {
        self.warnings.extend(document.warnings.iter().cloned());
        let Some(root) = document.root.clone().filter(|root| !root.is_null()) else {
            return self.warnings.push(format!("{name}: empty"));
        };
        if root.as_map().is_none() {
            if bare {
                return self.ini(name, bytes);
            }
            let what = format!("an inventory is a mapping of groups, this is {}", root.kind());
            return self.errors.push(Error::new(root.at.text(name), what).hint("begin with `all:`"));
        }
        let is_list = list::is_list(&document, &root);
        let mut target = Target {
            file: name,
            graph: &mut self.graph,
            errors: &mut self.errors,
            warnings: &mut self.warnings,
        };
        if is_list {
            list::read(&mut target, &root);
            self.complete = true;
        } else {
            yaml_file::read(&mut target, &root);
        }
    }

    fn ini(&mut self, name: &str, bytes: &[u8]) {
        let Some(text) = self.errors.take(yaml::text(name, bytes)) else { return };
        let mut target = Target {
            file: name,
            graph: &mut self.graph,
            errors: &mut self.errors,
            warnings: &mut self.warnings,
        };
        ini::read(&mut target, text);
    }

    /// The directory whose `group_vars` and `host_vars` count, if any does.
    pub fn neighbours(&self, path: &Path) -> Option<PathBuf> {
        match (self.directory, self.complete) {
            (true, _) => Some(path.to_owned()),
            (false, true) => None,
            (false, false) => Some(path.parent().unwrap_or(Path::new("")).to_owned()),
        }
    }
}

/// A file encrypted as a whole says nothing, not even which variables it holds.
pub fn encrypted(name: &str, bytes: &[u8]) -> Option<Error> {
    bytes.starts_with(b"$ANSIBLE_VAULT;").then(|| {
        Error::new(name, "encrypted by ansible-vault as a whole").hint(
            "let Ansible decrypt it: `ansible-inventory -i INVENTORY --list --ask-vault-pass | pgsvc … -i -` (or --vault-password-file)",
        )
    })
}

pub fn unreadable(name: &str, error: &std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => "check the path given with -i",
        std::io::ErrorKind::PermissionDenied => "check its mode and its directories'",
        _ => "",
    };
    Error::new(name, format!("cannot be read: {error}")).hint(hint)
}

fn skipped(name: &str) -> bool {
    name.starts_with('.') || VARIABLES.contains(&name) || SKIPPED.iter().any(|end| name.ends_with(end))
}

/// Whether a file that is no YAML was meant to be INI: it has a section, or begins with a bare host.
fn looks_ini(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let first_is_host = lines.clone().next().is_some_and(|line| {
        !line.starts_with("---") && !line.ends_with(':') && !line.contains(": ") && !line.starts_with('{')
    });
    first_is_host || lines.any(|line| line.starts_with('[') && line.ends_with(']'))
}
