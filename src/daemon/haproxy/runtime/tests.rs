//! An admin socket in memory: it keeps what it is told, or lies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::daemon::Paths;
use crate::host::fake::{FakeFile, FakeSystem};
use crate::plan::{Action, FileChange, InstalledFile, Plan, RenderedFile};
use crate::transaction::{Failure, Transaction};

const FILE: &str = "/etc/haproxy/conf.d/a-ro.cfg";

/// A server's weight, sessions and administrative state.
type Server = (u32, u32, u8);

#[derive(Default)]
struct Worker {
    servers: BTreeMap<String, Server>,
    limit: u32,
    /// Everything that was said to it, but for questions.
    said: Vec<String>,
    /// A command with these words does nothing, and answers this.
    broken: Option<(&'static str, &'static str)>,
    /// Sessions that come as soon as a server is looked at twice.
    late: u32,
}

impl Worker {
    fn answer(&mut self, line: &str) -> String {
        line.trim().split(';').map(|c| self.command(c)).collect::<Vec<_>>().concat()
    }

    fn command(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        if words.first() == Some(&"show") {
            return self.show(words[1]);
        }
        self.said.push(command.to_owned());
        if let Some((text, answer)) = self.broken
            && command.contains(text)
        {
            return format!("{answer}\n\n");
        }
        let name = |at: usize| words[at].trim_start_matches("a-ro/").to_owned();
        match words.as_slice() {
            ["add", "server", _, _, options @ ..] => {
                let weight = options.iter().position(|w| *w == "weight").map_or("1", |at| options[at + 1]);
                self.servers.insert(name(2), (weight.parse().unwrap(), 0, 1));
                return "New server registered.\n\n".into();
            }
            ["del", "server", _] => {
                self.servers.remove(&name(2));
                return "Server deleted.\n\n".into();
            }
            ["set", "server", _, "weight", n] => {
                self.servers.get_mut(&name(2)).unwrap().0 = n.parse().unwrap()
            }
            ["set", "server", _, "state", state] => {
                self.servers.get_mut(&name(2)).unwrap().2 = u8::from(*state == "maint");
            }
            ["enable", "server", _] => self.servers.get_mut(&name(2)).unwrap().2 = 0,
            ["set", "maxconn", "frontend", _, n] => self.limit = n.parse().unwrap(),
            _ => {}
        }
        "\n".into()
    }

    fn show(&mut self, what: &str) -> String {
        match what {
            "info" => "Name: HAProxy\nVersion: 2.6.12\nPid: 100\ndescription: h\nStopping: 0\n\n".into(),
            "servers" => {
                let line = |(name, (weight, _, admin)): (&String, &Server)| {
                    format!(
                        "3 a-ro 1 {name} 10.0.0.1 2 {admin} {weight} 1 8 15 3 5 6 0 0 0 - 1 - 0 2 - - 0\n"
                    )
                };
                format!("1\n# be_id be_name\n{}\n", self.servers.iter().map(line).collect::<String>())
            }
            _ => {
                let line =
                    |(name, (_, sessions, _)): (&String, &Server)| format!("a-ro,{name},0,{sessions},300\n");
                let rows: String = self.servers.iter().map(line).collect();
                self.servers.values_mut().for_each(|s| s.1 = s.1.max(self.late));
                format!("# pxname,svname,qcur,scur,slim,status\na-ro,FRONTEND,,0,{}\n{rows}\n", self.limit)
            }
        }
    }
}

struct Lab {
    worker: Arc<Mutex<Worker>>,
    sys: FakeSystem,
}

fn lab(broken: Option<(&'static str, &'static str)>) -> Lab {
    let servers = BTreeMap::from([("m1".to_owned(), (100, 0, 0)), ("m2".to_owned(), (100, 0, 0))]);
    let worker = Arc::new(Mutex::new(Worker { servers, limit: 300, broken, ..Worker::default() }));
    let mut sys = FakeSystem::default();
    let own = Arc::clone(&worker);
    sys.answers = Box::new(move |path, line| {
        assert_eq!(path, Paths::default().stats_socket);
        Ok(own.lock().unwrap().answer(std::str::from_utf8(line).unwrap()).into_bytes())
    });
    sys.put("/run/haproxy.pid", FakeFile { bytes: b"7\n".to_vec(), ..FakeFile::default() });
    sys.put("/proc/7/comm", FakeFile { bytes: b"haproxy\n".to_vec(), ..FakeFile::default() });
    sys.put("/proc/7/cmdline", FakeFile { bytes: b"haproxy\0-W\0".to_vec(), ..FakeFile::default() });
    sys.put(FILE, FakeFile { bytes: b"old\n".to_vec(), mode: 0o640, ..FakeFile::default() });
    Lab { worker, sys }
}

fn weight(server: &str, to: u32) -> Command {
    Command::Weight { backend: "a-ro".into(), server: server.into(), from: 100, to }
}

fn add(server: &str) -> Command {
    Command::Add {
        backend: "a-ro".into(),
        server: server.into(),
        address: "10.0.0.1:1".into(),
        options: "check port 2 weight 50 maxconn 300".into(),
        weight: 50,
        maxconn: 300,
    }
}

fn remove(server: &str) -> Command {
    let back = Some(Box::new(add(server)));
    Command::Remove { backend: "a-ro".into(), server: server.into(), weight: 100, back }
}

impl Lab {
    fn carry_out(&self, commands: &[Command]) -> Result<Option<String>, Error> {
        Haproxy::without_systemd(&self.sys, Paths::default()).carry_out(commands)
    }

