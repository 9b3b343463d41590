//! Names to numbers, without libc's resolver and NSS: files first, then the `getent` program.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::process;
use crate::host::Command;

/// A directory service that does not answer must not hold an apply for long.
const GETENT: Duration = Duration::from_secs(5);

pub(super) fn resolve(name: &str, timeout: Duration) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    plain(name)?;
    let argv = vec!["getent".to_owned(), "ahosts".to_owned(), name.to_owned()];
    let output = process::run(&Command { argv, timeout, ..Command::default() })?;
    // What is said beside a failure is no answer, however long it is.
    let said = if output.code == 0 { output.stdout } else { Vec::new() };
    let found = addresses(&String::from_utf8_lossy(&said));
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name} has no address (getent ahosts)"),
        ));
    }
    Ok(found)
}

/// In getent's order, which is the node's preference; each once.
fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|l| l.split_whitespace().next()?.parse::<IpAddr>().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The number of a user or a group; `database` is getent's, where it may be asked.
pub(super) fn id(file: &Path, database: Option<&str>, name: &str) -> Option<u32> {
    plain(name).ok()?;
    let text = std::fs::read(file).unwrap_or_default();
    if let Some(id) = entry(&String::from_utf8_lossy(&text), name) {
        return Some(id);
    }
    let argv = vec!["getent".to_owned(), database?.to_owned(), name.to_owned()];
    let output = process::run(&Command { argv, timeout: GETENT, ..Command::default() }).ok()?;
    entry(&String::from_utf8_lossy(&output.stdout), name)
}

/// Of `name:x:ID:…`, as passwd and group both have it.
fn entry(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? == name { fields.nth(1)?.parse().ok() } else { None }
    })
}

/// A name that `getent` cannot take for an option or for a number.
fn plain(name: &str) -> io::Result<()> {
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-@$".contains(c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().any(|c| !c.is_ascii_digit());
    if good {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is no name of a host, user or group"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_order_and_come_once() {
        let text = "10.0.0.2 STREAM db\n10.0.0.2 DGRAM\nfe80::1%eth0 STREAM\n::1 STREAM\n";
        assert_eq!(addresses(text), ["10.0.0.2".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(resolve("::1", GETENT).unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(resolve("localhost", GETENT).unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(resolve("-v", GETENT).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn ids_come_from_the_file_and_unknown_names_have_none() {
        assert_eq!(entry("root:x:0:0:r:/:/bin/sh\nhaproxy:x:114:121::/:", "haproxy"), Some(114));
        assert_eq!(id(Path::new("/etc/passwd"), Some("passwd"), "root"), Some(0));
        assert_eq!(id(Path::new("/etc/group"), Some("group"), "no-such-group"), None);
        assert_eq!(id(Path::new("/etc/passwd"), Some("passwd"), "0"), None);
    }
}
