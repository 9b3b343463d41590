//! `measure`: what clients see of a cluster's ports while somebody changes something. Hidden: the drill and the bench use
//! it, and it says nothing that `verify` decides by.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::args::{self, Flags, Format, LoginArgs, Source};
use super::{FAILED, GOOD, node, out, ports};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::measure::load::{self, Plan};
use crate::measure::sums::{Sum, Sums, sums};
use crate::measure::{Promise, Sample, Target, targets};
use crate::request;
use crate::run;
use crate::verify::observe::resolve;
use crate::verify::postgres::Login;

#[derive(Args)]
pub struct MeasureArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    login: LoginArgs,
    /// Only this port; may be given again
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Through the cluster's VIP
    #[arg(long, conflicts_with = "host")]
    vip: bool,
    /// How long sessions are begun
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Sessions a second, for each port
    #[arg(long, value_name = "N", default_value = "20")]
    rate: f64,
    /// Sessions a second, for each member: each starts a process there
    #[arg(long, value_name = "N", default_value = "10")]
    direct: f64,
    /// The longest a session may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=60))]
    limit: u64,
    /// Sessions on ports for writes leave a row in this table, (id bigint), and every line tells timeline, cluster and id
    #[arg(long, value_name = "TABLE", requires = "lines", value_parser = table_name)]
    ledger: Option<String>,
    /// Print every session as a line of JSON, and no table
    #[arg(long)]
    lines: bool,
    /// Show the table of lines that were printed before
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    sum: Option<PathBuf>,
}

/// The first line of a measurement; every further one is a [`Sample`].
#[derive(Serialize, Deserialize)]
struct Head {
    /// Microseconds since the epoch, from which the samples count.
    began: u64,
    targets: Vec<Target>,
}

pub fn run(a: &MeasureArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    if let Some(path) = &a.sum {
        let (head, samples) = read(&sys, path)?;
        return Ok(show(a.source.format, &head.targets, &samples));
    }
    let (targets, login) = aims(&sys, a)?;
    let mut plan = Plan::new(&targets, Duration::from_secs(a.seconds), Duration::from_secs(a.limit));
    plan.ledger = a.ledger.as_deref();
    let began = sys.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let head = Head { began: u64::try_from(began).unwrap_or(u64::MAX), targets };
    if a.lines {
        out::line(&serde_json::to_string(&head).unwrap_or_default());
        load::run(&sys, &head.targets, &login, plan, &|sample| {
            out::line(&serde_json::to_string(sample).unwrap_or_default());
        });
        return Ok(GOOD);
    }
    let samples = Mutex::new(Vec::new());
    load::run(&sys, &head.targets, &login, plan, &|sample| {
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample.clone());
    });
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(show(a.source.format, &head.targets, &samples))
}

/// A name that needs no quotes in SQL, with a schema or without.
fn table_name(text: &str) -> Result<String, String> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if text.split('.').count() <= 2 && text.split('.').all(plain) {
        return Ok(text.to_owned());
    }
    Err("is no table's name: lower-case letters, digits and '_', with a schema or without".to_owned())
}

/// Where the sessions go, and how they log in: as `verify` would have it.
fn aims(sys: &RealSystem, a: &MeasureArgs) -> Result<(Vec<Target>, Login), Errors> {
    let node = node(sys, false);
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.login(&a.login, sys)?;
    let request = args::request(&node, sys, &a.source, &flags)?;
    let remote = ports::remote(sys, a.source.host.as_deref(), &request.node_vars)?;
    let model = request::model(request)?;
    let pace = |rate: f64| Duration::from_secs_f64(rate.clamp(0.01, 1000.0).recip());
    let mut all = Vec::new();
    for c in model.clusters.values() {
        let direct = c.cluster.members.iter().map(|m| {
            let ip = resolve(sys, &m.address).map_err(|e| Error::new(m.instance.clone(), e))?;
            Ok((m.instance.clone(), SocketAddr::new(ip, m.pg_port)))
        });
        let direct: Vec<_> = direct.collect::<Result<_, Error>>()?;
        let vip = a.vip.then_some(c.cluster.vip).flatten();
        all.extend(targets(c, &a.ports, vip.or(remote), &direct, pace(a.rate), pace(a.direct)));
    }
    let login = run::ports::login(&node, &model.options)?.ok_or_else(|| {
        Error::new("measure", "needs a login: a handshake tells nothing of roles")
            .hint("pgsvc_verify_user and pgsvc_verify_password of the cluster, or --user and PGSVC_PASSWORD")
    })?;
    Ok((all, login))
}

