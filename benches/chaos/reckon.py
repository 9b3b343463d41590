"""What came of a run: sessions, faults and the surviving ids -> misrouted, missing, two primaries, gaps. Pure: no lab here.

Times are seconds since the epoch. A session counts at the time that the schedule gave it."""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

WRITES, READS = ('5433', '5436'), ('5434',)
# Seconds within which HAProxy's own settings must have noticed (inter 3s fastinter 1s downinter 5s rise 3 fall 3, timeout
# check 3s): a role that is lost in three failed checks, a replica that is back in three good ones after the one that was
# under way when it came back, which fails all the same. What is later is a mistake.
FALL, RISE = 3 + 1 + 1, 3 + 5 + 1 + 1


@dataclass(frozen=True)
class Session:
    """One line of the client's log."""

    port: str
    at: float
    end: float
    member: str | None = None
    recovery: bool | None = None
    wrote: bool = False
    timeline: int | None = None
    id: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Trouble:
    """A fault as it was done: from begin to undone, and its share of the log, until the next one begins."""

    name: str
    sync: bool
    begin: float
    undone: float
    until: float
    reads_leave: bool = False
    moved: bool = False
    verify: str = ''


@dataclass
class Wrong:
    """Sessions that reached a wrong role: those within the time that HAProxy has to notice, and those after it."""

    early: list = field(default_factory=list)
    late: list = field(default_factory=list)


def sessions(head, lines):
    """The client's lines, each member by its name: a start of a postmaster is known from who was asked directly."""
    targets = head['targets']
    direct = {n for n, t in enumerate(targets) if t['promise'] == 'member'}
    names = {line['start']: targets[line['to']]['name'] for line in lines if line['to'] in direct and 'start' in line}
    began = head['began'] / 1e6
    out = []
    for line in lines:
        more = line.get('more') or {}
        at = began + line['at'] / 1e6
        out.append(Session(targets[line['to']]['name'], at, at + line['took'] / 1e6, names.get(line.get('start')),
                           line.get('recovery'), line.get('wrote', False), more.get('timeline'), more.get('id'),
                           line.get('error') or more.get('refused')))
    return sorted(out, key=lambda s: s.at)


class Truth:
    """What members showed of their role, whoever asked."""

    def __init__(self, log, members):
        self.shown = {True: defaultdict(list), False: defaultdict(list)}
        for s in sorted((s for s in log if s.recovery is not None), key=lambda s: s.end):
            self.shown[s.recovery][s.member].append(s.end)
        # A member asked directly: begin, end, and the role that it told, or None.
        self.direct = {m: [(s.at, s.end, s.recovery) for s in log if s.port == m] for m in members}

    def since(self, member, recovery, when):
        """Seconds since the member last showed that it was in recovery, or that it led; None where it never did."""
        times = self.shown[recovery].get(member, [])
        place = bisect.bisect_right(times, when)
        return when - times[place - 1] if place else None

    def replica_for(self, member, s):
        """Seconds for which the member was a replica that answers, all through a session; None where it was not."""
        said = self.direct.get(member, [])
        place = bisect.bisect_left(said, (s.end,))
        after = said[place] if place < len(said) else None
        before = [one for one in said[max(0, place - 200):place] if one[1] <= s.at]
        if not before or before[-1][2] is not True or after and after[2] is not True:
            return None
        since = before[-1][0]
        for at, _, role in reversed(before):
            if role is not True:
                break
            since = at
        return s.at - since


def misrouted(log, readers, troubles):
    """{'writes': Wrong, 'reads': Wrong} of (trouble, session, seconds since the role changed)."""
    truth = Truth(log, readers)
    out = {'writes': Wrong(), 'reads': Wrong()}
    for s in log:
        if s.recovery is None:
            continue
        if s.port in WRITES and s.recovery and not s.wrote:
            age = truth.since(s.member, False, s.end)
            kind = out['writes'].early if age is not None and age <= FALL else out['writes'].late
            kind.append((within(troubles, s.at), s, age))
        elif s.port in READS and not s.recovery and not by_policy(troubles, s.at):
            ages = [age for age in (truth.replica_for(m, s) for m in readers if m != s.member) if age is not None]
            if ages:
                # Promoted a moment ago, it was a replica to the checks; or the replica came back a moment ago.
                promoted = truth.since(s.member, True, s.end)
                fresh = promoted is not None and promoted <= FALL
                kind = out['reads'].early if fresh or max(ages) <= RISE else out['reads'].late
                kind.append((within(troubles, s.at), s, promoted if fresh else max(ages)))
    return out


