//! What an earlier run rendered, by hashes: a file that holds what it was given then, for a service that is what it was
//! then, need not be rendered to know that nothing differs. No file is believed to hold anything: what it holds is read.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Layout, Templates};
use crate::parallel::computed;
use crate::plan::InstalledFile;
use crate::resolve::ResolvedService;

/// Half of a SHA-256: nothing here is anybody's to forge who could not write the files themselves.
type Digest = u128;

/// A file by what it was made of, and by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    from: Digest,
    content: Digest,
}

/// What was read of all files together: of every line of them, which takes longer than to see that none has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The program, the files' paths and contents, and what was read: where the files are looked at already.
    from: Option<Digest>,
    /// The name of the configuration, which covers what needs a reload.
    pub(super) hash: String,
    /// Lines that say a server.
    pub(super) servers: usize,
}

/// The files that were rendered, by name, and all that HAProxy loads of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    files: BTreeMap<String, Print>,
    whole: Option<Whole>,
}

/// The first word of the line of all files; no digest.
const WHOLE: &str = "all ";

impl Known {
    /// Reads what `text` wrote. Lines that it did not write are left out: what they would say is rendered again.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let digest = |word: &str| Digest::from_str_radix(word, 16).ok().filter(|_| word.len() == 32);
        let line = |l: &str| {
            let (from, rest) = l.split_once(' ')?;
            let (content, name) = rest.split_once(' ')?;
            Some((name.to_owned(), Print { from: digest(from)?, content: digest(content)? }))
        };
        let whole = |l: &str| {
            let (from, rest) = l.strip_prefix(WHOLE)?.split_once(' ')?;
            let (servers, hash) = rest.split_once(' ')?;
            let is_hash = hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            let (from, servers) = (digest(from)?, servers.parse().ok()?);
            is_hash.then(|| Whole { from: Some(from), hash: hash.to_owned(), servers })
        };
        Self { files: text.lines().filter_map(line).collect(), whole: text.lines().find_map(whole) }
    }

    #[must_use]
    pub fn text(&self) -> String {
        let line = |(name, p): (&String, &Print)| format!("{:032x} {:032x} {name}\n", p.from, p.content);
        let whole = |w: &Whole| Some(format!("{WHOLE}{:032x} {} {}\n", w.from?, w.servers, w.hash));
        self.whole.iter().filter_map(whole).chain(self.files.iter().map(line)).collect()
    }

    /// Notes what a service's file holds.
    pub fn note(&mut self, templates: &Templates, s: &ResolvedService, content: &[u8]) {
        let print = Print { from: from(templates, s), content: digest(content) };
        self.files.insert(name(s), print);
    }

    /// Notes what was read of all files; `None`: there are none of ours.
    pub fn note_whole(&mut self, whole: Option<&Whole>, files: &[(&Path, &[u8])]) {
        let noted = |w: &Whole| Whole { from: Some(w.from.unwrap_or_else(|| w.print(files))), ..w.clone() };
        self.whole = whole.map(noted);
    }

    /// What was read of these files, if they are those.
    pub(super) fn whole(&self, files: &[(&Path, &[u8])]) -> Option<&Whole> {
        self.whole.as_ref().filter(|w| w.from == Some(w.print(files)))
    }

    /// Forgets files that are not there.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| is_there(name));
    }
}

/// What is known of earlier runs, and what is installed now.
#[derive(Clone, Copy)]
pub struct Earlier<'a> {
    pub known: &'a Known,
    /// By name, of HAProxy's directory for services.
    pub files: &'a BTreeMap<&'a str, &'a [u8]>,
}

/// The files of that directory among others.
#[must_use]
pub fn by_name<'a>(
    layout: &Layout,
    files: &'a BTreeMap<PathBuf, InstalledFile>,
) -> BTreeMap<&'a str, &'a [u8]> {
    let near = files.iter().filter(|(p, _)| p.parent() == Some(layout.conf_d.as_path()));
    near.filter_map(|(p, f)| Some((p.file_name()?.to_str()?, &*f.content))).collect()
}

impl<'a> Earlier<'a> {
    /// What a service's file holds, where that is what it would be rendered to.
    pub(super) fn content(&self, templates: &Templates, s: &ResolvedService) -> Option<&'a str> {
        let name = name(s);
        let (print, there) = (self.known.files.get(&name)?, *self.files.get(name.as_str())?);
        let same = print.from == from(templates, s) && print.content == digest(there);
        std::str::from_utf8(there).ok().filter(|_| same)
    }
}

impl Whole {
    pub(super) fn new(hash: String, servers: usize) -> Self {
        Self { from: None, hash, servers }
    }

    /// Whether another reading came to the same.
    pub(super) fn says(&self, other: &Self) -> bool {
        (&self.hash, self.servers) == (&other.hash, other.servers)
    }

    /// All that the reading of files depends on, and what it came to.
    fn print(&self, files: &[(&Path, &[u8])]) -> Digest {
        let mut all = Bytes(Vec::with_capacity(files.len().saturating_mul(80)));
        (env!("PGSVC_BUILD"), &self.hash, self.servers).hash(&mut all);
        for ((path, _), content) in files.iter().zip(computed(files, |(_, content)| digest(content))) {
            (path.as_os_str().as_encoded_bytes(), content).hash(&mut all);
        }
        digest(&all.0)
    }

    /// What the running HAProxy calls the configuration.
    #[must_use]
    pub fn name(&self) -> String {
        format!("pgsvc-{}", self.hash)
    }
}

/// The name of a service's file.
fn name(s: &ResolvedService) -> String {
    format!("{}.cfg", s.listener)
}

/// Where a service's file is.
#[must_use]
pub fn file_of(layout: &Layout, s: &ResolvedService) -> PathBuf {
    layout.conf_d.join(name(s))
}

/// All that a service's file depends on: the program, the templates in force and the service.
fn from(templates: &Templates, s: &ResolvedService) -> Digest {
    let mut all = Bytes(Vec::with_capacity(2048));
    (env!("PGSVC_BUILD"), templates.digest(), s).hash(&mut all);
    digest(&all.0)
}

fn digest(bytes: &[u8]) -> Digest {
    let half = Sha256::digest(bytes).into_iter().take(16);
    half.fold(0, |all, byte| all << 8 | Digest::from(byte))
}

/// A value as its `Hash` tells it, which says how long everything is: unequal values are unequal bytes.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
