//! HAProxy with the rendered services, asked through its ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::render::{Layout, Templates, haproxy};
use pgsvc::resolve::ResolvedService;

use crate::{Names, standin};

/// A HAProxy in the foreground, with the rendered services on ports of its own.
pub struct Proxy {
    child: Child,
    sys: RealSystem,
    dir: tempfile::TempDir,
    ports: BTreeMap<String, SocketAddr>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    pub fn start(services: &[ResolvedService]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sys = RealSystem::new(None);
        let mut services = services.to_vec();
        let mut ports = BTreeMap::new();
        for s in &mut services {
            s.binds = vec![standin::free(standin::ip(200))];
            ports.insert(s.service.clone(), s.binds[0]);
        }
        let templates = Templates::new(&BTreeMap::new()).unwrap();
        let layout = Layout { conf_d: dir.path().into(), ..Layout::default() };
        for file in haproxy::services(&templates, &layout, &services).unwrap() {
            let fast = standin::hurry(&file.content);
            assert_ne!(*fast, *file.content, "the checks' times are others than this test makes fast");
            std::fs::write(file.path, fast).unwrap();
        }
        let base = format!(
            "global\n    stats socket {} mode 600 level admin\n    max-spread-checks 20\ndefaults\n    mode tcp\n    \
             retries 0\n    timeout connect 1s\n    timeout client 3s\n    timeout server 3s\n    timeout check 400ms\n",
            dir.path().join("admin").display()
        );
        std::fs::write(dir.path().join("00-base.cfg"), base).unwrap();
        let binary =
            sys.find("haproxy").unwrap_or_else(|| panic!("needs a real haproxy: apt-get install haproxy"));
        let mut command = std::process::Command::new(binary);
        command.args(["-db", "-f"]).arg(dir.path()).stderr(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), sys, dir, ports }
    }

    /// Each server's status, and how often it went down.
    fn view(&self) -> Vec<String> {
        let ask =
            self.sys.ask_unix(&self.dir.path().join("admin"), b"show stat -1 4 -1\n", Duration::from_secs(2));
        let text = String::from_utf8(ask.unwrap_or_default()).unwrap();
        let row = |l: &str| {
            let columns: Vec<&str> = l.split(',').collect();
            Some([*columns.first()?, *columns.get(1)?, *columns.get(17)?, *columns.get(22)?].join(" "))
        };
        text.lines().skip(1).filter_map(row).collect()
    }

    /// Looks at something while what it believes does not change: on a busy machine, a check may well come too late.
    pub fn still<T>(&self, look: impl Fn() -> T) -> T {
        for _ in 0..10 {
            let before = self.settle();
            let seen = look();
            if self.view() == before {
                return seen;
            }
        }
        panic!("HAProxy changes its mind again and again: {:?}", self.view());
    }

    /// Waits until what it believes has been the same for longer than any check takes, and says what that is.
    fn settle(&self) -> Vec<String> {
        let (begin, mut view, mut since) = (Instant::now(), Vec::new(), Instant::now());
        while view.is_empty() || since.elapsed() < Duration::from_millis(700) {
            assert!(begin.elapsed() < Duration::from_secs(30), "HAProxy never settles: {view:?}");
            std::thread::sleep(Duration::from_millis(30));
            let now = self.view();
            if now != view {
                (view, since) = (now, Instant::now());
            }
        }
        view
    }

    /// Who answers through a service's port, by many connections; an empty name among others where some got no answer,
    /// which no model has: a check that came too late makes `still` look again.
    pub fn reaches(&self, service: &str) -> Names {
        let heard: Names = (0..16).map(|_| standin::hear(self.ports[service])).collect();
        if heard.iter().all(String::is_empty) { Names::default() } else { heard }
    }
}
