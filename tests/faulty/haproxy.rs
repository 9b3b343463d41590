//! A HAProxy that is not there, as far as an apply talks to one: it loads the files of the test's root, answers on both
//! sockets, takes weights and limits, and forgets all of them at a reload. Whether it is told the right things is
//! asserted by the tests.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use pgsvc::daemon::Paths;
use pgsvc::host::real::RealSystem;
use pgsvc::host::{Command, Output, System};
use pgsvc::render::haproxy::shape::shape;

const MASTER: u32 = 4242;

/// What a configuration comes to in a running process: its name, its servers, its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    pub name: String,
    /// Backend and server: address, port, weight, maxconn.
    pub servers: BTreeMap<(String, String), (String, u16, u32, u32)>,
    pub limits: BTreeMap<String, u32>,
}

/// What a process that started now would have; `None` without a configuration.
pub fn effective(sys: &RealSystem) -> Option<Effective> {
    let paths = Paths::default();
    let mut files = vec![sys.read(&paths.config).ok()?];
    let names = sys.list(&paths.conf_d).unwrap();
    let loaded = names.iter().filter(|n| n.ends_with(".cfg") && !n.starts_with('.'));
    files.extend(loaded.map(|n| sys.read(&paths.conf_d.join(n)).unwrap()));
    let mut found = Effective::default();
    for bytes in files {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let description = text.lines().find_map(|l| l.trim().strip_prefix("description "));
        found.name = description.map_or(found.name, str::to_owned);
        for section in shape(&bytes).sections {
            if let Some(limit) = section.maxconn {
                found.limits.insert(section.name.to_owned(), limit);
            }
            for s in section.servers {
                let (weight, maxconn) = (s.weight(), s.maxconn());
                found.servers.insert(
                    (section.name.to_owned(), s.name.to_owned()),
                    (s.host.to_owned(), s.port, weight, maxconn),
                );
            }
        }
    }
    Some(found)
}

/// The process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// `None`: it does not run.
    pub loaded: Option<Effective>,
    /// Of the worker: every good load makes a new one.
    generation: u32,
    reloads: u32,
    failed: u32,
    /// The configuration of this name does not come up, although its check is well.
    pub refuses: Option<String>,
}

