//! `recover`: what HAProxy's unit runs before a start and before a reload. Nothing is reloaded here.

use std::time::Duration;

use super::Node;
use crate::error::Error;
use crate::transaction::{self, Recovered};

/// The unit gives all of it two seconds.
const WAIT: Duration = Duration::from_millis(1500);

/// Undoes what a killed apply left behind; a live one is left alone.
///
/// # Errors
/// When the old set cannot be restored.
pub fn recover(node: &Node<'_>) -> Result<Recovered, Error> {
    let found = transaction::recover(node.sys, &node.paths.state_dir, WAIT)?;
    let there = |path: &std::path::Path| node.sys.stat(path).is_ok_and(|s| s.is_some());
    let conf_d = &node.paths.conf_d;
    // systemd has read the command line of the drop-in already, though the first apply was undone just now: HAProxy
    // does not start where a directory that it names is missing, and an empty one does no harm.
    if there(&node.paths.state_dir) && conf_d.parent().is_some_and(there) && !there(conf_d) {
        let fail = |e| Error::new(conf_d.display().to_string(), format!("cannot be made: {e}"));
        node.sys.create_dir(conf_d, 0o755).map_err(fail)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::FakeSystem;

    #[test]
    fn the_directory_that_the_unit_names_is_there_after_a_recovery_and_nowhere_else() {
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let has = || sys.state().dirs.contains_key(&node.paths.conf_d);
        recover(&node).unwrap();
        assert!(!has(), "a node that pgsvc never touched");
        sys.state().dirs.extend([(node.paths.state_dir.clone(), 0o700), ("/etc/haproxy".into(), 0o755)]);
        recover(&node).unwrap();
        assert!(has());
    }
}
