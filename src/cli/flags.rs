//! The command line's flags as options of a run.

use std::path::PathBuf;

use serde_json::Value;

use super::args::{Consent, LoginArgs, Source};
use crate::error::Error;
use crate::host::System;
use crate::inventory::Args;

/// Flags as options, in the module arguments' words.
#[derive(Default)]
pub struct Flags(pub Args);

impl Flags {
    pub fn text(&mut self, name: &str, v: Option<impl Into<Value>>) {
        if let Some(v) = v {
            self.0.insert(name.into(), v.into());
        }
    }

    fn path(&mut self, name: &str, v: Option<&PathBuf>) {
        // Absolute: what is kept on the node is read again from somewhere else.
        let absolute = |p: &PathBuf| std::path::absolute(p).unwrap_or_else(|_| p.clone());
        self.text(name, v.map(|p| absolute(p).display().to_string()));
    }

    fn yes(&mut self, name: &str, v: bool) {
        self.text(name, v.then_some(true));
    }

    pub fn source(&mut self, s: &Source) {
        self.text("role_source", s.role_source.clone());
        self.path("templates", s.templates.as_ref());
    }

    pub fn consent(&mut self, c: &Consent) {
        self.path("root", c.root.as_ref());
        self.yes("allow_restart", c.allow_restart);
        self.yes("adopt", c.adopt);
        self.yes("force", c.force);
        self.yes("nonlocal_bind", c.nonlocal_bind);
        self.text("state", c.absent.then_some("absent"));
    }

    /// # Errors
    /// A password file that cannot be read.
    pub fn login(&mut self, l: &LoginArgs, sys: &dyn System) -> Result<(), Error> {
        self.text("verify_user", l.user.clone());
        self.text("verify_database", l.database.clone());
        self.text("verify_sslmode", l.sslmode.clone());
        self.path("verify_sslrootcert", l.sslrootcert.as_ref());
        self.text("verify_timeout", l.timeout);
        let from_env = || std::env::var("PGSVC_PASSWORD").or_else(|_| std::env::var("PGPASSWORD")).ok();
        let password = match &l.password_file {
            Some(path) => {
                let bytes = sys
                    .read(path)
                    .map_err(|e| Error::new(path.display().to_string(), format!("cannot be read: {e}")))?;
                String::from_utf8_lossy(&bytes).lines().next().map(str::to_owned)
            }
            None => from_env(),
        };
        self.text("verify_password", password);
        Ok(())
    }
}
