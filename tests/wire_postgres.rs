//! The PostgreSQL probe against real servers: every way to log in, every refusal, a standby, and poolers before them.
// Helpers of tests are tests: what fails there is to panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use pgsvc::{host, verify};

#[path = "../src/verify/testkit.rs"]
mod testkit;
mod wire;

use std::net::SocketAddr;

use testkit::{Sockets, soon};
use verify::error::ProbeError;
use verify::postgres::{Answer, Identity, Login, PgError, Session, TlsMode, Write, handshake, session};
use verify::tls::TlsConfig;
use wire::{Pgbouncer, Postgres, wait_until};

fn login(user: &str, tls: TlsMode) -> Login {
    Login {
        user: user.to_owned(),
        password: Some("sesame".to_owned()),
        database: "app".to_owned(),
        tls,
        cleartext: false,
    }
}

fn ask(addr: SocketAddr, user: &str) -> Result<Identity, PgError> {
    session(&Sockets, addr, &login(user, TlsMode::Disable), soon(10_000))
}

const START: &str = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

#[test]
fn a_server_is_known_by_every_way_to_log_in() {
    let server = Postgres::primary("");
    let start: i64 = server.sql(START).parse().unwrap();
    let system = server.sql("SELECT system_identifier FROM pg_control_system()");
    for user in ["app", "old", "trusted"] {
        for (tls, encrypted) in [(TlsMode::Disable, false), (TlsMode::Prefer, true), (TlsMode::Require, true)]
        {
            let who = session(&Sockets, server.addr(), &login(user, tls), soon(10_000)).expect(user);
            assert_eq!(
                (who.in_recovery, who.read_only, who.postmaster_start, who.tls),
                (false, false, start, encrypted)
            );
            // Any user may call pg_control_system(), unless an administrator has revoked it.
            assert_eq!(who.system_identifier.as_ref(), Some(&system));
            assert_eq!(
                (who.timeline, who.server_addr, who.server_port),
                (Some(1), Some([127, 0, 0, 1].into()), Some(server.port))
            );
            assert!(who.server_version >= 130_000, "{who:?}");
            let replay = who.replay.unwrap();
            assert!(
                replay.current > Some(0) && replay.replayed.is_none() && replay.receiver.is_none(),
                "{replay:?}"
            );
        }
    }
    clear_text_goes_over_tls_or_when_allowed(&server);
    tls_is_proven(&server);
    what_is_refused_is_told_apart(&server);
    server.sql_in("app", "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    let who = ask(server.addr(), "app").unwrap();
    assert_eq!((who.postmaster_start, who.system_identifier, who.timeline), (start, None, Some(1)));
    server.sql("ALTER ROLE app SET default_transaction_read_only = on");
    assert!(ask(server.addr(), "app").unwrap().read_only);
}

fn clear_text_goes_over_tls_or_when_allowed(server: &Postgres) {
    assert!(matches!(ask(server.addr(), "clear"), Err(PgError::Login(why)) if why.contains("clear text")));
    let mut allowed = login("clear", TlsMode::Disable);
    allowed.cleartext = true;
    assert!(session(&Sockets, server.addr(), &allowed, soon(10_000)).is_ok());
    assert!(session(&Sockets, server.addr(), &login("clear", TlsMode::Prefer), soon(10_000)).unwrap().tls);
}

fn tls_is_proven(server: &Postgres) {
    let ca = std::fs::read(server.data().join("server.crt")).unwrap();
    let full = |config: TlsConfig| {
        session(&Sockets, server.addr(), &login("app", TlsMode::VerifyFull(config)), soon(10_000))
    };
    let config = TlsConfig::verified(&ca, None).unwrap();
    assert!(full(config.clone()).unwrap().tls, "127.0.0.1 is in the certificate");
    assert!(full(config.clone().named("pg-test-1")).unwrap().tls);
    let other = full(config.named("pg-test-2")).unwrap_err();
    assert!(matches!(&other, PgError::Tls(why) if why.contains("another name")), "{other}");
    let dir = tempfile::tempdir().unwrap();
    let new = "req -x509 -newkey ec -nodes -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=stranger -keyout k -out c";
    wire::run(std::process::Command::new("openssl").current_dir(dir.path()).args(new.split(' ')));
    let stranger = TlsConfig::verified(&std::fs::read(dir.path().join("c")).unwrap(), None).unwrap();
    let other = full(stranger).unwrap_err();
    assert!(matches!(&other, PgError::Tls(why) if why.contains("not in the CA file")), "{other}");
}

fn what_is_refused_is_told_apart(server: &Postgres) {
    let with = |edit: fn(&mut Login)| {
        let mut login = login("app", TlsMode::Prefer);
        edit(&mut login);
        session(&Sockets, server.addr(), &login, soon(10_000)).unwrap_err()
    };
    let code = |error: &PgError| error.sql().map(|sql| sql.code.clone()).unwrap_or_default();
    let wrong = with(|l| l.password = Some("wrong".to_owned()));
    assert!(matches!(wrong, PgError::Authentication(_)), "{wrong}");
    assert_eq!(code(&wrong), "28P01");
    let nobody = with(|l| l.user = "nobody".to_owned());
    assert_eq!(code(&nobody), "28P01", "{nobody}");
    let barred = with(|l| l.user = "barred".to_owned());
    assert_eq!(code(&barred), "28000", "{barred}");
    let nowhere = with(|l| l.database = "nowhere".to_owned());
    assert_eq!((code(&nowhere).as_str(), matches!(nowhere, PgError::Server(_))), ("3D000", true));
    assert!(matches!(with(|l| l.password = None), PgError::Login(_)));

    let greeted = handshake(&Sockets, server.addr(), "pgsvc", "postgres", soon(10_000)).unwrap();
    assert_eq!((greeted.tls, greeted.answer), (true, Answer::Asks("SCRAM")));
    let greeted = handshake(&Sockets, server.addr(), "trusted", "app", soon(10_000)).unwrap();
    assert_eq!(greeted.answer, Answer::Welcome);
    let greeted = handshake(&Sockets, server.addr(), "barred", "app", soon(10_000)).unwrap();
    assert!(matches!(greeted.answer, Answer::Refuses(PgError::Authentication(_))));

    // A check that goes to the wrong port: PostgreSQL closes on what is no startup message.
    let asked = verify::http::get(&Sockets, server.addr(), None, "pg", "GET", "/patroni", soon(3000));
    assert_eq!(asked, Err(ProbeError::Closed));

    let one = login("single", TlsMode::Disable);
    let first = Session::open(&Sockets, server.addr(), &one, soon(10_000)).unwrap();
    let second = Session::open(&Sockets, server.addr(), &one, soon(10_000)).err().unwrap();
    assert!(matches!(&second, PgError::Full(sql) if sql.code == "53300"), "{second}");
    drop(first);
}

#[test]
fn a_full_server_says_so() {
    let server =
        Postgres::primary("max_connections = 6\nsuperuser_reserved_connections = 2\nmax_wal_senders = 0");
    let app = login("app", TlsMode::Prefer);
    let mut sessions = Vec::new();
    let refused = loop {
        match Session::open(&Sockets, server.addr(), &app, soon(10_000)) {
            Ok(session) => sessions.push(session),
            Err(error) => break error,
        }
        assert!(sessions.len() <= 4);
    };
    assert!(matches!(&refused, PgError::Full(sql) if sql.code == "53300"), "{refused}");
    // Some slots are left to superusers: whoever does not log in is still asked to, and would be refused after.
    assert!(handshake(&Sockets, server.addr(), "app", "app", soon(10_000)).is_ok());
    let mut held = sessions.pop().unwrap();
    assert!(held.identity().is_ok() && held.identity().is_ok(), "an open session can be asked again");

    let pooler = Pgbouncer::start(server.addr(), "session", "query_wait_timeout = 2");
    drop(held);
    sessions.push(Session::open(&Sockets, server.addr(), &app, soon(10_000)).unwrap());
    let through = ask(pooler.addr(), "app").unwrap_err();
    assert!(matches!(through, PgError::Full(_)), "{through}");
}

#[test]
fn a_standby_is_another_instance_of_the_same_cluster() {
    let primary = Postgres::primary("");
    let mut standby = Postgres::standby(&primary);
    let of = ask(primary.addr(), "app").unwrap();
    wait_until("the standby streams", || {
        let who = ask(standby.addr(), "monitor").unwrap();
        who.replay.is_some_and(|replay| replay.receiver.as_deref() == Some("streaming"))
    });
    let who = ask(standby.addr(), "monitor").unwrap();
    assert!(who.in_recovery && who.read_only);
    assert_eq!((&who.system_identifier, who.timeline), (&of.system_identifier, Some(1)));
    assert_ne!(who.postmaster_start, of.postmaster_start);
    let replay = who.replay.unwrap();
    assert!(replay.replayed > Some(0) && replay.received > Some(0) && replay.current.is_none(), "{replay:?}");
    assert!(
        replay.last_message.zip(replay.now).is_some_and(|(heard, now)| now - heard < 60_000_000),
        "{replay:?}"
    );
    // Who may not see the receiver still learns the positions.
    let replay = ask(standby.addr(), "app").unwrap().replay.unwrap();
    assert!(
        replay.replayed > Some(0) && replay.receiver.is_none() && replay.last_message.is_none(),
        "{replay:?}"
    );

    let mut held =
        Session::open(&Sockets, standby.addr(), &login("app", TlsMode::Prefer), soon(30_000)).unwrap();
    assert!(held.identity().unwrap().in_recovery);
    standby.sql("SELECT pg_promote()");
    let promoted = held.identity().unwrap();
    assert_eq!((promoted.in_recovery, promoted.timeline), (false, Some(2)));

    standby.stop();
    let gone = held.identity().unwrap_err();
    assert!(matches!(&gone, PgError::Server(sql) if sql.code == "57P01"), "{gone}");
    assert_eq!(ask(standby.addr(), "app"), Err(PgError::Refused));
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    standby.spawn("-c hot_standby=off");
    wait_until(
        "a cold standby refuses in PostgreSQL's words",
        || matches!(ask(standby.addr(), "app"), Err(PgError::StartingUp(sql)) if sql.code == "57P03"),
    );
    let greeted = handshake(&Sockets, standby.addr(), "app", "app", soon(10_000)).unwrap();
    assert!(matches!(greeted.answer, Answer::Refuses(PgError::StartingUp(_))));
}

#[test]
fn a_ledger_says_who_took_a_row_and_why_another_one_did_not() {
    let primary = Postgres::primary("");
    let standby = Postgres::standby(&primary);
    primary
        .sql_in("app", "CREATE TABLE ledger (id bigint PRIMARY KEY); GRANT SELECT, INSERT ON ledger TO app");
    let brief = |addr: SocketAddr, id: u64| {
        let mut s = Session::open(&Sockets, addr, &login("app", TlsMode::Disable), soon(10_000)).unwrap();
        s.brief(Write::Row { table: "ledger", id }, false).unwrap()
    };
    let of = ask(primary.addr(), "app").unwrap();
    let took = brief(primary.addr(), 7);
    assert_eq!((took.start, took.in_recovery, took.wrote), (of.postmaster_start, false, true));
    let more = took.more.unwrap();
    assert_eq!(
        (more.timeline, &more.system, more.id, more.refused),
        (Some(1), &of.system_identifier, Some(7), None)
    );
    let again = brief(primary.addr(), 7);
    assert!(!again.wrote && again.more.unwrap().refused.unwrap().contains("23505"));
    wait_until("the standby has the table", || {
        standby.sql_in("app", "SELECT count(*) FROM pg_class WHERE relname = 'ledger'").trim() == "1"
    });
    let refused = brief(standby.addr(), 8);
    assert!(refused.in_recovery && !refused.wrote && refused.start != took.start);
    assert!(refused.more.unwrap().refused.unwrap().contains("25006"));
    assert_eq!(primary.sql_in("app", "SELECT string_agg(id::text, ' ') FROM ledger").trim(), "7");
}

#[test]
fn through_a_pooler_the_same_server_is_seen() {
    let mut server = Postgres::primary("");
    let direct = ask(server.addr(), "app").unwrap();
    for mode in ["session", "transaction", "statement"] {
        let pooler = Pgbouncer::start(server.addr(), mode, "");
        // pgbouncer tells startup parameters before it has a server; twice, as the second login reuses a connection.
        for _ in 0..2 {
            let through = ask(pooler.addr(), "app").expect(mode);
            assert_eq!(
                Identity { replay: None, ..through },
                Identity { replay: None, ..direct.clone() },
                "{mode}"
            );
        }
        let greeted = handshake(&Sockets, pooler.addr(), "app", "app", soon(10_000)).unwrap();
        assert_eq!((greeted.tls, greeted.answer), (false, Answer::Asks("SCRAM")));
    }
    let pooler =
        Pgbouncer::start(server.addr(), "transaction", "max_client_conn = 2\nquery_wait_timeout = 2");
    a_poolers_refusals_are_told_apart(&pooler);
    server.stop();
    let dead = ask(pooler.addr(), "app").unwrap_err();
    assert!(matches!(dead, PgError::Pooler(_)), "{dead}");
}

fn a_poolers_refusals_are_told_apart(pooler: &Pgbouncer) {
    let with = |edit: fn(&mut Login)| {
        let mut login = login("app", TlsMode::Prefer);
        edit(&mut login);
        session(&Sockets, pooler.addr(), &login, soon(10_000)).unwrap_err()
    };
    let dead = with(|l| l.database = "dead".to_owned());
    let wrong = with(|l| l.password = Some("wrong".to_owned()));
    let nobody = with(|l| l.user = "nobody".to_owned());
    let nowhere = with(|l| l.database = "nowhere".to_owned());
    let encrypted = with(|l| l.tls = TlsMode::Require);
    assert!(matches!(dead, PgError::Pooler(_)), "{dead}");
    assert!(matches!(wrong, PgError::Authentication(_)), "{wrong}");
    assert!(matches!(nobody, PgError::Authentication(_)), "{nobody}");
    assert!(matches!(nowhere, PgError::Server(_)), "{nowhere}");
    assert_eq!(encrypted.to_string(), "TLS failed: the server offers none");
    let open = || Session::open(&Sockets, pooler.addr(), &login("app", TlsMode::Prefer), soon(10_000));
    let held = [open().unwrap(), open().unwrap()];
    let full = open().err().unwrap();
    assert!(matches!(full, PgError::Full(_)), "{full}");
    drop(held);
}
