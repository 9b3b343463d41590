//! Answers of HAProxy 2.4 to 2.8, and answers that are none.

use super::*;

const STAT: &str = r#"# pxname,svname,qcur,scur,stot,status,weight,act,bck,lastchg,type,check_status,check_code,last_chk,addr,mode,new_column,-,
pg,FRONTEND,,1,7,OPEN,,,,,0,,,,,tcp,,-,
pg,s1,0,1,7,UP,100,1,0,12,2,L7OK,200,"HTTP status, ""good""
second line",10.0.0.1:6432,tcp,,-,
pg,s2,0,0,0,UP 2/3,100,1,0,1,2,* L7STS,503,,[fd00::2]:6432,tcp,,-,
pg,s3,0,0,0,DOWN 1/3,50,0,1,3,2,L4CON,,Connection refused,<unresolved>,tcp,,-,
pg,s4,0,0,0,MAINT (via pg/s1),1,1,0,3,2,,,,10.0.0.4:6432,tcp,,-,
pg,s5,0,0,0,no check,1,1,0,,2,,,,10.0.0.5:6432,tcp,,-,
pg,s6,0,0,0,DRAIN,0,1,0,,2,,,,,tcp,,-,
pg,sock-1,0,0,0,OPEN,,,,,3,,,,127.0.0.1:5433,tcp,,-,
pg,BACKEND,2,1,7,UP,200,2,0,12,1,,,,,tcp,,-,

"#;

#[test]
fn the_table_is_read_by_its_header() {
    let rows = parse_stat(STAT).unwrap();
    let brief: Vec<_> =
        rows.iter().map(|r| (r.server.as_str(), r.kind, r.status, r.status.serves())).collect();
    assert_eq!(
        brief,
        [
            ("FRONTEND", Kind::Frontend, Status::Open, false),
            ("s1", Kind::Server, Status::Up, true),
            ("s2", Kind::Server, Status::GoingDown, true),
            ("s3", Kind::Server, Status::GoingUp, false),
            ("s4", Kind::Server, Status::Maint, false),
            ("s5", Kind::Server, Status::NoCheck, true),
            ("s6", Kind::Server, Status::Drain, false),
            ("BACKEND", Kind::Backend, Status::Up, true),
        ]
    );
    let s1 = &rows[1];
    assert_eq!(s1.last_chk.as_deref(), Some("HTTP status, \"good\"\nsecond line"));
    assert_eq!((s1.weight, s1.active, s1.backup, s1.check_code), (Some(100), Some(1), Some(0), Some(200)));
    assert_eq!((s1.scur, s1.stot, s1.lastchg, s1.addr), (1, 7, Some(12), "10.0.0.1:6432".parse().ok()));
    let s2 = &rows[2];
    assert_eq!((s2.check_status.as_deref(), s2.checking), (Some("L7STS"), true));
    assert_eq!(s2.addr, "[fd00::2]:6432".parse().ok());
    assert_eq!((rows[3].addr, rows[4].status_text.as_str(), rows[7].qcur), (None, "MAINT (via pg/s1)", 2));
    assert_eq!(Status::parse("DOWN (agent)"), Status::Down);
    assert_eq!(Status::parse("NOLB 1/3"), Status::Drain);
    assert_eq!(Status::parse("brave new"), Status::Other);
}

#[test]
fn what_is_no_table_is_refused_with_its_first_line() {
    for (answer, said) in [
        ("Unknown command, but maybe", "not what HAProxy answers: 'Unknown command, but maybe'"),
        ("\nPermission denied\n", "not what HAProxy answers: 'Permission denied'"),
        ("", "not what HAProxy answers: ''"),
        ("# a,b,c\n1,2,3\n", "not what HAProxy answers: '# a,b,c'"),
    ] {
        assert_eq!(parse_stat(answer).unwrap_err().to_string(), said);
        assert!(parse_info(answer).is_err() && parse_proc(answer).is_err(), "{answer}");
    }
    assert_eq!(parse_stat("# pxname,svname,status\n,\npg\n\"unended,x").unwrap(), []);
}

#[test]
fn an_answer_beyond_all_bounds_takes_little_memory() {
    let head = "# pxname,svname,status\n";
    let rows = parse_stat(&format!("{head}{}", "a,b,UP\n".repeat(250_000))).unwrap();
    assert_eq!(rows.len(), 250_000);
    let said = parse_stat(&format!("{head}{}", "a,b,UP\n".repeat(250_001))).unwrap_err().to_string();
    assert_eq!(said, "not what HAProxy answers: more than 250000 rows");
    let wide = parse_stat(&format!("{head}a,b,UP{},\nc,{},DOWN\n", ",x".repeat(5000), "d".repeat(40_000)));
    let wide = wide.unwrap();
    assert_eq!((wide[0].status, wide[1].status, wide[1].server.len()), (Status::Up, Status::Down, 16 << 10));
    assert!(parse_sessions(&"0x1: fe=a\n".repeat(250_001)).is_err());
    assert_eq!(text(vec![b'a', 0xf3, b'\n']), "a?\n");
    assert_eq!(text("\u{fc}".into()), "\u{fc}");
}

