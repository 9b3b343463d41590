//! `keepalived -t` on a staged candidate, and what it says in the operator's words. Installs nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Paths;
use crate::daemon::systemd::STABLE_BINARY;
use crate::error::Error;
use crate::host::{Command, System};

/// 10,000 real servers take 0.7 s.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Before 2.2.8, keepalived takes whoever calls `-t` for a dead parent as soon as a script has a user of its own, and ends
/// itself by SIGTERM. In a process namespace of its own it has no parent to miss.
pub(super) const ALONE: [&str; 3] = ["/usr/bin/unshare", "--fork", "--pid"];
const ENDED_ITSELF: i32 = 128 + 15;
/// Of many complaints the first few tell it.
const SHOWN: usize = 4;
/// Below the stage: the candidate again, its includes leading to itself.
const COPY: &str = ".keepalived";
/// keepalived.conf(5), "include".
const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

/// Would keepalived load it? Nothing of it in the stage is no question.
pub(super) fn check(sys: &dyn System, binary: &Path, paths: &Paths, staged: &Path) -> Result<(), Error> {
    let below = |path: &Path| staged.join(path.strip_prefix("/").unwrap_or(path));
    let there = |path: &Path| sys.stat(&below(path)).is_ok_and(|s| s.is_some());
    let Some(first) = [&paths.config, &paths.own].into_iter().find(|p| there(p)) else { return Ok(()) };
    let place = first.display().to_string();
    let names = sys.list(&below(&paths.conf_d)).unwrap_or_default();
    let all =
        names.into_iter().map(|n| paths.conf_d.join(n)).chain([paths.config.clone(), paths.own.clone()]);
    let copy = staged.join(COPY);
    let prefix = sys.place(&copy).display().to_string();
    let program = program(sys);
    for path in all.filter(|p| there(p)) {
        let failed = |e| Error::new(path.display().to_string(), format!("cannot be staged: {e}"));
        let text = sys.read(&below(&path)).map_err(failed)?;
        let text = led(&text, &path, paths, &prefix, &program);
        let target = copy.join(path.strip_prefix("/").unwrap_or(&path));
        sys.create_dir(target.parent().unwrap_or(&copy), 0o700).map_err(failed)?;
        sys.create(&target, &text, 0o600, sys.whoami()).map_err(failed)?;
    }
    // keepalived calls a file that is empty, or not there, good.
    if is_empty(&sys.read(&below(first)).unwrap_or_default()) {
        return Err(Error::new(place, "says nothing, and keepalived would let go of all that it serves"));
    }
    let argv = [binary.display().to_string(), "-t".into(), "-f".into(), format!("{prefix}{place}")];
    let alone = ALONE.map(str::to_owned);
    let run = |argv: Vec<String>| sys.run(&Command { argv, timeout: TIMEOUT, ..Command::default() });
    let out = match run(argv.to_vec()) {
        Ok(out) if out.code == ENDED_ITSELF => run([&alone[..], &argv[..]].concat()),
        out => out,
    };
    let removed = sys.remove_dir_all(&copy);
    let out = out.map_err(|e| Error::new("keepalived -t", e.to_string()))?;
    removed.map_err(|e| Error::new(copy.display().to_string(), format!("cannot be removed: {e}")))?;
    if out.code == 0 {
        return Ok(());
    }
    let text = [out.stdout, out.stderr].concat();
    Err(refusal(&String::from_utf8_lossy(&text).replace(&prefix, ""), out.code))
}

/// What a test asks in the place of our program. Where nothing was applied yet ours is not there, and keepalived refuses a
/// script that is not; an apply puts it there before it comes here.
fn program(sys: &dyn System) -> String {
    let ours = PathBuf::from(STABLE_BINARY);
    let there = sys.stat(&ours).is_ok_and(|s| s.is_some());
    let other = if there { None } else { sys.find("true") };
    other.unwrap_or(ours).display().to_string()
}

/// Whether nothing but comments is in it.
fn is_empty(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines().all(|l| l.trim_start().is_empty() || l.trim_start().starts_with(['#', '!']))
}

/// The file with its includes led to the copy where they mean a file of the candidate, and to the real place else: those
/// of a relative path would be looked for beside the copy. `program` is asked in the place of ours.
fn led(text: &[u8], path: &Path, paths: &Paths, prefix: &str, program: &str) -> Vec<u8> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut out = Vec::new();
    for line in text.split_inclusive(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            out.extend_from_slice(line);
            continue;
        };
        match include(line) {
            Some((word, target)) => {
                let target: PathBuf = dir.join(target);
                let is_ours = target.parent() == Some(&paths.conf_d) || paths.loads(&target);
                let prefix = if is_ours { prefix } else { "" };
                out.extend_from_slice(format!("{word} {prefix}{}\n", target.display()).as_bytes());
            }
            None => out.extend_from_slice(line.replace(STABLE_BINARY, program).as_bytes()),
        }
    }
    out
}

