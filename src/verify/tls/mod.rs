//! TLS on a stream: verified by a CA, or expressly not. Who has to be verified is decided by the callers.
//! Certificates' validity is judged by the wall clock as rustls reads it.

mod verifier;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::Error;
use crate::host::{Stream, System};
use crate::inventory::tls::TlsFiles;

use super::deadline::{Bounded, Deadline};
use super::error::{ProbeError, is_closed};
use verifier::{Insecure, Pinned};

/// Whom to trust and who to be. Cheap to clone; never prints a key.
#[derive(Clone)]
pub struct TlsConfig {
    client: Arc<ClientConfig>,
    name: Option<String>,
    verifies: bool,
}

impl TlsConfig {
    /// Trusts what the PEM bytes of a CA file sign. `client`: the PEM bytes of an own certificate chain and key.
    ///
    /// A certificate that stands in the CA file itself is trusted as it is (self-signed ones stand there), its name
    /// checked, its validity not.
    ///
    /// # Errors
    /// `Question` when the bytes hold no usable certificate or key.
    pub fn verified(ca_pem: &[u8], client: Option<(&[u8], &[u8])>) -> Result<Self, ProbeError> {
        let pinned = certificates(ca_pem, "CA file")?;
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(pinned.iter().cloned());
        if good == 0 {
            return Err(ProbeError::Question("the CA file holds no usable certificate".to_owned()));
        }
        let provider = provider();
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|e| ProbeError::Question(format!("the CA file: {e}")))?;
        Self::build(provider, Arc::new(Pinned { chain, pinned }), client, true)
    }

    /// Trusts anyone: the connection is encrypted, the other side unproven.
    ///
    /// # Errors
    /// `Question` when the client's certificate or key is not usable.
    pub fn insecure(client: Option<(&[u8], &[u8])>) -> Result<Self, ProbeError> {
        let provider = provider();
        Self::build(Arc::clone(&provider), Arc::new(Insecure(provider)), client, false)
    }

    /// As an inventory's files say, whose paths are this machine's.
    ///
    /// # Errors
    /// Which file cannot be read or used, and why.
    pub fn from_files(sys: &dyn System, files: &TlsFiles) -> Result<Self, Error> {
        let read = |path: &String| {
            let failed = |e: io::Error| Error::new(path.clone(), format!("cannot be read: {e}"));
            sys.read(Path::new(path)).map_err(failed)
        };
        let [ca, own] = [&files.ca, &files.cert].map(|path| path.as_ref().map(read).transpose());
        let (ca, own) = (ca?, own?);
        let client = own.as_ref().map(|pem| (&pem[..], &pem[..]));
        let config = match &ca {
            Some(ca) => Self::verified(ca, client),
            None => Self::insecure(client),
        };
        config.map_err(|e| Error::new(files.names(), e.to_string()))
    }

    /// The name the server's certificate must carry (and that SNI asks for), instead of the host's.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the server is proven by a CA.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    fn build(
        provider: Arc<CryptoProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
        client: Option<(&[u8], &[u8])>,
        verifies: bool,
    ) -> Result<Self, ProbeError> {
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| ProbeError::Question(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|e| ProbeError::Question(format!("the client key: {e}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| ProbeError::Question(format!("the client certificate: {e}")))?
            }
        };
        Ok(Self { client: Arc::new(config), name: None, verifies })
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("name", &self.name)
            .field("verifies", &self.verifies)
            .finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, ProbeError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(ProbeError::Question(format!("the {what} holds no certificate"))),
        Err(e) => Err(ProbeError::Question(format!("the {what}: {e}"))),
    }
}

/// Speaks TLS on the stream; the handshake is done when this returns.
///
/// # Errors
/// `Tls`, `SpeaksPlainHttp`, `TimedOut`, `Closed`.
pub fn wrap<'a>(
    stream: Box<dyn Stream + 'a>,
    config: &TlsConfig,
    host: &str,
) -> Result<Box<dyn Stream + 'a>, ProbeError> {
    let host = config.name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ProbeError::Question(format!("{host:?} is no name of a server")))?;
    let connection = ClientConnection::new(Arc::clone(&config.client), name)
        .map_err(|e| ProbeError::Tls(e.to_string()))?;
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).map_err(|e| explain(&e, "in the TLS handshake"))?;
    }
    Ok(Box::new(Tls(tls)))
}

/// Whether the other side completes a TLS handshake, its certificate aside: tells "speaks TLS" from "is dead".
pub fn spoken(sys: &dyn System, addr: SocketAddr, deadline: Deadline) -> bool {
    let Ok(config) = TlsConfig::insecure(None) else { return false };
    let Ok(stream) = Bounded::connect(sys, addr, deadline) else { return false };
    match wrap(Box::new(stream), &config, &addr.ip().to_string()) {
        Ok(_) => true,
        // An alert is TLS too: no common version, a client certificate that is wanted.
        Err(ProbeError::Tls(why)) => why.contains("alert"),
        Err(_) => false,
    }
}

/// What an I/O error on a stream that may carry TLS means.
pub(crate) fn explain(error: &io::Error, step: &'static str) -> ProbeError {
    use rustls::{Error as E, InvalidMessage as M};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    match inner {
        // The first byte is not that of a TLS record.
        Some(E::InvalidMessage(M::InvalidContentType | M::UnknownProtocolVersion)) => ProbeError::NoTls,
        Some(E::InvalidCertificate(why)) => ProbeError::Tls(certificate(why)),
        Some(E::AlertReceived(alert)) => ProbeError::Tls(format!("the other side sent the alert {alert:?}")),
        Some(other) => ProbeError::Tls(other.to_string()),
        None if is_closed(error.kind()) => ProbeError::Closed,
        None => ProbeError::from_io(error, step),
    }
}

/// The certificate errors people meet, in their words.
fn certificate(why: &CertificateError) -> String {
    use CertificateError as C;
    match why {
        C::UnknownIssuer => "the certificate is signed by none of the CA file".to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            format!("the certificate is for another name ({why})")
        }
        C::Expired | C::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        C::NotValidYet | C::NotValidYetContext { .. } => "the certificate is not valid yet".to_owned(),
        // rustls wraps this one in an opaque error.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is a CA's own, or self-signed, and not in the CA file".to_owned()
        }
        other => format!("the certificate: {other}"),
    }
}

/// A handshaken TLS stream.
struct Tls<'a>(StreamOwned<ClientConnection, Box<dyn Stream + 'a>>);

impl Read for Tls<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Tls<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Tls<'_> {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.0.sock.set_timeout(timeout)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.0.sock.peer()
    }
}

#[cfg(test)]
mod tests;
