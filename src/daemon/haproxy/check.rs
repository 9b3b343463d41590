//! `haproxy -c` on a staged candidate, and its many lines in the operator's words. Installs nothing.

use std::path::Path;
use std::time::Duration;

use super::Paths;
use crate::error::Error;
use crate::host::{Command, System};

/// 10,000 servers take 0.3 s; unresolvable names in a foreign file may take long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Of many alerts the first few tell it.
const SHOWN: usize = 4;

/// Would HAProxy load it?
pub(super) fn check(sys: &dyn System, binary: &Path, paths: &Paths, staged: &Path) -> Result<(), Error> {
    let below = |path: &Path| staged.join(path.strip_prefix("/").unwrap_or(path));
    let mut argv = vec![binary.display().to_string(), "-c".to_owned()];
    for path in [&paths.config, &paths.conf_d] {
        let fail = |e| Error::new(path.display().to_string(), format!("cannot be checked: {e}"));
        if sys.stat(&below(path)).map_err(fail)?.is_some() {
            argv.extend(["-f".to_owned(), sys.place(&below(path)).display().to_string()]);
        }
    }
    let out = sys
        .run(&Command { argv, timeout: TIMEOUT, ..Command::default() })
        .map_err(|e| Error::new("haproxy -c", e.to_string()))?;
    if out.code == 0 {
        return Ok(());
    }
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text).replace(&sys.place(staged).display().to_string(), "");
    Err(refusal(&text, out.code))
}

fn refusal(text: &str, code: i32) -> Error {
    let alerts = alerts(text);
    let Some((first, rest)) = alerts.split_first() else {
        return Error::new("haproxy -c", format!("exit code {code} without a reason"));
    };
    let (place, mut what) = match located(first) {
        Some((place, what)) => (place.to_owned(), what.to_owned()),
        None => ("haproxy -c".to_owned(), first.clone()),
    };
    for more in rest.iter().take(SHOWN) {
        what = format!("{what}\n  {more}");
    }
    if rest.len() > SHOWN {
        what = format!("{what}\n  and {} more", rest.len().saturating_sub(SHOWN));
    }
    Error::new(place, what)
}

/// `parsing [/etc/haproxy/conf.d/x.cfg:3] : unknown keyword …` → place and reason.
fn located(alert: &str) -> Option<(&str, &str)> {
    let (before, rest) = alert.split_once('[')?;
    let (place, what) = rest.split_once(']')?;
    // Only a heading may come before the place: else the bracket belongs to the sentence.
    if before.split_whitespace().count() > 1 || !place.starts_with('/') {
        return None;
    }
    Some((place, what.trim_start_matches([' ', ':'])))
}

/// The alerts of HAProxy's output, without its own decoration and without secrets; each once.
pub(super) fn alerts(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((_, alert)) = line.split_once("[ALERT]") else { continue };
        let alert = match alert.split_once(") : ") {
            Some((_, rest)) => rest,
            None => alert,
        };
        let alert = alert.trim().trim_start_matches("config : ");
        // What every old worker's end looks like is no reason of anything.
        let summary = [
            "Error(s) found in configuration",
            "Fatal errors found",
            "Some protocols failed to start",
            "exited with code 143 (Terminated)",
        ];
        if alert.is_empty() || summary.iter().any(|s| alert.contains(s)) {
            continue;
        }
        let alert = scrub(alert);
        if !found.contains(&alert) {
            found.push(alert);
        }
    }
    found
}

/// The alerts of a unit's last reload or start, by the lines that systemd puts before them: earlier troubles are not
/// this one's reason.
pub(super) fn latest(journal: &str) -> Vec<String> {
    let begins = |l: &&str| l.starts_with("Reloading ") || l.starts_with("Starting ");
    let lines: Vec<&str> = journal.lines().collect();
    let since = lines.iter().rposition(begins).unwrap_or(0);
    alerts(&lines.iter().skip(since).copied().collect::<Vec<_>>().join("\n"))
}

/// HAProxy quotes lines it does not like, and a line may hold a password.
fn scrub(text: &str) -> String {
    let mut words = Vec::new();
    let mut secret = false;
    for word in text.split(' ') {
        let bare = word.trim_matches(['\'', '"']);
        words.push(if secret && !word.is_empty() { "***" } else { word });
        secret = matches!(bare, "password" | "insecure-password" | "auth");
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_real_file_and_hides_secrets() {
        let text = "[NOTICE]   (9) : haproxy version is 2.6.12\n\
            [ALERT]    (9) : config : parsing [/etc/haproxy/conf.d/a.cfg:2] : unknown keyword 'foo' in 'listen' section\n\
            [ALERT]    (9) : config : parsing [/etc/haproxy/conf.d/a.cfg:7] : bad 'user x insecure-password hunter2 y'\n\
            [ALERT]    (9) : config : Error(s) found in configuration file : /etc/haproxy/haproxy.cfg\n\
            [ALERT]    (9) : config : Fatal errors found in configuration.\n";
        let error = refusal(text, 1);
        assert_eq!(error.place, "/etc/haproxy/conf.d/a.cfg:2");
        assert!(error.what.starts_with("unknown keyword 'foo' in 'listen' section\n"), "{error}");
        assert!(!error.what.contains("hunter2") && error.what.contains("insecure-password ***"), "{error}");
        assert!(!error.what.contains("Fatal"), "{error}");
        assert_eq!(refusal("nothing", 1).to_string(), "haproxy -c: exit code 1 without a reason");
    }

    #[test]
    fn the_reason_is_that_of_the_last_reload() {
        let earlier = "Reloading haproxy.service - HAProxy Load Balancer...\n\
            [ALERT]    (7) : Binding [/etc/haproxy/haproxy.cfg:1] for proxy a: earlier\n\
            [ALERT]    (7) : Current worker (8) exited with code 143 (Terminated)\n";
        let now = "Reloading haproxy.service - HAProxy Load Balancer...\n\
            [NOTICE]   (9) : Reloading HAProxy\n\
            [ALERT]    (9) : Binding [/etc/haproxy/haproxy.cfg:2] for proxy b: now\n\
            [ALERT]    (9) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.\n";
        assert_eq!(
            latest(&format!("{earlier}{now}")),
            ["Binding [/etc/haproxy/haproxy.cfg:2] for proxy b: now"]
        );
        assert_eq!(latest(earlier), ["Binding [/etc/haproxy/haproxy.cfg:1] for proxy a: earlier"]);
        assert_eq!(latest(&format!("{earlier}Starting haproxy.service\n")), [""; 0]);
    }
}
