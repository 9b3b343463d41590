//! Certificates made on the spot by openssl, a rustls server, and what a client makes of them.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::verify::http;
use crate::verify::testkit::{Sockets, answer, refusing, serve, soon};

/// A CA, a leaf for pg-test-1 and 127.0.0.1 that it signed, and a self-signed certificate.
struct Certs {
    ca: Vec<u8>,
    leaf: Vec<u8>,
    leaf_key: Vec<u8>,
    lone: Vec<u8>,
    lone_key: Vec<u8>,
    /// Of the CA and for the leaf's key and names, but for another time: before 2021, after 2089.
    expired: Vec<u8>,
    early: Vec<u8>,
}

/// What `openssl ca` wants, the one command that takes dates.
const DATED: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
    x509_extensions=e\nunique_subject=no\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:pg-test-1,IP:127.0.0.1\n";

fn openssl(dir: &Path, args: &str) {
    let made = Command::new("openssl").current_dir(dir).args(args.split(' ')).output().expect("openssl");
    assert!(made.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&made.stderr));
}

fn certs() -> &'static Certs {
    static CERTS: OnceLock<Certs> = OnceLock::new();
    CERTS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let san = "-addext subjectAltName=DNS:pg-test-1,IP:127.0.0.1";
        openssl(dir, &format!("{new} -keyout ca.key -out ca.crt -subj /CN=test-ca"));
        openssl(dir, &format!("{new} -keyout lone.key -out lone.crt -subj /CN=lone {san}"));
        let leaf = format!("{san} -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE");
        openssl(dir, &format!("{new} -keyout leaf.key -out leaf.crt -subj /CN=pg-test-1 {leaf}"));
        for (file, text) in [("ca.cnf", DATED), ("index", ""), ("serial", "01\n")] {
            std::fs::write(dir.join(file), text).unwrap();
        }
        openssl(dir, "req -new -key leaf.key -out leaf.csr -subj /CN=pg-test-1");
        let dated = "ca -batch -notext -config ca.cnf -cert ca.crt -keyfile ca.key -in leaf.csr";
        openssl(
            dir,
            &format!("{dated} -out expired.crt -startdate 20200101000000Z -enddate 20201231000000Z"),
        );
        openssl(dir, &format!("{dated} -out early.crt -startdate 20900101000000Z -enddate 20901231000000Z"));
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        Certs {
            ca: read("ca.crt"),
            leaf: read("leaf.crt"),
            leaf_key: read("leaf.key"),
            lone: read("lone.crt"),
            lone_key: read("lone.key"),
            expired: read("expired.crt"),
            early: read("early.crt"),
        }
    })
}

/// An HTTPS server; `client_ca`: it wants a client certificate that this signed.
fn https(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> SocketAddr {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(ca, "CA").unwrap());
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = certificates(cert, "leaf").unwrap();
    let config =
        Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).unwrap()).unwrap());
    serve(move |stream: TcpStream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let _ = tls.read(&mut [0; 4096]);
        // No goodbye: as Python's servers do.
        let _ = tls.write_all(b"HTTP/1.0 200 OK\r\n\r\nsecret");
        let _ = tls.flush();
    })
}

fn ask(addr: SocketAddr, config: &TlsConfig, host: &str) -> Result<String, ProbeError> {
    http::get(&Sockets, addr, Some(config), host, "GET", "/", soon(3000))
        .map(|response| String::from_utf8(response.body).unwrap())
}

