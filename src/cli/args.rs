//! The command line's words and how they become a request. Nothing is run here.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Errors};
use crate::host::System;
use crate::inventory::{self, Inventory};
use crate::request::{self, Identity, Model, Request};
use crate::run::{self, Node};

pub use super::flags::Flags;

/// Makes every port of every load balancer of a PostgreSQL cluster lead to the right instance.
#[derive(Parser)]
#[command(name = "pgsvc", version, max_term_width = 100, disable_help_subcommand = true, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

const AFTER: &str = "\
Begin with a look that changes nothing:
  pgsvc explain -i hosts.yml          which member serves which port, and when
  pgsvc plan -i hosts.yml             what would change on this node
  pgsvc apply -i hosts.yml            do it, verify every port, undo it if that fails
  pgsvc verify                        prove every port again, at any time

Exit codes: 0 good, 1 failed, 2 the plan has changes, 3 a port is wrong, 64 usage.";

#[derive(Subcommand)]
pub enum Verb {
    /// Show the files that would be installed, or write them below a directory
    Render(RenderArgs),
    /// Show what would change on this node, as a diff; exit 2 where something would
    Plan(PlanArgs),
    /// Install, reload, verify every port, and roll back where that made one worse
    Apply(ApplyArgs),
    /// Prove every port: members, HAProxy and a PostgreSQL session must agree; exit 3 where not
    Verify(VerifyArgs),
    /// Show which member serves which service in which tier, and when
    Explain(ExplainArgs),
    /// Look for mistakes in an inventory, offline; exit 1 where one is an error
    Lint(LintArgs),
    /// Go back to the set before the last apply on this node
    Rollback(RollbackArgs),
    /// Undo an apply that was killed halfway (HAProxy's unit runs this before a start and a reload)
    Recover,
    /// Write the states that servers begin with, from the members' own answers (HAProxy's unit runs this too)
    Seed {
        /// Remove them once HAProxy has read them
        #[arg(long)]
        forget: bool,
    },
    /// Ask members or HAProxy whether something holds; exit 0 where it does, 1 where not (keepalived runs it)
    Check(super::check::CheckArgs),
    /// Run as Ansible's module: arguments as JSON on stdin, the result on stdout
    Module,
    /// Print shell completions: pgsvc completions bash > /etc/bash_completion.d/pgsvc
    Completions { shell: clap_complete::Shell },
    /// Open many short sessions and show what became of them (the drill and the bench use it)
    #[command(hide = true)]
    Measure(super::measure::MeasureArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Where the request comes from.
#[derive(Args)]
pub struct Source {
    /// Inventory file or directory (with group_vars and host_vars), or - for `ansible-inventory --list` on stdin;
    /// without it, what the last apply kept on this node
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    /// Only this cluster; may be given again
    #[arg(short, long = "cluster", value_name = "CLUSTER")]
    pub clusters: Vec<String>,
    /// The inventory's name of the load balancer's node; without it, this machine finds itself by name and address
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Whose word counts for a member's role: patroni (live) or inventory
    #[arg(long, value_name = "SOURCE", value_parser = ["patroni", "inventory"])]
    pub role_source: Option<String>,
    /// A directory with templates that take the place of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub templates: Option<PathBuf>,
    /// Show every member and reason
    #[arg(short, long)]
    pub verbose: bool,
}

/// How verification logs in. The password comes by the environment (PGSVC_PASSWORD, PGPASSWORD) or a file.
#[derive(Args)]
pub struct LoginArgs {
    /// Log in as this user; without it, only PostgreSQL's handshake is spoken and ports are called unproven
    #[arg(long, value_name = "NAME", env = "PGSVC_USER")]
    pub user: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Database to log in to
    #[arg(long, value_name = "NAME", env = "PGSVC_DATABASE")]
    pub database: Option<String>,
    /// TLS to PostgreSQL: disable, prefer, require or verify-full
    #[arg(long, value_name = "MODE", value_parser = ["disable", "prefer", "require", "verify-full"])]
    pub sslmode: Option<String>,
    /// CA for verify-full, PEM
    #[arg(long, value_name = "FILE")]
    pub sslrootcert: Option<PathBuf>,
    /// Seconds that ports may take to become right
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

#[derive(Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub source: Source,
    /// Write the files below this directory instead: DIR/etc/haproxy/…
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the built-in templates, to begin one's own from
    #[arg(long)]
    pub show_templates: bool,
}

#[derive(Args)]
pub struct Consent {
    /// Install below another root: nothing is reloaded or verified there
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Allow a restart of HAProxy that serves already: it cuts every session
    #[arg(long)]
    pub allow_restart: bool,
    /// Take over files that pgsvc did not write
    #[arg(long)]
    pub adopt: bool,
    /// Drop members that Patroni still lists
    #[arg(long)]
    pub force: bool,
    /// Allow binds to addresses that this node does not have
    #[arg(long)]
    pub nonlocal_bind: bool,
    /// Take the clusters named with -c away
    #[arg(long, requires = "clusters")]
    pub absent: bool,
}

#[derive(Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    pub login: LoginArgs,
    /// Do not verify the ports afterwards
    #[arg(long)]
    pub no_verify: bool,
}

#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub login: LoginArgs,
    /// Through each cluster's VIP, as a client would: from a machine that is no holder of it
    #[arg(long, conflicts_with_all = ["fix", "watch"])]
    pub vip: bool,
    /// Cut sessions on members that lost the role their service needs, and drain the backup tier
    #[arg(long)]
    pub fix: bool,
    /// Go on until told to end: a screen on a terminal, else a line for every change (pgsvc-watch.service runs it with
    /// --fix)
    #[arg(long)]
    pub watch: bool,
    /// With --watch: seconds from look to look
    #[arg(long, value_name = "SECONDS", default_value_t = 1, requires = "watch",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Write the outcome to this file instead, for the node exporter's textfile collector; - for stdout
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub metrics: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    Table,
    Json,
    Mermaid,
    Dot,
    Svg,
}