fn include(line: &str) -> Option<(&str, &str)> {
    let line = line.split(['#', '!']).next().unwrap_or_default();
    let (word, rest) = line.trim().split_once(char::is_whitespace)?;
    let target = rest.trim().trim_matches('"');
    (INCLUDES.contains(&word) && !target.is_empty()).then_some((word, target))
}

fn refusal(text: &str, code: i32) -> Error {
    let mut said: Vec<(Option<String>, String)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let one = located(line);
        if !said.contains(&one) {
            said.push(one);
        }
    }
    // A place is worth more than a count of braces, which keepalived says first.
    said.sort_by_key(|(place, _)| place.is_none());
    let crash = (code > 128).then(|| {
        let signal = code.saturating_sub(128);
        format!("keepalived crashes on it (exit code {code}, signal {signal}), and would on a reload")
    });
    let count = said.len();
    let mut said = said.into_iter();
    let Some((place, first)) = said.next() else {
        let what = crash.unwrap_or_else(|| format!("exit code {code} without a reason"));
        return Error::new("keepalived -t", what);
    };
    let mut what = crash.map_or_else(|| first.clone(), |c| format!("{c}\n  {first}"));
    for (place, more) in said.take(SHOWN) {
        let place = place.map(|p| format!("{p}: ")).unwrap_or_default();
        what = format!("{what}\n  {place}{more}");
    }
    let shown = SHOWN.saturating_add(1);
    if count > shown {
        what = format!("{what}\n  and {} more", count.saturating_sub(shown));
    }
    Error::new(place.unwrap_or_else(|| "keepalived -t".into()), what)
}

/// `(/etc/keepalived/x.conf: Line 3) Unknown keyword …` → place and reason.
fn located(line: &str) -> (Option<String>, String) {
    let parts = || {
        let (place, what) = line.strip_prefix('(')?.split_once(") ")?;
        let (file, number) = place.rsplit_once(": Line ")?;
        Some((format!("{file}:{number}"), what.to_owned()))
    };
    parts().map_or_else(|| (None, line.to_owned()), |(place, what)| (Some(place), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_real_file_and_line() {
        // 2.2.7, of an unknown keyword and a brace that is missing.
        let text = "There are 1 missing '}'s or extra '{'s\nThere are 1 missing '}'s or extra '{'s\n\
            (/etc/keepalived/pgsvc.d/b.conf: Line 2) Unknown keyword 'interfoce'\n\
            (b) the virtual router id must be set\n";
        let error = refusal(text, 5);
        assert_eq!(error.place, "/etc/keepalived/pgsvc.d/b.conf:2");
        assert_eq!(
            error.what,
            "Unknown keyword 'interfoce'\n  There are 1 missing '}'s or extra '{'s\n  (b) the virtual router id must be set"
        );
        let crash = refusal("(/x: Line 5) HTTP/SSL_GET checker has no urls specified - ignoring\n", 139);
        assert!(crash.what.starts_with("keepalived crashes on it (exit code 139, signal 11)"), "{crash}");
        assert_eq!(refusal("", 3).to_string(), "keepalived -t: exit code 3 without a reason");
    }

    #[test]
    fn includes_lead_to_the_candidate_or_to_the_real_place() {
        let paths = Paths::default();
        let led = |text: &str| {
            let own = Path::new("/etc/keepalived/keepalived.conf");
            let out = led(text.as_bytes(), own, &paths, "/stage", "/bin/true");
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            led("include /etc/keepalived/pgsvc.d/*.conf\n"),
            "include /stage/etc/keepalived/pgsvc.d/*.conf\n"
        );
        assert_eq!(
            led("  includer keepalived.conf # x\n"),
            "includer /stage/etc/keepalived/keepalived.conf\n"
        );
        assert_eq!(led("include \"conf.d/*.conf\"\n"), "include /etc/keepalived/conf.d/*.conf\n");
        assert_eq!(led("include /srv/*.conf"), "include /srv/*.conf\n");
        let call = |program: &str| format!("    script \"{program} check tcp://192.0.2.1:1\"\n");
        assert_eq!(led(&call(STABLE_BINARY)), call("/bin/true"));
        for text in ["# include x\n", "included x\n", "include\n", "vrrp_instance include {\n"] {
            assert_eq!(led(text), text);
        }
    }
}