    /// The transaction of a plan that replaces a file, or of one that only repairs what runs.
    fn install(&self, commands: Vec<Command>, file: bool) -> Result<(), Failure> {
        let haproxy = Haproxy::without_systemd(&self.sys, Paths::default());
        let owner = ("root".to_owned(), "root".to_owned());
        let after =
            RenderedFile { path: FILE.into(), content: "new\n".into(), mode: 0o640, owner, cluster: None };
        let before = InstalledFile { content: b"old\n".to_vec().into(), mode: 0o640, uid: 0, gid: 0 };
        let change = FileChange { path: FILE.into(), before: Some(before), after: Some(after) };
        let plan = Plan {
            changes: if file { vec![change] } else { Vec::new() },
            action: Action::Runtime,
            reason: String::new(),
            hash: "h".into(),
            whole: None,
            commands,
            hands: Vec::new(),
            candidate: BTreeMap::new(),
            new_binds: Vec::new(),
            nonlocal_binds: false,
            daemon_reload: false,
        };
        let tx = Transaction::begin(&self.sys, "/var/lib/pgsvc".as_ref(), Duration::ZERO).unwrap();
        tx.install(&haproxy, &plan).map(|put| {
            assert_eq!(put.proof.as_ref().unwrap().pid, Some(100));
            put.keep().unwrap();
        })
    }

    fn file(&self) -> String {
        String::from_utf8(self.sys.state().files[std::path::Path::new(FILE)].bytes.clone()).unwrap()
    }

    fn weights(&self) -> String {
        let worker = self.worker.lock().unwrap();
        worker.servers.iter().map(|(n, s)| format!("{n}:{}", s.0)).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn commands_and_files_go_in_together() {
    let lab = lab(None);
    let limit = Command::Maxconn { listener: "a-ro".into(), from: 300, to: 5 };
    lab.install(vec![add("m3"), weight("m2", 40), limit, remove("m1")], true)
        .unwrap_or_else(|f| panic!("{f}"));
    assert_eq!((lab.weights().as_str(), lab.file().as_str()), ("m2:40 m3:50", "new\n"));
    assert_eq!(lab.worker.lock().unwrap().limit, 5);
    // What holds already is not said again.
    let said = lab.worker.lock().unwrap().said.len();
    assert_eq!(lab.carry_out(&[weight("m2", 40), remove("m1"), add("m3")]).unwrap(), None);
    assert_eq!(lab.worker.lock().unwrap().said.len(), said);
}

#[test]
fn an_added_server_has_no_weight_while_it_would_be_up() {
    let lab = lab(None);
    lab.carry_out(&[add("m3")]).unwrap();
    let said = lab.worker.lock().unwrap().said.clone();
    let at = |text: &str| said.iter().position(|c| c == text).unwrap_or_else(|| panic!("{text}: {said:?}"));
    let (none, enabled) = (at("set server a-ro/m3 weight 0"), at("enable server a-ro/m3"));
    let (down, some) = (at("set server a-ro/m3 health down"), at("set server a-ro/m3 weight 50"));
    assert!(none < enabled && enabled < down && down < some, "{said:?}");
}

#[test]
fn what_is_refused_is_rolled_back_files_and_commands() {
    for file in [true, false] {
        let lab = lab(Some(("m2 weight 40", "No such server.")));
        let failure = lab.install(vec![weight("m1", 7), add("m3"), weight("m2", 40)], file).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("weight of m2 in a-ro: 100 → 40: HAProxy refuses it: No such server."),
            "{text}"
        );
        assert!(failure.touched && failure.rolled_back.is_ok(), "{text}");
        assert_eq!((lab.weights().as_str(), lab.file().as_str()), ("m1:100 m2:100", "old\n"));
    }
}

#[test]
fn what_does_not_show_its_effect_is_rolled_back() {
    // An answer as of success, and nothing done.
    let lab = lab(Some(("m2 weight 40", "")));
    let failure = lab.install(vec![weight("m1", 7), weight("m2", 40)], true).unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("does not show its effect") && failure.rolled_back.is_ok(), "{text}");
    assert_eq!((lab.weights().as_str(), lab.file().as_str()), ("m1:100 m2:100", "old\n"));
}

#[test]
fn a_server_with_sessions_is_left_to_a_reload() {
    let lab = lab(None);
    lab.worker.lock().unwrap().late = 2;
    let why = lab.carry_out(&[remove("m1")]).unwrap().unwrap();
    assert_eq!(why, "m1 leaves a-ro with sessions (2)");
    let said = lab.worker.lock().unwrap().said.join(";");
    assert!(!said.contains("maint") && lab.weights() == "m1:100 m2:100", "{said}");
}

#[test]
fn a_server_that_cannot_be_deleted_comes_back_and_is_down_until_it_is_checked() {
    let lab = lab(Some(("del server", "This server cannot be removed at runtime.")));
    let error = lab.carry_out(&[remove("m1")]).unwrap_err().to_string();
    assert!(error.contains("cannot be removed at runtime"), "{error}");
    let said = lab.worker.lock().unwrap().said.clone();
    let back =
        ["set server a-ro/m1 state ready", "set server a-ro/m1 health down", "set server a-ro/m1 weight 100"];
    assert_eq!(said[said.len() - 3..], back);
    assert_eq!(lab.worker.lock().unwrap().servers["m1"], (100, 0, 0));
}
