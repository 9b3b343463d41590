//! Edge: flags → a run → a table or JSON. One file per verb; no policy may live here.

mod apply;
mod args;
mod check;
mod explain;
mod flags;
mod lint;
mod measure;
pub mod out;
mod plan;
mod ports;
mod render;
pub mod screen;
mod terminal;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::daemon::Paths;
use crate::error::Errors;
use crate::host::System;
use crate::host::real::RealSystem;
use crate::run::Node;

/// Exit codes, for scripts.
pub const GOOD: u8 = 0;
pub const FAILED: u8 = 1;
pub const CHANGES: u8 = 2;
pub const PORT_WRONG: u8 = 3;
pub const USAGE: u8 = 64;

/// Whether a word is a verb, and so no arguments file.
pub fn is_verb(word: &str) -> bool {
    word == "help" || args::Cli::command().get_subcommands().any(|c| c.get_name() == word)
}

/// Runs the command line.
pub fn main(args: Vec<OsString>) -> u8 {
    match args::Cli::try_parse_from(args) {
        Ok(cli) => run(cli),
        Err(e) => {
            // clap's own exit code for usage is 2, which means "changes" here.
            let asked = !e.use_stderr();
            drop(e.print());
            if asked { GOOD } else { USAGE }
        }
    }
}

fn run(cli: args::Cli) -> u8 {
    use args::Verb;
    let result = match cli.verb {
        Verb::Render(a) => render::run(&a),
        Verb::Plan(a) => plan::run(&a),
        Verb::Apply(a) => apply::run(&a),
        Verb::Verify(a) => ports::run(&a),
        Verb::Explain(a) => explain::run(&a),
        Verb::Lint(a) => lint::run(&a),
        Verb::Rollback(a) => apply::rollback(&a),
        Verb::Recover => recover(),
        Verb::Seed { forget } => seed(forget),
        Verb::Check(a) => check::run(&a),
        Verb::Measure(a) => measure::run(&a),
        Verb::Module => module(),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut args::Cli::command(), "pgsvc", &mut text);
            out::text(&String::from_utf8_lossy(&text));
            Ok(GOOD)
        }
    };
    result.unwrap_or_else(|errors| {
        out::errors(&errors);
        FAILED
    })
}

/// `module`: Ansible's arguments on stdin, the result on stdout. The exit code says that a result was printed.
fn module() -> Result<u8, Errors> {
    let bytes = args::stdin()?;
    out::line(&crate::ansible::run(&bytes).to_string());
    Ok(GOOD)
}

/// `recover`: what the unit runs before HAProxy starts or reloads. A live run of ours is left alone.
fn recover() -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let found = crate::run::recover::recover(&node(&sys, false))?;
    if let crate::transaction::Recovered::RolledBack(files) = found {
        out::talk(&format!("pgsvc: an unfinished apply was undone: {} files are as before", files.len()));
    }
    Ok(GOOD)
}

/// `seed`: what the unit runs before HAProxy starts or reloads, and after it.
fn seed(forget: bool) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let node = node(&sys, false);
    if forget {
        crate::run::seed::forget(&node)?;
        return Ok(GOOD);
    }
    let done = crate::run::seed::seed(&node)?;
    let from = if done.running { "the running HAProxy and " } else { "" };
    out::talk(&format!(
        "pgsvc: {} of {} servers begin up, by {from}the members' answers",
        done.up, done.servers
    ));
    Ok(GOOD)
}

/// The node a verb works on.
fn node<'a>(sys: &'a dyn System, rooted: bool) -> Node<'a> {
    Node { sys, paths: Paths::default(), rooted }
}
