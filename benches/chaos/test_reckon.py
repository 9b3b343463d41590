"""The reckoning, on logs made by hand: what counts as misrouted, missing, two primaries, a gap."""

import unittest

from reckon import RISE, Session, Trouble, gap, gaps, misrouted, missing, percentile, quiet, sessions, two_primaries
from schedule import schedule
from faults import ALL

READERS = ['m1', 'm2']


def on(port, at, member, recovery, wrote=False, **more):
    return Session(port, at, at + 0.01, member, recovery, wrote, **more)


def truth(member, recovery, *times):
    return [on(member, at, member, recovery, not recovery) for at in times]


class Misrouted(unittest.TestCase):
    def wrong(self, log, troubles=()):
        out = misrouted(sorted(log, key=lambda s: s.at), READERS, list(troubles))
        return [(len(out[kind].early), len(out[kind].late)) for kind in ('writes', 'reads')]

    def test_a_write_port_that_leads_to_one_that_never_led_is_wrong_at_once(self):
        self.assertEqual(self.wrong([on('5433', 10, 'm2', True)]), [(0, 1), (0, 0)])

    def test_one_that_led_a_moment_ago_is_told_apart_until_haproxy_must_know(self):
        led = truth('m1', False, 10)
        self.assertEqual(self.wrong([*led, on('5436', 12, 'm1', True)]), [(1, 0), (0, 0)])
        self.assertEqual(self.wrong([*led, on('5436', 16, 'm1', True)]), [(0, 1), (0, 0)])

    def test_an_error_and_the_primary_are_not_wrong_on_a_port_for_writes(self):
        failed = Session('5433', 10, 10.1, error='connection refused')
        self.assertEqual(self.wrong([failed, on('5433', 11, 'm1', False, True)]), [(0, 0), (0, 0)])

    def test_reads_on_the_primary_are_wrong_once_a_replica_has_been_there_long_enough(self):
        read = on('5434', 20, 'm1', False)
        long, short = truth('m2', True, 5, 14, 19, 21), truth('m2', True, 17, 19, 21)
        self.assertEqual(self.wrong([*long, read]), [(0, 0), (0, 1)])
        self.assertEqual(self.wrong([*short, read]), [(0, 0), (1, 0)])
        self.assertEqual(self.wrong([*truth('m2', True, 5, 19), *truth('m2', False, 21), read]), [(0, 0), (0, 0)])
        self.assertEqual(self.wrong([read]), [(0, 0), (0, 0)])

    def test_reads_on_a_replica_that_was_promoted_a_moment_ago_are_told_apart_too(self):
        replica = truth('m2', True, 5, 14, 19, 23)
        was = truth('m1', True, 18)
        self.assertEqual(self.wrong([*replica, *was, on('5434', 22, 'm1', False)]), [(0, 0), (1, 0)])
        self.assertEqual(self.wrong([*replica, *truth('m1', True, 16), on('5434', 22, 'm1', False)]), [(0, 0), (0, 1)])

    def test_reads_leave_a_replica_that_the_load_balancer_cannot_reach(self):
        log = [*truth('m2', True, 5, 14, 19, 21), on('5434', 20, 'm1', False)]
        cut = Trouble('partition-replica', False, 12, 19, 30, reads_leave=True)
        self.assertEqual(self.wrong(log, [cut]), [(0, 0), (0, 0)])
        long_ago = Trouble('partition-replica', False, 2, 19 - RISE, 30, reads_leave=True)
        self.assertEqual(self.wrong(log, [long_ago]), [(0, 0), (0, 1)])


