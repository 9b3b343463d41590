//! A disk that may forget: what a power cut leaves of a run's writes. Directory entries are on it once their directory was
//! synced; before, each change may be there or not, in any order, but for those of one name. A file's content is on it once
//! it was synced, which `create` and `copy` do before they return; until then it is empty, or cut short. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Effect;

/// An effect on files that was done.
#[derive(Debug, Clone)]
pub enum Done {
    Create(PathBuf, Vec<u8>, u32, (u32, u32)),
    Copy(PathBuf, PathBuf),
    Attributes(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf, u32),
    RemoveDir(PathBuf),
    Sync(PathBuf),
}

impl Done {
    pub fn of(effect: &Effect<'_>) -> Self {
        match *effect {
            Effect::Create { path, bytes, mode, owner } => {
                Self::Create(path.into(), bytes.into(), mode, owner)
            }
            Effect::Copy { from, to } => Self::Copy(from.into(), to.into()),
            Effect::Attributes { from, to } => Self::Attributes(from.into(), to.into()),
            Effect::Rename { from, to } => Self::Rename(from.into(), to.into()),
            Effect::Remove(path) => Self::Remove(path.into()),
            Effect::MakeDir { path, mode } => Self::MakeDir(path.into(), mode),
            Effect::RemoveDir(path) => Self::RemoveDir(path.into()),
            Effect::SyncDir(path) => Self::Sync(path.into()),
            other => panic!("{} is none of a file's", other.text()),
        }
    }
}

type Attributes = BTreeMap<OsString, Vec<u8>>;

/// Content and all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct File {
    bytes: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    attributes: Attributes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    File(usize),
    Dir(usize),
}

#[derive(Debug, Clone)]
struct Dir {
    mode: u32,
    owner: (u32, u32),
    /// What is surely there.
    entries: BTreeMap<OsString, Entry>,
}

/// A change of entries of one directory, whole or not at all.
#[derive(Debug, Clone)]
struct Change {
    dir: usize,
    sets: Vec<(OsString, Option<Entry>)>,
}

/// Where a run's writes are on the way to the disk.
#[derive(Debug, Clone)]
pub struct Disk {
    files: Vec<File>,
    dirs: Vec<Dir>,
    /// Not yet surely there, in order.
    pending: Vec<Change>,
}

/// A tree that may be found after a power cut.
pub type State = BTreeMap<PathBuf, Node>;

/// A file of such a tree; a directory has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    file: Option<File>,
    mode: u32,
    owner: (u32, u32),
}