#[derive(Args)]
pub struct ExplainArgs {
    /// Inventory file or directory (with group_vars and host_vars), or - for `ansible-inventory --list` on stdin
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    /// Only this cluster; may be given again
    #[arg(short, long = "cluster", value_name = "CLUSTER")]
    pub clusters: Vec<String>,
    /// Only the clusters that this host of the inventory carries
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// How results are printed; mermaid, dot and svg draw ports, tiers and members
    #[arg(long, value_enum, default_value = "table")]
    pub format: ExplainFormat,
    /// Why a member has its place in a service, and its lines for HAProxy; MEMBER is a pg_seq or an instance
    #[arg(long, num_args = 2, value_names = ["SERVICE", "MEMBER"], conflicts_with_all = ["connect", "state"])]
    pub why: Vec<String>,
    /// Connection strings, as a pg_service.conf: URL, JDBC and libpq stand above each section
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, conflicts_with = "state")]
    pub connect: Option<Option<String>>,
    /// Where ports lead in a state of the members: primary=3,down=1,lag:2=64MB; help prints all words
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Whose word counts for a member's role: patroni (live) or inventory
    #[arg(long, value_name = "SOURCE", value_parser = ["patroni", "inventory"])]
    pub role_source: Option<String>,
    /// A directory with templates that take the place of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub templates: Option<PathBuf>,
    /// With --state: why each other member does not serve
    #[arg(short, long)]
    pub verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    Table,
    Json,
    Sarif,
}

#[derive(Args)]
pub struct LintArgs {
    /// Inventory file or directory (with group_vars and host_vars), or - for `ansible-inventory --list` on stdin
    #[arg(short, long, value_name = "INVENTORY", required_unless_present = "explain")]
    pub inventory: Option<PathBuf>,
    /// Only this cluster; may be given again
    #[arg(short, long = "cluster", value_name = "CLUSTER")]
    pub clusters: Vec<String>,
    /// Only the clusters that this host of the inventory carries
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// How findings are printed; sarif is what code hosts show beside a change
    #[arg(long, value_enum, default_value = "table")]
    pub format: LintFormat,
    /// Whose word counts for a member's role: patroni (live) or inventory
    #[arg(long, value_name = "SOURCE", value_parser = ["patroni", "inventory"])]
    pub role_source: Option<String>,
    /// Say what a code means, with an example
    #[arg(long, value_name = "CODE", conflicts_with = "inventory")]
    pub explain: Option<String>,
    /// Show what is ignored, with the reason
    #[arg(short, long)]
    pub verbose: bool,
}

#[derive(Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub login: LoginArgs,
}

/// What is on stdin, all of it.
///
/// # Errors
/// When it cannot be read, or is larger than any inventory.
pub fn stdin() -> Result<Vec<u8>, Error> {
    const MOST: u64 = 64 << 20;
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(MOST.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| Error::new("stdin", format!("cannot be read: {e}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST {
        return Err(Error::new("stdin", format!("is longer than {MOST} bytes")));
    }
    Ok(bytes)
}

/// The inventory that was named.
///
/// # Errors
/// What is wrong with it.
pub fn inventory(sys: &dyn System, path: &std::path::Path) -> Result<Inventory, Errors> {
    if path.as_os_str() == "-" {
        return inventory::from_bytes("stdin", &stdin()?);
    }
    inventory::load(&sys, path)
}

/// The request: from the inventory that was named, else from what this node keeps.
///
/// # Errors
/// What is wrong with either.
pub fn request(node: &Node<'_>, files: &dyn System, s: &Source, flags: &Flags) -> Result<Request, Errors> {
    let Some(path) = &s.inventory else { return run::kept::load(node, &s.clusters, &flags.0) };
    let inventory = inventory(files, path)?;
    let who = Identity {
        hostname: files.hostname().unwrap_or_default(),
        addresses: files.addresses().unwrap_or_default(),
    };
    request::from_inventory(inventory, s.host.as_deref(), &who, &s.clusters, &flags.0)
}

/// For verbs that need no node: all clusters of the inventory unless some are named.
///
/// # Errors
/// What is wrong with the inventory.
pub fn offline_model(files: &dyn System, s: &Source) -> Result<Model, Errors> {
    request::model_apart(offline_request(files, s)?)
}

/// The same, not yet judged.
///
/// # Errors
/// What is wrong with the inventory.
pub fn offline_request(files: &dyn System, s: &Source) -> Result<Request, Errors> {
    let mut flags = Flags::default();
    flags.source(s);
    let path = s
        .inventory
        .as_ref()
        .ok_or_else(|| Error::new("inventory", "none was named").hint("-i INVENTORY, or - for stdin"))?;
    let inventory = inventory(files, path)?;
    let mut clusters = s.clusters.clone();
    if clusters.is_empty() && s.host.is_none() {
        clusters = inventory::cluster::names(inventory.hosts.iter().map(|h| &h.vars));
    }
    if clusters.is_empty() && s.host.is_none() {
        return Err(Error::new(path.display().to_string(), "has no cluster")
            .hint("give its hosts pg_cluster and pg_seq")
            .into());
    }
    let who = Identity { hostname: files.hostname().unwrap_or_default(), addresses: Vec::new() };
    let mut request = request::from_inventory(inventory, s.host.as_deref(), &who, &clusters, &flags.0)?;
    // Nothing is installed, and so nothing kept.
    request.check = true;
    Ok(request)
}