fn tls_error(asked: Result<String, ProbeError>) -> String {
    match asked {
        Err(ProbeError::Tls(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_proven_by_its_ca_and_name_or_expressly_not() {
    let c = certs();
    let signed = https(&c.leaf, &c.leaf_key, None);
    let trusting = TlsConfig::verified(&c.ca, None).unwrap();
    assert!(trusting.verifies());
    assert_eq!(ask(signed, &trusting, "pg-test-1").unwrap(), "secret");
    assert_eq!(ask(signed, &trusting, "127.0.0.1").unwrap(), "secret");
    assert_eq!(ask(signed, &trusting.clone().named("pg-test-1"), "10.0.0.1").unwrap(), "secret");
    assert!(tls_error(ask(signed, &trusting, "pg-test-2")).contains("for another name"));

    let lone = https(&c.lone, &c.lone_key, None);
    assert!(tls_error(ask(lone, &trusting, "pg-test-1")).ends_with("self-signed, and not in the CA file"));
    let strange = TlsConfig::verified(&c.lone, None).unwrap();
    assert_eq!(
        tls_error(ask(signed, &strange, "pg-test-1")),
        "the certificate is signed by none of the CA file"
    );
    let insecure = TlsConfig::insecure(None).unwrap();
    assert!(!insecure.verifies());
    assert_eq!(ask(lone, &insecure, "anything").unwrap(), "secret");
}

#[test]
fn a_certificate_out_of_its_time_is_named() {
    let c = certs();
    let trusting = TlsConfig::verified(&c.ca, None).unwrap();
    for (cert, said) in
        [(&c.expired, "the certificate has expired"), (&c.early, "the certificate is not valid yet")]
    {
        let server = https(cert, &c.leaf_key, None);
        assert_eq!(tls_error(ask(server, &trusting, "pg-test-1")), said);
        assert_eq!(ask(server, &TlsConfig::insecure(None).unwrap(), "pg-test-1").unwrap(), "secret");
    }
}

#[test]
fn a_self_signed_certificate_in_the_ca_file_is_trusted_under_its_name() {
    let c = certs();
    let lone = https(&c.lone, &c.lone_key, None);
    let pinned = TlsConfig::verified(&c.lone, None).unwrap();
    assert_eq!(ask(lone, &pinned, "pg-test-1").unwrap(), "secret");
    assert!(tls_error(ask(lone, &pinned, "pg-test-2")).contains("for another name"));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let c = certs();
    let strict = https(&c.leaf, &c.leaf_key, Some(&c.ca));
    let with = TlsConfig::verified(&c.ca, Some((&c.leaf, &c.leaf_key))).unwrap();
    assert_eq!(ask(strict, &with, "pg-test-1").unwrap(), "secret");
    let without = TlsConfig::verified(&c.ca, None).unwrap();
    let why = tls_error(ask(strict, &without, "pg-test-1"));
    assert!(why.contains("CertificateRequired"), "{why}");
    assert!(!format!("{with:?}").contains("PRIVATE"));
}

#[test]
fn bad_files_are_named() {
    let c = certs();
    for (ca, client, said) in [
        (&b""[..], None, "cannot be asked: the CA file holds no certificate"),
        (b"no PEM", None, "cannot be asked: the CA file holds no certificate"),
        (
            &c.ca,
            Some((&b""[..], &c.leaf_key[..])),
            "cannot be asked: the client certificate holds no certificate",
        ),
    ] {
        assert_eq!(TlsConfig::verified(ca, client).unwrap_err().to_string(), said);
    }
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(TlsConfig::verified(broken, None).unwrap_err().to_string().contains("no usable certificate"));
    assert!(
        TlsConfig::verified(&c.ca, Some((&c.leaf, &c.lone_key))).is_err(),
        "a key of another certificate"
    );
    assert!(TlsConfig::verified(&c.ca, Some((&c.leaf, b"no key"))).is_err());
}

#[test]
fn what_speaks_no_tls_is_told_apart() {
    let c = certs();
    let insecure = TlsConfig::insecure(None).unwrap();
    assert_eq!(ask(answer("HTTP/1.0 400 Bad\r\n\r\n"), &insecure, "h"), Err(ProbeError::NoTls));
    assert_eq!(ask(answer("<!DOCTYPE HTML>"), &insecure, "h"), Err(ProbeError::NoTls));
    assert_eq!(ask(answer(""), &insecure, "h"), Err(ProbeError::Closed));
    assert_eq!(ask(refusing(), &insecure, "h"), Err(ProbeError::Refused));
    let silent = serve(|stream| {
        std::thread::sleep(Duration::from_secs(5));
        drop(stream);
    });
    let asked = http::get(&Sockets, silent, Some(&insecure), "h", "GET", "/", soon(200));
    assert_eq!(asked, Err(ProbeError::TimedOut("in the TLS handshake")));
    assert!(spoken(&Sockets, https(&c.lone, &c.lone_key, None), soon(2000)));
    assert!(spoken(&Sockets, https(&c.leaf, &c.leaf_key, Some(&c.ca)), soon(2000)));
    assert!(!spoken(&Sockets, answer("HTTP/1.0 400 Bad\r\n\r\n"), soon(2000)));
    assert!(!spoken(&Sockets, silent, soon(200)));
}
