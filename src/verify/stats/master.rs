//! `show proc` of the master: the workers that serve and the old ones that still do. No sockets here.
//! Columns go by the header's names: 2.4 has a `<relative PID>`, which later releases dropped.

use crate::verify::error::ProbeError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Reloads it has lived through.
    pub reloads: u64,
    /// Seconds.
    pub uptime: u64,
    pub version: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub master: Option<Process>,
    /// Reloads that failed since the last one that succeeded; `None` before 2.5, which does not count them.
    pub failed_reloads: Option<u64>,
    pub workers: Vec<Process>,
    /// Workers of configurations before, which live until their last session ends.
    pub old_workers: Vec<Process>,
}

/// Reads `show proc`.
///
/// # Errors
/// `NotHaproxy` when there is no header with the columns in it, or when there are more processes than can be.
pub fn parse_proc(answer: &str) -> Result<Processes, ProbeError> {
    let mut lines = answer.lines().skip_while(|line| line.trim().is_empty());
    let header =
        lines.next().filter(|line| line.starts_with("#<PID>")).ok_or_else(|| super::refused(answer))?;
    let columns: Vec<&str> =
        header.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(name, _)| name).collect();
    let mut found = Processes::default();
    let mut old = false;
    for line in lines {
        if let Some(section) = line.strip_prefix('#') {
            old = section.trim().starts_with("old");
            continue;
        }
        // The relative PID of an old worker on 2.4 is `[was: 1]`: one word of it.
        let (line, failed) = without_failures(&line.replace("[was: ", "["));
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let get = |name| {
            columns.iter().position(|c| *c == name).and_then(|i| words.get(i)).copied().unwrap_or_default()
        };
        let Ok(pid) = get("PID").parse() else { continue };
        if found.workers.len().saturating_add(found.old_workers.len()) >= super::MOST {
            return Err(super::too_many("processes"));
        }
        let process = Process {
            pid,
            reloads: get("reloads").parse().unwrap_or_default(),
            uptime: super::seconds(get("uptime")),
            version: get("version").to_owned(),
        };
        match (get("type"), old) {
            ("master", _) => (found.master, found.failed_reloads) = (Some(process), failed),
            ("worker", false) => found.workers.push(process),
            ("worker", true) => found.old_workers.push(process),
            // Programs that the master minds.
            _ => {}
        }
    }
    Ok(found)
}

/// `1590 master 2 [failed: 1] 0d…` → the line without the brackets, and 1.
fn without_failures(line: &str) -> (String, Option<u64>) {
    let parts = line.split_once("[failed:").and_then(|(left, rest)| Some((left, rest.split_once(']')?)));
    match parts {
        Some((left, (count, right))) => (format!("{left} {right}"), count.trim().parse().ok()),
        None => (line.to_owned(), None),
    }
}