/// A measurement that was printed with --lines. A last line that broke off was never a sample.
fn read(sys: &dyn System, path: &Path) -> Result<(Head, Vec<Sample>), Error> {
    let place = path.display().to_string();
    let bytes = if place == "-" {
        args::stdin()?
    } else {
        sys.read(path).map_err(|e| Error::new(place.clone(), format!("cannot be read: {e}")))?
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().filter(|l| !l.is_empty()).enumerate();
    let broken = |n: usize, e: &serde_json::Error| {
        Error::new(format!("{place}:{}", n.saturating_add(1)), format!("is no line of a measurement: {e}"))
            .hint("it has to be the whole output of 'pgsvc measure --lines'")
    };
    let (_, first) = lines.next().ok_or_else(|| Error::new(place.clone(), "is empty"))?;
    let head: Head = serde_json::from_str(first).map_err(|e| broken(0, &e))?;
    let whole = text.ends_with('\n');
    let mut samples = Vec::new();
    let mut lines = lines.peekable();
    while let Some((n, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(sample) => samples.push(sample),
            Err(_) if !whole && lines.peek().is_none() => {}
            Err(e) => return Err(broken(n, &e)),
        }
    }
    Ok((head, samples))
}

fn show(format: Format, targets: &[Target], samples: &[Sample]) -> u8 {
    let all = sums(targets, samples);
    match format {
        Format::Json => out::json(&all),
        Format::Table => out::text(&table(&all, targets)),
    }
    if samples.is_empty() { FAILED } else { GOOD }
}

fn table(all: &Sums, targets: &[Target]) -> String {
    let head =
        ["PORT", "PROMISE", "SESSIONS", "FAILED", "MISROUTED", "AWAY ms", "P50 ms", "P99 ms", "REACHED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.targets.iter().filter(|t| t.promise != Promise::Member).map(row));
    let mut text = out::table(&rows);
    text.push_str(&format!(
        "members asked directly: no write was taken for {} ms\n",
        milliseconds(all.members_away)
    ));
    let pace = targets.iter().map(|t| t.every).max().unwrap_or_default();
    text.push_str(&format!(
        "(a session every {} ms at most: no time away is known closer)\n",
        pace.as_millis()
    ));
    text
}

fn row(s: &Sum) -> Vec<String> {
    let promise = match s.promise {
        Promise::Write => "writes",
        Promise::Read => "reads",
        Promise::Answer | Promise::Member => "answers",
    };
    let reached: Vec<String> = s.reached.iter().map(|(who, n)| format!("{who}:{n}")).collect();
    vec![
        s.name.clone(),
        promise.to_owned(),
        s.sessions.to_string(),
        s.failed.to_string(),
        s.misrouted.to_string(),
        milliseconds(s.away),
        milliseconds(s.p50),
        milliseconds(s.p99),
        reached.join(" "),
    ]
}

fn milliseconds(micros: u64) -> String {
    micros.saturating_add(500).checked_div(1000).unwrap_or(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::table_name;

    #[test]
    fn a_ledger_s_name_brings_no_sql_along() {
        for good in ["chaos", "chaos.writes_1", "_x"] {
            assert_eq!(table_name(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "a.", "a.b.c", "A", "1a", "a b", "a;b", "a\"b", "a(id) values (1)--"] {
            assert!(table_name(bad).is_err(), "{bad}");
        }
    }
}
