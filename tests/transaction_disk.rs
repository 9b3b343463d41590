//! Real file systems that are full, run out of inodes, or go read-only, at the start and in the middle of a run: what
//! holds for injected errors holds there. Mounted in a mount namespace of the test's own, for which it must be root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod faulty;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use faulty::case::{Case, Table, node};
use faulty::hand::Fault;
use faulty::scene::{Scene, copy, room};

/// Runs that write most: all of HAProxy's files, and both daemons'.
const SCENES: [&str; 3] = ["change", "refused change", "files with keepalived's"];
/// What the image of an ext4 holds, in blocks of 1 KiB.
const BLOCKS: u64 = 4096;

fn call(argv: &[&str]) {
    let out = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|e| panic!("{}: {e}", argv[0]));
    assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn case(name: &str) -> Case {
    Case::new(Scene::all().into_iter().find(|s| s.name == name).unwrap())
}

/// A mounted file system; unmounted when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &[&str]) -> Self {
        let dir = room();
        let at = dir.path().display().to_string();
        call(&[&["mount"][..], options, &[at.as_str()]].concat());
        Self(dir)
    }

    fn tmpfs(options: &str) -> Self {
        Self::new(&["-t", "tmpfs", "-o", options, "none"])
    }

    fn ext4(image: &Path) -> Self {
        Self::new(&["-t", "ext4", "-o", "loop,errors=remount-ro", image.to_str().unwrap()])
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn inodes(&self, n: u64) {
        call(&["mount", "-o", &format!("remount,nr_inodes={n}"), self.path().to_str().unwrap()]);
    }

    /// Leaves room for so many bytes; what takes the rest goes with the file.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let stat = nix::sys::statvfs::statvfs(self.path()).unwrap();
        let free = stat.blocks_available() * stat.fragment_size();
        let mut file = std::fs::File::create(&path).unwrap();
        let _ = file.write_all(&vec![1; usize::try_from(free.saturating_sub(left)).unwrap()]);
        let _ = file.sync_all();
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

/// More and more room until the run gets through.
fn sweep(
    case: &Case,
    table: &mut Table,
    row: &str,
    step: u64,
    mount: &dyn Fn(u64) -> (Mount, Option<PathBuf>),
) {
    let (mut refused, mut through) = (0, false);
    for n in 0..400 {
        if through {
            break;
        }
        table.tries(row, || {
            let (fs, ballast) = mount(n * step);
            let what = format!("{}, {row}, room for {}", case.scene.name, n * step);
            let sys = node(fs.path(), case.process.clone(), 0, Fault::None);
            let (report, process, outcome) = case.met(fs.path(), sys, &what);
            // Where HAProxy refuses the set, the way back is what has to get through.
            through = !report.failed || case.scene.refused && report.rolled_back;
            refused += usize::from(!through);
            match ballast {
                Some(file) => std::fs::remove_file(file).unwrap(),
                None => fs.inodes(4096),
            }
            case.heals(fs.path(), process, &what);
            Some(outcome)
        });
    }
    assert!(through && refused > 3, "{row}: {refused} runs met the limit, got through: {through}");
}

/// An ext4 with a node on it, as a file.
fn image(case: &Case) -> (tempfile::TempDir, PathBuf) {
    let dir = room();
    let image = dir.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(BLOCKS * 1024).unwrap();
    call(&["mkfs.ext4", "-q", "-b", "1024", "-m", "0", image.to_str().unwrap()]);
    let fs = Mount::ext4(&image);
    copy(case.template.path(), fs.path());
    drop(fs);
    (dir, image)
}

fn full(table: &mut Table) {
    for name in SCENES {
        let case = case(name);
        sweep(&case, table, "tmpfs is full", 4096, &|left| {
            let fs = Mount::tmpfs("size=2m");
            copy(case.template.path(), fs.path());
            let ballast = fs.fill(left);
            (fs, Some(ballast))
        });
        sweep(&case, table, "tmpfs has no inode left", 1, &|left| {
            let fs = Mount::tmpfs("nr_inodes=4096");
            copy(case.template.path(), fs.path());
            let stat = nix::sys::statvfs::statvfs(fs.path()).unwrap();
            fs.inodes(stat.files() - stat.files_free() + left);
            (fs, None)
        });
        let (_dir, clean) = image(&case);
        sweep(&case, table, "ext4 is full", 1024, &|left| {
            let image = clean.with_extension("run");
            std::fs::copy(&clean, &image).unwrap();
            let fs = Mount::ext4(&image);
            let ballast = fs.fill(left);
            (fs, Some(ballast))
        });
    }
}

/// ext4 meets an error of its own (by the kernel's switch for tests) before the n-th effect, and goes read-only; the check
/// of the next boot mends it.
fn read_only(table: &mut Table) {
    for name in SCENES {
        let case = case(name);
        let (_dir, clean) = image(&case);
        for n in 1..=case.verbs.len() {
            table.tries("ext4 goes read-only", || {
                let image = clean.with_extension("run");
                std::fs::copy(&clean, &image).unwrap();
                let fs = Mount::ext4(&image);
                let out = Command::new("findmnt").args(["-no", "SOURCE"]).arg(fs.path()).output().unwrap();
                let device = String::from_utf8(out.stdout).unwrap();
                let device = Path::new(device.trim()).file_name().unwrap().to_str().unwrap().to_owned();
                let what = format!("{}: read-only from effect {n}, {}", case.scene.name, case.verbs[n - 1]);
                let mut sys = node(fs.path(), case.process.clone(), n, Fault::Call);
                let switch = format!("/sys/fs/ext4/{device}/trigger_fs_error");
                sys.hand.call = Some(Box::new(move || std::fs::write(&switch, "1").unwrap()));
                let (_, process, outcome) = case.met(fs.path(), sys, &what);
                drop(fs);
                let _ = Command::new("e2fsck").arg("-pf").arg(&image).output();
                let fs = Mount::ext4(&image);
                case.heals(fs.path(), process, &what);
                Some(outcome)
            });
        }
    }
}

/// The namespace's inside; not a test of its own.
#[test]
fn inside() {
    match std::env::var("PGSVC_TEST_DISK").as_deref() {
        Ok("full") => {
            let mut table = Table::default();
            full(&mut table);
            let counts = table.end("full disk");
            assert!(counts.old > 20 && counts.new > 0, "{counts:?}");
        }
        Ok("read-only") => {
            let mut table = Table::default();
            read_only(&mut table);
            let counts = table.end("read-only disk");
            assert!(counts.old > 20 && counts.new > 0, "{counts:?}");
        }
        _ => {}
    }
}

fn in_a_namespace(what: &str) {
    assert!(nix::unistd::geteuid().is_root(), "file systems are mounted here: run this test as root");
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(exe).args(["--exact", "inside", "--nocapture"]);
    let out = command.env("PGSVC_TEST_DISK", what).output().unwrap_or_else(|e| panic!("unshare: {e}"));
    let said = String::from_utf8_lossy(&out.stdout);
    said.lines().filter(|l| l.starts_with('|')).for_each(|l| println!("{l}"));
    println!();
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("| all |"), "no table: {said}");
}

#[test]
fn a_full_disk_leaves_the_old_or_the_new_set() {
    in_a_namespace("full");
}

#[test]
fn a_disk_that_goes_read_only_leaves_the_old_or_the_new_set() {
    in_a_namespace("read-only");
}
