//! What keepalived writes of itself on SIGUSR1 (keepalived(8), "SIGNALS"). Pure; who asks for it is `control`'s matter.

/// One VRRP instance as its process has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub name: String,
    /// `MASTER`, `BACKUP`, `FAULT` or `INIT`.
    pub state: String,
}

/// What one process said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// `router_id`; where none is set, keepalived gives the host's name.
    pub router_id: Option<String>,
    pub instances: Vec<Instance>,
    /// The list of instances is whole: the file is written while it can already be read.
    pub is_whole: bool,
}

impl Dump {
    /// Reads what is there. A line without its end may be half a line, and is left out.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut dump = Self::default();
        let mut section = "";
        for line in text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')) {
            if let Some(title) = line.strip_prefix("------<") {
                section = title.trim_matches(|c| "-<> ".contains(c));
                dump.is_whole |= section == "Interfaces";
                continue;
            }
            let Some((key, value)) = line.split_once(" = ") else { continue };
            match (section, key.trim()) {
                ("Global definitions", "Router ID") => dump.router_id = Some(value.trim().to_owned()),
                ("VRRP Topology", "VRRP Instance") => {
                    dump.instances.push(Instance { name: value.trim().to_owned(), state: String::new() });
                }
                ("VRRP Topology", "State") => {
                    if let Some(last) = dump.instances.last_mut().filter(|i| i.state.is_empty()) {
                        value.trim().clone_into(&mut last.state);
                    }
                }
                _ => {}
            }
        }
        dump
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.2.7, shortened.
    const TEXT: &str = "------< Global definitions >------
 Network namespace = (default)
 Router ID = pgsvc-0123456789abcdef
 umask = 0177
------< VRRP Topology >------
 VRRP Instance = pg-test
   VRRP Version = 3
   State = BACKUP
   Master router = ff02::12
   Virtual Router ID = 7
 VRRP Instance = other
   State = MASTER
   Authentication password = hunter2
------< VRRP Sockpool >------
 fd_in 13 fd_out = 14
------< Interfaces >------
 Name = lo
   State = UP, RUNNING, no broadcast, loopback, no multicast
";

    #[test]
    fn the_name_of_the_configuration_and_the_states_are_read() {
        let dump = Dump::parse(TEXT.as_bytes());
        assert_eq!(dump.router_id.as_deref(), Some("pgsvc-0123456789abcdef"));
        let of = |name: &str, state: &str| Instance { name: name.into(), state: state.into() };
        assert_eq!(dump.instances, [of("pg-test", "BACKUP"), of("other", "MASTER")]);
        assert!(dump.is_whole);
    }

    #[test]
    fn a_half_written_dump_says_nothing_that_is_not_so() {
        for end in 0..TEXT.len() {
            let dump = Dump::parse(&TEXT.as_bytes()[..end]);
            assert!(dump.router_id.is_none_or(|id| id == "pgsvc-0123456789abcdef"), "{end}");
            assert!(dump.instances.iter().all(|i| ["", "BACKUP", "MASTER"].contains(&&*i.state)), "{end}");
            assert!(!dump.is_whole || dump.instances.len() == 2, "{end}");
        }
        assert_eq!(Dump::parse(b"\xff\xfe = \n Router ID = x\n"), Dump::default());
    }
}
