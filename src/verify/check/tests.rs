use super::*;
use crate::verify::testkit::{Sockets, answer, endless, refusing};

fn read(text: &str) -> Result<Question, String> {
    let words: Vec<String> = text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    parse(&words).map_err(|e| e.to_string())
}

fn http(host: &str, port: u16, path: &str, code: u16) -> Need {
    Need::Http { ssl: false, host: host.into(), port, path: path.into(), code }
}

#[test]
fn every_form_of_a_need_is_read_and_written_alike() {
    let all = "http://10.0.0.1:8008/replica?lag=16MB http://[fd00::1]:80/#503 https://db1.example:8008/primary \
        tcp://10.0.0.1:6432 tcp://[::1]:5432 unix:/run/haproxy/pgsvc-a.sock:/ unix:/run/x.sock:/y?z=:/#204";
    let question = read(all).unwrap();
    let needs = &question.alternatives[0].needs;
    assert_eq!(needs[0], http("10.0.0.1", 8008, "/replica?lag=16MB", 200));
    assert_eq!(needs[1], http("fd00::1", 80, "/", 503));
    let tls =
        Need::Http { ssl: true, host: "db1.example".into(), port: 8008, path: "/primary".into(), code: 200 };
    assert_eq!(needs[2], tls);
    assert_eq!(needs[4], Need::Tcp { host: "::1".into(), port: 5432 });
    let unix = |socket: &str, path: &str, code| Need::Unix { socket: socket.into(), path: path.into(), code };
    assert_eq!(needs[5], unix("/run/haproxy/pgsvc-a.sock", "/", 200));
    assert_eq!(needs[6], unix("/run/x.sock", "/y?z=:/", 204));
    let written: Vec<String> = needs.iter().map(Need::to_string).collect();
    assert_eq!(written.join(" "), all.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(read("http://a:1").unwrap().alternatives[0].needs[0], http("a", 1, "/", 200));
    assert_eq!((question.tls, question.within), (TlsFiles::default(), WITHIN));
}

#[test]
fn alternatives_and_groups_are_told_apart_by_their_order() {
    let question = read(
        "--within 500 tcp://a:1 tcp://b:2 --unless tcp://c:3,http://d:4/x,y?tag_a=b,c,tcp://e:5 --unless=tcp://f:6 --or \
         tcp://g:7 --ca /ca.pem",
    )
    .unwrap();
    let tcp = |host: &str, port| Need::Tcp { host: host.into(), port };
    let first = &question.alternatives[0];
    assert_eq!(first.needs, [tcp("a", 1), tcp("b", 2)]);
    assert_eq!(first.unless[0], [tcp("c", 3), http("d", 4, "/x,y?tag_a=b,c", 200), tcp("e", 5)]);
    assert_eq!(first.unless[1], [tcp("f", 6)]);
    assert_eq!(question.alternatives[1], Alternative { needs: vec![tcp("g", 7)], unless: vec![] });
    assert_eq!((question.tls.ca, question.within.as_millis()), (Some("/ca.pem".into()), 500));
}

#[test]
fn what_is_misspelt_is_refused_with_what_was_meant() {
    for (words, says) in [
        ("", "nothing is asked: without a need, a check would always pass"),
        ("--unless tcp://a:1", "nothing is asked"),
        ("tcp://a:1 --or", "--or: nothing is asked"),
        ("--or tcp://a:1", "--or: has no need before it"),
        ("tcp://a:1 --unles tcp://b:1", "--unles: is not known; did you mean --unless?"),
        ("tcp://a:1 -x", "-x: is not known; options: --unless, --or, --ca, --cert, --within"),
        ("tcp://a:1 --or=2", "--or: is not known; did you mean --or?"),
        ("tcp://a:1 --unless", "--unless: lacks its value; --unless NEED,NEED"),
        ("tcp://a:1 --within", "--within: lacks its value; --within MILLISECONDS, 1 to 60000"),
        ("tcp://a:1 --within 0", "--within: '0' is no time"),
        ("tcp://a:1 --within 1s", "--within: '1s' is no time"),
        ("tcp://a:1 --within 60001", "no time"),
        ("tcp://a:1 --within 5 --within 6", "or a second one"),
        ("tcp://a:1 --ca a --ca b", "--ca: names one file, once"),
        (
            "tcp://a:1 --unless tcp://b:1 tcp://c:1",
            "tcp://c:1: stands after --unless; an alternative's needs come first",
        ),
        ("tcp://a:1 --unless tcp://b:1,", "'': is no need"),
        ("tcp://a:1 --unless http://b:1/x,tcpp://c:2", "'tcpp' is not known; did you mean tcp?"),
        ("htp://a:1/", "'htp' is not known; did you mean http?"),
        ("http:/a:1/", "lacks '//' after http:"),
        ("a", "'a': is no need; a need is http://ADDR:PORT/PATH"),
        ("http://a/", "has no port; http://ADDR:PORT/PATH#CODE, IPv6 as [ADDR]:PORT"),
        ("http://a:0/", "'0' is no port"),
        ("http://a:65536/", "'65536' is no port"),
        ("http://a:+80/", "'+80' is no port"),
        ("http://:80/", "'' is no address"),
        ("http://u@h:80/", "'u@h' is no address"),
        ("http://fd00::1:80/", "'fd00::1' is no address"),
        ("http://[fd00::x]:80/", "'fd00::x' is no IPv6 address"),
        ("http://a:1/#20", "'20' is no HTTP code"),
        ("http://a:1/#600", "'600' is no HTTP code"),
        ("http://a:1/#+20", "'+20' is no HTTP code"),
        ("http://a:1/\u{7f}", "a control character"),
        ("tcp://a:1/x", "has a path, which only HTTP has"),
        ("unix:/run/x.sock", "has no HTTP path; unix:/run/x.sock:/PATH"),
        ("unix:run/x.sock:/", "names no absolute path"),
        ("unix::/", "names no absolute path"),
        (&format!("unix:/{}:/", "x".repeat(107)), "longer than 107 bytes"),
    ] {
        let said = read(words).expect_err(words);
        assert!(said.contains(says), "{words}: {said}");
    }
    let both = read("tcp://a:x --bad http://b").unwrap_err();
    assert_eq!(both.lines().count(), 3, "{both}");
}

fn answers(question: &Question, holding: &[&str]) -> Option<String> {
    let all = question.alternatives.iter().flat_map(|a| a.needs.iter().chain(a.unless.iter().flatten()));
    let answer = |n: &Need| match holding.contains(&n.to_string().as_str()) {
        true => Ok(()),
        false => Err("no".to_owned()),
    };
    judge(question, &all.map(|n| (n.clone(), answer(n))).collect())
}

#[test]
fn an_alternative_needs_all_and_only_a_whole_group_stands_in_its_way() {
    let q =
        read("tcp://a:1 tcp://a:2 --unless tcp://b:1,tcp://b:2 --unless tcp://c:1 --or tcp://d:1").unwrap();
    let passes = |holding: &[&str]| answers(&q, holding).is_none();
    let a = ["tcp://a:1", "tcp://a:2"];
    assert!(passes(&a) && !passes(&a[..1]) && !passes(&a[1..]) && !passes(&[]));
    assert!(passes(&[&a[..], &["tcp://b:1"]].concat()));
    assert!(!passes(&[&a[..], &["tcp://b:1", "tcp://b:2"]].concat()));
    assert!(!passes(&[&a[..], &["tcp://c:1"]].concat()));
    assert!(passes(&["tcp://d:1"]) && passes(&["tcp://d:1", "tcp://c:1"]));
    assert_eq!(
        answers(&q, &["tcp://a:1", "tcp://c:1"]).unwrap(),
        "tcp://a:2: no, --unless tcp://c:1: holds; or tcp://d:1: no"
    );
    assert_eq!(judge(&read("tcp://a:1").unwrap(), &Answers::new()).unwrap(), "tcp://a:1: was not asked");
}

#[test]
fn what_was_found_is_said_and_each_need_is_asked_once() {
    let (good, bad) = (answer("HTTP/1.0 200 OK\r\n\r\n"), answer("HTTP/1.0 503 No\r\n\r\n"));
    let closed = refusing();
    let words = format!(
        "http://{good}/ --unless http://{bad}/replica,tcp://{good} --or http://{good}/ tcp://{closed} --or http://{bad}/x"
    );
    let question = read(&words).unwrap();
    let found = ask(&Sockets, &question).unwrap();
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(judge(&question, &found), None);
    let question = read(&format!("http://{bad}/x http://{good}/#503 tcp://{closed}")).unwrap();
    let said = check(&Sockets, &question).unwrap().unwrap();
    let expected = format!(
        "http://{bad}/x: HTTP status 503, expected 200, http://{good}/#503: HTTP status 200, expected 503, tcp://{closed}: \
         connection refused"
    );
    assert_eq!(said, expected);
}

#[test]
fn a_late_answer_does_not_hold_and_an_unless_that_is_late_stands_in_nobodys_way() {
    let good = answer("HTTP/1.0 200 OK\r\n\r\n");
    let late = endless(b"", b"", Duration::from_millis(50));
    let begin = std::time::Instant::now();
    let ask = |text: String| check(&Sockets, &read(&text).unwrap()).unwrap();
    let said = ask(format!("http://{late}/ http://{good}/ --within 200")).unwrap();
    assert_eq!(said, format!("http://{late}/: timed out waiting for the answer"));
    assert_eq!(ask(format!("http://{good}/ --unless http://{late}/,http://{good}/ --within 200")), None);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}