#[test]
fn the_process_is_read() {
    let info = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 1645\nUptime: 0d 0h00m03s\nUptime_sec: 3\nMaxconn: 9977\n\
                CurrConns: 2\nnode: vm\ndescription: hash: 0123\nStopping: 1\nListeners: 5\n\n";
    let info = parse_info(info).unwrap();
    assert_eq!((info.pid, info.uptime, info.stopping, info.listeners), (1645, 3, true, 5));
    assert_eq!((info.version.as_str(), info.description.as_str()), ("2.6.12-1+deb12u4", "hash: 0123"));
    assert_eq!(parse_info("Pid: 1\n").unwrap(), Info { pid: 1, ..Info::default() });
}

#[test]
fn sessions_are_read_without_the_sockets_own() {
    let text = "0x564a30d58e40: proto=tcpv4 src=127.0.0.1:51208 fe=pg be=pg srv=s2 ts=00 epoch=0 age=1m2s calls=3 \
                rq[f=808000h,i=0,an=00h,rx=8s,wx=,ax=] scf=[8,0h,fd=16] exp=8s rc=0 c_exp=\n\
                0x564a30e7c740: proto=tcpv4 src=[::1]:1 fe=pg be=<NONE> srv=<none> ts=00 age=1d2h calls=3\n\
                0x564a30e7d360: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 age=0s\n\n";
    let sessions = parse_sessions(text).unwrap();
    let brief: Vec<_> =
        sessions.iter().map(|s| (s.id.as_str(), s.backend.as_str(), s.server.as_str(), s.age)).collect();
    assert_eq!(brief, [("0x564a30d58e40", "pg", "s2", 62), ("0x564a30e7c740", "", "", 93_600)]);
    assert!(parse_sessions("\n").unwrap().is_empty());
    assert!(parse_sessions("Can't find the target PID\n").is_err());
}

#[test]
fn a_sessions_way_on_to_the_member_is_read() {
    // HAProxy 2.6.12.
    let text = "0x5565b38b7d30: [23/Nov/2026:21:32:08.204676] id=8 proto=tcpv4 source=10.10.10.1:59518\n\
        \x20 flags=0x4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=0x5565b36ad040, waiting=0 epoch=0\n\
        \x20 frontend=pg-test-replica (id=8 mode=tcp), listener=? (id=1) addr=10.10.10.11:5434\n\
        \x20 backend=pg-test-replica (id=9 mode=tcp) addr=10.10.10.11:33540\n\
        \x20 server=pg-test-2 (id=2) addr=10.10.10.12:6432\n\
        \x20 req=0x5565b38b7d50 (f=0x848000 an=0x0 pipe=0 tofwd=-1 total=262)\n\
        0x7ff1480497f0: [23/Nov/2026:21:32:12.214666] id=10 proto=unix_stream source=unix:1\n\
        \x20 frontend=GLOBAL (id=0 mode=tcp), listener=? (id=1) addr=unix:1\n\
        \x20 backend=<NONE> (id=-1 mode=-)\n  server=<NONE> (id=-1)\n\n";
    let ends = parse_ends(text);
    let own = ("10.10.10.11:33540".parse().unwrap(), "10.10.10.12:6432".parse().unwrap());
    assert_eq!(ends, Ends::from([("0x5565b38b7d30".to_owned(), own)]));
    assert!(parse_ends("Unknown command\n").is_empty());
}

#[test]
fn workers_are_read_of_every_release() {
    let newer = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
                 1590            master          2 [failed: 1]   0d00h00m08s     2.6.12-1+deb12u4\n\
                 # workers\n2912            worker          0               0d00h00m02s     2.6.12-1+deb12u4\n\
                 # old workers\n1645            worker          2               1d00h00m08s     2.6.12-1+deb12u4\n\
                 # programs\n99              ssl-agent       0               0d00h00m08s     -\n\n";
    let found = parse_proc(newer).unwrap();
    assert_eq!((found.master.as_ref().unwrap().pid, found.failed_reloads), (1590, Some(1)));
    let old = Process { pid: 1645, reloads: 2, uptime: 86_408, version: "2.6.12-1+deb12u4".to_owned() };
    assert_eq!(found.old_workers, [old]);
    assert_eq!(found.workers.iter().map(|w| (w.pid, w.uptime)).collect::<Vec<_>>(), [(2912, 2)]);

    let older = "#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>\n\
                 1162            master          0               5               0d00h02m07s     2.4.0\n\
                 # workers\n1271            worker          1               0               0d00h00m00s     2.4.0\n\
                 # old workers\n1233            worker          [was: 1]        3               0d00h00m43s     2.4.0\n";
    let found = parse_proc(older).unwrap();
    assert_eq!((found.master.unwrap().reloads, found.failed_reloads), (5, None));
    assert_eq!((found.workers[0].pid, found.workers[0].uptime), (1271, 0));
    assert_eq!((found.old_workers[0].pid, found.old_workers[0].reloads), (1233, 3));
}
