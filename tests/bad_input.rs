//! Bad input of every kind, through both edges, over an installed set: a clear error that names what is wrong, and not
//! a byte of the node changes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod bad {
    pub mod inventories;
    pub mod tasks;
}

use std::path::PathBuf;

use common::{HOSTS, NODE, Root, code, difference, err, module, module_file, out, run};

/// What stands in front of `text` where an error has a place.
fn says(text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|p| text.contains(p))
}

#[test]
fn a_bad_inventory_is_refused_in_words_and_nothing_changes() {
    let root = Root::with(HOSTS);
    let mut before = root.tree();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("hosts.yml");
    let (file, root_path) = (path.to_str().unwrap(), root.path());
    let mut wrong = Vec::new();
    let cases = bad::inventories::all();
    for case in &cases {
        std::fs::write(&path, &case.bytes).unwrap();
        let mut args = vec!["apply", "-i", file, "--root", &root_path];
        if !case.more.contains(&"--host") && !case.more.contains(&"-v") {
            args.extend(["--host", NODE]);
        }
        args.extend(case.more.iter().copied());
        let output = run(&args);
        let said = err(&output);
        if code(&output) != 1 || !says(&said, &case.says) || said.len() > 8000 {
            let head: String = said.chars().take(600).collect();
            wrong.push(format!("{}: exit {}, wanted {:?}, said {head}", case.name, code(&output), case.says));
        }
        let after = root.tree();
        let changed = difference(&before, &after);
        if changed != Vec::<PathBuf>::new() {
            wrong.push(format!("{}: changed {} files, {:?}", case.name, changed.len(), changed.first()));
        }
        before = after;
        assert!(out(&output).is_empty(), "{}: {}", case.name, out(&output));
    }
    println!("{} kinds of bad inventories", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_bad_task_fails_with_one_object_and_nothing_changes() {
    let root = Root::with(HOSTS);
    let cases = bad::tasks::all(&root.path());
    let mut before = root.tree();
    let mut wrong = Vec::new();
    for case in &cases {
        let (by_file, exit) = module_file(&case.bytes);
        let by_stdin = module(&case.bytes);
        let msg = by_file["msg"].as_str().unwrap_or_default();
        let failed = by_file["failed"] == true && by_file["changed"] == false && exit == 1;
        if !failed || by_file != by_stdin || !says(msg, &case.says) || msg.len() > 8000 {
            wrong.push(format!("{}: wanted {:?}, said {by_file}", case.name, case.says));
        }
        let after = root.tree();
        let changed = difference(&before, &after);
        if changed != Vec::<PathBuf>::new() {
            wrong.push(format!("{}: changed {} files, {:?}", case.name, changed.len(), changed.first()));
        }
        before = after;
    }
    println!("{} kinds of bad tasks", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_tables_hold_what_they_promise() {
    let (inventories, tasks) = (bad::inventories::all().len(), bad::tasks::all("/nowhere").len());
    println!("{} kinds of bad input: {inventories} inventories, {tasks} tasks", inventories + tasks);
    assert!(inventories >= 40 && tasks >= 40);
}

#[test]
fn a_pipe_in_an_inventorys_directory_is_not_waited_for() {
    let dir = tempfile::TempDir::new().unwrap();
    nix::unistd::mkfifo(&dir.path().join("hosts"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = run(&["explain", "-i", dir.path().to_str().unwrap()]);
    assert!(code(&output) == 1 && err(&output).contains("hosts: is no regular file"), "{}", err(&output));
}