class Ledger(unittest.TestCase):
    def test_only_an_acknowledged_id_can_be_missing_and_the_mode_is_that_of_its_time(self):
        log = [on('5433', 1, 'm1', False, True, id=1), on('5433', 2, 'm1', False, False, id=2, error='timed out'),
               on('5433', 3, 'm1', False, True, id=3), on('5433', 4, 'm1', False, True, id=4)]
        lost, acked = missing(log, {3}, sync_at=3.5)
        self.assertEqual([s.id for s in lost['off']], [1])
        self.assertEqual([s.id for s in lost['on']], [4])
        self.assertEqual(acked, {'off': 2, 'on': 1})

    def test_two_primaries_are_two_members_on_two_timelines_that_acknowledge_at_once(self):
        old = [on('5433', at, 'm1', False, True, timeline=1) for at in (1, 2, 3)]
        new = [on('5436', at, 'm2', False, True, timeline=2) for at in (4, 5)]
        self.assertEqual(two_primaries(old + new), [])
        back = on('5433', 4.5, 'm1', False, True, timeline=1)
        self.assertEqual(two_primaries([*old, *new, back]), [back])
        # One that leads again on the old timeline once the new one has ended is a loss, and not two at once.
        self.assertEqual(two_primaries([*old, *new, on('5433', 6, 'm1', False, True, timeline=1)]), [])
        # The same member on a new timeline is one that was promoted in place.
        self.assertEqual(two_primaries([*old, on('5433', 4, 'm1', False, True, timeline=2), back]), [])
        # Directly asked members are another question.
        self.assertEqual(two_primaries([*old, *new, on('m1', 4.5, 'm1', False, True, timeline=1)]), [])


class Gaps(unittest.TestCase):
    def test_the_worst_port_counts_and_the_members_share_is_taken_off(self):
        port = [on(p, at, 'm1', False, True) for p in ('5433', '5436') for at in (0.99, 3.99) if (p, at) != ('5436', 3.99)]
        direct = truth('m1', False, 0.99, 1.99) + truth('m2', False, 3.49)
        log = sorted(port + direct, key=lambda s: s.at)
        self.assertAlmostEqual(gap(log, ('5433', '5436'), 0, 5), 4)
        self.assertAlmostEqual(gap(log, ['m1', 'm2'], 0, 5), 1.5)
        (_, ports, members, share), = gaps(log, ['m1', 'm2'], [Trouble('x', False, 0, 1, 5)])
        self.assertAlmostEqual(share, ports - members)

    def test_no_write_at_all_is_a_gap_of_the_whole_time(self):
        self.assertEqual(gap([], ('5433', '5436'), 3, 10), 7)

    def test_percentiles_are_by_nearest_rank(self):
        self.assertEqual((percentile([3, 1, 2], 50), percentile([3, 1, 2], 99), percentile([], 50)), (2, 3, 0.0))


    def test_quiet_is_outside_of_faults_and_of_the_time_to_recover(self):
        log = [on('5433', 1, 'm1', False, True), on('5433', 5, 'm1', False, True), Session('5434', 30, 34, error='timed out')]
        calm, well, p50, _ = quiet(log, [Trouble('x', False, 4, 6, 30)])
        self.assertEqual((calm, well, round(p50, 3)), (2, 1, 0.01))


class Lines(unittest.TestCase):
    def test_a_member_is_known_behind_a_pooler_by_its_postmasters_start(self):
        head = {'began': 1_000_000, 'targets': [{'name': '5433', 'promise': 'write'}, {'name': 'm1', 'promise': 'member'}]}
        lines = [{'to': 0, 'at': 500_000, 'took': 20_000, 'start': 7, 'recovery': False, 'wrote': True,
                  'more': {'timeline': 3, 'system': '1', 'id': 9}},
                 {'to': 1, 'at': 100_000, 'took': 20_000, 'start': 7, 'recovery': False, 'wrote': True},
                 {'to': 0, 'at': 600_000, 'took': 20_000, 'error': 'connection refused'}]
        first, second, third = sessions(head, lines)
        self.assertEqual((second.member, second.id, second.timeline, round(second.end, 3)), ('m1', 9, 3, 1.52))
        self.assertEqual((first.port, third.error, third.recovery), ('m1', 'connection refused', None))


class Schedule(unittest.TestCase):
    def test_a_seed_is_a_schedule_and_its_halves_keep_their_time(self):
        slots = schedule(7, 600, ALL)
        self.assertEqual(slots, schedule(7, 600, ALL))
        self.assertNotEqual(slots, schedule(8, 600, ALL))
        self.assertTrue(all(s.at < 300 for s in slots if not s.sync) and all(300 < s.at < 600 for s in slots if s.sync))

    def test_every_kind_comes_once_before_any_comes_twice(self):
        names = [s.name for s in schedule(1, 3600, ALL)]
        self.assertGreater(min(names.count(f.name) for f in ALL), 2)
        self.assertEqual(len(set(names[:len(ALL)])), len(ALL))


if __name__ == '__main__':
    unittest.main()
