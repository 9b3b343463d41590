//! A node's own settings (`haproxy_*`) and the options of a run (`pgsvc_*`, module arguments, flags): one reading for
//! whoever asks. What they lead to is decided in `render`, `plan` and `verify`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Errors};
use crate::inventory::{Vars, needed};
use crate::resolve::RoleSource;
use crate::value;

/// What `haproxy.cfg` needs to know of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// The inventory hostname, or the host's own name.
    pub name: String,
    pub admin_user: String,
    pub admin_password: Secret,
    /// The stats page asks for the admin user.
    pub auth: bool,
    /// Stats page and Prometheus exporter.
    pub exporter_port: u16,
    pub client_timeout: String,
    pub server_timeout: String,
    pub connect_timeout: String,
    pub queue_timeout: String,
    /// Most connections of the process; HAProxy computes it from the file descriptor limit where none is given.
    pub maxconn: Option<u64>,
}

/// A value that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

/// How the outcome of a verification counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyMode {
    /// A wrong port fails the run.
    #[default]
    Fail,
    /// A wrong port is reported only.
    Report,
    Off,
}

/// How TLS is used to PostgreSQL, with libpq's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyFull,
}

/// Options of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    pub roles: RoleSource,
    pub templates: Option<PathBuf>,
    pub root: Option<PathBuf>,
    pub verify: VerifyMode,
    pub user: Option<String>,
    pub password: Secret,
    pub database: Option<String>,
    pub sslmode: SslMode,
    pub ssl_root_cert: Option<PathBuf>,
    /// How long ports may take to become right.
    pub timeout: Duration,
    pub allow_restart: bool,
    pub adopt: bool,
    pub force: bool,
    pub nonlocal_bind: bool,
    pub verify_only: bool,
    /// While two members claim to be the primary, connections for it are refused.
    pub single_primary: bool,
    /// A unit of systemd's cuts sessions that are where they should not be.
    pub watch: bool,
    /// How long a session of a backup tier that is drained may work on.
    pub watch_grace: Duration,
    /// A timer of systemd's writes metrics to this file.
    pub metrics_file: Option<PathBuf>,
}

/// The names of the options, as module arguments; as variables they carry the prefix `pgsvc_`.
pub const OPTIONS: [&str; 19] = [
    "role_source",
    "templates",
    "root",
    "verify",
    "verify_user",
    "verify_password",
    "verify_database",
    "verify_sslmode",
    "verify_sslrootcert",
    "verify_timeout",
    "allow_restart",
    "adopt",
    "force",
    "nonlocal_bind",
    "verify_only",
    "single_primary",
    "watch",
    "watch_grace",
    "metrics_file",
];

/// Reads typed values out of variables, collecting what is wrong.
struct Reader<'a> {
    vars: &'a Vars,
    /// For errors: `node 'lb1'`.
    place: String,
    prefix: &'static str,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    fn get(&mut self, name: &str) -> Option<Value> {
        let name = format!("{}{name}", self.prefix);
        let host = self.place.trim_start_matches("node '").trim_end_matches('\'');
        match needed(self.vars, &name, host) {
            Ok(v) => value::given(v.as_ref()).cloned(),
            Err(e) => {
                self.errors.push(e);
                None
            }
        }
    }

    fn keep<T>(&mut self, read: Result<T, Error>) -> Option<T> {
        self.errors.take(read.map_err(|e| e.within(&self.place)))
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str, &Value) -> Result<T, Error>) -> Option<T> {
        let v = self.get(name)?;
        let full = format!("{}{name}", self.prefix);
        self.keep(read(&full, &v))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.read(name, value::boolean).unwrap_or(false)
    }

    fn duration(&mut self, name: &str, default: &str) -> String {
        let read = |n: &str, v: &Value| {
            let text = value::text(n, v)?;
            value::duration_ms(n, &text).map(|_| text)
        };
        self.read(name, read).unwrap_or_else(|| default.to_owned())
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.read(name, value::text).map(PathBuf::from)
    }
}

/// A text that no error may show.
fn secret(name: &str, v: &Value) -> Result<String, Error> {
    value::text(name, v).map_err(|_| Error::new(name, "is no text"))
}

/// The node's settings from its variables.
///
/// # Errors
/// Into `errors`: values of the wrong type, or that could add a word or a line to a configuration.
pub fn node(name: &str, vars: &Vars, errors: &mut Errors) -> NodeSettings {
    let mut r = Reader { vars, place: format!("node '{name}'"), prefix: "haproxy_", errors };
    let user = r.read("admin_username", |n, v| value::word(n, v, "-_.@", 63));
    let password = r.read("admin_password", |n, v| {
        let text = secret(n, v)?;
        let fine = !text.chars().any(char::is_control);
        if fine { Ok(text) } else { Err(Error::new(n, "holds a control character")) }
    });
    // Without a password there is nothing to ask for; the page is read-only in any case.
    let auth = r.read("auth_enabled", value::boolean).unwrap_or(true) && password.is_some();
    NodeSettings {
        name: name.to_owned(),
        admin_user: user.unwrap_or_else(|| "admin".into()),
        admin_password: Secret(password.unwrap_or_default()),
        auth,
        exporter_port: r.read("exporter_port", value::port).unwrap_or(9101),
        client_timeout: r.duration("client_timeout", "24h"),
        server_timeout: r.duration("server_timeout", "24h"),
        connect_timeout: r.duration("connect_timeout", "3s"),
        queue_timeout: r.duration("queue_timeout", "3s"),
        maxconn: r.read("maxconn", |n, v| value::integer(n, v, 1, 10_000_000)),
    }
}

