//! Patroni's API over TLS, as an inventory says it: files on the load balancer. They are read elsewhere.

use serde::Serialize;
use serde_json::Value;

use super::Vars;
use crate::error::{Error, Errors};
use crate::value;

/// Whom to trust and who to be. Patroni manual, YAML configuration, `restapi`: `cafile`, `verify_client`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TlsFiles {
    /// Signs Patroni's certificate, PEM. Without it nobody's certificate is looked at.
    pub ca: Option<String>,
    /// Shown where Patroni asks for it: certificate, chain and key in one PEM file, as HAProxy's `crt` takes it.
    pub cert: Option<String>,
}

impl TlsFiles {
    /// The variables of a cluster; `errors` gets what is no absolute path that may stand unquoted in a configuration.
    pub fn parse(errors: &mut Errors, cluster: &str, shared: &Vars) -> Self {
        let mut path = |name| path(errors, cluster, name, value::given(shared.get(name))?);
        let (ca, cert) = (path("patroni_ca_file"), path("patroni_cert_file"));
        Self { ca, cert }
    }

    /// As `pgsvc check` takes them.
    pub fn options(&self) -> Vec<String> {
        let named = [("--ca", &self.ca), ("--cert", &self.cert)];
        named
            .into_iter()
            .filter_map(|(name, path)| Some([name.to_owned(), path.clone()?]))
            .flatten()
            .collect()
    }

    /// The files, for an error.
    pub fn names(&self) -> String {
        [&self.ca, &self.cert].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Nothing is said: whoever answers is believed, and is shown nothing.
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none()
    }
}

fn path(errors: &mut Errors, cluster: &str, name: &'static str, v: &Value) -> Option<String> {
    let read = value::word(name, v, "/-_.", 255).and_then(|p| match p.starts_with('/') {
        true => Ok(p),
        false => Err(Error::new(name, format!("'{p}' is no absolute path"))),
    });
    errors.take(read.map_err(|e| e.within(&format!("cluster '{cluster}'"))))
}
