//! Real daemons in a temporary directory, each on a free port of 127.0.0.1. What is absent fails the test: a proof
//! that was skipped is none.
#![allow(dead_code)]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A daemon that dies with the test.
pub struct Daemon {
    child: Child,
    /// The signal that ends it quickly.
    signal: &'static str,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").args([self.signal, &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Polls until the condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited 30 s until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// PostgreSQL and pgbouncer refuse to run as root.
fn unprivileged(program: impl AsRef<Path>) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program.as_ref());
        command
    } else {
        Command::new(program.as_ref())
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {told}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn spawn(command: &mut Command, log: &Path, signal: &'static str) -> Daemon {
    let log = fs::File::create(log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    Daemon { child, signal }
}

fn give_away(dir: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(dir));
    }
}

/// The newest PostgreSQL's programs, where the packages of either family put them.
fn postgres_bin() -> PathBuf {
    let entries = |base: &str, prefix: &str| -> Vec<PathBuf> {
        let all = fs::read_dir(base).into_iter().flatten().flatten();
        let named = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        named.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect()
    };
    let mut bins = [entries("/usr/lib/postgresql", ""), entries("/usr", "pgsql-")].concat();
    bins.sort();
    bins.pop().expect("PostgreSQL's server is needed (Debian: postgresql-15)")
}

const HBA: &str = "local all all trust\nhost replication all 127.0.0.1/32 trust\nhost all trusted 127.0.0.1/32 trust\n\
     host all clear 127.0.0.1/32 password\nhost all old 127.0.0.1/32 md5\nhost all barred 127.0.0.1/32 reject\n\
     host all all 127.0.0.1/32 scram-sha-256\n";

const ROLES: &str = "CREATE ROLE trusted LOGIN; CREATE ROLE app LOGIN PASSWORD 'sesame'; \
     CREATE ROLE clear LOGIN PASSWORD 'sesame'; CREATE ROLE single LOGIN PASSWORD 'sesame' CONNECTION LIMIT 1; \
     CREATE ROLE monitor LOGIN PASSWORD 'sesame' IN ROLE pg_monitor; CREATE ROLE barred LOGIN; \
     SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'sesame'";

pub struct Postgres {
    daemon: Option<Daemon>,
    pub port: u16,
    dir: TempDir,
}