/// Options from variables with a prefix: `pgsvc_` for a node's variables, none for module arguments.
pub fn options(place: &str, vars: &Vars, prefix: &'static str, errors: &mut Errors) -> Options {
    let mut r = Reader { vars, place: place.to_owned(), prefix, errors };
    let one_of = |names: &'static str| {
        move |n: &str, v: &Value| {
            let text = value::text(n, v)?;
            if names.split(' ').any(|k| k == text) {
                Ok(text)
            } else {
                Err(Error::new(n, format!("'{}' is not valid", text.escape_debug()))
                    .hint(format!("one of {}", names.replace(' ', ", "))))
            }
        }
    };
    let roles = match r.read("role_source", one_of("patroni inventory")).as_deref() {
        Some("inventory") => RoleSource::Inventory,
        _ => RoleSource::Patroni,
    };
    let sslmode = match r.read("verify_sslmode", one_of("disable prefer require verify-full")).as_deref() {
        Some("disable") => SslMode::Disable,
        Some("require") => SslMode::Require,
        Some("verify-full") => SslMode::VerifyFull,
        _ => SslMode::Prefer,
    };
    let grace = r.read("watch_grace", |n, v| value::integer(n, v, 0, 31_536_000));
    let seconds = r.read("verify_timeout", |n, v| value::integer(n, v, 1, 3600)).unwrap_or(30);
    Options {
        roles,
        sslmode,
        timeout: Duration::from_secs(seconds),
        verify: r.read("verify", verify_mode).unwrap_or_default(),
        templates: r.path("templates"),
        root: r.path("root"),
        user: r.read("verify_user", value::text),
        password: Secret(r.read("verify_password", secret).unwrap_or_default()),
        database: r.read("verify_database", value::text),
        ssl_root_cert: r.path("verify_sslrootcert"),
        allow_restart: r.flag("allow_restart"),
        adopt: r.flag("adopt"),
        force: r.flag("force"),
        nonlocal_bind: r.flag("nonlocal_bind"),
        verify_only: r.flag("verify_only"),
        single_primary: r.read("single_primary", value::boolean).unwrap_or(true),
        watch: r.read("watch", value::boolean).unwrap_or(true),
        watch_grace: grace.map_or(crate::verify::stray::GRACE, Duration::from_secs),
        metrics_file: r.read("metrics_file", metrics_file),
    }
}

/// The name stands in a unit, and the collector reads what ends in `.prom` alone.
fn metrics_file(name: &str, v: &Value) -> Result<PathBuf, Error> {
    let text = value::text(name, v)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let path = PathBuf::from(&text);
    let deep = path.parent().is_some_and(|p| p.parent().is_some());
    let up = path.components().any(|c| c == std::path::Component::ParentDir);
    let fine = path.is_absolute() && deep && !up && text.chars().all(plain) && text.ends_with(".prom");
    if fine {
        return Ok(path);
    }
    let error = Error::new(name, format!("{} is not valid", value::show(v)));
    Err(error.hint("a path that ends in .prom: /var/lib/prometheus/node-exporter/pgsvc.prom"))
}

fn verify_mode(name: &str, v: &Value) -> Result<VerifyMode, Error> {
    if v.as_str() == Some("report") {
        return Ok(VerifyMode::Report);
    }
    match value::boolean(name, v) {
        Ok(true) => Ok(VerifyMode::Fail),
        Ok(false) => Ok(VerifyMode::Off),
        Err(_) => {
            Err(Error::new(name, format!("{} is not valid", value::show(v))).hint("true, false or report"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metrics_file_is_a_path_that_the_collector_reads_and_a_unit_can_name() {
        let read = |text: &str| {
            let vars = Vars::from_iter([("pgsvc_metrics_file".to_owned(), text.into())]);
            let mut errors = Errors::default();
            let file = options("node 'a'", &vars, "pgsvc_", &mut errors).metrics_file;
            (file, errors.0.iter().map(ToString::to_string).collect::<String>())
        };
        assert_eq!(read("/var/lib/x/pgsvc.prom"), (Some("/var/lib/x/pgsvc.prom".into()), String::new()));
        assert_eq!(read(""), (None, String::new()));
        for wrong in [
            "pgsvc.prom",
            "/x.prom",
            "/a/../b/x.prom",
            "/a/x.txt",
            "/a b/x.prom",
            "/a/%n.prom",
            "/a/x\n.prom",
        ] {
            let (file, error) = read(wrong);
            assert!(
                file.is_none() && error.contains("pgsvc_metrics_file") && error.contains(".prom:"),
                "{wrong}: {error}"
            );
        }
    }
}