def within(troubles, at):
    return next((t for t in reversed(troubles) if t.begin <= at), None)


def by_policy(troubles, at):
    """Whether a fault keeps the load balancer from the replica, or did until a moment ago."""
    return any(t.reads_leave and t.begin <= at < t.undone + RISE for t in troubles)


def missing(log, kept, sync_at):
    """Acknowledged ids that the surviving timeline has not: {'off': […], 'on': […]}, by the mode at their end."""
    out = {'off': [], 'on': []}
    acked = {'off': 0, 'on': 0}
    for s in log:
        if s.id is not None and s.wrote:
            mode = 'on' if s.at >= sync_at else 'off'
            acked[mode] += 1
            if s.id not in kept:
                out[mode].append(s)
    return out, acked


def two_primaries(log, ports=WRITES):
    """Writes that one member acknowledged between the first and the last one of another member on a later timeline: what
    clients were told by two primaries. `ports`: through which; members' names ask what members took from whoever asks
    them directly."""
    took = sorted((s for s in log if s.wrote and s.port in ports and s.timeline and s.member), key=lambda s: s.end)
    spans = {}
    for s in took:
        first, _ = spans.get((s.timeline, s.member), (s.end, 0))
        spans[s.timeline, s.member] = first, s.end
    return [s for s in took if any(t > s.timeline and m != s.member and first < s.end < last
                                   for (t, m), (first, last) in spans.items())]


def gap(log, ports, begin, until):
    """The longest time without an acknowledged write at one of the ports, of the worst port; for members: of all
    together, as any of them may lead."""
    ends = defaultdict(list)
    together = not set(ports) & set(WRITES)
    for s in log:
        if s.wrote and s.port in ports and begin <= s.end <= until:
            ends['all' if together else s.port].append(s.end)
    names = ['all'] if together else ports
    return max(longest(sorted(ends[name]), begin, until) for name in names)


def longest(moments, begin, until):
    edges = [begin, *moments, until]
    return max(b - a for a, b in zip(edges, edges[1:]))


def gaps(log, members, troubles):
    """[(trouble, gap of the ports for writes, of the members asked directly, the difference)]"""
    out = []
    for t in troubles:
        # Only what is near: a log of an hour is not read again for every fault.
        low = bisect.bisect_left(log, t.begin - 10, key=lambda s: s.at)
        high = bisect.bisect_right(log, t.until, key=lambda s: s.at)
        near = log[low:high]
        ports, direct = gap(near, WRITES, t.begin, t.until), gap(near, members, t.begin, t.until)
        out.append((t, ports, direct, max(0.0, ports - direct)))
    return out


def percentile(values, percent):
    """Nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def failures(log):
    """{port: (sessions, failed, {error: count})}; a refusal by the guard is one of them, and so is a write refused."""
    out = {}
    for port in (*WRITES, *READS):
        mine = [s for s in log if s.port == port]
        errors = Counter(s.error for s in mine if s.error)
        out[port] = (len(mine), sum(errors.values()), dict(errors.most_common(8)))
    return out


def quiet(log, troubles):
    """Sessions while nothing was wrong: (sessions, served, p50, p99 of those served). What the machine itself bears."""
    spans = [(t.begin - 0.5, t.undone + RISE) for t in troubles]
    calm = [s for s in log if s.port in (*WRITES, *READS) and not any(a <= s.at < b for a, b in spans)]
    took = [s.end - s.at for s in calm if s.recovery is not None]
    return len(calm), len(took), percentile(took, 50), percentile(took, 99)


def reckon(head, lines, kept, troubles, sync_at):
    """Everything, as plain values."""
    log = sessions(head, lines)
    members = [t['name'] for t in head['targets'] if t['promise'] == 'member']
    readers = next(t['readers'] for t in head['targets'] if t['name'] in READS)
    lost, acked = missing(log, kept, sync_at)
    wrong = misrouted(log, readers, troubles)
    each = gaps(log, members, troubles)
    served = sorted(s.end - s.at for s in log if s.port in (*WRITES, *READS) and s.recovery is not None)
    spent = (log[-1].at - log[0].at) if len(log) > 1 else 1.0
    return {
        'log': log, 'wrong': wrong, 'missing': lost, 'acked': acked, 'gaps': each,
        'two': two_primaries(log), 'two_direct': two_primaries(log, members), 'failures': failures(log),
        'quiet': quiet(log, troubles), 'p50': percentile(served, 50), 'p99': percentile(served, 99),
        'rate': sum(1 for s in log if s.port in (*WRITES, *READS)) / spent,
    }
