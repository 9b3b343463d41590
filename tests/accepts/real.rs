//! Rendering as `pgsvc render` does, and the real `haproxy -c`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use pgsvc::daemon::Paths;
use pgsvc::host::real::RealSystem;
use pgsvc::plan::RenderedFile;
use pgsvc::request;
use pgsvc::run::{self, Node};
use serde_json::Value;
use tempfile::TempDir;

/// The files of a case, its cluster's name made its own by a number; or why it is refused.
pub fn files(case: &Value, number: usize) -> Result<Vec<RenderedFile>, String> {
    let mut case = case.clone();
    for m in case.get_mut("members").and_then(Value::as_array_mut).unwrap() {
        if let Some(name) = m.get("pg_cluster").and_then(Value::as_str) {
            let own = format!("c{number}{name}");
            m.as_object_mut().unwrap().insert("pg_cluster".into(), own.into());
        }
        if let Some(ca) = m.get_mut("patroni_ca_file").filter(|v| *v == "CA") {
            *ca = ca_file().display().to_string().into();
        }
    }
    let request = request::from_arguments(case.as_object().unwrap()).map_err(|e| e.to_string())?;
    let model = request::model(request).map_err(|e| e.to_string())?;
    if let Some(errors) = model.failed.values().next() {
        return Err(errors.to_string());
    }
    let sys = RealSystem::new(None);
    run::render(&Node { sys: &sys, paths: Paths::default(), rooted: true }, &model, false)
        .map_err(|e| e.to_string())
}

/// A certificate of an authority, made once.
pub fn ca_file() -> &'static Path {
    static CA: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = CA.get_or_init(|| {
        let dir = TempDir::with_prefix("ca").unwrap();
        let path = dir.path().join("ca.crt");
        let args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key -out ca.crt -subj /CN=ca";
        let made = Command::new("openssl").current_dir(dir.path()).args(args.split(' ')).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (dir, path)
    });
    path
}

/// For each file the first word and the number of words of every line, whatever the files are called.
pub fn structure(files: &[RenderedFile]) -> Vec<Vec<(String, usize)>> {
    let line =
        |l: &str| (l.split_whitespace().next().unwrap_or_default().to_owned(), l.split_whitespace().count());
    let configuration = files.iter().filter(|f| f.path.extension().is_some_and(|e| e == "cfg"));
    let mut all: Vec<Vec<_>> = configuration.map(|f| f.content.split('\n').map(line).collect()).collect();
    all.sort();
    all
}

/// Files of many cases that are checked at once.
pub struct Batch(TempDir);

impl Batch {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        Self(dir)
    }

    pub fn add(&mut self, files: &[RenderedFile]) {
        for f in files.iter().filter(|f| f.path.extension().is_some_and(|e| e == "cfg")) {
            let name = f.path.file_name().unwrap();
            let dir =
                if name == "haproxy.cfg" { self.0.path().to_owned() } else { self.0.path().join("conf.d") };
            let path = dir.join(name);
            assert!(f.cluster.is_none() || !path.exists(), "two files are {}", path.display());
            std::fs::write(path, &*f.content).unwrap();
        }
    }

    /// The real HAProxy's word.
    pub fn check(&self) -> Result<(), String> {
        if !self.0.path().join("haproxy.cfg").exists() {
            return Ok(());
        }
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-c", "-f", "haproxy.cfg", "-f", "conf.d"]).current_dir(self.0.path());
        let output = haproxy.output().unwrap_or_else(|e| panic!("haproxy must be installed: {e}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let alerts: Vec<&str> = said.lines().filter(|l| l.contains("ALERT")).take(5).collect();
        if output.status.success() { Ok(()) } else { Err(alerts.join("\n")) }
    }
}