fn attributes(path: &Path) -> Attributes {
    let names = xattr::list(path).unwrap();
    names.map(|n| (n.clone(), xattr::get(path, &n).unwrap().unwrap())).collect()
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

impl Disk {
    /// What a directory holds, all of it surely there.
    pub fn of(top: &Path) -> Self {
        let mut disk = Self { files: Vec::new(), dirs: Vec::new(), pending: Vec::new() };
        disk.load(top);
        disk
    }

    fn load(&mut self, path: &Path) -> Entry {
        let meta = path.symlink_metadata().unwrap();
        let (mode, owner) = (meta.mode() & 0o7777, (meta.uid(), meta.gid()));
        if !meta.is_dir() {
            let file =
                File { bytes: std::fs::read(path).unwrap(), mode, owner, attributes: attributes(path) };
            self.files.push(file);
            return Entry::File(self.files.len() - 1);
        }
        let id = self.dirs.len();
        self.dirs.push(Dir { mode, owner, entries: BTreeMap::new() });
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let loaded = self.load(&entry.path());
            self.dirs[id].entries.insert(entry.file_name(), loaded);
        }
        Entry::Dir(id)
    }

    /// A directory as the running system sees it.
    fn entries(&self, dir: usize) -> BTreeMap<OsString, Entry> {
        let mut entries = self.dirs[dir].entries.clone();
        self.pending.iter().filter(|c| c.dir == dir).for_each(|c| set(&mut entries, c));
        entries
    }

    fn find(&self, path: &Path) -> Option<Entry> {
        let mut at = Entry::Dir(0);
        for part in path.strip_prefix("/").unwrap() {
            let Entry::Dir(dir) = at else { return None };
            at = *self.entries(dir).get(part)?;
        }
        Some(at)
    }

    fn dir(&self, path: &Path) -> usize {
        match self.find(path) {
            Some(Entry::Dir(id)) => id,
            other => panic!("{}: {other:?} is no directory", path.display()),
        }
    }

    fn file(&self, path: &Path) -> usize {
        match self.find(path) {
            Some(Entry::File(id)) => id,
            other => panic!("{}: {other:?} is no file", path.display()),
        }
    }

    fn change(&mut self, dir: &Path, sets: Vec<(OsString, Option<Entry>)>) {
        let dir = self.dir(dir);
        self.pending.push(Change { dir, sets });
    }

    /// Takes an effect up; after every step of it `cut` sees the disk.
    pub fn take(&mut self, done: &Done, cut: &mut dyn FnMut(&Self)) {
        match done {
            Done::Create(path, bytes, mode, owner) => {
                let file =
                    File { bytes: bytes.clone(), mode: *mode, owner: *owner, attributes: Attributes::new() };
                self.write(path, file, cut);
            }
            Done::Copy(from, to) => {
                let file = self.files[self.file(from)].clone();
                self.write(to, file, cut);
            }
            Done::Attributes(from, to) => {
                let (attributes, to) = (self.files[self.file(from)].attributes.clone(), self.file(to));
                for (name, value) in attributes {
                    self.files[to].attributes.insert(name, value);
                    cut(self);
                }
            }
            Done::Rename(from, to) => {
                let (dir, entry) = (from.parent().unwrap(), self.find(from));
                assert_eq!(
                    to.parent(),
                    Some(dir),
                    "a rename from one directory to another is none of a transaction's"
                );
                self.change(dir, vec![(name(from), None), (name(to), entry)]);
            }
            Done::Remove(path) => self.change(path.parent().unwrap(), vec![(name(path), None)]),
            Done::MakeDir(path, mode) => self.make(path, *mode, cut),
            Done::RemoveDir(path) => self.unmake(path, cut),
            Done::Sync(path) => {
                let dir = self.dir(path);
                self.sync(dir);
            }
        }
        cut(self);
    }

    fn write(&mut self, path: &Path, file: File, cut: &mut dyn FnMut(&Self)) {
        let empty = File { bytes: Vec::new(), mode: 0o600, owner: file.owner, attributes: Attributes::new() };
        self.files.push(empty.clone());
        let id = self.files.len() - 1;
        self.change(path.parent().unwrap(), vec![(name(path), Some(Entry::File(id)))]);
        cut(self);
        self.files[id] = File { bytes: file.bytes[..file.bytes.len() / 2].to_vec(), ..empty };
        cut(self);
        self.files[id] = file;
    }

    /// Each directory is in its parent for sure before the next one is made.
    fn make(&mut self, path: &Path, mode: u32, cut: &mut dyn FnMut(&Self)) {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| self.find(p).is_none()).collect();
        for path in missing.into_iter().rev() {
            self.dirs.push(Dir { mode, owner: (0, 0), entries: BTreeMap::new() });
            let (parent, id) = (path.parent().unwrap(), self.dirs.len() - 1);
            self.change(parent, vec![(name(path), Some(Entry::Dir(id)))]);
            cut(self);
            let parent = self.dir(parent);
            self.sync(parent);
        }
    }

    fn unmake(&mut self, path: &Path, cut: &mut dyn FnMut(&Self)) {
        let Some(Entry::Dir(id)) = self.find(path) else { return };
        for (name, entry) in self.entries(id) {
            match entry {
                Entry::Dir(_) => self.unmake(&path.join(&name), cut),
                Entry::File(_) => self.change(path, vec![(name, None)]),
            }
            cut(self);
        }
        self.change(path.parent().unwrap(), vec![(name(path), None)]);
    }

    fn sync(&mut self, dir: usize) {
        let (now, later): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|c| c.dir == dir);
        now.iter().for_each(|c| set(&mut self.dirs[dir].entries, c));
        self.pending = later;
        // What nobody can reach any more is nobody's matter.
        let mut reached = BTreeSet::new();
        let mut open = vec![0];
        while let Some(dir) = open.pop() {
            if reached.insert(dir) {
                let pending = self.pending.iter().filter(|c| c.dir == dir).flat_map(|c| &c.sets);
                let maybe = pending.filter_map(|(_, e)| *e);
                let all = self.dirs[dir].entries.values().copied().chain(maybe);
                open.extend(all.filter_map(|e| if let Entry::Dir(id) = e { Some(id) } else { None }));
            }
        }
        self.pending.retain(|c| reached.contains(&c.dir));
    }

    /// What may be found after a power cut now: every choice of the pending changes where those are few, else the
    /// whole, none, all but one each, and `samples` chosen by `dice`.
    pub fn cuts(&self, samples: usize, dice: &mut Dice) -> Vec<State> {
        let n = self.pending.len();
        let mut chosen: Vec<Vec<bool>> = vec![vec![true; n], vec![false; n]];
        if n <= 6 {
            chosen.extend((0..1_usize << n).map(|bits| (0..n).map(|i| bits >> i & 1 == 1).collect()));
        } else {
            chosen.extend((0..n).map(|out| (0..n).map(|i| i != out).collect()));
            chosen.extend(
                (0..samples).map(|i| (0..n).map(|_| dice.roll() % 8 < 2 + 2 * (i as u64 % 3)).collect()),
            );
        }
        chosen.iter().map(|kept| self.found(kept)).collect()
    }

    /// The tree with these of the pending changes; one that builds on another of the same name needs it.
    fn found(&self, kept: &[bool]) -> State {
        let mut lost: BTreeSet<(usize, &OsString)> = BTreeSet::new();
        let mut dirs: Vec<BTreeMap<OsString, Entry>> = self.dirs.iter().map(|d| d.entries.clone()).collect();
        for (change, kept) in self.pending.iter().zip(kept) {
            let names: Vec<_> = change.sets.iter().map(|(name, _)| (change.dir, name)).collect();
            if *kept && names.iter().all(|n| !lost.contains(n)) {
                set(&mut dirs[change.dir], change);
            } else {
                lost.extend(names);
            }
        }
        let mut state = State::new();
        let mut open = vec![(PathBuf::new(), Entry::Dir(0))];
        while let Some((path, entry)) = open.pop() {
            let node = match entry {
                Entry::File(id) => {
                    let file = self.files[id].clone();
                    Node { mode: file.mode, owner: file.owner, file: Some(file) }
                }
                Entry::Dir(id) => {
                    open.extend(dirs[id].iter().map(|(name, entry)| (path.join(name), *entry)));
                    Node { mode: self.dirs[id].mode, owner: self.dirs[id].owner, file: None }
                }
            };
            state.insert(path, node);
        }
        state
    }
}

fn set(entries: &mut BTreeMap<OsString, Entry>, change: &Change) {
    for (name, entry) in &change.sets {
        match entry {
            Some(entry) => entries.insert(name.clone(), *entry),
            None => entries.remove(name),
        };
    }
}

/// Makes such a tree below a directory.
pub fn materialise(state: &State, root: &Path) {
    for (path, node) in state.iter().filter(|(p, _)| !p.as_os_str().is_empty()) {
        let target = root.join(path);
        match &node.file {
            None => std::fs::create_dir(&target).unwrap(),
            Some(file) => {
                std::fs::write(&target, &file.bytes).unwrap();
                file.attributes.iter().for_each(|(name, value)| xattr::set(&target, name, value).unwrap());
            }
        }
        std::os::unix::fs::chown(&target, Some(node.owner.0), Some(node.owner.1)).unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(node.mode)).unwrap();
    }
}

/// Chance that is the same every time: a linear congruential generator (Knuth's MMIX).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
