//! HAProxy's answers, parsed. Asks nothing.

use super::Version;

/// `show info` of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    pub version: String,
    pub pid: u32,
    pub description: Option<String>,
    pub stopping: bool,
}

impl Info {
    /// `None` for what is no answer to `show info`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value =
            |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": ")).map(str::trim);
        Some(Self {
            version: value("Version")?.to_owned(),
            pid: value("Pid")?.parse().ok()?,
            description: value("description").filter(|d| !d.is_empty()).map(str::to_owned),
            stopping: value("Stopping").is_some_and(|s| s != "0"),
        })
    }
}

/// `show proc` of a master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// Reloads the master has done; of 2.4's other columns only that they change.
    pub reloads: String,
    /// Reloads that failed since the last good one; 2.4 does not say.
    pub failed: Option<u32>,
    /// The workers of the newest generation.
    pub workers: Vec<u32>,
}

impl Processes {
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::default();
        let mut master = false;
        for line in text.lines() {
            // Old workers are listed below this heading.
            if line.starts_with("# old") {
                break;
            }
            let mut words = line.split_whitespace();
            match (words.next().and_then(|w| w.parse::<u32>().ok()), words.next()) {
                (Some(_), Some("master")) => {
                    master = true;
                    all.reloads = words.take(2).collect::<Vec<_>>().join(" ");
                    all.failed =
                        line.split_once("[failed: ").and_then(|(_, n)| n.split(']').next()?.parse().ok());
                }
                (Some(pid), Some("worker")) => all.workers.push(pid),
                _ => {}
            }
        }
        master.then_some(all)
    }
}

/// Major and minor of a version as HAProxy says it.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Of `haproxy -v`: `HAProxy version 2.6.12-1+deb12u4 2023/12/16 - …`.
pub(super) fn version(text: &str) -> Option<Version> {
    let text = text.lines().next()?.split_once("version ")?.1.split_whitespace().next()?;
    let (major, minor) = numbers(text)?;
    Some(Version { major, minor, text: text.to_owned() })
}
