use super::*;

const BACKEND: &str = "# Managed\nbackend b\n    balance roundrobin\n    option httpchk\n    \
    default-server inter 3s maxconn 300\n    server s1 10.0.0.1:1 check port 8008 weight 100\n    \
    server s2 10.0.0.2:1 check port 8009 weight 40 maxconn 5\n";

fn fixed(text: &str) -> String {
    let whole = shape(text.as_bytes());
    let alone = super::fixed(text.as_bytes());
    assert_eq!((&alone.fixed, alone.server_lines), (&whole.fixed, whole.server_lines));
    assert!(alone.sections.is_empty());
    whole.fixed
}

#[test]
fn what_can_change_at_runtime_leaves_the_fixed_part_alone() {
    let listen = BACKEND.replace("backend b\n", "listen b\n    maxconn 10\n");
    for (base, from, to) in [
        (BACKEND, "weight 100", "weight 7"),
        (BACKEND, "maxconn 300", "maxconn 4"),
        (BACKEND, "maxconn 5", "maxconn 6"),
        (BACKEND, "s2 10.0.0.2:1", "s3 10.0.0.3:9"),
        (BACKEND, "port 8009", "port 1"),
        (BACKEND, "    server s2 10.0.0.2:1 check port 8009 weight 40 maxconn 5\n", ""),
        (BACKEND, "# Managed", "# Something\n\n# else"),
        (&listen, "    maxconn 10\n", "    maxconn 11\n"),
    ] {
        assert!(base.contains(from), "{from}");
        assert_eq!(fixed(base), fixed(&base.replacen(from, to, 1)), "{from} → {to}");
    }
}

#[test]
fn anything_else_changes_the_fixed_part() {
    for (from, to) in [
        ("inter 3s", "inter 2s"),
        (" maxconn 300", ""),
        ("option httpchk", "option tcp-check"),
        ("backend b", "backend c"),
        ("roundrobin", "leastconn"),
        ("port 8009", "port 8009 check-ssl verify none"),
        ("port 8009", "port 8009 backup"),
        ("check port 8009", "track x/s2"),
    ] {
        assert!(BACKEND.contains(from), "{from}");
        assert_ne!(fixed(BACKEND), fixed(&BACKEND.replacen(from, to, 1)), "{from} → {to}");
    }
    assert_ne!(fixed("global\n    maxconn 10\n"), fixed("global\n    maxconn 11\n"));
    let none = "backend b\n    balance roundrobin\n    server a 10.0.0.1:1\n";
    assert_ne!(fixed(none), fixed("backend b\n    balance roundrobin\n"));
}

#[test]
fn what_does_not_look_like_ours_counts_to_the_last_letter() {
    for (from, to) in [
        ("weight 100", "weight 100 cookie x"),
        ("weight 100", "weight \"100\""),
        ("weight 100", "weight 100 # why"),
        ("weight 100", "weight 100 id 3;"),
        ("weight 100", "weight 100 check"),
        ("10.0.0.1:1", "unix@/x"),
        ("10.0.0.1:1", "10.0.0.1"),
        ("balance roundrobin", "balance source"),
        ("    balance roundrobin\n", ""),
        ("inter 3s", "inter 3s minconn 3"),
        ("    option", "    server-template t 3 x:1\n    option"),
    ] {
        let strange = BACKEND.replacen(from, to, 1);
        let read = shape(strange.as_bytes());
        assert!(read.sections.is_empty() && strange != BACKEND, "{to}");
        assert_ne!(read.fixed, fixed(&strange.replace("weight 40", "weight 41")), "{to}");
    }
}

#[test]
fn a_servers_words_for_the_socket_are_complete() {
    let read = shape(BACKEND.as_bytes());
    let servers = &read.sections[0].servers;
    assert_eq!(servers[0].addable().unwrap(), "check port 8008 weight 100 inter 3s maxconn 300");
    assert_eq!((servers[1].weight(), servers[1].maxconn(), servers[0].maxconn()), (40, 5, 300));
    assert_eq!(servers[0].address(), "10.0.0.1:1");
    for (from, to) in [
        ("10.0.0.1:1", "db1:1"),
        ("check port 8008", "track x/s1"),
        ("check port 8008", ""),
        ("3s", "3s tcp-ut 1s"),
    ] {
        let text = BACKEND.replacen(from, to, 1);
        let other = shape(text.as_bytes());
        assert_eq!(other.sections[0].servers[0].addable(), None, "{to}");
    }
    let text = BACKEND.replace("10.0.0.1:1", "[fd00::1]:1");
    let v6 = shape(text.as_bytes());
    assert_eq!(v6.sections[0].servers[0].address(), "[fd00::1]:1");
}

#[test]
fn a_file_that_is_no_text_counts_to_the_last_byte() {
    let strange = |byte: u8| {
        let mut bytes = BACKEND.as_bytes().to_vec();
        bytes.extend([b'#', byte, b'\n']);
        bytes
    };
    assert!(shape(&strange(0xff)).sections.is_empty());
    assert_eq!(shape(&strange(b'a')).sections.len(), 1);
    assert_ne!(shape(&strange(0xff)).fixed, shape(&[&strange(0xff)[..], b"# more"].concat()).fixed);
}