impl Postgres {
    /// A primary with TLS and the roles above; password of all: sesame. `settings`: more of postgresql.conf.
    pub fn primary(settings: &str) -> Self {
        let mut server = Self { daemon: None, port: free_port(), dir: tempfile::tempdir().unwrap() };
        give_away(server.dir.path());
        let data = server.data();
        run(unprivileged(postgres_bin().join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8", "-D"])
            .arg(&data));
        let new = "req -x509 -newkey ec -nodes -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=pg-test-1 \
             -addext subjectAltName=DNS:pg-test-1,IP:127.0.0.1 -keyout server.key -out server.crt";
        run(Command::new("openssl").current_dir(&data).args(new.split_ascii_whitespace()));
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let base = "listen_addresses = '127.0.0.1'\nfsync = off\nssl = on\nshared_buffers = 8MB\n";
        append(&data.join("postgresql.conf"), &format!("{base}{settings}\n"));
        server.start("");
        server.sql(ROLES);
        server.sql("CREATE DATABASE app");
        server
    }

    /// A hot standby that streams from `primary`.
    pub fn standby(primary: &Self) -> Self {
        let mut server = Self { daemon: None, port: free_port(), dir: tempfile::tempdir().unwrap() };
        give_away(server.dir.path());
        run(unprivileged(postgres_bin().join("pg_basebackup"))
            .args(["-R", "-c", "fast", "--no-sync", "-U", "postgres", "-h", "127.0.0.1", "-p"])
            .arg(primary.port.to_string())
            .arg("-D")
            .arg(server.data()));
        server.start("");
        server
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn addr(&self) -> SocketAddr {
        local(self.port)
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Starts without waiting for it to accept connections.
    pub fn spawn(&mut self, settings: &str) {
        give_away(self.dir.path());
        let mut command = unprivileged(postgres_bin().join("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k"]).arg(self.dir.path());
        command.args(settings.split_ascii_whitespace());
        self.daemon = Some(spawn(&mut command, &self.log(), "-INT"));
    }

    pub fn start(&mut self, settings: &str) {
        self.spawn(settings);
        wait_until("PostgreSQL accepts connections", || {
            self.psql("postgres", "SELECT 1").output().unwrap().status.success()
        });
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Runs SQL as the superuser, over the Unix socket.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        run(&mut self.psql(database, sql))
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(postgres_bin().join("psql"));
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-p",
            &self.port.to_string(),
        ]);
        psql.arg("-h").arg(self.dir.path()).args(["-c", sql]);
        psql
    }
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap();
    all.push_str(text);
    fs::write(path, all).unwrap();
}

pub struct Pgbouncer {
    daemon: Daemon,
    pub port: u16,
    dir: TempDir,
}

impl Pgbouncer {
    /// A pooler before `server`: databases `app` and `dead` (whose server refuses).
    pub fn start(server: SocketAddr, pool_mode: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let (users, ini) = (dir.path().join("users.txt"), dir.path().join("pgbouncer.ini"));
        fs::write(&users, "\"app\" \"sesame\"\n\"single\" \"sesame\"\n").unwrap();
        let text = format!(
            "[databases]\napp = host=127.0.0.1 port={}\ndead = host=127.0.0.1 port=1\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\npool_mode = {pool_mode}\nserver_login_retry = 1\n{settings}\n",
            server.port(),
            users.display()
        );
        fs::write(&ini, text).unwrap();
        give_away(dir.path());
        let bin =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| Path::new(path).exists());
        let bin = bin.expect("pgbouncer is needed (package pgbouncer)");
        let daemon = spawn(unprivileged(bin).arg(&ini), &dir.path().join("log"), "-TERM");
        let pooler = Self { daemon, port, dir };
        wait_until("pgbouncer listens", || std::net::TcpStream::connect(pooler.addr()).is_ok());
        pooler
    }

    pub fn addr(&self) -> SocketAddr {
        local(self.port)
    }
}

pub struct Haproxy {
    daemon: Daemon,
    pub dir: TempDir,
}

impl Haproxy {
    /// A master with one worker; `proxies` follow defaults of mode tcp. Sockets `stats` and `master` in `dir`.
    pub fn start(description: &str, proxies: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_haproxy(dir.path(), description, proxies);
        let bin = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let mut command = Command::new(bin.expect("haproxy is needed (package haproxy)"));
        command
            .arg("-W")
            .arg("-S")
            .arg(dir.path().join("master"))
            .arg("-f")
            .arg(dir.path().join("haproxy.cfg"));
        let daemon = spawn(&mut command, &dir.path().join("log"), "-TERM");
        let proxy = Self { daemon, dir };
        wait_until("HAProxy answers", || {
            std::os::unix::net::UnixStream::connect(proxy.stats()).is_ok()
                && std::os::unix::net::UnixStream::connect(proxy.master()).is_ok()
        });
        proxy
    }

    pub fn stats(&self) -> PathBuf {
        self.dir.path().join("stats")
    }

    pub fn master(&self) -> PathBuf {
        self.dir.path().join("master")
    }

    pub fn reload(&self, description: &str, proxies: &str) {
        write_haproxy(self.dir.path(), description, proxies);
        run(Command::new("kill").args(["-USR2", &self.daemon.child.id().to_string()]));
    }
}

fn write_haproxy(dir: &Path, description: &str, proxies: &str) {
    let text = format!(
        "global\n  master-worker\n  stats socket {} mode 600 level admin\n  description {description}\ndefaults\n  \
         mode tcp\n  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n{proxies}\n",
        dir.join("stats").display()
    );
    fs::write(dir.join("haproxy.cfg"), text).unwrap();
}
