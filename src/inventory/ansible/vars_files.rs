//! `group_vars/` and `host_vars/`: which files belong to a name, and what is in them.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::graph::{self, Bag};
use super::reader::{encrypted, unreadable};
use super::source::Source;
use crate::error::{Error, Errors};
use crate::inventory::yaml;

/// In this order; the first that is there is the only one that counts.
const EXTENSIONS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// One of the two directories.
pub struct VarsDir<'a> {
    source: &'a dyn Source,
    path: PathBuf,
    names: BTreeSet<String>,
}

impl<'a> VarsDir<'a> {
    /// Lists the directory once; a missing one is empty.
    pub fn open(source: &'a dyn Source, base: &Path, name: &str, errors: &mut Errors) -> Self {
        let path = base.join(name);
        let names = match source.list(&path) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                errors.push(unreadable(&path.display().to_string(), &error));
                Vec::new()
            }
        };
        Self { source, path, names: names.into_iter().collect() }
    }

    /// All variables that the files of a group or a host set.
    pub fn load(&self, name: &str, errors: &mut Errors, warnings: &mut Vec<String>) -> Bag {
        let mut bag = Bag::new();
        for file in self.files(name, errors) {
            match self.file(&file, warnings) {
                Ok(found) => bag.extend(found),
                Err(error) => errors.push(error),
            }
        }
        bag
    }

    fn files(&self, name: &str, errors: &mut Errors) -> Vec<PathBuf> {
        for extension in EXTENSIONS {
            let candidate = format!("{name}{extension}");
            if !self.names.contains(&candidate) {
                continue;
            }
            let path = self.path.join(candidate);
            let mut found = Vec::new();
            match self.source.list(&path) {
                Ok(None) => found.push(path),
                Ok(Some(names)) => self.directory(&path, names, 0, &mut found, errors),
                // A link that leads nowhere is not there, as far as Ansible goes.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => errors.push(unreadable(&path.display().to_string(), &error)),
            }
            return found;
        }
        Vec::new()
    }

    /// The files below a directory, in the order of their names; directories with a dot in their name are left out.
    fn directory(
        &self,
        path: &Path,
        mut names: Vec<String>,
        depth: usize,
        found: &mut Vec<PathBuf>,
        errors: &mut Errors,
    ) {
        if depth > 16 {
            let error = Error::new(path.display().to_string(), "directories nested too deep for variables");
            return errors.push(error.hint("is a link pointing back up?"));
        }
        names.sort();
        for name in names.iter().filter(|name| !name.starts_with('.') && !name.ends_with('~')) {
            let extension =
                name.rfind('.').filter(|dot| *dot > 0).and_then(|dot| name.get(dot..)).unwrap_or("");
            let child = path.join(name);
            match self.source.list(&child) {
                Ok(Some(inner)) if extension.is_empty() => {
                    self.directory(&child, inner, depth.saturating_add(1), found, errors);
                }
                Ok(None) if EXTENSIONS.contains(&extension) => found.push(child),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => errors.push(unreadable(&child.display().to_string(), &error)),
            }
        }
    }

    fn file(&self, path: &Path, warnings: &mut Vec<String>) -> Result<Bag, Error> {
        let name = path.display().to_string();
        let bytes = self.source.read(path).map_err(|error| unreadable(&name, &error))?;
        if let Some(error) = encrypted(&name, &bytes) {
            return Err(error);
        }
        let document = yaml::parse(&name, &bytes)?;
        warnings.extend(document.warnings);
        let Some(root) = document.root.filter(|root| !root.is_falsy()) else { return Ok(Bag::new()) };
        let Some(entries) = root.as_map() else {
            let what = format!("a file of variables is a mapping, this is {}", root.kind());
            return Err(Error::new(root.at.text(&name), what).hint("write `variable: value` lines"));
        };
        Ok(entries
            .iter()
            .map(|entry| (entry.key.as_str().into(), Arc::new(graph::var(entry, &name))))
            .collect())
    }
}
