//! A port's sessions that are on a member they should not be on. Where new sessions go is not judged here.

use super::{PortResult, Status};
use crate::verify::stray::{Group, Why};

/// Adds what the held sessions say to the verdicts: one on a member that lost its role makes the port wrong, though not
/// misled, as no new session follows it; one that is only a backup's is worth a note.
pub fn judge_held(results: &mut [PortResult], groups: &[Group]) {
    for r in results {
        for g in groups.iter().filter(|g| (&g.cluster, &g.service) == (&r.cluster, &r.service)) {
            match g.why {
                Why::LostRole => {
                    r.status = Status::Wrong;
                    r.why.push(format!("{}; cut them: pgsvc verify --fix", g.text()));
                }
                Why::Backup => r.notes.push(format!("{}; they are drained by: pgsvc verify --fix", g.text())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::stray::{Live, Worker};

    fn group(service: &str, why: Why, worker: Worker) -> Group {
        let (cluster, server) = ("c".to_owned(), "c-1".to_owned());
        Group { cluster, service: service.into(), server, role: Live::Follows, why, worker, sessions: 2 }
    }

    #[test]
    fn sessions_on_a_member_that_lost_its_role_make_their_port_wrong_and_no_other() {
        let mut all = ["a", "b", "d"].map(|s| PortResult::new("c", s, 1, "x"));
        let groups = [group("a", Why::LostRole, Worker::Old(123)), group("b", Why::Backup, Worker::Current)];
        judge_held(&mut all, &groups);
        let [a, b, d] = &all;
        let why = "2 sessions in old worker 123 on c-1, which is replica now; cut them: pgsvc verify --fix";
        assert_eq!((a.status, a.misled, a.why.as_slice()), (Status::Wrong, false, &[why.to_owned()][..]));
        assert_eq!((b.status, b.why.len(), b.notes.len()), (Status::Ok, 0, 1));
        assert!(
            b.notes.iter().any(|n| n.starts_with("2 sessions on c-1, a backup, while the active tier is up"))
        );
        assert_eq!((d.status, d.notes.len()), (Status::Ok, 0));
    }
}