fn put(sys: &RealSystem, path: &Path, text: &str) {
    let path = sys.place(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl Process {
    fn worker(&self) -> u32 {
        MASTER + 1 + self.generation
    }

    fn load(&mut self, sys: &RealSystem) -> bool {
        let next = effective(sys);
        self.reloads += 1;
        let refused = self.refuses.is_some() && next.as_ref().map(|n| &n.name) == self.refuses.as_ref();
        if refused || next.is_none() {
            self.failed += 1;
            return false;
        }
        (self.loaded, self.failed) = (next, 0);
        self.generation += 1;
        true
    }

    fn start(&mut self, sys: &RealSystem) -> Output {
        if !self.load(sys) {
            return Output {
                code: 1,
                stderr: b"[ALERT] (1) : cannot bind socket\n".to_vec(),
                ..Output::default()
            };
        }
        let paths = Paths::default();
        let proc = format!("/proc/{MASTER}");
        let line = format!(
            "haproxy\0-W\0-D\0-f\0{}\0-f\0{}\0-p\0{}\0-S\0{},mode,660\0",
            paths.config.display(),
            paths.conf_d.display(),
            paths.pidfile.display(),
            paths.master_socket.display()
        );
        put(sys, Path::new(&format!("{proc}/comm")), "haproxy\n");
        put(sys, Path::new(&format!("{proc}/cmdline")), &line);
        put(sys, &paths.pidfile, &format!("{MASTER}\n"));
        put(sys, &paths.master_socket, "");
        put(sys, &paths.stats_socket, "");
        Output::default()
    }

    pub fn reload(&mut self, sys: &RealSystem) {
        self.load(sys);
    }

    pub fn stop(&mut self, sys: &RealSystem) {
        self.loaded = None;
        let paths = Paths::default();
        for path in [&paths.pidfile, &paths.master_socket, &paths.stats_socket] {
            let _ = std::fs::remove_file(sys.place(path));
        }
        let _ = std::fs::remove_dir_all(sys.place(Path::new(&format!("/proc/{MASTER}"))));
    }

    pub fn run(&mut self, sys: &RealSystem, command: &Command) -> io::Result<Output> {
        let said = |text: &str| Ok(Output { stdout: text.into(), ..Output::default() });
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        match argv.as_slice() {
            [p, "-v"] if p.ends_with("haproxy") => said("HAProxy version 2.6.12-1 2023/12/16\n"),
            [p, "-c", ..] if p.ends_with("haproxy") => said("Configuration file is valid\n"),
            [p, "-W", ..] if p.ends_with("haproxy") => Ok(self.start(sys)),
            ["logger", ..] => said(""),
            other => panic!("nobody is to run {other:?}"),
        }
    }

    pub fn socket(&mut self, sys: &RealSystem, path: &Path, said: &[u8]) -> io::Result<Vec<u8>> {
        if self.loaded.is_none() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let text = String::from_utf8(said.to_vec()).unwrap();
        let mut answer = String::new();
        for line in text.trim().split(';') {
            answer += &if path == Paths::default().master_socket {
                self.of_master(sys, line)
            } else {
                self.of_worker(line)
            };
        }
        Ok(answer.into_bytes())
    }

    fn of_master(&mut self, sys: &RealSystem, line: &str) -> String {
        match line {
            "reload" => {
                self.load(sys);
                String::new()
            }
            "show proc" => {
                let (failed, worker) = (self.failed, self.worker());
                let count =
                    if failed > 0 { format!(" [failed: {failed}]") } else { " [failed: 0]".to_owned() };
                format!(
                    "{MASTER} master {}{count} 0d 2.6.12\n# workers\n{worker} worker 0 0d 2.6.12\n# old workers\n",
                    self.reloads
                )
            }
            other => panic!("HAProxy's master knows no '{other}'"),
        }
    }

    fn of_worker(&mut self, line: &str) -> String {
        let worker = self.worker();
        let loaded = self.loaded.as_mut().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let server = |name: &str| name.split_once('/').map(|(b, s)| (b.to_owned(), s.to_owned())).unwrap();
        match words.as_slice() {
            ["show", "info"] => {
                format!(
                    "Name: HAProxy\nVersion: 2.6.12-1\nPid: {worker}\nStopping: 0\ndescription: {}\n\n",
                    loaded.name
                )
            }
            ["show", "servers", "state"] => {
                let row = |((b, s), (host, port, weight, _)): (
                    &(String, String),
                    &(String, u16, u32, u32),
                )| {
                    format!(
                        "3 {b} 1 {s} {host} 2 0 {weight} {weight} 8 15 3 5 6 0 0 0 - {port} - 0 8008 - - 0\n"
                    )
                };
                format!("1\n# be_id be_name\n{}\n", loaded.servers.iter().map(row).collect::<String>())
            }
            ["show", "stat", ..] => {
                let limits = loaded.limits.iter().map(|(f, n)| format!("{f},FRONTEND,,0,{n},OPEN\n"));
                let servers =
                    loaded.servers.iter().map(|((b, s), (_, _, _, max))| format!("{b},{s},0,0,{max},UP\n"));
                format!(
                    "# pxname,svname,qcur,scur,slim,status\n{}\n",
                    limits.chain(servers).collect::<String>()
                )
            }
            ["set", "server", name, "weight", weight] => {
                loaded.servers.get_mut(&server(name)).unwrap().2 = weight.parse().unwrap();
                "\n".to_owned()
            }
            ["set", "maxconn", "server", name, maxconn] => {
                loaded.servers.get_mut(&server(name)).unwrap().3 = maxconn.parse().unwrap();
                "\n".to_owned()
            }
            other => panic!("this HAProxy knows no {other:?}"),
        }
    }
}
