//! Reads what is installed and what runs. Changes nothing.

use std::path::Path;
use std::time::Duration;

use md5::{Digest, Md5};

use super::{Node, kept};
use crate::daemon::haproxy::{Haproxy, State};
use crate::daemon::own_unit;
use crate::error::{Error, Errors};
use crate::host::{Command, Kind, Output};
use crate::plan::{Installed, InstalledFile, Running};
use crate::transaction::real_directory;

/// haproxy.cfg, conf.d, the drop-in, and the running process.
///
/// # Errors
/// Files that cannot be read; a managed directory that is a link.
pub fn installed(node: &Node<'_>) -> Result<Installed, Errors> {
    looked(node).map(|(installed, _)| installed)
}

/// The same, and the HAProxy that was found on the way.
///
/// # Errors
/// As for `installed`.
pub fn looked<'a>(node: &Node<'a>) -> Result<(Installed, Option<Haproxy<'a>>), Errors> {
    let mut errors = Errors::default();
    let mut installed = Installed::default();
    let sys = node.sys;
    let units = std::iter::once(node.paths.dropin.clone()).chain(own_unit::PATHS.map(Into::into));
    let configs = errors.take(node.config_files()).unwrap_or_default();
    for path in configs.into_iter().chain(units) {
        if let Some(Some(file)) = errors.take(file(node, &path)) {
            installed.files.insert(path, file);
        }
    }
    let haproxys = node.paths.conf_d.ancestors().take(2);
    let systemds = node.paths.dropin.ancestors().skip(1).take(2);
    for dir in haproxys.chain(systemds).chain([node.paths.state_dir.as_path()]) {
        errors.take(real_directory(sys, dir));
    }
    if let Some(config) = installed.files.get(&node.paths.config) {
        installed.pristine = pristine(node, &config.content);
    }
    installed.known = kept::known(node);
    let mut haproxy = None;
    if !node.rooted
        && let Some((found, running)) = errors.take(Haproxy::look(node.sys, node.paths.clone()))
    {
        let takes_reload = running.has_conf_d && running.has_master_socket;
        installed.running = (running.state == State::Running).then(|| Running {
            version: Haproxy::running_version(&running),
            description: running.hash,
            takes_reload,
            live: running.live,
            interrupted: false,
        });
        haproxy = Some(found);
    }
    errors.finish((installed, haproxy))
}

pub(super) fn file(node: &Node<'_>, path: &Path) -> Result<Option<InstalledFile>, Error> {
    let fail = |e: std::io::Error| Error::new(path.display().to_string(), format!("cannot be read: {e}"));
    match node.sys.stat(path).map_err(fail)? {
        None => Ok(None),
        Some(stat) if stat.kind == Kind::File => {
            let content = node.sys.read(path).map_err(fail)?.into();
            Ok(Some(InstalledFile { content, mode: stat.mode, uid: stat.uid, gid: stat.gid }))
        }
        // HAProxy follows a link that somebody made; pgsvc reads it for the check and never writes through it.
        Some(_) => {
            let content = node.sys.read(path).map_err(fail)?.into();
            Ok(Some(InstalledFile { content, mode: 0, uid: u32::MAX, gid: u32::MAX }))
        }
    }
}

/// Whether haproxy.cfg is as the distribution's package brought it: dpkg keeps its MD5, rpm verifies it.
fn pristine(node: &Node<'_>, content: &[u8]) -> bool {
    if crate::render::haproxy::owner(content).is_some() {
        return false;
    }
    let path = node.paths.config.display().to_string();
    if node.sys.find("dpkg-query").is_some() {
        let Some(out) = ask(node, &["dpkg-query", "-W", "-f=${Conffiles}\\n", "haproxy"]) else {
            return false;
        };
        let md5: String = Md5::digest(content).iter().map(|b| format!("{b:02x}")).collect();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let is = |l: &str| l.split_whitespace().take(2).eq([path.as_str(), md5.as_str()]);
        return out.code == 0 && text.lines().any(is);
    }
    node.sys.find("rpm").is_some() && pristine_by_rpm(node, &path)
}

fn pristine_by_rpm(node: &Node<'_>, path: &str) -> bool {
    // A file of no package would show no difference either.
    if ask(node, &["rpm", "-qf", path]).is_none_or(|out| out.code != 0) {
        return false;
    }
    let Some(out) = ask(node, &["rpm", "-Vf", path]) else { return false };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    // `?`: could not be read, and so may have been changed.
    !text.lines().any(|l| l.ends_with(path) && l.contains(['5', '?']))
}

fn ask(node: &Node<'_>, argv: &[&str]) -> Option<Output> {
    let argv = argv.iter().map(|s| (*s).to_owned()).collect();
    node.sys.run(&Command { argv, timeout: Duration::from_secs(10), ..Command::default() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::FakeSystem;

    /// What `pristine` says on a node where `rpm -qf` ends with `owned` and `rpm -Vf` prints `verified`.
    fn by_rpm(owned: i32, verified: &'static str) -> bool {
        let runs = move |c: &Command| {
            let (code, text) =
                if c.argv.get(1).is_some_and(|a| a == "-qf") { (owned, "") } else { (1, verified) };
            Ok(Output { code, stdout: text.into(), stderr: Vec::new() })
        };
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(runs);
        pristine_by_rpm(
            &Node { sys: &sys, paths: Paths::default(), rooted: false },
            "/etc/haproxy/haproxy.cfg",
        )
    }

    #[test]
    fn a_configuration_that_no_package_brought_is_somebodys_work() {
        assert!(by_rpm(0, ""));
        assert!(by_rpm(0, ".......T.  c /etc/haproxy/haproxy.cfg\n"));
        assert!(!by_rpm(0, "S.5....T.  c /etc/haproxy/haproxy.cfg\n"));
        assert!(!by_rpm(1, "file /etc/haproxy/haproxy.cfg is not owned by any package\n"));
    }
}
