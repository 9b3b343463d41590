//! Looking up paths that come in their order. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// A map that is walked once beside the paths that are asked for: each costs a comparison or two, and a search in
/// thousands takes a dozen. Paths are slow to compare.
pub(super) struct Walk<'a, V>(Peekable<Iter<'a, PathBuf, V>>);

impl<'a, V> Walk<'a, V> {
    pub(super) fn new(map: &'a BTreeMap<PathBuf, V>) -> Self {
        Self(map.iter().peekable())
    }

    /// What is at a path, which must not come before one that was asked for already.
    pub(super) fn at(&mut self, path: &Path) -> Option<&'a V> {
        while let Some((next, v)) = self.0.peek() {
            match next.as_path().cmp(path) {
                Ordering::Less => drop(self.0.next()),
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_passed() {
        let map: BTreeMap<PathBuf, u8> =
            [("/b", 1), ("/d/a", 2), ("/d/c", 3), ("/e", 4)].map(|(p, n)| (p.into(), n)).into();
        let asked = |paths: &[&str]| {
            let mut walk = Walk::new(&map);
            paths.iter().map(|p| walk.at(Path::new(p)).copied()).collect::<Vec<_>>()
        };
        assert_eq!(
            asked(&["/a", "/b", "/b", "/c", "/d/c", "/z"]),
            [None, Some(1), Some(1), None, Some(3), None]
        );
        assert_eq!(asked(&["/e", "/f"]), [Some(4), None]);
        let all: Vec<&str> = map.keys().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(asked(&all), [Some(1), Some(2), Some(3), Some(4)]);
    }
}
