use super::*;

fn me() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

#[test]
fn a_created_file_has_bytes_mode_and_owner_and_must_be_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    create(&path, b"text", 0o640, me()).unwrap();
    let found = stat(&path).unwrap().unwrap();
    assert_eq!((found.kind, found.mode, (found.uid, found.gid), found.size), (Kind::File, 0o640, me(), 4));
    assert_eq!(create(&path, b"x", 0o600, me()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
    assert_eq!(list(dir.path()).unwrap(), ["a"]);
    assert_eq!(stat(&dir.path().join("none/deeper")).unwrap(), None);
}

#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&file, "text").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(stat(&link).unwrap().unwrap().kind, Kind::Symlink);
    assert!(create(&link, b"x", 0o600, me()).is_err());
    assert!(copy(&link, &dir.path().join("copy")).is_err());
    assert!(copy_attributes(&file, &link).is_err());
    assert!(lock(&link, Duration::ZERO).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
}

#[test]
fn a_copy_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create(&from, b"text", 0o4751, me()).unwrap();
    xattr::set(&from, "user.note", b"kept").unwrap();
    copy(&from, &to).unwrap();
    assert_eq!(stat(&from).unwrap(), stat(&to).unwrap());
    assert_eq!(xattr::get(&to, "user.note").unwrap().unwrap(), b"kept");
}

#[test]
fn attributes_are_carried_over_and_the_mode_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create(&from, b"old", 0o600, me()).unwrap();
    create(&to, b"new", 0o644, me()).unwrap();
    xattr::set(&from, "user.note", b"kept").unwrap();
    xattr::set(&to, "user.other", b"goes").unwrap();
    copy_attributes(&from, &to).unwrap();
    assert_eq!(xattr::get(&to, "user.note").unwrap().unwrap(), b"kept");
    assert_eq!(xattr::get(&to, "user.other").unwrap(), None);
    assert_eq!(stat(&to).unwrap().unwrap().mode, 0o644);
    assert_eq!(std::fs::read(&to).unwrap(), b"new");
}

#[test]
fn directories_are_made_with_their_parents_and_removed_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    create_dir(&deep, 0o700).unwrap();
    create_dir(&deep, 0o755).unwrap();
    assert_eq!(stat(&deep).unwrap().unwrap().mode, 0o700);
    std::fs::write(deep.join("file"), "").unwrap();
    assert!(create_dir(&deep.join("file"), 0o700).is_err());
    sync_dir(&deep).unwrap();
    remove_dir_all(&dir.path().join("a")).unwrap();
    remove_dir_all(&dir.path().join("a")).unwrap();
    assert!(list(&deep).unwrap().is_empty());
}

#[test]
fn a_lock_excludes_and_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = lock(&path, Duration::ZERO).unwrap();
    let e = lock(&path, Duration::from_millis(30)).err().unwrap();
    assert_eq!(e.kind(), io::ErrorKind::TimedOut);
    assert!(e.to_string().contains(&format!("process {}", std::process::id())), "{e}");
    drop(held);
    lock(&path, Duration::ZERO).unwrap();
}

#[test]
fn files_are_the_same_by_their_bytes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let big = vec![7; (1 << 17) + 3];
    let mut last = big.clone();
    *last.last_mut().unwrap() = 8;
    let (a, b) = (file("a", &big), file("b", &big));
    let (other, short) = (file("c", &last), file("d", &big[..9]));
    assert!(same(&a, &b).unwrap() && same(&a, &a).unwrap());
    assert!(!same(&a, &other).unwrap() && !same(&a, &short).unwrap());
    assert!(same(&a, &dir.path().join("missing")).is_err());
}
